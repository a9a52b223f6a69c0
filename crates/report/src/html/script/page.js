function header() {
  const judgement = record.judgement, last = record.sites[record.sites.length - 1];
  pairs(byId("sides"), [
    ["A", `${record.a.label}  [${record.a.kernels}]`, "a"],
    ["B", `${record.b.label}  [${record.b.kernels}]`, "b"],
    ["oracle", record.oracle ? `f64 on the weights of ${record.oracle}` : "not run"],
    ["scope", `${record.tokens.length} tokens, all positions${record.tokens.length > 1 ? ", pooled" : ""}`],
  ]);
  const rows = [["sites compared", String(record.sites.length)]];
  if (last) rows.push([`drift at ${last.site}`, percent(last.drift.relative_l2)]);
  if (record.logits) rows.push(["KL, mean, nats", number(record.logits.kl_mean)], ["most likely token equal", `${record.logits.top1_equal} of ${record.logits.positions}`]);
  if (judgement) rows.push(["verdicts", judgement.counts.map(([word, n]) => `${n} ${word.toLowerCase()}`).join(", ")],
    ["of all elements judged", percent(judgement.expected ? judgement.judged / judgement.expected : 0)],
    ["chance of a false alarm", `≤ ${number(judgement.alpha)}`], ["forward passes", number(judgement.passes)]);
  if (record.null) rows.push([`size of the drift: p among ${record.null.replicates} replicates`, number(record.null.p)]);
  tiles(byId("tiles"), rows);
  const doubts = words.doubts;
  for (const doubt of doubts) make(byId("warnings"), "li", {}, doubt);
  byId("callout").hidden = doubts.length === 0;
}

header();
heat();
layerChart();
oracleChart();
logitChart();
pairs(byId("provenance"), [
  ["twinpath", record.provenance.version],
  ["processor", record.provenance.cpu],
  ...record.provenance.files.map(file => [file.path, `${grouped(file.bytes)} bytes${file.blake3 ? `, BLAKE3 ${file.blake3}` : ""}`]),
  ["tokens", record.tokens.join(", ")],
]);
document.documentElement.dataset.ready = "yes";
