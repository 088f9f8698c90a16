//! The distance of the gradients of whole training steps from double precision when kernels compute
//! them, at the sizes of the published models: the cost of a precision where it matters.
use crate::backend::Backend;
use crate::check::gradcheck::{ModelCheck, Stepped};
use crate::config::Variant;
use crate::plan::Precision;
use crate::{Error, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;

/// The error of the gradient of one tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The network.
    pub model: String,
    /// The parameter.
    pub tensor: String,
    /// |gradient - reference| / |reference|, as lengths of vectors, with the reference in f64;
    /// infinite if the result is not a number.
    pub error: f64,
}

/// The findings of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// A row a parameter.
    pub rows: Vec<Row>,
    /// A row a network, for all its parameters as one vector.
    pub whole: Vec<Row>,
    /// Largest error allowed of all gradients of a network.
    pub tolerance: f64,
}

impl Report {
    /// Turns a failure into an error. Errors: [`Error::Check`], which names the network, when its
    /// gradients are further off than they may be.
    pub fn verdict(&self) -> Result<()> {
        match self.whole.iter().find(|row| row.error > self.tolerance) {
            None => Ok(()),
            Some(row) => Err(Error::Check(format!(
                "gradients: those of {} are off by {:.1e} of their size, expected at most {:.0e}",
                row.model, row.error, self.tolerance
            ))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "gradients of a full-size step   all    worst tensor")?;
        for all in &self.whole {
            let of_model = self.rows.iter().filter(|row| row.model == all.model);
            let worst = of_model.max_by(|a, b| a.error.total_cmp(&b.error)).expect("a network has parameters");
            let failed = if all.error > self.tolerance { "  FAILED" } else { "" };
            writeln!(f, "{:28} {:.1e}  {:.1e} {}{failed}", all.model, all.error, worst.error, worst.tensor)?;
        }
        Ok(())
    }
}

/// Largest error allowed of all gradients of a network: ten times what rounding of random sign does
/// to them, which is 3e-7 in single precision and 5e-6 in bf16x3.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 3e-6,
        Precision::Bf16x3 => 5e-5,
    }
}

/// Takes one step of each network on `backend` and, in double precision, on `reference`. Errors:
/// those of the backends.
pub fn run(variants: &[Variant], backend: &dyn Backend, reference: &dyn Backend) -> Result<Report> {
    let mut report = Report { tolerance: tolerance(backend.precision()), ..Report::default() };
    for &variant in variants {
        let model = variant.to_possible_value().expect("no variant is hidden").get_name().to_owned();
        let check = ModelCheck::full(variant);
        let single: Stepped<f32> = check.step(backend, 1)?;
        let double: Stepped<f64> = check.step(reference, 1)?;
        let (mut off, mut size) = (0.0, 0.0);
        for tensor in double.parameters.layout.tensors.iter().filter(|tensor| tensor.trainable) {
            let got = single.memory.read(single.parameters.place(single.parameters.m, tensor))?;
            let want = double.memory.read(double.parameters.place(double.parameters.m, tensor))?;
            let squared = |of: &dyn Fn(usize) -> f64| (0..want.len()).map(|i| of(i).powi(2)).sum::<f64>();
            let (difference, length) = (squared(&|i| f64::from(got[i]) - want[i]), squared(&|i| want[i]));
            (off, size) = (off + difference, size + length);
            let error = ratio(difference, length);
            report.rows.push(Row { model: model.clone(), tensor: tensor.name.clone(), error });
        }
        report.whole.push(Row { model, tensor: "all".into(), error: ratio(off, size) });
    }
    Ok(report)
}

/// The root of a / b, where 0 / 0 is 0; infinite if it is not a number.
fn ratio(a: f64, b: f64) -> f64 {
    let ratio = if a == 0.0 { 0.0 } else { (a / b).sqrt() };
    if ratio.is_nan() { f64::INFINITY } else { ratio }
}
