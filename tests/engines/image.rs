//! The images that the program ships, without a GPU: the driver of the tests runs their PTX by an
//! interpreter (tests/driver/ptx). The tests of a GPU (`gpu_*`) pass with them.
//!
//! The interpreter is as strict as a device may be. Images with a mistake each show that. A fence,
//! a wait or a barrier is left out, or an index is changed, and the mistake has to be found.
use crate::driver::{has_kernels, on_images, passes};
use std::path::Path;

#[test]
fn kernels_follow_their_definitions() {
    if has_kernels() {
        passes(&["gpu_small_kernels"], &[]);
        passes(&["cuda::long_products"], &[]);
    }
}

#[test]
fn steps_are_near_those_of_the_host() {
    if has_kernels() {
        passes(&["near_the_host_by_each_engine"], &[("PTX_SEED", "1")]);
    }
}

#[test]
#[ignore = "takes minutes: .ci/slow tests"]
fn all_tests_of_a_gpu_pass() {
    if has_kernels() {
        // Of the full size, one step is enough.
        let filter = [
            "cuda::gpu_",
            "cuda::near_the_host",
            "--skip",
            "gpu_full_kernels",
            "--skip",
            "gpu_engines_agree_at_full_size",
        ];
        passes(&filter, &[("PTX_SEED", "2")]);
        // The image for devices that start no launch early.
        passes(&["gpu_small_kernels"], &[("CAPABILITY", "80")]);
    }
}

/// A mistake in an image, and the words of the interpreter or of the test that finds it.
struct Mistake {
    name: &'static str,
    kernel: &'static str,
    /// The image with the mistake.
    made: fn(&str) -> String,
    test: &'static str,
    found: &'static str,
}

/// The text with one occurrence of a piece, counted from 0, replaced.
fn instead(text: &str, from: &str, number: usize, to: &str) -> String {
    let (at, _) = text.match_indices(from).nth(number).unwrap_or_else(|| panic!("no {from}"));
    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
}

/// The text with the last occurrence of a piece before another piece replaced.
fn before(text: &str, mark: &str, from: &str, to: &str) -> String {
    let at = text.find(mark).unwrap();
    let at = text[..at].rfind(from).unwrap();
    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
}

/// The text with the first occurrence of a piece after another piece replaced.
fn after(text: &str, mark: &str, from: &str, to: &str) -> String {
    let at = text.find(mark).unwrap();
    format!("{}{}", &text[..at], instead(&text[at..], from, 0, to))
}

/// The text of one kernel changed.
fn of_kernel(text: &str, kernel: &str, change: impl Fn(&str) -> String) -> String {
    let at = text.find(&format!(".entry {kernel}_kernel(")).unwrap();
    let end = text[at + 1..].find(".entry ").map_or(text.len(), |end| at + 1 + end);
    format!("{}{}{}", &text[..at], change(&text[at..end]), &text[end..])
}

const STEPS: &str = "near_the_host_after_two_steps";
const KERNELS: &str = "gpu_small_kernels_follow_their_definitions";
const PRODUCTS: &str = "long_products_follow_their_definitions";
const BARRIER: &str = "bar.sync \t0;";

/// The text without an instruction: the last or first one that begins so, seen from the start.
fn without(text: &str, begin: &str, number: usize) -> String {
    let (at, _) = text.match_indices(begin).nth(number).unwrap_or_else(|| panic!("no {begin}"));
    let end = at + text[at..].find(';').unwrap();
    format!("{}{}", &text[..at], &text[end + 1..])
}

/// The text with the registers of one list of the first product on tensor cores turned round.
fn turned_round(text: &str, list: usize) -> String {
    let at = text.find("mma.sync").unwrap();
    let at = at + text[at..].match_indices('{').nth(list).unwrap().0 + 1;
    let end = at + text[at..].find('}').unwrap();
    let turned: Vec<&str> = text[at..end].split(", ").collect::<Vec<_>>().into_iter().rev().collect();
    format!("{}{}{}", &text[..at], turned.join(", "), &text[end..])
}

/// A mistake in the image of whole plans, run for two steps.
const fn of_steps(name: &'static str, found: &'static str, made: fn(&str) -> String) -> Mistake {
    Mistake { name, kernel: "run_plan_bf16x3", made, test: STEPS, found }
}

/// A mistake in a kernel, which its test runs.
const fn of(kernel: &'static str, name: &'static str, found: &'static str, made: fn(&str) -> String) -> Mistake {
    Mistake { name, kernel, made, test: KERNELS, found }
}

/// A mistake in the kernel of a product, which runs at a size of several steps.
const fn of_product(name: &'static str, found: &'static str, made: fn(&str) -> String) -> Mistake {
    Mistake { name, kernel: LINEAR, made, test: PRODUCTS, found }
}

const LINEAR: &str = "linear_forward_bf16x3";
const LOSS: &str = "recon_loss_forward";
/// Numbers that are wrong, as the test says.
const NUMBERS: &str = "wrong numbers";

const MISTAKES: &[Mistake] = &[
    of_steps("no fence after the wait for other blocks", "race", |text| without(text, "fence.acq_rel.gpu", 0)),
    of_steps("an arrival without release", "race", |text| instead(text, "red.release.gpu", 0, "red.relaxed.gpu")),
    of_steps("a weak load of the count of arrivals", "race", |text| {
        instead(text, "ld.relaxed.gpu.global.u32", 0, "ld.global.u32")
    }),
    of_steps("no arrival", "nothing goes on", |text| without(text, "red.release", 0)),
    of_steps("no barrier of the block before an arrival", "copy", |text| before(text, "red.release", BARRIER, "")),
    of_steps("no barrier of the block after the wait", "race", |text| after(text, "fence.acq_rel.gpu", BARRIER, "")),
    of_steps("a group too few of copies is waited for", "copy", |text| {
        instead(text, "cp.async.wait_group 1", 0, "cp.async.wait_group 2")
    }),
    of_product("no wait for copies", "copy", |text| without(text, "cp.async.wait_group", 0)),
    of_product("a step too few of copies is waited for", "copy", |text| {
        instead(text, "cp.async.wait_group 2", 0, "cp.async.wait_group 3")
    }),
    of_product("copies of two steps in one group", "copy", |text| without(text, "cp.async.commit_group", 1)),
    of_product("no wait for the copies of other lanes", "race", |text| without(text, "bar.warp.sync", 0)),
    of_product("no wait for lanes that still read", "race", |text| without(text, "bar.warp.sync", 1)),
    of_product("no barrier before the sums of other warps", "race", |text| instead(text, BARRIER, 0, "")),
    of_product("fragments of the left factor turned round", NUMBERS, |text| turned_round(text, 1)),
    of_product("fragments of the right factor turned round", NUMBERS, |text| turned_round(text, 2)),
    of_product("sums of a product turned round", NUMBERS, |text| turned_round(text, 3)),
    of_product("a vector at half its boundary", "multiple", |text| {
        let at = text.find("ld.shared.v4").unwrap();
        let end = at + text[at..].find(']').unwrap();
        format!("{}+8{}", &text[..end], &text[end..])
    }),
    of_product("sums that nobody stored", NUMBERS, |text| without(text, "st.shared.v2.f32", 1)),
    of_product("a load of another memory", "Shared", |text| instead(text, "ld.global.f32", 0, "ld.shared.f32")),
    of_product("a load beyond all memory", "no memory of the device", |text| {
        let at = text.find("ld.global.f32").unwrap();
        let end = at + text[at..].find(']').unwrap();
        format!("{}+1073741824{}", &text[..end], &text[end..])
    }),
    of(LOSS, "a shuffle by another distance", NUMBERS, |text| before(text, "shfl.sync", ", 16;", ", 17;")),
    of(LOSS, "a shuffle without the last lane", "mask", |text| before(text, "shfl.sync", ", -1;", ", 2147483647;")),
    of(LOSS, "a thread that leaves before a barrier", "do not come", |text| {
        let leaves =
            "{ .reg .pred %gone; .reg .b32 %own; mov.u32 %own, %tid.x; setp.eq.s32 %gone, %own, 5; @%gone ret; } ";
        instead(text, BARRIER, 0, &format!("{leaves}{BARRIER}"))
    }),
    of(LOSS, "an instruction that is not known", "unknown instruction", |text| instead(text, "add.f64", 0, "sad.f64")),
    Mistake {
        name: "no wait for the launch before",
        kernel: LINEAR,
        made: |text| text.replace("griddepcontrol.wait;", ""),
        test: "near_the_host_by_each_engine",
        found: "before the launch before",
    },
];

/// The words with which a mistake is found: `nothing` if it is not, `unknown` if the test fails
/// otherwise.
fn found(mistake: &Mistake, folder: &Path) -> String {
    let whole = mistake.kernel.starts_with("run_plan");
    let image = if whole { "run_plan_bf16x3.compute_80.ptx" } else { "kernels.compute_90.ptx" };
    let text = std::fs::read_to_string(Path::new(env!("OUT_DIR")).join(image)).unwrap();
    let path = folder.join("image.ptx");
    std::fs::write(&path, of_kernel(&text, mistake.kernel, mistake.made)).unwrap();
    let environment = format!("{}_kernel:{}", mistake.kernel, path.display());
    let (passed, said) = on_images(&[mistake.test], &[("IMAGE", &environment)]);
    let fault = said.lines().find_map(|line| line.split_once("ptx: ")).map(|(_, fault)| fault.to_owned());
    let wrong = said.contains("worst: ") || said.contains("differ by");
    match fault {
        _ if passed => "nothing".into(),
        Some(fault) => fault,
        None if wrong => NUMBERS.into(),
        None => {
            println!("{said}");
            "unknown".into()
        }
    }
}

#[test]
fn mistakes_are_found() {
    if !has_kernels() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    println!("| mistake | found by |\n|---|---|");
    let mut missed = Vec::new();
    for mistake in MISTAKES {
        let found = found(mistake, folder.path());
        println!("| {} | {found} |", mistake.name);
        if !found.contains(mistake.found) {
            missed.push(format!("{}: {found}", mistake.name));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
