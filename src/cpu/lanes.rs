//! The vector instructions that products are written with, for both number types: a thin layer over
//! `pulp`, which picks the widest set the processor has when the program runs.
#![allow(unsafe_code)]
use pulp::{Arch, Simd};

/// Name of the widest vector instructions that this processor runs and this program has code for;
/// products use them. `None` means scalar loops. (A build whose `pulp` lacks one of these sets does
/// not compile here.)
pub(crate) fn in_use() -> Option<&'static str> {
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => Some("avx512f"),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => Some("avx2"),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => Some("neon"),
        _ => None,
    }
}

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
    /// True if [`Self::transpose4`] can be used.
    fn transposes<S: Simd>() -> bool;
    /// Transposes four registers, each a row of groups of four lanes: group g of result r holds
    /// lane r of group g of all four.
    fn transpose4<S: Simd>(simd: S, x: [Self::Vector<S>; 4]) -> [Self::Vector<S>; 4];
    /// `exp(x)`; in f32 within 1.5 units in the last place (results below 1.2e-38 within one of
    /// their own), in a form that loops over slices are vectorized with.
    fn exponential(x: Self) -> Self;
    /// `exp(x) - 1`, accurate near 0 too; in f32 within 2 units in the last place for `x <= 0.5`.
    fn exponential_m1(x: Self) -> Self;
}

/// Prefetches the cache line of this address, which need not be valid. It does nothing on
/// processors without such a hint.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which accesses nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Near-minimax (Chebyshev interpolation) for `(exp(r) - 1 - r) / r^2` on |r| <= 0.3475, within
/// 1e-09, lowest power first.
const POLYNOMIAL: [f32; 6] = [0.5, 0.166_666_67, 0.041_666_463, 0.008_333_31, 0.001_393_388_1, 0.000_198_912_47];

/// `x = n ln 2 + r` with |r| <= ln 2 / 2; returns `exp(r) - 1` and n.
#[inline(always)]
fn reduce(x: f32) -> (f32, i32) {
    // Adding 1.5 * 2^23 rounds to a whole number, which then sits in the low bits.
    const SHIFT: f32 = 12582912.0;
    // ln 2 in two parts; the first has few enough digits that its product with n is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let q = POLYNOMIAL.iter().rev().fold(0.0, |q, &c| q * r + c);
    (r + r * r * q, shifted.to_bits() as i32 - SHIFT.to_bits() as i32)
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
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
    #[inline(always)]
    fn exponential(x: f32) -> f32 {
        // Beyond these bounds the result is 0 or infinite; written so that NaN stays NaN.
        let x = if x > 90.0 { 90.0 } else { x };
        let x = if x < -105.0 { -105.0 } else { x };
        let (p, n) = reduce(x);
        // In two factors, since 2^n itself may be out of range.
        let half = n >> 1;
        (p + 1.0) * power(half) * power(n - half)
    }
    #[inline(always)]
    fn exponential_m1(x: f32) -> f32 {
        let low = if x < -20.0 { -20.0 } else { x };
        let (p, n) = reduce(if low > 80.0 { 80.0 } else { low });
        let y = power(n) * p + (power(n) - 1.0);
        if x > 80.0 { Self::exponential(x) } else { y }
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
    #[inline(always)]
    fn exponential(x: f64) -> f64 {
        x.exp()
    }
    #[inline(always)]
    fn exponential_m1(x: f64) -> f64 {
        x.exp_m1()
    }
}
