//! # Claim
//!
//! What path B differs from path A by is the rounding of its activations to 8 bits, and nothing else.
//!
//! # Why it matters
//!
//! It turns a difference that has to be explained into one that can be computed from the input alone.
//!
//! # Procedure
//!
//! Published (008): one super-block times one activation, along both paths. Here: weights of three layers on the
//! activations that path A really produced. With e = Q8(x) - x, known exactly, W e is computed in f64; B - A - W e is
//! what rounding of activations does not explain. The size is predicted from e and the column norms of W alone: E|d|^2
//! = sum over i of e_i^2 |w_i|^2.
//!
//! # Refuted if
//!
//! More than 1 % of B - A is not W e, at any site; or the size measured over predicted lies outside 0.85 to 1.15.
//!
//! # Control
//!
//! The same e, computed with one scale per 32 values instead of 256. Positive control: A plus W e in the place of B.
//!
//! # Blind spots
//!
//! The size is predicted for rounding errors with random signs. Where activations are all of one sign and crushed by a
//! massive value, the first check still holds and the second may not.

use twinpath_engine::{Model, Site, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, percent};
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "mechanism",
    number: "008 M94",
    source: include_str!("mechanism.rs"),
    published,
    sound,
    needs_runs: true,
};

fn published(_: Option<&Model>) -> PublishedRecord {
    let (block, x) = (fixture::block(0, 0), fixture::activation(0));
    let (a, b) = fixture::both(&block, &x);
    let relative = fixture::relative(a, b);
    let rule = Rule::new("relative difference, where bits differ", &[(0.10, "FAIL"), (0.0, "PASS")], "FAIL");
    let print = |x: f32| format!("{x:.3}");
    // Path A's order on path B's activations: what is left of the difference is the kernel's own.
    let rounded = fixture::fold_dot(&fixture::widen(&fixture::quantise(&x)), &fixture::decode(&block));
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS, mechanism confirmed".to_owned(),
        rule_says: Some(rule.says(f64::from(relative)).to_owned()),
        rule,
        rows: vec![
            Row::bits("path A", "-18882.443", 0xc693_84e3, a, print),
            Row::bits("path B", "-18897.059", 0xc693_a21e, b, print),
            Row::digits("relative difference", "0.077401 %", relative, percent),
            Row::digits("path A on rounded activations", "-18897.0625", rounded, |x| format!("{x:.4}")),
        ],
        notes: vec![format!(
            "the kernel's own part of the difference is {} units in the last place",
            rounded.to_bits().abs_diff(b.to_bits())
        )],
    }
}

/// One weight on the activations that path A fed it.
struct Measurement {
    site: String,
    /// `‖B − A − W e‖ / ‖B − A‖`.
    unexplained: f64,
    /// The same with e of 32-wide blocks.
    control: f64,
    /// The same with A + W e in the place of B.
    positive: f64,
    /// For each position: `‖B − A‖²` over its prediction.
    ratios: Vec<f64>,
}

fn measure(bench: &Bench<'_>, layer: usize, name: &str, x: &Tensor<f32>) -> Option<Measurement> {
    let weight = weights::weight(bench.model, layer, name);
    if !weights::is_wide(&weight) {
        return None;
    }
    let (a, b) = (weights::linear(&bench.a(), weight, x), weights::linear(&bench.b(), weight, x));
    let e = weights::rounding(x, fixture::BLOCK);
    let explained = weights::exact(weight, &e);
    let narrow = weights::exact(weight, &weights::rounding(x, 32));
    let left = |b: &dyn Fn(usize) -> f64, we: &Tensor<f64>| {
        let (mut rest, mut all) = (0.0, 0.0);
        for (i, (a, we)) in a.data().iter().zip(we.data()).enumerate() {
            let d = b(i) - f64::from(*a);
            rest += (d - we) * (d - we);
            all += d * d;
        }
        (rest / all).sqrt()
    };
    let of_b = |i: usize| f64::from(b.data()[i]);
    let replica = |i: usize| f64::from((f64::from(a.data()[i]) + explained.data()[i]) as f32);
    let columns = weights::columns(weight);
    let ratio = |t: usize| {
        let predicted: f64 = e.row(t).iter().zip(&columns).map(|(e, c)| e * e * c).sum();
        stats::distance(b.row(t), a.row(t)).powi(2) / predicted
    };
    Some(Measurement {
        site: format!("blk.{layer}.{name}"),
        unexplained: left(&of_b, &explained),
        control: left(&of_b, &narrow),
        positive: left(&replica, &explained),
        ratios: (0..x.rows()).map(ratio).collect(),
    })
}

fn sound(bench: &Bench<'_>) -> Findings {
    let layers = bench.model.config().layers;
    let mut sites = vec![0, bench.layer(), layers - 1];
    sites.dedup();
    let chosen = ["attn_q", "attn_output", "ffn_gate", "ffn_down"];
    let mut found: Vec<Measurement> = Vec::new();
    for (layer, (name, point)) in sites.iter().flat_map(|l| weights::LINEARS.iter().map(move |w| (*l, *w))) {
        let x = bench.runs.as_ref().and_then(|runs| runs.a.get(&Site::block(layer, point)));
        found.extend(x.filter(|_| chosen.contains(&name)).and_then(|x| measure(bench, layer, name, x)));
    }
    let worst = |f: fn(&Measurement) -> f64| match found.is_empty() {
        true => Measured::NotExercised { why: "no weight of 256-wide blocks".to_owned() },
        false => Interval::exact(found.iter().map(f).fold(0.0, f64::max)).into(),
    };
    let positions = found.first().map_or(0, |m| m.ratios.len());
    let size = stats::bootstrap(positions, "positions", |chosen| {
        let sum: f64 = found.iter().flat_map(|m| chosen.iter().map(|t| m.ratios[*t])).sum();
        (sum / (found.len() * chosen.len()) as f64).sqrt()
    });
    let size = if found.is_empty() { worst(|m| m.unexplained) } else { size.into() };
    let exact = "f32 terms of both paths are below a thousandth of the rounding of activations";
    let part = |what: &str| format!("part of B - A that is not W e, {what}");
    let notes = found.iter().map(|m| {
        let size = (m.ratios.iter().sum::<f64>() / m.ratios.len() as f64).sqrt();
        format!("{}: not explained {:.4} %, size over predicted {size:.3}", m.site, 100.0 * m.unexplained)
    });
    Findings {
        checks: vec![
            Check::new(
                &part(&format!("worst of {} weights", found.len())),
                Band::at_most(0.01),
                exact,
                worst(|m| m.unexplained),
            ),
            Check::new(
                "size of B - A over predicted",
                Band::between(0.85, 1.15),
                "random signs of the actual rounding errors",
                size,
            ),
        ],
        controls: vec![Check::new(&part("e of 32-wide blocks"), Band::at_most(0.01), exact, worst(|m| m.control))],
        positive_controls: vec![Check::new(&part("A + W e for B"), Band::at_most(0.01), exact, worst(|m| m.positive))],
        notes: notes.collect(),
    }
}
