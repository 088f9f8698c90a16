// Compares exported BVH, as three.js reads it, with the positions of joints from check_bvh.py.
//   node tests/check_bvh.mjs THREE FILE.bvh PLACES
// THREE is the folder of the package three.
import assert from "node:assert";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, file, places] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.resolve(folder, name)));
const { AnimationMixer, LoopOnce, Vector3 } = await load("build/three.module.js");
const { BVHLoader } = await load("examples/jsm/loaders/BVHLoader.js");

const want = JSON.parse(fs.readFileSync(places, "utf8"));
const { skeleton, clip } = new BVHLoader().parse(fs.readFileSync(file, "utf8"));
const root = skeleton.bones[0];
const mixer = new AnimationMixer(root);
const action = mixer.clipAction(clip).setLoop(LoopOnce);
action.clampWhenFinished = true;
action.play();

const bones = want.names.map((name) => skeleton.bones.find((bone) => bone.name === name));
assert(bones.every(Boolean), "a joint is missing");
let worst = 0;
for (let frame = 0; frame < want.places.length; frame += 7) {
  mixer.setTime(frame / want.fps);
  root.updateMatrixWorld(true);
  bones.forEach((bone, joint) => {
    const found = new Vector3().setFromMatrixPosition(bone.matrixWorld);
    worst = Math.max(worst, found.distanceTo(new Vector3(...want.places[frame][joint])));
  });
}
assert(worst < 0.01, `${file}: joints are up to ${worst} cm off in three.js`);
console.log(`${file}: joints at most ${worst.toExponential(1)} cm off in three.js`);
