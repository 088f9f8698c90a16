//! Tests of the configuration: presets as published, layers, refusals, round trips, malformed
//! files.
use clap::Parser;
use mvae_fast::Error;
use mvae_fast::config::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// The configuration from a file with this text and from flags.
fn with_file(text: &str, flags: &Overrides) -> mvae_fast::Result<Config> {
    Config::layered(None, Some((Path::new("c.toml"), text)), &Overrides::default(), flags)
}

fn message(result: mvae_fast::Result<Config>) -> String {
    let error = result.expect_err("should be refused");
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn presets_are_as_published() {
    let paper = Config::preset(Preset::Paper);
    assert_eq!((paper.teacher_epochs, paper.ramp_epochs, paper.student_epochs), (20, 20, 140));
    assert_eq!(paper.epochs(), 180);
    assert_eq!(paper.kl_weight, KlWeight::Fixed(0.2));
    assert_eq!(paper.ramp, Ramp::Iteration);
    assert_eq!((paper.learning_rate, paper.final_learning_rate), (1e-4, 0.0));
    let reference = Config::preset(Preset::Reference);
    assert_eq!((reference.teacher_epochs, reference.ramp_epochs, reference.student_epochs), (20, 20, 100));
    assert_eq!(reference.epochs(), 140);
    assert_eq!(reference.kl_weight, KlWeight::Fixed(1.0));
    assert_eq!(reference.ramp, Ramp::Epoch);
    assert_eq!((reference.learning_rate, reference.final_learning_rate), (1e-4, 1e-7));
    for published in [&paper, &reference] {
        assert_eq!(published.validation, 0.0);
        assert_eq!((published.rollout, published.batch_size), (8, 64));
        assert_eq!((published.minibatches, published.decay, published.warmup_steps), (0, Decay::Epoch, 0));
        assert_eq!((published.adam_beta1, published.adam_beta2), (0.9, 0.999));
        assert_eq!(published.adam_eps, 1e-8);
        assert_eq!(published.normalization, Normalization::Zscore);
        assert_eq!(published.variant, Variant::Mixture);
        assert_eq!((published.latent_size, published.experts, published.codes), (32, 6, 12));
        assert_eq!((published.condition_frames, published.future_predictions), (1, 1));
        assert_eq!(published.expert_init, ExpertInit::Reference);
        assert_eq!((published.free_bits, published.target_kl), (0.0, None));
        assert_eq!((published.bridge_clips, published.toe_weight, published.position_gain), (false, 1.0, 1.0));
        assert!(!published.mirror);
        assert_eq!(published.kl_warmup_epochs, 0);
    }
    let default = Config::preset(Preset::Default);
    assert_eq!((default.epochs(), default.rollout, default.mirror), (24, 32, true));
    assert_eq!(default.validation, 0.05);
    for preset in [Preset::Default, Preset::Long, Preset::Paper, Preset::Reference] {
        Config::preset(preset).validate().unwrap();
    }
}

#[test]
fn the_default_schedule_takes_its_time_whatever_the_motion() {
    let layered = |preset, text: &str| {
        let file = (!text.is_empty()).then_some((Path::new("a.toml"), text));
        Config::layered(preset, file, &Overrides::default(), &Overrides::default()).unwrap()
    };
    for text in ["", "data = ['walk.npz']", "mirror = false", "variant = 'posevae'"] {
        let config = layered(None, text);
        let steps = config.epochs() * config.rollout * config.minibatches_of(1_000);
        assert_eq!(steps, config.epochs() * config.rollout * config.minibatches_of(1_000_000), "{text}");
        assert_eq!(steps, 115_200, "{text}");
    }
    let steps = |preset| {
        let config = layered(Some(preset), "");
        config.epochs() * config.rollout * config.minibatches_of(20_000)
    };
    assert!(steps(Preset::Default) < steps(Preset::Long));
    let paper = layered(Some(Preset::Paper), "data = ['walk.npz']");
    assert_eq!(paper.minibatches_of(20_000), 20_000 / paper.batch_size, "an epoch holds every window once");
}

#[test]
fn model_sizes() {
    for (variant, hidden_size) in
        [(Variant::Mixture, 256), (Variant::Posevae, 256), (Variant::Specialist, 128), (Variant::Vq, 512)]
    {
        let model = Config { variant, ..Config::default() }.model(267);
        assert_eq!((model.frame_size, model.hidden_size, model.gate_hidden_size), (267, hidden_size, 64));
        assert_eq!((model.latent_size, model.experts, model.codes), (32, 6, 12));
        assert_eq!(Config { variant, hidden_size: 7, ..Config::default() }.model(1).hidden_size, 7);
    }
}

#[test]
fn flags_over_file_over_preset() {
    let text = "preset = \"paper\"\nseed = 5\nbatch_size = 32\nlearning_rate = 1\n";
    let flags = Overrides { seed: Some(7), ..Overrides::default() };
    let config = with_file(text, &flags).unwrap();
    let expected = Config { seed: 7, batch_size: 32, learning_rate: 1.0, ..Config::preset(Preset::Paper) };
    assert_eq!(config, expected);
    // A preset given as an argument takes precedence over the file's; the file's keys stay.
    let file = (Path::new("c.toml"), text);
    let config = Config::layered(Some(Preset::Reference), Some(file), &Overrides::default(), &flags).unwrap();
    assert_eq!((config.student_epochs, config.batch_size, config.seed), (100, 32, 7));
}

#[test]
fn zero_switches_an_option_off() {
    let config = with_file("target_kl = 0.5\nmax_minutes = 3", &Overrides::default()).unwrap();
    assert_eq!((config.target_kl, config.max_minutes), (Some(0.5), Some(3.0)));
    let flags = Overrides { target_kl: Some(0.0), max_minutes: Some(0.0), ..Overrides::default() };
    let config = with_file("target_kl = 0.5\nmax_minutes = 3", &flags).unwrap();
    assert_eq!((config.target_kl, config.max_minutes), (None, None));
}

#[test]
fn a_kl_weight_is_what_it_says_unless_a_target_stands_beside_it() {
    let flags = |kl_weight, target_kl| Overrides { kl_weight, target_kl, ..Overrides::default() };
    let (none, weight) = (Overrides::default(), flags(Some(KlWeight::Fixed(0.01)), None));
    let whole = Config { data: vec!["walk.npz".into()], ..Config::default() }.to_toml();
    let target = |text: &str, environment: &Overrides, flags: &Overrides| {
        let config = Config::layered(None, Some((Path::new("c.toml"), text)), environment, flags).unwrap();
        (config.kl_weight, config.target_kl)
    };
    let (start, held) = (KlWeight::Fixed(0.01), Config::default().target_kl);
    assert!(held.is_some());
    assert_eq!(target("", &none, &none), (KlWeight::Auto, held));
    assert_eq!(target(&whole, &none, &none), (KlWeight::Auto, held));
    for text in ["", whole.as_str()] {
        assert_eq!(target(text, &none, &weight), (start, None), "a flag");
        assert_eq!(target(text, &weight, &none), (start, None), "the environment");
        assert_eq!(target(text, &weight, &flags(None, Some(0.3))), (start, Some(0.3)), "a target above");
        assert_eq!(target(text, &flags(None, Some(0.3)), &weight), (start, None), "a target below");
        assert_eq!(target(text, &none, &flags(Some(KlWeight::Auto), Some(0.3))), (KlWeight::Auto, Some(0.3)));
    }
    assert_eq!(target("kl_weight = 0.01", &none, &none), (start, None));
    assert_eq!(target("kl_weight = 0.01\ntarget_kl = 0.3", &none, &none), (start, Some(0.3)));
    assert_eq!(target("variant = 'vq'", &none, &none), (KlWeight::Fixed(1.0), None));
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (key, nearest) in [
        ("sede", "seed"),
        ("kl-weight", "kl_weight"),
        ("learning_rte", "learning_rate"),
        ("latent", "latent_size"),
        ("batchsize", "batch_size"),
        ("Experts", "experts"),
        ("hidden", "hidden_size"),
        ("teacher", "teacher_epochs"),
        ("presets", "preset"),
    ] {
        let text = format!("# a comment\nrollout = 8\n\"{key}\" = 1\n");
        let message = message(with_file(&text, &Overrides::default()));
        let expected = format!("c.toml:3: unknown key {key:?}; did you mean {nearest:?}?");
        assert_eq!(message, expected);
    }
}

#[test]
fn wrong_types_say_key_found_and_expected() {
    for (text, expected) in [
        (
            "\nbatch_size = \"many\"",
            "c.toml:2: batch_size: invalid type: string \"many\", expected a whole number of 0 or more",
        ),
        ("batch_size = -3", "c.toml:1: batch_size: invalid value: integer `-3`, expected a whole number of 0 or more"),
        (
            "batch_size = 2.5",
            "c.toml:1: batch_size: invalid type: floating point `2.5`, expected a whole number of 0 or more",
        ),
        ("seed = true", "c.toml:1: seed: invalid type: boolean `true`, expected a whole number of 0 or more"),
        ("learning_rate = []", "c.toml:1: learning_rate: invalid type: sequence, expected a number"),
        ("target_kl = \"x\"", "c.toml:1: target_kl: invalid type: string \"x\", expected a number"),
        ("kl_weight = \"much\"", "c.toml:1: kl_weight: invalid value: string \"much\", expected a number or \"auto\""),
        (
            "variant = \"big\"",
            "c.toml:1: variant: unknown value `big`, expected one of `mixture`, `posevae`, `specialist`, `vq`",
        ),
        ("data = [\"a\", 1]", "c.toml:1: data[1]: invalid type: integer `1`, expected a path"),
        ("data = \"a\"", "c.toml:1: data: invalid type: string \"a\", expected a list such as [\"walk.npz\"]"),
        (
            "preset = \"papr\"",
            "c.toml:1: preset: unknown value `papr`, expected one of `default`, `long`, `paper`, `reference`",
        ),
    ] {
        assert_eq!(message(with_file(text, &Overrides::default())), expected);
    }
    // A value that a flag replaces is not checked.
    let flags = Overrides { batch_size: Some(4), ..Overrides::default() };
    assert_eq!(with_file("batch_size = \"many\"", &flags).unwrap().batch_size, 4);
}

#[test]
fn an_impossible_value_is_named_where_it_was_given() {
    let given = |batch_size| Overrides { batch_size, ..Overrides::default() };
    let layered = |file, environment, flags| {
        let file = (Path::new("c.toml"), file);
        message(Config::layered(None, Some(file), &given(environment), &given(flags)))
    };
    let file = "seed = 1\nbatch_size = 0";
    assert_eq!(layered(file, None, None), "c.toml:2: batch_size is 0, expected 1 to 65536");
    assert_eq!(layered(file, Some(0), None), "MVAE_BATCH_SIZE is 0, expected 1 to 65536");
    assert_eq!(layered(file, Some(3), Some(0)), "--batch-size is 0, expected 1 to 65536");
    let most = |key| format!("{key} is {}, expected at most {}", usize::MAX, i64::MAX);
    assert_eq!(layered(file, Some(usize::MAX), None), most("MVAE_BATCH_SIZE"));
    assert_eq!(layered(file, Some(3), Some(usize::MAX)), most("--batch-size"));
    let text = "variant = \"vq\"\nfree_bits = 1";
    assert_eq!(message(with_file(text, &given(None))), "c.toml:2: free_bits: vq has no KL; leave it at 0");
    let text = "teacher_epochs = 0\nramp_epochs = 0";
    let flags = Overrides { student_epochs: Some(0), ..Overrides::default() };
    let expected = "c.toml:1: teacher_epochs + c.toml:2: ramp_epochs + --student-epochs is 0, expected 1 to 1000000";
    assert_eq!(message(with_file(text, &flags)), expected);
}

#[test]
fn broken_toml_says_where() {
    for text in ["seed = 1\nseed = 2", "\nseed", "seed = ", "[[[", "a = \"\u{0}", "seed = 1 2"] {
        let message = message(with_file(text, &Overrides::default()));
        assert!(message.starts_with("c.toml:"), "{message}");
    }
}

#[test]
fn impossible_values_are_refused_by_name() {
    /// A key, and a function that makes its value invalid.
    type Case = (&'static str, fn(&mut Config));
    let cases: &[Case] = &[
        ("latent_size", |c| c.latent_size = 0),
        ("latent_size", |c| c.latent_size = usize::MAX),
        ("gate_hidden_size", |c| c.gate_hidden_size = 0),
        ("experts", |c| c.experts = 0),
        ("codes", |c| c.codes = 0),
        ("condition_frames", |c| c.condition_frames = 0),
        ("future_predictions", |c| c.future_predictions = 0),
        ("rollout", |c| c.rollout = 0),
        ("batch_size", |c| c.batch_size = 0),
        ("hidden_size", |c| c.hidden_size = 1 << 40),
        ("student_epochs", |c| (c.teacher_epochs, c.ramp_epochs, c.student_epochs) = (0, 0, 0)),
        ("student_epochs", |c| c.student_epochs = usize::MAX),
        ("learning_rate", |c| c.learning_rate = 0.0),
        ("learning_rate", |c| c.learning_rate = -1e-4),
        ("learning_rate", |c| c.learning_rate = f64::NAN),
        ("final_learning_rate", |c| c.final_learning_rate = -1.0),
        ("final_learning_rate", |c| c.final_learning_rate = f64::INFINITY),
        ("adam_beta1", |c| c.adam_beta1 = 1.0),
        ("adam_beta1", |c| c.adam_beta1 = f64::NAN),
        ("adam_beta2", |c| c.adam_beta2 = -0.1),
        ("adam_eps", |c| c.adam_eps = 0.0),
        ("kl_weight", |c| c.kl_weight = KlWeight::Fixed(-1.0)),
        ("kl_weight", |c| c.kl_weight = KlWeight::Fixed(f64::NAN)),
        ("free_bits", |c| c.free_bits = -1.0),
        ("free_bits", |c| c.free_bits = f64::NAN),
        ("target_kl", |c| c.target_kl = Some(-1.0)),
        ("target_kl", |c| c.target_kl = Some(0.0)),
        ("max_minutes", |c| c.max_minutes = Some(f64::NAN)),
        ("validation", |c| c.validation = 1.0),
        ("validation", |c| c.validation = -0.1),
        ("validation", |c| c.validation = f64::NAN),
        ("seed", |c| c.seed = u64::MAX),
        ("checkpoint_every", |c| c.checkpoint_every = u64::MAX),
        ("kl_weight auto", |c| c.variant = Variant::Vq),
        ("free_bits", |c| (c.variant, c.kl_weight, c.free_bits) = (Variant::Vq, KlWeight::Fixed(1.0), 0.1)),
        ("target_kl", |c| (c.variant, c.kl_weight) = (Variant::Vq, KlWeight::Fixed(1.0))),
    ];
    for (number, (key, spoil)) in cases.iter().enumerate() {
        let mut config = Config::default();
        spoil(&mut config);
        let message = message(config.validate().map(|()| config));
        assert!(message.contains(key), "case {number}: {message:?} does not name {key}");
    }
}

#[test]
fn values_at_the_edge_are_taken() {
    let edge = Config {
        latent_size: 1,
        batch_size: 1,
        teacher_epochs: 0,
        ramp_epochs: 0,
        student_epochs: 1,
        kl_weight: KlWeight::Fixed(0.0),
        adam_beta1: 0.0,
        seed: i64::MAX as u64,
        ..Config::default()
    };
    edge.validate().unwrap();
    assert_eq!(edge, with_file(&edge.to_toml(), &Overrides::default()).unwrap());
    Config { variant: Variant::Vq, kl_weight: KlWeight::Fixed(1.0), target_kl: None, ..edge }.validate().unwrap();
}

#[test]
fn a_written_file_holds_every_key() {
    for preset in [Preset::Default, Preset::Long, Preset::Paper, Preset::Reference] {
        let config = Config { data: vec![PathBuf::from("a \"b\".npz")], ..Config::preset(preset) };
        let text = config.to_toml();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table.len(), Config::KEYS.len());
        assert!(Config::KEYS.iter().all(|&key| table.contains_key(key)), "{text}");
        // The result is the same over any preset.
        for other in [Preset::Default, Preset::Long, Preset::Paper, Preset::Reference] {
            let file = (Path::new("config.toml"), text.as_str());
            let read = Config::layered(Some(other), Some(file), &Overrides::default(), &Overrides::default()).unwrap();
            assert_eq!(read, config);
        }
    }
}

#[test]
fn differences_are_named() {
    let (paper, reference) = (Config::preset(Preset::Paper), Config::preset(Preset::Reference));
    assert_eq!(paper.differences(&paper), [""; 0]);
    let expected = ["student_epochs", "ramp", "final_learning_rate", "kl_weight"];
    assert_eq!(paper.differences(&reference), expected);
}

#[test]
fn every_key_is_a_flag() {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        overrides: Overrides,
    }
    // The values of the default preset, given as flags, are the default preset.
    let table: toml::Table = Config::default().to_toml().parse().unwrap();
    let mut arguments = vec!["test".to_owned()];
    for (key, value) in &table {
        let value = value.as_str().map_or(value.to_string(), str::to_owned);
        match key.as_str() {
            "data" => continue,
            _ => arguments.push(format!("--{}={value}", key.replace('_', "-"))),
        }
    }
    assert_eq!(arguments.len(), Config::KEYS.len());
    let flags = Flags::try_parse_from(arguments).unwrap_or_else(|e| panic!("{e}"));
    let config = Config::layered(Some(Preset::Reference), None, &Overrides::default(), &flags.overrides).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(message(Config::load(&folder.path().join("none.toml"))).contains("none.toml"));
    assert!(message(Config::load(folder.path())).contains("a folder; give a TOML file"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(message(Config::load(&binary)).contains("not UTF-8"));
    let huge = folder.path().join("huge.toml");
    std::fs::write(&huge, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(message(Config::load(&huge)).contains("1 MiB"));
}

proptest! {
    #[test]
    fn numbers_survive_the_file(
        latent_size in 1usize..65_537, seed in 0..=i64::MAX as u64, eps in 1e-300f64..1e300,
        weight in prop::option::of(0.0f64..1e9), minutes in prop::option::of(1e-9f64..1e9),
    ) {
        let config = Config {
            latent_size,
            seed,
            adam_eps: eps,
            kl_weight: weight.map_or(KlWeight::Auto, KlWeight::Fixed),
            max_minutes: minutes,
            ..Config::default()
        };
        prop_assert_eq!(with_file(&config.to_toml(), &Overrides::default()).unwrap(), config);
    }

    /// A file with some bytes replaced, cut off somewhere, gives an error of one line or a valid
    /// configuration.
    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(), cutting in any::<bool>(),
    ) {
        let mut bytes = Config::default().to_toml().into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cutting {
            bytes.truncate(cut.index(bytes.len()));
        }
        match with_file(&String::from_utf8_lossy(&bytes), &Overrides::default()) {
            Ok(config) => config.validate().unwrap(),
            Err(error) => {
                prop_assert_eq!(error.exit_code(), 2);
                prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(\\PC|[\\[\\]{}=\"\n.,#\\\\0-9a-z_]){0,200}") {
        let _ = with_file(&text, &Overrides::default());
    }
}
