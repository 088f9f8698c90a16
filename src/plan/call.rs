//! One kernel with its arguments, what it writes, and its CPU body.
use super::args::{Field, KernelArgs, Place, overlap};
use super::grid::{Grid, Grids, Precision, Product};
use crate::cpu::team::Team;
use std::borrow::Cow;
use std::ops::Range;

/// An output of a call: a tensor that it writes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The field's name.
    pub name: &'static str,
    /// True if every element is overwritten, whatever was there before.
    pub whole: bool,
    /// True if only the sum of all elements counts: a backend decides which part of it is where.
    pub addends: bool,
}

impl Output {
    /// An output whose every element is overwritten.
    pub fn whole(name: &'static str) -> Self {
        Output { name, whole: true, addends: false }
    }

    /// An output of which some elements may stay, or whose old values go into the new ones.
    pub fn part(name: &'static str) -> Self {
        Output { name, whole: false, addends: false }
    }

    /// An output of numbers of which only the sum counts.
    pub(crate) fn addends(name: &'static str) -> Self {
        Output { addends: true, ..Output::part(name) }
    }

    /// An output that is added to (1) or overwritten (0), as
    /// [`Gradients::accumulate`](super::Gradients::accumulate) says.
    pub fn sum(name: &'static str, add: u32) -> Self {
        Output { whole: add == 0, ..Output::part(name) }
    }
}

/// The CPU body of a call, over the arena at this address.
type Body = Box<dyn Fn(*mut u8, &Team) + Send + Sync>;

/// One kernel with its arguments.
pub struct Call {
    kernel: &'static str,
    args: Vec<u8>,
    places: fn() -> Vec<Place>,
    fields: Vec<Field>,
    grids: Grids,
    writes: Vec<Output>,
    /// See [`Call::in_shares`].
    in_shares: Vec<(&'static str, usize)>,
    /// See [`Call::stays`].
    resident: usize,
    /// See [`Call::loads`].
    loaded: usize,
    body: Body,
}

impl Call {
    /// A kernel: its name, its grid or grids, the tensors it writes, its arguments and its CPU
    /// body.
    #[allow(unsafe_code)]
    pub fn new<A: KernelArgs>(
        kernel: &'static str,
        grids: impl Into<Grids>,
        writes: &[Output],
        args: A,
        body: impl Fn(A::View<'_>, &Team) + Send + Sync + 'static,
    ) -> Self {
        let fields = args.fields();
        for Output { name, .. } in writes {
            assert!(fields.iter().any(|f| f.name == *name && f.writable), "{kernel}: no writable tensor {name}");
        }
        Call {
            kernel,
            args: args.bytes(),
            places: A::places,
            fields,
            grids: grids.into(),
            writes: writes.to_vec(),
            in_shares: Vec::new(),
            resident: 0,
            loaded: 0,
            // SAFETY: the contract of `Call::run`.
            body: Box::new(move |base, team| body(unsafe { args.view(base) }, team)),
        }
    }

    /// Declares that kernels go without these tensors, which the CPU body needs: they are absent
    /// from their arguments.
    pub fn without(mut self, names: &[&str]) -> Self {
        for name in names {
            let place = self.fields.iter().position(|f| f.name == *name).expect("a field of the call");
            self.args[8 * place..][..8].fill(0);
        }
        self
    }

    /// Declares that the work is cut into shares, the blocks of the grid. Share i touches no more
    /// than the elements `i * n .. (i + 1) * n` of each field `(name, n)` that is named. So a share
    /// may run long before another, and after the same share of another call without waiting for
    /// the rest.
    pub(crate) fn in_shares(mut self, fields: &[(&'static str, usize)]) -> Self {
        for (name, elements) in fields {
            let field = self.fields.iter().find(|f| f.name == *name).expect("a field of the call");
            let shares = (field.bytes.len() / field.element).div_ceil(*elements);
            assert!(shares <= self.grids.fp32.blocks as usize, "{}: {name}: a block a share", self.kernel);
        }
        self.in_shares = fields.to_vec();
        self
    }

    /// Declares that each share may keep this many numbers in shared memory from one repetition of
    /// the plan to the next, in one launch. No other share or call may touch them.
    pub fn stays(mut self, numbers: usize) -> Self {
        assert!(self.shares().is_some(), "{}: a share has the same block every time", self.kernel);
        self.resident = numbers;
        self
    }

    /// Declares that each block of a call that is no product reads this many bytes of weights. That
    /// decides speed alone.
    pub(crate) fn loads(mut self, bytes: usize) -> Self {
        self.loaded = bytes;
        self
    }

    /// The kernel's name.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The argument struct; its pointers are places in the arena.
    pub fn args(&self) -> &[u8] {
        &self.args
    }

    /// The fields of the argument struct.
    pub fn places(&self) -> Vec<Place> {
        (self.places)()
    }

    /// The argument struct over the arena at this address.
    pub(crate) fn args_at(&self, arena: usize) -> [u64; 32] {
        let mut args = [0; 32]; // the largest has 256 bytes: see `kernel_args!`
        bytemuck::cast_slice_mut(&mut args)[..self.args.len()].copy_from_slice(&self.args);
        for (_, pointer) in self.fields.iter().zip(&mut args).filter(|(_, pointer)| **pointer != 0) {
            *pointer += arena as u64;
        }
        args
    }

    /// The tensor arguments.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The tensor arguments that kernels get, which may be fewer than the CPU body has: see
    /// [`Call::without`].
    pub fn kernel_fields(&self) -> impl Iterator<Item = &Field> {
        let given = self.args.chunks_exact(8).map(|pointer| pointer != [0; 8]);
        self.fields.iter().zip(given).filter_map(|(field, given)| given.then_some(field))
    }

    /// The name and grid of this call's kernel in this precision: `linear_forward` or
    /// `linear_forward_bf16x3`. Only calls with a matrix product have another kernel for another
    /// precision.
    pub fn variant(&self, precision: Precision) -> (Cow<'static, str>, Grid) {
        match (precision, self.grids.tensor) {
            (Precision::Fp32, _) | (_, None) => (self.kernel.into(), self.grids.fp32),
            (_, Some(product)) => (format!("{}_{precision}", self.kernel).into(), product.grid()),
        }
    }

    /// The matrix product that this call computes, if it does; it may be computed in another
    /// precision.
    pub fn product(&self) -> Option<Product> {
        self.grids.tensor
    }

    /// Runs the CPU body, which does in Rust what the kernel does.
    ///
    /// # Safety
    /// `arena` is one that [`Plan::check`](super::Plan::check) compared this call with, and nobody
    /// else uses it meanwhile.
    #[allow(unsafe_code)]
    pub unsafe fn run(&self, arena: *mut u8, team: &Team) {
        (self.body)(arena, team)
    }

    /// Number of shares into which its work is cut, if it is.
    pub fn shares(&self) -> Option<u32> {
        (!self.in_shares.is_empty()).then_some(self.grids.fp32.blocks)
    }

    /// Numbers of shared memory that a share may keep: see [`Call::stays`].
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// Bytes of weights that each of its blocks reads: see [`Call::loads`].
    pub fn loaded(&self) -> usize {
        self.loaded
    }

    /// The bytes that kernels touch to compute these shares, and whether they write them. A field
    /// without shares counts with all its bytes.
    pub fn touched(&self, shares: Range<u32>) -> impl Iterator<Item = (Range<usize>, bool)> {
        self.kernel_fields().map(move |field| {
            let bytes = self.bytes_of_share(field).map_or(field.bytes.clone(), |bytes| {
                let place = |share: u32| (field.bytes.start + share as usize * bytes).min(field.bytes.end);
                place(shares.start)..place(shares.end)
            });
            (bytes, self.output(field).is_some())
        })
    }

    /// True if this call writes what the other touches, or touches what it writes.
    pub fn conflicts(&self, other: &Call) -> bool {
        let all = |call: &Call| 0..call.shares().unwrap_or(0);
        conflict(self.touched(all(self)), || other.touched(all(other)))
    }

    /// Bytes of a field that belong to a share, if each share has its own.
    pub(crate) fn bytes_of_share(&self, field: &Field) -> Option<usize> {
        let named = self.in_shares.iter().find(|(name, _)| *name == field.name);
        named.map(|(_, elements)| elements * field.element)
    }

    /// The output that this field is; `None` if the call only reads it.
    pub fn output(&self, field: &Field) -> Option<Output> {
        self.writes.iter().copied().find(|output| output.name == field.name)
    }

    /// The tensors this call writes.
    pub fn written(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|f| self.output(f).is_some() && !f.bytes.is_empty())
    }
}

/// True if two lists of bytes, each with whether they are written, have bytes in common that either
/// writes.
pub(crate) fn conflict<I: Iterator<Item = (Range<usize>, bool)>>(
    mut one: impl Iterator<Item = (Range<usize>, bool)>,
    other: impl Fn() -> I,
) -> bool {
    one.any(|(a, writes)| other().any(|(b, also)| (writes || also) && overlap(&a, &b)))
}
