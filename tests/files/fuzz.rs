//! Every reader of foreign bytes on files that are nearly right. Whatever they hold, it answers
//! with one line or with the content, and takes neither time nor memory out of proportion.
//!
//! Each reader gets a few hundred files, the same every time. `MVAE_FUZZ_MINUTES=10 cargo test
//! --test files fuzz -- --nocapture --test-threads 1` takes ten minutes for each; `MVAE_FUZZ_SEED`
//! is the first seed.
use crate::allocations::{forget, largest_anywhere};
use crate::formats::{Example, examples};
use crate::hostile::{Random, changed, crafted, mutated};
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::checkpoint::Checkpoint;
use mvae_fast::config::{Config, Variant};
use mvae_fast::control::course::{maze, path};
use mvae_fast::data::check::check;
use mvae_fast::data::{npz, synth};
use mvae_fast::exchange::import::{ImportOptions, import};
use mvae_fast::infer::generate::{Latents, generate};
use mvae_fast::infer::trained::Trained;
use mvae_fast::motion::joint_map::JointMap;
use mvae_fast::motion::source::expmap::ExpmapSkeleton;
use mvae_fast::quality::thresholds;
use mvae_fast::train::setup::{Setup, Start};
use mvae_fast::{Error, Result, control};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest size of one allocation, bytes: a compressed member may hold 64 MiB, which are copied
/// once.
const MOST: usize = 256 << 20;

/// Longest time for a file of a few kilobytes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives `read` files that `make` makes from random numbers: `files` of them, or as many as fit
/// into the minutes that the environment sets. The file has the name `name`. An error must be one
/// line, with the exit code of a usage, a data or a gate error.
fn feed(name: &str, files: usize, make: impl Fn(&mut Random) -> Vec<u8>, read: impl Fn(&Path) -> Result<()>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let (folder, begun) = (tempfile::tempdir().unwrap(), Instant::now());
    let path = folder.path().join(name);
    let seed = number("MVAE_FUZZ_SEED").unwrap_or(1.0) as u64;
    let until = number("MVAE_FUZZ_MINUTES").map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let (mut count, mut good) = (0, 0);
    while until.map_or(count < files, |until| begun.elapsed() < until) {
        let mut random = Random(seed << 32 | count as u64);
        let bytes = make(&mut random);
        fs::write(&path, &bytes).unwrap();
        forget();
        let asked = Instant::now();
        let case = format!("file {count} of seed {seed}");
        // After a panic, the file is kept in the folder for temporary files.
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&path))).unwrap_or_else(|_| {
            let kept = std::env::temp_dir().join(format!("mvae-fuzz-{name}"));
            fs::write(&kept, &bytes).unwrap();
            panic!("{case} panics; it is kept as {}", kept.display())
        });
        if let Err(error) = &answer {
            let text = error.to_string();
            assert!(matches!(error.exit_code(), 2 | 4 | 5), "{case}: exit code {}: {text}", error.exit_code());
            assert!(!text.trim_end().contains('\n') && text.len() < 4000, "{case}: {text}");
        }
        good += usize::from(answer.is_ok());
        count += 1;
        let (largest, took) = (largest_anywhere(), asked.elapsed());
        assert!(largest <= MOST && took < PATIENCE, "{case}: {largest} bytes at once, {took:?}");
    }
    println!("{name}: {count} files, {good} of them read, in {:.0} s", begun.elapsed().as_secs_f64());
    assert!(until.is_some() || good < count && good > 0, "{name}: {good} of {count} are good");
}

/// The set that most files are made from.
fn set(frames: usize) -> mvae_fast::data::Dataset {
    synth::locomotion_in_clips(frames, 30, 3)
}

fn options(skeleton: Option<ExpmapSkeleton>) -> ImportOptions {
    ImportOptions { skeleton, ..ImportOptions::default() }
}

/// Imports a file; a file that was refused is an error here.
fn imported(path: &Path, options: &ImportOptions) -> Result<()> {
    let mut imported = import(&[path.to_owned()], options)?;
    imported.refused.pop().map_or(Ok(()), Err)
}

/// A zip file of one member after another, stored or deflated.
fn zipped(members: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = if deflated { zip::CompressionMethod::DEFLATE } else { zip::CompressionMethod::Stored };
    for (name, bytes) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The members of a zip file.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let count = zip.len();
    let member = |i| {
        let (mut member, mut bytes) = (zip.by_index(i).unwrap(), Vec::new());
        std::io::Read::read_to_end(&mut member, &mut bytes).unwrap();
        (member.name().to_owned(), bytes)
    };
    (0..count).map(member).collect()
}

/// A valid zip file in which one array is wrong. Mostly its beginning is, as the header describes
/// the numbers.
fn with_wrong_member(random: &mut Random, members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (which, mut members) = (random.below(members.len()), members.to_vec());
    let bytes = &members[which].1;
    let head = if random.below(3) > 0 { bytes.len().min(140) } else { bytes.len() };
    members[which].1 = [&mutated(random, &bytes[..head]), &bytes[head..]].concat();
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    zipped(&members, false)
}

/// A tiny run, and the bytes of its checkpoint.
fn run() -> (tempfile::TempDir, Vec<u8>, Vec<f32>) {
    let root = tempfile::tempdir().unwrap();
    let (data, path) = (root.path().join("motion.npz"), root.path().join("last.safetensors"));
    let frames = synth::locomotion_in_clips(240, 80, 3);
    npz::write(&data, &frames).unwrap();
    let config = Config { hidden_size: 8, mirror: false, ..crate::small::config(&data, Variant::Mixture) };
    Setup::new(&config, &Cpu::new(1), Start::Fresh).unwrap().save(&path).unwrap();
    (root, fs::read(&path).unwrap(), frames.frames)
}

#[test]
fn motion_of_every_format() {
    for Example { name, bytes, skeleton, .. } in examples() {
        let options = options(skeleton);
        let members = if bytes.starts_with(b"PK") { members(&bytes) } else { Vec::new() };
        let make = |random: &mut Random| match random.below(2) {
            0 if !members.is_empty() => with_wrong_member(random, &members),
            _ => mutated(random, &bytes),
        };
        feed(name, 250, make, |path| imported(path, &options));
    }
}

#[test]
fn npz_and_npy() {
    let (folder, set) = (tempfile::tempdir().unwrap(), set(60));
    let good = folder.path().join("good.npz");
    npz::write(&good, &set).unwrap();
    let good = fs::read(good).unwrap();
    let members = members(&good);
    let config = Config { mirror: true, batch_size: 4, rollout: 4, ..Config::default() };
    let read = |path: &Path| {
        let set = npz::read_lenient(path)?;
        check(&set, &config);
        npz::read(path)?;
        Ok(())
    };
    feed("set.npz", 150, |random| mutated(random, &good), read);
    feed("array.npz", 150, |random| with_wrong_member(random, &members), read);
}

#[test]
fn safetensors_and_their_metadata() {
    let (_root, good, rows) = run();
    let (backend, tracks) = (Cpu::new(1), &rows);
    let read = |path: &Path| {
        if Checkpoint::load(path)?.meta.is_none() {
            return Ok(());
        }
        let trained = Trained::load(path)?;
        let track = &tracks[..trained.model().condition_frames * trained.model().frame_size];
        generate(&trained, &backend, &[track], 1, Latents::Prior { seed: 1, temperature: 1.0 })?;
        Ok(())
    };
    let length = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    // Damage after the header always gives a wrong checksum. So nearly all damage is done to the
    // header.
    let bytes = |random: &mut Random| match random.below(8) {
        0 => mutated(random, &good),
        _ => [&mutated(random, &good[..length]), &good[length..]].concat(),
    };
    let whole = |random: &mut Random| if random.below(50) == 0 { good.clone() } else { bytes(random) };
    feed("bytes.safetensors", 200, whole, read);
    let metadata = |random: &mut Random| {
        let mut random = Random(random.bits());
        crafted(&good, |meta| (0..1 + random.below(3)).for_each(|_| changed(&mut random, meta)))
    };
    feed("metadata.safetensors", 300, metadata, read);
}

#[test]
fn toml_of_every_kind() {
    let control = control::config::PolicyConfig { vae: "run".into(), ..Default::default() }.to_toml();
    let map = "name = \"mine\"\njoints = [\"Hips\", \"Left = L | LeftToe\", \"Right\", \"LUp\", \"RUp\"]\nhips = \"Hips\"\n\
               toes = [\"Left\", \"Right\"]\nup_legs = [\"LUp\", \"RUp\"]\n";
    let skeleton = "fps = 120\nrow_vectors = true\njoints = [{ name = \"Hips\", offset = [0, 0, 0] },\n\
                    { name = \"Leg\", parent = \"Hips\", offset = [1.5, -2, 0.6] }]\n";
    let walls =
        "cell = 20.0\ndrawing = '''\n#####\n#...#\n#.#.#\n#.#.#\n#####\n'''\nwalls = [[0, 0, 10, 10], [1, 2, 3, 5]]\n";
    let gates = "inside = 0.95\nskate = 2.0\ncontact = 0.8\n";
    type Reader = fn(&Path) -> Result<()>;
    let kinds: [(&str, String, Reader); 7] = [
        ("config.toml", Config::default().to_toml(), |path| Config::load(path).map(drop)),
        ("control.toml", control, |path| control::config::PolicyConfig::load(path).map(drop)),
        ("map.toml", map.into(), |path| JointMap::load(path).map(drop)),
        ("skeleton.toml", skeleton.into(), |path| ExpmapSkeleton::load(path).map(drop)),
        ("maze.toml", walls.into(), |path| maze::from_file(path, 1.0).map(drop)),
        ("gate.toml", gates.into(), |path| thresholds::load::<thresholds::Thresholds>(path, "docs").map(drop)),
        ("control-gate.toml", "coverage_percent = 30.0\n".into(), |path| {
            thresholds::load::<control::thresholds::PolicyThresholds>(path, "docs").map(drop)
        }),
    ];
    let share = std::env::var("MVAE_FUZZ_MINUTES").is_ok();
    let kinds = || kinds.iter();
    if share {
        // The readers take turns, so that all of them together take the minutes of one.
        let each = |random: &mut Random| {
            let (name, good, _) = random.one(kinds().as_slice());
            [name.as_bytes(), b"\n", &mutated(random, good.as_bytes())].concat()
        };
        let read = |path: &Path| {
            let bytes = fs::read(path).unwrap();
            let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
            let (_, _, read) = kinds().find(|(name, ..)| name.as_bytes() == &bytes[..end]).unwrap();
            fs::write(path, &bytes[end + 1..]).unwrap();
            read(path)
        };
        return feed("all.toml", 0, each, read);
    }
    for (name, good, read) in kinds() {
        feed(name, 150, |random| mutated(random, good.as_bytes()), read);
    }
}

#[test]
fn csv() {
    let good: String = (0..40).map(|i| format!("{},{:.3}\n", i % 7, f64::from(i).sin())).collect();
    let good = format!("x,z\n# a path\n{good}");
    let read = |file: &Path| {
        path::from_file(file, 1.0).and_then(|points| match path::paced(&points, 0.5) {
            Err(Error::Usage(_)) | Ok(_) => Ok(()), // too many points is for whoever set the pace
            Err(error) => Err(error),
        })
    };
    feed("path.csv", 500, |random| mutated(random, good.as_bytes()), read);
}
