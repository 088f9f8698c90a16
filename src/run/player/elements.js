// Elements and colours of a page.

// A new element below `parent`.
function html(tag, className, parent, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

// The colours of the page, as [r, g, b] from 0 to 1; those of tracks by their kind.
function readPalette(element) {
  const style = getComputedStyle(element);
  const colour = name => style.getPropertyValue(`--${name}`).trim().match(/[0-9a-f]{2}/gi).map(x => parseInt(x, 16) / 255);
  const names = ["background", "floor", "line", "data", "reconstruction", "walk", "controlled", "task", "contact"];
  return { ...Object.fromEntries(names.map(name => [name, colour(`scene-${name}`)])), shade: Number(style.getPropertyValue("--scene-shade")) };
}
