//! The hottest arithmetic, compiled for the instructions that this processor has.
use crate::registers::LANES;

/// Makes a function that takes AVX2 and FMA where the processor has them.
macro_rules! fast {
    ($(#[$doc:meta])* $name:ident($($x:ident: $type:ty),*) -> $to:ty $body:block) => {
        $(#[$doc])*
        pub fn $name($($x: $type),*) -> $to {
            #[inline(always)]
            fn plain($($x: $type),*) -> $to $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($x: $type),*) -> $to {
                    plain($($x),*)
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has them.
                    return unsafe { wide($($x),*) };
                }
            }
            plain($($x),*)
        }
    };
}

fast! {
    /// a b + c of each lane in single precision, rounded once.
    fused(a: &[u32; LANES], b: &[u32; LANES], c: &[u32; LANES]) -> [u32; LANES] {
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let [a, b, c] = [a[lane], b[lane], c[lane]].map(f32::from_bits);
            result[lane] = a.mul_add(b, c).to_bits();
        }
        result
    }
}

/// A number in single precision, cut off and not rounded, as on tensor cores.
#[inline(always)]
fn cut_off(x: f64) -> f32 {
    let nearest = x as f32;
    let over = nearest.is_finite() && f64::from(nearest).abs() > x.abs();
    f32::from_bits(nearest.to_bits() - u32::from(over))
}

fast! {
    /// The sums c + a b of a warp: a [16, 16] and b [16, 8] in bf16, c [16, 8]. Lane 4 g + t
    /// holds the parts that the PTX manual gives it for `mma.m16n8k16`.
    mma(a: [&[u32; LANES]; 4], b: [&[u32; LANES]; 2], c: [&[u32; LANES]; 4]) -> [[u32; LANES]; 4] {
        let bf16 = |bits: u32| f64::from(f32::from_bits(bits << 16));
        let (mut left, mut right, mut sums) = ([[0f64; 16]; 16], [[0f64; 8]; 16], [[0f64; 8]; 16]);
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            for i in 0..4 {
                let (row, k) = (g + i % 2 * 8, 2 * t + i / 2 * 8);
                left[row][k] = bf16(a[i][lane] & 0xffff);
                left[row][k + 1] = bf16(a[i][lane] >> 16);
                sums[g + i / 2 * 8][2 * t + i % 2] = f64::from(f32::from_bits(c[i][lane]));
            }
            for i in 0..2 {
                right[2 * t + i * 8][g] = bf16(b[i][lane] & 0xffff);
                right[2 * t + i * 8 + 1][g] = bf16(b[i][lane] >> 16);
            }
        }
        for (row, left) in sums.iter_mut().zip(&left) {
            for (x, right) in left.iter().zip(&right) {
                for (sum, y) in row.iter_mut().zip(right) {
                    *sum += x * y;
                }
            }
        }
        let mut result = [[0; LANES]; 4];
        for (i, result) in result.iter_mut().enumerate() {
            for (lane, result) in result.iter_mut().enumerate() {
                let (g, t) = (lane / 4, lane % 4);
                *result = cut_off(sums[g + i / 2 * 8][2 * t + i % 2]).to_bits();
            }
        }
        result
    }
}
