//! `mvae-fast sweep`: every run is bit for bit as it would be alone, whichever process trains it
//! and however often that is killed. `--resume-or-start` makes single trainings such.
use mvae_fast::checkpoint::{Checkpoint, Tensor};
use mvae_fast::run::folder::RunFolder;
use mvae_fast::run::logs::read_metrics;
use mvae_fast::run::record::EpochRecord;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A small model and a short schedule of 5 epochs.
const SMALL: &str = "\
data = ['motion.npz']
hidden_size = 16
gate_hidden_size = 8
latent_size = 4
experts = 3
codes = 6
batch_size = 16
rollout = 4
learning_rate = 1e-3
decay = 'epoch'
warmup_steps = 0
minibatches = 0
teacher_epochs = 2
ramp_epochs = 1
student_epochs = 2
";
const EVAL: &str = "[eval]\nwalks = 8\nframes = 60\ncharacters = 4\n";

/// A folder with data in it, where `mvae-fast` is run.
struct Desk {
    root: TempDir,
}

/// All results of a run that must not depend on the process that made them.
type Outcome = (Vec<EpochRecord>, String, [Vec<Tensor<'static>>; 2]);

impl Desk {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        crate::small::write(&root.path().join("motion.npz"), 5, 60);
        Desk { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes the file of a sweep of small models that has these keys and tables, too.
    fn write(&self, name: &str, keys: &str, tables: &str) {
        fs::write(self.path(&format!("{name}.toml")), format!("{tables}\n[train]\n{SMALL}{keys}\n{EVAL}")).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output and standard error of a command that succeeds.
    fn done(&self, arguments: &str) -> [String; 2] {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The one line by which a command is refused.
    fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    /// Starts a command, and waits until this file is there.
    fn start(&self, arguments: &str, until: &str) -> Child {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !self.path(until).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
        child
    }

    fn outcome(&self, run: &str) -> Outcome {
        let folder = RunFolder::open(&self.path("runs").join(run)).unwrap();
        let tensors = |path: PathBuf| Checkpoint::load(&path).unwrap().tensors;
        let records = crate::small::untimed(&read_metrics(&folder.metrics()).unwrap().0);
        let progress = fs::read_to_string(folder.progress()).unwrap();
        (records, progress, [tensors(folder.last_checkpoint()), tensors(folder.best_checkpoint())])
    }

    fn evaluation(&self, run: &str, epochs: usize) -> Value {
        let file = self.path("runs").join(run).join(format!("eval-{epochs}.json"));
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    /// Epochs after which a run was measured.
    fn measured(&self, run: &str) -> Vec<usize> {
        let folder = self.path("runs").join(run);
        (1..=20).filter(|epochs| folder.join(format!("eval-{epochs}.json")).exists()).collect()
    }

    /// Compares runs in two folders of runs.
    fn same(&self, one: &str, other: &str, runs: &[&str], epochs: usize) {
        for run in runs {
            let (a, b) = (format!("{one}/{run}"), format!("{other}/{run}"));
            assert!(self.outcome(&a) == self.outcome(&b), "{a} is not {b}");
            assert_eq!(self.evaluation(&a, epochs), self.evaluation(&b, epochs), "{a}, {b}");
        }
    }
}

const FOUR: [&str; 4] =
    ["kl-weight-0.01-seed-3", "kl-weight-0.01-seed-4", "kl-weight-0.5-seed-3", "kl-weight-0.5-seed-4"];
const KEYS: &str = "kl_weight = [1e-2, 0.5]\nseed = { from = 3, to = 4, count = 2 }";

#[test]
fn each_run_is_what_it_is_alone() {
    let desk = Desk::new();
    desk.write("kl", KEYS, "");
    let [listed, _] = desk.done("sweep kl.toml --dry-run --shard 1/2");
    assert!(listed.contains("4 runs in ") && listed.matches("of another shard").count() == 2, "{listed}");
    assert!(!desk.path("runs").exists());

    let [said, progress] = desk.done("sweep kl.toml");
    assert!(said.contains("4 runs are trained to the end") && said.contains("5/5"), "{said}");
    assert!(progress.contains("kl-weight-0.5-seed-4: from epoch 1 to 5 of 5"), "{progress}");
    let flags = crate::small::flags(&["motion.npz", "--kl-weight", "0.5", "--seed", "4", "--quiet"]).join(" ");
    desk.done(&format!("train {flags} --name alone"));
    assert!(desk.outcome("alone") == desk.outcome("kl/kl-weight-0.5-seed-4"));
    let [alone, _] = desk.done("eval alone --json --walks 8 --frames 60");
    let (alone, found) =
        (serde_json::from_str::<Value>(&alone).unwrap(), desk.evaluation("kl/kl-weight-0.5-seed-4", 5));
    assert_eq!(alone["report"], found["report"]);

    // On several devices runs go side by side.
    desk.done("sweep kl.toml --name two --device cpu,cpu --quiet");
    desk.same("kl", "two", &FOUR, 5);
    let refused = desk.refused(&format!("train {flags} --name alone-2 --device cpu,cpu"), 2);
    assert!(refused.contains("several devices, which share out the runs of a sweep or of a population"), "{refused}");
    let page = fs::read_to_string(desk.path("runs/kl/sweep.html")).unwrap();
    assert!(FOUR.iter().all(|run| page.contains(run)) && !page.contains("{{"));

    // The same command has nothing to do.
    let [again, progress] = desk.done("sweep kl.toml");
    assert!(again == said && progress.is_empty(), "{progress}");

    let [info, _] = desk.done("info kl --best one_step_error");
    let order: Vec<&str> = info.lines().skip(2).take(4).map(|line| line.split(' ').next().unwrap()).collect();
    let error = |run: &str| desk.evaluation(&format!("kl/{run}"), 5)["measures"]["one_step_error"].as_f64().unwrap();
    assert!(order.is_sorted_by(|a, b| error(a) < error(b)), "{info}");
    assert!(info.contains("threshold") && info.contains("active_units"), "{info}");
    let [json, _] = desk.done("info kl --json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"][2]["keys"]["kl_weight"], 0.5);
    let said = desk.refused("info kl --best skates", 2);
    assert!(said.contains("no run has such a measure; there are: ") && said.contains("inside"), "{said}");
    // Any number of the report will do.
    desk.done("info kl --best walks.inside --largest true");

    // Another key is another sweep.
    desk.write("kl", &format!("{KEYS}\ntoe_weight = 2"), "");
    let said = desk.refused("sweep kl.toml", 2);
    assert!(said.contains("was begun with another toe_weight"), "{said}");
    assert!(desk.refused("sweep kl.toml --name alone", 2).contains("holds other runs"));
}

#[test]
fn killed_processes_leave_what_others_finish() {
    let desk = Desk::new();
    desk.write("kl", KEYS, "");
    desk.done("sweep kl.toml --name whole --quiet");
    for (turn, run) in FOUR.iter().enumerate() {
        let shard = format!("sweep kl.toml --shard {}/2", turn % 2);
        let mut child = desk.start(&shard, &format!("runs/kl/{run}/metrics.jsonl"));
        std::thread::sleep(Duration::from_millis(20 * turn as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Two at a time, as on two nodes, the second of which also finds the first one's runs.
    let mut first = desk.command("sweep kl.toml --shard 0/2 --quiet").stdout(Stdio::null()).spawn().unwrap();
    desk.done("sweep kl.toml --quiet");
    assert!(first.wait().unwrap().success());
    desk.done("sweep kl.toml --quiet");
    desk.same("whole", "kl", &FOUR, 5);
    let left: Vec<_> = fs::read_dir(desk.path("runs/kl")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn the_signal_before_the_end_saves_and_says_so() {
    let desk = Desk::new();
    desk.write("long", "student_epochs = [4000, 4001]", "");
    let text = fs::read_to_string(desk.path("long.toml")).unwrap().replace("student_epochs = 2\n", "");
    fs::write(desk.path("long.toml"), text).unwrap();
    for (signal, code) in [("-USR1", 138), ("-TERM", 143)] {
        let child = desk.start("sweep long.toml", "runs/long/student-epochs-4000/metrics.jsonl");
        std::thread::sleep(Duration::from_millis(300));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("everything saved; continue with the same command"), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
    let run = desk.path("runs/long/student-epochs-4000/checkpoints/last.safetensors");
    assert!(Checkpoint::load(&run).unwrap().meta.unwrap().progress.unwrap().step > 0);
    assert!(!desk.path("runs/long/student-epochs-4001").exists());
}

#[test]
fn the_best_go_on_and_end_as_if_never_measured() {
    let desk = Desk::new();
    desk.write("many", "seed = { from = 0, to = 8, count = 9 }", "[halving]\nmeasure = 'one_step_error'\nreduce = 3\n");
    desk.done("sweep many.toml --quiet");
    let error = |run: usize, epochs: usize| {
        desk.evaluation(&format!("many/seed-{run}"), epochs)["measures"]["one_step_error"].as_f64().unwrap()
    };
    // Levels of 1, 2 and 5 epochs. A run goes on once it is in the best third of those measured.
    let measured: Vec<Vec<usize>> = (0..9).map(|run| desk.measured(&format!("many/seed-{run}"))).collect();
    let mut want = vec![vec![1]; 9];
    for known in 1..=9 {
        loop {
            let mut goes = None;
            for (level, epochs, to) in [(2, 2, 5), (1, 1, 2)] {
                let mut there: Vec<usize> = (0..known).filter(|&run| want[run].len() >= level).collect();
                there.sort_by(|&a, &b| error(a, epochs).total_cmp(&error(b, epochs)));
                let top = &there[..there.len() / 3];
                goes = goes.or(top.iter().find(|&&run| want[run].len() == level).map(|&run| (run, to)));
            }
            let Some((run, to)) = goes else { break };
            want[run].push(to);
        }
    }
    assert_eq!(measured, want);
    let ended = (0..9).filter(|&run| measured[run].len() == 3);
    let best = ended.min_by(|&a, &b| error(a, 5).total_cmp(&error(b, 5))).expect("one trains to the end");
    let seed = best.to_string();
    let flags = crate::small::flags(&["motion.npz", "--seed", &seed, "--quiet", "--name", "alone"]).join(" ");
    desk.done(&format!("train {flags}"));
    assert!(desk.outcome("alone") == desk.outcome(&format!("many/seed-{best}")));
    let [info, _] = desk.done("info many --best one_step_error");
    assert!(info.lines().nth(2).unwrap().starts_with(&format!("seed-{best} ")), "{info}");
}

#[test]
fn a_run_that_fails_or_is_held_stops_no_other() {
    let desk = Desk::new();
    desk.write("kl", "kl_weight = [1e39, 0.5, 'auto']", "");
    // This test holds a run, as a process on this machine would.
    fs::create_dir_all(desk.path("runs")).unwrap();
    let flags = crate::small::flags(&["motion.npz", "--kl-weight", "0.5", "--max-minutes", "1e-9"]).join(" ");
    desk.done(&format!("train {flags} --quiet --name kl-weight-0.5 --runs runs/kl"));
    fs::copy(desk.path("kl.toml"), desk.path("runs/kl/sweep.toml")).unwrap();
    let held = RunFolder::resume(&desk.path("runs/kl/kl-weight-0.5")).unwrap();
    let [said, progress] = desk.done("sweep kl.toml");
    assert!(progress.contains("does not go on: epoch 1, step "), "{progress}");
    assert!(
        progress.contains(&format!("kl-weight-0.5: left, as it is held by process {}", std::process::id())),
        "{progress}"
    );
    assert!(said.contains("1 of 3 runs are trained to the end, 1 failed"), "{said}");
    drop(held);
    let [said, progress] = desk.done("sweep kl.toml");
    assert!(said.contains("2 of 3 runs") && !progress.contains("does not go on"), "{progress}");
    assert_eq!(desk.measured("kl/kl-weight-0.5"), [5]);
}

#[test]
fn controllers_follow_their_decoders() {
    let desk = Desk::new();
    fs::remove_file(desk.path("motion.npz")).unwrap();
    desk.done("data synth -o motion.npz --frames 620");
    let control = "[control]\ntask = ['target', 'walk']\ncharacters = 8\nsteps = 4\nupdates = 3\nhidden_size = 16\n";
    desk.write("both", "seed = [0, 1]", control);
    desk.done("sweep both.toml --quiet --shard 0/2");
    let there = |run: &str| desk.path("runs/both").join(run).join("eval-3.json").exists();
    assert!(there("control/seed-0-task-target") && there("control/seed-0-task-walk"));
    assert!(!desk.path("runs/both/control/seed-1-task-target").exists());
    let [said, _] = desk.done("sweep both.toml --quiet");
    assert!(said.contains("6 of 6 runs are trained to the end"), "{said}");
    let [json, _] = desk.done("info both --json --best step_reward --largest true");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 6);
    assert!(json["runs"][0]["keys"]["control.task"].is_string(), "controllers have that measure: {json}");
    let evaluation = desk.evaluation("both/control/seed-1-task-walk", 3);
    assert!(evaluation["measures"]["speed_m_s"].is_number(), "{evaluation}");
    // Controllers of decoders that there are.
    let text = format!("[control]\nvae = ['both/seed-0', 'both/seed-1']\n{}{EVAL}", &control[10..]);
    fs::write(desk.path("only.toml"), text.replace("['target', 'walk']", "'target'")).unwrap();
    desk.done("sweep only.toml --quiet");
    for seed in [0, 1] {
        let tensors = |run: String| {
            let file = desk.path("runs").join(run).join("checkpoints/last.safetensors");
            Checkpoint::load(&file).unwrap().tensors
        };
        let one = tensors(format!("only/control/vae-both-seed-{seed}"));
        assert!(one == tensors(format!("both/control/seed-{seed}-task-target")), "seed {seed}");
    }
}

#[test]
fn a_command_may_be_given_again() {
    let desk = Desk::new();
    let flags = crate::small::flags(&["motion.npz", "--quiet", "--resume-or-start"]).join(" ");
    desk.done(&format!("train {flags} --name one --max-minutes 1e-9"));
    desk.done(&format!("train {flags} --name one"));
    let whole = crate::small::flags(&["motion.npz", "--quiet"]).join(" ");
    desk.done(&format!("train {whole} --name alone"));
    assert!(desk.outcome("one") == desk.outcome("alone"));
    let [said, _] = desk.done(&format!("train {flags} --name one"));
    assert!(said.starts_with("trained 5 of 5 epochs"), "{said}");
    let said = desk.refused(&format!("train {flags} --name one --seed 7"), 2);
    assert!(said.contains("runs/one was begun with another seed; leave that as "), "{said}");

    desk.done(&format!("train {flags} --name two --population 2 --max-minutes 1e-9"));
    desk.done(&format!("train {flags} --name two --population 2"));
    assert!(desk.outcome("two/seed-0") == desk.outcome("alone"));
    assert!(desk.refused(&format!("train {flags} --population 2"), 2).contains("--name"));

    desk.done("data synth -o walk.npz --frames 620");
    let model = crate::small::flags(&["walk.npz", "--quiet", "--name", "walk"]).join(" ");
    desk.done(&format!("train {model}"));
    let control =
        "control train --task walk --vae walk --name c --resume-or-start --characters 8 --steps 4 --updates 3 --quiet";
    desk.done(&format!("{control} --max-minutes 1e-9"));
    let [said, _] = desk.done(control);
    assert!(said.starts_with("trained 3 of 3 updates"), "{said}");
    assert!(desk.refused(&format!("{control} --gamma 0.5"), 2).contains("another gamma"));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let desk = Desk::new();
    // Below the tables and keys of [`SMALL`], which begin at line 3.
    for (keys, tables, says) in [
        ("kl_wait = 3", "", "s.toml:18: unknown key \"kl_wait\"; did you mean \"kl_weight\"?"),
        ("seed = []", "", "s.toml:18: seed: the list is empty"),
        ("seed = [1, 1]", "", "s.toml: asks for seed-1 twice"),
        ("seed = { from = 1, too = 3 }", "", "s.toml:18: seed: unknown field `too`"),
        (
            "toe_weight = { from = 1.0, to = 3.0 }",
            "",
            "s.toml: toe_weight is drawn, as its range has no count; give draws",
        ),
        ("", "draws = 3", "s.toml: draws: no key is drawn"),
        ("kl_weight = [0.1, -1]", "", "s.toml:18: kl_weight is -1, expected a finite number of 0 or more"),
        ("variant = ['mixture', 'mixed']", "", "s.toml:18: variant: unknown value `mixed`"),
        ("max_minutes = 3", "", "s.toml:18: max_minutes: the runs of a sweep have no such limit"),
        ("checkpoint_every = [3, 4]", "", "s.toml:18: checkpoint_every: is the same in all runs"),
        ("seed = { from = 0, to = 999, count = 1000 }\nkl_weight = [0, 1]", "", "more than 1024 runs"),
        ("", "[halving]\nmeasure = 'skate'", "halving: reduce is 3, but there are 1 runs"),
        ("seed = [1, 2, 3]", "[halving]\nmeasure = 'skates'", "unknown measure \"skates\"; did you mean \"skate\"?"),
        ("seed = [1, 2, 3]", "[halving]\nmesure = 'skate'", "s.toml:2: unknown field `mesure`"),
        ("", "[control]\ntask = 'target'\nvae = 'walk'", "s.toml:3: vae: the decoders are those of [train]"),
        (
            "variant = 'vq'",
            "[control]\ntask = 'target'",
            "decoder model: variant is vq, whose controllers do not learn",
        ),
    ] {
        desk.write("s", keys, tables);
        let said = desk.refused("sweep s.toml --dry-run", 2);
        assert!(said.contains(says), "{keys} {tables}: {said}");
        assert_eq!(desk.refused("sweep s.toml", 2), said);
    }
    fs::write(desk.path("s.toml"), "[control]\ntask = 'target'\n").unwrap();
    assert!(desk.refused("sweep s.toml", 2).contains("[control] has no decoders"));
    fs::write(desk.path("s.toml"), "draws = 2\n").unwrap();
    assert!(desk.refused("sweep s.toml", 2).contains("draws: no key is drawn"));
    fs::write(desk.path("s.toml"), "").unwrap();
    assert!(desk.refused("sweep s.toml", 2).contains("no runs; give a table [train] or [control]"));
    desk.write("s", "", "");
    assert!(desk.refused("sweep s.toml --shard 5/4", 2).contains("--shard is \"5/4\", expected I/N"));
    assert!(desk.refused("sweep s.toml --name a/b", 2).contains("is no folder name"));
    assert!(!desk.path("runs").exists());
}
