//! The little of protocol buffers that ONNX files need: fields of messages, written one after
//! another.

/// A message.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a whole number.
    pub fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// Adds text, bytes or a message.
    pub fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Adds bytes or messages under one field.
    pub fn all<T: AsRef<[u8]>>(self, field: u64, items: impl IntoIterator<Item = T>) -> Self {
        items.into_iter().fold(self, |message, item| message.bytes(field, item))
    }

    /// Adds whole numbers under one field.
    pub fn numbers(self, field: u64, values: impl IntoIterator<Item = i64>) -> Self {
        values.into_iter().fold(self, |message, value| message.number(field, value))
    }

    /// The written bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
