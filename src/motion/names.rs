//! Names of joints: their side, their counterpart on the other side, and the part of the body that
//! they may stand for.
use super::Skeleton;
use std::collections::HashMap;

/// Ways to write left and right within a name, most reliable first.
const WORDS: [[&str; 2]; 4] = [["Left", "Right"], ["left", "right"], ["LEFT", "RIGHT"], ["左", "右"]];
const LETTERS: [[char; 2]; 2] = [['L', 'R'], ['l', 'r']];
/// Words in the names of upper legs as [`folded`] writes them, most reliable first. Names of lower
/// legs contain the shorter words, too.
pub(crate) const UP_LEGS: [&str; 9] = ["upleg", "upperleg", "thigh", "femur", "hip", "大腿", "足", "腿", "leg"];
/// Words in the names of toes.
pub(crate) const TOES: [&str; 5] = ["toe", "ball", "つま先", "爪先", "趾"];
/// Longest name that is searched for a side, bytes.
const LONGEST: usize = 100;
/// Words for joints that help to pose a body without being part of it.
const HELPERS: [&str; 12] = [
    "ik",
    "target",
    "pole",
    "ctrl",
    "control",
    "effector",
    "footsteps",
    "camera",
    "prop",
    "helper",
    "dummy",
    "locator",
];

/// A name in lower case, without anything that is not alphanumeric.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// A name without the name space that some programs put before it (`mixamorig:Hips`).
pub fn plain(name: &str) -> &str {
    name.rsplit([':', '|']).next().unwrap_or(name)
}

/// Number of bytes that all of these names begin with: the length of a common prefix
/// (`mixamorigHips`, `Skeleton_Hips`), if there is one.
pub fn prefix(names: &[&str]) -> usize {
    let Some((first, others)) = names.split_first() else { return 0 };
    let same = |name: &&str| first.char_indices().zip(name.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    let ends = |name: &&str| same(name).unwrap_or(first.len().min(name.len()));
    others.iter().map(ends).min().unwrap_or(0)
}

/// True if a word in the name marks a joint that helps to pose a body without being part of it.
pub(crate) fn is_helper(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let begins = before.is_lowercase() && c.is_uppercase() || before.is_ascii() != c.is_ascii();
        if begins || !c.is_alphabetic() {
            words.push(String::new());
        }
        words.last_mut().expect("there is one").extend(c.to_lowercase().filter(|c| c.is_alphabetic()));
        before = c;
    }
    words.iter().any(|word| HELPERS.contains(&word.as_str()))
}

/// Possible names of the joint on the other side, most reliable first, each with the side of this
/// joint (0 left, 1 right). Also the number of reliable names among them.
fn swaps(name: &str) -> (Vec<(usize, String)>, usize) {
    if name.len() > LONGEST {
        return (Vec::new(), 0);
    }
    let sides = [0, 1];
    let words = WORDS.iter().flat_map(|word| sides.map(|side| (side, word)));
    let words = words.filter(|(side, word)| name.contains(word[*side]));
    let mut swaps: Vec<_> = words.map(|(side, word)| (side, name.replacen(word[side], word[1 - side], 1))).collect();
    // First single letters: between other signs, or (as in lfemur) at the start. Then any other
    // letter, as in thighL or __lthumb.
    let chars: Vec<char> = name.chars().collect();
    let sign = |at: usize| chars.get(at).is_none_or(|c| !c.is_alphanumeric());
    let alone = |at: usize| at == 0 || sign(at - 1) && sign(at + 1);
    let mut sure = swaps.len();
    for surely in [true, false] {
        for (side, letter) in LETTERS.iter().flat_map(|letter| sides.map(|side| (side, letter))) {
            let places = (0..chars.len()).filter(|&at| chars[at] == letter[side] && alone(at) == surely);
            swaps.extend(places.map(|at| {
                let mut other = chars.clone();
                other[at] = letter[1 - side];
                (side, other.into_iter().collect())
            }));
        }
        if surely {
            sure = swaps.len();
        }
    }
    (swaps, sure)
}

/// For each joint its side, 0 for left and 1 for right, and the joint of the other side. `None` for
/// a joint without a side, or without a counterpart among the names.
pub fn pairs(names: &[&str]) -> Vec<Option<(usize, usize)>> {
    let exact: HashMap<&str, usize> = names.iter().enumerate().map(|(joint, &name)| (name, joint)).collect();
    let loose: HashMap<String, usize> = names.iter().enumerate().map(|(joint, name)| (folded(name), joint)).collect();
    let pair = |name: &&str| {
        let (swaps, sure) = swaps(name);
        let found = |(side, other): &(usize, String)| Some((*side, *exact.get(other.as_str())?));
        let alike = |(side, other): &(usize, String)| Some((*side, *loose.get(&folded(other))?));
        swaps.iter().find_map(found).or_else(|| swaps[..sure].iter().find_map(alike))
    };
    names.iter().map(pair).collect()
}

/// True if a name contains left or right as a word.
pub(crate) fn says_side(name: &str) -> bool {
    WORDS.as_flattened().iter().any(|word| name.contains(word))
}

impl Skeleton {
    /// The counterpart of each joint, or the joint itself if it has none. Counterparts are found by
    /// name. A single unnamed child of a left joint and one of its right counterpart are
    /// counterparts, too. The error names the upper legs or toes if they are not named as left and
    /// right.
    pub(crate) fn counterparts(&self) -> Result<Vec<usize>, String> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let named = pairs(&names);
        let mut pairs: Vec<usize> =
            named.iter().enumerate().map(|(joint, pair)| pair.map_or(joint, |(_, other)| other)).collect();
        for joint in self.order() {
            let Some(parent) = self.parents[joint].filter(|&parent| pairs[joint] == joint && pairs[parent] != parent)
            else {
                continue;
            };
            let alone = |above| (0..self.len()).filter(move |&at| self.parents[at] == Some(above));
            let nameless = |&at: &usize| pairs[at] == at && !says_side(names[at]);
            let alone = |above| alone(above).filter(nameless).collect::<Vec<_>>();
            if let (&[only], &[other]) = (&alone(parent)[..], &alone(pairs[parent])[..])
                && only == joint
            {
                (pairs[joint], pairs[other]) = (other, joint);
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
