// Drawing of a figure's skin, and the part of the page where it is dropped.
const SKIN_VERTEX = `${HEAD}
in vec3 at, up;
in vec2 uv;
in vec4 bones, weights;
uniform sampler2D pose;
uniform bool flatten;
out vec3 normal, place;
out vec2 over;
mat4 bone(float i) { return mat4(texelFetch(pose, ivec2(0, i), 0), texelFetch(pose, ivec2(1, i), 0), texelFetch(pose, ivec2(2, i), 0), texelFetch(pose, ivec2(3, i), 0)); }
void main() {
  mat4 moved = weights.x * bone(bones.x) + weights.y * bone(bones.y) + weights.z * bone(bones.z) + weights.w * bone(bones.w);
  place = (moved * vec4(at, 1)).xyz / max(weights.x + weights.y + weights.z + weights.w, 1e-6);
  normal = mat3(moved) * up;
  over = uv;
  if (flatten) place += light * (0.002 - max(place.y, 0.0)) / light.y - vec3(0, min(place.y, 0.0), 0);
  gl_Position = view * vec4(place, 1);
}`;
const SKIN_PIXEL = SOLID_PIXEL.replace("in vec3 normal, place, tint;", "in vec3 normal, place;\nin vec2 over;\nuniform sampler2D picture;\nuniform vec3 base;")
  .replace("vec3 lit = tint", "vec3 lit = base * texture(picture, over).rgb");

// A figure on the graphics card of a scene.
class Skin {
  constructor(scene, figure) {
    Object.assign(this, { scene, figure });
    this.build();
  }

  // Puts all of it on the card: at first, and when the card has lost it.
  build() {
    const { scene, figure, scene: { gl } } = this;
    this.program = scene.program(SKIN_VERTEX, SKIN_PIXEL);
    this.parts = figure.parts.map(part => {
      const array = gl.createVertexArray();
      gl.bindVertexArray(array);
      const corners = scene.buffer(gl.ARRAY_BUFFER, part.corners), triangles = scene.buffer(gl.ELEMENT_ARRAY_BUFFER, part.triangles);
      scene.inputs(this.program, corners, [["at", 3], ["up", 3], ["uv", 2], ["bones", 4], ["weights", 4]], 0);
      gl.bindVertexArray(null);
      return { ...part, array, corners, triangles, count: part.triangles.length, pose: this.texture(gl, gl.NEAREST), picture: this.texture(gl, gl.LINEAR, part.picture) };
    });
  }

  texture(gl, filter, picture) {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, filter);
    if (picture) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([255, 255, 255, 255]));
    return texture;
  }

  // Takes it off the card. It is not drawn any more.
  free() {
    const { gl } = this.scene;
    for (const { array, corners, triangles, pose, picture } of this.parts) {
      gl.deleteVertexArray(array);
      [corners, triangles].forEach(buffer => gl.deleteBuffer(buffer));
      [pose, picture].forEach(texture => gl.deleteTexture(texture));
    }
    gl.deleteProgram(this.program);
    this.figure.parts.forEach(part => part.picture?.close());
  }

  draw(uniforms, placed) {
    const { scene, program, figure, scene: { gl } } = this;
    for (const part of this.parts) {
      scene.use(program, { ...uniforms, base: part.colour });
      [["pose", part.pose], ["picture", part.picture]].forEach(([name, texture], unit) => {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.uniform1i(gl.getUniformLocation(program, name), unit);
      });
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4, part.joints.length, 0, gl.RGBA, gl.FLOAT, figure.matrices(part, placed));
      gl.bindVertexArray(part.array);
      gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
      gl.bindVertexArray(null);
    }
  }

  // Keeps the rotations of the last two steps.
  step(track, character) {
    const now = character.axes().map(quaternion.of);
    track.turns = [track.turns?.[1] ?? now, now];
  }

  // Draws the figure `s` of the way from the last step but one to the last.
  show(shapes, track, s) {
    const places = poseAt(track, s / track.fps), turns = track.turns[0].map((q, j) => quaternion.mix(q, track.turns[1][j], s));
    const placed = track.placed = this.figure.pose(places, turns);
    shapes.more.push(uniforms => this.draw(uniforms, placed));
  }
}

// What the page remembers, where the browser lets it.
const memory = {
  get: key => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* it forgets */ } },
};

// Lets a person drop or choose a .glb, and change which bone takes which part; that is remembered
// for figures with the same bones. Elements: a button, a file's input, a line for what is wrong,
// and a table in `bones`.
function wardrobe(steering, { button, file, said, table, bones }) {
  const key = figure => `bones of ${figure.bones.map(bone => `${bone} ${figure.names[bone]}`).join()}`;
  // A line for each part: the bone that takes it.
  const list = figure => {
    table.replaceChildren();
    const parts = ["hips", "head", ...["left", "right"].flatMap(side => SIDED.map(part => `${side} ${part}`))];
    for (const role of parts.filter(role => figure.ours[role] !== undefined)) {
      const label = html("label", "", table, role), choice = html("select", "", label);
      for (const bone of [undefined, ...figure.bones]) {
        const option = html("option", "", choice, bone === undefined ? "-" : figure.names[bone].replace(/^.*:/, ""));
        option.value = bone ?? "";
        option.selected = figure.asked[role] === bone;
      }
      choice.addEventListener("change", () => {
        said.textContent = "";
        try {
          wear(figure, { ...figure.asked, [role]: choice.value === "" ? undefined : Number(choice.value) });
          memory.set(key(figure), figure.asked);
        } catch (error) { said.textContent = error.message; }
        steering.refresh();
      });
    }
    bones.hidden = false;
  };
  const wear = (figure, roles) => {
    figure.connect(roles);
    if (steering.worn?.figure !== figure) steering.wear(new Skin(steering.scene, figure));
  };
  const take = async chosen => {
    said.textContent = "";
    try {
      if (steering.scene.flat) throw new Error("a skin needs WebGL 2, which is not to be had here");
      const figure = await Figure.of(await chosen.arrayBuffer(), steering.model);
      try { wear(figure, memory.get(key(figure)) ?? figure.asked); }
      finally { list(figure); }
    } catch (error) { said.textContent = `${chosen.name}: ${error.message}`; }
  };
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  button.addEventListener("click", () => file.click());
  file.addEventListener("change", () => { if (file.files[0]) take(file.files[0]); });
}
