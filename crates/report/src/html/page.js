"use strict";
const record = JSON.parse(document.getElementById("record").textContent);
const svgSpace = "http://www.w3.org/2000/svg";

function make(parent, name, attributes = {}, text = "") {
  const svg = parent.namespaceURI === svgSpace;
  const node = svg ? document.createElementNS(svgSpace, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== "") node.textContent = text;
  parent.append(node);
  return node;
}

function number(x) {
  if (x === null || x === undefined) return "–";
  if (x === 0) return "0";
  return Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4 ? x.toPrecision(3) : x.toExponential(2);
}

function pairs(list, rows) {
  for (const [name, value] of rows) { make(list, "dt", {}, name); make(list, "dd", {}, String(value)); }
}

// What the colours can show: a name, and a relative drift of a site or nothing.
const modes = [
  ["total", site => site.drift.relative_l2],
  ["made here", site => site.split?.made_here],
  ["inherited", site => site.split?.inherited],
  ["unexplained", site => site.split?.unexplained],
  ["A against oracle", site => site.a_oracle?.relative_l2],
  ["B against oracle", site => site.b_oracle?.relative_l2],
].filter(([, value]) => record.sites.some(site => typeof value(site) === "number"));

// Relative drifts run over many powers of ten: the scale is logarithmic, 1e-8 to 1.
const low = -8, high = 0;
function colour(x) {
  if (typeof x !== "number") return "transparent";
  if (x === 0) return "var(--paper)";
  const t = Math.min(1, Math.max(0, (Math.log10(x) - low) / (high - low)));
  // From pale blue over purple to dark red: lightness falls evenly, so that order shows without colour too.
  return `oklch(${93 - 50 * t}% ${0.04 + 0.15 * t} ${240 + 145 * t})`;
}

function header() {
  const outcome = record.outcome, judgement = record.judgement;
  const why = outcome.reason ?? (outcome.reasons ?? []).join("; ");
  const kind = why || !judgement ? outcome.kind : judgement.verdict.verdict;
  const words = { identical: "Identical: every compared value is equal.",
    explained: "Explained: every value of both sides is what its arithmetic declares, up to f32 rounding.",
    unexplained: `Unexplained: arithmetic does not account for ${judgement?.first_unexplained}.`,
    measured: "Measured: the drift was not judged." };
  const node = document.getElementById("outcome");
  node.textContent = words[kind] ?? `${kind}${why ? `: ${why}` : ""}`;
  node.className = ["identical", "explained"].includes(kind) ? "good" : kind === "unexplained" ? "bad" : "";
  const rows = [
    ["A", `${record.a.label} [${record.a.kernels}]`],
    ["B", `${record.b.label} [${record.b.kernels}]`],
    ["oracle", record.oracle ? `f64 on the weights of ${record.oracle}` : "not run"],
    ["scope", `${record.tokens.length} tokens, all of them, pooled`],
    ["sites", String(record.sites.length)],
  ];
  if (judgement) {
    rows.push(["verdicts", judgement.counts.map(([word, n]) => `${n} ${word}`).join(", ")]);
    rows.push(["judged", `${judgement.judged} of ${judgement.expected} elements; chance of a false alarm at most ${judgement.alpha}`]);
    rows.push(["cost", `${judgement.passes.toFixed(1)} forward passes`]);
  }
  if (record.null) {
    rows.push(["size of the drift", `p = ${number(record.null.p)} among ${record.null.replicates} replicates with random rounding signs (extreme: ${record.null.extreme ?? "none"})`]);
  }
  pairs(document.getElementById("sides"), rows);
}

const points = [];
for (const site of record.sites) if (!points.includes(site.point)) points.push(site.point);
const layers = Math.max(0, ...record.sites.map(site => site.layer ?? -1)) + 1;

function map(mode) {
  const svg = document.getElementById("map");
  svg.replaceChildren();
  const size = layers > 40 ? 14 : 22, left = 110, top = 20;
  // The embedding stands before the layers, the head after them.
  const columns = layers + 2;
  svg.setAttribute("width", left + columns * size + 10);
  svg.setAttribute("height", top + points.length * size + 10);
  for (let layer = 0; layer < layers; layer += layers > 16 ? 4 : 1) {
    make(svg, "text", { x: left + (layer + 1) * size + size / 2, y: 13, "text-anchor": "middle" }, String(layer));
  }
  points.forEach((point, row) => {
    make(svg, "text", { x: left - 8, y: top + row * size + size * 0.7, "text-anchor": "end" }, point);
  });
  for (const site of record.sites) {
    const column = site.layer === null ? (site.point === "embed" ? 0 : columns - 1) : site.layer + 1;
    const value = mode[1](site);
    const cell = make(svg, "rect", { class: "cell", x: left + column * size, y: top + points.indexOf(site.point) * size,
      width: size, height: size, fill: colour(value), tabindex: 0, "data-site": site.site });
    const bad = site.verdict?.verdict === "unexplained";
    if (bad) cell.classList.add("unexplained");
    make(cell, "title", {}, `${site.site}: ${number(value)}${site.verdict ? `, ${site.verdict.verdict}` : ""}`);
    cell.addEventListener("click", () => choose(site, cell));
    cell.addEventListener("keydown", event => { if (event.key === "Enter") choose(site, cell); });
  }
}

function choose(site, cell) {
  document.querySelectorAll(".cell.chosen").forEach(other => other.classList.remove("chosen"));
  cell.classList.add("chosen");
  const detail = document.getElementById("detail");
  detail.replaceChildren();
  make(detail, "h2", {}, site.site + (site.weights ? `  (${site.weights})` : ""));
  const table = make(detail, "table");
  const row = (name, ...cells) => {
    const tr = make(table, "tr");
    make(tr, "th", {}, name);
    for (const cell of cells) make(tr, "td", {}, cell);
  };
  row("", "B against A", "A against oracle", "B against oracle");
  const drifts = [site.drift, site.a_oracle, site.b_oracle];
  const each = f => drifts.map(d => d ? f(d) : "–");
  row("relative L2", ...each(d => number(d.relative_l2)));
  row("SQNR, dB", ...each(d => number(d.sqnr_db)));
  row("cosine", ...each(d => d.cosine === null ? "–" : String(d.cosine)));
  row("max |Δ|", ...each(d => d.peak ? `${number(d.peak.abs)} at position ${d.peak.position}, channel ${d.peak.channel}` : "–"));
  row("compared", ...each(d => `${d.compared} of ${d.expected}`));
  const own = make(detail, "table");
  for (const [name, value] of [["count", s => s.count], ["mean", s => number(s.mean)], ["std", s => number(s.std)],
    ["min", s => number(s.min)], ["max", s => number(s.max)], ["non-finite", s => s.non_finite]]) {
    const tr = make(own, "tr");
    make(tr, "th", {}, name);
    make(tr, "td", {}, `A ${value(site.a)}`);
    make(tr, "td", {}, `B ${value(site.b)}`);
  }
  if (site.split) {
    const split = site.split;
    make(detail, "p", {}, `made here ${number(split.made_here)}, inherited ${number(split.inherited)} (cosine ${number(split.cosine)}, gain ${number(split.gain)}), unexplained ${number(split.unexplained)}; reads ${split.inputs.join(", ")}`);
  }
  for (const [name, local] of [["A", site.a_local], ["B", site.b_local]]) {
    if (local) make(detail, "p", {}, `${name} on its own input: residual ${number(local.relative_l2)}, at most ${number(local.calibrated)} of the calibrated tolerance, ${number(local.probabilistic)} of the probabilistic, ${number(local.rigorous)} of the rigorous one; ${local.judged} elements judged, ${local.convicted} convicted`);
  }
  if (site.verdict) finding(detail, site.verdict);
}

// The verdict, and what names the bug if there is one.
function finding(detail, verdict) {
  const node = make(detail, "p", { class: verdict.verdict === "unexplained" ? "bad" : "good" }, `verdict: ${verdict.verdict.replace("_", " ")}`);
  if (verdict.reason) node.textContent += `: ${verdict.reason}`;
  if (!verdict.finding) return;
  const f = verdict.finding;
  const table = make(detail, "table");
  const rows = [["side", f.side.toUpperCase()], ["worst element", `position ${f.position}, row ${f.row}: ${number(f.value)} where ${number(f.declared)} is declared`],
    ["residual", `${number(f.sigmas)} standard deviations`], ["convicted", `${f.convicted} of ${f.judged} elements, in ${f.rows} rows`]];
  if (f.part) rows.push(["names", `block ${f.part.block}, group ${f.part.group}: ${f.part.what} off by ${f.part.units}`]);
  if (f.contrast) rows.push(["pattern", `${f.contrast.kind}, size ${number(f.contrast.size)}, z ${number(f.contrast.z)}, explains ${number(100 * f.contrast.share)} %`]);
  for (const [name, value] of rows) {
    const tr = make(table, "tr");
    make(tr, "th", {}, name);
    make(tr, "td", {}, value);
  }
}

function logits() {
  const drift = record.logits, svg = document.getElementById("logits");
  if (!drift || drift.by_position.length === 0) { svg.remove(); return; }
  const all = drift.by_position, step = Math.max(6, Math.min(24, 900 / all.length));
  const width = 60 + all.length * step, height = 170, base = 140;
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  const line = (name, value) => {
    const most = Math.max(...all.map(value), 1e-300);
    const y = p => base - 120 * value(p) / most;
    const path = all.map((p, i) => `${i ? "L" : "M"}${55 + i * step},${y(p)}`).join("");
    make(svg, "path", { class: name, d: path });
    return [most, y];
  };
  const [mostKl, y] = line("kl", p => p.kl);
  const [mostMargin] = line("margin", p => p.reference_margin);
  make(svg, "line", { class: "axis", x1: 50, y1: base, x2: width, y2: base });
  make(svg, "text", { x: 0, y: 24 }, number(mostKl));
  make(svg, "text", { x: 0, y: 38 }, "nats");
  make(svg, "text", { x: 55, y: 160 }, `position ${all[0].position} to ${all[all.length - 1].position}; dashed: A's margin, up to ${number(mostMargin)}`);
  all.forEach((p, i) => {
    if (!p.top1_equal) make(make(svg, "circle", { class: "flip", cx: 55 + i * step, cy: y(p), r: 4 }), "title", {}, `flip at ${p.position}`);
  });
  const flips = all.filter(p => !p.top1_equal).map(p => p.position);
  document.getElementById("flips").textContent =
    `KL mean ${number(drift.kl_mean)}, median ${number(drift.kl_median)}, largest ${number(drift.kl_max)} nats; most likely token differs at ${flips.length} of ${all.length} positions` +
    (flips.length ? ` (${flips.slice(0, 20).join(", ")})` : "");
}

header();
const group = document.getElementById("modes");
modes.forEach((mode, i) => {
  const button = make(group, "button", { type: "button", "aria-pressed": String(i === 0) }, mode[0]);
  button.addEventListener("click", () => {
    group.querySelectorAll("button").forEach(other => other.setAttribute("aria-pressed", String(other === button)));
    map(mode);
  });
});
if (modes.length) map(modes[0]);
const scale = document.getElementById("scale");
for (let power = low; power <= high; power += 1) {
  const swatch = make(scale, "i");
  swatch.style.background = colour(10 ** power);
  make(scale, "span", {}, `1e${power}`);
}
logits();
const warnings = document.getElementById("warnings");
for (const warning of record.warnings) make(warnings, "li", {}, JSON.stringify(warning));
if (record.warnings.length === 0) make(warnings, "li", {}, "none");
pairs(document.getElementById("provenance"), [
  ["twinpath", record.provenance.version],
  ["processor", record.provenance.cpu],
  ...record.provenance.files.map(file => [file.path, `${file.bytes} bytes${file.blake3 ? `, BLAKE3 ${file.blake3}` : ""}`]),
  ["tokens", record.tokens.join(", ")],
]);
document.documentElement.dataset.ready = "yes";
