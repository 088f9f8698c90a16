//! A step's condition and truth.
use crate::operations::{memory, run, state};
use mvae_fast::backend::Memory;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::window::{Window, push};
use mvae_fast::plan::arena::{Arena, Mat};

const F: usize = 2;

/// Frame i of the data is (i, i + 0.5).
fn frames(numbers: &[f64]) -> Vec<f64> {
    numbers.iter().flat_map(|i| [*i, i + 0.5]).collect()
}

struct Rollout {
    memory: Memory<'static>,
    window: Window<f64>,
}

impl Rollout {
    /// Two mini-batches of two samples, `c` condition frames and `k` predictions, which are frames
    /// 100, 101, ... and 200, ...
    fn new(c: usize, k: usize) -> Self {
        let mut arena = Arena::default();
        let (data, starts) = (arena.mat(20, F), arena.mat(2, 2));
        let (schedule, cursor) = (arena.mat(1, 1), arena.mat(1, 2));
        let [prediction, truth] = [(); 2].map(|()| arena.mat(2, k * F));
        let condition = arena.mat(2, c * F);
        let mut memory = memory(arena);
        memory.write(data, &frames(&(0..20).map(f64::from).collect::<Vec<_>>())).unwrap();
        memory.write(starts, &[9, 9, 2, 5]).unwrap();
        let predicted: Vec<f64> = [100.0, 200.0].iter().flat_map(|i| (0..k).map(move |j| i + j as f64)).collect();
        memory.write(prediction, &frames(&predicted)).unwrap();
        Rollout {
            memory,
            window: Window { data, starts, schedule, cursor, prediction, losses: Mat::NONE, condition, truth },
        }
    }

    /// Condition and truth of a step of the second mini-batch.
    fn step(&mut self, rollout_step: u32, student: u32) -> (Vec<f64>, Vec<f64>) {
        let next = StepState { minibatch: 1, rollout_step, student, ..state(1, 1) };
        self.memory.write(self.window.schedule, &[next]).unwrap();
        run(&mut self.memory, |plan| push(plan, &self.window));
        (self.memory.read(self.window.condition).unwrap(), self.memory.read(self.window.truth).unwrap())
    }
}

#[test]
fn history_is_newest_first_and_takes_truth_or_prediction() {
    let mut rollout = Rollout::new(3, 2);
    let (condition, truth) = rollout.step(0, 1);
    assert_eq!(
        condition,
        frames(&[4.0, 3.0, 2.0, 7.0, 6.0, 5.0]),
        "a rollout starts with true frames, also for a student"
    );
    assert_eq!(truth, frames(&[5.0, 6.0, 8.0, 9.0]));
    let (condition, truth) = rollout.step(1, 0);
    assert_eq!(condition, frames(&[5.0, 4.0, 3.0, 8.0, 7.0, 6.0]), "teacher");
    assert_eq!(truth, frames(&[6.0, 7.0, 9.0, 10.0]));
    let (condition, truth) = rollout.step(2, 1);
    assert_eq!(condition, frames(&[100.0, 5.0, 4.0, 200.0, 8.0, 7.0]), "student: the first predicted frame");
    assert_eq!(truth, frames(&[7.0, 8.0, 10.0, 11.0]));
    let (condition, _) = rollout.step(3, 0);
    assert_eq!(condition, frames(&[7.0, 100.0, 5.0, 10.0, 200.0, 8.0]), "what was predicted stays in the history");
    assert_eq!(rollout.step(0, 0).0, frames(&[4.0, 3.0, 2.0, 7.0, 6.0, 5.0]), "the next rollout forgets it");
}

#[test]
fn one_condition_frame_is_replaced() {
    let mut rollout = Rollout::new(1, 1);
    assert_eq!(rollout.step(0, 0), (frames(&[2.0, 5.0]), frames(&[3.0, 6.0])));
    assert_eq!(rollout.step(1, 0), (frames(&[3.0, 6.0]), frames(&[4.0, 7.0])));
    assert_eq!(rollout.step(2, 1), (frames(&[100.0, 200.0]), frames(&[5.0, 8.0])));
}
