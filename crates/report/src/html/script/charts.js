// What each layer adds and passes on.
function layerChart() {
  const section = byId("layers"), split = record.layers;
  if (!split) { section.remove(); return; }
  const steps = split.steps, all = steps.map((_, i) => i), most = Math.max(...steps.map(s => Math.max(s.output, s.fresh)), 1e-300);
  const name = i => steps[i].layer === null ? "head" : String(steps[i].layer);
  const at = chart(section, "fresh drift and output drift by layer", { height: 210 }, { range: [-0.5, all.length - 0.5], ticks: every(all, 16), name },
    { range: [0, most], ticks: rounded(most), name: percent });
  const width = 0.62 * (at.end - at.left) / all.length;
  let rho = steps[0].input;
  const predicted = steps.map((s, i) => [i, rho = Math.hypot(s.fresh, (s.gain ?? 0) * rho)]);
  steps.forEach((s, i) => bar(at, "accent faint", at.x(i) - width / 2, width, s.fresh,
    `${s.layer === null ? "head" : `layer ${s.layer}`}: adds ${percent(s.fresh)}, gain ${number(s.gain)}, cosine ${number(s.cosine)}, out ${percent(s.output)}`));
  line(at, "b", steps.map((s, i) => [i, s.output]));
  line(at, "soft dashed", predicted);
  legend(section, [["accent", "fresh: made in this layer"], ["b", "drift that comes out"], ["soft", "by ρ′² = a²ρ² + n² alone"]]);
  if (words.recursion) make(section, "p", { class: "hint" }, words.recursion);
}

// Both sides' error against f64, in execution order.
function oracleChart() {
  const section = byId("oracle"), budget = record.budget;
  if (!budget) { section.remove(); return; }
  const log = d => d && d.relative_l2 > 0 ? Math.log10(d.relative_l2) : NaN;
  const lines = [["a", record.sites.map((s, i) => [i, log(s.a_oracle)])], ["b", record.sites.map((s, i) => [i, log(s.b_oracle)])]];
  const seen = lines.flatMap(([, points]) => points.map(p => p[1])).filter(Number.isFinite);
  if (seen.length) {
    const range = [Math.floor(Math.min(...seen)), Math.ceil(Math.max(...seen))];
    const starts = record.sites.flatMap((s, i) => s.layer !== null && record.sites[i - 1]?.layer !== s.layer ? [i] : []);
    const at = chart(section, "error against the oracle in execution order", { height: 210 }, { range: [0, record.sites.length - 1],
      ticks: every(starts, 16), name: i => String(record.sites[i].layer), title: "layer" },
      { range, ticks: Array.from({ length: range[1] - range[0] + 1 }, (_, i) => range[0] + i).filter((_, i, a) => a.length < 7 || i % 2 === 0),
        name: e => e >= -5 ? percent(10 ** e) : `1e${e}` });
    lines.forEach(([side, points]) => line(at, side, points));
  }
  legend(section, [["a", `A: ${record.a.path}`], ["b", `B: ${record.b.path}`]]);
  rowsOf(section, ["", `at ${budget.a.end_site}`, "median", "largest", "at", "closer at"], [["A", budget.a], ["B", budget.b]].map(([name, side]) =>
    [name, percent(side.end), percent(side.median), percent(side.worst), side.worst_site, `${side.closer} of ${budget.sites} sites`]));
}

function logitChart() {
  const section = byId("logits"), drift = record.logits;
  if (!drift || drift.by_position.length === 0) { section.remove(); return; }
  const all = drift.by_position, ticks = every(all.map(p => p.position), 24);
  const x = { range: [all[0].position - 0.5, all[all.length - 1].position + 0.5], ticks, name: String, title: "position" };
  const panel = (label, value, name, kind) => {
    make(section, "h3", {}, label);
    const most = Math.max(...all.map(value), 1e-300);
    const at = chart(section, label, { width: 1300, height: 130 }, x, { range: [0, most], ticks: rounded(most, 2), name });
    const width = 0.7 * (at.end - at.left) / all.length;
    all.forEach(p => {
      const says = `position ${p.position}: KL ${number(p.kl)} nats, A's margin ${number(p.reference_margin)}`;
      bar(at, kind, at.x(p.position) - width / 2, width, value(p), says);
      if (!p.top1_equal) make(make(at.svg, "circle", { class: "flip", cx: at.x(p.position), cy: at.base + 5, r: 3.5 }), "title", {}, `flip: ${says}`);
    });
  };
  panel("KL divergence of B from A, nats", p => p.kl, number, "accent");
  panel("A's margin between its two most likely tokens, logits", p => p.reference_margin, number, "a faint");
  const flips = all.filter(p => !p.top1_equal).map(p => p.position);
  legend(section, [["flip", `most likely token differs at ${flips.length} of ${all.length} positions${flips.length ? `: ${flips.slice(0, 20).join(", ")}` : ""}`]]);
}
