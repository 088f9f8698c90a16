//! The mean squared error.
use crate::operations::{close, fill, memory, run};
use mvae_fast::ops::Operation;
use mvae_fast::ops::recon_loss::{LOSSES, ReconLoss, slot};
use mvae_fast::plan::arena::Arena;

#[test]
fn is_the_mean_square() {
    let mut arena = Arena::default();
    let (y, truth, losses) = (arena.mat::<f64>(3, 37), arena.mat(3, 37), arena.mat(1, LOSSES));
    let op = ReconLoss::new(y, truth, losses).unwrap();
    let mut memory = memory(arena);
    let (predicted, wanted) = (fill(&mut memory, y, 1), fill(&mut memory, truth, 2));
    run(&mut memory, |plan| op.forward(plan));
    let mean = predicted.iter().zip(&wanted).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 111.0;
    close(&memory.read(losses).unwrap()[slot::RECON..][..1], &[mean], 1e-14);
    memory.write(truth, &predicted).unwrap();
    run(&mut memory, |plan| op.forward(plan));
    assert_eq!(memory.read(losses).unwrap()[slot::RECON], 0.0);
}
