//! The dense layer.
use crate::operations::{close, fill, memory, run};
use mvae_fast::Error;
use mvae_fast::cpu::activation::Activation::{self, Elu, Relu};
use mvae_fast::ops::Operation;
use mvae_fast::ops::linear::Linear;
use mvae_fast::plan::arena::{Arena, Var};

#[test]
fn gradients() {
    crate::operations::gradients("linear");
}

/// y of random inputs, and the values that it should have.
fn outputs(act: Activation, apply: fn(f64) -> f64) -> (Vec<f64>, Vec<f64>) {
    let (b, xc, hc, o) = (5, 3, 2, 7);
    let mut arena = Arena::default();
    let [x, h, w, bias, y] =
        [(b, xc), (b, hc), (o, xc + hc), (1, o), (b, o)].map(|(r, c)| Var::<f64>::constant(arena.mat(r, c)));
    let layer = Linear::new(x, h, w, bias, y, act).unwrap();
    let mut memory = memory(arena);
    let [xs, hs, ws, biases] = [(x, 1), (h, 2), (w, 3), (bias, 4)].map(|(v, seed)| fill(&mut memory, v.value, seed));
    run(&mut memory, |plan| layer.forward(plan));
    let mut want = Vec::new();
    for row in 0..b {
        for out in 0..o {
            let weights = &ws[out * (xc + hc)..];
            let inputs = xs[row * xc..][..xc].iter().chain(&hs[row * hc..][..hc]);
            want.push(apply(biases[out] + inputs.zip(weights).map(|(x, w)| x * w).sum::<f64>()));
        }
    }
    (memory.read(y.value).unwrap(), want)
}

#[test]
fn is_the_sum_of_products() {
    let (got, want) = outputs(Activation::None, |x| x);
    close(&got, &want, 1e-12);
    let (elu, want) = outputs(Elu, |x| if x > 0.0 { x } else { x.exp() - 1.0 });
    close(&elu, &want, 1e-12);
    let (relu, want) = outputs(Relu, |x| x.max(0.0));
    close(&relu, &want, 1e-12);
    assert!(got.iter().any(|&x| x < 0.0) && elu.iter().any(|&x| x < 0.0) && relu.iter().all(|&x| x >= 0.0));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let mut arena = Arena::default();
    let [x, w, bias, y] = [(2, 3), (5, 4), (1, 5), (2, 5)].map(|(r, c)| arena.var::<f32>(r, c));
    let Err(error) = Linear::new(x, Var::none(), w, bias, y, Elu) else { panic!("4 columns for 3 inputs") };
    assert!(matches!(error, Error::Shape { op: "linear", got: 4, want: 3, .. }), "{error}");
}
