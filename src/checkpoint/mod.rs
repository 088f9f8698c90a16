//! Checkpoints, each one safetensors file.
//!
//! It holds the parameters under the reference's state-dict names (`decoder.w0`), statistics
//! (`normalization.avg`), optimizer state (`adam.m.decoder.w0`) and trainer state (`trainer.*`).
//! One metadata value is JSON ([`Meta`]), which opens with the checksum of the file.
mod flaw;
pub mod foreign;
pub mod state;

use crate::config::{ModelConfig, Normalization};
use crate::cpu::real::Real;
use crate::data::Dataset;
use crate::host::atomic;
use crate::host::crc32c;
use crate::model::layout::Layout;
use crate::motion::{Rig, Root};
use crate::{Error, Result, host::files, host::memory};
use foreign::Described;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// Version of the metadata. A reader refuses a newer one.
pub const FORMAT: u32 = 1;
/// Metadata key of our JSON.
const KEY: &str = "mvae-fast";
/// The header of our files up to the checksum. The checksum is eight hexadecimal digits, which
/// count as zeros when it is computed.
const PREFIX: &[u8] = br#"{"__metadata__":{"mvae-fast":"{\"crc32c\":\""#;
const CHECKSUM_LEN: usize = 8;
/// Longest header that is read, bytes; ours have some ten thousand.
const MAX_HEADER_LEN: u64 = 64 << 20;

/// The content of a checkpoint. Tensors may borrow the data they are saved from; loaded tensors own
/// theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint<'a> {
    /// Tensors with distinct names, in any order.
    pub tensors: Vec<Tensor<'a>>,
    /// The model and the run they belong to; `None` in a foreign file, such as a reference state
    /// dict.
    pub meta: Option<Meta>,
}

/// A named tensor, row major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    /// Name in the file.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many elements as the shape says.
    pub data: Data<'a>,
}

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Data<'a> {
    /// Single precision; half precisions (f16, bf16) are read as this.
    F32(Cow<'a, [f32]>),
    /// Double precision.
    F64(Cow<'a, [f64]>),
    /// Integers.
    I64(Cow<'a, [i64]>),
}

/// Metadata: the model and the run that the tensors belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The writer's [`FORMAT`].
    pub format: u32,
    /// Version of mvae-fast that wrote the file.
    pub version: String,
    /// Sizes of the network.
    pub model: ModelConfig,
    /// How features are normalised. The statistics are the tensors
    /// `normalization.{max,min,avg,std}`, and `.weight` where features count differently.
    pub normalization: Normalization,
    /// The whole configuration of the training run.
    pub config: serde_json::Value,
    /// Where training stands; `None` in a file from which training cannot resume.
    pub progress: Option<Progress>,
    /// The character whose poses the features are.
    pub rig: Option<Rig>,
    /// Names of the training clips, when known.
    pub clip_names: Vec<String>,
    /// Position and facing of each clip's first frame, when known.
    pub clip_roots: Vec<Root>,
}

impl Meta {
    /// Metadata in this crate's format and version, without rig, clip names or clip roots.
    pub fn new(
        model: ModelConfig,
        normalization: Normalization,
        config: serde_json::Value,
        progress: Option<Progress>,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (clip_names, clip_roots) = Default::default();
        Meta { format: FORMAT, version, model, normalization, config, progress, rig: None, clip_names, clip_roots }
    }

    /// True for a controller, whose configuration has a task; false for a Motion VAE.
    pub(crate) fn is_controller(&self) -> bool {
        self.config.get("task").is_some()
    }
}

/// Where training stands: with the tensors, all that a resumed run needs to continue as if it had
/// never stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epoch under way, from 1.
    pub epoch: usize,
    /// Finished mini-batches of that epoch.
    pub minibatch: usize,
    /// Finished steps of the current mini-batch's rollout.
    pub rollout_step: usize,
    /// Optimizer steps so far.
    pub step: u64,
    /// Seconds of training so far.
    pub elapsed_seconds: f64,
    /// Length of each log in bytes ([`crate::run::logs::Logs::sync`]).
    pub log_lengths: BTreeMap<String, u64>,
    /// Smallest held-out error so far.
    pub best: Option<f64>,
    /// Fingerprint of the training data.
    pub data: Fingerprint,
}

impl Progress {
    /// Progress before the first step.
    pub fn start(data: Fingerprint) -> Self {
        let log_lengths = BTreeMap::new();
        Progress {
            epoch: 1,
            minibatch: 0,
            rollout_step: 0,
            step: 0,
            elapsed_seconds: 0.0,
            log_lengths,
            best: None,
            data,
        }
    }
}

/// A fingerprint that tells data sets apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Frames.
    pub frames: usize,
    /// Features of a frame.
    pub features: usize,
    /// CRC-32C of the raw features and of the clips' ends.
    pub crc32c: u32,
}

impl Fingerprint {
    /// The fingerprint of a data set as read, before normalisation.
    pub fn of(set: &Dataset) -> Self {
        let ends: Vec<u64> = set.end_indices.iter().map(|&end| end as u64).collect();
        let crc32c = crc32c::extend(crc32c::crc32c(bytemuck::cast_slice(&set.frames)), bytemuck::cast_slice(&ends));
        Fingerprint { frames: set.num_frames(), features: set.frame_size, crc32c }
    }
}

impl<'a> Tensor<'a> {
    /// A single-precision tensor, borrowed or owned.
    pub fn f32(name: impl Into<String>, shape: &[usize], data: impl Into<Cow<'a, [f32]>>) -> Self {
        Tensor { name: name.into(), shape: shape.to_vec(), data: Data::F32(data.into()) }
    }

    /// A double-precision tensor, borrowed or owned.
    pub fn f64(name: impl Into<String>, shape: &[usize], data: impl Into<Cow<'a, [f64]>>) -> Self {
        Tensor { name: name.into(), shape: shape.to_vec(), data: Data::F64(data.into()) }
    }

    fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I64(_) => Dtype::I64,
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(data) => bytemuck::cast_slice(data),
            Data::F64(data) => bytemuck::cast_slice(data),
            Data::I64(data) => bytemuck::cast_slice(data),
        }
    }
}

impl Checkpoint<'_> {
    /// Writes the file whole ([`atomic::write_with`]), streaming the tensors without a copy of
    /// them. Errors: content that [`Checkpoint::load`] would refuse; then nothing is written.
    /// Panics when a shape does not fit its data, or two tensors share a name.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<_> = self.tensors.iter().collect();
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype().bitsize()));
        let mut header = self.header(&tensors);
        let data_len: u64 = tensors.iter().map(|tensor| tensor.bytes().len() as u64).sum();
        let metadata = parse_header(&header, data_len).map_err(|what| {
            let mend = "nothing was written; fewer tensors (see --experts) or data files make a shorter header";
            Error::checkpoint(path, format!("would be a file that cannot be read: {what}"), mend)
        })?;
        if let Some(json) = own_metadata(&metadata) {
            parse_meta(path, json)?;
        }
        let length = (header.len() as u64).to_le_bytes();
        if self.meta.is_some() {
            let crc = tensors.iter().fold(crc32c::extend(crc32c::crc32c(&length), &header), |crc, tensor| {
                crc32c::extend(crc, tensor.bytes())
            });
            header[PREFIX.len()..][..CHECKSUM_LEN].copy_from_slice(format!("{crc:08x}").as_bytes());
        }
        atomic::write_with(path, |file| {
            file.write_all(&length)?;
            file.write_all(&header)?;
            tensors.iter().try_for_each(|tensor| file.write_all(tensor.bytes()))
        })
    }

    /// The header with zeros for its checksum. It is padded, and wide elements come first, so that
    /// the tensors are aligned.
    fn header(&self, tensors: &[&Tensor]) -> Vec<u8> {
        let mut end = 0;
        let tensors = tensors.iter().map(|tensor| {
            let start = end;
            end += tensor.bytes().len();
            let (dtype, shape) = (tensor.dtype(), tensor.shape.clone());
            (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
        });
        let tensors = tensors.collect();
        let metadata = self.meta.as_ref().map(|meta| {
            let json = serde_json::to_string(meta).expect("metadata is plain data");
            let zeros = "0".repeat(CHECKSUM_LEN);
            HashMap::from([(KEY.to_owned(), format!("{{\"crc32c\":\"{zeros}\",{}", &json[1..]))])
        });
        let metadata = Metadata::new(metadata, tensors).expect("every shape fits its data");
        let mut header = serde_json::to_vec(&metadata).expect("a header is plain data");
        header.resize(header.len().next_multiple_of(8), b' ');
        header
    }

    /// Reads a Motion VAE (ours or the public implementation's) or a controller of ours. Every
    /// length is checked before memory is allocated, and our files are checked against their
    /// checksum. Errors: an [`Error::Checkpoint`] that says what is wrong.
    pub fn load(path: &Path) -> Result<Checkpoint<'static>> {
        match Self::load_described(path)? {
            (_, Some(described)) if described.is_controller() => {
                let mend =
                    "give it to `mvae-fast control eval` or `generate --controller`, with --vae, --task and --data";
                Err(Error::checkpoint(path, "is a controller of the public implementation", mend))
            }
            (checkpoint, _) => Ok(checkpoint),
        }
    }

    /// Like [`Checkpoint::load`], but also returns the description in a file of the public
    /// implementation. Such a file may hold a controller.
    pub(crate) fn load_described(path: &Path) -> Result<(Checkpoint<'static>, Option<Described>)> {
        let damaged = |what: String| Error::checkpoint(path, what, "the file is damaged or no checkpoint, use another");
        let (mut file, file_len) = files::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::checkpoint(path, "no such file", "check the path"),
            ErrorKind::IsADirectory | ErrorKind::InvalidInput => {
                Error::checkpoint(path, error.to_string(), "give a .safetensors file")
            }
            _ => Error::io(path, "cannot read")(error),
        })?;
        let mut read = |bytes: &mut [u8]| file.read_exact(bytes).map_err(Error::io(path, "cannot read"));

        if file_len < 8 {
            return Err(damaged(format!("{file_len} bytes are too few for a safetensors file")));
        }
        let mut length = [0; 8];
        read(&mut length)?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER_LEN {
            let mut begin = [0; 64];
            let held = file_len.min(8 + begin.len() as u64) as usize - 8;
            read(&mut begin[..held])?;
            let begin = [&length[..], &begin[..held]].concat();
            let other = MOTION.iter().find(|(start, _)| begin.starts_with(start));
            return Err(match other {
                _ if is_pickle(&begin) => {
                    Error::checkpoint(path, "is a pickle of PyTorch (.pt), not safetensors", PICKLE)
                }
                Some((_, what)) => {
                    let mend = "give a run, or its checkpoints/last.safetensors";
                    Error::checkpoint(path, format!("is {what}, no checkpoint"), mend)
                }
                None => damaged("not a safetensors file".to_owned()),
            });
        }
        if header_len > file_len - 8 {
            return Err(damaged(format!("cut off: a header of {header_len} bytes in a file of {file_len}")));
        }
        let mut header = vec![0; header_len as usize];
        read(&mut header)?;
        let metadata = parse_header(&header, file_len - 8 - header_len).map_err(damaged)?;
        let json = own_metadata(&metadata);
        memory::require(metadata.data_len() as u64, |words| {
            Error::checkpoint(path, format!("its tensors take {words}"), "use a machine with more memory")
        })?;
        let stamp = header.get_mut(PREFIX.len()..PREFIX.len() + CHECKSUM_LEN);
        let stamp = stamp.map(|digits| (digits.to_vec(), digits.fill(b'0')).0);
        let mut crc = crc32c::extend(crc32c::crc32c(&length), &header);
        let mut tensors = Vec::new();
        for name in metadata.offset_keys() {
            let TensorInfo { dtype, shape, .. } = metadata.info(&name).expect("a key of its own");
            let shape = shape.clone();
            let elements = shape.iter().product();
            let mut read = |bytes: &mut [u8]| {
                read(bytes)?;
                crc = crc32c::extend(crc, bytes);
                Ok(())
            };
            let data = match dtype {
                Dtype::F32 => Data::F32(elements_of(elements, &mut read)?.into()),
                Dtype::F64 => Data::F64(elements_of(elements, &mut read)?.into()),
                Dtype::I64 => Data::I64(elements_of(elements, &mut read)?.into()),
                Dtype::F16 => Data::F32(widened(&elements_of::<f16>(elements, &mut read)?)),
                Dtype::BF16 => Data::F32(widened(&elements_of::<bf16>(elements, &mut read)?)),
                other => {
                    let what = format!("tensor {name} has elements of type {other}");
                    return Err(Error::checkpoint(path, what, "save it as F32"));
                }
            };
            tensors.push(Tensor { name, shape, data });
        }
        let Some(json) = json else {
            let described = Described::read(path, metadata.metadata().as_ref())?;
            return Ok((foreign::adopt(path, described.as_ref(), tensors)?, described));
        };
        if !header.starts_with(PREFIX) || stamp != Some(format!("{crc:08x}").into_bytes()) {
            return Err(damaged("its checksum does not fit its content".to_owned()));
        }
        Ok((Checkpoint { tensors, meta: Some(parse_meta(path, json)?) }, None))
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor<'_>> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Copies the tensor of that name and shape, rounded to `T`, into `to`. Errors: there is no
    /// such tensor, or it has another shape; the error names `path`, the file of the checkpoint.
    pub fn copy<T: Real>(&self, path: &Path, name: &str, shape: &[usize], to: &mut [T]) -> Result<()> {
        let tensor = self.shaped(path, name, shape)?;
        assert_eq!(shape.iter().product::<usize>(), to.len(), "elements of {name}");
        match &tensor.data {
            Data::F32(data) => fill(to, data, |x| T::of(x.into())),
            Data::F64(data) => fill(to, data, T::of),
            Data::I64(data) => fill(to, data, |x| T::of(x as f64)),
        }
        Ok(())
    }

    /// The numbers of the tensor of that name and shape. Errors as [`Checkpoint::copy`].
    pub fn numbers<T: Real>(&self, path: &Path, name: &str, shape: &[usize]) -> Result<Vec<T>> {
        let elements = self.shaped(path, name, shape)?.shape.iter().product();
        let mut numbers = vec![T::zero(); elements];
        self.copy(path, name, shape, &mut numbers)?;
        Ok(numbers)
    }

    /// Checks that all tensors of a network are present, before memory is reserved for them. Errors
    /// as [`Checkpoint::copy`].
    pub fn holds(&self, path: &Path, layout: &Layout) -> Result<()> {
        layout.tensors.iter().try_for_each(|tensor| self.shaped(path, &tensor.name, &tensor.shape).map(drop))
    }

    fn shaped(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&Tensor<'_>> {
        let mend = "it belongs to another model, see `mvae-fast info` on it";
        let Some(tensor) = self.get(name) else {
            return Err(Error::checkpoint(path, format!("tensor {name} is missing"), mend));
        };
        if tensor.shape != shape {
            let what = format!("tensor {name} has shape {:?}, expected {shape:?}", tensor.shape);
            return Err(Error::checkpoint(path, what, mend));
        }
        Ok(tensor)
    }
}

/// First bytes of files that are given for a checkpoint by mistake, and what they are.
const MOTION: [(&[u8], &str); 3] = [
    (b"PK\x03\x04", "a set of motion (.npz) or a zip file"),
    (b"glTF", "motion (.glb)"),
    (b"HIERARCHY", "motion (BVH)"),
];

/// Advice for a file that is a pickle.
const PICKLE: &str = "convert it with examples/convert_pt.py, where the public implementation's code can be imported";

/// True if a file with this beginning is a pickle, bare or in PyTorch's archive.
fn is_pickle(begin: &[u8]) -> bool {
    let archive = begin.starts_with(b"PK\x03\x04") && begin.windows(8).any(|name| name == b"data.pkl");
    archive || matches!(begin, [0x80, 2..=5, ..])
}

fn fill<T, U: Copy>(to: &mut [T], from: &[U], round: impl Fn(U) -> T) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = round(*from));
}

fn elements_of<T: bytemuck::Pod>(elements: usize, mut read: impl FnMut(&mut [u8]) -> Result<()>) -> Result<Vec<T>> {
    let mut data = vec![T::zeroed(); elements];
    read(bytemuck::cast_slice_mut(&mut data))?;
    Ok(data)
}

fn widened<T: Copy + Into<f32>>(data: &[T]) -> Cow<'static, [f32]> {
    data.iter().map(|x| (*x).into()).collect()
}

/// Parses a header whose tensors take `data_len` bytes. Errors: what is wrong with it.
fn parse_header(header: &[u8], data_len: u64) -> Result<Metadata, String> {
    if header.len() as u64 > MAX_HEADER_LEN {
        return Err(format!("a header of {} bytes, expected at most {MAX_HEADER_LEN}", header.len()));
    }
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| format!("the header is not safetensors: {error}"))?;
    match metadata.data_len() as u64 {
        expected if expected == data_len => Ok(metadata),
        expected => Err(format!("tensors take {data_len} bytes, the header says {expected}")),
    }
}

/// Our JSON, if the file is one of ours.
fn own_metadata(metadata: &Metadata) -> Option<&str> {
    metadata.metadata().as_ref()?.get(KEY).map(String::as_str)
}

/// Parses our JSON. The format is checked first, since a newer one may hold anything else.
fn parse_meta(path: &Path, json: &str) -> Result<Meta> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let wrong =
        |error: String| Error::checkpoint(path, format!("metadata: {error}"), "use a checkpoint of this version");
    let Format { format } = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    if format > FORMAT {
        let what = format!("written in format {format}, this is a reader of format {FORMAT}");
        return Err(Error::checkpoint(path, what, "use a newer mvae-fast"));
    }
    let meta: Meta = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| wrong(error.to_string()))?;
    meta.flaw().map_or(Ok(meta), |flaw| Err(wrong(flaw)))
}
