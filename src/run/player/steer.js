// Steering by keyboard, mouse or finger: decoder and policy of a joystick controller run in the
// page, one step a frame.

// The numbers of 16-bit floats.
function halves(base64) {
  const words = new Uint16Array(Uint8Array.from(atob(base64), c => c.charCodeAt(0)).buffer), out = new Float32Array(words.length);
  words.forEach((word, i) => {
    const sign = word & 0x8000 ? -1 : 1, exponent = word >> 10 & 31, fraction = word & 1023;
    out[i] = sign * (exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
  return out;
}

const elu = x => x > 0 ? x : Math.expm1(x), relu = x => Math.max(x, 0), same = x => x;
const largest = list => list.reduce((best, x, i) => x > list[best] ? i : best, 0);
const concat = (...parts) => Float32Array.from(parts.flatMap(part => [...part]));

// The networks, as the program has them (src/model.rs, src/control/policy.rs).
class Networks {
  constructor(given) {
    Object.assign(this, given);
    const numbers = halves(given.weights);
    this.tensors = Object.fromEntries(given.tensors.map(([name, first, length]) => [name, numbers.subarray(first, first + length)]));
  }

  // act(W x + b)
  dense(name, x, act) {
    const w = this.tensors[`${name}.weight`], bias = this.tensors[`${name}.bias`], n = x.length;
    return bias.map((sum, row) => {
      for (let i = 0, at = row * n; i < n; i++) sum += w[at + i] * x[i];
      return act(sum);
    });
  }

  softmax(x) {
    const top = Math.max(...x), e = x.map(v => Math.exp(v - top)), sum = e.reduce((a, b) => a + b);
    return e.map(v => v / sum);
  }

  // act(sum_e gate_e (x W_e + b_e))
  blend(layer, gate, x, act) {
    const w = this.tensors[`decoder.w${layer}`], bias = this.tensors[`decoder.b${layer}`], outs = bias.length / gate.length;
    const y = new Float32Array(outs);
    gate.forEach((g, e) => {
      for (let o = 0; o < outs; o++) y[o] += g * bias[e * outs + o];
      for (let i = 0; i < x.length; i++) {
        const factor = g * x[i], at = (e * x.length + i) * outs;
        for (let o = 0; o < outs; o++) y[o] += factor * w[at + o];
      }
    });
    return y.map(act);
  }

  // Predicted frames, normalised, of an action and a normalised condition.
  decode(action, condition) {
    const z = action.map(a => 4 * a), zc = concat(z, condition);
    const skips = (names, input = zc) => names.reduce((h, name, i) => this.dense(name, i === 0 ? input : concat(z, h), i < 2 ? elu : same), null);
    if (this.variant === "posevae") return skips(["fc4", "fc5", "out"]);
    if (this.variant === "specialist") {
      const best = largest(skips(["g_fc1", "g_fc2", "g_fc3"]));
      return skips(["fc4", "fc5", "out"].map(name => `d${best}.${name}`));
    }
    if (this.variant === "vq") {
      const embed = this.tensors["quantizer.embed"], code = largest(action), codes = action.length;
      const latent = Array.from({ length: embed.length / codes }, (_, k) => embed[k * codes + code]);
      const h = ["fc4", "fc5", "fc6"].reduce((h, name) => this.dense(name, h, relu), concat(latent, condition));
      return this.dense("out", h, same);
    }
    const hidden = this.dense("decoder.gate.2", this.dense("decoder.gate.0", zc, elu), elu);
    const gate = this.softmax(this.dense("decoder.gate.4", hidden, same));
    const h1 = this.blend(0, gate, zc, elu), h2 = this.blend(1, gate, concat(z, h1), elu);
    return this.blend(2, gate, concat(z, h2), same);
  }

  // The policy's mean.
  act(observation) {
    return [0, 2, 4, 6].reduce((h, i) => this.dense(`actor.actor.${i}`, h, i === 6 ? Math.tanh : relu), observation);
  }
}

// A character that follows commands. Lengths are in the data's unit; `metres` is the length of one
// unit.
class Walker {
  constructor(networks, start) {
    Object.assign(this, { networks, start });
    this.restart();
  }

  restart() {
    Object.assign(this, { history: Float32Array.from(this.start.pose), root: [0, 0], facing: 0 });
  }

  // Advances by one step in a direction of the world (radians from x to z) at a speed (body units a
  // frame).
  step(direction, speed) {
    const n = this.networks, size = n.frame_size, [s, c] = [Math.sin(this.facing), Math.cos(this.facing)];
    const condition = this.history.map((x, i) => (x - n.shift[i % size]) / n.scale[i % size]);
    const [x, z] = [Math.cos(direction), Math.sin(direction)].map(k => speed * k);
    let asked = [c * x - s * z, s * x + c * z];
    if (n.normalized) {
      const length = speed / n.unit;
      asked = asked.map(k => speed > 0 ? k / speed * n.task_gain * Math.log1p(length) : 0);
    }
    const frames = n.decode(n.act(concat(n.normalized ? condition : this.history, asked)), condition);
    for (let k = 0; k < n.frame_skip; k++) this.move(Float32Array.from({ length: size }, (_, i) => frames[k * size + i] * n.scale[i] + n.shift[i]));
    const places = this.history.subarray(0, 3 + (size - 3) / 4);
    if (!places.every(x => Math.abs(x) < n.lost)) this.restart();
  }

  // Moves positions towards those that follow from the velocities, as far as the model asks
  // (src/ops/reconcile.rs).
  reconcile(frame) {
    const { position_gain: gain, scale } = this.networks, before = this.history, size = (frame.length - 3) / 4;
    const [ahead, aside, turn] = frame, [s, c] = [Math.sin(turn), Math.cos(turn)];
    for (let i = 3; gain < 1 && i < 3 + size; i += 3) {
      const x = before[i] - ahead, z = before[i + 2] - aside;
      [c * x - s * z, before[i + 1], s * x + c * z].forEach((seen, k) => {
        const at = i + k, [place, velocity] = [scale[at] ** 2, scale[at + size] ** 2];
        const share = Math.max(gain, velocity / (velocity + place));
        frame[at] = share * frame[at] + (1 - share) * (seen + frame[at + size]);
      });
    }
  }

  move(frame) {
    this.reconcile(frame);
    const [s, c] = [Math.sin(this.facing), Math.cos(this.facing)];
    this.root = [this.root[0] + c * frame[0] + s * frame[1], this.root[1] + c * frame[1] - s * frame[0]];
    this.facing = (this.facing + frame[2] + 2 * Math.PI) % (2 * Math.PI);
    this.history.copyWithin(frame.length, 0);
    this.history.set(frame);
  }

  // Places of the joints in the world, metres.
  joints() {
    const { metres, frame_size } = this.networks, [s, c] = [Math.sin(this.facing), Math.cos(this.facing)];
    return Float32Array.from({ length: (frame_size - 3) / 4 }, (_, i) => {
      const [x, y, z] = [0, 1, 2].map(k => this.history[3 + i - i % 3 + k]);
      return metres * [this.root[0] + c * x + s * z, y, this.root[1] + c * z - s * x][i % 3];
    });
  }
}

const STEERING_HELP = "Click the picture, then hold the arrow keys (or W A S D); with shift faster, Q and E turn the view. Or drag in the "
  + "picture as if it were a stick: the farther, the faster.";

// The view in which a character is steered. `walker.root` is the character's place and facing.
class Steering {
  constructor(parent, { skeleton, steering, tracks }) {
    this.networks = new Networks(steering);
    this.walker = new Walker(this.networks, steering.starts[0]);
    Object.assign(this, { tracks, held: new Set(), stick: null, behind: 0, trail: [], asked: [0, 0] });
    const joints = skeleton.names.length, body = bodyOf(skeleton);
    this.track = { name: "Yours", kind: "controlled", fps: steering.fps / steering.frame_skip, frames: 2, joints, skeleton, body, positions: new Float32Array(6 * joints),
      roots: [[0, 0], [0, 0]] };
    this.mark = { top: this.networks.top, commands: [[0, 0]] };
    const box = this.box = html("section", "player card steering", parent), stage = html("div", "stage", box);
    this.canvas = html("canvas", "", stage);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "A character that you steer. " + STEERING_HELP);
    this.label = html("div", "label", stage);
    html("p", "soft help", box, STEERING_HELP);
    this.camera = new Camera({ yaw: -Math.PI / 2, pitch: 0.35, distance: 5 * body.size });
    this.shapes = new Shapes();
    this.scene = new Scene(this.canvas);
    this.scene.restored = () => this.refresh();
    this.pose();
    this.pose();
    this.listen();
  }

  listen() {
    const { canvas } = this, arrows = { w: "ArrowUp", a: "ArrowLeft", s: "ArrowDown", d: "ArrowRight" };
    const name = event => arrows[event.key.toLowerCase()] ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    canvas.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      this.fast = event.shiftKey;
      if (!/^(Arrow.*|q|e|Shift)$/.test(name(event))) return;
      event.preventDefault();
      this.held.add(name(event));
      this.refresh();
    });
    canvas.addEventListener("keyup", event => { this.fast = event.shiftKey; this.held.delete(name(event)); });
    canvas.addEventListener("blur", () => { this.held.clear(); this.stick = null; });
    canvas.addEventListener("focus", () => this.refresh());
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      this.stick = { x: event.clientX, y: event.clientY, right: 0, ahead: 0 };
      this.refresh();
    });
    canvas.addEventListener("pointermove", event => {
      if (this.stick) Object.assign(this.stick, { right: (event.clientX - this.stick.x) / 90, ahead: (this.stick.y - event.clientY) / 90 });
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.stick = null; });
    new ResizeObserver(() => this.refresh()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.palette = undefined; this.refresh(); });
  }

  // The current command: a direction in the world and a speed.
  command() {
    const on = (more, less) => this.held.has(more) - this.held.has(less), { top } = this.networks;
    let [right, ahead, speed] = [on("ArrowRight", "ArrowLeft"), on("ArrowUp", "ArrowDown"), this.fast ? top : 0.45 * top];
    if (this.stick) {
      ({ right, ahead } = this.stick);
      speed = top * Math.min(Math.hypot(right, ahead), 1);
    }
    if (Math.hypot(right, ahead) < 0.05) return [this.asked[0], 0];
    const { yaw } = this.camera, [s, c] = [Math.sin(yaw), Math.cos(yaw)];
    return [Math.atan2(-c * ahead - s * right, -s * ahead + c * right), speed];
  }

  // Copies the walker's pose into the track as its newest frame.
  pose() {
    const { track, walker } = this, row = 3 * track.joints, { metres } = this.networks;
    track.positions.copyWithin(0, row);
    track.positions.set(walker.joints(), row);
    track.roots = [track.roots[1], walker.root.map(x => metres * x)];
    track.contacts = contacts(track).map(([, now]) => [now, now]);
    this.trail = [...this.trail.slice(-240), track.roots[1]];
  }

  step() {
    this.asked = this.command();
    this.walker.step(...this.asked);
    this.mark.commands = [this.asked];
    this.pose();
  }

  // Draws further pictures as long as somebody steers.
  refresh() {
    this.wanted ||= requestAnimationFrame(now => {
      this.wanted = 0;
      const on = document.activeElement === this.canvas || this.stick, seconds = on ? Math.min((now - (this.last ?? now)) / 1000, 0.1) : 0;
      this.last = on ? now : undefined;
      this.camera.yaw += (this.held.has("q") - this.held.has("e")) * 1.5 * seconds;
      for (this.behind += seconds * this.track.fps; this.behind >= 1; this.behind--) this.step();
      this.draw();
      if (on) this.refresh();
    });
  }

  draw() {
    const { canvas, track, shapes, camera } = this, width = canvas.clientWidth, height = canvas.clientHeight, time = this.behind / track.fps;
    if (width === 0 || height === 0) return;
    const palette = this.palette ??= readPalette(this.box), [x, z] = rootAt(track, time);
    camera.target = [x, 0.88 * track.body.size, z];
    shapes.clear();
    figure(shapes, track, time, { colour: palette.controlled, contact: palette.contact });
    arrow(this.mark, shapes, track, time, palette);
    shapes.band(this.trail, 0.03 * track.body.size, palette.controlled, () => 0.5);
    this.scene.draw([{ x: 0, y: 0, width, height, camera, shapes }], palette);
    const n = this.networks, metres = n.metres * n.body * n.fps, [a, b] = track.roots;
    const words = `asked ${(this.asked[1] * metres).toFixed(1)} m/s, walks ${(Math.hypot(b[0] - a[0], b[1] - a[1]) * track.fps).toFixed(1)} m/s`;
    if (this.label.textContent !== words) this.label.textContent = words;
  }

  // Largest distance (metres) between the root in this page's forward passes and the root in the
  // program's track, over `frames` frames from the same pose with the same commands.
  strays(which, frames) {
    const { body, metres, fps, frame_skip: skip } = this.networks, start = this.networks.starts[which], track = this.tracks[which];
    const walker = new Walker(this.networks, start), { commands } = track.task.find(mark => mark.kind === "arrow");
    let most = 0, command = start.command;
    for (let frame = skip - 1; frame < Math.min(frames, track.frames); frame += skip) {
      walker.step(...command);
      const [x, z] = walker.root.map(x => metres * x);
      most = Math.max(most, Math.hypot(x - track.roots[frame][0], z - track.roots[frame][1]));
      const [direction, speed] = commands[frame];
      command = [direction, speed / (metres * body * fps)];
    }
    return most;
  }
}
