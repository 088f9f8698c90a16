// Opens the report of a Joystick controller in a browser without a window and steers as a person would: the page's own pass
// of decoder and policy walks where the program's does, keys and mouse ask for what they say, and the console stays silent.
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

  const most = await page.evaluate(() => steering.tracks.map((_, i) => steering.strays(i, 30)));
  console.log(`after 30 frames the page's characters are ${most.map(x => x.toFixed(4)).join(", ")} m from the program's`);
  assert.ok(most.length > 0 && most.every(x => x < 0.05), "the page's pass is the program's");

  const canvas = await page.$(".steering canvas");
  await canvas.focus();
  const state = () => page.evaluate(() => ({ root: [...steering.walker.root], asked: steering.asked, yaw: steering.camera.yaw, trail: steering.trail.length }));
  // Held until the character has taken a dozen steps of its own.
  const held = async (keys, check) => {
    const before = await state();
    for (const key of keys) await page.keyboard.down(key);
    for (let k = 0; k < 100 && (await state()).trail < Math.min(before.trail + 12, 241); k++) await wait(100);
    const after = await state();
    check(before, after);
    for (const key of keys) await page.keyboard.up(key);
    return after;
  };
  const near = (a, b) => assert.ok(Math.abs(Math.atan2(Math.sin(a - b), Math.cos(a - b))) < 1e-6, `asked for ${a}, not ${b}`);
  // Away from the viewer, to the right of the picture: the camera looks along (-cos yaw, -sin yaw).
  const ahead = s => Math.atan2(-Math.cos(s.yaw), -Math.sin(s.yaw));
  await held(["ArrowUp"], (before, after) => {
    near(after.asked[0], ahead(after));
    assert.ok(after.asked[1] > 0 && after.trail > before.trail, "it walks");
    assert.ok(Math.hypot(after.root[0] - before.root[0], after.root[1] - before.root[1]) > 1e-4, "its root moves");
  });
  await held(["ArrowDown"], (_, after) => near(after.asked[0], ahead(after) + Math.PI));
  await held(["ArrowRight"], (_, after) => near(Math.abs(Math.sin(after.asked[0] - ahead(after))), 1));
  await held(["q"], (before, after) => assert.ok(after.yaw > before.yaw && after.asked[1] === 0, "the view turns, nothing is asked for"));
  writeFileSync(picture, await canvas.screenshot());
  assert.deepEqual(said, []);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
