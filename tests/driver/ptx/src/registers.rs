//! The registers of a warp: a number for each of its 32 lanes in each.

/// Number of threads of a warp.
pub const LANES: usize = 32;

/// The kinds of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum File {
    /// 32 bits, and fewer.
    Word,
    /// 64 bits.
    Double,
    /// A predicate.
    Flag,
}

/// All registers of a warp.
#[derive(Debug, Clone, Default)]
pub struct Registers {
    /// Registers of 32 bits.
    pub words: Vec<[u32; LANES]>,
    /// Registers of 64 bits.
    pub doubles: Vec<[u64; LANES]>,
    /// Predicates, a bit for each lane.
    pub flags: Vec<u32>,
}

/// A type that a register may hold.
pub trait Value: Copy + Default {
    /// The kind of register.
    const FILE: File;
    /// A register as it is read.
    type Source<'a>: Copy;
    /// A register.
    fn source(registers: &Registers, slot: u32) -> Self::Source<'_>;
    /// The value of a lane.
    fn at(source: Self::Source<'_>, lane: usize) -> Self;
    /// Writes the values of those lanes that are in the mask.
    fn write(registers: &mut Registers, slot: u32, values: &[Self; LANES], mask: u32);
}

macro_rules! value {
    ($type:ty, $file:ident, $field:ident, $raw:ty, $from:expr, $to:expr) => {
        impl Value for $type {
            const FILE: File = File::$file;
            type Source<'a> = &'a [$raw; LANES];
            #[inline(always)]
            fn source(registers: &Registers, slot: u32) -> &[$raw; LANES] {
                &registers.$field[slot as usize]
            }
            #[inline(always)]
            fn at(source: &[$raw; LANES], lane: usize) -> Self {
                $from(source[lane])
            }
            #[inline(always)]
            fn write(registers: &mut Registers, slot: u32, values: &[Self; LANES], mask: u32) {
                let to = &mut registers.$field[slot as usize];
                if mask == !0 {
                    for lane in 0..LANES {
                        to[lane] = $to(values[lane]);
                    }
                } else {
                    for lane in 0..LANES {
                        to[lane] = if mask >> lane & 1 == 1 { $to(values[lane]) } else { to[lane] };
                    }
                }
            }
        }
    };
}
value!(u32, Word, words, u32, |x| x, |x| x);
value!(i32, Word, words, u32, |x| x as i32, |x| x as u32);
value!(u16, Word, words, u32, |x| x as u16, u32::from);
value!(f32, Word, words, u32, f32::from_bits, f32::to_bits);
value!(u64, Double, doubles, u64, |x| x, |x| x);
value!(i64, Double, doubles, u64, |x| x as i64, |x| x as u64);
value!(f64, Double, doubles, u64, f64::from_bits, f64::to_bits);

impl Value for bool {
    const FILE: File = File::Flag;
    type Source<'a> = u32;
    #[inline(always)]
    fn source(registers: &Registers, slot: u32) -> u32 {
        registers.flags[slot as usize]
    }
    #[inline(always)]
    fn at(source: u32, lane: usize) -> Self {
        source >> lane & 1 == 1
    }
    #[inline(always)]
    fn write(registers: &mut Registers, slot: u32, values: &[Self; LANES], mask: u32) {
        let mut bits = 0;
        for (lane, value) in values.iter().enumerate() {
            bits |= u32::from(*value) << lane;
        }
        let to = &mut registers.flags[slot as usize];
        *to = *to & !mask | bits & mask;
    }
}
