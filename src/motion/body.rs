//! The body in a recording: finds hips, upper legs and toes by the names and places of joints.
use super::Pose;
use super::names::{self, TOES, UP_LEGS};
use super::rig::quantile;
use super::source::Recording;
use super::units::Up;
use super::vector::{Vec3, add, cross, dot, length, scale, sub};
use std::collections::HashSet;
use std::iter::successors;

/// Number of poses examined, spread over a recording.
const LOOKS: usize = 32;
/// Least distance of the upper legs, as a share of a leg's length.
const NARROWEST: f64 = 0.05;
/// Least distance of a toe down and forward from its parent, as a share of a leg's length.
const FOOT: f64 = 0.02;
/// Share of the leg above which its last bone is taken for the shank, so that the foot is missing.
/// The length with a foot is then estimated by [`FOOT_AND_LEG`].
const SHANK: f64 = 0.3;
/// Length of a leg with its foot, as a multiple of the length without it. See [`SHANK`].
const FOOT_AND_LEG: f64 = 1.2;
/// Shortest pair of legs that is accepted among several, as a share of the longest.
const SHORTEST: f64 = 0.5;
/// Largest number of pairs of joints that are examined closely.
const MAX_CANDIDATES: usize = 64;
/// Largest distance of the hips from the middle between the upper legs, as a share of a leg's
/// length.
const NEAR: f64 = 0.5;

/// The joints with a role: upper legs and toes, left and right, and the hips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// See [`super::Skeleton::up_legs`].
    pub up_legs: [usize; 2],
    /// See [`super::Skeleton::toes`].
    pub toes: [usize; 2],
    /// See [`super::Skeleton::hips`].
    pub hips: usize,
}

/// Lengths of a body, in the recording's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// From the left upper leg to the left toe, along the joints between.
    pub leg: f64,
    /// Length of the leg to the toe. It is estimated where the foot has no joint and the leg ends
    /// at the ankle; else it is `leg`.
    pub with_foot: f64,
    /// From the left to the right upper leg.
    pub hip_width: f64,
    /// True if the upper legs are apart, and the toes are below them and apart from their parents.
    pub fits: bool,
}

/// A recording's joints as a tree, and poses spread over its frames.
pub struct Body<'a> {
    names: Vec<&'a str>,
    parents: Vec<Option<usize>>,
    looks: Vec<Pose>,
}

impl<'a> Body<'a> {
    /// Examines a recording, which must have at least one frame.
    pub fn new(recording: &'a Recording) -> Self {
        let last = recording.len() - 1;
        let looks = LOOKS.min(recording.len());
        let look = |look: usize| recording.pose((look * last / (looks - 1).max(1)) as f64);
        let mut names: Vec<&str> = recording.joints.iter().map(|joint| names::plain(&joint.name)).collect();
        if names.iter().collect::<HashSet<_>>().len() < names.len() {
            names = recording.joints.iter().map(|joint| joint.name.as_str()).collect();
        }
        let parents = recording.joints.iter().map(|joint| joint.parent).collect();
        Body { names, parents, looks: (0..looks).map(look).collect() }
    }

    /// The joints' names without name spaces, or the full names if two would then be alike.
    pub fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// Finds the joints with these roles, and all joints of the body. The error names the role that
    /// cannot be found.
    pub fn find(&self) -> Result<(Roles, Vec<usize>), String> {
        let pairs = names::pairs(&self.names);
        let mutual = |left: usize| {
            let (side, right) = pairs[left]?;
            (side == 0 && pairs[right] == Some((1, left))).then_some([left, right])
        };
        let all: Vec<[usize; 2]> = (0..self.names.len()).filter_map(mutual).collect();
        let folded: Vec<String> = self.names.iter().map(|name| names::folded(name)).collect();
        let mut candidates = Vec::new();
        for word in UP_LEGS {
            let mut found: Vec<_> = all.iter().copied().filter(|[left, _]| folded[*left].contains(word)).collect();
            found.sort_by_cached_key(|[left, _]| self.ancestors(*left).count());
            candidates.extend(found);
        }
        candidates.truncate(MAX_CANDIDATES);
        if candidates.is_empty() {
            // Try the limbs first whose ends are furthest from their beginnings: arms are stretched
            // to the sides, or shorter.
            let begins = |pair: &&[usize; 2]| self.parents[pair[0]].is_none_or(|parent| pairs[parent].is_none());
            candidates.extend(all.iter().filter(begins).take(MAX_CANDIDATES));
            candidates.sort_by_cached_key(|pair| std::cmp::Reverse((1e6 * self.stretch(*pair)) as u64));
        }
        let Some(first) = candidates.first() else {
            let short = |name: &&str| name.chars().take(32).collect::<String>();
            let some: Vec<String> = self.names.iter().take(12).map(short).collect();
            let more = if self.names.len() > some.len() { ", ..." } else { "" };
            return Err(format!("no joint is named like an upper leg, left and right: {}{more}", some.join(", ")));
        };
        let legs: Vec<(Roles, Measures)> =
            candidates.iter().filter_map(|pair| self.legs(*pair, &all, &folded)).collect();
        let longest = legs.iter().map(|(_, found)| found.leg).fold(0.0, f64::max);
        let Some((mut roles, found)) = legs.into_iter().find(|(_, found)| found.leg >= SHORTEST * longest) else {
            let [left, right] = first.map(|joint| self.names[joint]);
            return Err(format!(
                "{left} and {right} are no upper legs: they are at one place, on no common joint, or without feet"
            ));
        };
        let joints = self.whole(&mut roles, found.leg, &all);
        Ok((roles, joints))
    }

    /// The lengths of a body with these roles.
    pub(crate) fn measures(&self, roles: &Roles) -> Measures {
        let [left, right] = roles.up_legs;
        let leg = self.median(|pose| self.chain(pose, left, roles.toes[0]));
        let hip_width = self.median(|pose| length(sub(pose.positions[left], pose.positions[right])));
        let hangs = |side: usize| {
            let above: Vec<usize> = self.ancestors(roles.toes[side]).collect();
            above.contains(&roles.up_legs[side]) && !above.contains(&roles.up_legs[1 - side])
        };
        let ends = |side: usize| {
            let bone = |pose: &Pose| self.bone(pose, roles.toes[side]);
            hangs(side) && self.median(|pose| length(bone(pose))) > FOOT * leg
        };
        let last = self.median(|pose| length(self.bone(pose, roles.toes[0])));
        let with_foot = if last > SHANK * leg { FOOT_AND_LEG * leg } else { leg };
        Measures { leg, with_foot, hip_width, fits: hip_width > NARROWEST * leg && ends(0) && ends(1) }
    }

    /// The vector from the toes' middle to the hips, summed over all poses; only its direction
    /// matters.
    pub(crate) fn hips_above_toes(&self, roles: &Roles) -> Vec3 {
        let above = |pose: &Pose| sub(pose.positions[roles.hips], middle(pose, roles.toes));
        self.looks.iter().map(above).fold([0.0; 3], add)
    }

    /// Uprightness of the rest of a body on its hips: 1 straight above them, 0 to their side, -1
    /// below. It is the 90 % quantile over the poses: a person who crawls stands up once, a dog
    /// does not.
    pub fn stands(&self, roles: &Roles, joints: &[usize], up: Up) -> f64 {
        let legs = roles.up_legs.map(|up_leg| self.below(up_leg));
        let rest = |joint: &&usize| **joint != roles.hips && !legs.iter().any(|leg| leg[**joint]);
        let rest: Vec<usize> = joints.iter().filter(rest).copied().collect();
        if rest.is_empty() {
            return 1.0;
        }
        let stands = |pose: &Pose| {
            let sum = rest.iter().map(|&joint| pose.positions[joint]).fold([0.0; 3], add);
            let trunk = sub(scale(sum, 1.0 / rest.len() as f64), pose.positions[roles.hips]);
            up.turned(trunk)[1] / length(trunk)
        };
        quantile(self.looks.iter().map(stands).collect(), 0.9)
    }

    /// True if a branch of at least two joints hangs on the hips and has none of `joints`. Helper
    /// joints do not count.
    pub(crate) fn has_tail(&self, hips: usize, joints: &[usize]) -> bool {
        let hangs = |&joint: &usize| self.parents[joint] == Some(hips) && !names::is_helper(self.names[joint]);
        (0..self.parents.len()).filter(hangs).any(|branch| {
            let below = self.below(branch);
            below.iter().filter(|inside| **inside).count() > 1 && !joints.iter().any(|&joint| below[joint])
        })
    }

    /// A joint and those above it.
    fn ancestors(&self, joint: usize) -> impl Iterator<Item = usize> + '_ {
        successors(Some(joint), |&joint| self.parents[joint])
    }

    /// For each joint, whether it is `top` or below it.
    fn below(&self, top: usize) -> Vec<bool> {
        let mut below = vec![false; self.parents.len()];
        below[top] = true;
        // Parents come before children.
        for joint in top + 1..below.len() {
            below[joint] = self.parents[joint].is_some_and(|parent| below[parent]);
        }
        below
    }

    /// The median of a value over all poses.
    fn median(&self, of: impl FnMut(&Pose) -> f64) -> f64 {
        quantile(self.looks.iter().map(of).collect(), 0.5)
    }

    /// Length of the bones from a joint to one below it.
    fn chain(&self, pose: &Pose, top: usize, bottom: usize) -> f64 {
        self.ancestors(bottom).take_while(|&joint| joint != top).map(|joint| length(self.bone(pose, joint))).sum()
    }

    /// Place of a joint relative to its parent.
    fn bone(&self, pose: &Pose, joint: usize) -> Vec3 {
        sub(pose.positions[joint], pose.positions[self.parents[joint].unwrap_or(joint)])
    }

    /// The joint below this one that is furthest from it.
    fn furthest(&self, top: usize) -> Option<usize> {
        let below = self.below(top);
        let from = |joint: usize| self.median(|pose| length(sub(pose.positions[joint], pose.positions[top])));
        let joints = (top + 1..below.len()).filter(|&joint| below[joint]).map(|joint| (joint, from(joint)));
        joints.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(joint, _)| joint)
    }

    /// Distance from the middle between a pair of joints to the middle between the ends of their
    /// limbs.
    fn stretch(&self, pair: [usize; 2]) -> f64 {
        let [Some(left), Some(right)] = pair.map(|joint| self.furthest(joint)) else { return 0.0 };
        self.median(|pose| length(sub(middle(pose, [left, right]), middle(pose, pair))))
    }

    /// For each pose, the sum of the directions forward and down of legs that begin at these
    /// joints, whatever lies below them.
    fn axes(&self, up_legs: [usize; 2]) -> Option<Vec<Vec3>> {
        let [Some(left), Some(right)] = up_legs.map(|joint| self.furthest(joint)) else { return None };
        let one = |v: Vec3| scale(v, 1.0 / length(v).max(1e-12));
        let axes = self.looks.iter().map(|pose| {
            let down = one(sub(middle(pose, [left, right]), middle(pose, up_legs)));
            let to_the_left = sub(pose.positions[up_legs[0]], pose.positions[up_legs[1]]);
            (one(cross(down, to_the_left)), down)
        });
        let axes: Vec<(Vec3, Vec3)> = axes.collect();
        // The last bones, those of the feet, point forward. This holds even where the names of left
        // and right are swapped.
        let legs = up_legs.map(|joint| self.below(joint));
        let mut last = vec![true; self.parents.len()];
        self.parents.iter().flatten().for_each(|&parent| last[parent] = false);
        let inside = |joint: &usize| last[*joint] && (legs[0][*joint] || legs[1][*joint]);
        let forward = |(pose, (forward, _)): (&Pose, &(Vec3, Vec3))| {
            (0..self.parents.len()).filter(inside).map(|joint| dot(self.bone(pose, joint), *forward)).sum::<f64>()
        };
        let sign = self.looks.iter().zip(&axes).map(forward).sum::<f64>().signum();
        Some(axes.into_iter().map(|(forward, down)| add(scale(forward, sign), down)).collect())
    }

    /// Mean position of a joint along these directions, one direction for each pose.
    fn reach(&self, axes: &[Vec3], joint: usize) -> f64 {
        let sum: f64 = self.looks.iter().zip(axes).map(|(pose, axis)| dot(pose.positions[joint], *axis)).sum();
        sum / axes.len() as f64
    }

    /// Hips, toes and lengths of legs that begin at these joints; `None` if they are no legs.
    ///
    /// A toe is a joint with the name of a toe: the first that is further down and forward than its
    /// parent. Without such names it is the joint that is furthest down and forward.
    fn legs(&self, up_legs: [usize; 2], pairs: &[[usize; 2]], folded: &[String]) -> Option<(Roles, Measures)> {
        let [left, right] = up_legs.map(|joint| self.below(joint));
        let hips = self.ancestors(up_legs[0]).find(|&joint| self.below(joint)[up_legs[1]])?;
        if up_legs.contains(&hips) {
            return None;
        }
        let axes = self.axes(up_legs)?;
        let further = |toes: &[usize; 2]| {
            let sum: f64 = toes.iter().map(|&toe| self.reach(&axes, toe)).sum();
            (1e6 * sum) as i64
        };
        let mut ends: Vec<[usize; 2]> = pairs.iter().copied().filter(|[l, r]| left[*l] && right[*r]).collect();
        ends.retain(|pair| *pair != up_legs);
        if ends.is_empty() {
            ends.push([self.furthest(up_legs[0])?, self.furthest(up_legs[1])?]);
        }
        ends.truncate(MAX_CANDIDATES);
        ends.sort_by_cached_key(|toes| std::cmp::Reverse(further(toes)));
        let is_toe = |[left, _]: &&[usize; 2]| TOES.iter().any(|word| folded[*left].contains(word));
        let mut named: Vec<[usize; 2]> = ends.iter().filter(is_toe).copied().collect();
        named.sort_by_cached_key(|[left, _]| self.ancestors(*left).count());
        let roles = |toes| Roles { up_legs, toes, hips };
        let in_front = |(Roles { toes, .. }, found): &&(Roles, Measures)| {
            let above = toes.map(|toe| self.parents[toe].unwrap_or(toe));
            let further = |side: usize| self.reach(&axes, toes[side]) - self.reach(&axes, above[side]);
            further(0).min(further(1)) > FOOT * found.leg
        };
        [named, ends].into_iter().find_map(|toes| {
            let found = toes.into_iter().map(roles).map(|roles| (roles, self.measures(&roles)));
            let found: Vec<(Roles, Measures)> = found.filter(|(_, found)| found.fits).collect();
            found.iter().find(in_front).or(found.first()).copied()
        })
    }

    /// All joints of the body, in the order of the file. The hips become the top joint near the
    /// legs from which the rest of the body branches off. If no limbs but the legs hang below it,
    /// branches further up with limbs are added, such as arms on a root on the floor.
    fn whole(&self, roles: &mut Roles, leg: f64, pairs: &[[usize; 2]]) -> Vec<usize> {
        let count = self.parents.len();
        let near = |&joint: &usize| {
            self.median(|pose| length(sub(pose.positions[joint], middle(pose, roles.up_legs)))) < NEAR * leg
        };
        let legs = roles.hips;
        let mut way = vec![legs];
        way.extend(self.ancestors(legs).skip(1).take_while(near));
        let beside = |above: usize, on_way: usize| {
            let branches = (0..count).filter(move |&joint| self.parents[joint] == Some(above) && joint != on_way);
            branches.filter(|&joint| !names::is_helper(self.names[joint]))
        };
        let top = (1..way.len()).rev().find(|&at| beside(way[at], way[at - 1]).next().is_some()).unwrap_or(0);
        roles.hips = way[top];
        let mut inside = self.below(roles.hips);
        for &above in &way[1..=top] {
            let helpers = (0..count).filter(|&at| self.parents[at] == Some(above) && names::is_helper(self.names[at]));
            let helpers: Vec<usize> = helpers.filter(|at| !way.contains(at)).collect();
            helpers.into_iter().for_each(|helper| {
                self.below(helper).iter().zip(&mut inside).for_each(|(below, inside)| *inside &= !below);
            });
        }
        let legs = roles.up_legs.map(|joint| self.below(joint));
        let has_sides = |part: &[bool]| pairs.iter().any(|[left, _]| part[*left] && !legs[0][*left] && !legs[1][*left]);
        if !has_sides(&inside) {
            let above: Vec<usize> = self.ancestors(roles.hips).collect();
            for pair in above.windows(2) {
                for branch in beside(pair[1], pair[0]) {
                    let branch = self.below(branch);
                    if has_sides(&branch) {
                        branch.iter().zip(&mut inside).for_each(|(below, inside)| *inside |= below);
                    }
                }
            }
        }
        (0..count).filter(|&joint| inside[joint]).collect()
    }
}

/// The middle between two joints.
fn middle(pose: &Pose, [a, b]: [usize; 2]) -> Vec3 {
    scale(add(pose.positions[a], pose.positions[b]), 0.5)
}
