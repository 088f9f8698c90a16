//! Tests of whole training runs of small models: they learn, repeat, resume, refuse, and each
//! option does what it says.
use crate::small::untimed;
use clap::ValueEnum;
use mvae_fast::backend::{Backend, Buffer, cpu::Cpu};
use mvae_fast::checkpoint::{Checkpoint, Tensor};
use mvae_fast::config::{Config, Decay, KlWeight, Normalization, Preset, Ramp, Variant};
use mvae_fast::data::normalize::Statistics;
use mvae_fast::data::{Dataset, npz, synth};
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::plan::{Call, Plan};
use mvae_fast::run::folder::{Env, RunFolder};
use mvae_fast::run::logs::read_metrics;
use mvae_fast::run::record::EpochRecord;
use mvae_fast::train::setup::{Setup, Start};
use mvae_fast::{Error, Result, train::schedule, train::trainer};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;
use tempfile::TempDir;

/// Training data, and a folder for runs.
struct Bench {
    root: TempDir,
    data: PathBuf,
}

impl Bench {
    /// A bench with 5 clips of 120 frames.
    fn new() -> Self {
        Bench::of(5, 120)
    }

    fn of(clips: usize, frames: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = crate::small::write(&root.path().join("motion.npz"), clips, frames);
        Bench { root, data }
    }

    fn config(&self, variant: Variant) -> Config {
        crate::small::config(&self.data, variant)
    }

    fn folder(&self, name: &str) -> RunFolder {
        RunFolder::open(&self.root.path().join(name)).unwrap()
    }

    /// Trains a new run to its end.
    fn run(&self, name: &str, c: &Config) -> Vec<EpochRecord> {
        self.start(name, c, Start::Fresh, 2, 0).unwrap()
    }

    /// Starts a new run, which stops after its first mini-batch if `signal` is not 0.
    fn start(&self, name: &str, c: &Config, start: Start, threads: usize, signal: usize) -> Result<Vec<EpochRecord>> {
        let backend = Cpu::new(threads);
        let mut setup = Setup::new(c, &backend, start)?;
        let env = Env::collect("cpu", threads);
        let first = |folder: &RunFolder| setup.save(&folder.last_checkpoint());
        let folder = RunFolder::create(self.root.path(), Some(name), &c.variant.name(), &c.to_toml(), &env, first)?;
        trainer::train(&mut setup, &folder, true, &AtomicUsize::new(signal))
    }

    /// Resumes a run.
    fn resume(&self, name: &str, c: &Config, threads: usize, signal: usize) -> Result<Vec<EpochRecord>> {
        let backend = Cpu::new(threads);
        let folder = RunFolder::resume(&self.root.path().join(name))?;
        let last = folder.last_checkpoint();
        let mut setup = Setup::new(c, &backend, Start::Resume(&last))?;
        trainer::train(&mut setup, &folder, true, &AtomicUsize::new(signal))
    }
}

fn load(path: PathBuf) -> Checkpoint<'static> {
    Checkpoint::load(&path).unwrap()
}

fn last(records: &[EpochRecord]) -> &EpochRecord {
    records.last().expect("there are epochs")
}

/// The text of an error, whose exit code is checked.
fn refused<T>(result: Result<T>, code: u8) -> String {
    let error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), code, "{error}");
    error.to_string()
}

#[test]
fn training_learns() {
    let bench = Bench::new();
    for &variant in Variant::value_variants() {
        let c = Config { student_epochs: 20, ..bench.config(variant) };
        let records = bench.run(&format!("{variant:?}"), &c);
        let (first, last) = (&records[0], last(&records));
        let error = last.validation.as_ref().unwrap().one_step_error.unwrap();
        println!("{variant:?}: {} to {}, held out {error}", first.recon_loss, last.recon_loss);
        // Features have variance 1, so predicting their mean gives a loss of 1 (specialist: 0.5).
        let most = if variant == Variant::Vq { 0.6f64 } else { 0.15 };
        assert!(last.recon_loss < most.min(0.7 * first.recon_loss), "{variant:?}: {last:?}");
        assert!(error < most, "{variant:?}: {error}");
        assert!(last.warnings.iter().all(|line| !line.contains("collapsed")), "{variant:?}: {:?}", last.warnings);
    }
}

#[test]
fn a_collapsed_latent_is_said() {
    let bench = Bench::new();
    let c = Config { kl_weight: KlWeight::Fixed(1.0), student_epochs: 10, ..bench.config(Variant::Mixture) };
    let dead = bench.run("dead", &c);
    let warnings = &last(&dead).warnings;
    let said: Vec<_> = warnings.iter().filter(|line| line.starts_with("the latent has collapsed")).collect();
    assert_eq!(said.len(), 1, "{warnings:?}");
    assert!(said[0].contains("--kl-weight") && !said[0].contains('\n'), "{said:?}");
    let alive = bench.run("alive", &Config { kl_weight: Config::default().kl_weight, student_epochs: 40, ..c });
    assert_eq!(last(&alive).warnings.iter().filter(|line| line.contains("collapsed")).count(), 0);
    assert!(last(&alive).active_units > 1);
}

#[test]
fn one_seed_one_result_on_any_number_of_threads() {
    let bench = Bench::new();
    for &variant in Variant::value_variants() {
        let c = bench.config(variant);
        let name = |threads: usize| format!("{variant:?}-{threads}");
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let records = bench.start(&name(threads), &c, Start::Fresh, threads, 0).unwrap();
            (untimed(&records), load(bench.folder(&name(threads)).last_checkpoint()).tensors)
        });
        assert!(one == two && one == three, "{variant:?}, seed {}", c.seed);
        let (records, tensors) = one;
        let other = bench.run(&format!("{variant:?}-seed"), &Config { seed: 1, ..c });
        assert!(other[0].recon_loss != records[0].recon_loss, "{variant:?}");
        assert!(load(bench.folder(&format!("{variant:?}-seed")).last_checkpoint()).tensors != tensors);
    }
}

/// All results of a run that must not depend on how often it was stopped.
fn outcome(folder: &RunFolder) -> (Vec<EpochRecord>, String, u64, [Vec<Tensor<'static>>; 2]) {
    let checkpoints = [folder.last_checkpoint(), folder.best_checkpoint()].map(|path| load(path).tensors);
    let events = fs::metadata(folder.events()).unwrap().len();
    let records = untimed(&read_metrics::<EpochRecord>(&folder.metrics()).unwrap().0);
    (records, fs::read_to_string(folder.progress()).unwrap(), events, checkpoints)
}

#[test]
fn a_run_stopped_after_every_mini_batch_ends_as_one_never_stopped() {
    let bench = Bench::of(4, 60);
    for &variant in Variant::value_variants() {
        let target_kl = (variant == Variant::Posevae).then_some(0.5);
        let mut c = Config { target_kl, kl_warmup_epochs: 3, validation: 0.2, ..bench.config(variant) };
        if variant == Variant::Mixture {
            // Epochs that begin within a pass through the windows, and a rate for each step.
            c = Config { minibatches: 5, decay: Decay::Linear, warmup_steps: 7, ..c };
        }
        let (whole, pieces) = (format!("{variant:?}-whole"), format!("{variant:?}-pieces"));
        bench.run(&whole, &c);
        let mut result = bench.start(&pieces, &c, Start::Fresh, 1, 15);
        let mut sittings = 1;
        let backend = Cpu::new(1);
        let minibatches = Setup::new(&c, &backend, Start::Fresh).unwrap().minibatches();
        assert!(minibatches > 3);
        while let Err(error) = result {
            assert!(matches!(error, Error::Stopped { signal: 15, .. }), "{error}");
            sittings += 1;
            result = bench.resume(&pieces, &c, 1 + sittings % 2, 15);
        }
        assert_eq!(sittings, minibatches * c.epochs(), "{variant:?}");
        assert!(outcome(&bench.folder(&whole)) == outcome(&bench.folder(&pieces)), "{variant:?}, seed {}", c.seed);
    }
}

#[test]
fn logs_are_cut_back_to_the_checkpoint() {
    let bench = Bench::new();
    let c = bench.config(Variant::Mixture);
    bench.run("whole", &c);
    let stopped = bench.start("cut", &c, Start::Fresh, 2, 2);
    assert!(matches!(stopped, Err(Error::Stopped { signal: 2, .. })));
    let folder = bench.folder("cut");
    for log in [folder.metrics(), folder.progress(), folder.events()] {
        let mut bytes = fs::read(&log).unwrap();
        bytes.extend(b"{\"epoch\":1, torn");
        fs::write(&log, bytes).unwrap();
    }
    bench.resume("cut", &c, 2, 0).unwrap();
    assert!(outcome(&bench.folder("whole")) == outcome(&folder));
}

#[test]
fn other_data_is_refused_on_resume() {
    let bench = Bench::new();
    let c = bench.config(Variant::Posevae);
    bench.start("run", &c, Start::Fresh, 1, 2).unwrap_err();
    crate::small::write(&bench.data, 5, 110);
    let message = refused(bench.resume("run", &c, 1, 0), 4);
    assert!(message.contains("550 frames of 12 features") && message.contains("trained on 600"), "{message}");
    crate::small::write(&bench.data, 4, 150);
    let message = refused(bench.resume("run", &c, 1, 0), 4);
    assert!(message.contains("clips or values"), "{message}");
    crate::small::write(&bench.data, 5, 120);
    bench.resume("run", &c, 1, 0).unwrap();
    // A model without training state cannot be resumed.
    let last = bench.folder("run").last_checkpoint();
    Checkpoint { meta: None, ..load(last.clone()) }.save(&last).unwrap();
    let message = refused(bench.resume("run", &c, 1, 0), 4);
    assert!(message.contains("--init"), "{message}");
}

#[test]
fn clips_go_on_in_one_another() {
    let bench = Bench::new();
    let set = synth::locomotion(1500, 3);
    npz::write(&bench.data, &set).unwrap();
    let c = Config { bridge_clips: true, ..bench.config(Variant::Mixture) };
    let backend = Cpu::new(1);
    let windows =
        |c: &Config| Setup::new(c, &backend, Start::Fresh).map(|setup| (setup.windows, setup.bridges)).unwrap();
    let ((with, bridges), (without, none)) = (windows(&c), windows(&Config { bridge_clips: false, ..c.clone() }));
    assert!(bridges > 0 && none == 0);
    let last = set.num_frames() as u32;
    assert!(without.iter().all(|&start| start < last));
    assert_eq!(with.iter().filter(|&&start| start >= last).count() % bridges, 0, "every bridge has as many windows");
    // Training with bridges resumes as if it had not stopped, and refuses to resume without them.
    let whole = bench.run("whole", &c);
    bench.start("parts", &c, Start::Fresh, 1, 2).unwrap_err();
    let parts = bench.resume("parts", &c, 2, 0).unwrap();
    assert_eq!(untimed(&whole), untimed(&parts));
    let message = refused(bench.resume("parts", &Config { bridge_clips: false, ..c.clone() }, 1, 0), 4);
    assert!(message.contains("bridge_clips"), "{message}");
}

#[test]
fn mirror_images_are_trained_on_and_held_out_with_their_clips() {
    let bench = Bench::new();
    let set = synth::locomotion_in_clips(1500, 100, 3);
    npz::write(&bench.data, &set).unwrap();
    let plain = Config { bridge_clips: false, validation: 0.2, ..bench.config(Variant::Mixture) };
    let c = Config { mirror: true, ..plain.clone() };
    let backend = Cpu::new(1);
    let setup = |c: &Config, start| {
        let setup = Setup::new(c, &backend, start).unwrap();
        assert_eq!(setup.mirrored, c.mirror);
        (setup.windows, setup.split)
    };
    let ((windows, split), (as_they_are, alone)) = (setup(&c, Start::Fresh), setup(&plain, Start::Fresh));
    assert_eq!(windows.len(), 2 * as_they_are.len());
    assert_eq!((split.before(1500), split.validation.len()), (alone.clone(), 2 * alone.validation.len()));
    for held_out in &alone.validation {
        let image = held_out.start + 1500..held_out.end + 1500;
        assert!(split.validation.contains(&image));
        assert!(
            windows.iter().all(|&start| !held_out.contains(&(start as usize)) && !image.contains(&(start as usize)))
        );
    }

    // The run resumes as if it had not stopped, refuses to resume without mirror images, and knows
    // the skeleton even if the data file has lost it.
    let whole = bench.run("whole", &c);
    bench.start("parts", &c, Start::Fresh, 1, 2).unwrap_err();
    let message = refused(bench.resume("parts", &plain, 1, 0), 4);
    assert!(message.contains("trained with mirror = true, but"), "{message}");
    let nameless = Dataset { rig: None, clip_names: Vec::new(), clip_roots: Vec::new(), ..set.clone() };
    npz::write(&bench.data, &nameless).unwrap();
    assert_eq!(untimed(&bench.resume("parts", &c, 2, 0).unwrap()), untimed(&whole));

    // A set that already contains its mirror images holds out the same clips.
    let mut both = set;
    assert_eq!(both.mirror_if_named(), None);
    npz::write(&bench.data, &both).unwrap();
    assert_eq!(setup(&plain, Start::Fresh).1, split);
}

#[test]
fn errors_of_toes_count_as_often_as_asked() {
    let bench = Bench::new();
    let set = synth::locomotion(1500, 3);
    npz::write(&bench.data, &set).unwrap();
    let toes = set.rig.as_ref().unwrap().skeleton.toes;
    let (backend, plain) = (Cpu::new(1), Config { toe_weight: 1.0, ..bench.config(Variant::Mixture) });
    let c = Config { toe_weight: 16.0, ..plain.clone() };
    let set_up = |c: &Config, start: Start| Setup::new(c, &backend, start).unwrap().statistics;
    let (alike, heavy) = (set_up(&plain, Start::Fresh), set_up(&c, Start::Fresh));
    assert_eq!(Statistics { weight: alike.weight.clone(), ..heavy.clone() }, alike);
    let (plain_scale, scale) = (alike.scale_and_shift(c.normalization).0, heavy.scale_and_shift(c.normalization).0);
    let joints = set.rig.as_ref().unwrap().skeleton.len();
    for feature in 0..set.frame_size {
        let (part, joint) = ((feature.max(3) - 3) / 3 / joints, (feature.max(3) - 3) / 3 % joints);
        let toe = feature >= 3 && part < 2 && toes.contains(&joint);
        assert_eq!(scale[feature], plain_scale[feature] / if toe { 4.0 } else { 1.0 }, "feature {feature}");
    }
    // The weights travel with the model, whatever the next run's configuration says.
    bench.run("first", &c);
    let last = bench.folder("first").last_checkpoint();
    assert_eq!(set_up(&plain, Start::Init(&last)).weight, heavy.weight);
    assert_eq!(set_up(&c, Start::Resume(&last)).weight, heavy.weight);
    let refusal = refused(Setup::new(&Config { toe_weight: 0.0, ..c.clone() }, &backend, Start::Resume(&last)), 4);
    assert!(refusal.contains("toe_weight"), "{refusal}");
}

#[test]
fn init_takes_parameters_and_statistics() {
    let bench = Bench::new();
    let backend = Cpu::new(1);
    let c = bench.config(Variant::Vq);
    bench.run("first", &c);
    let best = bench.folder("first").best_checkpoint();
    let trained = load(best.clone());
    let other = crate::small::write(&bench.root.path().join("other.npz"), 3, 90);
    let c = Config { data: vec![other.clone()], ..c };

    let set_up = |path: &Path| {
        let setup = Setup::new(&c, &backend, Start::Init(path)).unwrap();
        let parameters = setup.memory.read(setup.parameters.values).unwrap();
        assert_eq!(setup.at.step, 0);
        (parameters, setup.statistics)
    };
    let (parameters, statistics) = set_up(&best);
    let fresh = Setup::new(&c, &backend, Start::Fresh).unwrap();
    assert!(parameters != fresh.memory.read(fresh.parameters.values).unwrap());
    assert!(statistics != fresh.statistics, "statistics travel with the model");

    let bare = bench.root.path().join("bare.safetensors");
    let state_dict = Checkpoint { meta: None, ..trained.clone() };
    state_dict.save(&bare).unwrap();
    assert!(set_up(&bare) == (parameters.clone(), statistics));
    let without = |checkpoint: &Checkpoint<'static>, prefix: &str| {
        let tensors = checkpoint.tensors.iter().filter(|tensor| !tensor.name.starts_with(prefix)).cloned();
        Checkpoint { tensors: tensors.collect(), meta: None }
    };
    without(&state_dict, "normalization").save(&bare).unwrap();
    assert!(set_up(&bare) == (parameters, fresh.statistics));

    let refusal = |c: &Config, path: &Path| refused(Setup::new(c, &backend, Start::Init(path)), 4);
    let message = refusal(&Config { latent_size: 5, ..c.clone() }, &best);
    assert!(message.contains("shape"), "{message}");
    let message = refusal(&Config { variant: Variant::Mixture, ..c.clone() }, &best);
    assert!(message.contains("missing"), "{message}");
    let message = refusal(&Config { normalization: Normalization::Minmax, ..c.clone() }, &best);
    assert!(message.contains("--normalization zscore"), "{message}");
    without(&state_dict, "normalization.std").save(&bare).unwrap();
    assert!(refusal(&c, &bare).contains("normalization.std"));
    let mut zeros = without(&state_dict, "normalization.std");
    zeros.tensors.push(Tensor::f64("normalization.std", &[crate::small::FEATURES], vec![0.0; crate::small::FEATURES]));
    zeros.save(&bare).unwrap();
    assert!(refusal(&c, &bare).contains("divide feature 0 by 0"));
    assert!(refusal(&c, &bench.root.path().join("no such file")).contains("no such file"));
    assert!(refusal(&c, &other).contains("other.npz"));
}

#[test]
fn a_loss_that_is_not_finite_is_named_and_keeps_the_last_good_checkpoint() {
    let bench = Bench::new();
    for &variant in Variant::value_variants() {
        let name = format!("{variant:?}");
        let c = Config { learning_rate: 1e30, ..bench.config(variant) };
        let error = bench.start(&name, &c, Start::Fresh, 2, 0).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let Error::NonFinite { epoch, step, operation, .. } = &error else { panic!("{error}") };
        assert_eq!((*epoch, *step), (1, 2), "{error}");
        assert!(operation.contains('('), "{error}");
        let last = bench.folder(&name).last_checkpoint();
        assert_eq!(load(last.clone()).meta.unwrap().progress.unwrap().step, 0);
        bench.start(&format!("{name}-again"), &bench.config(variant), Start::Init(&last), 2, 0).unwrap();
        refused(bench.resume(&name, &c, 2, 0), 1);
    }
}

/// A backend that counts how often the host waits for rollouts.
struct Waited {
    cpu: Cpu,
    running: AtomicBool,
    rollouts: AtomicUsize,
    waits: AtomicUsize,
    one_launch: bool,
}

impl Waited {
    fn new(one_launch: bool) -> Self {
        let (cpu, running, [rollouts, waits]) = (Cpu::new(1), AtomicBool::new(false), [0, 0].map(AtomicUsize::new));
        Waited { cpu, running, rollouts, waits, one_launch }
    }
}

#[allow(unsafe_code)]
impl Backend for Waited {
    fn describe(&self) -> String {
        self.cpu.describe()
    }
    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.cpu.alloc(bytes)
    }
    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        self.cpu.write(to, at, from)
    }
    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        self.waits.fetch_add(usize::from(self.running.swap(false, SeqCst)), SeqCst);
        self.cpu.read(from, at, to)
    }
    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        unsafe { self.cpu.run(calls, arena) }
    }
    unsafe fn repeat(&self, plan: &Plan, times: usize, arena: &mut Buffer) -> Result<()> {
        // Single steps belong to the evaluation, which reads the result of each.
        self.running.store(times > 1, SeqCst);
        self.rollouts.fetch_add(usize::from(times > 1), SeqCst);
        unsafe { self.cpu.repeat(plan, times, arena) }
    }
    fn is_one_launch(&self) -> bool {
        self.one_launch
    }
}

impl Bench {
    /// Trains a new run on a backend, to its end.
    fn run_on(&self, name: &str, c: &Config, backend: &dyn Backend) -> Vec<EpochRecord> {
        let mut setup = Setup::new(c, backend, Start::Fresh).unwrap();
        let first = |folder: &RunFolder| setup.save(&folder.last_checkpoint());
        let env = Env::collect("cpu", 1);
        let folder = RunFolder::create(self.root.path(), Some(name), "mixture", &c.to_toml(), &env, first).unwrap();
        trainer::train(&mut setup, &folder, true, &AtomicUsize::new(0)).unwrap()
    }
}

#[test]
fn nobody_waits_for_the_device_inside_an_epoch_but_ten_times_a_second() {
    let bench = Bench::new();
    let c = bench.config(Variant::Mixture);
    let backend = Waited::new(false);
    let begun = Instant::now();
    bench.run_on("run", &c, &backend);
    // One wait at the end of an epoch, and two for the errors of its evaluation.
    let most = 3 * c.epochs() + (begun.elapsed().as_secs_f64() / 0.1) as usize + 1;
    let (waits, rollouts) = (backend.waits.load(SeqCst), backend.rollouts.load(SeqCst));
    assert!(waits >= c.epochs() && waits <= most && rollouts > 100, "{waits} waits, {rollouts} rollouts");
}

#[test]
fn where_a_plan_is_one_launch_an_epoch_is_few() {
    let bench = Bench::new();
    let c = bench.config(Variant::Mixture);
    let [few, many] = [true, false].map(Waited::new);
    let records = [("few", &few), ("many", &many)].map(|(name, backend)| untimed(&bench.run_on(name, &c, backend)));
    assert!(records[0] == records[1] && outcome(&bench.folder("few")) == outcome(&bench.folder("many")));
    let [few, many] = [few, many].map(|backend| backend.rollouts.load(SeqCst));
    assert!(few >= c.epochs() && few <= many / 4, "{few} launches of {many} rollouts");
}

#[test]
fn a_number_that_goes_bad_later_leaves_the_checkpoint_alone() {
    let bench = Bench::new();
    let c = bench.config(Variant::Posevae);
    let backend = Cpu::new(1);
    let mut setup = Setup::new(&c, &backend, Start::Fresh).unwrap();
    let first = |folder: &RunFolder| setup.save(&folder.last_checkpoint());
    let root = bench.root.path();
    let env = Env::collect("cpu", 1);
    let folder = RunFolder::create(root, Some("run"), &c.variant.name(), &c.to_toml(), &env, first).unwrap();
    let stop = AtomicUsize::new(2);
    trainer::train(&mut setup, &folder, true, &stop).unwrap_err();
    let good = load(folder.last_checkpoint());
    let out = setup.parameters.var("out.bias").value;
    setup.memory.write(out, &vec![f32::NAN; out.len()]).unwrap();
    let error = trainer::train(&mut setup, &folder, true, &stop).unwrap_err().to_string();
    assert!(error.contains("epoch 1, step 5") && error.contains("linear_forward (y)"), "{error}");
    assert!(good == load(folder.last_checkpoint()));
    drop(folder);
    bench.resume("run", &c, 1, 0).unwrap();
}

#[test]
fn every_variant_takes_several_frames_in_and_out() {
    let bench = Bench::new();
    for &variant in Variant::value_variants() {
        let c = Config { condition_frames: 2, future_predictions: 2, ..bench.config(variant) };
        let records = bench.run(&format!("{variant:?}"), &c);
        assert!(last(&records).recon_loss < records[0].recon_loss, "{variant:?}");
        assert!(last(&records).validation.is_some());
    }
}

#[test]
fn presets_train_every_variant() {
    let bench = Bench::new();
    for preset in [Preset::Default, Preset::Paper, Preset::Reference] {
        for &variant in Variant::value_variants() {
            let small = bench.config(variant);
            let p = Config::preset(preset);
            let Config { ramp, validation, final_learning_rate, decay, warmup_steps, .. } = p;
            let kl_weight = if preset == Preset::Default { small.kl_weight } else { p.kl_weight };
            let target_kl = p.target_kl.filter(|_| variant != Variant::Vq);
            let rates = Config { final_learning_rate, decay, warmup_steps: warmup_steps.min(8), ..small };
            let c = Config { kl_weight, target_kl, ramp, validation, ..rates };
            let records = bench.run(&format!("{preset:?}-{variant:?}"), &c);
            if let KlWeight::Fixed(weight) = kl_weight {
                assert!(records.iter().all(|r| (r.kl_weight - weight).abs() < 1e-9 * weight), "{preset:?} {variant:?}");
            }
            let v = last(&records).validation.clone().unwrap();
            assert_eq!(v.one_step_error.is_some(), preset == Preset::Default, "the others train on everything");
            assert!(v.prior_rms > 0.0);
        }
    }
    let c = Config { kl_weight: KlWeight::Auto, ..bench.config(Variant::Vq) };
    let message = c.validate().unwrap_err().to_string();
    assert!(message.starts_with("kl_weight auto: vq") && !message.contains('\n'), "{message}");
}

#[test]
fn the_kl_weight_warms_up() {
    let bench = Bench::new();
    let c = Config { kl_warmup_epochs: 3, kl_weight: KlWeight::Fixed(0.6), ..bench.config(Variant::Mixture) };
    let weights: Vec<f64> = bench.run("run", &c).iter().map(|record| record.kl_weight).collect();
    // The mean of a linear warm-up over an epoch; half a mini-batch of 30 is 0.003.
    for (weight, expected) in weights.iter().zip([0.1, 0.3, 0.5, 0.6, 0.6, 0.6]) {
        assert!((weight - expected).abs() < 0.006, "{weights:?}");
    }
}

#[test]
fn free_bits_keep_the_latent_alive() {
    let bench = Bench::new();
    let c = Config { kl_weight: KlWeight::Fixed(1.0), student_epochs: 10, ..bench.config(Variant::Mixture) };
    let without = last(&bench.run("without", &c)).kl_loss;
    let with = last(&bench.run("with", &Config { free_bits: 0.5, ..c })).kl_loss;
    println!("KL {without} without, {with} with free bits");
    assert!(without < 0.1 && with > 0.3 && with < 1.0, "KL {without} without, {with} with free bits of 0.5");
}

#[test]
fn the_kl_is_steered_to_its_target() {
    let bench = Bench::new();
    for target in [0.3, 1.0] {
        let c = Config { target_kl: Some(target), student_epochs: 60, ..bench.config(Variant::Mixture) };
        let records = bench.run(&format!("{target}"), &c);
        let kl = last(&records).kl_loss;
        println!("target {target}: KL {kl}, weight {}", last(&records).kl_weight);
        assert!((kl / target - 1.0).abs() < 0.15, "target {target}: {kl}");
        assert!(last(&records).kl_weight != records[0].kl_weight);
    }
}

#[test]
fn the_automatic_weight_follows_the_error() {
    let bench = Bench::new();
    for variant in [Variant::Mixture, Variant::Posevae, Variant::Specialist] {
        let c = Config { kl_weight: KlWeight::Auto, student_epochs: 36, ..bench.config(variant) };
        let records = bench.run(&format!("{variant:?}"), &c);
        let units = 2.0 * 4.0 / crate::small::FEATURES as f64;
        assert!(last(&records).kl_weight < 0.8 * records[0].kl_weight, "{variant:?}");
        // The running error, computed from means of epochs instead of steps; before the first step
        // it is unknown.
        let past = 0.999f64.powf(records[0].step as f64);
        let first = if variant == Variant::Specialist { 0.5 } else { 1.0 };
        let running = records.iter().fold(first, |v, r| past * v + (1.0 - past) * r.recon_loss);
        let ratio = last(&records).kl_weight / (units * running);
        assert!((0.8..1.25).contains(&ratio), "{variant:?}: weight {ratio} times what the running error asks for");
    }
}

#[test]
fn the_learning_rate_rises_and_falls_as_the_schedule_says() {
    let c = Config { learning_rate: 1e-2, final_learning_rate: 1e-3, warmup_steps: 10, ..Config::default() };
    let steps = 100 * c.epochs() as u64;
    let rate = |decay, step| schedule::learning_rate(&Config { decay, ..c.clone() }, step, 100);
    for decay in [Decay::Linear, Decay::Cosine, Decay::Epoch] {
        assert!((1..10).all(|step| rate(decay, step) < rate(decay, step + 1)), "{decay:?} rises");
        assert!((11..steps).all(|step| rate(decay, step) >= rate(decay, step + 1)), "{decay:?} falls");
        assert!((rate(decay, 11) - 1e-2).abs() < 1e-4 && rate(decay, steps) > 1e-3, "{decay:?}");
        let half = rate(decay, steps / 2 + 1);
        assert!((half - 5.5e-3).abs() < 1e-9, "{decay:?} is half way down: {half}");
    }
    assert!(rate(Decay::Linear, steps) - 1e-3 < 1e-5 && rate(Decay::Cosine, steps) - 1e-3 < 1e-8);
    assert_eq!(rate(Decay::Epoch, 101), rate(Decay::Epoch, 200));
}

#[test]
fn epochs_of_any_length_pass_through_all_windows_again_and_again() {
    let windows: Vec<u32> = (100..150).collect();
    let c = Config { batch_size: 4, seed: 3, ..Config::default() };
    // 12 mini-batches hold 48 of 50 windows.
    let passes: Vec<u32> = (1..=3).flat_map(|pass| schedule::starts(&c, &windows, pass, 12)).collect();
    for pass in passes.chunks(48) {
        let different: std::collections::BTreeSet<&u32> = pass.iter().collect();
        assert!(different.len() == 48 && pass.iter().all(|start| windows.contains(start)), "{pass:?}");
    }
    assert_ne!(passes[..48], passes[48..96], "a new order");
    for length in [1, 5, 12, 30, 36] {
        let epochs: Vec<u32> =
            (1..=36 / length).flat_map(|epoch| schedule::starts(&c, &windows, epoch, length)).collect();
        assert_eq!(epochs, passes[..epochs.len()], "epochs of {length} mini-batches");
    }
}

#[test]
fn coins_fall_as_the_schedule_says() {
    const MINIBATCHES: usize = 1000;
    for ramp in [Ramp::Iteration, Ramp::Epoch] {
        let c = Config { ramp, teacher_epochs: 1, ramp_epochs: 4, student_epochs: 1, seed: 5, ..Config::default() };
        for epoch in 1..=c.epochs() {
            let steps = schedule::steps(&c, epoch, MINIBATCHES);
            assert_eq!(steps.len(), MINIBATCHES * c.rollout);
            for part in steps.chunks(MINIBATCHES / 4 * c.rollout) {
                let q = |s: u32| schedule::student_probability(&c, epoch, s as usize, MINIBATCHES);
                let inside = part.iter().filter(|s| s.rollout_step > 0);
                let (coins, students) = inside.fold((0.0, 0.0), |(n, sum), s| (n + 1.0, sum + f64::from(s.student)));
                let expected = part.iter().map(|s| q(s.minibatch)).sum::<f64>() / part.len() as f64;
                // The fraction of 1,750 coins has a standard deviation of at most 0.012.
                assert!((students / coins - expected).abs() < 0.05, "{ramp:?}, epoch {epoch}: {students} of {coins}");
            }
            for s in &steps {
                let coin = Stream::new(5, Purpose::Coin, s.step - 1).uniform(0);
                let q = schedule::student_probability(&c, epoch, s.minibatch as usize, MINIBATCHES);
                assert_eq!(s.student == 1, s.rollout_step > 0 && coin < q, "the coin of the step before decides");
            }
            let other = Config { batch_size: 3, latent_size: 9, ..c.clone() };
            assert!(steps == schedule::steps(&other, epoch, MINIBATCHES), "coins do not depend on the batch");
            assert!(steps != schedule::steps(&Config { seed: 6, ..c.clone() }, epoch, MINIBATCHES));
        }
    }
    let by_epoch = Config { teacher_epochs: 1, ramp_epochs: 3, ramp: Ramp::Epoch, ..Config::default() };
    let q: Vec<f64> = (1..6).map(|epoch| schedule::student_probability(&by_epoch, epoch, 0, 10)).collect();
    assert_eq!(q, [0.0, 0.0, 0.5, 1.0, 1.0]);
}

#[test]
fn evaluation_keeps_to_its_share() {
    let bench = Bench::new();
    let short =
        Config { batch_size: 64, rollout: 8, student_epochs: 0, ramp_epochs: 0, ..bench.config(Variant::Mixture) };
    let c = Config { teacher_epochs: 300, ..short };
    let backend = Cpu::new(1);
    let setup = Setup::new(&c, &backend, Start::Fresh).unwrap();
    let steps = setup.minibatches() * c.rollout;
    let interval = setup.evaluation.interval(c.epochs(), steps, c.batch_size);
    assert!((2..300).contains(&interval), "{interval} for {steps} steps an epoch");
    assert_eq!(setup.evaluation.interval(1, steps, c.batch_size), 1, "the last epoch at least");
    assert!(setup.evaluation.interval(3000, steps, c.batch_size) <= interval, "the long walk weighs less");
    let records = bench.start("run", &c, Start::Fresh, 1, 0).unwrap();
    let measured: Vec<usize> = records.iter().filter(|r| r.validation.is_some()).map(|r| r.epoch).collect();
    let expected: Vec<usize> = (1..=300).filter(|epoch| epoch % interval == 0 || *epoch == 300).collect();
    assert_eq!(measured, expected);
    let samples = (records[0].step as usize * c.batch_size) as f64;
    let training: f64 = records.iter().map(|r| samples / r.timing.samples_per_second).sum();
    let all: f64 = records.iter().map(|r| r.timing.seconds).sum();
    let share = 1.0 - training / all;
    println!("evaluation took {:.1} % of {all:.2} s", 100.0 * share);
    assert!(share < 0.2, "aimed at 0.08, measured on a machine that may be busy: {share}");
}

#[test]
fn nothing_held_out_leaves_walks_and_one_clip_gives_its_tail() {
    let bench = Bench::of(1, 600);
    let c = Config { validation: 0.0, ..bench.config(Variant::Mixture) };
    let v = last(&bench.run("all", &c)).validation.clone().unwrap();
    assert_eq!((v.one_step_error, v.rollout_30_error, v.rollout_300_error), (None, None, None));
    assert!((0.0..=1.0).contains(&v.prior_inside) && v.prior_rms > 0.0);
    assert!(bench.folder("all").best_checkpoint().exists(), "the last one counts as best");

    let c = Config { validation: 0.1, ..c };
    let backend = Cpu::new(1);
    let split = Setup::new(&c, &backend, Start::Fresh).unwrap().split;
    let parts = split.train.iter().chain(&split.validation).cloned().collect::<Vec<_>>();
    assert_eq!(parts, [0..540, 540..600]);
    let v = last(&bench.run("tail", &c)).validation.clone().unwrap();
    assert!(v.one_step_error.is_some() && v.rollout_30_error.is_some() && v.rollout_300_error.is_none());
}

#[test]
fn checkpoints_wait_for_their_time() {
    let bench = Bench::new();
    let c = Config { checkpoint_every: 3600, ..bench.config(Variant::Posevae) };
    let step = |name: &str| load(bench.folder(name).last_checkpoint()).meta.unwrap().progress.unwrap().step;
    bench.start("stopped", &c, Start::Fresh, 1, 2).unwrap_err();
    assert_eq!(step("stopped"), 4, "a stop writes one");
    let end = last(&bench.resume("stopped", &c, 1, 0).unwrap()).step;
    assert_eq!(step("stopped"), end, "the end writes one");
}

#[test]
fn max_minutes_stops_between_epochs_too() {
    let bench = Bench::new();
    // One mini-batch an epoch.
    let c = Config { batch_size: 500, validation: 0.0, max_minutes: Some(1e-9), ..bench.config(Variant::Posevae) };
    assert_eq!(bench.start("run", &c, Start::Fresh, 1, 0).unwrap().len(), 1);
    assert_eq!(bench.resume("run", &Config { max_minutes: None, ..c }, 1, 0).unwrap().len(), 6);
}
