//! Plans: arguments that they refuse, and the schedule of their steps.
use crate::operations::{memory, run, state};
use mvae_fast::cpu::activation::Activation::Elu;
use mvae_fast::ops::Operation;
use mvae_fast::ops::begin_step;
use mvae_fast::ops::linear::Linear;
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Mat, Var};

/// A square layer's plan, and its arena; with `in_place` the output lies where the input does.
fn layer(in_place: bool) -> (Plan, Arena) {
    let mut arena = Arena::default();
    let [x, y, w, bias] = [(3, 3), (3, 3), (3, 3), (1, 3)].map(|(r, c)| Var::<f32>::constant(arena.mat(r, c)));
    let op = Linear::new(x, Var::none(), w, bias, if in_place { x } else { y }, Elu).unwrap();
    let mut plan = Plan::default();
    op.forward(&mut plan);
    (plan, arena)
}

#[test]
fn arguments_in_their_tensors_pass() {
    let (plan, arena) = layer(false);
    plan.check(&arena);
}

#[test]
#[should_panic(expected = "linear_forward: y and x overlap")]
fn an_output_over_an_input_is_refused() {
    let (plan, arena) = layer(true);
    plan.check(&arena);
}

#[test]
#[should_panic(expected = "linear_forward: bias reaches outside its tensor")]
fn an_argument_longer_than_its_tensor_is_refused() {
    let mut arena = Arena::default();
    let [x, y, w] = [(); 3].map(|()| Var::<f32>::constant(arena.mat(3, 3)));
    let bias = arena.mat::<f32>(1, 2);
    let mut other = Arena::default();
    let [.., longer] = [(3, 3), (3, 3), (3, 3), (1, 3)].map(|(r, c)| other.mat::<f32>(r, c)); // where `bias` is
    assert_eq!(longer.offset(), bias.offset());
    let op = Linear::new(x, Var::none(), w, Var::constant(longer), y, Elu).unwrap();
    let mut plan = Plan::default();
    op.forward(&mut plan);
    plan.check(&arena);
}

#[test]
#[should_panic(expected = "reaches outside its tensor")]
fn a_plan_checked_for_one_memory_is_checked_again_for_another() {
    let (plan, arena) = layer(false);
    let mut other = Arena::default();
    other.mat::<f32>(1, 1);
    memory(arena).run(&plan).unwrap();
    memory(other).run(&plan).unwrap();
}

#[test]
fn steps_come_in_the_order_of_the_schedule() {
    let mut arena = Arena::default();
    let (schedule, cursor, current) = (arena.mat(1, 3), arena.mat(1, 2), arena.mat(1, 1));
    let mut memory = memory(arena);
    let states = [state(1, 7), state(1, 8), state(1, 9)];
    memory.write(schedule, &states).unwrap();
    memory.write(cursor, &[1, 0]).unwrap();
    for want in &states[1..] {
        run(&mut memory, |plan| begin_step::push::<f32>(plan, schedule, Mat::NONE, cursor, current));
        assert_eq!(memory.read(current).unwrap(), [*want]);
    }
    assert_eq!(memory.read(cursor).unwrap()[0], 3);
}
