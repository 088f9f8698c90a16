//! Motion files and all that is done to a set before training. Files are made here byte by byte, so
//! that the tests depend on neither the crate's writer nor its zip reader.
mod check;
mod damage;
mod reading;
mod split;
mod statistics;

use flate2::{Compression, Crc, write::DeflateEncoder};
use mvae_fast::data::{Dataset, npz};
use ndarray_npy::NpzReader;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

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

/// The arrays of a golden case, if it is there.
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
