//! Control without learning: `control eval --planner` and `generate --plan`.
use crate::control::Desk;
use mvae_fast::data::npz;
use serde_json::Value;

#[test]
fn a_planner_does_better_than_the_prior() {
    let desk = Desk::new("");
    let planned = "control eval --planner joystick --vae walk --rollouts 12 --horizon 2 --characters 2";
    let measured: Value = serde_json::from_str(&desk.done(&format!("{planned} --json"))).unwrap();
    let reward = |who: &str| measured[who]["step_reward"].as_f64().unwrap();
    assert!(reward("planner") > reward("prior"), "{measured}");
    assert!(
        desk.done("control eval --planner walk --vae walk --rollouts 1 --characters 1").contains("planner      prior")
    );
}

#[test]
fn a_planned_motion_is_what_a_planner_is_measured_by() {
    let desk = Desk::new("");
    let plan = |rollouts: usize| {
        let flags = format!("--plan target --rollouts {rollouts} --horizon 3 --characters 2 --frames 40");
        desk.done(&format!("generate walk {flags} -o {rollouts}.npz"));
        let file = desk.path(&format!("{rollouts}.npz"));
        let (shape, goals) = npz::read_array(&file, "goals").unwrap();
        assert_eq!(shape, [80, 2]);
        // Mean way towards the first target, in the data's units.
        let (_, roots) = npz::read_array(&file, "roots").unwrap();
        let far =
            |frame: usize| (0..2).map(|i| (goals[2 * frame + i] - roots[3 * frame + i]).powi(2)).sum::<f32>().sqrt();
        (0..2).map(|c| far(40 * c) - far(40 * c + 39)).sum::<f32>() / 2.0
    };
    let (one, many) = (plan(1), plan(64));
    assert!(many > one, "{many} with choices, {one} without");
    for (flags, words) in [
        ("generate walk --plan fly", "--plan: unknown task \"fly\""),
        ("generate walk --plan maze", "actions of the maze are no latents"),
        ("generate walk --rollouts 3", "--plan"),
        ("generate walk --plan walk --rollouts 0", "--rollouts"),
        ("generate walk --plan walk --temperature 2", "--temperature"),
        ("generate walk --plan walk --task walk", "--task, --vae and --lower are for --controller"),
        ("generate walk --plan walk --characters 1000 --rollouts 100000", "--characters times --rollouts is 100000000"),
        ("control eval --planner walk", "--vae"),
        ("control eval some --planner walk --vae walk", "--planner"),
        ("control eval --vae walk", "RUN|CHECKPOINT"),
    ] {
        let said = desk.refused(flags, 2);
        assert!(said.contains(words), "{flags}: {said}");
    }
    assert!(desk.refused("generate nobody --plan walk", 4).contains("no such file, and no run of that name"));
}
