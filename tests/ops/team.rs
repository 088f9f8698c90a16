//! The team of threads: every task runs once, on any thread.
use mvae_fast::cpu::team::Team;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn counters(n: usize) -> Vec<AtomicUsize> {
    (0..n).map(|_| AtomicUsize::new(0)).collect()
}

fn counts(counters: &[AtomicUsize]) -> Vec<usize> {
    counters.iter().map(|n| n.load(Relaxed)).collect()
}

#[test]
fn every_task_runs_once() {
    for threads in 1..=5 {
        let team = Team::new(threads);
        for region in 0..2000 {
            let runs = counters(region % 23);
            team.run(runs.len(), |i| {
                runs[i].fetch_add(1, Relaxed);
            });
            assert!(counts(&runs).iter().all(|&n| n == 1), "{threads} threads: {:?}", counts(&runs));
        }
    }
}

#[test]
fn whoever_is_done_helps() {
    // The first task ends only when all others have, those of its own thread's share included.
    let (team, done) = (Team::new(2), AtomicUsize::new(0));
    team.run(10, |i| {
        while i == 0 && done.load(Relaxed) < 9 {
            std::thread::yield_now();
        }
        done.fetch_add(1, Relaxed);
    });
    assert_eq!(done.load(Relaxed), 10);
}

#[test]
fn a_region_inside_a_task_and_one_after_a_panic() {
    let team = Team::new(3);
    let runs = counters(35);
    team.run(5, |i| {
        team.run(7, |j| {
            runs[7 * i + j].fetch_add(1, Relaxed);
        })
    });
    assert_eq!(counts(&runs), [1; 35]);

    let runs = counters(9);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        team.run(9, |i| {
            runs[i].fetch_add(1, Relaxed);
            assert!(i != 4, "planted");
        })
    }));
    assert!(panic.is_err());
    team.run(9, |i| {
        runs[i].fetch_add(1, Relaxed);
    });
    assert_eq!(counts(&runs), [2; 9]);
}
