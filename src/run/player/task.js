// The marks of a task, drawn with the character. `track.task` lists them as {kind, ...}, in metres,
// with goals [x, z] or commands [direction, metres a second] of every frame.
const POLE = 1.1, WALL = { height: 1.2, rails: 3, radius: 0.05 };

// Functions of (shapes, track, time, palette, camera) that draw the marks of a track.
function taskMarks({ task }) {
  const kinds = { goal, path, arrow, walls };
  return (task ?? []).map(mark => (...view) => kinds[mark.kind](mark, ...view));
}

const asked = (list, track, time) => list[Math.min(Math.max(Math.round(time * track.fps), 0), list.length - 1)];

// The goal: a disc as wide as the reach that counts, and a pole that is visible from afar.
function goal(mark, shapes, track, time, palette, camera) {
  const [x, z] = asked(mark.goals, track, time), size = track.body.size, thick = Math.max(0.03 * size, 0.004 * camera.distance);
  shapes.disc(x, z, mark.radius, palette.task, 0.35, 0.008);
  shapes.disc(x, z, 2.5 * thick, palette.task, 0.9, 0.009);
  shapes.cone([x, thick, z], [x, POLE * size, z], thick, thick, palette.task);
  shapes.cone([x, POLE * size, z], [x, POLE * size, z], 2.6 * thick, 2.6 * thick, palette.task);
}

// The path that the goal moves along.
function path(mark, shapes, track, time, palette, camera) {
  shapes.band(mark.path, Math.max(0.06 * track.body.size, 0.006 * camera.distance), palette.task, () => 0.45, 0.003);
}

// Walls of a maze, as rails that can be looked over.
function walls(mark, shapes, { body }, time, palette) {
  for (const [[ax, az], [bx, bz]] of mark.walls)
    for (let k = 1; k <= WALL.rails; k++) {
      const y = k / WALL.rails * WALL.height * body.size;
      shapes.cone([ax, y, az], [bx, y, bz], WALL.radius, WALL.radius, palette.task);
    }
}

// The commanded direction, with a length that shows the speed; a ring for standing still.
function arrow(mark, shapes, track, time, palette) {
  const [direction, speed] = asked(mark.commands, track, time), [x, z] = rootAt(track, time), size = track.body.size;
  shapes.disc(x, z, 0.3 * size, palette.task, 0.25, 0.008);
  if (speed === 0) return;
  const along = [Math.cos(direction), Math.sin(direction)], length = (0.5 + 1.2 * speed / mark.top) * size;
  const at = s => [x + s * along[0], z + s * along[1]], head = 0.35 * size;
  shapes.band([at(0.3 * size), at(length)], 0.1 * size, palette.task, () => 0.85, 0.009);
  for (let k = 0; k < 6; k++) shapes.band([at(length + head * k / 6), at(length + head * (k + 1) / 6)], 0.32 * size * (1 - k / 6), palette.task, () => 0.85, 0.009);
}
