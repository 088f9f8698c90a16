//! Checks of the arithmetic: gradients against central differences ([`gradcheck`]), kernels against
//! definitions ([`kernelcheck`]), whole steps of kernels against double precision ([`stepcheck`]).
//! Each gives rows of a [`report`].
pub mod gradcheck;
pub mod kernelcheck;
pub mod report;
pub(crate) mod stepcheck;
