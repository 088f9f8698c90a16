//! Logs that only grow, by whole records: `metrics.jsonl`, `progress.csv`, TensorBoard events. A checkpoint keeps their
//! lengths; a run that resumes cuts them back to these, so they read as if it had never been stopped.
use super::folder::RunFolder;
use super::{atomic, tensorboard};
use crate::record::Record;
use crate::{Error, Result, files};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
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
}

impl<R: Record> Logs<R> {
    /// Opens the logs of a run that resumes from a checkpoint with these `lengths` (see [`Logs::sync`]), or with `None`
    /// starts them anew. A longer file is cut; a missing or shorter one is an error.
    pub fn open(folder: &RunFolder, lengths: Option<&BTreeMap<String, u64>>) -> Result<Self> {
        let open = |name, path: PathBuf, head: &[u8]| match lengths {
            None => Log::start(name, path, head),
            Some(lengths) => Log::resume(name, path, lengths),
        };
        Ok(Logs {
            metrics: open("metrics.jsonl", folder.metrics(), b"")?,
            progress: open("progress.csv", folder.progress(), R::PROGRESS_HEADER.as_bytes())?,
            events: open("events", folder.events(), &tensorboard::file_version(wall_time()))?,
            records: PhantomData,
        })
    }

    /// Adds a record to every log; readers see it at once.
    pub fn append(&mut self, record: &R) -> Result<()> {
        let mut line = serde_json::to_vec(record).expect("a record is plain data");
        line.push(b'\n');
        self.metrics.append(&line)?;
        self.progress.append(record.progress_row().as_bytes())?;
        self.events.append(&tensorboard::epoch(record, wall_time()))
    }

    /// Brings the logs safely to disk and returns the length of each in bytes: what a checkpoint written next keeps.
    pub fn sync(&self) -> Result<BTreeMap<String, u64>> {
        [&self.metrics, &self.progress, &self.events]
            .into_iter()
            .map(|log| {
                log.file.sync_data().map_err(Error::io(&log.path, "cannot sync"))?;
                Ok((log.name.to_owned(), log.length))
            })
            .collect()
    }
}

/// The records of a `metrics.jsonl`. A torn last line, left by a run that was killed, is passed over.
pub fn read_metrics<R: Record>(path: &Path) -> Result<Vec<R>> {
    let text = files::read(path, u64::MAX).map_err(Error::io(path, "cannot read"))?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    text[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .map(|(line, record)| {
            serde_json::from_slice(record).map_err(|error| {
                let what = format!("line {} is not the record of an {}: {error}", line + 1, R::UNIT);
                let mend = "resume the run, which cuts the logs back, or if it is finished remove the line";
                Error::checkpoint(path, what, mend)
            })
        })
        .collect()
}

/// One file, always written at its end.
#[derive(Debug)]
struct Log {
    /// The checkpoint's name for it.
    name: &'static str,
    path: PathBuf,
    file: File,
    /// Bytes in whole records.
    length: u64,
}

impl Log {
    fn start(name: &'static str, path: PathBuf, head: &[u8]) -> Result<Self> {
        let file = File::create(&path).map_err(Error::io(&path, "cannot create"))?;
        atomic::sync_folder(atomic::folder_of(&path)).map_err(Error::io(&path, "cannot sync its folder"))?;
        let mut log = Log { name, path, file, length: 0 };
        log.append(head)?;
        Ok(log)
    }

    fn resume(name: &'static str, path: PathBuf, lengths: &BTreeMap<String, u64>) -> Result<Self> {
        let mend = "the log was changed or lost since; start a new run, with --init to keep what was learned";
        let length = *lengths
            .get(name)
            .ok_or_else(|| Error::checkpoint(&path, "the checkpoint does not know this log's length", mend))?;
        let mut file = match File::options().write(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::checkpoint(&path, "the log is missing", mend));
            }
            opened => opened.map_err(Error::io(&path, "cannot open"))?,
        };
        let found = file.metadata().map_err(Error::io(&path, "cannot read its length"))?.len();
        if found < length {
            let what = format!("{found} bytes, but the checkpoint was written after {length}");
            return Err(Error::checkpoint(&path, what, mend));
        }
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)))
            .map_err(Error::io(&path, "cannot cut back"))?;
        Ok(Log { name, path, file, length })
    }

    fn append(&mut self, record: &[u8]) -> Result<()> {
        self.file.write_all(record).map_err(Error::io(&self.path, "cannot append"))?;
        self.length += record.len() as u64;
        Ok(())
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}
