//! Generators of hostile files, made by changing good ones.
#![allow(dead_code)] // each test uses a part
use mvae_fast::host::crc32c::crc32c;
use serde_json::{Value, json};

/// A checkpoint with changed metadata and a matching checksum.
pub fn crafted(whole: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let (header, data) = whole[8..].split_at(length);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let mut tensors = header.as_object_mut().unwrap().clone();
    let own = tensors.remove("__metadata__").unwrap();
    let mut meta: Value = serde_json::from_str(own["mvae-fast"].as_str().unwrap()).unwrap();
    meta.as_object_mut().unwrap().remove("crc32c");
    change(&mut meta);
    let meta = format!("{{\"crc32c\":\"00000000\",{}", &meta.to_string()[1..]);
    let meta = json!({ "mvae-fast": meta }).to_string();
    let rest = Value::Object(tensors).to_string();
    let mut header = format!("{{\"__metadata__\":{meta},{}", &rest[1..]).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], &header, data].concat();
    let crc = format!("{:08x}", crc32c(&bytes));
    let stamp = br#"{\"crc32c\":\""#;
    let at = bytes.windows(stamp.len()).position(|window| window == stamp).unwrap() + stamp.len();
    bytes[at..at + 8].copy_from_slice(crc.as_bytes());
    bytes
}

/// Random numbers, reproducible by seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `most`, which must be above 0.
    pub fn below(&mut self, most: usize) -> usize {
        (self.bits() % most as u64) as usize
    }

    /// A random element of a list.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Words that parsers often fail on.
const WORDS: [&str; 32] = [
    "0",
    "-1",
    "1e308",
    "1e-320",
    "-0.0",
    "nan",
    "inf",
    "18446744073709551615",
    "9223372036854775808",
    "65536",
    "4294967296",
    "99999999999999999999",
    "0.5",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[[1, 2], []]",
    "\u{0}",
    "\r\n",
    "\u{1a}",
    "\u{feff}",
    "é\u{301}",
    "{",
    "}",
    "\"",
    "'''",
    "CHANNELS 0",
    "Frames: 1000000000",
    "End Site",
    ",,",
    "= ",
];

/// Bytes with some mutations: some changed, cut, doubled or moved, words inserted, numbers made
/// huge. Sometimes nothing is changed.
pub fn mutated(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let (mut bytes, changes) = (bytes.to_vec(), random.below(16));
    for _ in 0..changes.div_ceil(4) {
        let (at, kind) = (random.below(bytes.len() + 1), random.below(8));
        let until = (at + 1 + random.below(64)).min(bytes.len()).max(at);
        match kind {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = *random.one(&[0, 1, 9, 10, 32, 45, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..until)),
            4 => {
                let (part, to) = (bytes[at..until].to_vec(), random.below(bytes.len() + 1));
                bytes.splice(to..to, part);
            }
            5 => {
                let number = *random.one(&[0, 1, 46, 64, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX, u64::MAX >> 1]);
                let until = (at + (1 << random.below(4))).min(bytes.len());
                bytes[at..until].copy_from_slice(&number.to_le_bytes()[..until - at]);
            }
            6 => {
                // Replace one word by another.
                let word = |byte: &&u8| !byte.is_ascii_whitespace() && !b",:[]{}=()".contains(byte);
                let end = at + bytes[at..].iter().take_while(word).count();
                bytes.splice(at..end, random.one(&WORDS).bytes());
            }
            _ => drop(bytes.splice(at..at, random.one(&WORDS).bytes())),
        }
    }
    bytes
}

/// Changes a random leaf of a JSON value.
pub fn changed(random: &mut Random, value: &mut Value) {
    let numbers =
        [json!(0), json!(-1), json!(1e308), json!(u64::MAX), json!(65536), json!(16000), json!(0.5), json!(1)];
    match value {
        Value::Object(keys) if !keys.is_empty() && random.below(12) > 0 => {
            let key = random.one(&keys.keys().cloned().collect::<Vec<_>>()).clone();
            match random.below(20) {
                0 => drop(keys.remove(&key)),
                _ => changed(random, &mut keys[&key]),
            }
        }
        Value::Array(list) if !list.is_empty() && random.below(6) > 0 => {
            let at = random.below(list.len());
            match random.below(8) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                _ => changed(random, &mut list[at]),
            }
        }
        Value::Number(_) => *value = random.one(&numbers).clone(),
        _ => *value = random.one(&[json!(null), json!("x"), json!([]), json!({}), json!(true), json!(0)]).clone(),
    }
}
