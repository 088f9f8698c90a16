//! Walk: wander about at random, the feet not sliding where they stand.
use super::task::{Draws, Extra, Moving, PLAIN, TaskInfo};
use super::*;

/// Height above its floor below which a toe stands: 3 cm in feet.
pub(crate) const CONTACT: f64 = 0.03 / 0.3048;

/// The task.
pub const TASK: TaskInfo = TaskInfo {
    about: "Walk about without sliding",
    draws: Draws::Normal,
    extra: Extra::Latent,
    horizon: |_| 1000,
    moves: Moving::Never,
    rewards: |_| [f64::NEG_INFINITY, 1.0],
    ..PLAIN
};

/// The definition, for one character.
pub mod cpu {
    use super::*;

    /// reward = 1 - 10 slide
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        v.advance(p);
        let slide = v.slide(p);
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

    /// Derivatives of the reward.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        s.by_slide(s.weight * T::of(-10.0));
    }
}
