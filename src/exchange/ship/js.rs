//! A character as an ES module with types; also its description for the pages that contain
//! runtime.js.
use super::layers::{COMMAND, CONDITION, LATENT};
use super::{Aim, Command, Shipped, wasm};
use crate::host::template::filled;
use crate::motion::Rig;
use crate::motion::rig::METRES;
use crate::run::player::RUNTIME;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use half::f16;
use serde_json::{Value, json};
use std::io::Write;

const TYPES: &str = include_str!("walk.d.ts");

/// The module, and its types beside it.
pub(super) fn contents(shipped: &Shipped) -> Vec<Vec<u8>> {
    let module = format!(
        "// {}\n// Use: import {{ open }} from \"./...\"; see the types beside it.\n{RUNTIME}\nconst given = {};\n\
         export const open = options => Model.open(given, options);\n",
        shipped.about(),
        json(shipped, Compression::best()),
    );
    let types = filled(TYPES, |_| shipped.about().replace("*/", "* /"));
    vec![module.into_bytes(), types.into_bytes()]
}

/// The description that `Model` in runtime.js takes.
pub(crate) fn json(shipped: &Shipped, compression: Compression) -> Value {
    let (packed, rig) = (shipped.layers.packed(), &shipped.rig);
    let row = shipped.condition_frames * shipped.frame_size;
    json!({
        "fps": rig.fps / shipped.frame_skip as f64, "frames": shipped.frame_skip, "metres": METRES,
        "frame_size": shipped.frame_size, "condition_frames": shipped.condition_frames,
        "latent": shipped.latent_size(), "lost": shipped.lost,
        "scale": shipped.scale, "shift": shipped.shift, "share": shipped.share,
        "starts": shipped.starts.chunks_exact(row).collect::<Vec<_>>(),
        "command": shipped.command.map(|Command { aim, metres, gain }| match aim {
            Aim::Velocity { top } => json!({ "top": top, "metres": metres, "gain": gain }),
            Aim::Points { count, apart } => {
                json!({ "points": count, "apart": apart, "metres": metres, "gain": gain })
            }
        }),
        "skeleton": skeleton(rig),
        "places": {
            "latent": packed.offsets[LATENT], "condition": packed.offsets[CONDITION],
            "command": packed.offsets[COMMAND], "prediction": packed.offsets[shipped.layers.prediction()],
        },
        "stride": packed.stride, "layers": packed.layers, "policy": packed.policy,
        "weights": halves(&packed.weights, compression), "wasm": BASE64_STANDARD.encode(wasm::module(&packed)),
    })
}

/// The skeleton, in metres.
pub(super) fn skeleton(rig: &Rig) -> Value {
    let (skeleton, metres) = (&rig.skeleton, |feet: f64| METRES * feet);
    let offsets = skeleton.offsets.iter().zip(&skeleton.parents);
    let offsets = offsets.map(|(offset, parent)| offset.map(|x| if parent.is_some() { metres(x) as f32 } else { 0.0 }));
    json!({
        "names": skeleton.names, "parents": skeleton.parents, "offsets": offsets.collect::<Vec<_>>(),
        "toes": skeleton.toes, "toe_floors": rig.toe_floors.map(metres), "hip_height": metres(rig.hip_height),
    })
}

/// Numbers as 16-bit floats, deflated: all high bytes, which repeat, then all low bytes.
fn halves(numbers: &[f32], compression: Compression) -> String {
    let bytes = |shift: u32| numbers.iter().map(move |&x| (f16::from_f32(x).to_bits() >> shift) as u8);
    let mut deflated = DeflateEncoder::new(Vec::new(), compression);
    deflated.write_all(&bytes(8).chain(bytes(0)).collect::<Vec<u8>>()).expect("memory takes all");
    BASE64_STANDARD.encode(deflated.finish().expect("memory takes all"))
}
