//! `train --controller`: a controller that steers in the report of its model.
use crate::control::Desk;
use serde_json::Value;
use std::fs;

const TRAIN: &str = "train motion.npz --quiet --hidden-size 16 --gate-hidden-size 8 --latent-size 5 --experts 3 \
                     --minibatches 0 --teacher-epochs 1 --ramp-epochs 0 --student-epochs 1 --warmup-steps 0 --threads 2 \
                     --controller joystick --controller-updates 1";

#[test]
fn a_controller_of_the_model_steers_in_its_report() {
    let desk = Desk::new("");
    let trained: Value = serde_json::from_str(&desk.done(&format!("{TRAIN} --name gait --json"))).unwrap();
    assert_eq!(trained["controller"], "runs/gait-joystick", "{trained}");
    let report = || fs::read_to_string(desk.path("runs/gait/report.html")).unwrap();
    assert!(
        report().contains("\"steering\":{") && report().contains("\"Reconstruction\""),
        "beside the model's motion"
    );
    assert_eq!(desk.measured("gait-joystick")["task"], "joystick");

    // The report comes back with the controller that is there.
    let before = report();
    fs::remove_file(desk.path("runs/gait/report.html")).unwrap();
    let again = desk.done("train --resume gait --quiet --controller joystick --threads 2");
    assert!(again.starts_with("controller: runs/gait-joystick\n"), "{again}");
    assert!(report() == before, "the same report");
}

#[test]
fn a_model_that_stopped_gets_its_controller_when_it_goes_on() {
    let desk = Desk::new("");
    let stopped = desk.done(&format!("{TRAIN} --name gait --max-minutes 1e-9"));
    let hint = "continue: mvae-fast train --resume runs/gait --controller joystick --controller-updates 1\n";
    assert!(stopped.contains(hint) && desk.runs() == 2, "{stopped}");
    let resume = "train --resume gait --quiet --max-minutes 0 --threads 2 --controller joystick --controller-updates 1";
    desk.done(resume);
    assert!(desk.path("runs/gait-joystick/report.html").is_file());
    let message = desk.refused(&resume.replace("updates 1", "updates 2"), 2);
    assert!(message.contains("runs/gait-joystick goes on as it was configured, with 1 update"), "{message}");
}

#[test]
fn what_cannot_steer_is_refused_before_the_model_is_trained() {
    let desk = Desk::new("");
    fs::create_dir_all(desk.path("runs/there-joystick")).unwrap();
    let runs = desk.runs();
    for (flags, words) in [
        ("train motion.npz --controller target", "a report cannot be steered by task target"),
        ("train motion.npz --controller joystick --variant vq", "variant is vq, whose controllers do not learn"),
        ("train motion.npz --controller joystick --name there", "there-joystick is there already"),
        ("train motion.npz --controller joystick --population 2", "--population"),
        ("train motion.npz --controller joystick --controller-updates 9999999", "updates is 9999999"),
        ("train motion.npz --controller-updates 3", "--controller"),
        ("train motion.npz --controller fly", "fly"),
    ] {
        let message = desk.refused(flags, 2);
        assert!(message.contains(words), "{flags}: {message}");
    }
    assert_eq!(desk.runs(), runs, "no run was begun");
}
