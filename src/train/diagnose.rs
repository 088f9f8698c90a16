//! Warnings about a model, derived from an epoch's record alone. Each is one plain line with what
//! to try.
use crate::config::{CodebookInit, Config, KlWeight, Variant};
use crate::run::record::EpochRecord;

/// Share of an even split; an expert with less gate weight is dead.
const DEAD_SHARE: f64 = 0.02;
/// Smallest share of walks from the prior that must stay inside the data's range once the model
/// trains on its own predictions.
const INSIDE: f64 = 0.9;
/// Smallest spread of the walks' last poses, relative to the data's. With less, walks stand still
/// in a mean pose; a healthy model has 0.7 to 1.
const FROZEN: f64 = 0.3;

/// The warnings about an epoch.
pub fn warnings(c: &Config, r: &EpochRecord) -> Vec<String> {
    let mut found = Vec::new();
    let latents = r.posterior_mean.len();
    if c.variant == Variant::Vq {
        let used = r.expert_usage.iter().filter(|&&share| share > 0.0).count();
        if used <= r.expert_usage.len() / 4 {
            found.push(format!(
                "the codebook has collapsed: {used} of {} codes are used; try {}fewer --codes or a smaller --learning-rate",
                r.expert_usage.len(),
                if c.codebook_init == CodebookInit::Fixed { "" } else { "--codebook-init fixed, " }
            ));
        }
    } else if r.active_units <= latents / 4 {
        let (steered, held) = (c.kl_weight == KlWeight::Auto || c.target_kl.is_some(), c.target_kl.is_some());
        let small = matches!(c.kl_weight, KlWeight::Fixed(weight) if weight <= 0.003);
        let remedies = [
            (held, "a larger --target-kl"),
            (!held && !small, "a smaller --kl-weight (0.003)"),
            (!steered, "--kl-weight auto"),
            (c.kl_warmup_epochs == 0, "--kl-warmup-epochs 5"),
            (c.free_bits == 0.0, "--free-bits 0.1"),
            (true, "another --seed"),
        ];
        let remedies = remedies.iter().filter(|(new, _)| *new).map(|(_, remedy)| *remedy).take(3).collect::<Vec<_>>();
        found.push(format!(
            "the latent has collapsed: {} of {latents} dimensions are active (KL {:.1e} nats a dimension), so latents \
             hardly steer the motion; try {}",
            r.active_units,
            r.kl_loss,
            remedies.join(" or ")
        ));
    }
    if matches!(c.variant, Variant::Mixture | Variant::Specialist) && r.expert_usage.len() > 1 {
        let even = 1.0 / r.expert_usage.len() as f64;
        for (expert, share) in r.expert_usage.iter().enumerate().filter(|(_, share)| **share < DEAD_SHARE * even) {
            found.push(format!(
                "expert {expert} is dead: the gate gives it {:.2} % of the weight; try fewer --experts or another --seed",
                100.0 * share
            ));
        }
    }
    if let Some(v) = &r.validation
        && r.phase == "student"
        && v.prior_inside < INSIDE
    {
        found.push(format!(
            "rollouts explode: {:.0} % of walks with latents from the prior leave the data's range within 300 frames; try \
             more --student-epochs, {} or more data",
            100.0 * (1.0 - v.prior_inside),
            if c.target_kl.is_some() { "a smaller --target-kl" } else { "a larger --kl-weight" }
        ));
    }
    if let Some(v) = &r.validation
        && r.phase == "student"
        && v.prior_rms < FROZEN
    {
        found.push(format!(
            "rollouts freeze: walks with latents from the prior end in poses of {:.0} % of the data's spread; try more \
             --student-epochs",
            100.0 * v.prior_rms
        ));
    }
    found
}
