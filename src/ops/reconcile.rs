//! Reconciles the two statements of a frame about where a joint is: its place, and its velocity
//! from the place before. This is a complementary filter: places follow the velocities from frame
//! to frame, and the predicted places in the long run. Some joints have places that vary less than
//! their velocities (a hip beside the root); these follow the predicted places more.
use super::{ROWS, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::motion::features::{self, Part};
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [B, K F] predicted, oldest first.
        x: T [b * k * f],
        /// [B, C F] newest first.
        condition: T [b * c * f],
        /// \[F\] scale that takes normalisation back: value * scale + shift.
        scale: T [f],
        /// \[F\].
        shift: T [f],
    }
    writes {
        /// [B, K F] reconciled.
        y: T [b * k * f],
    }
    numbers {
        /// Smallest share of the predicted place; 1 leaves frames as they are.
        gain,
    }
    sizes {
        /// Samples.
        b,
        /// Future frames.
        k,
        /// Features of a frame, 3 + 12 joints.
        f,
        /// Condition frames.
        c,
    }
}

/// The operation: its tensors and its gain.
#[allow(missing_docs)]
pub struct Reconcile<T> {
    pub x: Mat<T>,
    pub condition: Mat<T>,
    pub scale: Mat<T>,
    pub shift: Mat<T>,
    pub y: Mat<T>,
    /// Smallest share of the predicted place.
    pub gain: f64,
}

impl<T: Real> Reconcile<T> {
    /// The operation, if its shapes fit. Errors: they do not.
    pub fn check(self) -> Result<Self> {
        let f = self.scale.len();
        let whole = features::joints(f).map_or(0, features::frame_size);
        expect("reconcile", "features of a frame", f, whole, "3, and 12 a joint")?;
        expect("reconcile", "shift", self.shift.len(), f, "one a feature")?;
        expect("reconcile", "columns of x", self.x.cols() % f, 0, "whole frames")?;
        expect("reconcile", "columns of condition", self.condition.cols() % f, 0, "whole frames")?;
        expect("reconcile", "rows of condition", self.condition.rows(), self.x.rows(), "one a sample")?;
        expect("reconcile", "y", self.y.len(), self.x.len(), "as many as x")?;
        Ok(self)
    }

    /// Appends the call that makes `y`.
    pub fn push(&self, plan: &mut Plan) {
        let f = self.scale.len();
        let args = Args::<T> {
            x: self.x.into(),
            condition: self.condition.into(),
            scale: self.scale.into(),
            shift: self.shift.into(),
            y: self.y.into(),
            gain: self.gain,
            b: size(self.x.rows()),
            k: size(self.x.cols() / f),
            f: size(f),
            c: size(self.condition.cols() / f),
            scalar: Default::default(),
        };
        let grid = Grid { blocks: args.b, threads: 64 };
        plan.push(Call::new("reconcile", grid, &[Output::whole("y")], args, cpu::reconcile::<T>));
    }
}

/// Arguments of `reconcile_backward`.
pub mod back {
    crate::kernel_args! {
        reads {
            /// [B, K F] predicted, oldest first.
            x: T [b * k * f],
            /// [B, C F] newest first.
            condition: T [b * c * f],
            /// [B, K F] reconciled.
            y: T [b * k * f],
            /// \[F\].
            scale: T [f],
            /// \[F\].
            shift: T [f],
        }
        writes {
            /// [B, K F] gradient of y. That of an earlier frame grows by the part of the later
            /// ones.
            dy: T [b * k * f],
            /// [B, K F].
            dx: T [b * k * f],
            /// [B, C F].
            dcondition: T [b * c * f],
        }
        numbers {
            /// Smallest share of the predicted place.
            gain,
        }
        sizes {
            /// Samples.
            b,
            /// Future frames.
            k,
            /// Features of a frame.
            f,
            /// Condition frames.
            c,
        }
    }
}

impl<T: Real> Reconcile<T> {
    /// Appends the gradients `dx` [B, K F] and `dcondition` [B, C F] from that of y.
    pub fn backward(&self, plan: &mut Plan, dy: Mat<T>, dx: Mat<T>, dcondition: Mat<T>) {
        let f = self.scale.len();
        for grad in [dx, dcondition] {
            assert_eq!(plan.gradients.accumulate(grad), 0, "the last operation forward is the first backward");
        }
        let args = back::Args::<T> {
            x: self.x.into(),
            condition: self.condition.into(),
            y: self.y.into(),
            scale: self.scale.into(),
            shift: self.shift.into(),
            dy: dy.into(),
            dx: dx.into(),
            dcondition: dcondition.into(),
            gain: self.gain,
            b: size(self.x.rows()),
            k: size(self.x.cols() / f),
            f: size(f),
            c: size(self.condition.cols() / f),
            scalar: Default::default(),
        };
        let grid = Grid { blocks: args.b, threads: 64 };
        let writes = [Output::part("dy"), Output::whole("dx"), Output::whole("dcondition")];
        plan.push(Call::new("reconcile_backward", grid, &writes, args, cpu::backward::<T>));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y = x except for places: share place + (1 - share) (place before, seen from where the root
    /// now is, + velocity).
    ///
    /// Predicted places and velocities are equally good in units of their `scale`. Their inverse
    /// variances therefore give the best share, v^2 / (v^2 + p^2), with the scales v and p of
    /// velocity and place. The share is at least `gain`.
    pub fn reconcile<T: Real>(v: View<'_, T>, team: &Team) {
        let (f, window, joints) = (v.f, v.k * v.f, features::joints(v.f).expect("checked"));
        let (x, condition, scale, shift) = (v.x, v.condition, v.scale, v.shift);
        team.each(pieces(v.y, ROWS * window), |task, y| {
            for (row, frames) in y.chunks_exact_mut(window).enumerate() {
                let b = task * ROWS + row;
                frames.copy_from_slice(&x[b * window..][..window]);
                let mut before = &condition[b * v.c * f..][..f];
                for frame in frames.chunks_exact_mut(f) {
                    let raw = |of: &[T], i: usize| scale[i] * of[i] + shift[i];
                    let [forward, sideways, turn] = std::array::from_fn(|i| raw(frame, i));
                    let (sin, cos) = turn.sin_cos();
                    for joint in 0..joints {
                        let place = features::slot(Part::Position, joint, joints);
                        let velocity = features::slot(Part::Velocity, joint, joints);
                        let (x, z) = (raw(before, place) - forward, raw(before, place + 2) - sideways);
                        let seen = [cos * x - sin * z, raw(before, place + 1), sin * x + cos * z];
                        for (i, seen) in seen.into_iter().enumerate() {
                            let (at, velocity) = (place + i, velocity + i);
                            let (share, moved) = (share(scale, at, velocity, v.gain), seen + raw(frame, velocity));
                            frame[at] = share * frame[at] + (T::one() - share) * ((moved - shift[at]) / scale[at]);
                        }
                    }
                    before = frame;
                }
            }
        });
    }

    /// For each place, with d = dy, m = (1 - share) d / its scale, u the place before less the
    /// root's motion r, and R the turn, in the units of the data:
    ///
    /// - the place gets share d, and its velocity m;
    /// - the place before gets Rᵀ m, and r minus that;
    /// - the turn gets m · R' u.
    ///
    /// Everything else is copied.
    pub fn backward<T: Real>(v: back::View<'_, T>, _: &Team) {
        let (f, window, joints) = (v.f, v.k * v.f, features::joints(v.f).expect("checked"));
        let (scale, shift) = (v.scale, v.shift);
        let raw = |of: &[T], i: usize| scale[i] * of[i] + shift[i];
        v.dcondition.fill(T::zero());
        for b in 0..v.b {
            for k in (0..v.k).rev() {
                let at = b * window + k * f;
                let x = &v.x[at..][..f];
                let (earlier, dy) = v.dy[..at + f].split_at_mut(at);
                let (before, dbefore) = match k {
                    0 => (&v.condition[b * v.c * f..][..f], &mut v.dcondition[b * v.c * f..][..f]),
                    _ => (&v.y[at - f..][..f], &mut earlier[at - f..]),
                };
                let dx = &mut v.dx[at..][..f];
                dx.copy_from_slice(dy);
                let [forward, sideways, turn] = std::array::from_fn(|i| raw(x, i));
                let (sin, cos) = turn.sin_cos();
                for joint in 0..joints {
                    let place = features::slot(Part::Position, joint, joints);
                    let velocity = features::slot(Part::Velocity, joint, joints);
                    let moved: [T; 3] = std::array::from_fn(|i| {
                        let (at, velocity) = (place + i, velocity + i);
                        let share = share(scale, at, velocity, v.gain);
                        dx[at] = share * dy[at];
                        let moved = (T::one() - share) * dy[at] / scale[at];
                        dx[velocity] += scale[velocity] * moved;
                        moved
                    });
                    let back = [cos * moved[0] + sin * moved[2], moved[1], cos * moved[2] - sin * moved[0]];
                    (0..3).for_each(|i| dbefore[place + i] += scale[place + i] * back[i]);
                    let (x, z) = (raw(before, place) - forward, raw(before, place + 2) - sideways);
                    dx[0] -= scale[0] * back[0];
                    dx[1] -= scale[1] * back[2];
                    dx[2] += scale[2] * (moved[2] * (cos * x - sin * z) - moved[0] * (sin * x + cos * z));
                }
            }
        }
    }

    /// The share of a predicted place.
    fn share<T: Real>(scale: &[T], place: usize, velocity: usize, gain: f64) -> T {
        let [place, velocity] = [place, velocity].map(|i| scale[i] * scale[i]);
        (velocity / (velocity + place)).max(T::of(gain))
    }
}
