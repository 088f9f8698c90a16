//! Logs that grow by whole records: `metrics.jsonl`, `progress.csv`, TensorBoard events. A
//! checkpoint keeps their lengths. A resumed run cuts them back to these lengths, so that they read
//! as if it had never been stopped.
use super::folder::RunFolder;
use super::tensorboard;
use crate::host::atomic;
use crate::host::shown::counted;
use crate::run::record::Record;
use crate::{Error, Result, host::files};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The open logs of a run.
#[derive(Debug)]
pub struct Logs<R> {
    metrics: Log,
    progress: Log,
    events: Log,
    records: PhantomData<R>,
    /// One line for each file of a resumed run that was changed since its checkpoint.
    pub notes: Vec<String>,
}

impl<R: Record> Logs<R> {
    /// Opens the logs of a run that resumes from a checkpoint with these `lengths` (see
    /// [`Logs::sync`]); `None` starts them anew. A longer file is cut. A missing or shorter one
    /// continues after its last whole record, and [`Logs::notes`] says so. Errors: those of the
    /// disk, a checkpoint that does not know a log.
    pub fn open(folder: &RunFolder, lengths: Option<&BTreeMap<String, u64>>) -> Result<Self> {
        let mut notes = Vec::new();
        let mut open = |name, path, head: &[u8], whole| {
            let (log, note) = Log::open(name, path, head, whole, lengths)?;
            notes.extend(note);
            Ok::<_, Error>(log)
        };
        let metrics = open("metrics.jsonl", folder.metrics(), b"", whole_lines)?;
        let progress = open("progress.csv", folder.progress(), R::PROGRESS_HEADER.as_bytes(), whole_lines)?;
        let events = open("events", folder.events(), &tensorboard::file_version(wall_time()), tensorboard::whole)?;
        Ok(Logs { metrics, progress, events, records: PhantomData, notes })
    }

    /// Adds a record to every log; readers see it at once.
    pub fn append(&mut self, record: &R) -> Result<()> {
        let mut line = serde_json::to_vec(record).expect("a record is plain data");
        line.push(b'\n');
        self.metrics.append(&line)?;
        self.progress.append(record.progress_row().as_bytes())?;
        self.events.append(&tensorboard::epoch(record, wall_time()))
    }

    /// Syncs the logs to disk and returns the length of each in bytes, for the next checkpoint.
    pub fn sync(&self) -> Result<BTreeMap<String, u64>> {
        [&self.metrics, &self.progress, &self.events]
            .into_iter()
            .map(|log| {
                log.file.sync_data().map_err(Error::io(&log.path, "cannot sync"))?;
                Ok((log.name.to_owned(), log.length.min(log.found()?)))
            })
            .collect()
    }
}

/// The records of a `metrics.jsonl`, and a note if some of its lines are no records and were
/// skipped. A torn last line, left by a killed run, is skipped without a note.
pub fn read_metrics<R: Record>(path: &Path) -> Result<(Vec<R>, Option<String>)> {
    let text = match files::read(path, u64::MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok((Vec::new(), Some(format!("note: {} is missing", path.display()))));
        }
        read => read.map_err(Error::io(path, "cannot read"))?,
    };
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    let lines = text[..whole_lines(&text)].split_inclusive(|byte| *byte == b'\n');
    for (line, record) in lines.enumerate() {
        match serde_json::from_slice(record) {
            Ok(record) => records.push(record),
            Err(error) => bad.push((line + 1, error)),
        }
    }
    let note = bad.first().map(|(line, error)| {
        let lines = counted(bad.len(), "line");
        let what = format!("{lines} passed over, which hold no record of an {}", R::UNIT);
        format!("note: {}: {what}; the first is line {line}: {error}", path.display())
    });
    Ok((records, note))
}

/// Bytes of the lines that are whole.
fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// One log file. Records are always appended at its current end, as another process may have cut
/// the file.
#[derive(Debug)]
struct Log {
    /// Name of the log in checkpoints.
    name: &'static str,
    path: PathBuf,
    file: File,
    /// Bytes that the file begins with.
    head: Vec<u8>,
    /// Counts the leading bytes of its content that are whole records.
    whole: fn(&[u8]) -> usize,
    /// Bytes in whole records.
    length: u64,
}

impl Log {
    /// Opens the log and cuts it to its length in `lengths`. Also returns a note if fewer whole
    /// records are left.
    fn open(
        name: &'static str,
        path: PathBuf,
        head: &[u8],
        whole: fn(&[u8]) -> usize,
        lengths: Option<&BTreeMap<String, u64>>,
    ) -> Result<(Self, Option<String>)> {
        let wanted = lengths.map_or(Ok(0), |lengths| {
            let mend = "start a new run, with --init to keep what was learned";
            let unknown = || Error::checkpoint(&path, "the checkpoint does not know this log's length", mend);
            lengths.get(name).copied().ok_or_else(unknown)
        })?;
        let file = File::options().read(true).append(true).create(true).open(&path);
        let file = file.map_err(Error::io(&path, "cannot open"))?;
        atomic::sync_folder(atomic::folder_of(&path)).map_err(Error::io(&path, "cannot sync its folder"))?;
        let mut log = Log { name, path, file, head: head.to_owned(), whole, length: wanted };
        let found = log.found()?;
        log.cut(wanted)?;
        let note = (log.length < wanted).then(|| {
            format!(
                "note: {} was changed: {found} bytes, of which {} are whole records of the {wanted} that the checkpoint \
                 was written after; it goes on from there",
                log.path.display(),
                log.length
            )
        });
        log.begin()?;
        Ok((log, note))
    }

    /// Current length of the file, bytes.
    fn found(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::io(&self.path, "cannot read its length"))?.len())
    }

    /// Cuts the file back to the whole records in its first `length` bytes.
    fn cut(&mut self, length: u64) -> Result<()> {
        let mut bytes = Vec::new();
        (&self.file)
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(length).read_to_end(&mut bytes))
            .map_err(Error::io(&self.path, "cannot read"))?;
        self.length = (self.whole)(&bytes) as u64;
        self.file.set_len(self.length).map_err(Error::io(&self.path, "cannot cut back"))
    }

    /// Gives an empty file its head.
    fn begin(&mut self) -> Result<()> {
        if self.length == 0 {
            self.file.write_all(&self.head).map_err(Error::io(&self.path, "cannot append"))?;
            self.length = self.head.len() as u64;
        }
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> Result<()> {
        if self.found()? != self.length {
            self.cut(u64::MAX)?;
            self.begin()?;
        }
        self.file.write_all(record).map_err(Error::io(&self.path, "cannot append"))?;
        self.length += record.len() as u64;
        Ok(())
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}
