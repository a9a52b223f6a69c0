//! The fault benchmark as tables of the README.

use twinpath_evidence::fault_bench::{DetectorScore, FaultBench, Rate};

/// Markdown: the detectors side by side, and what was planted.
pub fn fault_bench(record: &FaultBench) -> String {
    let (planted, above) =
        (record.classes.iter().map(|c| c.planted).sum::<u64>(), record.detectors.first().map_or(0, |d| d.detected.of));
    let runs: u64 = record.controls.iter().map(|c| c.runs).sum();
    let mut text = format!(
        "{planted} faults of {} kinds in {} models, {above} of them above the limit; {runs} runs in which nothing is wrong.\n\n",
        record.classes.len(),
        record.models.len()
    );
    text += "| detector | detected | exact op | layer | among first 3 | mistake named | false positives per 1000 sites (95 %) |\n";
    text += "|---|---|---|---|---|---|---|\n";
    record.detectors.iter().for_each(|d| text += &row(d));
    text
}

fn row(d: &DetectorScore) -> String {
    let named = if d.named.hits == 0 { "-".to_owned() } else { share(d.named) };
    let per_1000 = |x: f64| format!("{:.2}", 1000.0 * x);
    let interval = d.interval.map_or(String::new(), |(low, high)| format!(" ({}..{})", per_1000(low), per_1000(high)));
    let wrong = per_1000(d.false_positives.share());
    let shares = [d.detected, d.exact, d.layer, d.top3].map(share).join(" | ");
    format!("| {} | {shares} | {named} | {wrong}{interval} |\n", d.name)
}

fn share(rate: Rate) -> String {
    if rate.of == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * rate.share()) }
}
