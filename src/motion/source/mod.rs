//! Motion as stored in files. Each format is a file of this folder with a `FORMAT`, and a line in
//! [`FORMATS`]; it gives a [`Recording`]. docs/adding-a-format.md adds one.
pub mod amass;
pub mod bvh;
mod ends;
pub mod expmap;
mod lines;
mod rate;
mod recording;

use crate::host::npy;
use crate::{Error, Result};
pub use ends::inserted;
use expmap::ExpmapSkeleton;
pub use lines::{Fault, Lines};
pub use rate::rate;
pub use recording::{Note, Recording, SourceJoint};
use std::io::BufRead;
use std::path::Path;

/// The formats that can be read. A file that may be of several is taken for the first of them.
pub static FORMATS: [Format; 3] = [amass::FORMAT, expmap::FORMAT, bvh::FORMAT];

/// First bytes of a zip file, which an npz file is, too.
pub(crate) const ZIP: &[u8] = b"PK\x03\x04";

/// A format of motion.
#[derive(Debug)]
pub struct Format {
    /// The verb and the kind of such a file, for messages: `is a BVH file`.
    pub is: &'static str,
    /// Ends of names, in lower case, by which such files are found in folders.
    pub endings: &'static [&'static str],
    /// A way to the skeleton that such a file asks for beside it (`--skeleton`), for a message.
    /// `None` if the file holds its own.
    pub skeleton: Option<&'static str>,
    /// Says whether a file is of this format.
    pub sniff: fn(&Head) -> Sniff,
    /// Reads a file. An error names the line or the array.
    pub read: fn(Content) -> Result<Recording>,
}

/// An answer to the question whether a file is of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sniff {
    /// It is of another.
    No,
    /// It may be. The reader says in which line it is not.
    Maybe,
    /// It is: nothing else begins so.
    Sure,
}

/// The beginning of a file, by which formats are told apart.
#[derive(Debug)]
pub struct Head<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its first bytes, decompressed, text in UTF-8.
    pub start: &'a [u8],
    /// Names of the arrays of an npz file, or of the entries of another zip file.
    pub arrays: Vec<String>,
}

/// An open file, and what was given beside it.
pub struct Content<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its bytes from the first, decompressed, text in UTF-8.
    pub bytes: Box<dyn BufRead>,
    /// The skeleton, if one was given.
    pub skeleton: Option<&'a ExpmapSkeleton>,
}

impl Format {
    /// True if a file goes by such a name.
    pub fn is_named(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        self.endings.iter().any(|end| name.len() > end.len() && name.ends_with(end))
    }

    /// The error for a file that was given without the skeleton that it asks for; `None` if it asks
    /// for none.
    pub(crate) fn without_skeleton(&self, path: &Path) -> Option<Error> {
        self.skeleton.map(|mend| Error::data(path, format!("{} without a skeleton", self.is), mend))
    }
}

impl<'a> Head<'a> {
    /// The beginning of a file with these first bytes.
    pub fn new(path: &'a Path, start: &'a [u8]) -> Self {
        let arrays = if start.starts_with(ZIP) { npy::array_names(path).unwrap_or_default() } else { Vec::new() };
        Head { path, start, arrays }
    }

    /// True if the file is an npz file with an array of that name.
    pub fn has(&self, array: &str) -> bool {
        self.arrays.iter().any(|name| name == array)
    }
}

impl<'a> Content<'a> {
    /// The skeleton for a file of this format. Error: none was given.
    fn skeleton(&self, format: &Format) -> Result<&'a ExpmapSkeleton> {
        self.skeleton.ok_or_else(|| format.without_skeleton(self.path).expect("a format that asks for a skeleton"))
    }
}

/// The first format that a file is of, at least as surely as `least`.
pub(crate) fn format_of(head: &Head, least: Sniff) -> Option<&'static Format> {
    FORMATS.iter().find(|format| (format.sniff)(head) >= least)
}
