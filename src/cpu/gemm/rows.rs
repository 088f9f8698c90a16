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
}

impl<T> Rows<T> {
    /// Rows of a product of this shape, [rows, depth, cols].
    ///
    /// # Safety As long as this lives, `a` [rows, depth], `b` [depth, one or two whole registers],
    /// `c` [rows, cols] and the scale are accessible, and `c` is nobody else's. If the source is
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
        Rows { shape, a, b, source, scale, c, add, next }
    }
}

impl<T: Number> WithSimd for Rows<T> {
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
                    // Each tile prefetches a share of the rows: prefetched all at once, they would
                    // wait for one another.
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
                // SAFETY: as `Rows::new` was promised.
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
        // The tile's height: as many sums as fill the registers.
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

/// Writes registers into rows `apart` numbers apart.
///
/// # Safety
/// These rows must be writable.
#[inline(always)]
pub(super) unsafe fn put<R: Copy, T>(registers: [R; 4], to: *mut T, apart: usize) {
    for (i, register) in registers.into_iter().enumerate() {
        // SAFETY: by the caller.
        unsafe { to.add(i * apart).cast::<R>().write_unaligned(register) }
    }
}

/// The four ways in which a tile reads the right factor: see [`Source`].
const PACKED: u8 = 0;
const IN_PLACE: u8 = 1;
const COPY: u8 = 2;
const TURN: u8 = 3;

/// The innermost product: `HEIGHT` rows by `WIDTH` registers of sums, held in registers over the
/// whole depth. A tile that packs its panel `b` reads the numbers from `source` and stores them
/// there. With `SCALED` it adds the sums, times `scale`, to the output.
///
/// # Safety
/// As for [`Rows::new`], with `HEIGHT` rows.
#[inline(always)]
unsafe fn tile<S: Simd, T: Number, const HEIGHT: usize, const WIDTH: usize, const HOW: u8, const SCALED: bool>(
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
    // Multiples of the row stride for which an address has no scale factor. If the compiler saw
    // them as multiples, it would compute them in a chain of additions as long as the
    // multiplications beside it.
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
                // A cache line serves four turns. Each turn prefetches the lines of a quarter of
                // the rows.
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
        // (For other left factors the compiler would keep the addresses of all these numbers in
        // memory.)
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
