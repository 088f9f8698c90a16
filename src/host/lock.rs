//! Locks of folders. The lock file says which process holds the lock, on which machine, and its
//! time of writing is that process's last sign of life.
//!
//! The system lets go of the locks of a process that ends, however it ends. Some file systems do
//! not lock across machines, or keep the locks of a machine that is lost. So the lock of a process
//! on another machine counts until it has given no sign of life for [`LOST`].
use super::atomic::{self, hidden, is_at};
use super::files;
use super::say::{minutes, stamp};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};

/// Name of the file in a folder by which processes lock the folder.
const LOCK: &str = ".lock";
/// Time from one sign of life to the next.
const BEAT: Duration = Duration::from_secs(15);
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

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
    /// Name of the machine that no other machine has, and that changes when it starts anew.
    machine: String,
    /// Time at which it took the lock, UTC.
    since: String,
}

impl Lock {
    /// Locks a folder. `Ok(Err)` says who holds the lock. Errors: those of the disk.
    pub fn take(folder: &Path) -> Result<Result<Self, Held>> {
        let path = folder.join(LOCK);
        loop {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let file = file.map_err(Error::io(&path, "cannot create"))?;
            let free = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(source)) => return Err(Error::io(&path, "cannot lock")(source)),
            };
            if !is_at(Some(&file), &path) {
                continue; // another process has removed or replaced it
            }
            let held = Held::read(&file).map_err(Error::io(&path, "cannot read"))?;
            if held.is_elsewhere() && held.is_lost() {
                replace(&file, &path).map_err(Error::io(&path, "cannot take over"))?;
            } else if !free || held.is_elsewhere() {
                return Ok(Err(held));
            } else {
                Holder::this().write(&file).map_err(Error::io(&path, "cannot write"))?;
                let file = Arc::new(file);
                watch(&file);
                return Ok(Ok(Lock { path, file }));
            }
        }
    }

    /// Locks a folder. If a process on another machine holds the lock, waits until it gives a sign
    /// of life or has [lost](LOST) the lock. Errors: those of the disk.
    pub fn wait(folder: &Path) -> Result<Result<Self, Held>> {
        let mut first = None;
        loop {
            match Lock::take(folder)? {
                Err(held) if held.is_elsewhere() && *first.get_or_insert(held.seen) == held.seen => sleep(NAP),
                taken => return Ok(taken),
            }
        }
    }

    /// True while no process on another machine has taken the lock over.
    pub fn is_ours(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            self.file.metadata().is_ok_and(|about| about.nlink() > 0)
        }
        #[cfg(not(unix))]
        true
    }

    /// Removes the lock file, and lets go of the lock.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0).and_then(|()| self.file.unlock());
    }
}

impl Held {
    fn read(mut file: &File) -> io::Result<Self> {
        let mut text = String::new();
        // Half a word, while its process writes it, is none.
        let _ = file.rewind().and_then(|()| file.take(1 << 12).read_to_string(&mut text));
        Ok(Held { by: serde_json::from_str(&text).ok(), seen: file.metadata()?.modified()? })
    }

    /// True if a process on another machine holds the lock.
    fn is_elsewhere(&self) -> bool {
        self.by.as_ref().is_some_and(|by| by.machine != Holder::this().machine)
    }

    fn is_lost(&self) -> bool {
        self.seen.elapsed().is_ok_and(|silence| silence >= LOST)
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Some(Holder { process, host, since, .. }) = &self.by else {
            return write!(f, "held by another process");
        };
        write!(f, "held by process {process} on {host} since {since}")?;
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
        let word = |file: &str| files::text(file.as_ref(), 1 << 10).map(|text| text.trim().to_owned());
        let host = word("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
        let host = host.unwrap_or_else(|_| "this machine".to_owned());
        let machine = word("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| host.clone());
        Holder { process: std::process::id(), host, machine, since: stamp(SystemTime::now()) }
    }

    fn write(&self, mut file: &File) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(self).expect("words are plain data"))
    }
}

/// Removes the lock file of a lost process, unless another process has replaced it already.
fn replace(file: &File, path: &Path) -> io::Result<()> {
    let aside = atomic::folder_of(path).join(hidden(LOCK.as_ref()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) if !is_at(Some(file), &aside) => fs::rename(&aside, path),
        Ok(()) => fs::remove_file(&aside),
        other => other,
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
                held().retain(|file| {
                    // A disk that refuses this once may take it the next time.
                    file.upgrade().map(|file| file.set_modified(SystemTime::now())).is_some()
                });
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

    /// Writes that a process on another machine held the lock of a folder `age` ago.
    fn elsewhere(folder: &Path, age: Duration) {
        let file = File::options().create(true).truncate(true).write(true).open(folder.join(LOCK)).unwrap();
        let holder = Holder { host: "node7".into(), machine: "another".into(), ..Holder::this() };
        holder.write(&file).unwrap();
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
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "only the lock file is left");
    }
}
