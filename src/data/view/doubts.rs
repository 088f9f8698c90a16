//! Warnings about a set's motion; each names a likely mistake, its cause and the remedy.
use super::{View, finite_frames, height, position};
use crate::data::Dataset;
use crate::host::shown::counted;
use crate::motion::features::{Part, displacement, slot, vector};
use crate::motion::reference::JOINT_NAMES;
use crate::motion::rig::{METRES, Rig, quantile};
use crate::motion::vector::{about_y, apply, dot, length, sub};

/// Plausible lengths of legs, m.
const LEGS: std::ops::RangeInclusive<f64> = 0.45..=1.4;
/// Ratio of leg lengths of clips above which their units differ.
const BODIES: f64 = 1.5;
/// Units that features might be in by mistake: name, length in feet, and plausible lengths of a leg
/// in it.
const UNITS: [(&str, f64, std::ops::Range<f64>); 5] = [
    ("metres", 1.0 / METRES, 0.5..1.3),
    ("decimetres", 0.1 / METRES, 5.0..13.0),
    ("inches", 1.0 / 12.0, 20.0..50.0),
    ("centimetres", 0.01 / METRES, 50.0..130.0),
    ("millimetres", 0.001 / METRES, 500.0..1300.0),
];
/// Largest variation of lengths and places that hang together, as a share of a leg.
const VARIES: f64 = 0.02;
/// Least distance of the upper legs, as a share of a leg.
const WIDTH: f64 = 0.03;
/// Heights of toes on the floor, as shares of a leg.
const FLOOR: std::ops::Range<f64> = -0.15..0.3;
/// Largest distance of a joint's lowest place below that of the toes, as a share of a leg.
const BELOW: f64 = 0.12;
/// Least height of the hips above the toes, as a share of a leg.
const ABOVE: f64 = 0.25;
/// Largest distance of the hips from the toes along x or z, as a share of a leg. Beyond it the body
/// lies, or another axis than y points up.
const TALL: f64 = 0.6;
/// Largest distance of the hips to the side of the root, as a share of a leg. Beyond it the hips
/// are another joint.
const AWAY: f64 = 0.1;
/// Largest difference of velocities from the displacements, as a share of the displacements.
const VELOCITY: f64 = 0.2;
/// Cosine of velocities and displacements above which they differ only by a factor.
const ALIKE: f64 = 0.95;
/// Least cosine of the angle between the line through the upper legs and the left.
const FACES: f64 = 0.7;
/// Least share of the way walked forwards, if the way is longer than this, m.
const FORWARD: f64 = 0.3;
const WAY: f64 = 1.0;

/// Warnings about a set; `view` holds the measurements on it.
pub(super) fn of(set: &Dataset, rig: &Rig, view: &View) -> Vec<String> {
    let [short, long] = view.body.legs;
    let leg = (short + long) / 2.0;
    if !(leg > 0.0 && leg.is_finite()) {
        return vec!["the left toe is where the left upper leg is: features, or joints and parents, are not what they are taken for".into()];
    }
    let mut doubts: Vec<String> = width(rig, view, leg).into_iter().collect();
    match order(set, rig, view, leg) {
        Some(doubt) => doubts.push(doubt),
        None => {
            if doubts.is_empty() {
                doubts.extend(facing(set, rig, view));
            }
            doubts.extend(size(short, long));
            doubts.extend(axes(view, leg));
        }
    }
    doubts.extend(floor(rig, leg));
    doubts.extend(root(set, view));
    doubts.extend(velocities(set, rig, view));
    doubts
}

/// Doubts whether the size of the body is plausible in feet.
fn size(short: f64, long: f64) -> Option<String> {
    if long > BODIES * short {
        return Some(format!(
            "legs are {short:.2} m long in one clip and {long:.2} m in another: clips are in different units, or of different \
             bodies; import them apart"
        ));
    }
    if LEGS.contains(&short) || LEGS.contains(&long) {
        return None;
    }
    let units = UNITS.iter().find(|(_, _, legs)| legs.contains(&(long / METRES)));
    let cause = match units {
        Some((unit, feet, _)) => format!(
            "lengths are probably in {unit}: multiply features 0, 1, positions and velocities by {feet:.4}, or import with --units"
        ),
        None => {
            "lengths are expected in feet: say the unit at import (--units), or scale positions and velocities".into()
        }
    };
    Some(format!("legs are {long:.2} m long, which few bodies have: {cause}"))
}

/// Doubts whether joints are at the places that their names suggest.
fn order(set: &Dataset, rig: &Rig, view: &View, leg: f64) -> Option<String> {
    let skeleton = &rig.skeleton;
    let name = |joint: usize| &skeleton.names[joint];
    let quantile_of =
        |q: f64, measure: &dyn Fn(&[f32]) -> f64| METRES * quantile(finite_frames(set).map(measure).collect(), q);
    let toes = skeleton.toes;
    let above = |axis: usize| {
        quantile_of(0.5, &|frame| {
            let [hips, left, right] = [skeleton.hips, toes[0], toes[1]].map(|joint| position(rig, frame, joint)[axis]);
            hips - (left + right) / 2.0
        })
    };
    if let Some((axis, far)) = [("x", above(0)), ("z", above(2))].into_iter().find(|(_, far)| far.abs() > TALL * leg) {
        let (up, far) = (100.0 * above(1), 100.0 * far.abs());
        return Some(format!(
            "the hips are {far:.0} cm from the toes along {axis}, {up:.0} cm along y: y has to point up"
        ));
    }
    let mut signs = Vec::new();
    // The root lies below the hips by definition.
    let away =
        |joint: usize| quantile_of(0.5, &|frame| position(rig, frame, joint)[0].hypot(position(rig, frame, joint)[2]));
    let off = away(skeleton.hips);
    if off > AWAY * leg {
        let over = (0..skeleton.len()).find(|&joint| away(joint) < 0.01 * off);
        let other = over.map_or(String::new(), |joint| format!(", which is under {}", name(joint)));
        signs.push(format!("{} is {:.0} cm to the side of the root{other}", name(skeleton.hips), 100.0 * off));
    }
    if above(1) < ABOVE * leg {
        signs.push(format!("the hips are {:.0} cm above the toes", 100.0 * above(1)));
    }
    let lowest = (0..skeleton.len()).map(|joint| (quantile_of(0.01, &|frame| height(rig, frame, joint)), joint));
    let (down, joint) = lowest.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a skeleton has joints");
    let toe = METRES * rig.toe_floors[0].min(rig.toe_floors[1]);
    if toe - down > BELOW * leg {
        signs.push(format!(
            "{} comes down to {:.0} cm and the toes to {:.0} cm",
            name(joint),
            100.0 * down,
            100.0 * toe
        ));
    }
    let stretched = &view.stretched_bone;
    if stretched.off > VARIES * leg {
        let (off, joint) = (100.0 * stretched.off, &stretched.joint);
        signs.push(format!("the bone to {joint} changes its length by {off:.1} cm within clips"));
    }
    let cause = match skeleton.names.iter().eq(JOINT_NAMES) {
        true => {
            "joints are probably not in the reference's order (docs/features.md): reorder them, or name joints and parents"
        }
        false => {
            "joints and parents probably do not fit together, or a joint between was left out: name them, or take others (--map)"
        }
    };
    (!signs.is_empty()).then(|| format!("{}: {cause}", signs.join(", ")))
}

/// Doubts whether the axes are those of the joints.
fn axes(view: &View, leg: f64) -> Option<String> {
    let loose = &view.loose_joint;
    (loose.off > VARIES * leg).then(|| {
        let (off, joint) = (100.0 * loose.off, &loose.joint);
        format!(
            "the place of {joint} on its parent changes by {off:.1} cm within clips, its distance does not: the axes are probably \
             not the joints' own (Y axes of all joints, then Z axes), or a joint between was left out (keep it by --map)"
        )
    })
}

/// Doubts whether heights are measured from the floor.
fn floor(rig: &Rig, leg: f64) -> Option<String> {
    let toe = METRES * rig.toe_floors[0].min(rig.toe_floors[1]);
    (!(FLOOR.start * leg..FLOOR.end * leg).contains(&toe)).then(|| {
        let toe = 100.0 * toe;
        format!("toes come down to {toe:.0} cm: heights are probably not measured from the floor; move it to 0 (`data import` does)")
    })
}

/// Doubts whether the upper legs are far enough apart to determine the facing.
fn width(rig: &Rig, view: &View, leg: f64) -> Option<String> {
    let width = view.body.hip_width;
    (width < WIDTH * leg).then(|| {
        let [left, right] = rig.skeleton.up_legs.map(|joint| &rig.skeleton.names[joint]);
        format!(
            "upper legs {left} and {right} are {:.1} cm apart, so nothing says where it faces: take the joints on both sides of \
             the hips (`data import --map FILE.toml`)",
            100.0 * width
        )
    })
}

/// Doubts whether the body faces across its upper legs, turns, and goes where it faces.
fn facing(set: &Dataset, rig: &Rig, view: &View) -> Vec<String> {
    let body = &view.body;
    let [left, right] = rig.skeleton.up_legs;
    let [left_name, right_name] = [left, right].map(|joint| &rig.skeleton.names[joint]);
    let mut doubts = Vec::new();
    let to_the_left = |frame: &[f32]| {
        let line = sub(position(rig, frame, left), position(rig, frame, right));
        -line[2] / length(line)
    };
    if quantile(finite_frames(set).map(to_the_left).collect(), 0.5) < FACES {
        doubts.push(format!(
            "{left_name} is not to the left of {right_name} as it faces: x has to point forward, y up and z to the right, and the \
             facing follows from these two joints"
        ));
    }
    let clips = set.end_indices.len();
    if body.still_facings > 0 {
        doubts.push(format!(
            "the facing never turns in {} of {}, though feet move: feature 2 is its change since the frame before, and no body \
             keeps it still; make it of the line between the upper legs",
            body.still_facings,
            counted(clips, "clip")
        ));
    }
    if let Some(share) = body.forward.filter(|share| *share < FORWARD && body.way > WAY) {
        let way = body.way;
        doubts.push(format!(
            "of {way:.0} m, {:.0} % are walked forwards: left and right, up, or which way is forward are probably not as taken \
             (unless it does walk backwards or sideways)",
            100.0 * share
        ));
    }
    doubts
}

/// Doubts whether the root goes where the feet do.
fn root(set: &Dataset, view: &View) -> Option<String> {
    let still = view.body.still_roots;
    (still > 0).then(|| {
        format!(
            "the root never moves in {still} of {}, though feet do: they walk on the spot, probably as the file holds rotations \
             alone; export it with the root's positions, or leave it out",
            counted(set.end_indices.len(), "clip")
        )
    })
}

/// Doubts whether velocities fit the positions.
fn velocities(set: &Dataset, rig: &Rig, view: &View) -> Option<String> {
    let joints = rig.skeleton.len();
    let [mut both, mut theirs, mut ours] = [0.0; 3];
    for clip in set.clips() {
        for at in clip.start + 1..clip.end {
            let (before, frame) = (set.frame(at - 1), set.frame(at));
            if frame.iter().chain(before).any(|x| !x.is_finite()) {
                continue;
            }
            let turn = about_y(frame[2].into());
            for joint in 0..joints {
                let said = apply(&turn, vector(frame, slot(Part::Velocity, joint, joints)));
                let is = displacement(before, frame, joint);
                (both, theirs, ours) = (both + dot(said, is), theirs + dot(said, said), ours + dot(is, is));
            }
        }
    }
    let moved = METRES * (ours / (joints * set.num_frames()) as f64).sqrt();
    if !(view.velocity_error > VELOCITY * moved && view.velocity_error > 1e-4) {
        return None;
    }
    let error = 100.0 * view.velocity_error;
    let times = both / ours;
    let cause = if both < ALIKE * (theirs * ours).sqrt() {
        "they are the displacements since the frame before, root motion included, in the current facing".to_owned()
    } else if (times / rig.fps).ln().abs() < 0.1 {
        format!("they are probably a second and not a frame: divide by {}", rig.fps)
    } else {
        format!("they are {times:.3} times the displacements since the frame before: divide by that")
    };
    Some(format!("velocities are {error:.2} cm a frame off the positions, which move by {:.2}: {cause}", 100.0 * moved))
}
