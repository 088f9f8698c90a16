//! The distance of the gradients of whole training steps from double precision when kernels compute
//! them, at the sizes of the published models: the cost of a precision where it matters.
use crate::Result;
use crate::backend::Backend;
use crate::check::gradcheck::{ModelCheck, Stepped};
use crate::check::report::Row;
use crate::config::Variant;
use crate::plan::Precision;
use clap::ValueEnum;

/// Largest error allowed of all gradients of a network: ten times what rounding of random sign does
/// to them, which is 3e-7 in single precision and 5e-6 in bf16x3.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 3e-6,
        Precision::Bf16x3 => 5e-5,
    }
}

/// Takes one step of each network on `backend` and, in double precision, on `reference`. Returns a
/// row a parameter, and one for all parameters of a network as one vector, which alone has a bound.
/// The error is |gradient - reference| / |reference|, as lengths of vectors. Errors: those of the
/// backends.
pub fn run(variants: &[Variant], backend: &dyn Backend, reference: &dyn Backend) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &variant in variants {
        let subject = variant.to_possible_value().expect("no variant is hidden").get_name().to_owned();
        let check = ModelCheck::full(variant);
        let at = format!("a full-size step, b={}", check.batch);
        let single: Stepped<f32> = check.step(backend, 1)?;
        let double: Stepped<f64> = check.step(reference, 1)?;
        let (mut off, mut size, mut of_model) = (0.0, 0.0, Vec::new());
        for tensor in double.parameters.layout.tensors.iter().filter(|tensor| tensor.trainable) {
            let got = single.memory.read(single.parameters.place(single.parameters.m, tensor))?;
            let want = double.memory.read(double.parameters.place(double.parameters.m, tensor))?;
            let squared = |of: &dyn Fn(usize) -> f64| (0..want.len()).map(|i| of(i).powi(2)).sum::<f64>();
            let (difference, length) = (squared(&|i| f64::from(got[i]) - want[i]), squared(&|i| want[i]));
            (off, size) = (off + difference, size + length);
            let (subject, tensor, at) = (subject.clone(), tensor.name.clone(), at.clone());
            let (entries, worst) = (want.len(), ratio(difference, length));
            of_model.push(Row { subject, tensor, entries, worst, bound: None, at });
        }
        let worst = of_model.iter().max_by(|a, b| a.worst.total_cmp(&b.worst)).expect("a network has parameters");
        rows.push(Row {
            subject,
            tensor: "all".into(),
            entries: of_model.iter().map(|row| row.entries).sum(),
            worst: ratio(off, size),
            bound: Some(tolerance(backend.precision())),
            at: format!("{at}, {:.1e} in {}", worst.worst, worst.tensor),
        });
        rows.extend(of_model);
    }
    Ok(rows)
}

/// The root of a / b, where 0 / 0 is 0; infinite if it is not a number.
fn ratio(a: f64, b: f64) -> f64 {
    let ratio = if a == 0.0 { 0.0 } else { (a / b).sqrt() };
    if ratio.is_nan() { f64::INFINITY } else { ratio }
}
