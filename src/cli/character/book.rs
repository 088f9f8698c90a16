//! The book of a character: what each stage in its folder was made of.
use crate::cli::runs::CHARACTER;
use crate::host::lock::Lock;
use crate::host::{atomic, crc32c, files, toml as toml_file};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Opening words of the file.
const HEAD: &str = "\
# The motion of this character, and what each stage was made of: settings, and checksums of what it
# read. `mvae-fast character` compares them and repeats what is no longer so.
";

/// The file [`CHARACTER`] in the folder of a character, which is locked while the book is open.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Book {
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    lock: Option<Lock>,
    /// True if the folder was made for this book.
    #[serde(skip)]
    made: bool,
    /// Folders and files that the motion was read from; none for built-in motion.
    motion: Vec<PathBuf>,
    /// Settings and inputs that each stage was made of, by its name.
    #[serde(default)]
    stages: BTreeMap<String, toml::Table>,
}

impl Book {
    /// Opens the book of the character in `folder`, or an empty one if there is none yet; then the
    /// folder is made, too, and goes again if nothing gets written. Errors: the folder holds other
    /// things, or a character of other motion; a book that cannot be read; another process makes
    /// this character.
    pub fn open(folder: &Path, motion: &[PathBuf]) -> Result<Self> {
        let (path, made) = (folder.join(CHARACTER), !folder.exists());
        if !path.is_file() && !is_free(folder)? {
            let what = "holds other things and no character (no character.toml in it)";
            return Err(Error::Usage(format!("{}: {what}; give another --output", folder.display())));
        }
        atomic::create_folder(folder).map_err(Error::io(folder, "cannot make the folder"))?;
        // What the book says counts only once nobody else writes to it.
        let lock = Lock::take(folder)?.map_err(|held| {
            let what = format!("another process makes this character: {held}");
            Error::checkpoint(folder, what, "wait for it, or stop it")
        })?;
        let mut book = Book { path, lock: Some(lock), made, motion: motion.to_vec(), stages: BTreeMap::new() };
        if !book.path.is_file() {
            return Ok(book);
        }
        let kept = toml_file::read(&book.path).and_then(|text| toml_file::parse::<Book>(&book.path, &text));
        let mut kept = kept.map_err(|error| {
            Error::checkpoint(folder, error.to_string(), "put the file back, or give another --output")
        })?;
        if kept.motion != motion {
            let paths = kept.motion.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
            let of =
                if paths.is_empty() { "built-in motion; name none" } else { &*format!("{paths}; name that motion") };
            let what = format!("holds a character of {of}, or give another --output");
            return Err(Error::Usage(format!("{}: {what}", folder.display())));
        }
        book.stages = std::mem::take(&mut kept.stages);
        Ok(book)
    }

    /// True if a stage was made of this.
    pub fn is(&self, stage: &str, of: &toml::Table) -> bool {
        self.stages.get(stage) == Some(of)
    }

    /// The names of what differs from what a stage was made of; none if it was not made yet.
    pub fn changes(&self, stage: &str, of: &toml::Table) -> Vec<String> {
        let Some(was) = self.stages.get(stage) else { return Vec::new() };
        let keys = was.keys().chain(of.keys().filter(|key| !was.contains_key(*key)));
        keys.filter(|key| was.get(*key) != of.get(*key)).cloned().collect()
    }

    /// Writes that a stage was made of this. Errors: those of the disk.
    pub fn write(&mut self, stage: &str, of: toml::Table) -> Result<()> {
        self.stages.insert(stage.to_owned(), of);
        self.save()
    }

    /// Writes that a stage is not made, before what it left is replaced. Errors: those of the disk.
    pub fn forget(&mut self, stage: &str) -> Result<()> {
        if self.stages.remove(stage).is_some() { self.save() } else { Ok(()) }
    }

    fn save(&self) -> Result<()> {
        let text = toml::to_string(self).expect("paths are UTF-8");
        atomic::write(&self.path, format!("{HEAD}{text}").as_bytes())
    }
}

impl Drop for Book {
    /// Removes the folder that was made for a book in which nothing was written.
    fn drop(&mut self) {
        let folder = atomic::folder_of(&self.path);
        if self.made && !self.path.exists() {
            drop(self.lock.take());
            let _ = fs::remove_dir(folder);
        }
    }
}

/// True if a folder is not there, or holds nothing but hidden files.
fn is_free(folder: &Path) -> Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    let entries = fs::read_dir(folder);
    let entries = entries.map_err(|error| {
        Error::Usage(format!("--output is {}, which cannot hold a character: {error}", folder.display()))
    })?;
    let hidden = |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    Ok(entries.flatten().all(hidden))
}

/// The checksum of files, with their names. A file that cannot be read counts as one of its own
/// kind: whoever uses it reports it.
pub(super) fn crc<'a>(paths: impl IntoIterator<Item = (&'a str, &'a Path)>) -> toml::Value {
    let mut sum = 0;
    let mut buffer = vec![0; 1 << 20];
    for (name, path) in paths {
        sum = crc32c::extend(sum, name.as_bytes());
        let mut file = match files::open(path) {
            Ok((file, _)) => file,
            Err(_) => {
                sum = crc32c::extend(sum, b"not read");
                continue;
            }
        };
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            sum = crc32c::extend(sum, &buffer[..count]);
        }
    }
    i64::from(sum).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_open_once_and_read_under_its_lock() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("walk");
        let mut first = Book::open(&folder, &[]).unwrap();
        let second = Book::open(&folder, &[]).unwrap_err();
        assert!(second.to_string().contains("another process makes this character"), "{second}");
        let made = toml::Table::from_iter([("crc".to_owned(), 3.into())]);
        first.write("data", made.clone()).unwrap();
        drop(first);
        assert!(Book::open(&folder, &[]).unwrap().is("data", &made));
    }

    #[test]
    fn a_folder_without_a_word_in_its_book_goes_again() {
        let root = tempfile::tempdir().unwrap();
        let [new, there] = ["new", "there"].map(|name| root.path().join(name));
        fs::create_dir(&there).unwrap();
        [&new, &there].iter().for_each(|folder| drop(Book::open(folder, &[]).unwrap()));
        assert!(!new.exists() && there.exists());
    }
}
