//! Actions of a policy.
use crate::operations::{close, gradients, memory, run};
use mvae_fast::ops::gaussian_action::backward;
use mvae_fast::plan::arena::Arena;

#[test]
fn derivatives() {
    gradients("gaussian_action");
}

#[test]
fn a_clipped_action_passes_nothing_back_but_the_pull_of_the_mean() {
    let mut arena = Arena::default();
    let [action, daction, mean, dmean] = [(); 4].map(|()| arena.mat(1, 4));
    let mut memory = memory(arena);
    memory.write(action, &[1.0, -1.0, 0.5, -0.9]).unwrap();
    memory.write(daction, &[2.0, 3.0, 5.0, 7.0]).unwrap();
    memory.write(mean, &[4.0, -2.0, 0.5, 0.0]).unwrap();
    run(&mut memory, |plan| backward(plan, (action, daction), 0.1, (mean, dmean)).unwrap());
    close(&memory.read(dmean).unwrap(), &[0.4, -0.2, 5.05, 7.0], 1e-12);
}
