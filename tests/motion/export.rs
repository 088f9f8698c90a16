//! Motion in file formats of other tools: an independent reader finds the motion that was written.
use crate::bvh_reader::bvh_positions;
use mvae_fast::data::world;
use mvae_fast::data::{Dataset, synth};
use mvae_fast::exchange::export::{Take, bvh, glb};
use mvae_fast::host::shown::shown;
use mvae_fast::motion::local::{Bones, LocalPose};
use mvae_fast::motion::vector::{Axes, IDENTITY, Vec3, about_x, about_y, about_z, add, apply, chain, length, sub};
use mvae_fast::motion::{Pose, Rig, quaternion};
use mvae_fast::philox::{Purpose, Stream};
use serde_json::Value;

/// Tolerance of positions: 1e-4 of the body's height (the hips are at half of it).
fn tolerance(rig: &Rig) -> f64 {
    1e-4 * 2.0 * rig.hip_height
}

fn set() -> Dataset {
    synth::locomotion(900, 3)
}

fn rig(set: &Dataset) -> &Rig {
    set.rig.as_ref().unwrap()
}

/// The largest distance of a joint from its true place.
fn error(got: &[Vec3], want: &[Vec3]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| length(sub(*a, *b))).fold(0.0, f64::max)
}

#[test]
fn local_transforms_give_the_pose_back() {
    let set = set();
    let rig = rig(&set);
    for clip in 0..set.end_indices.len() {
        for pose in world::poses(&set, clip) {
            for (bones, tolerance) in [(Bones::Given, 1e-9), (Bones::Skeleton, tolerance(rig))] {
                let again = LocalPose::new(&rig.skeleton, &pose, bones).pose(&rig.skeleton);
                assert!(error(&again.positions, &pose.positions) < tolerance, "{bones:?}, clip {clip}");
                let turned = again.axes.iter().flatten().zip(pose.axes.iter().flatten());
                assert!(turned.map(|(a, b)| length(sub(*a, *b))).all(|error| error < 1e-3), "{bones:?}, clip {clip}");
            }
        }
    }
}

/// A pose with joints moved off their bones.
fn shaken(pose: &Pose, seed: u64, by: f64) -> Pose {
    let stream = Stream::new(seed, Purpose::Check, 0);
    let mut shaken = pose.clone();
    for (i, x) in shaken.positions.as_flattened_mut().iter_mut().enumerate() {
        *x += by * (2.0 * stream.uniform(i) - 1.0);
    }
    shaken
}

#[test]
fn poses_of_a_network_get_the_bones_of_the_skeleton_and_stay_near() {
    let set = set();
    let rig = rig(&set);
    let lengths = |pose: &Pose| -> Vec<f64> {
        let parents = rig.skeleton.parents.iter().enumerate();
        parents.filter_map(|(j, p)| p.map(|p| length(sub(pose.positions[j], pose.positions[p])))).collect()
    };
    let offsets = rig.skeleton.parents.iter().zip(&rig.skeleton.offsets);
    let want: Vec<f64> = offsets.filter(|(parent, _)| parent.is_some()).map(|(_, offset)| length(*offset)).collect();
    for (frame, pose) in world::poses(&set, 0).iter().enumerate() {
        let shaken = shaken(pose, frame as u64, 0.05);
        let kept = LocalPose::new(&rig.skeleton, &shaken, Bones::Skeleton).pose(&rig.skeleton);
        let error_of_bones = lengths(&kept).iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error_of_bones < 1e-9, "frame {frame}: {error_of_bones}");
        // Each of the up to seven bones of a limb may be off by 0.05 along itself, and the last one
        // also sideways.
        assert!(error(&kept.positions, &shaken.positions) < 0.4, "frame {frame}");
        let axes = LocalPose::new(&rig.skeleton, &shaken, Bones::Skeleton).axes;
        for [x, y, z] in axes {
            let dot = |a: Vec3, b: Vec3| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
            for (a, b, want) in [(x, x, 1.0), (y, y, 1.0), (z, z, 1.0), (x, y, 0.0), (y, z, 0.0), (z, x, 0.0)] {
                assert!((dot(a, b) - want).abs() < 1e-9, "frame {frame}: not a rotation");
            }
        }
    }
}

#[test]
fn angles_make_the_rotation_again() {
    let stream = Stream::new(4, Purpose::Check, 0);
    let angle = |i: usize| std::f64::consts::PI * (2.0 * stream.uniform(i) - 1.0);
    let mut cases: Vec<Axes> = (0..300)
        .map(|i| chain([about_z(angle(3 * i)), about_x(angle(3 * i + 1)), about_y(angle(3 * i + 2))]))
        .collect();
    // A quarter turn about x leaves only the sum of the other two.
    cases.extend(
        [-1.0, 1.0].map(|side| chain([about_z(0.7), about_x(side * std::f64::consts::FRAC_PI_2), about_y(0.4)])),
    );
    cases.push(IDENTITY);
    for (case, axes) in cases.iter().enumerate() {
        let [z, x, y] = bvh::angles(axes);
        let again = chain([about_z(z), about_x(x), about_y(y)]);
        let error = again.iter().zip(axes).map(|(a, b)| length(sub(*a, *b))).fold(0.0, f64::max);
        assert!(error < 1e-7, "case {case}: {error}");
    }
}

#[test]
fn bvh_says_where_the_joints_are() {
    let set = set();
    let rig = rig(&set);
    for bones in [Bones::Given, Bones::Skeleton] {
        let take = Take::of_clip(&set, rig, 1, bones);
        let file = bvh_anim::from_str(&bvh::text(&take)).unwrap();
        let poses = world::poses(&set, 1);
        assert_eq!(file.frames().len(), poses.len());
        assert!((file.frame_time().as_secs_f64() - 1.0 / 30.0).abs() < 1e-6);
        for (frame, pose) in poses.iter().enumerate() {
            for (name, position) in bvh_positions(&file, frame) {
                let joint = rig.skeleton.find(&name).unwrap();
                let error = length(sub(position, pose.positions[joint]));
                assert!(error < tolerance(rig), "{bones:?}, frame {frame}, {name}: {error}");
            }
        }
    }
}

#[test]
fn bones_that_stretch_in_the_data_keep_their_places() {
    let set = set();
    let rig = rig(&set);
    let poses: Vec<Pose> =
        world::poses(&set, 0).iter().enumerate().map(|(i, pose)| shaken(pose, i as u64, 0.02)).collect();
    let local = poses.iter().map(|pose| LocalPose::new(&rig.skeleton, pose, Bones::Given)).collect();
    let take = Take::new("stretched".into(), rig, local);
    assert!(places_are_written_once(&bvh::text(&take)));
    let file = bvh_anim::from_str(&bvh::text(&take)).unwrap();
    for (frame, pose) in poses.iter().enumerate() {
        for (name, position) in bvh_positions(&file, frame) {
            let joint = rig.skeleton.find(&name).unwrap();
            assert!(length(sub(position, pose.positions[joint])) < tolerance(rig), "frame {frame}, {name}");
        }
    }
}

/// True if no joint has both position channels and an offset: readers differ on whether the
/// channels replace the offset or are added to it.
fn places_are_written_once(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let placed = lines.windows(2).filter(|pair| pair[1].starts_with("CHANNELS 6"));
    let offsets: Vec<&str> = placed.map(|pair| pair[0]).collect();
    offsets.len() > 1 && offsets.iter().all(|offset| *offset == "OFFSET 0.000000 0.000000 0.000000")
}

#[test]
fn names_that_a_bvh_cannot_hold_are_written_otherwise_and_stay_apart() {
    let set = set();
    let mut rig = rig(&set).clone();
    let odd = ["a b", "a_b", "a:b", "\u{1b}[31mred", "", " ", "{", "\u{202e}evil", "左足", "x.001"];
    odd.iter().enumerate().for_each(|(joint, name)| rig.skeleton.names[joint] = (*name).into());
    let names = bvh::names(&rig.skeleton);
    let valid = ["a_b", "a_b_2", "a_b_3", "__31mred", "joint", "joint_2", "_", "_evil", "左足", "x.001"];
    assert_eq!(names[..odd.len()], valid);
    assert_eq!(names[odd.len()..], rig.skeleton.names[odd.len()..], "what is valid stays");
    let file = bvh_anim::from_str(&bvh::text(&Take::of_clip(&set, &rig, 0, Bones::Given))).unwrap();
    let mut read: Vec<String> = file.joints().map(|joint| joint.data().name().to_string()).collect();
    let mut names = names;
    read.sort();
    names.sort();
    assert_eq!(read, names);
}

#[test]
fn what_cannot_be_seen_is_escaped_as_json_has_it() {
    let text = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{e0041}\u{301}é左\"\\\n\t.";
    let escaped = "a\\u001b[2J\\u007f\\u009b\\u202e\\udb40\\udc41\u{301}é左\"\\\n\t.";
    assert_eq!(shown(text), escaped);
    assert!(matches!(shown("plain, é, 左足\n"), std::borrow::Cow::Borrowed(_)));
    let json = serde_json::json!({ "name": text }).to_string();
    assert_eq!(serde_json::from_str::<Value>(&shown(&json)).unwrap()["name"], text);
}

/// A binary glTF in parts.
struct Glb {
    json: Value,
    binary: Vec<u8>,
}

impl Glb {
    fn parse(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((&bytes[..4], word(4), word(8)), (&b"glTF"[..], 2, bytes.len()));
        let length = word(12);
        assert_eq!((length % 4, &bytes[16..20]), (0, &b"JSON"[..]));
        let json = serde_json::from_slice(&bytes[20..20 + length]).unwrap();
        let at = 20 + length;
        assert_eq!((word(at) % 4, &bytes[at + 4..at + 8]), (0, &b"BIN\0"[..]));
        Glb { json, binary: bytes[at + 8..].to_vec() }
    }

    fn number(value: &Value) -> usize {
        value.as_u64().unwrap() as usize
    }

    /// The rows of an accessor of floats.
    fn floats(&self, accessor: &Value, width: usize) -> Vec<Vec<f64>> {
        let accessor = &self.json["accessors"][Glb::number(accessor)];
        assert_eq!(accessor["componentType"], 5126);
        let view = &self.json["bufferViews"][Glb::number(&accessor["bufferView"])];
        let (first, len) = (Glb::number(&view["byteOffset"]), Glb::number(&view["byteLength"]));
        assert_eq!(len, 4 * width * Glb::number(&accessor["count"]));
        let numbers: Vec<f64> = self.binary[first..first + len]
            .chunks_exact(4)
            .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
            .collect();
        numbers.chunks_exact(width).map(<[f64]>::to_vec).collect()
    }

    /// Places of all nodes in a frame, metres.
    fn positions(&self, frame: usize) -> Vec<Vec3> {
        let nodes = self.json["nodes"].as_array().unwrap();
        let three = |value: &Value| -> Vec3 { std::array::from_fn(|i| value[i].as_f64().unwrap_or(0.0)) };
        let mut places: Vec<Vec3> = nodes.iter().map(|node| three(&node["translation"])).collect();
        let mut turned = vec![IDENTITY; nodes.len()];
        let animation = &self.json["animations"][0];
        for channel in animation["channels"].as_array().unwrap() {
            let output = &animation["samplers"][Glb::number(&channel["sampler"])]["output"];
            let node = Glb::number(&channel["target"]["node"]);
            match channel["target"]["path"].as_str().unwrap() {
                "translation" => places[node] = std::array::from_fn(|i| self.floats(output, 3)[frame][i]),
                _ => turned[node] = quaternion::to_axes(std::array::from_fn(|i| self.floats(output, 4)[frame][i])),
            }
        }
        let mut world = vec![None; nodes.len()];
        let mut open: Vec<(usize, Vec3, Axes)> = self.json["scenes"][0]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| (Glb::number(n), [0.0; 3], IDENTITY))
            .collect();
        while let Some((node, above, axes)) = open.pop() {
            let place = add(above, apply(&axes, places[node]));
            world[node] = Some(place);
            let axes = chain([axes, turned[node]]);
            for child in nodes[node]["children"].as_array().into_iter().flatten() {
                open.push((Glb::number(child), place, axes));
            }
        }
        world.into_iter().map(|place| place.expect("every node is in the scene")).collect()
    }
}

#[test]
fn glb_says_where_the_joints_are_and_shows_a_body_around_them() {
    const METRES: f64 = 0.3048;
    let set = set();
    let rig = rig(&set);
    let takes = [0, 2].map(|clip| Take::of_clip(&set, rig, clip, Bones::Skeleton));
    let mut bytes = Vec::new();
    glb::write([0, 2].map(|clip| glb::Track::of_clip(&set, rig, clip, Bones::Skeleton)).into_iter(), &mut bytes)
        .unwrap();
    let file = Glb::parse(&bytes);
    let names: Vec<&str> = file.json["nodes"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
    for (index, clip) in [0, 2].into_iter().enumerate() {
        let aside = [0.75 * [-1.0, 1.0][index], 0.0, 0.0];
        let first = names.iter().position(|name| *name == takes[index].name).unwrap() + 1;
        for frame in [0, 100, 250] {
            let got = file.positions(frame);
            let want = &world::poses(&set, clip)[frame].positions;
            for (joint, want) in want.iter().enumerate() {
                assert_eq!(names[first + joint], rig.skeleton.names[joint]);
                let want = add(want.map(|x| METRES * x), aside);
                assert!(length(sub(got[first + joint], want)) < METRES * tolerance(rig), "clip {clip}, frame {frame}");
            }
        }
    }

    // The first body's vertices lie about its first pose, and its triangles face outward.
    let primitive = &file.json["meshes"][0]["primitives"][0];
    let positions = file.floats(&primitive["attributes"]["POSITION"], 3);
    let normals = file.floats(&primitive["attributes"]["NORMAL"], 3);
    let vector = |row: &Vec<f64>| -> Vec3 { [row[0], row[1], row[2]] };
    let joints = &world::poses(&set, 0)[0].positions;
    let near = |v: Vec3| joints.iter().any(|joint| length(sub(v, joint.map(|x| METRES * x))) < 0.6);
    assert!(positions.iter().all(|v| near(vector(v))));
    for (solid, corners) in positions.chunks_exact(24).enumerate() {
        let middle = corners.iter().map(vector).fold([0.0; 3], add).map(|x| x / 24.0);
        for (corner, normal) in corners.iter().zip(&normals[24 * solid..]) {
            let outward: f64 = sub(vector(corner), middle).iter().zip(normal).map(|(a, b)| a * b).sum();
            assert!(outward > 0.0, "solid {solid}");
        }
    }
}
