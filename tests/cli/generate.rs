//! `mvae-fast generate` as a user meets it: its files, that they repeat, and its refusals.
use mvae_fast::data::npz;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a trained model of each variant in it.
struct Desk {
    root: TempDir,
}

impl Desk {
    /// A model of that variant, barely trained on synthetic motion: run `walk`, data `motion.npz`.
    fn new(variant: &str) -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        desk.done(&["data", "synth", "-o", "motion.npz", "--frames", "620"]);
        let train = format!(
            "train motion.npz --name walk --quiet --variant {variant} --hidden-size 16 --gate-hidden-size 8 --latent-size 5 \
             --experts 3 --codes 6 --minibatches 0 --decay epoch --warmup-steps 0 --learning-rate 1e-4 --teacher-epochs 1 --ramp-epochs 1 --student-epochs 1 --threads 2 --condition-frames 2 \
             --future-predictions 2"
        );
        desk.done(&train.split_whitespace().collect::<Vec<_>>());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments).output().unwrap()
    }

    /// The output of a command that must succeed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn generate(&self, arguments: &str) -> Value {
        let mut all = vec!["generate", "walk", "--json"];
        all.extend(arguments.split_whitespace());
        serde_json::from_str(&self.done(&all)).unwrap()
    }

    /// The one line of a refusal.
    fn refused(&self, arguments: &str, code: i32) -> String {
        let mut all = vec!["generate"];
        all.extend(arguments.split_whitespace());
        let output = self.run(&all);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }

    fn poses(&self, file: &str) -> Vec<f32> {
        npz::read(&self.path(file)).unwrap().frames
    }
}

#[test]
fn every_variant_walks_repeats_and_replays_its_latents() {
    for variant in ["mixture", "posevae", "specialist", "vq"] {
        let desk = Desk::new(variant);
        let result = desk.generate("--frames 40 --characters 3 --seed 4 -o a.npz");
        assert_eq!((&result["characters"], &result["frames"]), (&3.into(), &40.into()), "{variant}");
        let a = desk.poses("a.npz");
        assert_eq!(a.len(), 3 * 40 * 267);
        let (shape, latents) = npz::read_array(&desk.path("a.npz"), "latents").unwrap();
        assert_eq!(shape, [3, 40, 5]);
        assert!(latents.chunks(5).skip(1).any(|z| z != &latents[..5]), "{variant}: latents vary");

        desk.generate("--frames 40 --characters 2 --seed 4 --threads 1 -o b.npz");
        assert_eq!(desk.poses("b.npz"), a[..2 * 40 * 267], "{variant}: a character does not depend on those beside it");
        desk.generate("--frames 40 --characters 3 --seed 5 -o c.npz");
        assert_ne!(desk.poses("c.npz"), a, "{variant}: the seed decides");
        desk.generate("--latents a.npz --seed 4 -o d.npz");
        assert_eq!(desk.poses("d.npz"), a, "{variant}: latents of a motion give it back");

        let result = desk.generate("--reconstruct 1 -o r.npz");
        let clip = desk.poses("motion.npz").len() / 267 / 2;
        assert_eq!(
            result["frames"],
            clip - 3,
            "{variant}: all but the 2 conditions, and the last frame that K = 2 needs"
        );
        assert_eq!(result["starts"][0]["frame"], 1, "{variant}");
    }
}

#[test]
fn temperature_scales_the_latents() {
    let desk = Desk::new("mixture");
    let latents = |name: &str| npz::read_array(&desk.path(name), "latents").unwrap().1;
    desk.generate("--frames 10 -o one.npz");
    desk.generate("--frames 10 --temperature 0.5 -o half.npz");
    desk.generate("--frames 10 --temperature 0 -o zero.npz");
    let halved: Vec<f32> = latents("one.npz").iter().map(|z| 0.5 * z).collect();
    assert_eq!(latents("half.npz"), halved);
    assert!(latents("zero.npz").iter().all(|&z| z == 0.0));
}

#[test]
fn a_start_is_where_the_motion_begins() {
    let desk = Desk::new("posevae");
    let name = npz::read(&desk.path("motion.npz")).unwrap().clip_names[1].clone();
    for (start, frame) in [("1", 1), ("1:7", 7)] {
        let result = desk.generate(&format!("--frames 5 --characters 2 --start {start} -o {frame}.npz"));
        for character in 0..2 {
            assert_eq!(result["starts"][character]["clip"], name.as_str());
            assert_eq!(result["starts"][character]["frame"], frame);
        }
    }
    assert_ne!(desk.poses("1.npz"), desk.poses("7.npz"));
}

#[test]
fn files_go_by_their_extension_and_a_bvh_by_character() {
    let desk = Desk::new("posevae");
    let result = desk.generate("--frames 20");
    assert_eq!(result["files"][0], "walk-motion.glb", "{result}");
    assert_eq!(fs::read(desk.path("walk-motion.glb")).unwrap()[..4], *b"glTF");
    let result = desk.generate("--frames 20 --characters 11 -o crowd.bvh");
    assert_eq!(result["files"].as_array().unwrap().len(), 11);
    for file in ["crowd-00.bvh", "crowd-10.bvh"] {
        let file = bvh_anim::from_bytes(fs::read(desk.path(file)).unwrap()).unwrap();
        assert_eq!((file.joints().count(), file.frames().len()), (22, 20));
    }
    // Generated motion is a set like any other.
    desk.generate("--frames 50 --characters 2 -o set.npz");
    let set = npz::read(&desk.path("set.npz")).unwrap();
    assert_eq!((set.end_indices.as_slice(), set.clip_roots.len()), (&[49, 99][..], 2));
    assert!(set.rig.is_some());
    let (shape, positions) = npz::read_array(&desk.path("set.npz"), "positions").unwrap();
    assert_eq!(shape, [100, 22, 3]);
    let poses = mvae_fast::data::world::poses(&set, 1);
    let want: Vec<f64> = poses.iter().flat_map(|pose| pose.positions.as_flattened().to_vec()).collect();
    let far = positions[50 * 66..].iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(far < 1e-4, "positions are those of the features: {far}");
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let desk = Desk::new("posevae");
    desk.generate("--frames 8 --characters 2 -o there.npz");
    let there = fs::read(desk.path("there.npz")).unwrap();
    fs::write(desk.path("h-1.bvh"), "keep").unwrap();
    for (arguments, code, says) in [
        ("nothing", 4, "no such file, and no run of that name"),
        ("walk -o there.npz", 2, "exists"),
        ("walk -o x.fbx", 2, "expected a name that ends in .bvh or .glb or .npz"),
        ("walk -o none/x.npz", 2, "there is no folder none; make it"),
        ("walk -o h.bvh --characters 3 --frames 3", 2, "h-1.bvh exists"),
        ("walk -o x.npz --start 9", 4, "has no clip 9"),
        ("walk -o x.npz --start 1:x", 2, "expected CLIP or CLIP:FRAME"),
        ("walk -o x.npz --start 1:100000", 4, "take one from 1 to"),
        ("walk -o x.npz --start 1:0", 4, "take one from 1 to"),
        ("walk -o x.npz --reconstruct 1 --frames 5000", 4, "can be reconstructed"),
        ("walk -o x.npz --latents there.npz --frames 9", 2, "there are latents for 8"),
        ("walk -o x.npz --latents there.npz --characters 3", 2, "there are latents for 2"),
        ("walk -o x.npz --latents motion.npz", 4, "give a file that holds latents"),
        ("walk -o x.npz --temperature -1", 2, "--temperature"),
        ("walk -o x.npz --temperature 2 --latents there.npz", 2, "--temperature"),
        ("walk -o x.npz --frames 100000000 --characters 100000000", 2, "more than one motion holds"),
        ("walk -o x.npz --data nothing.npz", 4, "nothing.npz"),
    ] {
        let message = desk.refused(arguments, code);
        assert!(message.contains(says), "{arguments}: {message}");
    }
    assert_eq!(fs::read(desk.path("there.npz")).unwrap(), there, "what was there is untouched");
    assert!(!desk.path("x.npz").exists());
    let exported = desk.run(&["data", "export", "motion.npz", "-o", "h.bvh"]);
    assert_eq!((exported.status.code(), fs::read(desk.path("h-1.bvh")).unwrap()), (Some(2), b"keep".to_vec()));
    assert!(!desk.path("h-0.bvh").exists(), "none is written where one is there");

    // Other data in the place of the old data are noticed; named explicitly, they are accepted.
    desk.done(&["data", "synth", "-o", "other.npz", "--frames", "600", "--seed", "9"]);
    fs::rename(desk.path("other.npz"), desk.path("motion.npz")).unwrap();
    let message = desk.refused("walk -o x.npz", 4);
    assert!(message.contains("not those the model was trained on"), "{message}");
    desk.generate("--frames 5 --data motion.npz -o x.npz");
}
