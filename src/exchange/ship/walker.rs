//! A character at work: the definition of a step, which walk.h and runtime.js translate.
use super::layers::{COMMAND, CONDITION, LATENT, ONE, Packed};
use super::{Aim, Command, Shipped};
use crate::motion::Root;
use crate::motion::features::{Part, slot};
use crate::motion::rig::METRES;
use half::f16;

/// One character, in feet.
#[derive(Clone)]
pub struct Walker<'a> {
    shipped: &'a Shipped,
    packed: Packed,
    /// The values of the layers.
    values: Vec<f32>,
    /// [C F], newest frame first.
    pub history: Vec<f32>,
    /// Place and facing in the world.
    pub root: Root,
}

impl<'a> Walker<'a> {
    /// A character at the origin, in the first of the poses to start from.
    pub fn new(shipped: &'a Shipped) -> Self {
        let packed = shipped.layers.packed();
        let mut values = vec![0.0; packed.stride];
        values[packed.offsets[ONE]] = 1.0;
        let history = shipped.starts[..shipped.condition_frames * shipped.frame_size].to_vec();
        Walker { shipped, packed, values, history, root: Root::default() }
    }

    /// The character with weights of 16 bits.
    pub fn halved(mut self) -> Self {
        self.packed.weights.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
        self
    }

    /// Advances by one step with a latent.
    pub fn step(&mut self, latent: &[f32]) {
        self.value(LATENT).copy_from_slice(latent);
        self.advance(self.packed.policy);
    }

    /// Advances by one step with what the policy is asked for: a velocity (x, z; m/s), or points
    /// (x, z; m), as many as the command has.
    ///
    /// # Panics
    /// Without a policy.
    pub fn toward(&mut self, asked: &[[f64; 2]]) {
        let Command { aim, metres, gain } = self.shipped.command.expect("a policy");
        let Root { x, z, facing } = self.root;
        let (s, c) = facing.sin_cos();
        let from = if let Aim::Points { .. } = aim { [METRES * x, METRES * z] } else { [0.0; 2] };
        let seen = asked.iter().flat_map(|asked| {
            let [x, z] = [0, 1].map(|i| (asked[i] - from[i]) / metres);
            let length = x.hypot(z);
            let factor = gain.map_or(1.0, |gain| if length > 0.0 { gain * length.ln_1p() / length } else { 0.0 });
            [c * x - s * z, s * x + c * z].map(|x| (factor * x) as f32)
        });
        let seen: Vec<f32> = seen.collect();
        self.value(COMMAND).copy_from_slice(&seen);
        self.advance(0);
    }

    /// Places of the joints in the world, metres.
    pub fn joints(&self) -> Vec<[f64; 3]> {
        let places = crate::data::world::positions(&self.history[..self.shipped.frame_size], &self.root);
        places.chunks_exact(3).map(|at| [0, 1, 2].map(|i| METRES * f64::from(at[i]))).collect()
    }

    fn value(&mut self, value: usize) -> &mut [f32] {
        &mut self.values[self.packed.offsets[value]..][..self.shipped.layers.sizes[value]]
    }

    /// Computes the layers from `first` on, and applies the predicted frames.
    fn advance(&mut self, first: usize) {
        let Shipped { scale, shift, frame_size: f, .. } = self.shipped;
        let condition = self.history.iter().enumerate().map(|(i, x)| (x - shift[i % f]) / scale[i % f]);
        let condition: Vec<f32> = condition.collect();
        self.value(CONDITION).copy_from_slice(&condition);
        self.packed.run(first, &mut self.values);
        let frames = self.value(self.shipped.layers.prediction()).to_vec();
        for frame in frames.chunks_exact(*f) {
            self.apply(frame.iter().enumerate().map(|(i, x)| x * scale[i] + shift[i]).collect());
        }
    }

    /// Reconciles a frame with the one before it (see [`crate::ops::reconcile`]) and moves the
    /// root.
    fn apply(&mut self, mut frame: Vec<f32>) {
        let (joints, before) = (self.shipped.joints(), &self.history);
        let (sin, cos) = frame[2].sin_cos();
        for joint in 0..joints {
            let place = slot(Part::Position, joint, joints);
            let (x, z) = (before[place] - frame[0], before[place + 2] - frame[1]);
            let seen = [cos * x - sin * z, before[place + 1], sin * x + cos * z];
            for (i, seen) in seen.into_iter().enumerate() {
                let share = self.shipped.share[3 * joint + i];
                let moved = seen + frame[slot(Part::Velocity, joint, joints) + i];
                frame[place + i] = share * frame[place + i] + (1.0 - share) * moved;
            }
        }
        self.root = self.root.advanced([frame[0].into(), frame[1].into(), frame[2].into()]);
        self.history.truncate(self.history.len() - frame.len());
        self.history.splice(0..0, frame);
    }
}
