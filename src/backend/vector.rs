//! Elementwise loops.
