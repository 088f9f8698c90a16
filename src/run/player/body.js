// The bodies of skeletons: thickness of each joint, bones, and contacts of the feet with the
// ground.

// Radius (metres) of a joint of a person whose hips are 0.95 m high, by the joint's name; the first
// match counts.
const THICKNESS = [
  [/thumb|index|middle|ring|pinky|finger/, 0.011], [/head|skull/, 0.048], [/neck/, 0.052], [/toe|ball/, 0.03],
  [/foot|ankle/, 0.038], [/(up|upper)_?leg|thigh|femur/, 0.076], [/leg|shin|calf|tibia|knee/, 0.053],
  [/(fore|lower)_?arm|elbow|radius/, 0.038], [/hand|wrist/, 0.028], [/shoulder|clavicle|collar/, 0.058],
  [/arm|humerus/, 0.05], [/chest|thorax|spine_?[2-9]/, 0.105], [/spine|torso|back|abdomen/, 0.098], [/hip|pelvis|root/, 0.1],
];
// Length of a bone beyond a joint that ends a limb, by the joint's name, metres.
const TIPS = [[/finger|thumb|index/, 0], [/hand|wrist/, 0.1], [/toe|ball/, 0.055]];
const HIP_HEIGHT = 0.95;
// A foot is on the ground when its toe is nearer to its own floor and slower than this (metres,
// metres a second).
const CONTACT = { height: 0.03, speed: 0.2 };

const named = (table, name, other) => (table.find(([pattern]) => pattern.test(name)) || [0, other])[1];

// Half of the difference between a trunk's width and depth, by the radius of its joint.
const WIDER = radius => radius > 0.102 ? 0.062 : radius > 0.099 ? 0.045 : 0.036;
// The shape of a head beyond the joint at its base, or beyond the neck if that is the last joint.
const HEAD_SHAPE = { neck: 0.048, from: 0.055, to: 0.1, radius: 0.092, beyondNeck: 0.03 };

// The bones of a skeleton {names, parents, hip_height, ...}: cones between joints a and b, each
// with a radius. A bone with a = b extends `tip` metres beyond the joint, away from joint `from`. A
// bone of the trunk is three cones; the outer ones lie `wide` metres aside along the line between
// the joints `across`.
function bodyOf({ names, parents, hip_height: hips }) {
  const size = hips > 0 ? hips / HIP_HEIGHT : 1;
  const words = names.map(name => name.toLowerCase().replace(/^.*:/, ""));
  const thickness = words.map(word => named(THICKNESS, word, 0.03)), radii = thickness.map(x => size * x);
  const rights = names.map(name => /right|^r[A-Z_.]|[_. ]r$|_r_/i.test(name) && !/^ring|^root/i.test(name));
  const pair = pattern => { const found = names.map((_, j) => j).filter(j => pattern(thickness[j])); return found.length === 2 ? found : null; };
  const legs = pair(x => x === 0.076), arms = pair(x => x === 0.05);
  const bones = [];
  parents.forEach((parent, joint) => {
    if (parent === null) return;
    const bone = { a: parent, b: joint, ra: radii[parent], rb: radii[joint], right: rights[joint] };
    if (thickness[parent] > 0.09 && thickness[joint] > 0.09) {
      Object.assign(bone, { across: thickness[joint] > 0.102 ? arms : legs, wideA: size * WIDER(thickness[parent]), wideB: size * WIDER(thickness[joint]) });
      bone.ra *= 0.92;
      bone.rb *= 0.92;
    } else if (thickness[parent] > 1.3 * thickness[joint]) bone.ra = 1.15 * bone.rb; // a limb is not as thick as the trunk
    bones.push(bone);
    if (parents.includes(joint)) return;
    const tip = { ...bone, a: joint, b: joint, from: parent, ra: radii[joint], rb: 0.8 * radii[joint], across: null };
    const { neck, from, to, radius, beyondNeck } = HEAD_SHAPE, higher = /neck/.test(words[joint]) ? beyondNeck : 0;
    if (/neck|head|skull/.test(words[joint]))
      bones.push({ ...tip, ra: size * neck, rb: size * neck, tip: size * 0.04 },
        { ...tip, ra: size * radius * 0.9, rb: size * radius, tipA: size * (from + higher), tip: size * (to + higher) });
    else if (named(TIPS, words[joint], 0) > 0) bones.push({ ...tip, tip: size * named(TIPS, words[joint], 0) });
  });
  return { bones, size };
}

// Whether the left and the right toe are on the ground in each frame of a track.
function contacts(track) {
  const { skeleton, frames, joints, positions, fps } = track;
  return skeleton.toes.map((toe, side) => Uint8Array.from({ length: frames }, (_, frame) => {
    const at = f => [0, 1, 2].map(k => positions[(f * joints + toe) * 3 + k]);
    const [here, last] = [at(frame), at(Math.max(frame - 1, 0))];
    const speed = fps * Math.hypot(...vector.sub(here, last));
    return Number(here[1] < skeleton.toe_floors[side] + CONTACT.height && speed < CONTACT.speed);
  }));
}

// The feet's stays on the ground: {side, from, to} with frames from and to included.
function stays(contacts) {
  return contacts.flatMap((on, side) => {
    const found = [];
    for (let from = 0, to; from < on.length; from = to + 1) {
      for (to = from; to + 1 < on.length && on[to + 1] && on[from];) to++;
      if (on[from]) found.push({ side, from, to });
    }
    return found;
  });
}

// The joints at a time between two frames, [x, y, z] each.
function poseAt({ frames, joints, positions, fps }, time) {
  const at = Math.min(Math.max(time * fps, 0), frames - 1), frame = Math.min(Math.floor(at), Math.max(frames - 2, 0)), s = at - frame;
  const a = frame * joints * 3, b = Math.min(frame + 1, frames - 1) * joints * 3;
  return Array.from({ length: joints }, (_, j) =>
    [0, 1, 2].map(k => positions[a + 3 * j + k] * (1 - s) + positions[b + 3 * j + k] * s));
}

// Root [x, z] of a track at a time.
function rootAt({ roots, frames, fps }, time) {
  const at = Math.min(Math.max(time * fps, 0), frames - 1), frame = Math.floor(at), s = at - frame;
  const [a, b] = [roots[frame], roots[Math.min(frame + 1, frames - 1)]];
  return [0, 1].map(k => a[k] + s * (b[k] - a[k]));
}

// Adds the body of a track at a time to the shapes.
function figure(shapes, track, time, { colour, contact }) {
  const joints = poseAt(track, time), frame = Math.min(Math.round(time * track.fps), track.frames - 1);
  const grounded = new Set(track.skeleton.toes.filter((_, side) => track.contacts[side][frame]));
  const darker = vector.scale(colour, 0.78);
  for (const bone of track.body.bones) {
    let [a, b] = [joints[bone.a], joints[bone.b]];
    if (bone.tip) {
      const along = vector.unit(vector.sub(a, joints[bone.from]));
      [a, b] = [bone.tipA ?? 0, bone.tip].map(x => vector.add(joints[bone.a], vector.scale(along, x)));
    }
    const tint = grounded.has(bone.b) ? contact : bone.right ? darker : colour;
    if (!bone.across) { shapes.cone(a, b, bone.ra, bone.rb, tint); continue; }
    const side = vector.unit(vector.sub(joints[bone.across[1]], joints[bone.across[0]]));
    for (const k of [-1, 0, 1])
      shapes.cone(vector.add(a, vector.scale(side, k * bone.wideA)), vector.add(b, vector.scale(side, k * bone.wideB)), bone.ra, bone.rb, tint);
  }
}
