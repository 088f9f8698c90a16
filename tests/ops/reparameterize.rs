//! The latent and its KL.
use crate::operations::{close, fill, memory, numbers, run};
use mvae_fast::backend::Memory;
use mvae_fast::ops::Operation;
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::ops::reparameterize::Reparameterize;
use mvae_fast::plan::arena::{Arena, Mat, Var};

#[test]
fn gradients() {
    crate::operations::gradients("reparameterize");
}

struct Latent {
    memory: Memory<'static>,
    mu: Var<f64>,
    logvar: Var<f64>,
    eps: Mat<f64>,
    z: Var<f64>,
    losses: Mat<f64>,
    op: Reparameterize<f64>,
}

impl Latent {
    fn new(b: usize, l: usize, free_bits: f64) -> Self {
        let mut arena = Arena::default();
        let [mu, logvar, z] = [(); 3].map(|()| arena.var(b, l));
        let (eps, losses) = (arena.mat(b, l), arena.mat(1, LOSSES));
        let op = Reparameterize::new(&mut arena, (mu, logvar), eps, z, losses, free_bits).unwrap();
        Latent { memory: memory(arena), mu, logvar, eps, z, losses, op }
    }

    /// [KL, regularizer] of these.
    fn losses(&mut self, mu: &[f64], logvar: &[f64]) -> [f64; 2] {
        self.memory.write(self.mu.value, mu).unwrap();
        self.memory.write(self.logvar.value, logvar).unwrap();
        run(&mut self.memory, |plan| self.op.forward(plan));
        let losses = self.memory.read(self.losses).unwrap();
        [losses[slot::KL], losses[slot::REGULARIZER]]
    }
}

#[test]
fn without_noise_the_latent_is_the_mean() {
    let mut latent = Latent::new(3, 5, 0.0);
    let (mu, logvar) = (numbers(1, 15), numbers(2, 15));
    latent.losses(&mu, &logvar);
    assert_eq!(latent.memory.read(latent.z.value).unwrap(), mu);
    let eps = fill(&mut latent.memory, latent.eps, 3);
    latent.losses(&mu, &logvar);
    let want: Vec<f64> = (0..15).map(|i| mu[i] + eps[i] * (logvar[i] / 2.0).exp()).collect();
    close(&latent.memory.read(latent.z.value).unwrap(), &want, 1e-14);
}

#[test]
fn known_kls() {
    let mut latent = Latent::new(2, 2, 0.0);
    assert_eq!(latent.losses(&[0.0; 4], &[0.0; 4]), [0.0; 2]);
    close(&latent.losses(&[1.0; 4], &[0.0; 4]), &[0.5; 2], 1e-15);
    let wide = 0.5 * (4.0 - 1.0 - 4f64.ln());
    close(&latent.losses(&[0.0; 4], &[4f64.ln(), 0.0, 4f64.ln(), 0.0]), &[wide / 2.0; 2], 1e-15);
    assert!(latent.losses(&[f64::NAN, 0.0, 0.0, 0.0], &[0.0; 4])[0].is_nan(), "the clamp must not hide it");
}

#[test]
fn free_bits_cost_nothing_and_pull_on_nothing() {
    let mut latent = Latent::new(1, 2, 0.1);
    let (mu, logvar) = ([0.2, 2.0], [0.0, 0.0]); // KL 0.02, below the 0.1 that are free, and 2
    close(&latent.losses(&mu, &logvar), &[1.01, 1.05], 1e-15);
    let mut losses = latent.memory.read(latent.losses).unwrap();
    losses[slot::WEIGHT] = 0.5;
    latent.memory.write(latent.losses, &losses).unwrap();
    latent.memory.write(latent.z.grad, &[0.0, 0.0]).unwrap();
    run(&mut latent.memory, |plan| latent.op.backward(plan));
    assert_eq!(latent.memory.read(latent.mu.grad).unwrap(), [0.0, 0.5 * 2.0 / 2.0]);
}
