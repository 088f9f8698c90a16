//! Binary glTF 2.0: skeletons that move, each with a skin of one solid a bone, so that any viewer shows a body. Metres,
//! y up, as the format asks.
use super::Take;
use crate::motion::quaternion::{self, Quaternion};
use crate::motion::rig::METRES;
use crate::motion::vector::{Vec3, add, apply, apply_inverse, cross, length, scale, sub, unit};
use serde_json::{Value, json};

/// Metres between characters that stand side by side.
const APART: f64 = 1.5;
/// How far a bone's edges are from its middle: so many feet and this share of its length; and where along it that is.
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

/// The bytes of the file: all motions start together, side by side.
pub fn bytes(takes: &[Take]) -> Vec<u8> {
    let mut file = File::default();
    let mut roots = Vec::new();
    let mut channels = Vec::new();
    let mut samplers = Vec::new();
    for (index, take) in takes.iter().enumerate() {
        let first = file.nodes.len();
        roots.push(first);
        let node = |joint: usize| first + 1 + joint;
        let aside = APART * (index as f64 - (takes.len() - 1) as f64 / 2.0);
        file.nodes.push(json!({
            "name": take.name,
            "translation": [aside, 0.0, 0.0],
            "children": [node(take.skeleton.hips)],
        }));
        let times: Vec<f32> = (0..take.poses.len()).map(|i| (i as f64 / take.fps) as f32).collect();
        let times = file.accessor(&times, "SCALAR", F32, None, true);
        let mut animate = |file: &mut File, joint: usize, path: &str, values: &[f32], kind: &str| {
            let output = file.accessor(values, kind, F32, None, false);
            channels.push(json!({"sampler": samplers.len(), "target": {"node": node(joint), "path": path}}));
            samplers.push(json!({"input": times, "output": output, "interpolation": "LINEAR"}));
        };
        for joint in 0..take.skeleton.len() {
            let turned = rotations(take, joint);
            let placed: Vec<f32> = take.poses.iter().flat_map(|pose| place(take, joint, pose)).collect();
            let mut described = json!({
                "name": take.skeleton.names[joint],
                "rotation": &turned[..4],
                "translation": &placed[..3],
            });
            let children: Vec<usize> = take.children(joint).map(node).collect();
            if !children.is_empty() {
                described["children"] = json!(children);
            }
            file.nodes.push(described);
            animate(&mut file, joint, "rotation", &turned, "VEC4");
            if joint == take.skeleton.hips || take.moving[joint] {
                animate(&mut file, joint, "translation", &placed, "VEC3");
            }
        }
        let joints: Vec<usize> = (0..take.skeleton.len()).map(node).collect();
        let (mesh, inverse_bind) = file.body(take);
        let skin = file.skins.len();
        file.skins.push(json!({
            "joints": joints,
            "skeleton": node(take.skeleton.hips),
            "inverseBindMatrices": inverse_bind,
        }));
        // A skin is placed by its joints alone; under another node it would only look as if that moved it.
        roots.push(file.nodes.len());
        file.nodes.push(json!({"name": format!("{} body", take.name), "mesh": mesh, "skin": skin}));
    }
    let animation = json!({"name": "motion", "channels": channels, "samplers": samplers});
    file.finish(&roots, &animation)
}

/// The quaternions of a joint, neighbours in one hemisphere, so that a reader that interpolates takes the short way.
fn rotations(take: &Take, joint: usize) -> Vec<f32> {
    let mut last: Quaternion = [0.0, 0.0, 0.0, 1.0];
    let turned = take.poses.iter().flat_map(|pose| {
        let q = quaternion::from_axes(&pose.axes[joint]);
        let along: f64 = q.iter().zip(last).map(|(a, b)| a * b).sum();
        last = if along < 0.0 { q.map(|x| -x) } else { q };
        last.map(|x| x as f32)
    });
    turned.collect()
}

/// The translation of a joint's node, metres.
fn place(take: &Take, joint: usize, pose: &crate::motion::local::LocalPose) -> [f32; 3] {
    let place = if joint == take.skeleton.hips {
        pose.hips
    } else if take.moving[joint] {
        pose.offsets[joint]
    } else {
        take.offsets[joint]
    };
    place.map(|x| (METRES * x) as f32)
}

/// What is written so far.
#[derive(Default)]
struct File {
    binary: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    nodes: Vec<Value>,
    meshes: Vec<Value>,
    skins: Vec<Value>,
}

impl File {
    /// Appends numbers; the index of their accessor. `bounds` adds their least and greatest values.
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

    /// The body of a character, bound in its first pose: its mesh, and the accessor of the inverse bind matrices.
    fn body(&mut self, take: &Take) -> (usize, usize) {
        let pose = take.poses[0].pose(take.skeleton);
        let mut body = Body::default();
        for joint in 0..take.skeleton.len() {
            if let Some(parent) = take.skeleton.parents[joint] {
                body.bone(parent, pose.positions[parent], pose.positions[joint]);
            }
            let tip = apply(&pose.axes[joint], take.tips[joint]);
            body.bone(joint, pose.positions[joint], add(pose.positions[joint], tip));
        }
        // A joint's inverse: world to its axes, column by column.
        let inverse = |joint: usize| {
            let (axes, position) = (&pose.axes[joint], pose.positions[joint]);
            let [x, y, z] = *axes;
            let away = apply_inverse(axes, position).map(|x| -METRES * x);
            let columns = [[x[0], y[0], z[0], 0.0], [x[1], y[1], z[1], 0.0], [x[2], y[2], z[2], 0.0]];
            let last = [away[0], away[1], away[2], 1.0];
            columns.into_iter().chain([last]).flatten().map(|x| x as f32)
        };
        let inverses: Vec<f32> = (0..take.skeleton.len()).flat_map(inverse).collect();
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
        self.meshes.push(json!({"name": format!("{} body", take.name), "primitives": [primitive]}));
        (self.meshes.len() - 1, inverses)
    }

    /// The file: header, JSON chunk, binary chunk.
    fn finish(self, roots: &[usize], animation: &Value) -> Vec<u8> {
        let document = json!({
            "asset": {"version": "2.0", "generator": concat!("mvae-fast ", env!("CARGO_PKG_VERSION"))},
            "scene": 0,
            "scenes": [{"nodes": roots}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "skins": self.skins,
            "materials": [{
                "name": "body",
                "pbrMetallicRoughness": {"baseColorFactor": [0.85, 0.62, 0.35, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8},
            }],
            "animations": [animation],
            "buffers": [{"byteLength": self.binary.len()}],
            "bufferViews": self.views,
            "accessors": self.accessors,
        });
        let mut text = serde_json::to_vec(&document).expect("plain values");
        text.resize(text.len().next_multiple_of(4), b' ');
        let length = 12 + 8 + text.len() + 8 + self.binary.len();
        let mut bytes = Vec::with_capacity(length);
        let put = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        bytes.extend(put(&[u32::from_le_bytes(*b"glTF"), 2, length as u32]));
        bytes.extend(put(&[text.len() as u32, u32::from_le_bytes(*b"JSON")]));
        bytes.extend(text);
        bytes.extend(put(&[self.binary.len() as u32, u32::from_le_bytes(*b"BIN\0")]));
        bytes.extend(self.binary);
        bytes
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
        // Any direction that is not the bone's.
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
