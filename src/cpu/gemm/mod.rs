//! Matrix products on the CPU, made for a small batch: few rows against weights that are read once,
//! from a far cache.
//!
//! An output element is one chain of fused multiply-adds over the contraction, in its order. The
//! terms come one after another, each from its first index to its last. In a blend, each piece of a
//! term is scaled and added to the pieces before it. How the output is cut into tiles and tasks
//! changes no bit, so neither does the number of threads (nor the width of the vectors).
#![allow(unsafe_code)]
mod block;
mod rows;

use crate::cpu::number::Number;
use crate::cpu::team::Team;
use block::Block;
use std::marker::PhantomData;

pub use block::Multiply;

/// Number of columns that a task computes.
const TASK_COLS: usize = 32;

/// A matrix [rows, cols] seen in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major: row `i` starts at `i * stride`.
    ///
    /// # Panics
    /// When the slice is too short.
    pub fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(
            data.len() >= span(rows, cols, stride),
            "[{rows}, {cols}] with rows {stride} apart in {} elements",
            data.len()
        );
        Matrix { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, [cols, rows], of the same data.
    pub fn t(self) -> Self {
        Matrix { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The submatrix that starts at this row and column.
    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> At<*const T> {
        let first = self.data.as_ptr().wrapping_add(row * self.row_stride + col * self.col_stride);
        At { first, row: self.row_stride, col: self.col_stride }
    }
}

/// Number of elements from the first to the last of `count` stretches of `len`, `stride` apart.
fn span(count: usize, len: usize, stride: usize) -> usize {
    if count == 0 || len == 0 { 0 } else { (count - 1).saturating_mul(stride).saturating_add(len) }
}

/// One or several matrices [rows, cols] to be written, in one slice.
pub struct MatsMut<'a, T> {
    data: *mut T,
    count: usize,
    apart: usize,
    rows: usize,
    cols: usize,
    stride: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: tasks write disjoint tiles of the slice it borrows.
unsafe impl<T: Send> Sync for MatsMut<'_, T> {}

impl<'a, T> MatsMut<'a, T> {
    /// One matrix, row `i` at `i * stride`.
    ///
    /// # Panics
    /// When the slice is too short or rows overlap.
    pub fn one(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        Self::many(data, 1, 0, rows, cols, stride)
    }

    /// `count` matrices whose first elements are `apart` elements apart; row `i` of each starts at
    /// `i * stride` from there. The matrices lie one behind the other, or side by side (rows of
    /// `count * apart`).
    ///
    /// # Panics
    /// When the slice is too short, or matrices or rows overlap.
    pub fn many(data: &'a mut [T], count: usize, apart: usize, rows: usize, cols: usize, stride: usize) -> Self {
        let one = span(rows, cols, stride);
        let all = span(count, one, apart);
        let row = span(count, cols, apart);
        let behind = (count <= 1 || apart >= one) && (rows <= 1 || stride >= cols);
        let beside = (count <= 1 || apart >= cols) && (rows <= 1 || stride >= row);
        assert!(
            all <= data.len() && (all == 0 || behind || beside),
            "{count} outputs [{rows}, {cols}], {apart} apart with rows {stride} apart, in {} elements",
            data.len()
        );
        MatsMut { data: data.as_mut_ptr(), count, apart, rows, cols, stride, slice: PhantomData }
    }
}

/// `out = a b`, or `out += a b` with `add`, for one output.
///
/// # Panics
/// When shapes do not fit.
pub fn product<T: Number + Multiply>(team: &Team, out: MatsMut<'_, T>, add: bool, a: Matrix<'_, T>, b: Matrix<'_, T>) {
    products(team, out, add, 1, |_, _| (a, b))
}

/// `out[i] = sum_t a(i, t) b(i, t)`, or `out[i] += ...` with `add`, for every output `i` and `t <
/// terms`; `factors(i, t)` says which matrices these are. All of it is one region of the team.
///
/// # Panics
/// When shapes do not fit.
pub fn products<'a, T: Number + Multiply>(
    team: &Team,
    out: MatsMut<'_, T>,
    add: bool,
    terms: usize,
    factors: impl Fn(usize, usize) -> (Matrix<'a, T>, Matrix<'a, T>) + Sync,
) {
    sums(team, out, add, terms, |i, t| {
        let (a, b) = factors(i, t);
        Term { a, b, scale: None }
    });
}

/// `out = a b + sum_t s(t) a(t) b(t)` for `t < terms`, where `s(t)` [rows, 1] scales the rows;
/// `factors(t)` says which matrices these are. No product is stored.
///
/// # Panics
/// When shapes do not fit.
pub fn blend<'a, T: Number + Multiply>(
    team: &Team,
    out: MatsMut<'_, T>,
    (a, b): (Matrix<'a, T>, Matrix<'a, T>),
    terms: usize,
    factors: impl Fn(usize) -> [Matrix<'a, T>; 3] + Sync,
) {
    sums(team, out, false, 1 + terms, |_, t| match t.checked_sub(1) {
        None => Term { a, b, scale: None },
        Some(t) => {
            let [scale, a, b] = factors(t);
            Term { a, b, scale: Some(scale) }
        }
    });
}

/// A product, its rows perhaps scaled, which is then added to the terms before.
struct Term<'a, T> {
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    scale: Option<Matrix<'a, T>>,
}

/// Computes the sums of terms behind [`products`] and [`blend`].
fn sums<'a, T: Number + Multiply>(
    team: &Team,
    out: MatsMut<'_, T>,
    add: bool,
    terms: usize,
    term: impl Fn(usize, usize) -> Term<'a, T> + Sync,
) {
    let panels = out.cols.div_ceil(TASK_COLS);
    // Rows are split too when there would be too few tasks to share out evenly. Each of these tasks
    // then packs its panel again.
    let enough = if team.threads() == 1 { 1 } else { 2 * team.threads() };
    let groups = enough.div_ceil((out.count * panels).max(1)).min(out.rows.div_ceil(32)).max(1);
    let group = out.rows.div_ceil(groups).next_multiple_of(8);
    let groups = out.rows.div_ceil(group.max(1));
    team.run(out.count * panels * groups, |task| {
        let (i, panel, first) = (task / (panels * groups), task / groups % panels, task % groups * group);
        let col = panel * TASK_COLS;
        let rows = group.min(out.rows - first);
        let cols = TASK_COLS.min(out.cols - col);
        // SAFETY: the rows and columns are inside output i, and no other task has them.
        T::run(unsafe { Block::new(&out, [i, first, rows, col, cols], add, terms, &term) });
    });
}

/// The place of a matrix: its first element and the distances of rows and columns.
#[derive(Clone, Copy)]
struct At<P> {
    first: P,
    row: usize,
    col: usize,
}
