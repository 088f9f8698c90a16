//! A reader of AMASS files: npz with the turns of the joints of a SMPL body model (`poses`, axis
//! times angle) and its place (`trans`). The lengths of bones are in the licensed model, so a
//! skeleton file holds those of the person. Hands and face are left out.
use super::expmap::exponential;
use super::{Content, Format, Head, Recording, Sniff};
use crate::host::memory;
use crate::host::npy::{Npy, read_numbers};
use crate::host::zip::Zip;
use crate::motion::quaternion::Quaternion;
use crate::motion::vector::{Vec3, add};
use crate::{Error, Result};
use ndarray::{Array2, Axis, Slice};
use std::path::Path;

/// The format.
pub const FORMAT: Format = Format {
    is: "is an AMASS file",
    endings: &["_poses.npz", "_stageii.npz"],
    skeleton: Some(
        "write one with examples/amass.py and the body model, then mvae-fast data import FILE --skeleton person.toml \
         -o set.npz",
    ),
    sniff,
    read,
};

/// Number of joints that are read, and the parent of each but the first. They are the first joints
/// of SMPL, SMPL-H and SMPL-X.
const JOINTS: usize = 22;
const PARENTS: [usize; JOINTS - 1] = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19];
/// Names of the array with frames a second.
const RATES: [&str; 2] = ["mocap_framerate", "mocap_frame_rate"];
/// Largest difference of two numbers of `betas` that describe one person.
const SAME_PERSON: f64 = 1e-4;

fn sniff(head: &Head) -> Sniff {
    if head.has("poses") && head.has("trans") { Sniff::Sure } else { Sniff::No }
}

fn read(file: Content) -> Result<Recording> {
    let (path, skeleton) = (file.path, file.skeleton(&FORMAT)?);
    let refuse = |what: &str, mend: &str| Err(Error::data(path, what, mend));
    let parents = (1..skeleton.joints.len()).map(|joint| skeleton.parent(joint));
    if skeleton.row_vectors || !parents.eq(PARENTS.map(Some)) {
        return refuse(
            "is an AMASS file, but --skeleton names other joints than the first 22 of SMPL",
            FORMAT.skeleton.unwrap(),
        );
    }
    let mut zip = Zip::open(path)?;
    if let Some(own) = &skeleton.betas
        && let Some(found) = read_numbers(path, &mut zip, "betas", own.len())?
        && !own.iter().zip(&found).all(|(own, found)| (own - found).abs() < SAME_PERSON)
    {
        return refuse(
            "betas: another person than that of --skeleton",
            "import each person apart, with a skeleton of their own",
        );
    }
    let mut rate = None;
    for name in RATES {
        rate = rate.or(read_numbers(path, &mut zip, name, 1)?);
    }
    let rate = rate.map_or(skeleton.fps, |rate| rate[0]);
    let poses = columns(path, &mut zip, "poses", 3 * JOINTS, usize::MAX)?;
    let rotations = poses.chunks_exact(3).map(turn).collect();
    let trans = columns(path, &mut zip, "trans", 3, 3)?;
    let root = skeleton.joints[0].offset;
    let places: Vec<Vec3> = trans.chunks_exact(3).map(|at| add(root, [at[0], at[1], at[2]])).collect();
    let frames = poses.len() / (3 * JOINTS);
    if places.len() != frames {
        let what = format!("trans has {} frames, but poses {frames}", places.len());
        return refuse(&what, "export the file again");
    }
    let joints = skeleton.source_joints();
    Ok(Recording { frame_time: 1.0 / rate, joints, rotations, places, ..Recording::default() })
}

/// The rotation of an axis times an angle.
fn turn(r: &[f64]) -> Quaternion {
    exponential([r[0], r[1], r[2]])
}

/// The first `count` numbers of each row of an array, which must be finite. A row has at most
/// `most`.
fn columns(path: &Path, zip: &mut Zip, name: &str, count: usize, most: usize) -> Result<Vec<f64>> {
    fn first<A: Copy + Into<f64>>(count: usize) -> impl Fn(Array2<A>) -> Vec<f64> {
        move |array| array.slice_axis(Axis(1), Slice::from(..count)).iter().map(|&x| x.into()).collect()
    }
    let npy = Npy::open(path, zip, name)?;
    let frames = match npy.shape[..] {
        [frames, width] if frames > 0 && (count..=most).contains(&width) => frames,
        _ => {
            let more = if most > count { " or more" } else { "" };
            return Err(npy.refuse(path, &format!("expected [frames, {count}{more}]")));
        }
    };
    // Three numbers here become four in the recording.
    let bytes = frames.saturating_mul(count).saturating_mul(3 * size_of::<f64>());
    memory::require(bytes as u64, |words| Error::data(path, format!("{name} takes {words}"), "cut the file"))?;
    let numbers = match npy.kind() {
        Some("f4") => npy.decode(path, first::<f32>(count)),
        Some("f8") => npy.decode(path, first::<f64>(count)),
        _ => Err(npy.refuse(path, "save it as float64 or float32")),
    }?;
    match numbers.iter().position(|x| !x.is_finite()) {
        None => Ok(numbers),
        Some(at) => {
            let what = format!("{name}[{}, {}] is {}, expected a finite number", at / count, at % count, numbers[at]);
            Err(Error::data(path, what, "mend the file or leave it out"))
        }
    }
}
