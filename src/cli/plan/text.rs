//! A training step as text for people.
use super::step::{Does, Graph, OneLaunch, ShownCall, ShownRow, Step, Tensor};
use crate::backend::Engine;
use crate::host::shown::counted;
use crate::plan::Precision;
use std::fmt::{self, Write};

/// Columns of a line.
const COLUMNS: usize = 100;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let m = &self.model;
        writeln!(
            f,
            "a training step of {} at {} features, batch {}, hidden {}, latent {}: {}",
            m.variant.name(),
            m.frame_size,
            self.batch_size,
            m.hidden_size,
            m.latent_size,
            counted(self.calls.len(), "call"),
        )?;
        let starts = match self.engine {
            Engine::Graph | Engine::Auto => "a call starts when those that it waits for are over",
            Engine::Calls | Engine::Pdl => "calls start in this order",
            Engine::Persistent => "calls in one launch, in the phases below",
        };
        let (engine, precision, blocks) = (&self.engine, &self.precision, self.blocks);
        writeln!(f, "engine {engine}, {precision}, {blocks} multiprocessors: {starts}")?;
        let on_chain = |call: usize| self.graph.as_ref().is_some_and(|graph| graph.chain.contains(&call));
        let (mark, us) = if self.graph.is_some() { ("; * on the longest chain", "us") } else { ("", "") };
        writeln!(f, "below each call: its tensors, reads -> writes; ' of the step before{mark}\n")?;
        let waits = if self.engine == Engine::Graph { "waits for" } else { "comes after" };
        writeln!(f, "{:>5} {:<26} {:<16} {:>6} x {:<7} {us:>5}  {waits}", "call", "kernel", "of", "blocks", "threads")?;
        for call in &self.calls {
            call.show(f, if on_chain(call.call) { "*" } else { "" })?;
        }
        self.graph.iter().try_for_each(|graph| graph.show(f))?;
        self.one_launch.iter().try_for_each(|launch| launch.show(f))?;
        if self.precision == Precision::Fp32 {
            writeln!(f, "the model knows products on tensor cores alone: those of fp32 take longer")?;
        }
        Ok(())
    }
}

impl Graph {
    fn show(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let calls: Vec<String> = self.chain.iter().map(usize::to_string).collect();
        writeln!(f, "\nby the model, not measured:")?;
        let longest =
            format!("{:.1} us a step for the longest chain, {}: ", self.chain_us, counted(calls.len(), "call"));
        writeln!(f, "{}", wrapped(longest, &calls, ", ", 2))?;
        writeln!(f, "{:.1} us a step for all calls one after another", self.one_after_another_us)
    }
}

impl ShownCall {
    fn show(&self, f: &mut fmt::Formatter, mark: &str) -> fmt::Result {
        let of = self.layer.as_deref().unwrap_or_default();
        let us = self.us.map_or(String::new(), |us| format!("{us:.2}"));
        let number = format!("{mark}{}", self.call);
        let begin =
            format!("{number:>5} {:<26} {of:<16} {:>6} x {:<7} {us:>5}  ", self.kernel, self.blocks, self.threads);
        let waits = self.waits_for.iter().map(|wait| format!("{}{}", wait.call, "'".repeat(wait.steps_before)));
        let waits = wrapped(begin.clone(), &waits.collect::<Vec<_>>(), ", ", begin.len());
        writeln!(f, "{}", waits.trim_end())?;
        let tensors = |of: &[Tensor]| of.iter().map(Tensor::show).collect::<Vec<_>>();
        let (mut all, writes) = (tensors(&self.reads), tensors(&self.writes));
        let written = writes.iter().enumerate().map(|(i, t)| if i == 0 { format!("-> {t}") } else { t.clone() });
        all.extend(written);
        writeln!(f, "{}", wrapped(" ".repeat(6), &all, "  ", 6))
    }
}

impl Tensor {
    fn show(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("{} {}", self.name, shape.join("x"))
    }
}

impl OneLaunch {
    fn show(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rows: Vec<&ShownRow> = self.phases.iter().flat_map(|phase| &phase.rows).collect();
        writeln!(f, "\n{} of {}", counted(self.phases.len(), "phase"), counted(rows.len(), "row"))?;
        writeln!(f, "runs: before a block arrives; fetches: only the weights, for the phase after;")?;
        writeln!(f, "floats: done when the phase after ends; stays: blocks on which moments are resident\n")?;
        writeln!(
            f,
            "{:>5} {:>5} {:<7} {:>4}  {:<26} {:<17} {:>9} {:>6} {:>5} {:>5}",
            "phase", "us", "", "call", "kernel", "of", "shares", "blocks", "us", "stays"
        )?;
        for phase in &self.phases {
            for (i, row) in phase.rows.iter().enumerate() {
                let begin = if i == 0 { format!("{:>5} {:>5.2}", phase.phase, phase.us) } else { String::new() };
                writeln!(f, "{begin:<11} {}", row.show().trim_end())?;
            }
        }
        let stays = rows.iter().map(|row| row.resident_on).sum::<usize>();
        writeln!(f, "\nby the model, not measured: {:.1} us a step,", self.step_us)?;
        writeln!(f, "  {:.1} us of it an average block waits,", self.idle_us)?;
        writeln!(f, "  {:.1} us if what floats took no time", self.without_floating_us)?;
        let kept = self.kept_bytes / 1024;
        writeln!(f, "a block keeps {kept} KB of shared memory; in all, moments of {stays} tiles and more are resident")
    }
}

impl ShownRow {
    fn show(&self) -> String {
        let does = match self.does {
            Does::Runs => "runs",
            Does::Fetches => "fetches",
            Does::Floats => "floats",
        };
        let (of, late) = (self.layer.as_deref().unwrap_or_default(), "'".repeat(self.late));
        let shares = self.shares.map_or(String::new(), |[first, end]| format!("{first}..{end}"));
        let stays = if self.resident_on > 0 { self.resident_on.to_string() } else { String::new() };
        let (call, kernel, blocks, us) = (self.call, self.kernel, self.blocks, self.us);
        format!("{does:<7} {call:>4}{late:<1} {kernel:<26} {of:<17} {shares:>9} {blocks:>6} {us:>5.2} {stays:>5}")
    }
}

/// The words behind `begin`, with a separator between them. Lines that would be too long go on in
/// the next one, behind this many spaces.
fn wrapped(begin: String, words: &[String], separator: &str, indent: usize) -> String {
    let (mut text, mut at) = (begin.clone(), begin.chars().count());
    for (i, word) in words.iter().enumerate() {
        let last = i + 1 == words.len();
        let with = if last { word.clone() } else { format!("{word}{separator}") };
        if i > 0 && at + with.trim_end().len() > COLUMNS {
            text.truncate(text.trim_end().len());
            write!(text, "\n{}", " ".repeat(indent)).expect("memory takes every write");
            at = indent;
        }
        text.push_str(&with);
        at += with.len();
    }
    text
}
