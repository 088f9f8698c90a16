//! Motion files in the reference's layout: an `.npz` with `data` (N, F) and `end_indices` (M), the
//! last frame of each clip, inclusive. Our own files also hold the rig, and the clips' names and
//! places.
use super::Dataset;
use crate::config::MAX_SIZE;
use crate::data::kind;
use crate::host::atomic;
use crate::host::npy::{Npy, NpzWriter, read_names, read_numbers};
use crate::host::zip::Zip;
use crate::motion::rig::{self, Rig};
use crate::motion::{Root, Skeleton, features};
use crate::{Error, Result};
use half::f16;
use ndarray::{Array1, ArrayD};
use std::io;
use std::path::Path;

/// Largest distance of a clip's start from the origin, feet.
const FURTHEST: f64 = 1e9;

/// Reads a motion file. `data` is f16, f32 or f64 and becomes f32. `end_indices` is of any integer
/// type and is sorted without repetitions; if the last frame is missing from it, that frame ends
/// one more clip. Unicode arrays `clip_names`, one a clip, the clips' places and the rig (see
/// `docs/features.md`) are read when present. A file of 267 features without a rig gets the
/// reference's skeleton. Any byte order, C or Fortran order, stored or deflated.
///
/// Errors ([`Error::Data`]): no such file, not an npz, damaged, missing arrays, other types or
/// ranks, ends outside the data, and values that are not finite. For a file of another kind, the
/// error names that kind.
pub fn read(path: &Path) -> Result<Dataset> {
    let dataset = read_lenient(path)?;
    dataset.require_finite(path)?;
    Ok(dataset)
}

/// Reads a motion file like [`read`], but keeps values that are not finite, so that they can be
/// reported.
pub fn read_lenient(path: &Path) -> Result<Dataset> {
    read_set(path).map_err(|error| kind::no_set(path).unwrap_or(error))
}

fn read_set(path: &Path) -> Result<Dataset> {
    let mut zip = Zip::open(path)?;
    let (frames, frame_size) = read_frames(path, &mut zip)?;
    let num_frames = frames.len() / frame_size;
    let listed = read_ends(path, &mut zip, num_frames)?;

    let mut end_indices = listed.clone();
    end_indices.push(num_frames - 1);
    end_indices.sort_unstable();
    end_indices.dedup();
    // Names and places belong to the clips as listed. They are only used if the list needed no
    // correction.
    let mut clip_names = read_names(path, &mut zip, "clip_names");
    if listed != end_indices || clip_names.len() != end_indices.len() {
        clip_names.clear();
    }
    let mut clip_roots = Vec::new();
    if listed == end_indices
        && let Some(numbers) = read_numbers(path, &mut zip, "clip_roots", 3 * listed.len())?
    {
        if let Some(at) = numbers.iter().position(|x| x.is_nan() || x.abs() > FURTHEST) {
            let (clip, what) = (at / 3, ["x", "z", "facing"][at % 3]);
            let mend = "save where each clip's first frame stands and faces, or leave clip_roots out";
            return Err(Error::data(path, format!("clip_roots: {what} of clip {clip} is {}", numbers[at]), mend));
        }
        clip_roots.extend(numbers.chunks_exact(3).map(|root| Root { x: root[0], z: root[1], facing: root[2] }));
    }
    let rig = match read_skeleton(path, &mut zip, frame_size)? {
        None => Rig::bare(frame_size, &frames),
        Some(skeleton) => {
            let fps = read_numbers(path, &mut zip, "fps", 1)?.map_or(rig::DEFAULT_FPS, |fps| fps[0]);
            let mut rig = Rig::new(skeleton, fps, &frames);
            if let Some(flaw) = rig.flaw(frame_size) {
                return Err(Error::data(path, flaw, "import the motion again"));
            }
            rig.sources = read_names(path, &mut zip, "sources");
            rig.terms = read_names(path, &mut zip, "terms");
            Some(rig)
        }
    };
    Ok(Dataset { frames, frame_size, end_indices, clip_names, clip_roots, rig })
}

/// Writes `data` (f32), `end_indices` (i64), and the known data of clips and rig. Afterwards the
/// file is either the old one or the whole new one (see [`atomic::write_with`]).
pub fn write(path: &Path, dataset: &Dataset) -> Result<()> {
    write_with(path, dataset, &[])
}

/// An additional array of a file.
pub struct Extra<'a> {
    name: &'a str,
    shape: Vec<usize>,
    numbers: &'a [f32],
}

impl<'a> Extra<'a> {
    /// An array of f32. Panics unless the shape fits the number of values.
    pub fn f32(name: &'a str, shape: Vec<usize>, numbers: &'a [f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), numbers.len(), "numbers of {name}");
        Extra { name, shape, numbers }
    }
}

/// Writes a set like [`write()`], with additional arrays.
pub fn write_with(path: &Path, dataset: &Dataset, extras: &[Extra]) -> Result<()> {
    atomic::write_with(path, |file| {
        let ends: Vec<i64> = dataset.end_indices.iter().map(|&end| end as i64).collect();
        let mut npz = NpzWriter::new(file);
        npz.numbers("data", "f4", &[dataset.num_frames(), dataset.frame_size], &dataset.frames)?;
        npz.numbers("end_indices", "i8", &[ends.len()], &ends)?;
        if !dataset.clip_names.is_empty() {
            npz.names("clip_names", &dataset.clip_names)?;
        }
        if !dataset.clip_roots.is_empty() {
            let roots: Vec<f64> = dataset.clip_roots.iter().flat_map(|root| [root.x, root.z, root.facing]).collect();
            npz.numbers("clip_roots", "f8", &[dataset.clip_roots.len(), 3], &roots)?;
        }
        if let Some(rig) = &dataset.rig {
            write_rig(&mut npz, rig)?;
        }
        for Extra { name, shape, numbers } in extras {
            npz.numbers(name, "f4", shape, numbers)?;
        }
        npz.finish()
    })
}

fn write_rig(npz: &mut NpzWriter, rig: &Rig) -> io::Result<()> {
    let Skeleton { names, parents, offsets, hips, toes, up_legs } = &rig.skeleton;
    let index = |&joint: &usize| joint as i64;
    let parents: Vec<i64> = parents.iter().map(|parent| parent.as_ref().map_or(-1, index)).collect();
    npz.names("joint_names", names)?;
    npz.numbers("parents", "i8", &[parents.len()], &parents)?;
    npz.numbers("offsets", "f8", &[offsets.len(), 3], offsets.as_flattened())?;
    npz.numbers("hips", "i8", &[], &[index(hips)])?;
    npz.numbers("toes", "i8", &[2], &toes.each_ref().map(index))?;
    npz.numbers("up_legs", "i8", &[2], &up_legs.each_ref().map(index))?;
    npz.numbers("fps", "f8", &[], &[rig.fps])?;
    if !rig.sources.is_empty() {
        npz.names("sources", &rig.sources)?;
    }
    if !rig.terms.is_empty() {
        npz.names("terms", &rig.terms)?;
    }
    Ok(())
}

/// The skeleton, when the file has one: `joint_names`, `parents`, `offsets`, `hips`, `toes`,
/// `up_legs`.
fn read_skeleton(path: &Path, zip: &mut Zip, frame_size: usize) -> Result<Option<Skeleton>> {
    let Some(joints) = features::joints(frame_size) else { return Ok(None) };
    let Some(parents) = read_numbers(path, zip, "parents", joints)? else { return Ok(None) };
    let mut numbers = |name, count| {
        let missing = || Error::data(path, format!("has parents, but no {name}"), "import the motion again");
        read_numbers(path, zip, name, count)?.ok_or_else(missing)
    };
    // A value that is no index becomes an index that no joint has.
    let index = |x: f64| if x >= 0.0 && x.fract() == 0.0 { x as usize } else { usize::MAX };
    let offsets = numbers("offsets", 3 * joints)?;
    let hips = index(numbers("hips", 1)?[0]);
    let toes = numbers("toes", 2)?;
    let up_legs = numbers("up_legs", 2)?;
    let skeleton = Skeleton {
        names: read_names(path, zip, "joint_names"),
        parents: parents.iter().map(|&parent| (parent != -1.0).then(|| index(parent))).collect(),
        offsets: offsets.chunks_exact(3).map(|offset| [offset[0], offset[1], offset[2]]).collect(),
        hips,
        toes: [index(toes[0]), index(toes[1])],
        up_legs: [index(up_legs[0]), index(up_legs[1])],
    };
    match skeleton.flaw() {
        Some(flaw) => Err(Error::data(path, format!("its skeleton is flawed: {flaw}"), "import the motion again")),
        None => Ok(Some(skeleton)),
    }
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
    if frame_size > MAX_SIZE {
        return Err(npy.refuse(path, &format!("a frame has at most {MAX_SIZE} features")));
    }
    if u32::try_from(num_frames).is_err() {
        return Err(npy.refuse(path, "frames are counted in 32 bits: split the file"));
    }
    Ok((floats(path, npy)?, frame_size))
}

/// The numbers of an array of any shape, row major.
fn floats(path: &Path, npy: Npy) -> Result<Vec<f32>> {
    match npy.kind() {
        // f16 has no decoder, so that its bits are read as integers of the same width.
        Some("f2") => npy.restated("u2", None).decode(path, rows(|bits| f16::from_bits(bits).to_f32())),
        Some("f4") => npy.decode(path, |array: ArrayD<f32>| {
            if array.is_standard_layout() { array.into_raw_vec_and_offset().0 } else { rows(|x| x)(array) }
        }),
        Some("f8") => npy.decode(path, rows(|x: f64| x as f32)),
        _ => Err(npy.refuse(path, "save it as float32, float64 or float16")),
    }
}

/// Makes a function that converts an array to row-major f32, whatever the array's own order.
fn rows<A: Copy>(convert: impl Fn(A) -> f32) -> impl Fn(ArrayD<A>) -> Vec<f32> {
    move |array| array.iter().map(|&x| convert(x)).collect()
}

/// Reads one array of an npz file: its shape and its numbers (f16, f32 or f64), row major. Errors:
/// those of [`read`].
pub fn read_array(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
    let mut zip = Zip::open(path)?;
    let npy = Npy::open(path, &mut zip, name)?;
    let shape = npy.shape.clone();
    Ok((shape, floats(path, npy)?))
}

/// The clip ends as the file lists them; all must lie inside the data.
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
