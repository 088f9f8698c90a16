//! The motion of a character: files to import, sets, or the built-in set.
use super::book::crc;
use crate::cli::import::ImportKeys;
use crate::cli::runs::all_absolute;
use crate::config::Config;
use crate::data::bridges::Means;
use crate::data::check::{self, DataCheck};
use crate::data::{self, kind};
use crate::exchange::import::{By, ImportOptions, Imported};
use crate::host::crc32c::crc32c;
use crate::host::shown::counted;
use crate::train::setup::require_room;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where motion comes from.
pub(super) enum Motion {
    /// The built-in set.
    BuiltIn,
    /// Sets, used where they lie.
    Sets(Vec<PathBuf>),
    /// Files to import, and how.
    Files(Vec<PathBuf>, Box<ImportOptions>),
}

impl Motion {
    /// The motion that the arguments name. Errors: a path that is not there, flags of the import
    /// for motion that is not imported.
    pub fn of(paths: &[PathBuf], keys: &ImportKeys, threads: usize) -> Result<Self> {
        let mut paths = paths.to_vec();
        all_absolute(&mut paths)?;
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(Error::data(missing, "no such file or folder", "check the path"));
        }
        let is_set = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "npz") && path.is_file();
        let imported = !paths.is_empty() && (keys.skeleton.is_some() || !paths.iter().all(is_set));
        if imported {
            if let Some(set) = paths.iter().find(|path| is_set(path)).filter(|_| keys.skeleton.is_none()) {
                let mend = "make one set of the others first (mvae-fast data import), and give both sets";
                return Err(Error::data(set, "is a set, and the other motion is not", mend));
            }
            return Ok(Motion::Files(paths, Box::new(keys.options(threads)?)));
        }
        if let Some(flag) = keys.given().first() {
            let what = format!("--{flag} is for files that are imported, and there is none");
            return Err(Error::Usage(format!("{what}; drop it")));
        }
        Ok(if paths.is_empty() { Motion::BuiltIn } else { Motion::Sets(paths) })
    }

    /// Files and folders that were named.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Motion::BuiltIn => &[],
            Motion::Sets(paths) | Motion::Files(paths, _) => paths,
        }
    }

    /// The data of the training: sets, or the set that is made in `folder`.
    pub fn data(&self, folder: &Path) -> Vec<PathBuf> {
        match self {
            Motion::BuiltIn => Vec::new(),
            Motion::Sets(paths) => paths.clone(),
            Motion::Files(..) => vec![folder.join("data.npz")],
        }
    }

    /// Inputs of the imported set: names and contents of the files, and the options. Errors: a
    /// folder without motion.
    pub fn asked(&self, keys: &ImportKeys) -> Result<toml::Table> {
        let Motion::Files(paths, options) = self else { return Ok(toml::Table::new()) };
        let (sources, _) = kind::find(paths, options.skeleton.is_some())?;
        let mut asked = toml::Table::new();
        asked.insert("files".into(), (sources.len() as i64).into());
        let content = crc(sources.iter().map(|source| (source.name.as_str(), source.path.as_path())));
        asked.insert("content of the files".into(), content);
        let ImportOptions {
            fps,
            map,
            skeleton,
            units,
            up,
            skip_first,
            skip_last,
            source_fps,
            expansion,
            keep_floor,
            keep_torn,
            mirror,
            threads: _,
        } = &**options;
        let sum = |text: String| i64::from(crc32c(text.as_bytes()));
        asked.insert("fps".into(), (*fps).into());
        asked.insert("keep_floor".into(), (*keep_floor).into());
        asked.insert("keep_torn".into(), (*keep_torn).into());
        asked.insert("mirror".into(), (*mirror).into());
        asked.insert("max_expansion".into(), (*expansion as i64).into());
        let given = [
            ("map", map.as_ref().map(|map| sum(format!("{map:?}")).into())),
            ("skeleton", skeleton.as_ref().map(|skeleton| sum(format!("{skeleton:?}")).into())),
            ("units", units.map(|units| format!("{units:?}").into())),
            ("up", up.map(|up| format!("{up:?}").into())),
            ("skip_first", skip_first.map(|frames| (frames as i64).into())),
            ("skip_last", skip_last.map(|frames| (frames as i64).into())),
            ("source_fps", source_fps.map(toml::Value::Float)),
            ("terms", keys.terms.clone().map(toml::Value::String)),
        ];
        asked.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        Ok(asked)
    }
}

/// Lines that say what was imported: what was found and assumed, and doubts.
pub(super) fn said(imported: &Imported, fps: f64) -> Vec<String> {
    let Imported { set, report, unused, .. } = imported;
    let map = report.map.as_ref().map_or("all joints of the body".to_owned(), |map| format!("joint map {map}"));
    let by = if report.units.by == By::Guess { ", guessed" } else { "" };
    let (frames, clips) = (set.num_frames(), counted(set.end_indices.len(), "clip"));
    let minutes = frames as f64 / fps / 60.0;
    let mut lines = vec![format!("{clips}, {minutes:.1} minutes; {map}; units {}{by}", report.units.name)];
    if *unused > 0 {
        lines.push(format!("note: goes on without {}", counted(*unused, "refused file")));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// The check of the data of a training to come. Errors: it cannot be read, or needs too much
/// memory.
pub(super) fn checked(config: &Config, threads: usize, say: &dyn Fn(String)) -> Result<DataCheck> {
    let (set, source) = data::read(&config.data)?;
    if set.rig.is_none() {
        let what = "names no skeleton, so nobody could steer its character";
        return Err(Error::data(&source, what, "make it with `mvae-fast data import` of BVH files"));
    }
    require_room(config, &set, &source)?;
    Ok(check::check_by(&set, config, Means { threads, beside: config.data.first().map(PathBuf::as_path), say }))
}
