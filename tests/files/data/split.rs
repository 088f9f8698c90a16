//! Windows, mirror images, and the split into training and validation.
use super::golden;
use mvae_fast::config::Config;
use mvae_fast::data::check::check;
use mvae_fast::data::{Dataset, synth, windows};
use mvae_fast::motion::Skeleton;
use proptest::prelude::*;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// Clips of these lengths, one after the other.
fn clips_of(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    lengths
        .iter()
        .map(|length| {
            start += length;
            start - length..start
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn selectable_is_what_the_definition_says(
        num_frames in 1usize..60, listed in prop::collection::vec(0usize..70, 0..8),
        rollout in 1usize..9, condition in 1usize..4, future in 1usize..4,
    ) {
        // Windows end within the data, and contain no clip end before their last frame.
        let last = |start: usize| start + condition + rollout + future - 2;
        let inside = |&start: &usize| {
            last(start) < num_frames && !listed.iter().any(|&end| start <= end && end < last(start))
        };
        let expected: Vec<u32> = (0..num_frames).filter(inside).map(|start| start as u32).collect();
        prop_assert_eq!(windows::selectable(num_frames, &listed, rollout, condition, future), expected);
    }

    #[test]
    fn a_split_loses_nothing(
        lengths in prop::collection::vec(1usize..400, 1..60), fraction in 0.0f64..1.2, seed: u64, min_len in 1usize..40,
    ) {
        let clips = clips_of(&lengths);
        let split = windows::split(&clips, fraction, seed, min_len);
        prop_assert_eq!(&split, &windows::split(&clips, fraction, seed, min_len));
        let mut together = [split.train.clone(), split.validation.clone()].concat();
        together.sort_by_key(|clip| clip.start);
        let mut expected = clips.clone();
        if let Some(cut) = split.cut {
            let at = clips.iter().position(|clip| clip.contains(&cut)).unwrap();
            let end = std::mem::replace(&mut expected[at].end, cut);
            expected.insert(at + 1, cut..end);
        }
        prop_assert_eq!(together, expected);
        prop_assert!(split.validation.iter().all(|clip| clip.len() >= min_len));
        let usable = clips.iter().filter(|clip| clip.len() >= min_len).count();
        if usable > 0 {
            prop_assert!(split.train.iter().any(|clip| clip.len() >= min_len), "something is left to train on");
        }
        prop_assert_eq!(split.validation.is_empty(), fraction <= 0.0 || usable == 0
            || usable == 1 && clips.iter().all(|clip| clip.len() < 2 * min_len
                || (fraction * clip.len() as f64) as usize > clip.len() - min_len));
    }
}

#[test]
fn start_indices_agree_with_the_reference_where_it_is_right() {
    let Some(mut arrays) = golden("indices") else { return };
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden/indices/case.json");
    let case: serde_json::Value = serde_json::from_reader(File::open(case).unwrap()).unwrap();
    for case in case["cases"].as_array().unwrap() {
        let size = |name: &str| case[name].as_u64().unwrap() as usize;
        let mut array =
            |name: &str| -> ndarray::Array1<i64> { arrays.by_name(&format!("{}.{name}", case["index"])).unwrap() };
        let listed: Vec<usize> = array("end_indices").iter().map(|&end| end as usize).collect();
        let expected: Vec<u32> = array("correct").iter().map(|&start| start as u32).collect();
        let got = windows::selectable(
            size("num_frames"),
            &listed,
            size("num_steps_per_rollout"),
            size("num_condition_frames"),
            size("num_future_predictions"),
        );
        assert_eq!(got, expected, "{}", case["name"]);
    }
}

#[test]
fn fewer_windows_than_a_batch_are_refused_with_the_numbers() {
    let mut split = windows::Split { train: clips_of(&[40, 8, 39]), validation: Vec::new(), cut: None };
    let path = Path::new("walk.npz");
    assert_eq!(windows::training_starts(path, &split.train, &split.validation, 9, 63).unwrap().len(), 32 + 31);
    let error = windows::training_starts(path, &split.train, &split.validation, 9, 64).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert_eq!(
        error.to_string(),
        "walk.npz: 63 windows to train on, fewer than one mini-batch of 64; clips (and bridges between \
         them) shorter than the 9 frames a window needs: 1 of 3; give more data, or lower the batch size or the rollout"
    );
    split.validation.push(split.train.remove(2));
    assert_eq!(
        windows::training_starts(path, &split.train, &split.validation, 9, 64).unwrap_err().to_string(),
        "walk.npz: 32 windows to train on (31 more are held out), fewer than one mini-batch of 64; clips (and \
         bridges between them) shorter than the 9 frames a window needs: 1 of 2; give more data, hold out less \
         (--validation), or lower the batch size or the rollout"
    );
}

#[test]
fn a_split_comes_near_the_fraction_and_spreads() {
    let lengths: Vec<usize> = (0..200).map(|i| 100 + 37 * i % 101).collect();
    let clips = clips_of(&lengths);
    let total = clips.last().unwrap().end;
    let held = |split: &windows::Split| split.validation.iter().map(Range::len).sum::<usize>();
    let mut different = std::collections::HashSet::new();
    for seed in 0..20 {
        let split = windows::split(&clips, 0.05, seed, 9);
        let share = held(&split) as f64 / total as f64;
        assert!((share - 0.05).abs() < 0.005, "seed {seed}: {share}");
        let quarters: std::collections::HashSet<_> =
            split.validation.iter().map(|clip| 4 * clip.start / total).collect();
        assert_eq!(quarters.len(), 4, "seed {seed}: {:?}", split.validation);
        different.insert(split.validation.clone());
    }
    assert!(different.len() > 10, "seeds matter");

    assert!(windows::split(&clips, 0.0, 1, 9).validation.is_empty());
    let equal = windows::split(&clips_of(&[50, 50]), 0.05, 1, 30);
    assert_eq!((equal.train.len(), equal.validation.len(), equal.cut), (1, 1, None), "too short to cut");
}

#[test]
fn a_clip_is_held_out_with_its_mirror_images_and_copies() {
    let set = synth::locomotion_in_clips(2000, 100, 5);
    let alone = set.split(0.1, 3);
    assert_eq!(alone, windows::split(&set.clips(), 0.1, 3, windows::HELD_OUT_FRAMES));
    assert!(!alone.validation.is_empty());
    let again = |parts: &[Range<usize>], times: usize| -> Vec<_> {
        (0..times).flat_map(|i| parts.iter().map(move |part| part.start + 2000 * i..part.end + 2000 * i)).collect()
    };

    // Clips are compared by content: these clips have no names.
    let mut both = set.clone();
    both.clip_names.clear();
    assert_eq!(both.mirror_if_named(), None);
    assert_eq!((both.num_frames(), both.end_indices.len()), (4000, 40));
    let split = both.split(0.1, 3);
    assert_eq!((&split.train, &split.validation), (&again(&alone.train, 2), &again(&alone.validation, 2)));
    assert_eq!(split.before(2000), alone);

    // Nothing is mirrored twice, and a clip that has an image stays as it is.
    let complete = both.clone();
    assert_eq!(both.mirror_if_named(), None);
    assert!(both == complete);
    let half = |set: &Dataset| Dataset {
        frames: set.frames[..3000 * set.frame_size].to_vec(),
        end_indices: set.end_indices[..30].to_vec(),
        ..set.clone()
    };
    let mut completed = Dataset { clip_roots: Vec::new(), ..half(&complete) };
    assert_eq!(completed.mirror_if_named(), None);
    assert!(
        completed.num_frames() == 4000
            && completed.frames[3000 * set.frame_size..] == complete.frames[3000 * set.frame_size..]
    );

    // A copy goes with its clip, and shares its mirror image.
    let copies = Dataset {
        frames: [&complete.frames[..], &set.frames].concat(),
        end_indices: complete.end_indices.iter().copied().chain(set.end_indices.iter().map(|end| 4000 + end)).collect(),
        clip_roots: Vec::new(),
        ..complete.clone()
    };
    assert_eq!(copies.split(0.1, 3).validation, again(&alone.validation, 3));
    let mut mirrored = copies.clone();
    assert_eq!(mirrored.mirror_if_named(), None);
    assert!(mirrored == copies);

    // From a single clip the end is held out, together with the end of its mirror image.
    let mut one = synth::locomotion_in_clips(1000, 1000, 5);
    assert_eq!(one.mirror_if_named(), None);
    let split = one.split(0.05, 1);
    assert_eq!(split.validation, [950..1000, 1950..2000]);
    assert_eq!((split.train, split.cut), (vec![0..950, 1000..1950], Some(950)));
}

#[test]
fn a_clip_is_mirrored_where_names_tell_left_from_right() {
    let mut set = synth::locomotion_in_clips(600, 100, 5);
    set.clip_names = (0..6).map(|clip| format!("walk {clip}")).collect();
    let (given, clip) = (set.clone(), set.clips()[2].clone());
    assert_eq!(set.mirror_if_named(), None);
    assert_eq!((set.clip_names[2].as_str(), set.clip_names[8].as_str()), ("walk 2", "walk 2 (mirrored)"));
    let (root, mirrored) = (set.clip_roots[2], set.clip_roots[8]);
    assert_eq!((mirrored.x, mirrored.z, mirrored.facing), (root.x, -root.z, -root.facing));
    assert_eq!(set.clips()[8], clip.start + 600..clip.end + 600);
    let (frame, image) = (set.frame(clip.start + 50), set.frame(clip.start + 650));
    assert_eq!([image[0], image[1], image[2]], [frame[0], -frame[1], -frame[2]]);
    assert!(set.frames.starts_with(&given.frames));

    let mut nameless = Dataset { rig: None, ..given.clone() };
    assert!(nameless.mirror_if_named().unwrap().contains("not mirrored: the data names no skeleton"));
    // Joints need names for the sides, and a skeleton that matches them.
    let refused = |change: &dyn Fn(&mut Skeleton)| {
        let mut set = given.clone();
        change(&mut set.rig.as_mut().unwrap().skeleton);
        let note = set.mirror_if_named().unwrap();
        assert!(note.starts_with("note: clips are not mirrored: ") && note.contains("--mirror false"), "{note}");
        assert_eq!((set.num_frames(), set.rig.is_some()), (600, true));
        note
    };
    let hand = given.rig.as_ref().unwrap().skeleton.names.iter().position(|name| name == "LeftHand").unwrap();
    let rename = |s: &mut Skeleton, words: &[&str]| {
        let renamed = |name: &str| words.iter().any(|word| name.contains(word));
        let joints = s.names.iter_mut().enumerate().filter(|(_, name)| renamed(name));
        joints.for_each(|(i, name)| *name = format!("bone{i}"));
    };
    type Change<'a> = (&'a dyn Fn(&mut Skeleton), &'a str);
    let changes: [Change; 5] = [
        (&|s| rename(s, &[""]), "are not named as left and right"),
        (
            &|s| rename(s, &["Shoulder", "Arm", "Hand"]),
            "bone7 has no counterpart by its name, and is 15 cm to one side of bone5",
        ),
        (&|s| s.names[hand] = "Sword".into(), "Sword has no counterpart by its name, and hangs on LeftForeArm"),
        (&|s| s.offsets[hand] = [2.0, 0.0, 0.0], "LeftHand is 61 cm from LeftForeArm, and RightHand"),
        (&|s| s.parents[hand] = Some(0), "LeftHand hangs on LeftToeBase, and RightHand on RightForeArm"),
    ];
    for (change, says) in changes {
        let note = refused(change);
        assert!(note.contains(says), "{note}");
    }
    assert_eq!(nameless.num_frames(), 600);

    // The check reports both, and lists held-out clips as the file has them.
    let [with, without] = [true, false].map(|mirror| check(&given, &Config { mirror, ..Config::default() }));
    assert_eq!((with.mirrored, without.mirrored), (true, false));
    assert_eq!(
        (&with.held_out, with.frames, with.held_out_windows),
        (&without.held_out, 600, 2 * without.held_out_windows)
    );
    assert!(with.windows > 3 * without.windows / 2, "{} {}", with.windows, without.windows);
    assert!(with.to_string().contains("mirror images among them"), "{with}");
}

#[test]
fn a_long_clip_is_cut() {
    let split = windows::split(&[0..1000, 1000..1005], 0.05, 1, 9);
    assert_eq!(split.train, [0..950, 1000..1005]);
    assert_eq!(split.validation.as_slice(), std::slice::from_ref(&(950..1000)));
    assert_eq!(split.cut, Some(950));
    let short = windows::split(std::slice::from_ref(&(0..17)), 0.05, 1, 9);
    assert_eq!((short.train.len(), short.validation.len()), (1, 0), "too short to cut");
}
