//! Compares kernels, in single precision on any backend, with the definitions of their operations
//! in double precision.
//!
//! Kernels are compared call by call: the definition starts from what the kernel starts from, so
//! that errors do not add up.
//!
//! A sum of n terms in single precision, in any order, is off by at most about n 2^-24 times the
//! sum of its terms' sizes (Higham, "Accuracy and Stability of Numerical Algorithms", section 4.2).
//! Terms of random sign add up to less than their sizes do. So every kernel can keep within (n +
//! 16) 2^-24 of a tensor's largest number, where 16 pays for the functions around the sum. In a
//! tensor of few numbers the terms may have cancelled altogether: there the size of the inputs
//! counts, too.
use crate::backend::{Backend, Memory, cpu::Cpu};
use crate::check::report::{Deviations, Row};
use crate::config::Variant;
use crate::ops::case::{Built, Case, cases, normals};
use crate::philox::{Purpose, Stream};
use crate::plan::arena::Arena;
use crate::plan::{Field, Plan, Precision};
use crate::{Result, check::stepcheck};
use std::time::Instant;

/// Number of elements below which a tensor may have cancelled altogether.
const FEW: usize = 64;

/// Compares every kernel with its definition, at every size, and whole steps of these networks.
/// Errors: those of the backend; a wrong kernel is in the report.
pub fn run(variants: &[Variant], backend: &dyn Backend) -> Result<Deviations> {
    of(|_| true, variants, backend)
}

/// Tests a device in a second or two: every kernel at its small sizes, and one step of the default
/// network. It runs before a device is used that the user did not ask for. Errors: those of the
/// backend, and a kernel or a step that is wrong.
pub(crate) fn quick(backend: &dyn Backend) -> Result<Deviations> {
    let report = of(|case| !case.full, &[Variant::Mixture], backend)?;
    report.verdict()?;
    Ok(report)
}

fn of(wanted: impl Fn(&Case<f32>) -> bool, variants: &[Variant], backend: &dyn Backend) -> Result<Deviations> {
    let (start, reference) = (Instant::now(), Cpu::new(0));
    let mut report = Deviations::new("its kernel");
    for (single, double) in cases::<f32>().iter().zip(&cases::<f64>()).filter(|(single, _)| wanted(single)) {
        report.add(operation(single, double, backend, &reference, 1)?);
    }
    report.add(stepcheck::run(variants, backend, &reference)?);
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// A case laid out for the kernels and for the definition.
struct Pair<'b> {
    kernels: Memory<'b>,
    definition: Memory<'b>,
}

/// Compares every call of a case. `single` and `double` are the same case. Errors: those of the
/// backends.
pub fn operation(
    single: &Case<f32>,
    double: &Case<f64>,
    backend: &dyn Backend,
    reference: &dyn Backend,
    seed: u64,
) -> Result<Vec<Row>> {
    assert_eq!((single.op, &single.sizes), (double.op, &double.sizes), "the same case");
    let (mut kernels, mut definition) = (Arena::default(), Arena::default());
    let (built, twin): (Built<f32>, Built<f64>) = ((single.build)(&mut kernels)?, (double.build)(&mut definition)?);
    let mut pair = Pair { kernels: Memory::new(backend, kernels)?, definition: Memory::new(reference, definition)? };
    pair.kernels.fill(&built.contents(seed))?;
    let tolerance = (single.terms + 16) as f64 * 2f64.powi(-24);
    let mut rows = Vec::new();
    for (i, output) in built.outputs.iter().enumerate().filter(|(_, output)| !output.grad.is_none()) {
        let cotangent = normals(Stream::new(seed, Purpose::Check, 1000 + i as u64), output.grad.len());
        pair.kernels.write(output.grad, &cotangent.into_iter().map(|x| x as f32).collect::<Vec<f32>>())?;
    }
    for (plan, twin) in [(built.forward, twin.forward), (built.backward, twin.backward)] {
        for (plan, twin) in plan.one_by_one().zip(twin.one_by_one()) {
            let rounding = if plan.calls()[0].product().is_some() { rounding(backend.precision()) } else { 0.0 };
            let (kernel, bound) = (plan.calls()[0].kernel(), Some(tolerance + rounding));
            for (tensor, entries, worst) in pair.call(&plan, &twin)? {
                let (subject, tensor, at) = (kernel.to_owned(), tensor.to_owned(), single.sizes.clone());
                rows.push(Row { subject, tensor, entries, worst, bound, at });
            }
        }
    }
    Ok(rows)
}

impl Pair<'_> {
    /// Runs a call on both sides. Returns, for each tensor written, its name, its length and its
    /// error relative to its largest number.
    fn call(&mut self, plan: &Plan, twin: &Plan) -> Result<Vec<(&'static str, usize, f64)>> {
        let (call, twin_call) = (&plan.calls()[0], &twin.calls()[0]);
        let fields = || call.fields().iter().zip(twin_call.fields()).filter(|(field, _)| !field.bytes.is_empty());
        for (field, twin) in fields() {
            if is_float(field, twin) && call.output(field).is_some_and(|output| output.whole) {
                self.kernels.write_bytes(field.bytes.start, &vec![0xFF; field.bytes.len()])?;
            }
            let bytes = self.kernels.read_bytes(&field.bytes)?;
            let bytes = if is_float(field, twin) { widened(&bytes) } else { bytes };
            self.definition.write_bytes(twin.bytes.start, &bytes)?;
        }
        self.kernels.run(plan)?;
        self.definition.run(twin)?;
        let mut inputs = 0f64;
        for (field, twin) in fields().filter(|(field, twin)| is_float(field, twin) && call.output(field).is_none()) {
            inputs = largest(&doubles(&self.definition.read_bytes(&twin.bytes)?), inputs);
            debug_assert_eq!(field.bytes.len() / 4, twin.bytes.len() / 8);
        }
        let mut found = Vec::new();
        let given: Vec<&str> = call.kernel_fields().map(|field| field.name).collect();
        for (field, twin) in fields().filter(|(field, _)| given.contains(&field.name)) {
            let Some(output) = call.output(field) else { continue };
            let got = self.kernels.read_bytes(&field.bytes)?;
            let want = self.definition.read_bytes(&twin.bytes)?;
            let entries = field.bytes.len() / field.element;
            let at_least = if entries < FEW { inputs } else { 0.0 };
            let worst = match (is_float(field, twin), field.element) {
                (false, 8) if output.addends => {
                    let [got, want] = [&got, &want].map(|bytes| doubles(bytes).iter().sum::<f64>());
                    error(&[got], &[want], at_least)
                }
                (true, _) => error(&doubles(&widened(&got)), &doubles(&want), at_least),
                (false, 8) => error(&doubles(&got), &doubles(&want), at_least),
                _ if got == want => 0.0,
                _ => f64::INFINITY,
            };
            found.push((field.name, entries, worst));
        }
        Ok(found)
    }
}

/// Largest relative error of a product whose factors are rounded to this precision.
///
/// bf16 has 8 significant bits. hi is off by at most 2^-8 |x|, the remainder is exact, and lo is
/// off by 2^-8 of it. The remainders of two factors and lo times lo make up to 3 2^-16 |x y|. Such
/// errors have random signs, as the terms do.
fn rounding(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 0.0,
        Precision::Bf16x3 => 3.0 * 2f64.powi(-16),
    }
}

/// True if a field holds floats of the case's own type.
fn is_float(single: &Field, double: &Field) -> bool {
    single.element == 4 && double.element == 8
}

/// Bytes of f32 numbers as bytes of f64 numbers.
fn widened(bytes: &[u8]) -> Vec<u8> {
    let four = |b: &[u8]| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
    bytes.chunks_exact(4).flat_map(|b| f64::from(four(b)).to_ne_bytes()).collect()
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect()
}

/// The size of the largest number, at least `at_least`.
fn largest(values: &[f64], at_least: f64) -> f64 {
    values.iter().filter(|x| x.is_finite()).fold(at_least, |max, x| max.max(x.abs()))
}

/// The largest difference, relative to the largest number. Numbers that are not finite have to be
/// the same.
fn error(got: &[f64], want: &[f64], at_least: f64) -> f64 {
    let largest = largest(want, at_least.max(f64::MIN_POSITIVE));
    let off = |(got, want): (&f64, &f64)| match (got - want).abs() {
        _ if got == want || got.is_nan() && want.is_nan() => 0.0,
        difference if difference.is_finite() => difference / largest,
        _ => f64::INFINITY,
    };
    got.iter().zip(want).map(off).fold(0.0, f64::max)
}
