//! Where plans run.
pub mod gemm;
pub mod lanes;
pub mod team;
pub mod vector;
