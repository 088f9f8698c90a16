//! `mvae-fast gradcheck`: gradients against finite differences, or kernels against definitions.
use super::compute::Compute;
use super::print::print_report;
use crate::Result;
use crate::backend::{self, Device};
use crate::config::Variant;
use clap::{Args, ValueEnum};

pub const HELP: &str = "\
With --device auto or cpu, gradients are compared with finite differences; with cuda (or simt, in
a build with --features simt) every kernel is compared with its operation's definition, and the
gradients of whole steps with double precision.";

/// Arguments of `gradcheck`.
#[derive(Debug, Args)]
pub struct GradcheckArgs {
    /// Only this network (default: all)
    #[arg(long)]
    pub variant: Option<Variant>,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks, and prints the report.
pub fn gradcheck(args: &GradcheckArgs) -> Result<()> {
    let all = Variant::value_variants();
    let variants = args.variant.as_ref().map_or(all, std::slice::from_ref);
    if args.compute.is_cpu() {
        // Finite differences need double precision, which the kernels lack.
        let Compute { precision, engine, .. } = args.compute;
        let backend = backend::open(Device::Cpu, precision, engine, args.compute.threads(), 1)?;
        let report = crate::check::gradcheck::run(variants, backend.as_ref())?;
        return print_report(&report, args.json, report.verdict());
    }
    let backend = args.compute.open()?;
    let report = crate::check::kernelcheck::run(variants, backend.as_ref())?;
    print_report(&report, args.json, report.verdict())
}
