//! `mvae-fast export`: a trained character for other programs.
use super::output::require_new;
use super::pilot::{self, ForeignArgs};
use super::print::print;
use super::runs::{Kind, controller_of_character, name_of, run_folder, trained};
use crate::control::play::Policy;
use crate::control::poses;
use crate::exchange::ship::{Aim, Format, Opset, Shipped, exports};
use crate::infer::trained::Trained;
use crate::ops::world::Task;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  mvae-fast export walk -o walk.html                     a character as `character` made it
  mvae-fast export gait -o gait.h                        a model that wanders, in C
  mvae-fast export gait --controller stick -o gait.onnx  one that a joystick steers, for engines

The world is right-handed, y up, in metres. docs/export.md says how to use each format.";

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct ShipArgs {
    /// A run folder of a Motion VAE, its name under --runs, a checkpoint file, or the folder of a
    /// character
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub run: PathBuf,
    /// Let the policy of this controller of joystick, target or path, trained on the Motion VAE,
    /// steer the character [default: that of a character's folder; else it wanders]
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    pub controller: Option<PathBuf>,
    /// Format [default: that of the extension of --output]
    #[arg(long)]
    pub format: Option<Format>,
    /// Version of ONNX's operators, from 15 to 28 [default: 15]
    #[arg(long, value_name = "N")]
    pub opset: Option<i64>,
    /// npz file of motion to start from (may be repeated) [default: what the model was trained on]
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// File to write; others are written beside it [default: the run's name]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Exports as the arguments say.
pub fn export(args: &ShipArgs) -> Result<()> {
    let (format, output) = target(args)?;
    let opset = args.opset.map_or(Ok(Opset::default()), Opset::new)?;
    if args.opset.is_some() && format != Format::Onnx {
        return Err(Error::Usage(format!("--opset belongs to ONNX, and {} is none", output.display())));
    }
    format.files(&output).iter().try_for_each(|file| require_new(file))?;
    let shipped = shipped(args)?;
    if format == Format::Html && shipped.command.is_some_and(|command| command.top().is_none()) {
        let what = "the page is steered by a joystick, and this controller walks to points";
        return Err(Error::Usage(format!("{what}; give one of --task joystick, or another --format")));
    }
    let written = shipped.write(format, opset, &output)?;
    if args.json {
        return print(&format!("{}\n", written.json(&shipped)));
    }
    let steered = match shipped.command.map(|command| command.aim) {
        None => "it wanders: no controller steers it",
        Some(Aim::Velocity { .. }) => "a joystick steers it",
        Some(Aim::Points { .. }) => "points steer it",
    };
    print(&format!("{written}{steered}\n"))
}

/// The character that the arguments name. Errors: a run that cannot be read, and those of
/// [`steered`].
pub(super) fn shipped(args: &ShipArgs) -> Result<Shipped> {
    let (decoder, name) = (trained(&args.runs, &args.run)?, name_of(&args.run));
    let own = || controller_of_character(&args.runs, &args.run);
    match args.controller.clone().or_else(own) {
        Some(controller) => steered(args, &name, &controller, &decoder),
        None => Shipped::new(&name, &decoder, &poses::of(&decoder, &args.data)?),
    }
}

/// The format and the main file.
fn target(args: &ShipArgs) -> Result<(Format, PathBuf)> {
    let of_extension = |output: &Path| {
        let found = output.extension().unwrap_or_default().to_ascii_lowercase();
        Format::value_variants().iter().copied().find(|format| found == format.extension())
    };
    let all = || {
        let each = |format: &Format| format!(".{}", format.extension());
        Format::value_variants().iter().map(each).collect::<Vec<_>>().join(" or ")
    };
    match (&args.output, args.format) {
        (None, None) => Err(Error::Usage("give --format, or an --output whose extension says it".into())),
        (None, Some(format)) => Ok((format, format!("{}.{}", name_of(&args.run), format.extension()).into())),
        (Some(output), None) => match of_extension(output) {
            Some(format) => Ok((format, output.clone())),
            None => {
                Err(Error::Usage(format!("--output is {}, expected a name that ends in {}", output.display(), all())))
            }
        },
        (Some(output), Some(format)) if of_extension(output) == Some(format) => Ok((format, output.clone())),
        (Some(output), Some(format)) => {
            let (output, extension) = (output.display(), format.extension());
            Err(Error::Usage(format!("--output is {output}, but this format's files end in .{extension}")))
        }
    }
}

/// The character that a controller steers. Errors: it is of a task that is not exported, or of
/// another decoder.
fn steered(args: &ShipArgs, name: &str, controller: &Path, decoder: &Trained) -> Result<Shipped> {
    let path = run_folder(&args.runs, controller, Kind::Controller);
    // A controller of the public implementation says neither task nor decoder.
    let foreign = path.is_file();
    let said =
        ForeignArgs { task: foreign.then_some(Task::Joystick), vae: foreign.then(|| args.run.clone()), lower: None };
    let pilot::Trained { file, config, .. } = pilot::controller(&args.runs, controller, &said, &args.data)?;
    if !exports(config.task) {
        let what = format!("its task is {}, which is not exported", config.task.name());
        return Err(Error::checkpoint(&path, what, "export a controller of joystick, target or path"));
    }
    let Policy { material, layout, values } = Policy::open(&file, &config, &args.data)?;
    if material.decoder.values()? != decoder.values()? {
        let what = format!("is a controller of another decoder than {}", args.run.display());
        return Err(Error::checkpoint(&path, what, format!("export {} with it", config.vae.display())));
    }
    Ok(Shipped::steerable(name, &material)?.with_policy(&layout, &values))
}
