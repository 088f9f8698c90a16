//! The instructions that compute: registers in, a register out, lane by lane.
//!
//! Results are those of the PTX manual. For approximate functions it gives a bound, and here they
//! are rounded from double precision: `ex2.approx` (2^-22.5), `rcp.approx.ftz.f32` (1 ulp),
//! `sqrt.approx.ftz.f32` (2^-23). A NaN may have another bit pattern than on a device.
use crate::code::Instruction;
use crate::fast;
use crate::registers::{File, LANES, Registers, Value};

/// The work of an instruction for the lanes of a mask.
pub type Run = fn(&mut Registers, &Instruction, u32);

/// An instruction that computes.
#[derive(Clone, Copy)]
pub struct Alu {
    /// Its work.
    pub run: Run,
    /// The kinds of its sources, in their order.
    pub from: &'static [File],
    /// The kind of its result.
    pub to: File,
}

/// An [`Alu`] that computes an expression of up to four sources.
macro_rules! alu {
    (|$($x:ident: $type:ty),+| -> $to:ty $result:block) => {{
        fn run(registers: &mut Registers, instruction: &Instruction, mask: u32) {
            let mut sources = instruction.from.into_iter();
            let mut result = [<$to>::default(); LANES];
            $(let $x = <$type as Value>::source(registers, sources.next().unwrap_or_default());)+
            for (lane, result) in result.iter_mut().enumerate() {
                $(let $x = <$type as Value>::at($x, lane);)+
                *result = $result;
            }
            <$to as Value>::write(registers, instruction.to, &result, mask);
        }
        Alu { run, from: &[$(<$type as Value>::FILE),+], to: <$to as Value>::FILE }
    }};
}

/// A comparison of a type by name, of those that whole numbers have and some more.
macro_rules! comparison {
    ($name:expr, $type:ty $(, $more:literal => $test:expr)*) => {{
        Some(match $name {
            "eq" => alu!(|a: $type, b: $type| -> bool { a == b }),
            "ne" => alu!(|a: $type, b: $type| -> bool { a < b || a > b }),
            "lt" => alu!(|a: $type, b: $type| -> bool { a < b }),
            "le" => alu!(|a: $type, b: $type| -> bool { a <= b }),
            "gt" => alu!(|a: $type, b: $type| -> bool { a > b }),
            "ge" => alu!(|a: $type, b: $type| -> bool { a >= b }),
            $($more => alu!(|a: $type, b: $type| -> bool { $test(a, b) }),)*
            _ => return None,
        })
    }};
}

/// A comparison of floating-point numbers, some of which are also true if one is a NaN.
macro_rules! unordered {
    ($name:expr, $type:ty) => {
        comparison!($name, $type,
            "equ" => |a: $type, b: $type| !(a < b || a > b),
            "neu" => |a: $type, b: $type| a != b,
            "ltu" => |a: $type, b: $type| !(a >= b),
            "leu" => |a: $type, b: $type| !(a > b),
            "gtu" => |a: $type, b: $type| !(a <= b),
            "geu" => |a: $type, b: $type| !(a < b))
    };
}

// A NaN decides.
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::nonminimal_bool, clippy::double_comparisons)]
fn comparison(name: &str, kind: &str) -> Option<Alu> {
    match (kind, name) {
        ("u16" | "b16", _) | ("s16", "eq" | "ne") => comparison!(name, u16),
        ("u32" | "b32", _) | ("s32", "eq" | "ne") => comparison!(name, u32),
        ("u64" | "b64", _) | ("s64", "eq" | "ne") => comparison!(name, u64),
        ("s32", _) => comparison!(name, i32),
        ("s64", _) => comparison!(name, i64),
        ("f32", _) => unordered!(name, f32),
        ("f64", _) => unordered!(name, f64),
        _ => None,
    }
}

/// a b + c, rounded once. (The standard library's is slow where the processor's is not asked for.)
fn fused(registers: &mut Registers, instruction: &Instruction, mask: u32) {
    let [a, b, c, _] = instruction.from.map(|slot| &registers.words[slot as usize]);
    let result = fast::fused(a, b, c);
    u32::write(registers, instruction.to, &result, mask);
}

/// a + b in single precision, rounded by `side`: -1 down, 1 up, 0 towards zero. `sum` is the sum in
/// double precision and `rest` what it leaves of the exact one.
fn directed(sum: f64, rest: f64, side: i32) -> f32 {
    let nearest = sum as f32;
    let (over, under) = (
        f64::from(nearest) > sum || (f64::from(nearest) == sum && rest < 0.0),
        f64::from(nearest) < sum || (f64::from(nearest) == sum && rest > 0.0),
    );
    let down = side < 0 || (side == 0 && sum > 0.0);
    match (down, over, under) {
        (true, true, _) => nearest.next_down(),
        (false, _, true) => nearest.next_up(),
        _ => nearest,
    }
}

/// The sum of two numbers, and what it leaves of the exact sum.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// Zero instead of a number too small for full precision.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// The instruction of a name, if it computes.
pub fn find(opcode: &str) -> Option<Alu> {
    if let Some((name, kind)) = opcode.strip_prefix("setp.").and_then(|rest| rest.split_once('.')) {
        return comparison(name, kind);
    }
    Some(match opcode {
        "mov.u16" | "mov.b16" | "mov.s16" => alu!(|a: u16| -> u16 { a }),
        "mov.u32" | "mov.b32" | "mov.s32" | "mov.f32" => alu!(|a: u32| -> u32 { a }),
        "mov.u64" | "mov.b64" | "mov.s64" | "mov.f64" | "cvta.to.global.u64" => alu!(|a: u64| -> u64 { a }),
        "mov.pred" => alu!(|a: bool| -> bool { a }),
        "pack.b64" => alu!(|a: u32, b: u32| -> u64 { u64::from(b) << 32 | u64::from(a) }),
        "low.b64" => alu!(|a: u64| -> u32 { a as u32 }),
        "high.b64" => alu!(|a: u64| -> u32 { (a >> 32) as u32 }),
        "selp.u16" | "selp.b16" | "selp.s16" => alu!(|a: u16, b: u16, p: bool| -> u16 { if p { a } else { b } }),
        "selp.b32" | "selp.u32" | "selp.s32" | "selp.f32" => {
            alu!(|a: u32, b: u32, p: bool| -> u32 { if p { a } else { b } })
        }
        "selp.b64" | "selp.u64" | "selp.s64" | "selp.f64" => {
            alu!(|a: u64, b: u64, p: bool| -> u64 { if p { a } else { b } })
        }
        _ => return integer(opcode).or_else(|| real(opcode)).or_else(|| conversion(opcode)),
    })
}

fn integer(opcode: &str) -> Option<Alu> {
    Some(match opcode {
        "add.s16" | "add.u16" => alu!(|a: u16, b: u16| -> u16 { a.wrapping_add(b) }),
        "sub.s16" | "sub.u16" => alu!(|a: u16, b: u16| -> u16 { a.wrapping_sub(b) }),
        "mul.lo.s16" | "mul.lo.u16" => alu!(|a: u16, b: u16| -> u16 { a.wrapping_mul(b) }),
        "mul.wide.u16" => alu!(|a: u16, b: u16| -> u32 { u32::from(a) * u32::from(b) }),
        "and.b16" => alu!(|a: u16, b: u16| -> u16 { a & b }),
        "or.b16" => alu!(|a: u16, b: u16| -> u16 { a | b }),
        "add.s32" | "add.u32" => alu!(|a: u32, b: u32| -> u32 { a.wrapping_add(b) }),
        "sub.s32" | "sub.u32" => alu!(|a: u32, b: u32| -> u32 { a.wrapping_sub(b) }),
        "mul.lo.s32" | "mul.lo.u32" => alu!(|a: u32, b: u32| -> u32 { a.wrapping_mul(b) }),
        "mul.hi.u32" => alu!(|a: u32, b: u32| -> u32 { ((u64::from(a) * u64::from(b)) >> 32) as u32 }),
        "mul.wide.u32" => alu!(|a: u32, b: u32| -> u64 { u64::from(a) * u64::from(b) }),
        "mul.wide.s32" => alu!(|a: i32, b: i32| -> i64 { i64::from(a) * i64::from(b) }),
        "mad.lo.s32" | "mad.lo.u32" => {
            alu!(|a: u32, b: u32, c: u32| -> u32 { a.wrapping_mul(b).wrapping_add(c) })
        }
        "mad.wide.u32" => {
            alu!(|a: u32, b: u32, c: u64| -> u64 { (u64::from(a) * u64::from(b)).wrapping_add(c) })
        }
        // A division by zero gives all ones.
        "div.u32" => alu!(|a: u32, b: u32| -> u32 { a.checked_div(b).unwrap_or(!0) }),
        "rem.u32" => alu!(|a: u32, b: u32| -> u32 { a.checked_rem(b).unwrap_or(a) }),
        "and.b32" => alu!(|a: u32, b: u32| -> u32 { a & b }),
        "or.b32" => alu!(|a: u32, b: u32| -> u32 { a | b }),
        "xor.b32" => alu!(|a: u32, b: u32| -> u32 { a ^ b }),
        "not.b32" => alu!(|a: u32| -> u32 { !a }),
        "neg.s32" => alu!(|a: u32| -> u32 { a.wrapping_neg() }),
        "min.u32" => alu!(|a: u32, b: u32| -> u32 { a.min(b) }),
        "max.u32" => alu!(|a: u32, b: u32| -> u32 { a.max(b) }),
        "min.s32" => alu!(|a: i32, b: i32| -> i32 { a.min(b) }),
        "max.s32" => alu!(|a: i32, b: i32| -> i32 { a.max(b) }),
        "shl.b32" => alu!(|a: u32, b: u32| -> u32 { a.checked_shl(b).unwrap_or(0) }),
        "shr.u32" | "shr.b32" => alu!(|a: u32, b: u32| -> u32 { a.checked_shr(b).unwrap_or(0) }),
        "shr.s32" => alu!(|a: i32, b: u32| -> i32 { a >> b.min(31) }),
        // Of b: the `many` bits from `place` on become the low bits of a.
        "bfi.b32" => alu!(|a: u32, b: u32, place: u32, many: u32| -> u32 {
            let mask = ((1u64 << many.min(32)) - 1) as u32;
            b & !mask.checked_shl(place).unwrap_or(0) | (a & mask).checked_shl(place).unwrap_or(0)
        }),
        "bfi.b64" => alu!(|a: u64, b: u64, place: u32, many: u32| -> u64 {
            let mask = ((1u128 << many.min(64)) - 1) as u64;
            b & !mask.checked_shl(place).unwrap_or(0) | (a & mask).checked_shl(place).unwrap_or(0)
        }),
        "add.s64" | "add.u64" => alu!(|a: u64, b: u64| -> u64 { a.wrapping_add(b) }),
        "sub.s64" | "sub.u64" => alu!(|a: u64, b: u64| -> u64 { a.wrapping_sub(b) }),
        "mul.lo.s64" | "mul.lo.u64" => alu!(|a: u64, b: u64| -> u64 { a.wrapping_mul(b) }),
        "div.u64" => alu!(|a: u64, b: u64| -> u64 { a.checked_div(b).unwrap_or(!0) }),
        "rem.u64" => alu!(|a: u64, b: u64| -> u64 { a.checked_rem(b).unwrap_or(a) }),
        "and.b64" => alu!(|a: u64, b: u64| -> u64 { a & b }),
        "or.b64" => alu!(|a: u64, b: u64| -> u64 { a | b }),
        "xor.b64" => alu!(|a: u64, b: u64| -> u64 { a ^ b }),
        "not.b64" => alu!(|a: u64| -> u64 { !a }),
        "neg.s64" => alu!(|a: u64| -> u64 { a.wrapping_neg() }),
        "min.u64" => alu!(|a: u64, b: u64| -> u64 { a.min(b) }),
        "max.u64" => alu!(|a: u64, b: u64| -> u64 { a.max(b) }),
        "shl.b64" => alu!(|a: u64, b: u32| -> u64 { a.checked_shl(b).unwrap_or(0) }),
        "shr.u64" | "shr.b64" => alu!(|a: u64, b: u32| -> u64 { a.checked_shr(b).unwrap_or(0) }),
        "shr.s64" => alu!(|a: i64, b: u32| -> i64 { a >> b.min(63) }),
        "and.pred" => alu!(|a: bool, b: bool| -> bool { a & b }),
        "or.pred" => alu!(|a: bool, b: bool| -> bool { a | b }),
        "xor.pred" => alu!(|a: bool, b: bool| -> bool { a ^ b }),
        "not.pred" => alu!(|a: bool| -> bool { !a }),
        _ => return None,
    })
}

fn real(opcode: &str) -> Option<Alu> {
    Some(match opcode {
        "add.f32" | "add.rn.f32" => alu!(|a: f32, b: f32| -> f32 { a + b }),
        "add.rz.f32" => alu!(|a: f32, b: f32| -> f32 {
            let (sum, rest) = two_sum(f64::from(a), f64::from(b));
            directed(sum, rest, 0)
        }),
        "sub.f32" | "sub.rn.f32" => alu!(|a: f32, b: f32| -> f32 { a - b }),
        "mul.f32" | "mul.rn.f32" => alu!(|a: f32, b: f32| -> f32 { a * b }),
        "div.rn.f32" => alu!(|a: f32, b: f32| -> f32 { a / b }),
        "fma.rn.f32" => Alu { run: fused, from: &[File::Word; 3], to: File::Word },
        "fma.rm.f32" => alu!(|a: f32, b: f32, c: f32| -> f32 {
            let (sum, rest) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
            directed(sum, rest, -1)
        }),
        "sqrt.rn.f32" => alu!(|a: f32| -> f32 { a.sqrt() }),
        "rcp.rn.f32" => alu!(|a: f32| -> f32 { 1.0 / a }),
        "sqrt.approx.ftz.f32" => alu!(|a: f32| -> f32 { flushed(flushed(a).sqrt()) }),
        "rcp.approx.ftz.f32" => alu!(|a: f32| -> f32 { flushed(1.0 / flushed(a)) }),
        "ex2.approx.f32" => alu!(|a: f32| -> f32 { f64::from(a).exp2() as f32 }),
        "ex2.approx.ftz.f32" => alu!(|a: f32| -> f32 { flushed(f64::from(flushed(a)).exp2() as f32) }),
        "neg.f32" => alu!(|a: f32| -> f32 { -a }),
        "abs.f32" => alu!(|a: f32| -> f32 { a.abs() }),
        "min.f32" => alu!(|a: f32, b: f32| -> f32 { a.min(b) }),
        "max.f32" => alu!(|a: f32, b: f32| -> f32 { a.max(b) }),
        "copysign.f32" => alu!(|a: f32, b: f32| -> f32 { b.copysign(a) }),
        "add.f64" | "add.rn.f64" => alu!(|a: f64, b: f64| -> f64 { a + b }),
        "sub.f64" | "sub.rn.f64" => alu!(|a: f64, b: f64| -> f64 { a - b }),
        "mul.f64" | "mul.rn.f64" => alu!(|a: f64, b: f64| -> f64 { a * b }),
        "div.rn.f64" => alu!(|a: f64, b: f64| -> f64 { a / b }),
        "fma.rn.f64" => alu!(|a: f64, b: f64, c: f64| -> f64 { a.mul_add(b, c) }),
        "sqrt.rn.f64" => alu!(|a: f64| -> f64 { a.sqrt() }),
        "rcp.rn.f64" => alu!(|a: f64| -> f64 { 1.0 / a }),
        // A first guess of 20 bits, from which code goes on by itself.
        "rcp.approx.ftz.f64" => {
            alu!(|a: f64| -> f64 { f64::from_bits((1.0 / a).to_bits() & !0xffff_ffff) })
        }
        "neg.f64" => alu!(|a: f64| -> f64 { -a }),
        "abs.f64" => alu!(|a: f64| -> f64 { a.abs() }),
        "min.f64" => alu!(|a: f64, b: f64| -> f64 { a.min(b) }),
        "max.f64" => alu!(|a: f64, b: f64| -> f64 { a.max(b) }),
        _ => return None,
    })
}

/// The bits of a number rounded to bf16, ties to even.
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16 }
}

fn conversion(opcode: &str) -> Option<Alu> {
    Some(match opcode {
        "cvt.u16.u32" => alu!(|a: u32| -> u16 { a as u16 }),
        "cvt.u32.u16" => alu!(|a: u16| -> u32 { u32::from(a) }),
        "cvt.u32.u64" => alu!(|a: u64| -> u32 { a as u32 }),
        "cvt.u64.u32" => alu!(|a: u32| -> u64 { u64::from(a) }),
        "cvt.s64.s32" => alu!(|a: i32| -> i64 { i64::from(a) }),
        "cvt.rn.f32.s32" => alu!(|a: i32| -> f32 { a as f32 }),
        "cvt.rn.f32.u32" => alu!(|a: u32| -> f32 { a as f32 }),
        "cvt.rn.f64.s32" => alu!(|a: i32| -> f64 { f64::from(a) }),
        "cvt.rn.f64.u32" => alu!(|a: u32| -> f64 { f64::from(a) }),
        "cvt.rn.f64.s64" => alu!(|a: i64| -> f64 { a as f64 }),
        "cvt.rn.f64.u64" => alu!(|a: u64| -> f64 { a as f64 }),
        "cvt.rn.f32.f64" => alu!(|a: f64| -> f32 { a as f32 }),
        "cvt.f64.f32" => alu!(|a: f32| -> f64 { f64::from(a) }),
        "cvt.sat.f32.f32" => alu!(|a: f32| -> f32 { if a > 0.0 { a.min(1.0) } else { 0.0 } }),
        "cvt.rni.f32.f32" => alu!(|a: f32| -> f32 { a.round_ties_even() }),
        "cvt.rmi.f32.f32" => alu!(|a: f32| -> f32 { a.floor() }),
        "cvt.rmi.f64.f64" => alu!(|a: f64| -> f64 { a.floor() }),
        "cvt.rzi.f64.f64" => alu!(|a: f64| -> f64 { a.trunc() }),
        "cvt.rni.s32.f32" => alu!(|a: f32| -> i32 { a.round_ties_even() as i32 }),
        "cvt.rzi.s32.f32" => alu!(|a: f32| -> i32 { a as i32 }),
        "cvt.rzi.u32.f32" => alu!(|a: f32| -> u32 { a as u32 }),
        "cvt.rzi.u32.f64" => alu!(|a: f64| -> u32 { a as u32 }),
        "cvt.rzi.u64.f64" => alu!(|a: f64| -> u64 { a as u64 }),
        "cvt.rn.bf16x2.f32" => alu!(|a: f32, b: f32| -> u32 { bf16(a) << 16 | bf16(b) }),
        _ => return None,
    })
}
