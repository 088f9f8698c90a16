// Opens the page of a steered character in a headless browser, from its file, and plays: keys, a
// finger and a gamepad move the character, a crowd appears, and nothing is fetched. Characters with
// the bones of five rigs are dropped on it and walk. Without WebAssembly and without WebGL 2, the
// page says so and goes on.
//   PUPPETEER=.../puppeteer-core.js node check_character.mjs BROWSER PAGE PICTURES
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import { RIGS, rigged } from "./rigged.mjs";

const [browserPath, file, pictures] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(resolve(process.env.PUPPETEER)));
mkdirSync(pictures, { recursive: true });
assert.ok(statSync(file).size < 4e6, "the page is under 4 MB");
const profile = mkdtempSync(join(tmpdir(), "character-"));
const browser = await puppeteer.launch({
  executablePath: browserPath,
  userDataDir: profile,
  protocolTimeout: 600_000, // a busy machine draws slowly
  args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const wait = ms => new Promise(done => setTimeout(done, ms));

// Opens the page in a window; `before` runs in it before its own script.
async function open(name, { width, height, phone = false, scheme = "light" }, use, before = () => {}) {
  const page = await browser.newPage(), said = [];
  page.on("console", message => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", error => said.push(`error: ${error.message}`));
  page.on("request", request => /^(file|data|blob):/.test(request.url()) || said.push(`asks for ${request.url()}`));
  await page.setViewport({ width, height, isMobile: phone, hasTouch: phone });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.evaluateOnNewDocument(before);
  await page.goto(pathToFileURL(resolve(file)).href);
  await page.waitForSelector(".steering canvas");
  await use(page);
  const { scroll, shown } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, shown: innerWidth }));
  assert.ok(scroll <= shown && shown === width, `the page is ${scroll} pixels wide in a window of ${shown}`);
  writeFileSync(join(pictures, `${name}.png`), await page.screenshot());
  assert.deepEqual(said, []);
  await page.close();
}

const state = page => page.evaluate(() => ({ place: [...steering.characters[0].place], asked: steering.asked, yaw: steering.camera.yaw, steps: steering.steps, top: steering.mark.top, spent: steering.spent }));
// The state after this many further steps.
async function later(page, steps) {
  const { steps: from } = await state(page);
  for (let k = 0; k < 1200 && (await state(page)).steps < from + steps; k++) await wait(100);
  const after = await state(page);
  assert.ok(after.steps >= from + steps, "it walks");
  return after;
}
const near = (a, b, what) => assert.ok(Math.abs(Math.atan2(Math.sin(a - b), Math.cos(a - b))) < 1e-6, `${what}: asked for ${a}, not ${b}`);
// The direction away from the viewer.
const ahead = s => Math.atan2(-Math.cos(s.yaw), -Math.sin(s.yaw));
const notes = page => page.$eval("#notes", notes => notes.textContent);

async function play(page) {
  assert.equal(await notes(page), "");
  let before = await state(page);
  await page.keyboard.down("w");
  let after = await later(page, 30);
  near(after.asked[0], ahead(after), "W");
  const calm = after.asked[1];
  assert.ok(calm > 0 && Math.hypot(...after.place.map((x, i) => x - before.place[i])) > 0.05, "it moves");
  await page.keyboard.down("Shift");
  after = await later(page, 6);
  assert.ok(Math.abs(after.asked[1] - after.top) < 1e-9 && after.asked[1] > calm, "with shift faster");
  await page.keyboard.up("Shift");
  await page.keyboard.up("w");
  await page.keyboard.down("ArrowLeft");
  after = await later(page, 6);
  near(after.asked[0], ahead(after) - Math.PI / 2, "left");
  await page.keyboard.up("ArrowLeft");
  assert.equal((await later(page, 3)).asked[1], 0, "nothing is asked for");
  // A gamepad: half ahead, to the right.
  await page.evaluate(() => { window.pad = { connected: true, axes: [0.4, -0.3, 0, 0], buttons: [] }; navigator.getGamepads = () => [null, window.pad]; });
  after = await later(page, 10);
  near(after.asked[0], ahead(after) + Math.atan2(0.4, 0.3), "a gamepad");
  assert.ok(Math.abs(after.asked[1] - after.top / 2) < 1e-9, "half of a stick is half of the speed");
  before = after;
  await page.evaluate(() => { window.pad.axes = [0, 0, 1, 0]; });
  assert.ok((await later(page, 10)).yaw < before.yaw, "its other stick turns the view");
  await page.evaluate(() => { navigator.getGamepads = () => []; });
  // A mouse turns the view.
  before = await later(page, 3);
  await page.mouse.move(500, 300);
  await page.mouse.down();
  await page.mouse.move(600, 320, { steps: 4 });
  await page.mouse.up();
  after = await later(page, 3);
  assert.ok(Math.abs(after.yaw - before.yaw) > 0.3 && after.asked[1] === 0, "a drag turns");
  // A crowd.
  await page.$eval("#count", count => { count.value = 12; count.dispatchEvent(new Event("input")); });
  await page.keyboard.down("w");
  after = await later(page, 6);
  assert.equal(await page.evaluate(() => steering.shown), 12);
  console.log(`a crowd of 12: ${after.spent.toFixed(3)} ms a character and frame`);
}

async function touch(page) {
  await page.touchscreen.touchStart(90, 500);
  await page.touchscreen.touchMove(90, 465);
  let after = await later(page, 20);
  near(after.asked[0], ahead(after), "a finger");
  assert.ok(Math.abs(after.asked[1] - after.top / 2) < 1e-9, "half way is half of the speed");
  assert.ok(await page.$eval(".ring", ring => !ring.hidden), "the stick is seen");
  writeFileSync(join(pictures, "stick.png"), await page.screenshot());
  await page.touchscreen.touchEnd();
  after = await later(page, 3);
  assert.equal(after.asked[1], 0);
  const { yaw } = after;
  await page.touchscreen.touchStart(260, 400);
  await page.touchscreen.touchMove(320, 400);
  await page.touchscreen.touchEnd();
  assert.ok(Math.abs((await later(page, 3)).yaw - yaw) > 0.2, "the other half turns");
}

// Drops a file, and returns what the page says about it.
async function drop(page, name, bytes) {
  const before = await page.evaluate(() => steering.worn?.figure.names.join());
  await page.evaluate((name, base64) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], name));
    dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
  }, name, Buffer.from(bytes).toString("base64"));
  for (let k = 0; k < 100; k++) {
    const said = await page.$eval("#said", said => said.textContent);
    if (said || await page.evaluate(() => steering.worn?.figure.names.join()) !== before) return said;
    await wait(50);
  }
  throw new Error(`nothing happens with ${name}`);
}

async function dress(page) {
  await page.keyboard.down("w");
  for (const rig of Object.keys(RIGS).filter(rig => rig !== "unknown")) {
    assert.equal(await drop(page, `${rig}.glb`, rigged(rig)), "", rig);
    await later(page, 10);
    const seen = await page.evaluate(() => {
      steering.draw();
      const [track] = steering.tracks, { figure } = steering.worn, ours = poseAt(track, steering.behind / track.fps), { placed } = track;
      const at = role => placed[figure.roles[role]].p, mine = role => ours[figure.ours[role]], sides = ["left", "right"];
      const along = (a, b) => vector.unit(vector.sub(b, a));
      return {
        arms: sides.map(side => vector.dot(along(at(`${side} forearm`), at(`${side} hand`)), along(mine(`${side} forearm`), mine(`${side} hand`)))),
        feet: sides.map(side => Math.hypot(...vector.sub(at(`${side} foot`), mine(`${side} foot`)))), toes: sides.map(side => at(`${side} toe`)[1]),
      };
    });
    assert.ok(seen.arms.every(cosine => cosine > 0.98), `${rig}: arms point as the model's: ${seen.arms}`);
    assert.ok(seen.feet.every(far => far < 0.05) && seen.toes.every(y => y > -0.03), `${rig}: feet stand as the model's: ${JSON.stringify(seen)}`);
    console.log(`${rig}: feet ${seen.feet.map(far => (1000 * far).toFixed(0)).join(" and ")} mm from the model's, arms ${seen.arms.map(x => (180 / Math.PI * Math.acos(Math.min(x, 1))).toFixed(1)).join(" and ")} degrees`);
  }
  writeFileSync(join(pictures, "dressed.png"), await page.screenshot());
  assert.match(await drop(page, "a.glb", rigged("unknown")), /^a\.glb: no bones were found for: hips, left thigh.* Its bones are bonea, boneb/);
  assert.match(await drop(page, "b.glb", rigged("mixamo", { skinned: false })), /^b\.glb: it has no skin/);
  assert.match(await drop(page, "c.png", Buffer.from("no figure at all, only some text")), /^c\.png: this is no \.glb file/);
  assert.equal(await page.evaluate(() => steering.worn.figure.names[0]), RIGS.cmu.hips, "the last one is still worn");
  // A part that is given to no bone is remembered for the next file with these bones.
  assert.equal(await drop(page, "mixamo.glb", rigged("mixamo")), "");
  await page.click("#bones summary");
  await page.evaluate(() => {
    const choice = [...document.querySelectorAll("#table label")].find(label => label.firstChild.textContent === "left toe").querySelector("select");
    choice.value = "";
    choice.dispatchEvent(new Event("change"));
  });
  const toe = () => page.evaluate(() => steering.worn.figure.roles["left toe"]);
  assert.equal(await toe(), undefined);
  writeFileSync(join(pictures, "bones.png"), await page.screenshot());
  await drop(page, "unreal.glb", rigged("unreal"));
  assert.notEqual(await toe(), undefined);
  await drop(page, "mixamo.glb", rigged("mixamo"));
  assert.equal(await toe(), undefined, "it is remembered");
}

try {
  await open("desktop", { width: 1000, height: 640 }, play);
  await open("phone", { width: 360, height: 720, phone: true, scheme: "dark" }, touch);
  await open("dressed", { width: 800, height: 600 }, dress);
  await open("fallback", { width: 800, height: 600 }, async page => {
    assert.match(await notes(page), /no WebGL 2 here: drawn as lines; no WebAssembly/);
    await page.keyboard.down("w");
    const after = await later(page, 20);
    console.log(`in JavaScript: ${after.spent.toFixed(3)} ms a character and frame`);
  }, () => {
    delete window.WebAssembly;
    const get = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) { return kind === "webgl2" ? null : get.call(this, kind, ...more); };
  });
  console.log(`the page plays; pictures in ${pictures}`);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
