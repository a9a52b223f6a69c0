//! Rules of the published validator about wishes and about benchmarks to be won.

use super::{Context, Found, when};
use crate::contract::shared::{Beat, Kind};

/// Sources that a wish may name: the published list.
const COMPETITORS: &[&str] = &[
    "apr-qa-playbook",
    "autogluon",
    "burn",
    "ecosystem",
    "hf-kernels-community",
    "huggingface",
    "jena",
    "linfa",
    "llama_cpp",
    "none",
    "ollama",
    "openclaw",
    "openclip",
    "pulp-free-chat",
    "pytorch",
    "vllm",
];

/// Whom a benchmark may name: the published list.
const INCUMBENTS: &[&str] = &["scikit-learn", "pytorch", "unsloth", "ollama", "llama.cpp"];

pub(super) fn scores(c: &Context<'_>) -> Found {
    let contract = c.contract();
    let bad = |score: i64| !(1..=5).contains(&score);
    let head = contract.metadata.demand_score.filter(|s| bad(*s));
    let mut found: Found =
        head.map(|s| ("/metadata/demand_score".to_owned(), format!("{s} is not within 1 .. 5"))).into_iter().collect();
    for (i, story) in contract.stories.iter().enumerate() {
        let message = match story.demand_score {
            None => "a row of a registry needs a demand_score".to_owned(),
            Some(s) if bad(s) => format!("{s} is not within 1 .. 5"),
            Some(_) => continue,
        };
        found.push((format!("/stories/{i}/demand_score"), message));
    }
    found
}

pub(super) fn competitors(c: &Context<'_>) -> Found {
    let contract = c.contract();
    let unknown = |name: &str| !COMPETITORS.contains(&name.trim());
    let message = |name: &str| format!("`{name}` is not one of {}", COMPETITORS.join(", "));
    let mut found = Vec::new();
    if let Some(name) = contract.metadata.competitor.as_deref().filter(|n| unknown(n)) {
        found.push(("/metadata/competitor".to_owned(), message(name)));
    }
    for (i, story) in contract.stories.iter().enumerate() {
        let name = story.competitor.as_deref().unwrap_or_default();
        if unknown(name) {
            found.push((format!("/stories/{i}/competitor"), message(name)));
        }
    }
    found
}

/// The block of a contract that must have one.
fn beat<'c>(c: &Context<'c>) -> Option<&'c Beat> {
    (c.contract().metadata.kind == Kind::BeatBenchmark).then_some(c.contract().beat.as_ref()).flatten()
}

fn judge(c: &Context<'_>, field: &str, message: &str, bad: impl Fn(&Beat) -> bool) -> Found {
    when(beat(c).is_some_and(bad), format!("/beat/{field}"), message)
}

pub(super) fn block(c: &Context<'_>) -> Found {
    let missing = c.contract().metadata.kind == Kind::BeatBenchmark && c.contract().beat.is_none();
    when(missing, "/metadata/kind", "a beat-benchmark contract needs a `beat` block")
}

pub(super) fn incumbent(c: &Context<'_>) -> Found {
    let message = format!("the incumbent must name one of {}", INCUMBENTS.join(", "));
    judge(c, "incumbent", &message, |b| {
        let name = b.incumbent.to_lowercase();
        !INCUMBENTS.iter().any(|known| name.contains(known))
    })
}

pub(super) fn metric(c: &Context<'_>) -> Found {
    judge(c, "metric", "name what is measured", |b| b.metric.trim().is_empty())
}

pub(super) fn direction(c: &Context<'_>) -> Found {
    let known = ["higher_is_better", "lower_is_better"];
    judge(c, "direction", "write higher_is_better or lower_is_better", |b| !known.contains(&b.direction.trim()))
}

pub(super) fn threshold(c: &Context<'_>) -> Found {
    judge(c, "beat_threshold", "write the figure to beat, a finite number", |b| {
        !b.beat_threshold.is_some_and(f64::is_finite)
    })
}

pub(super) fn gate(c: &Context<'_>) -> Found {
    judge(c, "ci_gate_name", "name the gate that checks it", |b| b.ci_gate_name.trim().is_empty())
}

pub(super) fn compute(c: &Context<'_>) -> Found {
    judge(c, "approved_compute", "write CPU or GPU", |b| {
        !b.approved_compute.as_deref().is_some_and(|a| ["CPU", "GPU"].contains(&a.trim().to_uppercase().as_str()))
    })
}
