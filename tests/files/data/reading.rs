//! Files that are read, whatever way they are written.
use super::{Scratch, Style, ends, floats, npy, npy_with_header, small, zip};
use half::f16;
use mvae_fast::data::{Dataset, npz, synth};
use mvae_fast::motion::{Rig, Root};
use ndarray_npy::{NpzReader, NpzWriter};
use proptest::prelude::*;
use std::fs::{self, File};

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
fn names_are_read_and_strange_arrays_let_be() {
    let (entries, expected) = small();
    assert_eq!(Scratch::new().read(&zip(&entries, Style::default())).unwrap(), expected);
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
