//! Names of joints: the side that a name tells, its counterpart on the other side, and the part of
//! the body that it may be.
use super::Skeleton;
use std::collections::HashMap;

/// Ways to write left and right within a name, the surest first.
const WORDS: [[&str; 2]; 4] = [["Left", "Right"], ["left", "right"], ["LEFT", "RIGHT"], ["左", "右"]];
const LETTERS: [[char; 2]; 2] = [['L', 'R'], ['l', 'r']];
/// Words in the names of upper legs as [`folded`] writes them, the surest first. Lower legs have
/// the shorter words, too.
pub const UP_LEGS: [&str; 9] = ["upleg", "upperleg", "thigh", "femur", "hip", "大腿", "足", "腿", "leg"];
/// Words in the names of toes.
pub const TOES: [&str; 5] = ["toe", "ball", "つま先", "爪先", "趾"];
/// Bytes of the longest name that is looked at for its side.
const LONGEST: usize = 100;
/// Words for joints that help to pose a body and are none of it.
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

/// A name in small letters, without the signs between.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// A name without the name space that some programs put before it (`mixamorig:Hips`).
pub fn plain(name: &str) -> &str {
    name.rsplit([':', '|']).next().unwrap_or(name)
}

/// How many bytes all of these names begin with: those of a prefix (`mixamorigHips`,
/// `Skeleton_Hips`), if they have one.
pub fn prefix(names: &[&str]) -> usize {
    let Some((first, others)) = names.split_first() else { return 0 };
    let same = |name: &&str| first.char_indices().zip(name.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    let ends = |name: &&str| same(name).unwrap_or(first.len().min(name.len()));
    others.iter().map(ends).min().unwrap_or(0)
}

/// Whether a joint helps to pose a body and is none of it, by one of its words.
pub fn is_helper(name: &str) -> bool {
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

/// The other names that this one may have on the other side, the surest first, each with the side
/// that this one is on, and how many of them are sure.
fn swaps(name: &str) -> (Vec<(usize, String)>, usize) {
    if name.len() > LONGEST {
        return (Vec::new(), 0);
    }
    let sides = [0, 1];
    let words = WORDS.iter().flat_map(|word| sides.map(|side| (side, word)));
    let words = words.filter(|(side, word)| name.contains(word[*side]));
    let mut swaps: Vec<_> = words.map(|(side, word)| (side, name.replacen(word[side], word[1 - side], 1))).collect();
    // A letter of its own: between signs, or (as in lfemur) at the start. Else any letter, as in
    // thighL or __lthumb.
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

/// For each joint of a side, 0 for left and 1 for right, and the joint of the other side; `None`
/// for a joint of neither, and for one whose counterpart is not among the names.
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

/// Whether a name says left or right in full.
pub fn says_side(name: &str) -> bool {
    WORDS.as_flattened().iter().any(|word| name.contains(word))
}

impl Skeleton {
    /// The joint that mirrors each, itself when it has none: by their names, and of joints that
    /// hang on a left and a right joint, one on each, by that. The error names a joint of one side
    /// without the other.
    pub fn counterparts(&self) -> Result<Vec<usize>, String> {
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
