//! Cases of the operations that controllers are made of.
use super::built::{Built, Case, constant, first_step, input, normals, step_case};
use super::composed;
use super::layers::linear;
use crate::cpu::activation::Activation;
use crate::cpu::real::Real;
use crate::ops::advantage::{self, Advantage, OUTCOME};
use crate::ops::begin_step::StepState;
use crate::ops::experience::{Rollout, Step, gather, store};
use crate::ops::gaussian_action::{deviations, log_prob};
use crate::ops::noise::uniform;
use crate::ops::ppo_loss::{PpoLoss, Samples};
use crate::ops::recon_loss::LOSSES;
use crate::ops::world::task::{Course, Draws};
use crate::ops::world::{Rules, Sizes, Task, World};
use crate::ops::{axpby, clip_grad, gaussian_action, log_length, rescale};
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Mat, Var};

/// Distances in a world are up to some hundred times the differences that rewards are made of.
pub(super) const WORLD_TERMS: usize = 512;

/// All cases of controllers.
pub(super) fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = vec![linear(5, 3, 0, 4, Activation::Tanh, false), draws(67, 2), scaled(100, 267), scaled(3, 5)];
    cases.extend([mixed(100, 32, true), mixed(3, 5, false), shortened(100, 9, 1), shortened(3, 4, 0)]);
    cases.extend(
        [(1, 1, true, 0.0), (7, 5, true, 0.0), (7, 5, true, 0.3), (100, 32, true, 0.0), (100, 32, false, 0.0)]
            .map(|(b, a, noise, pull)| act(b, a, noise, pull)),
    );
    cases
        .extend([(1, 2, true), (7, 3, true), (5, 11, false), (32, 512, true)].map(|(t, p, gae)| advantages(t, p, gae)));
    cases.extend([keep(3, 5, 7, 2), keep(8, 100, 269, 32), pick(11, 5, 3, 2), pick(4096, 1000, 269, 32)]);
    cases.extend([(1, 1), (7, 3), (37, 5), (1000, 32)].map(|(b, a)| loss(b, a)));
    cases.extend([clip(100, 1.0), clip(100_000, 1.0), clip(70_000, 1e6)]);
    for &task in Task::ALL {
        cases.extend(
            [(false, 1), (false, 0), (true, 1), (true, 0)].map(|(literal, left)| live(task, 5, 4, literal, left)),
        );
        cases.push(live(task, 100, 22, false, 1));
    }
    for &task in composed::TASKS.iter() {
        cases.extend([(5, 4, 1), (5, 4, 0), (100, 22, 1)].map(|(p, joints, left)| live(task, p, joints, false, left)));
    }
    cases
}

/// A case of full size, or a `small` one.
pub(super) fn small<T>(case: Case<T>, small: bool) -> Case<T> {
    Case { full: !small, ..case }
}

fn draws<T: Real>(p: usize, n: usize) -> Case<T> {
    step_case("noise", format!("uniform p={p} n={n}"), move |arena| {
        let (state, out) = (arena.mat(1, 1), arena.mat(p, n));
        let mut plan = Plan::default();
        uniform::push::<T>(&mut plan, state, out, Purpose::Task);
        let built = Built::step(plan, vec![], vec![Var::constant(out)]);
        Ok(built.prepared(move |contents| contents.write(state, &first_step())))
    })
}

/// Two changes of one x, whose gradient is the sum of theirs. Each has the other's scale as shift.
fn scaled<T: Real>(n: usize, f: usize) -> Case<T> {
    let case = step_case("rescale", format!("n={n} f={f}"), move |arena| {
        let [x, y, z] = [(); 3].map(|()| arena.var(n, 2 * f));
        let [scale, shift] = [(); 2].map(|()| arena.mat(1, f));
        let (mut plan, mut backward) = (Plan::default(), Plan::default());
        rescale::push(&mut plan, x.value, scale, shift, y.value)?;
        rescale::push(&mut plan, x.value, shift, scale, z.value)?;
        rescale::backward(&mut backward, y.grad, scale, false, x.grad)?;
        rescale::backward(&mut backward, z.grad, shift, true, x.grad)?;
        let inputs = vec![input("x", x, 1.0), constant("scale", scale), constant("shift", shift)];
        let mut built = Built::step(plan, inputs, vec![y, z]);
        built.backward = backward;
        Ok(built)
    });
    small(case, n < 64)
}

fn mixed<T: Real>(p: usize, l: usize, two: bool) -> Case<T> {
    let case = step_case("axpby", format!("p={p} l={l}{}", if two { " two" } else { "" }), move |arena| {
        let [x, w, y] = [(); 3].map(|()| arena.mat(p, l));
        let mut plan = Plan::default();
        axpby::push(&mut plan, (2.0, x), (0.5, if two { w } else { Mat::NONE }), y)?;
        Ok(Built::step(plan, vec![constant("x", x), constant("w", w)], vec![Var::constant(y)]))
    });
    small(case, p < 64)
}

fn shortened<T: Real>(b: usize, d: usize, first: usize) -> Case<T> {
    const GAIN: f64 = 3.0;
    let case = step_case("log_length", format!("b={b} d={d} first={first}"), move |arena| {
        let [x, y] = [(); 2].map(|()| arena.var(b, d));
        let (mut plan, mut backward) = (Plan::default(), Plan::default());
        axpby::push(&mut plan, (1.0, x.value), (0.0, Mat::NONE), y.value)?;
        log_length::push(&mut plan, y.value, first, GAIN)?;
        log_length::backward(&mut backward, y.value, first, GAIN, y.grad)?;
        axpby::push(&mut backward, (1.0, y.grad), (0.0, Mat::NONE), x.grad)?;
        let mut built = Built::step(plan, vec![input("x", x, 5.0)], vec![y]);
        built.backward = backward;
        Ok(built)
    });
    small(case, b < 64)
}

/// An action and the gradient of its mean. With `pull`, this has a part of the mean's own, which
/// the action does not show.
fn act<T: Real>(b: usize, a: usize, noisy: bool, pull: f64) -> Case<T> {
    // Means lie in [-1, 1]; where noise is added, some actions are clipped.
    let (name, spread) = if noisy { (" drawn", 0.5) } else { ("", 0.1) };
    let case = step_case("gaussian_action", format!("b={b} a={a}{name} pull={pull}"), move |arena| {
        let [mean, action] = [(); 2].map(|()| arena.var(b, a));
        let (noise, logstd, log_prob) = (arena.mat(b, a), arena.mat(a, 1), arena.mat(b, 1));
        let (mut forward, mut backward) = (Plan::default(), Plan::default());
        let drawn = if noisy { noise } else { Mat::NONE };
        gaussian_action::push(&mut forward, (mean.value, logstd), drawn, (action.value, log_prob))?;
        let plan = if pull > 0.0 { &mut forward } else { &mut backward };
        gaussian_action::backward(plan, (action.value, action.grad), pull, (mean.value, mean.grad))?;
        let inputs =
            vec![input("mean", mean, spread), input("logstd", Var::constant(logstd), 0.3), constant("noise", noise)];
        let mut built = Built::step(forward, inputs, vec![action]);
        built.backward = backward;
        Ok(built)
    });
    Case { terms: 2 * a, ..small(case, b < 64) }
}

fn advantages<T: Real>(t: usize, p: usize, gae: bool) -> Case<T> {
    let case = step_case("advantage", format!("t={t} p={p}{}", if gae { "" } else { " plain" }), move |arena| {
        let outcomes = arena.mat(t * p, OUTCOME);
        let [returns, advantages] = [(); 2].map(|()| arena.mat(t, p));
        let values = arena.mat(t + 1, p);
        let lambda = gae.then_some(0.95);
        let mut plan = Plan::default();
        advantage::push(
            &mut plan,
            &Advantage { outcomes, values, returns, advantages, gamma: 0.99, lambda, reward_scale: 0.7 },
        )?;
        let inputs = vec![constant("values", values)];
        let built = Built::step(plan, inputs, vec![Var::constant(returns), Var::constant(advantages)]);
        Ok(built.prepared(move |contents| contents.write(outcomes, &endings::<T>(outcomes))))
    });
    Case { terms: 4 * t.max(32), ..small(case, p < 64) }
}

/// Outcomes of steps. Episodes end here and there, some because time is out.
pub(super) fn endings<T: Real>(outcomes: Mat<T>) -> Vec<T> {
    let mut drawn = normals(Stream::new(1, Purpose::Check, 9), outcomes.len());
    drawn.chunks_exact_mut(OUTCOME).for_each(|outcome| {
        let (mask, bad) = (outcome[1] > -1.5, outcome[2] > -1.5);
        (outcome[1], outcome[2]) = (f64::from(u8::from(mask && bad)), f64::from(u8::from(bad)));
    });
    drawn.into_iter().map(T::of).collect()
}

fn keep<T: Real>(t: usize, p: usize, d: usize, a: usize) -> Case<T> {
    let case = step_case("experience", format!("store t={t} p={p} d={d} a={a}"), move |arena| {
        let state = arena.mat(1, 1);
        let rollout = Rollout::<T>::new(arena, (t, p), d, a);
        let [observation, action, log_prob, outcome] = [d, a, 1, OUTCOME].map(|cols| arena.mat(p, cols));
        let mut plan = Plan::default();
        store::push(&mut plan, state, &Step { observation, action, log_prob, outcome }, &rollout);
        let mats = [observation, action, log_prob, outcome];
        let inputs = mats.map(|mat| constant("step", mat)).into_iter().collect();
        let built = Built::step(plan, inputs, mats.map(Var::constant).to_vec());
        Ok(built.prepared(move |contents| {
            contents.write(state, &[StepState { minibatch: t as u32 - 1, ..first_step()[0] }])
        }))
    });
    small(case, p < 64)
}

fn pick<T: Real>(n: usize, b: usize, d: usize, a: usize) -> Case<T> {
    let case = step_case("experience", format!("gather n={n} b={b} d={d} a={a}"), move |arena| {
        let (state, order) = (arena.mat(1, 1), arena.mat(1, 2 * n));
        let rollout = Rollout::<T>::new(arena, (n, 1), d, a);
        let [returns, advantages] = [(); 2].map(|()| arena.mat(n, 1));
        let [observation, action, old_log_prob, ret, advantage] = [d, a, 1, 1, 1].map(|cols| arena.mat(b, cols));
        let samples = Samples { action, old_log_prob, returns: ret, advantages: advantage };
        let mut plan = Plan::default();
        gather::push(&mut plan, (state, order), &rollout, (returns, advantages), (observation, &samples));
        let all = [rollout.observations, rollout.actions, rollout.log_probs, returns, advantages];
        let inputs = all.map(|mat| constant("rollout", mat)).into_iter().collect();
        let built = Built::step(plan, inputs, [observation, action].map(Var::constant).to_vec());
        Ok(built.prepared(move |contents| {
            let mut orders = Stream::new(1, Purpose::Check, 0).permutation(n);
            orders.extend(Stream::new(1, Purpose::Check, 1).permutation(n));
            contents.write(order, &orders);
            contents.write(state, &[StepState { minibatch: n as u32, ..first_step()[0] }]);
        }))
    });
    small(case, b < 64)
}

fn loss<T: Real>(b: usize, a: usize) -> Case<T> {
    Case {
        op: "ppo_loss",
        sizes: format!("b={b} a={a}"),
        full: b > 64,
        flops: [0.0; 2],
        // A log-density adds A entries of about 2 up to 2 A. Each partial sum is rounded by up to 2
        // A 2^-24. With random signs that makes sqrt(A) times as much in all, which the exponential
        // turns into the ratio's relative error.
        terms: (2.0 * (a as f64).powf(1.5)) as usize + 20,
        build: Box::new(move |arena| {
            let (mean, logstd, value) = (arena.var(b, a), arena.var(a, 1), arena.var(b, 1));
            let action = arena.mat(b, a);
            let [old_log_prob, returns, advantages, ratio] = [(); 4].map(|()| arena.mat(b, 1));
            let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
            let samples = Samples { action, old_log_prob, returns, advantages };
            let (clip, entropy_weight, mean_weight) = (0.2, 0.01, 0.3);
            let op = PpoLoss { state, mean, logstd, value, samples, ratio, losses, clip, entropy_weight, mean_weight };
            let inputs = vec![
                input("mean", mean, 0.5),
                input("logstd", logstd, 0.3),
                input("value", value, 1.0),
                constant("action", action),
                constant("returns", returns),
                constant("advantages", advantages),
            ];
            let built = Built::new(&[&op.check()?], inputs, vec![], losses);
            Ok(built.prepared(move |contents| {
                // Ratios on both sides of the clip.
                let (mean, logstd, action) =
                    (contents.read(mean.value), contents.read(logstd.value), contents.read(action));
                let std = deviations(&logstd);
                let off = normals(Stream::new(1, Purpose::Check, 77), b);
                let rows = action.chunks_exact(a).zip(mean.chunks_exact(a)).zip(off);
                let old = rows.map(|((action, mean), off)| log_prob(action, mean, &logstd, &std) + T::of(0.3 * off));
                contents.write(old_log_prob, &old.collect::<Vec<T>>());
            }))
        }),
    }
}

fn clip<T: Real>(n: usize, limit: f64) -> Case<T> {
    let case = step_case("clip_grad", format!("n={n} limit={limit}"), move |arena| {
        let (grad, squares) = (arena.mat(1, n), arena.mat(1, n.div_ceil(clip_grad::CHUNK)));
        let mut plan = Plan::default();
        clip_grad::push::<T>(&mut plan, grad, squares, limit)?;
        Ok(Built::step(plan, vec![constant("grad", grad)], vec![Var::constant(grad)]))
    });
    small(case, n < 1000)
}

/// A character's step: a character that is done starts anew and is seen, two frames are applied,
/// and their result is seen. The first character has `left` steps left.
fn live<T: Real>(task: Task, p: usize, joints: usize, literal: bool, left: usize) -> Case<T> {
    // A time at which a task asks for something new.
    let clock = 2 * task.info().anew.max(120);
    let horizon = clock + left;
    let name = if literal { " literal" } else { "" };
    let case = step_case("world", format!("{} p={p} j={joints} h={horizon}{name}", task.name()), move |arena| {
        let rules = Rules {
            task,
            body: 1.5,
            speed: 0.7,
            toes: [0, 1],
            floors: [0.1, 0.2],
            arena: [90.0, 70.0],
            horizon,
            anew: task.info().anew,
            literal,
            staggered: !literal,
        };
        let frame_size = 3 + 12 * joints;
        let (condition_frames, future_predictions) = (2, 2);
        let course = if task.info().course == Course::Path { 37 } else { 8 };
        let sizes = Sizes { characters: p, frame_size, condition_frames, future_predictions, poses: 3, course };
        let (state, latent) = (arena.mat(1, 1), arena.mat(p, 5));
        let world = World::<T>::new(arena, rules, sizes, state, latent)?;
        let mut plan = Plan::default();
        world.reset(&mut plan);
        world.observe(&mut plan);
        world.step(&mut plan, 0, false);
        world.step(&mut plan, 1, true);
        world.observe(&mut plan);
        let mut inputs = vec![
            input("frames", Var::constant(world.frames), 0.2),
            constant("latent", world.latent),
            constant("poses", world.poses),
            constant("history", world.history),
            constant("root", world.root),
            constant("facing", world.facing),
            constant("feet", world.feet),
            input("course", Var::constant(world.course), 50.0),
            constant("draws", world.draws),
            constant("own", world.own),
        ];
        inputs.retain(|input| !input.var.value.is_none());
        let built = Built::step(plan, inputs, vec![Var::constant(world.observation)]);
        Ok(built.prepared(move |contents| {
            let stream = Stream::new(1, Purpose::Check, 55);
            if let Draws::Uniform(_) = world.rules.task.info().draws {
                let drawn = (0..world.draws.len()).map(|i| T::of(crate::philox::unit(stream.bits(i))));
                contents.write(world.draws, &drawn.collect::<Vec<T>>());
            }
            // Every second character is done; for every second of these, because time was out.
            let outcome = (0..p).flat_map(|p| [0.0, f64::from(p % 2 == 1), f64::from(p % 4 > 0)].map(T::of));
            contents.write(world.outcome, &outcome.collect::<Vec<T>>());
            contents.write(world.program, world.rules.task.program().map(std::slice::from_ref).unwrap_or_default());
            contents.write(state, &[StepState { rollout_step: clock as u32, ..first_step()[0] }]);
        }))
    });
    Case { terms: WORLD_TERMS, ..small(case, p < 64) }
}
