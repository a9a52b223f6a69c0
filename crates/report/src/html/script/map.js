// What the colours can show: a name, and a relative drift of a site or nothing.
const modes = [
  ["total", site => site.drift.relative_l2],
  ["made here", site => site.split?.made_here],
  ["inherited", site => site.split?.inherited],
  ["unexplained part", site => site.split?.unexplained],
  ["A against oracle", site => site.a_oracle?.relative_l2],
  ["B against oracle", site => site.b_oracle?.relative_l2],
].filter(([, value]) => record.sites.some(site => known(value(site))));

// Relative drifts run over many powers of ten: the scale is logarithmic, over what the mode has, at least one power of ten.
// Lightness changes evenly, so that the order shows without colour too; it runs away from the background.
let low = -8, high = 0;
function fit(mode) {
  const sizes = record.sites.map(mode[1]).filter(x => x > 0).map(Math.log10);
  [low, high] = sizes.length ? [Math.min(...sizes), Math.max(...sizes)] : [-8, 0];
  if (high - low < 1) [low, high] = [(low + high - 1) / 2, (low + high + 1) / 2];
  const scale = byId("scale"), stops = Array.from({ length: 9 }, (_, i) => shade(i / 8));
  scale.replaceChildren();
  make(scale, "span", {}, percent(10 ** low));
  make(scale, "i").style.background = `linear-gradient(to right in oklab, ${stops.join(", ")})`;
  make(scale, "span", {}, `${percent(10 ** high)}  of the value's norm, logarithmic; blank: exactly equal`);
}

function shade(t) {
  const colour = (from, to, chroma) => `oklch(${from + (to - from) * t}% ${0.03 + chroma * t} ${245 + 135 * t})`;
  return `light-dark(${colour(94, 44, 0.16)}, ${colour(26, 80, 0.13)})`;
}

function colour(x) {
  if (!known(x)) return "transparent";
  return x === 0 ? "var(--paper)" : shade(Math.min(1, Math.max(0, (Math.log10(x) - low) / (high - low))));
}

const points = [];
for (const site of record.sites) if (!points.includes(site.point)) points.push(site.point);
const layers = Math.max(0, ...record.sites.map(site => site.layer ?? -1)) + 1;
// The embedding stands before the layers, the head after them.
const columnOf = site => site.layer === null ? (site.point === "embed" ? 0 : layers + 1) : site.layer + 1;
const cells = new Map();

function map(mode) {
  const svg = byId("map"), chosen = document.querySelector(".cell.chosen")?.dataset.site;
  svg.replaceChildren();
  cells.clear();
  fit(mode);
  const size = layers > 40 ? 13 : layers > 16 ? 19 : 26, left = 104, top = 20, rows = 19 > size ? 17 : 20;
  svg.setAttribute("width", left + (layers + 2) * size + 6);
  svg.setAttribute("height", top + points.length * rows + 4);
  const head = (column, text) => make(svg, "text", { x: left + column * size + size / 2, y: 13, "text-anchor": "middle" }, text);
  for (let layer = 0; layer < layers; layer += layers > 16 ? 4 : 1) head(layer + 1, String(layer));
  points.forEach((point, row) => {
    make(svg, "text", { x: left - 8, y: top + row * rows + rows * 0.7, "text-anchor": "end" }, point);
  });
  for (const site of record.sites) {
    const value = mode[1](site);
    const box = { x: left + columnOf(site) * size + 1, y: top + points.indexOf(site.point) * rows + 1, width: size - 2,
      height: rows - 2, rx: 3 };
    const cell = make(svg, "rect", { ...box, class: "cell", tabindex: -1, "data-site": site.site });
    cell.style.fill = colour(value);
    make(cell, "title", {}, `${site.site}: ${percent(value)}${site.verdict ? `, ${site.verdict.verdict.replace("_", " ")}` : ""}`);
    const mark = site.verdict ? tone(site.verdict) : "good";
    if (mark !== "good") make(svg, "rect", { ...box, class: `mark ${mark}` });
    cell.addEventListener("click", () => choose(site));
    cells.set(site.site, cell);
  }
  if (chosen) cells.get(chosen)?.classList.add("chosen");
}

function choose(site) {
  document.querySelectorAll(".cell.chosen").forEach(other => other.classList.remove("chosen"));
  cells.get(site.site)?.classList.add("chosen");
  cells.forEach((cell, name) => cell.setAttribute("tabindex", name === site.site ? 0 : -1));
  show(site);
}

// Arrow keys walk to the next cell that exists.
byId("map").addEventListener("keydown", event => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const here = record.sites.find(site => site.site === event.target.dataset?.site);
  if (!step || !here) return;
  event.preventDefault();
  let [column, row] = [columnOf(here), points.indexOf(here.point)];
  while (column >= 0 && column <= layers + 1 && row >= 0 && row < points.length) {
    [column, row] = [column + step[0], row + step[1]];
    const next = record.sites.find(site => columnOf(site) === column && points.indexOf(site.point) === row);
    if (next) { choose(next); cells.get(next.site).focus(); return; }
  }
});

function heat() {
  const group = byId("modes");
  modes.forEach((mode, i) => {
    const button = make(group, "button", { type: "button", "aria-pressed": String(i === 0) }, mode[0]);
    button.addEventListener("click", () => {
      group.querySelectorAll("button").forEach(other => other.setAttribute("aria-pressed", String(other === button)));
      map(mode);
    });
  });
  if (modes.length === 0) { byId("heat").remove(); byId("detail").remove(); return; }
  map(modes[0]);
  const made = site => site.split?.made_here ?? site.drift.relative_l2 ?? 0;
  const first = record.sites.find(site => site.verdict?.verdict === "unexplained");
  const large = record.warnings.find(warning => warning.kind === "large_token");
  choose(first ?? record.sites.find(site => site.site === large?.site) ?? record.sites.reduce((a, b) => made(b) > made(a) ? b : a));
}
