//! `mvae-fast export` as a user meets it: what was exported walks as the program does, and
//! refusals.
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::checkpoint::Checkpoint;
use mvae_fast::control::config::PolicyConfig;
use mvae_fast::control::play::{Play, Policy, Who, record};
use mvae_fast::control::poses;
use mvae_fast::data::{npz, world};
use mvae_fast::exchange::ship::walker::Walker;
use mvae_fast::exchange::ship::{Aim, Shipped};
use mvae_fast::infer::trained::Trained;
use mvae_fast::motion::local::{Bones, LocalPose};
use mvae_fast::motion::rig::METRES;
use mvae_fast::motion::{Root, features, quaternion};
use mvae_fast::ops::world::path;
use mvae_fast::run::folder::RunFolder;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const FRAMES: usize = 1800;
/// Largest distance between a joint and the place where the program has it in the body, metres.
const FAR: f64 = 1e-4;

/// A folder with a small trained model in it: run `walk`, data `motion.npz`.
struct Desk {
    root: TempDir,
}

impl Desk {
    fn new(variant: &str) -> Self {
        Desk::with(&format!("--variant {variant}"))
    }

    /// A model that is trained with these flags.
    fn with(flags: &str) -> Self {
        let desk = Desk { root: tempfile::tempdir().unwrap() };
        desk.done("data synth -o motion.npz --frames 1200");
        desk.done(&format!(
            "train motion.npz --name walk --quiet {flags} --hidden-size 24 --gate-hidden-size 8 \
             --latent-size 5 --experts 3 --codes 6 --minibatches 0 --teacher-epochs 2 --ramp-epochs 1 \
             --student-epochs 2 --threads 2"
        ));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.root.path()).args(arguments.split_whitespace()).output().unwrap()
    }

    /// The output of a command that must succeed.
    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line of a refusal.
    fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }

    /// A walk of the program's own: its latents, and the places of the joints in each frame,
    /// metres.
    fn walk(&self) -> (Vec<f32>, Vec<f64>) {
        self.done(&format!("generate walk --start 0:0 --frames {FRAMES} -o made.npz"));
        let latents = npz::read_array(&self.path("made.npz"), "latents").unwrap().1;
        (latents, self.places("made.npz", Root::default()))
    }

    /// Actions that choose the codes of these latents (vq).
    fn codes(&self, latents: &[f32]) -> Vec<f32> {
        let file = self.path("runs/walk/checkpoints/last.safetensors");
        let checkpoint = Checkpoint::load(&file).unwrap();
        let embed: Vec<f32> = checkpoint.numbers(&file, "quantizer.embed", &[5, 6]).unwrap();
        let is = |z: &[f32], code: usize| (0..5).all(|k| embed[6 * k + code] == z[k]);
        latents.chunks_exact(5).flat_map(|z| (0..6).map(|code| f32::from(is(z, code))).collect::<Vec<_>>()).collect()
    }

    /// The places of the joints of a file's only clip; `root` is where the character was before it.
    fn places(&self, file: &str, mut root: Root) -> Vec<f64> {
        let set = npz::read(&self.path(file)).unwrap();
        let frames = (0..set.num_frames()).flat_map(|frame| {
            let row = set.frame(frame);
            root = root.advanced([row[0].into(), row[1].into(), row[2].into()]);
            world::positions(row, &root)
        });
        frames.map(|x| METRES * f64::from(x)).collect()
    }
}

/// The output of a program that gets numbers.
fn fed(command: &mut Command, numbers: &[f32]) -> Vec<f32> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    let bytes = bytemuck::cast_slice(numbers).to_vec();
    let writer = std::thread::spawn(move || to.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Largest difference of two lists of numbers.
fn farthest(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "numbers");
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

/// Checks places of joints, [frames, joints, 3]. In the body, they are where they should be. Places
/// in the world may differ by a share of the way, as rounding turns the character.
///
/// `moved` are places of the same walk whose start was moved by a millionth, if a model makes much
/// of rounding in time: such a walk tells how much more may differ.
fn near(who: &str, places: &[f32], truth: &[f64], moved: Option<&[f64]>, joints: usize) {
    let single = |at: &[f64]| at.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let own = moved.map_or([0.0; 2], |moved| apart(&single(moved), truth, joints).0);
    let ([body, far], way) = apart(places, truth, joints);
    println!(
        "{who}: after {way:.0} m at most {body:.1e} m off in the body, {far:.1e} m in the world; its own rounding {:.1e}, \
         {:.1e}",
        own[0], own[1]
    );
    let bounds = [FAR + 10.0 * own[0], FAR + 2e-5 * way + 10.0 * own[1]];
    assert!(body < bounds[0] && far < bounds[1], "{who}: {body} and {far} m");
}

/// Largest distance of places of joints in the body and in the world, and the length of the way.
fn apart(places: &[f32], truth: &[f64], joints: usize) -> ([f64; 2], f64) {
    let middle = |at: &[f64]| [0, 1, 2].map(|i| at.iter().skip(i).step_by(3).sum::<f64>() / joints as f64);
    let found: Vec<f64> = places.iter().map(|&x| x.into()).collect();
    let (mut body, mut way, mut last) = (0.0_f64, 0.0, None);
    for (a, b) in found.chunks_exact(3 * joints).zip(truth.chunks_exact(3 * joints)) {
        let (of_a, of_b) = (middle(a), middle(b));
        let off = (0..3 * joints).map(|i| (a[i] - of_a[i % 3] - b[i] + of_b[i % 3]).abs());
        body = off.fold(body, f64::max);
        way += last.map_or(0.0, |last: [f64; 3]| (last[0] - of_b[0]).hypot(last[2] - of_b[2]));
        last = Some(of_b);
    }
    ([body, farthest(places, truth)], way)
}

/// True if a program can be started; says so if not.
fn there_is(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("{program}: skipped, not found");
    }
    there
}

/// Compiles the program that walks with `walk.h`.
fn compiled(desk: &Desk, compiler: &str, name: &str, flags: &[&str]) -> Command {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/walk.c");
    let mut command = Command::new(compiler);
    command.current_dir(desk.root.path()).args(["-Wall", "-Wextra", "-Werror", "-I."]).args(flags);
    let output = command.args([source, "-o", name, "-lm"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = Command::new(desk.path(name));
    command.arg(desk.path("walk.bin"));
    command
}

const SANITIZED: [&str; 4] = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-fsanitize=address,undefined"];

/// A program that walks with `walk.js` in node.
fn node(desk: &Desk, engine: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/walk.mjs")).arg(desk.path("walk.js")).arg(engine);
    command
}

/// Places and rotations of the joints in frames that a program wrote.
fn parts(written: &[f32], joints: usize) -> [Vec<f32>; 2] {
    let frames = written.chunks_exact(7 * joints);
    let (places, turns) = frames.map(|frame| frame.split_at(3 * joints)).unzip::<_, _, Vec<_>, Vec<_>>();
    [places.concat(), turns.concat()]
}

/// Rotations of the joints of a file's only clip as quaternions x, y, z, w of which w is not
/// negative.
fn rotations(desk: &Desk, file: &str, mut root: Root) -> Vec<f64> {
    let set = npz::read(&desk.path(file)).unwrap();
    let skeleton = &set.rig.as_ref().unwrap().skeleton;
    let frames = (0..set.num_frames()).flat_map(|frame| {
        let row = set.frame(frame);
        root = root.advanced([row[0].into(), row[1].into(), row[2].into()]);
        let pose = LocalPose::new(skeleton, &features::world_pose(row, &root), Bones::Given);
        pose.axes.iter().flat_map(quaternion::from_axes).collect::<Vec<_>>()
    });
    frames.collect()
}

#[test]
fn every_variant_walks_elsewhere_as_here() {
    for variant in ["mixture", "posevae", "specialist", "vq"] {
        let desk = Desk::new(variant);
        let (latents, places) = desk.walk();
        let latents = if variant == "vq" { desk.codes(&latents) } else { latents };
        let joints = places.len() / FRAMES / 3;
        let turns = rotations(&desk, "made.npz", Root::default());
        let walks = |name: &str, command: &mut Command, truth: &[f64]| {
            let [at, turned] = parts(&fed(command, &latents), joints);
            near(&format!("{variant}, {name}"), &at, truth, None, joints);
            turned
        };
        let decoder = Trained::load(&desk.path("runs/walk/checkpoints/last.safetensors")).unwrap();
        let shipped =
            Shipped::new("walk", &decoder, &poses::of(&decoder, &[desk.path("motion.npz")]).unwrap()).unwrap();
        let walked = |mut walker: Walker| {
            let frames = latents.chunks_exact(shipped.latent_size()).flat_map(|latent| {
                walker.step(latent);
                walker.joints()
            });
            frames.flatten().collect::<Vec<f64>>()
        };
        let single = |places: Vec<f64>| places.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        near(&format!("{variant}, as described"), &single(walked(Walker::new(&shipped))), &places, None, joints);
        if there_is("cc") {
            desk.done("export walk -o walk.h");
            let mut turned = walks("C", &mut compiled(&desk, "cc", "program", &SANITIZED), &places);
            turned.chunks_exact_mut(4).filter(|q| q[3] < 0.0).for_each(|q| q.iter_mut().for_each(|x| *x = -*x));
            let off = farthest(&turned, &turns);
            assert!(off < 1e-3, "{variant}: rotations are {off} off");
        }
        if there_is("node") {
            let said = desk.done("export walk -o walk.js");
            assert!(said.contains("weights of 16 bits: a joint is at most "), "{said}");
            let halved = walked(Walker::new(&shipped).halved());
            let engines = ["WebAssembly", "JavaScript"].map(|engine| walks(engine, &mut node(&desk, engine), &halved));
            assert!(engines[0].iter().zip(&engines[1]).all(|(a, b)| (a - b).abs() < 1e-3), "rotations");
        }
    }
}

#[test]
fn a_steered_character_obeys_elsewhere_as_here() {
    let raw = "--normalize-observations false";
    for (name, flags, task, more) in [
        ("stick", "", "joystick", ""),
        ("raw", "", "joystick", raw),
        ("goal", "", "target", ""),
        ("way", "", "path", ""),
        ("codes", "--variant vq", "joystick", "--algorithm ppo"),
        ("pasts", "--condition-frames 2", "joystick", ""),
        ("skips", "--future-predictions 2", "joystick", "--algorithm ppo --frame-skip 2"),
    ] {
        let desk = Desk::with(flags);
        desk.done(&format!(
            "control train --task {task} --vae walk --name {name} --quiet --updates 2 --characters 16 \
             --hidden-size 16 --threads 2 {more}"
        ));
        let folder = RunFolder::open(&desk.path("runs").join(name)).unwrap();
        let config = PolicyConfig::load(&folder.config()).unwrap();
        let cpu = Cpu::new(2);
        let policy = || Policy::open(&folder.last_checkpoint(), &config, &[]).unwrap();
        let mut play = Play::open(policy(), &cpu, (1, FRAMES + 1, 3), None).unwrap();
        let played = record(&play.stage, &mut play.memory, Who::Trained, FRAMES).unwrap().remove(0);
        let Policy { material, layout, values } = policy();
        let shipped = Shipped::steerable("walk", &material).unwrap().with_policy(&layout, &values);
        let command = shipped.command.unwrap();
        let velocity = |[direction, speed]: [f32; 2]| {
            let (s, c) = f64::from(direction).sin_cos();
            let unit = command.top().unwrap() / material.rules.speed;
            [c, s].map(|x| f64::from((unit * f64::from(speed) * x) as f32))
        };
        let point = |at: [f32; 2]| at.map(|x| f64::from((METRES * f64::from(x)) as f32));
        // The goal of a later frame is a point that is seen now.
        let goals = |frame: usize| (0..command.vectors()).map(move |i| frame + path::GAP * i);
        // Of a step's frames, the last one is shown.
        let skip = config.frame_skip;
        let last = played.roots.len();
        let asked: Vec<Vec<[f64; 2]>> = (0..last)
            .step_by(skip)
            .map(|frame| match command.aim {
                Aim::Velocity { .. } => vec![velocity(played.recorded[1][frame])],
                Aim::Points { .. } => goals(frame).map(|at| point(played.recorded[0][at.min(last)])).collect(),
            })
            .collect();
        let shown = played.frames.chunks_exact(shipped.frame_size).skip(skip - 1).step_by(skip);
        let mut walker = Walker::new(&shipped);
        walker.history.clone_from(&played.start);
        walker.root = played.from;
        let mut far = 0.0_f64;
        // A policy that is hardly trained makes much of rounding in time.
        for (frame, asked) in shown.zip(&asked).take(300) {
            walker.toward(asked);
            far = frame.iter().zip(&walker.history).map(|(a, b)| f64::from((a - b).abs())).fold(far, f64::max);
        }
        println!("{name}: features at most {far:.1e} off");
        assert!(played.roots.len() > 100 && far < 1e-3, "{name}: {far}");

        let walked = |mut walker: Walker| {
            let frames = asked.iter().flat_map(|asked| {
                walker.toward(asked);
                walker.joints()
            });
            frames.flatten().collect::<Vec<f64>>()
        };
        let given: Vec<f32> = asked.iter().flat_map(|asked| asked.as_flattened()).map(|&x| x as f32).collect();
        let walks = |engine: &str, command: &mut Command, walker: Walker| {
            let [places, _] = parts(&fed(command, &given), shipped.joints());
            let mut moved = walker.clone();
            moved.history.iter_mut().enumerate().for_each(|(i, x)| *x += if i % 2 == 0 { 1e-6 } else { -1e-6 });
            let (truth, moved) = (walked(walker), walked(moved));
            near(&format!("{name}, {engine}"), &places, &truth, Some(&moved), shipped.joints());
        };
        if there_is("cc") {
            desk.done(&format!("export walk --controller {name} -o walk.h"));
            walks("C", &mut compiled(&desk, "cc", "program", &SANITIZED), Walker::new(&shipped));
        }
        if there_is("node") {
            desk.done(&format!("export walk --controller {name} -o walk.js"));
            for engine in ["WebAssembly", "JavaScript"] {
                walks(engine, &mut node(&desk, engine), Walker::new(&shipped).halved());
            }
        }
    }
}

#[test]
fn exports_that_cannot_be_are_refused_in_one_line() {
    let desk = Desk::new("posevae");
    desk.done(
        "train motion.npz --name other --quiet --hidden-size 8 --latent-size 5 --experts 2 --gate-hidden-size 8 \
               --minibatches 0 --teacher-epochs 1 --ramp-epochs 1 --student-epochs 1 --threads 2",
    );
    for task in ["joystick", "target", "face"] {
        desk.done(&format!(
            "control train --task {task} --vae walk --name {task} --quiet --updates 1 --characters 8 --hidden-size 8 \
             --threads 2"
        ));
    }
    fs::write(desk.path("there.html"), "keep").unwrap();
    fs::write(desk.path("half.bin"), "keep").unwrap();
    for (arguments, code, says) in [
        ("walk", 2, "give --format"),
        ("walk -o x.fbx", 2, "expected a name that ends in .h or .html or .js or .onnx"),
        ("walk --format c -o x.js", 2, "this format's files end in .h"),
        ("walk -o there.html", 2, "exists"),
        ("walk -o half.h", 2, "half.bin exists"),
        ("walk -o none/x.h", 2, "there is no folder none; make it"),
        ("nothing -o x.h", 4, "no such file, and no run of that name"),
        ("joystick -o x.h", 4, "is a controller"),
        ("walk --controller other -o x.h", 4, "is the run of a Motion VAE"),
        ("walk --controller target -o x.html", 2, "the page is steered by a joystick"),
        ("walk --controller face -o x.h", 4, "its task is face, which is not exported"),
        ("walk --opset 14 -o x.onnx", 2, "--opset is 14, expected one from 15 to 28"),
        ("walk --opset 29 -o x.onnx", 2, "--opset is 29, expected one from 15 to 28"),
        ("walk --opset 17 -o x.h", 2, "--opset belongs to ONNX, and x.h is none"),
        ("other --controller joystick -o x.h", 4, "is a controller of another decoder than other"),
        ("walk --controller joystick --data motion.npz -o x.h", 2, "leave out; drop --data"),
        ("walk --data nothing.npz -o x.h", 4, "nothing.npz"),
    ] {
        let message = desk.refused(&format!("export {arguments}"), code);
        assert!(message.contains(says), "{arguments}: {message}");
    }
    assert!(["x.h", "x.html", "x.onnx", "x.json", "half.h"].iter().all(|file| !desk.path(file).exists()));
    assert_eq!(fs::read(desk.path("there.html")).unwrap(), b"keep");
    let said = desk.done("export walk --controller joystick --format html");
    assert!(said.starts_with("walk.html: "), "{said}");
    let page = fs::read_to_string(desk.path("walk.html")).unwrap();
    assert!(!page.contains("{{") && !page.contains("://"), "nothing is left to fill in or to fetch");
    let said = desk.done("export walk --opset 28 --json -o w.onnx");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["files"], serde_json::json!(["w.onnx", "w.json"]));
}
