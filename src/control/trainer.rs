//! The training loop of a controller. Each update makes a rollout of the exploring policy and
//! learns from mini-batches of it.
use super::config::Decay;
use super::learner::{self, learned, repeat};
use super::record::{UpdateRecord, warnings};
use super::setup::{PolicySetup, UNSEEN};
use crate::motion::rig::METRES;
use crate::ops::advantage::OUTCOME;
use crate::run::console::{Console, Pace, Voice};
use crate::run::folder::RunFolder;
use crate::run::record::Timing;
use crate::run::session::{Limits, Session, Watch};
use crate::{Error, Result, host::memory};
use std::time::{Duration, Instant};

/// A longer update is followed by a checkpoint, so that a stop may abandon the next update.
const LONG: Duration = Duration::from_secs(5);

/// Trains to the end, or until a signal asks to stop or `max_minutes` are over; returns the records
/// of all updates. Errors: a loss that is not finite, a stop by signal (after everything was
/// saved), those of the disk.
pub(crate) fn train_policy<'a>(
    run: &mut PolicySetup,
    folder: &'a RunFolder,
    voice: impl Into<Voice>,
    watch: impl Into<Watch<'a>>,
) -> Result<Vec<UpdateRecord>> {
    let c = run.config;
    let console = Console::new(Pace::new(c.updates(), 1, c.updates(), run.at.epoch - 1), voice.into());
    let limits = Limits { max_minutes: c.max_minutes, checkpoint_every: c.checkpoint_every };
    let mut session = Session::open(folder, watch.into(), limits, (&run.at, run.at.epoch > 1), console)?;
    session.console.say(&opening(run));
    session.begin(&summary(run));
    // An update may be abandoned if the last checkpoint was written right before it.
    let mut kept = true;
    while !run.finished() {
        let update_begun = Instant::now();
        let give_up = || kept && update_begun.elapsed() > LONG && session.stopped();
        if !rollout(run, &give_up)? || !learn(run, &give_up)? {
            return session.end(false);
        }
        let mut record = record(run)?;
        finite(&record)?;
        let seconds = update_begun.elapsed().as_secs_f64();
        let samples_per_second = c.samples() as f64 / seconds;
        record.timing = Timing { seconds, samples_per_second, elapsed_seconds: session.elapsed() };
        session.records.push(record);
        let found = warnings(&session.records, run.stage.environment.action.cols());
        session.records.last_mut().expect("one was pushed").warnings = found;
        session.step(1);
        session.log()?;
        run.at.epoch += 1;
        if run.finished() || session.stopped() || session.is_enough() {
            break;
        }
        kept = session.is_due() || update_begun.elapsed() > LONG;
        if kept {
            save(run, &mut session)?;
        }
    }
    save(run, &mut session)?;
    session.end(run.finished())
}

/// Seconds that an update takes here, measured over about `time`. The updates leave the policy
/// changed, so it must not be trained afterwards. Errors: those of the backend.
pub(crate) fn seconds_an_update(run: &mut PolicySetup, time: Duration) -> Result<f64> {
    let one = |run: &mut PolicySetup| Ok::<_, Error>(rollout(run, &|| false)? && learn(run, &|| false)?);
    one(run)?;
    let (begun, mut updates) = (Instant::now(), 0);
    while begun.elapsed() < time {
        one(run)?;
        updates += 1;
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(updates))
}

/// Lets the policy explore for the steps of a rollout. Returns false if `give_up` became true
/// before the end. Errors: those of the backend.
pub fn rollout(run: &mut PolicySetup, give_up: &dyn Fn() -> bool) -> Result<bool> {
    let steps = run.config.steps();
    if let Some(most) = run.config.largest_std(run.at.epoch) {
        let (logstd, most) = (run.policy.var("dist.logstd._bias").value, most.ln() as f32);
        let before = run.memory.read(logstd)?;
        let bounded: Vec<f32> = before.iter().map(|x| x.min(most)).collect();
        run.entropy_cut = before.iter().zip(&bounded).map(|(x, y)| f64::from(x - y)).sum::<f64>() / before.len() as f64;
        run.memory.write(logstd, &bounded)?;
    }
    let share = run.config.cost_share(run.at.epoch) as f32;
    run.memory.write(run.stage.environment.cost_share, &[share])?;
    let done = ((run.at.epoch - 1) * steps) as u64;
    run.stage.write_steps(&mut run.memory, done, steps)?;
    run.memory.run(&run.begin)?;
    repeat(&mut run.memory, &run.explore, steps, run.config.characters, give_up)
}

/// Learns from the rollout. Returns false if `give_up` became true before the end. Errors: a loss
/// that is not finite, those of the backend.
pub fn learn(run: &mut PolicySetup, give_up: &dyn Fn() -> bool) -> Result<bool> {
    let rate = learning_rate(run);
    learner::learn(run, rate, give_up)
}

/// Checks that the numbers of the policy and of its losses are finite, since training does not
/// recover otherwise. Errors: one is not.
fn finite(record: &UpdateRecord) -> Result<()> {
    let numbers = [
        ("the entropy", record.dist_entropy),
        ("the critic's loss", record.value_loss),
        ("the actor's loss", record.action_loss),
        ("the KL of the update", record.kl.unwrap_or(0.0)),
        ("the gradient", record.grad_norm),
        ("the standard deviation", record.std),
    ];
    match numbers.iter().find(|(_, number)| !number.is_finite()) {
        None => Ok(()),
        Some((what, _)) => {
            let mend = "the last checkpoint is intact; try a smaller --learning-rate or --entropy-weight".into();
            Err(Error::NonFinite { epoch: record.update, step: record.step, operation: (*what).into(), mend })
        }
    }
}

fn learning_rate(run: &PolicySetup) -> f64 {
    let c = run.config;
    if c.decay == Decay::Adaptive {
        return run.rate;
    }
    c.decay.learning_rate(c.learning_rate, c.final_learning_rate, run.at.epoch - 1, c.updates())
}

/// The record of a finished update, without the warnings that depend on earlier records.
fn record(run: &mut PolicySetup) -> Result<UpdateRecord> {
    let (c, rate) = (run.config, learning_rate(run));
    let outcomes = run.memory.read(run.update.rollout().outcomes)?;
    let rewards: Vec<f64> = outcomes.chunks_exact(OUTCOME).map(|outcome| outcome[0].into()).collect();
    let learned = learned(run, &rewards)?;
    let mut ended = Vec::new();
    for step in outcomes.chunks_exact(OUTCOME * c.characters) {
        for (outcome, episode) in step.chunks_exact(OUTCOME).zip(&mut run.episodes) {
            *episode += f64::from(outcome[0]);
            if outcome[1] == 0.0 {
                let reward = std::mem::take(episode);
                if reward != UNSEEN {
                    ended.push(reward);
                }
            }
        }
    }
    ended.sort_by(f64::total_cmp);
    let middle = |list: &[f64]| (list[(list.len() - 1) / 2] + list[list.len() / 2]) / 2.0;
    run.rate = learned.kl.map_or(rate, |kl| c.adapted(rate, kl, run.at.epoch));
    let logstd = run.memory.read(run.policy.var("dist.logstd._bias").value)?;
    Ok(UpdateRecord {
        update: run.at.epoch,
        step: run.at.step,
        num_steps: (run.at.epoch * c.characters * c.steps()) as u64,
        dist_entropy: learned.entropy,
        value_loss: learned.value_loss,
        action_loss: learned.action_loss,
        step_reward: rewards.iter().sum::<f64>() / rewards.len() as f64,
        mean_rew: (!ended.is_empty()).then(|| ended.iter().sum::<f64>() / ended.len() as f64),
        median_rew: (!ended.is_empty()).then(|| middle(&ended)),
        min_rew: ended.first().copied(),
        max_rew: ended.last().copied(),
        kl: learned.kl,
        clip_fraction: learned.clipped,
        grad_norm: learned.grad_norm,
        learning_rate: rate,
        std: logstd.iter().map(|x| f64::from(x.exp())).sum::<f64>() / logstd.len() as f64,
        mean_square: run.prior_spread.map(|s| learned.square / logstd.len() as f64 / (s * s)),
        entropy_cut: run.entropy_cut,
        warnings: Vec::new(),
        timing: Timing { seconds: 0.0, samples_per_second: 0.0, elapsed_seconds: 0.0 },
    })
}

/// Writes the report, and then the last checkpoint, after the logs it refers to. So a run whose
/// checkpoint is finished has its report.
fn save(run: &mut PolicySetup, session: &mut Session<UpdateRecord>) -> Result<()> {
    let motion = run.show.make(&mut run.memory, run.at.epoch - 1)?;
    let reported = session.report(&summary(run), &motion, run.finished());
    session.sync(&mut run.at)?;
    run.save(&session.folder().last_checkpoint())?;
    reported
}

/// The line printed at the start.
fn opening(run: &PolicySetup) -> String {
    let c = run.config;
    if run.at.epoch > 1 {
        return format!("resuming at update {}, step {}", run.at.epoch, run.at.step);
    }
    format!(
        "{} parameters, {} characters, {} steps an update, {} mini-batches of {}, {} of memory, {}",
        run.policy.layout.num_parameters(),
        c.characters,
        c.characters * c.steps(),
        c.epochs * c.samples().div_ceil(c.minibatch()),
        c.minibatch(),
        memory::said(run.memory.bytes()),
        run.memory.backend().describe()
    )
}

/// The report's summary of the configuration.
fn summary(run: &PolicySetup) -> [(&'static str, String); 6] {
    let (c, rules) = (run.config, &run.material.rules);
    let m = run.material.decoder.model();
    [
        ("Task", format!("{}, {} steps an episode", c.task.name(), rules.horizon)),
        (
            "Decoder",
            format!("{:?}, {} features, {} latents: {}", m.variant, m.frame_size, m.latent_size, c.vae.display()),
        ),
        ("Body unit", format!("{:.3} m", rules.body * METRES)),
        ("Characters", format!("{}, rollouts of {} steps", c.characters, c.steps())),
        ("Seed", c.seed.to_string()),
        ("Device", run.memory.backend().describe()),
    ]
}
