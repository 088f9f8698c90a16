//! The clipped loss: gradients of its cases, and properties of this loss alone.
use crate::operations::{close, gradients, memory, run};
use mvae_fast::ops::Operation;
use mvae_fast::ops::ppo_loss::{PpoLoss, Samples, slot};
use mvae_fast::ops::recon_loss::LOSSES;
use mvae_fast::plan::arena::Arena;

#[test]
fn gradients_are_those_of_the_definition() {
    gradients("ppo_loss");
}

/// One sample of a policy that has become 1.5 times as likely to do what it did.
fn one_sample(advantage: f64) -> (Vec<f64>, f64) {
    let mut arena = Arena::default();
    let (mean, logstd, value) = (arena.var(1, 1), arena.var(1, 1), arena.var(1, 1));
    let [action, old_log_prob, returns, advantages, ratio] = [(); 5].map(|()| arena.mat(1, 1));
    let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
    let samples = Samples { action, old_log_prob, returns, advantages };
    let op = PpoLoss {
        state,
        mean,
        logstd,
        value,
        samples,
        ratio,
        losses,
        clip: 0.2,
        entropy_weight: 0.0,
        mean_weight: 0.0,
    };
    let op = op.check().unwrap();
    let mut memory = memory(arena);
    let density = -0.5 * 0.25 - 0.5 * std::f64::consts::TAU.ln();
    memory.write(action, &[0.5]).unwrap();
    memory.write(old_log_prob, &[density - 1.5f64.ln()]).unwrap();
    memory.write(advantages, &[advantage]).unwrap();
    run(&mut memory, |plan| {
        op.forward(plan);
        op.backward(plan);
    });
    (memory.read(losses).unwrap(), memory.read(mean.grad).unwrap()[0])
}

#[test]
fn a_gain_is_held_at_the_clip_and_a_loss_is_not() {
    let (losses, gradient) = one_sample(2.0);
    close(&[losses[slot::POLICY], losses[slot::CLIPPED]], &[-2.4, 1.0], 1e-12);
    assert_eq!(gradient, 0.0, "what is clipped pulls no further");
    let (losses, gradient) = one_sample(-2.0);
    close(&[losses[slot::POLICY], gradient], &[3.0, 3.0 * 0.5], 1e-12);
}
