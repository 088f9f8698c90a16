//! BVH: the skeleton as a tree of offsets, then a line of angles for each frame. Centimetres, y up,
//! rotations Z X Y.
//!
//! Some readers take position channels for a joint's place, others add them to its OFFSET. So where
//! both are written, one of them is zero.
use super::{Take, children};
use crate::host::shown::is_unseen;
use crate::motion::Skeleton;
use crate::motion::vector::{Axes, Vec3};
use std::fmt::Write;

/// Centimetres in a foot.
pub const CENTIMETRES: f64 = 30.48;

/// Beginning of our files. Its blanks tell [`crate::exchange::import`] that lengths are centimetres
/// and y is up, whatever the size of the body. All readers skip them.
pub(crate) const DECLARATION: &str = "HIERARCHY \t \t\n";

/// Joint names as the file holds them, in the skeleton's order. White space would end a name, and
/// readers give brackets, colons and slashes a meaning of their own. These and invisible characters
/// become underscores, and repeated names get numbers.
pub fn names(skeleton: &Skeleton) -> Vec<String> {
    let plain = |c: char| !(c.is_whitespace() || "{}[]:/".contains(c) || is_unseen(c));
    let mut names: Vec<String> = Vec::new();
    for name in &skeleton.names {
        let name: String = name.trim().chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let name = if name.is_empty() { "joint".to_owned() } else { name };
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(free.expect("numbers do not end"));
    }
    names
}

/// The text of the file. The hips have six channels. Other joints have three, or six if their place
/// on their parent moves.
pub fn text(take: &Take) -> String {
    let mut text = String::from(DECLARATION);
    let mut order = Vec::new();
    joint(&mut text, take, &names(take.skeleton), take.skeleton.hips, 0, &mut order);
    let seconds = 1.0 / take.fps;
    put(&mut text, format_args!("MOTION\nFrames: {}\nFrame Time: {seconds:.7}\n", take.poses.len()));
    for pose in &take.poses {
        let mut line = String::new();
        for &joint in &order {
            let is_hips = joint == take.skeleton.hips;
            if is_hips || take.moving[joint] {
                let place = if is_hips { pose.hips } else { pose.offsets[joint] };
                numbers(&mut line, place.map(|x| CENTIMETRES * x));
            }
            numbers(&mut line, angles(&pose.axes[joint]).map(f64::to_degrees));
        }
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    text
}

/// Writes a joint and the joints below it; `order` collects them in the order of their channels.
fn joint(text: &mut String, take: &Take, names: &[String], index: usize, depth: usize, order: &mut Vec<usize>) {
    let indent = "\t".repeat(depth);
    let is_hips = index == take.skeleton.hips;
    let (kind, name) = (if is_hips { "ROOT" } else { "JOINT" }, &names[index]);
    let (channels, offset) = match is_hips || take.moving[index] {
        true => ("6 Xposition Yposition Zposition", [0.0; 3]),
        false => ("3", take.offsets[index]),
    };
    put(text, format_args!("{indent}{kind} {name}\n{indent}{{\n{indent}\tOFFSET {}\n", spaced(offset)));
    put(text, format_args!("{indent}\tCHANNELS {channels} Zrotation Xrotation Yrotation\n"));
    order.push(index);
    let mut last = true;
    for child in children(take.skeleton, index) {
        last = false;
        joint(text, take, names, child, depth + 1, order);
    }
    if last {
        let tip = spaced(take.tips[index]);
        put(text, format_args!("{indent}\tEnd Site\n{indent}\t{{\n{indent}\t\tOFFSET {tip}\n{indent}\t}}\n"));
    }
    put(text, format_args!("{indent}}}\n"));
}

/// An offset in centimetres.
fn spaced(offset: Vec3) -> String {
    let mut text = String::new();
    numbers(&mut text, offset.map(|x| CENTIMETRES * x));
    text.trim_end().to_owned()
}

fn numbers(text: &mut String, values: [f64; 3]) {
    for value in values {
        let rounded = (value * 1e6).round() / 1e6 + 0.0; // no -0.000000
        put(text, format_args!("{rounded:.6} "));
    }
}

/// Angles a, b, c of the rotation Rz(a) Rx(b) Ry(c).
pub fn angles(axes: &Axes) -> Vec3 {
    let [x, y, z] = axes;
    let cosine = y[0].hypot(y[1]);
    let about_x = y[2].atan2(cosine);
    if cosine < 1e-9 {
        // Only the sum of the other two angles is determined.
        return [x[1].atan2(x[0]), about_x, 0.0];
    }
    [(-y[0]).atan2(y[1]), about_x, (-x[2]).atan2(z[2])]
}

fn put(text: &mut String, args: std::fmt::Arguments) {
    text.write_fmt(args).expect("memory takes every write");
}
