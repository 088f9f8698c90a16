//! The file of a composed task: its keys, and what is refused.
use super::super::pull::Seen;
use super::super::task::{Course, Draws, Extra, Moving, PLAIN, TaskInfo};
use super::program::{DRAWN, Drawn, MOST, Moves, Program, Sees, Shape, Sight, Term, Value};
use super::{COMMAND, Composed, GOAL, LOOK, VALUES, joystick, marks, measure, path, target};
use crate::config::layers::nearest;
use crate::host::toml::{self as toml_file, in_line, line_of};
use crate::ops::world::{Rules, Task};
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// Longest name of a task or a term.
const LONGEST: usize = 40;
/// Keys of numbers that are measured of every task (`control eval`).
const COMMON: [&str; 11] = [
    "step_reward",
    "speed_m_s",
    "contact_percent",
    "foot_skate_cm_s",
    "skate_of_places_cm_s",
    "contact_of_data",
    "skate_of_data",
    "standing_percent",
    "paper_skate_cm",
    "paper_skate_low_cm",
    "ended_early",
];
/// Largest size of a number in a file.
const LARGEST: f64 = 1e6;

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    about: Option<String>,
    #[serde(default)]
    seen: Vec<Spanned<String>>,
    #[serde(default)]
    reward: Vec<Spanned<Rewarded>>,
    direction: Option<Spanned<Command>>,
    speed: Option<Spanned<Command>>,
    facing: Option<Spanned<Command>>,
    goal: Option<Spanned<Goal>>,
    look: Option<Spanned<Look>>,
}

/// A term of the reward.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewarded {
    term: String,
    name: Option<String>,
    shape: Option<String>,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default = "one")]
    scale: f64,
    at: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// A command: a direction (degrees), a speed (shares of the largest) or a facing (degrees from the
/// direction).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    range: [f64; 2],
    #[serde(default)]
    levels: u32,
    #[serde(default)]
    every: u32,
    /// Of a direction alone: degrees a step.
    turn: Option<f64>,
}

/// The point to walk to or with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Goal {
    moves: String,
    arena: Option<[f64; 2]>,
    #[serde(default)]
    every: u32,
    ahead: Option<f64>,
}

/// The point to look at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    arena: [f64; 2],
    #[serde(default)]
    every: u32,
}

/// The tables of commands, in the order of a character's numbers.
const OF: [&str; 3] = ["direction", "speed", "facing"];

/// A file that is being read: what is wrong is said with its line.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: &Range<usize>, what: String) -> Result<T> {
        Err(in_line(self.path, line_of(self.text, at.start), what))
    }

    /// The number of a name among those that there are.
    fn number(&self, at: &Range<usize>, of: &str, name: &str, names: &[&str]) -> Result<u32> {
        let found = names.iter().position(|known| *known == name);
        found.map_or_else(
            || {
                let (near, known) = (nearest(name, names.iter().copied()), names.join(", "));
                self.wrong(at, format!("unknown {of} {name:?}; did you mean {near:?}? There are {known}"))
            },
            |number| Ok(number as u32),
        )
    }

    fn finite(&self, at: &Range<usize>, of: &str, x: f64) -> Result<f64> {
        if x.abs() <= LARGEST {
            return Ok(x);
        }
        self.wrong(at, format!("{of} is {x}, expected a finite number of at most {LARGEST}"))
    }

    fn above_zero(&self, at: &Range<usize>, of: &str, x: f64) -> Result<f64> {
        if x > 0.0 {
            return self.finite(at, of, x);
        }
        self.wrong(at, format!("{of} is {x}, expected a number above 0"))
    }

    /// A name that may stand in a table or a file's name.
    fn name(&self, at: &Range<usize>, name: &str) -> Result<String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if (1..=LONGEST).contains(&name.len()) && name.chars().all(fits) {
            return Ok(name.to_owned());
        }
        self.wrong(at, format!("name {name:?}, expected up to {LONGEST} small letters, digits, - and _"))
    }

    /// The draw of a command between two numbers, each times `unit`.
    fn drawn(&self, at: &Range<usize>, of: &str, [from, to]: [f64; 2], unit: f64, levels: u32) -> Result<Drawn> {
        self.finite(at, of, from)?;
        self.finite(at, of, to)?;
        if from > to || levels == 1 {
            let what = format!("range is [{from}, {to}] with {levels} levels, expected the least first");
            return self.wrong(at, format!("{of}: {what}, and 0 levels or at least 2"));
        }
        Ok(Drawn {
            from: from * unit,
            span: (to - from) * unit,
            levels,
            slot: u32::from(to > from),
            ..Drawn::default()
        })
    }

    /// The draws of a point in an arena, whose half sizes are given.
    fn point(&self, at: &Range<usize>, of: &str, arena: [f64; 2]) -> Result<[Drawn; 2]> {
        for half in arena {
            self.above_zero(at, &format!("{of}: arena"), half)?;
        }
        Ok(arena.map(|half| Drawn { from: -half, span: 2.0 * half, slot: 1, ..Drawn::default() }))
    }
}

/// The commands that there are, of which terms and sights need some.
struct Asked {
    path: bool,
    goal: bool,
    look: bool,
    of: [bool; 3],
}

impl Asked {
    /// The table that a name needs and that is missing, if any.
    fn missing(&self, needs: &[&'static str]) -> Option<&'static str> {
        needs.iter().copied().find(|need| match *need {
            "goal" => !self.goal,
            "look" => !self.look,
            need => OF.iter().zip(self.of).any(|(of, there)| *of == need && !there),
        })
    }
}

/// The tables that a sight needs.
fn needs_of_sight(sees: Sees) -> &'static [&'static str] {
    match sees {
        Sees::Goal | Sees::Bearing | Sees::Path => &["goal"],
        Sees::Look => &["look"],
        Sees::Direction => &["direction"],
        Sees::Facing => &["facing"],
        Sees::Velocity => &["direction", "speed"],
        Sees::Speed => &["speed"],
    }
}

/// The tables that a term needs.
fn needs_of_term(value: Value) -> &'static [&'static str] {
    match value {
        Value::Distance | Value::Progress | Value::Bearing => &["goal"],
        Value::Look => &["look"],
        Value::Heading => &["direction"],
        Value::Facing => &["facing"],
        Value::Speed => &["speed"],
        Value::Velocity => &["direction", "speed"],
        Value::Still | Value::Effort | Value::Feet => &[],
    }
}

/// Suffix and description of a term's mean.
fn unit(value: Value) -> (&'static str, &'static str) {
    match value {
        Value::Distance => ("_m", "error of the distance from the goal, m"),
        Value::Progress => ("_m_s", "progress towards the goal, m/s"),
        Value::Bearing => ("_degrees", "angle at which the goal is seen, degrees"),
        Value::Look => ("_degrees", "angle at which the point to look at is seen, degrees"),
        Value::Heading => ("_degrees", "error of the heading, degrees"),
        Value::Facing => ("_degrees", "error of the facing, degrees"),
        Value::Speed => ("_error_m_s", "error of the speed, m/s"),
        Value::Velocity => ("_error_m_s", "error of the velocity, m/s"),
        Value::Still => ("_m_s", "speed of the root, m/s"),
        Value::Effort => ("", "effort"),
        Value::Feet => ("_cm_s", "slide of the feet, cm/s"),
    }
}

impl Composed {
    /// The task that a file describes; `path` names the file in messages. Errors: the line that
    /// cannot be used, and what was expected there.
    pub fn parse(path: &Path, text: &str) -> Result<Composed> {
        let file: File = toml_file::parse(path, text)?;
        let r = Reader { path, text };
        let at = file.name.span();
        let name = r.name(&at, file.name.get_ref())?;
        if Task::from_str(&name, false).is_ok() {
            return r.wrong(&at, format!("name {name:?} is that of a built-in task; take another"));
        }
        let (mut program, anew) = commands(&r, &file)?;
        let asked = Asked {
            path: program.goal == Moves::Path as u32,
            goal: file.goal.is_some(),
            look: file.look.is_some(),
            of: [file.direction.is_some(), file.speed.is_some(), file.facing.is_some()],
        };
        let kinds = sights(&r, &file, &asked, &mut program)?;
        let labels = terms(&r, &file, &asked, &mut program)?;
        let uses_speed = [Value::Speed, Value::Velocity, Value::Still].iter().any(|&value| program.has(value));
        let still = program.has(Value::Still) && !asked.of[1];
        let info = TaskInfo {
            about: leaked(file.about.as_deref().unwrap_or("Composed of terms")),
            draws: match program.drawn.iter().filter(|drawn| drawn.slot > 0).count() {
                0 => Draws::Nothing,
                count => Draws::Uniform(count),
            },
            own: VALUES + program.terms as usize,
            words: usize::from(asked.path),
            course: if asked.path { Course::Path } else { Course::Nothing },
            extra: Extra::Numbers(2 * program.sights as usize),
            unit: unit_of_entry,
            vectors: true,
            seen: Vec::leak(kinds),
            anew,
            speed: uses_speed || asked.of[1],
            moves: match asked.of[1] {
                true => Moving::At(COMMAND + 1),
                false if asked.path && !still => Moving::Always,
                false => Moving::Never,
            },
            keys: if asked.path { path::TASK.keys } else { &[] },
            recorded: Vec::leak(recorded(&asked)),
            measure,
            marks,
            ..PLAIN
        };
        Ok(Composed { name, text: text.to_owned(), program, info, labels })
    }
}

/// A text that stays for as long as the program runs, as descriptions of tasks do.
fn leaked(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

/// The pairs that are recorded.
fn recorded(asked: &Asked) -> Vec<(&'static str, usize)> {
    let all = [("goals", GOAL, asked.goal), ("commands", COMMAND, asked.of[0]), ("looks", LOOK, asked.look)];
    all.into_iter().filter(|(.., there)| *there).map(|(name, place, _)| (name, place)).collect()
}

/// The unit of an entry of what is seen.
fn unit_of_entry(rules: &Rules, entry: usize) -> f64 {
    let kind = rules.task.program().map_or(0, |program| program.sight[entry / 2].kind);
    match Sees::ALL[kind as usize] {
        Sees::Goal | Sees::Look | Sees::Path => target::RADIUS,
        Sees::Velocity | Sees::Speed => rules.speed / (joystick::SPEEDS - 1) as f64,
        Sees::Bearing | Sees::Direction | Sees::Facing => 1.0,
    }
}

/// The commands of a file as the beginning of a program, and the steps between changes.
fn commands(r: &Reader, file: &File) -> Result<(Program, usize)> {
    let mut program = Program::default();
    // Number that is drawn, steps between draws, and where they stand.
    let mut every: [(u32, Range<usize>); DRAWN] = std::array::from_fn(|_| (0, 0..0));
    let radians = 1f64.to_radians();
    let given = [(&file.direction, radians), (&file.speed, 1.0), (&file.facing, radians)];
    for (i, ((given, unit), of)) in given.into_iter().zip(OF).enumerate() {
        let Some(given) = given else {
            continue;
        };
        let (at, Command { range, levels, every: steps, turn }) = (given.span(), given.get_ref());
        program.drawn[COMMAND + i] = r.drawn(&at, of, *range, unit, *levels)?;
        every[COMMAND + i] = (*steps, at.clone());
        if of == "speed" && range[0] < 0.0 {
            return r.wrong(&at, format!("speed: range begins at {}, expected shares of 0 or more", range[0]));
        }
        match turn {
            Some(turn) if of == "direction" => program.turn = r.finite(&at, "direction: turn", *turn)? * radians,
            Some(_) => return r.wrong(&at, format!("{of}: only a direction has `turn`; leave it out")),
            None => {}
        }
    }
    if let Some(given) = &file.goal {
        let (at, goal) = (given.span(), given.get_ref());
        program.goal = r.number(&at, "goal: moves", &goal.moves, Moves::NAMES)?;
        let moves = Moves::ALL[program.goal as usize];
        let still = moves == Moves::Still;
        if still != goal.arena.is_some() || !still && goal.every > 0 {
            return r.wrong(&at, "goal: a still one, and no other, has an `arena` and may have `every`".into());
        }
        if (moves == Moves::Leader) != goal.ahead.is_some() {
            return r.wrong(&at, "goal: a leader, and no other, has `ahead`, where it starts".into());
        }
        if moves == Moves::Leader && (file.direction.is_none() || file.speed.is_none()) {
            return r.wrong(&at, "goal: a leader goes in a direction at a speed; add both tables".into());
        }
        if let Some(arena) = goal.arena {
            program.drawn[GOAL..][..2].copy_from_slice(&r.point(&at, "goal", arena)?);
            every[GOAL] = (goal.every, at.clone());
            every[GOAL + 1] = every[GOAL].clone();
        }
        program.ahead = goal.ahead.map_or(Ok(0.0), |ahead| r.above_zero(&at, "goal: ahead", ahead))?;
    }
    if let Some(given) = &file.look {
        let (at, Look { arena, every: steps }) = (given.span(), given.get_ref());
        program.drawn[LOOK..].copy_from_slice(&r.point(&at, "look", *arena)?);
        every[LOOK] = (*steps, at);
        every[LOOK + 1] = every[LOOK].clone();
    }
    let anew = every.iter().map(|(steps, _)| *steps).filter(|&steps| steps > 0).min().unwrap_or_default();
    let mut slots = 0;
    for (drawn, (steps, at)) in program.drawn.iter_mut().zip(every) {
        if steps > 0 {
            if steps % anew > 0 {
                return r.wrong(&at, format!("every is {steps}, expected a multiple of the least, {anew}"));
            }
            drawn.every = steps / anew;
        }
        if drawn.slot > 0 {
            slots += 1;
            drawn.slot = slots;
        }
    }
    Ok((program, anew as usize))
}

/// Adds the pairs that are seen to a program; returns how they depend on the state.
fn sights(r: &Reader, file: &File, asked: &Asked, program: &mut Program) -> Result<Vec<Seen>> {
    let mut kinds = Vec::new();
    let mut all = Vec::new();
    for given in &file.seen {
        let at = given.span();
        let kind = r.number(&at, "sight", given.get_ref(), Sees::NAMES)?;
        let sees = Sees::ALL[kind as usize];
        if let Some(table) = asked.missing(needs_of_sight(sees)) {
            return r.wrong(&at, format!("{:?} is seen, and there is no [{table}]; add it", sees.name()));
        }
        if sees == Sees::Path && !asked.path {
            return r
                .wrong(&at, "\"path\" is seen, and the goal does not move along one; take moves = \"path\"".into());
        }
        // The goal itself is the first point of the path.
        for i in if sees == Sees::Path { 1..path::AHEAD } else { 0..1 } {
            all.push(Sight { kind, ahead: (path::GAP * i) as u32 });
            kinds.push(match sees {
                Sees::Goal | Sees::Look | Sees::Path => Seen::Points,
                Sees::Bearing => Seen::Bearing,
                Sees::Direction | Sees::Facing | Sees::Velocity => Seen::Directions,
                Sees::Speed => Seen::Nothing,
            });
        }
    }
    if all.is_empty() || all.len() > MOST {
        let what = format!("{} pairs are seen, expected 1 to {MOST}", all.len());
        return r.wrong(&(0..0), format!("{what}: seen = [...] of {}", Sees::NAMES.join(", ")));
    }
    program.sights = all.len() as u32;
    program.sight[..all.len()].copy_from_slice(&all);
    Ok(kinds)
}

/// Adds the terms of the reward to a program; returns key and description of each one's mean.
fn terms(r: &Reader, file: &File, asked: &Asked, program: &mut Program) -> Result<Vec<[String; 2]>> {
    let mut labels: Vec<[String; 2]> = Vec::new();
    if file.reward.is_empty() || file.reward.len() > MOST {
        let what = format!("{} terms are rewarded, expected 1 to {MOST}", file.reward.len());
        return r.wrong(&(0..0), format!("{what}: reward = [{{ term = ... }}] of {}", Value::NAMES.join(", ")));
    }
    for (given, into) in file.reward.iter().zip(&mut program.term) {
        let (at, rewarded) = (given.span(), given.get_ref());
        let kind = r.number(&at, "term", &rewarded.term, Value::NAMES)?;
        let value = Value::ALL[kind as usize];
        let of = |key: &str| format!("{}: {key}", rewarded.term);
        if let Some(table) = asked.missing(needs_of_term(value)) {
            return r.wrong(&at, format!("{:?} is rewarded, and there is no [{table}]; add it", value.name()));
        }
        let default = if value == Value::Progress { Shape::Linear } else { Shape::Abs };
        let shape = rewarded.shape.as_deref().unwrap_or(default.name());
        let shape = r.number(&at, "shape", shape, Shape::NAMES)?;
        let weight = r.finite(&at, &of("weight"), rewarded.weight)?;
        let scale = r.above_zero(&at, &of("scale"), rewarded.scale)?;
        if shape == Shape::Exp as u32 {
            r.above_zero(&at, &of("weight"), weight)?;
        }
        if rewarded.at.is_some() && value != Value::Distance {
            return r.wrong(&at, format!("{}: `at` is of distance; leave it out", rewarded.term));
        }
        let asked_for = r.finite(&at, &of("at"), rewarded.at.unwrap_or_default())?;
        let factor = if shape == Shape::Square as u32 { scale * scale } else { scale };
        *into = Term { weight: r.finite(&at, &of("weight / scale"), weight / factor)?, at: asked_for, kind, shape };
        let name = r.name(&at, rewarded.name.as_deref().unwrap_or(value.name()))?;
        let (suffix, about) = unit(value);
        let key = format!("{name}{suffix}");
        if COMMON.contains(&&*key) || labels.iter().any(|[other, _]| *other == key) {
            return r.wrong(&at, format!("{key} is measured already; give the term another name = \"...\""));
        }
        let label = if rewarded.name.is_some() { format!("{name}: {about}") } else { about.to_owned() };
        labels.push([key, label]);
    }
    program.terms = labels.len() as u32;
    Ok(labels)
}

impl Task {
    /// The task of a name, of a path that ends in `.toml`, or of the text of such a file. Errors:
    /// no such task, or a file that cannot be used.
    pub fn read(given: &str) -> Result<Task> {
        if let Ok(task) = Task::from_str(given, false) {
            return Ok(task);
        }
        let composed = |path: &Path, text: &str| {
            // A description is used until the program ends.
            Composed::parse(path, text).map(|task| Task::Composed(Box::leak(Box::new(task))))
        };
        if given.contains('\n') {
            return composed(Path::new("the task's file"), given);
        }
        let path = Path::new(given);
        if path.extension().is_some_and(|extension| extension == "toml") {
            return composed(path, &toml_file::read(path)?);
        }
        let known = Task::ALL.iter().map(|task| task.name()).collect::<Vec<_>>().join(", ");
        let what = format!("unknown task {given:?}: there are {known}, and files that end in .toml");
        Err(Error::Usage(format!("{what} (examples/tasks)")))
    }

    /// The name of a task, or the text of its file; [`Task::read`] gives the same task back.
    fn text(self) -> &'static str {
        match self {
            Task::Composed(task) => &task.text,
            _ => self.name(),
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, into: S) -> std::result::Result<S::Ok, S::Error> {
        into.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Task::read(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
