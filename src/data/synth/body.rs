//! The body over a track. Feet follow the plan of footholds, legs follow by two-bone inverse
//! kinematics. Pelvis, spine, head and arms follow the gait's phase and speed. A slow independent
//! drift is added to every joint.
use super::curve::{blur, curve, glide, sample, smooth_min, smoothstep};
use super::random::Random;
use super::skeleton::{LIMBS, NECK, REST_OFFSETS, SPINE, SPINE1, SPINE2, SPINE3, rest_axes};
use super::track::{DT, Stance, Track};
use crate::motion::reference::{HIPS, NUM_JOINTS};
use crate::motion::vector::{
    Axes, Vec3, about_x, about_y, about_z, add, apply, axes_along, chain, cross, dot, length, scale, sub, transposed,
    unit,
};
use crate::motion::{Pose, Skeleton};
use std::f64::consts::TAU;

/// Height of the ball of a flat foot above the ground, feet.
const BALL_HEIGHT: f64 = REST_OFFSETS[HIPS][1]
    + REST_OFFSETS[LIMBS[0].up_leg][1]
    + REST_OFFSETS[LIMBS[0].leg][1]
    + REST_OFFSETS[LIMBS[0].foot][1]
    + REST_OFFSETS[LIMBS[0].toe][1];
const THIGH: f64 = -REST_OFFSETS[LIMBS[0].leg][1];
const SHIN: f64 = -REST_OFFSETS[LIMBS[0].foot][1];
/// Distance from the heel to the ball, feet.
const FOOT_LENGTH: f64 = 0.65;
/// Largest stretch of a leg, as a share of its length.
const REACH: f64 = 0.990;
/// Seconds around a moment of a foothold for which the hips are lowered.
const NEAR: f64 = 0.12;
/// Share of the swing in which the foot accelerates, and again decelerates, by speed.
const RAMP: [(f64, f64); 2] = [(1.5, 0.34), (2.8, 0.26)];

/// Pitches of the foot by speed, rad: toes up at landing (`STRIKE`), heel up when leaving the
/// ground (`PUSH`), heel up early in the swing (`KICK`).
const STRIKE: [(f64, f64); 5] = [(0.1, 0.0), (0.6, 0.18), (1.5, 0.30), (2.3, 0.12), (3.5, 0.05)];
const PUSH: [(f64, f64); 4] = [(0.0, 0.25), (0.7, 0.55), (1.5, 0.85), (3.5, 0.95)];
const KICK: [(f64, f64); 5] = [(0.0, 0.30), (0.7, 0.60), (1.5, 1.00), (2.5, 1.35), (3.6, 1.55)];
/// Height of the ball in the swing by speed, feet.
const SWING_HEIGHT: [(f64, f64); 5] = [(0.0, 0.14), (1.0, 0.13), (1.6, 0.18), (2.5, 0.50), (3.6, 0.75)];

/// Standard deviation of each joint's drift about its own X (twist), Y and Z, rad. Legs follow the
/// feet and have no drift.
const DRIFT: [(usize, Vec3); 14] = [
    (HIPS, [0.030, 0.018, 0.025]),
    (SPINE, [0.008, 0.006, 0.006]),
    (SPINE1, [0.008, 0.006, 0.006]),
    (SPINE2, [0.008, 0.006, 0.006]),
    (SPINE3, [0.010, 0.008, 0.010]),
    (NECK, [0.150, 0.050, 0.080]),
    (LIMBS[0].shoulder, [0.010, 0.040, 0.012]),
    (LIMBS[1].shoulder, [0.010, 0.040, 0.012]),
    (LIMBS[0].arm, [0.120, 0.050, 0.070]),
    (LIMBS[1].arm, [0.120, 0.050, 0.070]),
    (LIMBS[0].fore_arm, [0.130, 0.0, 0.090]),
    (LIMBS[1].fore_arm, [0.130, 0.0, 0.090]),
    (LIMBS[0].hand, [0.015, 0.020, 0.100]),
    (LIMBS[1].hand, [0.015, 0.020, 0.100]),
];
/// Standard deviation of the chest's drift in yaw, pitch and roll, rad; the joints of the spine
/// share it.
const CHEST_DRIFT: Vec3 = [0.070, 0.050, 0.045];

/// Posture of this character in this clip.
struct Posture {
    stoop: f64,
    spread: f64,
    elbow: f64,
    swing: f64,
    bounce: f64,
    crouch: f64,
}

/// A character on its track.
pub(super) struct Body<'a> {
    skeleton: &'a Skeleton,
    track: &'a Track,
    posture: Posture,
    /// Drift about X, Y, Z of each joint, rad, at the track's rate; empty for the legs.
    drift: [[Vec<f64>; 3]; NUM_JOINTS],
    /// Drift of the chest in yaw, pitch and roll, rad.
    chest: [Vec<f64>; 3],
    /// Drift of the hips forward, up and sideways, feet.
    sway: [Vec<f64>; 3],
    /// Drift of each arm's swing, about 0, and of each knee outwards and each foot's roll, rad.
    arm_swing: [Vec<f64>; 2],
    knee: [Vec<f64>; 2],
    foot_roll: [Vec<f64>; 2],
    /// Distance by which the hips are lowered so that the legs reach their footholds, feet.
    lowered: Vec<f64>,
}

/// Motion of the whole body at one sample, from the gait.
struct Gait {
    /// From 0 standing to 1 going, and from 0 walking to 1 running.
    going: f64,
    running: f64,
    /// Largest when the left leg is in front, smallest when the right leg is.
    stride: f64,
    /// Cosines of once and twice the angle from the middle of the left foot's stance.
    weight: f64,
    bounce: f64,
    /// Roll into a turn and pitch from speed and acceleration, rad.
    bank: f64,
    lean: f64,
}

impl Gait {
    fn at(track: &Track, i: usize) -> Self {
        let (speed, turn, phase) = (track.speed[i], track.turn[i], track.phase[i]);
        let going = smoothstep(0.0, 1.2, speed + 0.3 * turn.abs());
        let running = smoothstep(1.7, 2.7, speed);
        let middle = TAU * (phase - (0.30 - 0.12 * running));
        let lean = 0.02 + 0.02 * going + 0.09 * running;
        Gait {
            going,
            running,
            stride: going * (TAU * phase).cos(),
            weight: going * middle.cos(),
            bounce: going * (2.0 * middle).cos(),
            bank: -0.7 * (speed * turn / 9.81).clamp(-0.5, 0.5),
            lean: lean + 0.03 * track.acceleration[i].clamp(-3.0, 3.0),
        }
    }

    /// Interpolates from `walk` to `run` by `running`.
    fn mix(&self, walk: f64, run: f64) -> f64 {
        walk + (run - walk) * self.running
    }
}

impl<'a> Body<'a> {
    pub fn new(skeleton: &'a Skeleton, track: &'a Track, random: &mut Random) -> Self {
        let posture = Posture {
            stoop: random.range(-0.04, 0.06),
            spread: random.range(-0.04, 0.06),
            elbow: random.range(-0.10, 0.20),
            swing: random.range(0.75, 1.25),
            bounce: random.range(0.8, 1.2),
            crouch: random.range(0.0, 0.03),
        };
        let len = track.phase.len();
        let mut smooth = |corner, amplitude| random.smooth(len, DT, corner, amplitude);
        let mut drift = [(); NUM_JOINTS].map(|()| [(); 3].map(|()| Vec::new()));
        for (joint, amplitudes) in DRIFT {
            drift[joint] = amplitudes.map(|amplitude| smooth(4.5, amplitude));
        }
        let mut body = Body {
            skeleton,
            track,
            posture,
            drift,
            chest: CHEST_DRIFT.map(|amplitude| smooth(3.5, amplitude)),
            sway: [smooth(3.0, 0.05), smooth(4.0, 0.02), smooth(3.0, 0.06)],
            arm_swing: [smooth(3.0, 0.15), smooth(3.0, 0.15)],
            knee: [smooth(4.5, 0.06), smooth(4.5, 0.06)],
            foot_roll: [smooth(4.0, 0.03), smooth(4.0, 0.03)],
            lowered: vec![0.0; len],
        };
        // The largest shortage in a neighbourhood, averaged over at most that neighbourhood, is
        // smooth and nowhere too small.
        let shortage: Vec<f64> = (0..len).map(|i| body.shortage(i)).collect();
        let near = (NEAR / DT) as usize;
        let largest: Vec<f64> = (0..len)
            .map(|i| {
                let window = &shortage[i.saturating_sub(near)..(i + near + 1).min(len)];
                window.iter().copied().fold(0.0, f64::max)
            })
            .collect();
        body.lowered = blur(&largest, DT, NEAR / 3.0);
        body
    }

    /// The pose at a sample of the track.
    pub fn pose(&self, i: usize) -> Pose {
        let gait = Gait::at(self.track, i);
        let heading = self.track.yaw[i];
        let mut axes: [Axes; NUM_JOINTS] = std::array::from_fn(rest_axes);
        let (hips, pelvis_turn) = self.hips(&gait, i);
        axes[HIPS] = self.turned(HIPS, pelvis_turn, i);

        let look_ahead = |seconds: f64, most: f64| {
            let later = sample(&self.track.yaw, i as f64 + seconds / DT);
            (later - heading).clamp(-most, most)
        };
        let chest_turn = [
            gait.mix(0.09, 0.14) * self.posture.swing * gait.stride + 0.25 * look_ahead(0.4, 0.6) + self.chest[0][i],
            0.015 * gait.bounce - gait.lean - self.posture.stoop + self.chest[1][i],
            gait.bank - 0.02 * gait.weight + self.chest[2][i],
        ];
        for (share, joint) in [(0.25, SPINE), (0.5, SPINE1), (0.75, SPINE2), (1.0, SPINE3)] {
            let turn = add(scale(pelvis_turn, 1.0 - share), scale(chest_turn, share));
            axes[joint] = self.turned(joint, turn, i);
        }
        let look = [0.7 * look_ahead(0.6, 0.9), 0.5 * chest_turn[1] + 0.06, 0.3 * gait.bank];
        axes[NECK] = self.turned(NECK, look, i);

        let chest = undo(&axes[SPINE3], &rest_axes(SPINE3));
        for side in 0..2 {
            self.arm(&mut axes, &chest, &gait, side, i);
        }
        for side in 0..2 {
            let limbs = &LIMBS[side];
            let leg = Leg::at(self, &axes[HIPS], hips, side, i);
            (axes[limbs.foot], axes[limbs.toe]) = (leg.foot_axes, leg.toe_axes);
            let outward = [-1.0, 1.0][side] * (0.05 + self.knee[side][i]);
            let pelvis = undo(&axes[HIPS], &rest_axes(HIPS));
            let forward = unit(add(pelvis[0], apply(&about_y(leg.foot.yaw), [1.0, 0.0, 0.0])));
            let pole = add(forward, scale(pelvis[2], outward));
            [axes[limbs.up_leg], axes[limbs.leg]] = bend_leg(leg.hip, leg.ankle, pole);
        }
        self.skeleton.pose(hips, axes.to_vec())
    }

    /// Place of the hips, feet, and their yaw relative to the heading, pitch and roll, rad.
    fn hips(&self, gait: &Gait, i: usize) -> (Vec3, Vec3) {
        let track = self.track;
        let turn = [
            -gait.mix(0.08, 0.12) * self.posture.swing * gait.stride,
            -0.4 * gait.lean - gait.mix(0.0, 0.06),
            gait.mix(0.06, 0.08) * gait.weight + gait.bank,
        ];
        let ahead = self.sway[0][i] + gait.mix(-0.02, 0.05);
        let aside = self.sway[2][i] - gait.mix(0.10, 0.05) * gait.weight + 1.6 * gait.bank;
        let height = REST_OFFSETS[HIPS][1] - 0.015 - self.posture.crouch + self.sway[1][i]
            - gait.mix(0.03 * gait.going, 0.11)
            + gait.mix(0.06, -0.11) * self.posture.bounce * gait.bounce
            - self.lowered[i];
        let (s, c) = track.yaw[i].sin_cos();
        let x = track.x[i] + c * ahead + s * aside;
        let z = track.z[i] - s * ahead + c * aside;
        ([x, height, z], turn)
    }

    /// Distance by which the hips are too high for the legs, feet.
    fn shortage(&self, i: usize) -> f64 {
        let (hips, turn) = self.hips(&Gait::at(self.track, i), i);
        let axes = self.turned(HIPS, turn, i);
        let short = |side| {
            let leg = Leg::at(self, &axes, hips, side, i);
            let [x, y, z] = sub(leg.ankle, leg.hip);
            -y - ((REACH * (THIGH + SHIN)).powi(2) - x * x - z * z).max(0.0).sqrt() - leg.foot.free
        };
        f64::max(short(0), short(1)).max(0.0)
    }

    /// The joint's axes after a turn from its rest pose by yaw (relative to the heading), pitch and
    /// roll, with its drift.
    fn turned(&self, joint: usize, [yaw, pitch, roll]: Vec3, i: usize) -> Axes {
        chain([
            about_y(self.track.yaw[i] + yaw),
            about_z(pitch),
            about_x(roll),
            rest_axes(joint),
            self.drifted(joint, i),
        ])
    }

    fn drifted(&self, joint: usize, i: usize) -> Axes {
        let [x, y, z] = &self.drift[joint];
        chain([about_x(x[i]), about_y(y[i]), about_z(z[i])])
    }

    /// Sets collar bone, arm, forearm and hand of one side, on a chest turned from rest by `chest`.
    fn arm(&self, axes: &mut [Axes; NUM_JOINTS], chest: &Axes, gait: &Gait, side: usize, i: usize) {
        let limbs = &LIMBS[side];
        let outward = [-1.0, 1.0][side];
        let swing = outward * gait.stride * self.posture.swing * (1.0 + self.arm_swing[side][i]);
        let spread = 0.16 + 0.08 * gait.running + self.posture.spread;
        let bend = gait.mix(0.24 + 0.06 * gait.going + self.posture.elbow, 1.55) + gait.mix(0.12, 0.20) * swing;
        axes[limbs.shoulder] = chain([
            *chest,
            about_y(0.10 * outward * swing),
            rest_axes(limbs.shoulder),
            self.drifted(limbs.shoulder, i),
        ]);
        axes[limbs.arm] = chain([
            *chest,
            about_z(gait.mix(0.05, -0.12) + gait.mix(0.30, 0.58) * swing),
            about_x(-outward * spread),
            about_y(outward * gait.mix(0.15, 0.35)),
            rest_axes(limbs.arm),
            self.drifted(limbs.arm, i),
        ]);
        axes[limbs.fore_arm] = chain([
            undo(&axes[limbs.arm], &rest_axes(limbs.arm)),
            about_z(bend),
            rest_axes(limbs.fore_arm),
            self.drifted(limbs.fore_arm, i),
        ]);
        axes[limbs.hand] = chain([
            undo(&axes[limbs.fore_arm], &rest_axes(limbs.fore_arm)),
            about_z(0.12),
            rest_axes(limbs.hand),
            self.drifted(limbs.hand, i),
        ]);
    }
}

/// The rotation that turns the axes `rest` into `axes`.
fn undo(axes: &Axes, rest: &Axes) -> Axes {
    chain([*axes, transposed(rest)])
}

/// One leg before its knee is bent.
struct Leg {
    foot: Foot,
    foot_axes: Axes,
    toe_axes: Axes,
    /// Ends of the leg, feet.
    hip: Vec3,
    ankle: Vec3,
}

impl Leg {
    /// The leg of a body whose hips are at `hips` with the axes `pelvis`.
    fn at(body: &Body, pelvis: &Axes, hips: Vec3, side: usize, i: usize) -> Self {
        let limbs = &LIMBS[side];
        let foot = Foot::at(&body.track.stances[side], body.track.phase[i]);
        let turned = |pitch, joint| {
            let roll = about_x(body.foot_roll[side][i]);
            chain([about_y(foot.yaw), about_z(pitch), roll, rest_axes(joint)])
        };
        let foot_axes = turned(foot.pitch, limbs.foot);
        let offset = apply(&undo(pelvis, &rest_axes(HIPS)), REST_OFFSETS[limbs.up_leg]);
        Leg {
            hip: add(hips, offset),
            ankle: sub(foot.ball, scale(foot_axes[0], length(REST_OFFSETS[limbs.toe]))),
            foot_axes,
            toe_axes: turned(foot.toe_pitch, limbs.toe),
            foot,
        }
    }
}

/// Axes of thigh and shin from hip to ankle, with the knee pointing to `pole`. If the ankle is out
/// of reach, the leg ends short of it.
fn bend_leg(hip: Vec3, ankle: Vec3, pole: Vec3) -> [Axes; 2] {
    let line = sub(ankle, hip);
    let distance = smooth_min(length(line), 0.997 * (THIGH + SHIN), 0.015);
    let down = unit(line);
    let forward = unit(sub(pole, scale(down, dot(pole, down))));
    let along = (THIGH * THIGH + distance * distance - SHIN * SHIN) / (2.0 * distance);
    let knee = add(scale(down, along), scale(forward, (THIGH * THIGH - along * along).max(0.0).sqrt()));
    let hinge = cross(down, forward);
    [axes_along(knee, hinge), axes_along(sub(scale(down, distance), knee), hinge)]
}

/// One foot at one moment.
struct Foot {
    ball: Vec3,
    yaw: f64,
    /// Pitch of the foot and of the toes, rad, toes up positive.
    pitch: f64,
    toe_pitch: f64,
    /// Extra distance by which the hips may be above the leg's reach because the foot is in the
    /// air, feet.
    free: f64,
}

impl Foot {
    /// The foot on its way through `stances`, at a phase of the gait.
    fn at(stances: &[Stance], phase: f64) -> Self {
        let i = stances.partition_point(|stance| stance.land <= phase).clamp(1, stances.len() - 1) - 1;
        let (from, to) = (&stances[i], &stances[i + 1]);
        let swing = ((phase - from.lift) / (to.land - from.lift)).clamp(0.0, 1.0);
        let speed = from.speed.1 + (to.speed.0 - from.speed.1) * swing;
        let moved = glide(swing, curve(&RAMP, 0.5 * (from.speed.1 + to.speed.0)));
        let pitch = curve(&pitch_knots(from, to), phase);
        // Toes rise with a foot that stands on its heel. When the heel rises, they stay flat until
        // they leave the ground.
        let raised = soft_positive(pitch);
        let toe_pitch = raised + (pitch - raised) * 0.8 * smoothstep(0.0, 0.45, swing);
        let lift = (std::f64::consts::PI * swing.powf(0.7)).sin().powi(2);
        let height = BALL_HEIGHT + FOOT_LENGTH * raised + to.vigour * curve(&SWING_HEIGHT, speed) * lift;
        let between = |a: f64, b: f64| a + (b - a) * moved;
        Foot {
            ball: [between(from.ball[0], to.ball[0]), height, between(from.ball[1], to.ball[1])],
            yaw: between(from.yaw, to.yaw),
            pitch,
            toe_pitch,
            free: 0.6 * smoothstep(0.0, 0.25, swing) * smoothstep(0.0, 0.25, 1.0 - swing),
        }
    }
}

/// Pitch of a foot by phase, from one landing to the next.
fn pitch_knots(from: &Stance, to: &Stance) -> [(f64, f64); 7] {
    let (stance, swing) = (from.lift - from.land, to.land - from.lift);
    let heel_rises = (from.land + 0.5 * stance).max(from.rest.unwrap_or(from.land));
    let push = curve(&PUSH, from.speed.1);
    let kick = curve(&KICK, from.speed.1).max(push + 0.05) * to.vigour;
    [
        (from.land, curve(&STRIKE, from.speed.0)),
        (from.land + (0.18 * stance).min(0.09), 0.0),
        (heel_rises, 0.0),
        (from.lift, -push),
        (from.lift + 0.25 * swing, -kick),
        (from.lift + 0.80 * swing, 0.6 * curve(&STRIKE, to.speed.0)),
        (to.land, curve(&STRIKE, to.speed.0)),
    ]
}

/// x for large x, 0 below 0, with a continuous slope between.
fn soft_positive(x: f64) -> f64 {
    const KNEE: f64 = 0.2;
    if x < KNEE { x.max(0.0).powi(2) / (2.0 * KNEE) } else { x - 0.5 * KNEE }
}
