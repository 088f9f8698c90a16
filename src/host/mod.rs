//! The machine and its user: files that the user names, arrays in them, memory, and output on the
//! terminal.
pub mod atomic;
pub mod crc32c;
pub mod files;
pub(crate) mod lock;
mod machine;
pub mod memory;
pub(crate) mod npy;
pub mod say;
pub mod shown;
pub(crate) mod template;
pub mod toml;
pub(crate) mod utf16;
pub(crate) mod zip;
