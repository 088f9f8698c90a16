//! The vector instructions that products are written with, for both number types: a thin layer over `pulp`, which
//! picks the widest set the processor has when the program runs.
#![allow(unsafe_code)]
use pulp::Simd;

/// A number that fits side by side into vector registers.
///
/// # Safety
/// `Vector` must be exactly `width` numbers without padding.
pub unsafe trait Lanes: Copy {
    /// A register of them.
    type Vector<S: Simd>: Copy;
    /// Numbers in a register.
    fn width<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// `x` in every lane.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a * b + c`, rounded once where the processor can.
    fn fma<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// The first `from.len()` lanes, the others 0.
    fn load_part<S: Simd>(simd: S, from: &[Self]) -> Self::Vector<S>;
    /// Writes the first `to.len()` lanes.
    fn store_part<S: Simd>(simd: S, to: &mut [Self], x: Self::Vector<S>);
    /// Whether [`Self::transpose4`] can be used.
    fn transposes<S: Simd>() -> bool;
    /// Sees each register as a row of groups of four lanes; group g of the result r is lane r of group g of all four.
    fn transpose4<S: Simd>(simd: S, x: [Self::Vector<S>; 4]) -> [Self::Vector<S>; 4];
}

// SAFETY: pulp's f32s is an array of f32, as its Pod bound and its lane counts say.
unsafe impl Lanes for f32 {
    type Vector<S: Simd> = S::f32s;
    #[inline(always)]
    fn splat<S: Simd>(simd: S, x: f32) -> S::f32s {
        simd.splat_f32s(x)
    }
    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(a, b, c)
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
        simd.partial_load_f32s(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, to: &mut [f32], x: S::f32s) {
        simd.partial_store_f32s(to, x)
    }
    #[inline(always)]
    fn transposes<S: Simd>() -> bool {
        !S::IS_SCALAR && matches!(S::F32_LANES, 4 | 8 | 16)
    }
    #[inline(always)]
    fn transpose4<S: Simd>(simd: S, x: [S::f32s; 4]) -> [S::f32s; 4] {
        simd.deinterleave_shfl_f32s(x)
    }
}

// SAFETY: pulp's f64s is an array of f64, as its Pod bound and its lane counts say.
unsafe impl Lanes for f64 {
    type Vector<S: Simd> = S::f64s;
    #[inline(always)]
    fn splat<S: Simd>(simd: S, x: f64) -> S::f64s {
        simd.splat_f64s(x)
    }
    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        simd.mul_add_e_f64s(a, b, c)
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[f64]) -> S::f64s {
        simd.partial_load_f64s(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, to: &mut [f64], x: S::f64s) {
        simd.partial_store_f64s(to, x)
    }
    #[inline(always)]
    fn transposes<S: Simd>() -> bool {
        false
    }
    #[inline(always)]
    fn transpose4<S: Simd>(_: S, x: [S::f64s; 4]) -> [S::f64s; 4] {
        x
    }
}
