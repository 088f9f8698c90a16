//! The run folder `runs/<name>/`: the place of each file, the lock for writing, and the environment
//! of each sitting.
use crate::host::atomic::{self, Unfinished};
use crate::host::lock::{Held, Lock};
use crate::host::say::{stamp, utc};
use crate::{Error, Result, host::files};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest `env.json` that is read, bytes.
const MAX_ENV: u64 = 16 << 20;

/// A run's folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while this process may write to the run.
    lock: Option<Lock>,
}

impl RunFolder {
    /// Makes `root/name/` for a new run and locks it. Inside are `config.toml` with the text
    /// `config`, `env.json` and the files that `fill` writes. The folder appears under its name
    /// only when it is complete; after an error nothing is left. Without a name it is
    /// `<kind>-<date>-<time>` (UTC). A name that is taken, or is no plain folder name, is a usage
    /// error.
    pub fn create(
        root: &Path,
        name: Option<&str>,
        kind: &str,
        config: &str,
        env: &Env,
        fill: impl FnOnce(&RunFolder) -> Result<()>,
    ) -> Result<Self> {
        let (path, run) = born(root, name, kind, |unborn| RunFolder::make(unborn, config, env, fill))?;
        Ok(run.moved_to(path))
    }

    /// Makes `root/name/` for runs side by side, each with a name, a configuration and an
    /// environment. It appears like a folder of [`RunFolder::create`] and holds one run folder for
    /// each run. Returns its path and the run folders.
    pub fn create_all(
        root: &Path,
        name: Option<&str>,
        kind: &str,
        members: &[(String, String, Env)],
        fill: impl Fn(usize, &RunFolder) -> Result<()>,
    ) -> Result<(PathBuf, Vec<Self>)> {
        let (path, runs) = born(root, name, kind, |unborn| {
            let make = |(i, (name, config, env)): (usize, &(String, String, Env))| {
                RunFolder::make(&unborn.join(name), config, env, |run| fill(i, run))
            };
            members.iter().enumerate().map(make).collect::<Result<Vec<_>>>()
        })?;
        atomic::sync_folder(&path).map_err(Error::io(&path, "cannot sync"))?;
        let runs = runs.into_iter().zip(members).map(|(run, (name, ..))| run.moved_to(path.join(name)));
        Ok((path.clone(), runs.collect()))
    }

    /// Makes a run's folder with all its files.
    fn make(path: &Path, config: &str, env: &Env, fill: impl FnOnce(&RunFolder) -> Result<()>) -> Result<Self> {
        for folder in ["checkpoints", "tensorboard"].map(|folder| path.join(folder)) {
            fs::create_dir_all(&folder).map_err(Error::io(&folder, "cannot create"))?;
        }
        let lock = Lock::take(path)?.map_err(|held| busy(path, &held))?;
        let run = RunFolder { path: path.to_owned(), lock: Some(lock) };
        atomic::write(&run.config(), config.as_bytes())?;
        run.write_env(&EnvFile { start: env.clone(), resumed: Vec::new() })?;
        fill(&run)?;
        Ok(run)
    }

    /// The run after its folder was renamed.
    fn moved_to(mut self, path: PathBuf) -> Self {
        self.lock.iter_mut().for_each(|lock| lock.moved_to(&path));
        RunFolder { path, ..self }
    }

    /// The run folders in a folder, ordered by name with numbers by size; none when the folder is a
    /// run itself.
    pub fn members(path: &Path) -> Vec<PathBuf> {
        if path.join("config.toml").is_file() {
            return Vec::new();
        }
        let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let mut members: Vec<_> = entries.filter(|path| !hidden(path) && path.join("config.toml").is_file()).collect();
        members.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
        members
    }

    /// Opens a run to continue it and locks it. Errors: another process is writing to the run, or
    /// the folder is no run.
    pub fn resume(path: &Path) -> Result<Self> {
        RunFolder::locked(path, Lock::take)?.map_err(|held| busy(path, &held))
    }

    /// Like [`RunFolder::resume`], but takes over the run of a machine that is lost, for which it
    /// [waits](Lock::wait).
    pub fn wait(path: &Path) -> Result<Self> {
        RunFolder::locked(path, Lock::wait)?.map_err(|held| busy(path, &held))
    }

    /// Opens a run to continue it and locks it by `lock`. `Ok(Err)` says who holds the lock.
    /// Errors: the folder is no run.
    pub(crate) fn locked(
        path: &Path,
        lock: impl Fn(&Path) -> Result<Result<Lock, Held>>,
    ) -> Result<Result<Self, Held>> {
        let run = RunFolder::open(path)?;
        Ok(lock(path)?.map(|lock| RunFolder { lock: Some(lock), ..run }))
    }

    /// Refuses to write once a process on another machine has taken the run over.
    pub(crate) fn require_lock(&self) -> Result<()> {
        match self.lock.as_ref().is_none_or(Lock::is_ours) {
            true => Ok(()),
            false => Err(Error::checkpoint(
                &self.path,
                "another machine has taken this run over, as this process gave no sign of life",
                "leave it to that machine, or resume it later",
            )),
        }
    }

    /// Adds a sitting to the `env.json` of a resumed run. Only people read that file. If it is
    /// missing, a new one begins with this sitting; if it cannot be read, it stays as it is. In
    /// both cases a note is returned.
    pub fn add_sitting(&self, env: &Env) -> Result<Option<String>> {
        let path = self.env();
        let found = files::read(&path, MAX_ENV).and_then(|text| Ok(serde_json::from_slice::<EnvFile>(&text)?));
        let (file, note) = match found {
            Ok(mut file) => {
                file.resumed.push(env.clone());
                (file, None)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let note = format!("note: {} was missing; it now begins with this sitting", path.display());
                (EnvFile { start: env.clone(), resumed: Vec::new() }, Some(note))
            }
            Err(error) => {
                return Ok(Some(format!("note: {} stays as it is, as it cannot be read: {error}", path.display())));
            }
        };
        self.write_env(&file)?;
        Ok(note)
    }

    /// Opens a run to read it, even while another process writes to it. Errors: the folder is no
    /// run.
    pub fn open(path: &Path) -> Result<Self> {
        let run = RunFolder { path: path.to_owned(), lock: None };
        if run.config().is_file() {
            return Ok(run);
        }
        if let Some(member) = RunFolder::members(path).first() {
            return Err(Error::checkpoint(
                path,
                "holds several runs",
                format!("name one, such as {}", member.display()),
            ));
        }
        let what = if path.exists() { "no run folder (no config.toml in it)" } else { "no such run folder" };
        Err(Error::checkpoint(path, what, "give a run folder, or its name under --runs"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name: the folder's.
    pub fn name(&self) -> String {
        let full = fs::canonicalize(&self.path);
        let path = full.as_deref().unwrap_or(&self.path);
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The file of the run's whole configuration, presets expanded.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The file that describes program, machine and command of each sitting (see [`Env`]).
    pub fn env(&self) -> PathBuf {
        self.path.join("env.json")
    }

    /// The log with a line of JSON for each epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The log in the reference's format: a row for each epoch.
    pub fn progress(&self) -> PathBuf {
        self.path.join("progress.csv")
    }

    /// TensorBoard's event file: one for all sittings of the run.
    pub fn events(&self) -> PathBuf {
        self.path.join("tensorboard").join("events.out.tfevents.mvae-fast")
    }

    /// The checkpoint that a resumed run starts from.
    pub fn last_checkpoint(&self) -> PathBuf {
        self.path.join("checkpoints").join("last.safetensors")
    }

    /// The checkpoint of the epoch with the smallest held-out error.
    pub fn best_checkpoint(&self) -> PathBuf {
        self.path.join("checkpoints").join("best.safetensors")
    }

    /// The page of curves and diagnostics.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    fn write_env(&self, file: &EnvFile) -> Result<()> {
        let text = serde_json::to_string_pretty(file).expect("an environment is plain data");
        atomic::write(&self.env(), (text + "\n").as_bytes())
    }
}

/// The error for a run whose lock is held.
fn busy(path: &Path, held: &Held) -> Error {
    let what = format!("another process is writing to this run: {held}");
    Error::checkpoint(path, what, "wait for it or stop it, then resume")
}

/// Makes `root/name/`: `make` fills a hidden folder, which then gets its name. After an error
/// nothing is left.
fn born<T>(root: &Path, name: Option<&str>, kind: &str, make: impl FnOnce(&Path) -> Result<T>) -> Result<(PathBuf, T)> {
    let wanted = name.map_or_else(|| default_name(kind, SystemTime::now()), str::to_owned);
    let plain = !wanted.starts_with(['.', '-']) && !wanted.contains(['/', '\\', '\0']);
    if wanted.is_empty() || !plain {
        return Err(Error::Usage(format!(
            "--name {wanted:?} is no folder name; use letters, digits, `-`, `_` and `.`, starting with a letter or digit"
        )));
    }
    let taken = |path: &Path| {
        Error::Usage(format!(
            "{} exists; continue it with --resume {} or give another --name",
            path.display(),
            path.display()
        ))
    };
    let path = root.join(&wanted);
    if name.is_some() && path.exists() {
        return Err(taken(&path));
    }
    let refused = |source| Error::io(root, "cannot hold run folders, choose another with --runs")(source);
    atomic::create_folder(root).map_err(refused)?;
    let owned = |other: &OsStr| match name {
        Some(name) => other == name,
        None => other.to_str().is_some_and(|other| is_default_name(kind, other)),
    };
    let unborn = Unfinished::folder(&path, owned).map_err(refused)?;
    let made = make(unborn.path())?;
    let path = match name {
        Some(_) => unborn.finish(&path).map(|()| path.clone()).map_err(|source| (path, source)),
        None => unborn.finish_first((1..).map(|n| root.join(numbered(&wanted, n)))),
    };
    let path = path.map_err(
        |(path, source)| {
            if path.exists() { taken(&path) } else { Error::io(&path, "cannot create")(source) }
        },
    )?;
    atomic::sync_folder(root).map_err(Error::io(root, "cannot sync"))?;
    Ok((path, made))
}

/// The order of two names, with numbers in them compared by size: `seed-9` before `seed-10`.
fn natural(a: &str, b: &str) -> Ordering {
    fn number(text: &str) -> (&str, &str) {
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
    }
    let (mut a, mut b) = (a, b);
    loop {
        let ((one, after), (other, behind)) = (number(a), number(b));
        let order = match (one.parse::<f64>(), other.parse::<f64>()) {
            (Ok(one), Ok(other)) => one.total_cmp(&other),
            _ => one.cmp(other),
        };
        let (Some(c), Some(d)) = (after.chars().next(), behind.chars().next()) else {
            return order.then(after.cmp(behind));
        };
        if order.then(c.cmp(&d)).is_ne() {
            return order.then(c.cmp(&d));
        }
        (a, b) = (&after[c.len_utf8()..], &behind[d.len_utf8()..]);
    }
}

/// The environment of a sitting: program, machine and command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Env {
    /// Version of mvae-fast.
    pub version: String,
    /// Git commit it was built from, if known at build time (`MVAE_GIT_COMMIT`).
    pub commit: Option<String>,
    /// Operating system and processor family, such as `linux x86_64`.
    pub os: String,
    /// Name of the processor, when the system tells it.
    pub cpu: Option<String>,
    /// Cores this process may use.
    pub cores: usize,
    /// Threads the run uses.
    pub threads: usize,
    /// Device the run uses, such as `cpu`.
    pub device: String,
    /// Start, UTC, such as `2026-01-31T12:34:56Z`.
    pub started: String,
    /// The command line, word by word.
    pub command: Vec<String>,
}

impl Env {
    /// The environment of this process.
    pub fn collect(device: &str, threads: usize) -> Self {
        Env {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("MVAE_GIT_COMMIT").map(str::to_owned),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu_name(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            threads,
            device: device.to_owned(),
            started: stamp(SystemTime::now()),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        }
    }
}

/// The content of `env.json`: the first sitting, and those that resumed the run.
#[derive(Serialize, Deserialize)]
struct EnvFile {
    #[serde(flatten)]
    start: Env,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resumed: Vec<Env>,
}

fn cpu_name() -> Option<String> {
    let text = files::text("/proc/cpuinfo".as_ref(), 16 << 20).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn default_name(kind: &str, at: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = utc(at);
    format!("{kind}-{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// True if `name` is one that `default_name` makes, numbered or not.
fn is_default_name(kind: &str, name: &str) -> bool {
    let time = name.strip_prefix(kind).unwrap_or_default();
    time.starts_with('-') && time.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// `name`, and from the second on `name-2`, `name-3`, ...
fn numbered(name: &str, n: usize) -> String {
    if n == 1 { name.to_owned() } else { format!("{name}-{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_in_names_are_in_order() {
        let order =
            ["kl-weight-auto", "kl-weight-0.003", "kl-weight-0.02", "seed-2", "seed-2-b", "seed-10", "seed-10.5"];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(natural(a, b), i.cmp(&j), "{a}, {b}");
            }
        }
    }

    #[test]
    fn names_carry_the_utc_time() {
        let name = |seconds| default_name("vq", SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(name(0), "vq-19700101-000000");
        assert_eq!(name(951_782_399), "vq-20000228-235959");
        assert_eq!(name(951_868_799), "vq-20000229-235959");
        assert_eq!(name(951_868_800), "vq-20000301-000000");
        assert_eq!(name(1_735_689_599), "vq-20241231-235959");
        assert_eq!(name(4_107_542_400), "vq-21000301-000000");
    }
}
