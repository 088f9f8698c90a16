//! A layer on `[z | h]` whose weights are blended per sample from E experts, with the activation
//! fused: y = act(sum_e g_e ([z | h] W_e + bias_e)), with W stored as [E, inputs, outputs].
//!
//! Per-sample weights are never formed. The output of each expert is computed once, and serves both
//! the blend and the gate's gradient. If there is no gradient to come, it is not kept.
use super::linear::{cpu::pull_back, cpu::toward, target_of};
use super::update::Update;
use super::{Operation, ROWS, expect};
use crate::Result;
use crate::cpu::activation::Activation;
use crate::cpu::gemm::{Matrix, MatsMut, blend, products};
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::cpu::vector;
use crate::plan::arena::{Arena, Mat as Place, Var};
use crate::plan::{Call, Grid, Grids, Output, Plan, Product, Ptr, size};

crate::kernel_args! {
    reads {
        /// [B, L] latent.
        z: T [b * l],
        /// [B, I - L] condition or hidden.
        h: T [b * (i - l)],
        /// [B, E] rows sum to 1.
        gate: T [b * e],
        /// [E, I, O].
        w: T [e * i * o],
        /// [E, O].
        bias: T [e * o],
        /// [B, O]; absent unless the loss is the mean squared error to it.
        target: T [b * o],
    }
    writes {
        /// [B, O] after the activation.
        y: T [b * o],
        /// [B, E, O] output of each expert, without its bias; absent if there is no gradient to
        /// come.
        each: T [b * e * o],
        /// [B, O] gradient of y, which `forward` writes if there is a target. `backward_gate` turns
        /// it into the gradient before the activation, unless its writer has done so.
        dy: T [b * o],
        /// [B, E, O] gate times dy.
        deach: T [b * e * o],
        /// [B, L]; absent when nobody needs it.
        dz: T [b * l],
        /// [B, I - L]; absent when nobody needs it. See [`crate::plan::Gradients::pull_back`].
        dh: T [b * (i - l)],
        /// [B, E]; absent when nobody needs it.
        dgate: T [b * e],
    }
    sizes {
        /// Samples.
        b,
        /// Latent.
        l,
        /// Inputs, the latent included.
        i,
        /// Outputs.
        o,
        /// Experts.
        e,
        /// Number of the [`Activation`]; in `backward_gate`, of the one whose derivative it
        /// multiplies by.
        act,
        /// Number of the [`Activation`] that made h; dh is the gradient before it.
        act_h,
        /// 1: dz is added to.
        add_dz,
        /// 1: dh is added to.
        add_dh,
        /// 1: dgate is added to.
        add_dgate,
    }
}

/// Number of experts that a tile on tensor cores has at a time: `BlendTile_bf16x3` in
/// `kernels/blend_linear.cu`.
const PANELS: usize = 6;

/// The layer.
pub struct BlendLinear<T> {
    z: Var<T>,
    h: Var<T>,
    gate: Var<T>,
    w: Var<T>,
    bias: Var<T>,
    y: Var<T>,
    each: Place<T>,
    deach: Place<T>,
    act: Activation,
    target: Place<T>,
}

impl<T: Real> BlendLinear<T> {
    /// The layer with `w` as [E * inputs, O] and `bias` as [E, O]. Errors: shapes that do not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        arena: &mut Arena,
        z: Var<T>,
        h: Var<T>,
        gate: Var<T>,
        w: Var<T>,
        bias: Var<T>,
        y: Var<T>,
        act: Activation,
    ) -> Result<Self> {
        let (experts, inputs) = (bias.rows(), z.cols() + h.cols());
        expect("blend_linear", "gate columns", gate.cols(), experts, "one gate weight an expert: see experts")?;
        expect("blend_linear", "w rows", w.rows(), experts * inputs, "w is [experts * inputs, outputs]")?;
        expect("blend_linear", "w columns", w.cols(), y.cols(), "w is [experts * inputs, outputs]")?;
        expect("blend_linear", "bias columns", bias.cols(), y.cols(), "bias is [experts, outputs]")?;
        for (what, rows) in [("z rows", z.rows()), ("h rows", h.rows()), ("gate rows", gate.rows())] {
            expect("blend_linear", what, rows, y.rows(), "one a sample")?;
        }
        let mut kept = || if y.grad.is_none() { Place::NONE } else { arena.mat(y.rows(), experts * y.cols()) };
        let [each, deach] = [kept(), kept()];
        Ok(BlendLinear { z, h, gate, w, bias, y, each, deach, act, target: Place::NONE })
    }

    /// The layer with the mean squared error of y to `target` [B, O] as its loss: forward writes
    /// its gradient. Errors: shapes that do not fit.
    pub(crate) fn toward(self, target: Place<T>) -> Result<Self> {
        Ok(BlendLinear { target: target_of("blend_linear", self.y, target)?, ..self })
    }

    /// The outputs of each expert, if a gradient is to come: the way back needs them.
    pub(crate) fn kept(&self) -> Option<Place<T>> {
        (!self.each.is_none()).then_some(self.each)
    }

    /// Grids with a block for each tile of 32 samples (on tensor cores: 16) by 8 columns of all
    /// experts.
    fn tiles(&self, cols: usize, depth: usize) -> Grids {
        let (rows, experts) = (self.y.rows(), self.bias.rows());
        let weights = if experts <= PANELS { 8 * PANELS } else { 0 };
        let (tile, lines) = ([16, 8], [depth, self.y.cols()]);
        let tensor = Product { rows, cols, depth, experts, blended: true, lines, tile, weights, threads: 256 };
        Grids { fp32: Grid::items(rows.div_ceil(32) * cols.div_ceil(8), 256), tensor: Some(tensor) }
    }

    /// The update of w and bias, from gate times the gradient of y before the activation.
    pub fn update(&self) -> Update<T> {
        let (left, right) = ([self.z.value, self.h.value], [self.deach, Place::NONE]);
        let experts = self.bias.rows();
        Update { left, right, experts, w: self.w.value, bias: self.bias.value, bias_of_left: false }
    }

    fn args(&self) -> Args<T> {
        Args {
            z: self.z.value.into(),
            h: self.h.value.into(),
            gate: self.gate.value.into(),
            w: self.w.value.into(),
            bias: self.bias.value.into(),
            target: self.target.into(),
            y: self.y.value.into(),
            each: self.each.into(),
            dy: self.y.grad.into(),
            deach: self.deach.into(),
            dz: self.z.grad.into(),
            dh: self.h.grad.into(),
            dgate: self.gate.grad.into(),
            b: size(self.y.rows()),
            l: size(self.z.cols()),
            i: size(self.z.cols() + self.h.cols()),
            o: size(self.y.cols()),
            e: size(self.bias.rows()),
            act: self.act as u32,
            act_h: 0,
            add_dz: 0,
            add_dh: 0,
            add_dgate: 0,
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for BlendLinear<T> {
    fn forward(&self, plan: &mut Plan) {
        let (all, none) = (self.args(), Ptr::NONE);
        let dy = if self.target.is_none() { none } else { all.dy };
        plan.push(Call::new(
            "blend_linear_forward",
            self.tiles(self.y.cols(), self.z.cols() + self.h.cols()),
            &["y", "each", "dy"].map(Output::whole),
            Args { dy, deach: none, dz: none, dh: none, dgate: none, ..all },
            cpu::forward::<T>,
        ));
        if !self.target.is_none() {
            assert_eq!(plan.gradients.accumulate(self.y.grad), 0, "what is compared has no other reader");
        }
        plan.gradients.activated(self.y.value, self.act);
    }

    fn backward(&self, plan: &mut Plan) {
        let args = Args {
            add_dz: plan.gradients.accumulate(self.z.grad),
            add_dh: plan.gradients.accumulate(self.h.grad),
            add_dgate: plan.gradients.accumulate(self.gate.grad),
            target: Ptr::NONE,
            ..self.args()
        };
        // A call leaves out what it does not touch, so that it does not wait for the writer of
        // that.
        let none = Ptr::NONE;
        let act = if plan.gradients.is_pulled_back(self.y.grad) { Activation::None } else { self.act };
        let to_gate = Args { act: act as u32, dz: none, dh: none, ..args };
        let act_h = plan.gradients.pull_back(self.h, plan.is_first_reader(self.y.value, self.h.value)) as u32;
        let to_inputs = Args { y: none, each: none, dgate: none, ..args };
        let to_h = Args { act_h, z: none, dz: none, ..to_inputs };
        let to_z = Args { z: none, h: none, dh: none, ..to_inputs };
        let outputs = [Output::part("dy"), Output::whole("deach"), Output::sum("dgate", args.add_dgate)];
        plan.push(
            Call::new(
                "blend_linear_backward_gate",
                Grid::items(self.y.rows(), 256),
                &outputs[usize::from(act == Activation::None)..],
                to_gate,
                cpu::backward_gate::<T>,
            )
            .without(&["z", "h", "w"]),
        );
        // The two are separate calls: the layer before waits for one of them, and nobody for the
        // other until all layers are done. Kernels blend in their tiles, so they need not wait for
        // gate times dy.
        for (grad, args) in [(self.h.grad, to_h), (self.z.grad, to_z)] {
            if !grad.is_none() {
                plan.push(
                    Call::new(
                        "blend_linear_backward_x",
                        self.tiles(grad.cols(), self.y.cols()),
                        &[Output::sum("dz", args.add_dz), Output::sum("dh", args.add_dh)],
                        args,
                        cpu::backward_x::<T>,
                    )
                    .without(&["deach"]),
                );
            }
        }
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// each_e = [z | h] W_e, y = act(sum_e g_e (each_e + bias_e)), and with a target dy
    pub fn forward<T: Real>(v: View<'_, T>, team: &Team) {
        let View { b, l, i, o, e, .. } = v;
        let c = i - l;
        let factors = |expert: usize, part: usize| {
            let w = &v.w[expert * i * o..][..i * o];
            match part {
                0 => (Matrix::new(v.z, b, l, l), Matrix::new(&w[..l * o], l, o, o)),
                _ => (Matrix::new(v.h, b, c, c), Matrix::new(&w[l * o..], c, o, o)),
            }
        };
        let (act, gate, bias) = (Activation::of(v.act), v.gate, v.bias);
        let kept = !v.each.is_empty();
        if kept {
            products(team, MatsMut::many(v.each, e, o, b, o, e * o), false, 2, factors);
        } else {
            // The biases, then both parts of each expert.
            blend(
                team,
                MatsMut::one(v.y, b, o, o),
                (Matrix::new(gate, b, e, e), Matrix::new(bias, e, o, o)),
                2 * e,
                |term| {
                    let (x, w) = factors(term / 2, term % 2);
                    [Matrix::new(&gate[term / 2..], b, 1, e), x, w]
                },
            );
        }
        let each = &*v.each;
        team.each(pieces(v.y, ROWS * o), |task, y| {
            for (row, y) in y.chunks_exact_mut(o).enumerate() {
                let row = task * ROWS + row;
                if kept {
                    vector::blend(y, &gate[row * e..][..e], &each[row * e * o..], o, bias);
                }
                act.apply(y);
            }
        });
        toward(v.target, v.y, v.dy, o, team);
    }

    /// dy becomes the gradient before the activation; dgate_e = dy · (each_e + bias_e), deach_e =
    /// g_e dy
    pub(crate) fn backward_gate<T: Real>(v: View<'_, T>, team: &Team) {
        let View { o, e, .. } = v;
        let act = Activation::of(v.act);
        let (y, each, gate, bias, add) = (&*v.y, &*v.each, v.gate, v.bias, v.add_dgate == 1);
        let outputs = (pieces(v.dy, ROWS * o), pieces(v.deach, ROWS * e * o), pieces(v.dgate, ROWS * e));
        team.each(outputs, |task, (dy, deach, dgate)| {
            let rows = dy.chunks_exact_mut(o).zip(deach.chunks_exact_mut(e * o)).zip(dgate.chunks_exact_mut(e));
            for (row, ((dy, deach), dgate)) in rows.enumerate() {
                let row = task * ROWS + row;
                act.pull_back(&y[row * o..][..o], dy);
                let experts = each[row * e * o..].chunks_exact(o).zip(bias.chunks_exact(o));
                for (dgate, (each, bias)) in dgate.iter_mut().zip(experts) {
                    let dot = vector::dot(dy, each) + vector::dot(dy, bias);
                    *dgate = if add { *dgate + dot } else { dot };
                }
                vector::scaled_copies(deach, o, &gate[row * e..][..e], dy);
            }
        });
    }

    /// [dz | dh] = sum_e deach_e W_eᵀ, dh before its activation
    pub(crate) fn backward_x<T: Real>(v: View<'_, T>, team: &Team) {
        let View { b, l, i, o, e, .. } = v;
        let (deach, w) = (&*v.deach, v.w);
        let factors = |first: usize, cols: usize| {
            move |_: usize, expert: usize| {
                (
                    Matrix::new(&deach[expert * o..], b, o, e * o),
                    Matrix::new(&w[(expert * i + first) * o..][..cols * o], cols, o, o).t(),
                )
            }
        };
        if !v.dz.is_empty() {
            products(team, MatsMut::one(v.dz, b, l, l), v.add_dz == 1, e, factors(0, l));
        }
        if !v.dh.is_empty() {
            products(team, MatsMut::one(v.dh, b, i - l, i - l), v.add_dh == 1, e, factors(l, i - l));
            pull_back(Activation::of(v.act_h), v.h, v.dh, i - l, team);
        }
    }
}
