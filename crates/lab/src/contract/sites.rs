//! One number from a comparison: the worst over the chosen sites.

use twinpath_evidence::contract::claim::{Between, Compare, Quantity};
use twinpath_evidence::contract::measured::Measured;
use twinpath_evidence::{Comparison, Drift, LogitDrift, Outcome, SiteRecord};

/// What was measured, and over how many elements of how many.
pub(super) struct Reading {
    pub(super) measured: Measured,
    pub(super) compared: u64,
    pub(super) expected: u64,
}

pub(super) fn read(record: &Comparison, asked: &Compare) -> Reading {
    if let Outcome::Incomparable { reason } = &record.outcome {
        return Reading { measured: nothing(reason), compared: 0, expected: 1 };
    }
    let chosen = |s: &&SiteRecord| asked.sites.is_empty() || asked.sites.iter().any(|n| *n == s.site || *n == s.point);
    let sites: Vec<&SiteRecord> = record.sites.iter().filter(chosen).collect();
    if let Some(name) = asked.sites.iter().find(|n| !record.sites.iter().any(|s| s.site == **n || s.point == **n)) {
        return Reading { measured: nothing(&format!("this model has no site `{name}`")), compared: 0, expected: 1 };
    }
    // The ratio of distances is of what both were compared with.
    let pair = if asked.quantity == Quantity::OracleRatio { Between::BOracle } else { asked.between };
    let drifts: Vec<Option<&Drift>> = sites.iter().map(|s| between(s, pair)).collect();
    let compared = drifts.iter().flatten().map(|d| d.compared).sum();
    let expected = drifts.iter().flatten().map(|d| d.expected).sum();
    let measured = if drifts.iter().any(Option::is_none) {
        nothing("the oracle did not run")
    } else {
        measure(record, asked, &sites)
    };
    Reading { measured, compared, expected }
}

fn nothing(why: &str) -> Measured {
    Measured::Nothing { why: why.to_owned() }
}

fn between(s: &SiteRecord, pair: Between) -> Option<&Drift> {
    match pair {
        Between::AB => Some(&s.drift),
        Between::AOracle => s.a_oracle.as_ref(),
        Between::BOracle => s.b_oracle.as_ref(),
    }
}

fn measure(record: &Comparison, asked: &Compare, sites: &[&SiteRecord]) -> Measured {
    let drift = |s: &SiteRecord| between(s, asked.between).cloned();
    let logits: Option<&LogitDrift> = match asked.between {
        Between::AB => record.logits.as_ref(),
        Between::AOracle => record.a_oracle_logits.as_ref(),
        Between::BOracle => record.b_oracle_logits.as_ref(),
    };
    let worst = |of: &dyn Fn(&SiteRecord) -> Option<f64>| worst(sites, of);
    match asked.quantity {
        Quantity::RelativeL2 => worst(&|s| drift(s)?.relative_l2),
        Quantity::Cosine => negated(worst(&|s| Some(-drift(s)?.cosine?))),
        Quantity::Peak => worst(&|s| Some(drift(s)?.peak?.abs)),
        Quantity::StdRatio => worst(&|s| Some((s.a.std / s.b.std).max(s.b.std / s.a.std))),
        Quantity::OracleRatio => {
            negated(worst(&|s| Some(-s.a_oracle.as_ref()?.relative_l2? / s.b_oracle.as_ref()?.relative_l2?)))
        }
        Quantity::Differing => {
            let of = |s: &&SiteRecord| drift(s).map_or(0, |d| d.expected - d.equal);
            Measured::value(sites.iter().map(of).sum::<u64>() as f64, None)
        }
        Quantity::UnequalCounts => {
            let unequal = sites.iter().filter(|s| s.a.scope.mismatch(&s.b.scope).is_some() || s.a.count != s.b.count);
            Measured::value(unequal.count() as f64, None)
        }
        Quantity::KlMean => logits.map_or(nothing("there are no logits"), |l| Measured::value(l.kl_mean, None)),
        Quantity::Top1Share => logits.map_or(nothing("there are no logits"), |l| {
            Measured::value(l.top1_equal as f64 / l.positions as f64, None)
        }),
    }
}

/// The largest number over the sites. A site without a number makes it none: what is undefined bounds nothing.
fn worst(sites: &[&SiteRecord], of: &dyn Fn(&SiteRecord) -> Option<f64>) -> Measured {
    let mut worst: Option<(f64, &str)> = None;
    for site in sites {
        match of(site) {
            Some(x) if x.is_finite() => {
                if worst.is_none_or(|(most, _)| x > most) {
                    worst = Some((x, &site.site));
                }
            }
            _ => return nothing(&format!("the number is not defined at {}", site.site)),
        }
    }
    worst.map_or(nothing("no site was compared"), |(x, at)| Measured::value(x, Some(at.to_owned())))
}

fn negated(measured: Measured) -> Measured {
    match measured {
        Measured::Value { value, at } => Measured::value(-value.0, at),
        other => other,
    }
}
