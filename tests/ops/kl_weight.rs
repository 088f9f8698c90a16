//! The KL weight's rules.
use crate::operations::{close, memory, run, state};
use mvae_fast::backend::Memory;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::kl_weight::{CONTROLLER, KlWeight, Rule, push};
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::plan::arena::Arena;

struct Weight {
    memory: Memory<'static>,
    op: KlWeight,
}

impl Weight {
    fn new(rule: Rule) -> Self {
        let mut arena = Arena::default();
        let (state, losses, controller) = (arena.mat(1, 1), arena.mat(1, LOSSES), arena.mat(1, CONTROLLER));
        let kept = (arena.mat(1, 1), arena.mat(1, LOSSES));
        Weight { memory: memory(arena), op: KlWeight { losses, state, controller, kept, rule } }
    }

    /// All losses after a step with this reconstruction loss and KL; the regularizer is the KL.
    fn step(&mut self, step: u64, kl_scale: f64, recon: f64, kl: f64) -> Vec<f64> {
        let mut losses = self.memory.read(self.op.losses).unwrap();
        (losses[slot::RECON], losses[slot::KL], losses[slot::REGULARIZER]) = (recon, kl, kl);
        self.memory.write(self.op.losses, &losses).unwrap();
        self.memory.write(self.op.state, &[StepState { kl_scale, ..state(1, step) }]).unwrap();
        run(&mut self.memory, |plan| push::<f32>(plan, &self.op));
        let losses = self.memory.read(self.op.losses).unwrap();
        let (kept_state, kept_losses) = self.op.kept;
        assert_eq!(self.memory.read(kept_state).unwrap(), self.memory.read(self.op.state).unwrap());
        let bits = |losses: &[f64]| losses.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&self.memory.read(kept_losses).unwrap()), bits(&losses), "copies for the update");
        losses
    }

    /// The weight after many such steps.
    fn after(&mut self, steps: u64, recon: f64, kl: f64) -> f64 {
        (1..=steps).map(|step| self.step(step, 1.0, recon, kl)[slot::WEIGHT]).last().unwrap()
    }
}

#[test]
fn fixed_is_fixed_but_for_the_warm_up() {
    let mut weight = Weight::new(Rule::Fixed(0.2));
    let losses = weight.step(1, 0.25, 3.0, 2.0);
    close(&[losses[slot::WEIGHT], losses[slot::TOTAL]], &[0.05, 3.0 + 0.05 * 2.0], 1e-15);
    assert_eq!(weight.after(100, 1e-3, 5.0), 0.2);
}

#[test]
fn auto_follows_the_running_error_down_to_its_floor() {
    let mut weight = Weight::new(Rule::Auto { units: 0.24, floor: 1e-4 });
    close(&[weight.after(1, 0.5, 1.0)], &[0.12], 1e-15);
    close(&[weight.after(1, 0.1, 1.0)], &[0.24 * (0.999 * 0.5 + 0.001 * 0.1)], 1e-15);
    close(&[weight.after(20_000, 0.01, 1.0)], &[0.0024], 1e-9);
    assert_eq!(weight.after(20_000, 0.0, 1.0), 1e-4);
}

#[test]
fn target_pushes_the_kl_back() {
    let rule = Rule::Target { kl: 1.0, start: 0.01 };
    assert_eq!(Weight::new(rule).after(1, 1.0, 5.0), 0.01);
    assert!(Weight::new(rule).after(500, 1.0, 2.0) > 0.02, "a KL above the target: more weight");
    assert!(Weight::new(rule).after(500, 1.0, 0.5) < 0.007, "below: less");
    close(&[Weight::new(rule).after(500, 1.0, 1.0)], &[0.01], 1e-15);
    let wild = Weight::new(rule).after(100_000, 1.0, 1e9);
    assert!((wild / 1e3 - 1.0).abs() < 1e-12, "bounded: {wild}");
}

#[test]
fn the_first_step_that_is_not_finite_is_kept() {
    let mut weight = Weight::new(Rule::Fixed(1.0));
    assert_eq!(weight.step(3, 1.0, 1.0, 1.0)[slot::NONFINITE_STEP], 0.0);
    assert_eq!(weight.step(4, 1.0, 1.0, f64::INFINITY)[slot::NONFINITE_STEP], 4.0);
    assert_eq!(weight.step(5, 1.0, f64::NAN, 1.0)[slot::NONFINITE_STEP], 4.0);
    assert_eq!(weight.step(6, 1.0, 1.0, 1.0)[slot::NONFINITE_STEP], 4.0);
}
