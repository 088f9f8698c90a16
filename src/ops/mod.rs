//! The operations: each file holds one operation's arguments, shape checks, calls and definition
//! (the CPU body, generic over f32 and f64). Formulas are derived in `docs/math.md`.
pub mod adam;
pub mod advantage;
pub(crate) mod axpby;
pub mod begin_step;
pub mod blend_linear;
pub mod case;
pub mod clip_grad;
pub mod costs;
pub mod epoch_sums;
pub(crate) mod experience;
pub mod gate;
pub mod gaussian_action;
pub mod horizon;
pub mod kl_weight;
pub mod linear;
pub mod log_length;
pub mod noise;
pub mod ppo_loss;
pub mod quantize;
pub mod recon_loss;
pub mod reconcile;
pub mod reparameterize;
pub(crate) mod rescale;
pub mod softmax;
pub mod specialist_loss;
pub mod sums;
pub mod tape;
pub mod update;
pub mod window;
pub mod world;

use crate::plan::Plan;
use crate::{Error, Result};

/// Appends its calls to plans: forward in the order of the network, backward in the reverse order.
pub trait Operation: Send + Sync {
    /// Appends the calls that compute its outputs.
    fn forward(&self, plan: &mut Plan);
    /// Appends the calls that compute gradients of its inputs from those of its outputs.
    fn backward(&self, plan: &mut Plan);
}

/// A shape check, made once when an operation is built.
pub(crate) fn expect(op: &'static str, what: &'static str, got: usize, want: usize, hint: &'static str) -> Result<()> {
    if got == want { Ok(()) } else { Err(Error::Shape { op, what, got, want, hint }) }
}

/// Rows of a batch that one task takes when rows are shared out over the team.
pub(crate) const ROWS: usize = 8;
