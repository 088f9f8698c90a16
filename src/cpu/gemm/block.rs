//! One task of a product. It works through its pieces of both factors, one panel of the right
//! factor at a time.
use super::rows::{Rows, Source, put, turn};
use super::{At, MatsMut, Term};
use crate::cpu::number::Number;
use pulp::{Arch, Simd, WithSimd};
use std::mem::MaybeUninit;

/// Bytes of a packed panel of the right factor; with eight rows of the left one it fits a
/// first-level cache of 48 KB.
const PANEL_BYTES: usize = 36 * 1024;
/// Longest piece of a term that is packed or scaled: a panel holds this many rows of two registers
/// of 64 bytes. It does not depend on the rows of a task or the width of vectors, since the pieces
/// of a scaled term decide the bits.
const PANEL_DEPTH: usize = PANEL_BYTES / 128;
/// Number of rows above which packing a panel pays even if it could be read in place: the panel is
/// then used often enough. It depends on the processor's number of vector registers.
const fn unpacked_rows(registers: usize) -> usize {
    if registers >= 32 { 64 } else { 32 }
}

#[repr(align(64))]
struct Panel(MaybeUninit<[u8; PANEL_BYTES]>);

/// A task of a product: rows `first ..` and columns `col ..` of output `i`, at `c`.
pub struct Block<'b, 'o, 'a, T> {
    out: &'b MatsMut<'o, T>,
    c: *mut T,
    first: usize,
    rows: usize,
    col: usize,
    cols: usize,
    add: bool,
    i: usize,
    terms: usize,
    term: &'b dyn Fn(usize, usize) -> Term<'a, T>,
}

/// Number types that have products. Their tasks are compiled here, not wherever a product is used.
pub trait Multiply: Sized {
    /// Runs the task with the widest vectors that this processor has.
    fn run(task: Block<'_, '_, '_, Self>);
}

impl Multiply for f32 {
    fn run(task: Block<'_, '_, '_, f32>) {
        Arch::new().dispatch(task);
    }
}

impl Multiply for f64 {
    fn run(task: Block<'_, '_, '_, f64>) {
        Arch::new().dispatch(task);
    }
}

impl<'b, 'o, 'a, T> Block<'b, 'o, 'a, T> {
    /// The task for `rows` rows from `first` on and `cols` columns from `col` on of output `i`, a
    /// sum of `terms` terms.
    ///
    /// # Safety
    /// They are inside the output, and nobody else's while this lives.
    pub(super) unsafe fn new(
        out: &'b MatsMut<'o, T>,
        [i, first, rows, col, cols]: [usize; 5],
        add: bool,
        terms: usize,
        term: &'b dyn Fn(usize, usize) -> Term<'a, T>,
    ) -> Self {
        // SAFETY: inside the slice, whose length `MatsMut::many` checked.
        let c = unsafe { out.data.add(i * out.apart + first * out.stride + col) };
        Block { out, c, first, rows, col, cols, add, i, terms, term }
    }
}

impl<'a, T: Number> Block<'_, '_, 'a, T> {
    /// The place in the output of the task's columns from `col` on.
    #[inline(always)]
    fn c_at(&self, col: usize) -> At<*mut T> {
        At { first: self.c.wrapping_add(col), row: self.out.stride, col: 1 }
    }

    /// The place of the panel to prefetch next. The current piece is `step` rows from row `k` of
    /// term `t`, and its columns end before `col`. Returns `None` if no panel follows, or if the
    /// next one is not stored by rows.
    #[inline(always)]
    fn next(&self, t: usize, [k, step]: [usize; 2], col: usize) -> Option<At<*const T>> {
        let b = |t: usize, k: usize, col: usize| (self.term)(self.i, t).b.at(k, self.col + col);
        let next = if col < self.cols {
            b(t, k, col)
        } else if k + step < (self.term)(self.i, t).a.cols {
            b(t, k + step, 0)
        } else if t + 1 < self.terms {
            b(t + 1, 0, 0)
        } else {
            return None;
        };
        (next.col == 1).then_some(next)
    }

    /// Term `t` of the output, whose shapes fit.
    fn checked(&self, t: usize) -> Term<'a, T> {
        let Term { a, b, scale } = (self.term)(self.i, t);
        assert!(
            a.rows == self.out.rows && b.rows == a.cols && b.cols == self.out.cols,
            "product of [{}, {}] and [{}, {}] into [{}, {}]",
            a.rows,
            a.cols,
            b.rows,
            b.cols,
            self.out.rows,
            self.out.cols
        );
        assert!(
            scale.is_none_or(|scale| scale.rows == a.rows && scale.cols == 1),
            "one scale for each of {} rows",
            a.rows
        );
        Term { a, b, scale }
    }

    /// Packs `depth` rows of `cols` numbers from `b` into a panel with rows of `padded` numbers, or
    /// leaves it to the first tile, which packs a panel of whole registers itself. It packs a
    /// transposed panel, in squares, only where the processor has registers to spare. Returns the
    /// place where tiles find the panel.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn packed<S: Simd>(
        &self,
        simd: S,
        [depth, cols, padded]: [usize; 3],
        b: At<*const T>,
        panel: *mut T,
    ) -> Source<T> {
        let (mut source, mut ready) = (Source::Panel, 0);
        if cols == padded && self.rows >= 8 {
            if b.col == 1 {
                (source, ready) = (Source::Copy(b), depth);
            } else if b.row == 1 && T::transposes::<S>() && S::REGISTER_COUNT >= 32 {
                (source, ready) = (Source::Turn(b), depth / 4 * 4);
            }
        }
        let rest = At { first: b.first.wrapping_add(ready * b.row), ..b };
        // SAFETY: by the caller.
        unsafe { pack(simd, [depth - ready, cols, padded], rest, panel.add(ready * padded)) };
        source
    }
}

impl<T: Number> WithSimd for Block<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = T::width::<S>();
        let mut panel = Panel(MaybeUninit::uninit());
        let panel = panel.0.as_mut_ptr().cast::<T>();
        if self.terms == 0 && !self.add {
            for col in (0..self.cols).step_by(2 * width) {
                let cols = (2 * width).min(self.cols - col);
                let (nothing, c) = (At { first: panel.cast_const(), row: 0, col: 0 }, self.c_at(col));
                // SAFETY: the tile at `c` belongs to this task alone; no factor is read.
                let rows = unsafe {
                    let shape = [self.rows, 0, cols];
                    Rows::new(shape, [nothing; 2], Source::Panel, None, (c, false), None)
                };
                simd.vectorize(rows);
            }
        }
        for t in 0..self.terms {
            let Term { a, b, scale } = self.checked(t);
            let depth = a.cols;
            let scale = scale.map(|scale| scale.at(self.first, 0));
            let near = b.col_stride == 1 && self.rows <= unpacked_rows(S::REGISTER_COUNT);
            let all_in_place = near && self.cols.is_multiple_of(width);
            let most = if all_in_place && scale.is_none() { depth } else { PANEL_DEPTH };
            let step = depth.div_ceil(depth.div_ceil(most.max(1)).max(1)).max(1);
            for k in (0..depth.max(1)).step_by(step) {
                let (a, depth) = (a.at(self.first, k), step.min(depth - k));
                for col in (0..self.cols).step_by(2 * width) {
                    let cols = (2 * width).min(self.cols - col);
                    let padded = cols.next_multiple_of(width);
                    let in_place = near && cols == padded;
                    let next = if in_place { None } else { self.next(t, [k, step], col + 2 * width) };
                    let (mut b, mut source) = (b.at(k, self.col + col), Source::InPlace);
                    if !in_place {
                        // SAFETY: `Matrix::new` checked that these rows and columns lie in its
                        // slice; the panel holds `depth * padded` numbers.
                        source = unsafe { self.packed(simd, [depth, cols, padded], b, panel) };
                        b = At { first: panel.cast_const(), row: padded, col: 1 };
                    }
                    let add = self.add || t > 0 || k > 0;
                    debug_assert!(add || scale.is_none(), "what is scaled is added");
                    let (shape, c) = ([self.rows, depth, cols], self.c_at(col));
                    // SAFETY: `Matrix::new` checked that the rows and columns of both factors and
                    // of the scale lie in their slices. The panel holds `depth * padded` numbers,
                    // whose last rows are packed. The tile at `c` belongs to this task alone, as
                    // `Block::new` was promised.
                    let rows = unsafe { Rows::new(shape, [a, b], source, scale, (c, add), next) };
                    simd.vectorize(rows);
                }
            }
        }
    }
}

/// Copies `depth` rows of `cols` numbers into a panel with rows of `padded` numbers, filled up with
/// zeros.
///
/// # Safety
/// The numbers addressed must be readable, `depth * padded` numbers writable at `panel`.
#[inline(always)]
unsafe fn pack<S: Simd, T: Number>(simd: S, [depth, cols, padded]: [usize; 3], b: At<*const T>, panel: *mut T) {
    let width = T::width::<S>();
    // Whole squares of a transposed matrix, four rows of the panel at a time; what is left goes
    // number by number.
    let turned = if b.row == 1 && T::transposes::<S>() { [depth / 4 * 4, cols / width * width] } else { [0, 0] };
    // SAFETY: by the caller; the indices below stay within depth and cols.
    unsafe {
        for col in (0..turned[1]).step_by(width) {
            let from = b.first.add(col * b.col);
            let to = panel.add(col);
            for k in (0..turned[0]).step_by(4) {
                put(turn(simd, from.add(k), b.col), to.add(k * padded), padded);
            }
        }
        for k in 0..depth {
            let from = b.first.add(k * b.row);
            let to = panel.add(k * padded);
            if b.col == 1 {
                std::ptr::copy_nonoverlapping(from, to, cols);
            } else {
                let done = if k < turned[0] { turned[1] } else { 0 };
                for col in done..cols {
                    to.add(col).write(*from.add(col * b.col));
                }
            }
            for col in cols..padded {
                to.add(col).write(T::zero());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::*;

    /// Runs one task in every instruction set that this processor has, and compares the bits.
    #[test]
    fn widths_of_vectors_change_no_bit() {
        // With 16 lanes, the first shape fills part of the second register. The second shape fills
        // two whole registers and part of a third, and is deeper than a scaled piece.
        widths_agree([29, 41, 31], 1.0);
        widths_agree([29, 301, 47], 2.0);
    }

    /// Checks that the widest vectors differ from scalar loops by at most `times * depth` epsilons,
    /// for sums of `depth` products.
    fn widths_agree([rows, depth, cols]: [usize; 3], times: f32) {
        let number = |i: usize| ((i * 7919 % 1009) as f32 / 500.0).sin();
        let left: Vec<f32> = (0..rows * depth).map(number).collect();
        let right: Vec<f32> = (0..cols * depth).map(number).collect();
        for (transposed, scaled) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = Matrix::new(&left, rows, depth, depth);
            let b = if transposed {
                Matrix::new(&right, cols, depth, depth).t()
            } else {
                Matrix::new(&right, depth, cols, cols)
            };
            let product = |run: &dyn Fn(Block<'_, '_, '_, f32>)| {
                let mut c = vec![0f32; rows * cols];
                let out = &MatsMut::one(&mut c, rows, cols, cols);
                let scale = scaled.then(|| Matrix::new(&right, rows, 1, 3));
                let term = &|_, _| Term { a, b, scale };
                // SAFETY: all of the output, which nobody else has.
                run(unsafe { Block::new(out, [0, 0, rows, 0, cols], scaled, 1, term) });
                c
            };
            let scalar = product(&|task| pulp::Scalar::new().vectorize(task));
            let best = product(&|task| Arch::new().dispatch(task));
            // Without fused multiply-adds, every product is rounded too.
            let far = scalar.iter().zip(&best).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(far <= times * depth as f32 * f32::EPSILON, "{far} from the scalar loops");
            #[cfg(target_arch = "x86_64")]
            if let Some(v3) = pulp::x86::V3::try_new() {
                assert_eq!(product(&|task| Simd::vectorize(v3, task)), best);
            }
        }
    }
}
