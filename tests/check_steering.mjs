// Opens the report of a trained joystick controller in a headless browser and steers as a person
// would. Decoder and policy in the page walk where the program's walk. Keys give the right command,
// the character follows it, and the console stays silent.
//   PUPPETEER=.../puppeteer-core.js node check_steering.mjs BROWSER REPORT PICTURE
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [browserPath, report, picture] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(resolve(process.env.PUPPETEER)));
mkdirSync(dirname(picture), { recursive: true });
const profile = mkdtempSync(join(tmpdir(), "steering-"));
const browser = await puppeteer.launch({
  executablePath: browserPath,
  userDataDir: profile,
  args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const wait = ms => new Promise(done => setTimeout(done, ms));
try {
  const page = await browser.newPage(), said = [];
  page.on("console", message => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", error => said.push(`error: ${error.message}`));
  page.on("request", request => /^(file|data|blob):/.test(request.url()) || said.push(`asks for ${request.url()}`));
  await page.setViewport({ width: 1000, height: 900 });
  await page.goto(pathToFileURL(resolve(report)).href);
  await page.waitForSelector(".steering canvas");

  const most = await page.evaluate(() => steering.model.starts.map((_, i) => strays(i, 30)));
  console.log(`after 30 frames the page's characters are ${most.map(x => x.toFixed(4)).join(", ")} m from the program's`);
  assert.ok(most.length > 0 && most.every(x => x < 0.05), "the page's pass is the program's");

  const canvas = await page.$(".steering canvas");
  await canvas.focus();
  const state = () => page.evaluate(() => ({ root: [...steering.characters[0].place], asked: steering.asked, yaw: steering.camera.yaw, steps: steering.steps }));
  // Waits for the given number of further steps of the character, and returns the state after them.
  const later = async steps => {
    const { steps: from } = await state();
    for (let k = 0; k < 600 && (await state()).steps < from + steps; k++) await wait(100);
    const after = await state();
    assert.ok(after.steps >= from + steps, "it walks");
    return after;
  };
  // Holds a key for four seconds of the character's time. Returns the cosine between its way over
  // the last two seconds and the command.
  const held = async (key, check) => {
    await page.keyboard.down(key);
    const [turned, after] = [await later(60), await later(60)];
    await page.keyboard.up(key);
    check(after);
    const [x, z] = [0, 1].map(i => after.root[i] - turned.root[i]), [direction, speed] = after.asked;
    assert.ok(speed > 0 && Math.hypot(x, z) > 1e-4, "its root moves");
    return (x * Math.cos(direction) + z * Math.sin(direction)) / Math.hypot(x, z);
  };
  const near = (a, b) => assert.ok(Math.abs(Math.atan2(Math.sin(a - b), Math.cos(a - b))) < 1e-6, `asked for ${a}, not ${b}`);
  // The direction away from the viewer: the camera looks along (-cos yaw, -sin yaw).
  const ahead = s => Math.atan2(-Math.cos(s.yaw), -Math.sin(s.yaw));
  const ways = [
    await held("ArrowUp", after => near(after.asked[0], ahead(after))),
    await held("ArrowDown", after => near(after.asked[0], ahead(after) + Math.PI)),
    await held("ArrowRight", after => near(after.asked[0], ahead(after) + Math.PI / 2)),
    await held("ArrowLeft", after => near(after.asked[0], ahead(after) - Math.PI / 2)),
  ];
  console.log(`cosine between its way and what was asked for: ${ways.map(x => x.toFixed(2)).join(", ")}`);
  assert.ok(ways.reduce((sum, x) => sum + x) / ways.length > 0.5, "it walks that way");
  const before = await state();
  await page.keyboard.down("q");
  const after = await later(12);
  await page.keyboard.up("q");
  assert.ok(after.yaw > before.yaw && after.asked[1] === 0, "the view turns, nothing is asked for");
  writeFileSync(picture, await canvas.screenshot());
  assert.deepEqual(said, []);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
