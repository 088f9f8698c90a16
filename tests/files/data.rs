//! Valid and invalid motion files, statistics, windows, the split, and the check. Files are made
//! here byte by byte, so that the test depends on neither the crate's writer nor its zip reader.
use crate::allocations::largest;
use flate2::{Compression, Crc, write::DeflateEncoder};
use half::f16;
use mvae_fast::config::Config;
use mvae_fast::config::Normalization::{self, Minmax, None as Raw, Zscore};
use mvae_fast::data::check::check;
use mvae_fast::data::normalize::Statistics;
use mvae_fast::data::{Dataset, npz, synth, windows};
use mvae_fast::motion::features::{Part, displacement, slot};
use mvae_fast::motion::vector::{about_y, apply_inverse};
use mvae_fast::motion::{Rig, Root, Skeleton};
use ndarray_npy::{NpzReader, NpzWriter};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Above the largest allocation for any file here: none holds more than 24 MB.
const ENOUGH: usize = 32 << 20;

// ---- files, byte by byte ----

/// An array file with this body, unchanged.
fn npy(descr: &str, fortran: bool, shape: &str, body: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    npy_with_header(&format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"), body)
}

fn npy_with_header(dict: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padding = (64 - (10 + dict.len() + 1) % 64) % 64;
    bytes.extend(((dict.len() + padding + 1) as u16).to_le_bytes());
    bytes.extend(dict.bytes());
    bytes.resize(bytes.len() + padding, b' ');
    bytes.push(b'\n');
    bytes.extend(body);
    bytes
}

/// The way in which [`zip`] writes.
#[derive(Clone, Copy, Default, Debug)]
struct Style {
    deflate: bool,
    zip64: bool,
    /// Claimed uncompressed size of the first entry, if it is not the true one.
    lie: Option<u64>,
}

fn zip(entries: &[(&str, Vec<u8>)], style: Style) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (index, (name, bytes)) in entries.iter().enumerate() {
        let mut crc = Crc::new();
        crc.update(bytes);
        let body = if style.deflate {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        } else {
            bytes.clone()
        };
        let size = style.lie.filter(|_| index == 0).unwrap_or(bytes.len() as u64);
        let start = file.len() as u64;
        let mut fields = vec![20, 0, 0, 0, if style.deflate { 8 } else { 0 }, 0, 0, 0, 0x21, 0];
        fields.extend(crc.sum().to_le_bytes());
        let mut extra = Vec::new();
        if style.zip64 {
            fields.extend([0xff; 8]);
            extra.extend([9, 0, 2, 0, 7, 7, 1, 0, 24, 0]); // an unknown field, then the zip64 one
            for number in [size, body.len() as u64, start] {
                extra.extend(number.to_le_bytes());
            }
        } else {
            fields.extend((body.len() as u32).to_le_bytes());
            fields.extend((size as u32).to_le_bytes());
        }
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend((extra.len() as u16).to_le_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.bytes());
        file.extend(&extra);
        file.extend(&body);

        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(if style.zip64 { u32::MAX } else { start as u32 }.to_le_bytes());
        directory.extend(name.bytes());
        directory.extend(&extra);
    }
    let (start, size, count) = (file.len() as u64, directory.len() as u64, entries.len() as u64);
    file.extend(directory);
    if style.zip64 {
        let record = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend(44u64.to_le_bytes());
        file.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, size, start] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(record.to_le_bytes());
        file.extend(1u32.to_le_bytes());
    }
    let short = |number: u64| if style.zip64 { u32::MAX } else { number as u32 };
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((short(count) as u16).to_le_bytes());
    file.extend((short(count) as u16).to_le_bytes());
    file.extend(short(size).to_le_bytes());
    file.extend(short(start).to_le_bytes());
    file.extend([0, 0]);
    file
}

fn ends(values: &[i64]) -> Vec<u8> {
    let body: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy("'<i8'", false, &format!("({},)", values.len()), &body)
}

fn floats(num_frames: usize, frame_size: usize, values: &[f32]) -> Vec<u8> {
    let body: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy("'<f4'", false, &format!("({num_frames}, {frame_size})"), &body)
}

/// A file in a folder of its own, which is removed when the value is dropped.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }
    fn path(&self) -> PathBuf {
        self.0.path().join("motion.npz")
    }
    fn read(&self, bytes: &[u8]) -> Result<Dataset, String> {
        fs::write(self.path(), bytes).unwrap();
        npz::read(&self.path()).map_err(|e| {
            let message = e.to_string();
            assert_eq!(e.exit_code(), 4, "{message}");
            assert!(message.contains("motion.npz: ") && !message.contains('\n'), "{message}");
            assert!(message.contains("; "), "says how to mend it: {message}");
            message
        })
    }
    /// Reads `data` and `end_indices` given as array files.
    fn read_arrays(&self, data: Vec<u8>, end_indices: Vec<u8>) -> Result<Dataset, String> {
        let entries = [("data.npy", data), ("end_indices.npy", end_indices)];
        self.read(&zip(&entries, Style::default()))
    }
}

/// A small set of numbers that f16 holds exactly, with an additional array of objects.
fn small() -> (Vec<(&'static str, Vec<u8>)>, Dataset) {
    let frames: Vec<f32> = (0..12).map(|i| i as f32 * 0.25 - 1.0).collect();
    let names: Vec<u8> = "walk\0rün\0\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let entries = vec![
        ("data.npy", floats(4, 3, &frames)),
        ("clip_names.npy", npy("'<U5'", false, "(2,)", &names)),
        ("end_indices.npy", ends(&[1, 3])),
        ("objects.npy", npy("[('a', '<f4'), ('b', '|O')]", false, "(7,)", b"anything")),
    ];
    let clip_names = vec!["walk".to_owned(), "rün".to_owned()];
    (entries, Dataset { frames, frame_size: 3, end_indices: vec![1, 3], clip_names, ..Dataset::default() })
}

// ---- reading ----

/// A number's bytes in the type and order named.
fn bytes_of(descr: &str, value: f64) -> Vec<u8> {
    let mut bytes = match &descr[1..] {
        "f2" => f16::from_f64(value).to_le_bytes().to_vec(),
        "f4" => (value as f32).to_le_bytes().to_vec(),
        "f8" => value.to_le_bytes().to_vec(),
        "i4" | "u4" => (value as u32).to_le_bytes().to_vec(),
        "i2" | "u2" => (value as u16).to_le_bytes().to_vec(),
        "i8" | "u8" => (value as u64).to_le_bytes().to_vec(),
        other => unreachable!("{other}"),
    };
    if descr.starts_with('>') {
        bytes.reverse();
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_way_to_write_the_same_set_reads_the_same(
        num_frames in 1usize..20, frame_size in 1usize..8, seed in 0usize..1000,
        float in prop::sample::select(vec!["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]),
        integer in prop::sample::select(vec!["<i2", "<i4", "<i8", "<u4", "<u8", ">i4", ">i8", ">u2"]),
        fortran: bool, deflate: bool, zip64: bool,
        listed in prop::collection::vec(0usize..20, 1..4),
    ) {
        let listed: Vec<usize> = listed.iter().take(num_frames).map(|end| end % num_frames).collect();
        let value = |frame: usize, feature: usize| ((frame * 31 + feature * 7 + seed) % 401) as f64 / 4.0 - 50.0;
        let order: Vec<(usize, usize)> = if fortran {
            (0..frame_size).flat_map(|j| (0..num_frames).map(move |i| (i, j))).collect()
        } else {
            (0..num_frames).flat_map(|i| (0..frame_size).map(move |j| (i, j))).collect()
        };
        let data: Vec<u8> = order.iter().flat_map(|&(i, j)| bytes_of(float, value(i, j))).collect();
        let end_indices: Vec<u8> = listed.iter().flat_map(|&end| bytes_of(integer, end as f64)).collect();
        let entries = [
            ("clip_roots.npy", npy("'>f4'", fortran, &format!("({}, 3)", listed.len()), &vec![0; 12 * listed.len()])),
            ("end_indices.npy", npy(&format!("'{integer}'"), fortran, &format!("({},)", listed.len()), &end_indices)),
            ("data.npy", npy(&format!("\"{float}\""), fortran, &format!("({num_frames}, {frame_size})"), &data)),
        ];
        let dataset = Scratch::new().read(&zip(&entries, Style { deflate, zip64, lie: None })).unwrap();
        let mut end_indices = listed;
        end_indices.push(num_frames - 1);
        end_indices.sort();
        end_indices.dedup();
        let frames: Vec<f32> =
            (0..num_frames * frame_size).map(|i| value(i / frame_size, i % frame_size) as f32).collect();
        prop_assert_eq!(&dataset.frames, &frames);
        prop_assert_eq!(dataset.frame_size, frame_size);
        prop_assert_eq!(&dataset.end_indices, &end_indices);
        prop_assert!(dataset.clip_roots.is_empty() || dataset.clip_roots == vec![Root::default(); dataset.end_indices.len()]);
    }

    #[test]
    fn a_header_of_any_text_is_an_error_or_agrees_with_the_entry(text in "[ -~]{0,60}", shape in "[-0-9(), L]{0,30}") {
        let scratch = Scratch::new();
        let body = [0; 48];
        prop_assert!(scratch.read_arrays(npy_with_header(&text, &body), ends(&[0])).is_err());
        if let Ok(dataset) = scratch.read_arrays(npy("'<f4'", false, &shape, &body), ends(&[0])) {
            prop_assert_eq!(dataset.frames.len(), 12);
        }
    }

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
fn reads_what_ndarray_npy_writes_and_back() {
    let scratch = Scratch::new();
    let (_, expected) = small();
    let mut writer = NpzWriter::new_compressed(File::create(scratch.path()).unwrap());
    let frames = ndarray::Array2::from_shape_vec((4, 3), expected.frames.clone()).unwrap();
    writer.add_array("data", &frames.mapv(f64::from).reversed_axes().as_standard_layout().t()).unwrap();
    writer.add_array("end_indices", &ndarray::arr1(&[3u32, 1, 1])).unwrap();
    writer.finish().unwrap();
    let dataset = npz::read(&scratch.path()).unwrap();
    assert_eq!(dataset, Dataset { clip_names: vec![], ..expected.clone() });

    npz::write(&scratch.path(), &expected).unwrap();
    assert_eq!(npz::read(&scratch.path()).unwrap(), expected);
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1, "no temporary file is left");
    let mut reader = NpzReader::new(File::open(scratch.path()).unwrap()).unwrap();
    assert_eq!(reader.by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>("data").unwrap(), frames);
    let error = npz::write(&scratch.0.path().join("no/such/folder.npz"), &expected).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
}

#[test]
fn a_rig_survives_the_file() {
    let scratch = Scratch::new();
    let mut set = synth::locomotion(700, 3);
    let rig = set.rig.as_mut().unwrap();
    rig.sources = vec!["walk.bvh".into(), "läuft.bvh".into()];
    rig.terms = vec!["CC0".into()];
    npz::write(&scratch.path(), &set).unwrap();
    assert_eq!(npz::read(&scratch.path()).unwrap(), set);
    // Two files of one skeleton become one set, measured again.
    let twice = Dataset::load(&[scratch.path(), scratch.path()]).unwrap();
    let (rig, twice_rig) = (set.rig.unwrap(), twice.rig.unwrap());
    assert_eq!((twice_rig.sources.len(), twice_rig.terms.len(), twice.clip_roots.len()), (4, 1, 4));
    assert_eq!(twice_rig.skeleton, rig.skeleton);
    assert!((twice_rig.hip_height - rig.hip_height).abs() < 1e-3, "{twice_rig:?}");
}

#[test]
fn bare_frames_of_267_features_are_the_references() {
    let scratch = Scratch::new();
    let set = synth::locomotion(400, 5);
    let bare = Dataset { clip_names: vec![], clip_roots: vec![], rig: None, ..set.clone() };
    npz::write(&scratch.path(), &bare).unwrap();
    let (found, known): (Rig, Rig) = (npz::read(&scratch.path()).unwrap().rig.unwrap(), set.rig.unwrap());
    assert_eq!((&found.toe_floors, &found.speeds, found.fps), (&known.toe_floors, &known.speeds, known.fps));
    for (joint, (found, known)) in found.skeleton.offsets.iter().zip(&known.skeleton.offsets).enumerate() {
        let off = found.iter().zip(known).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-5, "joint {joint}: {found:?} measured, {known:?} true");
    }
}

#[test]
fn a_flawed_skeleton_is_refused() {
    let scratch = Scratch::new();
    let set = synth::locomotion(100, 5);
    type Flaw = fn(&mut Skeleton);
    let flaws: [(&str, Flaw); 5] = [
        ("in a circle", |s| (s.parents[16], s.parents[14]) = (Some(12), Some(16))),
        ("joint 99", |s| s.toes[1] = 99),
        ("no other joint", |s| s.parents[3] = None),
        ("the offset of Neck is [", |s| s.offsets[4][1] = f64::NAN),
        ("3 joint names", |s| s.names.truncate(3)),
    ];
    for (says, flaw) in flaws {
        let mut bad = set.clone();
        flaw(&mut bad.rig.as_mut().unwrap().skeleton);
        npz::write(&scratch.path(), &bad).unwrap();
        let error = npz::read(&scratch.path()).unwrap_err();
        assert!(error.to_string().contains(says) && error.exit_code() == 4, "{error}");
    }
}

#[test]
fn names_are_read_and_strange_arrays_let_be() {
    let (entries, expected) = small();
    assert_eq!(Scratch::new().read(&zip(&entries, Style::default())).unwrap(), expected);
}

#[test]
fn every_truncation_is_an_error() {
    let scratch = Scratch::new();
    for deflate in [false, true] {
        for zip64 in [false, true] {
            let bytes = zip(&small().0, Style { deflate, zip64, lie: None });
            for length in 0..bytes.len() {
                assert!(scratch.read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless() {
    let scratch = Scratch::new();
    let (entries, expected) = small();
    for (deflate, zip64) in [(false, false), (true, true)] {
        let mut bytes = zip(&entries, Style { deflate, zip64, lie: None });
        let mut refused = 0;
        for bit in (0..8 * bytes.len()).step_by(3) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match scratch.read(&bytes) {
                Ok(dataset) => {
                    assert_eq!(dataset.frames, expected.frames, "bit {bit}");
                    assert_eq!(dataset.end_indices, expected.end_indices, "bit {bit}");
                }
                Err(_) => refused += 1,
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(refused > 1000, "{refused}");
    }
}

#[test]
fn a_flipped_bit_under_a_right_checksum_never_panics() {
    let scratch = Scratch::new();
    let (entries, _) = small();
    for array in [0, 2] {
        for bit in 0..8 * 128 {
            let mut entries = entries.clone();
            entries[array].1[bit / 8] ^= 1 << (bit % 8);
            if let Ok(dataset) = scratch.read(&zip(&entries, Style::default())) {
                assert_eq!(dataset.frames.len(), 12, "bit {bit} of {}", entries[array].0);
            }
        }
    }
}

#[test]
fn absurd_claims_are_refused_unallocated() {
    let scratch = Scratch::new();
    let body = [0; 48];
    for shape in [
        "(4611686018427387904, 4)",
        "(18446744073709551615, 18446744073709551615)",
        "(99999999999999999999999999, 3)",
        "(1000000000000, 3)",
        "(4000000000, 300)",
        "(4, 2)",
        "(4294967296, 0)",
        "(0, 18446744073709551615)",
        "(-4, -3)",
        "(4, 3, 1)",
        "(12,)",
        "()",
    ] {
        for fortran in [false, true] {
            let error = scratch.read_arrays(npy("'<f4'", fortran, shape, &body), ends(&[0])).unwrap_err();
            assert!(error.contains("data"), "{shape}: {error}");
        }
    }
    for descr in ["'<f18446744073709551615'", "'<U18446744073709551615'", "'<f'", "'<'", "''", "'é4'", "'<é4'", "'<f0'"]
    {
        scratch.read_arrays(npy(descr, false, "(4, 3)", &body), ends(&[0])).unwrap_err();
        scratch.read_arrays(floats(4, 3, &[0.0; 12]), npy(descr, false, "(4,)", &body)).unwrap_err();
        // An optional array of that type is ignored.
        let (mut entries, expected) = small();
        entries[1].1 = npy(descr, false, "(2,)", &body);
        let dataset = scratch.read(&zip(&entries, Style::default())).unwrap();
        assert_eq!(dataset, Dataset { clip_names: vec![], ..expected });
    }

    // A header so deeply nested that a recursive parser would run out of stack, and a header length
    // of 4 GB.
    let deep = npy_with_header(&"(".repeat(60_000), &body);
    scratch.read_arrays(deep, ends(&[0])).unwrap_err();
    let mut long = npy("'<f4'", false, "(4, 3)", &body);
    long[6] = 2;
    long[8..12].copy_from_slice(&[0xff; 4]);
    let error = scratch.read_arrays(long, ends(&[0])).unwrap_err();
    assert!(error.contains("4294967295 bytes"), "{error}");

    // False sizes in the zip directory.
    for (deflate, size) in [(true, 1 << 40), (true, u64::MAX), (false, 1 << 40), (true, 100), (false, 0), (true, 0)] {
        for shape in ["(4, 3)", "(274877906900, 1)"] {
            let entries = [("data.npy", npy("'<f4'", false, shape, &body)), ("end_indices.npy", ends(&[0]))];
            let lie = Style { deflate, zip64: true, lie: Some(size) };
            let error = scratch.read(&zip(&entries, lie)).unwrap_err();
            assert!(error.contains("data"), "{error}");
        }
    }

    // A directory of four billion entries.
    let mut bytes = zip(&small().0, Style { zip64: true, ..Style::default() });
    let count = bytes.len() - 22 - 20 - 56 + 24;
    bytes[count..count + 16].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    scratch.read(&bytes).unwrap_err();

    // A real zip bomb: 100 MB of zeros in 100 kB, which agree with its header.
    let header = npy("'<f4'", false, "(25000000, 1)", &[]);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&header).unwrap();
    for _ in 0..1000 {
        encoder.write_all(&[0; 100_000]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let mut bytes = zip(&[("data.npy", bomb.clone()), ("end_indices.npy", ends(&[0]))], Style::default());
    let size = (header.len() as u32 + 100_000_000).to_le_bytes();
    let entry = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    let entry = bytes[..entry].windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 10] = 8;
    bytes[entry + 24..entry + 28].copy_from_slice(&size);
    let error = scratch.read(&bytes).unwrap_err();
    assert!(error.contains("claim to inflate"), "{error}");

    assert!(largest() < ENOUGH, "{} bytes at once", largest());
}

#[test]
fn messages_say_what_is_wrong() {
    let scratch = Scratch::new();
    let data = || floats(4, 3, &[0.5; 12]);
    let says = |result: Result<Dataset, String>, what: &str| {
        let message = result.unwrap_err();
        assert!(message.contains(what), "{message:?} should contain {what:?}");
    };
    let arrays = |entries: &[(&str, Vec<u8>)]| scratch.read(&zip(entries, Style::default()));

    says(arrays(&[("poses.npy", data()), ("x.npy", data())]), "no array data, it holds poses, x");
    says(arrays(&[("data.npy", data())]), "no array end_indices, it holds data");
    says(arrays(&[]), "holds nothing");
    says(scratch.read(b""), "not an npz file: it holds less than 6 bytes");
    says(scratch.read(b"time,x,y\n1,2,3\n"), "not an npz");
    says(scratch.read(&data()), "a single .npy array");
    says(scratch.read_arrays(npy("'<i8'", false, "(4, 3)", &[0; 96]), ends(&[3])), "data is <i8 [4, 3]; save it as");
    says(
        scratch.read_arrays(npy("'<f4'", false, "(12,)", &[0; 48]), ends(&[3])),
        "data is <f4 [12]; save it as [frames",
    );
    says(scratch.read_arrays(floats(0, 3, &[]), ends(&[3])), "data is <f4 [0, 3]");
    says(scratch.read_arrays(data(), ends(&[])), "end_indices is <i8 [0]");
    says(scratch.read_arrays(data(), npy("'<f8'", false, "(1,)", &[0; 8])), "end_indices is <f8 [1]; save it as int64");
    says(scratch.read_arrays(data(), npy("'<i8'", false, "(1, 1)", &[0; 8])), "end_indices is <i8 [1, 1]");
    says(scratch.read_arrays(data(), ends(&[1, -2, 3])), "end_indices[1] is -2, but data has 4 frames");
    says(scratch.read_arrays(data(), ends(&[2, 4])), "end_indices[1] is 4, but data has 4 frames; ends are inclusive");
    says(scratch.read_arrays(data(), ends(&[2, 9])), "lies between 0 and 3");
    says(scratch.read_arrays(data(), npy("'<u8'", false, "(1,)", &[0xff; 8])), "is 18446744073709551615");
    let missing = npz::read(Path::new("no/such.npz")).unwrap_err();
    assert!(missing.to_string().contains("cannot be opened") && missing.exit_code() == 4, "{missing}");

    let mut values = [0.0; 12];
    (values[7], values[11]) = (f32::NAN, f32::NEG_INFINITY);
    let bad = floats(4, 3, &values);
    says(
        scratch.read_arrays(bad.clone(), ends(&[1, 3])),
        "2 of its values are not finite, the first in frame 2 (clip 1), feature 1",
    );
    assert_eq!(npz::read_lenient(&scratch.path()).unwrap().end_indices, [1, 3]);
    let overflow: Vec<u8> = [1e300f64; 2].iter().flat_map(|x| x.to_le_bytes()).collect();
    says(scratch.read_arrays(npy("'<f8'", false, "(2, 1)", &overflow), ends(&[1])), "2 of its values are not finite");
}

#[test]
fn ends_are_put_in_order() {
    let scratch = Scratch::new();
    let read = |listed: &[i64]| scratch.read_arrays(floats(6, 1, &[0.0; 6]), ends(listed)).unwrap();
    assert_eq!(read(&[3, 1, 3]).end_indices, [1, 3, 5]);
    assert_eq!(read(&[5]).clips().as_slice(), std::slice::from_ref(&(0..6)));
    let dataset = read(&[1, 3]);
    assert_eq!(dataset.clips(), [0..2, 2..4, 4..6]);
    assert_eq!((0..6).map(|frame| dataset.clip_of(frame)).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
}

#[test]
fn several_files_are_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, num_frames: usize, frame_size: usize| {
        let path = folder.path().join(name);
        let frames = (0..num_frames * frame_size).map(|x| x as f32).collect();
        let end_indices = vec![0, num_frames - 1];
        npz::write(&path, &Dataset { frames, frame_size, end_indices, ..Dataset::default() }).unwrap();
        path
    };
    let (a, b, c) = (write("a.npz", 4, 2), write("b.npz", 3, 2), write("c.npz", 3, 5));
    let all = Dataset::load(&[a.clone(), b.clone()]).unwrap();
    assert_eq!(all.frames, [0., 1., 2., 3., 4., 5., 6., 7., 0., 1., 2., 3., 4., 5.]);
    assert_eq!(all.end_indices, [0, 3, 4, 6]);
    assert_eq!(all.frame(4), [0., 1.]);
    let error = Dataset::load(&[a, b, c]).unwrap_err().to_string();
    assert!(error.contains("c.npz: has 5 features") && error.contains("a.npz has 2"), "{error}");
    assert_eq!(Dataset::load(&[]).unwrap_err().exit_code(), 2);
}

// ---- statistics ----

/// Exact values: the statistics of 1, 2, 4 and of a constant.
#[test]
fn statistics_of_known_numbers() {
    let frames = [1.0f32, 0.1, 2.0, 0.1, 4.0, 0.1];
    let statistics = Statistics::of(&frames, 2);
    let tenth = 0.1f32 as f64;
    assert_eq!(statistics.max, [4.0, tenth]);
    assert_eq!(statistics.min, [1.0, tenth]);
    assert_eq!(statistics.avg, [7.0 / 3.0, tenth]);
    approx::assert_relative_eq!(statistics.std[0], (7.0f64 / 3.0).sqrt(), epsilon = 1e-14);
    assert_eq!(statistics.std[1], 1.0);
    assert_eq!(Statistics::of(&[0.1f64; 1001], 1).std, [1.0], "a constant is not divided by its rounding errors");
    for (mode, expected) in
        [(Zscore, [(1.0 - 7.0 / 3.0) / (7.0f64 / 3.0).sqrt(), 0.0]), (Minmax, [-1.0, -1.0]), (Raw, [1.0, tenth])]
    {
        let mut frame = [1.0, tenth];
        statistics.normalize(mode, &mut frame);
        approx::assert_relative_eq!(frame[..], expected[..], epsilon = 1e-14);
        statistics.denormalize(mode, &mut frame);
        approx::assert_relative_eq!(frame[..], [1.0, tenth][..], epsilon = 1e-14);
    }
    assert_eq!(Statistics::of(&[3.0f64], 1).std, [1.0], "one frame has no deviation");
    let only_last = Statistics::of_rows(frames.chunks_exact(2).skip(2), 2);
    assert_eq!((only_last.avg[0], only_last.std[0]), (4.0, 1.0));
}

/// Means far from zero must not cancel the deviation.
#[test]
fn statistics_of_a_distant_feature() {
    let frames: Vec<f64> = (0..1000).map(|i| 1e8 + (i % 2) as f64 * 1e-3).collect();
    let expected = 1e-3 * (1000.0 / 4.0 / 999.0f64).sqrt();
    approx::assert_relative_eq!(Statistics::of(&frames, 1).std[0], expected, max_relative = 1e-4);
}

fn golden(case: &str) -> Option<NpzReader<File>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden").join(case).join("arrays.npz");
    match File::open(&path) {
        Ok(file) => Some(NpzReader::new(file).unwrap()),
        Err(_) => {
            println!("skipped: {} is not there", path.display());
            None
        }
    }
}

#[test]
fn normalisation_agrees_with_the_reference() {
    let Some(mut arrays) = golden("normalisation") else { return };
    let mut array = |name: &str| -> ndarray::ArrayD<f64> { arrays.by_name(name).unwrap() };
    let data = array("data");
    let frame_size = data.shape()[1];
    let data = data.into_raw_vec_and_offset().0;
    let statistics = Statistics::of(&data, frame_size);
    for (got, name) in
        [(&statistics.max, "max"), (&statistics.min, "min"), (&statistics.avg, "avg"), (&statistics.std, "std")]
    {
        approx::assert_relative_eq!(got[..], *array(name).as_slice().unwrap(), max_relative = 1e-12, epsilon = 1e-14);
    }
    let probe = array("probe").into_raw_vec_and_offset().0;
    for (mode, name, correct) in [(Zscore, "zscore", ""), (Minmax, "minmax", "_correct"), (Raw, "none", "")] {
        let normalized = |frames: &[f64], mode: Normalization| {
            let mut frames = frames.to_vec();
            statistics.normalize(mode, &mut frames);
            frames
        };
        let mut denormalized = probe.clone();
        statistics.denormalize(mode, &mut denormalized);
        for (got, what) in [
            (normalized(&data, mode), "data"),
            (normalized(&probe, mode), "probe_normalised"),
            (denormalized, "probe_denormalised"),
        ] {
            let expected = array(&format!("{name}.{what}{correct}"));
            approx::assert_relative_eq!(got[..], *expected.as_slice().unwrap(), max_relative = 1e-11, epsilon = 1e-12);
        }
    }
}

// ---- windows and the split ----

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

// ---- the check ----

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
    assert!(clean.ready && clean.warnings.is_empty() && clean.jumps == 0, "{clean}");
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
    assert!(clean.warnings.is_empty(), "{clean}");
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
fn what_no_training_could_take_is_refused_by_the_check_too() {
    let scratch = Scratch::new();
    let set = synth::locomotion(300, 5);
    type Change = fn(&mut Dataset);
    let changes: [(Change, &str); 6] = [
        (|set| set.clip_roots[0].x = f64::NAN, "clip_roots: x of clip 0 is NaN"),
        (|set| set.clip_roots[0].facing = f64::INFINITY, "clip_roots: facing of clip 0 is inf"),
        (|set| set.clip_roots[0].z = -1e300, "clip_roots: z of clip 0 is -1"),
        (|set| set.rig.as_mut().unwrap().fps = f64::NAN, "fps is NaN"),
        (|set| set.rig.as_mut().unwrap().fps = 1e300, "fps is 1"),
        (|set| set.rig.as_mut().unwrap().skeleton.offsets[7][2] = f64::INFINITY, "the offset of LeftArm is ["),
    ];
    for (change, says) in changes {
        let mut bad = set.clone();
        change(&mut bad);
        npz::write(&scratch.path(), &bad).unwrap();
        for error in [npz::read(&scratch.path()).unwrap_err(), npz::read_lenient(&scratch.path()).unwrap_err()] {
            assert!(error.to_string().contains("motion.npz: ") && error.to_string().contains(says), "{error}");
            assert_eq!(error.exit_code(), 4, "{error}");
        }
    }
}

// ---- real motion ----

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
