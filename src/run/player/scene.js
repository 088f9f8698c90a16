// Draws solids, marks on the ground and the ground itself with WebGL 2. The world is right-handed,
// y up, in metres.
const LIGHT = [0.42, 0.72, 0.55];
const SOLID_FLOATS = 12, MARK_FLOATS = 7;

const vector = {
  add: (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]],
  sub: (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]],
  scale: (a, s) => [a[0] * s, a[1] * s, a[2] * s],
  dot: (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2],
  cross: (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]],
  unit: a => vector.scale(a, 1 / (Math.hypot(...a) || 1)),
};

// A camera that looks at `target` from `distance` away, `pitch` above the ground, round by `yaw`;
// angles in radians.
class Camera {
  constructor(view) { Object.assign(this, { target: [0, 0.9, 0], yaw: 0.7, pitch: 0.25, distance: 4, fov: 0.6 }, view); }

  // Unit vectors to the right, up, and back towards the eye.
  axes() {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    return { right: [cy, 0, -sy], up: [-sy * sp, cp, -cy * sp], back: [sy * cp, sp, cy * cp] };
  }

  // Column-major projection times view, and the eye.
  matrix(aspect) {
    const { right, up, back } = this.axes(), eye = vector.add(this.target, vector.scale(back, this.distance));
    // A narrow picture keeps its width in view, not its height.
    const f = 1 / Math.tan(this.fov / 2) * Math.min(1, aspect / 0.56), near = 0.1, far = 200;
    const row = (axis, s) => [...vector.scale(axis, s), -s * vector.dot(axis, eye)];
    const depth = (far + near) / (near - far), shift = 2 * far * near / (near - far), ahead = row(back, 1);
    const rows = [row(right, f / aspect), row(up, f), ahead.map((x, i) => depth * x + (i === 3 ? shift : 0)), ahead.map(x => -x)];
    return { eye, matrix: new Float32Array([0, 1, 2, 3].flatMap(column => rows.map(r => r[column]))) };
  }
}

// A list of numbers that grows, kept between pictures.
class Numbers {
  constructor() { this.array = new Float32Array(4096); this.length = 0; }
  clear() { this.length = 0; }
  push(...values) {
    if (this.length + values.length > this.array.length) {
      const larger = new Float32Array(2 * this.array.length + values.length);
      larger.set(this.array);
      this.array = larger;
    }
    this.array.set(values, this.length);
    this.length += values.length;
  }
  view() { return this.array.subarray(0, this.length); }
}

// The content of one panel: round cones in space, flat marks on the ground, and functions of
// uniforms that draw more solids, each with vertex arrays of its own. Colours are [r, g, b] from 0
// to 1.
class Shapes {
  constructor() { Object.assign(this, { solids: new Numbers(), marks: new Numbers(), more: [] }); }
  clear() { this.solids.clear(); this.marks.clear(); this.more = []; }

  // A cone from a to b with a ball of its radius at either end.
  cone(a, b, radiusA, radiusB, colour) { this.solids.push(...a, radiusA, ...b, radiusB, ...colour, 0); }

  // A band over points [x, z] on the ground; alpha(i) is that of point i.
  band(points, width, colour, alpha, height = 0.004) {
    const side = (i, k) => {
      const [before, after] = [points[Math.max(i - 1, 0)], points[Math.min(i + 1, points.length - 1)]];
      const [dx, dz] = [after[0] - before[0], after[1] - before[1]], s = k * width / 2 / (Math.hypot(dx, dz) || 1);
      return [points[i][0] - dz * s, height, points[i][1] + dx * s];
    };
    for (let i = 0; i + 1 < points.length; i++)
      for (const [at, k] of [[i, -1], [i, 1], [i + 1, -1], [i + 1, -1], [i, 1], [i + 1, 1]])
        this.marks.push(...side(at, k), ...colour, alpha(at));
  }

  // A disc on the ground.
  disc(x, z, radius, colour, alpha, height = 0.006) {
    const rim = k => [x + radius * Math.cos(k * Math.PI / 9), height, z + radius * Math.sin(k * Math.PI / 9)];
    for (let k = 0; k < 18; k++)
      for (const corner of [[x, height, z], rim(k), rim(k + 1)]) this.marks.push(...corner, ...colour, alpha);
  }
}

const HEAD = `#version 300 es
precision highp float;
uniform mat4 view;
uniform vec3 eye, target, light, background, line;
uniform float reach;
float haze(vec3 at) { return smoothstep(0.45, 1.0, distance(at.xz, target.xz) / reach); }
`;
const SOLID_VERTEX = `${HEAD}
in vec4 corner, from, to, colour;  // direction and end of the model's corner; ends and radii; rgb
uniform bool flatten;
out vec3 normal, place, tint;
void main() {
  vec3 along = to.xyz - from.xyz;
  float size = length(along);
  vec3 y = size > 1e-5 ? along / size : vec3(0, 1, 0);
  vec3 x = normalize(cross(y, abs(y.y) < 0.9 ? vec3(0, 1, 0) : vec3(1, 0, 0)));
  normal = mat3(x, y, cross(x, y)) * corner.xyz;
  place = mix(from.xyz, to.xyz, corner.w) + normal * mix(from.w, to.w, corner.w);
  if (flatten) place += light * (0.002 - max(place.y, 0.0)) / light.y - vec3(0, min(place.y, 0.0), 0);
  tint = colour.rgb;
  gl_Position = view * vec4(place, 1);
}`;
const SOLID_PIXEL = `${HEAD}
in vec3 normal, place, tint;
uniform bool flatten;
uniform float shade;
out vec4 pixel;
void main() {
  if (flatten) { pixel = vec4(0, 0, 0, shade * (1.0 - haze(place))); return; }
  vec3 n = normalize(normal), v = normalize(eye - place);
  float sun = max(dot(n, light), 0.0), sky = 0.5 + 0.5 * n.y;
  float rim = pow(1.0 - max(dot(n, v), 0.0), 3.0), gloss = pow(max(dot(n, normalize(light + v)), 0.0), 40.0);
  vec3 lit = tint * (0.42 + 0.3 * sky + 0.48 * sun) + 0.1 * rim + 0.08 * gloss;
  pixel = vec4(mix(lit, background, haze(place)), 1);
}`;
const MARK_VERTEX = `${HEAD}
in vec3 at;
in vec4 colour;
out vec4 tint;
out vec3 place;
void main() { tint = colour; place = at; gl_Position = view * vec4(at, 1); }`;
const MARK_PIXEL = `${HEAD}
in vec4 tint;
in vec3 place;
out vec4 pixel;
void main() { pixel = vec4(tint.rgb, tint.a * (1.0 - haze(place))); }`;
const GROUND_VERTEX = `${HEAD}
in vec2 at;
out vec3 place;
void main() { place = vec3(target.x + reach * at.x, 0, target.z + reach * at.y); gl_Position = view * vec4(place, 1); }`;
const GROUND_PIXEL = `${HEAD}
in vec3 place;
uniform vec3 floor_colour;
out vec4 pixel;
// How much of the pixel the lines \`every\` so many metres cover; lines closer than pixels fade
// out.
float lines(float every, float width) {
  vec2 p = place.xz / every, pixels = fwidth(p) + 1e-6, away = abs(fract(p - 0.5) - 0.5);
  vec2 on = clamp((width / every / 2.0 + pixels / 2.0 - away) / pixels, 0.0, 1.0);
  on *= clamp(1.4 - 4.0 * pixels, 0.0, 1.0);
  return max(on.x, on.y);
}
void main() {
  float grid = max(0.45 * lines(0.5, 0.008), lines(1.0, 0.014));
  pixel = vec4(mix(mix(floor_colour, line, grid), background, haze(place)), 1);
}`;

// A canvas that shows panels side by side, each {x, y, width, height} in CSS pixels with a camera
// and shapes.
class Scene {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: true, stencil: true });
    if (!this.gl) throw new Error("this browser offers no WebGL 2");
    canvas.addEventListener("webglcontextlost", event => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.build(); this.restored?.(); });
    this.build();
  }

  build() {
    const gl = this.gl;
    this.solid = this.program(SOLID_VERTEX, SOLID_PIXEL);
    this.mark = this.program(MARK_VERTEX, MARK_PIXEL);
    this.ground = this.program(GROUND_VERTEX, GROUND_PIXEL);
    this.square = this.buffer(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]));
    const { corners, triangles } = roundCone(16, 5);
    this.model = this.buffer(gl.ARRAY_BUFFER, corners);
    this.triangles = this.buffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
    this.triangleCount = triangles.length;
    this.stream = gl.createBuffer();
  }

  buffer(kind, numbers) {
    const buffer = this.gl.createBuffer();
    this.gl.bindBuffer(kind, buffer);
    this.gl.bufferData(kind, numbers, this.gl.STATIC_DRAW);
    return buffer;
  }

  // A program of two shaders. While the context is lost, it is an empty one.
  program(vertex, pixel) {
    const gl = this.gl, program = gl.createProgram(), whole = done => done || gl.isContextLost();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, pixel]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!whole(gl.getShaderParameter(shader, gl.COMPILE_STATUS))) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!whole(gl.getProgramParameter(program, gl.LINK_STATUS))) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  // Makes `program` current with these uniforms: numbers, booleans, vectors or a matrix.
  use(program, uniforms) {
    const gl = this.gl;
    gl.useProgram(program);
    for (const [name, value] of Object.entries(uniforms)) {
      const at = gl.getUniformLocation(program, name);
      if (typeof value === "boolean") gl.uniform1i(at, value);
      else if (typeof value === "number") gl.uniform1f(at, value);
      else if (value.length === 16) gl.uniformMatrix4fv(at, false, value);
      else gl.uniform3fv(at, value);
    }
  }

  // Binds a buffer of floats to the program's inputs, [name, size] in their order in the buffer.
  // With `step` 1 the values advance once an instance.
  inputs(program, buffer, fields, step) {
    const gl = this.gl, stride = 4 * fields.reduce((sum, [, size]) => sum + size, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    let offset = 0;
    for (const [name, size] of fields) {
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, stride, offset);
      gl.vertexAttribDivisor(at, step);
      offset += 4 * size;
    }
  }

  // Draws all panels over the canvas, which shows `palette.line` between them.
  draw(panels, palette) {
    const { gl, canvas } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(x => Math.max(1, Math.round(x * ratio)));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...palette.line, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    for (const panel of panels) {
      const [x, w, h] = [panel.x, panel.width, panel.height].map(v => Math.round(v * ratio));
      const box = [x, height - Math.round(panel.y * ratio) - h, w, h];
      gl.viewport(...box);
      gl.scissor(...box);
      this.panel(panel, palette);
    }
  }

  panel({ camera, shapes, width, height }, palette) {
    const gl = this.gl, { eye, matrix } = camera.matrix(width / height);
    const common = { view: matrix, eye, target: camera.target, light: vector.unit(LIGHT), background: palette.background,
      line: palette.line, reach: Math.max(14, 4 * camera.distance) };
    gl.clearColor(...palette.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);

    gl.disable(gl.DEPTH_TEST);
    this.use(this.ground, { ...common, floor_colour: palette.floor });
    this.inputs(this.ground, this.square, [["at", 2]], 0);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);

    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    this.use(this.mark, common);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.stream);
    gl.bufferData(gl.ARRAY_BUFFER, shapes.marks.view(), gl.STREAM_DRAW);
    this.inputs(this.mark, this.stream, [["at", 3], ["colour", 4]], 0);
    gl.drawArrays(gl.TRIANGLES, 0, shapes.marks.length / MARK_FLOATS);

    // Shadows: the solids laid flat along the light, each pixel darkened once.
    gl.bufferData(gl.ARRAY_BUFFER, shapes.solids.view(), gl.STREAM_DRAW);
    this.inputs(this.solid, this.stream, [["from", 4], ["to", 4], ["colour", 4]], 1);
    this.inputs(this.solid, this.model, [["corner", 4]], 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.triangles);
    const solids = () => gl.drawElementsInstanced(gl.TRIANGLES, this.triangleCount, gl.UNSIGNED_SHORT, 0, shapes.solids.length / SOLID_FLOATS);
    gl.enable(gl.STENCIL_TEST);
    gl.stencilFunc(gl.EQUAL, 0, 1);
    gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
    this.use(this.solid, { ...common, flatten: true, shade: palette.shade });
    solids();
    shapes.more.forEach(draw => draw({ ...common, flatten: true, shade: palette.shade }));
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    shapes.more.forEach(draw => draw({ ...common, flatten: false }));
    this.use(this.solid, { flatten: false });
    solids();
  }
}

// The content of panels as plain lines and fills, where there is no WebGL 2.
class FlatScene {
  constructor(canvas) { Object.assign(this, { canvas, flat: true, context: canvas.getContext("2d") }); }

  draw(panels, palette) {
    const { canvas, context } = this, { clientWidth: width, clientHeight: height } = canvas, css = (colour, alpha = 1) => `rgba(${colour.map(x => 255 * x)},${alpha})`;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    for (const { x, y, width, height, camera, shapes } of panels) {
      const { matrix, eye } = camera.matrix(width / height), { back } = camera.axes(), size = height / 2 / Math.tan(camera.fov / 2);
      const seen = at => {
        const [a, b, , w] = [0, 1, 2, 3].map(row => matrix[row] * at[0] + matrix[4 + row] * at[1] + matrix[8 + row] * at[2] + matrix[12 + row]);
        return w > 0.1 ? [x + (1 + a / w) * width / 2, y + (1 - b / w) * height / 2, w] : null;
      };
      context.fillStyle = css(palette.floor);
      context.fillRect(x, y, width, height);
      const { marks, solids } = shapes, middle = [camera.target[0], camera.target[2]].map(Math.round);
      context.strokeStyle = css(palette.line);
      context.lineWidth = 1;
      // A metre at a time: of a line that begins behind the eye, the rest is seen.
      for (let k = -8; k <= 8; k++)
        for (let l = -8; l < 8; l++)
          for (const line of [[[k, l], [k, l + 1]], [[l, k], [l + 1, k]]]) {
            const [a, b] = line.map(([x, z]) => seen([middle[0] + x, 0, middle[1] + z]));
            if (!a || !b) continue;
            context.beginPath();
            context.moveTo(a[0], a[1]);
            context.lineTo(b[0], b[1]);
            context.stroke();
          }
      for (let i = 0; i < marks.length; i += 3 * MARK_FLOATS) {
        const corners = [0, 1, 2].map(k => seen(marks.array.subarray(i + k * MARK_FLOATS)));
        if (!corners.every(Boolean)) continue;
        context.fillStyle = css([...marks.array.subarray(i + 3, i + 6)], marks.array[i + 6]);
        context.beginPath();
        corners.forEach(([a, b]) => context.lineTo(a, b));
        context.fill();
      }
      const list = Array.from({ length: solids.length / SOLID_FLOATS }, (_, k) => solids.array.subarray(k * SOLID_FLOATS));
      const depth = solid => vector.dot(vector.sub(eye, solid), back);
      context.lineCap = "round";
      for (const solid of list.sort((a, b) => depth(b) - depth(a))) {
        const [a, b] = [seen(solid), seen(solid.subarray(4))];
        if (!a || !b) continue;
        context.strokeStyle = css([...solid.subarray(8, 11)]);
        context.lineWidth = Math.max(1, (solid[3] + solid[7]) * size / a[2]);
        context.beginPath();
        context.moveTo(a[0], a[1]);
        context.lineTo(b[0] + 0.01, b[1]);
        context.stroke();
      }
    }
  }
}

// The scene of a canvas, flat where there is no WebGL 2.
function sceneOf(canvas) {
  return document.createElement("canvas").getContext("webgl2") ? new Scene(canvas) : new FlatScene(canvas);
}

// The model of a cone with round ends along y. A corner is a direction and the end (0 or 1) that it
// belongs to.
function roundCone(around, rings) {
  const corners = [], triangles = [];
  for (const end of [0, 1])
    for (let ring = 0; ring <= rings; ring++) {
      const height = (ring - (1 - end) * rings) / rings * Math.PI / 2;
      for (let k = 0; k < around; k++) {
        const angle = 2 * Math.PI * k / around;
        corners.push(Math.cos(height) * Math.cos(angle), Math.sin(height), -Math.cos(height) * Math.sin(angle), end);
      }
    }
  for (let ring = 0; ring < 2 * rings + 1; ring++)
    for (let k = 0; k < around; k++) {
      const [a, b] = [ring * around + k, ring * around + (k + 1) % around];
      triangles.push(a, b, a + around, b, b + around, a + around);
    }
  return { corners: new Float32Array(corners), triangles: new Uint16Array(triangles) };
}
