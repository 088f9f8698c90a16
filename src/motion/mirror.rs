//! Left-right mirrored motion. Positions and velocities are reflected, and left and right joints
//! are swapped. Each joint's axes change by a constant, so that they stay right-handed and keep
//! their meaning.
use super::features::{Part, slot, vector};
use super::rig::METRES;
use super::vector::{Axes, Vec3, add, axes_from_yz, cross, dot, length, scale};
use super::{Skeleton, names};

/// Angle between mirrored and original mean axes above which it is reported, rad.
const DOUBTFUL: f64 = 0.6;

/// Largest difference of the bones of a left and a right joint in real skeletons, as a share of
/// their length; [`UNLIKE`] feet are added.
const UNLIKE_SHARE: f64 = 0.1;
/// See [`UNLIKE_SHARE`].
const UNLIKE: f64 = 0.02 / METRES;
/// Largest mean distance to one side of a joint in the middle, as a share of its bone's length,
/// unless [`ASIDE`] is larger.
const ASIDE_SHARE: f64 = 0.5;
/// Least such limit, feet. See [`ASIDE_SHARE`].
const ASIDE: f64 = 0.05 / METRES;

/// A change of axes: the new axis k is the old axis `self[k].0` times `self[k].1`, which is 1 or
/// -1.
type Change = [(usize, f64); 3];

/// The mirroring of a skeleton's motion.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// For each joint, the joint whose motion it takes.
    pairs: Vec<usize>,
    /// For each joint, the change that turns the reflected axes of its counterpart into its own.
    changes: Vec<Change>,
    /// The joint whose mean axes change most, and the angle, rad.
    worst: (usize, f64),
    /// Joints whose names state a side but which have no counterpart and lie in the middle.
    alone: Vec<usize>,
}

impl Mirror {
    /// Finds how to mirror motion of this skeleton, frames [N, F]. Errors: joints that are not
    /// named as left and right, or a skeleton that its names do not make symmetric.
    ///
    /// For each pair of joints it chooses a change of axes. Under it, the mean axes and the bones
    /// of the mirrored motion lie nearest to those of the motion itself. A reflection turns
    /// right-handed axes into left-handed ones. So only the 24 improper ones of the 48 signed
    /// permutations are possible, and a joint's change is the inverse of its counterpart's.
    pub fn find(skeleton: &Skeleton, frames: &[f32]) -> Result<Self, String> {
        let joints = skeleton.len();
        let pairs = skeleton.counterparts()?;
        if let Some(what) = asymmetry(skeleton, &pairs, frames) {
            return Err(what);
        }
        let means: Vec<Axes> = (0..joints).map(|joint| mean_axes(frames, joint, joints)).collect();
        let fit = |joint: usize, change: &Change| {
            let reflected = means[pairs[joint]].map(reflect);
            let axes: f64 = (0..3).map(|k| dot(means[joint][k], changed(&reflected, change)[k])).sum();
            let children = (0..joints).filter(|&child| skeleton.parents[child] == Some(joint));
            let bones: Vec<f64> = children
                .map(|child| {
                    let (bone, other) = (skeleton.offsets[child], skeleton.offsets[pairs[child]]);
                    let mirrored: Vec3 = std::array::from_fn(|k| change[k].1 * other[change[k].0]);
                    dot(bone, mirrored) / (length(bone) * length(other)).max(1e-12)
                })
                .collect();
            axes + 3.0 * bones.iter().sum::<f64>() / bones.len().max(1) as f64
        };
        let candidates = improper();
        let changes = (0..joints).map(|joint| {
            let other = pairs[joint];
            let possible = candidates.iter().filter(|change| joint != other || inverse(change) == **change);
            let both = |change: &Change| fit(joint, change) + fit(other, &inverse(change));
            *possible.max_by(|a, b| both(a).total_cmp(&both(b))).expect("there are candidates")
        });
        let changes: Vec<Change> = changes.collect();
        let off = |joint: usize| {
            let mirrored = changed(&means[pairs[joint]].map(reflect), &changes[joint]);
            let cosine = |k: usize| {
                dot(mirrored[k], means[joint][k]) / (length(mirrored[k]) * length(means[joint][k])).max(1e-12)
            };
            (0..3).map(|k| cosine(k).clamp(-1.0, 1.0).acos()).fold(0.0, f64::max)
        };
        let worst = (0..joints).map(|joint| (joint, off(joint))).max_by(|a, b| a.1.total_cmp(&b.1));
        let alone = (0..joints).filter(|&joint| pairs[joint] == joint && names::says_side(&skeleton.names[joint]));
        Ok(Mirror { alone: alone.collect(), pairs, changes, worst: worst.unwrap_or_default() })
    }

    /// Findings that deserve attention in mirrored motion of this skeleton.
    pub(crate) fn doubt(&self, skeleton: &Skeleton) -> Option<String> {
        let (joint, angle) = self.worst;
        let turned = (angle > DOUBTFUL).then(|| {
            let (name, angle) = (&skeleton.names[joint], angle.to_degrees());
            format!("the mean axes of {name} lie {angle:.0} degrees from where they were, look at them")
        });
        let alone = |&joint: &usize| {
            format!("{} has no counterpart, lies in the middle and is its own image", skeleton.names[joint])
        };
        let said: Vec<String> = turned.into_iter().chain(self.alone.iter().map(alone)).collect();
        (!said.is_empty()).then(|| format!("mirrored: {}", said.join("; ")))
    }

    /// Appends the mirrored frame.
    pub fn push(&self, frames: &mut Vec<f32>, frame: &[f32]) {
        let joints = self.pairs.len();
        frames.extend([frame[0], -frame[1], -frame[2]]);
        for part in [Part::Position, Part::Velocity] {
            for &pair in &self.pairs {
                let at = slot(part, pair, joints);
                frames.extend([frame[at], frame[at + 1], -frame[at + 2]]);
            }
        }
        for axis in [1, 2] {
            for (&pair, change) in self.pairs.iter().zip(&self.changes) {
                let axes = axes_of(frame, pair, joints).map(reflect);
                frames.extend(changed(&axes, change)[axis].map(|x| x as f32));
            }
        }
    }
}

/// The first sign that a skeleton with these counterparts is not symmetric, in words.
fn asymmetry(skeleton: &Skeleton, pairs: &[usize], frames: &[f32]) -> Option<String> {
    let joints = skeleton.len();
    let name = |joint: usize| &skeleton.names[joint];
    let centimetres = |feet: f64| 100.0 * METRES * feet;
    (0..joints).find_map(|joint| {
        let other = pairs[joint];
        if pairs[other] != joint {
            return Some(format!(
                "{} is the counterpart of both {} and {}",
                name(other),
                name(joint),
                name(pairs[other])
            ));
        }
        let parent = skeleton.parents[joint]?;
        let above = |joint: usize| skeleton.parents[joint].map_or("nothing", |parent| name(parent));
        let same = skeleton.parents[other] == Some(pairs[parent]);
        if !same && other == joint {
            return Some(format!("{} has no counterpart by its name, and hangs on {}", name(joint), above(joint)));
        }
        if !same {
            return Some(format!("{} hangs on {}, and {} on {}", name(joint), above(joint), name(other), above(other)));
        }
        let [bone, bone_other] = [joint, other].map(|joint| length(skeleton.offsets[joint]));
        if (bone - bone_other).abs() > UNLIKE_SHARE * bone.max(bone_other) + UNLIKE {
            let [bone, bone_other] = [bone, bone_other].map(centimetres);
            return Some(format!(
                "{} is {bone:.0} cm from {}, and {} {bone_other:.0} cm from {}",
                name(joint),
                above(joint),
                name(other),
                above(other)
            ));
        }
        let aside = || mean_aside(frames, joint, parent, joints).abs();
        (other == joint && aside() > ASIDE.max(ASIDE_SHARE * bone)).then(|| {
            let aside = centimetres(aside());
            format!(
                "{} has no counterpart by its name, and is {aside:.0} cm to one side of {}",
                name(joint),
                above(joint)
            )
        })
    })
}

/// Mean distance of a joint to one side of its parent over all frames, feet.
fn mean_aside(frames: &[f32], joint: usize, parent: usize, joints: usize) -> f64 {
    let size = super::features::frame_size(joints);
    let [joint, parent] = [joint, parent].map(|joint| slot(Part::Position, joint, joints) + 2);
    let sum: f64 = frames.chunks_exact(size).map(|frame| f64::from(frame[joint]) - f64::from(frame[parent])).sum();
    sum * size as f64 / frames.len().max(1) as f64
}

fn reflect([x, y, z]: Vec3) -> Vec3 {
    [x, y, -z]
}

fn changed(axes: &Axes, change: &Change) -> Axes {
    change.map(|(axis, sign)| scale(axes[axis], sign))
}

fn inverse(change: &Change) -> Change {
    let mut inverse = *change;
    for (k, &(axis, sign)) in change.iter().enumerate() {
        inverse[axis] = (k, sign);
    }
    inverse
}

/// The signed permutations of determinant -1.
fn improper() -> Vec<Change> {
    const PERMUTATIONS: [([usize; 3], f64); 6] =
        [([0, 1, 2], 1.0), ([1, 2, 0], 1.0), ([2, 0, 1], 1.0), ([0, 2, 1], -1.0), ([2, 1, 0], -1.0), ([1, 0, 2], -1.0)];
    let signs = (0..8).map(|bits| [0, 1, 2].map(|k| if bits >> k & 1 == 0 { 1.0 } else { -1.0 }));
    let all = signs.flat_map(|signs: [f64; 3]| PERMUTATIONS.map(|(axes, parity)| (axes, signs, parity)));
    let improper = all.filter(|(_, signs, parity)| signs.iter().product::<f64>() * parity < 0.0);
    improper.map(|(axes, signs, _)| std::array::from_fn(|k| (axes[k], signs[k]))).collect()
}

/// A joint's axes in a frame.
fn axes_of(frame: &[f32], joint: usize, joints: usize) -> Axes {
    let [y, z] = [Part::AxisY, Part::AxisZ].map(|part| vector(frame, slot(part, joint, joints)));
    [cross(y, z), y, z]
}

/// The mean of a joint's axes over all frames, in the facing frame. The more the joint turns, the
/// shorter they are.
fn mean_axes(frames: &[f32], joint: usize, joints: usize) -> Axes {
    let mut sum = [[0.0; 3]; 3];
    for frame in frames.chunks_exact(super::features::frame_size(joints)) {
        let [_, y, z] = axes_of(frame, joint, joints);
        sum = std::array::from_fn(|k| add(sum[k], axes_from_yz(y, z)[k]));
    }
    sum.map(|axis| scale(axis, super::features::frame_size(joints) as f64 / frames.len().max(1) as f64))
}
