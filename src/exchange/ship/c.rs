//! A character as a C header without dependencies, and a binary of its numbers.
use super::layers::{COMMAND, CONDITION, LATENT};
use super::{Aim, Shipped};
use crate::host::crc32c::crc32c;
use crate::host::template::filled;
use crate::motion::rig::METRES;
use std::path::Path;

const HEADER: &str = include_str!("walk.h");
/// Bytes before the numbers, so that these begin on a multiple of a cache line.
const HEAD: usize = 64;

/// The function that asks for velocities, and the one that asks for points.
const DECLARED: [&str; 2] = [
    "\
/* Advances characters by a frame towards velocities (x, z; metres a second), two numbers for each.
 * Speeds above WALK_TOP are taken for it. */
void walk_toward(const walk_model *model, walk_character *all, int count, const float *velocities);
",
    "\
/* Advances characters by a frame on their way to points (x, z; metres), WALK_POINTS for each. */
void walk_to(const walk_model *model, walk_character *all, int count, const float *points);
",
];

/// Their definitions.
const DEFINED: [&str; 2] = [
    "
void walk_toward(const walk_model *model, walk_character *all, int count, const float *velocities) {
  for (int k = 0; k < count; ++k) {
    const double x = velocities[2 * k], z = velocities[2 * k + 1], speed = hypot(x, z);
    const double most = speed > WALK_TOP ? WALK_TOP / speed : 1;
    walk_ask(&all[k], 0, most * x, most * z);
  }
  walk_advance(model, all, count, 0);
}
",
    "
void walk_to(const walk_model *model, walk_character *all, int count, const float *points) {
  for (int k = 0; k < count; ++k)
    for (int i = 0; i < WALK_POINTS; ++i) {
      const float *at = points + 2 * (k * WALK_POINTS + i);
      walk_ask(&all[k], i, at[0] - all[k].place[0], at[1] - all[k].place[1]);
    }
  walk_advance(model, all, count, 0);
}
",
];

/// The function that both call.
const ASKED: &str = "
/* Vector number i of the command, as the character sees it. */
static void walk_ask(walk_character *one, int i, double x, double z) {
  const double s = sin(one->facing), c = cos(one->facing), length = hypot(x, z) / WALK_UNIT;
  const double factor = length > 0 ? {{factor}} / WALK_UNIT : 0;
  one->values[WALK_AT_COMMAND + 2 * i] = (float)(factor * (c * x - s * z));
  one->values[WALK_AT_COMMAND + 2 * i + 1] = (float)(factor * (s * x + c * z));
}
";

/// The header, and the binary beside it.
pub(super) fn contents(shipped: &Shipped, output: &Path) -> Vec<Vec<u8>> {
    let weights = output.with_extension("bin");
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let packed = shipped.layers.packed();
    let mut numbers: Vec<f32> = Vec::new();
    let mut at = |of: &[f32]| {
        numbers.extend_from_slice(of);
        numbers.len() - of.len()
    };
    let places = [
        ("WEIGHTS", at(&packed.weights)),
        ("SCALE", at(&shipped.scale)),
        ("SHIFT", at(&shipped.shift)),
        ("SHARE", at(&shipped.share)),
        ("STARTS", at(&shipped.starts)),
        ("LATENT", packed.offsets[LATENT]),
        ("CONDITION", packed.offsets[CONDITION]),
        ("COMMAND", packed.offsets[COMMAND]),
        ("PREDICTION", packed.offsets[shipped.layers.prediction()]),
    ];
    let places = places.map(|(name, place)| format!("#define WALK_AT_{name} {place}\n")).concat();
    let check = crc32c(bytemuck::cast_slice(&numbers));
    let row = shipped.condition_frames * shipped.frame_size;
    let skeleton = &shipped.rig.skeleton;
    let listed = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let table = packed.layers.iter().map(|l| {
        let inputs = listed(&mut l.inputs.iter().map(|(at, size)| format!("{{ {at}, {size} }}")));
        let gate = l.gate.map_or(-1, |gate| gate as i64);
        let act = format!("{:?}", l.act).to_uppercase();
        let (experts, weights, into, outputs, width) = (l.experts, l.weights, l.into, l.outputs, l.width);
        let count = l.inputs.len();
        format!(
            "  {{ WALK_{act}, {experts}, {gate}, {weights}, {into}, {outputs}, {width}, {count}, {{ {inputs} }} }},"
        )
    });
    let offsets = skeleton.offsets.iter().zip(&skeleton.parents).map(|(offset, parent)| {
        let [x, y, z] = offset.map(|x| if parent.is_some() { float(METRES * x) } else { "0.0f".into() });
        format!("  {{ {x}, {y}, {z} }},")
    });
    let aim = shipped.command.map(|command| command.aim);
    let which = usize::from(matches!(aim, Some(Aim::Points { .. })));
    let example = match aim {
        Some(Aim::Velocity { .. }) => {
            " *     float velocity[2] = { 1, 0 }, places[WALK_JOINTS][3];\n *     walk_toward(&model, &one, 1, velocity);"
        }
        Some(Aim::Points { .. }) => {
            " *     float points[WALK_POINTS][2] = { { 1, 0 } }, places[WALK_JOINTS][3];\n \
             *     walk_to(&model, &one, 1, points[0]);"
        }
        None => " *     float places[WALK_JOINTS][3];\n *     walk_wander(&model, &one, 1, NULL);",
    };
    let asked = match aim {
        Some(Aim::Velocity { top }) => {
            format!("#define WALK_TOP {top:?} /* largest speed that is obeyed, metres a second */\n")
        }
        Some(Aim::Points { count, apart }) => format!(
            "#define WALK_POINTS {count} /* points that it is asked to walk to */\n\
             #define WALK_APART {apart:?} /* seconds of the way between them */\n"
        ),
        None => String::new(),
    };
    // Names begin with the file's, so that a program can hold several characters.
    let prefix = prefix(&output.file_stem().unwrap_or_default().to_string_lossy());
    let renamed = |text: &str| {
        text.replace("walk_", &format!("{prefix}_")).replace("WALK_", &format!("{}_", prefix.to_uppercase()))
    };
    let text = filled(&renamed(HEADER), |key| match key {
        "about" => shipped.about().replace("*/", "* /"),
        "file" => name(output),
        "weights_file" => name(&weights),
        "example" => renamed(example),
        "fps" => format!("{:?}", shipped.rig.fps / shipped.frame_skip as f64),
        "joints" => skeleton.len().to_string(),
        "latent" => shipped.latent_size().to_string(),
        "features" => shipped.frame_size.to_string(),
        "conditions" => shipped.condition_frames.to_string(),
        "values" => packed.stride.to_string(),
        "names" => listed(&mut skeleton.names.iter().map(|name| quoted(name))),
        "parents" => listed(&mut skeleton.parents.iter().map(|parent| parent.map_or(-1, |p| p as i64).to_string())),
        "offsets" => offsets.clone().collect::<Vec<_>>().join("\n"),
        "metres" => format!("{METRES:?}"),
        "head" => HEAD.to_string(),
        "starts" => (shipped.starts.len() / row).to_string(),
        "count" => numbers.len().to_string(),
        "check" => check.to_string(),
        "layers" => packed.layers.len().to_string(),
        "policy" => packed.policy.to_string(),
        "most_inputs" => packed.layers.iter().map(|l| l.inputs.len()).max().unwrap_or(1).to_string(),
        "table" => renamed(&table.clone().collect::<Vec<_>>().join("\n")),
        "places" => {
            let unit = shipped.command.map_or(String::new(), |c| format!("#define WALK_UNIT {:?}\n", c.metres));
            renamed(&format!("{places}{unit}#define WALK_LOST {}", float(shipped.lost.into())))
        }
        "frames" => shipped.frame_skip.to_string(),
        "asked" => renamed(&asked),
        "toward_declared" => aim.map_or(String::new(), |_| renamed(DECLARED[which])),
        "toward_defined" => shipped.command.map_or(String::new(), |command| {
            let factor = command.gain.map_or("1".into(), |gain| format!("{gain:?} * log1p(length) / length"));
            renamed(&[&ASKED.replace("{{factor}}", &factor), DEFINED[which]].concat())
        }),
        other => unreachable!("walk.h asks for {other}"),
    });
    let mut binary = check.to_le_bytes().to_vec();
    binary.resize(HEAD, 0);
    binary.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    vec![text.into_bytes(), binary]
}

/// An identifier made of a file's name.
fn prefix(stem: &str) -> String {
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("walk_{name}") }
}

/// A string literal.
fn quoted(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", byte as char),
        b' '..=b'~' => (byte as char).to_string(),
        other => format!("\\{other:03o}"),
    };
    format!("\"{}\"", text.bytes().map(escape).collect::<String>())
}

/// A literal of single precision.
fn float(x: f64) -> String {
    format!("{:?}f", x as f32)
}
