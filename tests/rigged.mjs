// A character with a skin in a .glb, as artists make them: in a T-pose, in centimetres below a node
// that scales, with axes of its own for each bone. `rig` says whose names the bones have.
const SPINE = ["spine", "spine1", "spine2"];
const PARTS = [
  ["hips", null, [0, 0.95, 0]], ["spine", "hips", [0, 1.05, 0]], ["spine1", "spine", [0, 1.2, 0]], ["spine2", "spine1", [0, 1.35, 0]],
  ["neck", "spine2", [0, 1.5, 0]], ["head", "neck", [0, 1.6, 0.02]],
  ...["left", "right"].flatMap(side => {
    const at = (x, y, z) => [side === "left" ? x : -x, y, z], of = part => `${side} ${part}`;
    return [[of("shoulder"), "spine2", at(0.05, 1.45, 0)], [of("arm"), of("shoulder"), at(0.18, 1.45, 0)], [of("forearm"), of("arm"), at(0.45, 1.45, 0)],
      [of("hand"), of("forearm"), at(0.7, 1.45, 0)], [of("thigh"), "hips", at(0.09, 0.92, 0)], [of("shin"), of("thigh"), at(0.09, 0.5, 0.01)],
      [of("foot"), of("shin"), at(0.09, 0.08, 0)], [of("toe"), of("foot"), at(0.09, 0.02, 0.13)]];
  }),
];
const upper = word => word[0].toUpperCase() + word.slice(1);
const middle = names => Object.fromEntries(["hips", ...SPINE, "neck", "head"].map((part, i) => [part, names[i]]));
const limbs = (names, join) => Object.fromEntries(["left", "right"].flatMap(side =>
  ["shoulder", "arm", "forearm", "hand", "thigh", "shin", "foot", "toe"].map((part, i) => [`${side} ${part}`, join(names[i], side)])));
const HUMAN = ["Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase"];
export const RIGS = {
  mixamo: { ...middle(["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"].map(name => `mixamorig:${name}`)), ...limbs(HUMAN, (name, side) => `mixamorig:${upper(side)}${name}`) },
  unreal: { ...middle(["pelvis", "spine_01", "spine_02", "spine_03", "neck_01", "head"]),
    ...limbs(["clavicle", "upperarm", "lowerarm", "hand", "thigh", "calf", "foot", "ball"], (name, side) => `${name}_${side[0]}`) },
  vrm: { ...middle(["Hips", "Spine", "Chest", "UpperChest", "Neck", "Head"].map(name => `J_Bip_C_${name}`)),
    ...limbs(["Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "ToeBase"], (name, side) => `J_Bip_${upper(side[0])}_${name}`) },
  rocketbox: { ...middle(["Pelvis", "Spine", "Spine1", "Spine2", "Neck", "Head"].map(name => `Bip01 ${name}`)),
    ...limbs(["Clavicle", "UpperArm", "Forearm", "Hand", "Thigh", "Calf", "Foot", "Toe0"], (name, side) => `Bip01 ${upper(side[0])} ${name}`) },
  cmu: { ...middle(["Hips", "LowerBack", "Spine", "Spine1", "Neck", "Head"]), ...limbs(HUMAN, (name, side) => upper(side) + name) },
  unknown: Object.fromEntries(PARTS.map(([part], i) => [part, `bone${String.fromCharCode(97 + i)}`])),
};

const product = ([ax, ay, az, aw], [bx, by, bz, bw]) => [aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
  aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz];
const inverse = ([x, y, z, w]) => [-x, -y, -z, w];
const apply = (q, v) => product(product(q, [...v, 0]), inverse(q)).slice(0, 3);
const sub = (a, b) => a.map((x, i) => x - b[i]);

// The bytes of the file; `skinned: false` leaves the skin out, `toes: false` the toes.
export function rigged(rig, { skinned = true, toes = true } = {}) {
  const parts = PARTS.filter(([part]) => toes || !part.endsWith("toe"));
  const names = RIGS[rig], index = Object.fromEntries(parts.map(([part], i) => [part, i])), scale = 0.01;
  // Any rotation for each bone.
  const turns = parts.map((_, i) => { const q = [Math.sin(i), Math.cos(2 * i), Math.sin(3 * i + 1), 1.2], length = Math.hypot(...q); return q.map(x => x / length); });
  const top = [-Math.SQRT1_2, 0, 0, Math.SQRT1_2];
  const nodes = parts.map(([part, parent, at], i) => {
    const [above, place] = parent === null ? [top, [0, 0, 0]] : [turns[index[parent]], parts[index[parent]][2]];
    const children = parts.flatMap(([, of], j) => of === part ? [j] : []);
    return { name: names[part], translation: apply(inverse(above), sub(at, place)).map(x => x / scale), rotation: product(inverse(above), turns[i]), ...(children.length && { children }) };
  });
  nodes.push({ name: "Armature", rotation: top, scale: [scale, scale, scale], children: [0] }, { name: "body", mesh: 0, ...(skinned && { skin: 0 }) });
  const [corners, normals, joints, weights, indices, binds] = [[], [], [], [], [], []];
  parts.forEach(([part, , at], i) => {
    const columns = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map(axis => apply(inverse(turns[i]), axis).map(x => x / scale));
    binds.push(...columns.flatMap(column => [...column, 0]), ...apply(inverse(turns[i]), at).map(x => -x / scale), 1);
    const end = parts.find(([, parent]) => parent === part)?.[2] ?? at.map((x, k) => x + (part === "head" ? [0, 0.2, 0] : [0, 0, 0.08])[k]);
    const along = sub(end, at), side = Math.abs(along[0]) > 0.1 ? [0, 1, 0] : [1, 0, 0], wide = SPINE.includes(part) || part === "hips" ? 0.13 : 0.05;
    const across = [along[1] * side[2] - along[2] * side[1], along[2] * side[0] - along[0] * side[2], along[0] * side[1] - along[1] * side[0]], size = Math.hypot(...across);
    for (let face = 0; face < 4; face++) {
      const edge = k => [Math.cos((face + k) * Math.PI / 2), Math.sin((face + k) * Math.PI / 2)], first = corners.length / 3, [c, s] = edge(0.5);
      for (const [k, s] of [[0, 0], [1, 0], [1, 1], [0, 1]]) {
        const [a, b] = edge(k);
        corners.push(...at.map((x, j) => x + s * along[j] + wide * a * side[j] + 0.06 * b * across[j] / size));
        normals.push(...side.map((x, j) => c * x + s * across[j] / size));
        joints.push(i, 0, 0, 0);
        weights.push(1, 0, 0, 0);
      }
      indices.push(first, first + 1, first + 2, first, first + 2, first + 3);
    }
  });
  const chunks = [], views = [], accessors = [];
  const add = (array, type, componentType) => {
    views.push({ buffer: 0, byteOffset: chunks.reduce((sum, chunk) => sum + chunk.length, 0), byteLength: array.byteLength });
    chunks.push(Buffer.concat([Buffer.from(array.buffer), Buffer.alloc(-array.byteLength & 3)]));
    return accessors.push({ bufferView: views.length - 1, componentType, type, count: array.length / { SCALAR: 1, VEC3: 3, VEC4: 4, MAT4: 16 }[type] }) - 1;
  };
  const attributes = { POSITION: add(Float32Array.from(corners), "VEC3", 5126), NORMAL: add(Float32Array.from(normals), "VEC3", 5126),
    JOINTS_0: add(Uint8Array.from(joints), "VEC4", 5121), WEIGHTS_0: add(Float32Array.from(weights), "VEC4", 5126) };
  const json = {
    asset: { version: "2.0" }, scene: 0, scenes: [{ nodes: [parts.length, parts.length + 1] }], nodes,
    meshes: [{ primitives: [{ attributes, indices: add(Uint16Array.from(indices), "SCALAR", 5123), material: 0 }] }],
    materials: [{ pbrMetallicRoughness: { baseColorFactor: [0.85, 0.55, 0.25, 1] } }],
    ...(skinned && { skins: [{ joints: parts.map((_, i) => i), inverseBindMatrices: add(Float32Array.from(binds), "MAT4", 5126) }] }),
    bufferViews: views, accessors,
  };
  const binary = Buffer.concat(chunks);
  json.buffers = [{ byteLength: binary.length }];
  const text = Buffer.from(JSON.stringify(json)), padded = Buffer.concat([text, Buffer.alloc(-text.length & 3, " ")]);
  const words = (...list) => Buffer.from(Uint32Array.from(list).buffer);
  return Buffer.concat([words(0x46546C67, 2, 28 + padded.length + binary.length, padded.length, 0x4E4F534A), padded, words(binary.length, 0x004E4942), binary]);
}
