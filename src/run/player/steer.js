// Steering by keyboard, mouse, finger or gamepad. The characters are those of runtime.js: they
// advance a step at a time, and are drawn between two steps.
const STEERING_HELP = "Arrow keys or W A S D walk, with shift faster. A drag, Q and E turn the view, the wheel zooms. On a touch screen, "
  + "the left half of the picture is a stick, the right half turns. A gamepad's sticks do the same.";
// Deflection of a gamepad's stick that counts as none; a finger's full deflection, pixels.
const DEAD = 0.15, REACH = 70;
// Share of the largest speed without shift, and in the circle of a character that nobody steers.
const CALM = 0.45;
// Radians a second that this circle turns by.
const STROLL = 0.6;
// Steps of which the shortest says how long a step takes: in the others, the processor may have had
// other work.
const TIMED = 60;

class Steering {
  // `always`: they walk even while nobody steers. Until somebody does, they walk in a circle, and
  // the picture shows how to steer.
  constructor(parent, model, { always = false } = {}) {
    Object.assign(this, { model, always, held: new Set(), stick: null, drag: null, behind: 0, steps: 0, asked: [0, 0], times: [] });
    Object.assign(this, { characters: [], tracks: [], trail: [], shown: 0, body: bodyOf(model.skeleton) });
    const box = this.box = html("section", "player card steering", parent), stage = this.stage = html("div", "stage", box);
    this.canvas = html("canvas", "", stage);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    const help = model.command ? STEERING_HELP : "These characters wander: they were exported without a controller. A drag turns the view, the wheel zooms.";
    this.canvas.setAttribute("aria-label", help);
    this.label = html("div", "label", stage);
    this.ring = html("div", "ring", stage);
    this.knob = html("div", "knob", this.ring);
    this.ring.hidden = true;
    if (always) this.hint = this.hints(stage);
    html("p", "soft help", box, help);
    this.camera = new Camera({ yaw: -Math.PI / 2, pitch: 0.35, distance: 5 * this.body.size });
    this.mark = { top: model.command?.top ?? 1, commands: [[0, 0]] };
    this.shapes = new Shapes();
    this.scene = sceneOf(this.canvas);
    this.scene.restored = () => { this.worn?.build(); this.refresh(); };
    this.crowd(1);
    this.listen();
    this.refresh();
  }

  // The ways to steer on this device, in the picture.
  hints(stage) {
    const touch = matchMedia("(pointer: coarse)").matches, box = html("div", "hint", stage);
    const views = touch ? [[["right half"], "turns the view"]] : [[["drag", "Q", "E"], "turn the view"], [["wheel"], "zooms"]];
    const walks = touch ? [[["left half"], "is a stick"]] : [[["W", "A", "S", "D", "←", "↑", "↓", "→"], "walk"], [["shift"], "faster"]];
    for (const [keys, what] of this.model.command ? [...walks, ...views, [["gamepad"], "both sticks"]] : views) {
      const line = html("span", "", box);
      keys.forEach(key => html("kbd", "", line, key));
      line.append(what);
    }
    return box;
  }

  // Somebody steers.
  taken() {
    this.hint?.remove();
    this.hint = null;
  }

  // Shows this many characters. New ones stand in a spiral round the first.
  crowd(count) {
    for (let k = this.shown; k < count; k++) {
      const one = this.characters[k] ??= this.model.character(k), angle = 2.4 * k, away = 1.6 * this.body.size * Math.sqrt(k);
      if (k > 0) Object.assign(one, { facing: this.characters[0].facing, place: this.characters[0].place.map((x, i) => x + away * [Math.cos, Math.sin][i](angle)) });
      const { skeleton, joints, fps } = this.model;
      this.tracks[k] = { name: "Yours", kind: "controlled", fps, frames: 2, joints, skeleton, body: this.body, positions: new Float32Array(6 * joints), roots: [[0, 0], [0, 0]] };
      this.pose(k);
      this.pose(k);
    }
    this.shown = count;
    this.times = [];
    this.camera.distance = Math.max(this.camera.distance, (5 + Math.sqrt(count - 1)) * this.body.size);
    this.refresh();
  }

  listen() {
    const { canvas, camera } = this, arrows = { w: "ArrowUp", a: "ArrowLeft", s: "ArrowDown", d: "ArrowRight" };
    const name = event => arrows[event.key.toLowerCase()] ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const keys = this.always ? window : canvas;
    keys.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
      this.fast = event.shiftKey;
      if (!/^(Arrow.*|q|e|Shift)$/.test(name(event))) return;
      event.preventDefault();
      this.taken();
      this.held.add(name(event));
      this.refresh();
    });
    keys.addEventListener("keyup", event => { this.fast = event.shiftKey; this.held.delete(name(event)); });
    keys.addEventListener("blur", () => { this.held.clear(); this.release(); });
    canvas.addEventListener("focus", () => this.refresh());
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      this.taken();
      const at = { id: event.pointerId, x: event.clientX, y: event.clientY, yaw: camera.yaw, pitch: camera.pitch, right: 0, ahead: 0 };
      const box = canvas.getBoundingClientRect(), left = event.clientX < box.left + box.width / 2;
      if (event.pointerType === "mouse" || !left || this.stick || !this.model.command) this.drag = at;
      else {
        this.stick = at;
        this.ring.hidden = false;
        Object.assign(this.ring.style, { left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px` });
        this.knob.style.transform = "";
      }
      this.refresh();
    });
    canvas.addEventListener("pointermove", event => {
      const of = at => [event.clientX - at.x, event.clientY - at.y];
      if (this.drag?.id === event.pointerId) {
        const [x, y] = of(this.drag);
        Object.assign(camera, { yaw: this.drag.yaw - x / 150, pitch: Math.min(Math.max(this.drag.pitch + y / 200, 0.02), 1.5) });
        this.refresh();
      } else if (this.stick?.id === event.pointerId) {
        const [x, y] = of(this.stick), length = Math.hypot(x, y), scale = Math.min(1, REACH / (length || 1));
        Object.assign(this.stick, { right: x / REACH, ahead: -y / REACH });
        this.knob.style.transform = `translate(${x * scale}px, ${y * scale}px)`;
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => this.release(event.pointerId));
    canvas.addEventListener("wheel", event => {
      if (!this.always && document.activeElement !== canvas) return;
      event.preventDefault();
      camera.distance = Math.min(Math.max(camera.distance * Math.exp(event.deltaY / 600), 1.5), 60);
      this.refresh();
    }, { passive: false });
    new ResizeObserver(() => this.refresh()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.palette = undefined; this.refresh(); });
  }

  // Lets go of the pointer `id`, or of all.
  release(id) {
    if (this.drag && this.drag.id === (id ?? this.drag.id)) this.drag = null;
    if (this.stick && this.stick.id === (id ?? this.stick.id)) { this.stick = null; this.ring.hidden = true; }
  }

  // Both sticks of the first gamepad: right and ahead, then the view's turn.
  pad() {
    const pad = [...(navigator.getGamepads?.() ?? [])].find(pad => pad?.connected), axis = i => Math.abs(pad?.axes[i] ?? 0) > DEAD ? pad.axes[i] : 0;
    if ([0, 1, 2, 3].some(axis)) this.taken();
    return { right: axis(0), ahead: -axis(1), turn: axis(2), tilt: axis(3) };
  }

  // The current command: a direction in the world, and a speed.
  command() {
    const on = (more, less) => this.held.has(more) - this.held.has(less), { top } = this.mark, pad = this.pad();
    if (this.hint && !matchMedia("(prefers-reduced-motion: reduce)").matches) return [this.asked[0] + STROLL / this.model.fps, CALM * top];
    let [right, ahead, speed] = [on("ArrowRight", "ArrowLeft"), on("ArrowUp", "ArrowDown"), this.fast ? top : CALM * top];
    const stick = this.stick ?? (Math.hypot(pad.right, pad.ahead) > 0 ? pad : null);
    if (stick) {
      ({ right, ahead } = stick);
      speed = top * Math.min(Math.hypot(right, ahead), 1);
    }
    if (Math.hypot(right, ahead) < 0.05) return [this.asked[0], 0];
    const { yaw } = this.camera, [s, c] = [Math.sin(yaw), Math.cos(yaw)];
    return [Math.atan2(-c * ahead - s * right, -s * ahead + c * right), speed];
  }

  // Copies a character's pose into its track as the newest frame.
  pose(k) {
    const track = this.tracks[k], one = this.characters[k], row = 3 * track.joints;
    track.positions.copyWithin(0, row);
    one.joints(track.positions.subarray(row));
    track.roots = [track.roots[1], [...one.place]];
    track.contacts = contacts(track).map(([, now]) => [now, now]);
    this.worn?.step(track, one);
  }

  // Shows the characters in a body of somebody's own: `step` sees each new pose, `show` draws it,
  // `build` follows a loss of the graphics card's memory, `free` ends it.
  wear(worn) {
    this.worn?.free();
    this.worn = worn;
    for (const k of [0, 0]) this.tracks.forEach((track, i) => this.worn?.step(track, this.characters[i + k]));
    this.refresh();
  }

  // Milliseconds that the simulation of a character takes in a step. Drawing does not count.
  get spent() { return Math.min(...this.times); }

  step() {
    const { model, shown } = this, characters = this.characters.slice(0, shown), begun = performance.now();
    const [direction, speed] = this.asked = this.command(), velocity = [speed * Math.cos(direction), speed * Math.sin(direction)];
    if (model.command) model.toward(characters, characters.flatMap(() => velocity));
    else model.wander(characters);
    this.times = [...this.times.slice(1 - TIMED), (performance.now() - begun) / shown];
    this.steps++;
    this.mark.commands = [this.asked];
    for (let k = 0; k < shown; k++) this.pose(k);
    this.trail = [...this.trail.slice(-240), this.tracks[0].roots[1]];
  }

  // Draws further pictures as long as somebody steers.
  refresh() {
    this.wanted ||= requestAnimationFrame(now => {
      this.wanted = 0;
      const on = this.always || document.activeElement === this.canvas || this.stick, seconds = on ? Math.min((now - (this.last ?? now)) / 1000, 0.1) : 0;
      this.last = on ? now : undefined;
      const { turn, tilt } = this.pad();
      this.camera.yaw += (this.held.has("q") - this.held.has("e") - 1.6 * turn) * 1.5 * seconds;
      this.camera.pitch = Math.min(Math.max(this.camera.pitch + 1.5 * tilt * seconds, 0.02), 1.5);
      for (this.behind += seconds * this.model.fps; this.behind >= 1; this.behind--) this.step();
      this.draw();
      if (on) this.refresh();
    });
  }

  draw() {
    const { canvas, shapes, camera, model, shown } = this, [first] = this.tracks, width = canvas.clientWidth, height = canvas.clientHeight;
    if (width === 0 || height === 0) return;
    const time = this.behind / model.fps, palette = this.palette ??= readPalette(this.box), [x, z] = rootAt(first, time);
    camera.target = [x, 0.88 * this.body.size, z];
    shapes.clear();
    for (const track of this.tracks.slice(0, shown))
      if (this.worn) this.worn.show(shapes, track, time * model.fps);
      else figure(shapes, track, time, { colour: palette.controlled, contact: palette.contact });
    if (model.command) arrow(this.mark, shapes, first, time, palette);
    shapes.band(this.trail, 0.03 * this.body.size, palette.controlled, () => 0.5);
    this.scene.draw([{ x: 0, y: 0, width, height, camera, shapes }], palette);
    const [a, b] = first.roots, speed = `${(Math.hypot(b[0] - a[0], b[1] - a[1]) * model.fps).toFixed(1)} m/s`;
    const crowd = shown > 1 && this.times.length ? `; ${shown} characters, ${this.spent.toFixed(2)} ms each` : "";
    const words = (model.command ? `asked ${this.asked[1].toFixed(1)} m/s, walks ${speed}` : `wanders, ${speed}`) + crowd;
    if (this.label.textContent !== words) this.label.textContent = words;
  }

  // Largest distance (metres) between the root of this page's character and that of the program's
  // track, over `frames` frames from the same pose with the same commands. `first` is the first
  // command.
  strays(which, frames, track, first) {
    const one = this.model.character(which), skip = this.model.frames, { commands } = track.task.find(mark => mark.kind === "arrow");
    let most = 0, [direction, speed] = first;
    for (let frame = skip - 1; frame < Math.min(frames, track.frames); frame += skip) {
      this.model.toward([one], [speed * Math.cos(direction), speed * Math.sin(direction)]);
      most = Math.max(most, Math.hypot(...one.place.map((x, i) => x - track.roots[frame][i])));
      [direction, speed] = commands[frame];
    }
    return most;
  }
}
