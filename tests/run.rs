//! What a run leaves on disk: files written whole, one writer a run, logs that resume, events TensorBoard reads.
use mvae_fast::Error;
use mvae_fast::record::{EpochRecord, Timing, Validation};
use mvae_fast::run::crc32c::{crc32c, extend};
use mvae_fast::run::folder::{Env, RunFolder};
use mvae_fast::run::logs::{Logs, read_metrics};
use mvae_fast::run::player::Motion;
use mvae_fast::run::{atomic, report, tensorboard};
use proptest::prelude::*;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

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

/// The payloads of a TFRecord file, every checksum checked.
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
    fs::write(folder.path().join(".report.html.tmp"), "left by a killed process, and longer").unwrap();
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
    assert_eq!(read_metrics::<EpochRecord>(&run.metrics()).unwrap().len(), 3, "a torn line is passed over");
    let mut logs = Logs::open(&run, Some(&checkpoint)).unwrap();
    assert_eq!(logs.sync().unwrap(), checkpoint);
    (3..=4).for_each(|epoch| logs.append(&record(epoch)).unwrap());

    let resumed = read();
    assert_eq!(resumed[..2], never_stopped[..2]);
    // Events carry the time they were written at, and nothing else differs.
    let untimed = |file: &[u8]| payloads(file).iter().map(|event| fields(event)[1..].to_vec()).collect::<Vec<_>>();
    assert_eq!(untimed(&resumed[2]), untimed(&never_stopped[2]));
    assert_eq!(untimed(&resumed[2]).len(), 5);

    let csv = String::from_utf8(resumed[1].clone()).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("epoch,ep_recon_loss,ep_kl_loss,ep_perplexity"));
    assert_eq!(lines.next(), Some("1,0.1,0.5,0"));
    assert_eq!(read_metrics::<EpochRecord>(&run.metrics()).unwrap(), (1..=4).map(record).collect::<Vec<_>>());
}

#[test]
fn logs_that_lost_something_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let run = new_run(root.path());
    let mut logs = Logs::open(&run, None).unwrap();
    logs.append(&record(1)).unwrap();
    let lengths = logs.sync().unwrap();
    let refused = |lengths| {
        let error = Logs::<EpochRecord>::open(&run, Some(lengths)).unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        error.to_string()
    };
    let whole = fs::read(run.progress()).unwrap();
    fs::write(run.progress(), &whole[1..]).unwrap();
    let message = refused(&lengths);
    assert!(message.contains("progress.csv: ") && message.contains("bytes, but the checkpoint"), "{message}");
    fs::remove_file(run.progress()).unwrap();
    assert!(refused(&lengths).contains("progress.csv: the log is missing"));
    fs::write(run.progress(), &whole).unwrap();
    assert!(refused(&[("events".to_owned(), 1)].into()).contains("does not know this log's length"));
    Logs::<EpochRecord>::open(&run, Some(&lengths)).unwrap();

    fs::write(run.metrics(), "{}\n").unwrap();
    let error = read_metrics::<EpochRecord>(&run.metrics()).unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl: line 1 is not the record of an epoch"), "{error}");
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

/// Not a check of its own: [`a_killed_writer_does_not_block`] runs it in a process that it kills.
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
        .args(["--exact", "writer_to_be_killed", "--nocapture"])
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
    let page = report::page("walk & run", &configuration, &records, &Motion::default(), &report::FILES);

    assert_eq!(page.matches("</script>").count(), 3);
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
    // Every field that the script reads is there, but for the one by which it knows a page of another kind.
    let script = page.rsplit("<script>").next().unwrap();
    for name in script.split("data.").skip(1) {
        let end = name.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap();
        assert!(&name[..end] == "curves" || data.get(&name[..end]).is_some(), "{}", &name[..end]);
    }
}

#[test]
fn warnings_of_all_epochs_are_told() {
    let mut records: Vec<EpochRecord> = (1..=6).map(record).collect();
    let page = |records: &[EpochRecord]| report::page("walk", &[], records, &Motion::default(), &[]);
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
    let page = report::page("walk", &[], &records, &Motion::default(), &[]);
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
    report::write::<EpochRecord>(&run, &[], &[], &Motion::default()).unwrap();
    let page = fs::read_to_string(run.report()).unwrap();
    assert!(page.contains("no epoch is done yet") && !page.contains("No warnings."));
    assert!(page.contains("href=\"config.toml\"") && !page.contains("best.safetensors"), "links lead somewhere");
}
