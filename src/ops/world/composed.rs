//! Composed: a task that a file describes ([`text`]). Its program lists how commands are drawn,
//! what is seen, and the terms of the reward; definition and kernels interpret it.
pub mod program;
pub mod text;

use super::task::{Mean, Measure, Number, Recorded, Scene, Step, TaskInfo};
use super::*;
use program::{DRAWN, Moves, Program, Sees, Shape, Sight, Term, Value};
use std::fmt;

/// Place of the direction (radians), the speed (body units a frame) and the facing (radians from
/// the direction) that are asked for, among a character's own numbers.
pub const COMMAND: usize = 2;
/// Place of the point to look at.
pub const LOOK: usize = 5;
/// Place of the terms' values in the last step, one a term.
pub const VALUES: usize = DRAWN;
/// Radius of the marks of points, body units.
pub(crate) const RADIUS: f64 = 1.0;

/// A task that a file describes.
pub struct Composed {
    /// Its name.
    pub name: String,
    /// The file's text, which a run keeps.
    pub text: String,
    /// The numbers that its kernels need.
    pub program: Program,
    /// Its description.
    pub info: TaskInfo,
    /// Key and description of each term's mean.
    pub labels: Vec<[String; 2]>,
}

impl PartialEq for Composed {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Composed({})", self.name)
    }
}

impl Task {
    /// The program of a composed task.
    pub fn program(self) -> Option<&'static Program> {
        match self {
            Task::Composed(task) => Some(&task.program),
            _ => None,
        }
    }
}

impl Program {
    /// The pairs that are seen.
    pub(crate) fn seen(&self) -> &[Sight] {
        &self.sight[..self.sights as usize]
    }

    /// The terms of the reward.
    pub(crate) fn rewarded(&self) -> &[Term] {
        &self.term[..self.terms as usize]
    }

    /// True if the reward has a term of this value.
    pub(crate) fn has(&self, value: Value) -> bool {
        self.rewarded().iter().any(|term| term.kind == value as u32)
    }
}

/// Means of the terms' values.
struct Measured {
    scene: Scene,
    task: &'static Composed,
    means: Vec<Mean>,
}

/// Begins to measure an episode of a composed task.
pub(crate) fn measure(scene: &Scene) -> Box<dyn Measure> {
    match scene.rules.task {
        Task::Composed(task) => {
            let means = vec![Mean::default(); task.program.terms as usize];
            Box::new(Measured { scene: scene.clone(), task, means })
        }
        _ => Box::new(()),
    }
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        if !step.goes_on {
            return;
        }
        let (length, speed) = (self.scene.body(), self.scene.speed_unit());
        for ((mean, term), &x) in self.means.iter_mut().zip(self.task.program.rewarded()).zip(&step.own[VALUES..]) {
            mean.add(match Value::ALL[term.kind as usize] {
                Value::Distance => x.abs() * length,
                Value::Progress => x * speed,
                Value::Bearing | Value::Look | Value::Heading | Value::Facing => {
                    (1.0 - x).clamp(-1.0, 1.0).acos().to_degrees()
                }
                Value::Speed | Value::Velocity | Value::Still => x.abs() * self.scene.rules.speed * speed,
                Value::Effort => x,
                Value::Feet => 100.0 * x * speed,
            });
        }
    }

    fn numbers(&self) -> Vec<Number> {
        let labels = self.task.labels.iter().zip(&self.means);
        labels.map(|([key, label], mean)| Number::new(key, label, mean.value())).collect()
    }
}

/// The marks of what is recorded: points, and the arrow of a command.
pub(crate) fn marks(scene: &Scene, recorded: &Recorded) -> Vec<serde_json::Value> {
    let path = (!scene.course.is_empty()).then(|| path::shown(scene));
    let named = scene.rules.task.info().recorded.iter().zip(recorded);
    let marks = named.map(|((name, _), pairs)| match *name {
        "commands" => joystick::arrow(scene, pairs),
        _ => scene.goal(pairs, RADIUS),
    });
    path.into_iter().chain(marks).collect()
}

/// The motion of a character in a step, from which the values of terms follow. Lengths are in the
/// data's units.
struct Moment<T> {
    /// Place of the root before the step.
    start: [T; 2],
    /// Place of the root after it.
    end: [T; 2],
    /// Facing after it.
    facing: T,
    /// Way of the root in it.
    moved: [T; 2],
    energy: T,
    slide: T,
    body: T,
    /// Largest speed, the data's units a frame.
    top: T,
}

/// The vector between two points.
fn between<T: Real>(from: [T; 2], to: &[T]) -> [T; 2] {
    [to[0] - from[0], to[1] - from[1]]
}

impl<T: Real> Moment<T> {
    /// The velocity that is asked for, in shares of the largest speed, taken off that of the root.
    fn off(&self, own: &[T]) -> [T; 2] {
        let (sin, cos) = own[COMMAND].sin_cos();
        let asked = own[COMMAND + 1] * self.body;
        [self.moved[0] - asked * cos, self.moved[1] - asked * sin].map(|x| x / self.top)
    }

    /// The angle at which a term's direction is seen; none where the point is the root.
    fn angle(&self, value: Value, own: &[T]) -> Option<T> {
        let of = |point: &[T]| {
            let [x, z] = between(self.end, point);
            (x != T::zero() || z != T::zero()).then(|| z.atan2(x))
        };
        let direction = match value {
            Value::Bearing => of(&own[GOAL..])?,
            Value::Look => of(&own[LOOK..])?,
            Value::Facing => own[COMMAND] + own[COMMAND + 2],
            _ => own[COMMAND],
        };
        Some(direction + self.facing)
    }

    /// The value of a term.
    fn value(&self, term: &Term, own: &[T]) -> T {
        let far = |from: [T; 2]| length(between(from, &own[GOAL..]));
        let value = match Value::ALL[term.kind as usize] {
            Value::Distance => far(self.end) / self.body,
            Value::Progress => (far(self.start) - far(self.end)) / self.body,
            of @ (Value::Bearing | Value::Look | Value::Heading | Value::Facing) => {
                self.angle(of, own).map_or(T::zero(), |angle| T::one() - angle.cos())
            }
            Value::Speed => (own[COMMAND + 1] * self.body - length(self.moved)) / self.top,
            Value::Velocity => length(self.off(own)),
            Value::Still => length(self.moved) / self.top,
            Value::Effort => -self.energy,
            Value::Feet => self.slide,
        };
        value - T::of(term.at)
    }
}

/// The reward of values, one for each term; and the part of it that terms of [`Shape::Exp`] make.
fn reward<T: Real>(terms: &[Term], values: &[T]) -> [T; 2] {
    let (mut sum, mut power, mut any) = (T::zero(), T::zero(), false);
    for (term, &x) in terms.iter().zip(values) {
        let weight = T::of(term.weight);
        match Shape::ALL[term.shape as usize] {
            Shape::Linear => sum += weight * x,
            Shape::Abs => sum -= weight * x.abs(),
            Shape::Square => sum -= weight * x * x,
            Shape::Exp => {
                power += weight * x.abs();
                any = true;
            }
        }
    }
    let product = if any { (-power).exp() } else { T::zero() };
    [sum + product, product]
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    /// Draws the numbers that are `due`.
    fn draw<T: Real>(v: &mut View<'_, T>, p: usize, random: &[T], due: impl Fn(u32) -> bool) {
        for (i, drawn) in v.program[0].drawn.iter().enumerate().filter(|(_, drawn)| due(drawn.every)) {
            let mut share = drawn.slot.checked_sub(1).map_or(0.0, |slot| random[slot as usize].f64());
            if drawn.levels > 1 {
                share = (share * f64::from(drawn.levels)).floor() / f64::from(drawn.levels - 1);
            }
            let unit = match i {
                COMMAND | 4 => 1.0,
                3 => v.speed,
                _ => v.body,
            };
            v.own(p)[i] = T::of((drawn.from + drawn.span * share) * unit);
        }
    }

    /// The vector of the world in the direction that is asked for.
    fn ahead<T: Real>(own: &[T], far: T) -> [T; 2] {
        let (sin, cos) = own[COMMAND].sin_cos();
        [far * cos, far * sin]
    }

    /// The reward, with commands that are due drawn before; then the goal moves on.
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        let start = (v.at(p), v.facing[p]);
        let (frame, random, program) = (v.advance(p), v.drawn(p), &v.program[0]);
        let time = v.time(p);
        if v.asks_anew(p) {
            let anew = v.anew;
            draw(v, p, random, |every| every > 0 && time.is_multiple_of(anew * every as usize));
        }
        let (sin, cos) = start.1.sin_cos();
        let moment = Moment {
            start: start.0,
            end: v.at(p),
            facing: v.facing[p],
            moved: [cos * frame[0] + sin * frame[1], cos * frame[1] - sin * frame[0]],
            energy: if program.has(Value::Effort) { v.energy(frame) } else { T::zero() },
            slide: if program.has(Value::Feet) { v.slide(p) } else { T::zero() },
            body: T::of(v.body),
            top: T::of(v.speed * v.body),
        };
        let (own, values) = v.own(p).split_at_mut(VALUES);
        values.iter_mut().zip(program.rewarded()).for_each(|(x, term)| *x = moment.value(term, own));
        let [reward, _] = reward(program.rewarded(), values);
        go_on(v, p, time);
        v.finish(p, reward, false, false);
    }

    /// Moves the goal and turns the direction by a step.
    fn go_on<T: Real>(v: &mut View<'_, T>, p: usize, time: usize) {
        let (program, body, last) = (&v.program[0], T::of(v.body), v.last == 1);
        match Moves::ALL[program.goal as usize] {
            Moves::Still => {}
            Moves::Leader => {
                let own = v.own(p);
                let by = ahead(own, own[COMMAND + 1] * body);
                (0..2).for_each(|axis| own[GOAL + axis] += by[axis]);
            }
            Moves::Path => path::cpu::follow(v, p, time),
        }
        if last && program.turn != 0.0 {
            let own = v.own(p);
            own[COMMAND] = wrapped(own[COMMAND] + T::of(program.turn));
        }
    }

    /// New commands; a leader starts ahead of the character, which starts on the path if there is
    /// one.
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let stream = Stream::new(v.state[0].seed, Purpose::Reset, v.state[0].step);
        let [_, a, b, c] = v.restart(p, v.time_is_out(p));
        let [d, e, f, g] = stream.block((v.p + p) as u32).map(|bits| T::of(unit(bits)));
        let program = &v.program[0];
        draw(v, p, &[a, b, c, d, e, f, g], |_| true);
        v.own(p)[VALUES..].fill(T::zero());
        match Moves::ALL[program.goal as usize] {
            Moves::Still => {}
            Moves::Leader => {
                let far = v.units(program.ahead);
                let own = v.own(p);
                let goal = ahead(own, far);
                own[GOAL..][..2].copy_from_slice(&goal);
            }
            Moves::Path => {
                path::cpu::begin(v, p, g);
                path::cpu::place(v, p);
            }
        }
    }

    /// The pairs that are seen.
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let sights = v.program[0].seen();
        let mut pairs = [[T::zero(); 2]; program::MOST];
        let own = &v.own[p * v.o..][..v.o];
        let point = |at: usize| [own[at], own[at + 1]];
        let turned = |by: T, far: T| {
            let (sin, cos) = (own[COMMAND] + by).sin_cos();
            v.to_local(p, [far * cos, far * sin])
        };
        for (pair, sight) in pairs.iter_mut().zip(sights) {
            *pair = match Sees::ALL[sight.kind as usize] {
                Sees::Goal => v.to_local(p, v.way(p, point(GOAL))),
                Sees::Bearing => v.bearing(p),
                Sees::Look => v.to_local(p, v.way(p, point(LOOK))),
                Sees::Direction => turned(T::zero(), T::one()),
                Sees::Facing => turned(own[COMMAND + 2], T::one()),
                Sees::Velocity => turned(T::zero(), own[COMMAND + 1]),
                Sees::Speed => [own[COMMAND + 1], T::zero()],
                Sees::Path => path::cpu::ahead(v, p, sight.ahead as usize),
            };
        }
        v.condition(p).copy_from_slice(pairs[..sights.len()].as_flattened());
    }

    /// Derivatives of the reward: those of each term's shape times those of its value.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        let (program, own) = (&s.program[0], s.own);
        let (sin, cos) = s.start.1.sin_cos();
        let moment = Moment {
            start: s.start.0,
            end: s.end.0,
            facing: s.end.1,
            moved: [cos * s.frame[0] + sin * s.frame[1], cos * s.frame[1] - sin * s.frame[0]],
            energy: if program.has(Value::Effort) { energy(s.frame, s.rules.body * s.rules.body) } else { T::zero() },
            slide: if program.has(Value::Feet) { s.slide() } else { T::zero() },
            body: s.rules.body,
            top: s.rules.speed * s.rules.body,
        };
        let mut values = [T::zero(); program::MOST];
        values.iter_mut().zip(program.rewarded()).for_each(|(x, term)| *x = moment.value(term, own));
        let [_, product] = reward(program.rewarded(), &values);
        for (term, x) in program.rewarded().iter().zip(values) {
            let sign = if x == T::zero() { x } else { x.signum() };
            let slope = match Shape::ALL[term.shape as usize] {
                Shape::Linear => T::one(),
                Shape::Abs => -sign,
                Shape::Square => -(x + x),
                Shape::Exp => -product * sign,
            };
            by_value(s, &moment, Value::ALL[term.kind as usize], s.weight * T::of(term.weight) * slope);
        }
    }

    /// Adds `by` times the derivatives of a value.
    fn by_value<T: Real>(s: &mut pull::Step<'_, T>, moment: &Moment<T>, value: Value, by: T) {
        let own = s.own;
        match value {
            Value::Distance => {
                let way = between(moment.end, &own[GOAL..]);
                let far = length(way);
                if far > T::zero() {
                    (0..2).for_each(|axis| s.dend.0[axis] -= by * way[axis] / (far * moment.body));
                }
            }
            Value::Progress => s.progress(by),
            Value::Bearing | Value::Look | Value::Heading | Value::Facing => {
                let Some(angle) = moment.angle(value, own) else {
                    return;
                };
                let by_angle = by * angle.sin();
                s.dend.1 += by_angle;
                let point = match value {
                    Value::Bearing => &own[GOAL..],
                    Value::Look => &own[LOOK..],
                    _ => return,
                };
                let way = between(moment.end, point);
                let square = way[0] * way[0] + way[1] * way[1];
                s.dend.0[0] += by_angle * way[1] / square;
                s.dend.0[1] -= by_angle * way[0] / square;
            }
            Value::Speed => s.by_speed(-by / s.rules.speed),
            Value::Still => s.by_speed(by / s.rules.speed),
            Value::Velocity => {
                let off = moment.off(own);
                let far = length(off);
                if far > T::zero() {
                    let g = off.map(|x| by * x / (far * moment.top));
                    let (sin, cos) = s.start.1.sin_cos();
                    s.dframe[0] += cos * g[0] - sin * g[1];
                    s.dframe[1] += sin * g[0] + cos * g[1];
                    s.dstart.1 += g[0] * moment.moved[1] - g[1] * moment.moved[0];
                }
            }
            Value::Effort => s.energy(-by),
            Value::Feet => s.by_slide(by),
        }
    }
}
