// Charts as SVG: curves over epochs, bars, heat maps. They follow the width of their card.
const HEIGHT = 210, LEFT = 60, RIGHT = 12, TOP = 10, BOTTOM = 38;

function svg(tag, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}
// At most four significant digits.
function show(x, unit) {
  if (x === null) return "not a number";
  const size = Math.abs(x), short = Number(x.toPrecision(4));
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? short.toExponential().replace("e+", "e") : String(short);
  return unit ? `${text} ${unit}` : text;
}

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.999);
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push(Number((k * step).toPrecision(12)));
  return out;
}

// A scale {at(value) in [0, 1], ticks} that holds `values` and `include`, or spans `range` = [low,
// high] when given.
function scale(values, { log, include, range }) {
  if (range) return { at: x => (x - range[0]) / (range[1] - range[0]), ticks: ticks(...range, 4) };
  const shown = values.concat(include || []).filter(x => x !== null && (!log || x > 0));
  let low = shown.length ? Math.min(...shown) : (log ? 0.1 : 0), high = shown.length ? Math.max(...shown) : 1;
  if (!log) {
    if (low === high) { const pad = Math.abs(low) / 2 || 0.5; low -= low === 0 ? 0 : pad; high += pad; }
    const marks = ticks(low, high, 4), step = marks.length > 1 ? marks[1] - marks[0] : high - low;
    low = Math.floor(low / step + 1e-9) * step;
    high = Math.ceil(high / step - 1e-9) * step;
    return { at: x => (x - low) / (high - low), ticks: ticks(low, high, 4) };
  }
  const pad = high / low < 1.5 ? 1.5 : 1.08;
  low /= pad;
  high *= pad;
  const a = Math.log10(low), b = Math.log10(high);
  const every = Math.ceil((b - a) / 5), marks = [];
  for (let k = Math.ceil(a); k <= b; k++) if (k % every === 0) marks.push(10 ** k);
  if (marks.length < 3) {
    marks.length = 0;
    for (let k = Math.floor(a); k <= b; k++)
      for (const m of b - a < 0.8 ? [1, 1.5, 2, 3, 4, 5, 7] : [1, 2, 5]) {
        const mark = m * 10 ** k;
        if (mark >= low && mark <= high) marks.push(Number(mark.toPrecision(3)));
      }
  }
  return { at: x => (Math.log10(x) - a) / (b - a), ticks: marks };
}

// A card with a title, a legend, and a plot that is drawn anew whenever its width changes.
function card(parent, title, legend, wide, draw) {
  const box = html("section", wide ? "card wide" : "card", parent);
  html("h3", "", box, title);
  const entries = html("div", "legend", box);
  for (const [name, colour] of legend) {
    const entry = html("span", "", entries);
    html("i", colour.startsWith("linear") ? "scale" : "", entry).style.background = colour;
    entry.append(name);
  }
  const plot = html("div", "plot", box);
  const redraw = () => {
    const width = plot.clientWidth;
    if (width === 0) return;
    plot.drawnWidth = width;
    plot.replaceChildren();
    draw(plot, svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": title }, plot), width);
  };
  new ResizeObserver(() => plot.clientWidth !== plot.drawnWidth && redraw()).observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

function axes(root, width, y, yLabel, xLabel, bare) {
  for (const value of y.ticks) {
    const py = TOP + (1 - y.at(value)) * (HEIGHT - TOP - BOTTOM);
    if (!bare) svg("line", { x1: LEFT, x2: width - RIGHT, y1: py, y2: py, stroke: "var(--line)", "stroke-opacity": 0.8 }, root);
    svg("text", { x: LEFT - 6, y: py + 4, "text-anchor": "end" }, root, show(value));
  }
  svg("line", { x1: LEFT, x2: width - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, stroke: "var(--soft)" }, root);
  svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, root, xLabel);
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  svg("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, root, yLabel);
}

// Shows the lines of `describe(index, height)` beside the pointer, index being the nearest of
// `count` places, height 0 at the axis and 1 at the top of the plot.
function hover(plot, root, width, count, x, describe) {
  if (count === 0) return;
  const rule = svg("line", { y1: TOP, y2: HEIGHT - BOTTOM, stroke: "var(--soft)", "stroke-dasharray": "3 3", visibility: "hidden" }, root);
  const tip = html("div", "tip", plot);
  tip.hidden = true;
  const move = event => {
    const place = plot.getBoundingClientRect(), pointer = event.clientX - place.left;
    const height = Math.min(Math.max(1 - (event.clientY - place.top - TOP) / (HEIGHT - TOP - BOTTOM), 0), 1);
    let nearest = 0;
    for (let k = 1; k < count; k++) if (Math.abs(x(k) - pointer) < Math.abs(x(nearest) - pointer)) nearest = k;
    rule.setAttribute("x1", x(nearest));
    rule.setAttribute("x2", x(nearest));
    rule.setAttribute("visibility", "visible");
    const [head, ...lines] = describe(nearest, height);
    tip.replaceChildren();
    html("b", "", tip, head);
    for (const [colour, text] of lines) {
      const line = html("div", "", tip);
      html("i", "", line).style.background = colour;
      line.append(text);
    }
    tip.hidden = false;
    const left = x(nearest) + 12;
    tip.style.left = `${Math.max(0, left + tip.offsetWidth > width ? x(nearest) - 12 - tip.offsetWidth : left)}px`;
  };
  const leave = () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); };
  plot.addEventListener("pointermove", move);
  plot.addEventListener("pointerdown", move);
  plot.addEventListener("pointerleave", leave);
}

// Curves over epochs. `series` is a list of [name, values]; a null was not measured, and the line
// continues across it.
function curves(parent, { title, label, series, log, include, range, wide, unit }) {
  series = series.filter(([, values]) => values.some(x => x !== null));
  const colours = series.map((_, s) => `var(--s${s})`);
  const legend = series.length > 1 ? series.map(([name], s) => [name, colours[s]]) : [];
  card(parent, title, legend, wide, (plot, root, width) => {
    const y = scale(series.flatMap(([, values]) => values), { log, include, range });
    const epochs = data.epoch, counted = data.unit, first = epochs[0], last = Math.max(epochs.at(-1), first + 1);
    const x = epoch => LEFT + (epoch - first) / (last - first) * (width - LEFT - RIGHT);
    for (let from = 0, to; data.phase && from < epochs.length; from = to) {
      for (to = from + 1; to < epochs.length && data.phase[to] === data.phase[from];) to++;
      const start = from === 0 ? x(first) : x(epochs[from] - 0.5);
      const end = to === epochs.length ? x(last) : x(epochs[to] - 0.5);
      svg("rect", { x: start, width: end - start, y: TOP, height: HEIGHT - TOP - BOTTOM, fill: `var(--${data.phase[from]})` }, root);
    }
    axes(root, width, y, label, counted);
    for (const epoch of ticks(first, last, Math.min(width / 70, last - first)).filter(Number.isInteger))
      svg("text", { x: x(epoch), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, root, epoch);
    series.forEach(([, values], s) => {
      const points = values.map((value, k) => [value, epochs[k]]).filter(([value]) => value !== null && (!log || value > 0))
        .map(([value, epoch]) => [x(epoch), TOP + (1 - y.at(value)) * (HEIGHT - TOP - BOTTOM)]);
      const path = points.map(([px, py], k) => `${k ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
      svg("path", { d: path, fill: "none", stroke: colours[s], "stroke-width": 1.8, "stroke-linejoin": "round" }, root);
      if (points.length <= 40)
        for (const [cx, cy] of points) svg("circle", { cx, cy, r: 2.4, fill: colours[s] }, root);
    });
    hover(plot, root, width, epochs.length, k => x(epochs[k]), k => [
      `${counted} ${epochs[k]}${data.phase ? `, ${data.phase[k]}` : ""}`,
      ...series.map(([name, values], s) => [colours[s], `${name}: ${show(values[k], unit)}`, values[k]]).filter(([, , value]) => value !== null),
    ]);
  });
}

// One bar an entry, from 0 up or down; a dashed line at `aim`, where bars should end.
function bars(parent, { title, label, xLabel, values, aim, aimName, name, unit }) {
  if (values.length === 0) return;
  const legend = aim === undefined ? [] : [[aimName, "var(--s1)"]];
  card(parent, title, legend, false, (plot, root, width) => {
    const y = scale(values, { include: aim === undefined ? [0] : [0, aim] });
    axes(root, width, y, label, xLabel);
    const slot = (width - LEFT - RIGHT) / values.length, thick = Math.min(slot * 0.72, 46);
    const x = k => LEFT + (k + 0.5) * slot, py = value => TOP + (1 - y.at(value)) * (HEIGHT - TOP - BOTTOM);
    const every = Math.ceil(values.length * 22 / (width - LEFT - RIGHT));
    values.forEach((value, k) => {
      if (k % every === 0) svg("text", { x: x(k), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, root, k);
      if (value === null) return;
      const top = Math.min(py(value), py(0)), height = Math.max(Math.abs(py(value) - py(0)), 1);
      svg("rect", { x: x(k) - thick / 2, width: thick, y: top, height, rx: 1.5, fill: "var(--s0)" }, root);
    });
    if (aim !== undefined)
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: py(aim), y2: py(aim), stroke: "var(--s1)", "stroke-width": 1.6, "stroke-dasharray": "5 4" }, root);
    hover(plot, root, width, values.length, x, k => [`${name} ${k}`, ["var(--s0)", show(values[k], unit)]]);
  });
}

// A heat map: values of several rows (dimensions, experts) over epochs as colours. `values[k][row]`
// belongs to epoch `epochs[k]`. With `middle`, colours show the distance above or below it.
function heat(parent, { title, label, name, epochs, values, middle, unit }) {
  const shown = values.flat().filter(x => x !== null);
  if (shown.length === 0) return;
  const high = Math.max(...shown), reach = Math.max(...shown.map(x => Math.abs(x - (middle ?? 0)))) || 1;
  const legend = middle === undefined ? [[`0 to ${show(high, unit)}`, "linear-gradient(90deg, var(--heat-0), var(--heat-1))"]]
    : [[`${show(middle - reach)} to ${show(middle + reach)}`, "linear-gradient(90deg, var(--heat-2), var(--heat-0), var(--heat-1))"]];
  card(parent, title, legend, false, (plot, root, width) => {
    const rows = values[0].length, style = getComputedStyle(plot), canvas = document.createElement("canvas");
    const [none, more, less] = [0, 1, 2].map(k => style.getPropertyValue(`--heat-${k}`).match(/[0-9a-f]{2}/gi).map(x => parseInt(x, 16)));
    [canvas.width, canvas.height] = [values.length, rows];
    const context = canvas.getContext("2d"), image = context.createImageData(values.length, rows), pixels = image.data;
    values.forEach((column, k) => column.forEach((value, row) => {
      const share = value === null ? 0 : (value - (middle ?? 0)) / reach, end = share < 0 ? less : more;
      const colour = none.map((x, c) => x + Math.abs(share) * (end[c] - x));
      pixels.set([...colour, value === null ? 0 : 255], 4 * ((rows - 1 - row) * values.length + k));
    }));
    context.putImageData(image, 0, 0);
    const [w, h] = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
    svg("image", { href: canvas.toDataURL(), x: LEFT, y: TOP, width: w, height: h, preserveAspectRatio: "none", style: "image-rendering: pixelated" }, root);
    const x = k => LEFT + (k + 0.5) * w / values.length;
    const every = Math.ceil(rows * 15 / h);
    axes(root, width, { ticks: Array.from({ length: rows }, (_, row) => row).filter(row => row % every === 0), at: row => (row + 0.5) / rows }, label, "epoch", true);
    const each = Math.ceil(values.length * 40 / w);
    epochs.forEach((epoch, k) => k % each === 0 && svg("text", { x: x(k), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, root, epoch));
    hover(plot, root, width, values.length, x, (k, height) => {
      const row = Math.min(Math.floor(height * rows), rows - 1);
      return [`epoch ${epochs[k]}`, ["var(--s0)", `${name} ${row}: ${show(values[k][row], unit)}`]];
    });
  });
}
