//! The work on a sweep: takes one run after another, trains it as far as it is to go, and measures
//! it. Run folders and their locks are all that the processes of a sweep share.
use super::file::{Run, Sweep, Training};
use super::halving::{Halving, is_largest_best};
use super::results;
use super::shard::Shard;
use crate::cli::compute::Compute;
use crate::cli::pilot::{Pilot, Trained as Controller};
use crate::cli::runs::{Kind, Sitting, progress};
use crate::cli::stop::Stops;
use crate::cli::{control, eval, train};
use crate::config::layers::nearest;
use crate::control::config::PolicyConfig;
use crate::control::thresholds::PolicyThresholds;
use crate::host::atomic;
use crate::host::lock::{Held, Lock};
use crate::host::say::say;
use crate::infer::trained::Trained;
use crate::quality::WalkOptions;
use crate::quality::thresholds::Thresholds;
use crate::run::console::Voice;
use crate::run::folder::RunFolder;
use crate::run::whole::Whole;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Time after which a worker without work looks again, while others work.
const NAP: Duration = Duration::from_millis(200);

/// The work of one process on a sweep.
pub(super) struct Work<'a> {
    sweep: &'a Sweep,
    shard: Shard,
    devices: Vec<Compute>,
    stops: Stops,
    quiet: bool,
    state: Mutex<State>,
}

/// The runs that a worker does not take.
#[derive(Default)]
struct State {
    /// Runs that workers of this process work on.
    taken: BTreeSet<usize>,
    /// Runs that other processes work on, and the words on who does.
    held: BTreeMap<usize, String>,
    /// Runs whose work ended with an error in this process.
    given_up: BTreeSet<usize>,
    /// The error of the first of them.
    error: Option<Error>,
    /// Numbers of the devices that are lost.
    lost: BTreeSet<usize>,
    /// Values of the measure of the halving, by run and level.
    values: BTreeMap<(usize, usize), f64>,
}

impl<'a> Work<'a> {
    /// The work on a share of the runs, on these devices.
    pub fn new(sweep: &'a Sweep, shard: Shard, devices: Vec<Compute>, stops: Stops, quiet: bool) -> Self {
        Work { sweep, shard, devices, stops, quiet, state: Mutex::default() }
    }

    /// Works on runs, one on each device, until nothing is left to do. A run that another process
    /// holds is left, unless that process gives no more sign of life. `told` is called after each
    /// measurement. A signal ends the process. Errors: the first error of a run.
    pub fn run(&self, told: &(dyn Fn() + Sync)) -> Result<()> {
        loop {
            thread::scope(|scope| {
                let left = (0..self.devices.len()).filter(|device| !self.state().lost.contains(device));
                left.for_each(|device| drop(scope.spawn(move || self.worker(device, told))));
            });
            if self.stops.flag.load(Ordering::Relaxed) != 0 {
                self.stops.end();
            }
            if !self.take_over()? {
                break;
            }
        }
        let mut state = self.state();
        for (run, who) in &state.held {
            self.say(&format!("{}: left, as it is {who}", self.sweep.runs[*run].name));
        }
        state.error.take().map_or(Ok(()), Err)
    }

    /// Waits for the processes that hold runs to give signs of life. Returns true if some of them
    /// are lost, so that there is more to do.
    fn take_over(&self) -> Result<bool> {
        let held: Vec<usize> = self.state().held.keys().copied().collect();
        let mut free = false;
        for run in held {
            match Lock::wait(&self.sweep.path(run))? {
                Ok(_) => free |= self.state().held.remove(&run).is_some(),
                Err(held) => drop(self.state().held.insert(run, held.to_string())),
            }
        }
        Ok(free)
    }

    /// Works on a device until nothing is left to do.
    fn worker(&self, number: usize, told: &(dyn Fn() + Sync)) {
        let device = &self.devices[number];
        while self.stops.flag.load(Ordering::Relaxed) == 0 {
            let (run, level) = match self.next() {
                Ok(next) => next,
                Err(true) => return,
                Err(false) => {
                    thread::sleep(NAP);
                    continue;
                }
            };
            let name = &self.sweep.runs[run].name;
            let _taken = Taken(self, run);
            let brought = self.bring(run, level, device);
            let mut state = self.state();
            match brought {
                Ok(Ok(())) => {
                    drop(state);
                    told();
                }
                Ok(Err(held)) => {
                    state.held.insert(run, held.to_string());
                }
                Err(Error::Stopped { .. }) => return,
                // The run goes to another device.
                Err(error @ Error::Device(_))
                    if state.lost.len() + 1 < self.devices.len() && device.open().is_err() =>
                {
                    state.lost.insert(number);
                    say(&format!("{name}: goes to another device, as its own is lost: {error}"));
                    return;
                }
                Err(source) => {
                    let error = Error::Member { name: name.clone(), source: Box::new(source) };
                    say(&error.to_string());
                    state.given_up.insert(run);
                    state.error.get_or_insert(error);
                }
            }
        }
    }

    /// Takes the next run, and says the level (from 0) that it is to be brought to. Without one, it
    /// says whether no worker has a run that might come back.
    fn next(&self) -> std::result::Result<(usize, usize), bool> {
        let (mut state, sweep) = (self.state(), self.sweep);
        let levels: Vec<usize> = (0..sweep.runs.len()).map(|run| sweep.level(run)).collect();
        let failed: Vec<bool> = (0..sweep.runs.len()).map(|run| sweep.failed(run).is_file()).collect();
        let next = self.best_to_go_on(&mut state, &levels, &failed).or_else(|| {
            let begin = |&run: &usize| {
                let Run { turn, decoder, .. } = &sweep.runs[run];
                let ready = decoder.is_none_or(|of| levels[of] == sweep.runs[of].rungs.len());
                // The decoders that halving leaves may be those of any shard.
                let ours = self.shard.has(*turn) || sweep.halving.is_some() && decoder.is_some();
                levels[run] == 0 && ready && ours && !failed[run] && state.is_free(run)
            };
            (0..sweep.runs.len()).find(begin).map(|run| (run, 0))
        });
        state.taken.extend(next.map(|(run, _)| run));
        next.ok_or(state.taken.is_empty())
    }

    /// The run that is to go on by the halving, whichever shard began it; those that are furthest
    /// come first.
    fn best_to_go_on(&self, state: &mut State, levels: &[usize], failed: &[bool]) -> Option<(usize, usize)> {
        let halving = self.sweep.halving.as_ref()?;
        (1..halving.levels).rev().find_map(|level| {
            // A run that failed on its way to a level is the last of those that reach it.
            let there = |&run: &usize| levels[run] >= level || failed[run] && levels[run] + 1 == level;
            let there = self.sweep.trainees().filter(there);
            let value = |run: usize| {
                let known = state.values.get(&(run, level)).copied();
                let value = known.or_else(|| self.sweep.value(run, level - 1, &halving.measure));
                state.values.extend(value.map(|value| ((run, level), value)));
                (run, value)
            };
            let best = halving.best(there.map(value).collect());
            let goes = |run: &usize| levels[*run] == level && !failed[*run] && state.is_free(*run);
            best.into_iter().find(goes).map(|run| (run, level))
        })
    }

    /// Trains a run up to a level and measures it. `Ok(Err)` says who else works on it.
    fn bring(&self, number: usize, level: usize, device: &Compute) -> Result<Result<(), Held>> {
        let (sweep, run) = (self.sweep, &self.sweep.runs[number]);
        let (path, until) = (sweep.path(number), run.rungs[level]);
        let (begun, file) = (path.exists(), sweep.evaluation(number, level));
        let mut resumed = None;
        if begun {
            match RunFolder::locked(&path, Lock::take)? {
                Err(held) => return Ok(Err(held)),
                Ok(_) if file.is_file() => return Ok(Ok(())),
                Ok(folder) => resumed = Some(folder),
            }
        }
        let done = if begun { progress(&sweep.last(number))?.epoch - 1 } else { 0 };
        let (name, unit) = (&run.name, if run.training.kind() == Kind::Model { "epoch" } else { "update" });
        let all = run.training.all();
        let folder = match resumed {
            Some(_) if done > until => {
                let what = format!("was trained to {unit} {done}, but is to be measured after {until}");
                return Err(Error::checkpoint(&path, what, "remove the folder to train it anew"));
            }
            Some(folder) if done == until => folder,
            resumed => {
                self.say(&format!("{name}: from {unit} {} to {until} of {all}", done + 1));
                match self.train(number, until, resumed, device) {
                    // Another process was faster to begin it.
                    Err(Error::Usage(_)) if !begun && path.exists() => return self.bring(number, level, device),
                    Err(error @ Error::NonFinite { .. }) => {
                        self.say(&format!("{name}: does not go on: {error}"));
                        return match RunFolder::locked(&path, Lock::take)? {
                            Err(held) => Ok(Err(held)),
                            Ok(_locked) => {
                                atomic::write(&sweep.failed(number), format!("{error}\n").as_bytes())?;
                                Ok(Ok(()))
                            }
                        };
                    }
                    trained => trained?,
                }
            }
        };
        let evaluation = self.measure(number, device)?;
        if run.decoder.is_none() {
            self.require_measure(&evaluation)?;
        }
        folder.require_lock()?;
        atomic::write(&file, format!("{evaluation:#}\n").as_bytes())?;
        Ok(Ok(()))
    }

    /// Trains a run until an epoch or update, and returns its folder, which stays locked.
    fn train(&self, number: usize, until: usize, resumed: Option<RunFolder>, device: &Compute) -> Result<RunFolder> {
        let (run, path) = (&self.sweep.runs[number], self.sweep.path(number));
        let sitting = Sitting {
            runs: atomic::folder_of(&path),
            name: path.file_name().and_then(|name| name.to_str()),
            compute: device,
            serve: None,
            stop: Some(self.stops.flag.clone()),
            until: Some(until).filter(|&until| until < run.training.all()),
            voice: self.voice(),
        };
        self.stops.training(|| match &run.training {
            Training::Model(config) => Ok(train::sit(&sitting, resumed, &mut config.clone(), None, None)?.done.folder),
            Training::Controller(config) => Ok(control::sit(&sitting, resumed, config)?.folder),
        })
    }

    /// Measures a run as it stands.
    fn measure(&self, number: usize, device: &Compute) -> Result<Value> {
        let (sweep, last) = (self.sweep, self.sweep.last(number));
        let words = format!("measuring {}", sweep.runs[number].name);
        let quiet = matches!(self.voice(), Voice::Quiet);
        let whole = if quiet { Whole::new(1, true) } else { Whole::single(&words) };
        match &sweep.runs[number].training {
            Training::Model(_) => {
                let options = WalkOptions { walks: sweep.eval.walks, frames: sweep.eval.frames, seed: 0 };
                let (trained, gate) = (Trained::load(&last)?, Thresholds::default());
                let (report, gate) = eval::measure(trained, &[], device, &options, Some(&gate), &whole)?;
                let mut measures: serde_json::Map<_, _> =
                    gate.iter().map(|verdict| (verdict.name.clone(), json!(verdict.value))).collect();
                for (key, error) in ["one_step_error", "error_30"].into_iter().zip(report.measured().errors) {
                    measures.insert(key.to_owned(), json!(error));
                }
                Ok(json!({ "measures": measures, "gate": gate, "report": report }))
            }
            Training::Controller(config) => {
                let mut trained = Controller::of_run(&RunFolder::open(&sweep.path(number))?)?;
                // The folder may have been moved since.
                trained.config = PolicyConfig { vae: config.vae.clone(), ..trained.config };
                let (backend, gate) = (device.open()?, PolicyThresholds::default());
                let sizes = (sweep.eval.characters, 1);
                let pilot = Pilot::Controller(trained);
                let measured = control::measure(&pilot, &[], backend.as_ref(), sizes, Some(&gate), &whole)?;
                let mut report = measured.json(&pilot);
                let gate = report["gate"].take();
                Ok(json!({ "measures": report["policy"], "gate": gate, "report": report }))
            }
        }
    }

    /// Ends all work if the measure of the halving is none of an evaluation.
    fn require_measure(&self, evaluation: &Value) -> Result<()> {
        let Some(Halving { measure, .. }) = &self.sweep.halving else { return Ok(()) };
        let known = is_largest_best(self.sweep.runs[0].training.kind(), measure).is_some();
        if known || results::found(evaluation, measure).is_some() {
            return Ok(());
        }
        self.state().given_up.extend(0..self.sweep.runs.len());
        let known: Vec<_> = evaluation["measures"].as_object().into_iter().flat_map(|all| all.keys()).collect();
        let near = nearest(measure, known.into_iter().map(String::as_str));
        Err(Error::Usage(format!("halving: unknown measure {measure:?}; did you mean {near:?}?")))
    }

    /// The voice of a training. Trainings side by side would talk all at once.
    fn voice(&self) -> Voice {
        (self.quiet || self.devices.len() > 1).into()
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that a worker has taken. Whatever happens to the worker, others do not wait for the run.
struct Taken<'a>(&'a Work<'a>, usize);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.taken.remove(&self.1);
        if thread::panicking() {
            state.given_up.insert(self.1);
        }
    }
}

impl State {
    fn is_free(&self, run: usize) -> bool {
        !self.taken.contains(&run) && !self.held.contains_key(&run) && !self.given_up.contains(&run)
    }
}
