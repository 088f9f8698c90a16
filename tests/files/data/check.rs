//! The check of a set before training.
use mvae_fast::config::Config;
use mvae_fast::data::check::check;
use mvae_fast::data::{Dataset, npz, synth, windows};
use mvae_fast::motion::features::{Part, displacement, slot};
use mvae_fast::motion::vector::{about_y, apply_inverse};
use mvae_fast::motion::{Rig, Skeleton};
use std::ops::Range;
use std::path::Path;

/// Two clips of a smooth motion of `frame_size` features.
fn smooth(frame_size: usize) -> Dataset {
    let frames =
        (0..400 * frame_size).map(|i| ((i / frame_size) as f32 * 0.2 + (i % frame_size) as f32).sin()).collect();
    Dataset { frames, frame_size, end_indices: vec![199, 399], ..Dataset::default() }
}

#[test]
fn check_finds_what_was_planted() {
    let mut dataset = smooth(20);
    let config = Config { bridge_clips: false, minibatches: 0, ..Config::default() };
    let clean = check(&dataset, &config);
    assert!(clean.ready && clean.jumps == 0, "{clean}");
    assert_eq!(clean.warnings, ["only 13 s of motion, and a model needs minutes: give more clips"]);
    assert_eq!((clean.windows, clean.held_out_windows), (168 + 128, 8), "as training will hold out the last 40 frames");
    assert_eq!(clean.held_out, [[360, 400]]);
    assert_eq!((clean.batches, clean.short_clips), (4, 0));
    assert!(clean.to_string().ends_with("verdict     ready to train"), "{clean}");

    dataset.end_indices = vec![4, 199, 399];
    dataset.frames.chunks_exact_mut(20).for_each(|row| row[3] = 7.0);
    dataset.frames[250 * 20 + 11] += 9.0; // one value of one frame: a jump there and a jump back
    let report = check(&dataset, &config);
    assert_eq!(report.constant_features[0].index, 3);
    assert_eq!((report.jumps, report.short_clips), (2, 1));
    for (jump, frame) in report.worst_jumps.iter().zip([250, 251]) {
        assert!(jump.place.frame == frame || jump.place.frame == 501 - frame, "{jump}");
        assert_eq!((jump.place.clip, jump.place.feature.index, jump.features), (2, 11, 1));
        approx::assert_relative_eq!(jump.place.seconds, (jump.place.frame - 200) as f64 / 30.0, epsilon = 1e-12);
    }
    assert!(report.ready, "jumps are a warning: {report}");

    dataset.frames[300 * 20 + 5] = f32::NAN;
    let report = check(&dataset, &config);
    assert_eq!((report.non_finite, report.non_finite_places[0].frame), (1, 300));
    assert!(!report.ready && report.problems[0].starts_with("1 values are not finite"), "{report}");
    assert!(report.groups[0].max.is_finite());

    for (batch_size, validation, numbers) in [(297, 0.05, "296 windows beside 8 held out"), (337, 0.0, "336 windows")] {
        let report = check(&smooth(20), &Config { batch_size, validation, ..config.clone() });
        let problem = format!("{numbers} are fewer than one mini-batch of {batch_size}: give more");
        assert!(!report.ready && report.problems[0].starts_with(&problem), "{report}");
    }
}

#[test]
fn check_finds_a_missing_clip_end() {
    let mut dataset = smooth(50);
    // The second half of the frames is moved elsewhere.
    dataset.frames[200 * 50..].iter_mut().for_each(|x| *x += 5.0);
    assert_eq!(check(&dataset, &Config::default()).jumps, 0, "between clips anything goes");
    dataset.end_indices = vec![399];
    let report = check(&dataset, &Config::default());
    assert_eq!((report.jumps, report.worst_jumps[0].features, report.worst_jumps[0].place.frame), (1, 50, 200));
    assert!(report.warnings.iter().any(|warning| warning.contains("end of a clip is missing")), "{report}");
}

#[test]
fn check_names_features_and_writes_json() {
    let mut dataset = smooth(3 + 12 * 2);
    let skeleton = Skeleton {
        names: vec!["Hips".into(), "Head".into()],
        parents: vec![None, Some(0)],
        offsets: vec![[0.0; 3]; 2],
        hips: 0,
        toes: [1, 1],
        up_legs: [1, 1],
    };
    dataset.rig = Some(Rig::new(skeleton, 30.0, &dataset.frames));
    dataset.clip_names = vec!["walk".into(), "run".into()];
    for feature in [2, 7, 14, 20, 26] {
        dataset.frames[333 * 27 + feature] = f32::INFINITY;
    }
    let report = check(&dataset, &Config::default());
    let names: Vec<_> = report.non_finite_places.iter().map(|place| place.feature.name.as_str()).collect();
    assert_eq!(
        names,
        ["root turn", "position y of Head", "velocity z of Head", "Y axis z of Head", "Z axis z of Head"]
    );
    assert_eq!(report.non_finite_places[0].clip_name.as_deref(), Some("run"));
    let groups: Vec<_> = report.groups.iter().map(|group| (group.name, group.first, group.last)).collect();
    assert_eq!(groups, [("root motion", 0, 2), ("positions", 3, 8), ("velocities", 9, 14), ("axes", 15, 26)]);
    assert!(report.axes_off_length > 1000, "a sine is no unit vector");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["non_finite"], 5);
    assert_eq!(json["non_finite_places"][1]["feature"]["name"], "position y of Head");
    assert_eq!(json["ready"], false);
}

#[test]
fn check_looks_at_the_motion() {
    let set = synth::locomotion(1200, 3);
    let view = check(&set, &Config::default()).motion.unwrap();
    let minutes: f64 = view.speeds.iter().map(|range| range.minutes).sum();
    let turning: f64 = view.turns.iter().map(|range| range.left_minutes + range.right_minutes).sum();
    assert!((minutes - 1200.0 / 1800.0).abs() < 1e-9 && (turning - minutes).abs() < 1e-9);
    assert!(view.feet.iter().all(|foot| (0.3..0.8).contains(&foot.contact) && foot.skate < 0.02), "{:?}", view.feet);
    assert!(view.stretched_bone.off < 1e-6 && view.loose_joint.off < 1e-6 && view.velocity_error < 1e-6, "{view:?}");
    assert_eq!(view.suspicious, 0, "{view}");

    // A stretched bone, a wrong velocity, a foot in the ground: each is found in its frame.
    let mut bad = set.clone();
    let slot = |part, joint: usize| 3 + 3 * (22 * part as usize + joint);
    bad.frames[500 * 267 + slot(1, 20) + 2] += 0.5;
    bad.frames[700 * 267 + slot(0, 1) + 1] -= 2.0;
    let view = check(&bad, &Config::default()).motion.unwrap();
    let places: Vec<_> = view.worst.iter().map(|moment| (moment.frame, moment.clip, moment.what.as_str())).collect();
    assert_eq!(view.suspicious, 3, "{places:?}");
    let clip = bad.clip_of(500);
    assert!(places.contains(&(500, clip, "the velocity of LeftHand is 15.2 cm off its positions")), "{places:?}");
    let feet: Vec<_> =
        places.iter().filter(|(_, _, what)| what.contains("RightToeBase")).map(|place| place.0).collect();
    assert_eq!(feet, [700, 701]);
    assert_eq!(view.stretched_bone.joint, "RightToeBase");
    let start = bad.clips()[clip].start;
    let moment = view.worst.iter().find(|moment| moment.frame == 500).unwrap();
    assert!((moment.seconds - (500 - start) as f64 / 30.0).abs() < 1e-9 && moment.clip_name.is_some());

    // A set that only turns left gets a warning.
    let mut left = set;
    left.frames.chunks_exact_mut(267).for_each(|frame| frame[2] = frame[2].abs());
    let view = check(&left, &Config::default()).motion.unwrap();
    assert!(view.turns[1..].iter().all(|range| range.right_minutes == 0.0));
    assert!(check(&smooth(40), &Config::default()).motion.is_none());
}

/// Replaces the root motion of each frame by `motion` of it, and recomputes the velocities from the
/// positions.
fn with_root_motion(set: &mut Dataset, motion: impl Fn([f32; 3]) -> [f32; 3]) {
    let joints = (set.frame_size - 3) / 12;
    for clip in set.clips() {
        for at in clip.clone() {
            let size = set.frame_size;
            let root = motion([set.frame(at)[0], set.frame(at)[1], set.frame(at)[2]]);
            set.frames[at * size..][..3].copy_from_slice(&root);
            if at == clip.start {
                continue;
            }
            for joint in 0..joints {
                let moved = displacement(set.frame(at - 1), set.frame(at), joint);
                let moved = apply_inverse(&about_y(root[2].into()), moved).map(|x| x as f32);
                set.frames[at * size + slot(Part::Velocity, joint, joints)..][..3].copy_from_slice(&moved);
            }
        }
    }
}

#[test]
fn a_check_says_what_is_probably_wrong_with_a_motion_and_how_to_mend_it() {
    type Change = fn(&mut Dataset);
    fn each(set: &mut Dataset, change: impl Fn(&mut [f32])) {
        set.frames.chunks_exact_mut(267).for_each(change);
    }
    fn scaled(set: &mut Dataset, by: f32) {
        each(set, |frame| (0..135).filter(|&i| i != 2).for_each(|i| frame[i] *= by));
    }
    let changes: [(Change, &str); 14] = [
        (
            |set| scaled(set, 0.3048),
            "lengths are probably in metres: multiply features 0, 1, positions and velocities by 3.2808",
        ),
        (|set| scaled(set, 30.48), "lengths are probably in centimetres"),
        (|set| scaled(set, 12.0), "lengths are probably in inches"),
        (|set| scaled(set, 0.01), "legs are 0.01 m long, which few bodies have: lengths are expected in feet"),
        (
            |set| each(set, |frame| (0..4).for_each(|part| frame[3 + 66 * part..][..66].rotate_right(9))),
            "joints are probably not in the reference's order",
        ),
        (
            |set| {
                each(set, |frame| {
                    let axes = frame[135..].to_vec();
                    let axis = |i: usize| &axes[66 * (i % 2) + 3 * (i / 2)..][..3];
                    (0..44).for_each(|i| frame[135 + 3 * i..][..3].copy_from_slice(axis(i)));
                })
            },
            "the axes are probably not the joints' own (Y axes of all joints, then Z axes)",
        ),
        (
            |set| each(set, |frame| frame[3..135].chunks_exact_mut(3).for_each(|v| v.swap(1, 2))),
            "cm along y: y has to point up",
        ),
        (
            |set| each(set, |frame| frame[3..69].chunks_exact_mut(3).for_each(|v| v[1] -= 3.0)),
            "not measured from the floor",
        ),
        (
            |set| each(set, |frame| frame[3..135].chunks_exact_mut(3).for_each(|v| v[2] = -v[2])),
            "LeftUpLeg is not to the left of RightUpLeg as it faces",
        ),
        (
            |set| each(set, |frame| frame.copy_within(3 + 3 * 14..6 + 3 * 14, 3 + 3 * 15)),
            "upper legs LeftUpLeg and RightUpLeg are 0.0 cm apart, so nothing says where it faces",
        ),
        (
            |set| with_root_motion(set, |[_, _, turn]| [0.0, 0.0, turn]),
            "the root never moves in 4 of 4 clips, though feet do",
        ),
        (
            |set| with_root_motion(set, |[x, z, _]| [x, z, 0.0]),
            "the facing never turns in 4 of 4 clips, though feet move",
        ),
        (
            |set| with_root_motion(set, |[x, z, turn]| [-x, z, turn]),
            "are walked forwards: left and right, up, or which way",
        ),
        (
            |set| each(set, |frame| frame[69..135].iter_mut().for_each(|x| *x *= 30.0)),
            "a second and not a frame: divide by 30",
        ),
    ];
    let synthetic = synth::locomotion(1200, 3);
    // Without names, as other programs write such sets.
    let bare = |mut set: Dataset| {
        set.rig = Rig::bare(267, &set.frames);
        check(&set, &Config { bridge_clips: false, mirror: false, ..Config::default() })
    };
    let clean = bare(synthetic.clone());
    assert!(clean.warnings.len() == 1 && clean.warnings[0].starts_with("only 40 s of motion"), "{clean}");
    assert_eq!(check(&synthetic, &Config::default()).warnings, clean.warnings);
    for (change, says) in changes {
        let mut set = synthetic.clone();
        change(&mut set);
        let report = bare(set);
        let found = report.warnings.iter().filter(|warning| warning.contains(says)).count();
        assert_eq!(found, 1, "{says}: {report}");
        assert!(report.to_string().contains(&format!("warning     {}", report.warnings[0])), "{report}");
    }

    // Bodies of two sizes in one set; also the judged numbers as JSON.
    let mut two = synthetic.clone();
    let middle = two.clips()[2].start * 267;
    two.frames[middle..].chunks_exact_mut(267).for_each(|frame| frame[3..135].iter_mut().for_each(|x| *x *= 0.3048));
    assert!(bare(two).warnings.iter().any(|warning| warning.contains("different units")));
    let body = &serde_json::to_value(&clean).unwrap()["motion"]["body"];
    let number = |key: &str| body[key].as_f64().unwrap();
    assert!((0.15..0.25).contains(&number("hip_width")) && number("forward") > 0.9 && number("way") > 20.0, "{body}");
    assert_eq!((number("still_roots"), number("still_facings"), body["legs"].as_array().unwrap().len()), (0.0, 0.0, 2));
}

#[test]
fn real_motion_is_ready_to_train() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/real/walk_run_255.npz");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let dataset = npz::read(&path).unwrap();
    assert_eq!((dataset.num_frames(), dataset.frame_size, dataset.end_indices.len()), (23302, 255, 153));
    assert_eq!(dataset.clip_names.len(), 153);
    assert!(check(&dataset, &Config::default()).ready);
    let report = check(&dataset, &Config { rollout: 8, bridge_clips: false, minibatches: 0, ..Config::default() });
    assert!(report.ready && report.short_clips == 0, "{report}");
    assert!(report.warnings.iter().all(|warning| warning.contains("jump")), "{report}");
    assert_eq!(
        (report.windows + report.held_out_windows, report.batches),
        (23302 - 153 * 8, 327),
        "every clip loses its last eight frames"
    );
    assert_eq!(report.constant_features.len(), 2, "position x and z of the hips");
    assert_eq!(report.axes_off_length, 0);
    assert!(report.jumps < 30, "{report}");
    let split = windows::split(&dataset.clips(), 0.05, 1, 30);
    let held: usize = split.validation.iter().map(Range::len).sum();
    assert!((held as f64 / 23302.0 - 0.05).abs() < 0.01, "{held}");
}
