//! The procedural set. Its features agree with the layout, with the world poses they came from and
//! with each other, and its motion is that of a person.
use mvae_fast::data::synth::{
    BONE_ENDS, DEFAULT_FRAMES, FRAME_RATE, FRAME_SIZE, REST_OFFSETS, TIPS, locomotion, locomotion_in_clips, world_clips,
};
use mvae_fast::motion::Pose;
use mvae_fast::motion::reference::{JOINT_NAMES, NUM_JOINTS, PARENTS};
use std::ops::RangeInclusive;

const SEEDS: [u64; 3] = [0, 1, 12345];
const METRES: f64 = 0.3048;

/// Grid of the features: each is rounded to it, and to f32.
const GRID: f64 = 1.0 / (1u64 << 24) as f64;

type Vec3 = [f64; 3];

fn joint(name: &str) -> usize {
    JOINT_NAMES.iter().position(|&n| n == name).unwrap()
}

fn dot(a: Vec3, b: Vec3) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn sub(a: Vec3, b: Vec3) -> Vec3 {
    std::array::from_fn(|i| a[i] - b[i])
}

fn length(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// R(phi) of the root integration, on (x, height, z).
fn rotate(phi: f64, [x, y, z]: Vec3) -> Vec3 {
    let (s, c) = phi.sin_cos();
    [c * x + s * z, y, -s * x + c * z]
}

/// One frame, read by the layout.
struct Frame(Vec<f64>);

impl Frame {
    fn root(&self) -> Vec3 {
        [self.0[0], 0.0, self.0[1]]
    }
    fn turn(&self) -> f64 {
        self.0[2]
    }
    fn vector(&self, start: usize, j: usize) -> Vec3 {
        std::array::from_fn(|i| self.0[start + 3 * j + i])
    }
    fn position(&self, j: usize) -> Vec3 {
        self.vector(3, j)
    }
    fn velocity(&self, j: usize) -> Vec3 {
        self.vector(69, j)
    }
    fn y_axis(&self, j: usize) -> Vec3 {
        self.vector(135, j)
    }
    fn z_axis(&self, j: usize) -> Vec3 {
        self.vector(201, j)
    }
    /// Metres a second.
    fn speed(&self) -> f64 {
        length(self.root()) * FRAME_RATE as f64 * METRES
    }
}

/// Clips of frames, and the world poses they came from (one more each).
fn clips(seed: u64) -> Vec<(Vec<Frame>, Vec<Pose>)> {
    let set = locomotion(DEFAULT_FRAMES, seed);
    let frames = |range: RangeInclusive<usize>| {
        range
            .map(|f| {
                let row = &set.frames[f * FRAME_SIZE..(f + 1) * FRAME_SIZE];
                Frame(row.iter().map(|&x| x as f64).collect())
            })
            .collect::<Vec<_>>()
    };
    let mut start = 0;
    let mut clips = Vec::new();
    for (&end, poses) in set.end_indices.iter().zip(world_clips(DEFAULT_FRAMES, seed)) {
        clips.push((frames(start..=end), poses));
        assert_eq!(clips.last().unwrap().0.len() + 1, clips.last().unwrap().1.len());
        start = end + 1;
    }
    clips
}

#[test]
fn sizes() {
    assert_eq!(FRAME_SIZE, 267);
    for frames in [0, 1, 2, 100, 449, 451, 1000, DEFAULT_FRAMES] {
        let set = locomotion(frames, 3);
        assert_eq!(set.frame_size, FRAME_SIZE);
        assert_eq!(set.frames.len(), frames * FRAME_SIZE);
        assert_eq!(set.end_indices.last().copied(), frames.checked_sub(1));
        assert!(set.end_indices.is_sorted_by(|a, b| a < b));
        assert!(set.frames.iter().all(|x| x.is_finite()));
    }
    let ends = locomotion(DEFAULT_FRAMES, 3).end_indices;
    assert!(ends.len() >= 12, "{} clips", ends.len());
    assert!(ends.windows(2).all(|pair| (200..400).contains(&(pair[1] - pair[0]))));
    assert_eq!(locomotion_in_clips(1000, 500, 3).end_indices, [499, 999]);
}

#[test]
fn the_seed_decides() {
    let set = locomotion(700, 5);
    assert_eq!(set, locomotion(700, 5));
    let other = locomotion(700, 6);
    let equal = set.frames.iter().zip(&other.frames).filter(|(a, b)| a == b).count();
    assert!(equal < set.frames.len() / 20, "{equal} of {} numbers are equal", set.frames.len());
}

/// Bones of the drawing list, as (joint, joint nearer to the hips).
#[test]
fn the_skeleton_is_the_references() {
    let drawn =
        [(0, 12), (12, 16), (16, 14), (17, 15), (13, 17), (1, 13), (7, 5), (10, 7), (20, 10), (8, 6), (9, 8), (21, 9)];
    for (child, parent) in drawn {
        assert_eq!(PARENTS[child], Some(parent), "{}", JOINT_NAMES[child]);
        assert_eq!(BONE_ENDS[parent], Some(child), "{}", JOINT_NAMES[parent]);
    }
    let chain: Vec<_> = std::iter::successors(Some(joint("Neck")), |&j| PARENTS[j]).map(|j| JOINT_NAMES[j]).collect();
    assert_eq!(chain, ["Neck", "Spine3", "Spine2", "Spine1", "Spine", "Hips"]);
    for j in 0..NUM_JOINTS {
        assert_ne!(BONE_ENDS[j].is_some(), TIPS[j] != [0.0; 3], "{}: one end of the bone", JOINT_NAMES[j]);
        if let Some(right) = JOINT_NAMES[j].strip_prefix("Left") {
            let right = joint(&format!("Right{right}"));
            let [x, y, z] = REST_OFFSETS[j];
            assert_eq!(REST_OFFSETS[right], [x, y, -z], "{}: right is +z", JOINT_NAMES[j]);
        }
    }
    assert!((REST_OFFSETS[joint("Hips")][1] - 3.21).abs() < 0.1);
}

/// Integrating slots 0 to 2 gives the world path; root + R(phi) (x, z) gives the world joints.
#[test]
fn root_motion_integrates_to_the_world_path() {
    for seed in SEEDS {
        for (frames, poses) in clips(seed) {
            let [x, _, z] = poses[0].positions[joint("Hips")];
            let mut root = [x, 0.0, z];
            let right = sub(poses[0].positions[joint("RightUpLeg")], poses[0].positions[joint("LeftUpLeg")]);
            // R(phi) takes +z to the right.
            let mut phi = right[0].atan2(right[2]);
            let mut way = 0.0;
            for (t, (frame, pose)) in frames.iter().zip(&poses[1..]).enumerate() {
                let d = rotate(phi, frame.root());
                phi = (phi + frame.turn()).rem_euclid(std::f64::consts::TAU);
                root = std::array::from_fn(|i| root[i] + d[i]);
                way += length(d);
                // Every frame's facing is off by at most half a grid step, and everything after it
                // is turned by that.
                let tolerance = GRID * (t + 1) as f64 * (1.0 + way) + 1e-6;
                for (j, name) in JOINT_NAMES.iter().enumerate() {
                    let p = rotate(phi, frame.position(j));
                    let got: Vec3 = std::array::from_fn(|i| root[i] + p[i]);
                    let error = length(sub(got, pose.positions[j]));
                    assert!(error < tolerance, "seed {seed} frame {t} {name}: {error} ft");
                }
            }
            assert!(frames.iter().all(|f| f.turn().abs() < 0.2), "seed {seed}: facing jumps");
        }
    }
}

/// Joint velocities follow from the positions of two frames and the root motion between them; not
/// across clips.
#[test]
fn velocities_agree_with_positions_and_root_motion() {
    let error = |before: &Frame, frame: &Frame, j: usize| {
        // In the previous facing frame: where the joint is now, less where it was.
        let now = rotate(frame.turn(), frame.position(j));
        let moved: Vec3 = std::array::from_fn(|i| now[i] + frame.root()[i] - before.position(j)[i]);
        length(sub(frame.velocity(j), rotate(-frame.turn(), moved)))
    };
    for seed in SEEDS {
        let clips = clips(seed);
        for (frames, _) in &clips {
            for (t, pair) in frames.windows(2).enumerate() {
                for (j, name) in JOINT_NAMES.iter().enumerate() {
                    let error = error(&pair[0], &pair[1], j);
                    assert!(error < 2e-6, "seed {seed} frame {t} {name}: {error} ft");
                }
            }
        }
        for pair in clips.windows(2) {
            let (last, first) = (pair[0].0.last().unwrap(), &pair[1].0[0]);
            let gap = (0..NUM_JOINTS).map(|j| error(last, first, j)).fold(0.0, f64::max);
            assert!(gap > 0.05, "seed {seed}: a clip continues the one before it ({gap} ft)");
        }
    }
}

#[test]
fn hips_are_the_root_and_the_legs_give_the_facing() {
    let (hips, left, right) = (joint("Hips"), joint("LeftUpLeg"), joint("RightUpLeg"));
    for (frames, _) in clips(SEEDS[0]) {
        for frame in &frames {
            let [x, y, z] = frame.position(hips);
            assert_eq!((x, z), (0.0, 0.0));
            assert!((2.4..3.4).contains(&y), "hips at {y} ft");
            let across = sub(frame.position(right), frame.position(left));
            assert!(across[0].abs() < 1e-6 && across[2] > 0.5, "{across:?}");
            // R(-p2) (p0, p1) is the hips' own velocity on the ground.
            let d = sub(rotate(-frame.turn(), frame.root()), frame.velocity(hips));
            assert!(d[0].abs() < 2e-7 && d[2].abs() < 2e-7, "{d:?}");
        }
    }
}

/// Y and Z are orthonormal, X = Y x Z lies along the joint's own bone, and bones keep their rest
/// length.
#[test]
fn axes_follow_the_bones() {
    for seed in SEEDS {
        for (frames, _) in clips(seed) {
            for (t, frame) in frames.iter().enumerate() {
                for j in 0..NUM_JOINTS {
                    let at = format!("seed {seed} frame {t} {}", JOINT_NAMES[j]);
                    let (y, z) = (frame.y_axis(j), frame.z_axis(j));
                    assert!((length(y) - 1.0).abs() < 1e-6 && (length(z) - 1.0).abs() < 1e-6, "{at}");
                    assert!(dot(y, z).abs() < 1e-6, "{at}");
                    if let Some(end) = BONE_ENDS[j] {
                        let bone = sub(frame.position(end), frame.position(j));
                        // Positions up to 6 ft are rounded to 2.4e-7 ft, bones are 0.3 ft or
                        // longer.
                        let x = cross(y, z).map(|x| x * length(bone));
                        assert!(length(sub(x, bone)) < 1.5e-6, "{at}: {:?}", sub(x, bone));
                    }
                    if let Some(parent) = PARENTS[j] {
                        let got = length(sub(frame.position(j), frame.position(parent)));
                        let want = length(REST_OFFSETS[j]);
                        assert!((got - want).abs() < 1.5e-6, "{at}: {got} ft, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn planted_feet_do_not_slide() {
    for seed in SEEDS {
        for side in ["Left", "Right"] {
            let toe = joint(&format!("{side}ToeBase"));
            let clips = clips(seed);
            let all = clips.iter().flat_map(|(frames, _)| frames);
            let floor = all.clone().map(|f| f.position(toe)[1]).fold(f64::INFINITY, f64::min);
            assert!((0.0..0.15).contains(&floor), "floor at {floor} ft");
            let planted = |height: f64| height < floor + 1e-6;
            let share = all.clone().filter(|f| planted(f.position(toe)[1])).count() as f64 / DEFAULT_FRAMES as f64;
            assert!((0.3..0.7).contains(&share), "seed {seed} {side}: planted {share}");
            let mut worst: f64 = 0.0;
            for (_, poses) in &clips {
                for pair in poses.windows(2) {
                    let (a, b) = (pair[0].positions[toe], pair[1].positions[toe]);
                    if planted(a[1]) && planted(b[1]) {
                        worst = worst.max(length(sub(a, b)));
                    }
                }
            }
            assert!(worst * METRES < 0.5e-3, "seed {seed} {side}: {worst} ft in a frame");
        }
    }
}

#[test]
fn legs_are_those_of_a_person() {
    for seed in SEEDS {
        let (mut crossed, mut airborne) = (0, 0);
        for (frames, _) in clips(seed) {
            for (t, frame) in frames.iter().enumerate() {
                for side in ["Left", "Right"] {
                    let at = |part| frame.position(joint(&format!("{side}{part}")));
                    let (hip, knee, ankle, toe) = (at("UpLeg"), at("Leg"), at("Foot"), at("ToeBase"));
                    let (thigh, shin) = (sub(hip, knee), sub(ankle, knee));
                    let angle = (dot(thigh, shin) / (length(thigh) * length(shin))).acos().to_degrees();
                    assert!((35.0..176.0).contains(&angle), "seed {seed} frame {t}: knee {angle}");
                    let middle: Vec3 = std::array::from_fn(|i| 0.5 * (hip[i] + ankle[i]));
                    let bend = sub(knee, middle);
                    assert!(bend[0] > 0.0, "seed {seed} frame {t}: the {side} knee bends backwards");
                    assert!(bend[2].abs() < 0.45, "seed {seed} frame {t}: knee aside {}", bend[2]);
                    assert!(ankle[1] > 0.2 && toe[1] > 0.08, "seed {seed} frame {t}: below the floor");
                }
                let (left, right) = (frame.position(joint("LeftFoot")), frame.position(joint("RightFoot")));
                crossed += (right[2] - left[2] < -0.2) as usize;
                let lowest = frame.position(0)[1].min(frame.position(1)[1]);
                airborne += (frame.speed() < 1.4 && lowest > 0.15) as usize;
            }
        }
        assert!(crossed < DEFAULT_FRAMES / 50, "seed {seed}: feet cross in {crossed} frames");
        assert!(airborne < DEFAULT_FRAMES / 200, "seed {seed}: walks on air in {airborne} frames");
    }
}

#[test]
fn everything_asked_for_is_there_on_both_sides() {
    for seed in SEEDS {
        let clips = clips(seed);
        let frames: Vec<&Frame> = clips.iter().flat_map(|(frames, _)| frames).collect();
        let share = |is: &dyn Fn(&Frame) -> bool| frames.iter().filter(|f| is(f)).count() as f64 / frames.len() as f64;
        let rate = FRAME_RATE as f64;
        type Is<'a> = &'a dyn Fn(&Frame) -> bool;
        let cases: [(&str, Is, f64); 7] = [
            ("stands", &|f| f.speed() < 0.15, 0.03),
            ("strolls", &|f| (0.3..0.9).contains(&f.speed()), 0.04),
            ("walks", &|f| (0.9..1.7).contains(&f.speed()), 0.15),
            ("runs", &|f| f.speed() > 2.4, 0.10),
            ("runs fast", &|f| f.speed() > 3.0, 0.02),
            ("turns left", &|f| f.turn() * rate > 0.6, 0.08),
            ("turns right", &|f| f.turn() * rate < -0.6, 0.08),
        ];
        for (what, is, least) in cases {
            assert!(share(is) >= least, "seed {seed}: {what} in {} of the frames", share(is));
        }
        assert!(frames.iter().all(|f| f.speed() < 4.5), "seed {seed}: faster than meant");
        assert!(share(&|f| f.root()[0] > 0.0) > 0.9, "seed {seed}: walks backwards");
        let turn = frames.iter().map(|f| f.turn()).sum::<f64>() / frames.len() as f64 * rate;
        assert!(turn.abs() < 0.12, "seed {seed}: turns by {turn} rad/s on average");
        let mean =
            |name: &str, i: usize| frames.iter().map(|f| f.position(joint(name))[i]).sum::<f64>() / frames.len() as f64;
        for part in ["Hand", "Leg", "Foot", "ToeBase", "ForeArm"] {
            for (i, sign) in [(0, 1.0), (1, 1.0), (2, -1.0)] {
                let (left, right) = (mean(&format!("Left{part}"), i), mean(&format!("Right{part}"), i));
                assert!((left - sign * right).abs() < 0.12, "seed {seed} {part}: {left}, {right}");
            }
        }
        // An arm swings with the other side's leg.
        let with = |hand: &str, foot: &str| {
            let (hand_mean, foot_mean) = (mean(hand, 0), mean(foot, 0));
            let ahead = |f: &Frame, name: &str, mean: f64| f.position(joint(name))[0] - mean;
            frames.iter().map(|f| ahead(f, hand, hand_mean) * ahead(f, foot, foot_mean)).sum::<f64>()
        };
        assert!(with("LeftHand", "RightFoot") > 0.0 && with("LeftHand", "LeftFoot") < 0.0);
        assert!(with("RightHand", "LeftFoot") > 0.0 && with("RightHand", "RightFoot") < 0.0);
    }
}

/// Accelerations in the world, m/s^2: no joint jumps from one frame to the next.
#[test]
fn motion_is_smooth() {
    for seed in SEEDS {
        for (_, poses) in clips(seed) {
            for (t, three) in poses.windows(3).enumerate() {
                for (j, name) in JOINT_NAMES.iter().enumerate() {
                    let [a, b, c] = [0, 1, 2].map(|k| three[k].positions[j]);
                    let second: Vec3 = std::array::from_fn(|i| a[i] - 2.0 * b[i] + c[i]);
                    let acceleration = length(second) * METRES * (FRAME_RATE * FRAME_RATE) as f64;
                    let limb = ["Leg", "Foot", "Toe"].iter().any(|part| name.contains(part));
                    let arm = ["Arm", "Hand"].iter().any(|part| name.contains(part));
                    let most = match (limb && !name.contains("UpLeg"), arm) {
                        (true, _) => 180.0,
                        (_, true) => 80.0,
                        _ => 30.0,
                    };
                    assert!(acceleration < most, "seed {seed} frame {t} {name}: {acceleration} m/s^2");
                }
            }
        }
    }
}

/// No feature is nearly constant: normalisation would amplify its noise. Only the features that
/// must be constant are exactly constant.
#[test]
fn features_vary_or_are_constant() {
    for seed in SEEDS {
        let set = locomotion(DEFAULT_FRAMES, seed);
        let mut constant = Vec::new();
        for i in 0..FRAME_SIZE {
            let values = || set.frames.iter().skip(i).step_by(FRAME_SIZE).map(|&x| x as f64);
            let mean = values().sum::<f64>() / DEFAULT_FRAMES as f64;
            let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / DEFAULT_FRAMES as f64).sqrt();
            if values().all(|x| x == values().next().unwrap()) {
                constant.push(i);
            } else {
                assert!(deviation > 1e-3, "seed {seed} feature {i}: deviation {deviation}");
            }
        }
        // Hips x and z; and the forward part of the hips' Z axis, which lies along the line that
        // gives the facing.
        assert_eq!(constant, [36, 38, 234], "seed {seed}");
    }
}
