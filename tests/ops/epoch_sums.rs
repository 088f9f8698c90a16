//! Sums over an epoch.
use crate::operations::{close, memory, run};
use mvae_fast::ops::epoch_sums::EpochSums;
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::plan::arena::{Arena, Mat};

#[test]
fn means_of_two_steps_by_hand() {
    let mut arena = Arena::default();
    let (losses, kl, squares) = (arena.mat(1, LOSSES), arena.mat(1, 2), arena.mat(1, 2));
    let (mu, sigma, gate) = (arena.mat::<f64>(2, 2), arena.mat(2, 2), arena.mat(2, 3));
    let op = EpochSums { losses, kl, mu, sigma, gate, code: Mat::NONE, squares, experts: 3 };
    let sums = op.place(&mut arena);
    let mut memory = memory(arena);
    for (recon, kls, mus) in [(1.0, [0.5, 2.0], [1.0, 0.0, 3.0, 0.0]), (2.0, [1.5, 4.0], [1.0, 2.0, 3.0, 2.0])] {
        let mut all = [0.0; LOSSES];
        (all[slot::RECON], all[slot::KL], all[slot::WEIGHT], all[slot::PERPLEXITY]) = (recon, 10.0 * recon, 0.25, 3.0);
        memory.write(losses, &all).unwrap();
        memory.write(kl, &kls).unwrap();
        memory.write(mu, &mus).unwrap();
        memory.write(sigma, &[0.5; 4]).unwrap();
        memory.write(gate, &[1.0, 0.0, 0.0, 0.25, 0.25, 0.5]).unwrap();
        memory.write(squares, &[9.0 * recon * recon, 16.0 * recon * recon]).unwrap();
        run(&mut memory, |plan| op.push(plan, sums));
    }
    let means = op.means(&memory.read(sums).unwrap(), 2);
    close(&[means.recon_loss, means.kl_loss, means.kl_weight, means.perplexity], &[1.5, 15.0, 0.25, 3.0], 1e-15);
    close(&[means.grad_norm], &[(5.0 + 10.0) / 2.0], 1e-15);
    close(&means.kl_per_latent, &[1.0, 3.0], 1e-15);
    close(&means.posterior_mean, &[2.0, 1.0], 1e-15);
    close(&means.mean_variance, &[1.0, 1.0], 1e-15);
    close(&means.posterior_std, &[1.25f64.sqrt(); 2], 1e-15);
    close(&means.expert_usage, &[0.625, 0.125, 0.25], 1e-15);
    close(&[means.gate_entropy], &[(2.0 * 0.25 * 4f64.ln() + 0.5 * 2f64.ln()) / 2.0], 1e-15);
}

#[test]
fn codes_are_counted() {
    let mut arena = Arena::default();
    let (losses, squares, mu) = (arena.mat(1, LOSSES), arena.mat(1, 1), arena.mat::<f64>(4, 1));
    let code = arena.mat(4, 1);
    let op = EpochSums { losses, kl: Mat::NONE, mu, sigma: Mat::NONE, gate: Mat::NONE, code, squares, experts: 3 };
    let sums = op.place(&mut arena);
    let mut memory = memory(arena);
    memory.write(code, &[2u32, 0, 2, 2]).unwrap();
    run(&mut memory, |plan| op.push(plan, sums));
    let means = op.means(&memory.read(sums).unwrap(), 1);
    close(&means.expert_usage, &[0.25, 0.0, 0.75], 1e-15);
    assert!(means.kl_per_latent.is_empty());
}
