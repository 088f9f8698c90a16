//! Matrix products on the CPU, made for a small batch: few rows against weights that are read once.
//!
//! An output element is one chain of fused multiply-adds over the contraction, in its order: the terms one after
//! another, each from its first index to its last. How the output is cut into tiles and tasks changes no bit, so
//! neither does the number of threads (nor the width of the vectors).
#![allow(unsafe_code)]
use super::team::Team;
use crate::real::Real;
use pulp::{Arch, Simd, WithSimd};
use std::hint::black_box;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A matrix [rows, cols] seen in a slice.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row-major: row `i` starts at `i * stride`.
    ///
    /// # Panics
    /// When the slice is too short.
    pub fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(
            rows == 0 || cols == 0 || data.len() >= (rows - 1) * stride + cols,
            "[{rows}, {cols}] with rows {stride} apart in {} elements",
            data.len()
        );
        Mat { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, [cols, rows], of the same data.
    pub fn t(self) -> Self {
        Mat { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
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

    /// `count` matrices, the first elements of neighbours `apart` elements apart, row `i` of each at `i * stride`: one
    /// behind the other, or side by side (rows of `count * apart`).
    ///
    /// # Panics
    /// When the slice is too short, or matrices or rows overlap.
    pub fn many(data: &'a mut [T], count: usize, apart: usize, rows: usize, cols: usize, stride: usize) -> Self {
        let one = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols };
        let all = if count == 0 || one == 0 { 0 } else { (count - 1) * apart + one };
        let behind = apart >= one && (rows <= 1 || stride >= cols);
        let beside = apart >= cols && (rows <= 1 || stride >= count.saturating_sub(1) * apart + cols);
        assert!(
            all <= data.len() && (all == 0 || beside || if count == 1 { rows <= 1 || stride >= cols } else { behind }),
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
pub fn product<T: Real>(team: &Team, out: MatsMut<'_, T>, add: bool, a: Mat<'_, T>, b: Mat<'_, T>) {
    products(team, out, add, 1, |_, _| (a, b))
}

/// `out[i] = sum_t a(i, t) b(i, t)`, or `out[i] += ...` with `add`, for every output `i` and `t < terms`;
/// `factors(i, t)` says which matrices these are. All of it is one region of the team.
///
/// # Panics
/// When shapes do not fit.
pub fn products<'a, T: Real>(
    team: &Team,
    out: MatsMut<'_, T>,
    add: bool,
    terms: usize,
    factors: impl Fn(usize, usize) -> (Mat<'a, T>, Mat<'a, T>) + Sync,
) {
    let panels = out.cols.div_ceil(TASK_COLS);
    // Rows are split too when there would be too few tasks to share out evenly; each then packs its panel again.
    let enough = if team.threads() == 1 { 1 } else { 2 * team.threads() };
    let groups = enough.div_ceil((out.count * panels).max(1)).min(out.rows.div_ceil(32)).max(1);
    let group = out.rows.div_ceil(groups).next_multiple_of(8);
    let groups = out.rows.div_ceil(group.max(1));
    team.run(out.count * panels * groups, |task| {
        let (i, panel, first) = (task / (panels * groups), task / groups % panels, task % groups * group);
        let col = panel * TASK_COLS;
        let rows = group.min(out.rows - first);
        let cols = TASK_COLS.min(out.cols - col);
        // SAFETY: inside the slice, whose length `MatsMut::many` checked.
        let c = unsafe { out.data.add(i * out.apart + first * out.stride + col) };
        Arch::new().dispatch(Block { out: &out, c, first, rows, col, cols, add, i, terms, factors: &factors });
    });
}

/// Columns of a task.
const TASK_COLS: usize = 32;
/// Bytes of a packed panel of the right factor; with eight rows of the left one it fits a first-level cache of 48 KB.
const PANEL_BYTES: usize = 36 * 1024;
/// Above this many rows a panel is used often enough to be worth packing although it could be read in place.
const UNPACKED_ROWS: usize = 64;

#[repr(align(64))]
struct Panel(MaybeUninit<[u8; PANEL_BYTES]>);

/// A task: rows `first ..` and columns `col ..` of output `i`, at `c`.
struct Block<'b, 'o, T, F> {
    out: &'b MatsMut<'o, T>,
    c: *mut T,
    first: usize,
    rows: usize,
    col: usize,
    cols: usize,
    add: bool,
    i: usize,
    terms: usize,
    factors: &'b F,
}

impl<'a, T: Real, F: Fn(usize, usize) -> (Mat<'a, T>, Mat<'a, T>)> WithSimd for Block<'_, '_, T, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = T::width::<S>();
        let mut panel = Panel(MaybeUninit::uninit());
        let panel = panel.0.as_mut_ptr().cast::<T>();
        for col in (0..self.cols).step_by(2 * width) {
            let cols = (2 * width).min(self.cols - col);
            let padded = cols.next_multiple_of(width);
            // SAFETY: still inside the output.
            let c = unsafe { self.c.add(col) };
            if self.terms == 0 && !self.add {
                // SAFETY: as below; nothing is read.
                unsafe { rows(simd, self.rows, cols, 0, c, 0, 0, panel, 0, c, self.out.stride, false) };
            }
            for t in 0..self.terms {
                let (a, b) = (self.factors)(self.i, t);
                let depth = a.cols;
                assert!(
                    a.rows == self.out.rows && b.rows == depth && b.cols == self.out.cols,
                    "product of [{}, {depth}] and [{}, {}] into [{}, {}]",
                    a.rows,
                    b.rows,
                    b.cols,
                    self.out.rows,
                    self.out.cols
                );
                let in_place = b.col_stride == 1 && cols == padded && self.rows <= UNPACKED_ROWS;
                let most = if in_place { depth } else { PANEL_BYTES / size_of::<T>() / padded };
                let step = depth.div_ceil(depth.div_ceil(most.max(1)).max(1)).max(1);
                for k in (0..depth.max(1)).step_by(step) {
                    let depth = step.min(depth - k);
                    // SAFETY: `Mat::new` checked that the rows and columns addressed here lie in the slices; the panel
                    // holds `depth * padded` numbers; the tile at `c` belongs to this task alone.
                    unsafe {
                        let a_at = a.data.as_ptr().wrapping_add(self.first * a.row_stride + k * a.col_stride);
                        let b_at = b.data.as_ptr().wrapping_add(k * b.row_stride + (self.col + col) * b.col_stride);
                        let (b_at, b_stride) = if in_place {
                            (b_at, b.row_stride)
                        } else {
                            pack(simd, depth, cols, padded, b_at, b.row_stride, b.col_stride, panel);
                            (panel.cast_const(), padded)
                        };
                        let add = self.add || t > 0 || k > 0;
                        rows(
                            simd,
                            self.rows,
                            cols,
                            depth,
                            a_at,
                            a.row_stride,
                            a.col_stride,
                            b_at,
                            b_stride,
                            c,
                            self.out.stride,
                            add,
                        );
                    }
                }
            }
        }
    }
}

/// Copies `depth` rows of `cols` numbers into a panel with rows of `padded`, filled up with zeros.
///
/// # Safety
/// The numbers addressed must be readable, `depth * padded` numbers writable at `panel`.
#[inline(always)]
unsafe fn pack<S: Simd, T: Real>(
    simd: S,
    depth: usize,
    cols: usize,
    padded: usize,
    b: *const T,
    row_stride: usize,
    col_stride: usize,
    panel: *mut T,
) {
    let width = T::width::<S>();
    // Whole squares of a transposed matrix, four rows of the panel at a time; what is left goes number by number.
    let turned = if row_stride == 1 && T::transposes::<S>() { (depth / 4 * 4, cols / width * width) } else { (0, 0) };
    // SAFETY: by the caller; the indices below stay within depth and cols.
    unsafe {
        for col in (0..turned.1).step_by(width) {
            let b = b.add(col * col_stride);
            let to = panel.add(col);
            // Four squares a round use up the cache lines they touch.
            for k in (0..turned.0 / 16 * 16).step_by(16) {
                turn(simd, b.add(k), col_stride, to.add(k * padded), padded);
                turn(simd, b.add(k + 4), col_stride, to.add((k + 4) * padded), padded);
                turn(simd, b.add(k + 8), col_stride, to.add((k + 8) * padded), padded);
                turn(simd, b.add(k + 12), col_stride, to.add((k + 12) * padded), padded);
            }
            for k in (turned.0 / 16 * 16..turned.0).step_by(4) {
                turn(simd, b.add(k), col_stride, to.add(k * padded), padded);
            }
        }
        for k in 0..depth {
            let from = b.add(k * row_stride);
            let to = panel.add(k * padded);
            let done = if k < turned.0 { turned.1 } else { 0 };
            if col_stride == 1 {
                std::ptr::copy_nonoverlapping(from, to, cols);
            } else {
                for col in done..cols {
                    to.add(col).write(*from.add(col * col_stride));
                }
            }
            for col in cols..padded {
                to.add(col).write(T::zero());
            }
        }
    }
}

/// Writes, to four rows `to_row` apart, the transpose of a register's width of rows `from_row` apart of four numbers.
///
/// # Safety
/// These numbers must be readable and writable.
#[inline(always)]
unsafe fn turn<S: Simd, T: Real>(simd: S, from: *const T, from_row: usize, to: *mut T, to_row: usize) {
    // SAFETY: by the caller; a register is `width` numbers, each group of four of which is written.
    unsafe {
        let rows: [T::Vector<S>; 4] = std::array::from_fn(|i| {
            let mut row = MaybeUninit::<T::Vector<S>>::uninit();
            for group in 0..T::width::<S>() / 4 {
                let four = from.add((4 * group + i) * from_row).cast::<[T; 4]>().read_unaligned();
                row.as_mut_ptr().cast::<[T; 4]>().add(group).write_unaligned(four);
            }
            row.assume_init()
        });
        let turned = T::transpose4(simd, rows);
        for i in 0..4 {
            to.add(i * to_row).cast::<T::Vector<S>>().write_unaligned(turned[i]);
        }
    }
}

/// `c (+)= a b` for `rows` rows and one panel of one or two registers' width.
///
/// # Safety
/// `a` [rows, depth], `b` [depth, one or two whole registers] and `c` [rows, cols] must be accessible with these strides.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn rows<S: Simd, T: Real>(
    simd: S,
    rows: usize,
    cols: usize,
    depth: usize,
    a: *const T,
    a_row: usize,
    a_col: usize,
    b: *const T,
    b_row: usize,
    c: *mut T,
    c_row: usize,
    add: bool,
) {
    let mut row = 0;
    macro_rules! tiles {
        ($height:literal) => {
            while rows - row >= $height {
                let (a, c) = (a.wrapping_add(row * a_row), c.wrapping_add(row * c_row));
                // SAFETY: by the caller.
                unsafe {
                    if cols > T::width::<S>() {
                        tile::<S, T, $height, 2>(simd, cols, depth, a, a_row, a_col, b, b_row, c, c_row, add);
                    } else {
                        tile::<S, T, $height, 1>(simd, cols, depth, a, a_row, a_col, b, b_row, c, c_row, add);
                    }
                }
                row += $height;
            }
        };
    }
    if S::REGISTER_COUNT >= 32 {
        tiles!(8);
    }
    tiles!(4);
    tiles!(1);
}

/// The innermost product: `HEIGHT` rows by `WIDTH` registers of sums, held in registers over the whole depth.
///
/// # Safety
/// As for [`rows`], with `rows` = `HEIGHT`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn tile<S: Simd, T: Real, const HEIGHT: usize, const WIDTH: usize>(
    simd: S,
    cols: usize,
    depth: usize,
    mut a: *const T,
    a_row: usize,
    a_col: usize,
    mut b: *const T,
    b_row: usize,
    c: *mut T,
    c_row: usize,
    add: bool,
) {
    let width = T::width::<S>();
    let last = cols - (WIDTH - 1) * width;
    // SAFETY: by the caller.
    unsafe {
        let mut sums = [[T::splat(simd, T::zero()); WIDTH]; HEIGHT];
        if add {
            for i in 0..HEIGHT {
                for j in 0..WIDTH {
                    let c = c.add(i * c_row + j * width);
                    sums[i][j] = if j + 1 < WIDTH || last == width {
                        c.cast::<T::Vector<S>>().read_unaligned()
                    } else {
                        T::load_part(simd, std::slice::from_raw_parts(c, last))
                    };
                }
            }
        }
        // Multiples of the row stride that an address can hold; seen as such, they would become a chain of additions as
        // long as the multiplications beside it.
        let [three, five, seven] = [3, 5, 7].map(|n| black_box(n * a_row));
        let a_at = [0, a_row, 2 * a_row, three, 4 * a_row, five, 2 * three, seven];
        for _ in 0..depth {
            let right: [T::Vector<S>; WIDTH] =
                std::array::from_fn(|j| b.add(j * width).cast::<T::Vector<S>>().read_unaligned());
            for i in 0..HEIGHT {
                let left = T::splat(simd, *a.add(a_at[i]));
                for j in 0..WIDTH {
                    sums[i][j] = T::fma(simd, left, right[j], sums[i][j]);
                }
            }
            a = a.wrapping_add(a_col);
            b = b.wrapping_add(b_row);
        }
        for i in 0..HEIGHT {
            for j in 0..WIDTH {
                let c = c.add(i * c_row + j * width);
                if j + 1 < WIDTH || last == width {
                    c.cast::<T::Vector<S>>().write_unaligned(sums[i][j]);
                } else {
                    T::store_part(simd, std::slice::from_raw_parts_mut(c, last), sums[i][j]);
                }
            }
        }
    }
}
