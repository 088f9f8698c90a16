//! The program as a user meets it: help, layers of configuration, refusals, exit codes, and the
//! stream of each message.
use mvae_fast::config::{Config, KlWeight, Preset};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program with these arguments, in an empty environment.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
    command.env_clear().args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a command that must succeed and print nothing else.
fn result(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

/// Standard error of a command that must fail with this code and print no result.
fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    text(&output.stderr)
}

/// The one line of an error of ours.
fn refusal(command: &mut Command, code: i32) -> String {
    let message = failure(command, code);
    assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message:?}");
    message
}

fn print_config(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    let mut command = program(&["train", "--print-config"]);
    command.args(arguments).envs(environment.iter().copied());
    toml::from_str(&result(&mut command)).unwrap()
}

#[test]
fn help_names_every_command_and_key() {
    let help = text(&output(&["--help"]).stdout);
    let commands = [
        "train",
        "generate",
        "export",
        "eval",
        "info",
        "data",
        "sweep",
        "gradcheck",
        "plan",
        "doctor",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in:\n{help}");
        let output = output(&[command, "--help"]);
        assert!(output.status.success() && output.stderr.is_empty());
    }
    assert!(help.contains("Examples:"));
    let help = text(&output(&["train", "--help"]).stdout);
    for key in Config::KEYS {
        let flag = format!("--{} ", key.replace('_', "-"));
        assert!(help.contains(&flag), "{flag} is not in:\n{help}");
    }
    for part in ["Data:", "Model:", "Schedule:", "Optimizer:", "Latent:", "Run:", "Examples:"] {
        assert!(help.contains(&format!("\n{part}\n")), "{part} is not in:\n{help}");
    }
    assert!(help.contains("B: rollouts in a mini-batch [default: 64]"), "{help}");
    assert!(text(&output(&["--version"]).stdout).starts_with("mvae-fast "));
}

#[test]
fn usage_errors_exit_2() {
    for arguments in [
        &["train", "--sede", "3"][..],
        &["train", "--device", "gpu"],
        &["train", "--device", "cuda:x"],
        &["train", "--batch-size", "many"],
        &["train", "--threads", "0"],
        &["train", "--preset", "papr"],
        &["train", "--resume", "a", "--config", "b.toml"],
        &["completions", "tcl"],
        &["data", "check"],
        &["info"],
        &["paint"],
    ] {
        refusal(&mut program(arguments), 2);
    }
    assert!(refusal(&mut program(&["train", "--sede", "3"]), 2).contains("--seed"));
    assert!(refusal(&mut program(&["train", "--epochs", "3"]), 2).contains("did you mean --teacher-epochs or --ramp"));
    assert!(
        refusal(&mut program(&["eval", "run", "--epochs", "3"]), 2).contains("see --help"),
        "what another command has is no help"
    );
    let message = refusal(&mut program(&["train", "--resume", "walk", "--name", "b"]), 2);
    assert!(message.contains("cannot be used with '--name <NAME>'; drop one of them"), "{message}");
    assert_eq!(
        refusal(&mut program(&["info"]), 2),
        "error: the following required arguments were not provided: <RUN|CHECKPOINT>\n"
    );
    let message = refusal(&mut program(&["train", "--batch-size", "0"]), 2);
    assert_eq!(message, "error: --batch-size is 0, expected 1 to 65536\n");
    refusal(&mut program(&["train", "--kl-weight", "-1"]), 2);
    refusal(&mut program(&["train", "--variant", "vq", "--kl-weight", "auto"]), 2);
}

#[cfg(unix)]
#[test]
fn kernels_are_checked_on_the_host() {
    let errors: Vec<f64> = ["fp32", "bf16x3"]
        .map(|precision| {
            let words = ["gradcheck", "--device", "simt", "--variant", "mixture", "--precision", precision, "--json"];
            let report: serde_json::Value = serde_json::from_str(&result(&mut program(&words))).unwrap();
            assert!(report["rows"].as_array().unwrap().iter().any(|row| row["subject"] == "blend_linear_backward_x"));
            let all = report["rows"].as_array().unwrap().iter().find(|row| row["tensor"] == "all").unwrap();
            all["worst"].as_f64().unwrap()
        })
        .to_vec();
    assert!(
        errors[0] < 1e-6 && errors[1] < 5e-5 && errors[1] > 3.0 * errors[0],
        "another precision, and it tells: {errors:?}"
    );
}

#[test]
fn a_device_that_is_not_there_exits_3() {
    for device in ["cuda", "cuda:0", "cuda:3"] {
        for command in ["train", "gradcheck"] {
            let message = refusal(&mut program(&[command, "--device", device]), 3);
            assert!(message.contains("pass --device cpu"), "{message}");
        }
    }
    refusal(program(&["train"]).env("MVAE_DEVICE", "cuda:1"), 3);
    let message = refusal(&mut program(&["train", "--precision", "bf16x3"]), 2);
    assert!(message.contains("--precision is bf16x3, expected fp32: the cpu computes in nothing else"), "{message}");
    refusal(program(&["gradcheck"]).env("MVAE_PRECISION", "bf16x3"), 2);
    assert!(refusal(&mut program(&["train", "--precision", "half"]), 2).contains("fp32"));
}

#[test]
fn flags_over_environment_over_file_over_preset() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let lines = "preset = \"reference\"\nseed = 1\nexperts = 1\nrollout = 1\nkl_weight = \"auto\"\n";
    std::fs::write(&file, lines).unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--seed", "3"];
    let environment = [("MVAE_SEED", "2"), ("MVAE_EXPERTS", "2")];
    let expected =
        Config { seed: 3, experts: 2, rollout: 1, kl_weight: KlWeight::Auto, ..Config::preset(Preset::Reference) };
    assert_eq!(print_config(&arguments, &environment), expected);
    let paper = print_config(&["--preset", "paper"], &[("MVAE_PRESET", "reference")]);
    assert_eq!(paper, Config::preset(Preset::Paper));
    let reference = print_config(&[], &[("MVAE_PRESET", "reference")]);
    assert_eq!(reference, Config::preset(Preset::Reference));
    let walk = Config { data: vec!["walk.npz".into()], ..Config::default() };
    assert_eq!(print_config(&["walk.npz"], &[]), walk);
    // A flag for true or false needs no value for true.
    let switched = Config { bridge_clips: false, mirror: true, ..walk };
    assert_eq!(
        print_config(&["walk.npz", "--bridge-clips", "false", "--mirror"], &[("MVAE_MIRROR", "false")]),
        switched
    );
}

#[test]
fn bad_values_say_where_they_were_given_and_what_is_expected() {
    for (key, value, expected) in [
        ("batch-size", "abc", "a whole number of 0 or more"),
        ("threads", "0", "a whole number of 1 or more"),
        ("seed", "99999999999999999999", "a smaller whole number"),
        ("learning-rate", "fast", "a number"),
        ("kl-weight", "much", "a number or auto"),
        ("device", "gpu", "auto, cpu, simt, cuda or cuda:N"),
        ("preset", "papr", "one of default, long, paper, reference"),
        ("ramp", "", "one of iteration, epoch"),
    ] {
        let variable = format!("MVAE_{}", key.replace('-', "_").to_uppercase());
        let by_flag = refusal(&mut program(&["train", &format!("--{key}={value}")]), 2);
        assert_eq!(by_flag, format!("error: --{key} is {value:?}, expected {expected}\n"));
        let by_variable = refusal(program(&["train"]).env(&variable, value), 2);
        assert_eq!(by_variable, format!("error: {variable} is {value:?}, expected {expected}\n"));
    }
    let message = refusal(program(&["train"]).env("MVAE_BATCH_SIZE", "0"), 2);
    assert_eq!(message, "error: MVAE_BATCH_SIZE is 0, expected 1 to 65536\n");
    // a flag wins over the environment, but an error in the environment is reported all the same
    refusal(program(&["train", "--print-config", "--seed", "1"]).env("MVAE_SEED", "x"), 2);
}

#[test]
fn unknown_variables_name_the_nearest() {
    for (name, nearest) in [
        ("MVAE_BATCHSIZE", "MVAE_BATCH_SIZE"),
        ("MVAE_PRESETS", "MVAE_PRESET"),
        ("MVAE_RUN", "MVAE_RUNS"),
        ("MVAE_THREAD", "MVAE_THREADS"),
        ("MVAE_kl_weight", "MVAE_KL_WEIGHT"),
    ] {
        for command in [&["train", "--print-config"][..], &["info", "walk"]] {
            let message = refusal(program(command).env(name, "3"), 2);
            assert_eq!(
                message,
                format!("error: unknown environment variable {name}; did you mean {nearest}? if not, unset it\n")
            );
        }
    }
    let others = ["MVAE_GOLDEN_DIR", "MVAE_TEST_WRITER", "MVAE_GIT_COMMIT", "OTHER_MVAE_SEED", "mvae_seed"];
    let none = print_config(&[], &[]);
    assert_eq!(print_config(&[], &others.map(|name| (name, "x"))), none);
    assert!(program(&["train", "--help"]).env("MVAE_BATCHSIZE", "3").output().unwrap().status.success());
}

#[test]
fn data_by_position_flag_and_environment() {
    let environment = [("MVAE_DATA", "e.npz")];
    let data = |arguments: &[&str]| {
        let config = print_config(arguments, &environment);
        config.data.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(data(&[]), ["e.npz"]);
    assert_eq!(data(&["a.npz", "b.npz"]), ["a.npz", "b.npz"]);
    assert_eq!(data(&["--data", "c.npz", "--data", "d.npz"]), ["c.npz", "d.npz"]);
    assert_eq!(data(&["a.npz", "--data", "c.npz"]), ["a.npz", "c.npz"]);
}

#[test]
fn unknown_keys_of_a_file_name_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, "seed = 1\nbatchsize = 3\n").unwrap();
    let message = refusal(&mut program(&["train", "--config", file.to_str().unwrap()]), 2);
    let expected = "run.toml:2: unknown key \"batchsize\"; did you mean \"batch_size\"?\n";
    assert!(message.ends_with(expected), "{message}");
    refusal(&mut program(&["train", "--config", "no such file.toml"]), 2);
}

#[test]
fn resume_takes_the_configuration_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().to_str().unwrap();
    let run = folder.path().join("walk");
    std::fs::create_dir(&run).unwrap();
    let config = Config { seed: 9, ..Config::preset(Preset::Paper) };
    std::fs::write(run.join("config.toml"), config.to_toml()).unwrap();
    let by_path = print_config(&["--resume", run.to_str().unwrap()], &[]);
    let by_name = print_config(&["--runs", runs, "--resume", "walk"], &[("MVAE_SEED", "9")]);
    assert_eq!((&by_path, &by_name), (&config, &config));
    // keys for duration and frequency may change, keys that change the result may not
    let arguments = ["--runs", runs, "--resume", "walk", "--max-minutes", "5"];
    let expected = Config { max_minutes: Some(5.0), ..config.clone() };
    assert_eq!(print_config(&arguments, &[]), expected);
    let arguments = ["train", "--runs", runs, "--resume", "walk", "--learning-rate", "1e-3"];
    let message = refusal(&mut program(&arguments), 2);
    assert!(message.contains("as the run was configured, which --learning-rate would change; drop it"), "{message}");
    // the environment may set keys for duration and frequency, and no others
    let environment = [("MVAE_PRESET", "reference"), ("MVAE_LEARNING_RATE", "1"), ("MVAE_DATA", "b.npz")];
    assert_eq!(print_config(&["--runs", runs, "--resume", "walk"], &environment), config);
    let environment = [("MVAE_MAX_MINUTES", "5"), ("MVAE_RUNS", runs)];
    assert_eq!(print_config(&["--resume", "walk"], &environment), expected);
    // moved data may be named anew; training checks first that it is the same data
    let moved = print_config(&["--runs", runs, "--resume", "walk", "new.npz"], &[]);
    assert_eq!(moved.data.len(), 1);
    let message = refusal(&mut program(&["train", "--runs", runs, "--resume", "run"]), 4);
    assert!(message.contains("--runs"), "{message}");
    std::fs::write(run.join("config.toml"), "seed =").unwrap();
    refusal(&mut program(&["train", "--runs", runs, "--resume", "walk"]), 4);
}

#[test]
fn doctor_says_what_there_is() {
    let report = result(&mut program(&["doctor"]));
    for word in ["version", "cpu", "memory", "cuda", "runs"] {
        assert!(report.lines().any(|line| line.starts_with(word)), "{report}");
    }
    let folder = tempfile::tempdir().unwrap();
    let driver = folder.path().join("libcuda.so.1");
    std::fs::write(&driver, "").unwrap();
    let runs = folder.path().join("deep/runs");
    let mut command = program(&["doctor", "--json", "--runs", runs.to_str().unwrap()]);
    command.env("LD_LIBRARY_PATH", folder.path());
    let report: serde_json::Value = serde_json::from_str(&result(&mut command)).unwrap();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["threads"].as_u64().unwrap() >= 1);
    let vector = report["vector"].as_array().unwrap();
    let has = |set: &str| vector.iter().any(|found| found == set);
    if has("avx512f") || has("avx2") && has("fma") || has("neon") {
        assert!(report["vector_in_use"].is_string(), "{report}");
    }
    assert_eq!(report["cuda_driver"], driver.to_str().unwrap());
    assert_eq!(report["runs_problem"], serde_json::Value::Null);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "doctor leaves nothing behind");
    // a file where the folder should be
    let mut command = program(&["doctor", "--json", "--runs", driver.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&result(&mut command)).unwrap();
    assert!(report["runs_problem"].is_string(), "{report}");
}

#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = result(&mut program(&["completions", shell]));
        assert!(script.contains("mvae-fast") && script.contains("kl-weight"), "{shell}: {script}");
    }
    assert!(result(&mut program(&["man"])).contains(".TH mvae-fast 1"));
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(result(&mut program(&["man", "--dir", pages.to_str().unwrap()])).is_empty());
    for page in ["mvae-fast.1", "mvae-fast-train.1", "mvae-fast-data-synth.1"] {
        let page = pages.join(page);
        assert!(std::fs::metadata(&page).unwrap().len() > 100, "{}", page.display());
    }
    assert!(std::fs::read_to_string(pages.join("mvae-fast-train.1")).unwrap().contains("kl\\-weight"));
    let blocked = Path::new("/dev/null/man1");
    refusal(&mut program(&["man", "--dir", blocked.to_str().unwrap()]), 1);
}

#[test]
fn data_check_gates_on_the_sizes_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("short.npz");
    let file = file.to_str().unwrap();
    result(&mut program(&["data", "synth", "-o", file, "--frames", "400"]));
    assert!(result(&mut program(&["data", "check", file])).contains("ready to train"));
    let unready = output(&["data", "check", file, "--batch-size", "1000", "--json"]);
    assert_eq!(unready.status.code(), Some(5), "{unready:?}");
    let report: serde_json::Value = serde_json::from_slice(&unready.stdout).unwrap();
    assert_eq!((&report["report"]["ready"], &report["report"]["batch_size"]), (&false.into(), &1000.into()));
    let message = text(&unready.stderr);
    assert!(message.starts_with("error: ") && message.contains("1000") && message.lines().count() == 1, "{message:?}");
    refusal(&mut program(&["data", "check", file, "--validation", "1"]), 2);

    // The numbers that it prints for a set are those of training, which holds windows out.
    let options = [
        &[][..],
        &["--validation", "0"],
        &["--validation", "0.4", "--seed", "5"],
        &["--bridge-clips", "false"],
        &["--mirror", "false"],
        &["--preset", "paper", "--validation", "0"],
        &["--preset", "long"],
    ];
    let mut counts = Vec::new();
    for hold_out in options {
        let check = |more: &[&str]| output(&[&["data", "check", file], hold_out, more].concat());
        let report: serde_json::Value = serde_json::from_slice(&check(&["--json"]).stdout).unwrap();
        let windows = report["report"]["windows"].as_u64().unwrap();
        assert_eq!(report["report"]["held_out_windows"] == 0, hold_out.contains(&"0"), "{report}");
        counts.push(windows);
        for (batch, enough) in [(windows, true), (windows + 1, false)] {
            let batch = ["--batch-size", &batch.to_string()].map(str::to_owned);
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            let checked = check(&[&batch[..], &["--json"]].concat());
            assert_eq!(checked.status.code(), Some(if enough { 0 } else { 5 }), "{hold_out:?}");
            let runs = folder.path().to_str().unwrap();
            let small = ["train", file, "--runs", runs, "--hidden-size", "8", "--max-minutes", "1e-9"];
            let trained = output(&[&small, hold_out, &batch].concat());
            assert_eq!(trained.status.code(), Some(if enough { 0 } else { 4 }), "{hold_out:?}: {trained:?}");
            if enough {
                let report = &serde_json::from_slice::<serde_json::Value>(&checked.stdout).unwrap()["report"];
                let length = format!(" {} epochs of {} steps, ", report["epochs"], report["epoch_steps"]);
                assert!(text(&trained.stderr).contains(&length), "{length}: {trained:?}");
            }
        }
    }
    assert_ne!(counts[0], counts[3], "bridges have windows of their own");
    assert!(counts[4] < counts[0], "and so have mirror images");
}

/// Wherever in a file space runs out, one line says so, and no file is left.
#[cfg(unix)]
#[test]
fn a_full_disk_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["data", "synth", "--frames", "60", "-o", "set.npz"];
    result(program(&synth).current_dir(&folder));
    let blocks = (std::fs::metadata(folder.path().join("set.npz")).unwrap().len() - 1) / 512;
    std::fs::remove_file(folder.path().join("set.npz")).unwrap();
    for limit in [0, 1, blocks / 2, blocks - 1, blocks] {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut limited = Command::new("/bin/sh");
        limited.env_clear().args(["-c", &script, env!("CARGO_BIN_EXE_mvae-fast")]).args(synth).current_dir(&folder);
        assert!(refusal(&mut limited, 1).starts_with("error: set.npz: cannot write: "));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{limit}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["man"][..], &["completions", "bash"], &["doctor"], &["train", "--print-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program(arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
