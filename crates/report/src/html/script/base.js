"use strict";
const { record, words } = JSON.parse(document.getElementById("record").textContent);
const svgSpace = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);

function make(parent, name, attributes = {}, text = "") {
  const inSvg = name === "svg" || (parent.namespaceURI === svgSpace);
  const node = inSvg ? document.createElementNS(svgSpace, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== "") node.textContent = text;
  parent.append(node);
  return node;
}

const known = x => typeof x === "number";

function number(x) {
  if (!known(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 1e-3 && size < 1e4 ? String(Number(x.toPrecision(3))) : x.toExponential(2);
}

// A relative drift as people read it: percent, and a plain number below one in a million.
function percent(x) {
  return known(x) && x >= 1e-6 ? `${number(100 * x)} %` : number(x);
}

const grouped = n => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function pairs(list, rows) {
  for (const [name, value, kind] of rows) {
    make(list, "dt", kind ? { class: kind } : {}, name);
    make(list, "dd", {}, String(value));
  }
}

function tiles(parent, rows) {
  for (const [name, value] of rows) {
    const tile = make(parent, "div", { class: "tile" });
    make(tile, "b", {}, value);
    make(tile, "span", {}, name);
  }
}

function legend(parent, rows) {
  const list = make(parent, "p", { class: "legend" });
  for (const [kind, text] of rows) {
    const item = make(list, "span");
    make(item, "i", { class: kind });
    item.append(text);
  }
}

const tones = { identical: "good", explained: "good", unexplained: "bad" };
const tone = verdict => tones[verdict.verdict] ?? "unsure";

// An empty chart with room for axes. `x` and `y` turn values into places.
function chart(parent, label, { width = 640, height = 190, left = 58, right = 8, top = 10, bottom = 26 }, x, y) {
  const svg = make(parent, "svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": label });
  const place = (v, [low, high], from, to) => from + (high > low ? (v - low) / (high - low) : 0.5) * (to - from);
  const at = {
    svg, x: v => place(v, x.range, left, width - right), y: v => place(v, y.range, height - bottom, top),
    base: height - bottom, left, end: width - right,
  };
  for (const tick of y.ticks) {
    make(svg, "line", { class: "grid", x1: left, x2: at.end, y1: at.y(tick), y2: at.y(tick) });
    make(svg, "text", { x: left - 6, y: at.y(tick) + 4, "text-anchor": "end" }, y.name(tick));
  }
  for (const tick of x.ticks) make(svg, "text", { x: at.x(tick), y: height - bottom + 14, "text-anchor": "middle" }, x.name(tick));
  make(svg, "line", { class: "axis", x1: left, x2: at.end, y1: at.base, y2: at.base });
  if (x.title) make(svg, "text", { x: at.end, y: height - 1, "text-anchor": "end" }, x.title);
  return at;
}

// About `count` round numbers from 0 to `most`.
function rounded(most, count = 4) {
  if (!(most > 0)) return [0];
  const raw = most / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
  const ticks = [];
  for (let i = 0; i * step <= most * 1.0001; i += 1) ticks.push(i * step);
  return ticks;
}

// Every so many of `values`, so that labels do not meet.
const every = (values, most) => values.filter((_, i) => i % Math.ceil(values.length / most) === 0);

function line(at, kind, points) {
  const seen = points.filter(([, y]) => Number.isFinite(y));
  make(at.svg, "polyline", { class: kind, points: seen.map(([x, y]) => `${at.x(x).toFixed(1)},${at.y(y).toFixed(1)}`).join(" ") });
}

function bar(at, kind, x, width, value, title) {
  const node = make(at.svg, "rect", { class: `bar ${kind}`, x: x.toFixed(1), width: Math.max(1, width).toFixed(1),
    y: at.y(value).toFixed(1), height: Math.max(0, at.base - at.y(value)).toFixed(1), rx: 1.5 });
  if (title) make(node, "title", {}, title);
  return node;
}
