//! Import of motion capture as a training set. Files of known poses, written here in all the
//! variants found in practice, come back as the features of those poses. Broken files are refused
//! with the line. Real files agree with the results of other programs.
use crate::formats::{Example, examples};
use flate2::{Compression, write::GzEncoder};
use lzma_rust2::{XzOptions, XzWriter};
use mvae_fast::data::synth::{self, FRAME_SIZE};
use mvae_fast::data::{Dataset, npz};
use mvae_fast::exchange::export::{Take, bvh as export};
use mvae_fast::exchange::import::{By, ImportOptions, Imported, import};
use mvae_fast::motion::features::{self, Part};
use mvae_fast::motion::joint_map::JointMap;
use mvae_fast::motion::local::Bones;
use mvae_fast::motion::mirror::Mirror;
use mvae_fast::motion::reference::JOINT_NAMES;
use mvae_fast::motion::source::FORMATS;
use mvae_fast::motion::source::expmap::ExpmapSkeleton;
use mvae_fast::motion::units::{Scale, Unit, Up};
use mvae_fast::motion::vector::{Axes, IDENTITY, Vec3, add, apply, apply_inverse, scale, sub, transposed};
use mvae_fast::motion::{Pose, Root, Skeleton};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const METRES: f64 = 0.3048;

/// The way in which a file is written.
#[derive(Clone)]
struct Style {
    /// Rotation channels of each joint, taken in turn, as in `ZXY`.
    orders: Vec<&'static str>,
    line_ends: Vec<&'static str>,
    /// True for position channels on every joint; offsets then mean nothing.
    positions: bool,
    /// True for a root at rest above the hips.
    constant_root: bool,
    unit: Unit,
    up: Up,
    frame_time: &'static str,
    prefix: &'static str,
    /// True for a pose inserted before the first frame.
    inserted: bool,
    /// Bytes that some editors put before the text.
    mark: &'static str,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            orders: vec!["ZXY"],
            line_ends: vec!["\n"],
            positions: false,
            constant_root: false,
            unit: Unit::Cm,
            up: Up::Y,
            frame_time: "0.0333333",
            prefix: "",
            inserted: false,
            mark: "",
        }
    }
}

/// Angles about the axes of `order` (as in `ZXY`), degrees, whose rotations in sequence give `r`.
fn angles(r: &Axes, order: &str) -> [f64; 3] {
    let [i, j, k] = [0, 1, 2].map(|at| "XYZ".find(&order[at..=at]).unwrap());
    let e = if (i + 1) % 3 == j { 1.0 } else { -1.0 };
    let at = |row: usize, column: usize| r[column][row];
    let b = (e * at(i, k)).clamp(-1.0, 1.0).asin();
    let a = (-e * at(j, k)).atan2(at(k, k));
    let c = (-e * at(i, j)).atan2(at(i, i));
    [a, b, c].map(f64::to_degrees)
}

/// A BVH file of these poses.
fn bvh(skeleton: &Skeleton, poses: &[Pose], style: &Style) -> String {
    let factor = METRES / style.unit.metres();
    let to_y = IDENTITY.map(|axis| style.up.turned(axis));
    let turned = |v: Vec3| apply_inverse(&to_y, v);
    let world = |v: Vec3| scale(turned(v), factor);
    let mut ends = style.line_ends.iter().cycle();
    let mut text = style.mark.to_owned();
    let mut line = |content: &str| text.extend([content, ends.next().unwrap()]);
    line("HIERARCHY");
    let mut order = Vec::new();
    if style.constant_root {
        line("ROOT Body.Root");
        line("{");
        line("  OFFSET 0 0 0");
        line("  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation ");
    }
    /// Writes a joint and the joints below it.
    fn joint(
        skeleton: &Skeleton,
        style: &Style,
        at: usize,
        line: &mut impl FnMut(&str),
        order: &mut Vec<usize>,
        factor: f64,
    ) {
        let root = order.is_empty() && !style.constant_root;
        let channels = style.orders[order.len() % style.orders.len()];
        order.push(at);
        line(&format!("\t{} {}{}", if root { "ROOT" } else { "JOINT" }, style.prefix, skeleton.names[at]));
        line("\t{");
        let [x, y, z] = if style.positions { [7.0, -8.0, 9.0] } else { scale(skeleton.offsets[at], factor) };
        line(&format!("\t\tOFFSET {x:.9} {y:.9} {z:.9}"));
        let moves = at == skeleton.hips || style.positions;
        let turns: String = channels.chars().map(|axis| format!(" {axis}rotation")).collect();
        let places = if moves { " Xposition Yposition Zposition" } else { "" };
        line(&format!("\t\tCHANNELS {}{places}{turns}  ", if moves { 6 } else { 3 }));
        let children: Vec<usize> = (0..skeleton.len()).filter(|&child| skeleton.parents[child] == Some(at)).collect();
        for &child in &children {
            joint(skeleton, style, child, line, order, factor);
        }
        if children.is_empty() {
            line("\t\tEnd Site");
            line("\t\t{");
            line("\t\t\tOFFSET .5 0 -1e-3");
            line("\t\t}");
        }
        line("\t}");
    }
    joint(skeleton, style, skeleton.hips, &mut line, &mut order, factor);
    if style.constant_root {
        line("}");
    }
    line("MOTION");
    line(&format!("Frames: {}", poses.len() + usize::from(style.inserted)));
    line(&format!("Frame Time: {}", style.frame_time));
    let rest = Pose {
        positions: poses[0].positions.iter().map(|p| [p[0], p[1], p[2] + 2.0]).collect(),
        axes: vec![[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]; skeleton.len()],
    };
    for pose in style.inserted.then_some(&rest).into_iter().chain(poses) {
        let mut numbers = String::new();
        if style.constant_root {
            numbers.push_str("0.0 0 -0 0 0. .0 ");
        }
        for (nth, &at) in order.iter().enumerate() {
            let parent = skeleton.parents[at];
            let axes = pose.axes[at].map(turned);
            let local = parent.map_or(axes, |parent| {
                let above = transposed(&pose.axes[parent].map(turned));
                axes.map(|axis| apply(&above, axis))
            });
            if at == skeleton.hips || style.positions {
                let place = parent.map_or(world(pose.positions[at]), |parent| {
                    let above = pose.axes[parent].map(turned);
                    apply_inverse(&above, sub(world(pose.positions[at]), world(pose.positions[parent])))
                });
                place.iter().for_each(|x| write!(numbers, "{x:.9} ").unwrap());
            }
            for angle in angles(&local, style.orders[nth % style.orders.len()]) {
                // Some programs leave the zero before the point out.
                let angle = format!("{angle:.9}");
                write!(numbers, "{} ", angle.strip_prefix("0.").map_or(angle.clone(), |rest| format!(".{rest}")))
                    .unwrap();
            }
        }
        line(&numbers);
    }
    text
}

/// A synthetic person, its poses clip by clip, and their features.
fn motion(frames: usize, seed: u64) -> (Skeleton, Vec<Vec<Pose>>, Dataset) {
    let set = synth::locomotion(frames, seed);
    let skeleton = set.rig.as_ref().unwrap().skeleton.clone();
    (skeleton, synth::world_clips(frames, seed).collect(), set)
}

/// The map that keeps the reference's order.
fn reference_map() -> JointMap {
    JointMap {
        name: "test".into(),
        joints: JOINT_NAMES.map(str::to_owned).to_vec(),
        hips: "Hips".into(),
        toes: ["LeftToeBase".into(), "RightToeBase".into()],
        up_legs: ["LeftUpLeg".into(), "RightUpLeg".into()],
    }
}

fn options() -> ImportOptions {
    ImportOptions { map: Some(reference_map()), keep_floor: true, threads: 2, ..ImportOptions::default() }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
    fn import(&self, options: &ImportOptions) -> Imported {
        import(&[self.0.path().to_owned()], options).unwrap()
    }
}

/// The set of an import that refused no file.
fn whole(imported: Imported) -> Dataset {
    assert!(imported.refused.is_empty(), "{:?}", imported.refused);
    imported.set
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_way_to_write_the_same_motion_reads_the_same() {
    let (skeleton, clips, expected) = motion(120, 7);
    let every = vec!["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"];
    let styles = [
        Style::default(),
        Style { orders: every.clone(), ..Style::default() },
        Style { line_ends: vec!["\r\n", "\n", "\r", "\r\n\r\n"], frame_time: ".0333333", ..Style::default() },
        Style { positions: true, orders: every.clone(), ..Style::default() },
        Style { constant_root: true, positions: true, ..Style::default() },
        Style { up: Up::Z, unit: Unit::M, ..Style::default() },
        Style { up: Up::Z, unit: Unit::Inch, constant_root: true, orders: every.clone(), ..Style::default() },
        Style { unit: Unit::Asf, prefix: "rig.v2:", ..Style::default() },
        Style { unit: Unit::Mm, inserted: true, ..Style::default() },
        Style { unit: Unit::Ft, line_ends: vec!["  \r\n"], ..Style::default() },
        Style { mark: "\u{feff}", ..Style::default() },
    ];
    for (at, style) in styles.iter().enumerate() {
        let folder = Folder::new();
        folder.file("walk.bvh", bvh(&skeleton, &clips[0], style));
        let set = whole(folder.import(&options()));
        let off = largest_difference(&set.frames, &expected.frames);
        assert!(off < 2e-5, "style {at}: {off}");
        let rig = set.rig.unwrap();
        assert_eq!((rig.skeleton.parents, rig.fps), (skeleton.parents.clone(), 30.0), "style {at}");
        let bones = rig.skeleton.offsets.iter().flatten().zip(skeleton.offsets.iter().flatten());
        assert!(bones.fold(0.0, |off: f64, (a, b)| off.max((a - b).abs())) < 1e-5, "style {at}");
        let root = expected.clip_roots[0];
        let found = set.clip_roots[0];
        assert!((found.x - root.x).abs() + (found.z - root.z).abs() + (found.facing - root.facing).abs() < 1e-4);
    }
}

#[test]
fn without_a_map_joints_are_found_by_their_names() {
    let (skeleton, clips, expected) = motion(60, 8);
    let names = |swap: &dyn Fn(&str) -> String| Skeleton {
        names: skeleton.names.iter().map(|name| swap(name)).collect(),
        ..skeleton.clone()
    };
    let blender = names(&|name| {
        let name = name.replace("UpLeg", "thigh").replace("ToeBase", "toe");
        match (name.strip_prefix("Left"), name.strip_prefix("Right")) {
            (Some(rest), _) => format!("{rest}.L"),
            (_, Some(rest)) => format!("{rest}.R"),
            _ => name,
        }
    });
    let prefixed = names(&|name| match (name.strip_prefix("Left"), name.strip_prefix("Right")) {
        (Some("UpLeg"), _) => "lfemur".into(),
        (_, Some("UpLeg")) => "rfemur".into(),
        (Some(rest), _) => format!("l_{rest}"),
        (_, Some(rest)) => format!("r_{rest}"),
        _ => name.into(),
    });
    for skeleton in [&skeleton, &blender, &prefixed] {
        let folder = Folder::new();
        folder.file("walk.bvh", bvh(skeleton, &clips[0], &Style::default()));
        let set = whole(folder.import(&ImportOptions { map: None, ..options() }));
        let rig = set.rig.as_ref().unwrap();
        let [toe, leg] = [rig.skeleton.toes[0], rig.skeleton.up_legs[1]].map(|joint| &rig.skeleton.names[joint]);
        assert_eq!([toe, leg], [&skeleton.names[0], &skeleton.names[15]]);
        assert_eq!((rig.skeleton.hips, rig.skeleton.parents[0]), (0, None), "file order: hips first");
        assert_eq!(largest_difference(&set.frames[..3], &expected.frames[..3]), 0.0);
    }
}

#[test]
fn frames_are_resampled() {
    let (skeleton, clips, _) = motion(90, 9);
    let folder = Folder::new();
    folder.file("walk.bvh", bvh(&skeleton, &clips[0], &Style::default()));
    let half = whole(folder.import(&ImportOptions { fps: 15.0, ..options() }));
    let mut expected = Vec::new();
    let every_second: Vec<&Pose> = clips[0].iter().step_by(2).collect();
    every_second.windows(2).for_each(|pair| features::push(&mut expected, &skeleton, pair[0], pair[1]));
    assert!(largest_difference(&half.frames, &expected) < 2e-5);
    assert_eq!(half.rig.unwrap().fps, 15.0);

    // At twice the rate, bones keep their lengths between frames, and every second frame is one of
    // the file.
    let double = whole(folder.import(&ImportOptions { fps: 60.0, ..options() }));
    assert_eq!(double.num_frames(), 2 * 90);
    let rig = double.rig.as_ref().unwrap();
    let loose = mvae_fast::motion::rig::looseness(&rig.skeleton, &double.frames);
    assert!(loose.iter().all(|&off| off < 1e-5), "{loose:?}");
    let same = whole(folder.import(&options()));
    let odd: Vec<f32> = double.frames.chunks_exact(FRAME_SIZE).skip(1).step_by(2).flatten().copied().collect();
    let position = features::slot(Part::Position, 0, 22);
    for (frame, (odd, same)) in odd.chunks_exact(FRAME_SIZE).zip(same.frames.chunks_exact(FRAME_SIZE)).enumerate() {
        let off = largest_difference(&odd[position..position + 66], &same[position..position + 66]);
        assert!(off < 1e-5, "every second frame is one of the file: frame {frame} is {off} off");
    }
}

#[test]
fn compressed_files_and_folders() {
    let (skeleton, clips, expected) = motion(600, 10);
    let folder = Folder::new();
    let texts: Vec<String> = clips.iter().map(|poses| bvh(&skeleton, poses, &Style::default())).collect();
    assert_eq!(texts.len(), 2);
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(texts[0].as_bytes()).unwrap();
    folder.file("a/one.bvh.gz", gz.finish().unwrap());
    let mut xz = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    xz.write_all(texts[1].as_bytes()).unwrap();
    folder.file("b/c/two.BVH.xz", xz.finish().unwrap());
    folder.file("b/readme.txt", "1 2 3");
    let set = whole(folder.import(&options()));
    assert!(largest_difference(&set.frames, &expected.frames) < 2e-5);
    assert_eq!(set.clip_names, ["a/one", "b/c/two"]);
    assert_eq!(set.rig.unwrap().sources, ["a/one.bvh.gz", "b/c/two.BVH.xz"]);
    assert_eq!(set.end_indices, expected.end_indices);
    for threads in [1, 3] {
        assert_eq!(whole(folder.import(&ImportOptions { threads, ..options() })).frames, set.frames);
    }
}

/// Names of clips.
#[test]
fn clips_of_one_name_are_told_apart_and_no_file_is_taken_twice() {
    let (skeleton, clips, _) = motion(20, 16);
    let folder = Folder::new();
    let text = bvh(&skeleton, &clips[0], &Style::default());
    for name in ["a/x/walk.bvh", "b/x/walk.bvh", "b/run.bvh"] {
        folder.file(name, &text);
    }
    let names = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path(path)).collect();
        let imported = import(&paths, &options()).unwrap();
        let repeated = imported.report.repeated;
        (whole(imported).clip_names, repeated)
    };
    assert_eq!(names(&["a/x", "b/x/walk.bvh", "b/run.bvh"]).0, ["a/x/walk", "b/x/walk", "run"]);
    assert_eq!(names(&["a", "b"]), (["a/x/walk", "run", "b/x/walk"].map(str::to_owned).to_vec(), 0));
    assert_eq!(names(&["a/x/walk.bvh", "a", "b/../a/x/walk.bvh"]), (vec!["walk".into()], 2));
}

#[test]
fn clips_are_put_on_one_floor() {
    let (skeleton, clips, expected) = motion(1200, 11);
    let folder = Folder::new();
    for (clip, poses) in clips.iter().enumerate() {
        let mut poses = poses.clone();
        if clip == 1 {
            poses.iter_mut().flat_map(|pose| &mut pose.positions).for_each(|position| position[1] += 0.3);
        }
        folder.file(&format!("{clip}.bvh"), bvh(&skeleton, &poses, &Style::default()));
    }
    let kept = whole(folder.import(&options()));
    let imported = folder.import(&ImportOptions { keep_floor: false, ..options() });
    assert_eq!((imported.report.floor.moved, imported.report.floor.clips), (1, 4));
    assert!(imported.report.to_string().contains("1 of 4 clips were moved"), "{}", imported.report);
    let levelled = whole(imported);
    assert!(largest_difference(&kept.frames, &expected.frames) > 0.29);
    assert!(largest_difference(&levelled.frames, &expected.frames) < 0.06, "2 cm");
}

/// One line of each kind that can be wrong, its replacement, and the expected message.
#[test]
fn broken_files_are_refused_by_line() {
    let (skeleton, clips, _) = motion(20, 12);
    let good = bvh(&skeleton, &clips[0], &Style::default());
    let line_of = |start: &str| good.lines().position(|line| line.trim_start().starts_with(start)).unwrap();
    let frames = line_of("Frame Time") + 1;
    let cases: [(usize, &str, &str); 16] = [
        (0, "HIERARCHIE", "found 'HIERARCHIE', expected HIERARCHY"),
        (1, "ROOT", "expected a name"),
        (2, "(", "expected {"),
        (line_of("OFFSET"), "OFFSET 1 two 3", "found 'two', expected OFFSET and three finite numbers"),
        (line_of("OFFSET"), "OFFSET 1 nan 3", "found 'nan'"),
        (line_of("CHANNELS"), "CHANNELS 7 Xposition", "a number of channels from 0 to 6"),
        (line_of("CHANNELS"), "CHANNELS 3 Xrotation Xrotation Yrotation", "found 'Xrotation', expected"),
        (line_of("CHANNELS"), "CHANNELS 3 Xrotation Wrotation Yrotation", "found 'Wrotation', expected"),
        (line_of("JOINT"), "JOINT Hips", "a second joint 'Hips'"),
        (line_of("End"), "Ende", "expected JOINT, End Site or }"),
        (line_of("Frames"), "Frames: 0", "expected Frames: and how many, at least 1"),
        (line_of("Frames"), "Frames: 23", "ends after 21 frames, expected 23"),
        (line_of("Frames"), "Frames: 19", "Frames: says 19, but 21 lines follow"),
        (frames + 3, "1 2 3", "3 numbers, expected 69"),
        (frames + 4, &"1e5 ".repeat(70), "more than the 69 numbers"),
        (frames + 5, &format!("0x1p{}", " 0".repeat(68)), "found '0x1p', expected a finite number"),
    ];
    for (at, replacement, says) in cases {
        let folder = Folder::new();
        let mut lines: Vec<&str> = good.lines().collect();
        lines[at] = replacement;
        folder.file("bad.bvh", lines.join("\n"));
        let Imported { set, refused, .. } = folder.import(&options());
        assert_eq!((set.frames.len(), refused.len()), (0, 1), "{says}");
        let error = refused[0].to_string();
        assert!(error.contains("bad.bvh: line ") && error.contains(says) && !error.contains('\n'), "{error}");
        let line = at + 1;
        assert!(
            error.contains(&format!("line {line}:")) || says.contains("frames") || says.contains("lines"),
            "{error}"
        );
    }
}

#[test]
fn a_truncation_costs_the_last_frame_and_is_said_or_is_refused() {
    let (skeleton, clips, _) = motion(5, 12);
    let good = bvh(&skeleton, &clips[0], &Style::default());
    let mut read = 0;
    for length in (0..good.trim_end().len() - 40).step_by(97) {
        if let Ok(recording) = mvae_fast::motion::source::bvh::read(&good.as_bytes()[..length]) {
            assert!((4..6).contains(&recording.len()), "{length} of {} bytes: {}", good.len(), recording.len());
            assert!(!recording.notes.is_empty(), "{length} of {} bytes", good.len());
            read += 1;
        }
    }
    assert!(read > 0);
}

/// The lines that an import prints.
fn said_by(imported: &Imported) -> Vec<String> {
    imported.report.to_string().lines().map(str::to_owned).collect()
}

/// A file may have one line more or less than it states, and left-overs of programs and transfers
/// after the last line.
#[test]
fn small_faults_at_the_end_of_a_file_are_passed_over_and_said() {
    let (skeleton, clips, expected) = motion(20, 12);
    let good = bvh(&skeleton, &clips[0], &Style::default());
    let said = |frames: usize| good.replace("Frames: 21", &format!("Frames: {frames}"));
    let cut = |bytes: usize| good[..good.trim_end().len() - bytes].to_owned();
    let cases = [
        (said(20), 20, "frames: one more than the header says"),
        (said(22), 20, "frames: one less than the header says"),
        (format!("{good}\u{1a}"), 20, "end of file: NULs or an end mark (0x1A)"),
        (format!("{good}\r\n\u{1a}\u{1a}\r\n"), 20, "end of file: NULs or an end mark (0x1A)"),
        (format!("{good}{}", "\0".repeat(5 << 20)), 20, "end of file: NULs or an end mark (0x1A)"),
        (format!("{}{}", good.trim_end(), "\0".repeat(16)), 20, "end of file: NULs or an end mark (0x1A)"),
        (cut(40), 19, "last line: cut short, that frame is left out"),
        (format!("{} -", cut(40)), 19, "last line: cut short, that frame is left out"),
    ];
    for (text, frames, says) in cases {
        let folder = Folder::new();
        folder.file("walk.bvh", text);
        let imported = folder.import(&options());
        let lines = said_by(&imported);
        assert!(lines.iter().any(|line| line.starts_with(says) && line.ends_with(": walk.bvh")), "{says}: {lines:?}");
        let set = whole(imported);
        assert_eq!(set.num_frames(), frames, "{says}");
        assert!(largest_difference(&set.frames, &expected.frames[..frames * FRAME_SIZE]) < 2e-5, "{says}");
    }
    for (text, says) in [
        (format!("{good}\0\n1 2 3\n"), "text behind a NUL or an end mark"),
        (good.replace("HIERARCHY", "HIER\0ARCHY"), "line 1: "),
    ] {
        let folder = Folder::new();
        folder.file("walk.bvh", text);
        let error = folder.import(&options()).refused[0].to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn text_in_utf_16_is_read() {
    let (skeleton, clips, expected) = motion(30, 12);
    let text = bvh(&skeleton, &clips[0], &Style { prefix: "\u{4eba}\u{1f3c3}:", ..Style::default() });
    let little: fn(u16) -> [u8; 2] = u16::to_le_bytes;
    for (mark, order) in [("\u{feff}", little), ("\u{feff}", u16::to_be_bytes), ("", little), ("", u16::to_be_bytes)] {
        let folder = Folder::new();
        let bytes: Vec<u8> = format!("{mark}{text}").encode_utf16().flat_map(order).collect();
        folder.file("walk.bvh", bytes);
        assert!(largest_difference(&whole(folder.import(&options())).frames, &expected.frames) < 2e-5);
    }
}

/// A pose that is put before or after a motion: its axes are the world's, and its bones hang
/// together.
fn rest(skeleton: &Skeleton, pose: &Pose) -> Pose {
    let axes = vec![[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]; skeleton.len()];
    skeleton.pose(pose.positions[skeleton.hips], axes)
}

#[test]
fn inserted_poses_of_any_number_at_both_ends_are_left_out() {
    let (skeleton, clips, expected) = motion(120, 7);
    let poses = &clips[0];
    let [first, last] = [&poses[0], &poses[120]].map(|pose| rest(&skeleton, pose));
    for (frame_time, fps) in [("0.0333333", 30.0), ("0.0083333", 120.0)] {
        for (before, behind) in [(0, 0), (1, 0), (2, 0), (5, 1), (0, 3), (70, 90)] {
            let folder = Folder::new();
            let all = [vec![first.clone(); before], poses.clone(), vec![last.clone(); behind]].concat();
            folder.file("walk.bvh", bvh(&skeleton, &all, &Style { frame_time, ..Style::default() }));
            let imported = folder.import(&ImportOptions { fps, ..options() });
            let lines: Vec<String> =
                said_by(&imported).into_iter().filter(|line| line.contains("not of the motion")).collect();
            let set = whole(imported);
            assert_eq!(set.num_frames(), 120, "{before} before, {behind} behind, {fps} a second: {lines:?}");
            assert!(largest_difference(&set.frames, &expected.frames) < 2e-5);
            assert_eq!(lines.len(), usize::from(before > 0) + usize::from(behind > 0), "{lines:?}");
            for (count, line) in [before, behind].into_iter().filter(|count| *count > 0).zip(lines) {
                assert!(line.ends_with(&format!(": {count} of walk.bvh")), "{line}");
            }
        }
    }

    // With the flag, as many frames as given are left out at that end.
    let folder = Folder::new();
    let all = [vec![first; 2], poses.clone(), vec![last; 3]].concat();
    folder.file("walk.bvh", bvh(&skeleton, &all, &Style::default()));
    let frames = |skip_first, skip_last| {
        whole(folder.import(&ImportOptions { skip_first, skip_last, ..options() })).num_frames()
    };
    assert_eq!(frames(Some(0), Some(0)), 125);
    assert_eq!(frames(Some(4), None), 118);
    assert_eq!(frames(None, Some(1)), 122);
}

/// A filter that smooths over a jump rings beside it.
#[test]
fn what_rings_beside_an_inserted_pose_is_left_out() {
    let (skeleton, mut clips, expected) = motion(120, 7);
    for (nth, pose) in clips[0].iter_mut().take(5).enumerate() {
        let off = 2.0 * (-0.45_f64).powi(nth as i32 + 1);
        pose.positions.iter_mut().for_each(|place| place[2] += off);
    }
    let all = [vec![rest(&skeleton, &clips[0][0])], clips[0].clone()].concat();
    let folder = Folder::new();
    folder.file("walk.bvh", bvh(&skeleton, &all, &Style { frame_time: "0.0083333", ..Style::default() }));
    let set = whole(folder.import(&ImportOptions { fps: 120.0, ..options() }));
    let less = 120 - set.num_frames();
    assert!((3..8).contains(&less), "{less}");
    let off = largest_difference(&set.frames, &expected.frames[less * FRAME_SIZE..]);
    assert!(off < 0.05, "only the last swings are left: {off} ft");
}

#[test]
fn a_first_frame_that_is_left_out_is_not_measured() {
    let (skeleton, clips, expected) = motion(60, 7);
    let text = bvh(&skeleton, &clips[0], &Style { positions: true, inserted: true, ..Style::default() });
    let mut lines: Vec<&str> = text.lines().collect();
    let zeros = "0 ".repeat(6 * skeleton.len());
    let first = lines.iter().position(|line| line.starts_with("Frame Time")).unwrap() + 1;
    lines[first] = &zeros;
    for skip_first in [None, Some(1)] {
        let folder = Folder::new();
        folder.file("walk.bvh", lines.join("\n"));
        let set = whole(folder.import(&ImportOptions { skip_first, ..options() }));
        assert!(largest_difference(&set.frames, &expected.frames) < 2e-5);
    }
}

#[test]
fn the_rate_of_a_file_can_be_said_and_a_speed_that_no_body_has_is_a_warning() {
    let (skeleton, clips, expected) = motion(600, 15);
    let folder = Folder::new();
    for (clip, poses) in clips.iter().enumerate() {
        let style = Style { frame_time: "0.0083333", ..Style::default() };
        folder.file(&format!("{clip}.bvh"), bvh(&skeleton, poses, &style));
    }
    let warnings = |options: &ImportOptions| {
        let imported = folder.import(options);
        let lines: Vec<String> =
            said_by(&imported).into_iter().filter(|line| line.contains("give --source-fps N")).collect();
        (whole(imported), lines)
    };
    let (_, lines) = warnings(&ImportOptions { fps: 120.0, ..options() });
    assert!(lines.len() == 1 && lines[0].contains("its header says 120 frames a second"), "{lines:?}");
    let (set, lines) = warnings(&ImportOptions { source_fps: Some(30.0), ..options() });
    assert!(lines.is_empty() && largest_difference(&set.frames, &expected.frames) < 2e-5, "{lines:?}");

    let folder = Folder::new();
    folder.file("walk.bvh", bvh(&skeleton, &clips[0], &Style { frame_time: "0", ..Style::default() }));
    let error = folder.import(&options()).refused[0].to_string();
    assert!(error.contains("its frame time is 0") && error.contains("give --source-fps"), "{error}");
    let set = whole(folder.import(&ImportOptions { source_fps: Some(30.0), ..options() }));
    assert_eq!(set.num_frames(), clips[0].len() - 1);
}

#[test]
fn a_clip_is_cut_at_steps_that_no_body_makes() {
    let (skeleton, mut clips, _) = motion(120, 15);
    let import = |clips: &[Vec<Pose>], keep_torn| {
        let folder = Folder::new();
        let files = clips.iter().enumerate();
        files.for_each(|(clip, poses)| {
            drop(folder.file(&format!("{clip}.bvh"), bvh(&skeleton, poses, &Style::default())))
        });
        let imported = folder.import(&ImportOptions { keep_torn, ..options() });
        let lines = said_by(&imported).into_iter().filter(|line| line.contains("no body makes"));
        (lines.collect::<Vec<_>>(), whole(imported))
    };
    let (said, before) = import(&clips, false);
    assert!(said.is_empty());
    // The whole body is 30 m aside for one frame.
    let middle = clips[0].len() / 2;
    clips[0][middle].positions.iter_mut().for_each(|place| place[0] += 100.0);
    let frame = |line: &str| [1, 2].iter().any(|to| line.contains(&format!("to frame {}", middle + to)));
    let (said, kept) = import(&clips, true);
    let says = "1 file with steps that no body makes: in 0.bvh ";
    assert!(said.len() == 1 && said[0].contains(says) && frame(&said[0]), "{said:?}");
    assert_eq!(kept.num_frames(), before.num_frames());

    let (said, cut) = import(&clips, false);
    let says = "torn: 1 file cut at steps that no body makes, 6 frames left out (--torn keep): 0.bvh (";
    assert!(said.len() == 1 && said[0].starts_with(says) && frame(&said[0]), "{said:?}");
    assert_eq!(cut.clip_names[..2], ["0", "0 (2)"]);
    assert_eq!(cut.end_indices.len(), before.end_indices.len() + 1);
    // Row r leads from pose r to pose r + 1: the steps to and from the torn pose, two on each side.
    let size = before.frame_size;
    let [first, second] = [0..middle - 3, middle + 3..clips[0].len() - 1];
    let expected = [&before.frames[..first.end * size], &before.frames[second.start * size..]].concat();
    assert!(largest_difference(&cut.frames, &expected) < 2e-5);
    let mut root = before.clip_roots[0];
    for row in 1..=second.start {
        root = root.advanced([0, 1, 2].map(|at| f64::from(before.frame(row)[at])));
    }
    let found = cut.clip_roots[1];
    let off = [found.x - root.x, found.z - root.z, (found.facing - root.facing).sin()];
    assert!(off.iter().all(|off| off.abs() < 1e-3), "{found:?} {root:?}");

    // A file that is torn everywhere has another fault, and stays whole.
    clips[0].iter_mut().step_by(4).for_each(|pose| pose.positions.iter_mut().for_each(|place| place[0] += 100.0));
    let (said, whole) = import(&clips, false);
    assert!(said.len() == 1 && said[0].contains("mend the file there, or leave it out"), "{said:?}");
    assert_eq!(whole.num_frames(), before.num_frames());
}

#[test]
fn a_frame_time_of_few_digits_resamples_nothing() {
    let (skeleton, clips, expected) = motion(60, 7);
    for frame_time in ["0.033", "0.03337"] {
        let folder = Folder::new();
        folder.file("walk.bvh", bvh(&skeleton, &clips[0], &Style { frame_time, ..Style::default() }));
        let imported = folder.import(&options());
        let says = format!("frame time: {frame_time} s is taken for that of 30 frames a second (--source-fps)");
        assert!(said_by(&imported).contains(&says), "{}", imported.report);
        assert!(largest_difference(&whole(imported).frames, &expected.frames) < 2e-5);
    }
}

#[test]
fn a_file_of_one_frame_is_said_to_have_one() {
    let (skeleton, clips, _) = motion(20, 7);
    let folder = Folder::new();
    folder.file("rest.bvh", bvh(&skeleton, &clips[0][..1], &Style::default()));
    let error = folder.import(&options()).refused[0].to_string();
    assert!(error.ends_with("rest.bvh: has one frame; a clip needs two; leave it out"), "{error}");
    let folder = Folder::new();
    folder.file("walk.bvh", bvh(&skeleton, &clips[0][..4], &Style::default()));
    let error = folder.import(&ImportOptions { skip_first: Some(9), ..options() }).refused[0].to_string();
    assert!(error.contains("has 4 frames, 4 of them left out; a clip needs two"), "{error}");
}

/// Small files that would take much memory.
#[test]
fn a_file_takes_no_more_memory_than_its_size_allows() {
    let (skeleton, clips, _) = motion(20, 12);
    let text = bvh(&skeleton, &clips[0], &Style::default());
    let header = text.split("MOTION").next().unwrap();
    let frame = "0 ".repeat(69) + "\n";
    let many = format!("{header}MOTION\nFrames: 20000\nFrame Time: 0.01\n{}", frame.repeat(20_000));
    let folder = Folder::new();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(many.as_bytes()).unwrap();
    folder.file("bomb.bvh.gz", gz.finish().unwrap());
    let mut xz = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
    xz.write_all(many.as_bytes()).unwrap();
    folder.file("bomb.bvh.xz", xz.finish().unwrap());
    let refused = folder.import(&options()).refused;
    assert_eq!(refused.len(), 2);
    for error in refused {
        let error = error.to_string();
        assert!(error.contains("grows to more than 100 times its size (--max-expansion allows more)"), "{error}");
    }
    let allowed = folder.import(&ImportOptions { expansion: 1_000_000, ..options() });
    assert!(allowed.refused.iter().all(|error| !error.to_string().contains("grows")), "{:?}", allowed.refused);

    let joint = |at: usize| format!("JOINT j{at} {{\nOFFSET 0 1 0\nCHANNELS 0\nEnd Site {{\nOFFSET 0 1 0\n}}\n}}\n");
    let still: String = (0..100).map(joint).collect();
    let (before, behind) = text.split_once("JOINT").unwrap();
    let folder = Folder::new();
    folder.file("still.bvh", format!("{before}{still}JOINT{behind}"));
    let error = folder.import(&options()).refused[0].to_string();
    assert!(error.contains("122 joints have 69 channels in all, expected as many at least"), "{error}");
}

#[test]
fn motion_of_other_kinds_is_refused_with_a_way_out() {
    let folder = Folder::new();
    let array =
        |npz: &mut ndarray_npy::NpzWriter<fs::File>, name: &str| npz.add_array(name, &ndarray::arr1(&[0.0])).unwrap();
    let write = |name: &str, arrays: &[&str]| {
        let path = folder.path(name);
        let mut npz = ndarray_npy::NpzWriter::new(fs::File::create(&path).unwrap());
        arrays.iter().for_each(|name| array(&mut npz, name));
        npz.finish().unwrap();
        path
    };
    let mut humanml = b"\x93NUMPY\x01\x00v\x00".to_vec();
    humanml.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (199, 263), }\n");
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path("bvh.zip")).unwrap());
    zip.start_file("walks/1.bvh", zip::write::SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(b"PK\x03\x04").unwrap();
    let cases = [
        (folder.path("bvh.zip"), "a zip file of BVH files", "unpack it"),
        (folder.file("walk_poses.npz.gz", gz.finish().unwrap()), "a compressed npz", "decompress it"),
        (write("amass.npz", &["poses", "trans", "betas"]), "AMASS file", "amass.py"),
        (write("set.npz", &["data", "end_indices"]), "a motion file already", "mvae-fast train"),
        (write("other.npz", &["x"]), "holds x", "docs/features.md"),
        (folder.file("000001.npy", humanml), "HumanML3D", "inverse kinematics"),
        (folder.file("walk.fbx", b"Kaydara FBX Binary  \0"), "FBX", "export the motion as BVH"),
        (folder.file("walk.amc", b"#!OML:ASF\n:FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 0 0 0 0 0\n"), "(AMC)", "amc2bvh"),
        (folder.file("bare.amc", b"# from somewhere\n1\nroot 0 0 0 0 0 0\n"), "Acclaim", "amc2bvh"),
        (
            folder.file("who.asf", b"# AST/ASF file generated using VICON BodyLanguage\n:version 1.10\n"),
            "(ASF)",
            "amc2bvh",
        ),
        (folder.file("walk.vmd", b"Vocaloid Motion Data 0002\0\0"), "(VMD)", "MMD Tools"),
        (folder.file("walk.c3d", b"\x02\x50\x1a\0"), "C3D", "export BVH"),
        (folder.file("dance.pkl", b"\x80\x04\x95\x10"), "Python pickle", "smpl2bvh"),
        (folder.file("empty.bvh", b""), "is empty", "expected HIERARCHY"),
        (folder.file("numbers.txt", b"1,2,3\n"), "lines of numbers", "--skeleton"),
        (folder.path("missing.bvh"), "cannot be opened", "check the path"),
    ];
    for (path, what, mend) in cases {
        let imported = import(std::slice::from_ref(&path), &options()).unwrap();
        let error = imported.refused[0].to_string();
        assert!(error.contains(what) && error.contains(mend) && imported.set.frames.is_empty(), "{error}");
    }

    // For a folder without BVH files, the error names what is in it. A set to train on is
    // distinguished from files that one is made from.
    let amass = folder.file("amass/1.npz", fs::read(folder.path("amass.npz")).unwrap());
    let folder_of_amass = amass.parent().unwrap();
    let error = import(&[folder_of_amass.to_owned()], &options()).unwrap_err().to_string();
    assert!(error.contains("amass/1.npz: is an AMASS file") && error.contains("amass.py"), "{error}");
    for (path, what, mend) in [
        (amass.as_path(), "AMASS file", "amass.py"),
        (folder_of_amass, "is a folder", "mvae-fast data import FOLDER"),
        (&folder.path("000001.npy"), "HumanML3D", "inverse kinematics"),
        (&folder.path("bvh.zip"), "a zip file of BVH files", "unpack it"),
        (&folder.file("walk.bvh", "\u{feff} hierarchy\n"), "is a BVH file", "mvae-fast data import FILE"),
        (&folder.path("other.npz"), "no array data, it holds x", "a motion file holds data"),
    ] {
        let error = npz::read(path).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(mend), "{error}");
    }
}

#[test]
fn every_format_is_read_and_its_faults_are_named() {
    let examples = examples();
    let read = |name: &str, bytes: &[u8], skeleton: Option<ExpmapSkeleton>| {
        let folder = Folder::new();
        let path = folder.file(name, bytes);
        let options = ImportOptions { map: None, skeleton, skip_first: Some(0), skip_last: Some(0), ..options() };
        let [found, named] = [folder.0.path(), &path].map(|path| import(&[path.to_owned()], &options));
        (found, named.unwrap())
    };
    for format in &FORMATS {
        assert!(examples.iter().any(|example| format.is_named(example.name.as_ref())), "no example: {}", format.is);
    }
    for Example { name, bytes, skeleton, twin, wrong } in examples {
        let (found, named) = read(name, &bytes, skeleton.clone());
        let (set, found) = (whole(named), whole(found.unwrap()));
        assert!(set == found && set.num_frames() > 1, "{name}");
        assert_eq!(set.clip_names, [name.split('.').next().unwrap()]);
        if let Some(twin) = twin {
            let same = whole(read(twin.name, &twin.bytes, twin.skeleton).1);
            let off = largest_difference(&set.frames, &same.frames);
            assert!(off < 1e-4 && set.end_indices == same.end_indices, "{name}: {off} off its twin");
            assert_eq!(set.rig.unwrap().skeleton.names, same.rig.unwrap().skeleton.names);
        }
        for (bytes, skeleton, says) in wrong {
            let imported = read(name, &bytes, skeleton).1;
            let error = imported.refused[0].to_string();
            assert!(imported.set.frames.is_empty() && error.contains(says) && !error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn a_map_names_every_joint_once() {
    let (skeleton, clips, _) = motion(20, 17);
    let folder = Folder::new();
    folder.file("walk.bvh", bvh(&skeleton, &clips[0], &Style::default()));
    let twice = JointMap { joints: [reference_map().joints, vec!["Neck".into()]].concat(), ..reference_map() };
    let toes = JointMap { toes: ["LeftToeBase", "LeftToeBase"].map(str::to_owned), ..reference_map() };
    for (map, says) in [(twice, "two joints are named Neck"), (toes, "LeftToeBase is a joint of the left side and of")]
    {
        let error = folder.import(&ImportOptions { map: Some(map), ..options() }).refused[0].to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn exponential_maps() {
    // One joint's rotation goes through the file and the row-vector convention.
    let folder = Folder::new();
    let skeleton = ExpmapSkeleton::load(Path::new("cmu")).unwrap();
    assert_eq!(skeleton.joints.len(), 38);
    let line = |step: usize| {
        let mut numbers = vec![0.0; 3 + 3 * 38];
        (numbers[0], numbers[1], numbers[2]) = (0.1 * step as f64, 17.0, 0.0);
        numbers[4] = -std::f64::consts::FRAC_PI_2; // the hips turn left by a quarter: they face +x
        numbers[3 + 3 * 3] = if step == 0 { 0.5 } else { 0.0 }; // LeftLeg
        numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
    };
    let text: String = (0..13).map(|step| line(step) + "\r\n").collect();
    let path = folder.file("walk.txt", text);
    let options = ImportOptions { map: None, skeleton: Some(skeleton), skip_first: Some(0), ..options() };
    let set = whole(import(&[path], &options).unwrap());
    assert_eq!(
        (set.frame_size, set.num_frames()),
        (FRAME_SIZE, 3),
        "120 frames a second become 30, 22 joints are kept"
    );
    let rig = set.rig.as_ref().unwrap();
    assert_eq!(rig.skeleton.names, JOINT_NAMES);
    let frame = set.frame(1);
    let feet = Unit::Asf.metres() / METRES;
    assert!((frame[0] - (0.4 * feet) as f32).abs() < 1e-5 && frame[1].abs() < 1e-2, "{:?}", &frame[..3]);
    assert!(set.clip_roots[0].facing.abs() < 0.1, "{:?}", set.clip_roots);
    let hips = features::vector(frame, features::slot(Part::Position, rig.skeleton.hips, 22));
    assert!((hips[1] - 17.0 * feet).abs() < 1e-5);
    let [left, right] = rig.skeleton.toes.map(|toe| features::vector(frame, features::slot(Part::Position, toe, 22)));
    assert!(left[2] < -0.2 && right[2] > 0.2 && left[0] > 0.2, "left is left, toes are in front: {left:?} {right:?}");

    let wrong = folder.file("wrong.txt", "1,2,3\n");
    let error = import(&[wrong], &options).unwrap().refused[0].to_string();
    assert!(error.contains("line 1: 3 numbers, expected 117"), "{error}");
}

#[test]
fn mirrored_motion_is_motion() {
    let (skeleton, clips, expected) = motion(600, 13);
    let folder = Folder::new();
    clips.iter().enumerate().for_each(|(clip, poses)| {
        folder.file(&format!("{clip}.bvh"), bvh(&skeleton, poses, &Style::default()));
    });
    let set = whole(folder.import(&ImportOptions { mirror: true, ..options() }));
    assert_eq!((set.num_frames(), set.clip_names[2].as_str()), (1200, "0 (mirrored)"));
    let rig = set.rig.as_ref().unwrap();
    let (native, mirrored) = set.frames.split_at(set.frames.len() / 2);
    assert!(largest_difference(native, &expected.frames) < 2e-5);
    // It hangs together as the native motion does, and its mean axes are the native ones where
    // these are symmetric.
    let loose = mvae_fast::motion::rig::looseness(&rig.skeleton, mirrored);
    assert!(loose.iter().all(|&off| off < 1e-4), "{loose:?}");
    for frame in [3, 200, 555] {
        let (native, mirrored) = (expected.frame(frame), &mirrored[frame * FRAME_SIZE..][..FRAME_SIZE]);
        assert_eq!([mirrored[0], mirrored[1], mirrored[2]], [native[0], -native[1], -native[2]]);
        let toe = |frame: &[f32], joint| features::vector(frame, features::slot(Part::Velocity, joint, 22));
        let [x, y, z] = toe(native, 0);
        assert!(sub(toe(mirrored, 1), [x, y, -z]).iter().all(|off| off.abs() < 1e-4));
    }
    // Mirroring twice gives the original.
    let mirror = Mirror::find(&rig.skeleton, native).unwrap();
    let mut twice = Vec::new();
    mirrored.chunks_exact(FRAME_SIZE).for_each(|frame| mirror.push(&mut twice, frame));
    assert!(largest_difference(&twice, native) < 1e-6);
    // Places: integrating the mirrored root leads to the place in the mirrored world.
    let follow = |frames: &[f32], root: Root| {
        let motion = frames.chunks_exact(FRAME_SIZE).skip(1).map(|frame| [frame[0], frame[1], frame[2]].map(f64::from));
        motion.fold(root, |root, motion| root.advanced(motion))
    };
    let clip = set.end_indices[0] + 1;
    let end = follow(&native[..clip * FRAME_SIZE], set.clip_roots[0]);
    let mirrored_end = follow(&mirrored[..clip * FRAME_SIZE], set.clip_roots[2]);
    assert!((end.x - mirrored_end.x).abs() < 1e-3 && (end.z + mirrored_end.z).abs() < 1e-3, "{end:?} {mirrored_end:?}");
}

#[test]
fn features_give_the_poses_back() {
    let (skeleton, clips, set) = motion(600, 14);
    let mut root = Root::default();
    for (clip, range) in set.clips().into_iter().enumerate() {
        for (at, frame) in range.enumerate() {
            let row = set.frame(frame);
            root = if at == 0 { set.clip_roots[clip] } else { root.advanced([row[0], row[1], row[2]].map(f64::from)) };
            let (found, known) = (features::world_pose(row, &root), &clips[clip][at + 1]);
            let rebuilt = skeleton.pose(found.positions[skeleton.hips], found.axes.clone());
            for joint in 0..skeleton.len() {
                for found in [&found, &rebuilt] {
                    let off = sub(found.positions[joint], known.positions[joint]);
                    assert!(off.iter().all(|x| x.abs() < 3e-4), "clip {clip} frame {at} joint {joint}: {off:?}");
                }
            }
        }
    }
}

// ---- bodies as they are found ----

/// A synthetic walking person whose joints can be renamed, added and moved to other parents.
#[derive(Clone)]
struct Person {
    skeleton: Skeleton,
    poses: Vec<Pose>,
}

impl Person {
    fn new(seed: u64) -> Self {
        let (skeleton, clips, _) = motion(60, seed);
        Person { skeleton, poses: clips[0].clone() }
    }

    fn find(&self, name: &str) -> usize {
        self.skeleton.find(name).unwrap_or_else(|| panic!("{name} in {:?}", self.skeleton.names))
    }

    fn named(mut self, name: impl Fn(&str) -> String) -> Self {
        self.skeleton.names = self.skeleton.names.iter().map(|joint| name(joint)).collect();
        self
    }

    /// Adds a joint that does not move on its parent, at `[forward, up, right]` of the parent in
    /// the first pose, feet.
    fn with(mut self, name: &str, parent: &str, at: Vec3) -> Self {
        let parent = self.find(parent);
        let first = &self.poses[0];
        let world = apply(&Root::of(&self.skeleton, first).rotation(), at);
        let offset = apply_inverse(&first.axes[parent], world);
        for pose in &mut self.poses {
            pose.positions.push(add(pose.positions[parent], apply(&pose.axes[parent], offset)));
            pose.axes.push(pose.axes[parent]);
        }
        self.skeleton.names.push(name.into());
        self.skeleton.parents.push(Some(parent));
        self.skeleton.offsets.push(offset);
        self
    }

    /// Adds a joint at the place of another joint and makes it that joint's parent.
    fn above(mut self, name: &str, joint: &str) -> Self {
        let below = self.find(joint);
        self = self.with(name, joint, [0.0; 3]);
        let new = self.skeleton.len() - 1;
        self.skeleton.parents.swap(below, new);
        self.skeleton.parents[below] = Some(new);
        self.skeleton.offsets.swap(below, new);
        if below == self.skeleton.hips {
            (self.skeleton.parents[new], self.skeleton.hips) = (None, new);
        }
        self
    }

    /// Adds a joint that does not move at all, above all others.
    fn on(mut self, name: &str) -> Self {
        let top = self.skeleton.names[self.skeleton.hips].clone();
        self = self.above(name, &top);
        let root = self.skeleton.hips;
        for pose in &mut self.poses {
            (pose.positions[root], pose.axes[root]) = ([0.0; 3], IDENTITY);
        }
        self
    }

    fn hung(mut self, joint: &str, parent: &str) -> Self {
        let (joint, parent) = (self.find(joint), self.find(parent));
        let pose = &self.poses[0];
        let off = sub(pose.positions[joint], pose.positions[parent]);
        self.skeleton.offsets[joint] = apply_inverse(&pose.axes[parent], off);
        self.skeleton.parents[joint] = Some(parent);
        self
    }

    fn without(mut self, joint: &str) -> Self {
        let joint = self.find(joint);
        let after = |other: usize| if other > joint { other - 1 } else { other };
        for pose in &mut self.poses {
            pose.positions.remove(joint);
            pose.axes.remove(joint);
        }
        let Skeleton { names, parents, offsets, hips, toes, up_legs } = &mut self.skeleton;
        names.remove(joint);
        parents.remove(joint);
        offsets.remove(joint);
        parents.iter_mut().for_each(|parent| *parent = parent.map(after));
        *hips = after(*hips);
        [toes, up_legs].into_iter().flatten().for_each(|joint| *joint = after(*joint));
        self
    }

    /// The file, with places of all joints if `positions` is set.
    fn file(&self, style: &Style) -> String {
        bvh(&self.skeleton, &self.poses, style)
    }

    fn import(&self, style: &Style, asked: &ImportOptions) -> Imported {
        let folder = Folder::new();
        folder.file("walk.bvh", self.file(style));
        folder.import(asked)
    }

    fn found(&self) -> Imported {
        let found = self.import(&Style::default(), &free());
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        found
    }
}

/// Options without a map, so that joints are found.
fn free() -> ImportOptions {
    ImportOptions { map: None, ..options() }
}

/// Names of the left and right sides as `side` writes them; those of the middle as `middle` writes
/// them.
fn sided(middle: impl Fn(&str) -> String, side: impl Fn(usize, &str) -> String) -> impl Fn(&str) -> String {
    move |name| match (name.strip_prefix("Left"), name.strip_prefix("Right")) {
        (Some(rest), _) => side(0, rest),
        (_, Some(rest)) => side(1, rest),
        _ => middle(name),
    }
}

#[test]
fn hips_are_the_joint_below_which_the_whole_body_hangs() {
    let plain = Person::new(20);
    // Thighs on a pelvis of their own, at the place of the hips, with joints at one place between
    // them (MakeHuman, DAZ).
    let pelvis = plain.clone().above("Root", "Hips").hung("Spine", "Root").above("__LeftUpLeg", "LeftUpLeg");
    let pelvis = pelvis.above("__RightUpLeg", "RightUpLeg");
    let tail = pelvis.clone().with("Tail", "Root", [-0.3, 0.0, 0.0]).with("Tail1", "Tail", [-0.5, 0.0, 0.0]);
    // The names of a built-in map, with a tail.
    let mixamo = plain.clone().named(|name| if name == "Spine3" { "Head".into() } else { name.to_owned() });
    let fox = mixamo.clone().with("Tail", "Hips", [-0.3, 0.0, 0.0]).with("Tail1", "Tail", [-0.5, 0.0, 0.0]);
    let maps = [&mixamo, &fox].map(|person| person.found().report.map);
    assert_eq!(maps, [Some("lafan1, mixamo".to_owned()), None]);
    // A root on the floor with helper joints beside the body (Unreal), and bare roots.
    let floor = plain.clone().on("root").with("ik_foot_root", "root", [0.0; 3]);
    let floor = floor.with("ik_foot_l", "ik_foot_root", [0.0, 0.0, -0.3]).with("ik_hand_gun", "root", [0.0; 3]);
    let bare = plain.clone().on("World");
    let above = plain.clone().above("Armature", "Hips");
    // A body in two parts on a root on the floor.
    let parts = plain.clone().on("Base").hung("Spine", "Base");
    for (person, positions, joints, hips, left_out) in [
        (&plain, false, 22, "Hips", vec![]),
        (&pelvis, false, 25, "Root", vec![]),
        (&tail, false, 27, "Root", vec![]),
        (&fox, false, 24, "Hips", vec![]),
        (&floor, true, 22, "Hips", vec!["root", "ik_foot_root", "ik_foot_l", "ik_hand_gun"]),
        (&bare, true, 22, "Hips", vec!["World"]),
        (&above, false, 22, "Hips", vec!["Armature"]),
        (&parts, true, 22, "Hips", vec!["Base"]),
    ] {
        let found = person.import(&Style { positions, ..Style::default() }, &free());
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        let report = &found.report;
        assert_eq!((report.joints.len(), report.hips.as_str()), (joints, hips), "{report}");
        let named: Vec<&str> = report.left_out.iter().map(String::as_str).collect();
        assert_eq!(named.len(), left_out.len(), "{report}");
        assert!(left_out.iter().all(|joint| named.contains(joint)), "{report}");
        let line = report.to_string().lines().find(|line| line.starts_with("left out: ")).map(str::to_owned);
        let count = left_out.len();
        assert_eq!(line.is_some_and(|line| line.starts_with(&format!("left out: {count} joint"))), count > 0);
        assert_eq!(report.facing_share, plain.found().report.facing_share, "{report}");
        assert_eq!((report.units.name.as_str(), report.up.axis.as_str()), ("centimetres", "y"));
    }
}

#[test]
fn upper_legs_and_toes_are_where_a_body_has_them() {
    let plain = Person::new(21).with("Chin", "Neck", [0.1, 0.0, 0.0]); // no built-in map has it
    let forward = Person::new(21).found().report.facing_share;
    let leg = plain.found().report.legs[0];
    let both = |person: Person, change: &dyn Fn(Person, &str) -> Person| change(change(person, "Left"), "Right");
    let ankles = sided(str::to_owned, |side, rest| {
        let rest = rest.replace("UpLeg", "Hip").replace("Foot", "Ankle").replace("ToeBase", "Foot");
        format!("{rest}{}", ["Left", "Right"][side])
    });
    let hip_joints = both(plain.clone(), &|person, side| {
        let (hip, joint) = (format!("{}Hip", &side[..1]), format!("{}HipJoint", &side[..1]));
        let person = person.named(|name| name.replace(&format!("{side}UpLeg"), &hip));
        person.with(&joint, "Hips", [0.0; 3]).hung(&hip, &joint)
    });
    let twists = both(plain.clone(), &|person, side| {
        person.with(&format!("{side}UpLegTwist"), &format!("{side}UpLeg"), [0.0; 3])
    });
    let dummies =
        both(plain.clone(), &|person, side| person.above(&format!("{side}ToeDummy"), &format!("{side}ToeBase")));
    let dummies = both(dummies, &|person, side| {
        let (dummy, foot) = (format!("{side}ToeDummy"), format!("{side}Foot"));
        let person = person.without(&dummy).with(&dummy, &foot, [0.0; 3]);
        person.hung(&format!("{side}ToeBase"), &dummy)
    });
    let heels = both(plain.clone().named(|name| name.replace("ToeBase", "Front")), &|person, side| {
        let foot = format!("{side}Foot");
        person.with(&format!("{side}Back"), &foot, [-0.2, -0.3, 0.0])
    });
    for (person, up_leg, toe) in [
        (plain.clone(), "LeftUpLeg", "LeftToeBase"),
        (plain.clone().named(ankles), "HipLeft", "FootLeft"),
        (hip_joints, "LHip", "LeftToeBase"),
        (twists, "LeftUpLeg", "LeftToeBase"),
        (dummies, "LeftUpLeg", "LeftToeBase"),
        (heels, "LeftUpLeg", "LeftFront"),
    ] {
        let report = person.found().report;
        assert_eq!([&report.up_legs[0], &report.toes[0]], [up_leg, toe], "{report}");
        assert!((report.legs[0] - leg).abs() < 1e-3 && report.hip_width > 0.1, "{report}");
        assert_eq!(report.facing_share, forward, "{report}");
        assert!(report.warnings.is_empty(), "{report}");
    }
    // Legs at one place are refused. A map that names such legs, or swaps the sides, causes a
    // warning.
    let none = plain.clone().named(|name| name.replace("UpLeg", "Hip").replace("Leg", "Shin"));
    let [left, right] = ["LeftHip", "RightHip"].map(|name| none.find(name));
    let mut none = none;
    none.skeleton.offsets[left] = [0.0; 3];
    none.skeleton.offsets[right] = [0.0; 3];
    let refused = none.import(&Style::default(), &free()).refused[0].to_string();
    assert!(refused.contains("LeftHip and RightHip are no upper legs") && refused.contains("--map"), "{refused}");
    let map = JointMap { up_legs: ["LeftLeg", "LeftFoot"].map(str::to_owned), ..reference_map() };
    let warned = plain.import(&Style::default(), &ImportOptions { map: Some(map), ..options() }).report.to_string();
    assert!(warned.contains("\nwarning: ") && warned.contains("see up_legs and toes of the map"), "{warned}");
    let swapped = plain.clone().named(sided(str::to_owned, |side, rest| format!("{}{rest}", ["Right", "Left"][side])));
    let report = swapped.found().report;
    assert!(report.facing_share < Some(-0.9) && report.warnings[0].contains("the other way round"), "{report}");
}

#[test]
fn names_of_many_kinds_tell_left_from_right() {
    let plain = Person::new(22);
    let expected = plain.found();
    let letter = |side: usize| ["L", "R"][side];
    let word = |side: usize| ["Left", "Right"][side];
    let same = |name: &str| name.to_owned();
    type Named = Box<dyn Fn(&str) -> String>;
    let kinds: [Named; 10] = [
        Box::new(sided(same, move |side, rest| {
            format!("{}{}", rest.to_lowercase().replace("upleg", "thigh"), letter(side))
        })),
        Box::new(sided(
            |name| format!("Skeleton_{name}"),
            move |side, rest| format!("Skeleton_{}{}", letter(side), rest.replace("UpLeg", "Thigh")),
        )),
        Box::new(sided(same, move |side, rest| format!("__{}{}", letter(side).to_lowercase(), rest.to_lowercase()))),
        Box::new(sided(|name| format!("mixamorig{name}"), move |side, rest| format!("mixamorig{}{rest}", word(side)))),
        Box::new(sided(
            |name| format!("Bip01 {name}"),
            move |side, rest| format!("Bip01 {} {}", letter(side), rest.replace("UpLeg", "Thigh")),
        )),
        Box::new(sided(|name| format!("J_Bip_C_{name}"), move |side, rest| format!("J_Bip_{}_{rest}", letter(side)))),
        Box::new(sided(same, move |side, rest| {
            let rest = [("UpLeg", "足"), ("Leg", "ひざ"), ("Foot", "足首"), ("ToeBase", "つま先")]
                .into_iter()
                .fold(rest.to_owned(), |rest, (from, to)| rest.replace(from, to));
            format!("{}{rest}", ["左", "右"][side])
        })),
        // Names without a word for legs, with a side that is written in two ways.
        Box::new(sided(same, move |side, rest| {
            format!(
                "{}_{}",
                rest.replace("UpLeg", "Muslo").replace("Leg", "Pierna").replace("ToeBase", "Dedo"),
                letter(side)
            )
        })),
        Box::new(sided(same, move |side, rest| {
            if rest == "Hand" { format!("{}Hand", ["left_", "Right"][side]) } else { format!("{}{rest}", word(side)) }
        })),
        Box::new(sided(same, move |side, rest| {
            let rest =
                rest.replace("UpLeg", "HIP").replace("Leg", "KNEE").replace("Foot", "ANKLE").replace("ToeBase", "FOOT");
            format!("{rest}_{}", word(side).to_uppercase())
        })),
    ];
    for (kind, name) in kinds.iter().enumerate() {
        let person = plain.clone().named(name);
        let found = person.import(&Style::default(), &ImportOptions { mirror: true, ..free() });
        let (report, set) = (&found.report, &found.set);
        assert!(found.refused.is_empty() && report.joints.len() == 22, "{kind}: {:?} {report}", found.refused);
        assert_eq!((set.num_frames(), report.legs), (2 * expected.set.num_frames(), expected.report.legs), "{kind}");
        assert_eq!(report.facing_share, expected.report.facing_share, "{kind}: {report}");
        assert!(report.warnings.is_empty(), "{kind}: {report}");
    }
}

#[test]
fn a_joint_without_counterpart_is_named() {
    let mirror = ImportOptions { mirror: true, ..free() };
    let plain = Person::new(23);
    // A joint in the middle is its own image. Two joints on a left and a right joint are each
    // other's images.
    let middle = plain.clone().with("LeftLid", "Neck", [0.3, 0.3, 0.0]);
    let middle = middle.with("Ring", "LeftHand", [0.1, 0.0, 0.0]).with("Watch", "RightHand", [0.1, 0.0, 0.0]);
    let found = middle.import(&Style::default(), &mirror);
    assert_eq!(found.set.num_frames(), 2 * plain.found().set.num_frames());
    assert!(found.report.to_string().contains("LeftLid has no counterpart, lies in the middle"), "{}", found.report);
    // A joint at the side prevents the set from being mirrored, and the message names it.
    let aside = plain.with("LeftLid", "Neck", [0.0, 0.0, -0.4]);
    let folder = Folder::new();
    let path = folder.file("walk.bvh", aside.file(&Style::default()));
    let error = import(&[path], &mirror).unwrap_err().to_string();
    assert!(error.contains("LeftLid has no counterpart by its name, and is 11 cm to one side of Neck"), "{error}");
}

#[test]
fn other_files_have_the_joints_of_the_first_whatever_their_poses() {
    // Names without a word for legs; in the second file, legs are folded and arms reach further.
    let of_leg = |name: &str| ["UpLeg", "Leg", "Foot", "ToeBase"].iter().position(|end| name.ends_with(end));
    let side = |side: usize, rest: &str| {
        let rest = of_leg(rest).map_or(rest.to_owned(), |at| format!("Pata{at}"));
        format!("{}{rest}", ["Left", "Right"][side])
    };
    let person = Person::new(28).named(sided(str::to_owned, side));
    let mut folded = person.clone();
    for side in ["Left", "Right"] {
        let joints = [0, 1, 2, 3].map(|at| folded.find(&format!("{side}Pata{at}")));
        for pose in &mut folded.poses {
            let begin = pose.positions[joints[0]];
            joints.iter().for_each(|&joint| {
                pose.positions[joint] = add(begin, scale(sub(pose.positions[joint], begin), 0.3));
            });
        }
    }
    let folder = Folder::new();
    let style = Style { positions: true, ..Style::default() };
    folder.file("a.bvh", person.file(&style));
    folder.file("b.bvh", folded.file(&style));
    let alone = import(&[folder.path("b.bvh")], &free()).unwrap();
    assert_ne!(alone.report.up_legs[0], "LeftPata0", "alone, it is another body: {}", alone.report);
    let found = folder.import(&free());
    assert_eq!(found.report.up_legs[0], "LeftPata0", "{}", found.report);
    assert_eq!((found.set.end_indices.len(), found.refused.len()), (2, 0), "{:?}", found.refused);
}

/// A body on four legs, with a tail.
fn animal() -> Person {
    let mut animal = Person::new(24);
    for joint in ["Spine", "Spine1", "Spine2", "Spine3", "Neck"] {
        animal = animal.named(|name| if name == joint { format!("old {name}") } else { name.to_owned() });
    }
    let old: Vec<String> = animal.skeleton.names.iter().filter(|name| name.starts_with("old ")).cloned().collect();
    let arms =
        ["Shoulder", "Arm", "ForeArm", "Hand"].map(|joint| ["Left", "Right"].map(|side| format!("{side}{joint}")));
    let gone: Vec<String> = arms.into_iter().flatten().chain(old).collect();
    // Remove leaves first.
    let mut left = gone.clone();
    while !left.is_empty() {
        let leaf = |name: &String| !animal.skeleton.parents.contains(&animal.skeleton.find(name));
        let at = left.iter().position(leaf).unwrap();
        animal = animal.without(&left.remove(at));
    }
    animal = animal.with("Trunk", "Hips", [1.0, 0.0, 0.0]).with("Trunk1", "Trunk", [1.0, 0.0, 0.0]);
    animal = animal.with("Head", "Trunk1", [0.5, 0.3, 0.0]).with("Tail", "Hips", [-0.3, 0.0, 0.0]);
    for (side, right) in [("Left", -0.3), ("Right", 0.3)] {
        animal = animal.with(&format!("{side}Front"), "Trunk1", [0.0, -1.0, right]);
        animal = animal.with(&format!("{side}Paw"), &format!("{side}Front"), [0.0, -1.5, 0.0]);
    }
    animal
}

#[test]
fn a_unit_that_may_be_another_is_said_with_what_others_make_of_the_leg() {
    let scaled = |person: &Person, factor: f64| {
        let mut person = person.clone();
        person.poses.iter_mut().flat_map(|pose| &mut pose.positions).for_each(|place| *place = scale(*place, factor));
        person.skeleton.offsets.iter_mut().for_each(|offset| *offset = scale(*offset, factor));
        person
    };
    let grown_up = Person::new(25);
    let leg = grown_up.found().report.legs[0];
    let of = |person: &Person, unit: Unit| person.import(&Style { unit, ..Style::default() }, &free()).report;
    for unit in [Unit::Mm, Unit::Cm, Unit::Dm, Unit::M, Unit::Inch, Unit::Ft, Unit::Asf] {
        let report = of(&grown_up, unit);
        assert_eq!(report.units.name, unit.to_string(), "{report}");
        assert!(report.warnings.is_empty() && report.units.alternatives.is_empty(), "{report}");
    }
    // Children, and the alternative units.
    let child = 0.62 / leg;
    for (unit, other) in
        [(Unit::Cm, "1.57 m in inches"), (Unit::Inch, "1.38 m in 1/0.45 inch (CMU), 0.24 m in centimetres")]
    {
        let report = of(&scaled(&grown_up, child), unit);
        assert_eq!((report.units.name.clone(), report.warnings.len()), (unit.to_string(), 1), "{report}");
        assert!(report.warnings[0].contains(other) && report.warnings[0].contains("--units"), "{report}");
        assert!(report.to_string().contains("\nwarning: a leg is 0.62 m"), "{report}");
        assert!(report.units.alternatives.iter().any(|other| (other.leg - 1.38).abs() < 0.2), "{report}");
    }
    // Animals, in centimetres.
    let report = of(&scaled(&animal(), 0.34 / leg), Unit::Cm);
    assert_eq!(report.units.name, "centimetres", "{report}");
    assert!(report.warnings[0].contains("as an animal") && report.warnings[0].contains("0.86 m in inches"), "{report}");
    // A leg that ends at the ankle is not taken for a child's.
    let ankles = Person::new(25).without("LeftToeBase").without("RightToeBase");
    let report = of(&ankles, Unit::Cm);
    assert!(report.warnings.is_empty() && report.toes[0] == "LeftFoot", "{report}");
    // A given unit is taken as given.
    for (text, style) in [("0.1", Unit::Dm), ("dm", Unit::Dm), ("0.01", Unit::Cm), ("CM", Unit::Cm)] {
        let units: Scale = text.parse().unwrap();
        let report = grown_up
            .import(&Style { unit: style, ..Style::default() }, &ImportOptions { units: Some(units), ..free() });
        let units = report.report.units;
        assert_eq!((units.metres, units.by), (style.metres(), By::Option));
    }
    assert_eq!("0.08".parse::<Scale>().unwrap().to_string(), "0.08 m");
    for text in ["0", "-1", "nan", "inf", "1e9", "yard", ""] {
        let error = text.parse::<Scale>().unwrap_err();
        assert!(error.contains("mm, cm, dm, m, inch, ft, asf, or a number of metres"), "{error}");
    }
    // The files of a folder may have bodies of any size, but only one unit.
    let folder = Folder::new();
    folder.file("a.bvh", grown_up.file(&Style::default()));
    folder.file("b.bvh", scaled(&grown_up, child).file(&Style::default()));
    folder.file("c.bvh", grown_up.file(&Style { unit: Unit::Inch, ..Style::default() }));
    let found = folder.import(&free());
    assert_eq!((found.set.end_indices.len(), found.refused.len()), (2, 1), "{:?}", found.refused);
    assert!(found.refused[0].to_string().contains("c.bvh: its legs are"), "{:?}", found.refused);
    assert!(found.report.warnings.iter().any(|line| line.contains("bodies of unlike sizes")), "{}", found.report);
}

#[test]
fn up_is_any_of_six_directions() {
    let person = Person::new(26);
    let expected = person.found();
    for up in [Up::X, Up::Y, Up::Z, Up::MinusX, Up::MinusY, Up::MinusZ] {
        let style = Style { up, ..Style::default() };
        for asked in [None, Some(up)] {
            let found = person.import(&style, &ImportOptions { up: asked, ..free() });
            assert_eq!(found.report.up.axis, up.to_string(), "{}", found.report);
            assert!(found.report.warnings.is_empty(), "{}", found.report);
            assert!(largest_difference(&found.set.frames, &expected.set.frames) < 2e-5, "{up}");
        }
        if up != Up::Y {
            let report = person.import(&style, &ImportOptions { up: Some(Up::Y), ..free() }).report;
            let mend = format!("the hips are above the toes along {up}: try --up {up}");
            assert!(report.warnings[0].contains(&mend), "{report}");
        }
    }
}

#[test]
fn our_own_exports_come_back_whatever_the_size_of_the_body() {
    for (person, factor) in [(Person::new(27), 1.0), (Person::new(27), 0.4), (Person::new(27), 3.5), (animal(), 0.35)] {
        let mut set = person.found().set;
        let rig = set.rig.as_mut().unwrap();
        rig.skeleton.offsets.iter_mut().for_each(|offset| *offset = scale(*offset, factor));
        let axes = features::slot(Part::AxisY, 0, rig.skeleton.len());
        for frame in set.frames.chunks_exact_mut(set.frame_size) {
            let turn = frame[2];
            frame[..axes].iter_mut().for_each(|x| *x *= factor as f32);
            frame[2] = turn;
        }
        set.clip_roots.iter_mut().for_each(|root| (root.x, root.z) = (root.x * factor, root.z * factor));
        let text = export::text(&Take::of_clip(&set, set.rig.as_ref().unwrap(), 0, Bones::Given));
        assert!(text.starts_with("HIERARCHY"));
        let folder = Folder::new();
        folder.file("again.bvh", text);
        let again = folder.import(&ImportOptions { keep_floor: false, ..free() });
        assert_eq!((again.report.units.by, again.report.up.by), (By::File, By::File), "{}", again.report);
        // Joints may come in another order; the heights of the hips show units and floor.
        let heights = |set: &Dataset| -> Vec<f32> {
            let skeleton = &set.rig.as_ref().unwrap().skeleton;
            let at = features::slot(Part::Position, skeleton.hips, skeleton.len()) + 1;
            set.frames.chunks_exact(set.frame_size).map(|frame| frame[at]).collect()
        };
        let (was, is) = (heights(&set), heights(&whole(again)));
        assert!(largest_difference(&was[1..], &is) < 1e-4, "{factor}: {was:?} {is:?}");
    }
}

// ---- the command ----

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mvae-fast")).args(arguments).output().unwrap()
}

#[test]
fn one_bad_file_does_not_lose_the_others() {
    let (skeleton, clips, expected) = motion(600, 15);
    let folder = Folder::new();
    folder.file("in/0.bvh", "HIERARCHY\nROOT\n");
    folder.file("in/1.bvh", bvh(&skeleton, &clips[0], &Style::default()));
    folder.file("in/2.bvh", "nonsense");
    folder.file("in/3.bvh", bvh(&skeleton, &clips[1], &Style::default()));
    folder.file("in/4.bvh", bvh(&skeleton, &clips[1], &Style { unit: Unit::M, ..Style::default() }));
    folder.file("in/5.bvh", bvh(&skeleton, &clips[1], &Style { up: Up::Z, ..Style::default() }));
    folder.file("in/6.bvh", bvh(&skeleton, &clips[1][..2], &Style { frame_time: "0.01", ..Style::default() }));
    let output = folder.path("set.npz");
    let (input, output) = (folder.path("in"), output.to_str().unwrap());
    let found = run(&["data", "import", input.to_str().unwrap(), "-o", output, "--terms", "CC0"]);
    let (out, err) = (String::from_utf8(found.stdout).unwrap(), String::from_utf8(found.stderr).unwrap());
    assert_eq!(found.status.code(), Some(4), "{out}{err}");
    assert!(err.contains("0.bvh: line 2") && err.contains("2.bvh: line 1") && err.contains("4.bvh: its legs"), "{err}");
    assert!(err.contains("5.bvh: its hips are above the toes along z, not y as in the files before it"), "{err}");
    assert!(err.contains("6.bvh: its 2 frames last 0.010 s, and one frame of the set 0.033"), "{err}");
    assert!(err.contains("holds 2 of 7 files, 5 of them refused"), "{err}");
    for says in ["joint map: none", "units: centimetres, guessed", "up: y", "floor: toes", "600 frames"] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let set = npz::read(Path::new(output)).unwrap();
    assert_eq!((set.end_indices, set.clip_names), (expected.end_indices, vec!["1".into(), "3".into()]));
    assert_eq!(set.rig.unwrap().terms, ["CC0"]);
    assert_eq!(run(&["data", "import", input.to_str().unwrap(), "-o", output]).status.code(), Some(2), "it is there");
    let nothing = folder.path("nothing.npz");
    let bad = folder.path("in/2.bvh");
    let found = run(&["data", "import", bad.to_str().unwrap(), "-o", nothing.to_str().unwrap()]);
    assert!(found.status.code() == Some(4) && !nothing.exists(), "{found:?}");
    let err = String::from_utf8(found.stderr).unwrap();
    assert!(err.contains("none of 1 file could be imported"), "{err}");

    // The same as JSON, and a direction that begins with a minus.
    let json = folder.path("json.npz");
    let files = [folder.path("in/1.bvh"), folder.path("in/2.bvh")];
    let [one, bad] = files.each_ref().map(|path| path.to_str().unwrap());
    let found =
        run(&["data", "import", one, bad, "-o", json.to_str().unwrap(), "--json", "--up", "-y", "--units", "0.01"]);
    assert_eq!(found.status.code(), Some(4));
    let said: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((&said["up"]["axis"], &said["up"]["by"]), (&"-y".into(), &"option".into()));
    assert_eq!((&said["units"]["metres"], &said["hips"]), (&0.01.into(), &"Hips".into()));
    assert!(said["warnings"][0].as_str().unwrap().contains("try --up y"), "{said}");
    assert!(said["refused"][0].as_str().unwrap().contains("2.bvh: line 1"), "{said}");
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/features.md")).unwrap();
    for key in said.as_object().unwrap().keys() {
        assert!(documented.contains(&format!("`{key}`")), "{key} is not in docs/features.md");
    }

    // With a given axis, a file is read in that orientation. A body that lies spins.
    let lying = ImportOptions { up: Some(Up::Y), keep_torn: true, ..options() };
    let up = import(&[folder.path("in/3.bvh"), folder.path("in/5.bvh")], &lying).unwrap();
    assert_eq!((up.refused.len(), up.set.end_indices.len()), (0, 2));
}

#[test]
fn the_skeleton_that_most_files_have_is_taken() {
    let (skeleton, clips, _) = motion(20, 21);
    let names = |name: &String| name.replace("Spine", "Trunk");
    let other = Skeleton { names: skeleton.names.iter().map(names).collect(), ..skeleton.clone() };
    let folder = Folder::new();
    let write = |file: &str, skeleton: &Skeleton| folder.file(file, bvh(skeleton, &clips[0], &Style::default()));
    ["a", "b", "c", "e"].iter().for_each(|name| drop(write(&format!("{name}.bvh"), &other)));
    folder.file("broken.bvh", "HIERARCHY\nROOT\n");
    ["d", "f", "g", "h", "i"].iter().for_each(|name| drop(write(&format!("{name}.bvh"), &skeleton)));
    let free = || ImportOptions { map: None, ..options() };
    let found = folder.import(&free());
    assert_eq!(found.set.clip_names, ["d", "f", "g", "h", "i"]);
    let [strange, broken] = &found.refused[..] else { panic!("{:?}", found.refused) };
    let (strange, broken) = (strange.to_string(), broken.to_string());
    let says = "a.bvh: has another skeleton than d.bvh and 4 more, and so have 3 more files: b.bvh, c.bvh and 1 more; \
                import skeletons apart, or give --map FILE.toml with joints that all have";
    assert!(strange.ends_with(says) && broken.contains("broken.bvh: line 2"), "{strange}\n{broken}");
    assert_eq!(found.unused, 5);
    // As many files of either: the first one decides.
    fs::remove_file(folder.path("i.bvh")).unwrap();
    let found = folder.import(&free());
    assert_eq!(found.set.clip_names, ["a", "b", "c", "e"]);
    assert!(found.refused[0].to_string().contains("d.bvh: has another skeleton than a.bvh and 3 more"));
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let (skeleton, clips, _) = motion(20, 18);
    let folder = Folder::new();
    let input = folder.file("walk.bvh", bvh(&skeleton, &clips[0], &Style::default()));
    let sides = Skeleton {
        names: skeleton.names.iter().map(|name| name.replace("RightShoulder", "OtherShoulder")).collect(),
        ..skeleton
    };
    folder.file("sides.bvh", bvh(&sides, &clips[0], &Style::default()));
    folder.file("list.toml", "joints = [\"Hips\"\nhips = 3\n");
    folder.file("parent.toml", "fps = 30\n[[joints]]\nname = \"Hips\"\noffset = [0, 0, 0]\n[[joints]]\nname = \"Spine\"\nparent = \"Hops\"\noffset = [0, 0, 0]\n");
    folder.file("key.toml", "fps = 30\n\njoint = []\n");
    for (arguments, says) in [
        ("walk.bvh -o out.bvh", "--output is out.bvh, expected a name that ends in .npz"),
        ("walk.bvh -o out", "--output is out, expected a name that ends in .npz"),
        ("walk.bvh -o none/out.npz", "none/out.npz: there is no folder none; make it"),
        ("walk.bvh -o out.npz --skip-first -1", "--skip-first is \"-1\", expected a whole number of 0 or more"),
        ("walk.bvh -o out.npz --source-fps 0", "--source-fps is 0, expected 1 to 10000"),
        ("walk.bvh -o out.npz --map none.toml", "none.toml: cannot be read"),
        ("walk.bvh -o out.npz --map list.toml", "list.toml:2: "),
        ("walk.bvh -o out.npz --skeleton key.toml", "key.toml:3: unknown field `joint`"),
        ("walk.bvh -o out.npz --skeleton parent.toml", "the parent of Spine is Hops, expected a joint before it"),
        ("sides.bvh -o out.npz --mirror", "rename them by --map FILE.toml"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        let found =
            command.current_dir(folder.0.path()).args(["data", "import"]).args(arguments.split(' ')).output().unwrap();
        let error = String::from_utf8(found.stderr).unwrap();
        assert!(
            found.status.code() == Some(2) && error.contains(says) && error.lines().count() == 1,
            "{arguments}: {error}"
        );
        assert!(!error.contains('|') && !folder.path("out.npz").exists(), "{error}");
    }
    assert!(input.exists());
}

// ---- real motion ----

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

#[test]
fn real_motion_agrees_with_an_independent_extractor() {
    let (Some(folder), Some(extracted)) = (shared("mocap/bandai-namco-2"), shared("real/walk_run_255.npz")) else {
        return;
    };
    let set = whole(import(&[folder], &ImportOptions { map: None, keep_floor: false, ..options() }).unwrap());
    let extracted = npz::read(&extracted).unwrap();
    assert_eq!(set.end_indices, extracted.end_indices);
    let off = largest_difference(&set.frames, &extracted.frames);
    assert!(off < 1e-4, "{off}");
    let rig = set.rig.unwrap();
    assert!(rig.toe_floors.iter().all(|&floor| (0.041..0.05).contains(&(floor * METRES))), "{:?}", rig.toe_floors);
}

#[test]
fn real_motion_of_both_cmu_forms() {
    let (Some(bvh), Some(expmap)) = (shared("mocap/cmu-bvh"), shared("mocap/cmu-expmap")) else { return };
    let cmu = ImportOptions { map: None, keep_floor: false, ..options() };
    let imported = import(&[bvh], &cmu).unwrap();
    assert_eq!(imported.report.frames_left_out.len(), 2);
    let set = whole(imported);
    assert_eq!((set.frame_size, set.end_indices.len()), (267, 4));
    // Frames of 120 a second less the inserted pose, every fourth, less the first: 523, 994, 1247,
    // 2751.
    assert_eq!(set.num_frames(), 130 + 248 + 311 + 687);
    let skeleton = Some(ExpmapSkeleton::load(Path::new("cmu")).unwrap());
    let imported = import(&[expmap], &ImportOptions { skeleton, ..cmu }).unwrap();
    assert_eq!(imported.report.frames_left_out.len(), 76);
    // The body turns over within a frame or two, in five walks.
    let torn: Vec<&str> = imported.report.torn.iter().map(|file| file.file.as_str()).collect();
    assert!(imported.report.torn.iter().all(|file| file.left_out >= 5), "{torn:?}");
    let walks = ["22", "23", "24", "49", "50"].map(|walk| format!("train/walking_extra/walking_{walk}.txt.gz"));
    assert_eq!(torn, walks);
    let set = whole(imported);
    assert_eq!((set.frame_size, set.end_indices.len()), (267, 81));
    let rig = set.rig.unwrap();
    assert!((2.9..3.5).contains(&rig.hip_height), "{}", rig.hip_height);
    let speed = rig.speeds.median * METRES * 30.0;
    assert!((0.9..1.5).contains(&speed), "{speed} m/s");
}

/// The kinds of bodies in `../shared/data/field`, and their correct results.
#[test]
fn bodies_from_the_field_are_found() {
    let Some(folder) = shared("field") else { return };
    let found = |name: &str, options: &ImportOptions| {
        let imported = import(&[folder.join(name)], options).unwrap();
        assert!(imported.refused.is_empty(), "{name}: {:?}", imported.refused);
        imported.report
    };
    for (name, joints, up, unit, leg, width, ways) in [
        ("k01_makehuman_walk.bvh", 75, "z", 0.1, 0.949, 0.204, ["Root", "UpLeg_L", "Toe_L"]),
        ("k01_daz_genesis_names.bvh", 23, "y", 0.01, 1.018, 0.174, ["hip", "lThighBend", "lToe"]),
        ("k02_lhipjoint.bvh", 24, "y", 0.01, 1.018, 0.174, ["hip", "lhip", "lefttoebase"]),
        ("k03_smpl2bvh.bvh", 24, "y", 0.01, 0.912, 0.137, ["Pelvis", "Left_hip", "Left_foot"]),
        ("k03_kinect2_names.bvh", 22, "y", 0.01, 1.018, 0.174, ["SpineBase", "HipLeft", "FootLeft"]),
        ("k04_child_inches.bvh", 22, "z", 0.0254, 0.622, 0.108, ["Hips", "LeftUpLeg", "LeftToe"]),
        ("k04_dog_cm.bvh", 21, "y", 0.01, 0.340, 0.096, ["Hips", "LeftUpLeg", "LeftFoot"]),
        ("k04_decimetres.bvh", 22, "y", 0.1, 0.941, 0.161, ["Hips", "LeftUpLeg", "LeftToe"]),
        ("k05_y_down.bvh", 22, "-y", 0.01, 1.018, 0.174, ["Hips", "LeftUpLeg", "LeftToe"]),
        ("k09_suffix_letter.bvh", 22, "y", 0.01, 1.018, 0.174, ["hip", "thighL", "toeL"]),
        ("k09_lthumb_underscores.bvh", 24, "y", 0.01, 1.018, 0.174, ["Hips", "LeftUpLeg", "LeftToeBase"]),
        ("k09_mmd_japanese.bvh", 22, "y", 0.01, 1.018, 0.174, ["センター", "左足", "左つま先"]),
    ] {
        let report = found(name, &ImportOptions { keep_floor: false, ..free() });
        let [hips, up_leg, toe] = ways;
        assert_eq!([&report.hips, &report.up_legs[0], &report.toes[0]], [hips, up_leg, toe], "{name}: {report}");
        assert_eq!((report.joints.len(), report.up.axis.as_str()), (joints, up), "{name}: {report}");
        assert_eq!(report.units.metres, unit, "{name}: {report}");
        assert!((report.legs[0] - leg).abs() < 1e-3 && (report.hip_width - width).abs() < 1e-3, "{name}: {report}");
        assert!(report.facing_share.is_none_or(|share| share > 0.95), "{name}: {report}");
        let doubtful = name.contains("child") || name.contains("dog");
        assert_eq!(report.warnings.len(), usize::from(doubtful), "{name}: {report}");
        if !doubtful {
            found(name, &ImportOptions { mirror: true, ..free() });
        }
    }
}

/// The kinds of files in `../shared/data/field`, which are read with a note or refused with a
/// message.
#[test]
fn files_from_the_field_are_read_or_refused_with_a_word() {
    let Some(folder) = shared("field") else { return };
    for (name, fps, clip, said) in [
        ("k06_tpose_2_frames", 30.0, 39, "(--skip-first): 2 of"),
        ("k06_cmu_daz_tpose_ringing", 120.0, 7, "(--skip-first): 5 of"),
        ("k07_walk_header_120_is_30", 120.0, 19, "faster than any walk or run"),
        ("k08_one_frame_more", 100.0, 17, "frames: one more than the header says"),
        ("k08_nul_padding", 30.0, 39, "NULs or an end mark"),
        ("k10_displacements_one_moves", 30.0, 39, "displacements of joints, added to the offsets"),
        ("k11_frame_time_0.033", 30.0, 39, "0.033 s is taken for that of 30 frames a second"),
        ("k15_joint_left_out_moves", 30.0, 39, "Neck is off its usual place on its parent"),
        ("k16_zero_row_first", 30.0, 39, "(--skip-first): 1 of"),
    ] {
        let imported = import(&[folder.join(format!("{name}.bvh"))], &free()).unwrap();
        let report = imported.report.to_string();
        assert!(imported.refused.is_empty() && report.contains(said), "{name}: {report}");
        assert_eq!((imported.report.source_fps[0], imported.set.num_frames()), (fps, clip), "{name}");
    }
    for (name, said) in [
        ("k13_one_frame.bvh", "has one frame; a clip needs two"),
        ("k13_acclaim.amc", "is an Acclaim motion file (AMC)"),
    ] {
        let imported = import(&[folder.join(name)], &free()).unwrap();
        assert!(imported.refused[0].to_string().contains(said), "{:?}", imported.refused);
    }
    let files = [folder.join("k07_walk_header_120_is_30.bvh")];
    let set = whole(import(&files, &ImportOptions { source_fps: Some(30.0), ..free() }).unwrap());
    let speed = set.rig.unwrap().speeds.median * METRES * 30.0;
    assert!((speed - 1.7).abs() < 0.1, "{speed} m/s");
}
