//! The data that lets a person steer in the report's page: decoder and policy of a joystick
//! controller, packed for `runtime.js`, which runs them.
use super::play::Performance;
use super::stage::Material;
use crate::Result;
use crate::exchange::ship::{Shipped, js};
use crate::model::layout::Layout;
use flate2::Compression;
use serde_json::{Value, json};

/// A character that a policy is to steer.
#[derive(Clone)]
pub(crate) struct Steering {
    shipped: Shipped,
    /// Number of the recorded pair that is the command.
    command: usize,
    /// Metres a second in one unit of a command's speed.
    metres: f64,
}

impl Steering {
    /// Takes the decoder. `command` is the number of the recorded pair that is the command. Errors:
    /// a tensor is missing.
    pub fn new(material: &Material, command: usize) -> Result<Self> {
        let shipped = Shipped::steerable("", material)?;
        let metres = shipped.command.and_then(|command| command.top()).unwrap_or_default() / material.rules.speed;
        Ok(Steering { shipped, command, metres })
    }

    /// All of it as JSON, with the policy's `values`. It has the poses and the first commands
    /// (direction; m/s) of the characters that are shown.
    pub(crate) fn with_policy(&self, layout: &Layout, values: &[f32], shown: &[Performance]) -> Value {
        let mut json = js::json(&self.shipped.with_policy(layout, values), Compression::fast());
        json["starts"] = shown.iter().map(|one| json!(one.start)).collect();
        let first =
            |one: &Performance| one.recorded[self.command].first().map(|[d, v]| (*d, self.metres * f64::from(*v)));
        json["first"] = shown.iter().map(|one| json!(first(one))).collect();
        json
    }
}
