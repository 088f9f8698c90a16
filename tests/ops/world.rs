//! Characters in a world: properties of the tasks that hold whatever the decoder predicts.
use crate::operations::{close, fill, gradients, memory};
use clap::ValueEnum;
use mvae_fast::backend::Memory;
use mvae_fast::control::config::PolicyConfig;
use mvae_fast::ops::advantage::OUTCOME;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::world::task::Course;
use mvae_fast::ops::world::{GOAL, POTENTIAL, Rules, Sizes, Task, World};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Mat};

const P: usize = 40;
const BODY: f64 = 1.3;
const HORIZON: usize = 1000;

/// P characters of 4 joints, filled with numbers of this seed, and the plans of a step and of a
/// reset.
fn world(task: Task, seed: u64) -> (World<f64>, Memory<'static>, [Plan; 2]) {
    let rules = Rules {
        task,
        body: BODY,
        speed: 0.7,
        toes: [0, 1],
        floors: [0.0; 2],
        arena: [100.0, 80.0],
        horizon: HORIZON,
        anew: task.info().anew,
        literal: false,
        staggered: true,
    };
    let course = if task.info().course == Course::Path { 300 } else { 8 };
    let (characters, frame_size, condition_frames, future_predictions, poses) = (P, 51, 1, 2, 3);
    let sizes = Sizes { characters, frame_size, condition_frames, future_predictions, poses, course };
    let mut arena = Arena::default();
    let (state, latent) = (arena.mat(1, 1), arena.mat(P, 5));
    let w = World::new(&mut arena, rules, sizes, state, latent).unwrap();
    let mut plans: [Plan; 2] = Default::default();
    w.step(&mut plans[0], 0, true);
    w.reset(&mut plans[1]);
    let mut memory = memory(arena);
    let (place, program) = w.program();
    memory.write(place, program).unwrap();
    for (i, mat) in floats(&w).into_iter().enumerate() {
        fill(&mut memory, mat, seed * 100 + i as u64);
    }
    memory.write(state, &[StepState { rollout_step: 7, seed, step: 3, ..StepState::default() }]).unwrap();
    (w, memory, plans)
}

/// All tasks, and those of the examples.
fn all_tasks() -> Vec<Task> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tasks")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let examples = files.iter().map(|file| Task::read(file.to_str().unwrap()).unwrap());
    Task::ALL.iter().copied().chain(examples).collect()
}

/// Every tensor of floats that there is.
fn floats(w: &World<f64>) -> Vec<Mat<f64>> {
    let all = [w.frames, w.latent, w.draws, w.poses, w.course, w.history, w.root, w.facing, w.feet, w.own];
    all.into_iter().filter(|mat| !mat.is_none()).collect()
}

#[test]
fn derivatives() {
    gradients("world");
}

#[test]
fn a_task_goes_by_one_name() {
    for task in Task::ALL {
        let (name, value) = (task.name(), task.to_possible_value().unwrap());
        assert_eq!(value.get_name(), name);
        assert_eq!(value.get_help().unwrap().to_string(), task.info().about);
        assert_eq!(serde_json::to_value(task).unwrap(), name);
        assert!(task.info().keys.iter().all(|key| PolicyConfig::KEYS.contains(key)), "{name}");
    }
}

#[test]
fn a_path_that_starts_turned_is_the_path_turned() {
    for seed in 1..=3 {
        let (w, mut memory, [step, _]) = world(Task::Walk, seed);
        let turn = 0.7f64;
        // The second half walks as the first does, but starts turned, at the origin both.
        memory.write(w.root, &[0.0; 2 * P]).unwrap();
        let facing: Vec<f64> =
            (0..P).map(|p| 0.1 * (p % (P / 2)) as f64 + if p < P / 2 { 0.0 } else { turn }).collect();
        memory.write(w.facing, &facing).unwrap();
        for t in 0..20 {
            fill(&mut memory, w.frames.rows_at(0, P / 2), 1000 * seed + t);
            let frames = memory.read(w.frames.rows_at(0, P / 2)).unwrap();
            memory.write(w.frames.rows_at(P / 2, P / 2), &frames).unwrap();
            memory.run(&step).unwrap();
        }
        let root = memory.read(w.root).unwrap();
        let (first, second) = root.split_at(P);
        let (sin, cos) = turn.sin_cos();
        let turned: Vec<f64> =
            first.chunks(2).flat_map(|x| [cos * x[0] + sin * x[1], cos * x[1] - sin * x[0]]).collect();
        close(second, &turned, 1e-10);
    }
}

#[test]
fn rewards_are_bounded_as_their_formulas_say() {
    for &task in Task::ALL {
        for seed in 1..=5 {
            let (w, mut memory, [step, _]) = world(task, seed);
            // The potential is what it says it is.
            if let Task::Target | Task::Path = task {
                let (root, mut own) = (memory.read(w.root).unwrap(), memory.read(w.own).unwrap());
                for (root, own) in root.chunks(2).zip(own.chunks_mut(w.own.cols())) {
                    let goal = &own[GOAL..];
                    own[POTENTIAL] = -(root[0] - goal[0]).hypot(root[1] - goal[1]) / BODY;
                }
                memory.write(w.own, &own).unwrap();
            }
            let before = memory.read(w.root).unwrap();
            memory.run(&step).unwrap();
            let (outcome, after) = (memory.read(w.outcome).unwrap(), memory.read(w.root).unwrap());
            for (p, outcome) in outcome.chunks(OUTCOME).enumerate() {
                let reward = outcome[0];
                let moved = (after[2 * p] - before[2 * p]).hypot(after[2 * p + 1] - before[2 * p + 1]) / BODY;
                let [least, most] = (task.info().rewards)(moved);
                let holds = (least..=most).contains(&reward) && (task != Task::Maze || [least, most].contains(&reward));
                assert!(holds, "{task:?}, seed {seed}, character {p}: {reward} after a step of {moved}");
            }
        }
    }
}

#[test]
fn a_reset_leaves_other_characters_untouched() {
    for task in all_tasks() {
        let (w, mut memory, [_, reset]) = world(task, 1);
        let outcome: Vec<f64> =
            (0..P * OUTCOME).map(|i| f64::from(u8::from(!(i / OUTCOME).is_multiple_of(3)))).collect();
        memory.write(w.outcome, &outcome).unwrap();
        let mats = floats(&w);
        let read = |memory: &Memory| mats.iter().map(|&mat| memory.read(mat).unwrap()).collect::<Vec<_>>();
        let before = read(&memory);
        memory.run(&reset).unwrap();
        for ((mat, before), after) in mats.iter().zip(before).zip(read(&memory)).filter(|((mat, _), _)| mat.rows() == P)
        {
            for p in (0..P).filter(|p| !p.is_multiple_of(3)) {
                let row = p * mat.cols()..(p + 1) * mat.cols();
                assert_eq!(before[row.clone()], after[row], "{task:?}: character {p} was not done");
            }
        }
        let root = memory.read(w.root).unwrap();
        let moved = (0..P).step_by(3).all(|p| task.info().course != Course::Nothing || root[2 * p..][..2] == [0.0; 2]);
        assert!(moved, "{task:?}: whoever is done starts at the origin");
    }
}

#[test]
fn whoever_starts_anew_on_the_path_starts_behind_its_point() {
    let (w, mut memory, [_, reset]) = world(Task::Path, 2);
    let n = w.course.rows();
    // A circle of circumference n: neighbours are about 1 apart.
    let angle = |i: usize| std::f64::consts::TAU * i as f64 / n as f64;
    let radius = n as f64 / std::f64::consts::TAU;
    let circle: Vec<f64> = (0..n).flat_map(|i| [radius * angle(i).cos(), radius * angle(i).sin()]).collect();
    memory.write(w.course, &circle).unwrap();
    memory.write(w.outcome, &[0.0; P * OUTCOME]).unwrap();
    memory.run(&reset).unwrap();
    let (root, own) = (memory.read(w.root).unwrap(), memory.read(w.own).unwrap());
    let facing = memory.read(w.facing).unwrap();
    for (p, (root, own)) in root.chunks(2).zip(own.chunks(w.own.cols())).enumerate() {
        let way = [0, 1].map(|axis| own[GOAL + axis] - root[axis]);
        let far = way[0].hypot(way[1]);
        assert!((3.5..4.0).contains(&far), "character {p}: the point is {far} away, and 4 steps ahead");
        assert!((own[POTENTIAL] + far / BODY).abs() < 1e-12, "what is measured is the way from where it stands");
        let ahead = facing[p].cos() * way[0] - facing[p].sin() * way[1];
        assert!(ahead > 0.7 * far, "character {p} faces along the path");
    }
}

#[test]
fn whoever_is_lost_in_a_frame_of_a_step_is_done() {
    for task in all_tasks() {
        let (w, mut memory, _) = world(task, 3);
        let mut frames = memory.read(w.frames).unwrap();
        frames[3] = f64::NAN; // the first character's first frame
        let mut step = Plan::default();
        w.step(&mut step, 0, false);
        w.step(&mut step, 1, true);
        memory.write(w.frames, &frames).unwrap();
        // A new command at the same time does not change this.
        let rollout_step = task.info().anew.max(1) as u32;
        memory.write(w.state, &[StepState { rollout_step, ..StepState::default() }]).unwrap();
        memory.run(&step).unwrap();
        let outcome = memory.read(w.outcome).unwrap();
        assert_eq!(outcome[1..3], [0.0, 1.0], "{task:?}");
        assert!(task.info().course == Course::Walls || outcome[OUTCOME + 1] == 1.0, "{task:?}: nobody else");
    }
}

#[test]
fn the_time_of_each_character_is_out_at_its_own_step() {
    for task in all_tasks() {
        let (w, mut memory, [step, _]) = world(task, 4);
        let mut outs = vec![Vec::new(); P];
        for t in 1..=HORIZON {
            memory.write(w.state, &[StepState { rollout_step: t as u32, ..StepState::default() }]).unwrap();
            memory.run(&step).unwrap();
            for (p, outcome) in memory.read(w.outcome).unwrap().chunks(OUTCOME).enumerate() {
                let clock = (t - 1 + p * HORIZON / P) % HORIZON + 1;
                // A new command is not the doing of the step before it, unless that was the
                // character's last.
                let asks = task.info().anew;
                let anew = asks > 0 && clock.is_multiple_of(asks) && outcome[1] != 0.0;
                let out = clock == HORIZON;
                assert_eq!(outcome[2] == 0.0, anew || out, "{task:?}: character {p} at {clock}");
                if out && outcome[1] == 0.0 {
                    outs[p].push(clock);
                }
            }
        }
        assert_eq!(outs, vec![[HORIZON]; P], "{task:?}: once an episode");
    }
}

/// The joystick as a file gives the numbers of the built-in one, over steps in which all commands
/// change.
#[test]
fn the_joystick_can_be_composed() {
    let composed = Task::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tasks/joystick.toml")).unwrap();
    let mut both = [Task::Joystick, composed].map(|task| world(task, 5));
    for (w, memory, [_, reset]) in &mut both {
        memory.write(w.outcome, &[0.0; P * OUTCOME]).unwrap();
        memory.run(reset).unwrap();
    }
    assert_eq!(both[0].0.draws.cols(), both[1].0.draws.cols());
    let (mut anew, mut rewards) = (0, 0.0);
    for t in 1..=250 {
        let seen = both.each_mut().map(|(w, memory, [step, _])| {
            fill(memory, w.frames, 900 + t);
            let drawn: Vec<f64> = (0..2 * P).map(|i| (0.618 * (i as u64 + 7 * t) as f64).fract()).collect();
            memory.write(w.draws, &drawn).unwrap();
            memory.write(w.state, &[StepState { rollout_step: t as u32, ..StepState::default() }]).unwrap();
            let mut observe = Plan::default();
            w.observe(&mut observe);
            memory.run(step).unwrap();
            memory.run(&observe).unwrap();
            (memory.read(w.outcome).unwrap(), memory.read(w.observation).unwrap())
        });
        close(&seen[1].0, &seen[0].0, 1e-9);
        close(&seen[1].1, &seen[0].1, 1e-9);
        anew += seen[0].0.chunks(OUTCOME).filter(|outcome| outcome[2] == 0.0).count();
        rewards += seen[0].0[0];
    }
    assert!(anew > P && rewards > 1.0, "{anew} commands, {rewards}");
}
