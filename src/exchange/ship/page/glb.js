// A character of somebody's own: a .glb with a skin, whose bones take the rotations of the model's
// joints.

const quaternion = {
  product: ([ax, ay, az, aw], [bx, by, bz, bw]) => [aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz],
  inverse: ([x, y, z, w]) => [-x, -y, -z, w],
  apply: ([x, y, z, w], v) => {
    const t = vector.scale(vector.cross([x, y, z], v), 2);
    return vector.add(v, vector.add(vector.scale(t, w), vector.cross([x, y, z], t)));
  },
  unit: q => { const length = Math.hypot(...q) || 1; return q.map(x => x / length); },
  // The smallest rotation from one direction to another.
  between: (a, b) => {
    const [from, to] = [vector.unit(a), vector.unit(b)], w = 1 + vector.dot(from, to);
    const other = Math.abs(from[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
    return w < 1e-6 ? [...vector.unit(vector.cross(from, other)), 0] : quaternion.unit([...vector.cross(from, to), w]);
  },
  // Of axes [X, Y, Z], orthonormal.
  of: ([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]]) => {
    const rows = [[1 + xx - yy - zz, xy + yx, zx + xz, yz - zy], [xy + yx, 1 - xx + yy - zz, yz + zy, zx - xz],
      [zx + xz, yz + zy, 1 - xx - yy + zz, xy - yx], [yz - zy, zx - xz, xy - yx, 1 + xx + yy + zz]];
    return quaternion.unit(rows[rows.reduce((best, row, i) => row[i] > rows[best][best] ? i : best, 0)]);
  },
  mix: (a, b, s) => { const sign = a.reduce((sum, x, i) => sum + x * b[i], 0) < 0 ? -1 : 1; return quaternion.unit(a.map((x, i) => (1 - s) * x + s * sign * b[i])); },
};

// Part of a body that a bone moves, by its name: "hips", "left shin". Mixamo, Unreal's mannequins,
// VRM, Rocketbox, CMU and LAFAN1 are known by their words. The first pattern that matches counts.
const ROLES = [
  [/thumb|index|middle|ring|pinky|little|finger|twist|roll|eye|jaw|hipjoint|nub|end$|^ik|pole|metacarpal/, null],
  [/toe|ball/, "toe"], [/foot|ankle/, "foot"], [/up(per)?leg|thigh|femur/, "thigh"], [/leg|calf|shin|tibia|knee/, "shin"],
  [/hand|wrist/, "hand"], [/fore?arm|lower?arm|elbow/, "forearm"], [/shoulder|clavicle|collar/, "shoulder"], [/arm|humerus/, "arm"],
  [/hips?$|pelvis/, "hips"], [/spine|chest|back|torso|abdomen/, "spine"], [/neck/, "neck"], [/head/, "head"],
];
const SIDED = ["toe", "foot", "thigh", "shin", "hand", "forearm", "shoulder", "arm"];
// The part that a bone points to.
const NEXT = { thigh: "shin", shin: "foot", foot: "toe", shoulder: "arm", arm: "forearm", forearm: "hand", neck: "head" };
const NEEDED = ["hips", ...["left", "right"].flatMap(side => ["thigh", "shin", "foot"].map(part => `${side} ${part}`))];

function roleOf(name) {
  const bare = name.replace(/^.*[:|]/, "").replace(/^(J_Bip_|Bip0?\d*[ _]|CC_Base_|DEF[-_])/i, "").replace(/\.\d+$/, "");
  const side = /left/i.test(bare) || /(^|[ _.-])l($|[ _.-])|^[lL](?=[A-Z])/.test(bare.replace(/L($|[ _.-])/g, "l$1").replace(/^L[ _]/, "l_")) ? "left"
    : /right/i.test(bare) || /(^|[ _.-])r($|[ _.-])|^[rR](?=[A-Z])/.test(bare.replace(/R($|[ _.-])/g, "r$1").replace(/^R[ _]/, "r_")) ? "right" : "";
  const word = bare.toLowerCase().replace(/left|right/, "").replace(/(^|[ _.-])[lrc](?=$|[ _.-])/, "").replace(/[^a-z]/g, "");
  const part = (ROLES.find(([pattern]) => pattern.test(word)) ?? [null, null])[1];
  return part === null || SIDED.includes(part) !== (side !== "") ? null : side ? `${side} ${part}` : part;
}

// The first bone of each role, in the order of the tree; of spine and neck all.
function rolesOf(names, order) {
  const found = {};
  for (const bone of order) {
    const role = roleOf(names[bone]);
    if (role === "spine" || role === "neck") (found[role] ??= []).push(bone);
    else if (role) found[role] ??= bone;
  }
  return found;
}

// The content of a .glb. Errors say what is wrong with it.
class Glb {
  constructor(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < 20 || view.getUint32(0, true) !== 0x46546C67) throw new Error("this is no .glb file");
    const length = view.getUint32(12, true), text = new TextDecoder().decode(new Uint8Array(buffer, 20, Math.min(length, buffer.byteLength - 20)));
    try { this.json = JSON.parse(text); } catch { throw new Error("its description is damaged"); }
    if (28 + length <= buffer.byteLength) this.binary = buffer.slice(28 + length, 28 + length + view.getUint32(20 + length, true));
    const { json } = this, required = json.extensionsRequired ?? [];
    const packed = required.find(name => /draco|meshopt|quantization/i.test(name));
    if (packed) throw new Error(`it needs ${packed}; save it without compression`);
    if (!json.skins?.length) throw new Error("it has no skin, so no bones move it; export it with its armature");
    if (!this.binary || json.buffers?.some(buffer => buffer.uri)) throw new Error("its data is in other files; save it as one .glb");
  }

  // The numbers of an accessor, as floats.
  numbers(index) {
    const a = this.json.accessors[index], view = this.json.bufferViews[a.bufferView ?? -1];
    if (!view || a.sparse) throw new Error("it has sparse data, which this page does not read");
    const [size, read, most] = { 5120: [1, "getInt8", 127], 5121: [1, "getUint8", 255], 5122: [2, "getInt16", 32767], 5123: [2, "getUint16", 65535],
      5125: [4, "getUint32", 1], 5126: [4, "getFloat32", 1] }[a.componentType];
    const width = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 }[a.type], out = new Float32Array(a.count * width), data = new DataView(this.binary);
    const first = (view.byteOffset ?? 0) + (a.byteOffset ?? 0), stride = view.byteStride ?? size * width, scale = a.normalized ? 1 / most : 1;
    for (let i = 0; i < a.count; i++)
      for (let k = 0; k < width; k++) out[i * width + k] = data[read](first + i * stride + k * size, true) * scale;
    return out;
  }

  // The picture of a texture, or nothing.
  async picture(texture) {
    const image = this.json.images?.[this.json.textures?.[texture?.index]?.source], view = this.json.bufferViews[image?.bufferView ?? -1];
    return view ? createImageBitmap(new Blob([new Uint8Array(this.binary, view.byteOffset ?? 0, view.byteLength)], { type: image.mimeType })) : null;
  }
}

// A skeleton of somebody's own with a skin on it.
class Figure {
  // `model` gives the skeleton whose rotations it takes.
  static async of(buffer, model) {
    const glb = new Glb(buffer), figure = new Figure(glb, model);
    figure.parts = await figure.meshes(glb);
    return figure;
  }

  constructor({ json, ...glb }, model) {
    this.model = model;
    const { nodes } = json;
    this.names = nodes.map((node, i) => node.name ?? `node ${i}`);
    this.parents = nodes.map(() => -1);
    nodes.forEach(({ children = [] }, i) => children.forEach(child => { this.parents[child] = i; }));
    this.order = [];
    const visit = i => { this.order.push(i); (nodes[i].children ?? []).forEach(visit); };
    this.parents.forEach((parent, i) => { if (parent < 0) visit(i); });
    this.local = nodes.map(node => {
      if (!node.matrix) return { t: node.translation ?? [0, 0, 0], r: node.rotation ?? [0, 0, 0, 1], s: node.scale ?? [1, 1, 1] };
      const m = node.matrix, axes = [0, 4, 8].map(i => m.slice(i, i + 3)), s = axes.map(axis => Math.hypot(...axis));
      return { t: m.slice(12, 15), s, r: quaternion.of(axes.map((axis, i) => axis.map(x => x / s[i]))) };
    });
    const bones = new Set(json.skins.flatMap(skin => skin.joints));
    this.bones = this.order.filter(bone => bones.has(bone));
    this.size = 1;
    this.rest = this.placed({});
    this.asked = rolesOf(this.names, this.bones);
    this.ours = rolesOf(model.skeleton.names, depthFirst(model.skeleton.parents));
    this.ours.hips ??= model.skeleton.parents.indexOf(null);
  }

  // World places, rotations and scales of all nodes; `turned` has the rotations of some, `hips` is
  // the place of the hips.
  placed(turned, hips) {
    const all = [];
    for (const i of this.order) {
      const { t, r, s } = this.local[i], above = all[this.parents[i]] ?? { p: [0, 0, 0], q: [0, 0, 0, 1], s: [this.size, this.size, this.size] };
      const p = vector.add(above.p, quaternion.apply(above.q, t.map((x, k) => x * above.s[k])));
      all[i] = { p: i === this.roles?.hips && hips ? hips : p, q: turned[i] ?? quaternion.product(above.q, r), s: s.map((x, k) => x * above.s[k]) };
    }
    return all;
  }

  // Takes bones for the roles, which stay `asked` whatever comes of it. Errors: bones that are
  // needed and were not found; the figure then stays as it was.
  connect(roles) {
    this.asked = roles;
    const missing = NEEDED.filter(role => roles[role] === undefined);
    if (![...(roles.neck ?? []), ...(roles.spine ?? [])].length && roles.head === undefined) missing.push("spine, neck or head");
    if (missing.length) throw new Error(`no bones were found for: ${missing.join(", ")}. Its bones are ${this.bones.slice(0, 12).map(bone => this.names[bone]).join(", ")} ...`);
    const { ours, rest } = this;
    const unknown = NEEDED.filter(role => ours[role] === undefined);
    if (unknown.length) throw new Error(`the model's own skeleton has no joints that are known as: ${unknown.join(", ")}`);
    this.roles = roles;
    const { places, axes } = standing(this.model, ours);
    const top = (of, at) => at([...(of.neck ?? []), ...(of.spine ?? [])][0] ?? of.head);
    const frame = (of, at) => {
      const side = vector.unit(vector.sub(at(of["right thigh"]), at(of["left thigh"]))), up = vector.sub(top(of, at), at(of.hips));
      const forward = vector.unit(vector.cross(up, side));
      return quaternion.of([forward, vector.cross(side, forward), side]);
    };
    const turn = quaternion.product(frame(roles, bone => rest[bone].p), quaternion.inverse(frame(ours, joint => places[joint])));
    // Pairs of a bone of theirs and a joint of ours.
    const pairs = [];
    for (const role of Object.keys(roles).filter(role => roles[role] !== undefined)) {
      const [theirs, mine] = [roles[role], ours[role]].map(list => [list].flat());
      if (mine[0] !== undefined) theirs.forEach((bone, i) => pairs.push([role, bone, mine[Math.min(Math.ceil((i + 1) / theirs.length * mine.length), mine.length) - 1]]));
    }
    const chain = of => [of.hips, ...[of.spine, of.neck, of.head].flat()].filter(x => x !== undefined);
    const next = (of, role, bone) => {
      const [side, part] = role.includes(" ") ? role.split(" ") : ["", role], after = chain(of);
      return side ? of[NEXT[part] && `${side} ${NEXT[part]}`] : part === "hips" ? undefined : after[after.indexOf(bone) + 1];
    };
    this.turns = [];
    const turns = {};
    for (const [role, bone, joint] of pairs) {
      const [to, mine] = [next(roles, role, bone), next(ours, role, joint)];
      const ends = to !== undefined && mine !== undefined && [vector.sub(rest[to].p, rest[bone].p), quaternion.apply(turn, vector.sub(places[mine], places[joint]))];
      // The last bone of a limb turns with the one before it.
      const before = Object.keys(NEXT).find(part => role.endsWith(` ${NEXT[part]}`)), with_ = before && turns[`${role.split(" ")[0]} ${before}`];
      const align = ends && ends.every(end => Math.hypot(...end) > 1e-6) ? quaternion.between(ends[1], ends[0]) : with_ ?? [0, 0, 0, 1];
      turns[role] = align;
      const mineThere = quaternion.product(align, quaternion.product(turn, axes[joint])); // in their rest pose
      this.turns.push([bone, joint, quaternion.product(quaternion.inverse(mineThere), rest[bone].q)]);
    }
    const floor = Math.min(...["left", "right"].flatMap(side => ["foot", "toe"].map(part => roles[`${side} ${part}`])).filter(x => x !== undefined).map(bone => rest[bone].p[1]));
    const legs = ["left", "right"].map(side => this.leg(rest, side)), mine = ["left", "right"].map(side => ["thigh", "shin", "foot"].map(part => places[ours[`${side} ${part}`]]));
    const long = ([a, b, c]) => Math.hypot(...vector.sub(b, a)) + Math.hypot(...vector.sub(c, b));
    this.size = (long(mine[0]) + long(mine[1])) / (long(legs[0]) + long(legs[1]));
    // Height of an ankle over the floor in the rest pose.
    this.ankle = (Math.min(...legs.map(([, , foot]) => foot[1])) - floor) * this.size;
  }

  leg(placed, side) { return ["thigh", "shin", "foot"].map(part => placed[this.roles[`${side} ${part}`]].p); }

  // The bones for joints of the model at `places`, with `rotations` (quaternions) in the world.
  pose(places, rotations) {
    const turned = {};
    for (const [bone, joint, rest] of this.turns) turned[bone] = quaternion.product(rotations[joint], rest);
    const hips = places[this.ours.hips];
    let placed = this.placed(turned, hips);
    // The thighs begin where the model's do, so that legs of equal length stand alike.
    const middle = of => vector.scale(vector.add(of[0], of[1]), 0.5), sides = ["left", "right"];
    const shift = vector.sub(middle(sides.map(side => places[this.ours[`${side} thigh`]])), middle(sides.map(side => this.leg(placed, side)[0])));
    placed = this.placed(turned, vector.add(hips, shift));
    for (const side of sides) this.stand(turned, placed, side, places[this.ours[`${side} foot`]], this.ankle);
    return this.placed(turned, vector.add(hips, shift));
  }

  // Bends a leg so that its ankle comes to `target`, and not below its height in the rest pose.
  stand(turned, placed, side, target, lowest) {
    const [a, b, c] = this.leg(placed, side), upper = Math.hypot(...vector.sub(b, a)), lower = Math.hypot(...vector.sub(c, b));
    const goal = [target[0], Math.max(target[1], lowest), target[2]], way = vector.sub(goal, a);
    const reach = Math.min(Math.max(Math.hypot(...way), Math.abs(upper - lower) + 1e-3), upper + lower - 1e-3), along = vector.unit(way);
    // The knee stays on its side of the line from hip to ankle.
    const out = vector.sub(vector.sub(b, a), vector.scale(along, vector.dot(vector.sub(b, a), along)));
    const cosine = (upper * upper + reach * reach - lower * lower) / (2 * upper * reach), bend = vector.unit(out);
    const knee = vector.add(a, vector.add(vector.scale(along, upper * cosine), vector.scale(bend, upper * Math.sqrt(Math.max(0, 1 - cosine * cosine)))));
    const ankle = vector.add(a, vector.scale(along, reach)), [thigh, shin] = ["thigh", "shin"].map(part => this.roles[`${side} ${part}`]);
    const first = quaternion.between(vector.sub(b, a), vector.sub(knee, a));
    const second = quaternion.between(vector.sub(c, b), vector.sub(ankle, knee));
    turned[thigh] = quaternion.product(first, placed[thigh].q);
    turned[shin] = quaternion.product(second, placed[shin].q);
  }

  // The skinned parts: corners, triangles, colours and joints.
  async meshes(glb) {
    const parts = [];
    for (const node of glb.json.nodes.filter(node => node.mesh !== undefined && node.skin !== undefined)) {
      const { joints, inverseBindMatrices } = glb.json.skins[node.skin], bind = inverseBindMatrices === undefined ? null : glb.numbers(inverseBindMatrices);
      for (const { attributes: has, indices, material, mode = 4 } of glb.json.meshes[node.mesh].primitives) {
        if (mode !== 4 || has.JOINTS_0 === undefined || has.WEIGHTS_0 === undefined) continue;
        const at = glb.numbers(has.POSITION), count = at.length / 3, read = (name, width) => has[name] === undefined ? new Float32Array(count * width) : glb.numbers(has[name]);
        const [normals, uv, bones, weights] = [read("NORMAL", 3), read("TEXCOORD_0", 2), read("JOINTS_0", 4), read("WEIGHTS_0", 4)], corners = new Float32Array(16 * count);
        for (let i = 0; i < count; i++)
          corners.set([...at.subarray(3 * i, 3 * i + 3), ...normals.subarray(3 * i, 3 * i + 3), ...uv.subarray(2 * i, 2 * i + 2), ...bones.subarray(4 * i, 4 * i + 4), ...weights.subarray(4 * i, 4 * i + 4)], 16 * i);
        const triangles = indices === undefined ? Uint32Array.from({ length: count }, (_, i) => i) : Uint32Array.from(glb.numbers(indices));
        const look = glb.json.materials?.[material]?.pbrMetallicRoughness ?? {};
        parts.push({ corners, triangles, joints, bind, colour: (look.baseColorFactor ?? [0.8, 0.8, 0.8]).slice(0, 3), picture: await glb.picture(look.baseColorTexture) });
      }
    }
    if (!parts.length) throw new Error("none of its meshes has a skin");
    return parts;
  }

  // The matrices of a part's joints, column by column, for placed bones.
  matrices({ joints, bind }, placed) {
    const out = new Float32Array(16 * joints.length);
    joints.forEach((joint, k) => {
      const { p, q, s } = placed[joint], axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis, i) => vector.scale(quaternion.apply(q, axis), s[i]));
      for (let column = 0; column < 4; column++) {
        const b = bind ? bind.subarray(16 * k + 4 * column, 16 * k + 4 * column + 4) : [0, 1, 2, 3].map(row => Number(row === column));
        for (let row = 0; row < 3; row++) out[16 * k + 4 * column + row] = axes[0][row] * b[0] + axes[1][row] * b[1] + axes[2][row] * b[2] + p[row] * b[3];
        out[16 * k + 4 * column + 3] = b[3];
      }
    });
    return out;
  }
}

// Of the model's poses to start from, the one whose feet are nearest to one another: places and
// rotations of its joints.
function standing(model, ours) {
  const poses = model.standing ??= model.starts.map((_, seed) => {
    const one = new Character(model, seed, null), flat = one.joints();
    return { places: Array.from({ length: model.joints }, (_, j) => [...flat.subarray(3 * j, 3 * j + 3)]), axes: one.axes().map(quaternion.of) };
  });
  const apart = ({ places }) => Math.hypot(...vector.sub(...["left", "right"].map(side => places[ours[`${side} foot`]])));
  return poses.reduce((best, pose) => apart(pose) < apart(best) ? pose : best);
}

// The joints of a tree, parents before children.
function depthFirst(parents) {
  const depth = joint => parents[joint] === null ? 0 : 1 + depth(parents[joint]);
  return parents.map((_, joint) => joint).sort((a, b) => depth(a) - depth(b));
}
