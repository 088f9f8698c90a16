// Opens the page of a steered character in a headless browser, from its file, and plays: keys, a
// finger and a gamepad move the character, a crowd appears, and nothing is fetched. Characters with
// the bones of five rigs are dropped on it and walk, also after the graphics card lost them.
// Without SIMD and without WebGL 2, the page says so and goes on.
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
// A browser, and the folder that it lives in.
async function start(...flags) {
  const profile = mkdtempSync(join(tmpdir(), "character-"));
  const browser = await puppeteer.launch({
    executablePath: browserPath,
    userDataDir: profile,
    protocolTimeout: 0, // a busy machine draws slowly
    args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...flags],
  });
  return { browser, profile };
}
// All waits end when something has happened, however long that takes; a page that hangs ends here.
let waiting = "the browser";
const limit = setTimeout(() => { console.error(`after 20 minutes it still waits for ${waiting}`); process.exit(1); }, 1_200_000);
// Waits until a function holds in the page.
function until(page, what, holds, ...given) {
  waiting = what;
  return page.waitForFunction(holds, { polling: 50, timeout: 0 }, ...given);
}

// Opens the page in a window; `before` runs in it before its own script.
async function open({ browser }, name, { width, height, phone = false, scheme = "light" }, use, before = () => {}) {
  const page = await browser.newPage(), said = [];
  page.on("console", message => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", error => said.push(`error: ${error.message}`));
  page.on("request", request => /^(file|data|blob):/.test(request.url()) || said.push(`asks for ${request.url()}`));
  await page.setViewport({ width, height, isMobile: phone, hasTouch: phone });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.evaluateOnNewDocument(before);
  await page.goto(pathToFileURL(resolve(file)).href, { timeout: 0 });
  await until(page, "the character", () => document.querySelector("#stage .wait, .steering canvas"));
  await use(page);
  const { scroll, shown } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, shown: innerWidth }));
  assert.ok(scroll <= shown && shown === width, `the page is ${scroll} pixels wide in a window of ${shown}`);
  writeFileSync(join(pictures, `${name}.png`), await page.screenshot());
  // Chromium says itself that it was started without graphics. A wrong call is INVALID.
  assert.deepEqual(said.filter(line => !/WebGL|GPU/.test(line) || /INVALID/.test(line)), []);
  await page.close();
  console.log(`${name}: seen after ${((performance.now() - begun) / 1000).toFixed(0)} s`);
}

const state = page => page.evaluate(() => ({ place: [...steering.characters[0].place], asked: steering.asked, yaw: steering.camera.yaw, steps: steering.steps, top: steering.mark.top, spent: steering.spent }));
// The state after this many further steps.
async function later(page, steps) {
  const { steps: from } = await state(page);
  await until(page, `${steps} steps`, last => steering.steps >= last, from + steps);
  return state(page);
}
const near = (a, b, what) => assert.ok(Math.abs(Math.atan2(Math.sin(a - b), Math.cos(a - b))) < 1e-6, `${what}: asked for ${a}, not ${b}`);
// The direction away from the viewer.
const ahead = s => Math.atan2(-Math.cos(s.yaw), -Math.sin(s.yaw));
const notes = page => page.$eval("#notes", notes => notes.textContent);

async function play(page) {
  assert.equal(await notes(page), "");
  // Nobody steers yet: it says how to, and walks in a circle.
  const hint = () => page.evaluate(() => document.querySelector(".hint")?.textContent);
  assert.match(await hint(), /WASD.*walk.*shift.*turn the view.*gamepad/);
  let before = await later(page, 3), turned = (await later(page, 12)).asked[0] - before.asked[0];
  assert.ok(turned > 0.1 && before.asked[1] > 0, `it walks in a circle, ${turned} radians of it`);
  writeFileSync(join(pictures, "first.png"), await page.screenshot());
  before = await state(page);
  await page.keyboard.down("w");
  let after = await later(page, 12);
  near(after.asked[0], ahead(after), "W");
  const calm = after.asked[1];
  assert.ok(calm > 0 && Math.hypot(...after.place.map((x, i) => x - before.place[i])) > 0.05, "it moves");
  await page.keyboard.down("Shift");
  after = await later(page, 3);
  assert.ok(Math.abs(after.asked[1] - after.top) < 1e-9 && after.asked[1] > calm, "with shift faster");
  assert.equal(await hint(), undefined, "who steers needs no hint");
  await page.keyboard.up("Shift");
  await page.keyboard.up("w");
  await page.keyboard.down("ArrowLeft");
  after = await later(page, 3);
  near(after.asked[0], ahead(after) - Math.PI / 2, "left");
  await page.keyboard.up("ArrowLeft");
  assert.equal((await later(page, 3)).asked[1], 0, "nothing is asked for");
  // A gamepad: half ahead, to the right.
  await page.evaluate(() => { window.pad = { connected: true, axes: [0.4, -0.3, 0, 0], buttons: [] }; navigator.getGamepads = () => [null, window.pad]; });
  after = await later(page, 3);
  near(after.asked[0], ahead(after) + Math.atan2(0.4, 0.3), "a gamepad");
  assert.ok(Math.abs(after.asked[1] - after.top / 2) < 1e-9, "half of a stick is half of the speed");
  before = after;
  await page.evaluate(() => { window.pad.axes = [0, 0, 1, 0]; });
  assert.ok((await later(page, 3)).yaw < before.yaw, "its other stick turns the view");
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
  after = await later(page, 3);
  assert.equal(await page.evaluate(() => steering.shown), 12);
  assert.match(await page.$eval(".label", label => label.textContent), /12 characters, \d+\.\d\d ms each/);
  await page.keyboard.up("w");
  // The simulation alone, without a picture. A timer of the browser counts in tenths of a
  // millisecond, so many characters are timed at once. Other programs run on this machine, so they
  // are timed again until a step was not disturbed.
  const round = () => page.evaluate(() => {
    steering.refresh = () => {};
    const { model } = steering, all = window.timed ??= Array.from({ length: 30 }, (_, k) => model.character(k)), given = all.flatMap(() => [0.5, 0.5]);
    const spent = () => { const begun = performance.now(); model.toward(all, given); return (performance.now() - begun) / all.length; };
    return Array.from({ length: 120 }, spent).sort((a, b) => a - b);
  });
  let times = await round();
  for (let k = 0; k < 20 && times[0] >= 0.25; k++) times = await round();
  console.log(`30 characters: at best ${times[0].toFixed(3)}, median ${times[60].toFixed(3)} ms a character and frame`);
  assert.ok(times[0] < 2, "a character takes at most 2 ms a frame, on any machine");
}

async function touch(page) {
  assert.match(await page.$eval(".hint", hint => hint.textContent), /left half.*right half/);
  await later(page, 3);
  writeFileSync(join(pictures, "first-phone.png"), await page.screenshot());
  await page.touchscreen.touchStart(90, 500);
  await page.touchscreen.touchMove(90, 465);
  let after = await later(page, 6);
  near(after.asked[0], ahead(after), "a finger");
  assert.ok(Math.abs(after.asked[1] - after.top / 2) < 1e-9, "half way is half of the speed");
  assert.ok(await page.$eval(".ring", ring => !ring.hidden), "the stick is seen");
  await page.touchscreen.touchEnd();
  after = await later(page, 3);
  assert.equal(after.asked[1], 0);
  const { yaw } = after;
  await page.touchscreen.touchStart(260, 400);
  await page.touchscreen.touchMove(320, 400);
  await page.touchscreen.touchEnd();
  assert.ok(Math.abs((await later(page, 3)).yaw - yaw) > 0.2, "the other half turns");
  await page.touchscreen.touchStart(90, 500); // the picture shows the stick
  await page.touchscreen.touchMove(90, 465);
}

// Drops a file, and returns what the page says about it.
async function drop(page, name, bytes) {
  await page.evaluate((name, base64) => {
    const transfer = new DataTransfer();
    window.before = steering.worn;
    document.getElementById("said").textContent = "";
    transfer.items.add(new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], name));
    dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
  }, name, Buffer.from(bytes).toString("base64"));
  await until(page, `${name} to be worn or refused`, () => document.getElementById("said").textContent || steering.worn !== before);
  return page.$eval("#said", said => said.textContent);
}

// Number of pixels in which the skin's orange is seen, and whether the graphics card complains.
const orange = page => page.evaluate(() => {
  steering.draw();
  const { gl } = steering.scene, [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight], pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > pixels[i + 2] + 50;
  return { count, error: gl.getError() };
});

// The graphics card loses everything while a figure is worn, and while the next one is dropped.
async function lose(page) {
  const seen = await orange(page);
  assert.ok(seen.count > 500 && seen.error === 0, `the skin is seen: ${JSON.stringify(seen)}`);
  for (const dropped of [false, true]) {
    await page.evaluate(() => {
      window.card ??= steering.scene.gl.getExtension("WEBGL_lose_context");
      window.lost = window.back = 0;
      steering.canvas.addEventListener("webglcontextlost", () => { lost++; }, { once: true });
      steering.canvas.addEventListener("webglcontextrestored", () => { back++; }, { once: true });
      card.loseContext();
    });
    await until(page, "the card to lose all", () => lost > 0);
    if (dropped) assert.equal(await drop(page, "lost.glb", rigged("mixamo")), "");
    await later(page, 3);
    await page.evaluate(() => card.restoreContext());
    await until(page, "the card to come back", () => back > 0);
    await later(page, 3);
    const again = await orange(page);
    assert.ok(again.count > seen.count / 3 && again.error === 0, `the skin is seen again: ${JSON.stringify({ dropped, seen, again })}`);
  }
  const left = await page.evaluate(() => {
    const { gl } = steering.scene, { parts: [part], program } = steering.worn;
    steering.wear(null);
    return [gl.isTexture(part.pose), gl.isTexture(part.picture), gl.isBuffer(part.corners), gl.isBuffer(part.triangles), gl.isProgram(program)];
  });
  assert.deepEqual(left, Array(5).fill(false), "what is taken off is freed");
}

async function dress(page) {
  await page.keyboard.down("w");
  for (const rig of Object.keys(RIGS).filter(rig => rig !== "unknown")) {
    assert.equal(await drop(page, `${rig}.glb`, rigged(rig)), "", rig);
    await later(page, 2);
    const seen = await page.evaluate(() => {
      steering.draw();
      const [track] = steering.tracks, { figure } = steering.worn, ours = poseAt(track, steering.behind / track.fps), { placed } = track;
      const at = role => placed[figure.roles[role]].p, mine = role => ours[figure.ours[role]], sides = ["left", "right"];
      // The model's arms by its rotations, which its places need not agree with.
      const turn = joint => quaternion.mix(track.turns[0][joint], track.turns[1][joint], steering.behind), { offsets } = steering.model.skeleton;
      const arm = side => quaternion.apply(turn(figure.ours[`${side} forearm`]), offsets[figure.ours[`${side} hand`]]);
      const cosine = (a, b) => vector.dot(vector.unit(a), vector.unit(b));
      return {
        arms: sides.map(side => cosine(vector.sub(at(`${side} hand`), at(`${side} forearm`)), arm(side))),
        feet: sides.map(side => Math.hypot(...vector.sub(at(`${side} foot`), mine(`${side} foot`)))), toes: sides.map(side => at(`${side} toe`)[1]),
      };
    });
    assert.ok(seen.arms.every(cosine => cosine > 0.98), `${rig}: arms point as the model's: ${seen.arms}`);
    assert.ok(seen.feet.every(far => far < 0.05) && seen.toes.every(y => y > -0.03), `${rig}: feet stand as the model's: ${JSON.stringify(seen)}`);
    console.log(`${rig}: feet ${seen.feet.map(far => (1000 * far).toFixed(0)).join(" and ")} mm from the model's, arms ${seen.arms.map(x => (180 / Math.PI * Math.acos(Math.min(x, 1))).toFixed(1)).join(" and ")} degrees`);
  }
  writeFileSync(join(pictures, "worn.png"), await page.screenshot());
  assert.equal(await drop(page, "short.glb", rigged("cmu", { toes: false })), "", "toes may be missing");
  const ankles = await page.evaluate(() => { steering.draw(); return ["left", "right"].map(side => steering.tracks[0].placed[steering.worn.figure.roles[`${side} foot`]].p[1]); });
  assert.ok(ankles.every(y => y > -0.03), `without toes, ankles are above the floor: ${ankles}`);
  assert.match(await drop(page, "a.glb", rigged("unknown")), /^a\.glb: no bones were found for: hips, left thigh.* Its bones are bonea, boneb/);
  assert.match(await drop(page, "b.glb", rigged("mixamo", { skinned: false })), /^b\.glb: it has no skin/);
  assert.match(await drop(page, "c.png", Buffer.from("no figure at all, only some text")), /^c\.png: this is no \.glb file/);
  assert.equal(await page.evaluate(() => steering.worn.figure.names[0]), RIGS.cmu.hips, "the last one is still worn");
  // A rig with names of its own is worn once a person has said which bones it has.
  await drop(page, "a.glb", rigged("unknown"));
  await page.click("#bones summary");
  const chosen = await page.evaluate(names => {
    const heads = [];
    for (const [role, name] of Object.entries(names)) {
      const label = [...document.querySelectorAll("#table label")].find(label => label.firstChild.textContent === role);
      if (!label) continue;
      const choice = label.querySelector("select");
      choice.value = [...choice.options].find(option => option.textContent === name).value;
      choice.dispatchEvent(new Event("change"));
      heads.push(role);
    }
    return heads;
  }, RIGS.unknown);
  assert.ok(chosen.includes("hips") && chosen.includes("left thigh"), `the table has the parts: ${chosen}`);
  const own = () => page.evaluate(() => [steering.worn.figure.names[0], document.querySelector("#said")?.textContent]);
  assert.deepEqual(await own(), [RIGS.unknown.hips, ""]);
  assert.equal(await drop(page, "cmu.glb", rigged("cmu")), "");
  assert.equal(await drop(page, "a.glb", rigged("unknown")), "", "it is remembered");
  assert.deepEqual(await own(), [RIGS.unknown.hips, ""]);
  await page.click("#bones summary");
  await lose(page);
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
  await drop(page, "unreal.glb", rigged("unreal"));
  assert.notEqual(await toe(), undefined);
  await drop(page, "mixamo.glb", rigged("mixamo"));
  assert.equal(await toe(), undefined, "it is remembered");
}

// The page of a browser that lacks something says so, and walks.
const fallback = says => async page => {
  assert.match(await notes(page), says);
  await page.keyboard.down("w");
  const after = await later(page, 6);
  console.log(`${await notes(page)}: ${after.spent.toFixed(3)} ms a character and frame`);
};

const begun = performance.now(), size = { width: 640, height: 480 };
const whole = await start("--use-angle=swiftshader", "--enable-unsafe-swiftshader");
// Without the instructions that it takes them from, V8 has no SIMD.
const poor = await start("--disable-3d-apis", "--js-flags=--no-enable-sse4-1");
try {
  await open(whole, "desktop", { width: 1000, height: 640 }, play);
  await open(whole, "phone", { width: 360, height: 720, phone: true, scheme: "dark" }, touch);
  await open(whole, "dressed", size, dress);
  await open(whole, "scalar", size, fallback(/^no WebAssembly with SIMD here: computed in JavaScript$/), () => { delete window.WebAssembly; });
  await open(poor, "fallback", size, async page => {
    await fallback(/^no WebGL 2 here: drawn as lines; no WebAssembly with SIMD here: computed in JavaScript$/)(page);
    assert.match(await drop(page, "mixamo.glb", rigged("mixamo")), /^mixamo\.glb: a skin needs WebGL 2/);
  });
  console.log(`the page plays; pictures in ${pictures}`);
} finally {
  clearTimeout(limit);
  for (const { browser, profile } of [whole, poor]) {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
