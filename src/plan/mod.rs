//! A training step written down: a [`Plan`] is a list of [`Call`]s, each a kernel's name, its
//! arguments and its CPU body.
//!
//! Operations append calls; a backend runs them and knows no operation by name. Addresses and
//! shapes are fixed when the plan is built; what changes from step to step is read from the arena
//! (see [`state::StepState`]).
pub mod arena;
pub mod dependencies;
pub mod state;

use crate::cpu::activation::Activation;
use crate::cpu::team::Team;
use crate::plan::arena::{Arena, Mat, Var};
use clap::ValueEnum;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tensor argument: its place in the arena (bytes; 0 = absent). Backends add the arena's address.
#[repr(transparent)]
#[derive(Debug)]
pub struct Ptr<T> {
    offset: u64,
    marker: PhantomData<T>,
}

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ptr<T> {}

impl<T> From<Mat<T>> for Ptr<T> {
    fn from(mat: Mat<T>) -> Self {
        Ptr { offset: mat.offset() as u64, marker: PhantomData }
    }
}

impl<T> Ptr<T> {
    /// No tensor.
    pub const NONE: Self = Ptr { offset: 0, marker: PhantomData };

    /// The place in the arena, bytes.
    pub fn offset(self) -> usize {
        self.offset as usize
    }
}

/// One tensor argument of a call.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in the kernel's argument struct.
    pub name: &'static str,
    /// The range of its bytes in the arena; empty when absent.
    pub bytes: Range<usize>,
    /// Size of an element in bytes.
    pub element: usize,
    /// The number of which its first byte's place has to be a multiple.
    pub align: usize,
    /// True if kernels of this operation may write it.
    pub writable: bool,
}

/// The place of a field in a struct that kernels and Rust share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name, the same in both.
    pub name: &'static str,
    /// Offset of the field in the struct, in bytes.
    pub at: usize,
    /// Size of the field in bytes.
    pub bytes: usize,
}

/// Size of a field in bytes.
pub fn bytes_of<S, F>(_field: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// The [`Place`]s of all named fields of a struct.
#[macro_export]
macro_rules! places {
    ($struct:ty: $($field:ident),* $(,)?) => {
        vec![$($crate::plan::Place {
            name: stringify!($field),
            at: std::mem::offset_of!($struct, $field),
            bytes: $crate::plan::bytes_of(|x: &$struct| &x.$field),
        }),*]
    };
}

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
    pub fn addends(name: &'static str) -> Self {
        Output { addends: true, ..Output::part(name) }
    }

    /// An output that is added to (1) or overwritten (0), as [`Plan::accumulate`] says.
    pub fn sum(name: &'static str, add: u32) -> Self {
        Output { whole: add == 0, ..Output::part(name) }
    }
}

/// Most blocks that a kernel runs on.
pub const MAX_BLOCKS: usize = 1 << 20;

/// The number of blocks, and of threads in each, that run a kernel. It decides speed alone: kernels
/// are right on any grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block, a multiple of 32.
    pub threads: u32,
}

impl Grid {
    /// A grid of one block.
    pub fn one(threads: u32) -> Self {
        Grid { blocks: 1, threads }
    }

    /// A grid with a thread for each element, up to a few blocks on each multiprocessor of a large
    /// GPU.
    pub fn elements(n: usize, threads: u32) -> Self {
        Grid { blocks: n.div_ceil(threads as usize).clamp(1, 1024) as u32, threads }
    }

    /// A grid with a block for each item.
    pub fn items(n: usize, threads: u32) -> Self {
        Grid { blocks: n.clamp(1, MAX_BLOCKS) as u32, threads }
    }
}

/// The precision in which kernels compute matrix products, as `--precision` says. All sums are in
/// single precision, and so is all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Single precision: the reference.
    Fp32,
    /// On tensor cores, each factor as the sum of two bf16 numbers: three products, nearly single
    /// precision.
    Bf16x3,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is hidden").get_name())
    }
}

/// A matrix product in tiles for tensor cores, [rows, depth] by [depth, cols] for each expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Rows of the result.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Length of the sums.
    pub depth: usize,
    /// Number of such products; 1 except in layers with experts.
    pub experts: usize,
    /// True if a tile holds all experts, to blend them.
    pub blended: bool,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Columns of the weights, the fields `w` and `w2`, that belong to a tile; 0 if the right
    /// factor is no weights, or if tiles take several passes.
    pub weights: usize,
    /// Threads of a block.
    pub threads: u32,
}

impl Product {
    /// A grid with a block for each tile.
    pub fn grid(&self) -> Grid {
        let [rows, cols] = self.tile;
        let each = if self.blended { 1 } else { self.experts };
        Grid::items(self.rows.div_ceil(rows) * self.cols.div_ceil(cols) * each, self.threads)
    }

    /// Numbers of shared memory that the weights of a tile take; see `SLAB` in
    /// `kernels/tile_tensor.cuh`.
    pub fn kept(&self) -> usize {
        if self.weights == 0 { 0 } else { self.depth.div_ceil(16) * (16 * self.weights + 24) }
    }
}

/// The grids of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grids {
    /// The grid of the kernel itself.
    pub fp32: Grid,
    /// The product that its variants on tensor cores compute, if there are any: see
    /// [`Call::variant`].
    pub tensor: Option<Product>,
}

impl From<Grid> for Grids {
    fn from(fp32: Grid) -> Self {
        Grids { fp32, tensor: None }
    }
}

/// An argument struct made by [`kernel_args!`](crate::kernel_args).
///
/// # Safety
/// [`KernelArgs::view`] takes nothing from the arena but what [`KernelArgs::fields`] lists.
#[allow(unsafe_code)]
pub unsafe trait KernelArgs: Copy + Send + Sync + 'static {
    /// The arguments as slices.
    type View<'a>;
    /// The tensor arguments in order.
    fn fields(&self) -> Vec<Field>;
    /// The struct as kernels see it.
    fn bytes(&self) -> Vec<u8>;
    /// The fields of the struct.
    fn places() -> Vec<Place>;
    /// Slices of the arena at `base`.
    ///
    /// # Safety
    /// `base` must be an arena that holds every field, used by nobody else; [`Plan::check`] has
    /// seen these fields.
    unsafe fn view<'a>(&self, base: *mut u8) -> Self::View<'a>;
}

/// Declares the argument struct of an operation's kernels, `Args<T>`, and its CPU twin of slices,
/// `View<'a, T>`.
///
/// Each tensor is `name: element type [number of elements]`, where the number may use the sizes. In
/// memory: pointers (`reads`, then `writes`), then `numbers` (f64), then `sizes` (u32, an even
/// number of them), without padding.
#[macro_export]
macro_rules! kernel_args {
    (
        reads { $($(#[$rd:meta])* $r:ident: $rt:ty [$rl:expr]),* $(,)? }
        writes { $($(#[$wd:meta])* $w:ident: $wt:ty [$wl:expr]),* $(,)? }
        $(numbers { $($(#[$nd:meta])* $n:ident),* $(,)? })?
        sizes { $($(#[$sd:meta])* $s:ident),* $(,)? }
    ) => {
        /// Arguments as kernels see them.
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        pub struct Args<T> {
            $($(#[$rd])* pub $r: $crate::plan::Ptr<$rt>,)*
            $($(#[$wd])* pub $w: $crate::plan::Ptr<$wt>,)*
            $($($(#[$nd])* pub $n: f64,)*)?
            $($(#[$sd])* pub $s: u32,)*
            /// The scalar type.
            pub scalar: std::marker::PhantomData<T>,
        }

        /// Arguments as CPU bodies see them; absent tensors are empty.
        pub struct View<'a, T> {
            $($(#[$rd])* pub $r: &'a [$rt],)*
            $($(#[$wd])* pub $w: &'a mut [$wt],)*
            $($($(#[$nd])* pub $n: f64,)*)?
            $($(#[$sd])* pub $s: usize,)*
            /// The scalar type.
            pub scalar: std::marker::PhantomData<&'a T>,
        }

        // SAFETY: fields and views are made from the same tensors and lengths.
        #[allow(unused_variables, unsafe_code)]
        unsafe impl<T: $crate::cpu::real::Real> $crate::plan::KernelArgs for Args<T> {
            type View<'a> = View<'a, T>;

            fn fields(&self) -> Vec<$crate::plan::Field> {
                $(let $s = self.$s as usize;)*
                vec![
                    $($crate::plan::Field::new::<$rt>(stringify!($r), self.$r.offset(), $rl, false),)*
                    $($crate::plan::Field::new::<$wt>(stringify!($w), self.$w.offset(), $wl, true),)*
                ]
            }

            fn bytes(&self) -> Vec<u8> {
                const POINTERS: usize = [$(stringify!($r),)* $(stringify!($w),)*].len();
                const NUMBERS: usize = 0 $($(+ { let _ = stringify!($n); 1 })*)?;
                const SIZES: usize = [$(stringify!($s)),*].len();
                const { assert!(SIZES % 2 == 0, "an even number of sizes, so that the struct has no padding") };
                const { assert!(size_of::<Args<f32>>() == 8 * (POINTERS + NUMBERS) + 4 * SIZES) };
                const { assert!(size_of::<Args<f32>>() <= 256) };
                // SAFETY: repr(C) of u64, f64 and u32 fields without padding, as asserted.
                unsafe { std::slice::from_raw_parts((self as *const Self).cast::<u8>(), size_of::<Self>()) }.to_vec()
            }

            fn places() -> Vec<$crate::plan::Place> {
                $crate::places!(Args<T>: $($r,)* $($w,)* $($($n,)*)? $($s,)*)
            }

            unsafe fn view<'a>(&self, base: *mut u8) -> View<'a, T> {
                $(let $s = self.$s as usize;)*
                // SAFETY: the caller's.
                let base = unsafe { $crate::plan::Base::new(base) };
                View {
                    $($r: base.slice(self.$r, $rl),)*
                    $($w: base.slice_mut(self.$w, $wl),)*
                    $($($n: self.$n,)*)?
                    $($s,)*
                    scalar: std::marker::PhantomData,
                }
            }
        }
    };
}

impl Field {
    /// A field of `len` elements at `offset` (0 = absent).
    pub fn new<E>(name: &'static str, offset: usize, len: usize, writable: bool) -> Self {
        let len = if offset == 0 { 0 } else { len };
        let bytes = offset..offset + len * size_of::<E>();
        Field { name, bytes, element: size_of::<E>(), align: align_of::<E>(), writable }
    }
}

/// For [`kernel_args!`](crate::kernel_args): an arena from which one call's tensors are taken.
#[derive(Clone, Copy)]
pub struct Base(*mut u8);

impl Base {
    /// The arena at this address.
    ///
    /// # Safety
    /// See [`KernelArgs::view`]: only that call's tensors may be taken from it, each once.
    #[allow(unsafe_code)]
    pub unsafe fn new(address: *mut u8) -> Self {
        Base(address)
    }

    /// The elements of a tensor that is read; an absent one is empty.
    #[allow(unsafe_code)]
    pub fn slice<'a, E>(self, at: Ptr<E>, len: usize) -> &'a [E] {
        if at.offset == 0 {
            return &[];
        }
        // SAFETY: inside the arena, aligned by its layout, not written during the call.
        unsafe { std::slice::from_raw_parts(self.0.add(at.offset()).cast::<E>(), len) }
    }

    /// The elements of a tensor that may be written; an absent one is empty.
    #[allow(unsafe_code)]
    pub fn slice_mut<'a, E>(self, at: Ptr<E>, len: usize) -> &'a mut [E] {
        if at.offset == 0 {
            return &mut [];
        }
        // SAFETY: inside the arena, aligned by its layout, overlapping no other tensor of the call.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at.offset()).cast::<E>(), len) }
    }
}

/// A size as kernels take it.
///
/// # Panics
/// Above 2^32 - 1: beyond what a kernel can index.
pub fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or_else(|_| panic!("{n} elements are more than a kernel can index"))
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
    /// See [`Plan::in_shares`].
    in_shares: Vec<(&'static str, usize)>,
    /// See [`Plan::stays`].
    stays: usize,
    /// See [`Plan::loads`].
    loads: usize,
    body: Body,
}

impl Call {
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
    pub fn args_at(&self, arena: usize) -> [u64; 32] {
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
    /// [`Plan::push_apart`].
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
    /// `arena` is one that [`Plan::check`] compared this call with, and nobody else uses it
    /// meanwhile.
    #[allow(unsafe_code)]
    pub unsafe fn run(&self, arena: *mut u8, team: &Team) {
        (self.body)(arena, team)
    }

    /// Number of shares into which its work is cut, if it is.
    pub fn shares(&self) -> Option<u32> {
        (!self.in_shares.is_empty()).then_some(self.grids.fp32.blocks)
    }

    /// Numbers of shared memory that a share may keep: see [`Plan::stays`].
    pub fn stays(&self) -> usize {
        self.stays
    }

    /// Bytes of weights that each of its blocks reads: see [`Plan::loads`].
    pub fn loads(&self) -> usize {
        self.loads
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
    pub fn bytes_of_share(&self, field: &Field) -> Option<usize> {
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
    one.any(|(a, writes)| other().any(|(b, also)| (writes || also) && a.start < b.end && b.start < a.end))
}

/// A number that no plan has had.
fn new_id() -> u64 {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    GIVEN.fetch_add(1, Ordering::Relaxed) + 1
}

/// Calls in the order in which they run.
#[derive(Default)]
pub struct Plan {
    calls: Vec<Call>,
    /// A number that no plan of other calls has; 0 = no calls.
    id: u64,
    /// Gradients that have been written, by place: the next writer adds.
    written_grads: BTreeSet<usize>,
    /// Values that an activation has made, by place and length.
    activations: BTreeMap<(usize, usize), Activation>,
    /// Gradients, by place and length, that are those before the activation once written.
    pulled_back: BTreeSet<(usize, usize)>,
    /// The memory whose layout the calls have been checked against; 0 = none.
    checked: AtomicU64,
}

impl Plan {
    /// The calls.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// A number by which a backend recognises what it has prepared: no plan of other calls has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Splits the plan into plans of one call each.
    pub fn one_by_one(self) -> impl Iterator<Item = Plan> {
        self.calls.into_iter().map(|call| Plan { calls: vec![call], id: new_id(), ..Plan::default() })
    }

    /// Appends a kernel: its name, its grid or grids, the tensors it writes, its arguments and its
    /// CPU body.
    pub fn push<A: KernelArgs>(
        &mut self,
        kernel: &'static str,
        grids: impl Into<Grids>,
        writes: &[Output],
        args: A,
        body: impl Fn(A::View<'_>, &Team) + Send + Sync + 'static,
    ) {
        self.push_apart(kernel, grids, writes, args, args, body);
    }

    /// Appends a kernel that goes without some tensors that the CPU body needs. `given` are the
    /// kernel's arguments, in which these tensors are absent; `args` are the CPU body's.
    #[allow(unsafe_code)]
    pub fn push_apart<A: KernelArgs>(
        &mut self,
        kernel: &'static str,
        grids: impl Into<Grids>,
        writes: &[Output],
        given: A,
        args: A,
        body: impl Fn(A::View<'_>, &Team) + Send + Sync + 'static,
    ) {
        let fields = args.fields();
        for Output { name, .. } in writes {
            assert!(fields.iter().any(|f| f.name == *name && f.writable), "{kernel}: no writable tensor {name}");
        }
        self.checked = AtomicU64::default();
        self.id = new_id();
        self.calls.push(Call {
            kernel,
            args: given.bytes(),
            places: A::places,
            fields,
            grids: grids.into(),
            writes: writes.to_vec(),
            in_shares: Vec::new(),
            stays: 0,
            loads: 0,
            // SAFETY: the contract of `Call::run`.
            body: Box::new(move |base, team| body(unsafe { args.view(base) }, team)),
        });
    }

    /// Declares that the work of the last call is cut into shares, the blocks of its grid. Share i
    /// touches no more than the elements `i * n .. (i + 1) * n` of each field `(name, n)` that is
    /// named. So a share may run long before another, and after the same share of another call
    /// without waiting for the rest.
    pub fn in_shares(&mut self, fields: &[(&'static str, usize)]) {
        let call = self.calls.last_mut().expect("a call has been appended");
        for (name, elements) in fields {
            let field = call.fields.iter().find(|f| f.name == *name).expect("a field of the call");
            let shares = (field.bytes.len() / field.element).div_ceil(*elements);
            assert!(shares <= call.grids.fp32.blocks as usize, "{}: {name}: a block a share", call.kernel);
        }
        call.in_shares = fields.to_vec();
    }

    /// Declares that each block of the last call, which is no product, reads this many bytes of
    /// weights. That decides speed alone.
    pub fn loads(&mut self, bytes: usize) {
        self.calls.last_mut().expect("a call has been appended").loads = bytes;
    }

    /// Declares that each share of the last call may keep this many numbers in shared memory from
    /// one repetition of the plan to the next, in one launch. No other share or call may touch
    /// them.
    pub fn stays(&mut self, numbers: usize) {
        let call = self.calls.last_mut().expect("a call has been appended");
        assert!(call.shares().is_some(), "{}: a share has the same block every time", call.kernel);
        call.stays = numbers;
    }

    /// 1 if the gradient at this place has to be added to, 0 if it has to be overwritten: the first
    /// writer overwrites.
    ///
    /// # Panics When the gradient is already the one before the activation: calls go backward in
    /// another order than that in which they went forward.
    pub fn accumulate<T>(&mut self, grad: Mat<T>) -> u32 {
        assert!(!self.is_pulled_back(grad), "a gradient was finished before all its parts were there");
        u32::from(!grad.is_none() && !self.written_grads.insert(grad.offset()))
    }

    /// Records that the last call has made `value` by an activation.
    pub fn activated<T>(&mut self, value: Mat<T>, act: Activation) {
        if act != Activation::None {
            self.activations.insert((value.offset(), value.len()), act);
        }
    }

    /// The activation by whose derivative the writer of a gradient multiplies it when all its parts
    /// are there: that of `input`. This needs the layer that makes `output` to be the last to write
    /// the gradient, as it was the first to read the value. Otherwise returns [`Activation::None`].
    pub fn pull_back<T>(&mut self, input: Var<T>, output: Mat<T>) -> Activation {
        let overlaps = |field: &Field, mat: Mat<T>| {
            field.bytes.start < mat.offset() + mat.len() * size_of::<T>() && mat.offset() < field.bytes.end
        };
        let reads = |call: &&Call| call.fields.iter().any(|f| call.output(f).is_none() && overlaps(f, input.value));
        let act = self.activations.get(&(input.value.offset(), input.value.len()));
        let first = self.calls.iter().find(reads);
        let own = first.is_some_and(|call| call.written().any(|field| overlaps(field, output)));
        let Some(&act) = act.filter(|_| own && !input.grad.is_none()) else {
            return Activation::None;
        };
        self.pulled_back.insert((input.grad.offset(), input.grad.len()));
        act
    }

    /// True if a gradient is already the one before the activation.
    pub fn is_pulled_back<T>(&self, grad: Mat<T>) -> bool {
        self.pulled_back.contains(&(grad.offset(), grad.len()))
    }

    /// Checks the calls against the arena of this memory, unless that has been done. Panics as
    /// [`Plan::check`].
    pub(crate) fn check_once(&self, memory: u64, arena: &Arena) {
        if self.checked.load(Ordering::Relaxed) != memory {
            self.check(arena);
            self.checked.store(memory, Ordering::Relaxed);
        }
    }

    /// Checks that every argument lies inside one tensor of the arena and that none that may be
    /// written overlaps another.
    ///
    /// # Panics
    /// When one does not: a bug of the operation that made the call.
    pub fn check(&self, arena: &Arena) {
        for call in &self.calls {
            let present: Vec<&Field> = call.fields.iter().filter(|f| !f.bytes.is_empty()).collect();
            for (i, a) in present.iter().enumerate() {
                assert!(arena.holds(&a.bytes), "{}: {} reaches outside its tensor", call.kernel, a.name);
                assert!(a.bytes.start % a.align == 0, "{}: {} is not aligned", call.kernel, a.name);
                for b in &present[..i] {
                    let overlap = a.bytes.start < b.bytes.end && b.bytes.start < a.bytes.end;
                    assert!(
                        !overlap || !(a.writable || b.writable),
                        "{}: {} and {} overlap",
                        call.kernel,
                        a.name,
                        b.name
                    );
                }
            }
        }
    }
}
