// The page of a run that goes on: it reloads when there is a new report, unless somebody is at work
// in it. A page that is served (`--serve`) has buttons and a line of progress, too. A report that
// is older than a few intervals belongs to a run that ended or was killed.
const atWork = () => document.hidden || (document.activeElement && document.activeElement !== document.body);

// Reloads the page as soon as nobody is at work in it. A server that has ended leaves the page.
async function reload() {
  if (atWork()) setTimeout(reload, 2000);
  else if (location.protocol === "file:" || await fetch(location.href).then(({ ok }) => ok, () => false)) location.reload();
}

// Shows the progress of a run that is served, and two buttons.
function follow() {
  const box = html("div", "live card", document.body), words = html("span", "", box, "connecting");
  const button = (name, path, question) => html("button", "", box, name).addEventListener("click", async event => {
    event.target.blur();
    if (question && !confirm(question)) return;
    words.textContent = await (await fetch(path + location.search, { method: "POST" })).text();
  });
  button("Checkpoint", "/checkpoint");
  button("Stop", "/stop", "Stop the training? Everything is saved, and --resume goes on with it.");
  const events = new EventSource("/events" + location.search);
  let shown = Number(document.documentElement.dataset.number ?? 0);
  events.addEventListener("message", ({ data }) => {
    const { pages, progress } = JSON.parse(data), { done = 0, remaining = "?", line = "" } = progress ?? {};
    words.textContent = `${(100 * done).toFixed(0)} %, ${remaining} to go. ${line}`;
    if (pages > shown) reload();
    shown = pages;
  });
  events.addEventListener("error", () => { words.textContent = "The training has ended or cannot be reached; its folder has the last report."; });
}

if (location.protocol.startsWith("http") && location.search.includes("token=")) follow();
else {
  const renewed = JSON.parse(at("renewed").textContent);
  if (renewed && Date.now() / 1000 - renewed.at < 10 * renewed.every + 60) setTimeout(reload, 1000 * renewed.every);
}
