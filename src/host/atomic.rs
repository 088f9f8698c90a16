//! Files and folders that appear whole: a reader, or a run that resumes after `kill -9`, finds the
//! old or the new file, never half of one.
use super::machine;
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Age of the last change after which unfinished work of another machine is a left-over.
const ABANDONED: Duration = Duration::from_secs(86_400);

/// Replaces the file at `path` by `bytes`; after an error the old file is still there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Replaces the file at `path` by the bytes that `fill` writes: temporary file beside it, fsync,
/// rename, fsync of the folder. After an error the old file is still there and the temporary one is
/// not.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let written = (|| {
        let (unfinished, mut file) = Unfinished::file(path)?;
        fill(&mut file)?;
        file.sync_all()?;
        unfinished.finish(path)
    })();
    written.map_err(Error::io(path, "cannot write"))?;
    sync_folder(folder_of(path)).map_err(Error::io(path, "cannot sync its folder"))
}

/// A file or folder that is being made beside its final place, hidden and under a random name. It
/// is locked while its process lives. A left-over of a killed process is not locked; the next
/// process of its machine that makes something for the same place removes it. Processes of other
/// machines, which may not see the lock, do so after [`ABANDONED`]. Dropping an `Unfinished`
/// removes it, too.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    /// Holds the lock; `None` where the system cannot lock folders.
    lock: Option<File>,
}

impl Unfinished {
    /// Begins a file for the place `path`.
    pub fn file(path: &Path) -> io::Result<(Self, File)> {
        let owned = path.file_name();
        let unfinished = Unfinished::begin(
            path,
            |name| Some(name) == owned,
            |new| File::options().write(true).create_new(true).open(new).map(Some),
        )?;
        let file = unfinished.lock.as_ref().expect("a file was opened").try_clone()?;
        Ok((unfinished, file))
    }

    /// Begins a folder for the place `path`. Removes left-overs beside it whose final names are
    /// `owned`.
    pub fn folder(path: &Path, owned: impl Fn(&OsStr) -> bool) -> io::Result<Self> {
        Unfinished::begin(path, owned, |new| fs::create_dir(new).map(|()| File::options().read(true).open(new).ok()))
    }

    fn begin(
        path: &Path,
        owned: impl Fn(&OsStr) -> bool,
        make: impl Fn(&Path) -> io::Result<Option<File>>,
    ) -> io::Result<Self> {
        let folder = folder_of(path);
        remove_leftovers(folder, owned);
        loop {
            let new = folder.join(hidden(path.file_name().unwrap_or_default()));
            let lock = match make(&new) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // Before it was locked, another process may have taken it for a left-over.
            let taken = lock.as_ref().is_some_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
            if !taken && is_at(lock.as_ref(), &new) {
                return Ok(Unfinished { path: new, lock });
            }
        }
    }

    /// The temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file or folder to `path`; whatever happens, nothing is left at the temporary path.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }

    /// Moves a folder to the first of these places that is free, and returns that place. Errors:
    /// the place that could not be taken, and the reason.
    pub(crate) fn finish_first(
        self,
        mut paths: impl Iterator<Item = PathBuf>,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        loop {
            let path = paths.by_ref().find(|path| !path.exists()).expect("the places do not end");
            match fs::rename(&self.path, &path) {
                Err(_) if path.exists() => {} // taken in between
                renamed => return renamed.map(|()| path.clone()).map_err(|error| (path, error)),
            }
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.path); // not there once it was renamed
    }
}

/// Removes left-overs of killed processes in `folder` if their final names are `owned`.
fn remove_leftovers(folder: &Path, owned: impl Fn(&OsStr) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, kind) = (entry.file_name(), entry.file_type());
        let mut options = File::options();
        match kind {
            Ok(kind) if kind.is_dir() => options.read(true),
            Ok(kind) if kind.is_file() => options.write(true),
            _ => continue,
        };
        let Some((owner, tag)) = of_hidden(&name) else { continue };
        let age = || entry.metadata()?.modified().map(|changed| changed.elapsed().unwrap_or_default());
        if owned(owner) && (tag == *machine::TAG || age().is_ok_and(|age| age >= ABANDONED)) {
            // The lock is held until it is gone, so that nobody else takes it for his own.
            if let Ok(lock) = options.open(entry.path())
                && lock.try_lock().is_ok()
            {
                remove(&entry.path());
            }
        }
    }
}

/// A hidden temporary name for something with the final name `name`: `.NAME.0123456789abcdef.tmp`.
/// The first eight digits are the machine's, the others are random.
pub(super) fn hidden(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{:08x}{:08x}.tmp", *machine::TAG, RandomState::new().hash_one(0) as u32));
    hidden
}

/// The final name that belongs to a hidden temporary name, and the machine's number.
fn of_hidden(hidden: &OsStr) -> Option<(&OsStr, u32)> {
    let text = hidden.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (name, random) = text.rsplit_once('.')?;
    let digits = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    let machine = u32::from_str_radix(random.get(..8)?, 16).ok()?;
    digits.then(|| (name.as_ref(), machine))
}

/// True if this open file is the one at `path`.
pub(super) fn is_at(file: Option<&File>, path: &Path) -> bool {
    let Ok(there) = fs::symlink_metadata(path) else { return false };
    #[cfg(unix)]
    if let Some(here) = file.and_then(|file| file.metadata().ok()) {
        use std::os::unix::fs::MetadataExt;
        return (here.dev(), here.ino()) == (there.dev(), there.ino());
    }
    let _ = (file, there);
    true
}

fn remove(path: &Path) {
    // An error is ignored: a left-over that stays does no harm.
    let _ = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
}

/// Makes renames and new files in `folder` outlive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::options().read(true).open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Makes `folder` and its missing parents, so that they outlive a power cut.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(|made| sync_folder(folder_of(made)))
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
