//! Counter-based random numbers. The same (seed, purpose, step, element) gives the same number on
//! every backend, in any order, on any number of threads. The generator is Philox4x32-10 of Salmon
//! et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

/// The purpose of a random number; numbers of different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial parameters; step = index of the tensor.
    Init = 1,
    /// Order of the windows; step = epoch.
    Shuffle = 2,
    /// Reparameterisation noise; step = optimizer step.
    Eps = 3,
    /// Choice between student and teacher; step = optimizer step.
    Coin = 4,
    /// Choice of the specialist that predicts; step = optimizer step.
    Pick = 5,
    /// Latents of evaluation walks; step = frame.
    Prior = 6,
    /// Starts of evaluation walks.
    Starts = 7,
    /// Inputs of gradient checks and benchmarks.
    Check = 8,
    /// Exploration of a policy; step = environment step.
    Explore = 9,
    /// Draws of a task while it goes on; step = environment step.
    Task = 10,
    /// Places where characters start anew, a block a character; step = environment step.
    Reset = 11,
    /// Keys that a sweep draws, by the checksum of their names; step = number of the draw.
    Sweep = 12,
}

/// A uniform number in [0, 1) of 24 random bits, which every float type holds exactly.
pub fn unit(bits: u32) -> f64 {
    f64::from(bits >> 8) / 16_777_216.0
}

/// Philox4x32 with 10 rounds.
pub(crate) fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = 0xD251_1F53_u64 * u64::from(c0);
        let p1 = 0xCD9E_8D57_u64 * u64::from(c2);
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The random numbers of one (seed, purpose, step).
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: [u32; 2],
    purpose: u32,
    step: u64,
}

impl Stream {
    /// The numbers of this seed, purpose and step.
    pub fn new(seed: u64, purpose: Purpose, step: u64) -> Self {
        Stream::numbered(seed, purpose as u32, step)
    }

    /// [`Stream::new`] by the number of the purpose.
    pub(crate) fn numbered(seed: u64, purpose: u32, step: u64) -> Self {
        Stream { key: [seed as u32, (seed >> 32) as u32], purpose, step }
    }

    /// Numbers `4 block .. 4 block + 4`.
    pub fn block(&self, block: u32) -> [u32; 4] {
        philox4x32([block, self.step as u32, (self.step >> 32) as u32, self.purpose], self.key)
    }

    /// 32 random bits.
    pub fn bits(&self, element: usize) -> u32 {
        self.block((element / 4) as u32)[element % 4]
    }

    /// Uniform in [0, 1).
    pub fn uniform(&self, element: usize) -> f64 {
        f64::from(self.bits(element)) / 4294967296.0
    }

    /// Standard normal numbers `4 block .. 4 block + 4`, by Box and Muller, from two pairs of
    /// uniform ones.
    pub fn normals(&self, block: u32) -> [f32; 4] {
        let b = self.block(block);
        let (x, y) = box_muller(b[0], b[1]);
        let (z, w) = box_muller(b[2], b[3]);
        [x, y, z, w]
    }

    /// The numbers 0 .. n in random order (Fisher and Yates).
    pub fn permutation(&self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            let j = (u64::from(self.bits(i)) * (i as u64 + 1)) >> 32;
            order.swap(i, j as usize);
        }
        order
    }
}

/// Two standard normal numbers from 64 random bits; the radius' uniform number is in (0, 1].
fn box_muller(a: u32, b: u32) -> (f32, f32) {
    let radius = (-2.0 * ((a as f32 + 1.0) * (1.0 / 4294967296.0)).min(1.0).ln()).sqrt();
    let (sin, cos) = (b as f32 * (std::f32::consts::TAU / 4294967296.0)).sin_cos();
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors that Random123 publishes (kat_vectors, philox4x32 10).
    #[test]
    fn known_answers() {
        for (counter, key, want) in [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([!0; 4], [!0; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ] {
            assert_eq!(philox4x32(counter, key), want);
        }
    }

    #[test]
    fn normals_are_normal() {
        let stream = Stream::new(7, Purpose::Eps, 3);
        let x: Vec<f64> = (0..50_000).flat_map(|i| stream.normals(i)).map(f64::from).collect();
        let n = x.len() as f64;
        let moment = |k: i32| x.iter().map(|v| v.powi(k)).sum::<f64>() / n;
        // Standard errors of the moments of 200,000 normal numbers are 0.0022, 0.0032, 0.0087 and
        // 0.022; five of them.
        for (k, want, tolerance) in [(1, 0.0, 0.011), (2, 1.0, 0.016), (3, 0.0, 0.044), (4, 3.0, 0.11)] {
            assert!((moment(k) - want).abs() < tolerance, "moment {k} is {}", moment(k));
        }
    }

    #[test]
    fn permutations_hold_every_number_and_differ() {
        let a = Stream::new(1, Purpose::Shuffle, 1).permutation(1000);
        let b = Stream::new(1, Purpose::Shuffle, 2).permutation(1000);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &x)| i == x as usize));
        assert_ne!(a, b);
    }
}
