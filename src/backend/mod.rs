//! Where plans run.
