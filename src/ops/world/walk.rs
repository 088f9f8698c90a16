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
    moves: |_| false,
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

    /// Derivatives of the reward. A character that has just started anew has no feet to compare.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        if s.feet.iter().all(|&x| x == T::one()) {
            return;
        }
        let (sin, cos) = s.frame[2].sin_cos();
        let contact = T::of(CONTACT);
        for (toe, floor) in s.rules.toes.into_iter().zip(s.rules.floors) {
            let at = 3 + 3 * toe;
            let (now, before) = (s.frame[at + 1], s.before[at + 1]);
            let height = ((now.max(before) - floor) / contact).max(T::zero()).min(T::one());
            let held = T::of(2.0) - height.exp2();
            let (x, z) = (s.before[at] - s.frame[0], s.before[at + 2] - s.frame[1]);
            let seen = [cos * x - sin * z, sin * x + cos * z];
            let slide = [s.frame[at] - seen[0], s.frame[at + 2] - seen[1]];
            let far = length(slide);
            let by_slide = s.weight * T::of(-10.0) / s.rules.body;
            if height > T::zero() && height < T::one() {
                let by_height = -by_slide * far * T::of(std::f64::consts::LN_2) * height.exp2() / contact;
                *(if now > before { &mut s.dframe[at + 1] } else { &mut s.dbefore[at + 1] }) += by_height;
            }
            if far == T::zero() {
                continue;
            }
            let g = slide.map(|x| by_slide * held * x / far);
            let back = [cos * g[0] + sin * g[1], cos * g[1] - sin * g[0]];
            for axis in 0..2 {
                s.dframe[at + 2 * axis] += g[axis];
                s.dframe[axis] += back[axis];
                s.dbefore[at + 2 * axis] -= back[axis];
            }
            s.dframe[2] += g[0] * seen[1] - g[1] * seen[0];
        }
    }
}
