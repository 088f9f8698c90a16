//! The gradient of a layer's weights and Adam on it (Kingma and Ba, 2015), tile by tile: the
//! gradient itself is kept nowhere. This one call replaces two where gradients are kept: the
//! layer's own operation for the gradient, and [`adam`](super::adam).
use super::begin_step::StepState;
use super::recon_loss::{LOSSES, slot};
use super::sums::{column_sums, weight_tiles};
use crate::cpu::gemm::{Matrix, MatsMut, products};
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces, pieces_in};
use crate::cpu::vector::{self, AdamStep};
use crate::plan::arena::Mat as Place;
use crate::plan::{Call, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [B, R1].
        left: T [b * r1],
        /// [B, R2]; absent when R2 is 0.
        left2: T [b * r2],
        /// [B, E C1].
        right: T [b * e * c1],
        /// [B, C2]; absent when C2 is 0.
        right2: T [b * c2],
        /// The current step: step size and bias correction.
        state: StepState [1],
        /// See [`slot`]: nothing is updated once a loss was not finite.
        losses: f64 [LOSSES],
    }
    writes {
        /// [E, R1 + R2, C1 + C2] weights.
        w: T [e * (r1 + r2) * (c1 + c2)],
        /// First moments of the weights.
        m: T [e * (r1 + r2) * (c1 + c2)],
        /// Second moments of the weights.
        v: T [e * (r1 + r2) * (c1 + c2)],
        /// \[R1\] or [E C1] biases.
        bias: T [if bias_of_left == 1 { r1 } else { e * c1 }],
        /// First moments of the biases.
        bias_m: T [if bias_of_left == 1 { r1 } else { e * c1 }],
        /// Second moments of the biases.
        bias_v: T [if bias_of_left == 1 { r1 } else { e * c1 }],
        /// Gradients of the weights, for the CPU; kernels hold only those of a tile.
        gradient: T [e * (r1 + r2) * (c1 + c2)],
        /// Parts of the sum of the squared gradient. In kernels each part is that of a tile and its
        /// share of the biases.
        squares: f64 [e * (r1 + r2).div_ceil(TILE) * (c1 + c2).div_ceil(TILE)],
    }
    numbers {
        /// Decay of the first moment.
        beta1,
        /// Decay of the second moment.
        beta2,
        /// Added to the root of the second moment.
        eps,
    }
    sizes {
        /// Samples.
        b,
        /// Rows of weights by `left`.
        r1,
        /// Rows of weights by `left2`.
        r2,
        /// Columns of weights by `right`, of each expert.
        c1,
        /// Columns of weights by `right2`.
        c2,
        /// Experts.
        e,
        /// 1: the gradient of the biases is the sum of the rows of `left`; 0: of `right`.
        bias_of_left,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Number of rows and of columns of weights that a block of a kernel updates at a time.
pub(crate) const TILE: usize = 32;

/// A layer's parameters, and the factors of their gradients. The gradient of weights [E, R1 + R2,
/// C1 + C2] is [left | left2]ᵀ [right | right2]. That of biases is the sum of the rows of `left[0]`
/// or `right[0]`.
#[allow(missing_docs)]
pub struct Update<T> {
    /// [B, R1] and [B, R2], which may be absent.
    pub left: [Place<T>; 2],
    /// [B, E C1] and [B, C2], which may be absent.
    pub right: [Place<T>; 2],
    pub experts: usize,
    pub w: Place<T>,
    pub bias: Place<T>,
    /// True if biases belong to `left`, false if they belong to `right`.
    pub bias_of_left: bool,
}

/// The tensors and settings with which Adam updates.
pub struct Optimizer<T> {
    /// All parameters that it updates.
    pub values: Place<T>,
    /// First and second moments, each in the place that its value has in `values`.
    pub moments: [Place<T>; 2],
    /// The current step.
    pub state: Place<StepState>,
    /// See [`slot`].
    pub losses: Place<f64>,
    /// Decays of the first and the second moment, and the number added to the root of the second.
    pub adam: [f64; 3],
    /// Room for the gradient of the largest weights. The CPU keeps a layer's gradient there between
    /// its two passes, so that it is in a near cache.
    pub gradient: Place<T>,
}

impl<T: Real> Optimizer<T> {
    /// The moments of a range of the values.
    fn moments(&self, some: Place<T>) -> [Place<T>; 2] {
        let first = (some.offset() - self.values.offset()) / size_of::<T>();
        self.moments.map(|all| all.reshaped(all.len(), 1).rows_at(first, some.len()))
    }
}

impl<T: Real> Update<T> {
    /// Rows and columns of the weights of an expert.
    fn shape(&self) -> [usize; 2] {
        let [l1, l2] = self.left.map(|mat| mat.cols());
        let [r1, r2] = self.right.map(|mat| mat.cols());
        [l1 + l2, r1 / self.experts + r2]
    }

    /// Number of tiles, each of which has a sum of squares.
    pub fn tiles(&self) -> usize {
        let [rows, cols] = self.shape();
        self.experts * rows.div_ceil(TILE) * cols.div_ceil(TILE)
    }

    /// Appends the update; `squares` has an entry a tile.
    pub fn push(&self, plan: &mut Plan, optimizer: &Optimizer<T>, squares: Place<f64>) {
        let [rows, cols] = self.shape();
        assert_eq!(self.w.len(), self.experts * rows * cols, "weights are [experts * rows, columns]");
        assert!(self.experts == 1 || self.right[1].is_none(), "experts have no columns in common");
        let ([m, v], [bias_m, bias_v]) = (optimizer.moments(self.w), optimizer.moments(self.bias));
        let [beta1, beta2, eps] = optimizer.adam;
        let args = Args {
            left: self.left[0].into(),
            left2: self.left[1].into(),
            right: self.right[0].into(),
            right2: self.right[1].into(),
            state: optimizer.state.into(),
            losses: optimizer.losses.into(),
            w: self.w.into(),
            m: m.into(),
            v: v.into(),
            bias: self.bias.into(),
            bias_m: bias_m.into(),
            bias_v: bias_v.into(),
            gradient: optimizer.gradient.reshaped(optimizer.gradient.len(), 1).rows_at(0, self.w.len()).into(),
            squares: squares.into(),
            beta1,
            beta2,
            eps,
            b: size(self.left[0].rows()),
            r1: size(self.left[0].cols()),
            r2: size(self.left[1].cols()),
            c1: size(self.right[0].cols() / self.experts),
            c2: size(self.right[1].cols()),
            e: size(self.experts),
            bias_of_left: u32::from(self.bias_of_left),
            pad: 0,
            scalar: Default::default(),
        };
        let written = ["w", "m", "v", "bias", "bias_m", "bias_v", "gradient"].map(Output::part);
        let written = [&written[..], &[Output::addends("squares")]].concat();
        // As many threads as a block of the engine `persistent` has, so that sums of squares have
        // the same bits.
        let grids = weight_tiles(self.experts, rows, cols, self.left[0].rows(), 256);
        let call = Call::new("update", grids, &written, args, cpu::update::<T>).without(&["gradient"]);
        plan.push(call.in_shares(&[("squares", 1)]).stays(2 * TILE * TILE));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// g = [left | left2]ᵀ [right | right2] for each expert, and for the biases the sum of the
    /// rows; m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, w -= step_size m /
    /// (sqrt(v) inv_sqrt_bias2 + eps).
    pub fn update<T: Real>(v: View<'_, T>, team: &Team) {
        if slot::stands_still(v.losses) {
            return;
        }
        let View { b, r1, r2, c1, c2, e, .. } = v;
        let state = v.state[0];
        let (beta1, beta2, eps) = (v.beta1, v.beta2, v.eps);
        let step = AdamStep { beta1, beta2, step_size: state.step_size, inv_sqrt_bias2: state.inv_sqrt_bias2, eps };
        let (rows, cols) = (r1 + r2, c1 + c2);
        for (left, top, n_rows) in [(v.left, 0, r1), (v.left2, r1, r2)] {
            for (right, start, n, stride) in [(v.right, 0, c1, e * c1), (v.right2, c1, c2, c2)] {
                if n_rows > 0 && n > 0 {
                    let out = MatsMut::many(&mut v.gradient[top * cols + start..], e, rows * cols, n_rows, n, cols);
                    let right = |expert: usize| Matrix::new(&right[expert * n..], b, n, stride);
                    products(team, out, false, 1, |expert, _| {
                        (Matrix::new(left, b, n_rows, n_rows).t(), right(expert))
                    });
                }
            }
        }
        let (gradient, down, across) = (&*v.gradient, rows.div_ceil(TILE), cols.div_ceil(TILE));
        let outputs = (
            pieces_in(v.w, rows * cols, TILE * cols),
            pieces_in(v.m, rows * cols, TILE * cols),
            pieces_in(v.v, rows * cols, TILE * cols),
            pieces(v.squares, across),
        );
        team.each(outputs, |task, (w, m, v, squares)| {
            let first = (task / down * rows + task % down * TILE) * cols;
            squares.fill(0.0);
            squares[0] = vector::adam(w, &gradient[first..][..w.len()], m, v, step);
        });

        let (of_bias, n) = if v.bias_of_left == 1 { (v.left, r1) } else { (v.right, e * c1) };
        column_sums(of_bias, n, false, &mut v.gradient[..n], team);
        v.squares[0] += vector::adam(v.bias, &v.gradient[..n], v.bias_m, v.bias_v, step);
    }
}
