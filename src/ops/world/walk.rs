//! Walk: wander about at random, the feet not sliding where they stand.
use super::task::{Draws, PLAIN, TaskInfo};
use super::*;

/// Height above its floor below which a toe stands: 3 cm in feet.
pub(crate) const CONTACT: f64 = 0.03 / 0.3048;

/// The task.
pub const TASK: TaskInfo = TaskInfo {
    about: "Walk about without sliding",
    draws: Draws::Normal,
    extra: |latent| latent,
    horizon: |_| 1000,
    rewards: |_| [f64::NEG_INFINITY, 1.0],
    ..PLAIN
};

/// The definition, for one character.
pub mod cpu {
    use super::*;

    /// reward = 1 - 10 sum over the feet of (2 - 2^h) times the distance that the foot went, where
    /// h in [0, 1] is its height over the height that counts as contact.
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        v.advance(p);
        let (now, before) = v.feet[p * FEET..][..FEET].split_at(FEET / 2);
        let mut slide = T::zero();
        let floors = [v.floor_left, v.floor_right].map(T::of);
        for ((now, before), floor) in now.chunks_exact(3).zip(before.chunks_exact(3)).zip(floors) {
            let height = (now[2].max(before[2]) - floor) / T::of(CONTACT);
            let held = T::of(2.0) - height.max(T::zero()).min(T::one()).exp2();
            slide += length([now[0] - before[0], now[1] - before[1]]) / T::of(v.body) * held;
        }
        v.finish(p, T::one() - T::of(10.0) * slide, true, false);
    }

    /// Puts a character at the origin.
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        v.restart(p, v.time_is_out(p));
    }

    /// the noise that the next action is mixed with
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let noise = v.drawn(p);
        v.condition(p).copy_from_slice(noise);
    }
}
