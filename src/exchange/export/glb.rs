//! Binary glTF 2.0: moving skeletons. Each has a skin of one solid for each bone, so that any
//! viewer shows a body. Metres, y up, as the format demands.
use super::{Take, children};
use crate::data::Dataset;
use crate::motion::local::{Bones, LocalPose, Means};
use crate::motion::quaternion::{self, Quaternion};
use crate::motion::rig::METRES;
use crate::motion::vector::{Vec3, add, apply, apply_inverse, cross, length, scale, sub, unit};
use crate::motion::{Rig, Skeleton};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Metres between characters that stand side by side.
const APART: f64 = 1.5;
/// Distance of a bone's edges from its axis: these feet, plus this share of the bone's length; and
/// the place of the widest ring along the bone.
const THICK: f64 = 0.05;
const WIDTH: f64 = 0.1;
const WIDEST: f64 = 0.2;

/// Component types of accessors.
const U16: u32 = 5123;
const U32: u32 = 5125;
const F32: u32 = 5126;
/// Targets of buffer views.
const VERTICES: u32 = 34962;
const INDICES: u32 = 34963;

/// A motion as the numbers of the file. It takes one pose at a time and keeps only these numbers.
pub struct Track<'a> {
    name: String,
    skeleton: &'a Skeleton,
    fps: f64,
    /// True for joints whose places are written for every frame, among them the hips.
    moving: Vec<bool>,
    means: Means,
    first: Option<LocalPose>,
    /// Rotations of each joint, [frames, 4].
    rotations: Vec<Vec<f32>>,
    last: Vec<Quaternion>,
    /// Places of each joint that moves, [frames, 3], metres.
    places: Vec<Vec<f32>>,
}

impl<'a> Track<'a> {
    /// Bytes of a frame of a generated walk: a rotation for each joint, and the place of the hips.
    pub(crate) fn frame_bytes(rig: &Rig) -> usize {
        size_of::<f32>() * (4 * rig.skeleton.len() + 3)
    }

    /// A motion without frames, with room for `frames` of them. Only the hips and the `moving`
    /// joints move relative to their parents.
    pub fn new(name: String, rig: &'a Rig, frames: usize, mut moving: Vec<bool>) -> Self {
        let skeleton = &rig.skeleton;
        moving[skeleton.hips] = true;
        Track {
            name,
            skeleton,
            fps: rig.fps,
            means: Means::new(skeleton),
            first: None,
            rotations: (0..skeleton.len()).map(|_| Vec::with_capacity(4 * frames)).collect(),
            last: vec![[0.0, 0.0, 0.0, 1.0]; skeleton.len()],
            places: moving.iter().map(|moves| Vec::with_capacity(if *moves { 3 * frames } else { 0 })).collect(),
            moving,
        }
    }

    /// A clip of a set of this rig's frames.
    pub fn of_clip(set: &Dataset, rig: &'a Rig, clip: usize, bones: Bones) -> Self {
        let Take { name, poses, moving, .. } = Take::of_clip(set, rig, clip, bones);
        let mut track = Track::new(name, rig, poses.len(), moving);
        poses.iter().for_each(|pose| track.push(pose));
        track
    }

    /// Adds a frame. Neighbouring quaternions are in one hemisphere, so that a reader interpolates
    /// along the shorter arc.
    pub fn push(&mut self, pose: &LocalPose) {
        self.first.get_or_insert_with(|| pose.clone());
        self.means.add(pose);
        for joint in 0..self.skeleton.len() {
            let q = quaternion::from_axes(&pose.axes[joint]);
            let along: f64 = q.iter().zip(self.last[joint]).map(|(a, b)| a * b).sum();
            let q = if along < 0.0 { q.map(|x| -x) } else { q };
            self.last[joint] = q;
            self.rotations[joint].extend(q.map(|x| x as f32));
            if self.moving[joint] {
                let place = if joint == self.skeleton.hips { pose.hips } else { pose.offsets[joint] };
                self.places[joint].extend(metres(place));
            }
        }
    }
}

fn metres(place: Vec3) -> [f32; 3] {
    place.map(|x| (METRES * x) as f32)
}

/// Writes the file. All motions start at the same time, side by side; each has at least one frame.
pub fn write<'a>(tracks: impl ExactSizeIterator<Item = Track<'a>>, out: &mut impl Write) -> io::Result<()> {
    let mut file = File::default();
    let count = tracks.len();
    for (index, track) in tracks.enumerate() {
        file.add(track, APART * (index as f64 - (count - 1) as f64 / 2.0));
    }
    file.finish(out)
}

/// The content of the file so far.
#[derive(Default)]
struct File {
    binary: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    nodes: Vec<Value>,
    meshes: Vec<Value>,
    skins: Vec<Value>,
    roots: Vec<usize>,
    channels: Vec<Value>,
    samplers: Vec<Value>,
}

impl File {
    /// Appends a motion, `aside` metres to the side.
    fn add(&mut self, track: Track, aside: f64) {
        let first = self.nodes.len();
        self.roots.push(first);
        let node = |joint: usize| first + 1 + joint;
        let (skeleton, offsets) = (track.skeleton, track.means.offsets());
        self.nodes.push(json!({
            "name": track.name,
            "translation": [aside, 0.0, 0.0],
            "children": [node(skeleton.hips)],
        }));
        let frames = track.rotations[0].len() / 4;
        let times: Vec<f32> = (0..frames).map(|i| (i as f64 / track.fps) as f32).collect();
        let times = self.accessor(&times, "SCALAR", F32, None, true);
        for (joint, offset) in offsets.into_iter().enumerate() {
            let (turned, placed, still) = (&track.rotations[joint], &track.places[joint], metres(offset));
            let mut described = json!({
                "name": skeleton.names[joint],
                "rotation": &turned[..4],
                "translation": if track.moving[joint] { &placed[..3] } else { &still[..] },
            });
            let children: Vec<usize> = children(skeleton, joint).map(node).collect();
            if !children.is_empty() {
                described["children"] = json!(children);
            }
            self.nodes.push(described);
            self.animate(node(joint), "rotation", times, turned, "VEC4");
            if track.moving[joint] {
                self.animate(node(joint), "translation", times, placed, "VEC3");
            }
        }
        let (mesh, inverse_bind) = self.body(&track);
        let joints: Vec<usize> = (0..skeleton.len()).map(node).collect();
        let skin = self.skins.len();
        self.skins.push(json!({
            "joints": joints,
            "skeleton": node(skeleton.hips),
            "inverseBindMatrices": inverse_bind,
        }));
        // A skin is placed by its joints alone. Under another node it would look as if that node
        // moved it.
        self.roots.push(self.nodes.len());
        self.nodes.push(json!({"name": format!("{} body", track.name), "mesh": mesh, "skin": skin}));
    }

    fn animate(&mut self, node: usize, path: &str, times: usize, values: &[f32], kind: &str) {
        let output = self.accessor(values, kind, F32, None, false);
        self.channels.push(json!({"sampler": self.samplers.len(), "target": {"node": node, "path": path}}));
        self.samplers.push(json!({"input": times, "output": output, "interpolation": "LINEAR"}));
    }

    /// Appends numbers and returns the index of their accessor. `bounds` adds their least and
    /// greatest values.
    fn accessor<T: bytemuck::NoUninit + Into<f64>>(
        &mut self,
        numbers: &[T],
        kind: &str,
        component: u32,
        target: Option<u32>,
        bounds: bool,
    ) -> usize {
        let width = match kind {
            "SCALAR" => 1,
            "VEC3" => 3,
            "VEC4" => 4,
            _ => 16,
        };
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let mut view = json!({"buffer": 0, "byteOffset": self.binary.len(), "byteLength": bytes.len()});
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.binary.extend(bytes);
        self.binary.resize(self.binary.len().next_multiple_of(4), 0);
        let mut accessor = json!({
            "bufferView": self.views.len(),
            "componentType": component,
            "count": numbers.len() / width,
            "type": kind,
        });
        if bounds {
            let column = |i: usize| numbers.iter().skip(i).step_by(width).map(|&x| x.into());
            accessor["min"] = (0..width).map(|i| column(i).fold(f64::INFINITY, f64::min)).collect();
            accessor["max"] = (0..width).map(|i| column(i).fold(f64::NEG_INFINITY, f64::max)).collect();
        }
        self.views.push(view);
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    /// The body of a character, bound in its first pose. Returns its mesh, and the accessor of the
    /// inverse bind matrices.
    fn body(&mut self, track: &Track) -> (usize, usize) {
        let (skeleton, tips) = (track.skeleton, track.means.tips());
        let pose = track.first.as_ref().expect("a track has a frame").pose(skeleton);
        let mut body = Body::default();
        for (joint, tip) in tips.into_iter().enumerate() {
            if let Some(parent) = skeleton.parents[joint] {
                body.bone(parent, pose.positions[parent], pose.positions[joint]);
            }
            let tip = apply(&pose.axes[joint], tip);
            body.bone(joint, pose.positions[joint], add(pose.positions[joint], tip));
        }
        // A joint's inverse bind matrix: from the world to its axes, column by column.
        let inverse = |joint: usize| {
            let (axes, position) = (&pose.axes[joint], pose.positions[joint]);
            let [x, y, z] = *axes;
            let away = apply_inverse(axes, position).map(|x| -METRES * x);
            let columns = [[x[0], y[0], z[0], 0.0], [x[1], y[1], z[1], 0.0], [x[2], y[2], z[2], 0.0]];
            let last = [away[0], away[1], away[2], 1.0];
            columns.into_iter().chain([last]).flatten().map(|x| x as f32)
        };
        let inverses: Vec<f32> = (0..skeleton.len()).flat_map(inverse).collect();
        let inverses = self.accessor(&inverses, "MAT4", F32, None, false);
        let primitive = json!({
            "attributes": {
                "POSITION": self.accessor(&body.positions, "VEC3", F32, Some(VERTICES), true),
                "NORMAL": self.accessor(&body.normals, "VEC3", F32, Some(VERTICES), false),
                "JOINTS_0": self.accessor(&body.joints, "VEC4", U16, Some(VERTICES), false),
                "WEIGHTS_0": self.accessor(&body.weights, "VEC4", F32, Some(VERTICES), false),
            },
            "indices": self.accessor(&body.indices, "SCALAR", U32, Some(INDICES), false),
            "material": 0,
        });
        self.meshes.push(json!({"name": format!("{} body", track.name), "primitives": [primitive]}));
        (self.meshes.len() - 1, inverses)
    }

    /// Writes the file: header, JSON chunk, binary chunk.
    fn finish(self, out: &mut impl Write) -> io::Result<()> {
        let document = json!({
            "asset": {"version": "2.0", "generator": concat!("mvae-fast ", env!("CARGO_PKG_VERSION"))},
            "scene": 0,
            "scenes": [{"nodes": self.roots}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "skins": self.skins,
            "materials": [{
                "name": "body",
                "pbrMetallicRoughness": {"baseColorFactor": [0.85, 0.62, 0.35, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8},
            }],
            "animations": [{"name": "motion", "channels": self.channels, "samplers": self.samplers}],
            "buffers": [{"byteLength": self.binary.len()}],
            "bufferViews": self.views,
            "accessors": self.accessors,
        });
        let mut text = serde_json::to_vec(&document).expect("plain values");
        text.resize(text.len().next_multiple_of(4), b' ');
        let length = 12 + 8 + text.len() + 8 + self.binary.len();
        let size = u32::try_from(length).map_err(|_| io::Error::other("a .glb holds 4 GiB at most, write several"))?;
        let put = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        out.write_all(&put(&[u32::from_le_bytes(*b"glTF"), 2, size]))?;
        out.write_all(&put(&[text.len() as u32, u32::from_le_bytes(*b"JSON")]))?;
        out.write_all(&text)?;
        out.write_all(&put(&[self.binary.len() as u32, u32::from_le_bytes(*b"BIN\0")]))?;
        out.write_all(&self.binary)
    }
}

/// Triangles, each vertex bound to one joint.
#[derive(Default)]
struct Body {
    positions: Vec<f32>,
    normals: Vec<f32>,
    joints: Vec<u16>,
    weights: Vec<f32>,
    indices: Vec<u32>,
}

impl Body {
    /// A solid from `from` to `to` (feet) that moves with `joint`: two pyramids on one square.
    fn bone(&mut self, joint: usize, from: Vec3, to: Vec3) {
        let along = sub(to, from);
        let size = length(along);
        if size < 1e-3 {
            return;
        }
        let forward = unit(along);
        // Any direction that is not parallel to the bone.
        let other = if forward[1].abs() < 0.9 { [0.0, 1.0, 0.0] } else { [1.0, 0.0, 0.0] };
        let side = unit(cross(forward, other));
        let up = cross(side, forward);
        let [side, up] = [side, up].map(|edge| scale(edge, THICK + WIDTH * size));
        let middle = add(from, scale(along, WIDEST));
        let ring = [side, up, scale(side, -1.0), scale(up, -1.0)].map(|corner| add(middle, corner));
        for i in 0..4 {
            let (a, b) = (ring[i], ring[(i + 1) % 4]);
            self.triangle(joint, [from, a, b]);
            self.triangle(joint, [to, b, a]);
        }
    }

    fn triangle(&mut self, joint: usize, [a, b, c]: [Vec3; 3]) {
        let normal = unit(cross(sub(b, a), sub(c, a)));
        for corner in [a, b, c] {
            self.indices.push(self.indices.len() as u32);
            self.positions.extend(corner.map(|x| (METRES * x) as f32));
            self.normals.extend(normal.map(|x| x as f32));
            self.joints.extend([joint as u16, 0, 0, 0]);
            self.weights.extend([1.0, 0.0, 0.0, 0.0]);
        }
    }
}
