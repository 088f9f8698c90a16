//! A reader for untrusted zip files. Every offset and length is checked against the file before it
//! is used, and every entry against its checksum. An entry that claims an absurd inflated size is
//! refused unread.
use crate::{Error, Result, host::files};
use flate2::{Crc, bufread::DeflateDecoder};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Largest ratio of deflate, which it reaches only on constants.
const DEFLATE_LIMIT: u64 = 1032;
/// Largest ratio of inflated to compressed size for an entry that inflates to more than
/// [`PLAUSIBLE_SIZE`] bytes; motion reaches 2:1.
const PLAUSIBLE_RATIO: u64 = 100;
const PLAUSIBLE_SIZE: u64 = 64 << 20;

/// An open zip file whose directory is known to fit into the file.
pub(crate) struct Zip {
    path: PathBuf,
    file: BufReader<File>,
    entries: Vec<Entry>,
    /// Position where the entries end and the directory starts.
    directory: u64,
}

/// One entry of the directory.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    header: u64,
}

/// An entry's bytes, inflated. Reading fails at the end if the checksum does not match.
pub(crate) struct EntryReader<'a> {
    bytes: Box<dyn Read + 'a>,
    left: u64,
    crc: Crc,
    expected: u32,
}

impl Zip {
    /// Opens a file and reads its directory.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse =
            |what: String| Error::data(path, what, "check the path, or export the file again with numpy.savez");
        let (file, _) = files::open(path).map_err(|e| refuse(format!("cannot be opened: {e}")))?;
        let mut file = BufReader::new(file);
        let (entries, directory) = read_directory(&mut file).map_err(refuse)?;
        Ok(Zip { path: path.to_owned(), file, entries, directory })
    }

    /// The names of all entries.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The inflated size, in bytes, of an entry given by its position in [`Zip::names`], and a
    /// reader of its bytes.
    pub fn read(&mut self, index: usize) -> Result<(u64, EntryReader<'_>)> {
        let Zip { path, file, entries, directory } = self;
        let entry = &entries[index];
        let reader = entry
            .open(file, *directory)
            .map_err(|what| Error::data(path, format!("{}: {what}", entry.name), "export it again with numpy.savez"))?;
        Ok((entry.size, reader))
    }
}

impl Entry {
    /// Checks the entry against the part of the file before `directory` and starts reading it.
    fn open<'a>(&self, file: &'a mut BufReader<File>, directory: u64) -> Result<EntryReader<'a>, String> {
        if self.flags & 1 != 0 {
            return Err("it is encrypted".into());
        }
        if self.header.checked_add(30).is_none_or(|end| end > directory) {
            return Err("it starts past the end of the file".into());
        }
        let mut local = [0; 30];
        file.seek(SeekFrom::Start(self.header)).and_then(|_| file.read_exact(&mut local)).map_err(text)?;
        if local[..4] != *b"PK\x03\x04" {
            return Err("its header is damaged".into());
        }
        let start = self.header + 30 + number(&local, 26, 2) + number(&local, 28, 2);
        if start.checked_add(self.compressed).is_none_or(|end| end > directory) {
            return Err("it ends past the end of the file".into());
        }
        file.seek(SeekFrom::Start(start)).map_err(text)?;
        let raw = file.take(self.compressed);
        let bytes: Box<dyn Read + 'a> = match self.method {
            0 if self.size == self.compressed => Box::new(raw),
            0 => return Err("it is stored, but its two sizes differ".into()),
            8 if self.size > inflated_limit(self.compressed) => {
                return Err(format!(
                    "{} bytes claim to inflate to {}, which no motion does",
                    self.compressed, self.size
                ));
            }
            8 => Box::new(DeflateDecoder::new(raw)),
            method => return Err(format!("compression method {method} is not supported, only deflate is")),
        };
        Ok(EntryReader { bytes, left: self.size, crc: Crc::new(), expected: self.crc })
    }
}

impl Read for EntryReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        let got = self.bytes.read(&mut buffer[..wanted])?;
        if got == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends early"));
        }
        self.crc.update(&buffer[..got]);
        self.left -= got as u64;
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"));
        }
        Ok(got)
    }
}

/// The largest plausible inflated size of `compressed` bytes.
fn inflated_limit(compressed: u64) -> u64 {
    let possible = compressed.saturating_mul(DEFLATE_LIMIT);
    possible.min(compressed.saturating_mul(PLAUSIBLE_RATIO).max(PLAUSIBLE_SIZE))
}

/// Reads the directory at the end of the file; also returns its position.
fn read_directory(file: &mut BufReader<File>) -> Result<(Vec<Entry>, u64), String> {
    let mut magic = [0; 6];
    file.read_exact(&mut magic).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "not an npz file: it holds less than 6 bytes".to_owned(),
        _ => e.to_string(),
    })?;
    if magic == *b"\x93NUMPY" {
        return Err("a single .npy array, not an npz file".into());
    }
    if magic[..2] != *b"PK" {
        return Err("not an npz (zip) file".into());
    }

    // The end record is 22 bytes and a comment of at most 65535. A zip64 locator of 20 bytes may
    // precede it.
    const TRUNCATED: &str = "its zip directory is missing: the file is truncated or damaged";
    let length = file.seek(SeekFrom::End(0)).map_err(text)?;
    let tail_start = length.saturating_sub(20 + 22 + 65535);
    let tail = read_at(file, tail_start, length - tail_start)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&at| {
            tail[at..].starts_with(b"PK\x05\x06") && at as u64 + 22 + number(&tail, at + 20, 2) == tail.len() as u64
        })
        .ok_or(TRUNCATED)?;
    let (mut count, mut size, mut start) =
        (number(&tail, end + 10, 2), number(&tail, end + 12, 4), number(&tail, end + 16, 4));
    let mut limit = tail_start + end as u64;
    if end >= 20 && tail[end - 20..].starts_with(b"PK\x06\x07") {
        let record = number(&tail, end - 12, 8);
        limit -= 20;
        if record.checked_add(56).is_none_or(|record_end| record_end > limit) {
            return Err(TRUNCATED.into());
        }
        let record64 = read_at(file, record, 56)?;
        if !record64.starts_with(b"PK\x06\x06") {
            return Err(TRUNCATED.into());
        }
        (count, size, start) = (number(&record64, 32, 8), number(&record64, 40, 8), number(&record64, 48, 8));
        limit = record;
    }
    if start.checked_add(size).is_none_or(|directory_end| directory_end > limit) || count > size / 46 {
        return Err("its zip directory does not fit into the file: the file is damaged".into());
    }
    // Entries are read one by one: a false directory ends at the first of them, however long it
    // claims to be.
    file.seek(SeekFrom::Start(start)).map_err(text)?;
    let mut directory = file.take(size);
    let entries = (0..count).map(|_| parse_entry(&mut directory)).collect::<Option<_>>();
    Ok((entries.ok_or("its zip directory is damaged")?, start))
}

/// Reads the next entry of the directory; `None` if the bytes are no entry.
fn parse_entry(directory: &mut impl Read) -> Option<Entry> {
    let mut next = |length: u64| {
        let mut bytes = vec![0; length as usize]; // a length of two bytes
        directory.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let fixed = next(46)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, extra) = (next(number(&fixed, 28, 2))?, next(number(&fixed, 30, 2))?);
    next(number(&fixed, 32, 2))?; // the comment
    let mut extra = &extra[..];
    let mut entry = Entry {
        name: String::from_utf8_lossy(&name).into_owned(),
        flags: number(&fixed, 8, 2) as u16,
        method: number(&fixed, 10, 2) as u16,
        crc: number(&fixed, 16, 4) as u32,
        compressed: number(&fixed, 20, 4),
        size: number(&fixed, 24, 4),
        header: number(&fixed, 42, 4),
    };
    // Extra fields have a kind and a length of two bytes each. Kind 1 (zip64) lists the numbers
    // that need eight bytes.
    while extra.len() >= 4 {
        let field = take(&mut extra, 4)?;
        let mut body = take(&mut extra, number(field, 2, 2))?;
        if number(field, 0, 2) == 1 {
            for value in [&mut entry.size, &mut entry.compressed, &mut entry.header] {
                if *value == u64::from(u32::MAX) {
                    *value = number(take(&mut body, 8)?, 0, 8);
                }
            }
        }
    }
    Some(entry)
}

/// Reads `length` bytes of the file from `start` on; the caller has checked that they exist.
fn read_at(file: &mut BufReader<File>, start: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(text)?;
    Ok(bytes)
}

/// Splits `length` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (front, back) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = back;
    Some(front)
}

/// The little-endian number of `width` bytes at `at`.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The text of a read error, for `map_err`.
fn text(error: io::Error) -> String {
    format!("cannot be read: {error}")
}
