//! Arithmetic on a CPU, for the definitions of operations: numbers ([`number`], [`real`]), threads
//! ([`team`]), vectors ([`vector`], [`lanes`]) and matrix products ([`gemm`]).
pub mod activation;
pub mod gemm;
pub(crate) mod lanes;
pub mod number;
pub mod real;
pub mod team;
pub mod vector;
