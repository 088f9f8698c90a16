//! A character as an ONNX graph whose state is its arguments, and its description beside it.
//!
//! Inputs:
//! - `pose` [N, C F], newest frame first, and `root` [N, 3]: x, z (metres), facing (radians);
//! - `velocity` [N, 2]: x, z (metres a second); or `points` [N, K, 2]: x, z (metres); or without a
//!   policy `latent` [N, L].
//!
//! Outputs:
//! - `next_pose` and `next_root`;
//! - `joints` [N, J, 3] in the world (metres);
//! - `rotations` [N, J, 4] in the parents' axes, quaternions x, y, z, w;
//! - `contacts` [N, 2]: 1 where the left or right foot stands.
use super::layers::{Act, COMMAND, CONDITION, LATENT, Layer};
use super::protobuf::Message;
use super::{Aim, Shipped, js};
use crate::motion::rig::METRES;
use crate::{Error, Result};
use serde_json::json;
use std::f64::consts::TAU;

/// Version of the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opset(i64);

/// First version of the operators, and the version of the file format that came with it.
const FORMATS: [(i64, i64); 7] = [(15, 8), (19, 9), (21, 10), (23, 11), (24, 12), (25, 13), (28, 14)];
/// The newest version in which the operators mean what this file says.
const NEWEST: i64 = 28;

impl Default for Opset {
    fn default() -> Self {
        Opset(FORMATS[0].0)
    }
}

impl Opset {
    /// A version. Errors: it is not served.
    pub fn new(version: i64) -> Result<Self> {
        let oldest = FORMATS[0].0;
        match (oldest..=NEWEST).contains(&version) {
            true => Ok(Opset(version)),
            false => Err(Error::Usage(format!("--opset is {version}, expected one from {oldest} to {NEWEST}"))),
        }
    }

    /// Version of the file format.
    fn ir(self) -> i64 {
        FORMATS.iter().rev().find(|(first, _)| *first <= self.0).expect("the first is the oldest").1
    }
}

// Types of elements and of attributes, as ONNX numbers them.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const INT: i64 = 2;
const INTS: i64 = 7;

/// A value of the graph, by its name.
type Value = String;

/// The graph, and the description beside it.
pub(super) fn contents(shipped: &Shipped, opset: Opset) -> Vec<Vec<u8>> {
    let (f, joints) = (shipped.frame_size, shipped.joints());
    let mut graph = Graph::default();
    let row = (shipped.condition_frames * f) as i64;
    let asked = match shipped.command.map(|command| command.aim) {
        Some(Aim::Velocity { .. }) => ("velocity", vec![2]),
        Some(Aim::Points { count, .. }) => ("points", vec![count as i64, 2]),
        None => ("latent", vec![shipped.latent_size() as i64]),
    };
    let inputs = [("pose", vec![row]), ("root", vec![3]), asked];
    let [next_pose, next_root] = graph.step(shipped);
    let [at, turns, contacts] = graph.seen(shipped, &next_pose, &next_root);
    let joints = joints as i64;
    let outputs = [
        ("next_pose", next_pose, vec![row]),
        ("next_root", next_root, vec![3]),
        ("joints", at, vec![joints, 3]),
        ("rotations", turns, vec![joints, 4]),
        ("contacts", contacts, vec![2]),
    ];
    for (name, value, _) in &outputs {
        graph.add("Identity", &[value], Vec::new(), (*name).to_owned());
    }
    let graph = Message::default()
        .all(1, graph.nodes)
        .bytes(2, "character")
        .all(5, graph.constants)
        .all(11, inputs.map(|(name, sizes)| tensor(name, &sizes)))
        .all(12, outputs.map(|(name, _, sizes)| tensor(name, &sizes)));
    let model = Message::default()
        .number(1, opset.ir())
        .bytes(2, "mvae-fast")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .bytes(6, shipped.about())
        .bytes(7, graph)
        .bytes(8, Message::default().bytes(1, "").number(2, opset.0));
    vec![model.finish(), description(shipped)]
}

/// The description: all that an engine needs beside the graph.
fn description(shipped: &Shipped) -> Vec<u8> {
    let row = shipped.condition_frames * shipped.frame_size;
    let apart = shipped.command.and_then(|command| match command.aim {
        Aim::Points { apart, .. } => Some(apart),
        Aim::Velocity { .. } => None,
    });
    let description = json!({
        "about": shipped.about(), "fps": shipped.rig.fps / shipped.frame_skip as f64,
        "units": "metres", "axes": "right-handed, y up",
        "top_speed": shipped.command.and_then(|command| command.top()), "points_apart_s": apart, "latent": shipped.latent_size(),
        "skeleton": js::skeleton(&shipped.rig),
        "starts": shipped.starts.chunks_exact(row).collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_vec(&description).expect("plain values");
    text.push(b'\n');
    text
}

/// A graph under way.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    count: usize,
}

impl Graph {
    fn name(&mut self) -> Value {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn add(&mut self, op: &str, inputs: &[&Value], attributes: Vec<Message>, output: Value) -> Value {
        let node = Message::default().all(1, inputs).bytes(2, &output).bytes(3, format!("n{output}")).bytes(4, op);
        self.nodes.push(node.all(5, attributes));
        output
    }

    /// The output of an operator.
    fn op(&mut self, op: &str, inputs: &[&Value]) -> Value {
        let output = self.name();
        self.add(op, inputs, Vec::new(), output)
    }

    /// The output of an operator along an axis.
    fn along(&mut self, op: &str, axis: i64, inputs: &[&Value]) -> Value {
        let output = self.name();
        self.add(op, inputs, vec![attribute("axis", 3, INT, [axis])], output)
    }

    fn constant(&mut self, sizes: &[usize], values: &[f32]) -> Value {
        let output = self.name();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = Message::default().numbers(1, sizes.iter().map(|&size| size as i64)).number(2, FLOAT);
        self.constants.push(tensor.bytes(8, &output).bytes(9, bytes));
        output
    }

    fn one(&mut self, value: f64) -> Value {
        self.constant(&[1], &[value as f32])
    }

    fn whole(&mut self, values: &[i64]) -> Value {
        let output = self.name();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = Message::default().number(1, values.len() as i64).number(2, INT64);
        self.constants.push(tensor.bytes(8, &output).bytes(9, bytes));
        output
    }

    /// The entries from `from` on, `count` of them, along an axis.
    fn part(&mut self, of: &Value, axis: i64, from: usize, count: usize) -> Value {
        let [from, to, axis] = [from as i64, (from + count) as i64, axis].map(|x| self.whole(&[x]));
        self.op("Slice", &[of, &from, &to, &axis])
    }

    /// Another shape behind the batch.
    fn shaped(&mut self, of: &Value, sizes: &[i64]) -> Value {
        let sizes = self.whole(&[&[0], sizes].concat());
        self.op("Reshape", &[of, &sizes])
    }

    /// a b + c d, or a b - c d.
    fn both(&mut self, op: &str, [a, b, c, d]: [&Value; 4]) -> Value {
        let (ab, cd) = (self.op("Mul", &[a, b]), self.op("Mul", &[c, d]));
        self.op(op, &[&ab, &cd])
    }

    /// Lengths of the vectors along the last axis.
    fn lengths(&mut self, of: &Value) -> Value {
        let (squares, axis) = (self.op("Mul", &[of, of]), self.whole(&[-1]));
        let sum = self.op("ReduceSum", &[&squares, &axis]);
        self.op("Sqrt", &[&sum])
    }

    fn units(&mut self, of: &Value) -> Value {
        let (lengths, least) = (self.lengths(of), self.one(1e-12));
        let lengths = self.op("Max", &[&lengths, &least]);
        self.op("Div", &[of, &lengths])
    }

    /// The vectors (x, y, z) along the last axis of [N, J, 3], turned by an angle whose sine and
    /// cosine are [N, 1].
    fn turned(&mut self, of: &Value, sin: &Value, cos: &Value) -> Value {
        let [x, y, z] = [0, 1, 2].map(|i| self.part(of, 2, i, 1));
        let [s, c] = [sin, cos].map(|x| self.shaped(x, &[1, 1]));
        let (x, z) = (self.both("Add", [&c, &x, &s, &z]), self.both("Sub", [&c, &z, &s, &x]));
        self.along("Concat", 2, &[&x, &y, &z])
    }

    /// The next pose and root.
    fn step(&mut self, shipped: &Shipped) -> [Value; 2] {
        let Shipped { scale, shift, condition_frames: c, frame_size: f, .. } = shipped;
        let [mut pose, mut root] = ["pose", "root"].map(str::to_owned);
        let inverse: Vec<f32> = scale.iter().map(|x| 1.0 / x).collect();
        let (scales, shifts) = (self.constant(&[*f], scale), self.constant(&[*f], shift));
        let [inverses, back] = [&inverse, shift].map(|of| self.constant(&[c * f], &of.repeat(*c)));
        let centred = self.op("Sub", &[&pose, &back]);
        let condition = self.op("Mul", &[&centred, &inverses]);
        let mut values = vec![Value::new(); shipped.layers.sizes.len()];
        values[CONDITION] = condition;
        values[LATENT] = "latent".into();
        if shipped.command.is_some() {
            values[COMMAND] = self.asked(shipped, &root);
        }
        for layer in &shipped.layers.all {
            values[layer.into] = self.layer(layer, shipped.layers.sizes[layer.into], &values);
        }
        for number in 0..shipped.frame_skip {
            let normalized = self.part(&values[shipped.layers.prediction()], 1, number * f, *f);
            let scaled = self.op("Mul", &[&normalized, &scales]);
            let frame = self.op("Add", &[&scaled, &shifts]);
            let frame = self.reconciled(shipped, &pose, &frame);
            root = self.moved(&root, &frame);
            if *c > 1 {
                let older = self.part(&pose, 1, 0, (c - 1) * f);
                pose = self.along("Concat", 1, &[&frame, &older]);
            } else {
                pose = frame;
            }
        }
        [pose, root]
    }

    /// The policy's command, see [`super::walker`].
    fn asked(&mut self, shipped: &Shipped, root: &Value) -> Value {
        let command = shipped.command.expect("a policy");
        let given = match command.aim {
            Aim::Velocity { .. } => self.shaped(&"velocity".into(), &[1, 2]),
            Aim::Points { .. } => {
                let place = self.part(root, 1, 0, 2);
                let place = self.shaped(&place, &[1, 2]);
                self.op("Sub", &[&"points".into(), &place])
            }
        };
        let facing = self.part(root, 1, 2, 1);
        let facing = self.shaped(&facing, &[1, 1]);
        let (sin, cos) = (self.op("Sin", &[&facing]), self.op("Cos", &[&facing]));
        let [x, z] = [0, 1].map(|i| self.part(&given, 2, i, 1));
        let (ahead, aside) = (self.both("Sub", [&cos, &x, &sin, &z]), self.both("Add", [&sin, &x, &cos, &z]));
        let own = self.along("Concat", 2, &[&ahead, &aside]);
        let (mut size, direction) = (self.lengths(&given), self.units(&own));
        if let Some(top) = command.top() {
            let top = self.one(top);
            size = self.op("Min", &[&size, &top]);
        }
        let unit = self.one(1.0 / command.metres);
        let mut length = self.op("Mul", &[&size, &unit]);
        if let Some(gain) = command.gain {
            let (one, gain) = (self.one(1.0), self.one(gain));
            let more = self.op("Add", &[&length, &one]);
            let logarithm = self.op("Log", &[&more]);
            length = self.op("Mul", &[&logarithm, &gain]);
        }
        let seen = self.op("Mul", &[&direction, &length]);
        self.shaped(&seen, &[2 * command.vectors() as i64])
    }

    fn layer(&mut self, layer: &Layer, outputs: usize, values: &[Value]) -> Value {
        let inputs: Vec<&Value> = layer.inputs.iter().map(|&value| &values[value]).collect();
        let inside = layer.weights.len() / outputs;
        let mut x = match &inputs[..] {
            [] => None,
            [x] => Some((*x).clone()),
            several => Some(self.along("Concat", 1, several)),
        };
        let bias = match layer.gate {
            Some(gate) => {
                let gate = &values[gate];
                x = x.map(|x| {
                    let each = (inside / layer.experts) as i64;
                    let (x, gate) = (self.shaped(&x, &[1, each]), self.shaped(gate, &[layer.experts as i64, 1]));
                    let shares = self.op("Mul", &[&x, &gate]);
                    self.shaped(&shares, &[inside as i64])
                });
                let bias = self.constant(&[layer.experts, outputs], &layer.bias);
                self.op("MatMul", &[gate, &bias])
            }
            None => self.constant(&[outputs], &layer.bias),
        };
        let sum = match x {
            Some(x) => {
                let weights = self.constant(&[inside, outputs], &layer.weights);
                let product = self.op("MatMul", &[&x, &weights]);
                self.op("Add", &[&product, &bias])
            }
            None => bias,
        };
        match layer.act {
            Act::Same => sum,
            Act::Elu => self.op("Elu", &[&sum]),
            Act::Relu => self.op("Relu", &[&sum]),
            Act::Softmax => self.along("Softmax", 1, &[&sum]),
            Act::Action => {
                let (y, four) = (self.op("Tanh", &[&sum]), self.one(4.0));
                self.op("Mul", &[&y, &four])
            }
            Act::Largest => {
                let best = self.along("ArgMax", 1, &[&sum]);
                let all = self.whole(&(0..outputs as i64).collect::<Vec<_>>());
                let chosen = self.op("Equal", &[&best, &all]);
                self.float(&chosen)
            }
        }
    }

    /// Truth as 1 and 0.
    fn float(&mut self, of: &Value) -> Value {
        let output = self.name();
        self.add("Cast", &[of], vec![attribute("to", 3, INT, [FLOAT])], output)
    }

    /// A frame whose places follow its velocities, see [`crate::ops::reconcile`].
    fn reconciled(&mut self, shipped: &Shipped, pose: &Value, frame: &Value) -> Value {
        let joints = shipped.joints();
        if shipped.share.iter().all(|&share| share == 1.0) {
            return frame.clone();
        }
        let [root, places, velocities, before] =
            [(frame, 0, 1), (frame, 3, joints), (frame, 3 + 3 * joints, joints), (pose, 3, joints)]
                .map(|(of, from, count)| self.part(of, 1, from, 3 * count));
        let rest = self.part(frame, 1, 3 + 3 * joints, 9 * joints);
        let [places, velocities, before] = [places, velocities, before].map(|of| self.shaped(&of, &[joints as i64, 3]));
        let [ahead, aside, turn] = [0, 1, 2].map(|i| self.part(&root, 1, i, 1));
        let zero = self.one(0.0);
        let none = self.op("Mul", &[&turn, &zero]);
        let moved = self.along("Concat", 1, &[&ahead, &none, &aside]);
        let moved = self.shaped(&moved, &[1, 3]);
        let away = self.op("Sub", &[&before, &moved]);
        // Seen from the new facing: turned back.
        let back = self.op("Neg", &[&turn]);
        let (sin, cos) = (self.op("Sin", &[&back]), self.op("Cos", &[&back]));
        let seen = self.turned(&away, &sin, &cos);
        let follow = self.op("Add", &[&seen, &velocities]);
        let less: Vec<f32> = shipped.share.iter().map(|share| 1.0 - share).collect();
        let [share, less] = [&shipped.share, &less].map(|of| self.constant(&[joints, 3], of));
        let places = self.both("Add", [&share, &places, &less, &follow]);
        let places = self.shaped(&places, &[3 * joints as i64]);
        self.along("Concat", 1, &[&root, &places, &rest])
    }

    /// The root after a frame.
    fn moved(&mut self, root: &Value, frame: &Value) -> Value {
        let [x, z, facing] = [0, 1, 2].map(|i| self.part(root, 1, i, 1));
        let [ahead, aside, turn] = [0, 1, 2].map(|i| self.part(frame, 1, i, 1));
        let (sin, cos, metres) = (self.op("Sin", &[&facing]), self.op("Cos", &[&facing]), self.one(METRES));
        let along =
            [(x, self.both("Add", [&cos, &ahead, &sin, &aside])), (z, self.both("Sub", [&cos, &aside, &sin, &ahead]))];
        let [x, z] = along.map(|(at, way)| {
            let way = self.op("Mul", &[&way, &metres]);
            self.op("Add", &[&at, &way])
        });
        let angle = self.op("Add", &[&facing, &turn]);
        let (turns, whole) = (self.one(1.0 / TAU), self.one(TAU));
        let turns = self.op("Mul", &[&angle, &turns]);
        let turns = self.op("Floor", &[&turns]);
        let whole = self.op("Mul", &[&turns, &whole]);
        let facing = self.op("Sub", &[&angle, &whole]);
        self.along("Concat", 1, &[&x, &z, &facing])
    }

    /// Places and rotations of the joints, and contacts of the feet.
    fn seen(&mut self, shipped: &Shipped, pose: &Value, root: &Value) -> [Value; 3] {
        let (joints, rig) = (shipped.joints(), &shipped.rig);
        let part = |graph: &mut Self, number: usize| {
            let part = graph.part(pose, 1, 3 + 3 * number * joints, 3 * joints);
            graph.shaped(&part, &[joints as i64, 3])
        };
        let [x, z, facing] = [0, 1, 2].map(|i| self.part(root, 1, i, 1));
        let (sin, cos) = (self.op("Sin", &[&facing]), self.op("Cos", &[&facing]));
        let zero = self.one(0.0);
        let none = self.op("Mul", &[&sin, &zero]);
        let metres = self.one(METRES);
        let own = part(self, 0);
        let own = self.op("Mul", &[&own, &metres]);
        let turned = self.turned(&own, &sin, &cos);
        let place = self.along("Concat", 1, &[&x, &none, &z]);
        let place = self.shaped(&place, &[1, 3]);
        let at = self.op("Add", &[&turned, &place]);

        let toes = self.whole(&rig.skeleton.toes.map(|toe| toe as i64));
        let feet = self.along("Gather", 1, &[&own, &toes]);
        let heights = self.part(&feet, 2, 1, 1);
        let floors = self.constant(&[2, 1], &rig.toe_floors.map(|floor| (METRES * floor) as f32));
        let over = self.op("Sub", &[&heights, &floors]);
        let over = self.op("Abs", &[&over]);
        let velocities = part(self, 1);
        let speeds = self.along("Gather", 1, &[&velocities, &toes]);
        let speeds = self.lengths(&speeds);
        let (low, slow) = (
            self.one(crate::motion::rig::CONTACT_HEIGHT),
            self.one(crate::motion::rig::CONTACT_SPEED / METRES / rig.fps),
        );
        let (low, slow) = (self.op("Less", &[&over, &low]), self.op("Less", &[&speeds, &slow]));
        let stands = self.op("And", &[&low, &slow]);
        let stands = self.float(&stands);
        let contacts = self.shaped(&stands, &[2]);

        let (raw, third) = (part(self, 2), part(self, 3));
        let third = self.units(&third);
        let product = self.op("Mul", &[&raw, &third]);
        let axis = self.whole(&[-1]);
        let share = self.op("ReduceSum", &[&product, &axis]);
        let share = self.op("Mul", &[&share, &third]);
        let second = self.op("Sub", &[&raw, &share]);
        let second = self.units(&second);
        let [once, twice] = [[1, 2, 0], [2, 0, 1]].map(|order| self.whole(&order));
        let [y1, z1, y2, z2] = [(&second, &once), (&third, &once), (&second, &twice), (&third, &twice)]
            .map(|(of, order)| self.along("Gather", 2, &[of, order]));
        let first = self.both("Sub", [&y1, &z2, &y2, &z1]);
        let rows = [first, second, third].map(|axis| self.shaped(&axis, &[joints as i64, 1, 3]));
        let axes = self.along("Concat", 2, &[&rows[0], &rows[1], &rows[2]]);
        let (one, minus) = (self.one(1.0), self.op("Neg", &[&sin]));
        let one = self.op("Add", &[&none, &one]);
        let world = self.along("Concat", 1, &[&cos, &none, &sin, &none, &one, &none, &minus, &none, &cos]);
        let world = self.shaped(&world, &[1, 3, 3]);
        let all = self.along("Concat", 1, &[&axes, &world]);
        let parents: Vec<i64> = rig.skeleton.parents.iter().map(|parent| parent.unwrap_or(joints) as i64).collect();
        let parents = self.whole(&parents);
        let parents = self.along("Gather", 1, &[&all, &parents]);
        let turned = self.name();
        let parents = self.add("Transpose", &[&parents], vec![attribute("perm", 8, INTS, [0, 1, 3, 2])], turned);
        let local = self.op("MatMul", &[&axes, &parents]);
        [at, self.quaternions(&local, joints), contacts]
    }

    /// Quaternions of rotations [N, J, 3, 3]. Of the four rows 4 q_i q, which are linear in the
    /// rotation, the largest is the most exact.
    fn quaternions(&mut self, local: &Value, joints: usize) -> Value {
        // Entry k of row i, of the entries 3 a + b of the rotation.
        let signed: [[&[(usize, f32)]; 4]; 4] = [
            [&[(0, 1.0), (4, -1.0), (8, -1.0)], &[(1, 1.0), (3, 1.0)], &[(6, 1.0), (2, 1.0)], &[(5, 1.0), (7, -1.0)]],
            [&[(1, 1.0), (3, 1.0)], &[(0, -1.0), (4, 1.0), (8, -1.0)], &[(5, 1.0), (7, 1.0)], &[(6, 1.0), (2, -1.0)]],
            [&[(6, 1.0), (2, 1.0)], &[(5, 1.0), (7, 1.0)], &[(0, -1.0), (4, -1.0), (8, 1.0)], &[(1, 1.0), (3, -1.0)]],
            [&[(5, 1.0), (7, -1.0)], &[(6, 1.0), (2, -1.0)], &[(1, 1.0), (3, -1.0)], &[(0, 1.0), (4, 1.0), (8, 1.0)]],
        ];
        let mut matrix = [0.0; 9 * 16];
        for (column, terms) in signed.as_flattened().iter().enumerate() {
            terms.iter().for_each(|&(entry, sign)| matrix[16 * entry + column] = sign);
        }
        let ones: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
        let (matrix, ones) = (self.constant(&[9, 16], &matrix), self.constant(&[16], &ones));
        let flat = self.shaped(local, &[joints as i64, 9]);
        let product = self.op("MatMul", &[&flat, &matrix]);
        let rows = self.op("Add", &[&product, &ones]);
        let row = |graph: &mut Self, i: usize| (graph.part(&rows, 2, 4 * i, 4), graph.part(&rows, 2, 5 * i, 1));
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| row(self, i));
        let first = self.better([a, b]);
        let second = self.better([c, d]);
        let (best, _) = self.better([first, second]);
        self.units(&best)
    }

    /// The one of two values whose measure is larger, and its measure.
    fn better(&mut self, [(a, of_a), (b, of_b)]: [(Value, Value); 2]) -> (Value, Value) {
        let more = self.op("Greater", &[&of_b, &of_a]);
        (self.op("Where", &[&more, &b, &a]), self.op("Max", &[&of_a, &of_b]))
    }
}

/// An attribute whose whole numbers have this field.
fn attribute(name: &str, field: u64, kind: i64, values: impl IntoIterator<Item = i64>) -> Message {
    Message::default().bytes(1, name).numbers(field, values).number(20, kind)
}

/// Description of an input or output [N, ...] of the graph.
fn tensor(name: &str, sizes: &[i64]) -> Message {
    let batch = Message::default().bytes(2, "N");
    let sizes = sizes.iter().map(|&size| Message::default().number(1, size));
    let shape = Message::default().all(1, [batch].into_iter().chain(sizes));
    let kind = Message::default().number(1, FLOAT).bytes(2, shape);
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, kind))
}
