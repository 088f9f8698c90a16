//! The kinds of cases for controllers: `ppo`, `env_model`, `env`.
use super::{Case, Report, deviation, largest, norm, ratio, read, relative, write};
use mvae_fast::backend::{Backend, Memory};
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::control::course;
use mvae_fast::control::environment::{Environment, EnvironmentOptions, Lower};
use mvae_fast::control::policy::Perceptron;
use mvae_fast::control::ppo::{Learning, PpoOptions};
use mvae_fast::cpu::real::Real;
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::model::network::{Network, Wanted};
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::advantage::{self, Advantage, OUTCOME};
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::clip_grad;
use mvae_fast::ops::costs::Costs;
use mvae_fast::ops::gaussian_action;
use mvae_fast::ops::ppo_loss::slot;
use mvae_fast::ops::world::task::Course;
use mvae_fast::ops::world::{GOAL, POTENTIAL, Rules, Task, World, joystick};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Mat, Var};
use std::collections::BTreeSet;
use std::f64::consts::TAU;

/// Checks actions, returns, advantages, and an update over all its mini-batches. Actor and critic
/// share one schedule, or each has its own.
pub fn ppo<T: Real>(case: &Case, _: Option<u64>, backend: &dyn Backend) -> Report {
    let mut report = Report::new::<T>(case);
    for own_critic_schedule in [false, true] {
        learn::<T>(case, own_critic_schedule, backend, &mut report);
    }
    report
}

fn learn<T: Real>(case: &Case, own_critic_schedule: bool, backend: &dyn Backend, report: &mut Report) {
    let tolerance = |key| case.tolerance::<T>(key);
    let [observation, action, steps, characters, epochs, minibatch, hidden] =
        ["observation_size", "action_size", "num_steps", "num_parallel", "ppo_epoch", "mini_batch_size", "hidden_size"]
            .map(|key| case.get::<usize>(key));
    let number = |key: &str| case.get::<f64>(key);
    let n = steps * characters;
    let adam = ["beta1", "beta2", "eps"].map(|key| case.json["adam"][key].as_f64().expect("adam in case.json"));
    let options = PpoOptions {
        characters,
        steps,
        minibatch,
        epochs,
        gamma: number("gamma"),
        lambda: Some(number("gae_lambda")),
        reward_scale: 1.0,
        clip: number("clip_param"),
        entropy_weight: number("entropy_coef"),
        mean_weight: 0.0,
        max_grad_norm: number("max_grad_norm"),
        own_critic_schedule,
        adam,
    };
    let mut arena = Arena::default();
    let layout = Layout::of_policy(observation, action, hidden, 1.0);
    let names: BTreeSet<String> = layout.tensors.iter().map(|t| t.name.clone()).collect();
    assert_eq!(names, case.get("param_order"), "{}: names of the parameters", case.name);
    let parameters = Parameters::<T>::new(&mut arena, layout, true);
    let update = Learning::new(&mut arena, &parameters, observation, &options).unwrap();
    let rollout = &update.rollout;

    let seen = Var::constant(rollout.observations.rows_at(0, n));
    let actor = Perceptron::actor(&mut arena, &parameters, seen, Var::none(), Wanted::Nothing).unwrap();
    let (noise, taken, log_prob) = (arena.mat(n, action), arena.mat(n, action), arena.mat(n, 1));
    let logstd = parameters.var("dist.logstd._bias").value;
    let mut act = Plan::default();
    actor.forward(&mut act);
    gaussian_action::push(&mut act, (actor.y.value, logstd), noise, (taken, log_prob)).unwrap();
    let [plain_returns, plain_advantages] = [(); 2].map(|()| arena.mat(steps, characters));
    let mut plain = Plan::default();
    let (outcomes, values) = (rollout.outcomes, update.values);
    let without = Advantage {
        outcomes,
        values,
        returns: plain_returns,
        advantages: plain_advantages,
        gamma: options.gamma,
        lambda: None,
        reward_scale: 1.0,
    };
    advantage::push(&mut plain, &without).unwrap();

    let mut memory = Memory::new(backend, arena).unwrap();
    for tensor in &parameters.layout.tensors {
        let initial = case.values(&format!("param.{}", tensor.name));
        write(&mut memory, parameters.place(parameters.values, tensor), initial);
    }
    write(&mut memory, rollout.observations, case.values("observations"));
    write(&mut memory, noise, case.values("noise"));
    let (rewards, masks, bad) = (case.values("rewards"), case.values("masks"), case.values("bad_masks"));
    let outcome = |i: usize| [rewards[i], masks[i + characters], bad[i + characters]];
    write(&mut memory, rollout.outcomes, &(0..n).flat_map(outcome).collect::<Vec<f64>>());
    memory.run(&act).unwrap();
    memory.run(&update.estimate).unwrap();
    memory.run(&plain).unwrap();
    let mut values = |name: &str, ours: &[f64]| {
        report.note("value", name, relative(ours, &case.values(name)[..ours.len()]), tolerance("value_rel"));
    };
    for (name, mat) in [
        ("action_mean", actor.y.value),
        ("action", taken),
        ("log_prob", log_prob),
        ("value", update.values),
        ("returns", update.returns),
        ("returns_no_gae", plain_returns),
        ("advantages", update.advantages),
    ] {
        values(name, &read(&memory, mat));
    }
    values("next_value", &read(&memory, update.values)[n..]);

    write(&mut memory, rollout.actions, case.values("action"));
    write(&mut memory, rollout.log_probs, case.values("log_prob"));
    memory.write(update.order, &super::integers(case, "minibatch_order")).unwrap();
    let mut losses = memory.read(update.losses).unwrap();
    losses[slot::WEIGHT] = number("value_loss_coef");
    memory.write(update.losses, &losses).unwrap();
    let per_epoch = options.minibatches();
    let state = |i: usize| StepState {
        minibatch: (i / per_epoch * n + i % per_epoch * minibatch) as u32,
        ..adam_state(number("lr"), [adam[0], adam[1]], i as u64 + 1)
    };
    let states: Vec<StepState> = (0..epochs * per_epoch).map(state).collect();
    memory.write(update.schedule, &states).unwrap();
    if own_critic_schedule {
        memory.write(update.critic_schedule, &states).unwrap();
    }
    let initial = |name: &str| case.values(&format!("param.{name}"));
    let mut found: [Vec<f64>; 5] = Default::default();
    for i in 0..epochs * per_epoch {
        let last = i % per_epoch == per_epoch - 1;
        memory.run(if last { update.rest.as_ref().unwrap_or(&update.step) } else { &update.step }).unwrap();
        let losses = memory.read(update.losses).unwrap();
        let norm = clip_grad::norm(&memory.read(update.squares).unwrap());
        let now =
            [losses[slot::VALUE], update.action_loss(&losses), losses[slot::ENTROPY], norm, losses[slot::CLIPPED]];
        found.iter_mut().zip(now).for_each(|(list, x)| list.push(x));
        for tensor in parameters.layout.tensors.iter().filter(|_| i == 0) {
            let ours = read(&memory, parameters.place(parameters.grads, tensor));
            let off = deviation(case, "grad", &tensor.name, &ours, &vec![0.0; ours.len()], |_| true);
            report.note("grad", &tensor.name, off, tolerance("grad_rel"));
        }
        let tag = if i == 0 { Some("adam1") } else { (i + 1 == epochs * per_epoch).then_some("final") };
        for (tag, tensor) in tag.iter().flat_map(|tag| parameters.layout.tensors.iter().map(move |t| (tag, t))) {
            let ours = read(&memory, parameters.place(parameters.values, tensor));
            let gradient = case.find_array(&format!("grad.{}", tensor.name)).filter(|_| size_of::<T>() == 4);
            let least = gradient.map_or(0.0, |g| super::SMALL_GRADIENT * norm_of(&g.values));
            let counts = |i: usize| gradient.is_none_or(|g| g.values[i].abs() >= least);
            let off = deviation(case, tag, &tensor.name, &ours, initial(&tensor.name), counts);
            report.note(tag, &tensor.name, off, tolerance("adam_delta_rel"));
        }
    }
    for (name, ours) in ["value_loss", "action_loss", "entropy", "grad_norm", "clip_fraction"].into_iter().zip(&found) {
        let golden = case.values(&format!("minibatch_{name}"));
        report.note("loss", name, relative(ours, golden), tolerance("loss_rel"));
    }
    report.note("loss", "entropy", relative(&found[2][..1], case.values("entropy")), tolerance("loss_rel"));
    let sums = memory.read(update.sums).unwrap();
    let means = [sums[slot::VALUE], update.action_loss(&sums), sums[slot::ENTROPY]]
        .map(|sum| sum / (epochs * per_epoch) as f64);
    report.note("loss", "update_means", relative(&means, case.values("update_means_correct")), tolerance("loss_rel"));
    // Inputs of the masks, sizes that follow from others, and means with a divisor that is too
    // large.
    let derived = ["done", "end_of_rollout", "minibatch_size", "update_means_literal"];
    case.ignore(|name| derived.contains(&name));
}

/// Root mean square.
fn norm_of(values: &[f64]) -> f64 {
    norm(values) / (values.len() as f64).sqrt()
}

/// A decoder, its normalisation, and the controller of the maze's lower level.
struct Model {
    case: Case,
    config: ModelConfig,
    observation: usize,
}

impl Model {
    fn of(case: Case) -> Self {
        let [frame_size, latent_size, experts, condition_frames, future_predictions, hidden_size, gate_hidden_size] = [
            "frame_size",
            "latent_size",
            "num_experts",
            "num_condition_frames",
            "num_future_predictions",
            "hidden_size",
            "gate_hidden_size",
        ]
        .map(|key| case.get(key));
        let config = ModelConfig {
            variant: Variant::Mixture,
            frame_size,
            latent_size,
            hidden_size,
            gate_hidden_size,
            experts,
            condition_frames,
            future_predictions,
            codes: 1,
            position_gain: 1.0,
        };
        let observation = frame_size * condition_frames + 2;
        Model { case, config, observation }
    }

    fn places<T: Real>(&self, arena: &mut Arena) -> [Parameters<T>; 2] {
        let decoder = Layout::of(&self.config, ExpertInit::Reference, CodebookInit::Fixed);
        let hidden = self.case.array("ctrl.actor.0.weight").shape[0];
        let controller = Layout::of_policy(self.observation, self.config.latent_size, hidden, 1.0);
        [decoder, controller].map(|layout| Parameters::new(arena, layout, false))
    }

    /// Writes the parameters of the case: a decoder without encoder, an actor without critic.
    fn write<T: Real>(&self, memory: &mut Memory, [decoder, controller]: &[Parameters<T>; 2]) {
        for (parameters, to) in [(decoder, "param.decoder."), (controller, "ctrl.actor.")] {
            let ours = if to == "param.decoder." { "decoder." } else { "actor.actor." };
            for tensor in parameters.layout.tensors.iter().filter(|tensor| tensor.name.starts_with(ours)) {
                let values = self.case.values(&tensor.name.replacen(ours, to, 1));
                write(memory, parameters.place(parameters.values, tensor), values);
            }
        }
    }
}

/// Checks the decoder and the controller, each on its own.
pub fn env_model<T: Real>(case: &Case, _: Option<u64>, backend: &dyn Backend) -> Report {
    let mut report = Report::new::<T>(case);
    let model = Model::of(Case::load(&case.folder));
    let tolerance = if size_of::<T>() == 8 { 1e-11 } else { 2e-5 }; // the case states none; these are those of `env`
    let rows = case.array("probe_z").shape[0];
    let mut arena = Arena::default();
    let parameters = model.places::<T>(&mut arena);
    let network = Network::new(&mut arena, &parameters[0], &model.config, rows, 0.0, Wanted::Nothing).unwrap();
    let seen = arena.mat(rows, model.observation);
    let actor =
        Perceptron::actor(&mut arena, &parameters[1], Var::constant(seen), Var::none(), Wanted::Nothing).unwrap();
    let mut plan = Plan::default();
    network.decode(&mut plan);
    network.predict(&mut plan);
    actor.forward(&mut plan);
    let mut memory = Memory::new(backend, arena).unwrap();
    model.write(&mut memory, &parameters);
    write(&mut memory, network.z.value, case.values("probe_z"));
    write(&mut memory, network.condition, case.values("probe_cond"));
    write(&mut memory, seen, case.values("probe_ctrl_input"));
    memory.run(&plan).unwrap();
    for (name, mat) in [("probe_output", network.prediction), ("probe_ctrl_output", actor.y.value)] {
        report.note("output", name, relative(&read(&memory, mat), case.values(name)), tolerance);
    }
    case.ignore(|_| true); // the cases of kind `env` read the arrays, too
    report
}

/// Checks characters with listed actions, with the reference's mistakes and without.
pub fn env<T: Real>(case: &Case, _: Option<u64>, backend: &dyn Backend) -> Report {
    let mut report = Report::new::<T>(case);
    let model = Model::of(Case::load(&case.folder.with_file_name(case.get::<String>("model_from"))));
    for tag in ["literal", "fixed"] {
        let arrays = case.arrays.keys().any(|name| name.starts_with(tag));
        if arrays || tag == "fixed" {
            Characters { case, model: &model, tag }.run::<T>(backend, &mut report);
        }
    }
    report
}

struct Characters<'c> {
    case: &'c Case,
    model: &'c Model,
    tag: &'static str,
}

impl Characters<'_> {
    /// The array of this tag; if there is none, the literal array, which is the same.
    fn find(&self, name: &str) -> Option<&[f64]> {
        let ours = self.case.find_array(&format!("{}.{name}", self.tag));
        ours.or_else(|| self.case.find_array(&format!("literal.{name}"))).map(|array| array.values.as_slice())
    }

    fn get(&self, name: &str) -> &[f64] {
        self.find(name).unwrap_or_else(|| panic!("{}: no array {name}", self.case.name))
    }

    /// Entries of one step of an array.
    fn at(&self, name: &str, t: usize) -> &[f64] {
        let all = self.get(name);
        let row = all.len() / self.case.get::<usize>("num_actions");
        &all[t * row..][..row]
    }

    fn run<T: Real>(&self, backend: &dyn Backend, report: &mut Report) {
        let (case, m) = (self.case, &self.model.config);
        let [characters, horizon, frame_skip] = ["num_parallel", "max_timestep", "frame_skip"].map(|key| case.get(key));
        let task = match case.get::<String>("env").as_str() {
            "randomwalk" => Task::Walk,
            name => Task::ALL.iter().copied().find(|task| task.name() == name).unwrap(),
        };
        let literal = self.tag == "literal";
        let rules = Rules {
            task,
            body: 1.0,
            speed: 0.8,
            toes: [0, 1],
            floors: [0.0; 2],
            arena: [100.0; 2],
            horizon,
            anew: task.info().anew,
            literal,
            staggered: false,
        };
        let course: Vec<f64> = match task.info().course {
            Course::Path => figure_eight(horizon),
            Course::Walls => course::maze::walls().concat().as_flattened().to_vec(),
            Course::Nothing => Vec::new(),
        };
        let (mocap, f, c) = (&self.model.case.array("mocap").values, m.frame_size, m.condition_frames);
        let poses: Vec<f64> = (0..=mocap.len() / f - c)
            .flat_map(|s| (0..c).rev().flat_map(move |j| &mocap[(s + j) * f..][..f]))
            .copied()
            .collect();
        let mut arena = Arena::default();
        let parameters = self.model.places::<T>(&mut arena);
        let state = arena.mat(1, 1);
        let options = EnvironmentOptions {
            model: m,
            rules,
            characters,
            frame_skip,
            poses: poses.len() / (c * f),
            course: course.len() / 2,
            normalize: false,
            costs: Costs::default(),
            wanted: Wanted::Nothing,
        };
        let lower = (task == Task::Maze).then_some(Lower { parameters: &parameters[1], normalized: false });
        let env = Environment::<T>::new(&mut arena, &parameters[0], lower, state, &options).unwrap();
        let (mut step, mut observe) = (Plan::default(), Plan::default());
        env.step(&mut step).unwrap();
        env.world.observe(&mut observe);
        let mut memory = Memory::new(backend, arena).unwrap();
        let w = &env.world;
        self.model.write(&mut memory, &parameters);
        let (avg, std) = (self.model.case.values("avg"), self.model.case.values("std"));
        let scale: Vec<f64> = std.iter().map(|s| 1.0 / s).collect();
        let shift: Vec<f64> = avg.iter().zip(std).map(|(a, s)| -a / s).collect();
        for (mat, values) in env.normalization.into_iter().zip([scale.as_slice(), &shift, std, avg]) {
            write(&mut memory, mat, values);
        }
        if !course.is_empty() {
            write(&mut memory, w.course, &course);
        }

        let row = c * f;
        let starts = self.get("init.start_index").iter().map(|&s| s as usize);
        write(&mut memory, w.history, &starts.flat_map(|s| &poses[s * row..][..row]).copied().collect::<Vec<f64>>());
        write(&mut memory, w.root, self.get("init.root_xz"));
        write(&mut memory, w.facing, self.get("init.root_facing"));
        write(&mut memory, w.feet, &vec![1.0; w.feet.len()]);
        if let Some(target) = self.find("init.target") {
            write_own(&mut memory, w, GOAL, target);
            if w.own.cols() == POTENTIAL + 1 {
                let root = self.get("init.root_xz");
                let away = target.chunks(2).zip(root.chunks(2)).map(|(t, r)| -(t[0] - r[0]).hypot(t[1] - r[1]));
                let measured: Vec<f64> = away.collect();
                let potential = self.find("init.linear_potential").unwrap_or(&measured);
                write_own(&mut memory, w, POTENTIAL, potential);
            }
        }
        match task {
            Task::Joystick => {
                let speeds = self.get("init.speed_index").iter().map(|index| 0.1 * index);
                let command = self.get("init.direction").iter().zip(speeds).flat_map(|(d, s)| [*d, s]);
                write_own(&mut memory, w, joystick::COMMAND, &command.collect::<Vec<f64>>());
            }
            Task::Path => {
                let offsets: Vec<u32> = self.get("init.path_offset").iter().map(|&o| o as u32).collect();
                memory.write(w.words, &offsets).unwrap();
                let every: Vec<f64> = course.chunks(2).step_by(37).flatten().copied().collect();
                self.compare::<T>(report, "path", &every, self.get("path"));
            }
            Task::Maze => self.compare::<T>(report, "walls", &course, self.get("walls")),
            Task::Walk => write(&mut memory, w.draws, self.get("init.base_action")),
            _ => {}
        }
        memory.run(&observe).unwrap();
        self.compare::<T>(report, "init.observation", &read(&memory, w.observation), self.get("init.observation"));

        let (clock, mut seen) = (case.get::<u32>("initial_timestep"), BTreeSet::new());
        for t in 0..case.get::<usize>("num_actions") {
            let action = case.values("action");
            write(&mut memory, env.action, &action[t * env.action.len()..][..env.action.len()]);
            // The clock stays at the horizon: no character starts anew by itself.
            let rollout_step = (clock + 1 + t as u32).min(horizon as u32);
            memory.write(state, &[StepState { rollout_step, ..StepState::default() }]).unwrap();
            self.write_draws(&mut memory, w.draws, task, t);
            memory.run(&step).unwrap();
            if task == Task::Walk {
                write(&mut memory, w.draws, self.at("base_action", t));
            }
            memory.run(&observe).unwrap();
            self.compare::<T>(report, "observation", &read(&memory, w.observation), self.at("observation", t));
            let outcome = read(&memory, w.outcome);
            let column = |i: usize| outcome.iter().skip(i).step_by(OUTCOME).copied().collect::<Vec<f64>>();
            self.compare::<T>(report, "reward", &column(0), self.at("reward", t));
            let done: Vec<f64> = column(1).iter().map(|mask| 1.0 - mask).collect();
            report.note("done", "done", f64::from(done != self.at("done", t)), 0.0);
            self.compare::<T>(report, "root_xz", &read(&memory, w.root), self.at("root_xz", t));
            let facing = read(&memory, w.facing);
            let off = |(a, b): (&f64, &f64)| (a - b + TAU / 2.0).rem_euclid(TAU) - TAU / 2.0;
            let turned = largest(facing.iter().zip(self.at("root_facing", t)).map(off));
            report.note("root", "root_facing", turned, case.tolerance::<T>("abs_plus_rel"));
            if self.find("target").is_some() {
                let own = read(&memory, w.own);
                let goals = own.chunks(w.own.cols()).flat_map(|own| own[GOAL..][..2].to_vec());
                self.compare::<T>(report, "target", &goals.collect::<Vec<f64>>(), self.at("target", t));
            }
            if task == Task::Maze {
                let visited = memory.read(w.words).unwrap();
                let counts =
                    visited.chunks(32).map(|map| f64::from(map.iter().map(|word| word.count_ones()).sum::<u32>()));
                let same = counts.collect::<Vec<f64>>() == self.at("coverage_count", t);
                report.note("coverage", "coverage_count", f64::from(!same), 0.0);
                seen.extend(self.reset_in_maze::<T>(&mut memory, &env, &observe, report, t, &poses[..row]));
            }
        }
        if task == Task::Maze {
            report.note("resets", "reset_step", f64::from(seen.len() != self.get("reset_step").len()), 0.0);
        }
    }

    /// Writes the random numbers that give the listed draws.
    fn write_draws<T: Real>(&self, memory: &mut Memory, draws: Mat<T>, task: Task, t: usize) {
        let known =
            |x: f64, otherwise: f64| if x.is_nan() || x < 0.0 && task == Task::Joystick { otherwise } else { x };
        let values: Vec<f64> = match task {
            Task::Target => {
                let place = self.at("target_draw", t).chunks(2);
                place.flat_map(|xz| [known(xz[0], 0.0) / 120.0 + 0.5, known(xz[1], 0.0) / 80.0 + 0.5]).collect()
            }
            Task::Joystick => {
                let pairs = self.at("direction_draw", t).iter().zip(self.at("speed_index_draw", t));
                pairs.flat_map(|(&d, &s)| [known(d, 0.0) / TAU, (known(s, 0.0) + 0.5) / 9.0]).collect()
            }
            _ => return,
        };
        write(memory, draws, &values);
    }

    /// Places characters that were reset after step t as in the case, and compares their
    /// observations.
    fn reset_in_maze<T: Real>(
        &self,
        memory: &mut Memory,
        env: &Environment<T>,
        observe: &Plan,
        report: &mut Report,
        t: usize,
        pose: &[f64],
    ) -> Vec<usize> {
        let resets: Vec<usize> =
            (0..self.get("reset_step").len()).filter(|&j| self.get("reset_step")[j] == t as f64).collect();
        let w = &env.world;
        for &j in &resets {
            let p = self.get("reset_character")[j] as usize;
            write(memory, w.root.rows_at(p, 1), &self.get("reset_xz")[2 * j..][..2]);
            write(memory, w.facing.rows_at(p, 1), &self.get("reset_facing")[j..][..1]);
            write(memory, w.history.rows_at(p, 1), pose);
            write(memory, w.feet.rows_at(p, 1), &vec![1.0; w.feet.cols()]);
            memory.write(w.words.rows_at(p, 1), &vec![0u32; w.words.cols()]).unwrap();
        }
        memory.run(observe).unwrap();
        for &j in &resets {
            let p = self.get("reset_character")[j] as usize;
            let ours = read(memory, w.observation.rows_at(p, 1));
            let golden = &self.get("reset_observation")[j * ours.len()..][..ours.len()];
            self.compare::<T>(report, "reset_observation", &ours, golden);
        }
        resets
    }

    /// |a - b| / (1 + |b|)
    fn compare<T: Real>(&self, report: &mut Report, name: &'static str, ours: &[f64], golden: &[f64]) {
        assert_eq!(ours.len(), golden.len(), "entries of {name}");
        let off = largest(ours.iter().zip(golden).map(|(a, b)| ratio((a - b).abs(), 1.0 + b.abs())));
        report.note(name, &format!("{}.{name}", self.tag), off, self.case.tolerance::<T>("abs_plus_rel"));
    }
}

/// Writes some of each character's own numbers, from a place on.
fn write_own<T: Real>(memory: &mut Memory, w: &World<T>, place: usize, values: &[f64]) {
    let (mut own, width) = (read(memory, w.own), values.len() / w.own.rows());
    for (own, values) in own.chunks_mut(w.own.cols()).zip(values.chunks(width)) {
        own[place..][..width].copy_from_slice(values);
    }
    write(memory, w.own, &own);
}

/// The path of the reference.
fn figure_eight(points: usize) -> Vec<f64> {
    course::path::figure_eight(points).as_flattened().to_vec()
}
