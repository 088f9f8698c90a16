//! A file of bridges beside the data, so that a resumed run, or the next one, need not search
//! again. A file that is missing, damaged or made for other data is ignored. A failure to write it
//! is no error.
use super::search::Bridge;
use crate::data::windows::splitmix64;
use crate::host::atomic;
use crate::host::crc32c;
use crate::host::files;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Ending of the file's name, after the name of the data file.
pub(crate) const ENDING: &str = ".bridges";
/// Version of the search: changes whenever a search may find something else.
const VERSION: u64 = 1;
/// Longest file, bytes. It keeps searches of other clips or scales (for runs of other seeds) as far
/// as they fit.
const MAX_FILE: u64 = 16 << 20;

/// The file for the bridges of some clips, and their key in it.
pub(crate) struct Cache {
    path: PathBuf,
    key: u64,
    /// `leave` and `arrive` of [`super::search::Field`].
    bounds: [usize; 2],
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    bridges: Vec<Option<[usize; 3]>>,
}

impl Cache {
    /// The cache for these clips beside the data file `data`. The key is a hash of all inputs of a
    /// search.
    pub fn new(data: &Path, frames: &[f32], clips: &[Range<usize>], scale: &[f64], bounds: [usize; 2]) -> Self {
        let mut name = data.as_os_str().to_owned();
        name.push(ENDING);
        let (pairs, rest) = bytemuck::cast_slice::<f32, u32>(frames).as_chunks::<2>();
        let frames =
            pairs.iter().map(|&[a, b]| u64::from(a) << 32 | u64::from(b)).chain(rest.iter().map(|&x| x.into()));
        let ends = clips.iter().flat_map(|clip| [clip.start as u64, clip.end as u64]);
        let numbers = [VERSION, scale.len() as u64, clips.len() as u64].into_iter().chain(bounds.map(|x| x as u64));
        let all = numbers.chain(ends).chain(scale.iter().map(|x| x.to_bits())).chain(frames);
        Cache { path: PathBuf::from(name), key: all.fold(0, |key, word| splitmix64(key ^ word)), bounds }
    }

    /// The kept bridges, if they are complete and possible for these clips.
    pub fn read(&self, clips: &[Range<usize>]) -> Option<Vec<Option<Bridge>>> {
        let entry = self.entries()?.into_iter().find(|entry| entry.key == self.name())?;
        let [leave, arrive] = self.bounds;
        let possible = |(own, &[from, to, clip]): (&Range<usize>, &[usize; 3])| {
            let last = own.end.saturating_sub(leave + 1).max(own.start)..own.end;
            let other = clips.get(clip)?;
            let fits = last.contains(&from) && (other.start..other.end.saturating_sub(arrive)).contains(&to);
            fits.then_some(Bridge { from, to, clip })
        };
        let of = |(own, bridge): (&Range<usize>, &Option<[usize; 3]>)| match bridge {
            None => Some(None),
            Some(bridge) => possible((own, bridge)).map(Some),
        };
        if entry.bridges.len() != clips.len() {
            return None;
        }
        clips.iter().zip(&entry.bridges).map(of).collect()
    }

    /// Writes these bridges, and the most recent of the entries that were kept before.
    pub fn write(&self, bridges: &[Option<Bridge>]) {
        let mut entries = self.entries().unwrap_or_default();
        entries.retain(|entry| entry.key != self.name());
        let bridges = bridges.iter().map(|bridge| bridge.map(|Bridge { from, to, clip }| [from, to, clip])).collect();
        entries.push_front(Entry { key: self.name(), bridges });
        let mut room = MAX_FILE - 32; // for the checksum and brackets
        let of = |entry: &Entry| serde_json::to_string(entry).expect("entries are plain data");
        let fits = |json: &String| {
            room = room.saturating_sub(json.len() as u64 + 1);
            room > 0
        };
        let kept: Vec<String> = entries.iter().map(of).take_while(fits).collect();
        let json = format!("[{}]", kept.join(","));
        let _ = atomic::write(&self.path, format!("{:08x}\n{json}\n", crc32c::crc32c(json.as_bytes())).as_bytes());
    }

    fn name(&self) -> String {
        format!("{:016x}", self.key)
    }

    /// All entries of the file.
    fn entries(&self) -> Option<VecDeque<Entry>> {
        let text = files::text(&self.path, MAX_FILE).ok()?;
        let (crc, json) = text.trim_end().split_once('\n')?;
        (u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(json.as_bytes())))
            .then(|| serde_json::from_str(json).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_are_read_back_for_the_same_clips_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("walk.npz");
        let frames: Vec<f32> = (0..80).map(|i| i as f32).collect();
        let (clips, scale, bounds) = ([0..40, 40..80], [1.0], [5, 10]);
        let cache = Cache::new(&data, &frames, &clips, &scale, bounds);
        assert!(cache.read(&clips).is_none());
        let bridges = [Some(Bridge { from: 38, to: 45, clip: 1 }), None];
        cache.write(&bridges);
        assert_eq!(cache.read(&clips).as_deref(), Some(&bridges[..]));

        let other = |frames: &[f32], clips: &[Range<usize>], scale: f64| {
            let cache = Cache::new(&data, frames, clips, &[scale], bounds);
            (cache.read(clips), cache)
        };
        let changed: Vec<f32> = frames.iter().map(|x| x + f32::from(*x == 7.0)).collect();
        assert!(other(&changed, &clips, 1.0).0.is_none());
        assert!(other(&frames, &[0..41, 41..80], 1.0).0.is_none());
        let (none, second) = other(&frames, &clips, 2.0);
        assert!(none.is_none());
        second.write(&[None, None]);
        assert!(second.read(&clips).is_some() && cache.read(&clips).is_some(), "both are kept");
    }

    #[test]
    fn a_damaged_or_impossible_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("walk.npz");
        let clips = [0..40, 40..80];
        let cache = Cache::new(&data, &[0.0; 80], &clips, &[1.0], [5, 10]);
        let kept = |bridge| {
            cache.write(&[Some(bridge), None]);
            cache.read(&clips).is_some()
        };
        assert!(kept(Bridge { from: 39, to: 69, clip: 1 }));
        for (from, to, clip) in [(33, 50, 1), (40, 50, 1), (39, 70, 1), (39, 50, 2), (39, 50, 0)] {
            assert!(!kept(Bridge { from, to, clip }), "{from} {to} {clip}");
        }
        assert!(kept(Bridge { from: 39, to: 69, clip: 1 }));
        let whole = files::read(&cache.path, MAX_FILE).unwrap();
        for at in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&cache.path, &bytes).unwrap();
            assert!(cache.read(&clips).is_none(), "byte {at}");
        }
        std::fs::remove_file(&cache.path).unwrap();
        std::fs::create_dir(&cache.path).unwrap();
        cache.write(&[None, None]);
        assert!(cache.read(&clips).is_none(), "a folder in its place is no error");
    }
}
