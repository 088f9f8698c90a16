//! The machine and its user: files that the user names, memory, and output on the terminal.
pub mod atomic;
pub mod crc32c;
pub mod files;
pub mod memory;
pub mod say;
pub mod shown;
pub mod toml;
pub mod utf16;
