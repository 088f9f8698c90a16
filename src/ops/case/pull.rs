//! Cases of the way back through a rollout: tapes, weights, costs, and steps of characters.
use super::built::{Built, Case, constant, first_step, input, step_case};
use super::composed;
use super::control::{WORLD_TERMS, endings, small};
use crate::Result;
use crate::cpu::activation::Activation;
use crate::cpu::real::Real;
use crate::ops::advantage::OUTCOME;
use crate::ops::begin_step::StepState;
use crate::ops::costs::{Costs, Stepped};
use crate::ops::linear::Linear;
use crate::ops::tape::Tape;
use crate::ops::world::pull::Pull;
use crate::ops::world::task::{Course, Draws};
use crate::ops::world::{Rules, Sizes, Task, World};
use crate::ops::{Operation, axpby, horizon};
use crate::philox::{Purpose, Stream, unit};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// All cases of the way back.
pub(super) fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = vec![taped(3, 5, 7), taped(16, 100, 267)];
    cases.extend([(1, 1), (7, 5), (32, 512)].map(|(t, p)| weights(t, p)));
    cases.extend(
        [(1, 3, 1, 1, 0), (5, 4, 2, 2, 0), (5, 4, 2, 1, 3), (100, 22, 1, 1, 2)]
            .map(|(p, joints, c, k, extra)| costly(p, joints, [c, k], extra)),
    );
    for &task in Task::ALL.iter().filter(|task| task.has_gradient()).chain(composed::TASKS.iter()) {
        cases
            .extend([(5, 4, false), (5, 4, true), (100, 22, false)].map(|(p, joints, cut)| back(task, p, joints, cut)));
    }
    cases
}

fn taped<T: Real>(t: usize, p: usize, n: usize) -> Case<T> {
    let case = step_case("tape", format!("t={t} p={p} n={n}"), move |arena| {
        let (state, now, later) = (arena.mat(1, 1), arena.mat(p, n), arena.mat(p, n));
        let tape = Tape::<T>::new(arena, now, t);
        let mut plan = Plan::default();
        tape.store(&mut plan, state);
        Tape { now: later, ..tape }.load(&mut plan, state);
        let inputs = vec![constant("now", now), constant("all", tape.all)];
        let built = Built::step(plan, inputs, vec![Var::constant(later)]);
        Ok(built.prepared(move |contents| {
            contents.write(state, &[StepState { minibatch: t as u32 - 1, ..first_step()[0] }]);
        }))
    });
    small(case, p < 64)
}

fn weights<T: Real>(t: usize, p: usize) -> Case<T> {
    let case = step_case("horizon", format!("t={t} p={p}"), move |arena| {
        let (outcomes, rewards, values) = (arena.mat(t * p, OUTCOME), arena.mat(t, p), arena.mat(t + 1, p));
        let mut plan = Plan::default();
        horizon::push::<T>(&mut plan, outcomes, (rewards, values), (0.9, 0.1))?;
        let built = Built::step(plan, vec![], [rewards, values].map(Var::constant).to_vec());
        Ok(built.prepared(move |contents| contents.write(outcomes, &endings::<T>(outcomes))))
    });
    Case { terms: 4 * t, ..small(case, p < 64) }
}

/// The rewards [P, 1] of outcomes, as an output that has a gradient.
fn reward_of<T: Real>(arena: &mut Arena, plan: &mut Plan, outcome: Mat<T>) -> Result<(Var<T>, Mat<T>)> {
    let (first, bias, reward) = (arena.mat(1, OUTCOME), arena.mat(1, 1), arena.var(outcome.rows(), 1));
    let [w, bias] = [first, bias].map(Var::constant);
    Linear::new(Var::constant(outcome), Var::none(), w, bias, reward, Activation::None)?.forward(plan);
    Ok((reward, first))
}

/// Appends y = 0, where x is as long.
fn clear<T: Real>(plan: &mut Plan, x: Mat<T>, y: Mat<T>) -> Result<()> {
    axpby::push(plan, (0.0, x), (0.0, Mat::NONE), y)
}

/// Costs of a step. Observations have `extra` numbers behind the history; if there are none, their
/// gradient is that of the history. If there are some, the task asks for speeds.
fn costly<T: Real>(p: usize, joints: usize, [c, k]: [usize; 2], extra: usize) -> Case<T> {
    let case = step_case("costs", format!("p={p} j={joints} c={c} k={k} extra={extra}"), move |arena| {
        let f = 3 + 12 * joints;
        let (frames, seen, dhistory) = (arena.var(p, k * f), arena.mat(p, c * f + extra), arena.mat(p, c * f));
        let [before, outcome] = [(); 2].map(|()| arena.mat(p, OUTCOME));
        let (share, own, whole) = (arena.mat(1, 1), arena.mat(p, 3), extra == 0);
        let costs = Costs {
            skate: 0.7,
            effort: 0.2,
            jerk: 0.1,
            stand: 0.3,
            metres: 0.3,
            fps: 2.0,
            body: 0.5,
            toes: [0, joints - 1],
            floors: [-0.1, 0.1],
        };
        let (asked, frame_size, condition_frames) = ((!whole).then_some(1), f, c);
        let stepped = Stepped { frames: frames.value, share, seen, own, asked, outcome, frame_size, condition_frames };
        let (mut forward, mut backward) = (Plan::default(), Plan::default());
        axpby::push(&mut forward, (1.0, before), (0.0, Mat::NONE), outcome)?;
        costs.forward(&mut forward, &stepped)?;
        let (reward, first) = reward_of(arena, &mut forward, outcome)?;
        clear(&mut backward, frames.value, frames.grad)?;
        if whole {
            clear(&mut backward, seen, dhistory)?;
        }
        costs.backward(&mut backward, &stepped, reward.grad, [frames.grad, dhistory])?;
        let seen = Var { value: seen, grad: if whole { dhistory } else { Mat::NONE } };
        let inputs = vec![
            input("frames", frames, 0.2),
            input("seen", seen, 0.2),
            constant("dhistory", dhistory),
            constant("own", own),
        ];
        let mut built = Built::step(forward, inputs, vec![reward]);
        built.backward = backward;
        Ok(built.prepared(move |contents| {
            // Here and there an episode ends.
            let mut outcomes = endings::<T>(before);
            outcomes[1..OUTCOME].fill(T::one());
            contents.write(before, &outcomes);
            contents.write(share, &[T::of(0.8)]);
            contents.write(first, &[1.0, 0.0, 0.0].map(T::of));
        }))
    });
    Case { terms: WORLD_TERMS, ..small(case, p < 64) }
}

/// Two steps of characters, and the way back through both. The second step alone brings a reward:
/// the first makes the feet and the way to the goal that it compares with. With `cut`, some
/// characters do not go on. Central differences would see what happens to them, so these cases
/// compare kernels only.
fn back<T: Real>(task: Task, p: usize, joints: usize, cut: bool) -> Case<T> {
    let name = if cut { " cut" } else { "" };
    let case = step_case("world", format!("back {} p={p} j={joints}{name}", task.name()), move |arena| {
        let rules = Rules {
            task,
            body: 1.5,
            speed: 0.7,
            toes: [0, 1],
            floors: [0.1, 0.2],
            arena: [90.0, 70.0],
            horizon: if cut { p } else { 1000 },
            anew: if cut { 3 } else { 0 },
            literal: false,
            staggered: true,
        };
        let f = 3 + 12 * joints;
        let course = if task.info().course == Course::Path { 37 } else { 0 };
        let sizes =
            Sizes { characters: p, frame_size: f, condition_frames: 2, future_predictions: 2, poses: 1, course };
        let state = arena.mat(1, 1);
        let mut world = || {
            let latent = arena.mat(p, 5);
            World::<T>::new(arena, rules, sizes, state, latent)
        };
        // The characters at the start, after the first step, and after the second.
        let start = world()?;
        let World { draws, course, words, program, .. } = start;
        let first = World { draws, course, words, program, ..world()? };
        let second = World { draws, course, words, program, ..world()? };
        let (mut forward, mut backward) = (Plan::default(), Plan::default());
        start.observe(&mut forward);
        for (before, after) in [(&start, &first), (&first, &second)] {
            let state = |w: &World<T>| [w.history, w.root, w.facing, w.feet, w.own];
            for (from, to) in state(before).into_iter().zip(state(after)).filter(|(from, _)| !from.is_none()) {
                axpby::push(&mut forward, (1.0, from), (0.0, Mat::NONE), to)?;
            }
            after.step(&mut forward, 0, true);
            after.observe(&mut forward);
        }
        let (reward, of_reward) = reward_of(arena, &mut forward, second.outcome)?;

        let last = Pull { weight: reward.grad, ..Pull::new(arena, &second) };
        let earlier =
            Pull { dhistory: last.dhistory, droot: last.droot, dfacing: last.dfacing, ..Pull::new(arena, &first) };
        let plan = if cut { &mut forward } else { &mut backward };
        let changed = [(start.history, last.dhistory), (start.root, last.droot), (start.facing, last.dfacing)];
        changed.iter().try_for_each(|&(like, mat)| clear(plan, like, mat))?;
        for (pull, before, after) in [(&last, &first, &second), (&earlier, &start, &first)] {
            pull.observation(plan, after);
            let World { frames, latent, outcome, .. } = *after;
            pull.step(plan, &World { frames, latent, outcome, ..*before })?;
        }

        let var = |value, grad| Var { value, grad };
        // Where a character stands is nothing to a task that sees nothing of the world.
        let placed = |grad| if task.info().seen.is_empty() { Mat::NONE } else { grad };
        let mut inputs = vec![
            constant("feet", start.feet),
            input("own", Var::constant(start.own), 5.0),
            input("course", Var::constant(course), 5.0),
            constant("draws", draws),
            input("history", var(start.history, last.dhistory), 0.2),
            input("root", var(start.root, placed(last.droot)), 1.0),
            input("facing", var(start.facing, placed(last.dfacing)), 1.0),
            input("first frames", var(first.frames, earlier.dframes), 0.2),
            input("frames", var(second.frames, last.dframes), 0.2),
            constant("first latent", first.latent),
            input("latent", var(second.latent, last.dlatent), 1.0),
        ];
        inputs.retain(|input| !input.var.value.is_none());
        let outputs = vec![reward, var(first.observation, earlier.dseen), var(second.observation, last.dseen)];
        let mut built = Built::step(forward, inputs, outputs);
        built.backward = backward;
        Ok(built.prepared(move |contents| {
            if let Draws::Uniform(_) = task.info().draws {
                let stream = Stream::new(1, Purpose::Check, 55);
                let drawn = (0..draws.len()).map(|i| T::of(unit(stream.bits(i))));
                contents.write(draws, &drawn.collect::<Vec<T>>());
            }
            if cut {
                // One character is lost.
                let mut frames = contents.read(second.frames);
                frames[3] = T::of(100.0);
                contents.write(second.frames, &frames);
            }
            contents.write(program, task.program().map(std::slice::from_ref).unwrap_or_default());
            contents.write(of_reward, &[1.0, 0.0, 0.0].map(T::of));
            contents.write(state, &[StepState { rollout_step: 7, ..first_step()[0] }]);
        }))
    });
    Case { terms: WORLD_TERMS, ..small(case, p < 64) }
}
