//! The program in odd surroundings: streams that nobody reads, pipes and devices in place of files,
//! signals, left-overs of other processes.
#![cfg(unix)]
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with `motion.npz` in it, where `mvae-fast` is run.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        crate::small::write(&root.path().join("motion.npz"), 5, 60);
        Desk(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with these arguments, in an empty environment.
    fn program(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        command.env_clear().current_dir(self.0.path()).args(arguments.split_whitespace());
        command
    }

    /// `train` of a small model on `motion.npz`.
    fn train(&self, arguments: &str) -> Command {
        let mut command = self.program("train motion.npz");
        command.args(crate::small::flags(&arguments.split_whitespace().collect::<Vec<_>>()));
        command
    }

    fn fifo(&self, name: &str) -> PathBuf {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
        self.path(name)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Output of the program, which must end with this code within five minutes.
#[track_caller]
fn ends(command: &mut Command, code: i32) -> Output {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(300), "{command:?}: {:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    output
}

/// A stream whose reader has gone away.
fn closed() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

fn full() -> fs::File {
    fs::File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_standard_error_that_takes_nothing_ends_no_work() {
    let desk = Desk::new();
    let lines = |run: &str| fs::read_to_string(desk.path(run).join("metrics.jsonl")).unwrap().lines().count();
    ends(desk.train("--name closed").stderr(closed()), 0);
    assert_eq!(lines("runs/closed"), 5);
    ends(desk.train("--name several --population 2").stderr(closed()), 0);
    assert_eq!([lines("runs/several/seed-0"), lines("runs/several/seed-1")], [5, 5]);
    if Path::new("/dev/full").exists() {
        ends(desk.train("--name full").stderr(full()), 0);
        assert_eq!(lines("runs/full"), 5);
    }
    fs::write(desk.path("broken.bvh"), "HIERARCHY\nROOT\n").unwrap();
    ends(desk.program("data import broken.bvh -o set.npz").stderr(closed()), 4);
    ends(desk.program("train --no-such-flag").stderr(closed()), 2);
    ends(desk.program("data").stderr(closed()), 2);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_reader_that_went_away_hides_no_verdict() {
    let desk = Desk::new();
    if Path::new("/dev/full").exists() {
        for arguments in ["--help", "--version", "train --help", "doctor", "data check motion.npz --batch-size 1"] {
            let output = ends(desk.program(arguments).stdout(full()), 1);
            assert!(text(&output.stderr).contains("standard output: cannot write"), "{arguments}: {output:?}");
        }
        ends(desk.train("--name full").stdout(full()), 1);
        assert!(desk.path("runs/full/checkpoints/last.safetensors").exists());
    }
    ends(desk.program("--help").stdout(closed()), 0);
    ends(desk.program("data check motion.npz --batch-size 1").stdout(closed()), 0);
    let unready = ends(desk.program("data check motion.npz --batch-size 60000").stdout(closed()), 5);
    assert!(text(&unready.stderr).contains("not ready to train on"), "{unready:?}");
}

#[test]
fn a_pipe_a_device_or_a_folder_is_no_file_to_jump_about_in() {
    let desk = Desk::new();
    ends(&mut desk.train("--name walk"), 0);
    let fifo = desk.fifo("f.npz");
    fs::create_dir(desk.path("folder")).unwrap();
    for (path, what) in [("f.npz", "a pipe"), ("/dev/null", "a device"), ("folder", "a folder")] {
        for (command, code) in [
            ("data check", 4),
            ("train", 4),
            ("data export -o out.bvh", 4),
            ("train --init", 4),
            ("info", 4),
            ("eval walk --data", 4),
        ] {
            let output = ends(&mut desk.program(&format!("{command} {path}")), code);
            let message = text(&output.stderr);
            assert!(message.contains(what) || path == "folder", "{command} {path}: {message}");
            assert!(message.starts_with("error: ") && message.lines().count() == 1, "{command} {path}: {message}");
        }
    }
    let motion = desk.fifo("walk.bvh");
    for pipe in ["f.npz", "walk.bvh"] {
        let output = ends(&mut desk.program(&format!("data import {pipe} /dev/null -o set.npz")), 4);
        let said = format!("{pipe}: cannot be opened: a pipe, not a file");
        assert!(text(&output.stderr).contains(&said), "{output:?}");
    }
    drop((fifo, motion));
}

#[test]
fn text_is_read_from_a_pipe_and_nobody_waits_for_one_that_is_silent() {
    let desk = Desk::new();
    let fifo = desk.fifo("f.toml");
    for (arguments, code) in [
        ("train motion.npz --config f.toml", 2),
        ("eval walk --gate=f.toml", 2),
        ("data import motion.npz -o set.npz --map f.toml", 2),
        ("data import motion.npz -o set.npz --skeleton f.toml", 2),
    ] {
        let message = text(&ends(&mut desk.program(arguments), code).stderr);
        assert!(message.contains("f.toml: cannot be read: a pipe that no program writes to"), "{arguments}: {message}");
    }
    let writer = std::thread::spawn(move || {
        let mut pipe = fs::File::options().write(true).open(fifo).unwrap();
        for part in ["seed = ", "77\n", "batch_size = 9\n"] {
            pipe.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let output = ends(&mut desk.program("train --print-config --config f.toml"), 0);
    assert!(text(&output.stdout).contains("seed = 77\n") && text(&output.stdout).contains("batch_size = 9\n"));
    writer.join().unwrap();

    // More than a configuration may hold, through a pipe and as an empty file of huge size: neither
    // is read to its end.
    fs::File::create(desk.path("large.toml")).unwrap().set_len(1 << 40).unwrap();
    let message = text(&ends(&mut desk.program("train --config large.toml"), 2).stderr);
    assert!(message.contains("large.toml: more than 1 MiB"), "{message}");
    let script = "yes | \"$0\" train --config /dev/stdin";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_mvae-fast")]).current_dir(desk.0.path());
    let message = text(&ends(&mut shell, 2).stderr);
    assert!(message.contains("/dev/stdin: more than 1 MiB"), "{message}");
    let message = text(&ends(&mut desk.program("train --config /dev/zero"), 2).stderr);
    assert!(message.contains("/dev/zero: cannot be read: a device, not a file"), "{message}");
}

#[test]
fn thresholds_that_ask_nothing_are_not_met() {
    let desk = Desk::new();
    ends(&mut desk.train("--name walk"), 0);
    fs::write(desk.path("empty.toml"), "# nothing\n").unwrap();
    for (file, what) in [("empty.toml", "holds no threshold"), ("/dev/null", "a device, not a file")] {
        let message = text(&ends(&mut desk.program(&format!("eval walk --gate={file}")), 2).stderr);
        assert!(message.contains(what), "{message}");
    }
    fs::write(desk.path("one.toml"), "inside = 0.0\n").unwrap();
    ends(&mut desk.program("eval walk --walks 4 --frames 60 --gate=one.toml"), 0);
}

#[test]
fn a_terminal_that_goes_away_stops_no_run_that_is_to_outlive_it() {
    let desk = Desk::new();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().current_dir(desk.0.path()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mvae-fast"), "train", "motion.npz"]);
    let mut child = shell.args(crate::small::flags(&["--name", "walk", "--student-epochs", "20"])).spawn().unwrap();
    while !desk.path("runs/walk/progress.csv").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    if cfg!(target_os = "linux") {
        assert!(status.success(), "{status:?}");
    }
}

#[test]
fn a_run_goes_on_whatever_became_of_its_logs() {
    let desk = Desk::new();
    ends(desk.train("--name walk --max-minutes 1e-9 --student-epochs 1").stderr(Stdio::null()), 0);
    let metrics = desk.path("runs/walk/metrics.jsonl");
    fs::write(&metrics, "null\n").unwrap();
    for file in ["progress.csv", "env.json", "tensorboard/events.out.tfevents.mvae-fast"] {
        fs::remove_file(desk.path("runs/walk").join(file)).unwrap();
    }
    let message = text(&ends(&mut desk.program("info walk"), 0).stderr);
    assert!(message.contains("metrics.jsonl: 1 line passed over"), "{message}");
    let message = text(&ends(&mut desk.program("train --resume walk --max-minutes 0"), 0).stderr);
    assert!(message.contains("env.json was missing") && message.contains("progress.csv was changed"), "{message}");
    assert_eq!(fs::read_to_string(&metrics).unwrap().lines().count(), 4, "four epochs");
}
