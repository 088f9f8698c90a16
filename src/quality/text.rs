//! A report as text for people.
use super::Quality;
use super::distance::Distance;
use super::gait::{GaitReport, PAPER_HEIGHTS};
use super::walks::DIVERSITY_FRAMES;
use std::fmt::{self, Display, Formatter};

impl Display for Quality {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let d = &self.data;
        writeln!(
            f,
            "{}: {} frames{}, of which {} in {} clips were held out",
            d.name,
            d.frames,
            if d.mirrored { ", mirror images among them" } else { "" },
            d.held_out_frames,
            d.held_out_clips
        )?;
        if !d.own {
            writeln!(f, "note: the model was not trained on these data; all clips count as held out")?;
        }

        writeln!(f, "\nheld-out reconstruction (latents from the encoder; mean squared error, normalised)")?;
        for h in self.reconstruction.iter().filter(|h| h.windows > 0) {
            let groups: Vec<String> =
                h.groups.iter().map(|(name, error)| format!("{name} {}", short(*error))).collect();
            let joints = h.joint_cm.map(|cm| format!(", joints off by {} cm", fixed(cm, 2))).unwrap_or_default();
            let error = short(h.error.unwrap_or_default());
            writeln!(f, "  after {:>4} frames: {error} ({}){joints}", h.frames, groups.join(", "))?;
        }

        let p = &self.posterior;
        writeln!(f, "\nlatent, over {} training windows", p.windows)?;
        if let (Some(active), Some(a)) = (p.active_units, &p.aggregated) {
            let mean = p.kl.iter().sum::<f64>() / p.kl.len() as f64;
            let (least, most) =
                p.kl.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), &kl| (least.min(kl), most.max(kl)));
            writeln!(
                f,
                "  {active} of {} dimensions are active; KL {mean:.3} nats a dimension, {least:.3} to {most:.3}",
                p.latents
            )?;
            writeln!(
                f,
                "  aggregated posterior (0 and 1 is the prior): mean up to {:.2}, standard deviation {:.2} to {:.2}, correlation \
                 up to {:.2}; KL from the prior {:.3} nats a dimension",
                a.largest_mean, a.std[0], a.std[1], a.largest_correlation, a.kl_from_prior
            )?;
        }
        if let Some(in_use) = p.experts_in_use {
            let shares: Vec<String> = p.expert_use.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
            let what = if p.active_units.is_some() { "experts" } else { "codes" };
            writeln!(f, "  {what} used, %: {} (as if {in_use:.1} shared evenly)", shares.join(" "))?;
        }
        if let Some(a_pose) = p.experts_a_pose {
            writeln!(f, "  experts blended in one pose: {a_pose:.1}")?;
        }

        let w = &self.walks;
        writeln!(f, "\n{} walks of {} frames, latents from the prior", w.walks, w.frames)?;
        let exit =
            w.median_exit.map(|frame| format!("; the others leave it in frame {frame} (median)")).unwrap_or_default();
        writeln!(f, "  {:.1} % stay in the data's envelope{exit}", 100.0 * w.inside)?;
        if let (Some(walks), Some(data)) = (&w.gait, &w.data_gait) {
            writeln!(f, "  {:<22} {:>19} {:>19}   (5 / 50 / 95 % quantiles)", "", "walks", "data")?;
            row(f, "speed, m/s", walks, data, |gait| triple(gait.speed, 2))?;
            row(f, "turn rate, degrees/s", walks, data, |gait| triple(gait.turn, 0))?;
            row(f, "standing still, %", walks, data, |gait| format!("{:.1}", 100.0 * gait.standing))?;
            if let (Some(_), Some(_)) = (&walks.feet, &data.feet) {
                let feet = |gait: &GaitReport| gait.feet.clone().expect("both have feet");
                row(f, "feet in contact, %", walks, data, |gait| format!("{:.1}", 100.0 * feet(gait).contact))?;
                row(f, "foot skate, cm/s", walks, data, |gait| format!("{:.2}", feet(gait).skate))?;
                row(f, "low toes, cm/s", walks, data, |gait| fixed(feet(gait).low_toe_speed, 1))?;
            }
        }
        let v = &w.diversity;
        let metres =
            v.metres.map(|m| format!("; {} m apart after {DIVERSITY_FRAMES} frames", fixed(m, 1))).unwrap_or_default();
        writeln!(
            f,
            "  diversity of walks from one pose: {} (unrelated poses of the data: {:.2}){metres}",
            fixed(v.features, 2),
            v.unrelated
        )?;
        for (name, distance) in [("poses", &w.poses), ("velocities", &w.velocities)] {
            if let Some(Distance { components, frechet, frechet_of_training, coverage, coverage_of_training, .. }) =
                distance
            {
                writeln!(
                    f,
                    "  {name} against held-out ones ({components} components): Fréchet distance {} (training frames \
                     {frechet_of_training:.2}), coverage {:.0} % (training frames {:.0} %)",
                    fixed(*frechet, 2),
                    100.0 * coverage,
                    100.0 * coverage_of_training
                )?;
            }
        }
        if !self.not_measured.is_empty() {
            writeln!(f, "\nnot measured")?;
        }
        self.not_measured.iter().try_for_each(|what| writeln!(f, "  {what}"))
    }
}

/// The paper's Table 1 for a model and its data: foot skate in cm a frame of 1/30 s (Ling et al.
/// 2020; definition in `docs/math.md`).
pub struct PaperTable<'a>(pub &'a Quality);

impl Display for PaperTable<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let of = |gait: &Option<GaitReport>| Some(gait.as_ref()?.feet.as_ref()?.paper_skate);
        let Some((walks, data)) = of(&self.0.walks.gait).zip(of(&self.0.walks.data_gait)) else {
            return writeln!(f, "\nthe paper's Table 1: not measured, as the toes are not known");
        };
        writeln!(f, "\nthe paper's Table 1: foot skate, cm a frame of 1/30 s")?;
        writeln!(f, "  {:<22} {:>10} {:>10} {:>10}", "toes lower than", "data", "walks", "ratio")?;
        for ((height, walks), data) in PAPER_HEIGHTS.iter().zip(walks).zip(data) {
            writeln!(f, "  {:<22} {data:>10.3} {walks:>10.3} {:>10.2}", format!("{height} cm"), walks / data)?;
        }
        writeln!(f, "  {:<22} {:>10} {:>10} {:>10}", "the paper's, 3.3 cm", "0.10", "0.067", "0.67")
    }
}

fn row(
    f: &mut Formatter,
    name: &str,
    walks: &GaitReport,
    data: &GaitReport,
    value: impl Fn(&GaitReport) -> String,
) -> fmt::Result {
    writeln!(f, "  {name:<22} {:>19} {:>19}", value(walks), value(data))
}

fn triple(values: [f64; 3], digits: usize) -> String {
    values.map(|x| fixed(x, digits)).join(" / ")
}

/// A number with `digits` digits after the point; in exponent form from 1e6 on.
pub(crate) fn fixed(x: f64, digits: usize) -> String {
    if x.abs() < 1e6 { format!("{x:.digits$}") } else { format!("{x:.0e}") }
}

/// A number in three digits, with an exponent where it is very small or large.
fn short(x: f64) -> String {
    if x == 0.0 || (0.01..1000.0).contains(&x) { format!("{x:.3}") } else { format!("{x:.2e}") }
}
