//! The time that each row of a plan takes in one launch, for benchmarks. With
//! `MVAE_TIMELINE=IMAGE,FILE`, engine persistent runs the kernel of this image, compiled with
//! `-DTIMELINE`, which records the clock as it goes. The program then writes the records to the
//! file, a line of JSON for each row.
use super::Cuda;
use super::open::Module;
use crate::{Error, Result, host::files};
use cudarc::driver::{result, sys};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The rows of a table that was launched, each with its kernel and how many rounds late it is, and
/// the number of blocks.
pub(crate) type Noted = (Vec<(&'static str, u32)>, usize);

/// Number of clock readings that a block records for a row; as in `kernels/run_plan.cu`.
const NOTES: usize = 4;
/// Largest image in bytes.
const LARGEST: u64 = 64 << 20;

/// The image to run, and the file to write.
pub(crate) struct Asked {
    pub image: Vec<u8>,
    pub file: PathBuf,
}

/// Reads `MVAE_TIMELINE`. Errors: it names no file, or one that cannot be read.
pub fn asked() -> Result<Option<Asked>> {
    let Some(value) = env::var_os("MVAE_TIMELINE") else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    let (image, file) =
        value.split_once(',').ok_or_else(|| Error::Usage(format!("MVAE_TIMELINE is {value}, expected IMAGE,FILE")))?;
    let bytes = files::read(Path::new(image), LARGEST).map_err(Error::io(Path::new(image), "cannot read"))?;
    Ok(Some(Asked { image: [bytes, vec![0]].concat(), file: file.into() }))
}

impl Cuda {
    /// Writes the timeline of the last launches. Errors: the image has no such memory, the file
    /// cannot be written.
    pub(super) fn write_timeline(&self, module: &Module, noted: Option<Noted>, file: &Path) -> Result<()> {
        let fault = |e| self.fault("reading the timeline", e);
        let (mut address, mut bytes) = (0, 0);
        // SAFETY: the module is loaded, and the name ends in a zero.
        unsafe { sys::cuModuleGetGlobal_v2(&mut address, &mut bytes, module.handle, c"timeline".as_ptr()) }
            .result()
            .map_err(fault)?;
        let mut words = vec![0u64; bytes / 8];
        // SAFETY: as long as the memory; the copy is over before it is looked at.
        unsafe { result::memcpy_dtoh_async(&mut words, address, self.stream.0) }.map_err(fault)?;
        self.wait("reading the timeline")?;
        let Some((rows, blocks)) = noted else { return Ok(()) };
        let mut lines = String::new();
        let (n, round) = (rows.len(), rows.len() * blocks * NOTES);
        for (row, (kernel, late)) in rows.into_iter().enumerate() {
            let (mut notes, mut sums, mut slowest, mut rounds) = (0.0, [0.0; 3], 0.0, 0.0);
            for of_round in words.chunks_exact(round) {
                let of_row = of_round.chunks_exact(blocks * NOTES).nth(row).expect("there are as many rows");
                let mut most = 0u64;
                for times in of_row.chunks_exact(NOTES).filter(|times| times.iter().all(|time| *time > 0)) {
                    let spans = [0, 1, 2].map(|i| times[i + 1].saturating_sub(times[i]));
                    sums.iter_mut().zip(spans).for_each(|(sum, span)| *sum += span as f64);
                    (notes, most) = (notes + 1.0, most.max(spans[0]));
                }
                (slowest, rounds) = (slowest + most as f64, rounds + if most > 0 { 1.0 } else { 0.0 });
            }
            let [work, fetch, wait] = sums.map(|sum| sum / f64::max(notes, 1.0));
            let line = json!({
                "row": row, "of": n, "kernel": kernel, "late": late, "blocks": blocks, "work": work,
                "slowest": slowest / f64::max(rounds, 1.0), "fetch": fetch, "wait": wait,
            });
            lines += &format!("{line}\n");
        }
        fs::write(file, lines).map_err(Error::io(file, "cannot write"))
    }
}
