use clap::ValueEnum;
use mvae_fast::backend::cpu::Cpu;
use mvae_fast::config::Variant;
use mvae_fast::gradcheck;

#[test]
fn everything() {
    let report = gradcheck::run(Variant::value_variants(), &Cpu::new(1)).unwrap();
    print!("{report}");
    report.verdict().unwrap();
}
