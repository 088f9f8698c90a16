//! Tapes of rollouts.
use crate::operations::{fill, memory, state};
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::tape::Tape;
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::Arena;

const STEPS: usize = 4;

#[test]
fn each_step_takes_up_what_it_wrote_down() {
    let mut arena = Arena::default();
    let (now, later, current) = (arena.mat::<f64>(3, 5), arena.mat(3, 5), arena.mat(1, 1));
    let tape = Tape::new(&mut arena, now, STEPS);
    let [mut store, mut load]: [Plan; 2] = Default::default();
    tape.store(&mut store, current);
    Tape { now: later, ..tape }.load(&mut load, current);
    let mut memory = memory(arena);
    let row = |t: usize| [StepState { minibatch: t as u32, ..state(1, 1) }];
    let mut written = vec![vec![0.0; now.len()]; STEPS];
    // The last step of all writes over its own row alone.
    for (i, t) in [2, 0, 3, 1, 2].into_iter().enumerate() {
        written[t] = fill(&mut memory, now, i as u64);
        memory.write(current, &row(t)).unwrap();
        memory.run(&store).unwrap();
        assert_eq!(memory.read(tape.all).unwrap(), written.concat(), "after step {t}");
    }
    for t in (0..STEPS).rev() {
        memory.write(current, &row(t)).unwrap();
        memory.run(&load).unwrap();
        assert_eq!(memory.read(later).unwrap(), written[t], "step {t}");
    }
}

#[test]
fn a_tape_has_whole_rows() {
    let mut arena = Arena::default();
    let (now, all, odd) = (arena.mat::<f32>(3, 5), arena.mat(6, 5), arena.mat(4, 5));
    assert!(Tape::of(now, all).is_ok() && Tape::of(now, odd).is_err());
}
