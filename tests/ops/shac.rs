//! The way back through a rollout: the actor's gradient follows the loss of all steps, against
//! central differences in f64.
use crate::operations::{fill, memory, numbers};
use mvae_fast::backend::Memory;
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::control::environment::{EnvironmentOptions, action_size};
use mvae_fast::control::shac::{Shac, ShacOptions};
use mvae_fast::control::stage::Stage;
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::model::network::Wanted;
use mvae_fast::ops::advantage::OUTCOME;
use mvae_fast::ops::costs::Costs;
use mvae_fast::ops::world::composed::program::{Moves, Shape, Value};
use mvae_fast::ops::world::task::Course;
use mvae_fast::ops::world::{GOAL, POTENTIAL, Rules, Task};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Mat};

const P: usize = 5;
const STEPS: usize = 12;
const JOINTS: usize = 4;
const BODY: f64 = 1.3;
const POSES: usize = 7;
const COURSE: usize = 40;
const MEAN_WEIGHT: f64 = 0.02;
const STEP: f64 = 1e-6;

/// A way of training: what is steered, by what, and at what costs.
struct Trial {
    task: Task,
    variant: Variant,
    position_gain: f64,
    condition_frames: usize,
    normalize: bool,
    costs: bool,
}

/// Characters of a small decoder, and all that learns.
struct Learning {
    stage: Stage<f64>,
    shac: Shac<f64>,
    policy: Parameters<f64>,
    explore: Plan,
    begin: Plan,
    memory: Memory<'static>,
    /// The tensors that a rollout changes, with their values at its start.
    kept: Vec<(Mat<f64>, Vec<f64>)>,
    words: Vec<u32>,
}

impl Learning {
    fn new(trial: &Trial, seed: u64) -> Self {
        let frame_size = 3 + 12 * JOINTS;
        let model = ModelConfig {
            variant: trial.variant,
            frame_size,
            latent_size: 3,
            hidden_size: 6,
            gate_hidden_size: 5,
            experts: 3,
            condition_frames: trial.condition_frames,
            future_predictions: 1,
            position_gain: trial.position_gain,
            ..ModelConfig::published(trial.variant)
        };
        let costs = Costs {
            skate: 0.7,
            effort: 0.02,
            jerk: 0.01,
            stand: 0.4,
            metres: 0.3,
            fps: 2.0,
            body: BODY,
            toes: [0, 2],
            floors: [-0.1, 0.1],
        };
        let task = trial.task;
        let options = EnvironmentOptions {
            model: &model,
            rules: Rules {
                task,
                body: BODY,
                speed: 0.7,
                toes: [0, 2],
                floors: [-0.1, 0.1],
                arena: [0.0; 2],
                horizon: 30,
                // A new command passes nothing back, although the character goes on: central
                // differences would see it. Of what ends a piece, time that is out is in the test.
                anew: 0,
                literal: false,
                staggered: true,
            },
            characters: P,
            frame_skip: 1,
            poses: POSES,
            course: if task.info().course == Course::Path { COURSE } else { 0 },
            normalize: trial.normalize,
            costs: if trial.costs { costs } else { Costs::default() },
            wanted: Wanted::Inputs,
        };
        let mut arena = Arena::default();
        let layout = Layout::of(&model, ExpertInit::FanIn, CodebookInit::Fixed);
        let decoder = Parameters::<f64>::new(&mut arena, layout, false);
        let row = frame_size * trial.condition_frames;
        let observation = row + task.info().extra.of(model.latent_size);
        let layout = Layout::of_policy(observation, action_size(task, &model), 8, 0.3);
        let policy = Parameters::new(&mut arena, layout, true);
        let stage = Stage::of(&mut arena, &options, (&decoder, None), &policy, (STEPS, seed)).unwrap();
        let options = ShacOptions {
            steps: STEPS,
            minibatch: 20,
            epochs: 1,
            gamma: 0.9,
            lambda: Some(0.95),
            reward_scale: 0.1,
            mean_weight: MEAN_WEIGHT,
            max_grad_norm: 1e9,
            adam: [0.9, 0.999, 1e-8],
        };
        let shac = Shac::new(&mut arena, &policy, &stage, &options).unwrap();
        let noise = arena.mat(P, stage.environment.action.cols());
        let mut explore = stage
            .step(|plan| {
                shac.before(plan, &stage);
                stage.act(plan, noise)
            })
            .unwrap();
        shac.after(&mut explore, &stage);
        let mut begin = Plan::default();
        shac.rollout.begin(&mut begin, stage.environment.observation).unwrap();
        let mut memory = memory(arena);

        memory.write(decoder.values, &decoder.layout.initial(seed)).unwrap();
        let spread: Vec<f64> = numbers(seed + 1, frame_size).iter().map(|x| 0.1 + 0.1 * x.abs()).collect();
        let middle: Vec<f64> = numbers(seed + 2, frame_size).iter().map(|x| 0.1 * x).collect();
        for (mat, values) in decoder.normalization.into_iter().zip([&spread, &middle]) {
            memory.write(mat, values).unwrap();
        }
        stage.environment.write_normalization(&mut memory, &spread, &middle).unwrap();
        let moved = numbers(seed + 3, policy.values.len());
        let initial = policy.layout.initial::<f64>(seed);
        let values: Vec<f64> = initial.iter().zip(moved).map(|(x, by)| x + 0.1 * by).collect();
        memory.write(policy.values, &values).unwrap();
        let logstd = policy.var("dist.logstd._bias").value;
        memory.write(logstd, &vec![-2.0; logstd.len()]).unwrap();
        fill(&mut memory, noise, seed + 4);
        let world = &stage.environment.world;
        let poses: Vec<f64> = numbers(seed + 5, world.poses.len()).iter().map(|x| 0.2 * x).collect();
        memory.write(world.poses, &poses).unwrap();
        if !world.course.is_none() {
            let points = (0..COURSE).flat_map(|i| [4.0 * (0.16 * i as f64).cos(), 4.0 * (0.16 * i as f64).sin()]);
            memory.write(world.course, &points.collect::<Vec<_>>()).unwrap();
        }
        let (place, program) = world.program();
        memory.write(place, program).unwrap();
        memory.write(stage.environment.cost_share, &[0.8]).unwrap();
        stage.restart(&mut memory).unwrap();
        if let Task::Target | Task::Face = task {
            // Goals near by, so that some are reached.
            let (mut own, root) = (memory.read(world.own).unwrap(), memory.read(world.root).unwrap());
            for (p, own) in own.chunks_mut(world.own.cols()).enumerate() {
                let goal = numbers(seed + 60 + p as u64, 2);
                own[GOAL..][..2].copy_from_slice(&goal.iter().map(|x| 3.0 * x).collect::<Vec<_>>());
                if task == Task::Target {
                    own[POTENTIAL] = -(own[0] - root[2 * p]).hypot(own[1] - root[2 * p + 1]) / BODY;
                }
            }
            memory.write(world.own, &own).unwrap();
        }
        let w = &stage.environment.world;
        let mats = [
            w.history,
            w.root,
            w.facing,
            w.feet,
            w.own,
            w.draws,
            w.outcome,
            w.observation,
            stage.environment.observation,
        ];
        let kept = mats.into_iter().filter(|mat| !mat.is_none()).map(|mat| (mat, memory.read(mat).unwrap())).collect();
        let words = if w.words.is_none() { Vec::new() } else { memory.read(w.words).unwrap() };
        Learning { stage, shac, policy, explore, begin, memory, kept, words }
    }

    /// The loss of a rollout from the start, in which the shares of rewards and values are given,
    /// or else those of its own outcomes.
    fn loss(&mut self, shares: Option<&(Vec<f64>, Vec<f64>)>) -> f64 {
        for (mat, values) in &self.kept {
            self.memory.write(*mat, values).unwrap();
        }
        if !self.words.is_empty() {
            self.memory.write(self.stage.environment.world.words, &self.words).unwrap();
        }
        self.stage.write_steps(&mut self.memory, 0, STEPS).unwrap();
        self.memory.run(&self.begin).unwrap();
        self.memory.repeat(&self.explore, STEPS).unwrap();
        self.memory.run(&self.shac.estimate).unwrap();
        let own = self.shares();
        let (of_rewards, of_values) = shares.unwrap_or(&own);
        let outcomes = self.memory.read(self.shac.rollout.outcomes).unwrap();
        let rewards = outcomes.chunks(OUTCOME).map(|outcome| outcome[0]);
        let values = self.memory.read(self.shac.values.value).unwrap();
        let squares: f64 = self.memory.read(self.shac.means).unwrap().iter().map(|x| x * x).sum();
        of_rewards.iter().zip(rewards).map(|(w, r)| w * r).sum::<f64>()
            + of_values.iter().zip(values).map(|(w, v)| w * v).sum::<f64>()
            + MEAN_WEIGHT * squares / (P * STEPS) as f64
    }

    fn shares(&self) -> (Vec<f64>, Vec<f64>) {
        let [rewards, values] = [self.shac.rewards, self.shac.values.grad].map(|mat| self.memory.read(mat).unwrap());
        (rewards, values)
    }

    /// The gradient of all parameters after a rollout.
    fn gradient(&mut self) -> Vec<f64> {
        self.shac.rewind(&mut self.memory).unwrap();
        self.stage.write_way_back(&mut self.memory, STEPS).unwrap();
        self.memory.run(&self.shac.end).unwrap();
        self.memory.repeat(&self.shac.pull, STEPS).unwrap();
        self.memory.run(&self.shac.gradients).unwrap();
        self.memory.read(self.policy.grads).unwrap()
    }
}

/// Compares the gradient with central differences; returns how many rewards went on.
fn check(trial: &Trial, seed: u64) -> usize {
    let mut learning = Learning::new(trial, seed);
    learning.loss(None);
    let shares = learning.shares();
    let cut = shares.0.iter().filter(|&&share| share == 0.0).count();
    let gradient = learning.gradient();
    let values = learning.memory.read(learning.policy.values).unwrap();
    let tensors = learning.policy.layout.tensors.clone();
    for tensor in tensors.iter().filter(|tensor| tensor.name.starts_with("actor.")) {
        let part = &gradient[tensor.first()..][..tensor.len()];
        let size = (part.iter().map(|g| g * g).sum::<f64>() / part.len() as f64).sqrt();
        assert!(size > 0.0, "{} moves nothing", tensor.name);
        for i in (0..part.len()).step_by(part.len().div_ceil(5)) {
            let mut at = |by: f64| {
                let mut moved = values.clone();
                moved[tensor.first() + i] += by;
                learning.memory.write(learning.policy.values, &moved).unwrap();
                learning.loss(Some(&shares))
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let off = (slope - part[i]).abs() / (size + slope.abs());
            let (task, name) = (trial.task, &tensor.name);
            assert!(off < 1e-5, "{task:?}, seed {seed}, {name} {i}: {slope}, but the gradient is {}", part[i]);
        }
    }
    cut
}

const PLAIN: Trial = Trial {
    task: Task::Target,
    variant: Variant::Mixture,
    position_gain: 0.1,
    condition_frames: 1,
    normalize: true,
    costs: false,
};

#[test]
fn every_task_with_derivatives() {
    for &task in Task::ALL.iter().filter(|task| task.has_gradient()) {
        let cut: usize = (1..=3).map(|seed| check(&Trial { task, ..PLAIN }, seed)).sum();
        assert!((1..3 * P * STEPS / 2).contains(&cut), "{task:?}: {cut} steps end a piece");
    }
}

/// A composed task with every term, each with another shape; `turn` turns the shapes by one.
fn composed(turn: usize) -> Task {
    let moves = Moves::ALL[turn % Moves::ALL.len()];
    let of_goal = match moves {
        Moves::Still => "arena = [2, 3]",
        Moves::Leader => "ahead = 2.0",
        Moves::Path => "",
    };
    let terms = Value::NAMES.iter().enumerate().map(|(i, term)| {
        let shape = Shape::NAMES[(i + turn) % Shape::NAMES.len()];
        let weight = if shape == Shape::Exp.name() { 0.2 } else { 0.5 };
        let at = if *term == Value::Distance.name() { ", at = 1.5" } else { "" };
        format!("{{ term = \"{term}\", shape = \"{shape}\", weight = {weight}, scale = 1.2{at} }}")
    });
    let path = if moves == Moves::Path { ", \"path\"" } else { "" };
    Task::read(&format!(
        "name = \"all\"\nseen = [\"goal\", \"bearing\", \"speed\", \"look\", \"direction\", \"facing\", \"velocity\"{path}]\n\
         reward = [{terms}]\n[goal]\nmoves = \"{moves}\"\n{of_goal}\n[look]\narena = [3, 2]\n\
         [direction]\nrange = [0, 360]\nturn = 3.0\n[speed]\nrange = [0.1, 0.9]\n[facing]\nrange = [90, 270]\n",
        terms = terms.collect::<Vec<_>>().join(", "),
        moves = moves.name(),
    ))
    .unwrap()
}

#[test]
fn every_term_of_composed_tasks_in_every_shape() {
    for turn in 0..Shape::ALL.len() {
        check(&Trial { task: composed(turn), ..PLAIN }, turn as u64 + 1);
    }
}

#[test]
fn with_costs_and_without_normalised_observations() {
    for (task, normalize) in [(Task::Joystick, true), (Task::Walk, false), (Task::Target, false)] {
        check(&Trial { task, normalize, costs: true, ..PLAIN }, 4);
    }
}

#[test]
fn other_decoders() {
    check(&Trial { variant: Variant::Posevae, costs: true, ..PLAIN }, 5);
    check(&Trial { position_gain: 1.0, ..PLAIN }, 6);
    check(&Trial { condition_frames: 2, costs: true, ..PLAIN }, 7);
}
