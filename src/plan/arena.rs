//! The layout of one allocation, which is made once it is complete. [`Mat`] and [`Var`] are places
//! in it, not addresses, so that one plan can run over several arenas (and on any device).
use crate::cpu::real::Real;
use std::marker::PhantomData;
use std::ops::Range;

/// Every tensor starts on a multiple of this many bytes.
pub(crate) const ALIGN: usize = 256;

/// A row-major matrix [rows, cols] of `T` at a place in an arena. Place 0 means that the matrix is
/// absent.
#[derive(Debug, PartialEq, Eq)]
pub struct Mat<T> {
    offset: usize,
    rows: usize,
    cols: usize,
    marker: PhantomData<T>,
}

impl<T> Clone for Mat<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Mat<T> {}

impl<T> Mat<T> {
    /// The absent matrix: operations skip what they would read from or write to it.
    pub const NONE: Self = Mat { offset: 0, rows: 0, cols: 0, marker: PhantomData };

    /// True if this is [`Mat::NONE`].
    pub fn is_none(&self) -> bool {
        self.offset == 0
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }
    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Place of the first byte, counted from the arena's start.
    pub fn offset(&self) -> usize {
        self.offset
    }
    /// The range of its bytes in the arena.
    pub fn bytes(&self) -> Range<usize> {
        self.offset..self.offset + self.len() * size_of::<T>()
    }
    /// The matrix of rows `first .. first + rows` of this one.
    pub fn rows_at(&self, first: usize, rows: usize) -> Self {
        if self.is_none() {
            return *self;
        }
        assert!(first <= self.rows && rows <= self.rows - first, "{rows} rows from {first} on of {}", self.rows);
        Mat { offset: self.offset + first * self.cols * size_of::<T>(), rows, ..*self }
    }
    /// A matrix of the same elements with other rows and columns.
    pub fn reshaped(&self, rows: usize, cols: usize) -> Self {
        assert_eq!(rows * cols, self.len(), "[{}, {}] as [{rows}, {cols}]", self.rows, self.cols);
        Mat { rows, cols, ..*self }
    }
}

/// A value and the gradient of the loss with respect to it (absent where nobody needs it).
#[derive(Debug)]
pub struct Var<T> {
    /// The value.
    pub value: Mat<T>,
    /// dL/dvalue, or [`Mat::NONE`].
    pub grad: Mat<T>,
}

impl<T> Clone for Var<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Var<T> {}

impl<T> Var<T> {
    /// A value that needs no gradient.
    pub fn constant(value: Mat<T>) -> Self {
        Var { value, grad: Mat::NONE }
    }
    /// No value at all.
    pub fn none() -> Self {
        Var::constant(Mat::NONE)
    }
    /// Number of rows of the value.
    pub fn rows(&self) -> usize {
        self.value.rows
    }
    /// Number of columns of the value.
    pub fn cols(&self) -> usize {
        self.value.cols
    }
    /// See [`Mat::rows_at`].
    pub fn rows_at(&self, first: usize, rows: usize) -> Self {
        Var { value: self.value.rows_at(first, rows), grad: self.grad.rows_at(first, rows) }
    }
}

/// The layout of an allocation while it grows; nothing is allocated here.
#[derive(Debug, Clone)]
pub struct Arena {
    bytes: usize,
    /// The bytes of each tensor, and its columns.
    tensors: Vec<(Range<usize>, usize)>,
}

impl Default for Arena {
    fn default() -> Self {
        Arena { bytes: ALIGN, tensors: Vec::new() } // place 0 is Mat::NONE
    }
}

impl Arena {
    /// A place for a matrix; it starts as zeros. An empty one is absent.
    pub fn mat<T>(&mut self, rows: usize, cols: usize) -> Mat<T> {
        if rows * cols == 0 {
            return Mat::NONE;
        }
        let (offset, bytes) = (self.bytes, rows * cols * size_of::<T>());
        self.tensors.push((offset..offset + bytes, cols));
        self.bytes = (offset + bytes).next_multiple_of(ALIGN);
        Mat { offset, rows, cols, marker: PhantomData }
    }

    /// A place for a value and its gradient.
    pub fn var<T: Real>(&mut self, rows: usize, cols: usize) -> Var<T> {
        Var { value: self.mat(rows, cols), grad: self.mat(rows, cols) }
    }

    /// Number of bytes laid out so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if these bytes lie inside one tensor.
    pub fn holds(&self, bytes: &Range<usize>) -> bool {
        self.holder(bytes).is_some()
    }

    /// Rows and columns of the elements of this size at these bytes: those of the tensor that holds
    /// them; one row where they are no whole rows of it.
    pub fn shape(&self, bytes: &Range<usize>, element: usize) -> [usize; 2] {
        let elements = bytes.len() / element;
        match self.holder(bytes) {
            Some((_, cols)) if elements.is_multiple_of(*cols) => [elements / cols, *cols],
            _ => [1, elements],
        }
    }

    /// The tensor that holds these bytes.
    fn holder(&self, bytes: &Range<usize>) -> Option<&(Range<usize>, usize)> {
        let after = self.tensors.partition_point(|(tensor, _)| tensor.start <= bytes.start);
        self.tensors[..after].last().filter(|(tensor, _)| bytes.end <= tensor.end)
    }
}
