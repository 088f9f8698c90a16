//! The TOML file of a sweep, as the list of its runs. All of it is checked before anything starts.
use super::super::axis::MOST;
use super::super::population::short;
use super::super::runs::{Kind, absolute, checkpoint_file};
use super::axis::Axis;
use super::halving::Halving;
use crate::config::Config;
use crate::config::layers::{FileLayer, Parsed};
use crate::control::config::{self as policy, PolicyConfig};
use crate::host::toml::{self as toml_file, in_line};
use crate::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Value;

/// Name of the copy of the file in the folder of a sweep.
pub(super) const COPY: &str = "sweep.toml";
/// Folder of the controllers in that of a sweep.
const CONTROL: &str = "control";

/// A sweep: its runs, the models before the controllers, and how they are measured.
pub(super) struct Sweep {
    /// Folder of all runs.
    pub folder: PathBuf,
    /// Text of the file.
    pub text: String,
    pub runs: Vec<Run>,
    pub halving: Option<Halving>,
    pub eval: Eval,
}

/// A run of a sweep.
pub(super) struct Run {
    /// The path of its folder in that of the sweep.
    pub name: String,
    /// Keys that differ between runs, with this run's values; those of a controller as
    /// `control.KEY`.
    pub keys: Vec<(String, Value)>,
    pub training: Training,
    /// Number of the run that trains its decoder.
    pub decoder: Option<usize>,
    /// Number by which shards divide the runs.
    pub turn: usize,
    /// Epochs or updates after which it is measured; the last is the end of its training.
    pub rungs: Vec<usize>,
}

/// The configuration of a run.
pub(super) enum Training {
    Model(Config),
    Controller(PolicyConfig),
}

/// The measurement of the runs, as in `eval` and `control eval`.
#[derive(Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Eval {
    pub walks: usize,
    pub frames: usize,
    pub characters: usize,
}

impl Default for Eval {
    fn default() -> Self {
        Eval { walks: 512, frames: 1800, characters: 100 }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    train: Option<Parsed>,
    control: Option<Parsed>,
    /// Number of draws of the keys that are drawn.
    draws: Option<usize>,
    /// Seed of the draws.
    #[serde(default)]
    seed: u64,
    halving: Option<super::halving::Written>,
    #[serde(default)]
    eval: Eval,
}

/// A table of keys, some of which differ between runs.
struct Table<P> {
    layer: FileLayer<P>,
    /// The keys that differ, in the order of the file.
    axes: Vec<(String, Axis)>,
}

/// The values of the keys that differ, and a name made of them.
#[derive(Clone, Default)]
struct Point {
    name: Vec<String>,
    keys: Vec<(String, Value)>,
}

impl Training {
    /// Number of epochs or updates in all.
    pub fn all(&self) -> usize {
        match self {
            Training::Model(config) => config.epochs(),
            Training::Controller(config) => config.updates(),
        }
    }

    /// The kind of the run.
    pub fn kind(&self) -> Kind {
        match self {
            Training::Model(_) => Kind::Model,
            Training::Controller(_) => Kind::Controller,
        }
    }
}

impl Sweep {
    /// Reads the file of a sweep whose runs lie in `folder`. Other runs that it names lie in
    /// `root`. Errors: anything that no run could be made of.
    pub fn read(path: &Path, folder: &Path, root: &Path) -> Result<Self> {
        let text = toml_file::read(path)?;
        let written: Written = toml_file::parse(path, &text)?;
        let drawing = Drawing { path, draws: written.draws, seed: written.seed };
        let train = written.train.map(|table| Table::of(path, &text, table, Config::KEYS)).transpose()?;
        let control = written.control.map(|table| Table::of(path, &text, table, PolicyConfig::KEYS)).transpose()?;
        drawing
            .check(train.as_ref().map(|table| table.axes.as_slice()), control.as_ref().map(|table| &table.axes[..]))?;
        let folder = absolute(folder)?;

        let mut runs = Vec::new();
        for point in train.iter().map(|table| table.points(&drawing)).collect::<Result<Vec<_>>>()?.concat() {
            let layer = train.as_ref().expect("its points were made").layer.at(&point);
            let config = Config::of_layers(None, &layer, &Default::default(), &Default::default())?;
            let name = if point.name.is_empty() { "model".to_owned() } else { point.name.join("-") };
            let (training, turn) = (Training::Model(config), runs.len());
            runs.push(Run { name, keys: point.keys, training, decoder: None, turn, rungs: Vec::new() });
        }
        let models = runs.len();
        if let Some(table) = &control {
            let points = table.points(&drawing)?;
            let decoders = if train.is_none() { vec![None] } else { (0..models).map(Some).collect() };
            for (decoder, point) in
                decoders.iter().flat_map(|decoder| points.iter().map(move |point| (*decoder, point)))
            {
                let config = controller(table, point, decoder.map(|of| (&folder, &runs[of])), (path, root))?;
                let of_model = decoder.filter(|_| models > 1).map(|of| runs[of].name.clone());
                let name: Vec<_> = of_model.into_iter().chain(point.name.iter().cloned()).collect();
                let name = if name.is_empty() { "controller".to_owned() } else { name.join("-") };
                let mut keys = decoder.map_or(Vec::new(), |of| runs[of].keys.clone());
                keys.extend(point.keys.iter().map(|(key, value)| (format!("{CONTROL}.{key}"), value.clone())));
                let (training, turn) = (Training::Controller(config), decoder.unwrap_or(runs.len()));
                runs.push(Run { name: format!("{CONTROL}/{name}"), keys, training, decoder, turn, rungs: Vec::new() });
            }
        }
        if runs.is_empty() {
            return Err(Error::Usage(format!("{}: no runs; give a table [train] or [control]", path.display())));
        }
        for (i, run) in runs.iter().enumerate() {
            if runs[..i].iter().any(|other| other.name == run.name) {
                return Err(Error::Usage(format!("{}: asks for {} twice; drop one of them", path.display(), run.name)));
            }
        }
        let trainees = if models > 0 { models } else { runs.len() };
        let kind = runs[0].training.kind();
        let halving = written.halving.map(|halving| halving.checked(path, kind, trainees)).transpose()?;
        for (i, run) in runs.iter_mut().enumerate() {
            let all = run.training.all();
            run.rungs = halving.as_ref().filter(|_| i < trainees).map_or(vec![all], |halving| halving.rungs(all));
        }
        let eval = written.eval;
        super::super::eval::walks_fit(eval.walks, eval.frames)
            .and_then(|()| super::super::pilot::few_enough(eval.characters))
            .map_err(|error| Error::Usage(format!("{}: eval: {error}", path.display())))?;
        Ok(Sweep { folder, text, runs, halving, eval })
    }

    /// Runs that the halving compares, or that are trained first.
    pub fn trainees(&self) -> impl Iterator<Item = usize> {
        let kind = self.runs[0].training.kind();
        (0..self.runs.len()).filter(move |&run| self.runs[run].training.kind() == kind)
    }
}

/// The configuration of a controller at a point. `decoder` is the folder of the sweep and the run
/// that trains its decoder.
fn controller(
    table: &Table<policy::Preset>,
    point: &Point,
    decoder: Option<(&PathBuf, &Run)>,
    (path, root): (&Path, &Path),
) -> Result<PolicyConfig> {
    let mut layer = table.layer.at(point);
    let line = |key: &str| table.layer.lines.get(key).copied().unwrap_or(1);
    let mut place = |key: &str, file: PathBuf| -> Result<()> {
        layer.table.insert(key.to_owned(), absolute(file)?.display().to_string().into());
        Ok(())
    };
    let given = |key: &str| point.get(key).or(table.layer.table.get(key)).and_then(Value::as_str).map(Path::new);
    match (decoder, given("vae")) {
        (Some(_), Some(_)) => {
            let what = "vae: the decoders are those of [train]; drop the key or that table";
            return Err(in_line(path, line("vae"), what.into()));
        }
        (Some((folder, run)), None) => place("vae", folder.join(&run.name).join("checkpoints/last.safetensors"))?,
        (None, Some(vae)) => place("vae", checkpoint_file(root, vae, Kind::Model)?.0)?,
        (None, None) => {
            let what = "[control] has no decoders; give a table [train], or vae = [\"RUN\", ...] in it";
            return Err(Error::Usage(format!("{}: {what}", path.display())));
        }
    }
    if let Some(lower) = given("lower") {
        place("lower", checkpoint_file(root, lower, Kind::Controller)?.0)?;
    }
    if let Some(maze) = given("maze") {
        place("maze", maze.to_owned())?;
    }
    let config = PolicyConfig::of_layers(None, &layer, &Default::default(), &Default::default())?;
    if let Some((_, Run { training: Training::Model(model), name, .. })) = decoder
        && let Some((what, mend)) = config.unfit(model.variant, model.future_predictions)
    {
        return Err(Error::Usage(format!("{}: decoder {name}: {what}; give {mend}", path.display())));
    }
    Ok(config)
}

impl<P: DeserializeOwned + Clone> Table<P> {
    fn of(path: &Path, text: &str, parsed: Parsed, keys: &[&str]) -> Result<Self> {
        let mut layer = FileLayer::<P>::of(path, text, parsed, keys)?;
        let mut order: Vec<_> = layer.lines.iter().map(|(key, &line)| (line, key.clone())).collect();
        order.sort();
        let mut axes = Vec::new();
        for (line, key) in order {
            let refuse = |what: &str| Err(in_line(path, line, format!("{key}: {what}")));
            let axis = match key.as_str() {
                "max_minutes" => return refuse("the runs of a sweep have no such limit; drop the key"),
                "data" => None,
                _ => Axis::of(&layer.table[&key]).map_err(|what| in_line(path, line, format!("{key}: {what}")))?,
            };
            match axis {
                Some(_) if key == "checkpoint_every" => return refuse("is the same in all runs; give one value"),
                Some(axis) => {
                    layer.table.remove(&key);
                    axes.push((key, axis));
                }
                None => {}
            }
        }
        Ok(Table { layer, axes })
    }

    /// All combinations of the values of the keys that differ.
    fn points(&self, drawing: &Drawing) -> Result<Vec<Point>> {
        let mut points = vec![Point::default()];
        let drawn: Vec<_> = self
            .axes
            .iter()
            .filter_map(|(key, axis)| Some((key, if let Axis::Drawn(span) = axis { span } else { None? })))
            .collect();
        if !drawn.is_empty() {
            let draw = |i: usize| Point {
                name: vec![format!("draw-{i}")],
                keys: drawn.iter().map(|(key, span)| ((*key).clone(), span.drawn(key, drawing.seed, i))).collect(),
            };
            points = (0..drawing.draws.unwrap_or_default()).map(draw).collect();
        }
        for (key, axis) in &self.axes {
            let Axis::Values(values) = axis else { continue };
            if points.len() * values.len() > MOST {
                return Err(Error::Usage(format!("{}: more than {MOST} runs; drop a key", drawing.path.display())));
            }
            points = points.iter().flat_map(|point| values.iter().map(|value| point.with(key, value))).collect();
        }
        Ok(points)
    }
}

impl<P: DeserializeOwned + Clone> FileLayer<P> {
    /// The layer with the values of a point.
    fn at(&self, point: &Point) -> Self {
        let mut layer = self.clone();
        layer.table.extend(point.keys.iter().cloned());
        layer
    }
}

impl Point {
    fn with(&self, key: &str, value: &Value) -> Self {
        let mut point = self.clone();
        // What a file system or a shell may not take becomes a dash.
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '-' };
        let name = format!("{}-{}", key.replace('_', "-"), short(value));
        point.name.push(name.chars().map(plain).collect());
        point.keys.push((key.to_owned(), value.clone()));
        point
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

/// The draws of the keys that are drawn.
struct Drawing<'a> {
    path: &'a Path,
    draws: Option<usize>,
    seed: u64,
}

impl Drawing<'_> {
    /// Refuses drawn keys without a number of draws, and the reverse.
    fn check(&self, train: Option<&[(String, Axis)]>, control: Option<&[(String, Axis)]>) -> Result<()> {
        let mut axes = train.into_iter().chain(control).flatten();
        let drawn = axes.find(|(_, axis)| matches!(axis, Axis::Drawn(_)));
        let what = match (drawn, self.draws) {
            (Some((key, _)), None) => {
                format!("{key} is drawn, as its range has no count; give draws = N above the tables")
            }
            (None, Some(_)) => "draws: no key is drawn; give one as { from = .., to = .. } without a count".to_owned(),
            (Some(_), Some(draws)) if !(1..=MOST).contains(&draws) => format!("draws is {draws}, expected 1 to {MOST}"),
            _ => return Ok(()),
        };
        Err(Error::Usage(format!("{}: {what}", self.path.display())))
    }
}
