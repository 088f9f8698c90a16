//! The machine, and the person at it: files that a person names, memory, and what is shown.
pub mod files;
pub mod memory;
pub mod progress;
pub mod shown;
