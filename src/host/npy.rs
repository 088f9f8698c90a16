//! Single arrays of an npz file. Sizes are checked against the file before memory is allocated;
//! ndarray-npy decodes the numbers.
use super::zip::{EntryReader, Zip};
use crate::{Error, Result, host::memory};
use half::f16;
use ndarray::{Array, Array2, ArrayD, ArrayView1, Dimension};
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Longest array header that is accepted; numpy writes about a hundred bytes and refuses to read
/// more than 10,000.
const MAX_HEADER: u64 = 10_000;
/// Byte order of written arrays.
const NATIVE: char = if cfg!(target_endian = "big") { '>' } else { '<' };

/// An optional array of strings, with line ends in them replaced by spaces. Empty if there is no
/// such array or it cannot be read as strings.
pub(crate) fn read_names(path: &Path, zip: &mut Zip, name: &str) -> Vec<String> {
    let mut decode = || {
        let npy = Npy::open(path, zip, name).ok()?;
        let &[count] = &npy.shape[..] else { return None };
        // <U13 is 13 code points of four bytes each, zero padded.
        let width = npy.kind()?.strip_prefix('U')?.parse().ok().filter(|&width| width > 0)?;
        let text = |array: Array2<u32>| -> Vec<String> {
            let code_point = |&c: &u32| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER);
            let string = |row: ArrayView1<u32>| row.iter().map(code_point).collect::<String>();
            array.rows().into_iter().map(|row| string(row).trim_end_matches('\0').replace('\n', " ")).collect()
        };
        npy.restated("u4", Some(vec![count, width])).decode(path, text).ok()
    };
    decode().unwrap_or_default()
}

/// The numbers of an optional array of any shape, which must hold `count` of them; `None` if there
/// is no array of that name.
pub(crate) fn read_numbers(path: &Path, zip: &mut Zip, name: &str, count: usize) -> Result<Option<Vec<f64>>> {
    fn widened<A: Copy + num_traits::AsPrimitive<f64>>(array: ArrayD<A>) -> Vec<f64> {
        array.iter().map(|&x| x.as_()).collect()
    }
    if !zip.names().any(|entry| array_name(entry) == name) {
        return Ok(None);
    }
    let npy = Npy::open(path, zip, name)?;
    if npy.shape.iter().product::<usize>() != count {
        return Err(npy.refuse(path, &format!("expected {count} numbers")));
    }
    match npy.kind() {
        Some("f2") => npy
            .restated("u2", None)
            .decode(path, |array: ArrayD<u16>| array.iter().map(|&bits| f16::from_bits(bits).to_f64()).collect()),
        Some("f4") => npy.decode(path, widened::<f32>),
        Some("f8") => npy.decode(path, widened::<f64>),
        Some("i4") => npy.decode(path, widened::<i32>),
        Some("i8") => npy.decode(path, widened::<i64>),
        Some("u4") => npy.decode(path, widened::<u32>),
        Some("u8") => npy.decode(path, widened::<u64>),
        _ => Err(npy.refuse(path, "save it as float64 or int64")),
    }
    .map(Some)
}

/// One array of the file. Its header has been read and agrees with the entry's size.
pub(crate) struct Npy<'a> {
    name: &'a str,
    /// The type as in the header, such as `<f4`.
    descr: String,
    fortran_order: bool,
    pub shape: Vec<usize>,
    /// The numbers.
    body: EntryReader<'a>,
}

impl<'a> Npy<'a> {
    /// Finds an array and reads its header.
    pub fn open(path: &Path, zip: &'a mut Zip, name: &'a str) -> Result<Self> {
        let Some(index) = zip.names().rposition(|entry| array_name(entry) == name) else {
            return Err(missing(path, name, zip));
        };
        let (size, body) = zip.read(index)?;
        Self::from_entry(name, size, body)
            .map_err(|what| Error::data(path, format!("{name}: {what}"), "export the file again with numpy.savez"))
    }

    fn from_entry(name: &'a str, size: u64, mut body: EntryReader<'a>) -> Result<Self, String> {
        let mut read = |length: u64| {
            let mut bytes = vec![0; length as usize];
            body.read_exact(&mut bytes).map_err(|e| format!("cannot be read: {e}")).map(|()| bytes)
        };
        let prefix = read(8)?;
        let width = match prefix[..] {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => 2,
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => 4,
            _ => return Err("not an array of a numpy version known here".into()),
        };
        let length = read(width)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
        if length > MAX_HEADER {
            return Err(format!("its header claims {length} bytes, far more than any has"));
        }
        let header = read(length)?;
        let (descr, fortran_order, shape) = std::str::from_utf8(&header)
            .ok()
            .and_then(parse_header)
            .filter(|(descr, ..)| descr.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or("its header is damaged or of a type not known here")?;

        let held = size - (8 + width + length);
        let claimed = element_size(&descr)
            .and_then(|size| shape.iter().try_fold(size, |product, &n| product.checked_mul(n as u64)));
        if claimed != Some(held) {
            return Err(format!("its header claims {descr} {shape:?}, but {held} bytes follow it"));
        }
        Ok(Npy { name, descr, fortran_order, shape, body })
    }

    /// The type without its byte order, such as `f4`; `None` for a type without a mark of byte
    /// order.
    pub fn kind(&self) -> Option<&str> {
        self.descr.strip_prefix(['<', '>', '|'])
    }

    /// Reinterprets the bytes as another type or shape of the same size.
    pub fn restated(mut self, kind: &str, shape: Option<Vec<usize>>) -> Self {
        self.descr.truncate(1);
        self.descr.push_str(kind);
        self.shape = shape.unwrap_or(self.shape);
        self
    }

    /// Reads the numbers and passes the array to `make`.
    pub fn decode<A: ReadableElement, D: Dimension, R>(
        self,
        path: &Path,
        make: impl Fn(Array<A, D>) -> R,
    ) -> Result<R> {
        let Npy { name, descr, fortran_order, shape, body } = self;
        let numbers = shape.iter().product::<usize>() as u64;
        // Numbers of another type or order are copied as f32.
        let copy = if fortran_order || !descr.ends_with("f4") { size_of::<f32>() as u64 } else { 0 };
        let bytes = numbers.saturating_mul(element_size(&descr).unwrap_or(0) + copy);
        memory::require(bytes, |words| {
            Error::data(path, format!("{name} takes {words}"), "split the file, or leave out other programs")
        })?;
        let header = header(&descr, fortran_order, &shape);
        let array: Result<Array<A, D>, ReadNpyError> = ReadNpyExt::read_npy(header.chain(body));
        array.map(make).map_err(|e| Error::data(path, format!("{name}: {e}"), "the file is damaged: export it again"))
    }

    /// An error that names the array with its type and shape.
    pub fn refuse(&self, path: &Path, mend: &str) -> Error {
        Error::data(path, format!("{} is {} {:?}", self.name, self.descr, self.shape), mend)
    }
}

/// An array's header, version 1, padded to a multiple of 64 bytes as numpy does.
fn header(descr: &str, fortran_order: bool, shape: &[usize]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}");
    let padded = (10 + dict.len() + 1).next_multiple_of(64);
    dict.extend(std::iter::repeat_n(' ', padded - 11 - dict.len()));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((dict.len() as u16).to_le_bytes());
    header.extend(dict.bytes());
    header
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` and spaces; nothing else is
/// accepted.
fn parse_header(text: &str) -> Option<(String, bool, Vec<usize>)> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" => {
                let (value, after) = quoted(rest)?;
                descr = Some(value.to_owned());
                rest = after;
            }
            "fortran_order" => {
                let (value, after) = match rest.strip_prefix("True") {
                    Some(after) => (true, after),
                    None => (false, rest.strip_prefix("False")?),
                };
                fortran_order = Some(value);
                rest = after;
            }
            "shape" => {
                let (sizes, after) = rest.strip_prefix('(')?.split_once(')')?;
                let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
                shape = Some(sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?);
                rest = after;
            }
            _ => return None,
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some((descr?, fortran_order?, shape?))
}

/// Splits off a string in single or double quotes.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// Bytes of one element of a type such as `<f4` or `<U13`.
fn element_size(descr: &str) -> Option<u64> {
    let kind = descr.strip_prefix(['<', '>', '|'])?;
    let letter = kind.chars().next().filter(char::is_ascii)?;
    let count: u64 = kind[1..].parse().ok()?;
    count.checked_mul(if letter == 'U' { 4 } else { 1 })
}

/// The name of the array in an entry.
pub(crate) fn array_name(entry: &str) -> &str {
    entry.strip_suffix(".npy").unwrap_or(entry)
}

/// The error for an array that is not there.
fn missing(path: &Path, name: &str, zip: &Zip) -> Error {
    let mend = match name {
        "data" | "end_indices" => "a motion file holds data [frames, features] and end_indices [clips]".into(),
        _ => format!("give a file that holds {name}"),
    };
    Error::data(path, format!("has no array {name}, it holds {}", listed(zip.names().map(array_name))), mend)
}

/// Names of all arrays of an npz file.
pub(crate) fn array_names(path: &Path) -> Result<Vec<String>> {
    Ok(Zip::open(path)?.names().map(|entry| array_name(entry).to_owned()).collect())
}

/// The first names of a list, as text.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.take(9).collect();
    if names.len() == 9 {
        names[8] = "...";
    }
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

/// A file that ignores everything written after its first error. (An unfinished [`ZipWriter`]
/// writes its directory when it is dropped, and reports a failure of that on standard error.)
struct UntilError<'a> {
    file: BufWriter<&'a mut File>,
    /// Position of the next byte, and the end of the file, as if no write had failed.
    at: u64,
    end: u64,
    failed: bool,
}

impl<'a> UntilError<'a> {
    fn attempt(&mut self, act: impl FnOnce(&mut BufWriter<&'a mut File>) -> io::Result<()>) -> io::Result<()> {
        let done = if self.failed { Ok(()) } else { act(&mut self.file) };
        self.failed |= done.is_err();
        done
    }
}

impl Write for UntilError<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|file| file.write_all(bytes))?;
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(BufWriter::flush)
    }
}

impl Seek for UntilError<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.end.saturating_add_signed(by),
        };
        self.attempt(|file| file.seek(SeekFrom::Start(at)).map(drop))?;
        self.at = at;
        Ok(at)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.at)
    }
}

/// Writes an npz file array by array, uncompressed.
pub(crate) struct NpzWriter<'a>(ZipWriter<UntilError<'a>>);

impl<'a> NpzWriter<'a> {
    /// Writes to an empty file.
    pub fn new(file: &'a mut File) -> Self {
        NpzWriter(ZipWriter::new(UntilError { file: BufWriter::new(file), at: 0, end: 0, failed: false }))
    }

    /// Writes an array of numbers; `kind` is numpy's name for their type, such as `f4`.
    pub fn numbers<A: bytemuck::NoUninit>(
        &mut self,
        name: &str,
        kind: &str,
        shape: &[usize],
        numbers: &[A],
    ) -> io::Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .large_file(bytes.len() >= u32::MAX as usize - 1024);
        self.0.start_file(format!("{name}.npy"), options)?;
        self.0.write_all(&header(&format!("{NATIVE}{kind}"), false, shape))?;
        self.0.write_all(bytes)
    }

    /// Writes an array of strings.
    pub fn names(&mut self, name: &str, names: &[String]) -> io::Result<()> {
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(1);
        let mut code_points = vec![0; names.len() * width];
        for (row, name) in code_points.chunks_exact_mut(width).zip(names) {
            row.iter_mut().zip(name.chars()).for_each(|(to, c)| *to = u32::from(c));
        }
        self.numbers(name, &format!("U{width}"), &[names.len()], &code_points)
    }

    /// Writes the directory.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()?.flush()
    }
}
