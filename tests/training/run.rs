//! Tests of a run's files on disk: written whole, one writer a run, logs that resume, events that
//! TensorBoard reads.
use mvae_fast::Error;
use mvae_fast::host::atomic;
use mvae_fast::host::atomic::Unfinished;
use mvae_fast::host::crc32c::{crc32c, extend};
use mvae_fast::run::folder::{Env, RunFolder};
use mvae_fast::run::logs::{Logs, read_metrics};
use mvae_fast::run::player::Motion;
use mvae_fast::run::record::{EpochRecord, Timing, Validation};
use mvae_fast::run::{report, tensorboard};
use proptest::prelude::*;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn record(epoch: usize) -> EpochRecord {
    let x = epoch as f64;
    EpochRecord {
        epoch,
        step: epoch as u64 * 3000,
        phase: "ramp".into(),
        recon_loss: 0.1 / x,
        kl_loss: 1.5 - 1.0 / x,
        perplexity: 0.0,
        kl_weight: 0.003,
        learning_rate: 1e-4 / x,
        student_probability: 0.25,
        grad_norm: 0.5,
        kl_per_latent: vec![0.5 * x, 1.0, 2.5],
        active_units: 3,
        posterior_mean: vec![0.1, -0.1, 0.0],
        posterior_std: vec![0.9, 1.0, 1.1],
        expert_usage: vec![0.25, 0.75],
        gate_entropy: 0.56,
        validation: epoch.is_multiple_of(2).then_some(Validation {
            one_step_error: Some(0.02),
            rollout_30_error: Some(0.2),
            rollout_300_error: None,
            prior_inside: 0.98,
            prior_rms: 1.05,
            gate: Vec::new(),
            prior_1800: None,
        }),
        warnings: Vec::new(),
        timing: Timing { seconds: 8.0, samples_per_second: 16_000.0, elapsed_seconds: 8.0 * x },
    }
}

fn new_run(root: &Path) -> RunFolder {
    let env = Env::collect("cpu", 2);
    RunFolder::create(root, Some("walk"), "mixture", "seed = 1\n", &env, |_| Ok(())).unwrap()
}

/// The payloads of a TFRecord file; checks every checksum.
fn payloads(mut file: &[u8]) -> Vec<Vec<u8>> {
    let masked = |bytes: &[u8]| {
        let crc = crc32c(bytes);
        crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let mut payloads = Vec::new();
    while !file.is_empty() {
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(file[8..12], masked(&file[..8]), "checksum of the length");
        let payload = &file[12..12 + length];
        assert_eq!(file[12 + length..16 + length], masked(payload), "checksum of the payload");
        payloads.push(payload.to_vec());
        file = &file[16 + length..];
    }
    payloads
}

/// The fields of a protobuf message as (number, bytes); varints and fixed numbers as their bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let end = message.iter().position(|byte| byte & 128 == 0).unwrap();
        let value = message[..=end].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 127));
        *message = &message[end + 1..];
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, message[..length].to_vec()));
        message = &message[length..];
    }
    fields
}

fn field(message: &[u8], number: u64) -> Vec<u8> {
    fields(message).into_iter().find(|field| field.0 == number).expect("the field is there").1
}

#[test]
fn crc32c_known_answers() {
    let ascending: Vec<u8> = (0..32).collect();
    let descending: Vec<u8> = (0..32).rev().collect();
    assert_eq!(crc32c(b""), 0);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    // RFC 3720, B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c(&ascending), 0x46dd_794e);
    assert_eq!(crc32c(&descending), 0x113f_db5c);
}

proptest! {
    #[test]
    fn crc32c_goes_on_where_it_stopped(bytes in prop::collection::vec(any::<u8>(), 0..99), at: prop::sample::Index) {
        let (head, tail) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(extend(crc32c(head), tail), crc32c(&bytes));
    }
}

#[test]
fn events_hold_the_record() {
    let version = tensorboard::file_version(1.5);
    // The first bytes of every event file: a length of 24 and its masked checksum.
    assert_eq!(version[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
    let event = &payloads(&version)[0];
    assert_eq!((field(event, 1), field(event, 3)), (1.5f64.to_le_bytes().to_vec(), b"brain.Event:2".to_vec()));

    let event = &payloads(&tensorboard::epoch(&record(300), 2.5))[0];
    assert_eq!(field(event, 1), 2.5f64.to_le_bytes());
    assert_eq!(field(event, 2), 300u64.to_le_bytes());
    let values: Vec<Vec<u8>> = fields(&field(event, 5)).into_iter().map(|value| value.1).collect();
    let value = |tag: &str| values.iter().find(|value| field(value, 1) == tag.as_bytes());
    let scalar = |tag| field(value(tag).unwrap(), 2);
    assert_eq!(scalar("schedule/student_probability"), 0.25f32.to_le_bytes());
    assert_eq!(scalar("validation/rollout_30_error"), 0.2f32.to_le_bytes());
    assert_eq!(scalar("gate/expert_1"), 0.75f32.to_le_bytes());
    assert!(value("validation/rollout_300_error").is_none());
    assert!(value("gate/usage").is_none());

    let histogram = field(value("latent/kl_per_latent").unwrap(), 5);
    let doubles =
        |bytes: Vec<u8>| -> Vec<f64> { bytes.chunks(8).map(|x| f64::from_le_bytes(x.try_into().unwrap())).collect() };
    let numbers: Vec<f64> = (1..=5).flat_map(|number| doubles(field(&histogram, number))).collect();
    assert_eq!(numbers, [1.0, 150.0, 3.0, 153.5, 22_507.25]);
    let (limits, counts) = (doubles(field(&histogram, 6)), doubles(field(&histogram, 7)));
    assert!(limits.is_sorted() && limits.last() == Some(&150.0));
    assert_eq!((counts[0], counts[29], counts.iter().sum()), (2.0, 1.0, 3.0));
}

#[test]
fn the_length_of_an_event_does_not_depend_on_its_values() {
    let mut other = record(2);
    other.recon_loss = f64::NAN;
    other.kl_per_latent = vec![f64::INFINITY; 3];
    other.posterior_std = vec![1.0; 3];
    let (one, two) = (tensorboard::epoch(&record(2), 1.0), tensorboard::epoch(&other, 1e9));
    assert_eq!(one.len(), two.len());
    assert_eq!(payloads(&two).len(), 1);
}

#[test]
fn many_experts_become_one_histogram() {
    let mut many = record(1);
    many.expert_usage = vec![1.0 / 17.0; 17];
    let event = tensorboard::epoch(&many, 0.0);
    let has = |tag: &[u8]| event.windows(tag.len()).any(|window| window == tag);
    assert!(has(b"gate/usage") && !has(b"gate/expert_0"));
}

#[test]
fn a_write_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    atomic::write(&path, b"old").unwrap();
    let failed = atomic::write_with(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    assert!(failed.unwrap_err().to_string().contains("report.html"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    atomic::write(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    assert!(atomic::write(&folder.path().join("missing/report.html"), b"").is_err());
}

/// Makes a file or folder as old as one that its machine has abandoned.
fn long_ago(path: &Path) {
    let two_days = Duration::from_secs(2 * 86_400);
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - two_days).unwrap();
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_others_write_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let left = ".report.html.0123456789abcdef.tmp";
    fs::write(place(left), "left by a killed process").unwrap();
    long_ago(&place(left));
    let others = [
        ".report.html.tmp",
        ".other.0123456789abcdef.tmp",
        ".report.html.0123.tmp",
        "report.html.0123456789abcdef.tmp",
        ".report.html.0123456789abcdee.tmp", // another machine may be at work on it
    ];
    others.iter().for_each(|name| fs::write(place(name), "of others").unwrap());
    let (at_work, _file) = Unfinished::file(&place("report.html")).unwrap();
    assert!(!place(left).exists(), "the next writer removes it");
    atomic::write(&place("report.html"), b"new").unwrap();
    assert!(at_work.path().exists() && others.iter().all(|name| place(name).exists()));
    at_work.finish(&place("report.html")).unwrap();
    assert_eq!(fs::read(place("report.html")).unwrap(), b"", "the last that was finished");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + others.len());
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_and_files_are_as_readable_as_any() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("victim"), "precious").unwrap();
    for name in [".report.html.tmp", "report.html", ".report.html.0123456789abcdef.tmp"] {
        symlink(place("victim"), place(name)).unwrap();
    }
    atomic::write(&place("report.html"), b"new").unwrap();
    assert_eq!(fs::read(place("victim")).unwrap(), b"precious");
    assert!(!fs::symlink_metadata(place("report.html")).unwrap().is_symlink());
    let mode = |name: &str| fs::metadata(place(name)).unwrap().permissions().mode();
    assert_eq!(mode("report.html"), mode("victim"));
}

#[test]
fn a_run_that_resumes_leaves_the_logs_of_one_that_never_stopped() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let files = [run.metrics(), run.progress(), run.events()];
    let read = || files.each_ref().map(|file| fs::read(file).unwrap());

    let mut logs = Logs::open(&run, None).unwrap();
    (1..=4).for_each(|epoch| logs.append(&record(epoch)).unwrap());
    let never_stopped = read();

    let mut logs = Logs::open(&run, None).unwrap();
    (1..=2).for_each(|epoch| logs.append(&record(epoch)).unwrap());
    let checkpoint = logs.sync().unwrap();
    logs.append(&record(3)).unwrap();
    drop(logs);
    for file in &files {
        fs::File::options().append(true).open(file).unwrap().write_all(b"{\"torn").unwrap();
    }
    assert_eq!(read_metrics::<EpochRecord>(&run.metrics()).unwrap().0.len(), 3, "a torn line is passed over");
    let mut logs = Logs::open(&run, Some(&checkpoint)).unwrap();
    assert_eq!(logs.sync().unwrap(), checkpoint);
    (3..=4).for_each(|epoch| logs.append(&record(epoch)).unwrap());

    let resumed = read();
    assert_eq!(resumed[..2], never_stopped[..2]);
    // Events contain the time they were written; nothing else differs.
    let untimed = |file: &[u8]| payloads(file).iter().map(|event| fields(event)[1..].to_vec()).collect::<Vec<_>>();
    assert_eq!(untimed(&resumed[2]), untimed(&never_stopped[2]));
    assert_eq!(untimed(&resumed[2]).len(), 5);

    let csv = String::from_utf8(resumed[1].clone()).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("epoch,ep_recon_loss,ep_kl_loss,ep_perplexity"));
    assert_eq!(lines.next(), Some("1,0.1,0.5,0"));
    assert_eq!(read_metrics::<EpochRecord>(&run.metrics()).unwrap().0, (1..=4).map(record).collect::<Vec<_>>());
}

#[test]
fn logs_that_lost_something_go_on_and_say_so() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let mut logs = Logs::open(&run, None).unwrap();
    (1..=2).for_each(|epoch| logs.append(&record(epoch)).unwrap());
    let lengths = logs.sync().unwrap();
    let whole = fs::read(run.metrics()).unwrap();
    fs::write(run.metrics(), &whole[..whole.len() - 1]).unwrap();
    fs::remove_file(run.progress()).unwrap();
    let events = fs::read(run.events()).unwrap();
    fs::write(run.events(), &events[..events.len() - 1]).unwrap();

    let mut logs = Logs::open(&run, Some(&lengths)).unwrap();
    assert_eq!(logs.notes.len(), 3, "{:?}", logs.notes);
    assert!(
        logs.notes[0].contains("metrics.jsonl was changed: ") && logs.notes[1].contains("progress.csv was changed: 0")
    );
    logs.append(&record(3)).unwrap();
    let (records, note) = read_metrics::<EpochRecord>(&run.metrics()).unwrap();
    assert_eq!((records, note), (vec![record(1), record(3)], None));
    assert_eq!(fs::read_to_string(run.progress()).unwrap().lines().count(), 2, "a header and a row");
    assert_eq!(payloads(&fs::read(run.events()).unwrap()).len(), 3, "the version, the first and the third");
    assert!(Logs::<EpochRecord>::open(&run, Some(&logs.sync().unwrap())).unwrap().notes.is_empty());

    let error = Logs::<EpochRecord>::open(&run, Some(&[("events".to_owned(), 1)].into())).unwrap_err();
    assert!(error.exit_code() == 4 && error.to_string().contains("does not know this log's length"), "{error}");
}

#[test]
fn a_log_that_is_cut_while_it_is_written_goes_on_at_its_end() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let files = [run.metrics(), run.progress(), run.events()];
    let mut logs = Logs::open(&run, None).unwrap();
    for (epoch, keep) in [(1, 0), (2, 30), (3, u64::MAX)] {
        logs.append(&record(epoch)).unwrap();
        for file in &files {
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_len(file.metadata().unwrap().len().min(keep)).unwrap();
        }
    }
    let (records, note) = read_metrics::<EpochRecord>(&run.metrics()).unwrap();
    assert_eq!((records, note), (vec![record(3)], None));
    let csv = fs::read_to_string(run.progress()).unwrap();
    assert!(csv.starts_with("epoch,") && csv.lines().count() == 2, "{csv:?}");
    assert_eq!(payloads(&fs::read(run.events()).unwrap()).len(), 2, "the version and the third");
    let lengths = logs.sync().unwrap();
    assert_eq!(lengths["metrics.jsonl"], fs::metadata(run.metrics()).unwrap().len());
    assert!(Logs::<EpochRecord>::open(&run, Some(&lengths)).unwrap().notes.is_empty());
}

#[test]
fn numbers_that_are_not_finite_are_read_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let mut odd = record(2);
    odd.grad_norm = f64::INFINITY;
    odd.kl_per_latent = vec![1.0, f64::NAN, f64::NEG_INFINITY];
    odd.timing.samples_per_second = f64::INFINITY;
    let validation = odd.validation.as_mut().unwrap();
    (validation.one_step_error, validation.prior_rms) = (Some(f64::NAN), f64::INFINITY);
    Logs::open(&run, None).unwrap().append(&odd).unwrap();

    let line: serde_json::Value = serde_json::from_slice(&fs::read(run.metrics()).unwrap()).unwrap();
    assert_eq!((&line["grad_norm"], &line["validation"]["one_step_error"]), (&"Infinity".into(), &"NaN".into()));
    assert_eq!(line["kl_per_latent"], serde_json::json!([1.0, "NaN", "-Infinity"]));
    assert_eq!(line["validation"]["rollout_300_error"], serde_json::Value::Null, "there is none");
    let (records, note) = read_metrics::<EpochRecord>(&run.metrics()).unwrap();
    assert_eq!((format!("{records:?}"), note), (format!("{:?}", [&odd]), None)); // a NaN is not equal to itself
}

#[test]
fn a_line_that_is_no_record_is_passed_over_and_said() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let mut logs = Logs::open(&run, None).unwrap();
    for epoch in 1..=3 {
        logs.append(&record(epoch)).unwrap();
        fs::File::options()
            .append(true)
            .open(run.metrics())
            .unwrap()
            .write_all(b"{\"epoch\": null}\n\xff\0\n")
            .unwrap();
    }
    let (records, note) = read_metrics::<EpochRecord>(&run.metrics()).unwrap();
    assert_eq!(records, (1..=3).map(record).collect::<Vec<_>>());
    let note = note.unwrap();
    assert!(note.contains("metrics.jsonl: 6 lines passed over") && note.contains("the first is line 2: "), "{note}");
    fs::remove_file(run.metrics()).unwrap();
    let (records, note) = read_metrics::<EpochRecord>(&run.metrics()).unwrap();
    assert!(records.is_empty() && note.unwrap().contains("metrics.jsonl is missing"));
}

#[test]
fn a_run_never_overwrites_another() {
    let root = tempfile::tempdir().unwrap();
    let env = Env::collect("cpu", 2);
    let create = |name| RunFolder::create(root.path(), name, "mixture", "seed = 1\n", &env, |_| Ok(()));
    let first = create(Some("walk")).unwrap();
    assert_eq!(first.name(), "walk");
    assert_eq!(fs::read(first.config()).unwrap(), b"seed = 1\n");
    let taken = create(Some("walk")).unwrap_err();
    assert_eq!(taken.exit_code(), 2);
    assert!(taken.to_string().contains("--resume") && taken.to_string().contains("--name"), "{taken}");
    for name in ["", ".", "..", "a/b", "../walk", ".hidden", "-flag", "a\\b", "a\0b"] {
        assert!(matches!(create(Some(name)), Err(Error::Usage(_))), "{name:?}");
    }
    let names = [(); 3].map(|()| create(None).unwrap().name());
    assert!(names.iter().all(|name| name.starts_with("mixture-")), "{names:?}");
    assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn runs_without_a_name_that_start_together_all_get_one() {
    let root = tempfile::tempdir().unwrap();
    let names: Vec<String> = std::thread::scope(|scope| {
        let start = || {
            let env = Env::collect("cpu", 1);
            RunFolder::create(root.path(), None, "mixture", "seed = 1\n", &env, |_| Ok(())).unwrap().name()
        };
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 8, "{names:?}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 8);
}

#[test]
fn a_run_that_was_killed_while_it_was_made_is_removed_and_never_adopted() {
    let root = tempfile::tempdir().unwrap();
    let env = Env::collect("cpu", 2);
    let left = |name: &str| {
        let folder = root.path().join(format!(".{name}.0123456789abcdef.tmp"));
        fs::create_dir_all(folder.join("seed-3/checkpoints")).unwrap();
        fs::write(folder.join("seed-3/config.toml"), "").unwrap();
        long_ago(&folder);
        folder
    };
    let [walk, dotted, run, made_up, vq] =
        ["walk", "walk.b", "run", "mixture-20260101-000000-2", "vq-20260101-000000"].map(left);
    let at_work = Unfinished::folder(&root.path().join("walk"), |_| false).unwrap();
    let members = [0, 1].map(|seed| (format!("seed-{seed}"), String::new(), env.clone()));
    let (path, _) = RunFolder::create_all(root.path(), Some("walk"), "mixture", &members, |_, _| Ok(())).unwrap();
    assert_eq!(fs::read_dir(path).unwrap().count(), 2, "seed-0 and seed-1");
    let there = |folders: [&Path; 6]| folders.map(Path::exists);
    assert_eq!(there([&walk, &dotted, &run, &made_up, &vq, at_work.path()]), [false, true, true, true, true, true]);
    RunFolder::create(root.path(), None, "mixture", "", &env, |_| Ok(())).unwrap();
    assert_eq!(there([&walk, &dotted, &run, &made_up, &vq, at_work.path()]), [false, true, true, false, true, true]);
}

#[test]
fn what_is_no_run_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (path, message) in [(root.path().to_owned(), "no run folder"), (root.path().join("x"), "no such run folder")] {
        let error = RunFolder::open(&path).unwrap_err();
        assert!(error.exit_code() == 4 && error.to_string().contains(message), "{error}");
    }
}

#[test]
fn env_json_keeps_every_sitting() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let env = run.env();
    drop(run);
    RunFolder::resume(&root.path().join("walk")).unwrap().add_sitting(&Env::collect("cuda:0", 8)).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(env).unwrap()).unwrap();
    assert_eq!((&json["device"], &json["threads"]), (&"cpu".into(), &2.into()));
    assert_eq!((&json["resumed"][0]["device"], json["resumed"].as_array().unwrap().len()), (&"cuda:0".into(), 1));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["started"].as_str().unwrap().len(), "2026-01-31T12:34:56Z".len());
}

#[test]
fn a_run_goes_on_without_its_env_json() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    fs::write(run.env(), "{ torn").unwrap();
    let note = run.add_sitting(&Env::collect("cpu", 3)).unwrap().unwrap();
    assert!(note.contains("env.json stays as it is"), "{note}");
    assert_eq!(fs::read(run.env()).unwrap(), b"{ torn");
    fs::remove_file(run.env()).unwrap();
    let note = run.add_sitting(&Env::collect("cpu", 3)).unwrap().unwrap();
    assert!(note.contains("env.json was missing"), "{note}");
    assert_eq!(run.add_sitting(&Env::collect("cpu", 4)).unwrap(), None);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(run.env()).unwrap()).unwrap();
    assert_eq!((&json["threads"], &json["resumed"][0]["threads"]), (&3.into(), &4.into()));
}

/// The writer of [`a_killed_writer_does_not_block`], which runs this test in a process and kills
/// it.
#[test]
fn writer_to_be_killed() {
    let Some(root) = std::env::var_os("MVAE_TEST_WRITER") else {
        return;
    };
    let _run = new_run(Path::new(&root));
    println!("locked");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

#[test]
fn a_killed_writer_does_not_block() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run::writer_to_be_killed", "--nocapture"])
        .env("MVAE_TEST_WRITER", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let locked = lines.map_while(Result::ok).any(|line| line.ends_with("locked"));
    let path = root.path().join("walk");
    let while_alive = RunFolder::resume(&path);
    let to_read = RunFolder::open(&path);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(locked, "the writer came as far as its lock");
    let error = while_alive.unwrap_err().to_string();
    assert!(error.contains("another process is writing to this run"), "{error}");
    to_read.unwrap();
    RunFolder::resume(&path).unwrap();
}

#[test]
fn the_report_stands_alone() {
    let mut records: Vec<EpochRecord> = (1..=4).map(record).collect();
    records[1].recon_loss = f64::NAN;
    records[3].phase = "</script><script>alert(1)".into();
    records[3].warnings = vec!["expert 1 <b>dead</b> & gone".into()];
    let configuration = [("Data", "a<b>.npz {{data}}".to_owned())];
    let page = report::page("walk & run", &configuration, &records, &Motion::default(), &report::FILES, Some(20.0));

    assert_eq!(page.matches("</script>").count(), 4);
    assert!(page.contains("\"every\":20.0"), "the page of a run that goes on reloads itself");
    assert!(page.contains("<title>walk &amp; run - mvae-fast</title>"));
    assert!(page.contains("a&lt;b&gt;.npz {{data}}"));
    assert!(page.contains("<li>expert 1 &lt;b&gt;dead&lt;/b&gt; &amp; gone</li>"));
    assert!(page.contains("<td>3 of 3</td>") && page.contains("<td>98.0 %</td>"));
    let addresses = page.matches("://").count();
    assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count(), "nothing is fetched");

    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let json = &page[start..start + page[start..].find("</script>").unwrap()];
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(data["epoch"], serde_json::json!([1, 2, 3, 4]));
    assert!(data["recon_loss"][1].is_null() && data["one_step_error"][0].is_null());
    assert_eq!(data["phase"][3], "</script><script>alert(1)");
    // Every field that the script reads is present, except the one that marks a page of another
    // kind.
    let script = page.rsplit("<script>").next().unwrap();
    for name in script.split("data.").skip(1) {
        let end = name.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap();
        assert!(&name[..end] == "curves" || data.get(&name[..end]).is_some(), "{}", &name[..end]);
    }
}

#[test]
fn warnings_of_all_epochs_are_told() {
    let mut records: Vec<EpochRecord> = (1..=6).map(record).collect();
    let page = |records: &[EpochRecord]| report::page("walk", &[], records, &Motion::default(), &[], None);
    records[2].warnings = vec!["expert 1 is dead: 0.1 %".into()];
    assert!(!page(&records).contains("Warnings of all epochs"), "one epoch alone says it all");
    for (epoch, share) in [(3, "0.2"), (5, "0.3")] {
        records[epoch].warnings = vec![format!("expert 1 is dead: {share} %")];
    }
    let page = page(&records);
    assert!(page.contains("<li>epochs 3 to 4, 6: expert 1 is dead: 0.3 %</li>"), "{page}");
}

#[test]
fn heat_maps_take_the_last_epoch_and_no_more_than_they_can_show() {
    let records: Vec<EpochRecord> = (1..=1000).map(record).collect();
    let page = report::page("walk", &[], &records, &Motion::default(), &[], None);
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let data: serde_json::Value = serde_json::from_str(page[start..].split("</script>").next().unwrap()).unwrap();
    let sampled: Vec<u64> = data["sampled"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
    assert!(sampled.is_sorted() && sampled.len() <= 240 && sampled.last() == Some(&1000), "{sampled:?}");
    assert_eq!(data["kl_per_latent_over"][sampled.len() - 1], serde_json::json!([500.0, 1.0, 2.5]));
}

#[test]
fn a_report_is_written_before_the_first_epoch_too() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    report::write::<EpochRecord>(&run, &[], &[], &Motion::default(), None).unwrap();
    let page = fs::read_to_string(run.report()).unwrap();
    assert!(page.contains("id=\"renewed\">null</script>"), "the page of a run that ended does not reload itself");
    assert!(page.contains("no epoch is done yet") && !page.contains("no warnings."));
    assert!(page.contains("href=\"config.toml\"") && !page.contains("best.safetensors"), "links lead somewhere");
}
