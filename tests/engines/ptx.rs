//! Results of ptxas for the kernels on architectures old and new: registers, spills, instructions.
//! The tests also check how the full-size step launches the kernels. `cargo test --test engines
//! ptx::launches -- --nocapture` prints the table of docs/lab-notes/2026-11-speed.md.
use mvae_fast::backend::persistent::phases::phases;
use mvae_fast::check::gradcheck::ModelCheck;
use mvae_fast::config::{CodebookInit, ExpertInit, Variant};
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::world::Task;
use mvae_fast::plan::arena::Arena;
use mvae_fast::plan::{Call, Precision};
use mvae_fast::train::step::{StepOptions, TrainStep};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Architectures: the oldest served, consumer GPUs, the H200, and one newer.
const ARCHITECTURES: [&str; 4] = ["sm_80", "sm_89", "sm_90a", "sm_120"];

/// True if a kernel may have a stack; none may spill registers. sinf and cosf keep the digits of
/// 2 / pi there, for angles beyond 105615, which no turn reaches.
fn may_have_a_stack(kernel: &str) -> bool {
    let of_task = |task: &Task| task.kernels().contains(&kernel) || kernel == format!("{}_pull", task.name());
    let composed = ["composed_step", "composed_reset", "composed_observe", "composed_pull"];
    let others = ["reconcile", "reconcile_backward", "costs_forward", "costs_backward", "world_observation_backward"];
    others.contains(&kernel) || composed.contains(&kernel) || Task::ALL.iter().any(of_task)
}

/// Shared memory that a block has on all of them without opting in: 48 KB.
const SHARED: usize = 48 << 10;

/// Resources that a kernel takes.
#[derive(Debug, Clone, Copy, Default)]
struct Resources {
    registers: usize,
    shared: usize,
    stack: usize,
    spills: usize,
}

/// A program of the toolkit that compiled the kernels. If there is none, prints a line and returns
/// nothing.
fn tool(name: &str) -> Option<PathBuf> {
    let found = option_env!("MVAE_NVCC").map(|nvcc| Path::new(nvcc).with_file_name(name)).filter(|p| p.is_file());
    if found.is_none() {
        println!("ptx: skipped, no {name}");
    }
    found
}

/// Images of the kernels: for all devices, and from compute capability 9.0 on.
const IMAGES: [&str; 2] = ["kernels.compute_80.ptx", "kernels.compute_90.ptx"];
/// Images of the kernels that run all others, which take long to assemble.
const RUN_PLAN: [&str; 2] = ["run_plan", "run_plan_bf16x3"];

/// An image as the build made it.
fn image(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join(name)
}

/// Assembles all kernels, of the image that a driver would take, into `cubin`; returns the
/// resources of each.
fn assemble(ptxas: &Path, architecture: &str, cubin: &Path) -> BTreeMap<String, Resources> {
    let name = IMAGES[usize::from(!["sm_80", "sm_89"].contains(&architecture))];
    let kernels = assemble_image(ptxas, name, architecture, cubin);
    assert!(kernels.len() > 20, "{architecture}: {} kernels", kernels.len());
    kernels
}

fn assemble_image(ptxas: &Path, name: &str, architecture: &str, cubin: &Path) -> BTreeMap<String, Resources> {
    let ptx = image(name);
    let output = Command::new(ptxas).args(["-v", "-arch", architecture, "-o"]).arg(cubin).arg(&ptx).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{architecture}: {text}");
    let mut kernels: BTreeMap<String, Resources> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let number = |after: &str| -> Option<usize> {
            line[..line.find(after)?].rsplit([' ', ',']).find(|word| !word.is_empty())?.parse().ok()
        };
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            name = rest.split("_kernel'").next().unwrap().to_owned();
        }
        let kernel = kernels.entry(name.clone()).or_default();
        for (to, after) in [
            (&mut kernel.registers, " registers"),
            (&mut kernel.shared, " bytes smem"),
            (&mut kernel.stack, " bytes stack frame"),
            (&mut kernel.spills, " bytes spill stores"),
        ] {
            *to = number(after).unwrap_or(*to);
        }
    }
    kernels.retain(|name, _| !name.is_empty());
    kernels
}

#[test]
fn images_serve_what_they_are_for() {
    if tool("ptxas").is_none() {
        return;
    }
    let entries = |text: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| line.split_once(".entry ")).map(|(_, rest)| rest.to_owned());
        names.collect()
    };
    let [all, newer] = IMAGES.map(|name| std::fs::read_to_string(image(name)).unwrap());
    assert!(all.contains(".target sm_80") && newer.contains(".target sm_90\n"), "plain, so that later ones take them");
    assert_eq!(entries(&all), entries(&newer));
    // A launch may start early where each kernel waits for the one before it, and nowhere else.
    for kernel in newer.split(".entry ").skip(1) {
        let name = kernel.split('(').next().unwrap();
        let (lets, waits) = (kernel.find("griddepcontrol.launch_dependents"), kernel.find("griddepcontrol.wait"));
        let reads = kernel.find("ld.global").or(kernel.find("cp.async")).unwrap_or(usize::MAX);
        assert!(lets.is_some() && waits.is_some_and(|at| at < reads), "{name} does not wait before it reads");
    }
    assert!(!all.contains("griddepcontrol"));
}

#[test]
fn no_kernel_spills() {
    let Some(ptxas) = tool("ptxas") else { return };
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        for (name, kernel) in assemble(&ptxas, architecture, &folder.path().join("kernels.cubin")) {
            assert!(
                kernel.spills == 0 && (may_have_a_stack(&name) || kernel.stack == 0),
                "{architecture}: {name}: {kernel:?}"
            );
            assert!(kernel.registers > 0 && kernel.shared <= SHARED, "{architecture}: {name}: {kernel:?}");
        }
    }
}

#[test]
#[ignore = "takes a minute: .ci/slow tests"]
fn the_kernel_that_runs_plans_fits_a_multiprocessor() {
    let Some(ptxas) = tool("ptxas") else { return };
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        // The kernels of all precisions, side by side.
        std::thread::scope(|scope| {
            for name in RUN_PLAN {
                let (ptxas, cubin) = (&ptxas, folder.path().join(name));
                scope.spawn(move || {
                    let image = format!("{name}.compute_80.ptx");
                    let kernels = assemble_image(ptxas, &image, architecture, &cubin);
                    assert_eq!(kernels.keys().collect::<Vec<_>>(), [name]);
                    let kernel = kernels[name];
                    println!("{architecture}: {name}: {kernel:?}");
                    // These stacks are those of `may_have_a_stack`. A composed task keeps the
                    // values of its terms there.
                    assert!(kernel.spills == 0 && kernel.stack <= 128, "{architecture}: {name}: {kernel:?}");
                    assert!(kernel.shared <= SHARED && resident(kernel, 256) > 0, "{architecture}: {name}: {kernel:?}");
                });
            }
        });
    }
}

#[test]
fn tensor_cores_and_vectors_are_used_where_they_are_meant() {
    let (Some(ptxas), Some(cuobjdump)) = (tool("ptxas"), tool("cuobjdump")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let cubin = folder.path().join("kernels.cubin");
    for architecture in ["sm_80", "sm_90a"] {
        assemble(&ptxas, architecture, &cubin);
        let output = Command::new(&cuobjdump).arg("-sass").arg(&cubin).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut products = 0;
        for kernel in text.split("Function : ").skip(1) {
            let name = kernel.lines().next().unwrap().trim().trim_end_matches("_kernel");
            let words: Vec<&str> = kernel.split_whitespace().collect();
            // An instruction's name starts with one of these and, unless the list is empty, has all
            // of those parts.
            let count = |start: &str, parts: &[&str]| {
                words.iter().filter(|w| w.starts_with(start) && parts.iter().all(|part| w.contains(part))).count()
            };
            let on_tensor_cores = name.ends_with("_bf16x3");
            assert_eq!(count("HMMA.16816.F32.BF16", &[]) > 0, on_tensor_cores, "{architecture}: {name}: HMMA");
            if on_tensor_cores {
                products += 1;
                // Of 16 bytes where rows are aligned, past the first-level cache; of 4 elsewhere.
                assert!(count("LDGSTS", &["BYPASS", "128"]) > 0, "{architecture}: {name}: asynchronous vector copies");
                assert!(count("LDGSTS", &[]) > count("LDGSTS", &["128"]), "{architecture}: {name}: scalar copies");
                assert!(count("LDS", &["128"]) > 0, "{architecture}: {name}: vectors from shared memory");
                assert!(count("F2FP", &["BF16"]) > 0, "{architecture}: {name}: rounding in pairs");
            } else if text.contains(&format!("Function : {name}_bf16x3_kernel")) {
                assert!(count("FFMA", &[]) > 0 && count("LDS", &["128"]) > 0, "{architecture}: {name}: the reference");
            }
        }
        assert_eq!(products, 6, "{architecture}");
    }
}

/// Number of multiprocessors of an H200, and the resources of each.
const MULTIPROCESSORS: usize = 132;
const REGISTERS: usize = 64 << 10;
const SHARED_MEMORY: usize = 228 << 10;
const THREADS: usize = 2048;

/// Number of blocks of a kernel that a multiprocessor holds: registers are handed out in eights a
/// thread, shared memory with 1 KB on top.
fn resident(kernel: Resources, threads: usize) -> usize {
    let registers = REGISTERS / (kernel.registers.next_multiple_of(8) * threads);
    registers.min(SHARED_MEMORY / (kernel.shared + 1024)).min(THREADS / threads).min(32)
}

/// Modelled microseconds of a product on an H200, from numbers that others published, none of them
/// measured here:
///
/// - A node of a graph starts in 1.24 us.
/// - The first byte comes after 0.217 us.
/// - Each KB takes 11.3 ns when all multiprocessors read at once.
/// - Each mma of 16 x 8 x 16 takes 1.53 cycles at 1.755 GHz.
/// - The work after the sums takes 0.25 us.
fn modelled(kilobytes: f64, mmas: usize) -> f64 {
    1.24 + 0.217 + 0.0113 * kilobytes + 1.53 / 1755.0 * mmas as f64 + 0.25
}

/// A row of the table, and the modelled microseconds.
fn row(call: &Call, kernels: &BTreeMap<String, Resources>) -> (String, f64) {
    let (name, grid) = call.variant(Precision::Bf16x3);
    let kernel = kernels[&*name];
    let (blocks, threads) = (grid.blocks as usize, grid.threads as usize);
    let written = call.kernel_fields().filter(|field| call.output(field).is_some());
    let written: usize = written.map(|field| field.bytes.len()).sum();
    let kb = |bytes: usize| bytes as f64 / 1024.0;
    let launch = format!(
        "{blocks} x {threads} | {} | {:.1} | {}",
        kernel.registers,
        kb(kernel.shared),
        resident(kernel, threads)
    );
    let Some(p) = call.product() else {
        return (format!("| `{name}` | | {launch} | | {:.0} | | | |", kb(written)), 0.0);
    };
    let experts = if p.experts > 1 { format!("{} x ", p.experts) } else { String::new() };
    let shape = format!("{experts}{} x {} x {}", p.rows, p.cols, p.depth);
    let operands = 4 * p.depth * (p.rows + p.experts * p.cols);
    let panels = if p.blended { p.experts } else { 1 };
    let [rows, cols] = p.tile;
    let waves = blocks.div_ceil(MULTIPROCESSORS);
    let moved = kb(waves * 4 * p.depth * (rows + cols * panels));
    let mmas = waves * 3 * (rows / 16) * (cols / 8) * panels * p.depth.div_ceil(16);
    let time = modelled(moved, mmas);
    let (operands, written) = (kb(operands), kb(written));
    (
        format!("| `{name}` | {shape} | {launch} | {operands:.0} | {written:.0} | {moved:.0} | {mmas} | {time:.2} |"),
        time,
    )
}

#[test]
fn launches() {
    let Some(ptxas) = tool("ptxas") else { return };
    let folder = tempfile::tempdir().unwrap();
    let kernels = assemble(&ptxas, "sm_90a", &folder.path().join("kernels.cubin"));
    let ModelCheck { model, batch, .. } = ModelCheck::full(Variant::Mixture);
    let mut arena = Arena::default();
    let layout = Layout::of(&model, ExpertInit::FanIn, CodebookInit::Fixed);
    let parameters = Parameters::<f32>::updated(&mut arena, layout);
    let data = arena.mat(20_000, model.frame_size);
    let options = StepOptions {
        model: &model,
        batch,
        kl_rule: Rule::Auto { units: 64.0 / 267.0, floor: 1e-4 },
        free_bits: 0.0,
        adam: [0.9, 0.999, 1e-8],
        minibatches: 1,
        rollout: 8,
        draw: true,
    };
    let step = TrainStep::new(&mut arena, &parameters, data, &options).unwrap();
    println!(
        "| kernel | product | blocks x threads | registers | shared KB | blocks an SM | operands KB | written KB | KB an SM | mma an SM | model us |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut products, mut total, mut flops) = (0, 0.0, 0);
    for call in step.plan.calls() {
        let (row, time) = row(call, &kernels);
        println!("{row}");
        let product = call.product();
        (products, total) = (products + usize::from(product.is_some()), total + time);
        flops += product.map_or(0, |p| 2 * p.rows * p.cols * p.depth * p.experts);
        let kernel = kernels[&*call.variant(Precision::Bf16x3).0];
        assert!(resident(kernel, call.variant(Precision::Bf16x3).1.threads as usize) > 0, "{row}");
    }
    println!(
        "\n{} calls, of which {products} products with {:.3} GFLOP, in {} phases of calls that may run side by side; \
         the products one after another: {total:.0} us in the model",
        step.plan.calls().len(),
        flops as f64 / 1e9,
        phases(step.plan.calls(), Precision::Bf16x3, MULTIPROCESSORS as u32, 0).count,
    );
    // 0.567 GFLOP a step at batch 64: every product is in the plan once, and none that nobody
    // needs.
    assert!((0.56e9..0.575e9).contains(&(flops as f64)), "{flops}");
}
