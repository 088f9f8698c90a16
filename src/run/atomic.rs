//! Files written whole: a reader, or a run that resumes after `kill -9`, meets the old file or the new one, never half.
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`; after an error the old file is still there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Replaces the file at `path` by what `fill` writes: temporary file beside it, fsync, rename, fsync of the folder.
/// After an error the old file is still there and the temporary one is not.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let temporary = temporary(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path, "cannot write")(source));
    }
    sync_folder(folder_of(path)).map_err(Error::io(path, "cannot sync its folder"))
}

/// Makes renames and new files in `folder` outlive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::options().read(true).open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Makes `folder` and those above it that are missing, so that they outlive a power cut.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(|made| sync_folder(folder_of(made)))
}

/// One fixed name for each path, so that what a killed process left is overwritten by the next write.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    folder_of(path).join(name)
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
