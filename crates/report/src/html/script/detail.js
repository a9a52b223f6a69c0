// One site: its verdict in words, its drift, the distribution of residuals, its tokens, its massive channels.
function show(site) {
  const detail = byId("detail");
  detail.replaceChildren();
  const title = make(detail, "h2");
  make(title, "code", {}, site.site);
  if (site.weights) title.append(` · ${site.weights}`);
  if (site.verdict) make(title, "span", { class: `chip ${tone(site.verdict)}` }, site.verdict.verdict.replace("_", " "));
  const says = words.sentences[site.site];
  if (says) make(detail, "p", { class: `says ${site.verdict?.verdict === "unexplained" ? "bad" : ""}` }, says);
  const split = site.split;
  const rows = [["total drift", percent(site.drift.relative_l2)]];
  if (split) rows.push(["made here", percent(split.made_here)], ["inherited", percent(split.inherited)], ["gain", number(split.gain)],
    ["unexplained part", percent(split.unexplained)]);
  if (site.a_oracle) rows.push(["A against oracle", percent(site.a_oracle.relative_l2)], ["B against oracle", percent(site.b_oracle?.relative_l2)]);
  tiles(make(detail, "div", { class: "tiles" }), rows);
  residuals(detail, site);
  statistics(detail, site.statistical);
  tokens(detail, record.profiles.find(profile => profile.site === site.site));
  numbers(detail, site);
}

// Both sides' residuals on their own inputs, as densities beside the normal one that calibrated rounding would have.
function residuals(parent, site) {
  const sides = [["a", site.a_local], ["b", site.b_local]].filter(([, local]) => local?.histogram.counts.length);
  const exact = [site.a_local, site.b_local].reduce((n, local) => n + (local?.histogram.exact ?? 0), 0);
  if (sides.length === 0) {
    if (exact > 0) make(parent, "p", { class: "hint" }, "This value involves no rounding, and none was found.");
    return;
  }
  make(parent, "h3", {}, "Residuals on the side's own input, in standard deviations of f32 rounding");
  const density = local => {
    const { counts, from, width } = local.histogram, all = counts.reduce((n, m) => n + m, 0);
    return counts.map((n, i) => [from + i * width, n / all / width]);
  };
  const curves = sides.map(([side, local]) => [side, density(local), local.histogram.width]);
  const ends = curves.flatMap(([, curve, width]) => [Math.abs(curve[0][0]), Math.abs(curve[curve.length - 1][0] + width)]);
  const edge = Math.max(3, Math.ceil(Math.max(...ends))), most = Math.max(0.4, ...curves.flatMap(([, curve]) => curve.map(p => p[1])));
  const at = chart(parent, "distribution of residuals", { height: 150, left: 26, right: 26 }, { range: [-edge, edge], ticks: [-edge, 0, edge],
    name: z => z === 0 ? "0" : `${z > 0 ? "+" : "−"}${Math.abs(z)}σ` }, { range: [0, most], ticks: [], name: () => "" });
  const normal = Array.from({ length: 81 }, (_, i) => edge * (i / 40 - 1));
  line(at, "soft dashed", normal.map(z => [z, Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI)]));
  for (const [side, curve, width] of curves) {
    const steps = curve.flatMap(([z, d]) => [[z, d], [z + width, d]]);
    line(at, side, [[curve[0][0], 0], ...steps, [curve[curve.length - 1][0] + width, 0]]);
  }
  const beyond = sides.map(([side, local]) => [side, local.histogram.beyond]).filter(([, n]) => n > 0);
  legend(parent, [...sides.map(([side, local]) => [side, `${side.toUpperCase()}: up to ${number(8 * local.calibrated)} σ of 8, ${grouped(local.judged)} judged`]),
    ["soft", "normal"], ...beyond.map(([side, n]) => ["flip", `${side.toUpperCase()}: ${grouped(n)} beyond 8 σ`])]);
}

// What statistics of rounding say of B's outputs, where its inputs are not known.
function statistics(parent, s) {
  if (!s) return;
  make(parent, "h3", {}, "B's outputs against what rounding of the activations would do, its rule not known");
  const by = s.tests.method.by === "satterthwaite" ? "χ²" : `${s.tests.method.replicates} draws of signs`;
  tiles(make(parent, "div", { class: "tiles" }), [["standard deviation over predicted", number(s.ratio_e)],
    [`p of the whole, by ${by}`, number(s.tests.p)], ["of the worst case", percent(s.worst_case)],
    ["would find a gain of", percent(s.least_gain)], ["or one row off by, of rms", percent(s.least_offset)]]);
  rowsOf(parent, ["largest over its threshold", "", "position", "row"], [["element", s.tests.element], ["row", s.tests.row],
    ["offset of a row", s.tests.offset], ["gain", s.tests.gain], ["scale of a group", s.tests.group]].map(([name, t]) =>
    [name, number(t.over), t.position ?? "", t.row ?? ""]));
}

// The size of each token's row on both sides, and how far they part there.
function tokens(parent, profile) {
  if (!profile || profile.a.length < 2) return;
  make(parent, "h3", {}, "Norm of each token's row, and the drift there");
  const all = profile.a.map((_, t) => t), most = Math.max(...profile.a, ...profile.b, 1e-300);
  const at = chart(parent, "norm by token", { height: 150 }, { range: [-0.5, all.length - 0.5], ticks: every(all, 16), name: String, title: "position" },
    { range: [0, most], ticks: rounded(most, 2), name: number });
  const step = (at.end - at.left) / all.length, drift = t => percent(profile.drift[t] / profile.a[t]);
  all.forEach(t => {
    const title = `position ${t}: A ${number(profile.a[t])}, B ${number(profile.b[t])}, drift ${drift(t)}`;
    bar(at, "a", at.x(t) - 0.4 * step, 0.4 * step, profile.a[t], title);
    bar(at, "b", at.x(t), 0.4 * step, profile.b[t], title);
  });
  const sizes = all.filter(t => profile.a[t] > 0).map(t => profile.drift[t] / profile.a[t]);
  legend(parent, [["a", "A"], ["b", "B"], ["soft", `drift of a token: ${percent(Math.min(...sizes))} to ${percent(Math.max(...sizes))} of its norm`]]);
  const pooled = words.all_over_last[profile.site];
  if (pooled) make(parent, "p", { class: "hint" }, pooled);
  if (profile.massive_count === 0) return;
  make(parent, "h3", {}, `Massive activations: ${profile.massive_count}, the largest`);
  rowsOf(parent, ["position", "channel", "A", "B", "in"], profile.massive.map(m =>
    [m.position, m.channel, number(m.a), number(m.b), m.one_sided ? "one side only" : "both"]));
}

function rowsOf(parent, head, rows, numbersFrom = 1) {
  const table = make(make(parent, "div", { class: "wide" }), "table"), kind = i => i >= numbersFrom ? { class: "n" } : {};
  const top = make(table, "tr");
  head.forEach((name, i) => make(top, "th", kind(i), name));
  for (const cells of rows) {
    const tr = make(table, "tr");
    cells.forEach((cell, i) => make(tr, i === 0 ? "th" : "td", kind(i), String(cell)));
  }
}

function numbers(parent, site) {
  const more = make(parent, "details");
  make(more, "summary", {}, "All numbers");
  const drifts = [site.drift, site.a_oracle, site.b_oracle], each = f => drifts.map(d => d ? f(d) : "–");
  rowsOf(more, ["", "B against A", "A against oracle", "B against oracle"], [
    ["relative L2", ...each(d => percent(d.relative_l2))], ["SQNR, dB", ...each(d => number(d.sqnr_db))],
    ["1 − cosine", ...each(d => known(d.cosine) ? number(1 - d.cosine) : "–")],
    ["max |Δ|", ...each(d => d.peak ? `${number(d.peak.abs)} at ${d.peak.position}:${d.peak.channel}` : "–")],
    ["compared", ...each(d => `${grouped(d.compared)} of ${grouped(d.expected)}`)]]);
  rowsOf(more, ["", "A", "B"], [["count", grouped(site.a.count), grouped(site.b.count)], ...["mean", "std", "min", "max"].map(key =>
    [key, number(site.a[key]), number(site.b[key])]), ["non-finite", site.a.non_finite, site.b.non_finite]]);
  const locals = [["A", site.a_local], ["B", site.b_local]].filter(([, local]) => local);
  if (locals.length) rowsOf(more, ["replay", "residual", "of 8 σ", "of probabilistic", "of rigorous", "flagged", "convicted", "flips"], locals.map(([name, l]) =>
    [name, percent(l.relative_l2), number(l.calibrated), number(l.probabilistic), number(l.rigorous), l.flagged, l.convicted, l.flips]));
  if (site.split) make(more, "p", { class: "hint" }, `reads ${site.split.inputs.join(", ")}; cosine of made-here and inherited ${number(site.split.cosine)}`);
}
