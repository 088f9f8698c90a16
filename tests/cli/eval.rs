//! `mvae-fast eval` as a user meets it: its numbers, what it cannot measure, thresholds, exit
//! codes.
use mvae_fast::data::{Dataset, npz, synth};
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
    /// Run `walk`, trained on `set`.
    fn new(set: &Dataset, arguments: &str) -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        npz::write(&desk.path("motion.npz"), set).unwrap();
        let train = format!(
            "train motion.npz --name walk --quiet --hidden-size 24 --gate-hidden-size 8 --latent-size 5 --experts 3 --codes 6 \
             --minibatches 0 --decay epoch --warmup-steps 0 --teacher-epochs 1 --ramp-epochs 1 --student-epochs 2 --learning-rate 1e-3 --threads 2 {arguments}"
        );
        let output = desk.run(&train);
        assert!(output.status.success(), "{output:?}");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments.split_whitespace()).output().unwrap()
    }

    /// The report of a short evaluation, and the exit code.
    fn eval(&self, arguments: &str) -> (Value, i32, String) {
        let output = self.run(&format!("eval walk --json --walks 60 --frames 90 {arguments}"));
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (report, output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn everything_is_measured_on_motion_with_a_skeleton() {
    let set = synth::locomotion(1500, 2);
    let desk = Desk::new(&set, "--preset paper --kl-weight auto --validation 0.2");
    let (all, code, _) = desk.eval("");
    assert_eq!(code, 0);
    let report = &all["report"];
    let horizons = report["reconstruction"].as_array().unwrap();
    let frames: Vec<f64> = horizons.iter().map(|h| number(&h["frames"])).collect();
    assert_eq!(frames, [1.0, 30.0, 300.0, 1800.0]);
    let one = &horizons[0];
    let groups = one["groups"].as_object().unwrap();
    assert_eq!(groups.len(), 5);
    // The mean of the groups' errors, weighted by their sizes, is the error.
    let sizes = [("root", 3.0), ("positions", 66.0), ("velocities", 66.0), ("y_axes", 66.0), ("z_axes", 66.0)];
    let whole: f64 = sizes.iter().map(|(name, size)| size * number(&groups[*name])).sum::<f64>() / 267.0;
    assert!((whole / number(&one["error"]) - 1.0).abs() < 1e-9);
    assert!(number(&one["joint_cm"]) > 0.0);
    assert!(horizons[3]["error"].is_null(), "no clip of 300 frames holds 1,800");
    assert!(report["not_measured"][0].as_str().unwrap().contains("1800"), "{}", report["not_measured"]);

    let posterior = &report["posterior"];
    assert_eq!(posterior["kl"].as_array().unwrap().len(), 5);
    let shares: f64 = posterior["expert_use"].as_array().unwrap().iter().map(number).sum();
    assert!((shares - 1.0).abs() < 1e-5, "{shares}");
    assert!(number(&posterior["aggregated"]["kl_from_prior"]) >= 0.0);

    let walks = &report["walks"];
    let data = &walks["data_gait"];
    // Measured on the set itself.
    let mut speeds: Vec<f32> =
        set.frames.chunks_exact(267).map(|frame| frame[0].hypot(frame[1]) * 30.0 * 0.3048).collect();
    speeds.sort_unstable_by(f32::total_cmp);
    let median = f64::from(speeds[((speeds.len() - 1) as f64 / 2.0).round() as usize]);
    assert!((number(&data["speed"][1]) - median).abs() < 1e-4);
    assert!((0.0..=1.0).contains(&number(&data["feet"]["contact"])));
    assert!(number(&data["feet"]["contact"]) > 0.2, "feet stand in synthetic motion");
    assert!(number(&data["feet"]["skate"]) < 20.0);
    assert!(number(&walks["diversity"]["features"]) > 0.0);
    for kind in ["poses", "velocities"] {
        let d = &walks[kind];
        assert!(
            number(&d["frechet"]) >= number(&d["frechet_of_training"]),
            "{kind}: a barely trained model is worse: {d}"
        );
        assert!((0.0..=1.0).contains(&number(&d["coverage"])));
    }
    let few = String::from_utf8(desk.run("eval walk --walks 8 --frames 60").stdout).unwrap();
    assert!(
        few.contains("8 finite frames of walks, of which every 30th counts (more --walks or --frames), expected"),
        "{few}"
    );
    assert_eq!(desk.eval("").0, all, "it repeats");
    assert_eq!(desk.eval("--threads 1").0, all, "on any number of threads");
    // By the paper's formula a foot skates less than it moves, and the more the higher it may be.
    let skate = &data["feet"]["paper_skate"];
    assert!(number(&skate[0]) > number(&skate[1]) && number(&skate[1]) > 0.0, "{skate}");
    let paper = String::from_utf8(desk.run("eval walk --walks 60 --frames 90 --paper").stdout).unwrap();
    let row = paper.lines().find(|line| line.trim_start().starts_with("3.3 cm")).unwrap();
    let shown: Vec<f64> = row.split_whitespace().skip(2).map(|number| number.parse().unwrap()).collect();
    assert!((shown[0] - number(&skate[0])).abs() < 1e-3 && (shown[2] - shown[1] / shown[0]).abs() < 0.02, "{row}");
    let text = desk.run("eval walk --walks 60 --frames 90");
    let text = String::from_utf8(text.stdout).unwrap();
    for part in ["held-out reconstruction", "foot skate", "dimensions are active", "Fréchet", "not measured"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn mirror_images_count_where_they_were_trained_on() {
    let set = synth::locomotion(1500, 2);
    let desk = Desk::new(&set, "--preset paper --kl-weight auto --validation 0.2 --mirror true");
    npz::write(&desk.path("other.npz"), &synth::locomotion(600, 9)).unwrap();
    let data = |arguments: &str| {
        let data = &desk.eval(arguments).0["report"]["data"];
        (data["own"] == true, data["mirrored"] == true, number(&data["frames"]), number(&data["held_out_clips"]))
    };
    assert_eq!(data(""), (true, true, 3000.0, 2.0));
    assert_eq!(data("--data motion.npz"), data(""), "it is the same content");
    assert_eq!(data("--data other.npz"), (false, false, 600.0, 2.0));
    let text = String::from_utf8(desk.run("eval walk --walks 8 --frames 60").stdout).unwrap();
    assert!(text.contains("3000 frames, mirror images among them, of which 600 in 2 clips were held out"), "{text}");
    let info = String::from_utf8(desk.run("info walk").stdout).unwrap();
    assert!(info.contains("trained on a set of 10 clips, held-out ones and mirror images among them"), "{info}");
    let walked = desk.run("generate walk --frames 40 --reconstruct 8 -o walked.npz");
    assert!(walked.status.success(), "a mirror image is a clip: {walked:?}");
}

#[test]
fn what_needs_a_skeleton_is_said_to_be_missing_without_one() {
    let mut set = synth::locomotion(900, 2);
    // One joint less gives 255 features, for which no skeleton is known.
    let columns: Vec<usize> = (0..267).filter(|&i| i < 3 || (i - 3) % 66 < 63).collect();
    set.frames =
        set.frames.chunks_exact(267).flat_map(|frame| columns.iter().map(|&i| frame[i]).collect::<Vec<_>>()).collect();
    set.frame_size = columns.len();
    set.rig = None;
    let desk = Desk::new(&set, "--validation 0.2");
    let (all, code, _) = desk.eval("");
    assert_eq!(code, 0);
    let walks = &all["report"]["walks"];
    assert!(walks["gait"]["feet"].is_null() && !walks["gait"]["speed"].is_null());
    let missing = all["report"]["not_measured"].to_string();
    assert!(missing.contains("foot skate") && missing.contains("which joints are toes"), "{missing}");
    let (_, code, error) = desk.eval("--gate");
    assert_eq!(code, 5, "what cannot be measured is not met");
    assert!(error.contains("skate is not measured"), "{error}");
}

#[test]
fn codes_and_no_gate_are_measured_too() {
    let set = synth::locomotion(900, 2);
    let desk = Desk::new(&set, "--variant vq --validation 0.2");
    let (all, code, _) = desk.eval("");
    assert_eq!(code, 0);
    let posterior = &all["report"]["posterior"];
    assert!(posterior["active_units"].is_null());
    assert_eq!(posterior["expert_use"].as_array().unwrap().len(), 6);
    let desk = Desk::new(&set, "--variant posevae --validation 0");
    let (all, code, _) = desk.eval("");
    assert_eq!((code, &all["report"]["posterior"]["expert_use"]), (0, &serde_json::json!([])));
    assert!(all["report"]["not_measured"].to_string().contains("no clip was held out"));
}

#[test]
fn thresholds_decide_the_exit_code() {
    let set = synth::locomotion(900, 2);
    let desk = Desk::new(&set, "--validation 0.2");
    fs::write(desk.path("low.toml"), "inside = 0.0\none_step_error = 1e9\n").unwrap();
    let (all, code, error) = desk.eval("--gate=low.toml");
    assert_eq!((code, error.as_str()), (0, ""));
    let verdicts = all["gate"].as_array().unwrap();
    assert_eq!(verdicts.len(), 2, "keys that a file leaves out bound nothing");
    assert!(verdicts.iter().all(|verdict| verdict["met"] == true));
    fs::write(desk.path("high.toml"), "one_step_error = 1e-9\n").unwrap();
    let (all, code, error) = desk.eval("--gate=high.toml");
    assert_eq!((code, &all["gate"][0]["met"]), (5, &Value::Bool(false)));
    assert!(error.starts_with("error: not met: one_step_error is ") && error.lines().count() == 1, "{error}");

    fs::write(desk.path("odd.toml"), "insides = 1\n").unwrap();
    for (arguments, code, says) in [
        ("--gate=odd.toml", 2, "insides"),
        ("--gate=none.toml", 2, "none.toml"),
        ("--frames 10", 2, "at least 60 frames"),
        ("--data none.npz", 4, "none.npz"),
    ] {
        let output = desk.run(&format!("eval walk {arguments}"));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {error}");
        assert!(error.contains(says) && error.lines().count() == 1 && output.stdout.is_empty(), "{arguments}: {error}");
    }

    // Of other data, all clips are held out.
    npz::write(&desk.path("other.npz"), &synth::locomotion(600, 7)).unwrap();
    let (all, code, _) = desk.eval("--data other.npz");
    let data = &all["report"]["data"];
    assert_eq!((code, &data["own"], &data["held_out_frames"]), (0, &Value::Bool(false), &data["frames"]));
}
