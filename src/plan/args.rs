//! Arguments of calls: structs that kernels and Rust share, whose tensors are places in an arena.
use crate::plan::arena::Mat;
use std::marker::PhantomData;
use std::ops::Range;

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

/// True if two ranges of bytes have bytes in common.
pub(crate) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
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
    /// `base` must be an arena that holds every field, used by nobody else;
    /// [`Plan::check`](super::Plan::check) has seen these fields.
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
        #[allow(dead_code)] // some sizes are the kernels' alone
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
