//! Absurd numbers: in the metadata of a checkpoint with a valid checksum, in keys, and in files
//! that state their own size. Each ends in one line and the documented exit code, before it takes
//! time or memory.
use crate::hostile::crafted;
use mvae_fast::Error;
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::checkpoint::Checkpoint;
use mvae_fast::config::{Config, KlWeight, Variant};
use mvae_fast::data::{npz, synth};
use mvae_fast::infer::generate::{Latents, generate};
use mvae_fast::infer::trained::Trained;
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::plan::arena::Arena;
use mvae_fast::train::setup::{Setup, Start};
use mvae_fast::train::step::{StepOptions, TrainStep};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
    command.env_clear().current_dir(folder).args(arguments).output().unwrap()
}

/// The one line of a command that fails with this exit code.
fn refusal(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{text}");
    text
}

/// A small run on motion of the reference's skeleton: its folder, and the checkpoint.
fn small_run() -> (TempDir, PathBuf, Config) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("motion.npz");
    npz::write(&data, &synth::locomotion_in_clips(240, 80, 3)).unwrap();
    let config = Config { hidden_size: 8, mirror: false, ..crate::small::config(&data, Variant::Mixture) };
    let path = root.path().join("last.safetensors");
    let backend = Cpu::new(1);
    Setup::new(&config, &backend, Start::Fresh).unwrap().save(&path).unwrap();
    (root, path, config)
}

/// Paths of the leaves of a value; of long lists only the first two.
fn leaves(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(keys) => keys.iter().for_each(|(key, value)| leaves(value, format!("{at}/{key}"), all)),
        Value::Array(list) if !list.is_empty() => {
            all.push(at.clone());
            list.iter().take(2).enumerate().for_each(|(i, value)| leaves(value, format!("{at}/{i}"), all));
        }
        _ => all.push(at),
    }
}

#[test]
fn metadata_is_not_believed_because_its_checksum_fits() {
    let (_root, path, config) = small_run();
    let whole = fs::read(&path).unwrap();
    let meta = serde_json::to_value(Checkpoint::load(&path).unwrap().meta.unwrap()).unwrap();
    let (mut places, backend, rows) = (Vec::new(), Cpu::new(1), synth::locomotion_in_clips(240, 80, 3).frames);
    leaves(&meta, String::new(), &mut places);
    assert!(places.len() > 80, "{} leaves", places.len());
    let huge = [json!(1e300), json!(u64::MAX), json!(9007199254740992u64)];
    let values = [json!(null), json!(-1), json!(0), json!(1), json!(16000), json!("x"), json!([])];
    let values = [&values[..], &huge].concat();
    let (mut refused, mut taken) = (0, 0);
    for (number, place) in places.iter().enumerate() {
        for value in &values {
            fs::write(&path, crafted(&whole, |meta| *meta.pointer_mut(place).unwrap() = value.clone())).unwrap();
            let one_line = |error: Error| {
                let text = error.to_string();
                let code = if text.contains("on data") { 2 } else { 4 };
                assert!(error.exit_code() == code && !text.contains('\n'), "{place} = {value}: {text}");
            };
            match Trained::load(&path) {
                Err(error) => (refused += 1, one_line(error)).1,
                Ok(trained) => {
                    taken += 1;
                    let model = trained.model();
                    let track = &rows[..model.condition_frames * model.frame_size];
                    let latents = Latents::Prior { seed: 1, temperature: 1.0 };
                    generate(&trained, &backend, &[track], 2, latents).unwrap();
                    if number % 3 == 0 || place.starts_with("/progress") {
                        Setup::new(&config, &backend, Start::Resume(&path)).err().into_iter().for_each(one_line);
                    }
                }
            }
        }
    }
    assert!(refused > 500 && taken > 80, "{refused} refused, {taken} taken");
}

#[test]
fn a_skeleton_whose_parents_run_in_a_circle_is_refused_by_every_command() {
    let (root, path, _) = small_run();
    let bytes = crafted(&fs::read(&path).unwrap(), |meta| {
        let parents = &mut meta["rig"]["skeleton"]["parents"];
        (parents[1], parents[2]) = (json!(2), json!(1));
    });
    fs::write(&path, bytes).unwrap();
    for command in [
        &["info", "last.safetensors"][..],
        &["generate", "last.safetensors", "--data", "motion.npz"],
        &["eval", "last.safetensors", "--data", "motion.npz"],
        &["train", "motion.npz", "--init", "last.safetensors"],
        &["control", "train", "--vae", "last.safetensors"],
    ] {
        assert!(refusal(&program(root.path(), command), 4).contains("run in a circle"), "{command:?}");
    }
}

#[test]
fn the_largest_sizes_that_are_taken_make_a_plan() {
    let stream = Stream::new(1, Purpose::Check, 0);
    let (mut planned, mut refused) = (0, 0);
    for case in 0..400 {
        // From 1 to the largest value, by ratios; often the largest value itself.
        let size = |key: usize, most: f64| match stream.uniform(16 * case + key) {
            edge if edge > 0.9 => most as usize,
            share => most.powf(share) as usize,
        };
        let variants = [Variant::Mixture, Variant::Posevae, Variant::Specialist, Variant::Vq];
        let variant = variants[case % 4];
        let most = if variant == Variant::Specialist { 16.0 } else { 65536.0 };
        let kl_weight = if variant == Variant::Vq { KlWeight::Fixed(1.0) } else { KlWeight::Auto };
        let config = Config {
            variant,
            kl_weight,
            target_kl: None,
            latent_size: size(0, 65536.0),
            hidden_size: size(1, 65536.0),
            gate_hidden_size: size(2, 65536.0),
            experts: size(3, most),
            codes: size(4, 65536.0),
            condition_frames: size(5, 65536.0),
            future_predictions: size(6, 65536.0),
            batch_size: size(7, 65536.0),
            ..Config::default()
        };
        let frame_size = [267, 1, 15, 65536][case / 4 % 4];
        if config.validate().and_then(|()| config.fits(frame_size, &str::to_owned)).is_err() {
            refused += 1;
            continue;
        }
        planned += 1;
        // The parameters are laid out, not allocated.
        let model = config.model(frame_size);
        let mut arena = Arena::default();
        let parameters =
            Parameters::<f32>::updated(&mut arena, Layout::of(&model, config.expert_init, config.codebook_init));
        let data = arena.mat(1000, frame_size);
        let options = StepOptions {
            model: &model,
            batch: config.batch_size,
            kl_rule: Rule::Fixed(1.0),
            free_bits: 0.0,
            adam: [0.9, 0.999, 1e-8],
            minibatches: 10,
            rollout: 8,
            draw: true,
        };
        TrainStep::new(&mut arena, &parameters, data, &options).unwrap().plan.check(&arena);
    }
    assert!(planned > 60 && refused > 60, "{planned} planned, {refused} refused");
}

#[test]
fn keys_that_no_run_can_have_are_named() {
    let root = tempfile::tempdir().unwrap();
    npz::write(&root.path().join("motion.npz"), &synth::locomotion_in_clips(600, 100, 3)).unwrap();
    let trained: &[(&[&str], &str)] = &[
        (&["--condition-frames", "4000", "--bridge-clips", "false", "--rollout", "1"], "condition_frames"),
        (&["--hidden-size", "16384"], "--hidden-size"),
        (&["--future-predictions", "65536"], "future_predictions"),
        (&["--experts", "300", "--variant", "specialist"], "--experts is 300"),
        (&["--latent-size", "65536", "--batch-size", "65536"], "--batch-size * --latent-size"),
        (&["--rollout", "65537"], "--rollout is 65537"),
    ];
    for (flags, named) in trained {
        let output = program(root.path(), &[&["train", "motion.npz"], *flags].concat());
        assert!(refusal(&output, 2).contains(named), "{flags:?}");
    }
    let controlled: &[(&[&str], &str)] = &[
        (&["--final-learning-rate", "0.02"], "--final-learning-rate is 0.02"),
        (&["--hidden-size", "16384"], "--hidden-size is 16384"),
        (&["--frame-skip", "1201"], "give horizon"),
        (&["--characters", "10000000"], "--characters is 10000000"),
    ];
    for (flags, named) in controlled {
        let output = program(
            root.path(),
            &[&["control", "train", "--vae", "motion.npz", "--algorithm", "ppo"], *flags].concat(),
        );
        assert!(refusal(&output, 2).contains(named), "{flags:?}");
    }
    assert!(!root.path().join("runs").exists(), "nothing is left behind");
}

/// Runs the program with an address space of `kilobytes`.
#[cfg(unix)]
fn confined(folder: &Path, kilobytes: usize, arguments: &str) -> Output {
    let script = format!("ulimit -v {kilobytes} && exec {} {arguments}", env!("CARGO_BIN_EXE_mvae-fast"));
    Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn what_memory_does_not_hold_is_refused_before_it_is_taken() {
    let root = tempfile::tempdir().unwrap();
    crate::small::write(&root.path().join("motion.npz"), 5, 60);
    let gigabyte = 1 << 20;
    let output = confined(root.path(), gigabyte, "train motion.npz --hidden-size 4096 --experts 8 --threads 1");
    let text = refusal(&output, 2);
    assert!(text.contains("GB of memory, and") && text.contains("are free"), "{text}");
    let output = confined(root.path(), gigabyte, "data synth -o large.npz --frames 9000000");
    assert!(refusal(&output, 2).contains("--frames 9000000"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left behind");
}

#[cfg(target_os = "linux")]
#[test]
fn a_sparse_file_takes_no_memory_before_it_is_refused() {
    use std::io::{Seek, SeekFrom, Write};
    let root = tempfile::tempdir().unwrap();
    let (path, size) = (root.path().join("sparse.npz"), 4u64 << 30);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"PK\x03\x04").unwrap();
    file.set_len(size).unwrap();
    file.seek(SeekFrom::Start(size)).unwrap();
    let numbers = |numbers: &[(u64, usize)]| -> Vec<u8> {
        numbers.iter().flat_map(|(number, width)| number.to_le_bytes()[..*width].to_vec()).collect()
    };
    // A directory of one entry that begins after 64 bytes and claims the length of the file.
    let end = numbers(&[(44, 8), (45, 2), (45, 2), (0, 4), (0, 4), (1, 8), (1, 8), (size - 64, 8), (64, 8)]);
    let locator = numbers(&[(0, 4), (size, 8), (1, 4)]);
    let last = numbers(&[(0, 2), (0, 2), (0xffff, 2), (0xffff, 2), (0xffff_ffff, 4), (0xffff_ffff, 4), (0, 2)]);
    for (magic, bytes) in [(b"PK\x06\x06", end), (b"PK\x06\x07", locator), (b"PK\x05\x06", last)] {
        file.write_all(&[&magic[..], &bytes].concat()).unwrap();
    }
    let output = confined(root.path(), 300 << 10, "data check sparse.npz");
    assert!(refusal(&output, 4).contains("zip directory is damaged"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_that_memory_does_not_hold_is_refused_before_it_is_read() {
    use std::io::Write;
    let root = tempfile::tempdir().unwrap();
    let bytes = 1u64 << 40;
    let header = format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[0,{bytes}]}}}}", bytes / 4);
    let mut file = fs::File::create(root.path().join("sparse.safetensors")).unwrap();
    file.write_all(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    file.set_len(8 + header.len() as u64 + bytes).unwrap();
    let text = refusal(&program(root.path(), &["info", "sparse.safetensors"]), 4);
    assert!(text.contains("its tensors take 1.1 TB of memory"), "{text}");
}

#[test]
fn numbers_that_are_no_body_are_trained_on_without_a_rig() {
    let root = tempfile::tempdir().unwrap();
    let mut set = synth::locomotion_in_clips(240, 80, 3);
    set.frames.iter_mut().for_each(|x| *x *= 1e9);
    set.rig = None;
    let path = root.path().join("numbers.npz");
    npz::write(&path, &set).unwrap();
    assert!(npz::read(&path).unwrap().rig.is_none());
}
