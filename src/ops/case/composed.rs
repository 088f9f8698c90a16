//! Composed tasks with every term, every shape and every sight, for cases of characters.
use crate::ops::world::Task;
use crate::ops::world::composed::program::{Moves, Sees, Shape, Value};
use std::sync::LazyLock;

/// One task for each way in which a goal moves. Terms have other shapes in each.
pub(super) static TASKS: LazyLock<Vec<Task>> = LazyLock::new(|| {
    let text = |moves: Moves| {
        let of_goal = match moves {
            Moves::Still => "arena = [6, 5]\nevery = 12",
            Moves::Leader => "ahead = 3.0",
            Moves::Path => "",
        };
        let seen = Sees::NAMES.iter().filter(|&&name| moves == Moves::Path || name != Sees::Path.name());
        let terms = Value::NAMES.iter().enumerate().map(|(i, term)| {
            let shape = Shape::NAMES[(i + moves as usize) % Shape::NAMES.len()];
            let at = if *term == Value::Distance.name() { ", at = 1.5" } else { "" };
            format!("{{ term = \"{term}\", shape = \"{shape}\", weight = 0.{}{at} }}", i + 1)
        });
        format!(
            "name = \"case-{0}\"\nseen = {seen:?}\nreward = [{terms}]\n\
             [goal]\nmoves = \"{0}\"\n{of_goal}\n[look]\narena = [5, 6]\nevery = 6\n\
             [direction]\nrange = [-180, 180]\nevery = 3\nturn = 2.0\n\
             [speed]\nrange = [0.1, 0.9]\nlevels = 5\nevery = 6\n[facing]\nrange = [90, 270]\n",
            moves.name(),
            seen = seen.collect::<Vec<_>>(),
            terms = terms.collect::<Vec<_>>().join(", "),
        )
    };
    let read = |&moves: &Moves| Task::read(&text(moves)).unwrap_or_else(|error| panic!("{error}: {}", text(moves)));
    Moves::ALL.iter().map(read).collect()
});
