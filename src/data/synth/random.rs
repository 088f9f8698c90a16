//! Random numbers (SplitMix64) and smooth noise. Only additions and multiplications are used, so
//! that the bits are the same on every machine.

#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A new generator whose numbers are independent of those that this one gives next.
    pub fn split(&mut self) -> Self {
        Random::new(self.next())
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0 .. n.
    pub fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    /// Nearly normal with mean 0 and deviation 1: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.range(0.0, 1.0)).sum::<f64>() - 6.0
    }

    /// `len` samples, `dt` seconds apart, of noise with mean 0 and deviation `amplitude`. White
    /// noise passes through three equal low-pass filters of `corner` rad/s, so that position,
    /// velocity and acceleration are continuous.
    pub fn smooth(&mut self, len: usize, dt: f64, corner: f64, amplitude: f64) -> Vec<f64> {
        let keep = 1.0 / (1.0 + corner * dt);
        // The filter passes the share 3 corner dt / 16 of white noise's variance.
        let gain = amplitude / (3.0 * corner * dt / 16.0).sqrt();
        let mut state = [0.0; 3];
        let warm_up = (12.0 / (corner * dt)) as usize;
        let mut samples = Vec::with_capacity(len);
        for i in 0..warm_up + len {
            let mut input = gain * self.normal();
            for stage in &mut state {
                *stage += (input - *stage) * (1.0 - keep);
                input = *stage;
            }
            if i >= warm_up {
                samples.push(input);
            }
        }
        samples
    }
}
