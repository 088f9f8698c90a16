//! `mvae-fast plan`: the calls of a training step, what waits for what, and the phases.
use crate::steps::Run;
use mvae_fast::config::Variant;
use serde_json::Value;
use std::process::Command;

/// Standard output of `plan` with these arguments.
fn plan(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
    let output = command.env_clear().arg("plan").args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&plan(&[arguments, &["--json"]].concat())).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// The kernels of the full-size step, as the library lays it out.
fn kernels(variant: Variant) -> Vec<&'static str> {
    Run::<f32>::full(variant, 64).step.plan.calls().iter().map(|call| call.kernel()).collect()
}

#[test]
fn every_call_waits_for_earlier_ones() {
    for variant in [Variant::Mixture, Variant::Posevae, Variant::Specialist, Variant::Vq] {
        let step = json(&["--variant", &variant.name(), "--position-gain", "1"]);
        let calls = list(&step["calls"]);
        let names: Vec<&str> = calls.iter().map(|call| call["kernel"].as_str().unwrap()).collect();
        assert_eq!(names, kernels(variant), "{variant:?}");
        for (i, call) in calls.iter().enumerate() {
            assert_eq!(number(&call["call"]), i + 1);
            assert!(!list(&call["writes"]).is_empty(), "{call}");
            let waits = list(&call["waits_for"]);
            assert!(!waits.is_empty(), "at least for itself in the step before: {call}");
            for wait in waits {
                let (before, steps) = (number(&wait["call"]), number(&wait["steps_before"]));
                assert!((1..=calls.len()).contains(&before) && steps <= 1, "{call}");
                assert!(steps == 1 || before < i + 1, "{call}");
            }
            for tensor in list(&call["reads"]).iter().chain(list(&call["writes"])) {
                let elements: usize = list(&tensor["shape"]).iter().map(number).product();
                assert!(elements > 0 && number(&tensor["bytes"]).is_multiple_of(elements), "{tensor}");
            }
        }
        let chain = list(&step["chain"]);
        assert!(chain.len() < calls.len() * 2 / 3, "{variant:?}: calls run side by side");
        assert_eq!(step["modelled_us"], step["chain_us"]);
        assert!(step["chain_us"].as_f64() < step["one_after_another_us"].as_f64());
    }
}

#[test]
fn a_tensor_has_the_shape_of_its_parameter() {
    let step = json(&[]);
    let update = list(&step["calls"]).iter().find(|call| call["kernel"] == "update" && call["layer"] == "decoder.w0");
    let writes = list(&update.unwrap()["writes"]);
    for name in ["w", "m", "v"] {
        let tensor = writes.iter().find(|tensor| tensor["name"] == name).unwrap();
        assert_eq!(tensor["shape"], serde_json::json!([6, 299, 256]), "{tensor}");
        assert_eq!(tensor["parameter"], "decoder.w0");
    }
    let window = &list(&step["calls"])[0];
    let condition = list(&window["writes"]).iter().find(|tensor| tensor["name"] == "condition").unwrap();
    assert_eq!(condition["shape"], serde_json::json!([64, 267]));
}

#[test]
fn phases_hold_every_call_in_order() {
    let step = json(&["--engine", "persistent", "--position-gain", "1"]);
    let (calls, phases) = (list(&step["calls"]), list(&step["phases"]));
    let rows: usize = phases.iter().map(|phase| list(&phase["rows"]).len()).sum();
    assert_eq!((calls.len(), rows, phases.len()), (39, 61, 15), "as docs/engines.md shows");
    let mut shares: Vec<Vec<usize>> = vec![Vec::new(); calls.len()];
    for (i, phase) in phases.iter().enumerate() {
        assert_eq!(number(&phase["phase"]), i + 1);
        let rows = list(&phase["rows"]);
        assert!(rows[0]["does"] == "runs" && phase["us"].as_f64().unwrap() > 0.7, "{phase}");
        let order = |row: &Value| match row["does"].as_str().unwrap() {
            "runs" => 0,
            "fetches" => 1,
            _ => 2,
        };
        assert!(rows.is_sorted_by_key(order), "{phase}");
        for row in rows {
            let call = number(&row["call"]) - 1;
            assert!(row["kernel"] == calls[call]["kernel"] && number(&row["blocks"]) <= 132, "{row}");
            if row["does"] == "fetches" {
                let next = list(&phases[(i + 1) % phases.len()]["rows"]);
                assert!(next.iter().any(|other| other["does"] == "runs" && other["call"] == row["call"]), "{row}");
                continue;
            }
            match row["shares"].as_array() {
                Some(range) => shares[call].extend(number(&range[0])..number(&range[1])),
                None => shares[call].push(0),
            }
        }
    }
    for (call, shares) in calls.iter().zip(&mut shares) {
        shares.sort_unstable();
        let all = call["shares"].as_u64().unwrap_or(1) as usize;
        assert_eq!(*shares, (0..all).collect::<Vec<_>>(), "{call}");
    }
    let sum: f64 = phases.iter().map(|phase| phase["us"].as_f64().unwrap()).sum();
    assert!((sum - step["modelled_us"].as_f64().unwrap()).abs() < 0.5, "{sum}");
}

#[test]
fn a_plan_fits_a_terminal() {
    for arguments in [&["--variant", "specialist"][..], &["--engine", "persistent"], &["--engine", "calls"]] {
        let text = plan(arguments);
        let long = text.lines().find(|line| line.chars().count() > 100 || line.ends_with(' '));
        assert!(long.is_none(), "{long:?} in:\n{text}");
    }
}

#[test]
fn sizes_that_no_plan_can_hold_are_refused() {
    for (arguments, words) in [
        (["--features", "0"], "--features is 0, expected 1 to 65536"),
        (["--blocks", "2000"], "--blocks is 2000, expected at most 1024"),
        (["--batch-size", "0"], "--batch-size is 0, expected 1 to 65536"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
        let output = command.env_clear().arg("plan").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("error: {words}\n"));
    }
}
