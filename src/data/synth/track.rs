//! The character's path and footholds: speed and turning from a shuffled deck of behaviours, the
//! root's path, the gait's phase, and a plan of footholds on the ground. Speeds here are m/s,
//! lengths feet.
use super::curve::{blur, curve, sample};
use super::random::Random;

/// Feet in a metre.
pub(super) const FEET: f64 = 1.0 / 0.3048;
/// Samples of the track a second; four a frame.
pub(super) const RATE: usize = 120;
pub(super) const DT: f64 = 1.0 / RATE as f64;

/// Phase, counted from a landing, in which both feet are on the ground and the gait may rest. The
/// phase counts gait cycles of two steps: the left foot lands at whole numbers, the right foot half
/// a cycle later.
const REST_PHASE: f64 = 0.10;

/// Speed and turn rate below which the character is standing: m/s and rad/s.
const STANDING: (f64, f64) = (0.08, 0.12);

/// Gait cycles a second, by speed.
const CADENCE: [(f64, f64); 6] = [(0.0, 0.62), (0.7, 0.76), (1.4, 0.95), (2.0, 1.20), (2.6, 1.36), (3.8, 1.48)];
/// Share of the cycle in which a foot is on the ground, by speed.
const DUTY: [(f64, f64); 6] = [(0.0, 0.70), (0.7, 0.66), (1.4, 0.61), (1.9, 0.54), (2.5, 0.40), (3.8, 0.33)];
/// Sideways distance of a foothold from the path, feet, by speed.
const STANCE_WIDTH: [(f64, f64); 4] = [(0.0, 0.31), (0.6, 0.24), (1.4, 0.17), (3.0, 0.10)];

/// Distance of the ball of the foot ahead of the hips half-way through its stance, feet, by speed.
const AHEAD: [(f64, f64); 3] = [(0.0, 0.42), (1.5, 0.30), (3.0, 0.02)];

/// A way of moving for a while: ranges of seconds, m/s and rad/s.
struct Behaviour {
    seconds: (f64, f64),
    speed: (f64, f64),
    turn: (f64, f64),
}

const BEHAVIOURS: [Behaviour; 11] = [
    // Standing.
    Behaviour { seconds: (1.6, 2.6), speed: (0.0, 0.0), turn: (0.0, 0.0) },
    // Turning on the spot.
    Behaviour { seconds: (1.5, 2.5), speed: (0.0, 0.0), turn: (0.7, 1.2) },
    // Strolling.
    Behaviour { seconds: (2.0, 3.5), speed: (0.4, 0.8), turn: (0.0, 0.4) },
    // Walking straight on.
    Behaviour { seconds: (2.0, 3.5), speed: (0.9, 1.3), turn: (0.0, 0.1) },
    Behaviour { seconds: (2.0, 3.5), speed: (1.2, 1.7), turn: (0.0, 0.1) },
    // Walking a curve.
    Behaviour { seconds: (2.0, 3.5), speed: (0.9, 1.5), turn: (0.3, 0.7) },
    // Turning sharply.
    Behaviour { seconds: (0.8, 1.3), speed: (0.8, 1.2), turn: (1.4, 2.0) },
    // Between walking and running.
    Behaviour { seconds: (1.5, 2.5), speed: (1.7, 2.2), turn: (0.0, 0.3) },
    // Jogging and running, straight on and in a curve.
    Behaviour { seconds: (2.0, 3.0), speed: (2.3, 2.9), turn: (0.0, 0.2) },
    Behaviour { seconds: (2.4, 3.4), speed: (3.0, 3.6), turn: (0.0, 0.1) },
    Behaviour { seconds: (1.8, 2.8), speed: (2.4, 3.1), turn: (0.4, 0.8) },
];

/// The largest change of speed from one behaviour to the next, m/s.
const MAX_SPEED_CHANGE: f64 = 1.9;

/// Deals behaviours from a shuffled deck, so that a data set holds all of them, and as many left
/// turns as right turns.
pub(super) struct Script {
    random: Random,
    deck: Vec<usize>,
    side: f64,
}

impl Script {
    pub fn new(random: Random) -> Self {
        Script { random, deck: Vec::new(), side: 1.0 }
    }

    /// The next behaviour after moving at `speed`: seconds, m/s, rad/s.
    fn next(&mut self, speed: Option<f64>) -> (f64, f64, f64) {
        if self.deck.is_empty() {
            self.deck.extend(0..BEHAVIOURS.len());
            for i in (1..self.deck.len()).rev() {
                self.deck.swap(i, self.random.below(i + 1));
            }
        }
        let reachable = |&i: &usize| {
            let (low, high) = BEHAVIOURS[i].speed;
            speed.is_none_or(|speed| (0.5 * (low + high) - speed).abs() < MAX_SPEED_CHANGE)
        };
        let Some(at) = self.deck.iter().rposition(reachable) else {
            // All remaining behaviours are much too fast or too slow: pass through a brisk walk.
            return (self.random.range(1.0, 1.5), 1.7, 0.0);
        };
        let chosen = &BEHAVIOURS[self.deck.remove(at)];
        let mut draw = |(low, high)| self.random.range(low, high);
        let (seconds, speed, turn) = (draw(chosen.seconds), draw(chosen.speed), draw(chosen.turn));
        if chosen.turn.1 > 0.0 {
            self.side = -self.side;
        }
        (seconds, speed, turn * self.side)
    }
}

/// One foot on the ground.
#[derive(Debug, Clone)]
pub(super) struct Stance {
    /// Phase at which the foot lands, and phase at which it leaves the ground.
    pub land: f64,
    pub lift: f64,
    /// Phase before which the heel stays down because the character stands; `None` if it does not
    /// stand.
    pub rest: Option<f64>,
    /// Ball of the foot on the ground, (x, z), feet.
    pub ball: [f64; 2],
    /// Direction of the foot, rad, left positive.
    pub yaw: f64,
    /// Speed at landing and at leaving, m/s.
    pub speed: (f64, f64),
    /// Factor for the height and bend of this step, about 1.
    pub vigour: f64,
}

/// A clip's motion without the body, sampled at [`RATE`], with margins before and after for the
/// steps at its ends.
pub(super) struct Track {
    /// Root on the ground, feet.
    pub x: Vec<f64>,
    pub z: Vec<f64>,
    /// Heading, rad, left positive.
    pub yaw: Vec<f64>,
    /// m/s along the heading, m/s^2, rad/s.
    pub speed: Vec<f64>,
    pub acceleration: Vec<f64>,
    pub turn: Vec<f64>,
    /// Phase in gait cycles, never decreasing.
    pub phase: Vec<f64>,
    /// Stances of the left and of the right foot, in order.
    pub stances: [Vec<Stance>; 2],
}

impl Track {
    /// A track of `len` samples.
    pub fn new(script: &mut Script, random: &mut Random, len: usize) -> Self {
        let (mut speed, mut turn) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let mut last = None;
        while speed.len() < len {
            let (seconds, v, w) = script.next(last);
            last = Some(v);
            let end = (speed.len() + (seconds * RATE as f64) as usize).min(len);
            speed.resize(end, v);
            turn.resize(end, w);
        }
        let liveliness = random.smooth(len, DT, 2.5, 0.05);
        let mut speed = blur(&speed, DT, 0.42);
        speed.iter_mut().zip(liveliness).for_each(|(v, share)| *v *= 1.0 + share);
        let wander = random.smooth(len, DT, 2.0, 0.10);
        let mut turn = blur(&turn, DT, 0.25);
        for ((w, share), v) in turn.iter_mut().zip(wander).zip(&speed) {
            *w += share * (v / 0.5).min(1.0);
        }

        let mut heading = random.range(-3.0, 3.0);
        let [mut x, mut z, mut yaw] = [(); 3].map(|()| Vec::with_capacity(len));
        let mut at = [0.0, 0.0];
        for i in 0..len {
            x.push(at[0]);
            z.push(at[1]);
            yaw.push(heading);
            let middle: f64 = heading + 0.5 * turn[i] * DT;
            at[0] += speed[i] * FEET * DT * middle.cos();
            at[1] -= speed[i] * FEET * DT * middle.sin();
            heading += turn[i] * DT;
        }
        let acceleration = (0..len).map(|i| (speed[(i + 1).min(len - 1)] - speed[i]) / DT).collect::<Vec<_>>();
        let acceleration = blur(&acceleration, DT, 0.1);

        let (phase, rests) = gait_phase(random, &speed, &turn);
        let mut track = Track { x, z, yaw, speed, acceleration, turn, phase, stances: [Vec::new(), Vec::new()] };
        let habit = Habit {
            width: random.range(-0.03, 0.05),
            toe_out: random.range(0.06, 0.20),
            vigour: random.range(0.88, 1.12),
        };
        track.stances = [0, 1].map(|side| track.plan(random, side, &habit, &rests));
        track
    }

    /// Fractional index of the sample at which the phase reaches `phase`.
    fn when(&self, phase: f64) -> f64 {
        let i = self.phase.partition_point(|&p| p < phase).clamp(1, self.phase.len() - 1);
        let (before, after) = (self.phase[i - 1], self.phase[i]);
        (i - 1) as f64 + ((phase - before) / (after - before).max(1e-9)).clamp(0.0, 1.0)
    }

    /// Footholds of one side: under the hips half-way through the stance, or where the character
    /// stands.
    fn plan(&self, random: &mut Random, side: usize, habit: &Habit, rests: &[Rest]) -> Vec<Stance> {
        let sign = [-1.0, 1.0][side];
        let first = (self.phase[0] - 0.5 * side as f64).ceil() as i64;
        let end = self.phase[self.phase.len() - 1];
        (first - 1..)
            .map(|cycle| cycle as f64 + 0.5 * side as f64)
            .take_while(|&land| land < end + 1.0)
            .map(|land| {
                let landing = sample(&self.speed, self.when(land));
                let mut lift = land + curve(&DUTY, landing);
                let rest = rests.iter().find(|rest| rest.phase > land && rest.phase < land + 0.64);
                let middle = match rest {
                    Some(rest) => {
                        lift = lift.max(rest.phase + 0.07);
                        rest.middle
                    }
                    None => self.when(0.5 * (land + lift)),
                };
                let yaw = sample(&self.yaw, middle);
                let v = sample(&self.speed, middle);
                let width = curve(&STANCE_WIDTH, v) + habit.width + 0.035 * random.normal();
                let ahead = curve(&AHEAD, v) + 0.05 * random.normal();
                let (s, c) = yaw.sin_cos();
                let out = sign * width.max(0.06);
                Stance {
                    land,
                    lift,
                    rest: rest.map(|rest| rest.phase),
                    ball: [
                        sample(&self.x, middle) + c * ahead + s * out,
                        sample(&self.z, middle) - s * ahead + c * out,
                    ],
                    yaw: yaw - sign * (habit.toe_out + 0.05 * random.normal()),
                    speed: (landing, sample(&self.speed, self.when(lift))),
                    vigour: habit.vigour * (1.0 + 0.12 * random.normal().clamp(-2.0, 2.0)),
                }
            })
            .collect()
    }
}

/// Stepping habits of this character in this clip.
struct Habit {
    width: f64,
    toe_out: f64,
    vigour: f64,
}

/// A time of standing: the phase at which the gait stops, and a sample in the middle of it.
struct Rest {
    phase: f64,
    middle: f64,
}

/// Advances the gait at a cadence that depends on the speed. It stops in double support while the
/// character stands.
fn gait_phase(random: &mut Random, speed: &[f64], turn: &[f64]) -> (Vec<f64>, Vec<Rest>) {
    let standing = |i: usize| {
        let i = i.min(speed.len() - 1);
        speed[i] < STANDING.0 && turn[i].abs() < STANDING.1
    };
    let ahead = RATE / 6;
    let rhythm = random.smooth(speed.len(), DT, 2.0, 0.04);
    let tempo = random.range(0.95, 1.05);
    let mut phase = Vec::with_capacity(speed.len());
    let mut rests = Vec::new();
    let mut now = random.range(1.0, 2.0);
    let mut rested_since = None;
    for i in 0..speed.len() {
        phase.push(now);
        if let Some(start) = rested_since {
            if standing(i + ahead) {
                continue;
            }
            rests.push(Rest { phase: now, middle: 0.5 * (start + i) as f64 });
            rested_since = None;
        }
        let pace = speed[i] + 0.25 * turn[i].abs();
        let next = now + curve(&CADENCE, pace) * tempo * (1.0 + rhythm[i]) * DT;
        let stop = ((2.0 * (now - REST_PHASE)).floor() + 1.0) * 0.5 + REST_PHASE;
        now = if next >= stop && standing(i) && standing(i + ahead) {
            rested_since = Some(i);
            stop
        } else {
            next
        };
    }
    if let Some(start) = rested_since {
        rests.push(Rest { phase: now, middle: 0.5 * (start + speed.len()) as f64 });
    }
    (blur(&phase, DT, 0.04), rests)
}
