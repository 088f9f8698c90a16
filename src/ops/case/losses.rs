//! Cases of latents and losses.
use super::built::{Built, Case, Fill, Input, batch_case, constant, input};
use crate::cpu::real::Real;
use crate::ops::Operation;
use crate::ops::quantize::Quantize;
use crate::ops::recon_loss::{LOSSES, ReconLoss};
use crate::ops::reconcile::Reconcile;
use crate::ops::reparameterize::Reparameterize;
use crate::ops::specialist_loss::SpecialistLoss;
use crate::plan::Plan;
use crate::plan::arena::Var;

/// All cases of latents and losses.
pub(super) fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = Vec::new();
    cases.extend(
        [(1, 1, 0.0, 0), (3, 5, 0.0, 1), (7, 13, 0.9, 0), (64, 32, 0.0, 3)]
            .map(|(b, l, free, parts)| reparameterize(b, l, free, parts)),
    );
    cases.extend([(1, 1), (3, 5), (5, 37), (64, 267)].map(|(b, x)| recon_loss(b, x)));
    cases.extend([(1, 1, 1), (3, 5, 2), (5, 37, 7), (64, 267, 6)].map(|(b, x, e)| specialist_loss(b, x, e)));
    cases.extend([(1, 1, 1, 1), (3, 2, 3, 3), (64, 1, 1, 22)].map(|(b, k, c, joints)| reconcile(b, k, c, joints)));
    cases.extend([(1, 1, 1), (3, 5, 2), (17, 3, 7), (64, 32, 12)].map(|(b, l, n)| quantize(b, l, n)));
    cases
}

fn reparameterize<T: Real>(b: usize, l: usize, free_bits: f64, parts: usize) -> Case<T> {
    batch_case("reparameterize", format!("b={b} l={l} free bits {free_bits} parts {parts}"), b, b, move |arena| {
        let [mu, logvar, z] = [(); 3].map(|()| arena.var(b, l));
        let (eps, losses) = (arena.mat(b, l), arena.mat(1, LOSSES));
        let inputs = vec![input("mu", mu, 1.0), input("logvar", logvar, 1.0), constant("eps", eps)];
        let mut op = Reparameterize::new(arena, (mu, logvar), eps, z, losses, free_bits)?;
        let mut outputs = vec![z];
        if parts > 0 {
            let grads = arena.mat(parts * b, l);
            op = op.with_parts(grads)?;
            outputs.extend((0..parts).map(|i| Var { grad: grads.rows_at(i * b, b), ..z }));
        }
        Ok(Built::new(&[&op], inputs, outputs, losses))
    })
}

fn recon_loss<T: Real>(b: usize, x: usize) -> Case<T> {
    batch_case("recon_loss", format!("b={b} x={x}"), b, 1, move |arena| {
        let (y, truth, losses) = (arena.mat(b, x), arena.mat(b, x), arena.mat(1, LOSSES));
        let mut plan = Plan::default();
        ReconLoss::new(y, truth, losses)?.forward(&mut plan);
        let mut built = Built::step(plan, vec![constant("y", y), constant("truth", truth)], vec![]);
        built.losses = losses;
        Ok(built)
    })
}

fn reconcile<T: Real>(b: usize, k: usize, c: usize, joints: usize) -> Case<T> {
    batch_case("reconcile", format!("b={b} k={k} c={c} joints={joints}"), b, joints, move |arena| {
        let f = 3 + 12 * joints;
        let (x, condition, y) = (arena.var(b, k * f), arena.var(b, c * f), arena.var(b, k * f));
        let (scale, shift) = (arena.mat(1, f), arena.mat(1, f));
        let (mut plan, mut backward) = (Plan::default(), Plan::default());
        let (value, gain) = (x.value, 0.3);
        let op = Reconcile { x: value, condition: condition.value, scale, shift, y: y.value, gain }.check()?;
        op.push(&mut plan);
        op.backward(&mut backward, y.grad, x.grad, condition.grad);
        let inputs = vec![input("x", x, 1.0), input("condition", condition, 1.0), constant("shift", shift)];
        let spreads: Vec<T> = (0..f).map(|i| T::of(0.5 + 0.1 * (i % 7) as f64)).collect();
        let mut built = Built::step(plan, inputs, vec![y]);
        built.backward = backward;
        Ok(built.prepared(move |contents| contents.write(scale, &spreads)))
    })
}

fn specialist_loss<T: Real>(b: usize, x: usize, e: usize) -> Case<T> {
    batch_case("specialist_loss", format!("b={b} x={x} e={e}"), b, x, move |arena| {
        let (each, gate) = (arena.var(e * b, x), arena.var(b, e));
        let (truth, y, pick, losses) = (arena.mat(b, x), arena.mat(b, x), arena.mat(b, 1), arena.mat(1, LOSSES));
        let inputs = vec![
            input("each", each, 1.0),
            Input { name: "gate", var: gate, fill: Fill::Simplex },
            constant("truth", truth),
        ];
        let op = SpecialistLoss::new(arena, each, gate, truth, pick, y, losses)?;
        Ok(Built::new(&[&op], inputs, vec![], losses))
    })
}

fn quantize<T: Real>(b: usize, l: usize, n: usize) -> Case<T> {
    batch_case("quantize", format!("b={b} l={l} n={n}"), b, l.max(b), move |arena| {
        let [v, z] = [(); 2].map(|()| arena.var(b, l));
        let [embed, embed_avg] = [(); 2].map(|()| arena.mat(l, n));
        let [cluster_size, count] = [(); 2].map(|()| arena.mat(1, n));
        let (action, code, losses) = (arena.mat(b, n), arena.mat(b, 1), arena.mat(1, LOSSES));
        let op = Quantize { v, embed, cluster_size, embed_avg, z, action, code, count, losses }.check()?;
        let inputs = vec![input("v", v, 1.0), constant("embed", embed)];
        let straight_through = Var { value: v.value, grad: z.grad };
        Ok(Built::new(&[&op], inputs, vec![straight_through], losses))
    })
}
