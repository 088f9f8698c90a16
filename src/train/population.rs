//! Runs side by side in one process. They share its threads and nothing else, so each gives bit for
//! bit the result of a run on its own.
use crate::Result;
use crate::run::record::EpochRecord;
use crate::train::trainer::Training;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The outcome of a run: the records of all its epochs.
pub(crate) type Outcome = Result<Vec<EpochRecord>>;

/// Trains runs on `threads` threads, and returns their outcomes in the order of the runs.
///
/// Each thread takes the run that is furthest behind, trains an epoch of it and puts it back. So
/// all runs advance side by side, and no thread is idle until the last epochs. A run that fails
/// does not stop the others.
pub(crate) fn train_all(runs: Vec<Training>, threads: usize) -> Vec<Outcome> {
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(runs.iter().map(|_| None).collect());
    let waiting = Mutex::new(runs.into_iter().enumerate().collect::<Vec<_>>());
    let next = || {
        let mut waiting = locked(&waiting);
        let behind = (0..waiting.len()).min_by(|&a, &b| waiting[a].1.done().total_cmp(&waiting[b].1.done()))?;
        Some(waiting.remove(behind))
    };
    // A thread that finds no waiting run may end: each unfinished run is held by another thread.
    let work = || {
        while let Some((number, mut run)) = next() {
            let outcome = match run.epoch() {
                Ok(true) => {
                    locked(&waiting).push((number, run));
                    continue;
                }
                Ok(false) => run.end().map(|(session, _)| session.finish()),
                Err(error) => Err(error),
            };
            locked(&outcomes)[number] = Some(outcome);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.into_iter().map(|outcome| outcome.expect("every run has ended")).collect()
}

/// Locks a mutex, ignoring poison: a thread that panics ends them all.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
