//! The machine and its user: files that the user names, memory, and output on the terminal.
pub mod files;
pub mod memory;
pub mod progress;
pub mod shown;
