//! Tests of the report's player: tracks keep millimetres on their way to the page, and features
//! become motion in the world.
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mvae_fast::data::synth;
use mvae_fast::motion::vector::{apply_inverse, length, sub};
use mvae_fast::motion::{Rig, Root, features};
use mvae_fast::run::player::{Frame, Kind, Track, pack};
use proptest::prelude::*;

const MILLIMETRES: f64 = 304.8;

/// A rig for packing; its joints do not matter to the motion.
fn rig() -> Rig {
    synth::locomotion(60, 0).rig.expect("the built-in set knows its skeleton")
}

fn track(frames: Vec<Frame>) -> Track {
    Track { name: "walk <1>".into(), kind: Kind::Walk, start: "clip 1".into(), fps: 30.0, frames, task: Vec::new() }
}

/// The motion of the only track as the page reads it, in mm and radians; `None` when there is no
/// track.
fn unpack(packed: &serde_json::Value, joints: usize) -> Option<Vec<Frame>> {
    let track = packed["tracks"].get(0)?;
    let bytes = BASE64_STANDARD.decode(track["motion"].as_str().unwrap()).unwrap();
    let words: Vec<f64> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into()).collect();
    let rows = words.chunks_exact(3 + 3 * joints);
    assert_eq!((rows.len(), rows.remainder().len()), (track["frames"].as_u64().unwrap() as usize, 0));
    let frames = rows.scan([0.0; 2], |[x, z], row| {
        (*x, *z) = (*x + row[0], *z + row[1]);
        let joints = row[3..].chunks_exact(3).map(|j| [*x + j[0], j[1], *z + j[2]]).collect();
        Some(Frame { root: Root { x: *x, z: *z, facing: row[2] / 1e4 }, joints })
    });
    Some(frames.collect())
}

fn moving() -> impl Strategy<Value = Vec<Frame>> {
    // Steps of the root, facing, and joints around it. The way is long enough to exceed 16 bits of
    // millimetres.
    let step = (-3.0..3.0, -3.0..3.0, -20.0..20.0, prop::collection::vec(prop::array::uniform3(-9.0..9.0), 3));
    prop::collection::vec(step, 1..200).prop_map(|steps| {
        let mut at = [90.0, -90.0];
        let frames = steps.into_iter().map(|(dx, dz, facing, joints)| {
            at = [at[0] + dx, at[1] + dz];
            let joints = joints.into_iter().map(|j: [f64; 3]| [at[0] + j[0], j[1], at[1] + j[2]]).collect();
            Frame { root: Root { x: at[0], z: at[1], facing }, joints }
        });
        frames.collect()
    })
}

proptest! {
    #[test]
    fn places_travel_to_the_millimetre_however_far(frames in moving()) {
        let found = unpack(&pack(&rig(), &[track(frames.clone())]), 3).unwrap();
        prop_assert_eq!(found.len(), frames.len());
        for (found, frame) in found.iter().zip(&frames) {
            let near = |found: f64, feet: f64| (found - MILLIMETRES * feet).abs() < 0.5 + 1e-6;
            prop_assert!(near(found.root.x, frame.root.x) && near(found.root.z, frame.root.z));
            let turned = (found.root.facing - frame.root.facing).sin().abs();
            prop_assert!(turned < 0.6e-4 && (found.root.facing - frame.root.facing).cos() > 0.0, "{}", turned);
            for (found, joint) in found.joints.iter().flatten().zip(frame.joints.iter().flatten()) {
                prop_assert!(near(*found, *joint), "{} {}", found, joint);
            }
        }
    }
}

#[test]
fn a_track_ends_where_it_cannot_travel() {
    let still = |joint| Frame { root: Root::default(), joints: vec![[0.0, 3.0, 0.0], joint] };
    let kept = |bad: Frame| {
        let frames = [still([0.0; 3]), still([1.0; 3]), bad, still([0.0; 3])];
        unpack(&pack(&rig(), &[track(frames.to_vec())]), 2).unwrap().len()
    };
    assert_eq!(kept(still([0.0, 0.0, 100.0])), 4);
    assert_eq!(kept(still([0.0, 0.0, 110.0])), 2, "beyond 32 m of the root");
    assert_eq!(kept(still([0.0, f64::NAN, 0.0])), 2);
    assert_eq!(kept(still([1e300, 0.0, 0.0])), 2);
    for lost in [f64::NAN, f64::INFINITY, 200.0] {
        assert_eq!(kept(Frame { root: Root { x: lost, ..Root::default() }, ..still([0.0; 3]) }), 2, "{lost}");
        assert_eq!(kept(Frame { root: Root { facing: f64::NAN, ..Root::default() }, ..still([0.0; 3]) }), 2);
    }
    assert_eq!(unpack(&pack(&rig(), &[track(vec![still([f64::NAN; 3])])]), 2), None, "nothing of it can be shown");
}

#[test]
fn features_become_the_motion_they_were_made_from() {
    let (frames, seed) = (600, 3);
    let set = synth::locomotion(frames, seed);
    let rig = set.rig.clone().unwrap();
    for (clip, poses) in set.clips().into_iter().zip(synth::world_clips(frames, seed)) {
        let rows = &set.frames[clip.start * set.frame_size..clip.end * set.frame_size];
        let track = Track::new("data".into(), Kind::Data, "clip".into(), &rig, rows);
        // The first pose only gives the second pose its differences; the track begins at the
        // second.
        let begin = Root::of(&rig.skeleton, &poses[1]);
        assert_eq!(track.frames.len(), poses.len() - 1);
        for (frame, pose) in track.frames.iter().zip(&poses[1..]) {
            for (joint, world) in frame.joints.iter().zip(&pose.positions) {
                let expected = apply_inverse(&begin.rotation(), sub(*world, [begin.x, 0.0, begin.z]));
                assert!(length(sub(*joint, expected)) < 1e-3, "{joint:?} {expected:?}");
            }
        }
    }
    assert_eq!(set.frame_size, features::frame_size(rig.skeleton.len()));
}
