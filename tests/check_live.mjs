// Follows a training in a headless browser, as `train --serve` shows it. The page has the progress,
// renews itself with more epochs and a character, and its buttons write a checkpoint and stop.
//   PUPPETEER=.../puppeteer-core.js node check_live.mjs BROWSER RUNS PICTURE
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [browserPath, runs, picture] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(resolve(process.env.PUPPETEER)));
mkdirSync(dirname(picture), { recursive: true });
const wait = ms => new Promise(done => setTimeout(done, ms));

// Far more epochs than are waited for: the button ends them.
const command = ["run", "-q", "--", "train", "--serve=0", "--runs", runs, "--name", "live", "--hidden-size", "32",
  "--latent-size", "8", "--minibatches", "40", "--teacher-epochs", "1", "--ramp-epochs", "1", "--student-epochs", "5000",
  "--checkpoint-every", "0"];
const training = spawn("cargo", command, { stdio: ["ignore", "ignore", "pipe"], detached: true });
const ended = new Promise(done => training.on("exit", done));
let said = "";
training.stderr.on("data", text => { said += text; });
// Waits up to five minutes until `what` gives something, and returns it.
const until = async (what, of) => {
  for (let k = 0; k < 3000; k++, await wait(100)) {
    const found = await of().catch(() => null);  // a page that reloads answers nothing
    if (found) return found;
    assert.ok(training.exitCode === null, `the training ended before ${what}: ${said}`);
  }
  assert.fail(`waited too long for ${what}: ${said}`);
};

const profile = mkdtempSync(join(tmpdir(), "live-"));
const browser = await puppeteer.launch({
  executablePath: browserPath,
  userDataDir: profile,
  args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
try {
  const url = await until("its address is printed", async () => said.match(/http:\/\/127\.0\.0\.1:\d+\/\?token=\w+/)?.[0]);
  assert.equal((await fetch(url.split("?")[0])).status, 403);
  const page = await browser.newPage();
  page.on("dialog", dialog => dialog.accept());
  await page.setViewport({ width: 1000, height: 900 });
  const ask = script => page.evaluate(script);
  await until("there is a report", async () => (await page.goto(url)).ok() && ask("!!document.querySelector('.live')"));
  const line = () => ask("document.querySelector('.live span').textContent");
  const progress = await until("the page shows the progress", async () => (await line()).match(/^\d+ %, .* to go\. .*epoch \d+/)?.[0]);
  console.log(`the page says: ${progress}`);
  const epochs = () => ask("JSON.parse(document.getElementById('data').textContent).epoch.length");
  const first = await until("a report of epochs", epochs);
  await until("the page renews itself", async () => await epochs() > first);
  await until("a character walks", () => ask("!!document.querySelector('#player canvas')"));

  const press = name => ask(`[...document.querySelectorAll('.live button')].find(b => b.textContent === '${name}').click()`);
  const last = join(runs, "live/checkpoints/last.safetensors"), begun = Date.now();
  await until("the button is pressed", async () => { await press("Checkpoint"); return true; });
  await until("a checkpoint is written", async () => existsSync(last) && statSync(last).mtimeMs > begun);
  writeFileSync(picture, await until("a picture", () => page.screenshot()));
  await until("the button is pressed", async () => { await press("Stop"); return true; });
  const code = await Promise.race([ended, wait(60000)]);
  assert.equal(code, 130, `the button stops the training: ${said}`);
  // The page takes the last report, if the server is still there, and says that it has ended.
  let words = "";
  for (let k = 0; k < 600 && !/has ended/.test(words); k++, await wait(100)) words = await line().catch(() => "");
  assert.match(words, /has ended/);
  console.log("the page renewed itself; its buttons wrote a checkpoint and stopped the training");
} finally {
  if (training.exitCode === null) process.kill(-training.pid, "SIGKILL");
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
