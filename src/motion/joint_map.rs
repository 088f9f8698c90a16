//! Joint maps: which joints of a file are kept, in which order, under which names, and which of them are hips and toes.
use super::names::Roles;
use super::source::Recording;
use super::{Skeleton, names};
use crate::Result;
use crate::config::layers;
use serde::Deserialize;
use std::path::Path;
use std::sync::LazyLock;

/// See `maps.toml`, whose maps are built in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointMap {
    /// What it is called in messages.
    #[serde(default)]
    pub name: String,
    /// The joints kept.
    pub joints: Vec<String>,
    /// The hips, by our name.
    pub hips: String,
    /// Left and right toe, by our names.
    pub toes: [String; 2],
    /// Left and right upper leg, by our names.
    pub up_legs: [String; 2],
}

/// The maps that are built in.
static BUILT_IN: LazyLock<Vec<JointMap>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Maps {
        map: Vec<JointMap>,
    }
    toml::from_str::<Maps>(include_str!("maps.toml")).expect("the built-in maps are TOML").map
});

/// A skeleton taken out of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Picked {
    /// The joints kept; offsets are zero until they are measured on the frames.
    pub skeleton: Skeleton,
    /// The joint of the recording that each is.
    pub sources: Vec<usize>,
    /// By which map.
    pub map: String,
}

impl JointMap {
    /// Reads a map of one's own.
    pub fn load(path: &Path) -> Result<Self> {
        let mut map: JointMap = layers::parse(path, &layers::read(path)?)?;
        map.name = path.display().to_string();
        Ok(map)
    }

    /// Picks a recording's joints; the error says which one is missing.
    pub fn pick(&self, recording: &Recording) -> Result<Picked, String> {
        let theirs: Vec<&str> = recording.joints.iter().map(|joint| plain(&joint.name)).collect();
        let (mut ours, mut sources) = (Vec::new(), Vec::new());
        for entry in &self.joints {
            let (our, their) = entry.split_once('=').unwrap_or((entry, entry));
            let found = their.split('|').find_map(|name| theirs.iter().position(|their| *their == name.trim()));
            sources.push(found.ok_or_else(|| format!("there is no joint {}", their.trim()))?);
            ours.push(our.trim().to_owned());
        }
        let index = |name: &String| {
            let at = ours.iter().position(|our| our == name);
            at.ok_or_else(|| format!("{name} is not among the joints of the map"))
        };
        let [left_toe, right_toe] = &self.toes;
        let [left_leg, right_leg] = &self.up_legs;
        let roles = Roles {
            hips: index(&self.hips)?,
            toes: [index(left_toe)?, index(right_toe)?],
            up_legs: [index(left_leg)?, index(right_leg)?],
        };
        picked(recording, ours, sources, roles, self.name.clone())
    }
}

/// Picks a recording's joints by the map given, else by the first built-in one that fits, else all of the hips and below.
pub fn pick(recording: &Recording, map: Option<&JointMap>) -> Result<Picked, String> {
    if let Some(map) = map {
        return map.pick(recording);
    }
    if let Some(picked) = BUILT_IN.iter().find_map(|map| map.pick(recording).ok()) {
        return Ok(picked);
    }
    let theirs: Vec<&str> = recording.joints.iter().map(|joint| plain(&joint.name)).collect();
    let parents: Vec<Option<usize>> = recording.joints.iter().map(|joint| joint.parent).collect();
    let roles = Roles::find(&theirs, &parents).map_err(|what| format!("{what}; name them with --map FILE.toml"))?;
    let ancestors = |joint: usize| std::iter::successors(Some(joint), |&joint| parents[joint]);
    let sources: Vec<usize> = (0..theirs.len()).filter(|&j| ancestors(j).any(|joint| joint == roles.hips)).collect();
    let ours = sources.iter().map(|&joint| theirs[joint].to_owned()).collect();
    let index = |joint| sources.iter().position(|&source| source == joint).unwrap_or_default();
    let roles = Roles { hips: index(roles.hips), toes: roles.toes.map(index), up_legs: roles.up_legs.map(index) };
    picked(recording, ours, sources, roles, "none, so the hips and all joints below".into())
}

fn picked(
    recording: &Recording,
    names: Vec<String>,
    sources: Vec<usize>,
    roles: names::Roles,
    map: String,
) -> Result<Picked, String> {
    let parent_of = |source: usize| recording.joints[source].parent;
    let ours = |source: usize| sources.iter().position(|&kept| kept == source);
    // The nearest ancestor that is kept.
    let parents = sources.iter().map(|&s| std::iter::successors(parent_of(s), |&up| parent_of(up)).find_map(ours));
    let mut parents: Vec<Option<usize>> = parents.collect();
    parents[roles.hips] = None;
    let names::Roles { up_legs, toes, hips } = roles;
    let offsets = vec![[0.0; 3]; names.len()];
    let skeleton = Skeleton { names, parents, offsets, hips, toes, up_legs };
    match skeleton.parents.iter().enumerate().find(|(joint, parent)| parent.is_none() && *joint != hips) {
        Some((joint, _)) => Err(format!("{} does not hang on the hips", skeleton.names[joint])),
        None => match skeleton.flaw() {
            Some(flaw) => Err(flaw),
            None => Ok(Picked { skeleton, sources, map }),
        },
    }
}

/// A name without the name space that some programs put before it (`mixamorig:Hips`).
fn plain(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}
