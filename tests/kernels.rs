//! Every kernel against the definition of its operation, on the host, on several grids, and on a GPU when there is one.
#![cfg(unix)]
use mvae_fast::backend::{Backend, cpu::Cpu, cuda, simt::Simt};
use mvae_fast::kernelcheck;
use mvae_fast::ops::case::cases;
use mvae_fast::plan::Grid;

fn check(backend: &dyn Backend, seed: u64, wanted: impl Fn(&str, bool) -> bool) {
    let reference = Cpu::new(2);
    let mut kernels = std::collections::BTreeSet::new();
    for (single, double) in cases::<f32>().iter().zip(&cases::<f64>()) {
        if !wanted(single.op, single.full) {
            continue;
        }
        for row in kernelcheck::operation(single, double, backend, &reference, seed).unwrap() {
            assert!(row.worst <= 1.0, "{row:?}");
            kernels.insert(row.kernel);
        }
    }
    assert!(!kernels.is_empty());
}

#[test]
fn small_sizes_on_their_own_grids() {
    (1..=3).for_each(|seed| check(&Simt::new(seed), seed, |_, full| !full));
}

#[test]
fn small_sizes_on_other_grids() {
    for (blocks, threads) in [(1, 32), (2, 96), (5, 64), (3, 1024)] {
        check(&Simt::new(7).on_grid(Grid { blocks, threads }), 7, |_, full| !full);
    }
}

#[test]
fn all_sizes_on_a_gpu() {
    if !cuda::driver_found() {
        return println!("cuda: skipped, no driver");
    }
    let backend = cuda::Cuda::new(0).unwrap();
    (1..=3).for_each(|seed| check(&backend, seed, |_, full| !full));
    check(&backend, 1, |_, full| full);
}

#[test]
fn full_sizes() {
    check(&Simt::new(1), 1, |_, full| full);
}

#[test]
fn full_sizes_on_another_grid() {
    check(&Simt::new(2).on_grid(Grid { blocks: 13, threads: 160 }), 2, |op, full| full && op != "adam");
}
