//! Cases of layers and gates.
use super::built::{Build, Built, Case, Fill, Input, batch_case, constant, input};
use super::trained::{Held, Trained};
use crate::cpu::activation::Activation::{self, Elu, None as Identity, Relu};
use crate::cpu::real::Real;
use crate::ops::Operation;
use crate::ops::blend_linear::BlendLinear;
use crate::ops::gate::Gate;
use crate::ops::linear::{Linear, Twins};
use crate::ops::recon_loss::{LOSSES, ReconLoss};
use crate::ops::softmax::Softmax;
use crate::plan::Plan;
use crate::plan::arena::{Mat, Var};

/// All cases of layers and gates.
pub(super) fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = Vec::new();
    for (b, x, h, o, act) in [
        (1, 1, 0, 1, Identity),
        (3, 2, 0, 5, Elu),
        (5, 7, 3, 11, Elu),
        (7, 13, 5, 1, Relu),
        (11, 1, 2, 17, Relu),
        (64, 267, 256, 256, Elu),
        (64, 256, 0, 64, Elu),
    ] {
        cases.push(linear(b, x, h, o, act, false));
    }
    cases.push(linear(3, 5, 2, 7, Elu, true));
    cases.push(toward(5, 7, 11, Relu, None));
    cases.extend([(5, 3, 4, 7, Elu), (64, 267, 256, 32, Identity)].map(|(b, x, h, o, act)| twins(b, x, h, o, act)));
    for (b, l, h, o, e, act) in [
        (1, 1, 1, 1, 1, Identity),
        (3, 2, 3, 5, 2, Elu),
        (5, 3, 7, 11, 3, Elu),
        (9, 1, 4, 1, 7, Relu),
        (64, 32, 267, 256, 6, Elu),
        (64, 32, 256, 267, 6, Identity),
    ] {
        cases.push(blend_linear(b, l, h, o, e, act, false));
    }
    cases.push(blend_linear(5, 2, 3, 7, 3, Elu, true));
    cases.push(toward(64, 288, 267, Identity, Some((32, 6))));
    cases.push(toward(5, 5, 11, Elu, Some((2, 3))));
    cases.extend(
        [(5, 2, 3, 7, 3), (17, 3, 7, 33, 6)].map(|(b, l, h, o, e)| blend_linear_without_gradient(b, l, h, o, e)),
    );
    cases.extend([(1, 1), (3, 2), (5, 7), (64, 6)].map(|(b, e)| softmax(b, e)));
    for (b, l, c, g, e) in [(1, 1, 1, 1, 1), (3, 2, 0, 5, 2), (5, 35, 7, 33, 7), (64, 32, 267, 64, 6)] {
        cases.push(gate(b, l, c, g, e, false));
    }
    cases.push(gate(5, 2, 3, 7, 3, true));
    cases
}

/// A dense layer.
pub(super) fn linear<T: Real>(b: usize, x: usize, h: usize, o: usize, act: Activation, twice: bool) -> Case<T> {
    let product = (2 * b * (x + h) * o) as f64;
    Case {
        op: "linear",
        sizes: format!("B={b} X={x} H={h} O={o} {act:?}{}", if twice { " twice" } else { "" }).to_lowercase(),
        full: b == 64,
        flops: [product, 2.0 * product],
        terms: (x + h).max(o).max(b),
        build: Box::new(move |arena| {
            let [xs, w, bias, y, again] = [(b, x), (o, x + h), (1, o), (b, o), (b, o)].map(|(r, c)| arena.var(r, c));
            let hs = if h == 0 { Var::none() } else { arena.var(b, h) };
            let mut inputs = vec![input("x", xs, 1.0), input("w", w, ((x + h) as f64).powf(-0.5))];
            inputs.push(input("bias", bias, 1.0));
            if h > 0 {
                inputs.push(input("h", hs, 1.0));
            }
            let first = Linear::new(xs, hs, w, bias, y, act)?;
            if !twice {
                return Ok(Built::new(&[&first], inputs, vec![y], Mat::NONE));
            }
            let second = Linear::new(xs, hs, w, bias, again, Identity)?;
            Ok(Built::new(&[&first, &second], inputs, vec![y, again], Mat::NONE))
        }),
    }
}

/// Two layers on the same input.
fn twins<T: Real>(b: usize, x: usize, h: usize, o: usize, act: Activation) -> Case<T> {
    let case = linear(b, x, h, o, act, false);
    let build: Build<T> = Box::new(move |arena| {
        let (xs, hs) = (arena.var(b, x), arena.var(b, h));
        let (mut inputs, mut outputs) = (vec![input("x", xs, 1.0), input("h", hs, 1.0)], vec![]);
        let mut layer = |of_w, of_bias| {
            let [w, bias, y] = [(o, x + h), (1, o), (b, o)].map(|(r, c)| arena.var(r, c));
            inputs.extend([input(of_w, w, ((x + h) as f64).powf(-0.5)), input(of_bias, bias, 1.0)]);
            outputs.push(y);
            Linear::new(xs, hs, w, bias, y, act)
        };
        let op = Twins::new(layer("w", "bias")?, layer("w2", "bias2")?)?;
        Ok(Built::new(&[&op], inputs, outputs, Mat::NONE))
    });
    let flops = case.flops.map(|flops| 2.0 * flops);
    Case { sizes: format!("{} twins", case.sizes), flops, terms: case.terms.max(2 * o), build, ..case }
}

fn blend_linear<T: Real>(b: usize, l: usize, h: usize, o: usize, e: usize, act: Activation, twice: bool) -> Case<T> {
    let product = (2 * b * (l + h) * o * e) as f64;
    Case {
        op: "blend_linear",
        sizes: format!("B={b} L={l} H={h} O={o} E={e} {act:?}{}", if twice { " twice" } else { "" }).to_lowercase(),
        full: b == 64,
        flops: [product, 2.0 * product],
        terms: (e * (l + h)).max(e * o).max(b),
        build: Box::new(move |arena| {
            let [z, hs, gate, y, again] = [l, h, e, o, o].map(|cols| arena.var(b, cols));
            let (held, [w, bias]) = Held::new(arena, [(e * (l + h), o), (e, o)]);
            let mut inputs =
                vec![input("z", z, 1.0), input("h", hs, 1.0), Input { name: "gate", var: gate, fill: Fill::Simplex }];
            let mut parameters = [input("w", w, ((l + h) as f64).powf(-0.5)), input("bias", bias, 1.0)];
            let [w, bias] = [w, bias].map(|parameter| Var::constant(parameter.value));
            let first = BlendLinear::new(arena, z, hs, gate, w, bias, y, act)?;
            if !twice {
                inputs.extend(parameters);
                let updates = vec![first.update()];
                return Ok(Built::new(&[&Trained::new(arena, &first, &held, updates)], inputs, vec![y], Mat::NONE));
            }
            parameters.iter_mut().for_each(|parameter| parameter.var.grad = Mat::NONE);
            inputs.extend(parameters);
            let second = BlendLinear::new(arena, z, hs, gate, w, bias, again, Identity)?;
            Ok(Built::new(&[&first, &second], inputs, vec![y, again], Mat::NONE))
        }),
    }
}

/// A layer of I inputs whose loss is the mean squared error to a target: dense, or blended with
/// this number of latent entries and of experts.
fn toward<T: Real>(b: usize, i: usize, o: usize, act: Activation, blended: Option<(usize, usize)>) -> Case<T> {
    let case = match blended {
        None => linear(b, i, 0, o, act, false),
        Some((l, e)) => blend_linear(b, l, i - l, o, e, act, false),
    };
    let build: Build<T> = Box::new(move |arena| {
        let (l, e) = blended.unwrap_or((i, 1));
        let (z, y, losses) = (arena.var(b, l), arena.var(b, o), arena.mat(1, LOSSES));
        let target = arena.mat(b, o);
        let scale = (i as f64).powf(-0.5);
        let mut inputs = vec![constant("target", target)];
        let loss = ReconLoss::new(y.value, target, losses)?;
        let layer: Box<dyn Operation> = if blended.is_none() {
            let (w, bias) = (arena.var(o, i), arena.var(1, o));
            inputs.extend([input("x", z, 1.0), input("w", w, scale), input("bias", bias, 1.0)]);
            Box::new(Linear::new(z, Var::none(), w, bias, y, act)?.toward(target)?)
        } else {
            let (h, gate) = (arena.var(b, i - l), arena.var(b, e));
            let [w, bias] = [(e * i, o), (e, o)].map(|(rows, cols)| Var::constant(arena.mat(rows, cols)));
            inputs.extend([input("z", z, 1.0), input("h", h, 1.0), input("w", w, scale), input("bias", bias, 1.0)]);
            inputs.push(Input { name: "gate", var: gate, fill: Fill::Simplex });
            Box::new(BlendLinear::new(arena, z, h, gate, w, bias, y, act)?.toward(target)?)
        };
        Ok(Built::new(&[&*layer, &loss], inputs, vec![], losses))
    });
    Case { sizes: format!("{} toward a target", case.sizes), build, ..case }
}

/// The blended layer as a walk uses it: it does not keep the experts' outputs.
fn blend_linear_without_gradient<T: Real>(b: usize, l: usize, h: usize, o: usize, e: usize) -> Case<T> {
    let case = blend_linear(b, l, h, o, e, Elu, false);
    let build: Build<T> = Box::new(move |arena| {
        let [z, hs, gate, y] = [l, h, e, o].map(|cols| Var::constant(arena.mat(b, cols)));
        let [w, bias] = [e * (l + h), e].map(|rows| Var::constant(arena.mat(rows, o)));
        let named = [("z", z), ("h", hs), ("w", w), ("bias", bias)];
        let mut inputs: Vec<_> = named.into_iter().map(|(name, var)| input(name, var, 1.0)).collect();
        inputs.push(Input { name: "gate", var: gate, fill: Fill::Simplex });
        let mut plan = Plan::default();
        BlendLinear::new(arena, z, hs, gate, w, bias, y, Elu)?.forward(&mut plan);
        Ok(Built::step(plan, inputs, vec![y]))
    });
    Case { sizes: format!("{} without gradient", case.sizes), flops: [case.flops[0], 0.0], build, ..case }
}

fn softmax<T: Real>(b: usize, e: usize) -> Case<T> {
    batch_case("softmax", format!("b={b} e={e}"), b, e, move |arena| {
        let [x, y] = [(); 2].map(|()| arena.var(b, e));
        Ok(Built::new(&[&Softmax::new(x, y)?], vec![input("x", x, 2.0)], vec![y], Mat::NONE))
    })
}

fn gate<T: Real>(b: usize, l: usize, c: usize, g: usize, e: usize, twice: bool) -> Case<T> {
    let weights = (l + c + g + e) * g;
    Case {
        op: "gate",
        sizes: format!("b={b} l={l} c={c} g={g} e={e}{}", if twice { " twice" } else { "" }),
        full: b == 64,
        flops: [(2 * b * weights) as f64, (2 * b * (2 * weights - c * g)) as f64],
        terms: (l + c).max(g).max(b),
        build: Box::new(move |arena| {
            let z = arena.var(b, l);
            let condition = match (c, twice) {
                (0, _) => Var::none(),
                (_, false) => Var::constant(arena.mat(b, c)),
                (_, true) => arena.var(b, c),
            };
            let (held, [w1, bias1, w2, bias2, w3, bias3]) =
                Held::new(arena, [(g, l + c), (1, g), (g, g), (1, g), (e, g), (1, e)]);
            let scale = |w: Var<T>| 2.0 * (w.cols() as f64).powf(-0.5);
            let mut inputs = vec![input("z", z, 1.0), input("c", condition, 1.0)];
            let mut parameters = [
                input("w1", w1, scale(w1)),
                input("bias1", bias1, 1.0),
                input("w2", w2, scale(w2)),
                input("bias2", bias2, 1.0),
                input("w3", w3, scale(w3)),
                input("bias3", bias3, 1.0),
            ];
            let layers = [(w1, bias1), (w2, bias2), (w3, bias3)]
                .map(|(w, bias)| (Var::constant(w.value), Var::constant(bias.value)));
            let mut op = || {
                let [h1, h2, logits, y] = [g, g, e, e].map(|cols| arena.var(b, cols));
                Ok((Gate::new(&mut *arena, z, condition, layers, [h1, h2], logits, y)?, y))
            };
            let (first, y) = op()?;
            if !twice {
                inputs.extend(parameters);
                let updates = first.updates().into();
                return Ok(Built::new(&[&Trained::new(arena, &first, &held, updates)], inputs, vec![y], Mat::NONE));
            }
            parameters.iter_mut().for_each(|parameter| parameter.var.grad = Mat::NONE);
            inputs.extend(parameters);
            // The gradient of the second one's gate in parts.
            let (second, again) = op()?;
            let parts = arena.mat(2 * b, e);
            let outputs = [0, 1].map(|i| Var { grad: parts.rows_at(i * b, b), ..again });
            let second = second.with_parts(parts)?;
            Ok(Built::new(&[&first, &second], inputs, [vec![y], outputs.to_vec()].concat(), Mat::NONE))
        }),
    }
}
