//! Tests that the host backend finds the mistakes that it is made to find: kernels of
//! `tests/planted` with one mistake each.
#![cfg(unix)]
use mvae_fast::backend::{Memory, simt::Simt};
use mvae_fast::plan::arena::Arena;
use mvae_fast::plan::{Call, Grid, Output, Plan};

mod planted {
    mvae_fast::kernel_args! {
        reads {
            /// Numbers.
            x: T [n],
        }
        writes {
            /// Results, one for each number of x.
            y: T [n],
            /// Number of blocks that came to a barrier of the grid.
            arrived: u32 [2],
        }
        sizes {
            /// Number of numbers.
            n,
            /// Keeps the number of sizes even.
            pad,
        }
    }
}

/// The grid of the planted kernels.
const GRID: Grid = Grid { blocks: 3, threads: 64 };
const N: usize = 192;

/// The output of a kernel for the numbers 0 .. 192.
fn launch(kernel: &'static str, seed: u64) -> Result<Vec<f32>, String> {
    let mut arena = Arena::default();
    let [x, y] = [(); 2].map(|()| arena.mat::<f32>(1, N));
    let arrived = arena.mat(1, 2);
    let backend = Simt::new(seed);
    let mut memory = Memory::new(&backend, arena).unwrap();
    memory.write(x, &(0..N).map(|i| i as f32).collect::<Vec<f32>>()).unwrap();
    let arrived = arrived.into();
    let args = planted::Args { x: x.into(), y: y.into(), arrived, n: N as u32, pad: 0, scalar: Default::default() };
    let mut plan = Plan::default();
    plan.push(Call::new(
        kernel,
        GRID,
        &[Output::whole("y"), Output::part("arrived")],
        args,
        |_: planted::View<f32>, _| {},
    ));
    memory.run(&plan).map_err(|error| error.to_string())?;
    Ok(memory.read(y).unwrap())
}

/// True if every seed shows that two kernels differ. The kernel without the mistake gives the same
/// result for all seeds.
fn differs(right: &'static str, wrong: &'static str) -> bool {
    let want = launch(right, 1).unwrap();
    assert!((2..6).all(|seed| launch(right, seed).unwrap() == want), "{right} depends on the order of its threads");
    (1..6).all(|seed| launch(wrong, seed) != Ok(want.clone()))
}

/// The message with which a kernel is refused.
fn fault(kernel: &'static str) -> String {
    launch(kernel, 1).unwrap_err()
}

#[test]
fn right_kernels_pass() {
    let reversed: Vec<f32> = (0..N).map(|i| (i / 64 * 64 + 63 - i % 64) as f32).collect();
    assert_eq!(launch("planted_reverse", 1).unwrap(), reversed);
    let all: Vec<f32> = (0..N).rev().map(|i| i as f32).collect();
    assert_eq!(launch("planted_grid", 1).unwrap(), all);
    let sums: Vec<f32> = (0..N).map(|i| (64 * (i / 64 * 64) + 63 * 32) as f32).collect();
    assert_eq!(launch("planted_sum", 1).unwrap(), sums);
}

#[test]
fn a_missing_block_barrier_is_a_wrong_number() {
    assert!(differs("planted_reverse", "planted_no_block_barrier"));
}

#[test]
fn a_missing_grid_barrier_is_a_wrong_number() {
    assert!(differs("planted_grid", "planted_no_grid_barrier"));
    assert!(
        differs("planted_grid", "planted_after_arrival"),
        "what others read was written after the block had arrived"
    );
}

#[test]
fn a_barrier_in_a_branch_is_named() {
    let message = fault("planted_barrier_in_a_branch");
    assert!(message.contains("simt: planted_barrier_in_a_branch: block 1, thread "), "{message}");
    assert!(message.contains("waits for its block at line") && message.contains("has returned"), "{message}");
}

#[test]
fn a_shuffle_in_a_branch_is_named() {
    let message = fault("planted_shuffle_in_a_branch");
    assert!(message.contains("block 1, thread ") && message.contains("waits for its warp at line"), "{message}");
}

#[test]
fn a_copy_is_waited_for_by_all_who_read_it() {
    let next = |i: usize, by: usize| (i / 32 * 32 + (i + by) % 32) as f32;
    let want: Vec<f32> = (0..N).map(|i| next(i, 1) + 1000.0 * next(i, 2)).collect();
    assert_eq!(launch("planted_copy", 1).unwrap(), want);
    for wrong in ["planted_copy_no_wait", "planted_copy_no_sync", "planted_copy_too_early"] {
        assert!(differs("planted_copy", wrong), "{wrong}");
    }
    let message = fault("planted_misaligned_copy");
    assert!(message.contains("moves 16 bytes at an address that is no multiple of 16"), "{message}");
}

#[test]
fn a_wrong_fragment_is_a_wrong_number() {
    let left = |row: usize, col: usize| ((16 * row + col) % 64) as f32;
    let right = |row: usize, col: usize| ((8 * row + col + 1) % 64) as f32;
    let c = |row, col| (0..16).map(|k| left(row, k) * right(k, col)).sum::<f32>();
    let want = |i: usize| {
        let (g, t) = (i % 32 / 4, 2 * (i % 4));
        c(g, t) + 2.0 * c(g, t + 1) + 3.0 * c(g + 8, t) + 5.0 * c(g + 8, t + 1) + i as f32
    };
    assert_eq!(launch("planted_mma", 1).unwrap(), (0..N).map(want).collect::<Vec<f32>>());
    assert!(differs("planted_mma", "planted_mma_wrong_fragment"));
}

#[test]
fn a_warp_multiplies_together() {
    for kernel in ["planted_mma_in_a_branch", "planted_mma_of_two_kinds"] {
        let message = fault(kernel);
        assert!(message.contains(", thread ") && message.contains("waits for its warp at line"), "{message}");
    }
}

#[test]
fn bf16_rounds_to_the_nearest() {
    for (i, y) in launch("planted_bf16", 1).unwrap().into_iter().enumerate() {
        let x = i as f32 / 3.0;
        let high = half::bf16::from_f32(x).to_f32();
        assert_eq!(y, high + half::bf16::from_f32(x - high).to_f32());
        assert!((y - x).abs() <= x / 65536.0);
    }
}

#[test]
fn out_of_bounds_is_found() {
    assert!(fault("planted_shared_out_of_bounds").contains("writes outside of its shared memory"));
    assert!(fault("planted_write_out_of_bounds").contains("writes outside of y"));
    let read = launch("planted_read_out_of_bounds", 1).unwrap();
    assert!(read[N - 1].is_nan() && read[..N - 1].iter().all(|x| x.is_finite()), "what lies beyond is not a number");
}

#[test]
fn an_unwritten_output_is_named() {
    assert!(fault("planted_unwritten").contains("element 77 of y is not written"));
}

#[test]
fn an_input_that_is_written_is_named() {
    assert!(fault("planted_writes_its_input").contains("writes x, which it is not to write"));
}

#[test]
fn fields_in_each_others_place_are_named() {
    let message = fault("planted_swapped");
    assert!(message.contains("\"y\", at: 8, bytes: 8") && message.contains("\"y\", at: 16, bytes: 8"), "{message}");
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    assert!(fault("planted_nowhere").contains("there is no kernel planted_nowhere"));
}
