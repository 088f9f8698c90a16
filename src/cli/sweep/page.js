// The page of a sweep: for models and for controllers a drawing with an axis for each key and
// measure, and a table with the gate's rows. Both are in the order of a measure that is chosen.
const data = JSON.parse(document.getElementById("data").textContent);

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  Object.assign(element, attributes);
  element.append(...children);
  return element;
};
const draw = (tag, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
};
const isNumber = value => typeof value === "number" && isFinite(value);
const said = value => !isNumber(value) ? value ?? "-" : Number.isInteger(value) ? `${value}` : `${+value.toPrecision(4)}`;

// Places values on an axis from 0 to 1: numbers evenly, or by their logarithms where they spread
// over more than a decade; words in their order. Also returns the marks, as place and word.
function scale(values) {
  const there = values.filter(value => value !== null && value !== undefined);
  if (there.every(isNumber)) {
    const [least, most] = [Math.min(...there), Math.max(...there)], log = least > 0 && most / least > 10;
    const of = x => log ? Math.log(x) : x, span = of(most) - of(least) || 1;
    const place = x => isNumber(x) ? most > least ? (of(x) - of(least)) / span : 0.5 : null;
    const few = [...new Set(there)].sort((a, b) => a - b);
    return { place, marks: (few.length > 6 ? [least, most] : few).map(x => [place(x), said(x)]) };
  }
  const words = [...new Set(there.map(String))].sort();
  const place = x => x === null || x === undefined ? null : words.length > 1 ? words.indexOf(String(x)) / (words.length - 1) : 0.5;
  return { place, marks: words.map(word => [place(word), word]) };
}

// The drawing and the table of the runs of one kind.
function show(kind, runs, into) {
  const keys = [...new Set(runs.flatMap(run => Object.keys(run.keys)))];
  const measures = [...new Set(runs.flatMap(run => Object.keys(run.measures ?? {})))];
  const gates = [...new Set(runs.flatMap(run => (run.gate ?? []).map(verdict => verdict.name)))];
  const usual = [data.measure, "skate", "skate_of_data", "step_reward"].find(name => measures.includes(name)) ?? measures[0];
  const by = make("select", {}, ...measures.map(name => make("option", { value: name, selected: name === usual }, name)));
  const largest = make("input", { type: "checkbox" });
  const shown = new Set([...keys, usual]);
  const more = measures.map(name => {
    const box = make("input", { type: "checkbox", checked: shown.has(name) });
    box.onchange = () => { shown[box.checked ? "add" : "delete"](name); update(); };
    return [name, make("label", {}, box, ` ${name}`)];
  });
  const drawing = make("div", { className: "card" }), table = make("div", { className: "card scroll" });
  const value = (run, name) => name in run.keys ? run.keys[name] : run.measures?.[name] ?? null;
  const near = on => name => into.querySelectorAll("[data-run]").forEach(part => {
    part.classList.toggle("near", on && part.dataset.run === name);
    if (part.tagName === "path") part.parentNode.classList.toggle("near", on);
  });
  const follow = (part, run) => {
    part.dataset.run = run.run;
    part.onpointerenter = () => near(true)(run.run);
    part.onpointerleave = () => near(false)(run.run);
    return part;
  };

  function update() {
    const sign = largest.checked ? -1 : 1, of = run => isNumber(value(run, by.value)) ? sign * value(run, by.value) : Infinity;
    const order = [...runs].sort((a, b) => of(a) - of(b) || 0);
    const axes = [...keys, ...measures].filter(name => shown.has(name) || name === by.value);
    const [width, height, left, top] = [1180, 300, 70, 34], step = (width - 2 * left) / Math.max(axes.length - 1, 1);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height + 2 * top}`, role: "img" }), lines = draw("g", { class: "lines" });
    const x = i => left + i * step, y = place => top + (1 - place) * height;
    const scales = axes.map(name => scale(runs.map(run => value(run, name))));
    order.forEach((run, rank) => {
      const points = scales.map((scale, i) => [i, scale.place(value(run, axes[i]))]).filter(([, place]) => place !== null);
      const path = points.map(([i, place], n) => `${n ? "L" : "M"}${x(i)},${y(place)}`).join("");
      const share = Math.round(100 * (1 - rank / Math.max(order.length - 1, 1)));
      const stroke = `color-mix(in oklab, var(--s0) ${share}%, var(--s1))`;
      const line = follow(draw("path", { d: path, style: `stroke:${stroke}` }), run);
      line.append(draw("title", {}, `${run.run}: ${by.value} ${said(value(run, by.value))}`));
      lines.prepend(line); // the best lies on top
    });
    svg.append(lines);
    axes.forEach((name, i) => {
      svg.append(draw("line", { class: "axis", x1: x(i), x2: x(i), y1: top, y2: top + height }));
      svg.append(draw("text", { x: x(i), y: 14, "text-anchor": "middle" }, name));
      let last = Infinity;
      for (const [place, word] of [...scales[i].marks].sort((a, b) => a[0] - b[0])) {
        if (last - y(place) < 13) continue; // marks do not cover one another
        svg.append(draw("text", { class: "mark", x: x(i) + 4, y: (last = y(place)) + 4 }, word));
      }
    });
    drawing.replaceChildren(svg);

    const head = make("tr", {}, ...["run", kind === "model" ? "epochs" : "updates", by.value, ...gates].map(name => make("th", {}, name)));
    const body = order.map(run => {
      const verdicts = new Map((run.gate ?? []).map(verdict => [verdict.name, verdict]));
      const cell = (text, bad) => make("td", { className: bad ? "bad" : "" }, said(text));
      return follow(make("tr", {}, make("th", {}, run.run), cell(`${run.done}/${run.all}${run.failed ? ", failed" : ""}`, run.failed),
        cell(value(run, by.value)), ...gates.map(name => cell(verdicts.get(name)?.value, verdicts.get(name)?.met === false))), run);
    });
    table.replaceChildren(make("table", {}, head, ...body));
  }

  by.onchange = () => { largest.checked = data.largest[by.value] ?? true; update(); };
  largest.onchange = update;
  into.append(make("h2", {}, kind === "model" ? "Models" : "Controllers"));
  if (measures.length) {
    largest.checked = data.largest[usual] ?? true;
    into.append(make("div", { className: "choices" }, make("label", {}, "Best by ", by), make("label", {}, largest, " largest first")));
    into.append(make("div", { className: "choices" }, "Axes:", ...more.map(([, label]) => label)));
  }
  into.append(drawing, make("p", { className: "soft" }, "Numbers of the gate; red ones do not meet their threshold."), table);
  update();
}

for (const kind of ["model", "controller"]) {
  const runs = data.runs.filter(run => run.kind === kind && run.measures);
  const into = make("section");
  document.getElementById("kinds").append(into);
  if (runs.length) show(kind, runs, into);
}
