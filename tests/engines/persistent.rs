//! The engine that runs a plan as one launch, on the host. It gives the bits of call by call, on
//! any number of blocks, and needs every barrier.
#![cfg(unix)]
use crate::steps::{BATCH, MINIBATCHES, ROLLOUT, Run};
use clap::ValueEnum;
use mvae_fast::backend::persistent::phases::{Part, Phases, Row, phases};
use mvae_fast::backend::persistent::{KEPT, THREADS, Table};
use mvae_fast::backend::{Memory, simt::Simt};
use mvae_fast::config::Variant;
use mvae_fast::plan::{Call, Grid, Precision};
use std::sync::OnceLock;

/// Parameters, moments and sums after a rollout and a step.
fn state(variant: Variant, backend: Simt) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    after(&[ROLLOUT, 1], variant, backend)
}

/// Parameters, moments and sums after launches of these numbers of steps.
fn after(launches: &[usize], variant: Variant, backend: Simt) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    let mut run = Run::<f32>::on(variant, |arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap());
    let start = run.state();
    launches.iter().for_each(|&steps| run.steps(steps));
    let end = run.state();
    assert!(start.0 != end.0 && end.0.iter().all(|x| x.is_finite()), "{variant:?}: nothing moved");
    end
}

/// The state of call by call, with as many threads a block as `persistent`: sums over a block have
/// the same order.
fn call_by_call(variant: Variant, precision: Precision) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    state(variant, Simt::new(1).at(precision).on_grid(Grid { blocks: 5, threads: THREADS }))
}

#[test]
fn one_launch_gives_the_bits_of_call_by_call() {
    for &variant in Variant::value_variants() {
        for precision in [Precision::Fp32, Precision::Bf16x3] {
            let want = call_by_call(variant, precision);
            let got = state(variant, Simt::new(2).at(precision).persistent(3));
            assert!(want == got, "{variant:?}, {precision}");
        }
    }
}

/// Number of multiprocessors of an H100 or H200.
const MULTIPROCESSORS: u32 = 132;

#[test]
fn blocks_pass_over_calls_without_work_for_them() {
    let run = Run::<f32>::full(Variant::Mixture, 64);
    let calls = run.step.plan.calls();
    let phases = phases(calls, Precision::Bf16x3, MULTIPROCESSORS, KEPT);
    let table = Table::new(&phases, calls, Precision::Bf16x3, 0, MULTIPROCESSORS).unwrap();
    let (all, own) = (table.calls.len(), table.own.len() as f64 / f64::from(MULTIPROCESSORS));
    println!("a block goes through {own:.1} of {all} calls");
    assert_eq!(table.begins.len(), MULTIPROCESSORS as usize);
    assert!(own < 0.65 * all as f64, "{own} of {all}");
}

/// Two steps of the mixture on eight blocks, in phases that `change` spoils.
fn spoiled(seed: u64, change: &dyn Fn(&[Call], &mut Phases)) -> (Vec<u32>, Vec<u64>) {
    // Tiles of tensor cores, which are small: work that one block does alone needs no barrier.
    let simt = |seed| Simt::new(seed).at(Precision::Bf16x3).persistent(8);
    let on = |backend: Simt| {
        Run::<f32>::on(Variant::Mixture, |arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap())
    };
    let plan = on(simt(seed)).step.plan;
    static FOUND: OnceLock<Phases> = OnceLock::new();
    let mut phases = FOUND.get_or_init(|| phases(plan.calls(), Precision::Bf16x3, 8, KEPT)).clone();
    change(plan.calls(), &mut phases);
    let mut run = on(simt(seed).in_phases(phases));
    run.steps(2);
    let (parameters, _, _, sums) = run.state();
    (parameters.iter().map(|x| x.to_bits()).collect(), sums)
}

/// True if some order of threads shows that a change makes the result wrong.
fn is_wrong(want: &(Vec<u32>, Vec<u64>), change: &dyn Fn(&[Call], &mut Phases)) -> bool {
    (1..=40).any(|seed| spoiled(seed, change) != *want)
}

/// The phases of [`spoiled`] as they are.
fn unspoiled() -> (Phases, (Vec<u32>, Vec<u64>)) {
    let found = std::cell::RefCell::new(None);
    let want = spoiled(1, &|_, phases| *found.borrow_mut() = Some(phases.clone()));
    (found.into_inner().unwrap(), want)
}

#[test]
fn every_barrier_is_needed() {
    let (phases, want) = unspoiled();
    let without = |barrier: usize| {
        move |_: &[Call], phases: &mut Phases| {
            let ends = phases.rows.iter_mut().filter(|row| row.phase == barrier);
            ends.for_each(|row| (row.arrives, row.waits) = (false, false));
        }
    };
    let unneeded: Vec<usize> = (0..phases.count).filter(|&barrier| !is_wrong(&want, &without(barrier))).collect();
    assert!(unneeded.is_empty(), "{unneeded:?} of {} phases", phases.count);
}

/// A row of one share alone.
fn alone(row: &Row, share: u32) -> Row {
    Row { part: Part { shares: share..share + 1, ..row.part.clone() }, ..row.clone() }
}

/// True if shares, counted from the first, lie on the same blocks in both parts, and each conflicts
/// only with the one on its block.
fn share_by_share(calls: &[Call], one: &Row, other: &Row) -> bool {
    let at = |share: u32, row: &Row| share - row.part.shares.start;
    one.part.shares.clone().all(|a| {
        let others = other.part.shares.clone().filter(|&b| at(b, other) != at(a, one));
        others.into_iter().all(|b| !alone(one, a).conflicts(&alone(other, b), calls))
    })
}

/// The number of phases after which the first other parts need this one to be over, and these
/// parts.
fn needed_after<'a>(calls: &[Call], phases: &'a Phases, row: &Row) -> (usize, Vec<&'a Row>) {
    let place = |row: &Row| row.phase + row.late * phases.count;
    let after =
        |other: &Row| place(other) + if other.part.call <= row.part.call { phases.count } else { 0 } - place(row);
    let mut others: Vec<&Row> = phases.rows.iter().filter(|other| row.conflicts(other, calls)).collect();
    let first = others.iter().map(|other| after(other)).min().expect("at least itself, in the next step");
    others.retain(|other| after(other) == first);
    (first, others)
}

/// The block, of eight, that alone does all work of a row that conflicts with another, if there is
/// one.
fn only_block(calls: &[Call], row: &Row, other: &Row) -> Option<u32> {
    let meets = |share: &u32| alone(row, *share).conflicts(other, calls);
    let mut blocks = match calls[row.part.call].shares() {
        Some(_) => row.part.shares.clone().filter(meets).map(|share| share - row.part.shares.start).collect(),
        None => (0..calls[row.part.call].variant(Precision::Bf16x3).1.blocks).collect::<Vec<u32>>(),
    };
    blocks.iter_mut().for_each(|block| *block = (*block + row.first_block) % 8);
    blocks.dedup();
    if blocks.len() == 1 { blocks.pop() } else { None }
}

#[test]
fn conflicts_keep_their_order_in_every_model() {
    for &variant in Variant::value_variants() {
        let run = Run::<f32>::full(variant, BATCH);
        let calls = run.step.plan.calls();
        for (precision, blocks) in [(Precision::Fp32, 8), (Precision::Bf16x3, 132)] {
            let phases = phases(calls, precision, blocks, KEPT);
            assert!(phases.is_whole(), "{variant:?}: a barrier without a phase");
            let place = |row: &Row| row.phase + row.late * phases.count;
            for (i, one) in phases.rows.iter().enumerate() {
                for (j, other) in phases.rows.iter().enumerate().filter(|(_, other)| one.conflicts(other, calls)) {
                    // The first repetition in which the other has to come after this one.
                    let later = if one.part.call < other.part.call { 0 } else { phases.count };
                    let (end, start) = (place(one) + usize::from(one.floats), place(other) + later);
                    // Parts that add to the same tiles have the same blocks, which run them in
                    // order; so do shares that go on with the same shares.
                    let in_order = later == 0 && end <= start && (place(one) < place(other) || i < j);
                    let together = in_order && one.first_block == other.first_block;
                    let products = calls[one.part.call].product().is_some()
                        && calls[one.part.call].kernel() == calls[other.part.call].kernel();
                    let goes_on = || products || share_by_share(calls, one, other);
                    assert!(end < start || (together && goes_on()), "{variant:?}: {one:?} before {other:?}");
                }
            }
            let mut shares = vec![Vec::new(); calls.len()];
            phases.rows.iter().for_each(|row| shares[row.part.call].extend(row.part.shares.clone()));
            for (call, shares) in calls.iter().zip(&mut shares) {
                shares.sort();
                assert_eq!(*shares, (0..call.shares().unwrap_or(0)).collect::<Vec<_>>(), "each is in one part");
            }
        }
    }
}

#[test]
fn nothing_floats_too_far() {
    let (phases, want) = unspoiled();
    let floating: Vec<Row> = phases.rows.iter().filter(|row| row.floats && !row.fetches).cloned().collect();
    // Work that one block does alone, for itself alone, needs no barrier.
    let run = Run::<f32>::new(Variant::Mixture, 1);
    let calls = run.step.plan.calls();
    let own = |row: &Row| {
        let (_, others) = needed_after(calls, &phases, row);
        let [here, there] = [
            others.iter().map(|other| only_block(calls, row, other)).collect::<Vec<_>>(),
            others.iter().map(|other| only_block(calls, other, row)).collect(),
        ];
        here == there && here.iter().all(Option::is_some)
    };
    let (own, floating): (Vec<Row>, Vec<Row>) = floating.into_iter().partition(own);
    assert!(floating.len() > 10 && own.len() < 4, "{floating:?}, {own:?}");
    let mut missed = Vec::new();
    for row in floating {
        let later = |calls: &[Call], phases: &mut Phases| {
            let (by, _) = needed_after(calls, phases, &row);
            assert!(by >= 2, "it is over when the next phase ends");
            let place = row.phase + by - 1;
            let moved = Row { phase: place % phases.count, late: row.late + place / phases.count, ..row.clone() };
            phases.rows.retain(|other| *other != row);
            // The row now runs between a block's arrival at the end of that phase and its wait for
            // the others.
            let waits = phases.rows.iter().position(|other| other.phase == moved.phase && other.waits).unwrap();
            phases.rows[waits].waits = false;
            phases.rows.insert(waits + 1, Row { arrives: false, waits: true, ..moved });
        };
        if !is_wrong(&want, &later) {
            missed.push(row.clone());
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// The place of a row, in phases since its repetition began.
fn place(phases: &Phases, row: &Row) -> usize {
    row.phase + row.late * phases.count
}

#[test]
fn weights_are_fetched_a_phase_before_their_product() {
    let run = Run::<f32>::full(Variant::Mixture, 64);
    let phases = phases(run.step.plan.calls(), Precision::Bf16x3, MULTIPROCESSORS, KEPT);
    let products: Vec<&Row> = phases.rows.iter().filter(|row| row.fetched.is_some() && !row.fetches).collect();
    assert!(products.len() >= 10 && phases.kept <= KEPT, "{products:?}");
    for product in products {
        let fetch = phases.rows.iter().filter(|row| row.fetches && row.part.call == product.part.call);
        let fetch: Vec<&Row> = fetch.collect();
        assert!(fetch.len() == 1 && place(&phases, fetch[0]) + 1 == place(&phases, product), "{fetch:?}");
        assert_eq!((fetch[0].fetched, fetch[0].first_block), (product.fetched, product.first_block));
    }
}

#[test]
fn nothing_is_fetched_too_early() {
    let (phases, want) = unspoiled();
    let fetching: Vec<Row> = phases.rows.iter().filter(|row| row.fetches).cloned().collect();
    assert!(fetching.len() >= 5, "{fetching:?}");
    let mut missed = Vec::new();
    for row in fetching {
        let earlier = |calls: &[Call], phases: &mut Phases| {
            // The fetching moves to the phase in which the weights begin to be written. That update
            // belongs to the step before, so all else begins a step later. The weights go to a
            // place where nothing else is kept.
            let written =
                phases.rows.iter().filter(|other| other.part.call > row.part.call && other.conflicts(&row, calls));
            let place = written.map(|other| place(phases, other)).min().expect("weights are trained");
            phases.rows.iter_mut().for_each(|other| other.late += 1);
            let fetched = Some(phases.kept / size_of::<f32>());
            phases.kept += 4 * calls[row.part.call].product().unwrap().fetched();
            phases.rows.iter_mut().filter(|p| p.part.call == row.part.call).for_each(|p| p.fetched = fetched);
            let moved = Row { phase: place % phases.count, late: place / phases.count, fetched, ..row.clone() };
            phases.rows.retain(|other| !(other.fetches && other.part.call == row.part.call));
            let first = phases.rows.iter().position(|other| other.phase == moved.phase).unwrap();
            phases.rows.insert(first, Row { arrives: false, waits: false, ..moved });
        };
        if !is_wrong(&want, &earlier) {
            missed.push(row.clone());
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn what_stays_has_a_place_of_its_own() {
    let (phases, want) = unspoiled();
    let own = |phase: &Phases| {
        let of_block = |row: &Row| row.resident.first().copied().filter(|&place| place > 0);
        phase.rows.iter().enumerate().filter_map(|(i, row)| Some((i, of_block(row)?))).collect::<Vec<_>>()
    };
    let places = own(&phases);
    assert!(places.len() >= 5, "{places:?}");
    let (last, first) = (places[places.len() - 1].0, places[0].1);
    assert!(is_wrong(&want, &|_, phases| phases.rows[last].resident[0] = first), "two in one place");
}

#[test]
fn what_a_block_keeps_changes_no_bit() {
    let want = call_by_call(Variant::Mixture, Precision::Bf16x3);
    for (kept, seed) in [(0, 5), (3000, 6), (20_000, 7)] {
        let got = state(Variant::Mixture, Simt::new(seed).at(Precision::Bf16x3).persistent(3).keeping(kept));
        assert!(want == got, "{kept} bytes");
    }
}

#[test]
fn an_epoch_is_one_launch() {
    let (steps, simt) = (MINIBATCHES * ROLLOUT, || Simt::new(4).at(Precision::Bf16x3));
    let want =
        after(&[1; MINIBATCHES * ROLLOUT], Variant::Mixture, simt().on_grid(Grid { blocks: 5, threads: THREADS }));
    assert!(want == after(&[steps], Variant::Mixture, simt().persistent(3)));
}

#[test]
fn on_any_number_of_blocks() {
    let want = call_by_call(Variant::Mixture, Precision::Bf16x3);
    for blocks in [1, 8, 132] {
        let got = state(Variant::Mixture, Simt::new(3).at(Precision::Bf16x3).persistent(blocks));
        assert!(want == got, "{blocks} blocks");
    }
}
