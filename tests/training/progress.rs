//! Tests of the remaining time that a run shows.
use mvae_fast::run::console::Pace;

#[test]
fn the_time_that_is_left_counts_evaluations() {
    // 10 epochs of 5 mini-batches of 2 s, and an evaluation of 30 s in epochs 4, 8 and 10.
    let mut pace = Pace::new(10, 5, 4, 0);
    assert_eq!(pace.remaining(0.0), 0.0, "nothing is known yet");
    (0..15).for_each(|_| pace.step(1));
    assert_eq!(pace.remaining(30.0), 70.0);
    (0..5).for_each(|_| pace.step(1));
    pace.evaluated(30.0);
    assert_eq!(pace.remaining(70.0), 60.0 + 2.0 * 30.0);
    (0..20).for_each(|_| pace.step(1));
    pace.evaluated(30.0);
    assert_eq!(pace.remaining(140.0), 20.0 + 30.0);
    (0..10).for_each(|_| pace.step(1));
    pace.evaluated(30.0);
    assert_eq!(pace.remaining(190.0), 0.0);
}

#[test]
fn a_run_that_goes_on_is_measured_anew() {
    let mut pace = Pace::new(10, 5, 1, 43);
    (0..2).for_each(|_| pace.step(1));
    pace.evaluated(1.0);
    assert_eq!(pace.remaining(5.0), 5.0 * 2.0 + 1.0);
}
