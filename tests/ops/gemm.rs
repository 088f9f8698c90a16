//! Matrix products and the thread team: against plain loops in f64, and the same bits on any number
//! of threads.
use mvae_fast::cpu::gemm::{Matrix, MatsMut, blend, product, products};
use mvae_fast::cpu::real::Real;
use mvae_fast::cpu::team::{Team, pieces};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reproducible numbers in -1..1.
struct Numbers(u64);
impl Numbers {
    fn next<T: Real>(&mut self) -> T {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::of((self.0 >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
    }
    fn take<T: Real>(&mut self, n: usize) -> Vec<T> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// One term of a product as the test sees it: [rows, cols] with a stride, perhaps stored
/// transposed.
struct Stored<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    stride: usize,
    transposed: bool,
}
impl<T: Real> Stored<T> {
    fn new(numbers: &mut Numbers, rows: usize, cols: usize, transposed: bool, gap: usize) -> Self {
        let (r, c) = if transposed { (cols, rows) } else { (rows, cols) };
        let stride = c + gap;
        // The data are no longer than needed, so that reading past the end is out of bounds.
        let data = numbers.take(if r == 0 || c == 0 { 0 } else { (r - 1) * stride + c });
        Stored { data, rows, cols, stride, transposed }
    }
    fn mat(&self) -> Matrix<'_, T> {
        if self.transposed {
            Matrix::new(&self.data, self.cols, self.rows, self.stride).t()
        } else {
            Matrix::new(&self.data, self.rows, self.cols, self.stride)
        }
    }
    fn at(&self, i: usize, j: usize) -> f64 {
        let (i, j) = if self.transposed { (j, i) } else { (i, j) };
        self.data[i * self.stride + j].f64()
    }
}

fn check<T: Real>(teams: &[Team], seed: u64, (m, n, depths): (usize, usize, &[usize]), count: usize, beside: bool) {
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut numbers = Numbers(seed);
        let terms: Vec<Vec<_>> = (0..count)
            .map(|_| {
                let mut term = |&k: &usize| {
                    (Stored::<T>::new(&mut numbers, m, k, ta, 3), Stored::<T>::new(&mut numbers, k, n, tb, 5))
                };
                depths.iter().map(&mut term).collect()
            })
            .collect();
        let (apart, stride) = if beside { (n + 1, count * (n + 1) + 2) } else { (m * (n + 2) + 1, n + 2) };
        let len = (count - 1) * apart + (m - 1) * stride + n;
        for add in [false, true] {
            let start: Vec<T> = if add { numbers.take(len) } else { vec![T::nan(); len] };
            let run = |team: &Team| {
                let mut out = start.clone();
                let to = MatsMut::many(&mut out, count, apart, m, n, stride);
                products(team, to, add, depths.len(), |i, t| (terms[i][t].0.mat(), terms[i][t].1.mat()));
                out
            };
            let out = run(&teams[0]);
            let mut written = vec![false; len];
            for (o, terms) in terms.iter().enumerate() {
                for i in 0..m {
                    for j in 0..n {
                        let at = o * apart + i * stride + j;
                        written[at] = true;
                        let mut want = if add { start[at].f64() } else { 0.0 };
                        let mut size = want.abs();
                        for (a, b) in terms {
                            for k in 0..a.cols {
                                want += a.at(i, k) * b.at(k, j);
                                size += (a.at(i, k) * b.at(k, j)).abs();
                            }
                        }
                        // A chain of K roundings, each at most half an epsilon of what has been
                        // summed.
                        let depth: usize = depths.iter().sum();
                        let tolerance = size * T::epsilon().f64() * (depth + 1) as f64;
                        let got = out[at].f64();
                        assert!(
                            (got - want).abs() <= tolerance,
                            "seed {seed}, [{m}, {depths:?}] [.., {n}], transposed {ta} {tb}, add {add}, output {o} \
                             ({i}, {j}): {got}, not {want}"
                        );
                    }
                }
            }
            let bits = |x: &[T]| bytemuck::cast_slice::<T, u8>(x).to_vec();
            for (at, written) in written.iter().enumerate() {
                let kept = bits(&out[at..=at]) == bits(&start[at..=at]);
                assert!(*written || kept, "seed {seed}: element {at} between the outputs was written");
            }
            for team in &teams[1..] {
                assert!(bits(&run(team)) == bits(&out), "seed {seed}: other bits on {} threads", team.threads());
            }
        }
    }
}

fn teams() -> [Team; 3] {
    [1, 2, 3].map(Team::new)
}

#[test]
fn small_and_odd_shapes() {
    let teams = teams();
    let sizes = [1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 64, 67];
    let mut seed = 1;
    for m in sizes {
        for n in sizes {
            let k = sizes[(seed as usize * 5) % sizes.len()];
            check::<f32>(&teams, seed, (m, n, &[k]), 1, false);
            check::<f64>(&teams, seed, (m, n, &[k]), 1, false);
            seed += 1;
        }
    }
}

#[test]
fn many_outputs_and_terms() {
    let teams = teams();
    for (seed, beside) in [(100, false), (101, true)] {
        check::<f32>(&teams, seed, (9, 37, &[4, 1, 33]), 3, beside);
        check::<f64>(&teams, seed, (9, 37, &[4, 1, 33]), 3, beside);
        check::<f32>(&teams, seed, (1, 11, &[0, 2]), 2, beside);
        check::<f32>(&teams, seed, (5, 11, &[]), 2, beside);
        check::<f32>(&teams, seed, (5, 11, &[0]), 2, beside);
    }
}

#[test]
fn shapes_of_a_training_step() {
    let teams = teams();
    check::<f32>(&teams, 200, (64, 256, &[267, 256]), 1, false);
    check::<f32>(&teams, 201, (64, 256, &[32, 256]), 2, true);
    check::<f32>(&teams, 202, (64, 267, &[32, 256]), 2, false);
    check::<f32>(&teams, 203, (256, 267, &[64]), 1, false);
    check::<f64>(&teams, 204, (64, 256, &[299]), 1, false);
    check::<f32>(&teams, 205, (130, 40, &[1200]), 1, false);
    check::<f64>(&teams, 206, (130, 40, &[1200]), 1, false);
}

/// Checks `blend` against its formula, with the same bits on any number of threads.
fn check_blend<T: Real>(teams: &[Team], seed: u64, (m, n, depths): (usize, usize, &[usize])) {
    let mut numbers = Numbers(seed);
    let mut factors =
        |k: usize| (Stored::<T>::new(&mut numbers, m, k, false, 3), Stored::<T>::new(&mut numbers, k, n, false, 5));
    let (base, terms): (_, Vec<_>) = (factors(2), depths.iter().map(|&k| factors(k)).collect());
    let scales: Vec<T> = numbers.take(m * depths.len());
    let run = |team: &Team| {
        let mut out = vec![T::nan(); m * n];
        blend(team, MatsMut::one(&mut out, m, n, n), (base.0.mat(), base.1.mat()), depths.len(), |t| {
            [Matrix::new(&scales[t..], m, 1, depths.len()), terms[t].0.mat(), terms[t].1.mat()]
        });
        out
    };
    let out = run(&teams[0]);
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let (mut want, mut size) = (0.0, 0.0);
        let all = std::iter::once((1.0, &base))
            .chain(terms.iter().enumerate().map(|(t, factors)| (scales[i * depths.len() + t].f64(), factors)));
        for (scale, (a, b)) in all {
            let products = (0..a.cols).map(|k| scale * a.at(i, k) * b.at(k, j));
            products.for_each(|product| (want, size) = (want + product, size + product.abs()));
        }
        let roundings = depths.iter().sum::<usize>() + 2 + 2 * depths.len();
        let off = (out[i * n + j].f64() - want).abs();
        assert!(off <= size * T::epsilon().f64() * roundings as f64, "seed {seed}: ({i}, {j}) is off by {off}");
    }
    for team in &teams[1..] {
        assert!(
            run(team).iter().zip(&out).all(|(x, y)| x.f64().to_bits() == y.f64().to_bits()),
            "seed {seed}: other bits"
        );
    }
}

#[test]
fn blends() {
    let teams = teams();
    for (seed, m, n, depths) in [
        (300, 100, 267, [32, 256].repeat(6)),
        (301, 70, 32, vec![701, 3]), // in place where two threads share the rows, and in pieces
        (302, 7, 32, vec![701]),
        (303, 1, 1, vec![1]),
        (304, 5, 3, vec![]),
    ] {
        check_blend::<f32>(&teams, seed, (m, n, &depths));
        check_blend::<f64>(&teams, seed, (m, n, &depths));
    }
}

#[test]
#[should_panic(expected = "product of")]
fn shapes_that_do_not_fit() {
    let (a, mut c) = (vec![0f32; 12], vec![0f32; 16]);
    let team = Team::new(2);
    product(&team, MatsMut::one(&mut c, 4, 4, 4), false, Matrix::new(&a, 4, 3, 3), Matrix::new(&a, 2, 4, 4));
}

#[test]
#[should_panic(expected = "outputs")]
fn outputs_that_overlap() {
    MatsMut::many(&mut [0f32; 100], 2, 10, 3, 7, 8);
}

#[test]
fn every_task_runs_once() {
    for team in teams() {
        let counts: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
        for region in 0..20_000 {
            let tasks = region % (counts.len() + 1);
            team.run(tasks, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            for (i, count) in counts.iter().enumerate() {
                let want = usize::from(i < tasks);
                assert_eq!(count.swap(0, Ordering::Relaxed), want, "region {region}, task {i}");
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn members_wake_from_sleep() {
    let team = Team::new(3);
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let sum = AtomicUsize::new(0);
        team.run(7, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 21);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_team_lives_on() {
    for team in teams() {
        for bad in 0..4 {
            let ran = AtomicUsize::new(0);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                team.run(4, |i| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    assert!(i != bad, "task {i}");
                })
            }));
            let message = *result.expect_err("no panic").downcast::<String>().expect("a message");
            assert_eq!(message, format!("task {bad}"));
            assert!(team.threads() == 1 || ran.into_inner() == 4);
        }
        let sum = AtomicUsize::new(0);
        team.run(100, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }
}

#[test]
fn regions_inside_tasks_and_from_other_threads() {
    let team = Team::new(2);
    let sum = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    team.run(4, |i| {
                        team.run(3, |j| {
                            sum.fetch_add(i * j, Ordering::Relaxed);
                        })
                    })
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 600 * 6 * 3);
}

#[test]
fn pieces_cover_their_slices() {
    for team in teams() {
        let (mut a, mut b) = (vec![0usize; 103], vec![0u8; 22]);
        team.each((pieces(&mut a, 10), pieces(&mut b, 2)), |i, (a, b)| {
            assert_eq!((a.len(), b.len()), (if i == 10 { 3 } else { 10 }, 2));
            a.fill(i + 1);
            b.fill(i as u8 + 1);
        });
        assert!(a.iter().enumerate().all(|(at, &x)| x == at / 10 + 1));
        assert!(b.iter().enumerate().all(|(at, &x)| x as usize == at / 2 + 1));
    }
}
