//! Joint maps: the joints of a file that are kept, with their order and names, and the roles of
//! hips, toes and upper legs.
use super::body::{Body, Measures, Roles};
use super::source::Recording;
use super::{Skeleton, names};
use crate::Result;
use crate::host::toml as toml_file;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

/// A joint map, as `maps.toml` describes it; the maps in that file are built in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointMap {
    /// Name of the map in messages.
    #[serde(default)]
    pub name: String,
    /// The joints kept.
    pub joints: Vec<String>,
    /// The hips, by their name in the set.
    pub hips: String,
    /// Left and right toe, by their names in the set.
    pub toes: [String; 2],
    /// Left and right upper leg, by their names in the set.
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
    /// For each joint, its index in the recording.
    pub sources: Vec<usize>,
    /// Name of each joint in the recording.
    pub theirs: Vec<String>,
    /// Name of the map that picked the joints; `None` for all joints of the body.
    pub map: Option<String>,
    /// The joints of the recording that are not kept, by their names in the recording.
    pub left_out: Vec<String>,
    /// Lengths of the body.
    pub measures: Measures,
}

impl Picked {
    /// The roles, as joints of the recording.
    pub(crate) fn roles(&self) -> Roles {
        self.roles_in(&self.sources)
    }

    fn roles_in(&self, sources: &[usize]) -> Roles {
        let of = |joint: usize| sources[joint];
        let Skeleton { hips, toes, up_legs, .. } = self.skeleton;
        Roles { hips: of(hips), toes: toes.map(of), up_legs: up_legs.map(of) }
    }

    /// Picks the same joints from another recording, by name alone. `None` if one is missing.
    pub fn again(&self, recording: &Recording, body: &Body) -> Option<Self> {
        let names: HashMap<&str, usize> =
            recording.joints.iter().enumerate().map(|(joint, found)| (found.name.as_str(), joint)).collect();
        let sources: Option<Vec<usize>> = self.theirs.iter().map(|name| names.get(name.as_str()).copied()).collect();
        let sources = sources?;
        let (names, roles) = (self.skeleton.names.clone(), self.roles_in(&sources));
        picked(recording, body, names, sources, roles, self.map.as_deref()).ok()
    }
}

impl JointMap {
    /// Reads a map from a user's file.
    pub fn load(path: &Path) -> Result<Self> {
        let mut map: JointMap = toml_file::parse(path, &toml_file::read(path)?)?;
        map.name = path.display().to_string();
        Ok(map)
    }

    /// Picks a recording's joints by their full names, by names without name space, or by names
    /// without the prefix that all share. The error names a missing joint.
    fn pick(&self, recording: &Recording, body: &Body) -> Result<Picked, String> {
        let prefix = names::prefix(body.names());
        let bare = |name: &str| name.get(prefix..).unwrap_or_default().to_owned();
        let ways: [Vec<String>; 3] = [
            recording.joints.iter().map(|joint| joint.name.clone()).collect(),
            body.names().iter().map(|name| (*name).to_owned()).collect(),
            body.names().iter().map(|name| bare(name)).collect(),
        ];
        let find = |name: &str| ways.iter().find_map(|names| names.iter().position(|their| their == name.trim()));
        let (mut ours, mut sources) = (Vec::new(), Vec::new());
        for entry in &self.joints {
            let (our, their) = entry.split_once('=').unwrap_or((entry, entry));
            let found = their.split('|').find_map(find);
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
            hips: sources[index(&self.hips)?],
            toes: [sources[index(left_toe)?], sources[index(right_toe)?]],
            up_legs: [sources[index(left_leg)?], sources[index(right_leg)?]],
        };
        picked(recording, body, ours, sources, roles, Some(&self.name))
    }
}

/// Picks a recording's joints by the given map. Without one, it takes the first built-in map that
/// fits and leaves out no tail, or else all joints of the body.
pub fn pick(recording: &Recording, body: &Body, map: Option<&JointMap>) -> Result<Picked, String> {
    if let Some(map) = map {
        return map.pick(recording, body).map_err(|what| format!("{what} (by {})", map.name));
    }
    let fits = |picked: &Picked| picked.measures.fits && !body.has_tail(picked.roles().hips, &picked.sources);
    if let Some(picked) = BUILT_IN.iter().filter_map(|map| map.pick(recording, body).ok()).find(fits) {
        return Ok(picked);
    }
    let (roles, sources) = body.find()?;
    let ours = sources.iter().map(|&joint| body.names()[joint].to_owned()).collect();
    picked(recording, body, ours, sources, roles, None)
}

/// The skeleton of these joints of a recording, under these names; `roles` are joints of the
/// recording.
fn picked(
    recording: &Recording,
    body: &Body,
    names: Vec<String>,
    sources: Vec<usize>,
    roles: Roles,
    map: Option<&str>,
) -> Result<Picked, String> {
    let parent_of = |source: usize| recording.joints[source].parent;
    let ours = |source: usize| sources.iter().position(|&kept| kept == source);
    let index = |source: usize| ours(source).unwrap_or_default();
    let hips = index(roles.hips);
    // The nearest ancestor that is kept.
    let parents = sources.iter().map(|&s| std::iter::successors(parent_of(s), |&up| parent_of(up)).find_map(ours));
    let mut parents: Vec<Option<usize>> = parents.collect();
    parents[hips] = None;
    for (joint, parent) in parents.iter_mut().enumerate().filter(|(joint, parent)| parent.is_none() && *joint != hips) {
        if map.is_some() {
            let [joint, hips] = [joint, hips].map(|joint| &names[joint]);
            return Err(format!("{joint} does not hang on the hips, {hips}"));
        }
        *parent = Some(hips);
    }
    let offsets = vec![[0.0; 3]; names.len()];
    let (toes, up_legs) = (roles.toes.map(index), roles.up_legs.map(index));
    let skeleton = Skeleton { names, parents, offsets, hips, toes, up_legs };
    if let Some(flaw) = skeleton.flaw() {
        return Err(flaw);
    }
    let left_out = recording.joints.iter().enumerate().filter(|(joint, _)| !sources.contains(joint));
    let left_out = left_out.map(|(_, joint)| joint.name.clone()).collect();
    let theirs = sources.iter().map(|&source| recording.joints[source].name.clone()).collect();
    let (map, measures) = (map.map(str::to_owned), body.measures(&roles));
    Ok(Picked { skeleton, sources, theirs, map, left_out, measures })
}
