//! Target: reach a point; a character within [`RADIUS`] of it gets another one in the arena.
use super::*;

/// Largest distance of targets from the origin along x and z, body units.
pub const ARENA: [f64; 2] = [60.0, 40.0];
/// Distance within which a target is reached, body units.
pub const RADIUS: f64 = 2.0;
/// Reward for reaching one.
pub const HIT: f64 = 20.0;

/// The definition.
pub mod cpu {
    use super::*;

    fn place<T: Real>(v: &mut View<'_, T>, p: usize, [x, z]: [T; 2]) {
        v.target[2 * p] = v.units(ARENA[0]) * (x + x - T::one());
        v.target[2 * p + 1] = v.units(ARENA[1]) * (z + z - T::one());
    }

    /// reward = progress + HIT (where the target is reached) + energy. Then sets a new target where
    /// one was reached, and the potential.
    pub fn step<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let frame = v.advance(p);
            let potential = -length(v.way(p, v.goal(p)));
            let hit = potential > T::of(-RADIUS);
            let reward = potential - v.potential[p] + T::of(HIT) * one_if(hit) + v.energy(frame);
            if hit {
                let draws = [v.draws[2 * p], v.draws[2 * p + 1]];
                place(&mut v, p, draws);
            }
            v.measure(p);
            v.finish(p, reward, false, false);
        }
    }

    /// a target anywhere in the arena
    pub fn reset<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            if v.done(p) {
                let [_, x, z, _] = v.restart(p, v.time_is_out(p));
                place(&mut v, p, [x, z]);
                v.measure(p);
            }
        }
    }

    /// the way to the target, in the character's own frame
    pub fn observe<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let way = v.to_local(p, v.way(p, v.goal(p)));
            v.condition(p).copy_from_slice(&way);
        }
    }
}
