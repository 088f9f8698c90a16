//! `mvae-fast train` as a user meets it: run folder, streams, exit codes, stops of every kind,
//! resume.
use mvae_fast::checkpoint::{Checkpoint, Tensor};
use mvae_fast::config::Config;
use mvae_fast::host::crc32c::crc32c;
use mvae_fast::run::logs::read_metrics;
use mvae_fast::run::record::EpochRecord;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with data in it, where `mvae-fast` is run.
struct Desk {
    root: TempDir,
}

impl Desk {
    /// 5 clips of `frames` frames in `motion.npz`.
    fn new(frames: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        crate::small::write(&root.path().join("motion.npz"), 5, frames);
        Desk { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The program with these arguments, in an empty environment.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments);
        command
    }

    /// `train` of the small model for 2 teacher, 1 ramp and 2 student epochs, with more arguments.
    fn train(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&["train"]);
        command.args(crate::small::flags(arguments));
        command
    }

    fn records(&self, run: &str) -> Vec<EpochRecord> {
        crate::small::untimed(&read_metrics(&self.path(run).join("metrics.jsonl")).unwrap().0)
    }

    fn checkpoint(&self, run: &str, name: &str) -> Checkpoint<'static> {
        Checkpoint::load(&self.path(run).join("checkpoints").join(name)).unwrap()
    }

    /// All results of a run that must not depend on how often it was stopped.
    fn outcome(&self, run: &str) -> (Vec<EpochRecord>, String, [Vec<Tensor<'static>>; 2]) {
        let checkpoints = ["last.safetensors", "best.safetensors"].map(|name| self.checkpoint(run, name).tensors);
        (self.records(run), fs::read_to_string(self.path(run).join("progress.csv")).unwrap(), checkpoints)
    }

    /// Every file under `runs`, with its content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("runs")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    files.push((entry.clone(), fs::read(entry).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Standard error of a command that must fail with this code; the last line is the one error line.
fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let message = text(&output.stderr);
    assert!(message.lines().last().unwrap().starts_with("error: "), "{message}");
    message
}

/// Waits until `done`, for at most half a minute.
fn wait_until(child: &mut Child, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it takes too long");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_leaves_a_folder_that_says_everything() {
    let desk = Desk::new(120);
    let output = success(&mut desk.train(&["motion.npz", "--name", "walk"]));
    let result = text(&output.stdout);
    assert!(result.starts_with("trained 5 of 5 epochs, ") && result.contains("run folder: runs/walk\n"), "{result}");
    assert!(result.contains("next: "), "{result}");
    let said = text(&output.stderr);
    assert_eq!(said.lines().filter(|line| line.contains(" | Recon: ")).count(), 5, "{said}");
    assert!(!said.contains("PP: "), "only vq has a perplexity: {said}");

    let config = Config::load(&desk.path("runs/walk/config.toml")).unwrap();
    let asked = text(&success(desk.train(&["--print-config"]).args(["--data"]).arg(desk.path("motion.npz"))).stdout);
    assert_eq!(config, toml::from_str(&asked).unwrap());
    assert_eq!(config.data, [desk.path("motion.npz")]);
    let env: serde_json::Value = serde_json::from_slice(&fs::read(desk.path("runs/walk/env.json")).unwrap()).unwrap();
    assert_eq!((&env["threads"], &env["device"]), (&2.into(), &"cpu (2 threads)".into()));

    let records = desk.records("runs/walk");
    assert_eq!(records.iter().map(|r| r.epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let phases: Vec<&str> = records.iter().map(|r| r.phase.as_str()).collect();
    assert_eq!(phases, ["teacher", "teacher", "ramp", "student", "student"]);
    assert!(records[4].kl_per_latent.len() == 4 && records[4].expert_usage.len() == 3);
    assert!((records[4].expert_usage.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    assert!((records[4].kl_per_latent.iter().sum::<f64>() / 4.0 - records[4].kl_loss).abs() < 1e-6);

    let csv = fs::read_to_string(desk.path("runs/walk/progress.csv")).unwrap();
    let mut rows = csv.lines();
    assert_eq!(rows.next(), Some("epoch,ep_recon_loss,ep_kl_loss,ep_perplexity"));
    for (row, r) in rows.by_ref().zip(&records) {
        assert_eq!(row, format!("{},{},{},{}", r.epoch, r.recon_loss, r.kl_loss, r.perplexity));
    }
    assert_eq!(csv.lines().count(), 6);

    let mut events = &fs::read(desk.path("runs/walk/tensorboard/events.out.tfevents.mvae-fast")).unwrap()[..];
    let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let mut count = 0;
    while !events.is_empty() {
        let length = u64::from_le_bytes(events[..8].try_into().unwrap()) as usize;
        assert_eq!(events[8..12], masked(&events[..8]));
        assert_eq!(events[12 + length..16 + length], masked(&events[12..12 + length]));
        events = &events[16 + length..];
        count += 1;
    }
    assert_eq!(count, 6, "a version and five epochs");

    let report = fs::read_to_string(desk.path("runs/walk/report.html")).unwrap();
    assert!(report.contains("</html>") && report.contains("motion.npz") && !report.contains("{{"));
    let files: Vec<_> = desk.files().into_iter().map(|(path, _)| path).collect();
    assert!(files.len() == 8 && files.iter().all(|path| path.extension() != Some("tmp".as_ref())), "{files:?}");
}

#[test]
fn info_and_python_read_checkpoints() {
    let desk = Desk::new(60);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet"]));
    for path in
        ["walk", "runs/walk", "runs/walk/checkpoints/last.safetensors", "runs/walk/checkpoints/best.safetensors"]
    {
        let said = text(&success(&mut desk.program(&["info", path])).stdout);
        assert!(said.contains("decoder.w0 [3, 16, 16]") && said.contains("model mixture"), "{said}");
        assert!(!said.contains("adam."), "{said}");
        let json = success(&mut desk.program(&["info", "--json", path])).stdout;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["checkpoint"]["meta"]["model"]["latent_size"], 4);
        assert_eq!(json["record"].is_null(), path.ends_with("safetensors"));
    }
    let script = "import sys
from safetensors.numpy import load_file
t = load_file(sys.argv[1])
print(t['decoder.w0'].shape, t['normalization.avg'].dtype, t['adam.m.decoder.w0'].shape, float(abs(t['decoder.w2']).sum()))";
    let best = desk.path("runs/walk/checkpoints/best.safetensors");
    let python = |arguments: &[&str]| Command::new("python3").args(arguments).arg(&best).output();
    if !python(&["-c", "import safetensors, numpy"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 with safetensors and numpy is not here");
        return;
    }
    let output = python(&["-c", script]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.starts_with("(3, 16, 16) float64 (3, 16, 16) "), "{said}");
}

#[test]
fn what_is_no_run_and_no_checkpoint_is_said_in_one_line() {
    let desk = Desk::new(60);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet"]));
    let whole = fs::read(desk.path("runs/walk/checkpoints/last.safetensors")).unwrap();
    fs::write(desk.path("cut"), &whole[..whole.len() / 2]).unwrap();
    fs::write(desk.path("short"), &whole[..100]).unwrap();
    fs::write(desk.path("empty"), "").unwrap();
    fs::write(desk.path("text"), "# no checkpoint\n").unwrap();
    fs::create_dir(desk.path("bare")).unwrap();
    fs::write(desk.path("bare/config.toml"), "").unwrap();
    for (path, what) in [
        ("cut", "bytes, the header says"),
        ("short", "cut off"),
        ("empty", "0 bytes are too few"),
        ("text", "not a safetensors file"),
        ("motion.npz", "is a set of motion (.npz) or a zip file, no checkpoint"),
        ("runs/walk/checkpoints", "no run folder"),
        ("bare", "no checkpoint in this run folder"),
        ("nowhere", "no run of that name in runs"),
        ("text/inside", "no such file"),
    ] {
        let message = failure(&mut desk.program(&["info", path]), 4);
        assert!(message.contains(what) && message.lines().count() == 1, "{path}: {message}");
    }
    if cfg!(unix) && Command::new("mkfifo").arg(desk.path("pipe")).status().is_ok_and(|made| made.success()) {
        assert!(
            failure(&mut desk.program(&["info", "pipe"]), 4).contains("not a file"),
            "and nobody waits for a writer"
        );
    }
}

#[test]
fn quiet_and_json() {
    let desk = Desk::new(60);
    let output = success(&mut desk.train(&["motion.npz", "--name", "a", "--quiet", "--kl-weight", "1"]));
    assert!(output.stderr.is_empty(), "{output:?}");
    let output = success(&mut desk.train(&["motion.npz", "--name", "b", "--json", "--variant", "vq"]));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["run"], &json["finished"]), (&"runs/b".into(), &true.into()));
    assert_eq!(json["record"]["epoch"], 5);
    assert_eq!(json["record"]["kl_weight"].as_f64().unwrap(), 1.0, "vq's own default");
    assert_eq!(text(&output.stderr).lines().filter(|line| line.contains(" | PP: ")).count(), 5, "{output:?}");
    // stopped before the first epoch is done
    let mut command = desk.train(&["motion.npz", "--name", "c", "--json", "--quiet", "--max-minutes", "1e-9"]);
    let json: serde_json::Value = serde_json::from_slice(&success(&mut command).stdout).unwrap();
    assert_eq!((&json["finished"], &json["record"]), (&false.into(), &serde_json::Value::Null));
}

#[test]
fn what_cannot_be_trained_on_leaves_no_run_behind() {
    let desk = Desk::new(20);
    fs::write(desk.path("text.npz"), "no npz").unwrap();
    let wide = mvae_fast::data::Dataset {
        frames: vec![0.5; 500 * 7],
        frame_size: 7,
        end_indices: vec![499],
        ..Default::default()
    };
    mvae_fast::data::npz::write(&desk.path("wide.npz"), &wide).unwrap();
    let said = |arguments: &[&str], code: i32| failure(&mut desk.train(arguments), code);

    let message = said(&["motion.npz", "--batch-size", "100"], 4);
    assert!(message.contains("windows to train on, fewer than one mini-batch of 100"), "{message}");
    assert!(said(&["nowhere.npz"], 4).contains("nowhere.npz"));
    assert!(said(&["text.npz"], 4).contains("text.npz"));
    let message = said(&["motion.npz", "wide.npz"], 4);
    assert!(message.contains("wide.npz: has 7 features a frame") && message.contains("has 12"), "{message}");
    assert!(said(&["motion.npz", "--init", "nowhere.safetensors"], 4).contains("nowhere.safetensors"));
    said(&["motion.npz", "--device", "cuda"], 3);
    said(&["motion.npz", "--device", "cuda:0"], 3);
    said(&["motion.npz", "--experts", "0"], 2);
    said(&["motion.npz", "--variant", "vq", "--kl-weight", "auto"], 2);
    said(&["motion.npz", "--name", "../up"], 2);
    said(&["--resume", "walk"], 4);
    let unknown = desk.train(&["motion.npz", "--exprets", "3"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    for folder in ["runs", "up"] {
        let left = fs::read_dir(desk.path(folder)).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "{:?}", fs::read_dir(desk.path(folder)).unwrap().collect::<Vec<_>>());
    }

    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet"]));
    let before = desk.files();
    assert!(said(&["motion.npz", "--name", "walk"], 2).contains("--resume"));
    assert!(before == desk.files());
}

#[test]
fn that_nothing_is_held_out_is_said() {
    let desk = Desk::new(30);
    for (validation, said) in [("0.05", true), ("0", false)] {
        let output = success(&mut desk.train(&["motion.npz", "--name", validation, "--validation", validation]));
        let note = "note: nothing is held out, as that takes clips of at least 40 frames; ";
        assert_eq!(text(&output.stderr).contains(note), said, "{output:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_exits_1() {
    let desk = Desk::new(60);
    let message = failure(&mut desk.train(&["motion.npz", "--name", "walk", "--learning-rate", "1e30"]), 1);
    assert!(message.contains("epoch 1, step 2: the loss is not finite, first made so by "), "{message}");
    assert!(message.contains("linear_forward (y) of encoder."), "{message}");
    let last = "runs/walk/checkpoints/last.safetensors";
    success(&mut desk.program(&["info", last]));
    for (name, init) in [("again", last), ("from-the-run", "walk")] {
        success(&mut desk.train(&["motion.npz", "--name", name, "--init", init, "--quiet"]));
    }
    assert!(desk.outcome("runs/again") == desk.outcome("runs/from-the-run"));
    // values whose squares overflow single precision
    let mut set = mvae_fast::data::npz::read(&desk.path("motion.npz")).unwrap();
    set.frames.iter_mut().for_each(|x| *x *= 1e25);
    mvae_fast::data::npz::write(&desk.path("huge.npz"), &set).unwrap();
    success(&mut desk.train(&["huge.npz", "--name", "scaled", "--quiet"]));
    let message = failure(&mut desk.train(&["huge.npz", "--name", "huge", "--normalization", "none"]), 1);
    assert!(message.contains("epoch 1, step 1: ") && message.contains("reparameterize_forward (z)"), "{message}");
}

#[test]
fn resume_of_a_finished_run_changes_nothing_and_of_another_is_refused() {
    let desk = Desk::new(60);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet"]));
    let before = desk.files();
    let output = success(&mut desk.program(&["train", "--resume", "walk"]));
    assert!(text(&output.stderr).contains("all 5 epochs are done"), "{output:?}");
    assert!(text(&output.stdout).starts_with("trained 5 of 5 epochs"), "{output:?}");
    assert!(before == desk.files());
    // naming the data by its original name is no change
    success(&mut desk.program(&["train", "--resume", "walk", "motion.npz", "--quiet"]));
    let message = failure(&mut desk.program(&["train", "--resume", "walk", "--student-epochs", "9"]), 2);
    assert!(message.contains("which --student-epochs would change"), "{message}");
    crate::small::write(&desk.path("motion.npz"), 5, 50);
    let message = failure(&mut desk.program(&["train", "--resume", "walk"]), 4);
    assert!(message.contains("250 frames of 12 features, but this run was trained on 300 of 12"), "{message}");
    assert!(before == desk.files());
}

#[test]
fn a_configuration_other_than_the_checkpoints_is_not_resumed() {
    let desk = Desk::new(60);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet", "--max-minutes", "1e-9"]));
    let file = desk.path("runs/walk/config.toml");
    let written = fs::read_to_string(&file).unwrap();
    let before = desk.files();
    for (old, new, said) in [
        (
            "seed = 0\n",
            "seed = 5\n",
            "trained with seed = 0, but by its config.toml the run has seed = 5; set seed = 0 there, or",
        ),
        ("learning_rate = 0.001\n", "", "trained with learning_rate = 0.001, but"),
        (
            "kl_weight = \"auto\"",
            "kl_weight = 1",
            "kl_weight = \"auto\", but by its config.toml the run has kl_weight = 1.0",
        ),
        ("student_epochs = 2", "student_epochs = 9", "set student_epochs = 2 there"),
    ] {
        let edited = written.replace(old, new);
        assert!(edited != written, "{old}");
        fs::write(&file, edited).unwrap();
        let message = failure(&mut desk.program(&["train", "--resume", "walk"]), 4);
        assert!(
            message.contains(said) && message.contains("--init runs/walk/checkpoints/last.safetensors"),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    fs::write(&file, &written).unwrap();
    assert!(before == desk.files(), "nothing was touched");
    // keys that change no number may be edited, such as the path of the data
    fs::rename(desk.path("motion.npz"), desk.path("moved.npz")).unwrap();
    assert!(failure(&mut desk.program(&["train", "--resume", "walk"]), 4).contains("motion.npz"));
    let edited = written.replace("motion.npz", "moved.npz").replace("max_minutes = 0.000000001", "max_minutes = 9.0");
    fs::write(&file, edited.replace("checkpoint_every = 0", "checkpoint_every = 60")).unwrap();
    let output =
        success(desk.program(&["train", "--resume", "walk"]).env("MVAE_PRESET", "paper").env("MVAE_SEED", "7"));
    assert!(text(&output.stdout).starts_with("trained 5 of 5 epochs"), "{output:?}");
    let note = "note: --resume goes on as the run was configured, without MVAE_SEED, MVAE_PRESET\n";
    assert!(text(&output.stderr).contains(note), "{output:?}");
}

#[test]
fn training_goes_on_from_the_best_checkpoint_too() {
    let desk = Desk::new(120);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet", "--student-epochs", "6"]));
    let best = desk.checkpoint("runs/walk", "best.safetensors").meta.unwrap().progress.unwrap();
    let names = |name| desk.checkpoint("runs/walk", name).tensors.into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names("best.safetensors"), names("last.safetensors"));
    assert!(best.best.is_some() && best.step > 0);
    let whole = desk.outcome("runs/walk");
    let folder = desk.path("runs/walk/checkpoints");
    fs::copy(folder.join("best.safetensors"), folder.join("last.safetensors")).unwrap();
    success(&mut desk.program(&["train", "--resume", "walk", "--quiet"]));
    assert!(whole == desk.outcome("runs/walk"), "the epochs after it are trained again, bit for bit");
}

#[cfg(target_os = "linux")]
#[test]
fn every_folder_in_which_something_is_made_is_synced() {
    let desk = Desk::new(60);
    let strace = |program: &str| {
        let mut command = Command::new("strace");
        command.current_dir(desk.root.path()).args(["-f", "-y", "-e", "trace=fsync", "-o", "calls", program]);
        command
    };
    if !strace("true").status().is_ok_and(|status| status.success()) {
        println!("skipped: strace is not here");
        return;
    }
    let mut train = strace(env!("CARGO_BIN_EXE_mvae-fast"));
    success(train.arg("train").args(crate::small::flags(&[
        "motion.npz",
        "--runs",
        "deep/runs",
        "--name",
        "walk",
        "--quiet",
    ])));
    let calls = fs::read_to_string(desk.path("calls")).unwrap();
    let root = fs::canonicalize(desk.root.path()).unwrap();
    let runs = root.join("deep/runs");
    for folder in [&root, &root.join("deep"), &runs, &runs.join("walk"), &runs.join("walk/tensorboard")] {
        assert!(calls.contains(&format!("<{}>", folder.display())), "{} is not synced:\n{calls}", folder.display());
    }
}

#[test]
fn a_folder_that_cannot_hold_runs_is_named() {
    let desk = Desk::new(60);
    fs::write(desk.path("file"), "").unwrap();
    for runs in ["file", "file/deep"] {
        let message = failure(&mut desk.train(&["motion.npz", "--runs", runs]), 1);
        let said = format!("error: {runs}: cannot hold run folders, choose another with --runs: ");
        assert!(message.starts_with(&said) && message.lines().count() == 1, "{message}");
    }
}

#[cfg(unix)]
#[test]
fn signals_stop_within_the_epoch_and_the_run_goes_on_as_if_never_stopped() {
    let desk = Desk::new(3000);
    let train = |name: &str| {
        let schedule = ["--teacher-epochs", "1", "--ramp-epochs", "1", "--student-epochs", "0"];
        let mut command = desk.train(&schedule);
        command.args(["motion.npz", "--name", name]);
        command
    };
    success(&mut train("whole"));
    let usr1 = 128 + signal_hook::consts::SIGUSR1;
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("USR1", usr1)] {
        let mut child = train(signal).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let run = desk.path("runs").join(signal);
        wait_until(&mut child, || run.join("progress.csv").exists());
        std::thread::sleep(Duration::from_millis(30));
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = format!("everything saved; continue with --resume runs/{signal}\n");
        assert!(output.stdout.is_empty() && text(&output.stderr).ends_with(&said), "{output:?}");
        let progress = desk.checkpoint(&format!("runs/{signal}"), "last.safetensors").meta.unwrap().progress.unwrap();
        assert!(progress.minibatch > 0, "in the middle of an epoch: {progress:?}");
        if ["TERM", "HUP"].contains(&signal) {
            continue; // they save as the others do
        }
        success(&mut desk.program(&["train", "--resume", signal, "--quiet", "--threads", "1"]));
        assert!(desk.outcome("runs/whole") == desk.outcome(&format!("runs/{signal}")), "{signal}");
        let env = fs::read(run.join("env.json")).unwrap();
        let env: serde_json::Value = serde_json::from_slice(&env).unwrap();
        assert_eq!(env["resumed"].as_array().unwrap().len(), 1);
    }
    success(train("limit").args(["--max-minutes", "1e-4"]));
    let done = desk.records("runs/limit").len();
    assert!(done < 2);
    let walk = success(&mut desk.program(&["generate", "limit", "--frames", "2", "-o", "walk.npz"]));
    let note = format!("note: runs/limit/checkpoints/last.safetensors is of {done} of 2 epochs\n");
    assert_eq!(text(&walk.stderr), note);
    let whole = success(&mut desk.program(&["generate", "whole", "--frames", "2", "-o", "whole.npz"]));
    assert_eq!(text(&whole.stderr), "");
    success(&mut desk.program(&["train", "--resume", "limit", "--quiet", "--max-minutes", "0"]));
    assert!(desk.outcome("runs/whole") == desk.outcome("runs/limit"));
}

#[test]
fn a_long_rollout_stops_within_it_and_goes_on_as_if_never_stopped() {
    let desk = Desk::new(620);
    for student in ["0", "1"] {
        let schedule = ["--teacher-epochs", "1", "--ramp-epochs", "0", "--student-epochs", student];
        let others = ["--rollout", "600", "--bridge-clips", "false", "--validation", "0", "--batch-size", "32"];
        let train = |name: &str| {
            let mut command = desk.train(&[&schedule[..], &others].concat());
            command.args(["motion.npz", "--quiet", "--name", name]);
            command
        };
        let (whole, name) = (format!("whole-{student}"), format!("stopped-{student}"));
        success(&mut train(&whole));
        success(train(&name).args(["--max-minutes", "1e-9"]));
        let at = || {
            let checkpoint = desk.checkpoint(&format!("runs/{name}"), "last.safetensors");
            checkpoint.meta.unwrap().progress.unwrap()
        };
        assert_eq!((at().minibatch, at().rollout_step, at().step), (0, 256, 256));
        assert!(
            text(&success(&mut desk.program(&["info", &name])).stdout).contains("and step 256 of the one behind it")
        );
        success(&mut desk.program(&["train", "--resume", &name, "--quiet", "--max-minutes", "1e-9"]));
        assert_eq!((at().minibatch, at().rollout_step, at().step), (0, 512, 512));
        success(&mut desk.program(&["train", "--resume", &name, "--quiet", "--max-minutes", "0"]));
        assert!(desk.outcome(&format!("runs/{whole}")) == desk.outcome(&format!("runs/{name}")));
    }
}

#[test]
fn a_run_killed_at_any_moment_resumes() {
    let desk = Desk::new(600);
    success(&mut desk.train(&["motion.npz", "--name", "first", "--quiet"]));
    for checkpoint_every in ["0", "3600"] {
        let init = ["--init", "runs/first/checkpoints/best.safetensors", "--checkpoint-every", checkpoint_every];
        let start = |name: &str| {
            let mut command = desk.train(&["motion.npz", "--name", name, "--quiet"]);
            command.args(init);
            command
        };
        let (whole, killed) = (format!("whole-{checkpoint_every}"), format!("killed-{checkpoint_every}"));
        success(&mut start(&whole));
        let run = desk.path("runs").join(&killed);
        let mut kills = 0;
        for milliseconds in (0..).map(|i| 1 << i) {
            let born = run.exists();
            let mut command = if born { desk.program(&["train", "--resume", &killed]) } else { start(&killed) };
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            if milliseconds < 2000 {
                std::thread::sleep(Duration::from_millis(milliseconds));
                child.kill().unwrap();
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            kills += 1;
            assert_eq!(status.code(), None, "killed, and nothing else");
            if run.exists() {
                success(&mut desk.program(&["info", &killed]));
            }
        }
        println!("killed {kills} times");
        assert!(kills > 3);
        assert!(desk.outcome(&format!("runs/{whole}")) == desk.outcome(&format!("runs/{killed}")));
    }
}

#[test]
fn a_run_is_written_by_one_process() {
    let desk = Desk::new(3000);
    let mut child = desk.train(&["motion.npz", "--name", "walk", "--quiet"]).spawn().unwrap();
    wait_until(&mut child, || desk.path("runs/walk").exists());
    let message = failure(&mut desk.program(&["train", "--resume", "walk"]), 4);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(message.contains("another process is writing"), "{message}");
}

#[test]
fn runs_may_be_moved_and_resumed_by_path() {
    let desk = Desk::new(60);
    success(&mut desk.train(&["motion.npz", "--name", "walk", "--quiet", "--max-minutes", "1e-9"]));
    fs::create_dir(desk.path("elsewhere")).unwrap();
    fs::rename(desk.path("runs/walk"), desk.path("elsewhere/moved")).unwrap();
    let elsewhere = desk.path("elsewhere");
    let mut command = desk.program(&["train", "--resume", "moved", "--max-minutes", "0", "--quiet"]);
    let output = success(command.current_dir(&elsewhere));
    assert!(text(&output.stdout).contains("run folder: moved\n"), "{output:?}");
    assert!(Path::new(&elsewhere.join("moved/report.html")).exists());
}

/// The motion that the page of a run shows, and the page's size.
fn shown(desk: &Desk, run: &str) -> (serde_json::Value, usize) {
    let page = fs::read_to_string(desk.path(run).join("report.html")).unwrap();
    let start = page.find("id=\"motion\">").unwrap() + "id=\"motion\">".len();
    (serde_json::from_str(page[start..].split("</script>").next().unwrap()).unwrap(), page.len())
}

#[test]
fn the_report_shows_data_reconstruction_and_walks() {
    let desk = Desk::new(120);
    success(&mut desk.program(&["data", "synth", "-o", "walk.npz", "--frames", "900"]));
    for name in ["once", "again"] {
        success(&mut desk.train(&["walk.npz", "--name", name, "--validation", "0.3", "--batch-size", "64"]));
    }
    let (motion, size) = shown(&desk, "runs/once");
    assert!(size < 2_000_000, "{size} bytes");
    assert_eq!(motion, shown(&desk, "runs/again").0, "the same run shows the same motion");
    let tracks = motion["tracks"].as_array().unwrap();
    let starts: Vec<&str> = tracks.iter().map(|track| track["start"].as_str().unwrap()).collect();
    assert!(
        starts[0].contains("(held out)") && starts.iter().any(|start| start.contains("(trained on)")),
        "{starts:?}"
    );
    let of = |kind: &str| {
        tracks.iter().filter(|track| track["kind"] == kind && track["start"] == starts[0]).collect::<Vec<_>>()
    };
    let [data, reconstruction, walks] = ["data", "reconstruction", "walk"].map(of);
    assert_eq!([data.len(), reconstruction.len(), walks.len()], [1, 1, 2]);
    assert!(walks.iter().all(|walk| walk["frames"] == 301), "10 s at 30 frames a second");
    // All begin in one pose, and then differ.
    let begin = |track: &serde_json::Value| track["motion"].as_str().unwrap()[..184].to_owned();
    let all = [data[0], reconstruction[0], walks[0], walks[1]];
    assert!(all.iter().all(|track| begin(track) == begin(data[0])));
    assert!((1..4).all(|i| (0..i).all(|k| all[i]["motion"] != all[k]["motion"])));

    success(&mut desk.train(&["motion.npz", "--name", "unknown"]));
    assert!(shown(&desk, "runs/unknown").0.is_null());
    assert!(
        fs::read_to_string(desk.path("runs/unknown/report.html")).unwrap().contains("No player: the data does not say")
    );
}
