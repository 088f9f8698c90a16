//! Elementwise loops against f64 and plain loops.
use mvae_fast::cpu::real::Real;
use mvae_fast::cpu::vector::{
    AdamStep, adam, add_column_sums, add_scaled, blend, dot, elu, elu_backward, exp, scaled_copies, scaled_difference,
    squared_distance, sum_of_squares,
};

/// Distance of `got` from `want` in units in the last place of an f32 as large as `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let size = (want.abs() as f32).max(f32::MIN_POSITIVE);
    let unit = f32::from_bits(size.to_bits() + 1) - size;
    (got as f64 - want).abs() / unit as f64
}

fn values() -> Vec<f32> {
    // Every 997th f32 of either sign up to infinity, and a fine sweep of the common range.
    let all = (0..0x7f80_0000u32).step_by(997).map(f32::from_bits);
    let fine = (-400_000..400_000).map(|i| i as f32 * 2.5e-4);
    all.clone().chain(all.map(|x| -x)).chain(fine).collect()
}

#[test]
fn exp_is_accurate() {
    let x = values();
    let mut y = x.clone();
    exp(&mut y);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let want = (x as f64).exp();
        if want > f32::MAX as f64 {
            assert!(y == f32::INFINITY || ulps(y, f32::MAX as f64) <= 1.0, "exp({x}) is {y}");
        } else {
            worst = if ulps(y, want) > worst.0 { (ulps(y, want), x) } else { worst };
        }
    }
    println!("exp: {:.3} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 1.5, "exp is off by {} ulp at {}", worst.0, worst.1);
}

#[test]
fn elu_is_accurate() {
    let x: Vec<f32> = values().into_iter().filter(|x| x.is_finite()).collect();
    let mut y = x.clone();
    elu(&mut y);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let want = if x > 0.0 { x as f64 } else { (x as f64).exp_m1() };
        worst = if ulps(y, want) > worst.0 { (ulps(y, want), x) } else { worst };
    }
    println!("elu: {:.3} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 2.0, "elu is off by {} ulp at {}", worst.0, worst.1);
}

#[test]
fn special_values() {
    let x = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, 88.7, 89.0, -104.5];
    let (mut e, mut l) = (x, x);
    exp(&mut e);
    elu(&mut l);
    assert_eq!(&e[..4], &[1.0, 1.0, f32::INFINITY, 0.0]);
    assert_eq!(&l[..4], &[0.0, 0.0, f32::INFINITY, -1.0]);
    assert!(e[4].is_nan() && e[5].is_nan() && l[4].is_nan() && l[5].is_nan());
    assert!(e[6].is_finite() && e[7] == f32::INFINITY && e[8] == 0.0);
}

/// Reproducible numbers in -1..1.
fn numbers<T: Real>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::of((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

fn near<T: Real>(got: &[T], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // Sums of at most 10 terms of size 1 or less.
        let tolerance = 10.0 * T::epsilon().f64();
        assert!((got.f64() - want).abs() <= tolerance, "{what}, element {i}: {got}, not {want}");
    }
}

fn loops_match<T: Real>() {
    for n in [0, 1, 7, 16, 31, 64, 267, 1000] {
        let (x, y): (Vec<T>, Vec<T>) = (numbers(n, 1), numbers(n, 2));
        let f = |x: &[T], i: usize| x[i].f64();
        let all = |g: &dyn Fn(usize) -> f64| (0..n).map(g).collect::<Vec<_>>();

        let mut out = y.clone();
        add_scaled(&mut out, T::of(0.5), &x);
        near(&out, &all(&|i| f(&y, i) + 0.5 * f(&x, i)), "add_scaled");

        out.copy_from_slice(&x);
        elu(&mut out);
        near(&out, &all(&|i| if f(&x, i) > 0.0 { f(&x, i) } else { f(&x, i).exp_m1() }), "elu");
        let mut dx = y.clone();
        elu_backward(&mut dx, &out);
        near(&dx, &all(&|i| f(&y, i) * if f(&x, i) > 0.0 { 1.0 } else { f(&x, i).exp() }), "elu_backward");

        let want = (0..n).map(|i| f(&x, i) * f(&y, i)).sum::<f64>();
        let size = (0..n).map(|i| (f(&x, i) * f(&y, i)).abs()).sum::<f64>();
        assert!((dot(&x, &y).f64() - want).abs() <= size * T::epsilon().f64() * (n / 16 + 6) as f64, "dot of {n}");
        let want = (0..n).map(|i| f(&x, i) * f(&x, i)).sum::<f64>();
        assert!(
            (sum_of_squares(&x) - want).abs() <= want * (T::epsilon().f64() + n as f64 * 1e-16),
            "sum_of_squares of {n}"
        );

        let want = (0..n).map(|i| (f(&x, i) - f(&y, i)).powi(2)).sum::<f64>();
        let near_enough = want * T::epsilon().f64() * (n / 16 + 8) as f64;
        assert!((squared_distance(&x, &y).f64() - want).abs() <= near_enough, "squared_distance of {n}");
        scaled_difference(&mut out, T::of(0.5), &x, &y);
        near(&out, &all(&|i| 0.5 * (f(&x, i) - f(&y, i))), "scaled_difference");

        let (gate, apart): (Vec<T>, usize) = (numbers(3, 3), n + 2);
        let mut copies = vec![T::nan(); 3 * apart];
        scaled_copies(&mut copies, apart, &gate, &x);
        for e in 0..3 {
            near(&copies[e * apart..][..n], &all(&|i| f(&gate, e) * f(&x, i)), "scaled_copies");
            assert!(copies[e * apart + n].is_nan(), "scaled_copies wrote between its rows");
        }

        let (rows, bias): (Vec<T>, Vec<T>) = (numbers(3 * apart, 4), numbers(3 * n, 5));
        blend(&mut out, &gate, &rows, apart, &bias);
        let row = |e: usize, i: usize| f(&gate, e) * (f(&rows, e * apart + i) + f(&bias, e * n + i));
        near(&out, &all(&|i| (0..3).map(|e| row(e, i)).sum()), "blend");
        out.copy_from_slice(&x);
        add_column_sums(&mut out, &rows, 3, apart);
        near(&out, &all(&|i| f(&x, i) + (0..3).map(|e| f(&rows, e * apart + i)).sum::<f64>()), "add_column_sums");
    }
}

#[test]
fn loops() {
    loops_match::<f32>();
    loops_match::<f64>();
}

fn adam_matches<T: Real>() {
    let n = 103;
    let (mut p, mut m, mut v) = (numbers::<T>(n, 1), vec![T::zero(); n], vec![T::zero(); n]);
    let mut want: Vec<(f64, f64, f64)> = p.iter().map(|p| (p.f64(), 0.0, 0.0)).collect();
    let (rate, beta1, beta2, eps) = (1e-2, 0.9, 0.999, 1e-8);
    for t in 1..=5 {
        let g: Vec<T> = numbers(n, 10 + t as u64);
        let (bias1, bias2) = (1.0 - f64::powi(beta1, t), 1.0 - f64::powi(beta2, t));
        let step = AdamStep { beta1, beta2, step_size: rate / bias1, inv_sqrt_bias2: 1.0 / bias2.sqrt(), eps };
        let squares = adam(&mut p, &g, &mut m, &mut v, step);
        // Eight squares at a time are summed in their own type.
        let want_squares = sum_of_squares(&g);
        let difference = (squares - want_squares).abs();
        assert!(difference <= want_squares * 8.0 * T::epsilon().f64(), "squares {squares}, {want_squares}");
        for (i, (p, m, v)) in want.iter_mut().enumerate() {
            let g = g[i].f64();
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p -= rate / bias1 * *m / ((*v / bias2).sqrt() + eps);
        }
    }
    near(&p, &want.iter().map(|w| w.0).collect::<Vec<_>>(), "parameters");
    near(&m, &want.iter().map(|w| w.1).collect::<Vec<_>>(), "first moments");
    near(&v, &want.iter().map(|w| w.2).collect::<Vec<_>>(), "second moments");
}

#[test]
fn adam_as_written() {
    adam_matches::<f32>();
    adam_matches::<f64>();
}
