//! TensorBoard event files: records framed as TFRecord, each an `Event` protobuf encoded by hand. A
//! record is one slice of bytes, so that a reader of a running run finds at most a torn last
//! record.
use crate::host::crc32c::crc32c;
use crate::run::record::Record;

/// Buckets of a histogram.
const BUCKETS: usize = 30;

/// The first record of an event file. `wall_time` is in seconds since 1970.
pub fn file_version(wall_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time);
    event.bytes(3, b"brain.Event:2");
    frame(&event.0)
}

/// One record with all values of an epoch; its step is the epoch. Its length depends on which
/// numbers there are, not on their values or on `wall_time` (seconds since 1970). So after a run
/// was cut back and continued, a reader that was further on still stands at the start of a record.
pub fn epoch(record: &impl Record, wall_time: f64) -> Vec<u8> {
    let mut summary = Message::default();
    record.scalars().iter().for_each(|(tag, value)| summary.message(1, scalar(tag, *value)));
    for (tag, values) in record.histograms().into_iter().filter(|(_, values)| !values.is_empty()) {
        summary.message(1, histogram(tag, values));
    }
    let mut event = Message::default();
    event.double(1, wall_time);
    event.int(2, record.number() as u64);
    event.message(5, summary);
    frame(&event.0)
}

/// A TFRecord: length (u64), its masked checksum, `payload`, its masked checksum; all little
/// endian.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(payload);
    record.extend(masked(payload).to_le_bytes());
    record
}

/// Number of leading bytes of a file that are whole records.
pub fn whole(file: &[u8]) -> usize {
    let mut end = 0;
    while let Some((length, rest)) = file[end..].split_first_chunk::<8>() {
        let payload = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let size = payload.saturating_add(16);
        if !rest.starts_with(&masked(length).to_le_bytes()) || file.len() - end < size {
            break;
        }
        end += size;
    }
    end
}

/// TFRecord's checksum: a CRC-32C rotated and shifted, so that a file of such records can itself be
/// checksummed.
pub fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Summary.Value` with a `simple_value`.
fn scalar(tag: &str, value: f64) -> Message {
    let mut message = Message::default();
    message.bytes(1, tag.as_bytes());
    message.float(2, value as f32);
    message
}

/// `Summary.Value` with a `HistogramProto` of equal buckets from the smallest to the largest finite
/// value.
fn histogram(tag: &str, values: &[f64]) -> Message {
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    let (min, max) = finite().fold((f64::MAX, f64::MIN), |(min, max), x| (min.min(x), max.max(x)));
    let (min, max) = if min <= max { (min, max) } else { (0.0, 0.0) };
    let width = (max - min) / BUCKETS as f64;
    let mut counts = [0.0; BUCKETS];
    for x in finite() {
        counts[(((x - min) / width) as usize).min(BUCKETS - 1)] += 1.0;
    }
    let limits: [f64; BUCKETS] = std::array::from_fn(|bucket| match bucket + 1 {
        BUCKETS => max,
        edge => min + edge as f64 * width,
    });
    let mut proto = Message::default();
    proto.double(1, min);
    proto.double(2, max);
    proto.double(3, counts.iter().sum());
    proto.double(4, finite().sum());
    proto.double(5, finite().map(|x| x * x).sum());
    proto.bytes(6, bytemuck::cast_slice(&limits));
    proto.bytes(7, bytemuck::cast_slice(&counts));
    let mut message = Message::default();
    message.bytes(1, tag.as_bytes());
    message.message(5, proto);
    message
}

/// A protobuf message being written. The methods take field numbers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn message(&mut self, field: u64, message: Message) {
        self.bytes(field, &message.0);
    }
}
