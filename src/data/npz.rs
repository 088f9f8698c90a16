//! Motion files in the reference layout: an `.npz` with `data` (N, F) and `end_indices` (M), the last frame of each
//! clip, inclusive. Sizes are checked against the file before anything is allocated; ndarray-npy decodes the numbers.
use super::Dataset;
use super::zip::{EntryReader, Zip};
use crate::run::atomic;
use crate::{Error, Result};
use half::f16;
use ndarray::{Array, Array1, Array2, ArrayView1, ArrayView2, Dimension};
use ndarray_npy::{NpzWriter, ReadNpyError, ReadNpyExt, ReadableElement};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Longest array header believed; numpy writes about a hundred bytes and refuses to read more than 10,000.
const MAX_HEADER: u64 = 10_000;

/// Reads a motion file. `data` is f16, f32 or f64 and becomes f32; `end_indices` is of any integer type and is sorted
/// and rid of repetitions; when it leaves out the last frame, that frame ends one more clip. Unicode arrays
/// `clip_names`, one a clip, and `joint_names` are read when there. Any byte order, C or Fortran order, stored or
/// deflated.
///
/// Errors ([`Error::Data`]): no such file, not an npz, damaged, missing arrays, other types or ranks, ends outside
/// the data, and values that are not finite.
pub fn read(path: &Path) -> Result<Dataset> {
    let dataset = read_lenient(path)?;
    dataset.require_finite(path)?;
    Ok(dataset)
}

/// As [`read`], but keeps values that are not finite, so that they can be reported.
pub fn read_lenient(path: &Path) -> Result<Dataset> {
    let mut zip = Zip::open(path)?;
    let (frames, frame_size) = read_frames(path, &mut zip)?;
    let num_frames = frames.len() / frame_size;
    let listed = read_ends(path, &mut zip, num_frames)?;

    let mut end_indices = listed.clone();
    end_indices.push(num_frames - 1);
    end_indices.sort_unstable();
    end_indices.dedup();
    // Names belong to the clips as listed: they are of use only when the list needed no mending.
    let mut clip_names = read_names(path, &mut zip, "clip_names");
    if listed != end_indices || clip_names.len() != end_indices.len() {
        clip_names.clear();
    }
    let joint_names = read_names(path, &mut zip, "joint_names");
    Ok(Dataset { frames, frame_size, end_indices, clip_names, joint_names })
}

/// Writes `data` (f32) and `end_indices` (i64), without names, so that the file is either the old one or the whole
/// new one (see [`atomic::write_with`]).
pub fn write(path: &Path, dataset: &Dataset) -> Result<()> {
    atomic::write_with(path, |file| {
        let frames = ArrayView2::from_shape((dataset.num_frames(), dataset.frame_size), &dataset.frames)
            .map_err(io::Error::other)?;
        let ends: Vec<i64> = dataset.end_indices.iter().map(|&end| end as i64).collect();
        let mut npz = NpzWriter::new(BufWriter::new(file));
        npz.add_array("data", &frames).map_err(io::Error::other)?;
        npz.add_array("end_indices", &ArrayView1::from(&ends)).map_err(io::Error::other)?;
        npz.finish().map_err(io::Error::other)?.flush()
    })
}

/// The frames as f32, row major, and the frame size.
fn read_frames(path: &Path, zip: &mut Zip) -> Result<(Vec<f32>, usize)> {
    let npy = Npy::open(path, zip, "data")?;
    let &[num_frames, frame_size] = &npy.shape[..] else {
        return Err(npy.refuse(path, "save it as [frames, features]"));
    };
    if num_frames == 0 || frame_size == 0 {
        return Err(npy.refuse(path, "export at least one clip"));
    }
    if u32::try_from(num_frames).is_err() {
        return Err(npy.refuse(path, "frames are counted in 32 bits: split the file"));
    }
    let frames = match npy.kind() {
        // f16 has no decoder: its bits are read as integers of the same width.
        Some("f2") => npy.restated("u2", None).decode(path, rows(|bits| f16::from_bits(bits).to_f32())),
        Some("f4") => npy.decode(path, |array: Array2<f32>| {
            if array.is_standard_layout() { array.into_raw_vec_and_offset().0 } else { rows(|x| x)(array) }
        }),
        Some("f8") => npy.decode(path, rows(|x: f64| x as f32)),
        _ => Err(npy.refuse(path, "save it as float32, float64 or float16")),
    }?;
    Ok((frames, frame_size))
}

/// Converts an array, in row-major order whatever its own.
fn rows<A: Copy>(convert: impl Fn(A) -> f32) -> impl Fn(Array2<A>) -> Vec<f32> {
    move |array| array.iter().map(|&x| convert(x)).collect()
}

/// The ends as the file lists them, all of them inside the data.
fn read_ends(path: &Path, zip: &mut Zip, num_frames: usize) -> Result<Vec<usize>> {
    fn widened<A: Copy + Into<i128>>(array: Array1<A>) -> Vec<i128> {
        array.iter().map(|&end| end.into()).collect()
    }
    let npy = Npy::open(path, zip, "end_indices")?;
    let &[count] = &npy.shape[..] else {
        return Err(npy.refuse(path, "save it as one row: the last frame of each clip"));
    };
    if count == 0 || count > num_frames {
        let mend = format!("list the last frame of each clip; there are {num_frames} frames");
        return Err(npy.refuse(path, &mend));
    }
    let ends = match npy.kind() {
        Some("i1") => npy.decode(path, widened::<i8>),
        Some("i2") => npy.decode(path, widened::<i16>),
        Some("i4") => npy.decode(path, widened::<i32>),
        Some("i8") => npy.decode(path, widened::<i64>),
        Some("u1") => npy.decode(path, widened::<u8>),
        Some("u2") => npy.decode(path, widened::<u16>),
        Some("u4") => npy.decode(path, widened::<u32>),
        Some("u8") => npy.decode(path, widened::<u64>),
        _ => Err(npy.refuse(path, "save it as int64 or int32")),
    }?;
    let inside = |&end: &i128| usize::try_from(end).ok().filter(|&end| end < num_frames);
    ends.iter().map(inside).collect::<Option<_>>().ok_or_else(|| {
        let clip = ends.iter().position(|end| inside(end).is_none()).unwrap_or_default();
        let mend = if ends.iter().max() == Some(&(num_frames as i128)) {
            "ends are inclusive: subtract 1 from cumulated clip lengths".into()
        } else {
            format!("the last frame of a clip lies between 0 and {}", num_frames - 1)
        };
        Error::data(path, format!("end_indices[{clip}] is {}, but data has {num_frames} frames", ends[clip]), mend)
    })
}

/// An optional array of strings; empty when there is none of that name, or it is something else.
fn read_names(path: &Path, zip: &mut Zip, name: &str) -> Vec<String> {
    let mut decode = || {
        let npy = Npy::open(path, zip, name).ok()?;
        let &[count] = &npy.shape[..] else { return None };
        // <U13 is 13 code points of four bytes each, zero padded.
        let width = npy.kind()?.strip_prefix('U')?.parse().ok().filter(|&width| width > 0)?;
        let text = |array: Array2<u32>| -> Vec<String> {
            let code_point = |&c: &u32| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER);
            let string = |row: ArrayView1<u32>| row.iter().map(code_point).collect::<String>();
            array.rows().into_iter().map(|row| string(row).trim_end_matches('\0').to_owned()).collect()
        };
        npy.restated("u4", Some(vec![count, width])).decode(path, text).ok()
    };
    decode().unwrap_or_default()
}

/// One array of the file, its header read and found to agree with the entry's size.
struct Npy<'a> {
    name: &'a str,
    /// As in the header, such as `<f4`.
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
    /// The numbers.
    body: EntryReader<'a>,
}

impl<'a> Npy<'a> {
    fn open(path: &Path, zip: &'a mut Zip, name: &'a str) -> Result<Self> {
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
            .ok_or("its header is damaged or of a type not known here")?;

        let held = size - (8 + width + length);
        let claimed = element_size(&descr)
            .and_then(|size| shape.iter().try_fold(size, |product, &n| product.checked_mul(n as u64)));
        if claimed != Some(held) {
            return Err(format!("its header claims {descr} {shape:?}, but {held} bytes follow it"));
        }
        Ok(Npy { name, descr, fortran_order, shape, body })
    }

    /// The type without its byte order, such as `f4`; `None` for a type of no order and several bytes.
    fn kind(&self) -> Option<&str> {
        self.descr.strip_prefix(['<', '>', '|'])
    }

    /// The same bytes seen as another type or shape of the same size.
    fn restated(mut self, kind: &str, shape: Option<Vec<usize>>) -> Self {
        self.descr.truncate(1);
        self.descr.push_str(kind);
        self.shape = shape.unwrap_or(self.shape);
        self
    }

    /// Reads the numbers and makes something of them.
    fn decode<A: ReadableElement, D: Dimension, R>(self, path: &Path, make: impl Fn(Array<A, D>) -> R) -> Result<R> {
        let Npy { name, descr, fortran_order, shape, body } = self;
        let order = if fortran_order { "True" } else { "False" };
        let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
        let dict = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes})}}\n");
        let mut header = b"\x93NUMPY\x01\x00".to_vec();
        header.extend((dict.len() as u16).to_le_bytes());
        header.extend(dict.bytes());
        let array: Result<Array<A, D>, ReadNpyError> = ReadNpyExt::read_npy(header.chain(body));
        array.map(make).map_err(|e| Error::data(path, format!("{name}: {e}"), "the file is damaged: export it again"))
    }

    /// An error that says what the array is.
    fn refuse(&self, path: &Path, mend: &str) -> Error {
        Error::data(path, format!("{} is {} {:?}", self.name, self.descr, self.shape), mend)
    }
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` and spaces; nothing else is accepted.
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

/// The name an entry's array goes by.
fn array_name(entry: &str) -> &str {
    entry.strip_suffix(".npy").unwrap_or(entry)
}

/// The error for an array that is not there.
fn missing(path: &Path, name: &str, zip: &Zip) -> Error {
    let mut names: Vec<_> = zip.names().map(array_name).take(9).collect();
    if names.len() == 9 {
        names[8] = "...";
    }
    let holds = if names.is_empty() { "nothing".into() } else { names.join(", ") };
    Error::data(
        path,
        format!("has no array {name}, it holds {holds}"),
        "a motion file holds data [frames, features] and end_indices [clips]",
    )
}
