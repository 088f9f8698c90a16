//! A reader of UTF-16, in which some editors save text, as UTF-8.
use std::io::{self, Read};

/// Bytes read at once.
const PIECE: u64 = 1 << 13;

/// The byte order of a text that begins with `start`, if it is UTF-16: it begins with a byte order
/// mark, or every second byte is 0.
pub fn order(start: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match start {
        [0xff, 0xfe, ..] | [1..=0x7f, 0, 1..=0x7f, 0, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] | [0, 1..=0x7f, 0, 1..=0x7f, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// A reader of UTF-16 that gives UTF-8.
pub(crate) struct Utf16<R> {
    reader: R,
    order: fn([u8; 2]) -> u16,
    /// Text that was decoded and not yet given out.
    text: io::Cursor<String>,
    /// The first half of a character whose second half has not been read yet.
    half: Option<u16>,
}

impl<R> Utf16<R> {
    /// Decodes `reader`, whose units of two bytes are in this order.
    pub fn new(reader: R, order: fn([u8; 2]) -> u16) -> Self {
        Utf16 { reader, order, text: io::Cursor::default(), half: None }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.text.position() == self.text.get_ref().len() as u64 {
            let mut bytes = Vec::new();
            self.reader.by_ref().take(PIECE).read_to_end(&mut bytes)?;
            if bytes.is_empty() && self.half.is_none() {
                return Ok(0);
            }
            // A single byte at the end of the file is no character.
            let mut units: Vec<u16> = self.half.take().into_iter().collect();
            units.extend(bytes.chunks_exact(2).map(|pair| (self.order)([pair[0], pair[1]])));
            if !bytes.is_empty() {
                self.half = units.pop_if(|unit| (0xd800..0xdc00).contains(unit));
            }
            let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
            self.text = io::Cursor::new(text.collect());
        }
        self.text.read(buffer)
    }
}
