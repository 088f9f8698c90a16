//! The BVH reader against an independent one on real files, and against many broken files.
//!
//! `MVAE_BVH_CASES=1000000 cargo test --release --test files bvh` runs more broken files.
use crate::allocations::largest;
use lzma_rust2::XzReader;
use mvae_fast::motion::body::Body;
use mvae_fast::motion::joint_map;
use mvae_fast::motion::quaternion::to_axes;
use mvae_fast::motion::source::bvh;
use mvae_fast::motion::source::{Note, Recording};
use mvae_fast::motion::vector::{Axes, about_x, about_y, about_z, chain};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A complete small person, with every oddity that is allowed.
const PERSON: &str = "HIERARCHY\r\nROOT Body.Root\n{\n OFFSET 0 0 0\n CHANNELS 6 Xposition Yposition Zposition Zrotation \
Xrotation Yrotation \r\n JOINT Hips\n {\n OFFSET 0 90 0\n CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation \
Xrotation\n JOINT LeftUpLeg {\n OFFSET 10 -5 0\n CHANNELS 3 Xrotation Yrotation Zrotation\n JOINT LeftToeBase\n {\n OFFSET 0 \
-80 .5e1\n CHANNELS 0\n End Site\n {\n OFFSET 0 0 5\n }\n }\n }\n JOINT RightUpLeg\n {\n OFFSET -10 -5 0\n CHANNELS 2 Xrotation \
Yrotation\r JOINT RightToeBase\n {\n OFFSET 0 -80 5\n CHANNELS 1 Yrotation\n End Site\n {\n OFFSET 0 0 5\n }\n }\n }\n }\n}\n\
MOTION\nFrames: 3\nFrame Time: .0333333\n0 0 0 0 0 0 0 90 0 1 2 3 4 5 6 7 8 9\n\n\
0 0 0 0 0 0 .5 91 -1.5e-1 10 20 30 40 50 60 70 80 90\r\n0 0 0 0 0 0 1 92 0 -1 -2 -3 -4 -5 -6 -7 -8 -9\n";

#[test]
fn a_file_of_oddities_is_read() {
    let recording = bvh::read(PERSON.as_bytes()).unwrap();
    let names: Vec<_> = recording.joints.iter().map(|joint| joint.name.as_str()).collect();
    assert_eq!(names, ["Body.Root", "Hips", "LeftUpLeg", "LeftToeBase", "RightUpLeg", "RightToeBase"]);
    assert_eq!((recording.len(), recording.frame_time, recording.ends.len()), (3, 0.0333333, 2));
    assert_eq!(recording.joints[3].offset, [0.0, -80.0, 5.0]);
    let pose = recording.pose(1.0);
    assert_eq!(pose.positions[1], [0.5, 91.0, -0.15]);
    let hips = chain([about_z(10.0_f64.to_radians()), about_y(20.0_f64.to_radians()), about_x(30.0_f64.to_radians())]);
    assert_close(&pose.axes[1], &hips, 1e-12);
}

/// A root and four joints with position channels, whose values are given for three frames.
fn with_positions(places: [[[f64; 3]; 4]; 3]) -> Recording {
    let mut text = String::from("HIERARCHY\nROOT r\n{\nOFFSET 0 9 0\nCHANNELS 3 Xposition Yposition Zposition\n");
    for joint in 0..4 {
        text += &format!("JOINT j{joint}\n{{\nOFFSET 0 {} 3\nCHANNELS 3 Xposition Yposition Zposition\n", 4 + joint);
    }
    text += "End Site\n{\nOFFSET 0 0 1\n}\n}\n}\n}\n}\n}\nMOTION\nFrames: 3\nFrame Time: 0.1\n";
    for frame in places {
        let values: Vec<String> = frame.as_flattened().iter().map(f64::to_string).collect();
        text += &format!("0 9 0 {}\n", values.join(" "));
    }
    bvh::read(text.as_bytes()).unwrap()
}

/// A single joint that moves, or that rests at 0, does not change how the channels of all joints
/// are read.
#[test]
fn position_channels_are_displacements_or_places_in_a_whole_file() {
    let (still, moves) = ([[0.0; 3]; 4], [[0.0; 3], [0.0, 0.1, 0.3], [0.0; 3], [0.0; 3]]);
    let recording = with_positions([still, moves, still]);
    assert_eq!(recording.notes, [Note::Displacements]);
    let place = |frame: usize, joint: usize| recording.places[frame * recording.moving() + joint];
    assert_eq!([place(0, 0), place(0, 1), place(0, 2)], [[0.0, 9.0, 0.0], [0.0, 4.0, 3.0], [0.0, 5.0, 3.0]]);
    assert_eq!([place(1, 2), place(1, 4), place(2, 2)], [[0.0, 5.1, 3.3], [0.0, 7.0, 3.0], [0.0, 5.0, 3.0]]);

    let places = [[4.0, 0.0, 3.0], [0.0, 5.0, -3.0], [0.0; 3], [0.0, 7.0, 3.0]];
    let recording = with_positions([places; 3]);
    assert_eq!(recording.notes, [Note::Places]);
    assert_eq!(recording.places[1..5], places);
}

/// Turning at constant speed about any axis, a joint is half-way after half the time.
#[test]
fn rotations_between_frames_are_on_the_arc() {
    let mut recording = bvh::read(PERSON.as_bytes()).unwrap();
    let joints = recording.joints.len();
    let about = |angle: f64| {
        let (s, c) = (0.5 * angle).sin_cos();
        [0.6 * s, 0.0, 0.8 * s, c]
    };
    // Across half a turn, and with the opposite sign of the same rotation.
    recording.rotations[1] = about(2.9);
    recording.rotations[joints + 1] = about(3.9).map(|x| -x);
    for share in [0.0, 0.1, 0.5, 0.9, 1.0] {
        let pose = recording.pose(share);
        assert_close(&pose.axes[1], &to_axes(about(2.9 + share)), 1e-9);
        assert!((pose.positions[1][1] - (90.0 + share)).abs() < 1e-12);
    }
}

fn assert_close(a: &Axes, b: &Axes, tolerance: f64) {
    let off = a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < tolerance, "{off}: {a:?} {b:?}");
}

// ---- an independent reader ----

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn agrees_with_bvh_anim_on_real_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mocap");
    if !folder.exists() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let mut found = Vec::new();
    files(&folder, &mut found);
    found.retain(|path| path.to_string_lossy().contains(".bvh"));
    let mut agreed = 0;
    for path in &found {
        let mut bytes = fs::read(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "xz") {
            let packed = std::mem::take(&mut bytes);
            XzReader::new(&packed[..], true).read_to_end(&mut bytes).unwrap();
        }
        let ours = bvh::read(&bytes[..]).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        // It knows only LF, and no number without a zero before the point.
        let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n").replace("Time: .", "Time: 0.");
        let theirs = bvh_anim::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        compare(&ours, &theirs, path);
        agreed += 1;
    }
    assert!(agreed >= 157, "{agreed} files");
}

fn compare(ours: &Recording, theirs: &bvh_anim::Bvh, path: &Path) {
    let path = path.display();
    assert_eq!(ours.len(), theirs.frames().len(), "{path}");
    let joints: Vec<_> = theirs.joints().collect();
    assert_eq!(ours.joints.len(), joints.len(), "{path}");
    for (at, (ours, theirs)) in ours.joints.iter().zip(&joints).enumerate() {
        let data = theirs.data();
        let name: &[u8] = data.name().as_ref();
        assert_eq!((ours.name.as_bytes(), ours.parent), (name, data.parent_index()), "{path} joint {at}");
        let offset = [data.offset().x, data.offset().y, data.offset().z];
        assert!(ours.offset.iter().zip(offset).all(|(a, b)| (a - f64::from(b)).abs() < 1e-4), "{path} joint {at}");
    }
    for (frame, values) in theirs.frames().enumerate() {
        for (at, joint) in joints.iter().enumerate() {
            let data = joint.data();
            let mut place = ours.joints[at].offset;
            let mut turn = to_axes([0.0, 0.0, 0.0, 1.0]);
            for channel in data.channels() {
                let value = f64::from(values[channel]);
                let axis = channel.channel_type().axis_vector::<f64>();
                let axis = [axis.x, axis.y, axis.z].iter().position(|&x| x == 1.0).unwrap();
                if channel.channel_type().is_position() {
                    place[axis] = value;
                } else {
                    turn = chain([turn, [about_x, about_y, about_z][axis](value.to_radians())]);
                }
            }
            let found = to_axes(ours.rotations[frame * joints.len() + at]);
            assert_close(&found, &turn, 2e-5);
            if let Some(moves) = ours.joints[at].moves {
                let found = ours.places[frame * ours.moving() + moves];
                let off = found.iter().zip(place).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
                assert!(off < 1e-5, "{path} frame {frame} joint {at}: {found:?} {place:?}");
            }
        }
    }
}

// ---- broken files without end ----

/// Scrambles 64 bits (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % n.max(1)
    }
}

const WORDS: [&str; 26] = [
    "{",
    "}",
    "HIERARCHY",
    "ROOT",
    "JOINT x",
    "End Site",
    "OFFSET",
    "CHANNELS",
    "6",
    "0",
    "Xposition",
    "Zrotation",
    "MOTION",
    "Frames:",
    "Frame Time:",
    "1e308",
    "-1e-308",
    "999999999999",
    "18446744073709551616",
    "nan",
    "inf",
    ".",
    "\r",
    "\n",
    "\u{0}",
    "LeftUpLeg",
];

/// The file with one to four errors, most of them small.
fn broken(random: &mut Random) -> Vec<u8> {
    let mut text = PERSON.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        let end = (at + random.below(40)).min(text.len());
        match random.below(7) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..end)),
            2 => text.splice(at..at, WORDS[random.below(WORDS.len())].bytes()).for_each(drop),
            3 => text.splice(at..end, format!(" {} ", WORDS[random.below(WORDS.len())]).into_bytes()).for_each(drop),
            4 => {
                let piece = text[at..end].to_vec();
                let to = random.below(text.len());
                drop(text.splice(to..to, piece.repeat(1 + random.below(3))));
            }
            5 if !text.is_empty() => {
                let at = random.below(text.len());
                text[at] ^= 1 << random.below(8);
            }
            _ => {
                // One word becomes another.
                let start = text[..at].iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
                let stop = text[at..].iter().position(u8::is_ascii_whitespace).map_or(text.len(), |stop| at + stop);
                let word = WORDS[random.below(WORDS.len())];
                text.splice(start.min(stop)..stop, word.bytes()).for_each(drop);
            }
        }
    }
    text
}

#[test]
fn broken_files_do_not_break_the_reader() {
    let cases = std::env::var("MVAE_BVH_CASES").map_or(20_000, |cases| cases.parse().expect("a number"));
    let seed = std::env::var("MVAE_BVH_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let (mut taken, mut moved) = (0, 0);
    for case in 0..cases {
        let mut random = Random(seed + case);
        let text = broken(&mut random);
        let before = largest();
        // A panic names the case: run one case with it as the seed.
        let read = std::panic::catch_unwind(|| match bvh::read(&text[..]) {
            Ok(recording) => {
                // An accepted file is complete, and can be posed and examined.
                assert_eq!(recording.rotations.len(), recording.len() * recording.joints.len());
                assert_eq!(recording.places.len(), recording.len() * recording.moving());
                let pose = recording.pose(0.5 * recording.len() as f64);
                assert_eq!(pose.positions.len(), recording.joints.len());
                Some(joint_map::pick(&recording, &Body::new(&recording), None).is_ok())
            }
            Err(fault) => {
                let text = fault.to_string();
                assert!(!text.contains(['\n', '\r']) && text.len() < 300 && fault.line > 0, "{text:?}");
                None
            }
        });
        match read {
            Ok(None) => {}
            Ok(Some(person)) => (taken, moved) = (taken + 1, moved + usize::from(person)),
            Err(_) => panic!("case {case} of seed {seed}: {}", String::from_utf8_lossy(&text)),
        }
        let now = largest();
        assert!(now == before || now < 8 << 20, "case {case} of seed {seed} allocates {now} bytes at once");
    }
    println!("{cases} broken files: {taken} read, {moved} of them persons");
    assert!(taken * 100 > cases as usize && moved > 0, "{taken} of {cases} are read: the mutations reach deep");
}
