// The player: shows tracks over time, side by side or together, under one camera. See Player for
// its input.

// The packed tracks of the page: {skeleton, tracks: [{name, kind, start, fps, frames, motion,
// task}]}. `motion` is base64 of 16-bit integers. A frame is the root's displacement since the last
// frame (x, z, mm) and its facing (1e-4 rad), then each joint relative to the root (x, y, z, mm).
function unpack({ skeleton, tracks }) {
  const joints = skeleton.names.length, body = bodyOf(skeleton);
  return tracks.map(({ motion, ...track }) => {
    const words = new Int16Array(Uint8Array.from(atob(motion), c => c.charCodeAt(0)).buffer);
    const positions = new Float32Array(track.frames * joints * 3), roots = [];
    let at = 0, x = 0, z = 0;
    for (let frame = 0; frame < track.frames; frame++) {
      x += words[at++];
      z += words[at++];
      roots.push([x / 1000, z / 1000, words[at++] / 1e4]);
      for (let j = 0; j < joints; j++)
        [x, 0, z].forEach((root, k) => { positions[(frame * joints + j) * 3 + k] = (root + words[at++]) / 1000; });
    }
    return { ...track, skeleton, body, joints, positions, roots };
  });
}

const VIEWS = { "3-D": { yaw: 0.75, pitch: 0.22 }, side: { yaw: 0, pitch: 0.06 }, front: { yaw: Math.PI / 2, pitch: 0.06 }, above: { yaw: 0, pitch: Math.PI / 2, away: 2.2 } };
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
const HELP = "Drag to turn, pinch or turn the wheel to zoom (click first), two fingers or the right button to move. Keys: "
  + "space plays, ← → a frame (with shift ten), ↑ ↓ speed, home and end, A D W S turn, + − zoom, V view, F follow, T traces, "
  + "M side by side or together, N next start, 1 to 9 show and hide.";

// A track is {name, kind, start, fps, frames, joints, skeleton, body, positions, roots}.
// `positions` is [frames, joints, 3] in metres in the world, `roots` holds [x, z, facing] for each
// frame. Tracks of one `start` are shown together. The player gives each track a list `overlays` of
// other things to draw: functions of (shapes, track, time, palette, camera). The marks of a task
// (task.js) are drawn even when traces are off.
class Player {
  constructor(parent, tracks) {
    Object.assign(this, { tracks, time: 0, speed: 1, playing: false, together: false, follow: true, traces: true, view: "3-D" });
    for (const track of tracks) {
      track.contacts = contacts(track);
      track.stays = stays(track.contacts);
      track.overlays = [trail, footprints];
      track.marks = taskMarks(track);
    }
    this.starts = [...new Set(tracks.map(track => track.start))];
    this.camera = { ...VIEWS["3-D"], distance: 4.2 * tracks[0].body.size, shift: [0, 0, 0] };
    this.build(parent);
    this.scene = new Scene(this.canvas);
    this.scene.restored = () => this.refresh();
    this.play(false);
    this.choose(this.starts[0]);
    this.listen();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.visible && !this.seen && !calm) { this.seen = true; this.play(true); }
      this.refresh();
    }, { threshold: 0.25 }).observe(this.canvas);
  }

  build(parent) {
    this.box = html("section", "player card", parent);
    const chosen = html("div", "row", this.box);
    this.start = this.select(chosen, "Start", this.starts, name => this.choose(name));
    this.start.parentElement.hidden = this.starts.length < 2;
    this.chips = html("div", "chips", chosen);
    const stage = html("div", "stage", this.box);
    this.canvas = html("canvas", "", stage);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Skeletons in motion. " + HELP);
    this.labels = html("div", "labels", stage);
    const timeline = html("div", "row timeline", this.box);
    this.playButton = this.button(timeline, "", "Play or pause (space)", () => this.play(!this.playing));
    this.playIcon = svg("path", {}, svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16 }, this.playButton));
    this.scrub = html("input", "scrub", timeline);
    Object.assign(this.scrub, { type: "range", min: 0, step: "any", value: 0 });
    this.scrub.setAttribute("aria-label", "Time in seconds");
    this.scrub.addEventListener("input", () => { this.play(false); this.seek(Number(this.scrub.value)); });
    this.clock = html("span", "clock", timeline);
    const controls = html("div", "row", this.box);
    this.speedBox = this.select(controls, "Speed", SPEEDS.map(String), value => { this.speed = Number(value); }, x => `${x}×`);
    this.speedBox.value = "1";
    this.viewBox = this.select(controls, "View", Object.keys(VIEWS), name => this.look(name));
    this.toggles = Object.fromEntries([["follow", "Follow", "F"], ["traces", "Traces", "T"], ["together", "Together", "M"]].map(([field, name, key]) =>
      [field, this.button(controls, name, `${name} (${key})`, () => this.toggle(field))]));
    if (document.fullscreenEnabled)
      this.button(controls, "Full screen", "Full screen", () => document.fullscreenElement ? document.exitFullscreen() : this.box.requestFullscreen());
    const help = html("details", "soft help", this.box);
    html("summary", "", help, "Mouse, touch and keys");
    html("p", "", help, HELP);
  }

  button(parent, text, title, act) {
    const button = html("button", "", parent, text);
    Object.assign(button, { type: "button", title });
    button.setAttribute("aria-label", title);
    button.addEventListener("click", act);
    return button;
  }

  select(parent, name, values, act, show = x => x) {
    const label = html("label", "", parent, name + " "), box = html("select", "", label);
    for (const value of values) html("option", "", box, show(value)).value = value;
    box.addEventListener("change", () => act(box.value));
    return box;
  }

  // Shows the tracks of a start, from its beginning.
  choose(start) {
    this.start.value = start;
    this.group = this.tracks.filter(track => track.start === start);
    this.duration = Math.max(...this.group.map(track => (track.frames - 1) / track.fps), 0.001);
    this.scrub.max = this.duration;
    this.chips.replaceChildren();
    this.group.forEach((track, i) => {
      track.hidden ??= false;
      const chip = this.button(this.chips, track.name, `Show or hide ${track.name} (${i + 1})`, () => { track.hidden = !track.hidden; this.arrange(); });
      html("i", track.kind, chip);
      track.chip = chip;
    });
    this.arrange();
    this.seek(0);
  }

  // Arranges panels and labels after the shown tracks have changed.
  arrange() {
    const shown = this.group.filter(track => !track.hidden);
    const groups = this.together ? [shown] : shown.map(track => [track]);
    this.labels.replaceChildren();
    this.panels = groups.filter(tracks => tracks.length > 0).map(tracks => {
      const label = html("div", "label", this.labels);
      return { tracks, label, shapes: new Shapes(), camera: new Camera(), target: null };
    });
    for (const track of this.group) track.chip.setAttribute("aria-pressed", !track.hidden);
    for (const [field, button] of Object.entries(this.toggles)) button.setAttribute("aria-pressed", this[field]);
    this.refresh();
  }

  toggle(field) {
    this[field] = !this[field];
    if (field === "follow") this.camera.shift = [0, 0, 0];
    this.arrange();
  }

  look(name) {
    this.view = this.viewBox.value = name;
    Object.assign(this.camera, VIEWS[name], { shift: [0, 0, 0] });
    this.refresh();
  }

  play(on) {
    if (on && !this.playing && this.time >= this.duration) this.seek(0);
    this.playing = on;
    this.playIcon.setAttribute("d", on ? "M3 2h3.6v12H3zM9.4 2H13v12H9.4z" : "M3.5 1.5v13l10.5-6.5z");
    this.refresh();
  }

  seek(time) {
    this.time = Math.min(Math.max(time, 0), this.duration);
    this.refresh();
  }

  step(frames) {
    const fps = this.group[0].fps;
    this.play(false);
    this.seek((Math.round(this.time * fps) + frames) / fps);
  }

  // Requests one picture; while something moves, further pictures follow.
  refresh() {
    this.asked ||= requestAnimationFrame(now => {
      this.asked = 0;
      const seconds = Math.min((now - (this.last ?? now)) / 1000, 0.5);
      this.last = now;
      if (this.playing) {
        this.time += seconds * this.speed;
        if (this.time > this.duration) this.time %= this.duration;
      }
      const moving = this.draw(seconds);
      if (this.visible !== false && (this.playing || moving)) this.refresh();
      else this.last = undefined;
    });
  }

  // Draws everything; returns whether a camera is still moving.
  draw(seconds) {
    const { canvas, panels, time } = this, width = canvas.clientWidth, height = canvas.clientHeight;
    if (width === 0 || height === 0) return false;
    const palette = this.palette ??= readPalette(this.box), columns = columnsFor(panels.length, width, height);
    const rows = Math.ceil(panels.length / columns);
    let moving = false;
    panels.forEach((panel, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      // The last row's panels share its whole width.
      const inRow = row === rows - 1 ? panels.length - row * columns : columns;
      const edge = k => Math.round(k * width / inRow), line = k => Math.round(k * height / rows);
      panel.x = edge(column) + (column > 0);
      panel.y = line(row) + (row > 0);
      panel.width = edge(column + 1) - panel.x;
      panel.height = line(row + 1) - panel.y;
      moving = this.aim(panel, seconds) || moving;
      panel.shapes.clear();
      for (const track of panel.tracks) {
        const colour = palette[track.kind];
        figure(panel.shapes, track, time, { colour, contact: palette.contact });
        for (const mark of track.marks) mark(panel.shapes, track, time, palette, panel.camera);
        if (this.traces) for (const overlay of track.overlays) overlay(panel.shapes, track, time, palette, panel.camera);
      }
      this.caption(panel);
    });
    this.scene.draw(panels, palette);
    this.scrub.value = time;
    this.clock.textContent = `${time.toFixed(2)} / ${this.duration.toFixed(1)} s`;
    return moving;
  }

  // Points the panel's camera at the tracks it follows; returns whether it is still moving.
  aim(panel, seconds) {
    const roots = panel.tracks.map(track => rootAt(track, this.time)), size = panel.tracks[0].body.size;
    const middle = [0, 1].map(k => (Math.min(...roots.map(root => root[k])) + Math.max(...roots.map(root => root[k]))) / 2);
    const spread = Math.max(...roots.map(root => Math.hypot(root[0] - middle[0], root[1] - middle[1])));
    const goal = [middle[0], 0.88 * size, middle[1], spread];
    if (!panel.target) panel.target = goal;
    const away = Math.hypot(...goal.map((x, k) => x - panel.target[k]));
    // A jump in time is followed at once, a small step smoothly.
    const share = !this.follow ? 0 : away > 2 * size || seconds === 0 ? 1 : 1 - Math.exp(-6 * seconds);
    panel.target = panel.target.map((x, k) => x + share * (goal[k] - x));
    const [x, y, z, wide] = panel.target;
    Object.assign(panel.camera, { yaw: this.camera.yaw, pitch: this.camera.pitch, distance: (VIEWS[this.view].away ?? 1) * (this.camera.distance + 2.6 * wide),
      target: vector.add([x, y, z], this.camera.shift) });
    return this.follow && away > 0.002;
  }

  caption({ tracks, label, x, y }) {
    Object.assign(label.style, { left: `${x}px`, top: `${y}px` });
    const words = tracks.map(track => {
      const over = this.time > (track.frames - 1) / track.fps + 1e-6;
      return over ? "ended" : `${speedAt(track, this.time).toFixed(1)} m/s`;
    });
    if (label.dataset.words === words.join()) return;
    label.dataset.words = words.join();
    label.replaceChildren();
    tracks.forEach((track, i) => {
      const line = html("div", "", label);
      const name = html("span", "", line, track.name);
      name.prepend(html("i", track.kind));
      html("span", "soft", line, words[i]);
    });
  }

  turn(yaw, pitch) {
    const c = this.camera;
    c.yaw += yaw;
    c.pitch = Math.min(Math.max(c.pitch + pitch, 0.02), Math.PI / 2);
    this.refresh();
  }

  zoom(factor) {
    const size = this.tracks[0].body.size;
    this.camera.distance = Math.min(Math.max(this.camera.distance * factor, 1.2 * size), 40 * size);
    this.refresh();
  }

  // Shifts the point that the cameras look at, by pixels.
  pan(dx, dy) {
    const camera = new Camera(this.camera), { right, up } = camera.axes(), metres = 1.1 * camera.distance / this.canvas.clientHeight;
    this.camera.shift = vector.add(this.camera.shift, vector.add(vector.scale(right, -dx * metres), vector.scale(up, dy * metres)));
    this.refresh();
  }

  listen() {
    const { canvas } = this, fingers = new Map();
    const between = () => { const [a, b] = [...fingers.values()]; return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) }; };
    canvas.addEventListener("pointerdown", event => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
      const finger = fingers.get(event.pointerId);
      if (!finger) return;
      const before = fingers.size === 2 && between(), [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      if (before) {
        const after = between();
        this.zoom(before.apart / Math.max(after.apart, 1));
        this.pan(after.x - before.x, after.y - before.y);
      } else if (event.buttons & 6 || event.shiftKey) this.pan(dx, dy);
      else this.turn(-dx * 0.008, dy * 0.006);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => fingers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    // The wheel scrolls the page unless the picture was clicked; a pinch on a touch pad comes as a
    // wheel with ctrl.
    canvas.addEventListener("wheel", event => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)));
    }, { passive: false });
    this.box.addEventListener("keydown", event => this.key(event));
    new ResizeObserver(() => this.refresh()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.palette = undefined; this.refresh(); });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.tagName, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (typing === "SELECT" || (typing === "BUTTON" || typing === "SUMMARY") && (key === " " || key === "Enter")) return;
    const speed = by => {
      this.speed = SPEEDS[Math.min(Math.max(SPEEDS.indexOf(this.speed) + by, 0), SPEEDS.length - 1)];
      this.speedBox.value = String(this.speed);
    };
    const next = (list, now) => list[(list.indexOf(now) + 1) % list.length];
    const acts = {
      " ": () => this.play(!this.playing),
      ArrowLeft: () => this.step(event.shiftKey ? -10 : -1), ArrowRight: () => this.step(event.shiftKey ? 10 : 1),
      ArrowUp: () => speed(1), ArrowDown: () => speed(-1), Home: () => this.seek(0), End: () => this.seek(this.duration),
      a: () => this.turn(-0.12, 0), d: () => this.turn(0.12, 0), w: () => this.turn(0, 0.08), s: () => this.turn(0, -0.08),
      "+": () => this.zoom(0.87), "=": () => this.zoom(0.87), "-": () => this.zoom(1.15),
      v: () => this.look(next(Object.keys(VIEWS), this.view)), n: () => this.choose(next(this.starts, this.start.value)),
      f: () => this.toggle("follow"), t: () => this.toggle("traces"), m: () => this.toggle("together"),
    };
    const act = acts[key] ?? (this.group[key - 1] && (() => this.group[key - 1].chip.click()));
    if (!act) return;
    event.preventDefault();
    act();
  }
}

// The number of columns that leaves the panels largest, for a person who is taller than wide.
function columnsFor(count, width, height) {
  const size = columns => Math.min(width / columns, 0.72 * height / Math.ceil(count / columns));
  return Array.from({ length: Math.max(count, 1) }, (_, k) => k + 1).reduce((best, columns) => size(columns) > size(best) * 1.02 ? columns : best, 1);
}

// Speed over half a second around a time, metres a second.
function speedAt(track, time) {
  const end = (track.frames - 1) / track.fps, from = Math.max(Math.min(time, end) - 0.25, 0), to = Math.min(time + 0.25, end);
  if (to <= from) return 0;
  let way = 0, last = rootAt(track, from);
  for (let k = 1; k <= 15; k++) {
    const here = rootAt(track, from + k / 15 * (to - from));
    way += Math.hypot(here[0] - last[0], here[1] - last[1]);
    last = here;
  }
  return way / (to - from);
}

// The root's way over the ground: strong where the track has been, faint where it will go.
function trail(shapes, track, time, palette, camera) {
  const now = Math.min(time * track.fps, track.frames - 1), width = Math.max(0.028 * track.body.size, 0.0045 * camera.distance);
  shapes.band(track.roots, width, palette[track.kind], i => i <= now + 0.5 ? 0.85 : 0.22);
}

// Where the feet stood in the last seconds: a smear is a foot that slid.
function footprints(shapes, track, time, palette) {
  const now = time * track.fps, { joints, positions } = track;
  for (const { side, from, to } of track.stays) {
    const age = (now - Math.min(to, now)) / track.fps;
    if (from > now || age > 4) continue;
    const at = frame => [0, 2].map(k => positions[(frame * joints + track.skeleton.toes[side]) * 3 + k]);
    const alpha = 0.75 * (1 - age / 4), size = 0.045 * track.body.size, last = Math.min(to, Math.floor(now));
    const points = Array.from({ length: last - from + 1 }, (_, k) => at(from + k));
    shapes.band(points, 2 * size, palette.contact, () => alpha, 0.006);
    shapes.disc(...points.at(-1), size, palette.contact, alpha, 0.007);
    if (points.length > 1) shapes.disc(...points[0], size, palette.contact, alpha, 0.007);
  }
}
