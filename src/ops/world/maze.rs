//! Maze: see as much of a walled arena as time allows, and touch no wall.
use super::task::{Bound, Course, Extra, Measure, Number, PLAIN, Scene, Step, TaskInfo};
use super::*;
use serde_json::json;

/// Number of rays along which walls are seen.
pub(crate) const RAYS: usize = 16;
/// Angle of the outermost rays, radians.
const WIDE: f64 = std::f64::consts::FRAC_PI_3;
/// Largest distance that is seen, body units.
pub(crate) const FAR: f64 = 100.0;
/// Unit of distances in a normalised observation, body units.
pub(crate) const UNIT: f64 = 20.0;
/// Distance within which a joint touches a wall: half its thickness and 1 cm of body.
pub(crate) const TOUCH: f64 = 0.5 + 0.01 / 0.3048;
/// Reward for a cell that was not visited before.
pub(crate) const DISCOVERY: f64 = 0.5;
/// Number of places that are tried for a new start.
pub(crate) const TRIES: usize = 64;
/// Words of a map of visited cells: 32 by 32 bits.
pub(crate) const MAP: usize = 32;

/// The task. A character's whole numbers are its map of visited cells.
pub const TASK: TaskInfo = TaskInfo {
    about: "Explore a maze; the action is a goal for a target controller",
    words: MAP,
    course: Course::Walls,
    extra: Extra::Numbers(RAYS),
    unit: |_, _| UNIT,
    horizon: |frames| 1500 / frames,
    lower: Some(Task::Target),
    keys: &["lower", "maze"],
    rewards: |_| [0.0, DISCOVERY],
    bounds: &[Bound::least("coverage_percent", None), Bound::most("walls_hit", None)],
    measure: |scene| {
        let (cells, over) = (vec![0; scene.characters], vec![false; scene.characters]);
        Box::new(Measured { scene: scene.clone(), walls: 0.0, cells, over })
    },
    marks: |scene, _| vec![json!({ "kind": "walls", "walls": scene.shown_course().chunks(2).collect::<Vec<_>>() })],
    ..PLAIN
};

/// Cells seen and walls hit.
struct Measured {
    scene: Scene,
    /// Number of episodes that ended at a wall.
    walls: f64,
    /// Cells that each character saw before its first episode ended.
    cells: Vec<u32>,
    /// Whether each character's first episode has ended early.
    over: Vec<bool>,
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        if step.goes_on && !self.over[step.p] {
            self.cells[step.p] = step.words.iter().map(|word| word.count_ones()).sum();
        }
        self.over[step.p] |= !step.goes_on;
        // A character that is lost, rather than at a wall, has a reward of its own.
        self.walls += f64::from(u8::from(!step.goes_on && step.reward > LOST_REWARD));
    }

    fn numbers(&self) -> Vec<Number> {
        let (all, characters) = ((MAP * MAP) as f64, self.scene.characters as f64);
        let area = self.scene.rules.arena.iter().map(|half| 2.0 * half * self.scene.body()).product::<f64>();
        let share = self.cells.iter().map(|&cells| f64::from(cells)).sum::<f64>() / characters / all;
        let safe = self.over.iter().filter(|over| !**over).count() as f64 / characters;
        vec![
            Number::new("coverage_percent", format!("seen before the first end, % of {all} cells"), 100.0 * share),
            Number::new("coverage_m2", format!("the same, m² of {area:.0}"), share * area),
            Number::new("walls_hit", "walls hit", self.walls / characters),
            Number::new("unhurt_percent", "who never ended early, %", 100.0 * safe),
        ]
    }
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    /// the vector product of two vectors of the plane
    fn cross<T: Real>([ax, az]: [T; 2], [bx, bz]: [T; 2]) -> T {
        ax * bz - az * bx
    }

    fn dot<T: Real>([ax, az]: [T; 2], [bx, bz]: [T; 2]) -> T {
        ax * bx + az * bz
    }

    fn minus<T: Real>([ax, az]: [T; 2], [bx, bz]: [T; 2]) -> [T; 2] {
        [ax - bx, az - bz]
    }

    /// True if a joint of the newest pose touches a wall.
    fn touches<T: Real>(v: &View<'_, T>, p: usize) -> bool {
        let (frame, near) = (&v.history[p * v.c * v.f..][..v.f], v.units(TOUCH));
        (0..(v.f - 3) / 12).any(|joint| {
            let at = v.joint(p, frame, joint);
            (0..v.n / 2).any(|wall| {
                let (from, to) = (v.point(2 * wall), v.point(2 * wall + 1));
                let along = minus(to, from);
                let between = dot(minus(at, from), along) > T::zero() && dot(minus(to, at), along) > T::zero();
                between && cross(along, minus(at, from)).abs() / length(along) < near
            })
        })
    }

    /// the cell of the root, 32 to a side; the reference mixes the two coordinates up
    fn cell<T: Real>(v: &View<'_, T>, p: usize) -> usize {
        let [x, z] = v.at(p);
        let [x, z] = [(x, v.arena_x), (z, v.arena_z)]
            .map(|(at, arena)| (at.f64() / v.body + arena) * MAP as f64 / (2.0 * arena));
        let most = MAP as f64 - 1.0;
        if v.literal == 1 {
            return (most * x + z).trunc().clamp(0.0, (MAP * MAP - 1) as f64) as usize;
        }
        MAP * x.floor().clamp(0.0, most) as usize + z.floor().clamp(0.0, most) as usize
    }

    /// reward = DISCOVERY for a cell that is new; the episode ends at a wall
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        v.advance(p);
        let cell = cell(v, p);
        let (word, bit) = (p * MAP + cell / 32, 1 << (cell % 32));
        let new = v.words[word] & bit == 0;
        v.words[word] |= bit;
        let failed = touches(v, p);
        v.finish(p, T::of(DISCOVERY) * one_if(new), true, failed);
    }

    /// Places a character anywhere in the inner arena, or in the whole one if it touches a wall
    /// there; always in a new pose.
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let stream = Stream::new(v.state[0].seed, Purpose::Reset, v.state[0].step);
        let [_, facing, x, z] = v.restart(p, true);
        v.facing[p] = T::of(TAU) * facing;
        v.words[p * MAP..][..MAP].fill(0);
        let mut draws = [x, z];
        for again in 1..=TRIES {
            let inner = if again == 1 { 0.9 } else { 1.0 };
            for (axis, (u, arena)) in draws.into_iter().zip([v.arena_x, v.arena_z]).enumerate() {
                v.root[2 * p + axis] = v.units(inner * arena) * (u + u - T::one());
            }
            if !touches(v, p) {
                break;
            }
            let [_, _, x, z] = stream.block((again * v.p + p) as u32).map(|bits| T::of(unit(bits)));
            draws = [x, z];
        }
    }

    /// The distance of the nearest wall along each ray.
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let (root, facing, body) = (v.at(p), v.facing[p], T::of(v.body));
        let mut far = [T::of(FAR); RAYS];
        for (i, far) in far.iter_mut().enumerate() {
            let angle = T::of(WIDE * (2.0 * i as f64 / (RAYS - 1) as f64 - 1.0)) - facing;
            let ray = [angle.cos(), angle.sin()];
            for wall in 0..v.n / 2 {
                let (from, to) = (v.point(2 * wall), v.point(2 * wall + 1));
                let (edge, way) = (minus(to, from), minus(from, root));
                // The distances along the ray and along the wall. A ray that is parallel to a wall
                // does not meet it.
                let meet = cross(ray, edge);
                let (distance, along) = (cross(way, edge) / meet / body, cross(way, ray) / meet);
                if distance > T::zero() && distance < *far && along > T::zero() && along < T::one() {
                    *far = distance;
                }
            }
        }
        v.condition(p).copy_from_slice(&far);
    }
}
