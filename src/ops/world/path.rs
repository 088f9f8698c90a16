//! Path: stay with a point that runs along a closed path, one of its points a frame.
use super::*;

/// Number of points of the path that are seen.
pub const AHEAD: usize = 4;
/// Frames between them.
pub const GAP: usize = 15;
/// Frames by which the point to stay with runs ahead.
pub const LEAD: usize = 4;
/// Distance within which the point is reached, body units.
pub const RADIUS: f64 = 2.0;
/// Reward for being there.
pub const HIT: f64 = 2.0;

/// The definition.
pub mod cpu {
    use super::*;

    /// Steps since time began.
    fn since<T: Real>(v: &View<'_, T>, p: usize) -> usize {
        v.time(p) % v.horizon
    }

    fn follow<T: Real>(v: &mut View<'_, T>, p: usize, time: usize) {
        let [x, z] = v.point((time + v.offset[p] as usize + LEAD) % v.n);
        (v.target[2 * p], v.target[2 * p + 1]) = (x, z);
    }

    /// reward = progress + HIT (where the point is reached) + 3/4 energy - mean |latent| / 200;
    /// then the next point
    pub fn step<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let frame = v.advance(p);
            let potential = -length(v.way(p, v.goal(p)));
            let hit = one_if(potential > T::of(-RADIUS));
            let size = v.latent_size(p);
            let reward =
                potential - v.potential[p] + T::of(HIT) * hit + T::of(0.75) * v.energy(frame) - T::of(0.005) * size;
            let time = v.time(p);
            follow(&mut v, p, time);
            v.measure(p);
            v.finish(p, reward, false, false);
        }
    }

    /// Places a character on the path, facing along it, where the point was LEAD steps ago. The
    /// reference places it as if time began, and measures the potential before it has placed the
    /// root.
    pub fn reset<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            if !v.done(p) {
                continue;
            }
            let [_, draw, ..] = v.restart(p, v.time_is_out(p));
            v.offset[p] = (draw.f64() * v.n as f64) as u32;
            let time = since(&v, p);
            follow(&mut v, p, time);
            if v.literal == 1 {
                v.measure(p);
            }
            let o = v.offset[p] as usize + if v.literal == 1 { 0 } else { time };
            let [x, z] = v.point(o % v.n);
            let ([x0, z0], [x1, z1]) = (v.point((o + LEAD) % v.n), v.point((o + LEAD + GAP) % v.n));
            (v.root[2 * p], v.root[2 * p + 1]) = (x, z);
            v.facing[p] = wrapped(-(z1 - z0).atan2(x1 - x0));
            if v.literal == 0 {
                v.measure(p);
            }
        }
    }

    /// The ways to the next points, in the character's own frame.
    pub fn observe<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let time = since(&v, p);
            let point = |i: usize| v.point((GAP * i + time + v.offset[p] as usize + LEAD) % v.n);
            let ways: [[T; 2]; AHEAD] = std::array::from_fn(|i| v.to_local(p, v.way(p, point(i))));
            v.condition(p).copy_from_slice(ways.as_flattened());
        }
    }
}
