//! Files that are refused: damaged, false or of no use.
use super::{Scratch, Style, ends, floats, npy, npy_with_header, small, zip};
use crate::allocations::largest;
use flate2::{Compression, write::DeflateEncoder};
use mvae_fast::data::{Dataset, npz, synth};
use mvae_fast::motion::Skeleton;
use std::io::Write;
use std::path::Path;

/// Above the largest allocation for any file here: none holds more than 24 MB.
const ENOUGH: usize = 32 << 20;

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
