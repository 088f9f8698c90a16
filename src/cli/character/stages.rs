//! The stages of a character, each of which is done unless the book says that it is.
use super::PAGE_FILE;
use super::book::crc;
use super::budget::FRAMES;
use super::motion::{self, Motion};
use super::speed::Speed;
use super::work::{CHECK, DATA, MODEL, MODEL_EVAL, PAGE, STICK, STICK_EVAL, State, Work, with};
use crate::cli::pilot::{Pilot, Trained as Controller};
use crate::cli::ship::{self, ShipArgs};
use crate::cli::{control, eval, train};
use crate::config::{Config, Overrides};
use crate::control::config::PolicyConfig;
use crate::control::thresholds::PolicyThresholds;
use crate::exchange::ship::{Format, Opset};
use crate::host::crc32c::crc32c;
use crate::host::say::minutes;
use crate::infer::trained::Trained;
use crate::quality::WalkOptions;
use crate::quality::thresholds::Thresholds;
use crate::run::folder::RunFolder;
use crate::run::logs;
use crate::run::record::EpochRecord;
use crate::{Error, Result, data};
use serde_json::{Value, json};

impl Work<'_> {
    /// Imports the motion if it is to be imported, and looks whether it can be trained on.
    pub fn motion(&mut self) -> Result<()> {
        let asked = self.motion.asked(&self.args.import)?;
        let file = self.folder.join("data.npz");
        if let Motion::Files(paths, options) = &self.motion
            && !self.book.is(DATA, &with(&asked, "data", crc([("", file.as_path())])))
        {
            let (paths, options) = (paths.clone(), options.clone());
            self.told(DATA, &asked, "the motion is imported anew", "");
            self.begin(1, DATA, "reading the motion");
            let imported = self.args.import.import(&paths, &options, &self.folder, |line| self.say(line))?;
            motion::said(&imported, options.fps).iter().for_each(|line| self.say(line));
            self.book.forget(DATA)?;
            data::npz::write(&file, &imported.set)?;
            self.book.write(DATA, with(&asked, "data", crc([("", file.as_path())])))?;
        }
        let settings = crc32c(self.asked_of_model().to_string().as_bytes());
        let asked = with(&toml::Table::new(), "motion and settings", i64::from(settings).into());
        if self.book.is(CHECK, &asked) {
            return Ok(());
        }
        if self.made.is_empty() {
            self.begin(1, CHECK, "checking the motion");
        }
        let threads = self.args.compute.threads();
        let report = motion::checked(&self.config, threads, &|line| self.whole.say(&line))?;
        report.warnings.iter().for_each(|warning| self.say(&format!("warning: {warning}")));
        if !report.ready {
            let what = report.problems.join("; ");
            return Err(Error::Gate(format!("the motion is not ready to train on: {what}; give more or longer clips")));
        }
        self.book.write(CHECK, asked)
    }

    /// Trains the model.
    pub fn model(&mut self) -> Result<()> {
        let asked = self.asked_of_model();
        let epochs = |file: &std::path::Path| Ok(Config::load(file)?.epochs());
        let state = self.state(MODEL, &asked, epochs)?;
        let run = self.run(MODEL);
        let mut config = match &state {
            State::Done => return Ok(()),
            State::Resume(_) => {
                let data = Overrides { data: Some(self.config.data.clone()), ..Overrides::default() };
                train::resumed(&RunFolder::open(&run)?, &Overrides::default(), &data)?
            }
            State::New => self.config.clone(),
        };
        self.whole.begin(2, "measuring the speed of this machine", None);
        let (speed, minibatches) = {
            let (whole, backend) = (self.whole.clone(), self.args.compute.open()?);
            let (file, say) = (self.folder.join(".untrained.safetensors"), |line: String| whole.say(&line));
            Speed::of_both((&config, &self.policy), backend.as_ref(), &file, &say)?
        };
        let steps = |config: &Config, minibatches: usize| config.epochs() * minibatches * config.rollout;
        let (all, done) =
            (steps(&config, minibatches), if let State::Resume(at) = &state { at.step as usize } else { 0 });
        let mut times = self.budget.times(speed, all - done, &self.policy);
        if let (State::New, Some(given)) = (&state, self.args.minutes) {
            let (spent, full) = (self.spent(), times[1..].iter().sum::<f64>());
            times = self.budget.shortened(spent, times)?;
            let step = 1e3 * speed.step;
            match self.budget.model(&config, speed, minibatches, times[1]) {
                Some(shorter) => {
                    let (fewer, full) = (steps(&shorter, shorter.minibatches), ((spent + full) / 60.0).ceil());
                    self.say(&format!(
                        "--minutes {given}: the model trains for {fewer} of {all} steps of {step:.1} ms; --minutes {full} \
                         would train all"
                    ));
                    config = shorter;
                }
                None => self.say(&format!("--minutes {given}: all {all} steps of the model fit, {step:.1} ms each")),
            }
        }
        self.plan = Some((speed, times));
        if let State::New = state {
            self.put_aside(MODEL, &asked, "the model", epochs)?;
        }
        self.begin(2, MODEL, "training the model");
        let (runs, resumed) = (self.folder.join("runs"), self.resumed(MODEL, &state)?);
        self.book.write(MODEL, asked)?;
        self.stops.training(|| train::sit(&self.sitting(&runs, MODEL), resumed, &mut config, None, None)).map(drop)
    }

    /// Plans the stages after a model that was trained before, unless they are planned.
    fn plan_after_model(&mut self, number: usize) -> Result<()> {
        if self.plan.is_some() {
            return Ok(());
        }
        self.whole.begin(number, "measuring the speed of this machine", None);
        let (records, _) = logs::read_metrics::<EpochRecord>(&RunFolder::open(&self.run(MODEL))?.metrics())?;
        let speed = records.last().map_or(f64::INFINITY, |record| record.timing.samples_per_second);
        let step = self.config.batch_size as f64 / speed;
        let update = Speed::of_update(&self.policy, self.args.compute.open()?.as_ref())?;
        let speed = Speed { step, update };
        self.plan = Some((speed, self.budget.times(speed, 0, &self.policy)));
        Ok(())
    }

    /// Measures the model; returns the evaluation.
    pub fn measure_model(&mut self) -> Result<Value> {
        let (last, file) = (self.last(MODEL), self.folder.join("model.json"));
        let walks = self.args.walks.unwrap_or_else(|| self.budget.walks());
        let mut asked = toml::Table::new();
        asked.insert("model".into(), crc([("", last.as_path())]));
        asked.insert("walks".into(), (walks as i64).into());
        if let Some(value) = self.kept(MODEL_EVAL, &asked, &file) {
            return Ok(value);
        }
        self.plan_after_model(3)?;
        self.begin(3, MODEL_EVAL, "measuring the model");
        let options = WalkOptions { walks, frames: FRAMES, seed: 0 };
        let (trained, gate) = (Trained::load(&last)?, Thresholds::default());
        let (report, gate) = eval::measure(trained, &[], &self.args.compute, &options, Some(&gate), &self.whole)?;
        self.keep(MODEL_EVAL, asked, &file, json!({ "checkpoint": last, "report": report, "gate": gate }))
    }

    /// Trains the controller.
    pub fn controller(&mut self) -> Result<()> {
        let asked = self.asked_of_controller();
        let updates = |file: &std::path::Path| Ok(PolicyConfig::load(file)?.updates());
        let state = self.state(STICK, &asked, updates)?;
        let run = self.run(STICK);
        let mut config = match &state {
            State::Done => return Ok(()),
            State::Resume(_) => {
                PolicyConfig { vae: self.policy.vae.clone(), ..PolicyConfig::load(&run.join("config.toml"))? }
            }
            State::New => self.policy.clone(),
        };
        self.plan_after_model(4)?;
        let spent = self.spent();
        let (speed, times) = self.plan.as_mut().expect("it was planned");
        let all = config.updates();
        let mut shortened = None;
        if let (State::New, Some(given)) = (&state, self.args.minutes) {
            let fewer = self.budget.updates(&config, *speed, spent, times[4..].iter().sum());
            config.updates = fewer.unwrap_or(config.updates);
            let said = match fewer {
                Some(fewer) => format!("the controller trains for {fewer} of {all} updates"),
                None => format!("all {all} updates of the controller fit"),
            };
            shortened = Some(format!("--minutes {given}: {said}, {:.2} s each", speed.update));
        }
        let done = if let State::Resume(at) = &state { at.epoch - 1 } else { 0 };
        times[3] = (config.updates() - done) as f64 * speed.update;
        if let State::New = state {
            self.put_aside(STICK, &asked, "the controller", updates)?;
        }
        self.begin(4, STICK, "training the controller");
        shortened.iter().for_each(|line| self.say(line));
        let (runs, resumed) = (self.folder.join("runs"), self.resumed(STICK, &state)?);
        self.book.write(STICK, asked)?;
        self.stops.training(|| control::sit(&self.sitting(&runs, STICK), resumed, &config)).map(drop)
    }

    /// Measures the controller; returns the evaluation.
    pub fn measure_controller(&mut self) -> Result<Value> {
        let (run, file) = (self.run(STICK), self.folder.join("stick.json"));
        let characters = self.budget.characters();
        let mut asked = toml::Table::new();
        asked.insert("model".into(), crc([("", self.last(MODEL).as_path())]));
        asked.insert("controller".into(), crc([("", self.last(STICK).as_path())]));
        asked.insert("characters".into(), (characters as i64).into());
        if let Some(value) = self.kept(STICK_EVAL, &asked, &file) {
            return Ok(value);
        }
        self.begin(5, STICK_EVAL, "measuring the controller");
        let mut trained = Controller::of_run(&RunFolder::open(&run)?)?;
        // The folder may have been moved since.
        trained.config.vae = self.policy.vae.clone();
        let (backend, gate) = (self.args.compute.open()?, PolicyThresholds::default());
        let sizes = (characters, 1);
        let pilot = Pilot::Controller(trained);
        let measured = control::measure(&pilot, &[], backend.as_ref(), sizes, Some(&gate), &self.whole)?;
        self.keep(STICK_EVAL, asked, &file, measured.json(&pilot))
    }

    /// Writes the page, which shows a line `note` if there is one.
    pub fn page(&mut self, note: Option<String>) -> Result<()> {
        let file = self.folder.join(PAGE_FILE);
        let mut asked = toml::Table::new();
        asked.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        asked.insert("model".into(), crc([("", self.last(MODEL).as_path())]));
        asked.insert("controller".into(), crc([("", self.last(STICK).as_path())]));
        asked.extend(note.iter().map(|note| ("note".to_owned(), note.as_str().into())));
        if self.book.is(PAGE, &asked) && file.is_file() {
            return Ok(());
        }
        self.begin(6, PAGE, "writing the page");
        let args = ShipArgs {
            run: self.run(MODEL),
            controller: Some(self.run(STICK)),
            format: Some(Format::Html),
            opset: None,
            data: Vec::new(),
            output: None,
            runs: self.folder.join("runs"),
            json: false,
        };
        let mut shipped = ship::shipped(&args)?;
        shipped.note = note;
        self.book.forget(PAGE)?;
        let written = shipped.write(Format::Html, Opset::default(), &file)?;
        let millimetres = written.halves.map_or(f64::NAN, |metres| 1e3 * metres);
        self.say(&format!("the page's weights have 16 bits, which moves joints by {millimetres:.3} mm"));
        self.book.write(PAGE, asked)
    }

    /// True if one of the trainings that were made is shorter than without `--minutes`. Errors: a
    /// configuration that cannot be read.
    pub fn is_shortened(&self) -> Result<bool> {
        let model = Config::load(&RunFolder::open(&self.run(MODEL))?.config())?;
        let policy = PolicyConfig::load(&RunFolder::open(&self.run(STICK))?.config())?;
        Ok(model.minibatches != self.config.minibatches || policy.updates() != self.policy.updates())
    }

    /// Says by how much the work took longer than it was given, if it did.
    pub fn judge_time(&self) {
        if let Some((given, all)) = self.args.minutes.zip(self.budget.seconds)
            && self.spent() > all
            && !self.made.is_empty()
        {
            let [spent, more] = [self.spent(), self.spent() - all].map(minutes);
            self.say(&format!("note: it took {spent}, which is {more} more than --minutes {given}"));
        }
    }
}
