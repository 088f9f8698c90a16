//! Gradients of actor, critic and log standard deviations through the clipped loss, against central differences in f64.
mod common;
use common::{fill, memory, numbers};
use mvae_fast::arena::{Arena, Var};
use mvae_fast::backend::Memory;
use mvae_fast::control::policy::Perceptron;
use mvae_fast::layout::{Layout, Parameters};
use mvae_fast::ops::Operation;
use mvae_fast::ops::ppo_loss::{PpoLoss, Samples, slot};
use mvae_fast::ops::recon_loss::LOSSES;
use mvae_fast::plan::Plan;

const ROWS: usize = 12;
const SEEN: usize = 7;
const ACTIONS: usize = 3;
const STEP: f64 = 1e-6;

#[test]
fn a_whole_loss_falls_as_its_gradient_says() {
    for seed in 1..=3 {
        let mut arena = Arena::default();
        let parameters = Parameters::<f64>::new(&mut arena, Layout::of_policy(SEEN, ACTIONS, 11, 0.5), true);
        let seen = arena.mat(ROWS, SEEN);
        let [old_log_prob, returns, advantages, ratio] = [(); 4].map(|()| arena.mat(ROWS, 1));
        let action = arena.mat(ROWS, ACTIONS);
        let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let actor = Perceptron::actor(&mut arena, &parameters, Var::constant(seen), Var::none(), true).unwrap();
        let critic = Perceptron::critic(&mut arena, &parameters, Var::constant(seen), true).unwrap();
        let logstd = parameters.var("dist.logstd._bias");
        let (mean, value) = (actor.y, critic.y);
        let samples = Samples { action, old_log_prob, returns, advantages };
        let (clip, entropy_weight, mean_weight) = (0.2, 0.01, 0.3);
        let loss = PpoLoss { state, mean, logstd, value, samples, ratio, losses, clip, entropy_weight, mean_weight };
        let loss = loss.check().unwrap();
        let (mut forward, mut backward) = (Plan::default(), Plan::default());
        for plan in [&mut forward, &mut backward] {
            actor.forward(plan);
            critic.forward(plan);
            loss.forward(plan);
        }
        loss.backward(&mut backward);
        critic.backward(&mut backward);
        actor.backward(&mut backward);

        let mut memory = memory(arena);
        let initial: Vec<f64> = parameters.layout.initial(seed);
        let noise = numbers(seed + 10, initial.len());
        let values: Vec<f64> = initial.iter().zip(noise).map(|(x, noise)| x + 0.1 * noise).collect();
        memory.write(parameters.values, &values).unwrap();
        for (i, mat) in [seen, action, returns, advantages].into_iter().enumerate() {
            fill(&mut memory, mat, 100 * seed + i as u64);
        }
        let weight = |memory: &mut Memory| {
            let mut all = memory.read(losses).unwrap();
            all[slot::WEIGHT] = 0.7;
            memory.write(losses, &all).unwrap();
        };
        weight(&mut memory);
        // Ratios on both sides of the clip: the old density is the present one, moved a little.
        memory.run(&forward).unwrap();
        let now: Vec<f64> = memory.read(ratio).unwrap().into_iter().map(f64::ln).collect();
        let moved: Vec<f64> = now.iter().zip(numbers(seed + 20, ROWS)).map(|(log, off)| log + 0.3 * off).collect();
        memory.write(old_log_prob, &moved).unwrap();
        memory.run(&backward).unwrap();
        let ratios = memory.read(ratio).unwrap();
        assert!(ratios.iter().any(|r| (r - 1.0).abs() > clip) && ratios.iter().any(|r| (r - 1.0).abs() < clip));

        for tensor in &parameters.layout.tensors {
            let gradient = memory.read(parameters.place(parameters.grads, tensor)).unwrap();
            let size = (gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64).sqrt();
            assert!(size > 0.0, "{} moves nothing", tensor.name);
            for i in (0..gradient.len()).step_by(gradient.len().div_ceil(9)) {
                let mut at = |x: f64| {
                    let mut moved = values.clone();
                    moved[tensor.first() + i] += x;
                    memory.write(parameters.values, &moved).unwrap();
                    memory.run(&forward).unwrap();
                    memory.read(losses).unwrap()[slot::TOTAL]
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let off = (slope - gradient[i]).abs() / (size + slope.abs());
                assert!(off < 1e-6, "seed {seed}, {} {i}: {slope}, but the gradient is {}", tensor.name, gradient[i]);
            }
        }
    }
}
