//! What joint names tell: the side they are on, the joint that mirrors them, and which are the hips, upper legs and toes.
use super::Skeleton;

/// Ways to write left and right within a name.
const WORDS: [[&str; 2]; 3] = [["Left", "Right"], ["left", "right"], ["LEFT", "RIGHT"]];
const LETTERS: [[char; 2]; 2] = [['L', 'R'], ['l', 'r']];
/// What upper legs are called, the surest first, in small letters without signs between.
const UP_LEGS: [&str; 5] = ["upleg", "upperleg", "thigh", "femur", "hip"];

/// 0 for a joint of the left side, 1 for one of the right, and the name of the joint on the other side; `None` for a joint of
/// neither, or when there is no such joint among `names`.
pub fn counterpart(name: &str, names: &[&str]) -> Option<(usize, String)> {
    let exists = |(_, other): &(usize, String)| names.contains(&other.as_str());
    let sides = [0, 1];
    let words = WORDS.iter().flat_map(|word| sides.map(|side| (side, word)));
    let words = words.filter(|(side, word)| name.contains(word[*side]));
    let mut found = words.map(|(side, word)| (side, name.replacen(word[side], word[1 - side], 1)));
    found.find(exists).or_else(|| {
        // A letter of its own: in front of a capital or a sign, behind a sign, or (as in lfemur) at the start.
        let chars: Vec<char> = name.chars().collect();
        let sign = |at: usize| chars.get(at).is_none_or(|c| !c.is_alphanumeric());
        let alone = |at: usize| at == 0 || sign(at - 1) && sign(at + 1);
        let swapped = |at: usize, to: char| {
            let mut other = chars.clone();
            other[at] = to;
            other.into_iter().collect::<String>()
        };
        let mut swaps = Vec::new();
        for (side, letter) in LETTERS.iter().flat_map(|letter| sides.map(|side| (side, letter))) {
            let places = (0..chars.len()).filter(|&at| chars[at] == letter[side] && alone(at));
            swaps.extend(places.map(|at| (side, swapped(at, letter[1 - side]))));
        }
        swaps.into_iter().find(exists)
    })
}

/// Left and right upper leg, left and right toe, and the hips, by their names and places in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// See [`Skeleton::up_legs`].
    pub up_legs: [usize; 2],
    /// See [`Skeleton::toes`].
    pub toes: [usize; 2],
    /// See [`Skeleton::hips`].
    pub hips: usize,
}

impl Roles {
    /// Finds them; the error says which cannot be found.
    pub fn find(names: &[&str], parents: &[Option<usize>]) -> Result<Self, String> {
        let plain =
            |joint: usize| names[joint].chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        let ancestors = |joint: usize| std::iter::successors(Some(joint), |&joint| parents[joint]);
        let depth = |joint: usize| ancestors(joint).count();
        let pair = |joint: usize| {
            let (side, other) = counterpart(names[joint], names)?;
            let other = names.iter().position(|name| *name == other)?;
            (side == 0).then_some([joint, other])
        };
        let up_legs = UP_LEGS.iter().find_map(|word| {
            let joints = (0..names.len()).filter(|&joint| plain(joint).contains(word));
            joints.filter_map(pair).min_by_key(|[left, _]| depth(*left))
        });
        let up_legs = up_legs.ok_or("no joint is named like an upper leg, left and right")?;
        let hips = ancestors(up_legs[0]).find(|&joint| ancestors(up_legs[1]).any(|other| other == joint));
        let hips = hips.filter(|hips| !up_legs.contains(hips)).ok_or("the upper legs hang on no common joint")?;
        let toe = |up_leg: usize| {
            let below = |joint: &usize| *joint != up_leg && ancestors(*joint).any(|joint| joint == up_leg);
            let leg: Vec<usize> = (0..names.len()).filter(below).collect();
            let named = |words: &[&str]| {
                let joints = leg.iter().copied().filter(|&joint| words.iter().any(|word| plain(joint).contains(word)));
                joints.min_by_key(|&joint| depth(joint))
            };
            let last = leg.iter().copied().max_by_key(|&joint| depth(joint));
            named(&["toe", "ball"]).or_else(|| named(&["foot", "ankle"])).or(last)
        };
        match up_legs.map(toe) {
            [Some(left), Some(right)] => Ok(Roles { up_legs, toes: [left, right], hips }),
            _ => Err("nothing hangs on the upper legs".into()),
        }
    }
}

impl Skeleton {
    /// The joint that mirrors each, itself when it is in the middle; the error names a joint of one side without the other.
    pub fn counterparts(&self) -> Result<Vec<usize>, String> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut pairs: Vec<usize> = (0..self.len()).collect();
        for (joint, name) in names.iter().enumerate() {
            if let Some((_, other)) = counterpart(name, &names) {
                pairs[joint] = self.find(&other).unwrap_or(joint);
            }
        }
        let [legs, toes] = [self.up_legs, self.toes];
        match [legs, toes].iter().find(|[left, right]| pairs[*left] != *right) {
            Some([left, right]) => {
                Err(format!("{} and {} are not named as left and right", names[*left], names[*right]))
            }
            None => Ok(pairs),
        }
    }
}
