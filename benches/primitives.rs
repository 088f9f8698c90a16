//! The CPU's primitives at the shapes of a training step: matrix products beside the `gemm` crate,
//! the thread team, and the elementwise loops. `cargo bench --bench primitives [-- NAME]`; medians
//! (and minima) of many, in one run.
use mvae_fast::cpu::gemm::{Matrix, MatsMut, blend, products};
use mvae_fast::cpu::team::{Team, pieces};
use mvae_fast::cpu::vector;

mod timer;

const BATCH: usize = 64;
/// Number of characters side by side in the stepping loop of a controller, and of samples in its
/// mini-batches.
const CHARACTERS: usize = 100;
const SAMPLES: usize = 1000;

/// Medians and minima of the times of `runs` calls of each.
fn times<const N: usize>(runs: usize, calls: [&mut dyn FnMut(); N]) -> [(f64, f64); N] {
    timer::alternate(runs, calls).map(|times| (times.median(), times.quantile(0.0)))
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

/// One matrix product of the step: `outputs` times [m, n] over the sum of `depths`.
struct Case {
    name: &'static str,
    outputs: usize,
    m: usize,
    n: usize,
    depths: &'static [usize],
    /// Left, right factor stored transposed.
    transposed: (bool, bool),
}

const CASES: &[Case] = &[
    Case { name: "dense forward E2", outputs: 1, m: BATCH, n: 256, depths: &[267, 256], transposed: (false, true) },
    Case { name: "dense forward mu", outputs: 1, m: BATCH, n: 32, depths: &[267, 256], transposed: (false, true) },
    Case { name: "dense forward gate", outputs: 1, m: BATCH, n: 64, depths: &[32, 267], transposed: (false, true) },
    Case { name: "expert forward D2", outputs: 6, m: BATCH, n: 256, depths: &[32, 256], transposed: (false, false) },
    Case { name: "expert forward D3", outputs: 6, m: BATCH, n: 267, depths: &[32, 256], transposed: (false, false) },
    Case { name: "expert dh D2", outputs: 1, m: BATCH, n: 256, depths: &[256; 6], transposed: (false, true) },
    Case { name: "expert dh D3", outputs: 1, m: BATCH, n: 256, depths: &[267; 6], transposed: (false, true) },
    Case { name: "expert dz", outputs: 1, m: BATCH, n: 32, depths: &[256; 6], transposed: (false, true) },
    Case { name: "dense dh", outputs: 1, m: BATCH, n: 256, depths: &[256], transposed: (false, false) },
    Case { name: "expert dw D2 h", outputs: 6, m: 256, n: 256, depths: &[BATCH], transposed: (true, false) },
    Case { name: "expert dw D3 h", outputs: 6, m: 256, n: 267, depths: &[BATCH], transposed: (true, false) },
    Case { name: "expert dw D2 z", outputs: 6, m: 32, n: 256, depths: &[BATCH], transposed: (true, false) },
    Case { name: "dense dw E2", outputs: 1, m: 256, n: 267, depths: &[BATCH], transposed: (true, false) },
    Case { name: "stepping D1", outputs: 6, m: CHARACTERS, n: 256, depths: &[32, 267], transposed: (false, false) },
    Case { name: "stepping D3", outputs: 6, m: CHARACTERS, n: 267, depths: &[32, 256], transposed: (false, false) },
    Case { name: "stepping gate", outputs: 1, m: CHARACTERS, n: 64, depths: &[32, 267], transposed: (false, true) },
    Case { name: "stepping actor", outputs: 1, m: CHARACTERS, n: 256, depths: &[256], transposed: (false, true) },
    Case { name: "learning forward", outputs: 1, m: SAMPLES, n: 256, depths: &[256], transposed: (false, true) },
    Case { name: "learning dx", outputs: 1, m: SAMPLES, n: 256, depths: &[256], transposed: (false, false) },
    Case { name: "learning dw", outputs: 1, m: 256, n: 256, depths: &[SAMPLES], transposed: (true, false) },
    Case { name: "large", outputs: 1, m: 1024, n: 1024, depths: &[1024], transposed: (false, false) },
];

fn mat(data: &[f32], rows: usize, cols: usize, transposed: bool) -> Matrix<'_, f32> {
    if transposed { Matrix::new(data, cols, rows, rows).t() } else { Matrix::new(data, rows, cols, cols) }
}

impl Case {
    fn bench(&self, teams: &[Team]) {
        let &Case { outputs, m, n, depths, transposed: (ta, tb), .. } = self;
        let a: Vec<Vec<f32>> = depths.iter().map(|k| numbers(m * k)).collect();
        let b: Vec<Vec<f32>> = depths.iter().map(|k| numbers(outputs * k * n)).collect();
        let (mut c, mut d) = (vec![0f32; outputs * m * n], vec![0f32; outputs * m * n]);
        let flops = 2.0 * (outputs * m * n * depths.iter().sum::<usize>()) as f64;
        print!("{:20}", self.name);
        for team in teams {
            let runs = ((3e9 / flops) as usize).clamp(20, 400);
            let mut ours = || {
                let out = MatsMut::many(&mut c, outputs, m * n, m, n, n);
                products(team, out, false, depths.len(), |i, t| {
                    let k = depths[t];
                    (mat(&a[t], m, k, ta), mat(&b[t][i * k * n..(i + 1) * k * n], k, n, tb))
                })
            };
            let mut theirs = || {
                // The tasks of the same product, each through the crate.
                let to = d.as_mut_ptr() as usize;
                let panels = n.div_ceil(32);
                team.run(outputs * panels, |task| {
                    let (i, col) = (task / panels, task % panels * 32);
                    for (t, &k) in depths.iter().enumerate() {
                        let (a_row, a_col) = if ta { (1, m) } else { (k, 1) };
                        let (b_row, b_col) = if tb { (1, k) } else { (n, 1) };
                        unsafe {
                            gemm::gemm(
                                m,
                                32.min(n - col),
                                k,
                                (to as *mut f32).add(i * m * n + col),
                                1,
                                n as isize,
                                t > 0,
                                a[t].as_ptr(),
                                a_col as isize,
                                a_row as isize,
                                b[t].as_ptr().add(i * k * n + col * b_col),
                                b_col as isize,
                                b_row as isize,
                                1.0,
                                1.0,
                                false,
                                false,
                                false,
                                gemm::Parallelism::None,
                            )
                        }
                    }
                })
            };
            let [ours, theirs] = times(runs, [&mut ours, &mut theirs]);
            let rate = |us: f64| flops / us / 1e3;
            let (threads, ratio) = (team.threads(), theirs.0 / ours.0);
            print!(
                " | {threads}t {:7.1} us {:3.0} GFLOP/s (best {:3.0}), gemm crate {:3.0} ({:3.0}), ratio {ratio:.2}",
                ours.0,
                rate(ours.0),
                rate(ours.1),
                rate(theirs.0),
                rate(theirs.1)
            );
        }
        println!();
    }
}

/// A layer of six experts and their blend: with a gradient to come, when the experts' outputs are
/// kept, and without.
fn bench_blend(teams: &[Team], rows: usize, cols: usize, depths: [usize; 2]) {
    const EXPERTS: usize = 6;
    let inputs: usize = depths.iter().sum();
    let x = depths.map(|depth| numbers(rows * depth));
    let w: Vec<Vec<f32>> = (0..EXPERTS).map(|_| numbers(inputs * cols)).collect();
    let (gate, bias) = (numbers(rows * EXPERTS), numbers(EXPERTS * cols));
    let (mut each, mut y, mut z) =
        (vec![0f32; EXPERTS * rows * cols], vec![0f32; rows * cols], vec![0f32; rows * cols]);
    let factors = |expert: usize, part: usize| {
        let [first, depth] = [[0, depths[0]][part], depths[part]];
        let w = &w[expert][first * cols..][..depth * cols];
        (Matrix::new(&x[part], rows, depth, depth), Matrix::new(w, depth, cols, cols))
    };
    print!("blend of {rows} rows, {cols} columns");
    for team in teams {
        let mut kept = || {
            let stride = EXPERTS * cols;
            products(team, MatsMut::many(&mut each, EXPERTS, cols, rows, cols, stride), false, 2, factors);
            team.each(pieces(&mut y, 8 * cols), |task, y| {
                for (row, y) in y.chunks_exact_mut(cols).enumerate() {
                    let row = 8 * task + row;
                    vector::blend(y, &gate[row * EXPERTS..][..EXPERTS], &each[row * stride..], cols, &bias);
                }
            });
        };
        let mut not_kept = || {
            let base = (Matrix::new(&gate, rows, EXPERTS, EXPERTS), Matrix::new(&bias, EXPERTS, cols, cols));
            blend(team, MatsMut::one(&mut z, rows, cols, cols), base, 2 * EXPERTS, |term| {
                let (x, w) = factors(term / 2, term % 2);
                [Matrix::new(&gate[term / 2..], rows, 1, EXPERTS), x, w]
            });
        };
        let flops = 2.0 * (EXPERTS * rows * cols * inputs) as f64;
        let runs = ((5e9 / flops) as usize).clamp(20, 400);
        let [kept, not_kept] = times(runs, [&mut kept, &mut not_kept]);
        let rate = |us: f64| flops / us / 1e3;
        print!(
            " | {}t kept {:.1} us, {:.0} GFLOP/s (best {:.0}), not kept {:.1} us, {:.0} GFLOP/s (best {:.0})",
            team.threads(),
            kept.0,
            rate(kept.0),
            rate(kept.1),
            not_kept.0,
            rate(not_kept.0),
            rate(not_kept.1)
        );
    }
    println!();
}

/// Adam over the parameters of the full-size mixture model.
fn bench_adam(team: &Team) {
    let mut update = timer::adam(team);
    let [(median, least)] = times(200, [&mut update]);
    let rate = |us: f64| 28.0 * timer::PARAMETERS as f64 / us / 1e3;
    let threads = team.threads();
    println!("adam, {threads} threads: {median:.0} us, {:.0} GB/s, best {least:.0} us", rate(median));
}

/// The loops over activations, on one thread and numbers that stay in the cache.
fn bench_loops() {
    const N: usize = BATCH * 256;
    let (x, mut y, gate, bias) = (numbers(6 * N), vec![0f32; 6 * N], numbers(6), numbers(6 * 256));
    let (mut other, mut dx) = (vec![0f32; N], vec![0f32; N]);
    let mut total = 0f32;
    let [elu, exp, back, blend, copies, columns, dot] = times(
        500,
        [
            &mut || vector::elu(&mut y[..N]),
            &mut || vector::exp(&mut other),
            &mut || vector::elu_backward(&mut dx, &x[N..2 * N]),
            &mut || {
                let mut out = [0f32; 256];
                for b in 0..BATCH {
                    vector::blend(&mut out, &gate, &x[b * 6 * 256..], 256, &bias);
                }
                std::hint::black_box(out);
            },
            &mut || {
                let mut out = [0f32; 6 * 256];
                for b in 0..BATCH {
                    vector::scaled_copies(&mut out, 256, &gate, &x[b * 256..][..256]);
                    std::hint::black_box(&out);
                }
            },
            &mut || {
                let mut out = [0f32; 256];
                vector::add_column_sums(&mut out, &x, BATCH, 256);
                std::hint::black_box(out);
            },
            &mut || total += vector::dot(&x[..N], &x[N..2 * N]),
        ],
    );
    std::hint::black_box(total);
    let names = ["elu", "exp", "elu_backward", "blend of 6", "scaled_copies, 6", "add_column_sums", "dot"];
    for (name, (median, least)) in names.into_iter().zip([elu, exp, back, blend, copies, columns, dot]) {
        println!("{name} over [{BATCH}, 256]: {median:.2} us, best {least:.2}");
    }
}

fn main() {
    println!("{}", timer::machine());
    let wanted = timer::words();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    let teams = [1, 2].map(Team::new);
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        case.bench(&teams);
    }
    if wanted("blend") {
        for rows in [CHARACTERS, 4096] {
            bench_blend(&teams, rows, 256, [32, 267]);
            bench_blend(&teams, rows, 267, [32, 256]);
        }
    }
    if wanted("adam") {
        teams.iter().for_each(bench_adam);
    }
    if wanted("loops") {
        bench_loops();
    }
    if wanted("team") {
        for team in &teams {
            let [(median, least)] = times(10_000, [&mut || team.run(8, |_| ())]);
            println!("team: a region of 8 empty tasks, {} threads: {median:.2} us, best {least:.2}", team.threads());
        }
    }
}
