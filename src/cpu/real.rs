//! The two number types that all code is generic over: f32 trains, f64 is what gradients and
//! kernels are checked against.
use crate::cpu::gemm::Multiply;
use crate::cpu::number::Number;

/// f32 or f64: a number of which there are matrix products.
pub trait Real: Number + Multiply {}

impl Real for f32 {}
impl Real for f64 {}
