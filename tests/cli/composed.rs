//! Tasks that a file composes, as a user meets them: they train, stop and resume without the file,
//! and what cannot be used is refused.
use super::control::Desk;
use std::fs;
use std::path::Path;

/// The text of an example.
fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tasks");
    fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap()
}

#[test]
fn a_task_of_a_file_goes_on_bit_for_bit_without_the_file() {
    let desk = Desk::new("");
    for (task, algorithm, keys) in [
        ("keep-distance", "shac --costs-from 0.2", ["distance_m", "bearing_degrees"]),
        ("face-on-path", "ppo --path circle", ["distance_m", "look_degrees"]),
    ] {
        desk.write("mine.toml", &example(task));
        let all = format!(
            "--task mine.toml --algorithm {algorithm} --updates 3 --steps 8 --minibatches 3 --horizon 19 --name {task}"
        );
        desk.control(&format!("{all}-whole"));
        desk.control(&format!("{all}-stopped --max-minutes 1e-9"));
        fs::remove_file(desk.path("mine.toml")).unwrap();
        desk.done(&format!("control train --resume {task}-stopped --quiet --threads 1 --max-minutes 0"));
        let [whole, stopped] = ["whole", "stopped"].map(|run| desk.outcome(&format!("{task}-{run}")));
        assert_eq!(whole.0.len(), 3);
        assert!(whole == stopped, "{task}: another result after a stop");
        let run = format!("{task}-stopped");
        let measured = desk.measured(&run);
        assert_eq!(measured["task"], task);
        for key in keys {
            assert!(measured["policy"][key].as_f64().unwrap() >= 0.0, "{key}: {measured}");
        }
        assert!(desk.done(&format!("info {run}")).contains(&format!("a controller: task {task} (")));
        assert_eq!(desk.latents(&run, "--frames 9", &format!("{task}.npz")), [1, 9, 5]);
        let message = desk.refused(&format!("export walk --controller {run} -o page.html"), 4);
        assert!(message.contains(&format!("its task is {task}")), "{message}");
        let message = desk.refused(&format!("control eval {run} --gate"), 2);
        assert!(message.contains("bounds nothing that is measured"), "{message}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_anything_starts() {
    let desk = Desk::new("");
    let good = example("keep-distance");
    for (from, to, words) in [
        (
            "term = \"bearing\"",
            "term = \"baering\"",
            "unknown term \"baering\"; did you mean \"bearing\"? There are distance, ",
        ),
        ("weight = 0.5", "weight = inf", "bearing: weight is inf, expected a finite number"),
        ("weight = 0.5", "weight = nan", "bearing: weight is NaN, expected a finite number"),
        ("weight = 0.5", "weight = -1, shape = \"exp\"", "bearing: weight is -1, expected a number above 0"),
        ("weight = 0.5", "wieght = 0.5", "unknown field `wieght`"),
        ("weight = 0.5", "shape = \"cube\"", "unknown shape \"cube\"; did you mean"),
        ("weight = 0.5", "at = 2.0", "`at` is of distance"),
        ("term = \"bearing\"", "term = \"look\"", "there is no [look]; add it"),
        ("\"velocity\"]", "\"facing\"]", "there is no [facing]; add it"),
        ("\"velocity\"]", "\"path\"]", "the goal does not move along one"),
        ("\"velocity\"]", "\"wind\"]", "unknown sight \"wind\""),
        ("seen = [\"goal\", \"velocity\"]", "seen = []", "0 pairs are seen, expected 1 to 16"),
        ("moves = \"leader\"", "moves = \"away\"", "unknown goal: moves \"away\""),
        ("[speed]", "[hurry]", "unknown field `hurry`"),
        ("range = [0.2, 0.7]", "range = [0.7, 0.2]", "expected the least first"),
        ("range = [0.2, 0.7]\nevery = 240", "range = [0.2, 0.7]\nevery = 300", "expected a multiple of the least, 240"),
        ("name = \"keep-distance\"", "name = \"target\"", "is that of a built-in task"),
        ("name = \"keep-distance\"", "", "missing field `name`"),
    ] {
        assert!(good.contains(from), "{from}");
        desk.write("mine.toml", &good.replacen(from, to, 1));
        let message = desk.refused("control train --vae walk --task mine.toml", 2);
        assert!(message.contains(words) && message.contains("mine.toml:"), "{to}: {message}");
    }
    let (head, rest) = good.split_once("reward = [").unwrap();
    desk.write("mine.toml", &format!("{head}reward = []{}", rest.split_once("\n]").unwrap().1));
    let message = desk.refused("control train --vae walk --task mine.toml", 2);
    assert!(message.contains("0 terms are rewarded, expected 1 to 16"), "{message}");
    desk.write("mine.toml", &good);
    for (arguments, words) in [
        ("--task none.toml", "none.toml: cannot be read"),
        ("--task jostick", "unknown task \"jostick\": there are "),
        ("--task mine.toml --path circle", "--path is of task path, and the task is keep-distance"),
        ("--task mine.toml --literal true --algorithm ppo", "the reference has no task of a file"),
    ] {
        let message = desk.refused(&format!("control train --vae walk {arguments}"), 2);
        assert!(message.contains(words), "{arguments}: {message}");
    }
    assert_eq!(desk.runs(), 1, "no run was begun");
}

/// Each example is learned so far that its measure is clearly better than without a policy.
#[test]
#[ignore = "trains five controllers, which takes a few minutes"]
fn the_examples_are_learned() {
    let desk = Desk::small();
    for (task, key, share) in [
        ("face-on-path", "look_degrees", 0.8),
        ("keep-distance", "distance_m", 0.8),
        ("stop-at-mark", "distance_m", 0.5),
        ("backwards", "velocity_error_m_s", 0.8),
        ("circle", "distance_m", 0.5),
    ] {
        desk.write("mine.toml", &example(task));
        desk.done(&format!(
            "control train --vae walk --quiet --threads 1 --hidden-size 64 --updates 100 --task mine.toml --name {task}"
        ));
        let measured = desk.measured(task);
        let of = |who: &str, key: &str| measured[who][key].as_f64().unwrap();
        let (policy, prior) = (of("policy", key), of("prior", key));
        println!("{task}: {key} is {policy:.3}, that of the prior {prior:.3}");
        assert!(policy < share * prior, "{task}: {key} is {policy}, that of the prior {prior}");
    }
}
