//! A dense layer on `[x | h]`, which is never stored, with the activation fused:
//! y = act(x Wxᵀ + h Whᵀ + bias), W = [Wx | Wh] stored [outputs, inputs].
use super::sums::{column_sums, weight_tiles};
use super::update::Update;
use super::{Operation, ROWS, expect};
use crate::Result;
use crate::cpu::activation::Activation;
use crate::cpu::gemm::{Matrix, MatsMut, product, products};
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::cpu::vector;
use crate::plan::arena::{Mat as Place, Var};
use crate::plan::{Call, Grid, Grids, Output, Plan, Product, Ptr, size};

crate::kernel_args! {
    reads {
        /// [B, X] first part of the input; `forward` leaves it out where it is absent.
        x: T [b * xc],
        /// [B, H] second part; absent when H is 0.
        h: T [b * hc],
        /// [O, X + H].
        w: T [o * (xc + hc)],
        /// \[O\].
        bias: T [o],
        /// [B, O]; absent unless the loss is the mean squared error to it.
        target: T [b * o],
        /// [B, O] dy of a twin, in `backward_x`; absent when there is none.
        dy2: T [b * o],
        /// [O, X + H] w of the twin.
        w2: T [o * (xc + hc)],
    }
    writes {
        /// [B, O] after the activation.
        y: T [b * o],
        /// [B, O] gradient of y, which `forward` writes if there is a target. `backward_act` turns
        /// it into the gradient before the activation, unless its writer has done so.
        dy: T [b * o],
        /// [B, X]; absent when nobody needs it. See [`crate::plan::Gradients::pull_back`].
        dx: T [b * xc],
        /// [B, H]; absent when nobody needs it. See [`crate::plan::Gradients::pull_back`].
        dh: T [b * hc],
        /// [O, X + H].
        dw: T [o * (xc + hc)],
        /// \[O\].
        dbias: T [o],
    }
    sizes {
        /// Samples.
        b,
        /// Columns of x.
        xc,
        /// Columns of h.
        hc,
        /// Outputs.
        o,
        /// [`Activation`].
        act,
        /// Number of the [`Activation`] that made x; dx is the gradient before it.
        act_x,
        /// Number of the [`Activation`] that made h; dh is the gradient before it.
        act_h,
        /// 1: dx is added to.
        add_dx,
        /// 1: dh is added to.
        add_dh,
        /// 1: dw and dbias are added to.
        add_dw,
    }
}

/// Grids with a block for each tile of outputs: 32 samples by 32 columns (`kernels/tile_fma.cuh`)
/// or, on tensor cores, 16 by 8 (`kernels/tile_tensor.cuh`), so that 64 samples by 256 columns are
/// 128 blocks. `lines` are those of [`Product`].
fn tiles(rows: usize, cols: usize, depth: usize, lines: [usize; 2]) -> Grids {
    let fp32 = Grid::items(rows.div_ceil(32) * cols.div_ceil(32), 256);
    let tile = [16, 8];
    let tensor = Product { rows, cols, depth, experts: 1, blended: false, lines, tile, weights: 8, threads: 256 };
    Grids { fp32, tensor: Some(tensor) }
}

/// The target that a layer's y [B, O] is compared with; absent where y needs no gradient. Errors:
/// shapes that do not fit.
pub(super) fn target_of<T: Real>(op: &'static str, y: Var<T>, target: Place<T>) -> Result<Place<T>> {
    expect(op, "target columns", target.cols(), y.cols(), "one an output")?;
    expect(op, "target rows", target.rows(), y.rows(), "one a sample")?;
    Ok(if y.grad.is_none() { Place::NONE } else { target })
}

/// The layer.
pub struct Linear<T> {
    x: Var<T>,
    h: Var<T>,
    w: Var<T>,
    bias: Var<T>,
    y: Var<T>,
    act: Activation,
    target: Place<T>,
}

impl<T: Real> Linear<T> {
    /// The layer y = act(x Wxᵀ + h Whᵀ + bias); `h` may be [`Var::none`]. Errors: shapes that do
    /// not fit.
    pub fn new(x: Var<T>, h: Var<T>, w: Var<T>, bias: Var<T>, y: Var<T>, act: Activation) -> Result<Self> {
        expect("linear", "w columns", w.cols(), x.cols() + h.cols(), "w is [outputs, x columns + h columns]")?;
        expect("linear", "w rows", w.rows(), y.cols(), "w is [outputs, inputs]")?;
        expect("linear", "bias", bias.value.len(), y.cols(), "one an output")?;
        expect("linear", "x rows", x.rows(), y.rows(), "one a sample")?;
        if !h.value.is_none() {
            expect("linear", "h rows", h.rows(), y.rows(), "one a sample")?;
        }
        Ok(Linear { x, h, w, bias, y, act, target: Place::NONE })
    }

    /// The layer with the mean squared error of y to `target` [B, O] as its loss: forward writes
    /// its gradient. Errors: shapes that do not fit.
    pub(crate) fn toward(self, target: Place<T>) -> Result<Self> {
        Ok(Linear { target: target_of("linear", self.y, target)?, ..self })
    }

    fn args(&self) -> Args<T> {
        Args {
            x: self.x.value.into(),
            h: self.h.value.into(),
            w: self.w.value.into(),
            bias: self.bias.value.into(),
            target: self.target.into(),
            dy2: Ptr::NONE,
            w2: Ptr::NONE,
            y: self.y.value.into(),
            dy: self.y.grad.into(),
            dx: self.x.grad.into(),
            dh: self.h.grad.into(),
            dw: self.w.grad.into(),
            dbias: self.bias.grad.into(),
            b: size(self.y.rows()),
            xc: size(self.x.cols()),
            hc: size(self.h.cols()),
            o: size(self.y.cols()),
            act: self.act as u32,
            act_x: 0,
            act_h: 0,
            add_dx: 0,
            add_dh: 0,
            add_dw: 0,
            scalar: Default::default(),
        }
    }

    /// The update of w and bias, from the gradient of y before the activation.
    pub fn update(&self) -> Update<T> {
        let (left, right) = ([self.y.grad, Place::NONE], [self.x.value, self.h.value]);
        Update { left, right, experts: 1, w: self.w.value, bias: self.bias.value, bias_of_left: true }
    }

    /// Appends y [B, O] = h Whᵀ + bias: what the second part of the input gives alone.
    pub(super) fn forward_of_h(&self, plan: &mut Plan, y: Place<T>) {
        let none = Ptr::NONE;
        let args = Args { x: none, target: none, y: y.into(), act: Activation::None as u32, ..self.args() };
        plan.push(Call::new(
            "linear_forward",
            tiles(y.rows(), y.cols(), self.h.cols(), [self.h.cols(), self.w.cols()]),
            &[Output::whole("y"), Output::whole("dy")],
            Args { dy: none, dx: none, dh: none, dw: none, dbias: none, ..args },
            cpu::forward::<T>,
        ));
    }

    /// Appends the gradients of w and bias, from that of y before the activation, if they are kept.
    pub(crate) fn weight_gradients(&self, plan: &mut Plan) {
        if self.w.grad.is_none() {
            return;
        }
        let add_dw = plan.gradients.accumulate(self.w.grad);
        let none = Ptr::NONE;
        plan.push(Call::new(
            "linear_backward_w",
            weight_tiles(1, self.w.rows(), self.w.cols(), self.y.rows(), 128),
            &[Output::sum("dw", add_dw), Output::sum("dbias", add_dw)],
            Args { target: none, y: none, dx: none, dh: none, add_dw, ..self.args() },
            cpu::backward_w::<T>,
        ));
    }
}

impl<T: Real> Operation for Linear<T> {
    fn forward(&self, plan: &mut Plan) {
        let (all, none) = (self.args(), Ptr::NONE);
        let dy = if self.target.is_none() { none } else { all.dy };
        plan.push(Call::new(
            "linear_forward",
            tiles(self.y.rows(), self.y.cols(), self.w.cols(), [self.w.cols(); 2]),
            &[Output::whole("y"), Output::whole("dy")],
            Args { dy, dx: none, dh: none, dw: none, dbias: none, ..all },
            cpu::forward::<T>,
        ));
        if !self.target.is_none() {
            assert_eq!(plan.gradients.accumulate(self.y.grad), 0, "what is compared has no other reader");
        }
        plan.gradients.activated(self.y.value, self.act);
    }

    fn backward(&self, plan: &mut Plan) {
        self.activation_gradient(plan);
        self.input_gradients(plan, None);
        self.weight_gradients(plan);
    }
}

/// Two layers with the same number of outputs on the same input. One call adds up their parts of
/// the input's gradient.
pub(crate) struct Twins<T>([Linear<T>; 2]);

impl<T: Real> Twins<T> {
    /// The twins of two layers. Errors: inputs or numbers of outputs that differ.
    pub fn new(first: Linear<T>, second: Linear<T>) -> Result<Self> {
        expect("linear", "outputs of a twin", second.y.cols(), first.y.cols(), "as many")?;
        for (a, b) in [(first.x, second.x), (first.h, second.h)] {
            expect("linear", "input of a twin", b.value.offset(), a.value.offset(), "the same place")?;
        }
        Ok(Twins([first, second]))
    }
}

impl<T: Real> Operation for Twins<T> {
    fn forward(&self, plan: &mut Plan) {
        self.0.iter().for_each(|layer| layer.forward(plan));
    }

    fn backward(&self, plan: &mut Plan) {
        let [first, second] = &self.0;
        self.0.iter().rev().for_each(|layer| layer.activation_gradient(plan));
        first.input_gradients(plan, Some(second));
        self.0.iter().rev().for_each(|layer| layer.weight_gradients(plan));
    }
}

impl<T: Real> Linear<T> {
    /// Appends the call that turns the gradient of y into that before the activation, unless its
    /// writer has done so.
    fn activation_gradient(&self, plan: &mut Plan) {
        // A call leaves out what it does not touch, so that it does not wait for the writer of
        // that.
        let (all, none) = (self.args(), Ptr::NONE);
        let to_inputs = Args { target: none, y: none, dw: none, dbias: none, ..all };
        if self.act != Activation::None && !plan.gradients.is_pulled_back(self.y.grad) {
            plan.push(Call::new(
                "linear_backward_act",
                Grid::elements(self.y.value.len(), 256),
                &[Output::part("dy")],
                Args { y: all.y, dx: none, dh: none, ..to_inputs },
                cpu::backward_act::<T>,
            ));
        }
    }

    /// Appends the gradients of the inputs, from that of y before the activation; with a twin, its
    /// part is added.
    pub(super) fn input_gradients(&self, plan: &mut Plan, twin: Option<&Linear<T>>) {
        let (all, none) = (self.args(), Ptr::NONE);
        let [dy2, w2] = twin.map_or([none; 2], |twin| [twin.y.grad, twin.w.value].map(Ptr::from));
        let to_inputs = Args { target: none, y: none, dw: none, dbias: none, dy2, w2, ..all };
        if !(self.x.grad.is_none() && self.h.grad.is_none()) {
            let (add_dx, add_dh) = (plan.gradients.accumulate(self.x.grad), plan.gradients.accumulate(self.h.grad));
            let [act_x, act_h] = [self.x, self.h]
                .map(|input| plan.gradients.pull_back(input, plan.is_first_reader(self.y.value, input.value)) as u32);
            let args = Args { act_x, act_h, add_dx, add_dh, ..to_inputs };
            let columns = self.x.grad.cols() + self.h.grad.cols();
            plan.push(Call::new(
                "linear_backward_x",
                tiles(
                    self.y.rows(),
                    columns,
                    if twin.is_some() { 2 } else { 1 } * self.y.cols(),
                    [self.y.cols(), self.w.cols()],
                ),
                &[Output::sum("dx", args.add_dx), Output::sum("dh", args.add_dh)],
                args,
                cpu::backward_x::<T>,
            ));
        }
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y = act(x Wxᵀ + h Whᵀ + bias), and with a target dy
    pub fn forward<T: Real>(v: View<'_, T>, team: &Team) {
        layer(team, [(v.x, v.xc), (v.h, v.hc)], (v.w, v.bias), Activation::of(v.act), v.y);
        toward(v.target, v.y, v.dy, v.o, team);
    }

    /// dy [B, O] = 2 (y - target) / (B O), where there is a target
    pub(in crate::ops) fn toward<T: Real>(target: &[T], y: &[T], dy: &mut [T], o: usize, team: &Team) {
        let scale = T::of(2.0 / y.len() as f64);
        if !target.is_empty() {
            team.each(pieces(dy, ROWS * o), |task, dy| {
                let at = task * ROWS * o;
                vector::scaled_difference(dy, scale, &y[at..][..dy.len()], &target[at..][..dy.len()]);
            });
        }
    }

    /// y [B, O] = act(x Wxᵀ + h Whᵀ + bias), of x and h with their columns; an absent x adds
    /// nothing
    pub(in crate::ops) fn layer<T: Real>(
        team: &Team,
        [(x, xc), (h, hc)]: [(&[T], usize); 2],
        (w, bias): (&[T], &[T]),
        act: Activation,
        y: &mut [T],
    ) {
        let (o, inputs) = (bias.len(), xc + hc);
        let b = y.len() / o;
        let (first, end) = (usize::from(x.is_empty()), if hc > 0 { 2 } else { 1 });
        products(team, MatsMut::one(y, b, o, o), false, end - first, |_, part| match first + part {
            0 => (Matrix::new(x, b, xc, xc), Matrix::new(w, o, xc, inputs).t()),
            _ => (Matrix::new(h, b, hc, hc), Matrix::new(&w[xc..], o, hc, inputs).t()),
        });
        team.each(pieces(y, ROWS * o), |_, rows| {
            for row in rows.chunks_exact_mut(o) {
                vector::add_scaled(row, T::one(), bias);
                act.apply(row);
            }
        });
    }

    /// dy becomes the gradient before the activation.
    pub(crate) fn backward_act<T: Real>(v: View<'_, T>, team: &Team) {
        pull_back(Activation::of(v.act), v.y, v.dy, v.o, team);
    }

    /// dx = dy Wx, dh = dy Wh, with those of a twin, each before its activation
    pub(crate) fn backward_x<T: Real>(v: View<'_, T>, team: &Team) {
        let View { b, xc, hc, o, .. } = v;
        let inputs = xc + hc;
        let layers = [(&*v.dy, v.w), (v.dy2, v.w2)];
        let terms = if v.dy2.is_empty() { 1 } else { 2 };
        let factors = |first: usize, cols: usize| {
            move |_: usize, term: usize| {
                let (dy, w) = layers[term];
                (Matrix::new(dy, b, o, o), Matrix::new(&w[first..], o, cols, inputs))
            }
        };
        if !v.dx.is_empty() {
            products(team, MatsMut::one(v.dx, b, xc, xc), v.add_dx == 1, terms, factors(0, xc));
            pull_back(Activation::of(v.act_x), v.x, v.dx, xc, team);
        }
        if !v.dh.is_empty() {
            products(team, MatsMut::one(v.dh, b, hc, hc), v.add_dh == 1, terms, factors(xc, hc));
            pull_back(Activation::of(v.act_h), v.h, v.dh, hc, team);
        }
    }

    /// dy becomes the gradient before the activation, which made y [B, cols].
    pub(crate) fn pull_back<T: Real>(act: Activation, y: &[T], dy: &mut [T], cols: usize, team: &Team) {
        if act != Activation::None {
            team.each(pieces(dy, ROWS * cols), |i, dy| act.pull_back(&y[i * ROWS * cols..][..dy.len()], dy));
        }
    }

    /// dW = dyᵀ [x | h], dbias = the sum of dy's rows
    pub(crate) fn backward_w<T: Real>(v: View<'_, T>, team: &Team) {
        let View { b, xc, hc, o, .. } = v;
        let (inputs, add) = (xc + hc, v.add_dw == 1);
        let dy = Matrix::new(v.dy, b, o, o).t();
        product(team, MatsMut::one(v.dw, o, xc, inputs), add, dy, Matrix::new(v.x, b, xc, xc));
        if hc > 0 {
            product(team, MatsMut::one(&mut v.dw[xc..], o, hc, inputs), add, dy, Matrix::new(v.h, b, hc, hc));
        }
        column_sums(v.dy, o, add, v.dbias, team);
    }
}
