//! Gradients of whole networks: training follows the derivative of the loss that it reports.
use crate::operations::verdict;
use clap::ValueEnum;
use mvae_fast::backend::{Backend, Buffer, cpu::Cpu};
use mvae_fast::check::gradcheck::{self, ModelCheck};
use mvae_fast::check::report::Deviations;
use mvae_fast::config::Variant;
use mvae_fast::config::{CodebookInit, ExpertInit};
use mvae_fast::cpu::activation::Activation::{Elu, Relu};
use mvae_fast::model::layout::Layout;
use mvae_fast::ops::Operation;
use mvae_fast::ops::case::{Built, Case, Fill, Held, Input, Trained};
use mvae_fast::ops::linear::Linear;
use mvae_fast::ops::softmax::Softmax;
use mvae_fast::ops::update::Update;
use mvae_fast::plan::arena::{Mat, Var};
use mvae_fast::plan::{Call, Plan};
use mvae_fast::{Error, Result};

#[test]
fn every_operation_and_parameter() {
    let report = gradcheck::run(Variant::value_variants(), &Cpu::new(2)).unwrap();
    verdict(&report);
    for &variant in Variant::value_variants() {
        let model = ModelCheck::small(variant, 1, 1).model;
        let layout = Layout::of(&model, ExpertInit::FanIn, CodebookInit::Fixed);
        let name = variant.to_possible_value().unwrap().get_name().to_owned();
        let rows: Vec<_> = report.rows.iter().filter(|row| row.subject == name).collect();
        let tensors: Vec<_> = layout.tensors.iter().filter(|tensor| tensor.trainable).collect();
        assert_eq!(rows.len(), tensors.len(), "{name}: each parameter once");
        for (row, tensor) in rows.iter().zip(tensors) {
            assert!(row.tensor == tensor.name && row.entries >= 9 * tensor.len(), "{name} {}: every entry", row.tensor);
        }
    }
}

#[test]
fn other_weights_seeds_and_free_bits() {
    for &variant in Variant::value_variants() {
        for seed in 2..=4 {
            let check = ModelCheck {
                kl_weight: [0.0, 1.0, 5.0][seed as usize - 2],
                free_bits: [0.0, 0.05, 0.1][seed as usize - 2],
                ..ModelCheck::small(variant, 2, 1)
            };
            for row in check.run(&Cpu::new(1), seed).unwrap() {
                assert!(!row.failed(), "seed {seed}: {row:?}");
            }
        }
    }
}

/// An operation that goes forward as one operation and back as another.
struct Mistake<F, B>(F, B);

impl<F: Operation, B: Operation> Operation for Mistake<F, B> {
    fn forward(&self, plan: &mut Plan) {
        self.0.forward(plan);
    }
    fn backward(&self, plan: &mut Plan) {
        self.1.backward(plan);
    }
}

/// The report of a check of a case built like this.
fn report(build: impl Fn(&mut mvae_fast::plan::arena::Arena) -> mvae_fast::Result<Built<f64>> + 'static) -> Deviations {
    let case =
        Case { op: "mistake", sizes: "small".into(), full: false, flops: [0.0; 2], terms: 1, build: Box::new(build) };
    let mut report = Deviations::new("its backward call");
    report.add(gradcheck::operation(&case, &Cpu::new(1), 1).unwrap());
    report
}

fn input(name: &'static str, var: Var<f64>) -> Input<f64> {
    Input { name, var, fill: Fill::Normal(1.0) }
}

#[test]
fn mistakes_are_found() {
    let wrong = report(|arena| {
        let [x, w, bias, y] = [(3, 2), (5, 2), (1, 5), (3, 5)].map(|(r, c)| arena.var(r, c));
        let [elu, relu] = [Elu, Relu].map(|act| Linear::new(x, Var::none(), w, bias, y, act).unwrap());
        Ok(Built::new(&[&Mistake(elu, relu)], vec![input("x", x), input("w", w)], vec![y], Mat::NONE))
    });
    assert_eq!(wrong.failures().count(), 2, "{wrong}");
    assert!(wrong.to_string().contains("FAILED"));
    let error = wrong.verdict().unwrap_err();
    assert!(matches!(error, Error::Check(_)) && error.exit_code() == 1, "{error}");

    // A gradient that is never written is found as well: it is far too large to begin with.
    let forgotten = report(|arena| {
        let [x, y, other] = [(); 3].map(|()| arena.var(3, 2));
        let op = Mistake(Softmax::new(x, y)?, Softmax::new(other, y)?);
        Ok(Built::new(&[&op], vec![input("x", x)], vec![y], Mat::NONE))
    });
    assert!(forgotten.rows[0].worst > 0.9 && forgotten.verdict().is_err(), "{forgotten}");
}

/// A mistake in the arguments of an update.
type Spoil = fn(Update<f64>) -> Update<f64>;

#[test]
fn mistakes_of_an_update_are_found() {
    // Weights and biases go by the input in place of the gradient, or weights alone by the gradient
    // in place of the input.
    let spoils: [(Spoil, &[&str]); 3] = [
        (|update| update, &[]),
        (|update| Update { left: update.right, ..update }, &["w", "bias"]),
        (|update| Update { right: update.left, ..update }, &["w"]),
    ];
    for (spoil, wrong) in spoils {
        let report = report(move |arena| {
            let [x, y] = [(); 2].map(|()| arena.var(3, 4));
            let (held, [w, bias]) = Held::new(arena, [(4, 4), (1, 4)]);
            let [value, shift] = [w, bias].map(|parameter| Var::constant(parameter.value));
            let layer = Linear::new(x, Var::none(), value, shift, y, Elu)?;
            let op = Trained::new(arena, &layer, &held, vec![spoil(layer.update())]);
            Ok(Built::new(&[&op], vec![input("x", x), input("w", w), input("bias", bias)], vec![y], Mat::NONE))
        });
        let found: Vec<&str> = report.failures().map(|row| &*row.tensor).collect();
        assert_eq!(found, wrong, "{report}");
    }
}

/// A backend that forgets one of the calls that update parameters.
struct Forgetful(Cpu, usize);

impl Backend for Forgetful {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.0.alloc(bytes)
    }
    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        self.0.write(to, at, from)
    }
    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        self.0.read(from, at, to)
    }
    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        let mut updates = 0;
        for call in calls {
            updates += usize::from(call.kernel() == "update");
            if call.kernel() != "update" || updates != self.1 {
                // SAFETY: the caller's.
                unsafe { self.0.run(std::slice::from_ref(call), arena)? };
            }
        }
        Ok(())
    }
}

/// Tests that the checked step is the one that trains: it has an update of each layer, and each of
/// them counts.
#[test]
fn an_update_that_a_step_forgets_is_found() {
    let check = ModelCheck::small(Variant::Mixture, 1, 1);
    let failures = |forgets: usize| {
        let rows = check.run(&Forgetful(Cpu::new(1), forgets), 1).unwrap();
        rows.into_iter().filter(|row| row.failed()).map(|row| row.tensor).collect::<Vec<_>>()
    };
    assert_eq!(failures(0), [""; 0]);
    let mut found: Vec<String> = (1..=10).flat_map(failures).collect();
    found.sort();
    let layout = Layout::of(&check.model, ExpertInit::FanIn, CodebookInit::Fixed);
    let mut all: Vec<&str> = layout.tensors.iter().map(|tensor| &*tensor.name).collect();
    all.sort();
    assert_eq!(found, all);
}
