//! Opens a file of motion, compressed or not, and tells what kind it is; finds the files of a folder.
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// Most memory an xz file may ask for, KiB: enough for `xz -9`.
const XZ_MEMORY: u32 = 100 << 10;
/// What a name may end in behind its kind.
const COMPRESSIONS: [&str; 2] = ["gz", "xz"];

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Biovision hierarchy.
    Bvh,
    /// Lines of numbers: exponential maps.
    Numbers,
}

/// Opens a file, decompressing it by what it begins with. Errors ([`Error::Data`]): no such file, and a file of a kind that
/// is known not to be readable here, with what to do about it.
pub fn open(path: &Path) -> Result<(Kind, Box<dyn BufRead>)> {
    let refuse = |error: io::Error| Error::data(path, format!("cannot be opened: {error}"), "check the path");
    // Looked at before it is opened: opening a pipe waits for a writer.
    if !fs::metadata(path).map_err(refuse)?.is_file() {
        return Err(Error::data(path, "is not a file", "give a BVH file or a folder of them"));
    }
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(refuse)?);
    let (start, reader) = peeked(file).map_err(refuse)?;
    let reader: Box<dyn Read> = match start[..] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzReader::new_mem_limit(reader, true, XZ_MEMORY)),
        _ => reader,
    };
    let refuse =
        |error: io::Error| Error::data(path, format!("cannot be decompressed: {error}"), "the file is damaged");
    let (start, reader) = peeked(reader).map_err(refuse)?;
    if let Some((what, mend)) = foreign(path, &start) {
        return Err(Error::data(path, what, mend));
    }
    let first = start.trim_ascii_start().first().copied().unwrap_or_default();
    let kind = if matches!(first, b'0'..=b'9' | b'-' | b'+' | b'.') { Kind::Numbers } else { Kind::Bvh };
    Ok((kind, Box::new(BufReader::with_capacity(1 << 16, reader))))
}

/// The first bytes, and a reader that still has them.
fn peeked(mut reader: impl Read + 'static) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut start = Vec::new();
    reader.by_ref().take(512).read_to_end(&mut start)?;
    Ok((start.clone(), Box::new(Cursor::new(start).chain(reader))))
}

/// What a file is, and what to do with it, when it is motion of a kind that cannot be imported.
fn foreign(path: &Path, start: &[u8]) -> Option<(String, &'static str)> {
    const SMPL: &str = "write the motion as BVH first (smpl2bvh does, given the SMPL body model), then import that";
    if start.starts_with(b"PK\x03\x04") {
        let arrays = crate::data::npz::array_names(path).unwrap_or_default();
        let has = |name: &str| arrays.iter().any(|array| array == name);
        return Some(if has("poses") && has("trans") {
            ("is an AMASS file: parameters of the SMPL body model, without the body".into(), SMPL)
        } else if has("data") && has("end_indices") {
            ("is a motion file already".into(), "train on it as it is: mvae-fast train FILE")
        } else {
            let holds = arrays.join(", ");
            (format!("is an npz file that holds {holds}, no BVH"), "see docs/features.md to write one to train on")
        });
    }
    if start.starts_with(b"\x93NUMPY") {
        let header = String::from_utf8_lossy(start);
        return Some(if header.contains(", 263)") || header.contains(", 251)") {
            let what =
                "is a HumanML3D file: features of another layout, which leave out how joints turn about their bones";
            (what.into(), SMPL)
        } else {
            ("is a single numpy array, no BVH".into(), "see docs/features.md to write an npz to train on")
        });
    }
    const CONVERT: &str = "export the motion as BVH (Blender reads it and writes BVH), then import that";
    let (what, mend) = match start {
        [b'K', b'a', b'y', b'd', b'a', b'r', b'a', ..] => ("is an FBX file, no BVH", CONVERT),
        [b'g', b'l', b'T', b'F', ..] => ("is a glTF file, no BVH", CONVERT),
        [_, 0x50, ..] if has_extension(path, "c3d") => ("is a C3D file: markers without a skeleton", CONVERT),
        [] => ("is empty", "expected HIERARCHY, as a BVH file begins"),
        _ => return None,
    };
    Some((what.into(), mend))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// A path without the endings that say how the file is compressed and what kind it is of.
pub fn stem(path: &Path) -> PathBuf {
    let mut stem = path.to_owned();
    for endings in [&COMPRESSIONS[..], &["bvh", "txt"]] {
        if endings.iter().any(|ending| has_extension(&stem, ending)) {
            stem.set_extension("");
        }
    }
    stem
}

/// A file to import, and the name its clip goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its name: that of the file, or its path below the folder that was given.
    pub name: String,
}

/// The files that paths stand for: files as they are, folders with everything below them that is named like motion (`.bvh`,
/// and `.txt` when `numbers` are asked for), in the order of their names.
pub fn find(paths: &[PathBuf], numbers: bool) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            let name = Path::new(path.file_name().unwrap_or(path.as_os_str())).to_owned();
            found.push(Source { path: path.clone(), name: name.to_string_lossy().into_owned() });
            continue;
        }
        let before = found.len();
        walk(path, &mut |file| {
            let plain =
                if COMPRESSIONS.iter().any(|c| has_extension(file, c)) { file.with_extension("") } else { file.into() };
            if has_extension(&plain, "bvh") || numbers && has_extension(&plain, "txt") {
                let name = file.strip_prefix(path).unwrap_or(file).to_string_lossy().replace('\\', "/");
                found.push(Source { path: file.to_owned(), name });
            }
        })?;
        if found.len() == before {
            let mend =
                if numbers { "it has to end in .bvh or .txt" } else { "it has to end in .bvh (.txt wants --skeleton)" };
            return Err(Error::data(path, "holds no file of motion", mend));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) -> Result<()> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(Error::io(folder, "cannot read the folder"))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, visit)?,
            _ => visit(&path),
        }
    }
    Ok(())
}
