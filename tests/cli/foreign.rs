//! Checkpoints of the public implementation, written here byte by byte: how they are read, and
//! which are refused.
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::checkpoint::{Checkpoint, Meta, Tensor};
use mvae_fast::config::{CodebookInit, Config, ExpertInit, ModelConfig, Normalization, Preset, Variant};
use mvae_fast::data::normalize::Statistics;
use mvae_fast::data::{npz, synth};
use mvae_fast::infer::generate::{Latents, generate};
use mvae_fast::infer::trained::Trained;
use mvae_fast::model::layout::Layout;
use mvae_fast::quality::{Bench, WalkOptions};
use mvae_fast::train::setup::{Setup, Start};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Tensors, each with its name, shape and numbers.
type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// Writes a safetensors file with this metadata.
fn write(path: &Path, metadata: Value, tensors: &Tensors) {
    let mut header = json!({ "__metadata__": metadata });
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, numbers) in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        header[name] = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
    }
    let header = header.to_string();
    fs::write(path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()).unwrap();
}

fn metadata(config: &Value) -> Value {
    json!({ "format": "pt", "cmv_format_version": "1", "config": config.to_string() })
}

/// A small model of each class, and its `config`.
fn model(variant: Variant) -> (ModelConfig, Value) {
    let (class, experts, codes) = match variant {
        Variant::Mixture => ("PoseMixtureVAE", 3, 1),
        Variant::Posevae => ("PoseVAE", 1, 1),
        Variant::Specialist => ("PoseMixtureSpecialistVAE", 3, 1),
        Variant::Vq => ("PoseVQVAE", 1, 6),
    };
    let gate_hidden_size = if variant == Variant::Mixture { 8 } else { 1 };
    let model = ModelConfig {
        variant,
        frame_size: 267,
        latent_size: 5,
        hidden_size: 16,
        gate_hidden_size,
        experts,
        condition_frames: 1,
        future_predictions: 1,
        codes,
        position_gain: 1.0,
    };
    let mut config = json!({
        "class": class, "frame_size": 267, "latent_size": 5, "num_condition_frames": 1, "num_future_predictions": 1,
        "normalization_mode": "zscore",
    });
    match variant {
        Variant::Mixture | Variant::Specialist => config["num_experts"] = json!(experts),
        Variant::Vq => config["num_embeddings"] = json!(codes),
        Variant::Posevae => {}
    }
    (model, config)
}

/// The initial tensors of a model, without statistics.
fn parameters(model: &ModelConfig) -> Tensors {
    let layout = Layout::of(model, ExpertInit::Reference, CodebookInit::Fixed);
    let values = layout.initial::<f32>(7);
    let tensors = layout.tensors.iter();
    tensors.map(|t| (t.name.clone(), t.shape.clone(), values[t.first()..][..t.len()].to_vec())).collect()
}

/// The buffers with statistics in single precision.
fn buffers(statistics: &Statistics) -> Tensors {
    let Statistics { max, min, avg, std, .. } = statistics;
    let named = [("data_max", max), ("data_min", min), ("data_avg", avg), ("data_std", std)];
    named
        .map(|(name, numbers)| (name.to_owned(), vec![numbers.len()], numbers.iter().map(|&x| x as f32).collect()))
        .to_vec()
}

fn rounded(statistics: Statistics) -> Statistics {
    let round = |numbers: Vec<f64>| numbers.into_iter().map(|x| f64::from(x as f32)).collect();
    let Statistics { max, min, avg, std, weight } = statistics;
    Statistics { max: round(max), min: round(min), avg: round(avg), std: round(std), weight }
}

#[test]
fn a_model_of_the_public_implementation_is_as_one_of_ours_with_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let [theirs, ours, data] =
        ["theirs.safetensors", "ours.safetensors", "motion.npz"].map(|name| folder.path().join(name));
    let set = synth::locomotion(300, 3);
    npz::write(&data, &set).unwrap();
    let statistics = rounded(Statistics::of(&set.frames, 267));
    let backend = Cpu::new(1);
    for variant in [Variant::Mixture, Variant::Posevae, Variant::Specialist, Variant::Vq] {
        let (model, config) = model(variant);
        let parameters = parameters(&model);
        write(&theirs, metadata(&config), &[parameters.clone(), buffers(&statistics)].concat());
        let c = Config {
            variant,
            latent_size: 5,
            hidden_size: 16,
            gate_hidden_size: model.gate_hidden_size,
            experts: model.experts,
            codes: model.codes,
            data: vec![data.clone()],
            ..Config::preset(Preset::Reference)
        };
        let meta = Meta::new(model.clone(), Normalization::Zscore, serde_json::to_value(&c).unwrap(), None);
        let tensors = parameters.iter().map(|(name, shape, numbers)| Tensor::f32(name, shape, numbers));
        let Statistics { max, min, avg, std, .. } = &statistics;
        let named = [("max", max), ("min", min), ("avg", avg), ("std", std)];
        let named =
            named.map(|(name, numbers)| Tensor::f64(format!("normalization.{name}"), &[267], numbers.as_slice()));
        Checkpoint { tensors: tensors.chain(named).collect(), meta: Some(meta) }.save(&ours).unwrap();

        let [read, own] = [&theirs, &ours].map(|path| Trained::load(path).unwrap());
        assert_eq!(
            (read.model(), &read.statistics, read.meta.normalization),
            (&model, &statistics, Normalization::Zscore)
        );
        assert_eq!(read.values().unwrap(), own.values().unwrap());
        let track = &set.frames[..2 * 267];
        let prior = Latents::Prior { seed: 3, temperature: 1.0 };
        let [walk, again] = [&read, &own].map(|trained| generate(trained, &backend, &[track], 20, prior).unwrap());
        assert!(walk == again && walk.first_nonfinite(0).is_none(), "{variant:?}");

        // The data that it was trained on is unknown, so that it has to be named, and does not
        // count as its own.
        let error = read.source(&[]).err().unwrap();
        assert!(error.to_string().contains("name motion by --data") && error.exit_code() == 4, "{error}");
        let source = read.source(std::slice::from_ref(&data)).unwrap();
        assert!(!source.own);
        let options = WalkOptions { walks: 2, frames: 60, seed: 1 };
        assert!(!Bench::new(read, source, &backend).unwrap().measure(&options, &|_| ()).unwrap().data.own);

        // A run starts from its parameters and its statistics, which differ from those of the data.
        let setup = Setup::new(&c, &backend, Start::Init(&theirs)).unwrap();
        assert_eq!(setup.statistics, statistics);
        assert!(setup.memory.read(setup.parameters.values).unwrap() == own.values().unwrap());
        assert_ne!(Setup::new(&c, &backend, Start::Fresh).unwrap().statistics, statistics);
        let other = Config { normalization: Normalization::Minmax, ..c };
        let error = Setup::new(&other, &backend, Start::Init(&theirs)).err().unwrap().to_string();
        assert!(error.contains("--normalization zscore"), "{error}");
    }
}

#[test]
fn what_is_not_known_of_a_file_of_others_is_refused_and_never_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let set = synth::locomotion(100, 3);
    let statistics = Statistics::of(&set.frames, 267);
    let (model, config) = model(Variant::Mixture);
    let all = [parameters(&model), buffers(&statistics)].concat();
    let refused = |metadata: &Value, tensors: &Tensors| {
        write(&path, metadata.clone(), tensors);
        let error = Checkpoint::load(&path).unwrap_err();
        assert!(error.exit_code() == 4 && error.to_string().contains("model.safetensors: "), "{error}");
        error.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        metadata(&config)
    };
    for (metadata, says) in [
        (with("class", json!("AutoEncoder")), "is of class AutoEncoder, which is not one that can be read"),
        (with("class", json!("PoseVAEController")), "is a controller of the public implementation"),
        (with("class", json!("PoseVAE")), "holds no matrix fc1.weight"),
        (with("normalization_mode", json!("robust")), "normalization_mode is robust; zscore, minmax and none"),
        (with("normalization_mode", json!(null)), "normalization_mode is missing"),
        (
            with("num_experts", json!(4)),
            "tensor decoder.w0 has shape [3, 272, 16], but PoseMixtureVAE of these sizes has [4",
        ),
        (with("num_condition_frames", json!(2)), "tensor encoder.fc1.weight has shape [16, 534], but"),
        (with("latent_size", json!(0)), "latent_size is 0"),
        (with("frame_size", json!(-1)), "metadata: config: "),
        (json!({ "cmv_format_version": "2", "config": config.to_string() }), "cmv_format_version is 2"),
        (json!({ "cmv_format_version": "1" }), "holds no config"),
    ] {
        let error = refused(&metadata, &all);
        assert!(error.contains(says), "{says}: {error}");
    }
    let known = metadata(&config);
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = all.clone();
        change(&mut tensors);
        refused(&known, &tensors)
    };
    assert!(changed(&|all| all.retain(|(name, ..)| name != "data_std")).contains("holds no data_std"));
    assert!(changed(&|all| all.retain(|(name, ..)| name != "decoder.b1")).contains("tensor decoder.b1 is missing"));
    let unknown = changed(&|all| all.push(("data_mean".into(), vec![267], vec![0.0; 267])));
    assert!(unknown.contains("holds data_mean, neither a parameter of the model nor statistics"), "{unknown}");
    let twice = changed(&|all| all.push(("normalization.avg".into(), vec![267], vec![0.0; 267])));
    assert!(twice.contains("holds statistics twice"), "{twice}");
    let (minmax, mut flat) = (with("normalization_mode", json!("minmax")), all.clone());
    let max = flat.iter().position(|(name, ..)| name == "data_max").unwrap();
    flat[max].2[9] = flat[max + 1].2[9];
    assert!(refused(&minmax, &flat).contains("feature 9 is constant"));

    // A bare state dict with statistics in either layout or without them is read; an unknown layout
    // is refused.
    let c = Config {
        latent_size: 5,
        hidden_size: 16,
        gate_hidden_size: 8,
        experts: 3,
        ..Config::preset(Preset::Reference)
    };
    let backend = Cpu::new(1);
    let init = |tensors: &Tensors| {
        write(&path, json!({ "format": "pt" }), tensors);
        Setup::new(&c, &backend, Start::Init(&path)).map(|setup| setup.statistics).map_err(|error| error.to_string())
    };
    assert_eq!(init(&all).unwrap(), rounded(statistics.clone()));
    assert_ne!(init(&parameters(&model)).unwrap(), rounded(statistics));
    for name in ["mean", "data_mean", "norm.std"] {
        let error = init(&[parameters(&model), vec![(name.into(), vec![267], vec![1.0; 267])]].concat()).unwrap_err();
        assert!(error.contains(&format!("holds {name}, neither")), "{error}");
    }

    // Pickles, in PyTorch's archive and bare.
    let archive = [&b"PK\x03\x04\0\0\x08\x08\0\0"[..], &[0; 20], b"archive/data.pkl", &[0; 60]].concat();
    for pickle in [archive, [&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], &[0; 60]].concat()] {
        fs::write(&path, pickle).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("is a pickle of PyTorch (.pt)") && error.contains("examples/convert_pt.py"), "{error}");
    }
}

/// A folder with a decoder, motion, and controllers of the public implementation.
struct Desk(TempDir);

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.0.path()).args(arguments.split_whitespace()).output().unwrap()
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && message.lines().count() == 1, "{arguments}: {message}");
        message
    }

    /// A controller of this class with `sees` inputs and `acts` outputs.
    fn controller(&self, name: &str, class: &str, [sees, acts]: [usize; 2]) {
        let layout = Layout::of_policy(sees, acts, 12, 1.0);
        let values = layout.initial::<f32>(3);
        let policy = class == "PoseVAEPolicy";
        let tensors = layout.tensors.iter().filter(|tensor| policy || tensor.name.starts_with("actor."));
        let tensors = tensors.map(|t| {
            let name = if policy { t.name.clone() } else { t.name.replace("actor.actor.", "actor.") };
            (name, t.shape.clone(), values[t.first()..][..t.len()].to_vec())
        });
        let config = json!({ "class": class, "observation_dim": sees, "action_dim": acts, "frame_skip": 1 });
        write(&self.path(name), metadata(&config), &tensors.collect());
    }
}

#[test]
fn a_controller_of_the_public_implementation_acts_in_the_decoder_and_task_that_are_named() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let set = synth::locomotion(300, 3);
    npz::write(&desk.path("motion.npz"), &set).unwrap();
    let (model, config) = model(Variant::Mixture);
    let tensors = [parameters(&model), buffers(&Statistics::of(&set.frames, 267))].concat();
    write(&desk.path("vae.safetensors"), metadata(&config), &tensors);
    desk.controller("two", "PoseVAEController", [269, 5]);
    desk.controller("two-policy", "PoseVAEPolicy", [269, 5]);
    desk.controller("path", "PoseVAEController", [275, 5]);
    desk.controller("maze", "PoseVAEPolicy", [283, 2]);
    desk.controller("timed", "PoseVAEController", [270, 5]);

    let of = "--vae vae.safetensors --data motion.npz --characters 3 --json";
    let eval = |arguments: &str| -> Value {
        serde_json::from_str(&desk.done(&format!("control eval {arguments} {of}"))).unwrap()
    };
    let target = eval("two --task target");
    assert_eq!((&target["task"], &target["horizon"]), (&json!("target"), &json!(1200)));
    assert!(target["policy"]["step_reward"].is_number(), "{target}");
    assert_eq!(eval("two-policy --task target")["policy"], target["policy"], "one actor, two classes");
    for (name, task) in [("two", "joystick"), ("path", "path"), ("maze", "maze --lower two")] {
        assert!(eval(&format!("{name} --task {task}"))["policy"]["step_reward"].is_number());
    }
    let of = "--vae vae.safetensors --data motion.npz";
    desk.done(&format!("generate --controller two --task target {of} --frames 30 -o walk.npz"));
    let walk = npz::read(&desk.path("walk.npz")).unwrap();
    assert_eq!((walk.num_frames(), walk.rig.unwrap().skeleton.len()), (30, 22));
    let said = desk.done("info two");
    assert!(
        said.contains("a controller of the public implementation (PoseVAEController)\nsees 269 numbers, acts by 5"),
        "{said}"
    );
    let said = desk.done("info vae.safetensors");
    assert!(said.contains("model mixture, written by the public implementation (PoseMixtureVAE)"), "{said}");

    let other = desk.refused(&format!("control eval timed --task target {of}"), 4);
    assert!(other.contains("timed: sees 270 numbers and acts by 5; task target on this decoder shows 269"), "{other}");
    assert!(desk.refused("control eval two --task target", 2).contains("give --vae and --data, too"));
    assert!(desk.refused("control eval two", 2).contains("give --task, --vae and --data, too"));
    assert!(desk.refused(&format!("control eval vae.safetensors --task target {of}"), 4).contains("no controller"));
    assert!(desk.refused("generate vae.safetensors", 4).contains("name motion by --data"));
    assert!(desk.refused(&format!("generate vae.safetensors --task target {of}"), 2).contains("for --controller"));
    assert!(
        desk.refused("train motion.npz --quiet --init two", 4).contains("is a controller of the public implementation")
    );
    let trained = desk.refused("control train --vae vae.safetensors --task target", 4);
    assert!(trained.contains("names no skeleton") && trained.contains("--init"), "{trained}");
}
