//! Each side's whole error against the oracle.

use serde::{Deserialize, Serialize};

use crate::comparison::SiteRecord;
use crate::drift::Drift;

/// Both sides against the oracle, over all sites where both have a size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Sites counted.
    pub sites: usize,
    /// A.
    pub a: SideBudget,
    /// B.
    pub b: SideBudget,
}

/// One side's error against the oracle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideBudget {
    /// The last site.
    pub end_site: String,
    /// Relative L2 there.
    pub end: f64,
    /// The site with the largest relative L2.
    pub worst_site: String,
    /// Relative L2 there.
    pub worst: f64,
    /// Median of the relative L2 over the sites.
    pub median: f64,
    /// Sites where this side is closer to the oracle than the other.
    pub closer: usize,
    /// Of the sites with a verdict on this side, those that its own arithmetic explains.
    pub explained: usize,
    /// Sites with a verdict on this side.
    pub judged: usize,
}

impl Budget {
    /// `None` where no site was measured against an oracle on both sides.
    pub fn of(sites: &[SiteRecord]) -> Option<Budget> {
        let size = |d: &Option<Drift>| d.as_ref().and_then(|d| d.relative_l2);
        let measured: Vec<(&SiteRecord, [f64; 2])> =
            sites.iter().filter_map(|s| Some((s, [size(&s.a_oracle)?, size(&s.b_oracle)?]))).collect();
        let side = |i: usize| -> Option<SideBudget> {
            let (last, end) = measured.last()?;
            let (worst, most) = measured.iter().max_by(|p, q| p.1[i].total_cmp(&q.1[i]))?;
            let mut sizes: Vec<f64> = measured.iter().map(|(_, d)| d[i]).collect();
            sizes.sort_by(f64::total_cmp);
            let locals = || sites.iter().filter_map(|s| if i == 0 { s.a_local.as_ref() } else { s.b_local.as_ref() });
            Some(SideBudget {
                end_site: last.site.clone(),
                end: end[i],
                worst_site: worst.site.clone(),
                worst: most[i],
                median: sizes[sizes.len() / 2],
                closer: measured.iter().filter(|(_, d)| d[i] < d[1 - i]).count(),
                explained: locals().filter(|l| l.verdict.rank() <= 1).count(),
                judged: locals().count(),
            })
        };
        Some(Budget { sites: measured.len(), a: side(0)?, b: side(1)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::DriftSum;
    use crate::scope::{Positions, Scope, Values};
    use crate::stats::StatsSum;

    fn site(name: &str, errors: Option<[f64; 2]>) -> SiteRecord {
        let scope = Scope { site: name.into(), positions: Positions::new(0, 1), values: Values::All };
        let stats = StatsSum::default().finish(scope);
        let drift = |error: f64| {
            let mut sum = DriftSum::default();
            sum.add(0, &[1.0 + error], &[1.0], |i| i);
            sum.finish()
        };
        SiteRecord {
            site: name.into(),
            layer: None,
            point: name.into(),
            weights: None,
            a: stats.clone(),
            b: stats,
            drift: drift(0.0),
            a_oracle: errors.map(|e| drift(e[0])),
            b_oracle: errors.map(|e| drift(e[1])),
            a_local: None,
            b_local: None,
            statistical: None,
            split: None,
            verdict: None,
            covers: Vec::new(),
        }
    }

    #[test]
    fn the_worst_the_median_and_the_closer_side_are_named() {
        let sites = [
            site("x", Some([0.5, 0.25])),
            site("skipped", None),
            site("y", Some([0.0, 1.0])),
            site("z", Some([0.25, 0.5])),
        ];
        let budget = Budget::of(&sites).unwrap();
        assert_eq!((budget.sites, budget.a.closer, budget.b.closer), (3, 2, 1));
        assert_eq!((budget.a.worst_site.as_str(), budget.a.worst, budget.a.median), ("x", 0.5, 0.25));
        assert_eq!((budget.b.worst_site.as_str(), budget.b.worst, budget.b.end), ("y", 1.0, 0.5));
        assert_eq!(Budget::of(&sites[1..2]), None);
    }
}
