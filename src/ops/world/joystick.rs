//! Joystick: walk in a direction at a speed, both of which change from time to time.
use super::*;

/// Frames between directions.
pub const TURN: usize = 120;
/// Frames between speeds.
pub const PACE: usize = 240;
/// Number of speeds, spread evenly from 0 to the largest.
pub const SPEEDS: usize = 9;
/// The largest speed that the reference asks for, body units a frame: errors of speed count in
/// proportion to it.
pub const RANGE: f64 = 0.8;
/// Distance ahead of the point to walk to, body units.
pub const AHEAD: f64 = 10.0;

/// The definition.
pub mod cpu {
    use super::*;

    fn turn<T: Real>(v: &mut View<'_, T>, p: usize, draw: T) {
        v.command[2 * p] = T::of(TAU) * draw;
    }

    fn pace<T: Real>(v: &mut View<'_, T>, p: usize, draw: T) {
        let step = (draw.f64() * SPEEDS as f64).floor();
        v.command[2 * p + 1] = T::of(step / (SPEEDS - 1) as f64 * v.speed);
    }

    /// Puts the target ahead of the root. The reference uses the sine of the speed in place of that
    /// of the direction.
    fn aim<T: Real>(v: &mut View<'_, T>, p: usize) {
        let (direction, speed) = (v.command[2 * p], v.command[2 * p + 1]);
        let side = if v.literal == 1 { speed } else { direction };
        v.target[2 * p] = v.root[2 * p] + v.units(AHEAD) * direction.cos();
        v.target[2 * p + 1] = v.root[2 * p + 1] + v.units(AHEAD) * side.sin();
    }

    /// cosine and sine of the angle at which the target is seen
    fn bearing<T: Real>(v: &View<'_, T>, p: usize) -> [T; 2] {
        let way = v.to_local(p, v.way(p, v.goal(p)));
        let far = length(way);
        way.map(|x| x / far)
    }

    /// reward = exp(cosine - 1 - RANGE / largest speed |speed asked for - speed|). A new command is
    /// not the doing of the step before it; in the reference it is.
    pub fn step<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let time = v.time(p);
            let frame = v.advance(p);
            let anew = v.last == 1 && time.is_multiple_of(TURN);
            if anew {
                let draw = v.draws[2 * p];
                turn(&mut v, p, draw);
            }
            if v.last == 1 && time.is_multiple_of(PACE) {
                let draw = v.draws[2 * p + 1];
                pace(&mut v, p, draw);
            }
            aim(&mut v, p);
            let off = v.command[2 * p + 1] - length([frame[0], frame[1]]) / T::of(v.body);
            let reward = (bearing(&v, p)[0] - T::one() - T::of(RANGE / v.speed) * off.abs()).exp();
            v.finish(p, reward, false, false);
            if anew && v.literal == 0 && !v.done(p) {
                v.outcome[p * OUTCOME + 2] = T::zero();
            }
        }
    }

    /// a new direction and speed
    pub fn reset<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            if v.done(p) {
                let [_, direction, speed, _] = v.restart(p, v.time_is_out(p));
                turn(&mut v, p, direction);
                pace(&mut v, p, speed);
                aim(&mut v, p);
            }
        }
    }

    /// the velocity that is asked for, in the character's own frame
    pub fn observe<T: Real>(mut v: View<'_, T>) {
        for p in 0..v.p {
            let speed = v.command[2 * p + 1];
            let velocity = bearing(&v, p).map(|x| speed * x);
            v.condition(p).copy_from_slice(&velocity);
        }
    }
}
