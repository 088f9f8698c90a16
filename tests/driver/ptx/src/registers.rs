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
    /// Those of 32 bits.
    pub words: Vec<[u32; LANES]>,
    /// Those of 64 bits.
    pub doubles: Vec<[u64; LANES]>,
    /// Predicates, a bit for each lane.
    pub flags: Vec<u32>,
}

/// A type that a register may hold.
pub trait Value: Copy {
    /// The kind of register.
    const FILE: File;
    /// The values of all lanes.
    fn read(registers: &Registers, slot: u32) -> [Self; LANES];
    /// Writes the values of those lanes that are in the mask.
    fn write(registers: &mut Registers, slot: u32, values: [Self; LANES], mask: u32);
}

/// Copies the values of those lanes that are in the mask.
#[inline(always)]
fn blend<T: Copy>(to: &mut [T; LANES], from: [T; LANES], mask: u32) {
    if mask == !0 {
        *to = from;
    } else {
        (0..LANES).filter(|lane| mask >> lane & 1 == 1).for_each(|lane| to[lane] = from[lane]);
    }
}

macro_rules! value {
    ($type:ty, $file:ident, $field:ident, $from:expr, $to:expr) => {
        impl Value for $type {
            const FILE: File = File::$file;
            #[inline(always)]
            fn read(registers: &Registers, slot: u32) -> [Self; LANES] {
                registers.$field[slot as usize].map($from)
            }
            #[inline(always)]
            fn write(registers: &mut Registers, slot: u32, values: [Self; LANES], mask: u32) {
                blend(&mut registers.$field[slot as usize], values.map($to), mask);
            }
        }
    };
}
value!(u32, Word, words, |x| x, |x| x);
value!(i32, Word, words, |x| x as i32, |x| x as u32);
value!(u16, Word, words, |x| x as u16, |x| u32::from(x));
value!(i16, Word, words, |x| x as i16, |x| u32::from(x as u16));
value!(f32, Word, words, f32::from_bits, f32::to_bits);
value!(u64, Double, doubles, |x| x, |x| x);
value!(i64, Double, doubles, |x| x as i64, |x| x as u64);
value!(f64, Double, doubles, f64::from_bits, f64::to_bits);

impl Value for bool {
    const FILE: File = File::Flag;
    #[inline(always)]
    fn read(registers: &Registers, slot: u32) -> [Self; LANES] {
        let bits = registers.flags[slot as usize];
        std::array::from_fn(|lane| bits >> lane & 1 == 1)
    }
    #[inline(always)]
    fn write(registers: &mut Registers, slot: u32, values: [Self; LANES], mask: u32) {
        let mut bits = 0;
        for (lane, value) in values.into_iter().enumerate() {
            bits |= u32::from(value) << lane;
        }
        let to = &mut registers.flags[slot as usize];
        *to = *to & !mask | bits & mask;
    }
}
