//! The two number types that everything is generic over: f32 trains, and f64 checks gradients and
//! kernels.
use crate::cpu::lanes::Lanes;
use num_traits::Float;
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

/// A floating-point number with vectors: f32 or f64.
pub trait Number:
    Float
    + Lanes
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + bytemuck::Pod
    + Default
    + Send
    + Sync
    + std::fmt::Debug
    + std::fmt::Display
    + 'static
{
    /// Rounds to this type.
    fn of(x: f64) -> Self;
    /// Widens to f64.
    fn f64(self) -> f64;
}

impl Number for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn f64(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(self) -> f64 {
        self
    }
}
