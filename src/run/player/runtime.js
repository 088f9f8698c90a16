// A character at work, in the page of a report, in character.html and in an exported module. It
// translates src/exchange/ship/walker.rs. Lengths inside are feet, outside metres.

// Numbers from 16-bit floats, deflated and written as base64: all high bytes, then all low bytes.
async function unpackHalves(base64) {
  const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), out = new Float32Array(planes.length / 2);
  const sizes = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));
  for (let i = 0; i < out.length; i++) {
    const high = planes[i], exponent = high >> 2 & 31, fraction = (high & 3) << 8 | planes[out.length + i];
    out[i] = (high & 128 ? -1 : 1) * (exponent ? 1024 + fraction : fraction) * sizes[exponent];
  }
  return out;
}

// The networks of a character, and its characters' values. `given` is written by Shipped::json.
class Model {
  // Opens a model. It computes with WebAssembly where that is to be had, else in JavaScript.
  static async open(given, { wasm = true } = {}) {
    let module = null;
    try {
      if (wasm && given.wasm) module = await WebAssembly.compile(Uint8Array.from(atob(given.wasm), c => c.charCodeAt(0)));
    } catch { /* no WebAssembly here, or none with SIMD */ }
    return new Model(given, await unpackHalves(given.weights), module);
  }

  constructor(given, weights, module) {
    Object.assign(this, given, { weights: null, wasm: null, end: weights.length });
    this.joints = this.skeleton.names.length;
    if (module) {
      this.memory = new WebAssembly.Memory({ initial: Math.ceil(weights.length / 16384) });
      this.wasm = new WebAssembly.Instance(module, { page: { memory: this.memory } }).exports;
    }
    this.numbers = new Float32Array(this.memory ? this.memory.buffer : weights.length);
    this.numbers.set(weights);
  }

  // How it computes, in a word.
  get engine() { return this.wasm ? "WebAssembly" : "JavaScript"; }

  // A character at the origin, in a pose that the seed chooses.
  character(seed = 0) { return new Character(this, seed); }

  // The place of a further character's values among `numbers`.
  block() {
    const at = this.end, missing = (this.end += this.stride) - this.numbers.length, { numbers } = this;
    if (missing > 0 && this.memory) {
      this.memory.grow(Math.ceil(missing / 16384));
      this.numbers = new Float32Array(this.memory.buffer);
    } else if (missing > 0) {
      this.numbers = new Float32Array(this.end);
      this.numbers.set(numbers);
    }
    this.numbers[at] = 1;
    return at;
  }

  // Advances characters by a step. `latents` holds `latent` numbers for each; without them they are
  // drawn, and the characters wander.
  wander(characters, latents) {
    const { latent: size, numbers, places } = this;
    characters.forEach((one, k) => {
      for (let i = 0; i < size; i++) numbers[one.at + places.latent + i] = latents ? latents[k * size + i] : one.normal();
    });
    this.advance(characters, this.policy);
  }

  // Advances characters by a step towards velocities (x, z; metres a second), two numbers for each.
  toward(characters, velocities) {
    if (!this.command?.top) throw new Error("this character has no policy that follows velocities");
    this.obey(characters, velocities);
  }

  // Advances characters by a step on their way to points (x, z; metres), `command.points` for each.
  to(characters, points) {
    if (!this.command?.points) throw new Error("this character has no policy that walks to points");
    this.obey(characters, points);
  }

  obey(characters, asked) {
    const { command: { top, points, metres, gain }, numbers, places } = this, count = points ?? 1;
    characters.forEach((one, k) => {
      const s = Math.sin(one.facing), c = Math.cos(one.facing), from = points ? one.place : [0, 0];
      for (let i = 0; i < count; i++) {
        const [x, z] = [0, 1].map(axis => asked[2 * (k * count + i) + axis] - from[axis]), size = Math.hypot(x, z), most = size > top ? top / size : 1;
        const length = most * size / metres, factor = length > 0 ? most / metres * (gain ? gain * Math.log1p(length) / length : 1) : 0;
        numbers.set([factor * (c * x - s * z), factor * (s * x + c * z)], one.at + places.command + 2 * i);
      }
    });
    this.advance(characters, 0);
  }

  // Computes the layers from `first` on, and applies the predicted frames.
  advance(characters, first) {
    const { numbers, places, scale, shift, stride, frame_size: size } = this;
    for (const { at, history } of characters)
      for (let i = 0; i < history.length; i++) numbers[at + places.condition + i] = (history[i] - shift[i % size]) / scale[i % size];
    for (let k = 0, count; k < characters.length; k += count) {
      const { at } = characters[k];
      for (count = 1; characters[k + count]?.at === at + count * stride;) count++;
      for (let l = first; l < this.layers.length; l++) this.layer(l, at, count);
    }
    for (const one of characters)
      for (let frame = 0; frame < this.frames; frame++) one.move(one.at + places.prediction + frame * size);
  }

  // One layer of `count` characters whose values lie one after another.
  layer(number, at, count) {
    const layer = this.layers[number];
    if (this.wasm) this.wasm[number](4 * at, count);
    else for (let k = 0; k < count; k++) this.products(layer, at + k * this.stride);
    for (let k = 0; k < count; k++) this.activate(layer, at + k * this.stride + layer.into);
  }

  // y = sum over experts of gate_e (x W_e)
  products({ weights, inputs, gate, experts, into, width }, at) {
    const { numbers } = this, y = at + into;
    numbers.fill(0, y, y + width);
    for (let e = 0, w = weights; e < experts; e++) {
      const share = gate === null ? 1 : numbers[at + gate + e];
      for (const [place, size] of inputs)
        for (let x = at + place; x < at + place + size; x += 4, w += 4 * width) {
          if (share === 0) continue;
          const a = share * numbers[x], b = share * numbers[x + 1], c = share * numbers[x + 2], d = share * numbers[x + 3];
          for (let o = 0; o < width; o++)
            numbers[y + o] += a * numbers[w + o] + b * numbers[w + width + o] + c * numbers[w + 2 * width + o] + d * numbers[w + 3 * width + o];
        }
    }
  }

  activate({ act, outputs }, at) {
    const y = this.numbers.subarray(at, at + outputs), n = y.length;
    if (act === "elu") { for (let i = 0; i < n; i++) if (y[i] < 0) y[i] = Math.expm1(y[i]); }
    else if (act === "relu") { for (let i = 0; i < n; i++) if (y[i] < 0) y[i] = 0; }
    else if (act === "action") { for (let i = 0; i < n; i++) y[i] = 4 * Math.tanh(y[i]); }
    else if (act === "largest") { const best = y.indexOf(Math.max(...y)); y.fill(0)[best] = 1; }
    else if (act === "softmax") {
      const most = Math.max(...y);
      let sum = 0;
      for (let i = 0; i < n; i++) sum += y[i] = Math.exp(y[i] - most);
      for (let i = 0; i < n; i++) y[i] /= sum;
    }
  }
}

// One character. `place` (x, z; metres) and `facing` (radians about y, from +x) are its root's.
class Character {
  // `at` is the place of its values; one that only stands in its first pose needs none.
  constructor(model, seed, at = model.block()) {
    Object.assign(this, { model, at, history: new Float32Array(model.condition_frames * model.frame_size) });
    this.frame = new Float32Array(model.frame_size);
    this.begin(seed);
  }

  begin(seed) {
    Object.assign(this, { place: [0, 0], facing: 0, seed, random: seed | 0 });
    this.pose();
  }

  pose() { this.history.set(this.model.starts[(this.seed >>> 0) % this.model.starts.length]); }

  // A number from 0 to 1, neither included.
  uniform() {
    this.random = this.random + 0x6D2B79F5 | 0;
    let t = Math.imul(this.random ^ this.random >>> 15, this.random | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return (((t ^ t >>> 14) >>> 8) + 0.5) / 16777216;
  }

  normal() {
    const length = Math.sqrt(-2 * Math.log(this.uniform()));
    return length * Math.cos(2 * Math.PI * this.uniform());
  }

  // Applies a predicted frame: joint positions follow the predicted velocities by a share, then the
  // root moves.
  move(at) {
    const { frame, history: before, model: { numbers, scale, shift, share, joints, metres, lost } } = this;
    for (let i = 0; i < frame.length; i++) frame[i] = numbers[at + i] * scale[i] + shift[i];
    const [ahead, aside, turn] = frame, s = Math.sin(turn), c = Math.cos(turn);
    let body = true;
    for (let i = 3; i < 3 + 3 * joints; i += 3) {
      const x = before[i] - ahead, z = before[i + 2] - aside;
      const seen = [c * x - s * z, before[i + 1], s * x + c * z];
      for (let k = 0; k < 3; k++) {
        const part = share[i - 3 + k];
        frame[i + k] = part * frame[i + k] + (1 - part) * (seen[k] + frame[i + k + 3 * joints]);
        body &&= Math.abs(frame[i + k]) < lost;
      }
    }
    if (!body) { this.pose(); return; }
    const sine = Math.sin(this.facing), cosine = Math.cos(this.facing);
    this.place[0] += metres * (cosine * ahead + sine * aside);
    this.place[1] += metres * (cosine * aside - sine * ahead);
    this.facing = (this.facing + turn + 2 * Math.PI) % (2 * Math.PI);
    before.copyWithin(frame.length, 0);
    before.set(frame);
  }

  // Places of the joints in the world, metres: x, y, z of each.
  joints(out = new Float32Array(3 * this.model.joints)) {
    const { history, place, model: { metres } } = this, s = Math.sin(this.facing), c = Math.cos(this.facing);
    for (let i = 0; i < out.length; i += 3) {
      const x = history[3 + i], y = history[4 + i], z = history[5 + i];
      out[i] = place[0] + metres * (c * x + s * z);
      out[i + 1] = metres * y;
      out[i + 2] = place[1] + metres * (c * z - s * x);
    }
    return out;
  }

  // Axes X, Y, Z of the joints in the world, orthonormal.
  axes() {
    const { history, model: { joints } } = this, s = Math.sin(this.facing), c = Math.cos(this.facing);
    const unit = v => { const length = Math.hypot(...v) || 1; return v.map(x => x / length); };
    return Array.from({ length: joints }, (_, joint) => {
      const read = part => {
        const [x, y, z] = [0, 1, 2].map(k => history[3 + 3 * part * joints + 3 * joint + k]);
        return [c * x + s * z, y, c * z - s * x];
      };
      const z = unit(read(3)), raw = read(2), along = raw[0] * z[0] + raw[1] * z[1] + raw[2] * z[2], y = unit(raw.map((v, k) => v - along * z[k]));
      return [[0, 1, 2].map(k => y[(k + 1) % 3] * z[(k + 2) % 3] - y[(k + 2) % 3] * z[(k + 1) % 3]), y, z];
    });
  }

  // Rotations of the joints in their parents' axes (of the hips: in the world), as quaternions x,
  // y, z, w.
  rotations(out = new Float32Array(4 * this.model.joints)) {
    const axes = this.axes(), world = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    this.model.skeleton.parents.forEach((parent, joint) => {
      const from = parent === null ? world : axes[parent];
      const [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = axes[joint].map(axis => from.map(other => dot(axis, other)));
      const rows = [[1 + xx - yy - zz, xy + yx, zx + xz, yz - zy], [xy + yx, 1 - xx + yy - zz, yz + zy, zx - xz],
        [zx + xz, yz + zy, 1 - xx - yy + zz, xy - yx], [yz - zy, zx - xz, xy - yx, 1 + xx + yy + zz]];
      const best = rows[rows.reduce((best, row, i) => row[i] > rows[best][best] ? i : best, 0)], length = Math.hypot(...best);
      out.set(best.map(x => x / length), 4 * joint);
    });
    return out;
  }
}
