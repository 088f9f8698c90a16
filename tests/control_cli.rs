//! `mvae-fast control` as a user meets it: every task trains, stops and goes on bit for bit; what it makes, and what it refuses.
use mvae_fast::checkpoint::Checkpoint;
use mvae_fast::control::record::UpdateRecord;
use mvae_fast::data::npz;
use mvae_fast::record::Timing;
use mvae_fast::run::logs::read_metrics;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a small trained model in it.
struct Desk {
    root: TempDir,
}

impl Desk {
    /// Run `walk`, barely trained on synthetic motion.
    fn new(arguments: &str) -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        desk.done("data synth -o motion.npz --frames 620");
        desk.done(&format!(
            "train motion.npz --name walk --quiet --hidden-size 16 --gate-hidden-size 8 --latent-size 5 --experts 3 --codes 6 \
             --teacher-epochs 1 --ramp-epochs 1 --student-epochs 1 --threads 2 {arguments}"
        ));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that must succeed prints.
    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line of a refusal.
    fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }

    /// A short training of a small policy.
    fn control(&self, arguments: &str) -> String {
        self.done(&format!("control train --vae walk --quiet --hidden-size 16 --characters 12 --threads 2 {arguments}"))
    }

    /// Everything of a run that must not depend on how often it was stopped.
    fn outcome(&self, run: &str) -> (Vec<UpdateRecord>, String, Checkpoint<'static>) {
        let folder = self.path("runs").join(run);
        let mut records: Vec<UpdateRecord> = read_metrics(&folder.join("metrics.jsonl")).unwrap();
        let untimed = Timing { seconds: 0.0, samples_per_second: 0.0, elapsed_seconds: 0.0 };
        records.iter_mut().for_each(|record| record.timing = untimed.clone());
        let mut checkpoint = Checkpoint::load(&folder.join("checkpoints/last.safetensors")).unwrap();
        checkpoint.meta = None;
        (records, fs::read_to_string(folder.join("progress.csv")).unwrap(), checkpoint)
    }
}

#[test]
fn every_task_goes_on_bit_for_bit() {
    let desk = Desk::new("--condition-frames 2 --future-predictions 2");
    desk.control("--task target --name lower --updates 1");
    for task in ["target", "joystick", "path", "walk", "maze"] {
        // Episodes end within the rollouts; a second of the built-in set's pace is enough of a path.
        let lower = if task == "maze" { "--lower lower" } else { "--frame-skip 2" };
        let all = format!("--task {task} {lower} --updates 5 --steps 8 --minibatches 3 --horizon 19");
        desk.control(&format!("{all} --name {task}-whole"));
        desk.control(&format!("{all} --name {task} --max-minutes 1e-9"));
        let stopped = desk.outcome(task).0.len();
        assert_eq!(stopped, 1, "{task}: stopped after an update");
        desk.done(&format!("control train --resume {task} --quiet --threads 1 --max-minutes 0"));
        let (whole, resumed) = (desk.outcome(&format!("{task}-whole")), desk.outcome(task));
        assert_eq!(whole.0.len(), 5);
        assert!(whole == resumed, "{task}: another result after a stop");
        assert!(desk.path("runs").join(task).join("report.html").is_file());
    }
}

#[test]
fn what_is_learned_from_is_what_was_done() {
    let desk = Desk::new("");
    // One step on all samples at once: the policy is still the one that acted.
    desk.control("--task target --name first --updates 1 --minibatches 1 --ppo-epochs 1");
    let (records, ..) = desk.outcome("first");
    assert_eq!((records[0].kl, records[0].clip_fraction), (0.0, 0.0), "every ratio is 1");
}

#[test]
fn a_controller_is_measured_and_makes_motion() {
    let desk = Desk::new("");
    for (task, asked) in [("target", "goals"), ("joystick", "commands"), ("path", "goals")] {
        desk.control(&format!("--task {task} --name {task} --updates 1"));
        let measured = desk.done(&format!("control eval {task} --characters 3 --json --threads 1"));
        let measured: Value = serde_json::from_str(&measured).unwrap();
        let reward = |who: &str| measured[who]["step_reward"].as_f64().unwrap();
        assert!(reward("policy").is_finite() && reward("prior").is_finite());
        for file in ["motion.bvh", "motion.glb", "motion-a.npz", "motion-b.npz"] {
            let to = desk.path(&format!("{task}-{file}"));
            desk.done(&format!("generate --controller {task} --frames 40 --characters 1 -o {}", to.display()));
        }
        let [a, b] = ["a", "b"].map(|name| fs::read(desk.path(&format!("{task}-motion-{name}.npz"))).unwrap());
        assert!(a == b, "{task}: it repeats");
        let file = desk.path(&format!("{task}-motion-a.npz"));
        let set = npz::read(&file).unwrap();
        assert_eq!((set.num_frames(), set.frame_size), (40, 267));
        let (shape, _) = npz::read_array(&file, asked).unwrap();
        assert_eq!(shape, [40, 2]);
    }
}

#[test]
fn flags_over_environment_over_preset() {
    let desk = Desk::new("");
    let print = |arguments: &str, variables: &[(&str, &str)]| {
        let mut command = desk.command(&format!("control train --vae walk --print-config {arguments}"));
        String::from_utf8(command.envs(variables.iter().copied()).output().unwrap().stdout).unwrap()
    };
    let both = [("MVAE_CHARACTERS", "7"), ("MVAE_PRESET", "reference"), ("MVAE_BATCH_SIZE", "3")];
    let said = print("--seed 4", &both);
    for line in ["characters = 7\n", "seed = 4\n", "normalize_observations = false\n", "literal = true\n"] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert!(print("--characters 9", &both).contains("characters = 9\n"));
    let mut wrong = desk.command("control train --vae walk");
    let output = wrong.env("MVAE_CHARACTER", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("did you mean MVAE_CHARACTERS?"));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_starts() {
    let desk = Desk::new("");
    desk.control("--task joystick --name stick --updates 1");
    let train = |arguments: &str| format!("control train --vae walk {arguments}");
    for (arguments, code, words) in [
        ("control train".to_owned(), 2, "--vae"),
        ("control train --vae nowhere".to_owned(), 4, "nowhere"),
        (train("--frame-skip 2"), 2, "the decoder predicts 1 frames at once"),
        (train("--task maze"), 2, "--lower"),
        (train("--task maze --lower stick"), 4, "its task is joystick"),
        (train("--task maze --lower walk"), 4, "is no controller"),
        (train("--characters 0"), 2, "--characters is 0"),
        (train("--lower stick"), 2, "only the maze"),
        ("control eval walk".to_owned(), 4, "give the run of a controller"),
        ("generate --controller walk -o x.npz".to_owned(), 4, "give the run of a controller"),
        ("generate --controller stick walk -o x.npz".to_owned(), 2, "--controller"),
    ] {
        let message = desk.refused(&arguments, code);
        assert!(message.contains(words), "{arguments}: {message}");
    }
    let runs: Vec<_> = fs::read_dir(desk.path("runs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(runs.len(), 2, "no run was begun: {runs:?}");
    // Another decoder under the same name.
    desk.done("data synth -o other.npz --frames 620 --seed 5");
    fs::rename(desk.path("runs/walk"), desk.path("runs/before")).unwrap();
    desk.done(
        "train motion.npz --name walk --quiet --hidden-size 16 --gate-hidden-size 8 --latent-size 5 --experts 3 --seed 9 \
         --teacher-epochs 1 --ramp-epochs 1 --student-epochs 1 --threads 2",
    );
    for command in ["control eval stick", "control train --resume stick", "generate --controller stick -o x.npz"] {
        assert!(desk.refused(command, 4).contains("another decoder"), "{command}");
    }
}
