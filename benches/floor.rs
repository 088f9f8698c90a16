//! The floor of an f32 training step on this machine: its multiplications at the rate of a large
//! matrix product, and one vectorised pass of Adam. The same is shown for a controller's steps (see
//! `benches/control.rs`). The bench also shows the rate of multiply-adds by themselves, with
//! nothing to read, which no product reaches. `cargo bench --bench floor [-- THREADS] [--json]`;
//! medians of one run.
use mvae_fast::cpu::gemm::{Matrix, MatsMut, product};
use mvae_fast::cpu::team::{Team, pieces};
use pulp::{Arch, Simd, WithSimd};
use serde_json::json;
use std::hint::black_box;

mod timer;

/// Multiplications and additions, in 10^9, of a step of the full-size mixture model at 64 samples.
/// They are 217 million forward, 217 million for the gradients of the weights, and 133 million for
/// those of the activations (none for the data).
const STEP_GFLOP: f64 = 0.567;
/// Number of weights of a full-size decoder (gate 23,616; 6 experts of 227,168), of an actor and of
/// a critic on 269 numbers. Each weight is multiplied and added once a row.
const DECODER: f64 = 1_386_624.0;
const ACTOR: f64 = 208_128.0;
const CRITIC: f64 = 200_192.0;
/// Number of weights of the first layers of actor and critic, whose inputs need no gradient.
const FIRST: f64 = 2.0 * 269.0 * 256.0;
/// Number of parameters of actor and critic, with biases and standard deviations.
const POLICY_PARAMETERS: f64 = 409_921.0;
/// Characters and steps of a rollout, samples of a mini-batch, and times that each rollout is
/// learned from.
const CHARACTERS: f64 = 100.0;
const STEPS: f64 = 120.0;
const SAMPLES: f64 = 1000.0;
const EPOCHS: f64 = 10.0;
/// Sizes of large square products.
const SIZES: [usize; 3] = [1024, 1536, 2048];
const RUNS: usize = 12;
const ADAM_RUNS: usize = 100;
/// Number of turns of the loop of multiply-adds, each over all sums.
const TURNS: usize = 5_000_000;
/// Number of independent sums: more than a processor has under way, and few enough to fit 16
/// registers with two factors.
const SUMS: usize = 12;

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

/// The `gemm` crate's product of [n, n] matrices, its rows shared out over the team.
fn crate_product(team: &Team, n: usize, c: &mut [f32], a: &[f32], b: &[f32]) {
    team.each(pieces(c, n.div_ceil(team.threads()) * n), |task, c| {
        let (rows, first) = (c.len() / n, task * n.div_ceil(team.threads()));
        let a = &a[first * n..][..rows * n];
        let row = n as isize;
        // SAFETY: [rows, n] of c and a, [n, n] of b, row-major.
        unsafe {
            let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
            let alone = gemm::Parallelism::None;
            gemm::gemm(rows, n, n, c, 1, row, false, a, 1, row, b, 1, row, 0.0, 1.0, false, false, false, alone);
        }
    });
}

/// A loop of this many turns of multiply-adds in registers. Returns how many numbers a turn works
/// on.
struct MultiplyAdds(usize);

impl WithSimd for MultiplyAdds {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let (x, y) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(1.0)));
        let mut sums = [y; SUMS].map(black_box);
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, x, y);
            }
        }
        black_box(sums);
        SUMS * S::F32_LANES
    }
}

fn main() {
    let threads = timer::words().iter().find_map(|word| word.parse().ok()).unwrap_or(2);
    let team = Team::new(threads);

    let mut products = Vec::new();
    for n in SIZES {
        let (a, b, mut c, mut d) = (numbers(n * n), numbers(n * n), vec![0f32; n * n], vec![0f32; n * n]);
        let mut ours = || {
            let out = MatsMut::one(&mut c, n, n, n);
            product(&team, out, false, Matrix::new(&a, n, n, n), Matrix::new(&b, n, n, n));
        };
        let times = timer::alternate(RUNS, [&mut ours, &mut || crate_product(&team, n, &mut d, &a, &b)]);
        for (name, times) in ["mvae-fast", "gemm crate"].into_iter().zip(times) {
            products.push((name, n, 2.0 * (n * n * n) as f64 / times.median() / 1e3));
        }
    }
    let rate = products.iter().map(|&(_, _, rate)| rate).fold(0.0, f64::max);

    let mut alone = || team.run(threads, |_| _ = Arch::new().dispatch(MultiplyAdds(TURNS)));
    let [alone] = timer::alternate(RUNS, [&mut alone]);
    let a_turn = Arch::new().dispatch(MultiplyAdds(0));
    let peak = 2.0 * (threads * TURNS * a_turn) as f64 / alone.median() / 1e3;

    let mut update = timer::adam(&team);
    let [adam] = timer::alternate(ADAM_RUNS, [&mut update]);
    let adam_ms = adam.median() / 1e3;
    let floor = STEP_GFLOP / rate * 1e3 + adam_ms;

    // A controller. A step uses decoder and actor; learning takes both networks forward and back,
    // and the critic values all observations.
    let ms_at = |rate: f64, multiplications: f64| 2.0 * multiplications / rate / 1e6;
    let ms = |multiplications| ms_at(rate, multiplications);
    let step = ms(CHARACTERS * (DECODER + ACTOR));
    let step_at_peak = ms_at(peak, CHARACTERS * (DECODER + ACTOR));
    let optimizer =
        ms(SAMPLES * (3.0 * (ACTOR + CRITIC) - FIRST)) + adam_ms * POLICY_PARAMETERS / timer::PARAMETERS as f64;
    let critic = ms((STEPS + 1.0) * CHARACTERS * CRITIC);
    let update = (STEPS * step + critic + EPOCHS * STEPS * CHARACTERS / SAMPLES * optimizer) / 1e3;

    if timer::flag("--json") {
        let products: Vec<_> =
            products.iter().map(|(name, n, rate)| json!({"impl": name, "n": n, "gflops": rate})).collect();
        let report = json!({
            "impl": "floor", "threads": threads, "gflop": STEP_GFLOP, "gflops": rate, "adam_ms": adam_ms,
            "ms_median": floor, "products": products,
            "multiply_add_gflops": peak, "characters": CHARACTERS, "step_ms": step, "optimizer_ms": optimizer, "update_s": update,
        });
        println!("{report}");
        return;
    }
    for (name, n, rate) in &products {
        println!("{name:10} [{n}, {n}] x [{n}, {n}], {threads} threads: {rate:.0} GFLOP/s");
    }
    println!("multiply-adds alone, {threads} threads: {peak:.0} GFLOP/s");
    println!("adam over {} parameters: {:.0} us", timer::PARAMETERS, adam.median());
    println!("floor of a step: {STEP_GFLOP} GFLOP at {rate:.0} GFLOP/s and adam: {floor:.3} ms");
    println!(
        "floor of a controller's environment step, {CHARACTERS} characters: {step:.3} ms, by multiply-adds alone {step_at_peak:.3} ms"
    );
    println!("floor of its optimizer step, {SAMPLES} samples: {optimizer:.3} ms; of a whole update: {update:.3} s");
}
