//! # Claim
//!
//! A standard deviation over all positions and one over the last position are numbers of different things, and no ratio
//! of them speaks of arithmetic.
//!
//! # Why it matters
//!
//! The whole published search began with such a ratio: 1.2216 over all seven tokens against 0.0670 over the last,
//! `18.23x`.
//!
//! # Procedure
//!
//! Published: the two statistics. Here: seven Gaussian rows of which the first is 48 times larger, one set of values,
//! no arithmetic at all: all rows against the last. The ratio must be sqrt((48^2 + 6) / 7) = 18.2, the records must be
//! refused as incomparable, and the ratio over equal positions of both paths' runs must lie within the bound that the
//! drift gives.
//!
//! # Refuted if
//!
//! The ratio is not explained by scope alone to 5 %, the comparison is not refused, or the ratio over equal positions
//! exceeds its bound.
//!
//! # Control
//!
//! The same seven rows without the large one: the ratio must not be near 18. Positive control: two statistics of equal
//! scope, which must not be refused.
//!
//! # Blind spots
//!
//! Whether a model has such a first token is its own affair: the bundled one has not, and its own figure is in the
//! notes.

use twinpath_engine::{Model, Point, Site, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_evidence::stats::StatsSum;
use twinpath_evidence::{Positions, Scope, Stats, Values};

use super::Experiment;
use super::kit::{Bench, stats, teacher};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "alarm", number: "003", source: include_str!("alarm.rs"), published, sound, needs_runs: true };

fn published(_: Option<&Model>) -> PublishedRecord {
    // Both statistics as published: all seven positions of one trace, the last position of the other.
    let (all, last) = (1.2216f32, 0.0670f32);
    let ratio = all / last;
    let rule = Rule::new("ratio of standard deviations", &[(2.0, "divergence")], "none");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "divergence at layer 3 ffn_swiglu, 18.23x".to_owned(),
        rule_says: Some(rule.says(f64::from(ratio)).to_owned()),
        rule,
        rows: vec![Row::digits("1.2216 over 0.0670", "18.23x", ratio, |x| format!("{x:.2}x"))],
        notes: vec!["a ratio over unequal positions; `twinpath falsify alarm` gives it from scope alone".to_owned()],
    }
}

/// Positions of the published prompt, and how much larger its first one must be for 18.2.
const POSITIONS: usize = 7;
const LARGER: f32 = 48.0;

/// Statistics of positions `first..` of `x`.
fn statistics(x: &Tensor<f32>, first: usize, site: &str) -> Stats {
    let mut sum = StatsSum::default();
    for t in first..x.rows() {
        sum.add(&x.row(t).iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
    }
    let positions = Positions::new(first, x.rows() - first);
    sum.finish(Scope { site: site.to_owned(), positions, values: Values::All })
}

/// Ratio of the deviations over all positions and over the last, and whether the comparison of their scopes is refused.
fn all_over_last(x: &Tensor<f32>, site: &str) -> (f64, bool) {
    let (all, last) = (statistics(x, 0, site), statistics(x, x.rows() - 1, site));
    (all.std / last.std, all.scope.mismatch(&last.scope).is_some())
}

fn sound(bench: &Bench<'_>) -> Findings {
    let plain = stats::gaussian(3, POSITIONS, 2048);
    let mut planted = plain.clone();
    planted.row_mut(0).iter_mut().for_each(|x| *x *= LARGER);
    let n = POSITIONS as f64;
    let expected = ((f64::from(LARGER).powi(2) + n - 1.0) / n).sqrt();
    let site = Site::block(bench.layer(), Point::FfnSwiglu);
    let (ratio, refused) = all_over_last(&planted, &site.to_string());
    let (without, _) = all_over_last(&plain, &site.to_string());
    let same = statistics(&plain, 0, &site.to_string());
    let accepted = same.scope.mismatch(&same.scope).is_some();
    let count = |refused: bool| Interval::exact(f64::from(u8::from(refused)));
    let pairs = bench.runs.iter().flat_map(|runs| runs.pairs()).filter(|(s, ..)| s.point == Point::FfnSwiglu);
    let bounded = pairs.filter_map(|(_, a, b)| stats::deviation_quotient(a.data(), b.data())).reduce(f64::max);
    let bounded = match bounded {
        Some(most) => Interval::exact(most).into(),
        None => Measured::NotExercised { why: "both runs are equal there".to_owned() },
    };
    let formula = "sqrt((48^2 + 6) / 7) = 18.2; 2048 values a row are known to 2 %";
    let near = Band::between(0.95, 1.05);
    let mut checks = vec![
        Check::new(
            "ratio over unequal positions over what scope alone gives",
            near,
            formula,
            Interval::exact(ratio / expected),
        ),
        Check::new(
            "comparisons refused, of 1",
            Band::between(1.0, 1.0),
            "unequal scopes are not compared",
            count(refused),
        ),
        Check::new(
            "|std B / std A - 1| over centred drift, ffn_swiglu, equal positions",
            Band::at_most(1.0 + 1e-6),
            "triangle inequality; f64 sums",
            bounded,
        ),
    ];
    let own = bench.runs.as_ref().and_then(|runs| Some((runs.a.get(&site)?, runs.b.get(&site)?)));
    let ratio_here = own.map(|(a, b)| Interval::exact(stats::deviation(a.data()) / stats::deviation(b.data())));
    let measured = match teacher::first_block(Some(bench.model), 3) {
        Ok(_) => ratio_here.into(),
        Err(needs) => Measured::Skipped { needs },
    };
    let name = "ratio over equal positions on the published model";
    checks.push(Check::new(name, Band::between(0.5, 2.0), "the published acceptance", measured));
    Findings {
        checks,
        controls: vec![Check::new(
            "the first ratio, no row larger",
            near,
            formula,
            Interval::exact(without / expected),
        )],
        positive_controls: vec![Check::new(
            "comparisons refused, equal scopes, of 1",
            Band::none(),
            "equal scopes are compared",
            count(accepted),
        )],
        notes: figures(bench, site, ratio),
    }
}

/// The planted ratio, and the model's own figures at the published site.
fn figures(bench: &Bench<'_>, site: Site, planted: f64) -> Vec<String> {
    let mut notes =
        vec![format!("one row 48 times larger gives {planted:.1}x from scope alone, with no arithmetic at all")];
    let pair = bench.runs.as_ref().and_then(|runs| Some((runs.a.get(&site)?, runs.b.get(&site)?)));
    if let Some((a, b)) = pair {
        let (own, _) = all_over_last(a, &site.to_string());
        let ratio = stats::deviation(a.data()) / stats::deviation(b.data());
        notes.push(format!("{site} of this model: all positions over the last, path A alone, {own:.3}x"));
        notes.push(format!("{site} of this model: A over B over equal positions, {ratio:.4}x"));
    }
    notes
}
