//! Checkpoints: saved values are loaded, damaged files are refused, and neither takes memory it
//! does not need.
use crate::allocations::peak_of;
use mvae_fast::Error;
use mvae_fast::checkpoint::{Checkpoint, Data, FORMAT, Fingerprint, Meta, Progress, Tensor};
use mvae_fast::config::{ModelConfig, Normalization, Variant};
use mvae_fast::host::crc32c::crc32c;
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn model() -> ModelConfig {
    ModelConfig::published(Variant::Mixture)
}

fn meta(learning_rate: f64, step: u64) -> Meta {
    let config = serde_json::json!({ "learning_rate": learning_rate, "preset": "paper" });
    let progress = Progress {
        epoch: 3,
        minibatch: 17,
        rollout_step: 3,
        step,
        elapsed_seconds: learning_rate.abs() / 3.0, // finite, as in a run
        log_lengths: BTreeMap::from([("metrics.jsonl".to_owned(), step)]),
        best: Some(learning_rate / 7.0),
        data: Fingerprint { frames: 100, features: 267, crc32c: 7 },
    };
    Meta::new(model(), Normalization::Zscore, config, Some(progress))
}

fn small() -> Checkpoint<'static> {
    let tensors = vec![
        Tensor::f32("decoder.b0", &[2, 3], vec![1.0, -2.0, 3.5, f32::MIN_POSITIVE, 0.0, 7.0]),
        Tensor::f64("normalization.avg", &[3], vec![0.1, 0.2, 0.3]),
        Tensor { name: "trainer.order".into(), shape: vec![2], data: Data::I64(vec![5, -6].into()) },
    ];
    Checkpoint { tensors, meta: Some(meta(1e-4, 1000)) }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    (folder, path)
}

/// Name, shape, type and bits of each tensor, by name.
fn content(checkpoint: &Checkpoint) -> BTreeMap<String, (Vec<usize>, &'static str, Vec<u64>)> {
    let bits = |data: &Data| match data {
        Data::F32(x) => ("f32", x.iter().map(|x| x.to_bits().into()).collect()),
        Data::F64(x) => ("f64", x.iter().map(|x| x.to_bits()).collect()),
        Data::I64(x) => ("i64", x.iter().map(|x| *x as u64).collect()),
    };
    let tensors = checkpoint.tensors.iter();
    tensors
        .map(|tensor| {
            let (kind, bits) = bits(&tensor.data);
            (tensor.name.clone(), (tensor.shape.clone(), kind, bits))
        })
        .collect()
}

/// Loading must fail, as a checkpoint error on one line that names the file.
fn refused(path: &Path) -> String {
    let error = Checkpoint::load(path).expect_err("the file was to be refused");
    let message = error.to_string();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
    assert!(message.contains("last.safetensors") && !message.contains('\n'), "{message}");
    message
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn tensors() -> impl Strategy<Value = Vec<Tensor<'static>>> {
    let shape = prop::collection::vec(0usize..5, 0..4);
    let tensor = (shape, 0..3, any::<u64>()).prop_map(|(shape, kind, seed)| {
        let elements = shape.iter().product::<usize>() as u64;
        let bits = (0..elements).map(|k| (seed ^ k).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let data = match kind {
            0 => Data::F32(bits.map(|bits| f32::from_bits(bits as u32)).collect()),
            1 => Data::F64(bits.map(f64::from_bits).collect()),
            _ => Data::I64(bits.map(|bits| bits as i64).collect()),
        };
        Tensor { name: String::new(), shape, data }
    });
    prop::collection::vec(tensor, 0..6).prop_map(|mut tensors| {
        tensors.iter_mut().enumerate().for_each(|(k, tensor)| tensor.name = format!("tensor \"{k}\""));
        tensors
    })
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_saved_is_loaded(
        tensors in tensors(),
        learning_rate in prop::num::f64::NORMAL,
        step in 0..1u64 << 53,
        with_meta: bool,
    ) {
        let (_folder, path) = folder();
        let saved = Checkpoint { tensors, meta: with_meta.then(|| meta(learning_rate, step)) };
        saved.save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        prop_assert_eq!(content(&loaded), content(&saved));
        prop_assert_eq!(loaded.meta, saved.meta);
    }
}

proptest! {
    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400), header: bool) {
        let (_folder, path) = folder();
        let bytes = if header { with_header(&String::from_utf8_lossy(&noise), &[]) } else { noise };
        fs::write(&path, bytes).unwrap();
        refused(&path);
    }

    #[test]
    fn several_damaged_bytes_are_refused(at in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..9)) {
        static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let (_folder, path) = folder();
            small().save(&path).unwrap();
            fs::read(&path).unwrap()
        });
        let (_folder, path) = folder();
        let mut bytes = WHOLE.clone();
        at.iter().for_each(|(at, flip)| bytes[at.index(WHOLE.len())] ^= flip);
        prop_assume!(bytes != *WHOLE);
        fs::write(&path, bytes).unwrap();
        if let Ok(loaded) = Checkpoint::load(&path) {
            prop_assert!(loaded.meta.is_none());
        }
    }
}

#[test]
fn others_open_the_file() {
    let (_folder, path) = folder();
    small().save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("decoder.b0").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[2, 3][..]));
    assert_eq!(tensor.data()[..8], [1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
    assert_eq!(tensor.data().as_ptr() as usize % 4, bytes.as_ptr() as usize % 4, "aligned in the file");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let json: serde_json::Value = serde_json::from_str(&metadata["mvae-fast"]).unwrap();
    assert_eq!((metadata.len(), &json["model"]["variant"]), (1, &"mixture".into()));
}

#[test]
fn every_flipped_bit_is_found() {
    let (_folder, path) = folder();
    small().save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let good = Checkpoint::load(&path).unwrap();
    let mut foreign = 0;
    for bit in 0..whole.len() * 8 {
        let put = |byte: u8| {
            let mut file = fs::File::options().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(bit as u64 / 8)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        put(whole[bit / 8] ^ 1 << (bit % 8));
        // A flip in the key of our metadata makes it a file of another program, with the same
        // tensors.
        if let Ok(loaded) = Checkpoint::load(&path) {
            foreign += 1;
            assert_eq!(content(&loaded), content(&good), "bit {bit}");
            assert_eq!(loaded.meta, None, "bit {bit}");
        } else {
            refused(&path);
        }
        put(whole[bit / 8]);
    }
    assert!(foreign <= 8 * "mvae-fast".len(), "{foreign} flips were not found");
}

#[test]
fn every_truncation_is_found() {
    let (_folder, path) = folder();
    small().save(&path).unwrap();
    let mut whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path);
    }
    whole.push(0);
    fs::write(&path, whole).unwrap();
    assert!(refused(&path).contains("the header says"));
}

#[test]
fn absurd_headers_are_refused_before_anything_is_allocated() {
    let (_folder, path) = folder();
    let tensor = |dtype: &str, shape: &str, from: u64, to: u64| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let huge = u64::MAX;
    let mut files: Vec<Vec<u8>> = vec![
        with_header(&tensor("F32", "[1000000000000]", 0, 4_000_000_000_000), &[0; 64]),
        with_header(&tensor("F32", &format!("[{huge},{huge}]"), 0, 64), &[0; 64]),
        with_header(&tensor("F32", &format!("[{huge},{huge},0]"), 0, 0), &[]),
        with_header(&tensor("F32", "[16]", 64, 0), &[0; 64]),
        with_header(&tensor("F32", "[15]", 4, 64), &[0; 64]),
        with_header(&tensor("F32", "[16]", 0, huge), &[0; 64]),
        with_header(&tensor("F31", "[16]", 0, 64), &[0; 64]),
        with_header(&tensor("F32", "[-16]", 0, 64), &[0; 64]),
        with_header(&tensor("F4", "[3]", 0, 1), &[0; 1]),
        with_header(&"[".repeat(100_000), &[]),
        with_header(r#"{"__metadata__":{"mvae-fast":"{}"}}"#, &[]),
        with_header(r#"{"__metadata__":{"mvae-fast":"{\"crc32c\":\"00000000"}}"#, &[]),
    ];
    for length in [9, 1 << 20, 1 << 40, huge - 8, huge] {
        files.push([&u64::to_le_bytes(length)[..], b"{}      "].concat());
    }
    for bytes in files {
        fs::write(&path, &bytes).unwrap();
        let (message, peak) = peak_of(|| refused(&path));
        assert!(peak < 65_536 + 4 * bytes.len(), "{peak} bytes held for {}: {message}", bytes.len());
    }
}

#[test]
fn neither_save_nor_load_takes_memory_it_does_not_need() {
    let (_folder, path) = folder();
    let weights: Vec<f32> = (0..1_000_000).map(|k| k as f32).collect();
    let names = ["decoder.w0", "adam.m.decoder.w0", "adam.v.decoder.w0"];
    let tensors = names.map(|name| Tensor::f32(name, &[1000, 1000], &weights[..])).to_vec();
    let saved = Checkpoint { tensors, meta: Some(meta(1e-4, 9)) };
    let ((), saving) = peak_of(|| saved.save(&path).unwrap());
    assert!(saving < 64 << 10, "{saving} bytes held while saving");
    let (loaded, loading) = peak_of(|| Checkpoint::load(&path).unwrap());
    assert!(loading < (12_000_000 + (64 << 10)), "{loading} bytes held while loading");
    assert!(loaded == saved);
}

#[test]
fn a_reference_state_dict_loads_without_metadata() {
    let (_folder, path) = folder();
    let half: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    let brain: Vec<u8> = [0.5f32, 3.0].iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
    let mut tensors = vec![
        ("half", TensorView::new(Dtype::F16, vec![2], &half).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![1, 2], &brain).unwrap()),
    ];
    safetensors::serialize_to_file(tensors.clone(), None, &path).unwrap();
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded.meta, None);
    assert_eq!(loaded.get("half"), Some(&Tensor::f32("half", &[2], vec![1.5, -2.0])));
    assert_eq!(loaded.get("brain"), Some(&Tensor::f32("brain", &[1, 2], vec![0.5, 3.0])));

    tensors.push(("mask", TensorView::new(Dtype::BOOL, vec![2], &[0, 1]).unwrap()));
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    assert!(refused(&path).contains("tensor mask has elements of type"));
}

#[test]
fn a_newer_format_is_named() {
    let (_folder, path) = folder();
    small().save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let place =
        |bytes: &[u8], what: &str| bytes.windows(what.len()).position(|w| w == what.as_bytes()).unwrap() + what.len();
    let format = place(&bytes, r#"\"format\":"#);
    assert_eq!(bytes[format], b'0' + FORMAT as u8);
    bytes[format] += 1;
    let stamp = place(&bytes, r#"\"crc32c\":\""#);
    bytes[stamp..stamp + 8].fill(b'0');
    let crc = crc32c(&bytes);
    bytes[stamp..stamp + 8].copy_from_slice(format!("{crc:08x}").as_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(refused(&path).contains("use a newer mvae-fast"));
}

#[test]
fn what_could_not_be_loaded_is_not_saved() {
    let (_folder, path) = folder();
    let one = |name: String| Tensor::f32(name, &[1], vec![1.0]);
    let plain = |tensors| Checkpoint { tensors, meta: None };
    let mut newer = small();
    newer.meta.as_mut().unwrap().format = FORMAT + 1;
    let mut nan = small();
    nan.meta.as_mut().unwrap().progress.as_mut().unwrap().elapsed_seconds = f64::NAN;
    for (checkpoint, what) in [
        (plain((0..1100).map(|k| one(format!("{k:065000}"))).collect()), "expected at most 67108864"),
        (plain(vec![one("__metadata__".into())]), "the header is not safetensors"),
        (newer, "written in format 2"),
        (nan, "elapsed_seconds"),
    ] {
        small().save(&path).unwrap();
        let error = checkpoint.save(&path).unwrap_err();
        assert!(error.exit_code() == 4 && error.to_string().contains(what), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(content(&Checkpoint::load(&path).unwrap()) == content(&small()), "the old file is still there");
    }
}

#[test]
fn copies_check_name_and_shape() {
    let (_folder, path) = folder();
    let checkpoint = small();
    let mut wide = [0f64; 6];
    checkpoint.copy(&path, "decoder.b0", &[2, 3], &mut wide).unwrap();
    assert_eq!(wide[..3], [1.0, -2.0, 3.5]);
    let mut narrow = [0f32; 3];
    checkpoint.copy(&path, "normalization.avg", &[3], &mut narrow).unwrap();
    assert_eq!(narrow, [0.1, 0.2, 0.3]);
    let error = checkpoint.copy(&path, "decoder.b0", &[3, 2], &mut wide).unwrap_err().to_string();
    assert!(error.contains("tensor decoder.b0 has shape [2, 3], expected [3, 2]"), "{error}");
    let error = checkpoint.copy(&path, "decoder.b9", &[6], &mut wide).unwrap_err().to_string();
    assert!(error.contains("tensor decoder.b9 is missing"), "{error}");
}

#[test]
fn what_is_no_file_is_refused() {
    let (folder, path) = folder();
    assert!(refused(&path).contains("no such file"));
    fs::create_dir(&path).unwrap();
    assert!(refused(&path).contains("not a file"));
    assert!(small().save(&folder.path().join("missing/last.safetensors")).is_err());
}
