//! `mvae-fast character` as a user meets it: from motion to a page, again, stopped, and refused.
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A small model and a short schedule.
const MODEL: &str = "hidden_size = 16\ngate_hidden_size = 8\nlatent_size = 5\nexperts = 3\nminibatches = 2\n\
                     rollout = 4\nbatch_size = 16\nteacher_epochs = 1\nramp_epochs = 1\nstudent_epochs = 1\n\
                     warmup_steps = 0\n";
/// A small controller.
const CONTROLLER: &str = "characters = 8\nhidden_size = 16\nsteps = 8\nupdates = 4\nhorizon = 60\n";
/// Arguments of every call.
const SMALL: &str = "--config model.toml --control-config controller.toml --walks 4 --threads 2";

/// A folder with BVH files in it, `walks/`, and small configurations.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Desk(tempfile::tempdir().unwrap());
        fs::write(desk.path("model.toml"), MODEL).unwrap();
        fs::write(desk.path("controller.toml"), CONTROLLER).unwrap();
        fs::create_dir(desk.path("walks")).unwrap();
        desk.done("data synth -o motion.npz --frames 620 --clip-frames 150");
        desk.done("data export motion.npz -o walks/walk.bvh");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.0.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// The output of a command that must succeed.
    fn done(&self, arguments: &str) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        output
    }

    /// The stages that a character made, and its result.
    fn made(&self, arguments: &str) -> (Vec<String>, Value) {
        let output = self.done(&format!("character {arguments} {SMALL} --quiet --json"));
        assert!(output.stderr.is_empty(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        (serde_json::from_value(result["made"].clone()).unwrap(), result)
    }

    /// The one line of a refusal.
    fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.command(&format!("character {arguments}")).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        let last = message.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("error: ") && message.matches("error: ").count() == 1, "{arguments}: {message}");
        last
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn model(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("runs/model/checkpoints/last.safetensors")).unwrap()
}

#[test]
fn motion_becomes_a_page_and_another_call_repeats_only_what_changed() {
    let desk = Desk::new();
    let folder = desk.path("walk");
    let call = format!("character walks/ -o walk {SMALL}");
    let first = desk.done(&call);
    let (said, progress) = (text(&first.stdout), text(&first.stderr));
    let (notes, results): (Vec<_>, Vec<_>) =
        said.lines().partition(|line| line.starts_with("note: ") || line.starts_with("warning: "));
    let opens = [
        "model meets",
        "model does not meet",
        "controller meets",
        "controller is off by",
        "page: walk/character",
        "next: ",
    ];
    assert_eq!(results.len(), opens.len(), "{said}");
    results.iter().zip(opens).for_each(|(line, opens)| assert!(line.starts_with(opens), "{line}"));
    for stage in 1..=6 {
        assert!(progress.contains(&format!("stage {stage} of 6")), "{progress}");
    }
    let little = "warning: only 21 s of motion, and a model needs minutes: give more clips";
    assert!(notes.contains(&little) && progress.matches(little).count() == 1, "{said}{progress}");
    let page = fs::read_to_string(folder.join("character.html")).unwrap();
    assert!(!page.contains("{{") && !page.contains("://"), "nothing is left to fill in or to fetch");
    assert!(page.contains(" thresholds of quality met</p>"), "the page says how good the character is");
    for file in ["data.npz", "model.json", "stick.json", "runs/model/report.html", "runs/stick/report.html"] {
        assert!(folder.join(file).is_file(), "{file}");
    }

    let trained = model(&folder);
    let again = desk.done(&call);
    assert_eq!(text(&again.stdout).lines().collect::<Vec<_>>(), results);
    assert!(text(&again.stderr).starts_with("nothing to do") && text(&again.stderr).lines().count() == 1, "{again:?}");

    let (made, result) = desk.made("walks -o walk --updates 3");
    assert_eq!(made, ["stick", "stick-eval", "page"]);
    assert!(model(&folder) == trained && folder.join("runs/stick-before/report.html").is_file());
    let gate = |of: &str| result[of]["gate"].as_array().map_or(0, Vec::len);
    assert!(gate("model") > 9 && gate("controller") > 2, "{result}");
    fs::remove_file(folder.join("character.html")).unwrap();
    assert_eq!(desk.made("walks -o walk --updates 3").0, ["page"]);

    fs::remove_file(desk.path("walks/walk-0.bvh")).unwrap();
    fs::write(desk.path("walks/broken.bvh"), "HIERARCHY\nROOT\n").unwrap();
    let said = text(&desk.done(&call).stderr);
    for part in ["the motion is imported anew, as content of the files", "refused: ", "the model is trained anew"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("6 of 6") && model(&folder) != trained, "{said}");
}

#[test]
fn other_commands_take_the_folder_of_a_character() {
    let desk = Desk::new();
    desk.done(&format!("character motion.npz -o walk {SMALL} --quiet"));
    let says = |arguments: &str| text(&desk.done(arguments).stdout);
    for (arguments, part) in [
        ("info walk", "walk/runs/model/checkpoints/last.safetensors"),
        ("eval walk --walks 2 --frames 60", "walk/runs/model/checkpoints/last.safetensors"),
        ("control eval walk --characters 2", "walk/runs/stick: task joystick"),
        ("generate walk --frames 30", "walk-motion.glb: "),
        ("generate --controller walk --frames 30 -o steered.npz", "steered.npz: task joystick"),
        ("export walk --controller walk --format c", "walk.h: "),
        ("export walk/runs/model --format js", "walk.js: "),
        ("train --resume walk --quiet", "run folder: walk/runs/model"),
        ("control train --resume walk --quiet", "run folder: walk/runs/stick"),
    ] {
        let said = says(arguments);
        assert!(said.contains(part), "{arguments}: {said}");
    }
    fs::remove_dir_all(desk.path("walk/runs/stick")).unwrap();
    let output = desk.command("control eval walk").output().unwrap();
    assert!(text(&output.stderr).contains("walk/runs/stick: no such run folder"), "{output:?}");
}

#[test]
fn every_kind_of_model_and_controller_becomes_a_character() {
    let desk = Desk::new();
    for (name, model, controller) in [
        ("codes", "variant = \"vq\"\ncodes = 6\n", "algorithm = \"ppo\"\n"),
        ("pasts", "condition_frames = 2\n", ""),
        ("skips", "future_predictions = 2\n", "algorithm = \"ppo\"\nframe_skip = 2\n"),
    ] {
        fs::write(desk.path("model.toml"), format!("{MODEL}{model}")).unwrap();
        fs::write(desk.path("controller.toml"), format!("{CONTROLLER}{controller}")).unwrap();
        let (made, result) = desk.made(&format!("motion.npz -o {name}"));
        assert_eq!(made.len(), 6, "{made:?}");
        assert!(result["controller"]["policy"]["speed_error_m_s"].is_number(), "{name}: {result}");
        for format in ["h", "js", "onnx"] {
            desk.done(&format!("export {name} --controller {name} -o {name}.{format}"));
        }
    }
}

#[test]
fn minutes_shorten_both_trainings_or_are_refused() {
    let desk = Desk::new();
    fs::write(desk.path("model.toml"), MODEL.replace("minibatches = 2", "minibatches = 10000")).unwrap();
    let message = desk.refused(&format!("motion.npz -o walk {SMALL} --minutes 0.01"), 2);
    assert!(message.contains("--minutes is 0.01, but this machine needs "), "{message}");
    assert!(!desk.path("walk/runs").exists());
    let least: f64 = message.split("give --minutes ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let given = 1.5 * least;
    let output = desk.done(&format!("character motion.npz -o walk {SMALL} --minutes {given} --json"));
    let said = text(&output.stderr);
    for part in [": the model trains for ", " of 120000 steps of ", "would train all", "of the controller"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let over =
        result["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("more than --minutes"));
    assert_eq!(over, result["seconds"].as_f64().unwrap() > 60.0 * given, "{result}");
}

#[cfg(unix)]
#[test]
fn a_command_that_was_stopped_or_killed_goes_on() {
    let desk = Desk::new();
    fs::write(desk.path("model.toml"), MODEL.replace("student_epochs = 1", "student_epochs = 60")).unwrap();
    let folder = desk.path("walk");
    let call = format!("character motion.npz -o walk {SMALL}");
    let lines = || fs::read_to_string(folder.join("runs/model/metrics.jsonl")).unwrap_or_default().lines().count();
    let mut done = 0;
    for (signal, code, way) in
        [("-INT", Some(130), "everything saved; continue with the same command"), ("-KILL", None, "")]
    {
        let mut child = desk.command(&call).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while lines() < done + 2 {
            assert!(begun.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none(), "{}", lines());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{output:?}");
        assert!(text(&output.stderr).contains(way), "{output:?}");
        assert!(!folder.join("character.html").exists());
        done = lines();
    }
    let output = desk.done(&call);
    assert!(text(&output.stderr).contains("resuming at epoch"), "{output:?}");
    assert!(lines() == 62 && folder.join("character.html").is_file());
    let trained = model(&folder);
    assert!(desk.made("motion.npz -o walk").0.is_empty() && model(&folder) == trained);
    assert!(!folder.join("data.npz").exists(), "a set is used where it lies");
}

#[test]
fn what_cannot_become_a_character_is_refused_and_leaves_nothing() {
    let desk = Desk::new();
    for folder in ["broken", "empty", "taken", "short"] {
        fs::create_dir(desk.path(folder)).unwrap();
    }
    fs::write(desk.path("broken/a.bvh"), "HIERARCHY\nROOT\n").unwrap();
    fs::write(desk.path("taken/notes.txt"), "keep").unwrap();
    fs::write(desk.path("bad.toml"), "hidden_sise = 3\n").unwrap();
    fs::write(desk.path("codes.toml"), "variant = \"vq\"\n").unwrap();
    fs::write(desk.path("skips.toml"), "algorithm = \"ppo\"\nframe_skip = 2\n").unwrap();
    for (arguments, code, says) in [
        ("-o walk --minutes 0", 2, "--minutes is 0, expected a number above 0"),
        ("-o walk --minutes NaN", 2, "--minutes is NaN"),
        ("-o walk --units cm", 2, "--units is for files that are imported"),
        ("-o walk --config bad.toml", 2, "bad.toml:1: unknown key \"hidden_sise\""),
        ("-o walk --control-config bad.toml", 2, "bad.toml:1: unknown key"),
        ("-o walk --config codes.toml", 2, "variant is vq, whose controllers do not learn by gradients; give"),
        ("-o walk --control-config skips.toml", 2, "give --config a file with future_predictions = 2"),
        ("-o walk --updates 99999999", 2, "--updates is 99999999, expected"),
        ("walks -o walk --fps 1000", 2, "--fps is 1000, expected"),
        ("walks -o taken", 2, "holds other things and no character"),
        ("walks -o bad.toml", 2, "which cannot hold a character"),
        ("nothing -o walk", 4, "nothing: no such file or folder; check the path"),
        ("empty -o walk", 4, "holds no file of motion"),
        ("broken -o walk", 4, "none of 1 file could be imported"),
        ("motion.npz walks -o walk", 4, "is a set, and the other motion is not"),
        ("model.toml -o walk", 4, "could be imported"),
        ("-o walk --device cuda:99", 3, "cuda"),
    ] {
        let message = desk.refused(arguments, code);
        assert!(message.contains(says), "{arguments}: {message}");
    }
    assert!(!desk.path("walk").exists());
    assert_eq!(fs::read_dir(desk.path("taken")).unwrap().count(), 1);

    desk.done("data synth -o short.npz --frames 40 --clip-frames 20");
    let message = desk.refused("short.npz -o walk", 5);
    assert!(message.contains("the motion is not ready to train on") && !desk.path("walk").exists(), "{message}");
    fs::create_dir(desk.path("walk")).unwrap();
    fs::write(desk.path("walk/character.toml"), "motion = [\"/elsewhere\"]\n").unwrap();
    let message = desk.refused("walks -o walk", 2);
    assert!(
        message.contains("holds a character of /elsewhere; name that motion, or give another --output"),
        "{message}"
    );
    fs::write(desk.path("walk/character.toml"), "motion = 3\n").unwrap();
    let message = desk.refused("walks -o walk", 4);
    assert!(message.contains("character.toml:1: ") && message.contains("put the file back"), "{message}");
}
