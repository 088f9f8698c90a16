// Walks with an exported module. Reads latents (or velocities, or points) from standard input, and
// writes the places and the rotations of the joints after each frame. With a number of characters
// as the third argument, it says how long a frame of one of them takes instead.
//   node walk.mjs MODULE WebAssembly|JavaScript [CHARACTERS]
import { readFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [file, engine, count] = process.argv.slice(2);
const { open } = await import(pathToFileURL(resolve(file)));
const model = await open({ wasm: engine === "WebAssembly" });
assert.equal(model.engine, engine);
const { command } = model, size = command ? 2 * (command.points ?? 1) : model.latent;
const advance = (characters, given) => model[command?.points ? "to" : command ? "toward" : "wander"](characters, given);
if (count) {
  const characters = Array.from({ length: Number(count) }, (_, k) => model.character(k)), given = new Float32Array(size * characters.length).fill(0.3);
  const times = Array.from({ length: 21 }, () => {
    const begun = performance.now();
    for (let frame = 0; frame < 30; frame++) advance(characters, given);
    return (performance.now() - begun) / 30 / characters.length;
  });
  console.log(times.sort((a, b) => a - b)[10].toFixed(4));
} else {
  const given = new Float32Array(new Uint8Array(readFileSync(0)).buffer), one = model.character(0);
  for (let at = 0; at < given.length; at += size) {
    advance([one], given.subarray(at, at + size));
    for (const numbers of [one.joints(), one.rotations()]) {
      const bytes = new Uint8Array(numbers.buffer);
      for (let done = 0; done < bytes.length;) {
        try { done += writeSync(1, bytes, done); } catch (error) { if (error.code !== "EAGAIN") throw error; }
      }
    }
  }
}
