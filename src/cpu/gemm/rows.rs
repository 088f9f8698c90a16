//! The innermost loops: all rows of a task times one panel.
use super::At;
use crate::cpu::lanes::prefetch;
use crate::cpu::number::Number;
use pulp::{Simd, WithSimd};
use std::hint::black_box;

/// Number of rows of the right factor that are prefetched ahead. They come from a far cache when
/// first read, and their stride is more than the hardware prefetcher follows across pages.
const ROWS_AHEAD: usize = 16;
const NUMBERS_AHEAD: usize = 64;
/// Number of rows of a packed panel that one turn of the loop multiplies with neighbours in the
/// left factor. Their addresses need no arithmetic.
const AT_ONCE: usize = 4;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The four ways in which a tile reads the right factor, one for each [`Source`].
const PACKED: u8 = 0;
const IN_PLACE: u8 = 1;
const COPY: u8 = 2;
const TURN: u8 = 3;

/// The place where tiles find the right factor's panel.
#[derive(Clone, Copy)]
pub(super) enum Source<T> {
    /// The packed panel.
    Panel,
    /// The factor itself.
    InPlace,
    /// The factor, which the first tile packs row by row.
    Copy(At<*const T>),
    /// The factor, which the first tile packs square by square of the transpose, except for the
    /// last `depth % 4` rows.
    Turn(At<*const T>),
}

/// The product `c (+)= a b` for all rows of a task and one panel `b`, one or two registers wide,
/// which the first tile may pack. With a scale [rows, 1] the product's rows are multiplied by it,
/// and always added to `c`, whatever `add` says. The rows of the `next` panel are prefetched on the
/// way.
pub(super) struct Rows<T> {
    /// rows, depth, cols
    shape: [usize; 3],
    a: At<*const T>,
    b: At<*const T>,
    source: Source<T>,
    scale: Option<At<*const T>>,
    c: At<*mut T>,
    add: bool,
    next: Option<At<*const T>>,
    /// Number of rows that are done.
    done: usize,
    /// Number of rows of the next panel that are prefetched.
    asked: usize,
}

impl<T: Number> Rows<T> {
    /// Rows of a product of this shape, [rows, depth, cols].
    ///
    /// # Safety
    /// As long as this lives, `a` [rows, depth], `b` [depth, one or two whole registers], `c`
    /// [rows, cols] and the scale are accessible, and `c` is nobody else's. If the source is
    /// packed, its numbers [depth, cols] are readable and `b` is writable; `cols` is whole
    /// registers, and there are at least 8 rows. If it is turned, the processor has 32 registers,
    /// and `b` holds the last `depth % 4` rows. Rows of `b` follow one another without gaps unless
    /// it is read in place.
    pub unsafe fn new(
        shape: [usize; 3],
        [a, b]: [At<*const T>; 2],
        source: Source<T>,
        scale: Option<At<*const T>>,
        (c, add): (At<*mut T>, bool),
        next: Option<At<*const T>>,
    ) -> Self {
        Rows { shape, a, b, source, scale, c, add, next, done: 0, asked: 0 }
    }

    /// Computes the rows that are left, `HEIGHT` at a time, while there are so many.
    #[inline(always)]
    fn tiles<S: Simd, const HEIGHT: usize>(&mut self, simd: S) {
        while self.shape[0] - self.done >= HEIGHT {
            if let Source::InPlace = self.source {
                self.next_tile::<S, HEIGHT, IN_PLACE>(simd);
            } else {
                self.next_tile::<S, HEIGHT, PACKED>(simd);
            }
        }
    }

    /// Computes the next `HEIGHT` rows.
    #[inline(always)]
    fn next_tile<S: Simd, const HEIGHT: usize, const HOW: u8>(&mut self, simd: S) {
        let [rows, depth, cols] = self.shape;
        if let Some(next) = self.next {
            // Each tile prefetches a share of the rows: prefetched all at once, they would wait for
            // one another.
            let share = depth * (self.done + HEIGHT) / rows;
            for k in self.asked..share {
                let row = next.first.wrapping_add(k * next.row);
                (0..cols).step_by(LINE / size_of::<T>()).for_each(|col| prefetch(row.wrapping_add(col)));
                prefetch(row.wrapping_add(cols - 1));
            }
            self.asked = share;
        }
        // SAFETY: as `Rows::new` was promised.
        unsafe {
            match (cols > T::width::<S>(), self.scale) {
                (true, None) => self.tile::<S, HEIGHT, 2, HOW, false>(simd, self.b),
                (true, Some(scale)) => self.tile::<S, HEIGHT, 2, HOW, true>(simd, scale),
                (false, None) => self.tile::<S, HEIGHT, 1, HOW, false>(simd, self.b),
                (false, Some(scale)) => self.tile::<S, HEIGHT, 1, HOW, true>(simd, scale),
            }
        }
        self.done += HEIGHT;
    }

    /// The innermost product: the next `HEIGHT` rows by `WIDTH` registers of sums, held in
    /// registers over the whole depth. A tile that packs its panel stores there what it reads. With
    /// `SCALED` the sums are multiplied by `scale` and added to the output; `scale` is not read
    /// otherwise.
    ///
    /// # Safety
    /// As for [`Rows::new`], with `HEIGHT` more rows.
    #[inline(always)]
    unsafe fn tile<S: Simd, const HEIGHT: usize, const WIDTH: usize, const HOW: u8, const SCALED: bool>(
        &self,
        simd: S,
        scale: At<*const T>,
    ) {
        let &Rows { shape: [_, depth, cols], a, b, add, .. } = self;
        let width = T::width::<S>();
        let last = cols - (WIDTH - 1) * width;
        let whole = |j| j + 1 < WIDTH || last == width;
        let first_row = self.c.first.wrapping_add(self.done * self.c.row);
        let c = |i: usize, j: usize| first_row.wrapping_add(i * self.c.row + j * width);
        // SAFETY: by the caller.
        let load = |c: *mut T, j| unsafe {
            if whole(j) {
                c.cast::<T::Vector<S>>().read_unaligned()
            } else {
                T::load_part(simd, std::slice::from_raw_parts(c, last))
            }
        };
        // Multiples of the row stride for which an address has no scale factor. If the compiler saw
        // them as multiples, it would compute them in a chain of additions as long as the
        // multiplications beside it.
        let [three, five, seven] = [3, 5, 7].map(|n| black_box(n * a.row));
        let a_rows = [0, a.row, 2 * a.row, three, 4 * a.row, five, 2 * three, seven];
        let (mut left, mut right) = (a.first.wrapping_add(self.done * a.row), b.first);
        let mut rest = depth;
        // SAFETY: by the caller.
        unsafe {
            let mut sums = [[T::splat(simd, T::zero()); WIDTH]; HEIGHT];
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    if add && !SCALED {
                        *sum = load(c(i, j), j);
                    } else {
                        prefetch(c(i, j));
                    }
                }
            }
            if let (TURN, Source::Turn(source)) = (HOW, self.source) {
                let mut from = source.first;
                for turn_number in 0..depth / 4 {
                    // A cache line serves four turns. Each turn prefetches the lines of a quarter
                    // of the rows.
                    let quarter = WIDTH * width / 4;
                    for i in 0..quarter {
                        let row = turn_number % 4 * quarter + i;
                        prefetch(from.wrapping_add(row * source.col + NUMBERS_AHEAD));
                    }
                    let mut turned = [[T::splat(simd, T::zero()); WIDTH]; 4];
                    for j in 0..WIDTH {
                        let registers = turn(simd, from.add(j * width * source.col), source.col);
                        put(registers, right.cast_mut().add(j * width), b.row);
                        turned.iter_mut().zip(registers).for_each(|(turned, register)| turned[j] = register);
                    }
                    for turned in &turned {
                        multiply(simd, &mut sums, left, &a_rows, turned);
                        left = left.wrapping_add(a.col);
                    }
                    from = from.wrapping_add(4);
                    right = right.wrapping_add(4 * b.row);
                }
                rest = depth % 4;
            }
            debug_assert!(HOW != PACKED || depth == 0 || b.row == WIDTH * width, "a panel has no gaps");
            // (For other left factors the compiler would keep the addresses of all these numbers in
            // memory.)
            if HOW == PACKED && a.col == 1 {
                for _ in 0..rest / AT_ONCE {
                    for k in 0..AT_ONCE {
                        multiply(simd, &mut sums, left.add(k), &a_rows, &read(right.add(k * WIDTH * width)));
                    }
                    left = left.add(AT_ONCE);
                    right = right.add(AT_ONCE * WIDTH * width);
                }
                rest %= AT_ONCE;
            }
            let mut from = match self.source {
                Source::Copy(source) if HOW == COPY => source,
                _ => At { first: right, ..b },
            };
            for _ in 0..rest {
                let registers: [T::Vector<S>; WIDTH] = read(from.first);
                if HOW != PACKED {
                    for j in 0..WIDTH {
                        prefetch(from.first.wrapping_add(ROWS_AHEAD * from.row + j * width));
                    }
                }
                if HOW == COPY {
                    put(registers, right.cast_mut(), width);
                }
                multiply(simd, &mut sums, left, &a_rows, &registers);
                left = left.wrapping_add(a.col);
                right = right.wrapping_add(b.row);
                from.first = from.first.wrapping_add(from.row);
            }
            if SCALED {
                for (i, sums) in sums.iter_mut().enumerate() {
                    let number = T::splat(simd, *scale.first.add((self.done + i) * scale.row));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = T::fma(simd, number, *sum, load(c(i, j), j));
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    let c = c(i, j);
                    if whole(j) {
                        c.cast::<T::Vector<S>>().write_unaligned(sum);
                    } else {
                        T::store_part(simd, std::slice::from_raw_parts_mut(c, last), sum);
                    }
                }
            }
        }
    }
}

impl<T: Number> WithSimd for Rows<T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let packs = matches!(self.source, Source::Copy(_) | Source::Turn(_));
        debug_assert!(!packs || self.shape[0] >= 8 && self.shape[2].is_multiple_of(T::width::<S>()));
        debug_assert!(!matches!(self.source, Source::Turn(_)) || S::REGISTER_COUNT >= 32);
        // The tile's height: as many sums as fill the registers.
        if S::REGISTER_COUNT >= 32 {
            match self.source {
                Source::Panel | Source::InPlace => {}
                Source::Copy(_) => self.next_tile::<S, 8, COPY>(simd),
                Source::Turn(_) => self.next_tile::<S, 8, TURN>(simd),
            }
            self.tiles::<S, 8>(simd);
        } else {
            if let Source::Copy(_) = self.source {
                self.next_tile::<S, 6, COPY>(simd);
            }
            self.tiles::<S, 6>(simd);
        }
        self.tiles::<S, 4>(simd);
        self.tiles::<S, 1>(simd);
    }
}

/// The transpose of a register's width of rows, each of four numbers, `row` numbers apart.
///
/// # Safety
/// These numbers must be readable.
#[inline(always)]
pub(super) unsafe fn turn<S: Simd, T: Number>(simd: S, from: *const T, row: usize) -> [T::Vector<S>; 4] {
    let mut rows = [T::splat(simd, T::zero()); 4];
    for (i, row_of_groups) in rows.iter_mut().enumerate() {
        let groups = std::ptr::from_mut(row_of_groups).cast::<[T; 4]>();
        for group in 0..T::width::<S>() / 4 {
            // SAFETY: the numbers are readable by the caller; a register is whole groups of four
            // numbers.
            unsafe {
                let four = from.add((4 * group + i) * row).cast::<[T; 4]>().read_unaligned();
                groups.add(group).write_unaligned(four);
            }
        }
    }
    T::transpose4(simd, rows)
}

/// Reads registers one after another.
///
/// # Safety
/// Their numbers must be readable.
#[inline(always)]
unsafe fn read<R: Copy, T, const N: usize>(from: *const T) -> [R; N] {
    // SAFETY: by the caller.
    unsafe { from.cast::<[R; N]>().read_unaligned() }
}

/// Writes registers `apart` numbers apart.
///
/// # Safety
/// These places must be writable.
#[inline(always)]
pub(super) unsafe fn put<R: Copy, T, const N: usize>(registers: [R; N], to: *mut T, apart: usize) {
    for (i, register) in registers.into_iter().enumerate() {
        // SAFETY: by the caller.
        unsafe { to.add(i * apart).cast::<R>().write_unaligned(register) }
    }
}

/// Adds to the sums the products of a number of each row of the left factor, these distances from
/// `left`, and a row of the right factor.
///
/// # Safety
/// The numbers of the left factor must be readable.
#[inline(always)]
unsafe fn multiply<S: Simd, T: Number, const HEIGHT: usize, const WIDTH: usize>(
    simd: S,
    sums: &mut [[T::Vector<S>; WIDTH]; HEIGHT],
    left: *const T,
    rows: &[usize; 8],
    right: &[T::Vector<S>; WIDTH],
) {
    for (sums, &row) in sums.iter_mut().zip(rows) {
        // SAFETY: by the caller.
        let number = T::splat(simd, unsafe { *left.add(row) });
        for (sum, &right) in sums.iter_mut().zip(right) {
            *sum = T::fma(simd, number, right, *sum);
        }
    }
}
