//! The vector quantiser.
use crate::operations::{close, memory, run};
use mvae_fast::backend::Memory;
use mvae_fast::ops::Operation;
use mvae_fast::ops::quantize::Quantize;
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::plan::arena::{Arena, Mat};

#[test]
fn gradients() {
    crate::operations::gradients("quantize");
}

/// Two latent entries; codes (0, 0), (2, 0), (0, 2), whose cluster sizes start at `size`.
fn quantizer(v: &[f64], size: f64) -> (Memory<'static>, Quantize<f64>) {
    const L: usize = 2;
    const N: usize = 3;
    let (b, mut arena) = (v.len() / L, Arena::default());
    let op = Quantize {
        v: arena.var(b, L),
        embed: arena.mat(L, N),
        cluster_size: arena.mat(1, N),
        embed_avg: arena.mat(L, N),
        z: arena.var(b, L),
        action: arena.mat(b, N),
        code: arena.mat(b, 1),
        count: arena.mat(1, N),
        losses: arena.mat(1, LOSSES),
    };
    let op = op.check().unwrap();
    let mut memory = memory(arena);
    let codes = [0.0, 2.0, 0.0, 0.0, 0.0, 2.0];
    memory.write(op.v.value, v).unwrap();
    memory.write(op.embed, &codes).unwrap();
    memory.write(op.embed_avg, &codes).unwrap();
    memory.write(op.cluster_size, &[size; N]).unwrap();
    (memory, op)
}

fn read(memory: &Memory, mat: Mat<f64>) -> Vec<f64> {
    memory.read(mat).unwrap()
}

#[test]
fn takes_the_nearest_code_and_the_first_on_a_tie() {
    let (mut memory, op) = quantizer(&[1.0, 0.0, 1.5, 0.1, 1.0, 1.0, 1.2, 1.2], 1.0);
    run(&mut memory, |plan| op.forward(plan));
    assert_eq!(memory.read(op.code).unwrap(), [0, 1, 0, 1], "ties of codes 0 and 1, of all three, of 1 and 2");
    assert_eq!(read(&memory, op.z.value), [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    let losses = read(&memory, op.losses);
    let squares = 1.0 + (0.25 + 0.01) + 2.0 + (0.64 + 1.44);
    close(&[losses[slot::KL], losses[slot::REGULARIZER]], &[squares / 8.0; 2], 1e-14);
    close(&[losses[slot::PERPLEXITY]], &[2.0], 1e-8); // two codes, each for half of the samples
}

#[test]
fn averages_move_by_a_hundredth() {
    let (mut memory, op) = quantizer(&[1.6, 0.4, 2.2, -0.2], 1.0);
    run(&mut memory, |plan| {
        op.forward(plan);
        op.update(plan);
    });
    close(&read(&memory, op.cluster_size), &[0.99, 0.99 + 0.02, 0.99], 1e-15);
    let sums = [0.0, 0.99 * 2.0 + 0.01 * 3.8, 0.0, 0.0, 0.01 * 0.2, 0.99 * 2.0];
    close(&read(&memory, op.embed_avg), &sums, 1e-15);
    let all = 2.0 * 0.99 + 1.01;
    let size = |size: f64| (size + 1e-5) / (all + 3e-5) * all;
    let codes = [0.0, sums[1] / size(1.01), 0.0, 0.0, sums[4] / size(1.01), sums[5] / size(0.99)];
    close(&read(&memory, op.embed), &codes, 1e-14);
}

#[test]
fn an_unused_code_stays_where_it_is() {
    // Sizes that start at 0, as in the public implementation, throw every unused code far out at
    // the first step; sizes that start at 1 do not.
    let unused = |size: f64| {
        let (mut memory, op) = quantizer(&[1.6, 0.4, 2.2, -0.2], size);
        run(&mut memory, |plan| {
            op.forward(plan);
            op.update(plan);
        });
        read(&memory, op.embed)[5]
    };
    close(&[unused(1.0)], &[2.0], 1e-4);
    assert!(unused(0.0) > 1e4, "the reference's start: {}", unused(0.0));
}

#[test]
fn nothing_is_learnt_from_a_loss_that_is_no_number() {
    let (mut memory, op) = quantizer(&[f64::NAN, 0.4, 2.2, -0.2], 1.0);
    let before = [op.embed, op.embed_avg, op.cluster_size].map(|mat| read(&memory, mat));
    run(&mut memory, |plan| op.forward(plan));
    let mut losses = read(&memory, op.losses);
    assert!(losses[slot::KL].is_nan());
    losses[slot::NONFINITE_STEP] = 1.0; // as `kl_weight` does
    memory.write(op.losses, &losses).unwrap();
    run(&mut memory, |plan| op.update(plan));
    assert_eq!([op.embed, op.embed_avg, op.cluster_size].map(|mat| read(&memory, mat)), before);
}

#[test]
fn an_action_chooses_its_largest_entry() {
    let (mut memory, op) = quantizer(&[0.0; 4], 1.0);
    memory.write(op.action, &[0.1, 0.3, 0.3, -1.0, -3.0, -0.5]).unwrap();
    run(&mut memory, |plan| op.choose(plan));
    assert_eq!(memory.read(op.code).unwrap(), [1, 2]);
    assert_eq!(read(&memory, op.z.value), [2.0, 0.0, 0.0, 2.0]);
}
