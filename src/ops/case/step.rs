//! Cases of what a training step has around its network.
use super::built::{Built, Case, Fill, Input, constant, first_step, step_case};
use crate::cpu::real::Real;
use crate::ops::adam::{self, Adam};
use crate::ops::begin_step;
use crate::ops::epoch_sums::EpochSums;
use crate::ops::kl_weight::{self, CONTROLLER, KlWeight, Rule};
use crate::ops::noise::{normal, pick};
use crate::ops::recon_loss::LOSSES;
use crate::ops::update::{Optimizer, Update};
use crate::ops::window::{self, Window};
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// All cases of what is around a network.
pub(super) fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = Vec::new();
    cases.extend([window(64, 267, 1, 1), noise(64, 32, 0.7), pick_expert(64, 6), adam(1_696_072)]);
    for (b, r, c, e, of_left) in [
        (1, [1, 0], [1, 0], 1, true),
        (5, [33, 0], [3, 37], 1, true),
        (7, [2, 35], [11, 0], 3, false),
        (64, [256, 0], [267, 256], 1, true),
        (64, [32, 256], [267, 0], 6, false),
    ] {
        cases.push(update(b, r, c, e, of_left));
    }
    cases.extend([kl(), sums(64, 32, 6), begin()]);
    cases
}

fn window<T: Real>(b: usize, f: usize, c: usize, k: usize) -> Case<T> {
    const FRAMES: usize = 4096;
    step_case("window", format!("b={b} f={f} c={c} k={k}"), move |arena| {
        let (data, starts) = (arena.mat(FRAMES, f), arena.mat(1, b));
        let (schedule, cursor) = (arena.mat(1, 1), arena.mat(1, 2));
        let [prediction, truth] = [(); 2].map(|()| arena.mat(b, k * f));
        let condition = arena.mat(b, c * f);
        let mut plan = Plan::default();
        let losses = Mat::NONE;
        window::push(&mut plan, &Window { data, starts, schedule, cursor, prediction, losses, condition, truth });
        let outputs = vec![Var::constant(condition), Var::constant(truth)];
        // Not the whole data set: the bytes of a window are what is read.
        let built = Built::step(plan, vec![constant("prediction", prediction)], outputs);
        Ok(built.prepared(move |contents| {
            contents.write(schedule, &first_step());
            let order = Stream::new(1, Purpose::Check, 0).permutation(FRAMES - c - k);
            contents.write(starts, &order[..b]);
        }))
    })
}

fn noise<T: Real>(b: usize, l: usize, scale: f64) -> Case<T> {
    step_case("noise", format!("normal b={b} l={l}"), move |arena| {
        let (state, out) = (arena.mat(1, 1), arena.mat(b, l));
        let mut plan = Plan::default();
        normal::push::<T>(&mut plan, state, out, Purpose::Eps, scale);
        let built = Built::step(plan, vec![], vec![Var::constant(out)]);
        Ok(built.prepared(move |contents| contents.write(state, &first_step())))
    })
}

fn pick_expert<T: Real>(b: usize, e: usize) -> Case<T> {
    step_case("noise", format!("pick b={b} e={e}"), move |arena| {
        let (state, gate, drawn) = (arena.mat(1, 1), arena.mat(b, e), arena.mat(b, 1));
        let mut plan = Plan::default();
        pick::push::<T>(&mut plan, state, gate, drawn);
        let inputs = vec![Input { name: "gate", var: Var::constant(gate), fill: Fill::Simplex }];
        Ok(Built::step(plan, inputs, vec![]).prepared(move |contents| contents.write(state, &first_step())))
    })
}

fn update<T: Real>(b: usize, r: [usize; 2], c: [usize; 2], e: usize, bias_of_left: bool) -> Case<T> {
    let [rows, cols] = [r, c].map(|parts| parts.iter().sum::<usize>());
    let sizes = format!("b={b} r={}+{} c={}+{} e={e}", r[0], r[1], c[0], c[1]);
    let case = step_case("update", sizes, move |arena| {
        let part = |arena: &mut Arena, cols| if cols > 0 { arena.mat(b, cols) } else { Mat::NONE };
        let left = r.map(|cols| part(arena, cols));
        let right = [part(arena, e * c[0]), part(arena, c[1])];
        let (weights, biases) = (e * rows * cols, if bias_of_left { r[0] } else { e * c[0] });
        let [values, m, v] = [(); 3].map(|()| arena.mat(weights + biases, 1));
        let (w, bias) = (values.rows_at(0, weights), values.rows_at(weights, biases));
        let op = Update { left, right, experts: e, w, bias, bias_of_left };
        let squares = arena.mat(1, op.tiles());
        let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let mut plan = Plan::default();
        let (adam, gradient) = ([0.9, 0.999, 1e-8], arena.mat(1, weights));
        op.push(&mut plan, &Optimizer { values, moments: [m, v], state, losses, adam, gradient }, squares);
        let inputs = ["left", "left2", "right", "right2"].into_iter().zip(left.into_iter().chain(right));
        let mut inputs: Vec<_> =
            inputs.filter(|(_, mat)| !mat.is_none()).map(|(name, mat)| constant(name, mat)).collect();
        inputs.extend([constant("values", values), constant("m", m)]);
        let built = Built::step(plan, inputs, [values, m, v].map(Var::constant).to_vec());
        Ok(built.prepared(move |contents| {
            contents.write(v, &vec![T::one(); v.len()]);
            contents.write(state, &first_step());
        }))
    });
    Case { full: b == 64, flops: [(2 * b * e * rows * cols) as f64, 0.0], terms: b, ..case }
}

fn adam<T: Real>(n: usize) -> Case<T> {
    step_case("adam", format!("n={n}"), move |arena| {
        let [param, grad, m, v] = [(); 4].map(|()| arena.mat(1, n));
        let squares = arena.mat(1, n.div_ceil(adam::CHUNK));
        let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let [beta1, beta2, eps] = [0.9, 0.999, 1e-8];
        let mut plan = Plan::default();
        adam::push(&mut plan, &Adam { param, grad, m, v, squares, state, losses, beta1, beta2, eps });
        let outputs = [param, m, v].map(Var::constant).to_vec(); // read and written: their bytes count twice
        let inputs = vec![constant("grad", grad), constant("param", param), constant("m", m)];
        let built = Built::step(plan, inputs, outputs);
        Ok(built.prepared(move |contents| {
            contents.write(v, &vec![T::one(); n]);
            contents.write(state, &first_step());
        }))
    })
}

fn kl<T: Real>() -> Case<T> {
    step_case("kl_weight", "auto".into(), move |arena| {
        let (state, losses, controller) = (arena.mat(1, 1), arena.mat(1, LOSSES), arena.mat(1, CONTROLLER));
        let mut plan = Plan::default();
        let (kept, rule) = ((arena.mat(1, 1), arena.mat(1, LOSSES)), Rule::Auto { units: 0.24, floor: 1e-4 });
        kl_weight::push::<T>(&mut plan, &KlWeight { state, losses, controller, kept, rule });
        Ok(Built::step(plan, vec![], vec![]).prepared(move |contents| contents.write(state, &first_step())))
    })
}

fn sums<T: Real>(b: usize, l: usize, e: usize) -> Case<T> {
    step_case("epoch_sums", format!("b={b} l={l} e={e}"), move |arena| {
        let (losses, kl, squares) = (arena.mat(1, LOSSES), arena.mat(1, l), arena.mat(1, 104));
        let (mu, sigma, gate) = (arena.mat(b, l), arena.mat(b, l), arena.mat(b, e));
        let op = EpochSums { losses, kl, mu, sigma, gate, code: Mat::NONE, squares, experts: e };
        let sums = op.place(arena);
        let mut plan = Plan::default();
        op.push(&mut plan, sums);
        let inputs = vec![
            constant("mu", mu),
            constant("sigma", sigma),
            Input { name: "gate", var: Var::constant(gate), fill: Fill::Simplex },
        ];
        Ok(Built::step(plan, inputs, vec![]))
    })
}

fn begin<T: Real>() -> Case<T> {
    step_case("begin_step", String::new(), move |arena| {
        // Each run takes an entry: enough of them for a bench.
        let (schedule, cursor, state) = (arena.mat(1, 1 << 16), arena.mat(1, 2), arena.mat(1, 1));
        let mut plan = Plan::default();
        begin_step::push::<T>(&mut plan, schedule, Mat::NONE, cursor, state);
        Ok(Built::step(plan, vec![], vec![]))
    })
}
