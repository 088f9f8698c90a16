//! Compares all backends with known-good numbers, in f64 and in f32.
//!
//! The cases are the folders under `$MVAE_GOLDEN_DIR` (default `../shared/golden`) and the small
//! ones in `tests/golden`; `tests/golden/README.md` describes their format. The test prints one
//! line a case with the worst deviation of each sort of number; `cargo test --test golden --
//! --nocapture` shows it.
mod control;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "../shared/driver.rs"]
mod driver;

#[cfg(unix)]
use mvae_fast::backend::simt::Simt;
use mvae_fast::backend::{Backend, Engine, Memory, cpu::Cpu, cuda};
use mvae_fast::config::{CodebookInit, Config, ExpertInit, ModelConfig, Normalization, Ramp, Variant};
use mvae_fast::control::config::Decay;
use mvae_fast::cpu::real::Real;
use mvae_fast::data::{normalize::Statistics, windows};
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::model::network::{Network, Wanted};
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::recon_loss::slot;
use mvae_fast::plan::arena::{Arena, Mat};
use mvae_fast::plan::{Plan, Precision};
use mvae_fast::train::schedule;
use mvae_fast::train::step::{StepOptions, TrainStep};
use ndarray::ArrayD;
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

/// Smallest gradient, relative to the tensor's root mean square, above which changes of entries are
/// compared in f32. Adam turns a nearly zero gradient into a full step of uncertain sign.
const SMALL_GRADIENT: f64 = 0.05;

/// Number of f64 runs with randomly rounded parameters, which show the effect of rounding alone.
///
/// A ReLU whose input is within rounding of its kink sends a whole rollout another way, in any f32
/// program. Where f32 is off by more than its tolerance, f64 runs with parameters rounded at
/// random, as coarsely as f32. A deviation of [`ROUNDED_FACTOR`] times the worst of these runs is
/// allowed.
const ROUNDED_RUNS: u64 = 8;
const ROUNDED_FACTOR: f64 = 2.0;

/// Factor of the f32 tolerances for products in bf16x3.
///
/// Such products are off by up to 3 2^-16, with random sign, where f32 rounds each of its sums to
/// 2^-24. So outputs and gradients are off 20 to 40 times as far (docs/math.md). The tolerances for
/// f32 are 20 to 100 times its error; with this factor they also suffice for bf16x3.
#[cfg(unix)]
const BF16X3: f64 = 4.0;

/// A function that runs a case. With a seed, parameters are rounded at random to 24 bits before
/// every step.
type Run = fn(&Case, Option<u64>, &dyn Backend) -> Report;

#[test]
fn small_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    run_folder(&folder, true);
}

/// Kernels run on a GPU if there is one. On the host they take minutes: see
/// [`all_cases_by_kernels_on_the_host`].
#[test]
fn all_cases() {
    every_case(false);
}

#[test]
#[ignore = "takes minutes: .ci/slow tests"]
fn all_cases_by_kernels_on_the_host() {
    every_case(true);
}

/// The images that the program ships, run by an interpreter.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
#[ignore = "takes minutes: .ci/slow tests"]
fn small_cases_by_the_images() {
    if driver::has_kernels() {
        driver::passes(&["--exact", "small_cases"], &[]);
    }
}

fn every_case(kernels_on_host: bool) {
    let folder = std::env::var_os("MVAE_GOLDEN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden"), PathBuf::from);
    if folder.is_dir() {
        run_folder(&folder, kernels_on_host);
    } else {
        println!("golden: skipped, no folder {}", folder.display());
    }
}

/// Runs every case of a folder, as many at a time as there are cores. Fails if any number of any
/// case is off.
fn run_folder(folder: &Path, kernels_on_host: bool) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut cases: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("case.json").is_file()).collect();
    // Rollouts first, since they take longest.
    cases.sort_by_key(|path| (!path.file_name().unwrap().to_string_lossy().starts_with("rollout"), path.clone()));
    assert!(!cases.is_empty(), "{}: no case in it; a case is a folder with a case.json", folder.display());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(folder) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = catch_unwind(|| run_case(folder, kernels_on_host));
            let found = found.unwrap_or_else(|_| vec![format!("{}: panicked, as said above", folder.display())]);
            failures.lock().unwrap().extend(found);
        }
    };
    let cores = available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Runs a case, prints a line for each precision, and returns the failures.
fn run_case(folder: &Path, kernels_on_host: bool) -> Vec<String> {
    let case = Case { kernels_on_host, ..Case::load(folder) };
    let kind = case.get::<String>("kind");
    let reports = match kind.as_str() {
        "vae_step" => train_in_all(&case, vae_step::<f64>, vae_step::<f32>),
        "vae_rollout" => train_in_all(&case, vae_rollout::<f64>, vae_rollout::<f32>),
        "normalisation" => vec![normalisation::<f64>(&case), normalisation::<f32>(&case)],
        "schedule" => vec![schedules(&case)],
        "indices" => vec![indices(&case)],
        "ppo" => train_in_all(&case, control::ppo::<f64>, control::ppo::<f32>),
        "env_model" => train_in_all(&case, control::env_model::<f64>, control::env_model::<f32>),
        "env" => train_in_all(&case, control::env::<f64>, control::env::<f32>),
        _ => return vec![format!("{}: unknown kind {kind}", case.name)],
    };
    reports.iter().for_each(|report| println!("{report}"));
    let unread = case.unread.borrow();
    let unread = unread.iter().map(|name| format!("{}: nothing compares {name}", case.name));
    reports.iter().flat_map(Report::failures).chain(unread).collect()
}

/// The backend that runs kernels: a GPU if there is one, else the host if `on_host`.
fn kernels(precision: Precision, on_host: bool) -> Option<Box<dyn Backend>> {
    if cuda::driver_found() {
        return Some(Box::new(cuda::Cuda::new(0, precision, Engine::Auto).unwrap()));
    }
    #[cfg(unix)]
    return on_host.then(|| Box::new(Simt::new(1).at(precision)) as Box<dyn Backend>);
    #[cfg(not(unix))]
    None
}

/// Runs a case in f64, in f32, and on the backend with kernels.
fn train_in_all(case: &Case, run_f64: Run, run_f32: Run) -> Vec<Report> {
    let cpu = Cpu::new(1);
    let double = run_f64(case, None, &cpu);
    let mut singles = vec![run_f32(case, None, &cpu)];
    if let Some(backend) = kernels(Precision::Fp32, case.kernels_on_host) {
        singles.push(run_f32(case, None, backend.as_ref()).titled("kernels"));
    }
    // Only single steps, as a rollout takes hundreds of them and would say nothing more about
    // products. Not the quantiser's step: its ReLUs make a gradient jump where bf16x3 moves an
    // input across the kink (docs/math.md), which no tolerance allows for.
    let smooth = || case.get::<String>("kind") == "vae_step" && case.get::<String>("variant") != "vq";
    if let Some(backend) = kernels(Precision::Bf16x3, case.kernels_on_host).filter(|_| smooth()) {
        let report = run_f32(case, None, backend.as_ref());
        singles.push(report.titled("kernels, bf16x3").at_tolerance(BF16X3));
    }
    let fails = |report: &Report| report.failures().next().is_some();
    for seed in 0..ROUNDED_RUNS {
        if fails(&double) || !singles.iter().any(fails) {
            break;
        }
        let rounded = run_f64(case, Some(seed), &cpu);
        singles.iter_mut().filter(|single| fails(single)).for_each(|single| single.allow(&rounded));
    }
    singles.insert(0, double);
    singles
}

// -------------------------------------------------------------------------------------------------
// reading and judging

struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Array {
    /// The values as indices.
    fn whole(&self) -> Vec<usize> {
        self.values.iter().map(|&x| x as usize).collect()
    }
}

/// A case folder.
struct Case {
    name: String,
    folder: PathBuf,
    json: Value,
    arrays: BTreeMap<String, Array>,
    /// Names of arrays that were not read yet.
    unread: RefCell<BTreeSet<String>>,
    /// Whether kernels run on the host where there is no GPU.
    kernels_on_host: bool,
}

impl Case {
    fn load(folder: &Path) -> Self {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(folder.join("case.json")).unwrap_or_else(|e| panic!("{name}: case.json: {e}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: case.json: {e}"));
        let arrays = read_npz(&folder.join("arrays.npz")).unwrap_or_else(|e| panic!("{name}: arrays.npz: {e}"));
        let unread = RefCell::new(arrays.keys().cloned().collect());
        Case { name, folder: folder.to_owned(), json, arrays, unread, kernels_on_host: false }
    }

    fn find<V: DeserializeOwned>(&self, key: &str) -> Option<V> {
        let value = self.json.get(key)?.clone();
        Some(serde_json::from_value(value).unwrap_or_else(|e| panic!("{}: {key}: {e}", self.name)))
    }

    fn get<V: DeserializeOwned>(&self, key: &str) -> V {
        self.find(key).unwrap_or_else(|| panic!("{}: no {key} in case.json", self.name))
    }

    /// The tolerance `key` for numbers of type T; 0 if the case states none.
    fn tolerance<T: Real>(&self, key: &str) -> f64 {
        self.json["tolerance"][precision::<T>()][key].as_f64().unwrap_or(0.0)
    }

    fn find_array(&self, name: &str) -> Option<&Array> {
        self.unread.borrow_mut().remove(name);
        self.arrays.get(name)
    }

    fn array(&self, name: &str) -> &Array {
        self.find_array(name).unwrap_or_else(|| panic!("{}: no array {name}", self.name))
    }

    fn values(&self, name: &str) -> &[f64] {
        &self.array(name).values
    }

    /// Marks arrays that need not be reproduced.
    fn ignore(&self, names: impl Fn(&str) -> bool) {
        self.unread.borrow_mut().retain(|name| !names(name));
    }
}

/// Reads all arrays of a file, widened to f64 (which represents their integers exactly).
fn read_npz(path: &Path) -> Result<BTreeMap<String, Array>, ReadNpzError> {
    fn read<E: ReadableElement + Copy>(
        npz: &mut NpzReader<File>,
        name: &str,
        widen: fn(E) -> f64,
    ) -> Result<Array, ReadNpzError> {
        let array: ArrayD<E> = npz.by_name(name)?;
        Ok(Array { shape: array.shape().to_vec(), values: array.iter().map(|&x| widen(x)).collect() })
    }
    let mut npz = NpzReader::new(File::open(path).map_err(|e| ReadNpzError::Zip(e.into()))?)?;
    let names = npz.names()?;
    let arrays = names.into_iter().map(|name| {
        let array = read::<f64>(&mut npz, &name, |x| x)
            .or_else(|_| read::<f32>(&mut npz, &name, f64::from))
            .or_else(|_| read::<i64>(&mut npz, &name, |x| x as f64))?;
        Ok((name, array))
    });
    arrays.collect()
}

/// The worst deviation of each sort of number, with its tolerance.
struct Report {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    label: &'static str,
    /// Name of the array with the deviation.
    place: String,
    deviation: f64,
    tolerance: f64,
    /// Deviation by rounding alone, if it was measured; else 0.
    rounding: f64,
}

impl Report {
    fn new<T>(case: &Case) -> Self {
        Report { title: format!("{} {}", case.name, precision::<T>()), rows: Vec::new() }
    }

    /// Records a deviation. Of deviations with the same label, the one furthest beyond its
    /// tolerance is kept.
    fn note(&mut self, label: &'static str, place: &str, deviation: f64, tolerance: f64) {
        let row = Row { label, place: place.to_owned(), deviation, tolerance, rounding: 0.0 };
        match self.rows.iter_mut().find(|r| r.label == label) {
            Some(worst) if row.excess() > worst.excess() => *worst = row,
            Some(_) => {}
            None => self.rows.push(row),
        }
    }

    /// The report with the name of the backend in its title.
    #[cfg(unix)]
    fn titled(self, by: &str) -> Self {
        Report { title: format!("{} {by}", self.title), ..self }
    }

    /// The report with its tolerances multiplied by `factor`.
    #[cfg(unix)]
    fn at_tolerance(mut self, factor: f64) -> Self {
        self.rows.iter_mut().for_each(|row| row.tolerance *= factor);
        self
    }

    /// Records the deviations by rounding alone.
    fn allow(&mut self, rounded: &Report) {
        for row in &mut self.rows {
            let same = rounded.rows.iter().filter(|r| r.label == row.label);
            row.rounding = same.map(|r| r.deviation).fold(row.rounding, f64::max);
        }
    }

    fn failures(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.iter().filter(|r| r.excess() > 1.0).map(|r| {
            format!(
                "{}: {} of {} is off by {:.1e}, allowed {:.1e}",
                self.title, r.label, r.place, r.deviation, r.tolerance
            )
        })
    }
}

impl Row {
    fn excess(&self) -> f64 {
        ratio(self.deviation, self.tolerance.max(ROUNDED_FACTOR * self.rounding))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:40}", self.title)?;
        for r in &self.rows {
            write!(f, "  {} {:.1e} ({:.0e}", r.label, r.deviation, r.tolerance)?;
            match ratio(r.deviation, r.tolerance) > 1.0 {
                true => write!(f, "; rounding alone {:.1e})", r.rounding)?,
                false => write!(f, ")")?,
            }
        }
        Ok(())
    }
}

fn precision<T>() -> &'static str {
    if size_of::<T>() == 8 { "f64" } else { "f32" }
}

/// part / whole, where 0 / 0 counts as 0; infinite when not a number.
fn ratio(part: f64, whole: f64) -> f64 {
    let ratio = if part == 0.0 { 0.0 } else { part / whole };
    if ratio.is_nan() { f64::INFINITY } else { ratio }
}

/// Largest magnitude; infinite when an element is not a number.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max, x| if x.is_nan() { f64::INFINITY } else { x.abs().max(max) })
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// max |ours - golden| / max |golden|
fn relative(ours: &[f64], golden: &[f64]) -> f64 {
    assert_eq!(ours.len(), golden.len(), "elements compared");
    ratio(largest(ours.iter().zip(golden).map(|(a, b)| a - b)), largest(golden.iter().copied()))
}

// -------------------------------------------------------------------------------------------------
// the models

fn model_config(case: &Case) -> ModelConfig {
    let variant: Variant = case.get("variant");
    ModelConfig {
        variant,
        frame_size: case.get("frame_size"),
        latent_size: case.get("latent_size"),
        hidden_size: case.find("hidden_size").unwrap_or(variant.hidden_size()),
        gate_hidden_size: case.find("gate_hidden_size").unwrap_or(64),
        experts: case.find("num_experts").unwrap_or(1),
        condition_frames: case.get("num_condition_frames"),
        future_predictions: case.get("num_future_predictions"),
        codes: case.find("num_embeddings").unwrap_or(1),
        position_gain: 1.0,
    }
}

/// A training step, and the model from which a case starts.
struct Training<'c, T> {
    case: &'c Case,
    parameters: Parameters<T>,
    step: TrainStep<T>,
    /// A network for the same parameters that only decodes.
    sampler: Network<T>,
    /// Initial values of each tensor of the layout.
    initial: Vec<Vec<f64>>,
    /// Seed for the rounding of parameters; see [`Run`].
    seed: Option<u64>,
}

impl<'c, T: Real> Training<'c, T> {
    /// Lays out `minibatches` rollouts of `rollout` steps over frames [frames, F]; the arena is
    /// then ready to be allocated.
    fn new(
        case: &'c Case,
        seed: Option<u64>,
        frames: usize,
        minibatches: usize,
        rollout: usize,
    ) -> (Self, Arena, Mat<T>) {
        let model = model_config(case);
        let layout = Layout::of(&model, ExpertInit::Reference, CodebookInit::Reference);
        let source = case.find("params_from").map(|name: String| Case::load(&case.folder.with_file_name(name)));
        let source = source.as_ref().unwrap_or(case);
        let names: BTreeSet<String> = layout.tensors.iter().map(|t| t.name.clone()).collect();
        assert_eq!(names, case.get("param_order"), "{}: names of the parameters", case.name);
        let initial = layout.tensors.iter().map(|tensor| {
            let array = source.array(&format!("param.{}", tensor.name));
            assert_eq!(array.shape, tensor.shape, "{}: shape of {}", case.name, tensor.name);
            array.values.clone()
        });
        let initial = initial.collect();

        let mut arena = Arena::default();
        let parameters = Parameters::updated(&mut arena, layout);
        let data = arena.mat(frames, model.frame_size);
        let adam = |key: &str| case.json["adam"][key].as_f64().expect("adam in case.json");
        let batch = case.get("batch");
        let options = StepOptions {
            model: &model,
            batch,
            kl_rule: Rule::Fixed(case.get("beta")),
            free_bits: 0.0,
            adam: [adam("beta1"), adam("beta2"), adam("eps")],
            minibatches,
            rollout,
            draw: false,
        };
        let step = TrainStep::new(&mut arena, &parameters, data, &options).unwrap();
        let sampler = Network::new(&mut arena, &parameters, &model, batch, 0.0, Wanted::Nothing).unwrap();
        (Training { case, parameters, step, sampler, initial, seed }, arena, data)
    }

    fn write_initial(&self, memory: &mut Memory) {
        for (tensor, values) in self.parameters.layout.tensors.iter().zip(&self.initial) {
            write(memory, self.parameters.place(self.parameters.values, tensor), values);
        }
    }

    /// Runs one optimizer step with the golden random numbers of step `draw`, counted from 0.
    /// Returns the losses.
    fn run(&self, memory: &mut Memory, draw: usize) -> Vec<f64> {
        let network = &self.step.network;
        if !network.eps.is_none() {
            write(memory, network.eps, &self.case.values("eps")[draw * network.eps.len()..][..network.eps.len()]);
        }
        if !network.pick.is_none() {
            // A case with one batch has one draw for all its steps.
            let picks = self.case.array("pick").whole();
            let pick = picks.iter().cycle().skip(draw * network.pick.len()).take(network.pick.len());
            let pick: Vec<u32> = pick.map(|&expert| expert as u32).collect();
            memory.write(network.pick, &pick).unwrap();
        }
        if let Some(seed) = self.seed {
            let mut values = memory.read(self.parameters.values).unwrap();
            round_at_random(&mut values, seed << 32 | draw as u64);
            memory.write(self.parameters.values, &values).unwrap();
        }
        memory.repeat(&self.step.plan, 1).unwrap();
        memory.read(network.losses).unwrap()
    }

    /// Compares the gradients of the first step, recovered from the first moments, with `grad.*`.
    fn compare_gradients(&self, memory: &Memory, report: &mut Report) {
        let trained = self.parameters.layout.tensors.iter().filter(|t| t.trainable);
        for tensor in trained {
            let moment = read(memory, self.parameters.place(self.parameters.m, tensor));
            let share = 1.0 - adam_betas(self.case)[0];
            let ours: Vec<f64> = moment.into_iter().map(|m| m / share).collect();
            let off = deviation(self.case, "grad", &tensor.name, &ours, &vec![0.0; ours.len()], |_| true);
            report.note("grad", &tensor.name, off, self.case.tolerance::<T>("grad_rel"));
        }
    }

    /// Compares the change of every tensor since the start with `TAG.*`.
    fn compare_changes(&self, memory: &Memory, report: &mut Report, tag: &str, label: &'static str, tolerance: f64) {
        for (tensor, initial) in self.parameters.layout.tensors.iter().zip(&self.initial) {
            let ours = read(memory, self.parameters.place(self.parameters.values, tensor));
            let gradient = self.case.find_array(&format!("grad.{}", tensor.name)).filter(|_| size_of::<T>() == 4);
            let least = gradient.map_or(0.0, |g| SMALL_GRADIENT * norm(&g.values) / (g.values.len() as f64).sqrt());
            let counts = |i: usize| gradient.is_none_or(|g| g.values[i].abs() >= least);
            let off = deviation(self.case, tag, &tensor.name, &ours, initial, counts);
            report.note(label, &tensor.name, off, tolerance);
        }
    }
}

/// The deviation of a tensor's change since `initial` from the change to `tag.name`.
///
/// The golden tensor is stored whole, and then entries for which `counts` is false are left out. Or
/// it is stored as samples, with norm and sum of all entries and, for parameters, the norm of the
/// change.
fn deviation(case: &Case, tag: &str, name: &str, ours: &[f64], initial: &[f64], counts: impl Fn(usize) -> bool) -> f64 {
    let change = |values: &[f64], at: &[usize]| at.iter().zip(values).map(|(&i, x)| x - initial[i]).collect::<Vec<_>>();
    if let Some(golden) = case.find_array(&format!("{tag}.{name}")) {
        let (all, golden) = ((0..ours.len()).collect::<Vec<_>>(), &golden.values);
        assert_eq!(golden.len(), ours.len(), "{}: elements of {tag}.{name}", case.name);
        let (ours, golden) = (change(ours, &all), change(golden, &all));
        let errors = all.into_iter().filter(|&i| counts(i)).map(|i| ours[i] - golden[i]);
        return ratio(largest(errors), largest(golden.iter().copied()));
    }
    let part = |part: &str| case.values(&format!("{tag}.{name}.{part}"));
    let at = case.array(&format!("index.{name}")).whole();
    let sampled: Vec<f64> = at.iter().map(|&i| ours[i]).collect();
    let whole_change: Vec<f64> = ours.iter().zip(initial).map(|(a, b)| a - b).collect();
    let size = case.find_array(&format!("{tag}.{name}.dnorm")).map_or(part("norm")[0], |dnorm| dnorm.values[0]);
    let root = (ours.len() as f64).sqrt();
    [
        relative(&change(&sampled, &at), &change(part("val"), &at)),
        ratio((norm(&whole_change) - size).abs(), size),
        ratio((norm(ours) - part("norm")[0]).abs(), size),
        // The error of a sum is at most this root times the norm of the error.
        ratio((ours.iter().sum::<f64>() - part("sum")[0]).abs(), size * root),
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

/// Moves each value by at most half a unit in the last place of an f32.
fn round_at_random<T: Real>(values: &mut [T], mut random: u64) {
    for x in values {
        // Knuth's MMIX generator; only its upper bits are random enough.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (random >> 32) as f64 / f64::from(u32::MAX);
        *x += *x * T::of(f64::from(f32::EPSILON) * (uniform - 0.5));
    }
}

fn write<T: Real>(memory: &mut Memory, mat: Mat<T>, values: &[f64]) {
    memory.write(mat, &values.iter().map(|&x| T::of(x)).collect::<Vec<T>>()).unwrap();
}

fn read<T: Real>(memory: &Memory, mat: Mat<T>) -> Vec<f64> {
    memory.read(mat).unwrap().into_iter().map(T::f64).collect()
}

// -------------------------------------------------------------------------------------------------
// the kinds

/// Checks run-time decoding, then some training steps on one batch: first forward and backward
/// pass, Adam, total losses.
fn vae_step<T: Real>(case: &Case, seed: Option<u64>, backend: &dyn Backend) -> Report {
    let mut report = Report::new::<T>(case);
    let tolerance = |key| case.tolerance::<T>(key);
    let (batch, frame): (usize, usize) = (case.get("batch"), case.get("frame_size"));
    let (truth, cond, totals) = (case.values("truth"), case.values("cond"), case.values("step_total_loss"));
    let window = (truth.len() + cond.len()) / (batch * frame);
    let (training, arena, data) = Training::<T>::new(case, seed, batch * window, 1, totals.len());
    let (step, network, sampler) = (&training.step, &training.step.network, &training.sampler);
    let mut decode = Plan::default();
    sampler.choose(&mut decode);
    sampler.decode(&mut decode);
    sampler.draw_pick(&mut decode, Mat::NONE);
    sampler.predict(&mut decode);

    let mut memory = Memory::new(backend, arena).unwrap();
    training.write_initial(&mut memory);
    let action = if sampler.action.is_none() { sampler.z.value } else { sampler.action };
    write(&mut memory, action, case.values("sample_action"));
    write(&mut memory, sampler.condition, cond);
    memory.run(&decode).unwrap();
    let sampled = relative(&read(&memory, sampler.prediction), case.values("sample_output"));
    report.note("sample", "sample_output", sampled, tolerance("output_rel"));

    // The window operation reads truth and condition from the data, so the data has one clip a
    // sample.
    let clips = cond.chunks(cond.len() / batch).zip(truth.chunks(truth.len() / batch));
    let frames: Vec<f64> =
        clips.flat_map(|(cond, truth)| cond.chunks(frame).rev().flatten().chain(truth)).copied().collect();
    write(&mut memory, data, &frames);
    let starts: Vec<u32> = (0..batch).map(|b| (b * window) as u32).collect();
    memory.write(step.starts, &starts).unwrap();
    let (learning_rate, betas) = (case.get("lr"), adam_betas(case));
    let states: Vec<StepState> = (1..=totals.len() as u64).map(|i| adam_state(learning_rate, betas, i)).collect();
    memory.write(step.schedule, &states).unwrap();

    let mut ours = Vec::new();
    for i in 0..totals.len() {
        let losses = training.run(&mut memory, i);
        ours.push(losses[slot::TOTAL]);
        if i == 0 {
            for (name, slot) in [
                ("recon_loss", slot::RECON),
                ("kl_or_vq_loss", slot::KL),
                ("perplexity", slot::PERPLEXITY),
                ("total_loss", slot::TOTAL),
            ] {
                let off = relative(&losses[slot..][..1], case.values(name));
                report.note("loss", name, off, tolerance("loss_rel"));
            }
            for (name, ours) in [
                ("mu", network.mu.value),
                ("logvar", network.logvar.value),
                ("z", network.z.value),
                ("gate", network.gate.value),
                ("vae_output", network.prediction),
            ] {
                if !ours.is_none() {
                    let off = relative(&read(&memory, ours), case.values(name));
                    report.note("output", name, off, tolerance("output_rel"));
                }
            }
            if !network.each.value.is_none() {
                let each = read(&memory, network.each.value);
                let rows: Vec<&[f64]> = each.chunks(network.each.cols()).collect();
                let ours: Vec<f64> =
                    (0..batch).flat_map(|b| rows.iter().skip(b).step_by(batch).copied().flatten()).copied().collect();
                let off = relative(&ours, case.values("expert_outputs"));
                report.note("output", "expert_outputs", off, tolerance("output_rel"));
            }
            if !network.code.is_none() {
                let ours: Vec<f64> = memory.read(network.code).unwrap().into_iter().map(f64::from).collect();
                report.note("code", "code_index", relative(&ours, case.values("code_index")), 0.0);
            }
            training.compare_gradients(&memory, &mut report);
        }
        let label = [(1, "adam1"), (5, "adam5")].into_iter().find(|(step, _)| *step == i + 1);
        if let Some((_, label)) = label {
            training.compare_changes(&memory, &mut report, label, label, tolerance("adam_delta_rel"));
        }
    }
    report.note("loss", "step_total_loss", relative(&ours, totals), tolerance("loss_rel"));
    report
}

fn adam_betas(case: &Case) -> [f64; 2] {
    ["beta1", "beta2"].map(|key| case.json["adam"][key].as_f64().expect("adam in case.json"))
}

/// Checks the training loop from raw data on: normalisation, start frames, schedules, scheduled
/// sampling, means of the epochs.
fn vae_rollout<T: Real>(case: &Case, seed: Option<u64>, backend: &dyn Backend) -> Report {
    let mut report = Report::new::<T>(case);
    let tolerance = |key| case.tolerance::<T>(key);
    let rollout: usize = case.get("num_steps_per_rollout");
    let raw = case.array("data_raw");
    let (num_frames, frame_size) = (raw.shape[0], raw.shape[1]);
    let mut frames: Vec<T> = raw.values.iter().map(|&x| T::of(x)).collect();
    let statistics = Statistics::of(&frames, frame_size);
    statistics.normalize(case.get("norm_mode"), &mut frames);
    compare_statistics(case, &mut report, &statistics, tolerance("loss_rel"));
    let normalised: Vec<f64> = frames.iter().map(|x| x.f64()).collect();
    report.note("data", "data", relative(&normalised, case.values("data")), tolerance("loss_rel"));
    let ends = case.array("end_indices").whole();
    let (conditions, futures) = (case.get("num_condition_frames"), case.get("num_future_predictions"));
    let selectable = windows::selectable(num_frames, &ends, rollout, conditions, futures);
    report.note("indices", "selectable", f64::from(selectable != integers(case, "selectable")), 0.0);

    let (epochs, minibatches) = (case.array("epoch").whole(), case.values("lr").len());
    let per_epoch: usize = case.get("minibatches_per_epoch");
    let config = Config {
        teacher_epochs: case.get("teacher_epochs"),
        ramp_epochs: case.get("ramping_epochs"),
        student_epochs: case.get("student_epochs"),
        ramp: Ramp::Epoch,
        learning_rate: case.get("initial_lr"),
        final_learning_rate: case.get("final_lr"),
        decay: mvae_fast::config::Decay::Epoch,
        warmup_steps: 0,
        ..Config::default()
    };
    let rates: Vec<f64> = epochs.iter().map(|&e| schedule::learning_rate(&config, e as u64, 1)).collect();
    let probability = |(i, &epoch)| schedule::student_probability(&config, epoch, i % per_epoch, per_epoch);
    let probabilities: Vec<f64> = epochs.iter().enumerate().map(probability).collect();
    for (name, ours) in [("lr", &rates), ("student_probability", &probabilities)] {
        report.note("schedule", name, relative(ours, case.values(name)), case.tolerance::<f64>("loss_rel"));
    }
    let coins = case.values("uniform").iter().enumerate();
    let students: Vec<u32> = coins.map(|(i, &coin)| u32::from(coin < probabilities[i / rollout])).collect();
    report.note("student", "student", f64::from(students != integers(case, "student")), 0.0);

    let (training, arena, data) = Training::<T>::new(case, seed, num_frames, minibatches, rollout);
    let (step, network) = (&training.step, &training.step.network);
    let mut memory = Memory::new(backend, arena).unwrap();
    training.write_initial(&mut memory);
    memory.write(data, &frames).unwrap();
    memory.write(step.starts, &integers(case, "starts")).unwrap();
    let betas = adam_betas(case);
    let state = |i: usize| StepState {
        minibatch: (i / rollout) as u32,
        rollout_step: (i % rollout) as u32,
        // The coin of a step decides the condition of the next step.
        student: if i.is_multiple_of(rollout) { 0 } else { students[i - 1] },
        ..adam_state(rates[i / rollout], betas, i as u64 + 1)
    };
    let states: Vec<StepState> = (0..minibatches * rollout).map(state).collect();
    memory.write(step.schedule, &states).unwrap();

    let terms = [("recon", slot::RECON), ("kl_or_vq", slot::KL), ("perplexity", slot::PERPLEXITY)];
    let (mut losses, mut log) = ([const { Vec::new() }; 3], [const { Vec::new() }; 4]);
    for i in 0..states.len() {
        let epoch_steps = per_epoch * rollout;
        let (first, last) = (i.is_multiple_of(epoch_steps), (i + 1).is_multiple_of(epoch_steps));
        if first {
            memory.write(step.sums, &vec![0.0; step.sums.len()]).unwrap();
        }
        let now = training.run(&mut memory, i);
        losses.iter_mut().zip(terms).for_each(|(losses, (_, slot))| losses.push(now[slot]));
        if i == 0 {
            let off = relative(&read(&memory, network.prediction), case.values("first_prediction"));
            report.note("prediction", "first_prediction", off, tolerance("prediction_rel"));
        }
        if last {
            let means = step.epoch_sums.means(&memory.read(step.sums).unwrap(), epoch_steps as u64);
            let row = [epochs[i / rollout] as f64, means.recon_loss, means.kl_loss, means.perplexity];
            log.iter_mut().zip(row).for_each(|(column, x)| column.push(x));
        }
    }
    for (losses, (name, _)) in losses.iter().zip(terms) {
        report.note("loss", name, relative(losses, case.values(name)), tolerance("loss_rel"));
    }
    for (i, column) in log.iter().enumerate() {
        let golden: Vec<f64> = case.values("log_correct").iter().skip(i).step_by(log.len()).copied().collect();
        report.note("log", &format!("log_correct, column {i}"), relative(column, &golden), tolerance("loss_rel"));
    }
    for (name, mat) in [("last_prediction", network.prediction), ("last_condition", network.condition)] {
        report.note("prediction", name, relative(&read(&memory, mat), case.values(name)), tolerance("prediction_rel"));
    }
    training.compare_changes(&memory, &mut report, "final", "final", tolerance("final_delta_rel"));
    case.ignore(|name| name == "log_literal");
    report
}

fn integers(case: &Case, name: &str) -> Vec<u32> {
    case.values(name).iter().map(|&x| x as u32).collect()
}

fn compare_statistics(case: &Case, report: &mut Report, s: &Statistics, tolerance: f64) {
    for (name, ours) in [("max", &s.max), ("min", &s.min), ("avg", &s.avg), ("std", &s.std)] {
        report.note("statistics", name, relative(ours, case.values(name)), tolerance);
    }
}

/// Checks statistics, and data and probe normalised and denormalised in every mode.
fn normalisation<T: Real>(case: &Case) -> Report {
    let mut report = Report::new::<T>(case);
    let tolerance = case.tolerance::<T>("rel");
    let numbers = |name| case.values(name).iter().map(|&x| T::of(x)).collect::<Vec<T>>();
    let statistics = Statistics::of(&numbers("data"), case.get("frame_size"));
    compare_statistics(case, &mut report, &statistics, tolerance);
    for (label, mode) in
        [("zscore", Normalization::Zscore), ("minmax", Normalization::Minmax), ("none", Normalization::None)]
    {
        let mut compare = |what: &str, mut values: Vec<T>, map: fn(&Statistics, Normalization, &mut [T])| {
            map(&statistics, mode, &mut values);
            let values: Vec<f64> = values.into_iter().map(T::f64).collect();
            let literal = format!("{label}.{what}");
            let correct = format!("{literal}_correct");
            let golden = if case.arrays.contains_key(&correct) { &correct } else { &literal };
            report.note(label, golden, relative(&values, case.values(golden)), tolerance);
        };
        compare("data", numbers("data"), Statistics::normalize);
        compare("probe_normalised", numbers("probe"), Statistics::normalize);
        compare("probe_denormalised", numbers("probe"), Statistics::denormalize);
    }
    // The reference's numbers where it divides by zero, and its deviation before its guard.
    case.ignore(|name| name == "std_before_guard" || name.starts_with("minmax."));
    report
}

/// Checks learning rates and probabilities of feeding back a prediction, both of the reference's
/// code and of the paper.
fn schedules(case: &Case) -> Report {
    let mut report = Report::new::<f64>(case);
    let config = |student: &str, ramp, final_rate: &str| Config {
        teacher_epochs: case.get("teacher_epochs"),
        ramp_epochs: case.get("ramping_epochs"),
        student_epochs: case.get(student),
        ramp,
        learning_rate: case.get("initial_lr"),
        final_learning_rate: case.get(final_rate),
        decay: mvae_fast::config::Decay::Epoch,
        warmup_steps: 0,
        ..Config::default()
    };
    let code = config("student_epochs_code", Ramp::Epoch, "final_lr_code");
    let paper = config("student_epochs_paper", Ramp::Iteration, "final_lr_paper");
    let n: usize = case.get("iterations_per_epoch");
    let (rel, abs, f32_rel) =
        (case.tolerance::<f64>("rel"), case.tolerance::<f64>("abs"), case.tolerance::<f32>("rel"));
    let mut compare = |name: &str, label, abs: f64, rel: f64, ours: &dyn Fn(usize) -> f64| {
        // |a - b| <= abs + rel |b|
        let off = |(i, &golden): (usize, &f64)| ratio((ours(i) - golden).abs(), golden.abs() + abs / rel);
        let worst = largest(case.values(name).iter().enumerate().map(off));
        report.note(label, name, worst, rel);
    };
    let code_probability = |i| schedule::student_probability(&code, i + 1, 0, n);
    let paper_probability = |i| schedule::student_probability(&paper, i / n + 1, i % n, n);
    compare("code_student_probability", "probability", abs, rel, &code_probability);
    compare("code_student_probability_f32", "f32 table", 0.0, f32_rel, &code_probability);
    compare("paper_student_probability", "probability", abs, rel, &paper_probability);
    compare("paper_truth_probability", "probability", abs, rel, &|i| 1.0 - paper_probability(i));
    compare("code_lr", "rate", abs, rel, &|i| schedule::learning_rate(&code, i as u64 + 1, 1));
    compare("paper_lr", "rate", abs, rel, &|i| schedule::learning_rate(&paper, i as u64 + 1, 1));
    if case.arrays.contains_key("ppo_lr_linear") {
        let (first, last): (f64, f64) = (case.get("ppo_initial_lr"), case.get("ppo_final_lr"));
        let updates: usize = case.get("ppo_updates");
        for (name, decay) in [("ppo_lr_linear", Decay::Linear), ("ppo_lr_exponential", Decay::Exponential)] {
            compare(name, "rate", abs, rel, &|i| decay.learning_rate(first, last, i, updates));
        }
    }
    report
}

/// Checks the start frames that may be trained on.
fn indices(case: &Case) -> Report {
    let mut report = Report { title: case.name.clone(), rows: Vec::new() };
    for set in case.json["cases"].as_array().expect("cases in case.json") {
        let size = |key: &str| set[key].as_u64().unwrap_or_else(|| panic!("{}: no {key}", case.name)) as usize;
        let i = size("index");
        let ours = windows::selectable(
            size("num_frames"),
            &case.array(&format!("{i}.end_indices")).whole(),
            size("num_steps_per_rollout"),
            size("num_condition_frames"),
            size("num_future_predictions"),
        );
        let name = format!("{i}.correct");
        report.note("indices", &format!("{name} ({})", set["name"]), f64::from(ours != integers(case, &name)), 0.0);
    }
    case.ignore(|name| name.ends_with(".literal"));
    report
}
