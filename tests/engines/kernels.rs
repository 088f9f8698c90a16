//! Compares every kernel with the definition of its operation, on the host, on several grids
//! (tests/engines/cuda.rs: on a GPU).
#![cfg(unix)]
use mvae_fast::backend::simt::{self, Simt};
use mvae_fast::backend::{Backend, cpu::Cpu};
use mvae_fast::check::kernelcheck;
use mvae_fast::ops::case::cases;
use mvae_fast::plan::arena::Arena;
use mvae_fast::plan::{Grid, Place, Precision};
use std::collections::BTreeSet;

fn check(backend: &dyn Backend, seed: u64, wanted: impl Fn(&str, bool) -> bool) {
    let reference = Cpu::new(2);
    let mut kernels = BTreeSet::new();
    for (single, double) in cases::<f32>().iter().zip(&cases::<f64>()) {
        if !wanted(single.op, single.full) {
            continue;
        }
        for row in kernelcheck::operation(single, double, backend, &reference, seed).unwrap() {
            assert!(!row.failed(), "{row:?}");
            kernels.insert(row.subject);
        }
    }
    assert!(!kernels.is_empty());
}

/// Compares fields by their names, offsets and sizes: two pointers in each other's place leave a
/// struct its size.
#[test]
fn every_struct_is_the_same_in_rust_and_in_kernels() {
    let mut met = BTreeSet::new();
    let mut compare = |name: &'static str, ours: &[Place]| {
        assert_eq!(simt::places(name).unwrap(), ours, "{name}");
        met.insert(name);
    };
    for case in cases::<f32>() {
        let built = (case.build)(&mut Arena::default()).unwrap();
        for call in built.forward.calls().iter().chain(built.backward.calls()) {
            compare(simt::arguments(call.kernel()).unwrap(), &call.places());
        }
    }
    simt::shared().iter().for_each(|(name, ours)| compare(name, ours));
    let planted = ["Planted", "Swapped"];
    assert_eq!(met, simt::structs().filter(|name| !planted.contains(name)).collect());
}

/// True for operations with matrix products, which alone differ between precisions.
fn is_product(op: &str) -> bool {
    ["linear", "blend_linear"].contains(&op)
}

#[test]
fn small_sizes_on_their_own_grids() {
    (1..=3).for_each(|seed| check(&Simt::new(seed), seed, |_, full| !full));
    (1..=3).for_each(|seed| check(&Simt::new(seed).at(Precision::Bf16x3), seed, |op, full| !full && is_product(op)));
}

#[test]
fn small_sizes_on_other_grids() {
    for (blocks, threads) in [(1, 32), (2, 96), (5, 64), (3, 1024)] {
        let simt = || Simt::new(7).on_grid(Grid { blocks, threads });
        check(&simt(), 7, |_, full| !full);
        check(&simt().at(Precision::Bf16x3), 7, |op, full| !full && is_product(op));
    }
}

#[test]
fn full_sizes() {
    check(&Simt::new(1), 1, |_, full| full);
}

#[test]
fn full_sizes_on_tensor_cores() {
    check(&Simt::new(1).at(Precision::Bf16x3), 1, |op, full| full && is_product(op));
    // Fewer warps than share a sum, and more.
    check(&Simt::new(2).at(Precision::Bf16x3).on_grid(Grid { blocks: 13, threads: 96 }), 2, |op, full| {
        full && is_product(op)
    });
}

#[test]
fn full_sizes_on_another_grid() {
    check(&Simt::new(2).on_grid(Grid { blocks: 13, threads: 160 }), 2, |op, full| full && op != "adam");
}
