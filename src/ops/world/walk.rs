//! Walk: wander about at random, the feet not sliding where they stand.
use super::*;

/// Height above its floor below which a toe stands: 3 cm in feet.
pub const CONTACT: f64 = 0.03 / 0.3048;

/// The definition.
pub mod cpu {
    use super::*;

    /// reward = 1 - 10 sum over the feet of (2 - 2^h) times the distance that the foot went, where
    /// h in [0, 1] is its height over the height that counts as contact.
    pub fn step<T: Real>(mut v: View<'_, T>) {
        let floors = [v.floor_left, v.floor_right].map(T::of);
        for p in 0..v.p {
            v.advance(p);
            let (now, before) = v.feet[p * FEET..][..FEET].split_at(FEET / 2);
            let mut slide = T::zero();
            for ((now, before), floor) in now.chunks_exact(3).zip(before.chunks_exact(3)).zip(floors) {
                let height = (now[2].max(before[2]) - floor) / T::of(CONTACT);
                let held = T::of(2.0) - height.max(T::zero()).min(T::one()).exp2();
                slide += length([now[0] - before[0], now[1] - before[1]]) / T::of(v.body) * held;
            }
            v.finish(p, T::one() - T::of(10.0) * slide, true, false);
        }
    }

    /// Puts characters that are done at the origin.
    pub fn reset<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            if v.done(p) {
                v.restart(p, v.time_is_out(p));
            }
        }
    }

    /// the noise that the next action is mixed with
    pub fn observe<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let noise = &v.noise[p * v.l..][..v.l];
            v.condition(p).copy_from_slice(noise);
        }
    }
}
