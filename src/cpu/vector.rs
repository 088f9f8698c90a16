//! Loops over slices, compiled for each vector extension and chosen when the program runs.
//!
//! The loops are plain Rust without fused multiply-adds, and sums go into a fixed number of partial
//! sums: a result has the same bits on every processor. Callers cut long slices into fixed pieces
//! to share them out over a team.
use crate::cpu::number::Number;
use pulp::{Arch, Simd, WithSimd};

/// Number of partial sums of a reduction: element `i` goes into number `i % SUMS`, and the partial
/// sums are then added pairwise.
const SUMS: usize = 16;

/// Declares functions whose bodies are compiled once for every vector extension. (A closure that is
/// given to `dispatch` need not be inlined, and then has no vector extension.)
macro_rules! vectorized {
    ($(
        $(#[$doc:meta])*
        pub fn $name:ident<$life:lifetime, $t:ident>($($arg:ident: $kind:ty),* $(,)?) -> $out:ty $body:block
    )*) => { $(
        $(#[$doc])*
        pub fn $name<$life, $t: Number>($($arg: $kind),*) -> $out {
            struct Call<$life, $t> { $($arg: $kind),* , life: std::marker::PhantomData<&$life $t> }
            impl<$life, $t: Number> WithSimd for Call<$life, $t> {
                type Output = $out;
                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> $out {
                    let Call { $($arg),*, .. } = self;
                    $body
                }
            }
            Arch::new().dispatch(Call { $($arg),* , life: std::marker::PhantomData })
        }
    )* };
}

/// Adds `SUMS` partial sums pairwise.
#[inline(always)]
fn total<T: Copy + std::ops::Add<Output = T>>(mut sums: [T; SUMS]) -> T {
    let mut half = SUMS / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] = sums[i] + sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// Coefficients of one Adam step.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Learning rate over `1 - beta1^t`.
    pub step_size: f64,
    /// `1 / sqrt(1 - beta2^t)`.
    pub inv_sqrt_bias2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

vectorized! {
    /// One Adam update in place, as PyTorch has it: `m = beta1 m + (1 - beta1) g`, `v = beta2 v +
    /// (1 - beta2) g^2`, `p -= step_size m / (sqrt(v) inv_sqrt_bias2 + eps)`. Returns the sum of
    /// `g^2`.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn adam<'a, T>(p: &'a mut [T], g: &'a [T], m: &'a mut [T], v: &'a mut [T], step: AdamStep) -> f64 {
        let n = p.len();
        assert!(g.len() == n && m.len() == n && v.len() == n, "adam: lengths {n}, {}, {}, {}", g.len(), m.len(), v.len());
        let (beta1, beta2) = (T::of(step.beta1), T::of(step.beta2));
        // Rounded after the subtraction: 1 - 0.999 in f32 would be 5e-5 off.
        let (rest1, rest2) = (T::of(1.0 - step.beta1), T::of(1.0 - step.beta2));
        let (size, scale, eps) = (T::of(step.step_size), T::of(step.inv_sqrt_bias2), T::of(step.eps));
        let update = |p: &mut T, g: T, m: &mut T, v: &mut T| {
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * (g * g);
            *p -= size * *m / (v.sqrt() * scale + eps);
        };
        // Squares are summed in their own type over a short block, so that the sums stay in
        // registers, then in f64.
        const BLOCK: usize = 8 * SUMS;
        let mut sums = [0.0; SUMS];
        let parameters = p.chunks_mut(BLOCK).zip(g.chunks(BLOCK));
        for ((p, g), (m, v)) in parameters.zip(m.chunks_mut(BLOCK).zip(v.chunks_mut(BLOCK))) {
            let mut squares = [T::zero(); SUMS];
            let (mut ps, gs) = (p.chunks_exact_mut(SUMS), g.chunks_exact(SUMS));
            let (mut ms, mut vs) = (m.chunks_exact_mut(SUMS), v.chunks_exact_mut(SUMS));
            let g_end = gs.remainder();
            for (((p, g), m), v) in (&mut ps).zip(gs).zip(&mut ms).zip(&mut vs) {
                for i in 0..SUMS {
                    update(&mut p[i], g[i], &mut m[i], &mut v[i]);
                    squares[i] += g[i] * g[i];
                }
            }
            let (p, m, v) = (ps.into_remainder(), ms.into_remainder(), vs.into_remainder());
            for i in 0..g_end.len() {
                update(&mut p[i], g_end[i], &mut m[i], &mut v[i]);
                squares[i] += g_end[i] * g_end[i];
            }
            sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square.f64());
        }
        total(sums)
    }

    /// `x` becomes `exp(x) - 1` where it is not above 0, accurate near 0 too (see
    /// [`exponential_m1`](crate::cpu::lanes::Lanes::exponential_m1)).
    pub fn elu<'a, T>(x: &'a mut [T]) -> () {
        for x in x {
            let low = T::exponential_m1(*x);
            *x = if *x > T::zero() { *x } else { low };
        }
    }

    /// The gradient `d` of `y = elu(x)` becomes that of `x`: times 1 where `y > 0`, else times `y +
    /// 1`.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn elu_backward<'a, T>(d: &'a mut [T], y: &'a [T]) -> () {
        assert!(d.len() == y.len(), "elu_backward: lengths {} and {}", d.len(), y.len());
        for (d, &y) in d.iter_mut().zip(y) {
            *d *= if y > T::zero() { T::one() } else { y + T::one() };
        }
    }

    /// `x` becomes `exp(x)`.
    pub fn exp<'a, T>(x: &'a mut [T]) -> () {
        for x in x {
            *x = T::exponential(*x);
        }
    }

    /// Sum of squares, summed in f64.
    pub fn sum_of_squares<'a, T>(x: &'a [T]) -> f64 {
        let mut sums = [0.0; SUMS];
        let blocks = x.chunks_exact(SUMS);
        let rest = blocks.remainder();
        for x in blocks {
            for i in 0..SUMS {
                sums[i] += (x[i] * x[i]).f64();
            }
        }
        for i in 0..rest.len() {
            sums[i] += (rest[i] * rest[i]).f64();
        }
        total(sums)
    }

    /// Sum of `(x - y)^2`, summed in their own type.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn squared_distance<'a, T>(x: &'a [T], y: &'a [T]) -> T {
        assert!(x.len() == y.len(), "squared_distance: lengths {} and {}", x.len(), y.len());
        let mut sums = [T::zero(); SUMS];
        let (xs, ys) = (x.chunks_exact(SUMS), y.chunks_exact(SUMS));
        let (x_end, y_end) = (xs.remainder(), ys.remainder());
        for (x, y) in xs.zip(ys) {
            for i in 0..SUMS {
                sums[i] += (x[i] - y[i]) * (x[i] - y[i]);
            }
        }
        for i in 0..x_end.len() {
            sums[i] += (x_end[i] - y_end[i]) * (x_end[i] - y_end[i]);
        }
        total(sums)
    }

    /// `d = a (x - y)`.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn scaled_difference<'a, T>(d: &'a mut [T], a: T, x: &'a [T], y: &'a [T]) -> () {
        assert!(x.len() == y.len() && d.len() == x.len(), "scaled_difference: lengths {} and {}", x.len(), y.len());
        for ((d, &x), &y) in d.iter_mut().zip(x).zip(y) {
            *d = a * (x - y);
        }
    }

    /// Sum of `x y`, summed in their own type.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn dot<'a, T>(x: &'a [T], y: &'a [T]) -> T {
        assert!(x.len() == y.len(), "dot: lengths {} and {}", x.len(), y.len());
        let mut sums = [T::zero(); SUMS];
        let (xs, ys) = (x.chunks_exact(SUMS), y.chunks_exact(SUMS));
        let (x_end, y_end) = (xs.remainder(), ys.remainder());
        for (x, y) in xs.zip(ys) {
            for i in 0..SUMS {
                sums[i] += x[i] * y[i];
            }
        }
        for i in 0..x_end.len() {
            sums[i] += x_end[i] * y_end[i];
        }
        total(sums)
    }

    /// `y += a x`.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn add_scaled<'a, T>(y: &'a mut [T], a: T, x: &'a [T]) -> () {
        assert!(y.len() == x.len(), "add_scaled: lengths {} and {}", y.len(), x.len());
        for (y, &x) in y.iter_mut().zip(x) {
            *y += a * x;
        }
    }

    /// `y[e] = a[e] x` for every `e`: row `e` of `y` starts at `e * apart`.
    ///
    /// # Panics
    /// When `y` is too short.
    pub fn scaled_copies<'a, T>(y: &'a mut [T], apart: usize, a: &'a [T], x: &'a [T]) -> () {
        for (e, &a) in a.iter().enumerate() {
            for (y, &x) in y[e * apart..][..x.len()].iter_mut().zip(x) {
                *y = a * x;
            }
        }
    }

    /// `y = sum_e gate[e] (x[e] + bias[e])`: row `e` of `x` starts at `e * apart`, `bias` is
    /// [gates, outputs].
    ///
    /// # Panics
    /// When `x` or `bias` is too short.
    pub fn blend<'a, T>(y: &'a mut [T], gate: &'a [T], x: &'a [T], apart: usize, bias: &'a [T]) -> () {
        let n = y.len();
        y.fill(T::zero());
        for (e, &gate) in gate.iter().enumerate() {
            let (x, bias) = (&x[e * apart..][..n], &bias[e * n..][..n]);
            for ((y, &x), &bias) in y.iter_mut().zip(x).zip(bias) {
                *y += gate * (x + bias);
            }
        }
    }

    /// `sums[j] += sum_i x[i, j]` for rows `stride` apart, row after row.
    ///
    /// # Panics
    /// When `x` is too short.
    pub fn add_column_sums<'a, T>(sums: &'a mut [T], x: &'a [T], rows: usize, stride: usize) -> () {
        let n = sums.len();
        for i in 0..rows {
            for (sum, &x) in sums.iter_mut().zip(&x[i * stride..][..n]) {
                *sum += x;
            }
        }
    }
}
