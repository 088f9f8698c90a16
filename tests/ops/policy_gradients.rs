//! Gradients of actor, critic and log standard deviations through the clipped loss, against central
//! differences in f64.
use crate::operations::{fill, memory, numbers};
use mvae_fast::backend::Memory;
use mvae_fast::control::policy::Perceptron;
use mvae_fast::control::ppo::{Learning, PpoOptions};
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::model::network::Wanted;
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::gaussian_action;
use mvae_fast::ops::ppo_loss::slot;
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Var};

const ROWS: usize = 12;
const SEEN: usize = 7;
const ACTIONS: usize = 3;
const STEP: f64 = 1e-6;

/// A step of learning that moves nothing, as its learning rate is 0, and leaves its gradient as it
/// is.
const OPTIONS: PpoOptions = PpoOptions {
    characters: ROWS,
    steps: 1,
    minibatch: ROWS,
    epochs: 1,
    gamma: 0.99,
    lambda: None,
    reward_scale: 1.0,
    clip: 0.2,
    entropy_weight: 0.01,
    mean_weight: 0.3,
    max_grad_norm: 1e9,
    adam: [0.9, 0.999, 1e-8],
    own_critic_schedule: false,
};

#[test]
fn a_whole_loss_falls_as_its_gradient_says() {
    for seed in 1..=3 {
        let mut arena = Arena::default();
        let parameters = Parameters::<f64>::new(&mut arena, Layout::of_policy(SEEN, ACTIONS, 11, 0.5), true);
        let update = Learning::new(&mut arena, &parameters, SEEN, &OPTIONS).unwrap();
        let rollout = &update.rollout;
        let seen = Var::constant(rollout.observations.rows_at(0, ROWS));
        let actor = Perceptron::actor(&mut arena, &parameters, seen, Var::none(), Wanted::Nothing).unwrap();
        let logstd = parameters.var("dist.logstd._bias").value;
        let noise = arena.mat(ROWS, ACTIONS);
        let mut act = Plan::default();
        actor.forward(&mut act);
        let acted = (rollout.actions, rollout.log_probs);
        gaussian_action::push(&mut act, (actor.y.value, logstd), noise, acted).unwrap();

        let mut memory = memory(arena);
        let initial: Vec<f64> = parameters.layout.initial(seed);
        let moved = numbers(seed + 10, initial.len());
        let values: Vec<f64> = initial.iter().zip(moved).map(|(x, by)| x + 0.1 * by).collect();
        memory.write(parameters.values, &values).unwrap();
        for (i, mat) in [rollout.observations, noise, update.returns, update.advantages].into_iter().enumerate() {
            fill(&mut memory, mat, 100 * seed + i as u64);
        }
        // Ratios on both sides of the clip: the old density is the present one, moved a little.
        memory.run(&act).unwrap();
        let now = memory.read(rollout.log_probs).unwrap().into_iter();
        let old: Vec<f64> = now.zip(numbers(seed + 20, ROWS)).map(|(log, off)| log + 0.3 * off).collect();
        memory.write(rollout.log_probs, &old).unwrap();
        memory.write(update.order, &(0..ROWS as u32).collect::<Vec<_>>()).unwrap();
        memory.write(update.schedule, &[adam_state(0.0, [OPTIONS.adam[0], OPTIONS.adam[1]], 1)]).unwrap();
        let mut losses = memory.read(update.losses).unwrap();
        losses[slot::WEIGHT] = 0.7;
        memory.write(update.losses, &losses).unwrap();
        let losses = |memory: &mut Memory| {
            update.rewind(memory).unwrap();
            memory.run(&update.step).unwrap();
            memory.read(update.losses).unwrap()
        };
        let clipped = losses(&mut memory)[slot::CLIPPED];
        assert!(clipped > 0.0 && clipped < 1.0, "{clipped}");
        let gradients = memory.read(parameters.grads).unwrap();

        for tensor in &parameters.layout.tensors {
            let gradient = &gradients[tensor.first()..][..tensor.len()];
            let size = (gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64).sqrt();
            assert!(size > 0.0, "{} moves nothing", tensor.name);
            for i in (0..gradient.len()).step_by(gradient.len().div_ceil(9)) {
                let mut at = |x: f64| {
                    let mut moved = values.clone();
                    moved[tensor.first() + i] += x;
                    memory.write(parameters.values, &moved).unwrap();
                    losses(&mut memory)[slot::TOTAL]
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let off = (slope - gradient[i]).abs() / (size + slope.abs());
                assert!(off < 1e-6, "seed {seed}, {} {i}: {slope}, but the gradient is {}", tensor.name, gradient[i]);
            }
        }
    }
}
