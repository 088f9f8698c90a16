//! Opens files of motion, compressed or not, and tells their format, or the kind of a file that
//! cannot be read. Also finds the files of a folder.
use crate::host::npy;
use crate::host::utf16::{self, Utf16};
use crate::motion::source::{FORMATS, Format, Head, Sniff, ZIP, format_of};
use crate::{Error, Result, host::files};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Component, Path, PathBuf};

/// Largest memory for decompressing an xz file, KiB: enough for `xz -9`.
const XZ_MEMORY: u32 = 100 << 10;
/// Default for the largest size of a decompressed file of motion, as a multiple of the compressed
/// size. Real files grow to some 4 to 10 times.
pub const EXPANSION: u64 = 100;
/// Way to a set that is no file of motion here.
const WRITE: &str = "see docs/features.md to write an npz to train on";
/// Size to which any compressed file may grow, bytes.
const SMALL: u64 = 1 << 20;
/// Extensions that may follow that of the format.
const COMPRESSIONS: [&str; 2] = ["gz", "xz"];
/// First bytes of a numpy array.
const NUMPY: &[u8] = b"\x93NUMPY";

/// Opens a file and decompresses it, to at most `expansion` times its size. Its first bytes decide
/// about compression, and UTF-16 becomes UTF-8. Errors ([`Error::Data`]): no such file, and a file
/// of a known kind that cannot be read here, with a remedy.
pub fn open(path: &Path, expansion: u64) -> Result<(&'static Format, Box<dyn BufRead>)> {
    let (start, reader) = begun(path, expansion)?;
    let head = Head::new(path, &start);
    let format = match format_of(&head, Sniff::Sure) {
        Some(format) => format,
        None => match foreign(&head) {
            Some(error) => return Err(error),
            None => format_of(&head, Sniff::Maybe).ok_or_else(|| Error::data(path, "is of no known format", WRITE))?,
        },
    };
    Ok((format, Box::new(BufReader::with_capacity(1 << 16, reader))))
}

/// The error for a path that was given as a training set but is motion of another kind. It says how
/// to make a set of it.
pub(crate) fn no_set(path: &Path) -> Option<Error> {
    if path.is_dir() {
        let mend = "give the .npz files in it, or make one of its BVH files: mvae-fast data import FOLDER -o set.npz";
        return Some(Error::data(path, "is a folder", mend));
    }
    let (start, _) = begun(path, EXPANSION).ok()?;
    let head = Head::new(path, &start);
    let Some(format) = format_of(&head, Sniff::Sure) else { return unreadable(&head) };
    let mend = "make a set to train on of it: mvae-fast data import FILE -o set.npz";
    Some(format.without_skeleton(path).unwrap_or_else(|| Error::data(path, format.is, mend)))
}

/// The first bytes of a file, decompressed and in UTF-8, and a reader of all of them.
fn begun(path: &Path, expansion: u64) -> Result<(Vec<u8>, Box<dyn Read>)> {
    let refuse = |error: io::Error| Error::data(path, format!("cannot be opened: {error}"), "check the path");
    let (file, size) = files::open(path).map_err(refuse)?;
    let (start, reader) = peeked(BufReader::with_capacity(1 << 16, file)).map_err(refuse)?;
    let left = size.saturating_mul(expansion).max(SMALL);
    let reader: Box<dyn Read> = match start[..] {
        [0x1f, 0x8b, ..] => Box::new(Bounded { reader: MultiGzDecoder::new(reader), left, expansion }),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(Bounded { reader: XzReader::new_mem_limit(reader, true, XZ_MEMORY), left, expansion })
        }
        _ => reader,
    };
    let refuse =
        |error: io::Error| Error::data(path, format!("cannot be decompressed: {error}"), "the file is damaged");
    let (start, reader) = peeked(reader).map_err(refuse)?;
    match utf16::order(&start) {
        Some(order) => peeked(Utf16::new(reader, order)).map_err(refuse),
        None => Ok((start, reader)),
    }
}

/// The first bytes, and a reader that still has them, both without UTF-8's byte order mark.
fn peeked(mut reader: impl Read + 'static) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut start = Vec::new();
    reader.by_ref().take(512).read_to_end(&mut start)?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).to_vec();
    Ok((start.clone(), Box::new(Cursor::new(start).chain(reader))))
}

/// Reader of decompressed bytes that stops at a bound.
struct Bounded<R> {
    reader: R,
    /// Bytes that may still come.
    left: u64,
    expansion: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let what =
                    format!("it grows to more than {} times its size (--max-expansion allows more)", self.expansion);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
            }
        }
        Ok(count)
    }
}

/// The error for a file that is known not to be importable motion, with its kind and a remedy.
fn foreign(head: &Head) -> Option<Error> {
    if let Some(error) = unreadable(head) {
        return Some(error);
    }
    let Head { path, start, arrays } = head;
    let (what, mend) = if start.is_empty() {
        ("is empty".into(), "expected HIERARCHY, as a BVH file begins")
    } else if head.has("data") && head.has("end_indices") {
        ("is a motion file already".into(), "train on it as it is: mvae-fast train FILE")
    } else if start.starts_with(ZIP) && uncompressed(path) != *path {
        ("is a compressed npz or zip file".into(), "decompress it, then import that")
    } else if start.starts_with(ZIP) {
        let arrays = npy::listed(arrays.iter().map(String::as_str));
        (format!("is an npz file that holds {arrays}, no motion known here"), WRITE)
    } else if start.starts_with(NUMPY) {
        ("is a single numpy array, no motion known here".into(), WRITE)
    } else {
        return None;
    };
    Some(Error::data(path, what, mend))
}

/// The error for motion of a kind that nothing here reads.
fn unreadable(head: &Head) -> Option<Error> {
    const SMPL: &str = "make BVH of it with the SMPL body model and smpl2bvh, then import that";
    const IK: &str = "make BVH of it by inverse kinematics, then import that (docs/features.md)";
    const ACCLAIM: &str = "make BVH of skeleton and motion together (amc2bvh WHO.asf WALK.amc -o walk.bvh), then import that \
                           (docs/features.md)";
    const BLENDER: &str = "export the motion as BVH (Blender reads it and writes BVH), then import that";
    const MMD: &str = "export the motion as BVH (Blender's MMD Tools read it), then import that";
    const SOLVE: &str =
        "have the program that captured or edits it export BVH, with joints that turn, then import that";
    const UNPACK: &str = "unpack it, then import the folder: mvae-fast data import FOLDER -o set.npz";
    /// First bytes of known files, their kinds, and how to make BVH of them.
    const KNOWN: [(&[u8], &str, &str); 16] = [
        (b"Kaydara", "an FBX file", BLENDER),
        (b"; FBX", "an FBX file", BLENDER),
        (b"glTF", "a glTF file", BLENDER),
        (b"PXR-USDC", "a USD file", BLENDER),
        (b"#usda", "a USD file", BLENDER),
        (b"Ogawa", "an Alembic file: surfaces without joints", SOLVE),
        (b"#!OML:ASF", "an Acclaim motion file (AMC)", ACCLAIM),
        (b":FULLY-SPECIFIED", "an Acclaim motion file (AMC)", ACCLAIM),
        (b":version", "an Acclaim skeleton file (ASF)", ACCLAIM),
        (b"# AST/ASF", "an Acclaim skeleton file (ASF)", ACCLAIM),
        (b"Vocaloid Motion Data", "an MMD motion file (VMD)", MMD),
        (b"PathFileType", "a TRC file: markers without a skeleton", SOLVE),
        (b"[Header]", "an HTR file", SOLVE),
        (b"\x80\x02", "a Python pickle", SMPL),
        (b"\x80\x03", "a Python pickle", SMPL),
        (b"\x80\x04", "a Python pickle", SMPL),
    ];
    let Head { path, start, arrays } = head;
    let of_shape = |end: &str| start.starts_with(NUMPY) && String::from_utf8_lossy(start).contains(end);
    let text = start.trim_ascii_start();
    let known = KNOWN.iter().find(|(begins, ..)| text.starts_with(begins));
    let (what, mend) = if arrays.iter().any(|entry| has_extension(entry.as_ref(), "bvh")) {
        ("a zip file of BVH files", UNPACK)
    } else if of_shape(", 263)") || of_shape(", 251)") {
        ("a HumanML3D file: features of another layout, which leave out how joints turn about their bones", IK)
    } else if of_shape(", 22, 3)") || of_shape(", 21, 3)") {
        ("an array of joints' places, as HumanML3D has them: without how joints turn", IK)
    } else if let Some((_, what, mend)) = known {
        (*what, *mend)
    } else if text.starts_with(b"<") && start.windows(7).any(|word| word == b"COLLADA") {
        ("a COLLADA file", BLENDER)
    } else if has_extension(path, "amc") || has_extension(path, "asf") {
        ("an Acclaim file (ASF/AMC)", ACCLAIM)
    } else if matches!(start, [_, 0x50, ..]) && has_extension(path, "c3d") {
        ("a C3D file: markers without a skeleton", SOLVE)
    } else {
        return None;
    };
    Some(Error::data(path, format!("is {what}"), mend))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// A path without the extensions of compression and format.
pub(crate) fn stem(path: &Path) -> PathBuf {
    let stem = uncompressed(path);
    let extensions = FORMATS.iter().flat_map(|format| format.endings).filter_map(|end| end.rsplit('.').next());
    if extensions.into_iter().any(|end| has_extension(&stem, end)) { stem.with_extension("") } else { stem }
}

/// A path without the extension of compression.
fn uncompressed(path: &Path) -> PathBuf {
    let is_compressed = COMPRESSIONS.iter().any(|compression| has_extension(path, compression));
    if is_compressed { path.with_extension("") } else { path.to_owned() }
}

/// A file to import, and the name of its clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The file's name, or its path below the given folder.
    pub name: String,
}

/// The files that paths stand for, and the number of repeated files that were left out. A path to a
/// file stands for that file. A folder stands for all files below it whose names end as those of a
/// format do, ordered by name. Formats that ask for a skeleton count only if there is a `skeleton`.
/// Clips of one name in several folders have the folders in their names.
pub fn find(paths: &[PathBuf], skeleton: bool) -> Result<(Vec<Source>, usize)> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            let name = Path::new(path.file_name().unwrap_or(path.as_os_str())).to_owned();
            found.push(Source { path: path.clone(), name: name.to_string_lossy().into_owned() });
            continue;
        }
        let (before, mut others) = (found.len(), Vec::new());
        walk(path, &mut |file| {
            let plain = uncompressed(file);
            let is_of = |format: &Format| (skeleton || format.skeleton.is_none()) && format.is_named(&plain);
            if FORMATS.iter().any(is_of) {
                let name = file.strip_prefix(path).unwrap_or(file).to_string_lossy().replace('\\', "/");
                found.push(Source { path: file.to_owned(), name });
            } else {
                others.push(file.to_owned());
            }
        })?;
        if found.len() == before {
            let known = others.iter().find_map(|file| {
                let (start, _) = begun(file, EXPANSION).ok()?;
                let head = Head::new(file, &start);
                match format_of(&head, Sniff::Sure) {
                    Some(format) if !skeleton => format.without_skeleton(file),
                    Some(_) => None,
                    None => unreadable(&head),
                }
            });
            return Err(known.unwrap_or_else(|| Error::data(path, "holds no file of motion", endings(skeleton))));
        }
    }
    let place = |source: &Source| fs::canonicalize(&source.path).unwrap_or_else(|_| source.path.clone());
    let mut placed: Vec<_> = found.into_iter().map(|source| (place(&source), source)).collect();
    let (all, mut seen) = (placed.len(), HashSet::new());
    placed.retain(|(place, _)| seen.insert(place.clone()));
    tell_apart(&mut placed);
    let repeated = all - placed.len();
    Ok((placed.into_iter().map(|(_, source)| source).collect(), repeated))
}

/// The ends of names that files of motion must have, for a message.
fn endings(skeleton: bool) -> String {
    let listed = |asks: bool| {
        let formats = FORMATS.iter().filter(|format| format.skeleton.is_some() == asks);
        formats.flat_map(|format| format.endings).copied().collect::<Vec<_>>().join(", ")
    };
    let or = if skeleton { "," } else { ", or with --skeleton in" };
    format!("it has to end in {}{or} {}", listed(false), listed(true))
}

/// Puts folders before the names of clips with equal names, as many as needed to tell them apart.
/// Each file comes with its canonical path.
fn tell_apart(sources: &mut [(PathBuf, Source)]) {
    loop {
        let mut places: HashMap<PathBuf, HashSet<PathBuf>> = HashMap::new();
        for (place, source) in sources.iter() {
            places.entry(stem(source.name.as_ref())).or_default().insert(stem(place));
        }
        let mut changed = false;
        for (place, source) in sources.iter_mut().filter(|(_, one)| places[&stem(one.name.as_ref())].len() > 1) {
            let mut folders = place.components().rev().filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_string_lossy()),
                _ => None,
            });
            if let Some(folder) = folders.nth(1 + source.name.matches('/').count()) {
                source.name = format!("{folder}/{}", source.name);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
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
