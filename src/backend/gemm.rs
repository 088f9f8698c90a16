//! Matrix products on the CPU, made for a small batch: few rows against weights that are read once, from a far cache.
//!
//! An output element is one chain of fused multiply-adds over the contraction, in its order: the terms one after
//! another, each from its first index to its last (of a blend: each piece of a term, scaled, added to those before). How the
//! output is cut into tiles and tasks changes no bit, so neither does the number of threads (nor the width of the vectors).
#![allow(unsafe_code)]
use super::lanes::prefetch;
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
            data.len() >= span(rows, cols, stride),
            "[{rows}, {cols}] with rows {stride} apart in {} elements",
            data.len()
        );
        Mat { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, [cols, rows], of the same data.
    pub fn t(self) -> Self {
        Mat { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The part that starts at this row and column.
    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> At<*const T> {
        let first = self.data.as_ptr().wrapping_add(row * self.row_stride + col * self.col_stride);
        At { first, row: self.row_stride, col: self.col_stride }
    }
}

/// Elements from the first to the last of `count` stretches of `len`, `stride` apart.
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

    /// `count` matrices, the first elements of neighbours `apart` elements apart, row `i` of each at `i * stride`: one
    /// behind the other, or side by side (rows of `count * apart`).
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
    sums(team, out, add, terms, |i, t| {
        let (a, b) = factors(i, t);
        Term { a, b, scale: None }
    });
}

/// `out = a b + sum_t s(t) a(t) b(t)` for `t < terms`, where `s(t)` [rows, 1] scales the rows; `factors(t)` says which matrices
/// these are. No product is stored.
///
/// # Panics
/// When shapes do not fit.
pub fn blend<'a, T: Real>(
    team: &Team,
    out: MatsMut<'_, T>,
    (a, b): (Mat<'a, T>, Mat<'a, T>),
    terms: usize,
    factors: impl Fn(usize) -> [Mat<'a, T>; 3] + Sync,
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
    a: Mat<'a, T>,
    b: Mat<'a, T>,
    scale: Option<Mat<'a, T>>,
}

/// Both of the above.
fn sums<'a, T: Real>(
    team: &Team,
    out: MatsMut<'_, T>,
    add: bool,
    terms: usize,
    term: impl Fn(usize, usize) -> Term<'a, T> + Sync,
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
        T::run(Block { out: &out, c, first, rows, col, cols, add, i, terms, term: &term });
    });
}

/// Columns of a task.
const TASK_COLS: usize = 32;
/// How many rows of the right factor, or numbers of each row where it is transposed, are asked for ahead: they come from
/// a far cache when first read, and their stride is more than hardware follows across pages.
const ROWS_AHEAD: usize = 16;
const NUMBERS_AHEAD: usize = 64;
/// Rows of a packed panel that are multiplied in one turn of the loop with neighbours in the left factor: addresses that need no
/// arithmetic.
const AT_ONCE: usize = 4;
/// Bytes of a line of a cache.
const LINE: usize = 64;
/// Bytes of a packed panel of the right factor; with eight rows of the left one it fits a first-level cache of 48 KB.
const PANEL_BYTES: usize = 36 * 1024;
/// Longest piece of a term that is packed or scaled: a panel holds as much of two registers of 64 bytes. The same whatever rows a
/// task has and however wide vectors are, as the pieces of a term that is scaled decide the bits.
const PANEL_DEPTH: usize = PANEL_BYTES / 128;
/// Above this many rows a panel is used often enough to be worth packing although it could be read in place, on a processor with
/// so many registers.
const fn unpacked_rows(registers: usize) -> usize {
    if registers >= 32 { 64 } else { 32 }
}

#[repr(align(64))]
struct Panel(MaybeUninit<[u8; PANEL_BYTES]>);

/// Where a matrix is: its first element and the distances of rows and columns.
#[derive(Clone, Copy)]
struct At<P> {
    first: P,
    row: usize,
    col: usize,
}

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

/// Numbers of which there are products. Their tasks are compiled here, and not wherever a product is asked for.
pub trait Multiply: Sized {
    /// Does the task with the widest vectors that this processor has.
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

impl<T: Real> Block<'_, '_, '_, T> {
    /// Where the task's columns from `col` on lie.
    #[inline(always)]
    fn c_at(&self, col: usize) -> At<*mut T> {
        At { first: self.c.wrapping_add(col), row: self.out.stride, col: 1 }
    }

    /// Where the panel lies that comes after the piece of `step` rows from row `k` of term `t` whose columns end before `col`;
    /// none where there is nothing to ask for.
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
}

/// Where tiles find the right factor's panel.
#[derive(Clone, Copy)]
enum Source<T> {
    /// Packed.
    Panel,
    /// In the factor itself.
    InPlace,
    /// In the factor, which the first tile packs row by row.
    Copy(At<*const T>),
    /// In the factor, which the first tile packs square by square of the transpose, but for the last `depth % 4` rows.
    Turn(At<*const T>),
}

impl<T: Real> WithSimd for Block<'_, '_, '_, T> {
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
                // As below; no factor is read.
                simd.vectorize(Rows {
                    shape: [self.rows, 0, cols],
                    a: nothing,
                    b: nothing,
                    source: Source::Panel,
                    scale: None,
                    c,
                    add: false,
                    next: None,
                });
            }
        }
        for t in 0..self.terms {
            let Term { a, b, scale } = (self.term)(self.i, t);
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
            assert!(
                scale.is_none_or(|scale| scale.rows == a.rows && scale.cols == 1),
                "one scale for each of {} rows",
                a.rows
            );
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
                    // SAFETY: `Mat::new` and `MatsMut::many` checked that the rows and columns addressed here lie in
                    // their slices; the panel holds `depth * padded` numbers; the tile at `c` belongs to this task alone.
                    unsafe {
                        if !in_place {
                            source = Source::Panel;
                            // The first tile fills a panel of whole registers itself; the squares of a transposed one
                            // only with registers to spare.
                            let mut ready = 0;
                            if cols == padded && self.rows >= 8 {
                                if b.col == 1 {
                                    (source, ready) = (Source::Copy(b), depth);
                                } else if b.row == 1 && T::transposes::<S>() && S::REGISTER_COUNT >= 32 {
                                    (source, ready) = (Source::Turn(b), depth / 4 * 4);
                                }
                            }
                            let rest = At { first: b.first.wrapping_add(ready * b.row), ..b };
                            pack(simd, [depth - ready, cols, padded], rest, panel.add(ready * padded));
                            b = At { first: panel.cast_const(), row: padded, col: 1 };
                        }
                        let add = self.add || t > 0 || k > 0;
                        debug_assert!(add || scale.is_none(), "what is scaled is added");
                        let (shape, c) = ([self.rows, depth, cols], self.c_at(col));
                        simd.vectorize(Rows { shape, a, b, source, scale, c, add, next });
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
unsafe fn pack<S: Simd, T: Real>(simd: S, [depth, cols, padded]: [usize; 3], b: At<*const T>, panel: *mut T) {
    let width = T::width::<S>();
    // Whole squares of a transposed matrix, four rows of the panel at a time; what is left goes number by number.
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

/// The transpose of a register's width of rows, `row` apart, of four numbers.
///
/// # Safety
/// These numbers must be readable.
#[inline(always)]
unsafe fn turn<S: Simd, T: Real>(simd: S, from: *const T, row: usize) -> [T::Vector<S>; 4] {
    let mut rows = [T::splat(simd, T::zero()); 4];
    for (i, row_of_groups) in rows.iter_mut().enumerate() {
        let groups = std::ptr::from_mut(row_of_groups).cast::<[T; 4]>();
        for group in 0..T::width::<S>() / 4 {
            // SAFETY: the numbers are readable by the caller; a register is whole groups of four numbers.
            unsafe {
                let four = from.add((4 * group + i) * row).cast::<[T; 4]>().read_unaligned();
                groups.add(group).write_unaligned(four);
            }
        }
    }
    T::transpose4(simd, rows)
}

/// Puts registers into rows `apart`.
///
/// # Safety
/// These rows must be writable.
#[inline(always)]
unsafe fn put<R: Copy, T>(registers: [R; 4], to: *mut T, apart: usize) {
    for (i, register) in registers.into_iter().enumerate() {
        // SAFETY: by the caller.
        unsafe { to.add(i * apart).cast::<R>().write_unaligned(register) }
    }
}

/// `c (+)= a b` for all rows of a task and one panel `b` of one or two registers' width, which the first tile may pack. With a
/// scale [rows, 1] the product's rows are multiplied by it, and added whatever `add` says. The rows of the `next` panel are asked
/// for on the way.
///
/// # Safety
/// Of who makes one: `a` [rows, depth], `b` [depth, one or two whole registers] and `c` [rows, cols] must be accessible, and the factor
/// that is packed [depth, cols], and the scale; `b` must be writable then. What is to be packed is whole registers wide, and there are at
/// least 8 rows; of what is turned, on a processor with 32 registers, the last `depth % 4` rows are there. Rows of `b` follow one
/// another without gaps unless it is read in place.
struct Rows<T> {
    /// rows, depth, cols
    shape: [usize; 3],
    a: At<*const T>,
    b: At<*const T>,
    source: Source<T>,
    scale: Option<At<*const T>>,
    c: At<*mut T>,
    add: bool,
    next: Option<At<*const T>>,
}

impl<T: Real> WithSimd for Rows<T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { shape: [rows, depth, cols], a, b, source, scale, c, add, next } = self;
        let packs = matches!(source, Source::Copy(_) | Source::Turn(_));
        debug_assert!(!packs || rows >= 8 && cols.is_multiple_of(T::width::<S>()));
        debug_assert!(!matches!(source, Source::Turn(_)) || S::REGISTER_COUNT >= 32);
        let (mut row, mut asked) = (0, 0);
        macro_rules! tile {
            ($height:literal, $how:ident, $from:expr) => {
                if let Some(next) = next {
                    // A share of them beside each tile: all at once they would wait for one another.
                    let share = depth * (row + $height) / rows;
                    for k in asked..share {
                        let row = next.first.wrapping_add(k * next.row);
                        (0..cols).step_by(LINE / size_of::<T>()).for_each(|col| prefetch(row.wrapping_add(col)));
                        prefetch(row.wrapping_add(cols - 1));
                    }
                    asked = share;
                }
                let a = At { first: a.first.wrapping_add(row * a.row), ..a };
                let c = At { first: c.first.wrapping_add(row * c.row), ..c };
                let at_row = |scale: At<*const T>| At { first: scale.first.wrapping_add(row * scale.row), ..scale };
                macro_rules! wide {
                    ($width:literal) => {
                        match scale.map(at_row) {
                            None => tile::<S, T, $height, $width, $how, false>(
                                simd,
                                [depth, cols],
                                a,
                                b,
                                [$from; 2],
                                c,
                                add,
                            ),
                            Some(scale) => {
                                let more = [$from, scale];
                                tile::<S, T, $height, $width, $how, true>(simd, [depth, cols], a, b, more, c, add)
                            }
                        }
                    };
                }
                // SAFETY: by the caller.
                unsafe { if cols > T::width::<S>() { wide!(2) } else { wide!(1) } }
                row += $height;
            };
        }
        macro_rules! tiles {
            ($height:literal) => {
                while rows - row >= $height {
                    if let Source::InPlace = source {
                        tile!($height, IN_PLACE, b);
                    } else {
                        tile!($height, PACKED, b);
                    }
                }
            };
        }
        // As many sums as fill the registers.
        if S::REGISTER_COUNT >= 32 {
            match source {
                Source::Panel | Source::InPlace => {}
                Source::Copy(from) => {
                    tile!(8, COPY, from);
                }
                Source::Turn(from) => {
                    tile!(8, TURN, from);
                }
            }
            tiles!(8);
        } else {
            if let Source::Copy(from) = source {
                tile!(6, COPY, from);
            }
            tiles!(6);
        }
        tiles!(4);
        tiles!(1);
    }
}

/// How a tile reads the right factor: see [`Source`].
const PACKED: u8 = 0;
const IN_PLACE: u8 = 1;
const COPY: u8 = 2;
const TURN: u8 = 3;

/// The innermost product: `HEIGHT` rows by `WIDTH` registers of sums, held in registers over the whole depth. One that packs its
/// panel `b` reads from `source` what it leaves there; `SCALED`, it adds the sums, times `scale`, to what is there.
///
/// # Safety
/// As for [`Rows`], with `HEIGHT` rows.
#[inline(always)]
unsafe fn tile<S: Simd, T: Real, const HEIGHT: usize, const WIDTH: usize, const HOW: u8, const SCALED: bool>(
    simd: S,
    [depth, cols]: [usize; 2],
    a: At<*const T>,
    b: At<*const T>,
    [source, scale]: [At<*const T>; 2],
    c: At<*mut T>,
    add: bool,
) {
    let width = T::width::<S>();
    let last = cols - (WIDTH - 1) * width;
    let whole = |j| j + 1 < WIDTH || last == width;
    // SAFETY: by the caller.
    let load = |c: *mut T, j| unsafe {
        if whole(j) {
            c.cast::<T::Vector<S>>().read_unaligned()
        } else {
            T::load_part(simd, std::slice::from_raw_parts(c, last))
        }
    };
    // Multiples of the row stride that an address can hold. If the compiler saw them as such, it would make them a
    // chain of additions as long as the multiplications beside it.
    let [three, five, seven] = [3, 5, 7].map(|n| black_box(n * a.row));
    let a_rows = [0, a.row, 2 * a.row, three, 4 * a.row, five, 2 * three, seven];
    // SAFETY: by the caller.
    unsafe {
        let mut sums = [[T::splat(simd, T::zero()); WIDTH]; HEIGHT];
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                let c = c.first.add(i * c.row + j * width);
                if add && !SCALED {
                    *sum = load(c, j);
                } else {
                    prefetch(c);
                }
            }
        }
        let (mut left, mut right) = (a.first, b.first);
        let mut rest = depth;
        if HOW == TURN {
            let mut from = source.first;
            for turn_number in 0..depth / 4 {
                // A cache line serves four turns: each asks for those of a quarter of the rows.
                let quarter = WIDTH * width / 4;
                for i in 0..quarter {
                    let row = turn_number % 4 * quarter + i;
                    prefetch(from.wrapping_add(row * source.col + NUMBERS_AHEAD));
                }
                let mut turned = [[T::splat(simd, T::zero()); 4]; WIDTH];
                for (j, turned) in turned.iter_mut().enumerate() {
                    *turned = turn(simd, from.add(j * width * source.col), source.col);
                    put(*turned, right.cast_mut().add(j * width), b.row);
                }
                for k in 0..4 {
                    for (sums, &row) in sums.iter_mut().zip(&a_rows) {
                        let number = T::splat(simd, *left.add(row));
                        for (sum, turned) in sums.iter_mut().zip(&turned) {
                            *sum = T::fma(simd, number, turned[k], *sum);
                        }
                    }
                    left = left.wrapping_add(a.col);
                }
                from = from.wrapping_add(4);
                right = right.wrapping_add(4 * b.row);
            }
            rest = depth % 4;
        }
        debug_assert!(HOW != PACKED || depth == 0 || b.row == WIDTH * width, "a panel has no gaps");
        // (Of other left factors the compiler would keep the addresses of all these numbers, in memory.)
        if HOW == PACKED && a.col == 1 {
            for _ in 0..rest / AT_ONCE {
                for k in 0..AT_ONCE {
                    let right = right.add(k * WIDTH * width).cast::<T::Vector<S>>();
                    for (sums, &row) in sums.iter_mut().zip(&a_rows) {
                        let number = T::splat(simd, *left.add(k).add(row));
                        for (j, sum) in sums.iter_mut().enumerate() {
                            *sum = T::fma(simd, number, right.add(j).read_unaligned(), *sum);
                        }
                    }
                }
                left = left.add(AT_ONCE);
                right = right.add(AT_ONCE * WIDTH * width);
            }
            rest %= AT_ONCE;
        }
        let mut from = if HOW == COPY { source } else { At { first: right, ..b } };
        for _ in 0..rest {
            let mut registers = [T::splat(simd, T::zero()); WIDTH];
            for (j, register) in registers.iter_mut().enumerate() {
                *register = from.first.add(j * width).cast::<T::Vector<S>>().read_unaligned();
                if HOW != PACKED {
                    prefetch(from.first.wrapping_add(ROWS_AHEAD * from.row + j * width));
                }
                if HOW == COPY {
                    right.cast_mut().add(j * width).cast::<T::Vector<S>>().write_unaligned(*register);
                }
            }
            for (sums, &row) in sums.iter_mut().zip(&a_rows) {
                let number = T::splat(simd, *left.add(row));
                for (sum, &register) in sums.iter_mut().zip(&registers) {
                    *sum = T::fma(simd, number, register, *sum);
                }
            }
            left = left.wrapping_add(a.col);
            right = right.wrapping_add(b.row);
            from.first = from.first.wrapping_add(from.row);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let number =
                if SCALED { T::splat(simd, *scale.first.add(i * scale.row)) } else { T::splat(simd, T::zero()) };
            for (j, mut sum) in sums.into_iter().enumerate() {
                let c = c.first.add(i * c.row + j * width);
                if SCALED {
                    sum = T::fma(simd, number, sum, load(c, j));
                }
                if whole(j) {
                    c.cast::<T::Vector<S>>().write_unaligned(sum);
                } else {
                    T::store_part(simd, std::slice::from_raw_parts_mut(c, last), sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same task in every instruction set this processor has.
    #[test]
    fn widths_of_vectors_change_no_bit() {
        // Of 16 lanes part of the second register; two whole ones and part of a third, deeper than a scaled piece.
        widths_agree([29, 41, 31], 1.0);
        widths_agree([29, 301, 47], 2.0);
    }

    /// Sums of `depth` products in scalar loops differ by at most so many times `depth` epsilons.
    fn widths_agree([rows, depth, cols]: [usize; 3], times: f32) {
        let number = |i: usize| ((i * 7919 % 1009) as f32 / 500.0).sin();
        let left: Vec<f32> = (0..rows * depth).map(number).collect();
        let right: Vec<f32> = (0..cols * depth).map(number).collect();
        for (transposed, scaled) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = Mat::new(&left, rows, depth, depth);
            let b =
                if transposed { Mat::new(&right, cols, depth, depth).t() } else { Mat::new(&right, depth, cols, cols) };
            macro_rules! with {
                ($task:ident => $run:expr) => {{
                    let mut c = vec![0f32; rows * cols];
                    let out = &MatsMut::one(&mut c, rows, cols, cols);
                    let scale = scaled.then(|| Mat::new(&right, rows, 1, 3));
                    let (term, first, col, add, i, terms) = (&|_, _| Term { a, b, scale }, 0, 0, scaled, 0, 1);
                    let $task = Block { out, c: out.data, first, rows, col, cols, add, i, terms, term };
                    $run;
                    c
                }};
            }
            let scalar = with!(task => Simd::vectorize(pulp::Scalar::new(), task));
            let best = with!(task => Arch::new().dispatch(task));
            // Without fused multiply-adds, every product is rounded too.
            let far = scalar.iter().zip(&best).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(far <= times * depth as f32 * f32::EPSILON, "{far} from the scalar loops");
            #[cfg(target_arch = "x86_64")]
            if let Some(v3) = pulp::x86::V3::try_new() {
                assert_eq!(with!(task => Simd::vectorize(v3, task)), best);
            }
        }
    }
}
