//! A made-up file of each format of motion, and files of it that are wrong.
#![allow(dead_code)] // each test uses a part
use mvae_fast::data::synth;
use mvae_fast::exchange::export::{self, Take};
use mvae_fast::motion::local::Bones;
use mvae_fast::motion::source::expmap::{ExpmapJoint, ExpmapSkeleton};
use mvae_fast::motion::vector::{Vec3, add};
use ndarray::{Array2, arr0, arr1};
use ndarray_npy::NpzWriter;
use std::io::Cursor;
use std::path::Path;

/// Frames of an example.
const FRAMES: usize = 60;

/// A file of a format.
pub struct Example {
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The skeleton that belongs to it.
    pub skeleton: Option<ExpmapSkeleton>,
    /// The motion in another format.
    pub twin: Option<Box<Example>>,
    /// Files that are wrong or come with the wrong skeleton, and words of the error.
    pub wrong: Vec<(Vec<u8>, Option<ExpmapSkeleton>, &'static str)>,
}

/// An example of each format.
pub fn examples() -> [Example; 3] {
    [bvh(), expmap(), amass()]
}

fn bvh() -> Example {
    let set = synth::locomotion_in_clips(FRAMES, 30, 3);
    let text = export::bvh::text(&Take::of_clip(&set, set.rig.as_ref().unwrap(), 0, Bones::Skeleton));
    let wrong = vec![
        (text.replacen("ROOT", "LIMB", 1).into_bytes(), None, "line 2: found 'LIMB', expected ROOT"),
        (b"motion".to_vec(), None, "line 1: found 'motion', expected HIERARCHY"),
    ];
    Example { name: "walk.bvh", bytes: text.into_bytes(), skeleton: None, twin: None, wrong }
}

fn expmap() -> Example {
    let skeleton = cmu();
    let width = 3 + 3 * skeleton.joints.len();
    let row = |frame: usize| {
        let at = |i: usize| match i {
            0..3 => [0.02 * frame as f64, 17.0, 0.3 * frame as f64][i],
            _ => 0.2 * (0.1 * frame as f64 + i as f64).sin(),
        };
        (0..width).map(|i| format!("{:.6}", at(i))).collect::<Vec<_>>().join(",")
    };
    let bytes = (0..FRAMES).map(row).collect::<Vec<_>>().join("\n").into_bytes();
    let wrong = vec![
        (bytes.clone(), None, "lines of numbers without a skeleton; give --skeleton FILE.toml"),
        (b"1,2,3\n".to_vec(), Some(skeleton.clone()), "line 1: 3 numbers, expected 117"),
    ];
    Example { name: "walk.txt", bytes, skeleton: Some(skeleton), twin: None, wrong }
}

fn cmu() -> ExpmapSkeleton {
    ExpmapSkeleton::load(Path::new("cmu")).unwrap()
}

/// Joints of SMPL with parents, and places on them: metres, y up, facing z.
const PERSON: [(&str, usize, Vec3); 22] = [
    ("Hips", 0, [0.0, -0.22, 0.03]),
    ("LeftUpLeg", 0, [0.07, -0.09, 0.0]),
    ("RightUpLeg", 0, [-0.07, -0.09, 0.0]),
    ("Spine", 0, [0.0, 0.11, -0.03]),
    ("LeftLeg", 1, [0.035, -0.375, 0.0]),
    ("RightLeg", 2, [-0.035, -0.375, 0.0]),
    ("Spine1", 3, [0.0, 0.135, 0.0]),
    ("LeftFoot", 4, [-0.014, -0.4, -0.04]),
    ("RightFoot", 5, [0.014, -0.4, -0.04]),
    ("Spine2", 6, [0.0, 0.05, 0.025]),
    ("LeftToe", 7, [0.026, -0.055, 0.12]),
    ("RightToe", 8, [-0.026, -0.055, 0.12]),
    ("Neck", 9, [0.0, 0.21, -0.04]),
    ("LeftShoulder", 9, [0.08, 0.12, -0.035]),
    ("RightShoulder", 9, [-0.08, 0.12, -0.035]),
    ("Head", 12, [0.0, 0.065, 0.05]),
    ("LeftArm", 13, [0.09, 0.03, -0.01]),
    ("RightArm", 14, [-0.09, 0.03, -0.01]),
    ("LeftForeArm", 16, [0.26, -0.01, -0.02]),
    ("RightForeArm", 17, [-0.26, -0.01, -0.02]),
    ("LeftHand", 18, [0.25, 0.01, 0.0]),
    ("RightHand", 19, [-0.25, 0.01, 0.0]),
];

/// A walk at 60 frames a second. The clip states that; the skeleton states another rate.
fn amass() -> Example {
    let joint = |at: usize| {
        let (name, parent, offset) = PERSON[at];
        let parent = (at > 0).then(|| PERSON[parent].0.to_owned());
        ExpmapJoint { name: name.to_owned(), parent, offset }
    };
    let joints = (0..PERSON.len()).map(joint).collect();
    let skeleton = ExpmapSkeleton { fps: 25.0, row_vectors: false, betas: Some(vec![1.0, 0.0]), joints };

    let turn = |(frame, at): (usize, usize)| {
        let phase = 0.1 * frame as f64;
        match (at / 3, at % 3) {
            (0, 0) => std::f64::consts::FRAC_PI_2, // the model is y up, AMASS z up
            (joint @ (1 | 2), 0) => {
                if joint == 1 {
                    -0.5 * phase.sin()
                } else {
                    0.5 * phase.sin()
                }
            }
            (joint, axis) => 0.1 * (phase + (joint + axis) as f64).sin(),
        }
    };
    let poses = Array2::from_shape_fn((FRAMES, 156), turn);
    let trans = Array2::from_shape_fn((FRAMES, 3), |(frame, axis)| [0.0, -0.02 * frame as f64, 1.22][axis]);
    let file = |poses: &Array2<f64>, trans: &Array2<f64>, betas: f64| {
        npz(|npz| {
            npz.add_array("trans", trans).unwrap();
            npz.add_array("betas", &arr1(&[betas, 0.0])).unwrap();
            npz.add_array("mocap_framerate", &arr0(60.0)).unwrap();
            npz.add_array("poses", poses).unwrap();
        })
    };
    let bytes = file(&poses, &trans, 1.0);

    let row = |frame: usize| {
        let place = add(PERSON[0].2, [0, 1, 2].map(|axis| trans[[frame, axis]]));
        let turns = (0..66).map(|at| poses[[frame, at]]);
        place.into_iter().chain(turns).map(|x| format!("{x:.6}")).collect::<Vec<_>>().join(" ")
    };
    let text = (0..FRAMES).map(row).collect::<Vec<_>>().join("\n").into_bytes();
    let at_60 = Some(ExpmapSkeleton { fps: 60.0, ..skeleton.clone() });
    let twin = Example { name: "walk_poses.txt", bytes: text, skeleton: at_60, twin: None, wrong: Vec::new() };

    let with = |bytes: Vec<u8>, says| (bytes, Some(skeleton.clone()), says);
    let narrow = poses.slice_axis(ndarray::Axis(1), (..63).into()).to_owned();
    let shorter = trans.slice_axis(ndarray::Axis(0), (1..).into()).to_owned();
    let mut damaged = poses.clone();
    damaged[[3, 5]] = f64::NAN;
    let mut longer = bytes.clone();
    let at = longer.windows(9).rposition(|window| window == b"(60, 156)").unwrap();
    longer[at..at + 9].copy_from_slice(b"(99, 156)");
    let whole = npz(|npz| {
        npz.add_array("trans", &trans).unwrap();
        npz.add_array("poses", &poses.mapv(|x| x as i32)).unwrap();
    });
    let wrong = vec![
        (bytes.clone(), None, "is an AMASS file without a skeleton; write one with examples/amass.py"),
        (bytes.clone(), Some(cmu()), "--skeleton names other joints than the first 22 of SMPL"),
        with(file(&narrow, &trans, 1.0), "poses is <f8 [60, 63]; expected [frames, 66 or more]"),
        with(file(&poses, &poses, 1.0), "trans is <f8 [60, 156]; expected [frames, 3]"),
        with(file(&poses, &shorter, 1.0), "trans has 59 frames, but poses 60"),
        with(file(&damaged, &trans, 1.0), "poses[3, 5] is NaN, expected a finite number"),
        with(file(&poses, &trans, 1.1), "betas: another person"),
        with(longer, "poses: its header claims <f8 [99, 156]"),
        with(whole, "poses is <i4 [60, 156]; save it as float64 or float32"),
    ];
    let name = "walk_poses.npz";
    Example { name, bytes, skeleton: Some(skeleton), twin: Some(Box::new(twin)), wrong }
}

/// An npz file of the arrays that `add` adds.
fn npz(add: impl FnOnce(&mut NpzWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    add(&mut npz);
    npz.finish().unwrap().into_inner()
}
