//! Locks of folders. The lock file says which process holds the lock, on which machine, and its
//! time of writing is that process's last sign of life.
//!
//! The process that makes the file has the lock: of several processes, on whatever machines, one
//! makes it. It also has a lock of the system on the file, which the system drops when the process
//! ends, however it ends. So a file without that lock is free for the processes of its machine.
//! Those of other machines may not see the system's locks. They wait until the file has given no
//! sign of life for [`LOST`].
use super::atomic::{Unfinished, folder_of, hidden, is_at};
use super::machine;
use super::say::{minutes, stamp};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

/// Name of the file in a folder by which processes lock the folder.
const LOCK: &str = ".lock";
/// Time from one sign of life to the next.
const BEAT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });
/// Time without a sign of life after which a process on another machine has lost its locks.
pub const LOST: Duration = Duration::from_secs(300);
/// Time between two looks at a lock that may be lost.
const NAP: Duration = Duration::from_millis(500);

/// Files of the locks that this process holds.
static HELD: Mutex<Vec<Weak<File>>> = Mutex::new(Vec::new());

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: Arc<File>,
}

/// A lock that another process holds, or this one by another [`Lock`].
#[derive(Debug)]
pub struct Held {
    /// The process, if its words can be read.
    by: Option<Holder>,
    /// Its last sign of life.
    seen: SystemTime,
}

/// The outcome of an attempt to take a lock.
enum Attempt {
    Taken(Lock),
    /// Another process has it, by this file.
    Held(Held, File),
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
    /// Its [`machine::ID`].
    machine: String,
    /// Time at which it took the lock, UTC.
    since: String,
}

impl Lock {
    /// Locks a folder. If a process on another machine gave its last sign of life longer than
    /// [`LOST`] ago, this takes two signs of life more, as clocks differ. `Ok(Err)` says who holds
    /// the lock. Errors: those of the disk.
    pub fn take(folder: &Path) -> Result<Result<Self, Held>> {
        Lock::take_after(folder, None)
    }

    /// Locks a folder. If a process on another machine holds the lock, waits until it gives a sign
    /// of life or has [lost](LOST) the lock. Errors: those of the disk.
    pub fn wait(folder: &Path) -> Result<Result<Self, Held>> {
        Lock::take_after(folder, Some(LOST))
    }

    /// Takes the lock, from a silent process of another machine after `patience`.
    fn take_after(folder: &Path, patience: Option<Duration>) -> Result<Result<Self, Held>> {
        let path = folder.join(LOCK);
        let (begun, mut first) = (Instant::now(), None);
        loop {
            let (held, file) = match Lock::attempt(&path)? {
                Attempt::Taken(lock) => return Ok(Ok(lock)),
                Attempt::Held(held, file) => (held, file),
            };
            let silent = *first.get_or_insert(held.seen) == held.seen;
            let lost = Some(2 * BEAT).filter(|_| held.is_lost());
            match patience.into_iter().chain(lost).min() {
                Some(patience) if silent && held.is_elsewhere() => match begun.elapsed() < patience {
                    true => sleep(NAP),
                    false => remove(&file, &path).map_err(Error::io(&path, "cannot take over"))?,
                },
                _ => return Ok(Err(held)),
            }
        }
    }

    /// Takes a lock that is free, and that of a process of this machine that has ended.
    fn attempt(path: &Path) -> Result<Attempt> {
        loop {
            let file = match File::options().read(true).write(true).open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => match Lock::make(path) {
                    Ok(Some(lock)) => return Ok(Attempt::Taken(lock)),
                    Ok(None) => continue, // another process was faster
                    Err(error) => return Err(Error::io(path, "cannot make")(error)),
                },
                opened => opened.map_err(Error::io(path, "cannot open"))?,
            };
            let held = Held::read(&file).map_err(Error::io(path, "cannot read"))?;
            if held.is_elsewhere() {
                return Ok(Attempt::Held(held, file));
            }
            match file.try_lock() {
                Ok(()) => remove(&file, path).map_err(Error::io(path, "cannot remove"))?,
                Err(TryLockError::WouldBlock) if is_at(Some(&file), path) => return Ok(Attempt::Held(held, file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(Error::io(path, "cannot lock")(source)),
            }
        }
    }

    /// Makes the lock file, unless there is one. It appears with all its words.
    fn make(path: &Path) -> io::Result<Option<Self>> {
        let (unfinished, mut file) = Unfinished::file(path)?;
        file.write_all(&serde_json::to_vec(&Holder::this()).expect("words are plain data"))?;
        match fs::hard_link(unfinished.path(), path) {
            Err(error) if [ErrorKind::AlreadyExists, ErrorKind::NotFound].contains(&error.kind()) => return Ok(None),
            Ok(()) => {}
            // A file system without such links.
            Err(_) => match File::options().create_new(true).write(true).open(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
                made => {
                    made?;
                    unfinished.finish(path).inspect_err(|_| drop(fs::remove_file(path)))?;
                }
            },
        }
        let file = Arc::new(file);
        watch(&file);
        Ok(Some(Lock { path: path.to_owned(), file }))
    }

    /// Follows the folder, which has been renamed.
    pub(crate) fn moved_to(&mut self, folder: &Path) {
        self.path = folder.join(LOCK);
    }

    /// True while no process on another machine has taken the lock over.
    pub fn is_ours(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let there = !self.path.exists() || is_at(Some(&self.file), &self.path); // or the folder was moved
            there && self.file.metadata().is_ok_and(|about| about.nlink() > 0)
        }
        #[cfg(not(unix))]
        true
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is free for this machine, and after a while for others.
        let _ = remove(&self.file, &self.path);
    }
}

impl Held {
    fn read(mut file: &File) -> io::Result<Self> {
        let mut text = String::new();
        // Half a word, while its process writes it, is none.
        let _ = file.rewind().and_then(|()| file.take(1 << 12).read_to_string(&mut text));
        Ok(Held { by: serde_json::from_str(&text).ok(), seen: file.metadata()?.modified()? })
    }

    /// True unless a process on this machine holds the lock. A file without words may be anybody's.
    fn is_elsewhere(&self) -> bool {
        self.by.as_ref().is_none_or(|by| by.machine != *machine::ID)
    }

    fn is_lost(&self) -> bool {
        self.seen.elapsed().is_ok_and(|silence| silence >= LOST)
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.by {
            Some(Holder { process, host, since, .. }) => write!(f, "held by process {process} on {host} since {since}"),
            None => write!(f, "held by another process"),
        }?;
        if self.is_elsewhere() {
            let silence = minutes(self.seen.elapsed().unwrap_or_default().as_secs_f64());
            write!(f, ", seen {silence} ago, free after {} without a sign of life", minutes(LOST.as_secs_f64()))?;
        }
        Ok(())
    }
}

impl Holder {
    /// This process.
    fn this() -> Self {
        let (host, machine) = (machine::NAME.clone(), machine::ID.clone());
        Holder { process: std::process::id(), host, machine, since: stamp(SystemTime::now()) }
    }
}

/// Removes a lock file, unless another process has removed or replaced it.
fn remove(file: &File, path: &Path) -> io::Result<()> {
    if !is_at(Some(file), path) {
        return Ok(());
    }
    let _ = file.try_lock(); // no left-over, while it is aside
    let aside = folder_of(path).join(hidden(LOCK.as_ref()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    if !is_at(Some(file), &aside) {
        // A newer one was moved. If there is a third one by now, the newer one is lost.
        match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return fs::rename(&aside, path),
            _ => {}
        }
    }
    match fs::remove_file(&aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives signs of life on this file for as long as its lock lives.
fn watch(file: &Arc<File>) {
    static BEGUN: Once = Once::new();
    held().push(Arc::downgrade(file));
    BEGUN.call_once(|| {
        thread::spawn(|| {
            loop {
                sleep(BEAT);
                held().retain(|file| file.strong_count() > 0);
                // A disk that keeps one waiting keeps only this thread waiting.
                let files: Vec<_> = held().iter().filter_map(Weak::upgrade).collect();
                for file in files {
                    // A disk that refuses this once may take it the next time.
                    let _ = file.set_modified(SystemTime::now());
                }
            }
        });
    });
}

fn held() -> MutexGuard<'static, Vec<Weak<File>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    /// Writes that a process on another machine held the lock of a folder `age` ago.
    fn elsewhere(folder: &Path, age: Duration) {
        let mut file = File::options().create(true).truncate(true).write(true).open(folder.join(LOCK)).unwrap();
        let holder = Holder { host: "node7".into(), machine: "another".into(), ..Holder::this() };
        file.write_all(&serde_json::to_vec(&holder).unwrap()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn a_lock_says_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        let said = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        let host = Holder::this().host;
        assert!(said.starts_with(&format!("held by process {} on {host} since 2", std::process::id())), "{said}");
        assert!(!said.contains("sign of life"), "a process on this machine keeps its lock: {said}");
        drop(lock);
        assert!(Lock::wait(folder.path()).unwrap().is_ok());
    }

    #[test]
    fn a_process_on_another_machine_holds_it_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        elsewhere(folder.path(), Duration::from_secs(100));
        let said = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        assert!(said.contains("on node7 since") && said.contains("seen 1m 40s ago, free after 5m 00s"), "{said}");
        // A sign of life ends the wait.
        let path = folder.path().to_owned();
        let waits = thread::spawn(move || Lock::wait(&path).unwrap().unwrap_err().to_string());
        sleep(Duration::from_millis(200));
        elsewhere(folder.path(), Duration::ZERO);
        assert!(waits.join().unwrap().contains("seen 0m 00s ago"));
    }

    #[test]
    fn a_lost_machine_loses_its_locks_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        // Two seconds of silence more, and it is lost.
        elsewhere(folder.path(), LOST - Duration::from_secs(2));
        // Its system lock stays, as some file systems keep it.
        let file = File::options().write(true).open(folder.path().join(LOCK)).unwrap();
        file.lock().unwrap();
        let lost = Lock { path: folder.path().join(LOCK), file: Arc::new(file) };
        assert!(lost.is_ours() && Lock::take(folder.path()).unwrap().is_err());
        let lock = Lock::wait(folder.path()).unwrap().unwrap();
        assert!(lock.is_ours() && !lost.is_ours());
        let said = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        assert!(!said.contains("node7"), "{said}");
        drop(lost);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left == [LOCK] && lock.is_ours(), "only the new lock is left: {left:?}");
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_of_many_has_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut taken = 0;
                    while taken < 20 {
                        let Ok(lock) = Lock::take(folder.path()).unwrap() else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken += 1;
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_that_nobody_finished_is_free_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join(LOCK)).unwrap();
        let said = Lock::take(folder.path()).unwrap().unwrap_err().to_string();
        assert!(said.starts_with("held by another process, seen 0m 00s ago, free after 5m 00s"), "{said}");
        file.set_modified(SystemTime::now() - LOST).unwrap();
        assert!(Lock::take(folder.path()).unwrap().is_ok());
    }
}
