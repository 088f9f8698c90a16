//! `mvae-fast train --population`: every run is bit for bit as it would be alone, however it is
//! stopped, and a run that fails stops no other.
use mvae_fast::checkpoint::{Checkpoint, Tensor};
use mvae_fast::run::folder::RunFolder;
use mvae_fast::run::logs::read_metrics;
use mvae_fast::run::record::EpochRecord;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with data in it, where `mvae-fast` is run.
struct Desk {
    root: TempDir,
}

/// All results of a run that must not depend on the runs beside it: configuration, records, their
/// table, parameters and moments.
type Result = (String, Vec<EpochRecord>, String, [Vec<Tensor<'static>>; 2]);

impl Desk {
    /// 5 clips of `frames` frames in `motion.npz`.
    fn new(frames: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        crate::small::write(&root.path().join("motion.npz"), 5, frames);
        Desk { root }
    }

    fn path(&self, run: &str) -> PathBuf {
        self.root.path().join("runs").join(run)
    }

    /// The program with these arguments, in an empty environment.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments);
        command
    }

    /// Trains the small model into `name`, to its end unless the arguments say otherwise.
    fn train(&self, name: &str, arguments: &[&str]) -> Output {
        let arguments = [&["motion.npz", "--name", name], arguments].concat();
        self.program(&[&["train"], &crate::small::flags(&arguments)[..]].concat()).output().unwrap()
    }

    fn result(&self, run: &str) -> Result {
        let folder = RunFolder::open(&self.path(run)).unwrap();
        let tensors = |path: PathBuf| Checkpoint::load(&path).unwrap().tensors;
        let records = crate::small::untimed(&read_metrics(&folder.metrics()).unwrap().0);
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        let checkpoints = [tensors(folder.last_checkpoint()), tensors(folder.best_checkpoint())];
        (text(folder.config()), records, text(folder.progress()), checkpoints)
    }

    fn steps(&self, run: &str) -> u64 {
        let checkpoint = Checkpoint::load(&self.path(run).join("checkpoints/last.safetensors")).unwrap();
        checkpoint.meta.unwrap().progress.unwrap().step
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn success(output: Output) -> Output {
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn each_is_what_it_is_alone() {
    let desk = Desk::new(60);
    for (threads, variant) in [("1", "mixture"), ("2", "vq"), ("7", "mixture")] {
        let pieces = format!("pieces-{threads}");
        let population = ["--population", "kl_weight=1e-2,0.5", "--population", "2"];
        let flags = ["--variant", variant, "--threads", threads, "--seed", "5"];
        let whole = success(desk.train(threads, &[&flags[..], &population].concat()));
        let said = text(&whole.stdout);
        assert!(said.starts_with("4 of 4 models are trained"), "{said}");
        // A population that stops after the first mini-batches, and is resumed.
        success(desk.train(&pieces, &[&flags[..], &population, &["--max-minutes", "1e-9", "--quiet"]].concat()));
        let resumed = ["train", "--resume", &pieces, "--max-minutes", "0", "--threads", "2"];
        let resumed = text(&success(desk.program(&resumed).output().unwrap()).stderr);
        assert!(resumed.contains("4 models side by side, 2 at a time"), "{resumed}");
        for (weight, seed) in [("0.01", "5"), ("0.01", "6"), ("0.5", "5"), ("0.5", "6")] {
            let (name, alone) = (format!("kl-weight-{weight}-seed-{seed}"), format!("{threads}-{weight}-{seed}"));
            let row = said.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{said}"));
            assert!(row.contains(" 5/5 "), "{row}");
            let one = ["--variant", variant, "--kl-weight", weight, "--seed", seed, "--quiet"];
            success(desk.train(&alone, &one));
            let want = desk.result(&alone);
            assert!(want == desk.result(&format!("{threads}/{name}")), "{name} on {threads} threads");
            let (_, records, progress, checkpoints) = desk.result(&format!("{pieces}/{name}"));
            assert!((records, progress, checkpoints) == (want.1, want.2, want.3), "{name}, stopped and resumed");
        }
    }
}

#[test]
fn a_signal_stops_all_with_everything_saved() {
    let desk = Desk::new(60);
    let population =
        crate::small::flags(&["motion.npz", "--name", "pop", "--population", "3", "--student-epochs", "4000"]);
    let mut child = desk.program(&["train"]).args(population).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let epochs =
        |seed: u64| fs::read_to_string(desk.path(&format!("pop/seed-{seed}/metrics.jsonl"))).unwrap_or_default();
    while (0..3).any(|seed| epochs(seed).lines().count() < 2) {
        assert!(begun.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = text(&output.stderr);
    let error = "error: stopped by signal 2, everything saved; continue with --resume runs/pop\n";
    assert!(said.ends_with(error) && output.stdout.is_empty(), "{said}");
    // Each run resumes from its checkpoint, which is no older than the last line that it printed.
    let stood: Vec<u64> = (0..3).map(|seed| desk.steps(&format!("pop/seed-{seed}"))).collect();
    let output = success(desk.program(&["train", "--resume", "pop", "--max-minutes", "1e-9"]).output().unwrap());
    for (seed, stood) in stood.into_iter().enumerate() {
        assert!(text(&output.stderr).contains(&format!("seed-{seed}: resuming at epoch ")), "{output:?}");
        assert!(stood > 0 && desk.steps(&format!("pop/seed-{seed}")) == stood + 4, "seed {seed}");
    }
    assert!(text(&output.stdout).ends_with("continue: mvae-fast train --resume runs/pop\n"), "{output:?}");
}

#[test]
fn one_that_fails_stops_no_other() {
    let desk = Desk::new(60);
    let output = desk.train("pop", &["--population", "kl_weight=auto,1e39", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    let error = said.lines().last().unwrap();
    assert!(error.starts_with("error: kl-weight-1") && error.contains("0: epoch 1, step "), "{said}");
    assert!(error.contains("the loss is not finite"), "{said}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let finished = |i: usize| result["members"][i]["finished"].as_bool().unwrap();
    assert!(finished(0) && !finished(1) && result["finished"] == false, "{result}");
    success(desk.train("alone", &["--kl-weight", "auto", "--quiet"]));
    assert!(desk.result("alone") == desk.result("pop/kl-weight-auto"));
}

#[test]
fn a_folder_of_runs_is_told_from_a_run() {
    let desk = Desk::new(60);
    success(desk.train("pop", &["--population", "11", "--student-epochs", "0", "--quiet"]));
    let info = text(&success(desk.program(&["info", "pop"]).output().unwrap()).stdout);
    let names: Vec<&str> = info.lines().skip(2).map(|line| line.split(' ').next().unwrap()).collect();
    let want: Vec<String> = (0..11).map(|seed| format!("seed-{seed}")).collect();
    assert_eq!(names, want);
    assert!(info.lines().nth(1).unwrap().starts_with("model "), "{info}");
    let json = success(desk.program(&["info", "pop", "--json"]).output().unwrap()).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["members"][10]["record"]["epoch"], 3);
    // Other commands accept one of the runs, also by its name.
    success(desk.program(&["info", "pop/seed-10"]).output().unwrap());
    let refused = desk.program(&["generate", "pop"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("holds several runs; name one, such as runs/pop/seed-0"), "{refused:?}");
    let again = text(&success(desk.program(&["train", "--resume", "pop"]).output().unwrap()).stderr);
    assert!(again.contains("all 11 models are trained, nothing to do"), "{again}");
    // Its name is free only once.
    assert_eq!(desk.train("pop", &["--population", "2"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let desk = Desk::new(60);
    for (arguments, says) in [
        (&["--population", "0"][..], "expected a number from 1 to 1024, or KEY=VALUE"),
        (&["--population", "klweight=1"], "expected a key that changes the model, such as kl_weight"),
        (&["--population", "data=other.npz"], "expected a key that changes the model"),
        (&["--population", "kl_weight=x"], "--population kl-weight is \"x\", expected a number or auto"),
        (&["--population", "kl_weight=1,1.0"], "kl-weight-1 twice"),
        (&["--population", "2", "--population", "seed=4"], "--population sets seed, which is set already"),
        (&["--kl-weight", "1", "--population", "kl_weight=2"], "--population sets kl_weight, which is set already"),
        (&["--population", "1000", "--population", "kl_weight=1,2"], "more than 1024 runs"),
        (&["--population", "2", "--print-config"], "cannot be used with"),
    ] {
        let output = desk.train("pop", arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    }
    assert!(!desk.root.path().join("runs").exists());
}
