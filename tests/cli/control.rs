//! `mvae-fast control` as a user meets it: every task trains, stops and resumes bit for bit; its
//! output, and its refusals.
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::checkpoint::{Checkpoint, Data, Tensor};
use mvae_fast::control::config::PolicyConfig;
use mvae_fast::control::play::{Play, Policy, Who, perform};
use mvae_fast::control::record::UpdateRecord;
use mvae_fast::data::{Dataset, npz};
use mvae_fast::motion::Rig;
use mvae_fast::motion::features::{Part, slot};
use mvae_fast::motion::rig::METRES;
use mvae_fast::ops::world::Task;
use mvae_fast::run::folder::RunFolder;
use mvae_fast::run::logs::read_metrics;
use mvae_fast::run::record::Timing;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a small trained model in it.
pub(super) struct Desk {
    root: TempDir,
}

impl Desk {
    /// Run `walk`, barely trained on synthetic motion.
    pub(super) fn new(arguments: &str) -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        desk.done("data synth -o motion.npz --frames 620");
        desk.model(&format!("motion.npz --name walk --latent-size 5 {arguments}"));
        desk
    }

    /// Run `walk`, small, and trained so far that it walks.
    pub(super) fn small() -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        desk.done("data synth -o motion.npz --frames 3000");
        desk.done(
            "train motion.npz --name walk --quiet --threads 1 --hidden-size 64 --gate-hidden-size 16 --experts 3 \
             --latent-size 8 --teacher-epochs 2 --ramp-epochs 2 --student-epochs 4",
        );
        desk
    }

    /// A short training of a small model.
    fn model(&self, arguments: &str) {
        self.done(&format!(
            "train --quiet --hidden-size 16 --gate-hidden-size 8 --experts 3 --codes 6 --minibatches 0 --decay epoch --warmup-steps 0 --learning-rate 1e-4 --teacher-epochs 1 --ramp-epochs 1 \
             --student-epochs 1 --threads 2 {arguments}"
        ));
    }

    /// Changes the tensors of a run's last checkpoint, whatever their precision; returns the rig in
    /// it.
    fn edit(&self, run: &str, change: impl Fn(&str, &mut [f64])) -> Rig {
        let file = self.path("runs").join(run).join("checkpoints/last.safetensors");
        let mut checkpoint = Checkpoint::load(&file).unwrap();
        for Tensor { name, data, .. } in &mut checkpoint.tensors {
            match data {
                Data::F32(data) => {
                    let mut values: Vec<f64> = data.iter().map(|&x| x.into()).collect();
                    change(name, &mut values);
                    *data = values.into_iter().map(|x| x as f32).collect();
                }
                Data::F64(data) => change(name, data.to_mut()),
                Data::I64(_) => {}
            }
        }
        checkpoint.save(&file).unwrap();
        checkpoint.meta.and_then(|meta| meta.rig).unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The course of a run, body units, from its checkpoint.
    fn course(&self, run: &str) -> Vec<f64> {
        match &self.outcome(run).2.get("task.course").unwrap().data {
            Data::F64(course) => course.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// `control eval` as JSON.
    pub(super) fn measured(&self, run: &str) -> Value {
        serde_json::from_str(&self.done(&format!("control eval {run} --characters 3 --json --threads 1"))).unwrap()
    }

    /// The shape of the latents in a file of motion that a controller makes.
    pub(super) fn latents(&self, run: &str, arguments: &str, file: &str) -> Vec<usize> {
        self.done(&format!("generate --controller {run} {arguments} -o {file}"));
        npz::read_array(&self.path(file), "latents").unwrap().0
    }

    /// Number of runs.
    pub(super) fn runs(&self) -> usize {
        fs::read_dir(self.path("runs")).unwrap().count()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments.split_whitespace());
        command
    }

    pub(super) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The output of a command that must succeed.
    pub(super) fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line of a refusal.
    pub(super) fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }

    /// A short training of a small policy.
    pub(super) fn control(&self, arguments: &str) -> String {
        self.done(&format!("control train --vae walk --quiet --hidden-size 16 --characters 12 --threads 2 {arguments}"))
    }

    /// All results of a run that must not depend on how often it was stopped.
    pub(super) fn outcome(&self, run: &str) -> (Vec<UpdateRecord>, String, Checkpoint<'static>) {
        let folder = self.path("runs").join(run);
        let mut records: Vec<UpdateRecord> = read_metrics(&folder.join("metrics.jsonl")).unwrap().0;
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
    for task in Task::ALL {
        // Episodes end within the rollouts.
        let lower = if task.info().lower.is_some() { "--lower lower" } else { "--frame-skip 2" };
        let ppo = format!("--algorithm ppo {lower}");
        let ways = if task.has_gradient() { vec![ppo, "--algorithm shac --costs-from 0.2".into()] } else { vec![ppo] };
        for way in ways {
            goes_on(&desk, *task, &way);
        }
    }
}

/// A training that is stopped after an update and resumed ends as one that was never stopped.
fn goes_on(desk: &Desk, task: Task, way: &str) {
    let (bounds, task) = (task.info().bounds, task.name());
    let all = format!("--task {task} {way} --updates 5 --steps 8 --minibatches 3 --horizon 19");
    let task = &format!("{task}-{}", way.split(' ').nth(1).unwrap());
    desk.control(&format!("{all} --name {task}-whole"));
    let stopped = format!("{task}-stopped");
    desk.control(&format!("{all} --name {stopped} --max-minutes 1e-9"));
    assert_eq!(desk.outcome(&stopped).0.len(), 1, "{task}: stopped after an update");
    desk.done(&format!("control train --resume {stopped} --quiet --threads 1 --max-minutes 0"));
    let (whole, resumed) = (desk.outcome(&format!("{task}-whole")), desk.outcome(&stopped));
    assert_eq!(whole.0.len(), 5);
    assert!(whole == resumed, "{task}: another result after a stop");
    assert!(desk.path("runs").join(stopped).join("report.html").is_file());
    let measured = desk.measured(&format!("{task}-whole"));
    let numbers = measured["policy"].as_object().unwrap();
    assert!(bounds.iter().all(|bound| numbers.contains_key(bound.key)), "{task}: {numbers:?}");
}

#[test]
fn what_is_learned_from_is_what_was_done() {
    let desk = Desk::new("");
    // One step on all samples at once, so that the policy is still the one that acted.
    desk.control("--task target --name first --updates 1 --minibatches 1 --epochs 1 --algorithm ppo");
    let (records, ..) = desk.outcome("first");
    assert_eq!((records[0].kl, records[0].clip_fraction), (Some(0.0), Some(0.0)), "every ratio is 1");
}

#[test]
fn a_controller_is_measured_and_makes_motion() {
    let desk = Desk::new("");
    for (task, asked) in [("target", "goals"), ("joystick", "commands"), ("path", "goals")] {
        desk.control(&format!("--task {task} --name {task} --updates 1"));
        let measured = desk.measured(task);
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
    let said = desk.done("control eval joystick --characters 2 --paper --threads 1");
    let tables = said.split_once("the paper's Table 1").unwrap().1;
    for height in ["3.3", "3.0"] {
        let line = tables.lines().find(|line| line.contains(&format!("toes below {height} cm: policy "))).unwrap();
        let number = |word: &str| line.split_once(word).unwrap().1.split(',').next().unwrap().parse::<f64>().unwrap();
        let (ratio, of_both) = (number("ratio "), number("policy ") / number("data "));
        assert!((ratio - of_both).abs() < 0.05 * of_both + 0.01, "{line}");
    }
    assert!(tables.contains("the paper's Table 2"), "{tables}");
}

#[test]
fn exploration_falls_to_its_bound() {
    let desk = Desk::new("");
    for (name, bound, most) in [("falls", "0.1", [0.25, 0.25 / 2.5f64.sqrt(), 0.1]), ("stays", "0", [0.25; 3])] {
        desk.control(&format!("--task target --name {name} --updates 3 --final-std {bound} --learning-rate 1e-5"));
        let stds: Vec<f64> = desk.outcome(name).0.iter().map(|record| record.std).collect();
        // Learning itself changes them slightly.
        assert!(stds.iter().zip(most).all(|(std, most)| (std / most - 1.0).abs() < 0.01), "{stds:?}, bounds {most:?}");
    }
}

#[test]
fn noise_that_lasts_stays_standard_normal() {
    let desk = Desk::new("");
    for steps in [1, 40] {
        let name = format!("noise-{steps}");
        desk.done(&format!(
            "control train --vae walk --quiet --hidden-size 16 --threads 2 --task target --name {name} --updates 1 \
             --characters 800 --steps {steps} --noise-correlation 0.9"
        ));
        let (_, _, checkpoint) = desk.outcome(&name);
        let mut noise = vec![0.0; 800 * 5];
        checkpoint.copy(&desk.path("-"), "explore.noise", &[800, 5], &mut noise).unwrap();
        let spread = (noise.iter().map(|x: &f64| x * x).sum::<f64>() / noise.len() as f64).sqrt();
        // The standard error of the spread of 4,000 normal numbers is 0.011.
        assert!((spread - 1.0).abs() < 0.056, "after {steps} steps: {spread}");
    }
}

#[test]
fn a_policy_is_kept_near_the_prior() {
    let desk = Desk::new("");
    let [free, held] = ["0", "5"].map(|weight| {
        let name = format!("weight-{weight}");
        desk.control(&format!(
            "--task joystick --prior-weight {weight} --name {name} --updates 5 --learning-rate 1e-3 --algorithm ppo"
        ));
        desk.outcome(&name).0.last().unwrap().mean_square.unwrap()
    });
    assert!(held < 0.5 * free, "{held} is not much less than {free}");
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
    let published = "normalize_observations = false, literal = true, gamma = 0.99, reward_scale = 1.0, noise_correlation = 0.0, \
                     prior_weight = 0.0, stagger_episodes = false, final_std = 0.0, critic_learning_rate = 0.0";
    for line in ["characters = 7", "seed = 4"].into_iter().chain(published.split(", ")) {
        let line = &format!("{line}\n");
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
    let controller = "is a controller; give it to `mvae-fast control eval` or `generate --controller`, \
                      or give the Motion VAE that it acts in: ";
    for (arguments, code, words) in [
        ("control train".to_owned(), 2, "--vae"),
        ("control train --vae nowhere".to_owned(), 4, "nowhere"),
        (train("--algorithm ppo --frame-skip 2"), 2, "predicts 1 at once"),
        (train("--task maze"), 2, "--lower"),
        (train("--task maze --lower stick"), 4, "its task is joystick"),
        (train("--task maze --lower walk"), 4, "is no controller"),
        (train("--characters 0"), 2, "--characters is 0"),
        (train("--lower stick"), 2, "--lower is of task maze, and the task is target"),
        (train("--path-pace 0.1"), 2, "--path-pace is of task path, and the task is target"),
        (train("--frame-skip 2"), 2, "--frame-skip is 2, expected 1 with --algorithm shac; or give --algorithm ppo"),
        (
            train("--algorithm ppo --frame-skip 2 --skate-cost 0.2"),
            2,
            "--skate-cost is of steps of one frame, and --frame-skip is 2",
        ),
        (train("--literal true"), 2, "--literal: the reference's mistakes have no derivatives"),
        (train("--decay adaptive"), 2, "--decay is adaptive, which follows ppo's updates"),
        (train("--skate-cost -1"), 2, "--skate-cost"),
        (train("--task maze --algorithm shac --lower walk"), 2, "the reward of task maze has no derivatives"),
        ("control train --vae stick".to_owned(), 4, controller),
        ("eval stick".to_owned(), 4, controller),
        ("generate stick -o x.npz".to_owned(), 4, controller),
        ("train --resume stick".to_owned(), 4, "is the run of a controller; go on with it by mvae-fast control train"),
        ("control train --resume walk".to_owned(), 4, "is the run of a Motion VAE; go on with it by mvae-fast train"),
        ("control eval walk".to_owned(), 4, "give the run of a controller"),
        ("generate --controller walk -o x.npz".to_owned(), 4, "give the run of a controller"),
        ("generate --controller stick walk -o x.npz".to_owned(), 2, "--controller"),
    ] {
        let message = desk.refused(&arguments, code);
        assert!(message.contains(words), "{arguments}: {message}");
    }
    assert_eq!(desk.runs(), 2, "no run was begun");
    assert!(desk.done("control train --help").contains("P: characters side by side [default: 32]"));
    let info = desk.done("info stick");
    assert!(
        info.contains("a controller: task joystick (Walk in a direction at a speed), written by version ")
            && info.contains("\nacts in ")
            && info.contains("last record: update 1, ")
            && info.contains("  critic.0.weight ")
            && !info.contains("  world."),
        "{info}"
    );
    // Another decoder under the same name.
    fs::rename(desk.path("runs/walk"), desk.path("runs/before")).unwrap();
    desk.model("motion.npz --name walk --latent-size 5 --seed 9");
    for command in ["control eval stick", "control train --resume stick", "generate --controller stick -o x.npz"] {
        assert!(desk.refused(command, 4).contains("another decoder"), "{command}");
    }
    // Without the motion that characters start from.
    fs::remove_file(desk.path("motion.npz")).unwrap();
    let message = desk.refused("control train --vae walk", 4);
    assert!(message.contains("motion.npz") && message.contains("put it back"), "{message}");
}

#[test]
fn a_gradient_that_explodes_is_named_and_leaves_the_last_checkpoint() {
    let desk = Desk::new("");
    let run =
        "control train --vae walk --task joystick --name boom --characters 4 --steps 8 --updates 5 --hidden-size 8";
    let message = desk.refused(&format!("{run} --jerk-cost 1e38 --quiet --threads 1"), 1);
    assert!(message.contains("the loss is not finite, first made so by the gradient of the rollout"), "{message}");
    let last = Checkpoint::load(&desk.path("runs/boom/checkpoints/last.safetensors")).unwrap();
    let finite = |tensor: &Tensor| match &tensor.data {
        Data::F32(numbers) => numbers.iter().all(|x| x.is_finite()),
        _ => true,
    };
    assert!(last.tensors.iter().all(finite));
}

#[test]
fn a_lower_level_of_another_decoder_is_refused() {
    let desk = Desk::new("");
    desk.control("--task target --name lower --updates 1");
    desk.model("motion.npz --name larger --latent-size 7");
    desk.model("motion.npz --name other --latent-size 5 --seed 9");
    let mut set = npz::read(&desk.path("motion.npz")).unwrap();
    set.rig.as_mut().unwrap().skeleton.names[0] = "Middle".into();
    npz::write(&desk.path("renamed.npz"), &set).unwrap();
    desk.model("renamed.npz --name renamed --latent-size 5");
    for (vae, words) in [
        ("larger", "steers a decoder of 5 latents, and"),
        ("other", "was trained with another decoder"),
        ("renamed", "steers another skeleton"),
    ] {
        let message = desk.refused(&format!("control train --vae {vae} --task maze --lower lower"), 4);
        assert!(message.contains(words), "{message}");
    }
    // Features of no known skeleton.
    let frames: Vec<f32> = set.frames.chunks_exact(set.frame_size).flat_map(|frame| frame[..15].to_vec()).collect();
    npz::write(&desk.path("bare.npz"), &Dataset { frames, frame_size: 15, rig: None, ..set }).unwrap();
    desk.model("bare.npz --name bare --latent-size 5");
    let message = desk.refused("control train --vae bare", 4);
    assert!(message.contains("names no skeleton, so no task knows its toes"), "{message}");
}

#[test]
fn every_variant_can_be_acted_in() {
    for variant in ["posevae", "specialist", "vq"] {
        let desk = Desk::new(&format!("--variant {variant}"));
        if variant != "posevae" {
            let message = desk.refused("control train --vae walk --task joystick", 2);
            assert!(message.contains(&format!("variant is {variant}")) && message.contains("--algorithm ppo"));
        }
        for task in ["joystick", "target", "walk"] {
            let algorithm = if variant == "posevae" { "shac" } else { "ppo" };
            desk.control(&format!("--task {task} --name {task}-run --updates 1 --algorithm {algorithm}"));
            assert!(desk.measured(&format!("{task}-run"))["policy"]["step_reward"].as_f64().unwrap().is_finite());
        }
        // Its latents are those that frames are decoded from: passed back, they make two characters
        // with equally many frames.
        let shape = desk.latents("joystick-run", "--characters 2 --frames 9", "asked.npz");
        assert_eq!(shape, [2, 9, 5], "{variant}");
        desk.done("generate walk --latents asked.npz -o again.npz");
        assert_eq!(npz::read(&desk.path("again.npz")).unwrap().end_indices, [8, 17]);
        // The lower level picks codes in a vq model.
        desk.control("--task maze --lower target-run --name maze --updates 1");
    }
}

#[test]
fn a_run_keeps_its_path() {
    let desk = Desk::new("");
    // A triangle of 3, 4 and 5 m, closed, in centimetres.
    desk.write("triangle.csv", "\u{feff}x;z\r\n# a right angle\r\n0;0\r\n300;0\r\n\r\n300;400\r\n0;0\r\n");
    desk.control("--task path --preset reference --path-pace 0.1 --horizon 40 --minibatches 2 --name slow --updates 1");
    let slow = desk.course("slow");
    let steps = slow.chunks(2).zip(slow[2..].chunks(2)).map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1]));
    assert!(
        (steps.fold(0.0, f64::max) - 0.1).abs() < 0.01,
        "the pace that is asked for, also of the reference's figure eight"
    );
    desk.control(
        "--task path --path triangle.csv --units cm --path-pace 0.5 --updates 2 --name triangle --max-minutes 1e-9",
    );
    let course = desk.course("triangle");
    let mut steps = course.chunks(2).zip(course[2..].chunks(2)).map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1]));
    assert!(steps.all(|step| step < 0.51), "a point a frame");
    // 12 m around and 5 m across, in body units of one size.
    let around = course.len() as f64 / 2.0 * 0.5;
    let across = course.chunks(2).map(|point| point[0].hypot(point[1])).fold(0.0, f64::max);
    assert!((around / across - 12.0 / 5.0).abs() < 0.1, "{around} around, {across} across");
    assert!((across - 5.0 / 0.3048).abs() < 3.0, "a body unit is about a foot: {across}");
    let measured = desk.measured("triangle");
    desk.done("generate --controller triangle --frames 20 -o a.npz");
    fs::remove_file(desk.path("triangle.csv")).unwrap();
    assert_eq!(desk.measured("triangle"), measured);
    desk.done("generate --controller triangle --frames 20 -o b.npz");
    let [a, b] = ["a.npz", "b.npz"].map(|file| fs::read(desk.path(file)).unwrap());
    assert!(a == b);
    desk.done("control train --resume triangle --quiet --max-minutes 0");
    assert_eq!((desk.course("triangle"), desk.outcome("triangle").0.len()), (course, 2));
}

#[test]
fn a_point_runs_as_fast_whatever_frames_are_skipped() {
    let desk = Desk::new("--future-predictions 2");
    let [one, two] = [1, 2].map(|skip| {
        let name = format!("skip-{skip}");
        desk.control(&format!(
            "--task path --path circle --algorithm ppo --frame-skip {skip} --updates 1 --name {name}"
        ));
        desk.course(&name).len() as f64
    });
    assert!((one / two - 2.0).abs() < 0.02, "{one} points, one a frame, and {two}, one in two frames");
}

#[test]
fn a_step_of_two_frames_is_held_against_two_frames() {
    let desk = Desk::new("--future-predictions 2");
    let [one, two] = [1, 2].map(|skip| {
        let name = format!("skip-{skip}");
        desk.control(&format!("--task joystick --algorithm ppo --frame-skip {skip} --updates 1 --name {name}"));
        let policy = &desk.measured(&name)["policy"];
        let of = |name: &str| policy[name].as_f64().unwrap();
        assert!(of("step_reward") < of("best_constant_speed_reward"), "{policy}");
        let shape = desk.latents(&name, "--frames 7", &format!("{name}.npz"));
        assert_eq!(shape, [1, 7, 5], "as many frames as were asked for");
        of("best_constant_speed_reward")
    });
    // Rewards of a frame lie in (0, 1], and a middle speed is never off by more than half of the
    // range.
    let least = (-0.4f64).exp();
    assert!((least..=1.0).contains(&one) && (2.0 * least..=2.0).contains(&two), "{one} and {two}");
}

#[test]
fn a_run_keeps_its_maze() {
    let desk = Desk::new("");
    desk.control("--task target --name lower --updates 1");
    let drawing = "\"\"\"\n#####\n#   #\n#####\n\"\"\"";
    desk.write("maze.toml", &format!("cell = 2\ndrawing = {drawing}\nwalls = [[0, 0, 0, 8]]\n"));
    desk.control("--task maze --lower lower --maze maze.toml --name maze --updates 1");
    let course = desk.course("maze");
    assert_eq!(course.len(), 5 * 4, "four walls that are drawn, one that is listed");
    for axis in [0, 1] {
        let ends = || course.iter().skip(axis).step_by(2);
        let (least, most) = (ends().fold(0.0f64, |a, x| a.min(*x)), ends().fold(0.0f64, |a, x| a.max(*x)));
        assert!((least + most).abs() < 1e-9 && (most * 0.3048 - 4.0).abs() < 0.8, "8 m from {least} to {most}");
    }
    let measured = desk.measured("maze");
    fs::remove_file(desk.path("maze.toml")).unwrap();
    assert_eq!(desk.measured("maze"), measured);
    let report = fs::read_to_string(desk.path("runs/maze/report.html")).unwrap();
    assert!(
        report.contains("\"walls\":[[[-4.0,-4.0],[-4.0,4.0]],[[-4.0,-4.0],[4.0,-4.0]]"),
        "walls are shown in metres"
    );
}

#[test]
fn bad_paths_and_mazes_are_refused_by_line() {
    let desk = Desk::new("");
    desk.control("--task target --name lower --updates 1");
    let refused = |file: &str, task: &str, text: &str, words: &str| {
        desk.write(file, text);
        let message = desk.refused(&format!("control train --vae walk --task {task} {file}"), 4);
        assert!(message.contains(file) && message.contains(words), "{text:?}: {message}");
    };
    for (text, words) in [
        ("1,2\n3,x\n", "line 2: found \"3,x\", expected two numbers x,z"),
        ("x,z\n1,2\n1,2,3\n", "line 3: found \"1,2,3\", expected two numbers x,z"),
        ("1,2\n1,nan\n", "line 2:"),
        ("1,2\n1e9,0\n", "line 2:"),
        ("x,z\n", "line 1: the file ends after 0 points"),
        ("", "line 1: the file ends after 0 points"),
        ("1,2\n1,2\n", "line 2: the file ends after 2 points of one place"),
    ] {
        refused("bad.csv", "path --path", text, words);
    }
    for (text, words) in [
        ("cell = 2\ndrawing = \"\"\"\n####\n#  @\n\"\"\"\n", "line 4: '@' in column 4"),
        ("cell = 2\ndrawing = '''\n####\n  #\n#\n'''\n", "line 5: a lone # in column 1"),
        ("drawing = \"##\"\n", "line 1: a drawing, expected `cell = LENGTH`"),
        ("cell = \"two\"\n", "line 1: invalid type: string \"two\", expected a number"),
        ("\nwall = []\n", "line 2: unknown field `wall`"),
        ("walls = [\n[0, 0, 9, 9],\n[1, 1, 1, 1]]\n", "line 3: a wall from (1, 1) to (1, 1)"),
        ("walls = [[0, 0, 1]]\n", "line 1:"),
        ("walls = []\n", "0 walls, expected 1"),
        ("walls = [[0, 0, 1, 1]]\n", "the arena is"),
    ] {
        refused("bad.toml", "maze --lower lower --maze", text, words);
    }
    let train = |arguments: &str| format!("control train --vae walk {arguments}");
    for (arguments, code, words) in [
        (train("--task path --path circel"), 4, "circel: cannot be read"),
        (train("--task path --path-pace 1e-6"), 2, "--path-pace"),
        (train("--task path --path circle --maze bad.toml"), 2, "--maze is of task maze, and the task is path"),
        (train("--path circle"), 2, "--path is of task path, and the task is target"),
        (train("--task path --units miles"), 2, "--units"),
    ] {
        let message = desk.refused(&arguments, code);
        assert!(message.contains(words), "{arguments}: {message}");
    }
    assert_eq!(desk.runs(), 2, "no run was begun");
}

#[test]
fn random_latents_are_the_priors() {
    let desk = Desk::new("");
    for task in ["target", "walk"] {
        let name = format!("{task}-run");
        desk.control(&format!("--task {task} --name {name} --updates 1"));
        let folder = RunFolder::open(&desk.path("runs").join(name)).unwrap();
        let (config, backend) = (PolicyConfig::load(&folder.config()).unwrap(), Cpu::new(1));
        let policy = Policy::open(&folder.last_checkpoint(), &config, &[]).unwrap();
        let mut play = Play::open(policy, &backend, (100, 50, 3), None).unwrap();
        let mut latents = Vec::new();
        perform(&play.stage, &mut play.memory, Who::Prior, 40, |stage, memory| {
            latents.extend(memory.read(stage.environment.world.latent)?);
            Ok(())
        })
        .unwrap();
        let drawn = &latents[100 * 5..]; // all but the start, where nothing was decoded yet
        let spread = (drawn.iter().map(|z| f64::from(z * z)).sum::<f64>() / drawn.len() as f64).sqrt();
        // The standard error of the spread of 20,000 normal numbers is 0.005.
        assert!((spread - 1.0).abs() < 0.025, "{task}: {spread}");
    }
}

#[test]
fn whoever_is_lost_reaches_no_target() {
    let desk = Desk::new("");
    // A decoder whose frames all have a joint far away: every character starts anew after every
    // step.
    desk.edit("walk", |name, values| {
        if name == "normalization.avg" {
            values[3] = 1000.0;
        }
    });
    desk.control("--task target --name lost --updates 1");
    let measured = desk.measured("lost");
    let of = |name: &str| measured["prior"][name].as_f64().unwrap();
    assert_eq!((of("ended_early"), of("targets_reached")), (1199.0, 0.0), "{measured}");
}

#[test]
fn what_is_measured_is_in_metres_and_seconds() {
    let desk = Desk::new("");
    // A decoder with a constant output: 1.2 m/s straight on, the left toe on the ground, skating at
    // 5 cm/s.
    let rig =
        Checkpoint::load(&desk.path("runs/walk/checkpoints/last.safetensors")).unwrap().meta.unwrap().rig.unwrap();
    let a_second = 1.0 / METRES / rig.fps;
    let (joints, [toe, other]) = (rig.skeleton.len(), rig.skeleton.toes);
    desk.edit("walk", |name, values| match name {
        "decoder.w2" | "decoder.b2" => values.fill(0.0),
        "normalization.avg" => {
            values[..3].copy_from_slice(&[1.2 * a_second, 0.0, 0.0]);
            let (place, speed) = (slot(Part::Position, toe, joints), slot(Part::Velocity, toe, joints));
            values[place + 1] = rig.toe_floors[0];
            values[speed..][..3].copy_from_slice(&[0.04 * a_second, 0.0, 0.03 * a_second]);
            values[slot(Part::Position, other, joints) + 1] = rig.toe_floors[1] + 1.0;
        }
        _ => {}
    });
    let measure = |task: &str| {
        desk.control(&format!("--task {task} --name {task}-run --updates 1"));
        let measured = desk.measured(&format!("{task}-run"));
        move |key: &str| measured["policy"][key].as_f64().unwrap_or(f64::NAN)
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * b.abs();
    let all_tasks = |of: &dyn Fn(&str) -> f64| {
        for (key, value) in [("speed_m_s", 1.2), ("contact_percent", 50.0), ("foot_skate_cm_s", 5.0)] {
            assert!(near(of(key), value), "{key} is {}", of(key));
        }
    };
    all_tasks(&measure("walk"));

    let of = measure("joystick");
    all_tasks(&of);
    let range = rig.speeds.q95 / a_second;
    assert!(near(of("speed_range_m_s"), range), "{} of {range}", of("speed_range_m_s"));
    assert!(of("speed_correlation").abs() < 0.01, "a speed that never changes");
    // The commanded speed lies between 0 and the range.
    assert!((0.0..=range.max(1.2)).contains(&of("speed_error_m_s")));
    assert!(near(of("speed_error_percent"), 100.0 * of("speed_error_m_s") / range));
    assert!((0.0..=180.0).contains(&of("heading_error_degrees")));

    let of = measure("path");
    assert!((of("pace_m_s") / (rig.speeds.median / a_second) - 1.0).abs() < 0.01, "{}", of("pace_m_s"));
    // The character walks 40 s straight on, and the path is an eight of 30 m.
    assert!((5.0..=48.0).contains(&of("distance_m")) && of("near_percent") < 20.0, "{}", of("distance_m"));

    let of = measure("target");
    assert!(of("ideal_targets") > 1.0);
    assert!((of("of_ideal_percent") - 100.0 * of("targets_reached") / of("ideal_targets")).abs() < 1e-9);

    desk.control("--task maze --lower target-run --name maze --updates 1");
    let measured = desk.measured("maze");
    let of = |key: &str| measured["policy"][key].as_f64().unwrap();
    // It walks straight on to the next wall, again and again, each time through some of the 32 x 32
    // cells.
    assert!(
        of("walls_hit") >= 1.0 && of("walls_hit") == of("ended_early") && of("unhurt_percent") == 0.0,
        "{measured}"
    );
    assert!((0.09..10.0).contains(&of("coverage_percent")), "{measured}");
    let side = 200.0 * METRES * rig.hip_height / 3.21;
    assert!(near(of("coverage_m2"), of("coverage_percent") / 100.0 * side * side), "{measured}");
}

#[test]
fn a_controller_is_held_against_thresholds() {
    let desk = Desk::new("");
    for task in ["joystick", "walk"] {
        desk.control(&format!("--task {task} --name {task}-run --updates 1"));
    }
    let eval = |arguments: &str| format!("control eval joystick-run --characters 3 {arguments}");
    let missed = desk.run(&eval("--gate"));
    assert_eq!(missed.status.code(), Some(5), "{missed:?}");
    let (said, message) = (String::from_utf8(missed.stdout).unwrap(), String::from_utf8(missed.stderr).unwrap());
    assert!(message.contains("heading_error_degrees is ") && message.contains(" (at most 20)"), "{message}");
    assert!(said.contains("error of the heading, degrees"), "what was measured is said all the same: {said}");
    desk.write("mine.toml", "heading_error_degrees = 180\ncoverage_percent = 99\n");
    let met: Value = serde_json::from_str(&desk.done(&eval("--json --gate=mine.toml"))).unwrap();
    assert_eq!(met["gate"].as_array().unwrap().len(), 1, "the maze's threshold is not the joystick's: {met}");
    desk.write("wrong.toml", "heading = 180\n");
    assert!(desk.refused(&eval("--gate=wrong.toml"), 2).contains("docs/controllers.md"));
    for gate in ["--gate", "--gate=mine.toml"] {
        let message = desk.refused(&format!("control eval walk-run {gate}"), 2);
        assert!(message.contains("bounds nothing that is measured of task walk"), "{message}");
    }
}

#[test]
fn a_run_keeps_its_poses() {
    let desk = Desk::new("");
    desk.control("--task target --name lower --updates 1");
    desk.control("--task target --name stops --updates 2 --max-minutes 1e-9");
    desk.control("--task target --name whole --updates 2");
    desk.control("--task maze --lower lower --name maze --updates 1");
    let work = |name: &str| {
        let mut kept = Vec::new();
        desk.done(&format!("generate --controller lower --frames 20 -o {name}.npz"));
        // What is beside the data goes with them.
        let mut measured = ["lower", "maze"].map(|run| desk.measured(run));
        for numbers in measured.iter_mut().flat_map(|run| ["policy", "prior"].map(|who| run[who].take())) {
            numbers.as_object().unwrap().iter().filter(|(key, _)| !key.ends_with("_of_data")).for_each(|pair| {
                kept.push(format!("{pair:?}"));
            });
        }
        kept
    };
    let before = work("before");
    fs::remove_file(desk.path("motion.npz")).unwrap();
    assert_eq!(work("after"), before);
    let [a, b] = ["before.npz", "after.npz"].map(|file| fs::read(desk.path(file)).unwrap());
    assert!(a == b, "the same motion");
    desk.done("control train --resume stops --quiet --max-minutes 0 --threads 2");
    assert!(desk.outcome("stops") == desk.outcome("whole"), "the same policy");
    let report = fs::read_to_string(desk.path("runs/stops/report.html")).unwrap();
    assert!(report.contains("(update 2)"), "it shows what the last policy does");
}
