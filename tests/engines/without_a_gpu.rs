//! The CUDA backend over a driver whose device is this machine (tests/driver/driver.cpp): all of
//! it, and every way in which a driver fails, each of which has to give one clear line.
use crate::driver::{driver, has_kernels, interpreter};
use mvae_fast::backend::cuda;
use mvae_fast::checkpoint::{Checkpoint, Tensor};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Minutes after which a run stops: at its first rollout's end.
const SOON: &str = "0.000000001";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with motion in it, where the program runs over the driver.
struct Desk {
    root: TempDir,
}

impl Desk {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        crate::small::write(&root.path().join("motion.npz"), 5, 30);
        Desk { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn program(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().env("LD_LIBRARY_PATH", driver()).envs(environment.iter().copied());
        command.current_dir(self.root.path()).args(arguments).output().unwrap()
    }

    /// A folder with a small model in it, for controllers.
    fn with_model() -> Self {
        let desk = Desk::new();
        let model = "train walk.npz --name walk --quiet --latent-size 5 --hidden-size 16 --gate-hidden-size 8 \
             --experts 3 --minibatches 0 --decay epoch --warmup-steps 0 --learning-rate 1e-4 --teacher-epochs 1 \
             --ramp-epochs 0 --student-epochs 0 --device cpu";
        for command in ["data synth -o walk.npz --frames 400", model] {
            succeeds(desk.program(&command.split_whitespace().collect::<Vec<_>>(), &[]));
        }
        desk
    }

    /// Trains a controller for two updates. Returns its parameters, and the reward of the second.
    fn controller(
        &self,
        algorithm: &str,
        device: &str,
        engine: &str,
        environment: &[(&str, &str)],
    ) -> (Vec<Tensor<'static>>, f64) {
        let name = format!("{algorithm}-{device}-{engine}");
        let command = format!(
            "control train --vae walk --task target --quiet --hidden-size 8 --characters 4 --steps 4 --updates 2 \
             --epochs 1 --minibatches 2 --algorithm {algorithm} --name {name} --device {device} --engine {engine}"
        );
        succeeds(self.program(&command.split_whitespace().collect::<Vec<_>>(), environment));
        let run = self.path("runs").join(name);
        let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        let reward = last["step_reward"].as_f64().unwrap();
        (Checkpoint::load(&run.join("checkpoints/last.safetensors")).unwrap().tensors, reward)
    }

    /// Trains the small model into the run folder `name`; `environment` holds settings of the
    /// driver.
    fn train(&self, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let flags = crate::small::flags(&[&["--runs", ".", "--name", name, "--quiet"], arguments].concat());
        let flags: Vec<&str> = flags.iter().map(|flag| flag.as_ref()).collect();
        self.program(&[&["train"], flags.as_slice()].concat(), environment)
    }

    fn step(&self, name: &str) -> u64 {
        let checkpoint = Checkpoint::load(&self.path(name).join("checkpoints/last.safetensors")).unwrap();
        checkpoint.meta.unwrap().progress.unwrap().step
    }
}

fn succeeds(output: Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The one line of an error, with exit code 3.
fn refusal(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.starts_with("error: cuda:") && message.lines().count() == 1, "{message:?}");
    message
}

fn counts(path: &Path) -> HashMap<String, usize> {
    let text = fs::read_to_string(path).unwrap();
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    pairs.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

#[test]
#[ignore = "takes a minute: .ci/slow tests"]
fn all_of_it_over_this_machine() {
    if !has_kernels() {
        return;
    }
    let log = driver().join("counts");
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["gpu_", "--nocapture", "--skip", "at_full_size"]).env("LD_LIBRARY_PATH", driver()).env("COUNTS", &log);
    let output = tests.output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && !said.contains("skipped"), "{said}");
    let counts = counts(&log);
    assert!(counts["cuLaunchCooperativeKernel"] > 0);
    // Early launches were made, and graphs replayed: more kernels ran than were launched.
    assert!(counts["cuLaunchKernelEx"] > 0 && counts["cuGraphLaunch"] > counts["cuGraphInstantiateWithFlags"]);
    assert!(counts["kernel"] > counts["cuLaunchKernel"] + counts["cuLaunchKernelEx"], "{counts:?}");
}

#[test]
fn runs_move_between_devices() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    succeeds(desk.train("run", &["--device", "cpu", "--max-minutes", SOON], &[]));
    let mut steps = vec![desk.step("run")];
    for device in ["cuda", "simt", "cpu", "cuda"] {
        let arguments = ["train", "--resume", "run", "--quiet", "--device", device, "--max-minutes", SOON];
        succeeds(desk.program(&arguments, &[]));
        steps.push(desk.step("run"));
    }
    assert_eq!(steps, [4, 8, 12, 16, 20]);
}

#[test]
fn a_population_is_its_runs_alone() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    let parameters = |run: &str| {
        let checkpoint = Checkpoint::load(&desk.path(run).join("checkpoints/last.safetensors")).unwrap();
        checkpoint.tensors
    };
    for engine in ["graph", "persistent"] {
        let flags = ["--device", "cuda", "--engine", engine, "--max-minutes", SOON];
        let twice = |name: &str, own: &[&str]| {
            succeeds(desk.train(name, &[&flags[..], own].concat(), &[]));
            succeeds(desk.program(&[&["train", "--resume", name, "--quiet"], &flags[..]].concat(), &[]));
        };
        twice(engine, &["--population", "3"]);
        for seed in ["0", "1", "2"] {
            let (alone, among) = (format!("{engine}-{seed}"), format!("{engine}/seed-{seed}"));
            twice(&alone, &["--seed", seed]);
            assert!(parameters(&alone) == parameters(&among), "{engine}, seed {seed}");
            assert_eq!(desk.step(&among), 8);
        }
    }
    // A lost device is an error of each; the folders stay.
    let lost = [("FAIL", "kernel:700:90")];
    let output = desk.train("lost", &["--device", "cuda", "--population", "2"], &lost);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let message = text(&output.stderr);
    assert!(message.starts_with("error: seed-") && message.contains("the last checkpoint is intact"), "{message}");
    assert_eq!(desk.step("lost/seed-0"), 0);
}

/// Tests the plans of a controller: characters that explore, and updates. Both the graph's
/// dependencies and the phases of its calls have to be right.
#[test]
#[ignore = "takes a minute: .ci/slow tests"]
fn a_controller_is_the_same_by_every_engine() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::with_model();
    for algorithm in ["shac", "ppo"] {
        let parameters = |device, engine| desk.controller(algorithm, device, engine, &[]).0;
        assert!(parameters("cuda", "calls") == parameters("cuda", "graph"), "{algorithm}");
        // One launch on three blocks, and on another number of blocks; any block may be slow.
        assert!(parameters("cuda", "persistent") == parameters("simt", "persistent"), "{algorithm}");
    }
}

/// The images that the program ships train controllers as kernels of the host do, but for rounding.
#[test]
#[ignore = "takes minutes: .ci/slow tests"]
fn a_controller_learns_by_the_images() {
    if !has_kernels() {
        return;
    }
    let (desk, interpreter) = (Desk::with_model(), interpreter());
    let image = [("PTX", interpreter.to_str().unwrap()), ("PTX_SEED", "3")];
    for algorithm in ["shac", "ppo"] {
        let by = |engine| desk.controller(algorithm, "cuda", engine, &image);
        let ((calls, reward), (graph, _), (_, persistent)) = (by("calls"), by("graph"), by("persistent"));
        assert!(calls == graph, "{algorithm}");
        let (_, host) = desk.controller(algorithm, "simt", "auto", &[]);
        for (engine, reward) in [("calls", reward), ("persistent", persistent)] {
            println!("{algorithm}: a reward of {reward} by {engine}, {host} by the host");
            assert!((reward - host).abs() < 1e-4 * host.abs(), "{algorithm}, {engine}: {reward} and {host}");
        }
    }
}

/// A GPU is chosen by itself only if it computes right; with --device cuda it is used all the
/// same.
#[test]
fn auto_takes_a_gpu_that_passes_its_test_and_no_other() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    let device = |name: &str, arguments: &[&str], environment: &[(&str, &str)]| {
        let output = desk.train(name, &[&["--max-minutes", SOON], arguments].concat(), environment);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let env = fs::read_to_string(desk.path(name).join("env.json")).unwrap();
        let on_gpu = env.contains("cuda:0 (this machine");
        (on_gpu, text(&output.stderr).lines().filter(|line| line.starts_with("computing")).collect::<String>())
    };
    let (on_gpu, said) = device("right", &[], &[]);
    assert!(on_gpu && said.contains("cuda:0 (this machine, bf16x3, engine graph), which passed its test"), "{said}");
    let wrong = [("WRONG", "blend_linear_forward_bf16x3")];
    let (on_gpu, said) = device("wrong", &[], &wrong);
    assert!(!on_gpu && said.contains("computing on the cpu") && said.contains("blend_linear_forward"), "{said}");
    let (on_gpu, said) = device("insisted", &["--device", "cuda"], &wrong);
    assert!(on_gpu && said.is_empty(), "{said}");
    let (on_gpu, said) = device("old", &[], &[("CAPABILITY", "75")]);
    assert!(!on_gpu && said.contains("compute capability 7.5"), "{said}");
    let none = desk.path("nothing");
    let (on_gpu, said) = device("none", &[], &[("LD_LIBRARY_PATH", none.to_str().unwrap())]);
    assert!(!on_gpu && said.is_empty(), "{said}");
}

#[test]
fn doctor_runs_the_kernels() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    let gpu = |environment: &[(&str, &str)]| -> serde_json::Value {
        let output = desk.program(&["doctor", "--json"], environment);
        let report: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        report["gpus"][0].clone()
    };
    let right = gpu(&[]);
    assert_eq!((&right["name"], &right["capability"]), (&"this machine".into(), &"9.0".into()));
    let loaded = right["loaded"].as_array().unwrap();
    assert!(loaded[0]["module"] == "kernels" && loaded[1]["module"] == "run_plan_bf16x3", "{right}");
    assert!(right["test_seconds"].as_f64().unwrap() > 0.0 && right["problem"].is_null(), "{right}");
    let unreadable = gpu(&[("BAD_IMAGE", "no such register")]);
    let problem = unreadable["problem"].as_str().unwrap();
    assert!(problem.contains("fatal   : no such register") && problem.lines().count() == 1, "{problem}");
}

/// An opening that fails leaves nothing of what it had made.
#[test]
fn a_device_that_cannot_be_opened_is_given_back() {
    if !has_kernels() {
        return;
    }
    let (desk, log) = (Desk::new(), driver().join("given-back"));
    for (engine, failing) in [
        ("graph", "cuModuleLoadDataEx:218:0"),
        ("persistent", "cuModuleLoadDataEx:218:1"),
        ("persistent", "cuFuncSetAttribute:1:0"),
    ] {
        let environment = [("FAIL", failing), ("COUNTS", log.to_str().unwrap())];
        refusal(&desk.train("none", &["--device", "cuda", "--engine", engine], &environment));
        let counts = counts(&log);
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        let failed = usize::from(failing.starts_with("cuModule"));
        assert_eq!(count("cuModuleUnload"), count("cuModuleLoadDataEx") - failed, "{failing}: {counts:?}");
        assert_eq!(count("cuStreamDestroy_v2"), count("cuStreamCreate"), "{failing}: {counts:?}");
        assert_eq!(count("cuDevicePrimaryCtxRelease_v2"), count("cuDevicePrimaryCtxRetain"), "{failing}: {counts:?}");
    }
}

#[test]
fn what_the_driver_refuses_is_one_line() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    let says = |environment: (&str, &str), words: &[&str]| {
        let message = refusal(&desk.train("none", &["--device", "cuda"], &[environment]));
        words.iter().for_each(|word| assert!(message.contains(word), "{environment:?}: {message}"));
        assert!(!desk.path("none").exists());
    };
    says(("FAIL", "cuInit:100:0"), &["the driver does not start", "nvidia-smi"]);
    says(("CAPABILITY", "75"), &["capability 7.5", "need 8.0", "--device cpu"]);
    says(("FAIL", "cuModuleLoadDataEx:218:0"), &["loading kernels ("]);
    says(("BAD_IMAGE", "no such register"), &["loading kernels (", "input, line 9", "fatal   : no such register"]);
    let release = format!("(CUDA {})", cuda::CUDA);
    says(("CUDA", "11080"), &["driver (CUDA 11.8) is older", &release, "update", "NVCC"]);
    says(("FAIL", "cuMemAlloc_v2:2:0"), &["allocating", "MB", "smaller model"]);
    says(("FAIL", "cuDevicePrimaryCtxRetain:46:0"), &["no context", "device is lost"]);
    let message = refusal(&desk.program(&["gradcheck", "--device", "cuda:1"], &[]));
    assert!(message.contains("this machine has 1 device"), "{message}");
    let old = desk.train("none", &["--device", "cuda", "--engine", "pdl"], &[("CAPABILITY", "89")]);
    assert!(refusal(&old).contains("--engine graph"));
    let refused = desk.train("none", &["--device", "cuda", "--engine", "persistent"], &[("TOGETHER", "0")]);
    assert!(refusal(&refused).contains("--engine graph"));
    succeeds(desk.train("old", &["--device", "cuda", "--max-minutes", SOON], &[("CAPABILITY", "89")]));
}

#[test]
fn a_device_that_is_lost_leaves_the_last_checkpoint() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    for (engine, sync) in [("calls", "0"), ("graph", "0"), ("graph", "1")] {
        let name = format!("{engine}{sync}");
        let environment = [("FAIL", "kernel:700:90"), ("MVAE_SYNC", sync)];
        let message = refusal(&desk.train(&name, &["--device", "cuda", "--engine", engine], &environment));
        assert!(message.contains("the last checkpoint is intact"), "{message}");
        // Only a wait after every call can tell which one it was.
        assert_eq!(message.contains("copying out"), sync == "0", "{message}");
        assert_eq!(desk.step(&name), 0);
        let arguments = ["train", "--resume", &name, "--quiet", "--device", "cuda", "--max-minutes", SOON];
        succeeds(desk.program(&arguments, &[]));
        assert_eq!(desk.step(&name), 4);
    }
    for (engine, failing) in [
        ("graph", "cuGraphCreate"),
        ("graph", "cuGraphAddKernelNode"),
        ("graph", "cuGraphInstantiateWithFlags"),
        ("pdl", "cuStreamEndCapture"),
        ("graph", "cuGraphLaunch"),
    ] {
        let environment = [("FAIL", format!("{failing}:999:0"))].map(|(name, value)| (name, value.leak() as &str));
        let message = refusal(&desk.train(failing, &["--device", "cuda", "--engine", engine], &environment));
        assert!(message.contains("a graph") && message.contains("--resume"), "{message}");
    }
}

#[test]
#[ignore = "takes minutes"]
fn several_devices_share_out_the_runs() {
    if !has_kernels() {
        return;
    }
    let desk = Desk::new();
    let tensors = |run: &str| {
        let file = desk.path(run).join("checkpoints/last.safetensors");
        Checkpoint::load(&file).unwrap().tensors
    };
    let three = ("DEVICES", "3");
    let short = ["motion.npz", "--engine", "calls", "--minibatches", "1", "--validation", "0", "--mirror", "false"];
    let population = |devices| [&short[..], &["--device", devices, "--population", "3"]].concat();
    succeeds(desk.train("one", &population("cuda"), &[]));
    succeeds(desk.train("three", &population("cuda:all"), &[three]));
    for seed in 0..3 {
        let run = |of| tensors(&format!("{of}/seed-{seed}"));
        assert!(run("one") == run("three"), "seed {seed}");
    }
    // A sweep of the same runs, whose second device is lost on the way.
    let flags = crate::small::flags(&short[3..]);
    let key = |flag: &[&str]| {
        let quote = if flag[1] == "epoch" { "'" } else { "" };
        format!("{} = {quote}{}{quote}\n", flag[0][2..].replace('-', "_"), flag[1])
    };
    let keys: String = flags.chunks(2).filter(|flag| flag[0] != "--threads").map(key).collect();
    let sweep = format!("[eval]\nwalks = 2\nframes = 60\n[train]\ndata = ['motion.npz']\nseed = [0, 1, 2]\n{keys}");
    fs::write(desk.path("s.toml"), sweep).unwrap();
    let arguments = ["sweep", "s.toml", "--runs", ".", "--device", "cuda:0,cuda:1,cuda:2", "--engine", "calls"];
    let output = desk.program(&arguments, &[three, ("FAIL", "kernel:700:90"), ("FAIL_ON", "1")]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("goes to another device, as its own is lost: cuda:1").count(), 1, "{said}");
    for seed in 0..3 {
        assert!(tensors(&format!("s/seed-{seed}")) == tensors(&format!("one/seed-{seed}")), "seed {seed}");
    }
    // A command of one run takes one device.
    let refused = desk.train("both", &["motion.npz", "--device", "cuda:0,cuda:1"], &[three]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("several devices, which share out the runs"));
    let refused = desk.train("none", &["motion.npz", "--device", "cuda:1"], &[]);
    assert_eq!(refused.status.code(), Some(3));
}
