//! Random numbers of the current step: normal ones, uniform ones, and the draw of one specialist
//! per sample.
use super::begin_step::StepState;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::philox::{Purpose, Stream, unit};
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Arguments of `noise_normal`.
pub mod normal {
    use super::*;

    crate::kernel_args! {
        reads {
            /// The current step: seed and step.
            state: StepState [1],
        }
        writes {
            /// Normal numbers.
            out: T [n],
        }
        numbers {
            /// Standard deviation.
            scale,
        }
        sizes {
            /// Number of numbers.
            n,
            /// [`Purpose`].
            purpose,
        }
    }

    /// Appends the call that fills `out` with the step's normal numbers for `purpose`, of standard
    /// deviation `scale`.
    pub fn push<T: Real>(plan: &mut Plan, state: Mat<StepState>, out: Mat<T>, purpose: Purpose, scale: f64) {
        let args = Args {
            state: state.into(),
            out: out.into(),
            scale,
            n: size(out.len()),
            purpose: purpose as u32,
            scalar: Default::default(),
        };
        plan.push(Call::new(
            "noise_normal",
            Grid::elements(out.len().div_ceil(4), 256),
            &[Output::whole("out")],
            args,
            cpu::<T>,
        ));
    }

    /// Numbers that one task makes.
    const TASK: usize = 256;

    /// The definition: element i is `scale` times number i of the stream (seed, purpose, step).
    pub fn cpu<T: Real>(v: View<'_, T>, team: &Team) {
        let stream = Stream::numbered(v.state[0].seed, v.purpose as u32, v.state[0].step);
        team.each(pieces(v.out, TASK), |task, out| {
            for (i, four) in out.chunks_mut(4).enumerate() {
                let normals = stream.normals((task * TASK / 4 + i) as u32);
                four.iter_mut().zip(normals).for_each(|(x, n)| *x = T::of(v.scale * f64::from(n)));
            }
        });
    }
}

/// Arguments of `noise_uniform`.
pub mod uniform {
    use super::*;

    crate::kernel_args! {
        reads {
            /// The current step: seed and step.
            state: StepState [1],
        }
        writes {
            /// Uniform numbers in [0, 1).
            out: T [n],
        }
        sizes {
            /// Number of numbers.
            n,
            /// [`Purpose`].
            purpose,
        }
    }

    /// Appends the call that fills `out` with the step's uniform numbers for `purpose`.
    pub fn push<T: Real>(plan: &mut Plan, state: Mat<StepState>, out: Mat<T>, purpose: Purpose) {
        let args = Args {
            state: state.into(),
            out: out.into(),
            n: size(out.len()),
            purpose: purpose as u32,
            scalar: Default::default(),
        };
        plan.push(Call::new(
            "noise_uniform",
            Grid::elements(out.len().div_ceil(4), 64),
            &[Output::whole("out")],
            args,
            cpu::<T>,
        ));
    }

    /// The definition: element i is number i of the stream (seed, purpose, step).
    pub fn cpu<T: Real>(v: View<'_, T>, _: &Team) {
        let stream = Stream::numbered(v.state[0].seed, v.purpose as u32, v.state[0].step);
        for (block, four) in v.out.chunks_mut(4).enumerate() {
            four.iter_mut().zip(stream.block(block as u32)).for_each(|(x, bits)| *x = T::of(unit(bits)));
        }
    }
}

/// Arguments of `noise_pick`.
pub mod pick {
    use super::*;

    crate::kernel_args! {
        reads {
            /// The current step: seed and step.
            state: StepState [1],
            /// [B, E] probabilities.
            gate: T [b * e],
        }
        writes {
            /// \[B\] the entry drawn.
            pick: u32 [b],
        }
        sizes {
            /// Samples.
            b,
            /// Entries.
            e,
            /// 1: take the largest entry instead of drawing one.
            largest,
            /// Keeps the number of sizes even.
            pad,
        }
    }

    /// Appends the call that draws one entry per row of `gate`, or takes the largest when there is
    /// no `state`.
    pub fn push<T: Real>(plan: &mut Plan, state: Mat<StepState>, gate: Mat<T>, pick: Mat<u32>) {
        let args = Args {
            state: state.into(),
            gate: gate.into(),
            pick: pick.into(),
            b: size(gate.rows()),
            e: size(gate.cols()),
            largest: u32::from(state.is_none()),
            pad: 0,
            scalar: Default::default(),
        };
        plan.push(Call::new("noise_pick", Grid::elements(gate.rows(), 64), &[Output::whole("pick")], args, cpu::<T>));
    }

    /// The definition: the first entry at which the running sum of probabilities exceeds a uniform
    /// number.
    pub fn cpu<T: Real>(v: View<'_, T>, _: &Team) {
        if v.largest == 1 {
            for (gate, pick) in v.gate.chunks_exact(v.e).zip(&mut *v.pick) {
                *pick = largest(gate) as u32;
            }
            return;
        }
        let stream = Stream::numbered(v.state[0].seed, Purpose::Pick as u32, v.state[0].step);
        for (row, (gate, pick)) in v.gate.chunks_exact(v.e).zip(&mut *v.pick).enumerate() {
            let mut left = stream.uniform(row);
            let drawn = gate.iter().position(|g| {
                left -= g.f64();
                left < 0.0
            });
            *pick = drawn.unwrap_or(v.e - 1) as u32;
        }
    }

    /// The first of the largest entries.
    pub fn largest<T: Real>(row: &[T]) -> usize {
        (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
    }
}
