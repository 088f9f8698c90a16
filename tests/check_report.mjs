// Opens a report in a headless browser and uses its player as a person would. Nothing is fetched,
// the console stays silent, and the picture moves. Keys, mouse and touch have their effects, and
// the page fits the width of a phone.
//   PUPPETEER=.../puppeteer-core.js node check_report.mjs BROWSER REPORT PICTURES
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [browserPath, report, pictures] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(resolve(process.env.PUPPETEER)));
mkdirSync(pictures, { recursive: true });
const profile = mkdtempSync(join(tmpdir(), "report-"));
const browser = await puppeteer.launch({
  executablePath: browserPath,
  userDataDir: profile,
  args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const wait = ms => new Promise(done => setTimeout(done, ms));

// Opens the report in a window with these properties, runs `use` on it, and takes a picture.
async function open({ width, height, scheme, phone }, use) {
  const page = await browser.newPage(), said = [];
  page.on("console", message => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", error => said.push(`error: ${error.message}`));
  page.on("request", request => /^(file|data|blob):/.test(request.url()) || said.push(`asks for ${request.url()}`));
  await page.setViewport({ width, height, isMobile: phone, hasTouch: phone });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }]);
  await page.goto(pathToFileURL(resolve(report)).href);
  await page.waitForSelector(".player canvas");
  await wait(500);
  await use(page);
  const { scroll, shown } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, shown: innerWidth }));
  assert.ok(scroll <= shown && shown === width, `the page is ${scroll} pixels wide in a window of ${shown}`);
  writeFileSync(join(pictures, `${width}-${scheme}.png`), await page.screenshot({ fullPage: true }));
  assert.deepEqual(said, []);
  await page.close();
}

const canvasPicture = async page => (await page.$(".player canvas")).screenshot({ encoding: "base64" });
// Share of the canvas's pixels that changed since `before`.
async function changed(page, before) {
  return page.evaluate(async (...pictures) => {
    const [a, b] = await Promise.all(pictures.map(async picture => {
      const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
      const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, image.width, image.height).data;
    }));
    let count = 0;
    for (let i = 0; i < a.length; i += 4) count += Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2]) > 24;
    return count / (a.length / 4);
  }, before, await canvasPicture(page));
}
const clock = page => page.$eval(".player .clock", clock => parseFloat(clock.textContent));

// Waits until the last input has been drawn.
const drawn = page => page.evaluate(() => new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 150)));

// Waits until the clock is past a time. A slow machine draws few pictures, but its clock still runs
// in seconds.
async function passes(page, time) {
  for (let k = 0; k < 100 && await clock(page) <= time; k++) await wait(100);
  assert.ok(await clock(page) > time, "playing takes time on");
}

async function useWithMouseAndKeys(page) {
  const canvas = await (await page.$(".player canvas")).boundingBox(), scrub = await (await page.$(".player .scrub")).boundingBox();
  const middle = [canvas.x + canvas.width / 2, canvas.y + canvas.height / 2];
  let before = await canvasPicture(page);
  const moves = async (what, least = 0.003) => {
    await drawn(page);
    const share = await changed(page, before);
    assert.ok(share > least, `${what}: ${(100 * share).toFixed(2)} % of the pixels changed`);
    console.log(`${what}: ${(100 * share).toFixed(1)} % of the pixels changed`);
    before = await canvasPicture(page);
  };
  assert.equal(await clock(page), 0, "with reduced motion nothing plays by itself");
  await page.mouse.click(scrub.x + scrub.width / 2, scrub.y + scrub.height / 2);
  await drawn(page);
  const length = await page.$eval(".player .scrub", scrub => Number(scrub.max)), half = await clock(page);
  assert.ok(Math.abs(half - length / 2) < 0.05 * length, `a click in the middle of ${length} s goes to ${half} s`);
  await moves("scrubbing");

  await page.mouse.click(...middle);
  await page.keyboard.press("Space");
  await passes(page, half + 0.3);
  await page.keyboard.press("Space");
  await moves("playing");
  const at = await clock(page);
  await wait(300);
  assert.equal(await clock(page), at, "paused");
  await page.keyboard.press("ArrowRight");
  await drawn(page);
  assert.ok(Math.abs(await clock(page) - at - 1 / 30) < 0.03, "a frame on");
  await page.keyboard.press("Home");
  await drawn(page);
  assert.equal(await clock(page), 0);
  await moves("home");

  await page.mouse.move(...middle);
  await page.mouse.down();
  await page.mouse.move(middle[0] + 120, middle[1] + 30, { steps: 4 });
  await page.mouse.up();
  await moves("turning with the mouse");
  await page.mouse.wheel({ deltaY: -400 });
  await moves("zooming with the wheel");
  await page.mouse.move(...middle);
  await page.mouse.down({ button: "right" });
  await page.mouse.move(middle[0] + 60, middle[1], { steps: 4 });
  await page.mouse.up({ button: "right" });
  await moves("moving with the right button");
  await page.keyboard.press("v");
  await moves("another view");
  const panels = () => page.$$eval(".player .label", labels => labels.length);
  const tracks = await page.$$eval(".player .chips button", chips => chips.length);
  assert.equal(await panels(), tracks);
  await page.keyboard.press("m");
  assert.equal(await panels(), 1, "all together");
  await page.keyboard.press("m");
  await page.keyboard.press("1");
  assert.equal(await panels(), tracks - 1, "hidden");
  await page.keyboard.press("1");
  await page.keyboard.press("Home");
  await page.keyboard.press("v");
  if (await page.$$eval(".player select", ([start]) => start.length > 1)) {
    before = await canvasPicture(page);
    await page.keyboard.press("n");
    await moves("the next start");
  }
}

async function useWithAFinger(page) {
  // Clips have the names of their files, which may be long.
  await page.$eval(".player option", option => { option.textContent = "a_long_name_of_a_file_that_somebody_recorded_001 (held out)"; });
  // Measurements that are missing are replaced by words.
  await page.$$eval("td", cells => cells.forEach(cell => { cell.textContent = "no clip, or too short ones"; }));
  const canvas = await (await page.$(".player canvas")).boundingBox();
  await page.evaluate(y => scrollTo(0, y - 20), canvas.y);
  const [x, y] = [canvas.x + canvas.width / 2, 20 + canvas.height / 2], before = await canvasPicture(page);
  await page.touchscreen.touchStart(x - 60, y);
  for (let k = -50; k <= 60; k += 10) await page.touchscreen.touchMove(x + k, y);
  await page.touchscreen.touchEnd();
  await drawn(page);
  assert.ok(await changed(page, before) > 0.003, "a finger turns");
  await page.tap(".player .timeline button");
  await passes(page, 0.1);
}

try {
  await open({ width: 1240, height: 1000, scheme: "light", phone: false }, useWithMouseAndKeys);
  await open({ width: 1240, height: 1000, scheme: "dark", phone: false }, async () => {});
  await open({ width: 320, height: 640, scheme: "light", phone: true }, useWithAFinger);
  await open({ width: 320, height: 640, scheme: "dark", phone: true }, async () => {});
  console.log(`the report stands; pictures in ${pictures}`);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
