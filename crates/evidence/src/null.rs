//! Is the drift of the size that rounding alone would give? A rank test against replicates with random rounding signs.

use serde::{Deserialize, Serialize};

/// Observed drift against replicates, over all sites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NullTest {
    /// Replicates `K`; the smallest p-value is `1 / (K + 1)`.
    pub replicates: usize,
    /// Seed of the signs.
    pub seed: u64,
    /// In execution order; sites that cannot differ are left out.
    pub sites: Vec<SiteNull>,
    /// Rank p-value of the largest departure over all sites, both directions (max-T).
    pub p: f64,
    /// The site of the largest departure.
    pub extreme: Option<String>,
}

/// Observed drift of one site against its replicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteNull {
    /// Text form of the site.
    pub site: String,
    /// Observed relative L2 of B against A.
    pub observed: f64,
    /// Geometric mean over the replicates.
    pub predicted: f64,
    /// Standard deviation of the replicates' natural logarithm.
    pub spread: f64,
    /// `(1 + #{replicate >= observed}) / (K + 1)`: small when the drift is too large for rounding.
    pub p_large: f64,
    /// The same downwards: small when the drift is too small, so that the paths share arithmetic.
    pub p_small: f64,
}

impl NullTest {
    /// Ranks `observed` against `replicates`; row `k` of `replicates` and `observed` hold one relative L2 per site.
    /// Sites where a value is not positive are left out: without drift there is no size to judge. Returns `None` when no
    /// site is left or there are fewer than two replicates.
    pub fn rank(names: &[String], observed: &[f64], replicates: &[Vec<f64>], seed: u64) -> Option<NullTest> {
        let usable = |s: &usize| observed[*s] > 0.0 && replicates.iter().all(|r| r[*s] > 0.0);
        let kept: Vec<usize> = (0..names.len()).filter(usable).collect();
        let k = replicates.len();
        if kept.is_empty() || k < 2 {
            return None;
        }
        // Mean and spread over observed and replicates together: under the null all K + 1 are then exchangeable.
        let mut most = vec![0.0_f64; k + 1];
        let mut extreme = None;
        let mut sites = Vec::new();
        for s in kept {
            let logs: Vec<f64> =
                [observed[s]].into_iter().chain(replicates.iter().map(|r| r[s])).map(f64::ln).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let sd = (logs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / k as f64).sqrt();
            for (i, x) in logs.iter().enumerate() {
                let t = if sd > 0.0 { ((x - mean) / sd).abs() } else { 0.0 };
                if t > most[i] {
                    most[i] = t;
                    if i == 0 {
                        extreme = Some(names[s].clone());
                    }
                }
            }
            sites.push(site(&names[s], observed[s], &logs[1..]));
        }
        let beyond = most[1..].iter().filter(|t| **t >= most[0]).count();
        Some(NullTest { replicates: k, seed, sites, p: rank_p(beyond, k), extreme })
    }
}

fn site(name: &str, observed: f64, logs: &[f64]) -> SiteNull {
    let k = logs.len();
    let mean = logs.iter().sum::<f64>() / k as f64;
    let spread = (logs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (k - 1) as f64).sqrt();
    let log = observed.ln();
    SiteNull {
        site: name.to_owned(),
        observed,
        predicted: mean.exp(),
        spread,
        p_large: rank_p(logs.iter().filter(|x| **x >= log).count(), k),
        p_small: rank_p(logs.iter().filter(|x| **x <= log).count(), k),
    }
}

fn rank_p(beyond: usize, replicates: usize) -> f64 {
    (1 + beyond) as f64 / (replicates + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_has_the_smallest_p_value_and_is_named() {
        let names = ["a".to_owned(), "b".to_owned(), "identical".to_owned()];
        let replicates: Vec<Vec<f64>> =
            (0..19).map(|k| vec![1.0 + 0.01 * f64::from(k), 2.0 - 0.01 * f64::from(k), 0.0]).collect();
        let test = NullTest::rank(&names, &[1.1, 9.0, 0.0], &replicates, 1).unwrap();
        assert_eq!((test.p, test.extreme.as_deref(), test.sites.len()), (0.05, Some("b"), 2));
        assert_eq!((test.sites[1].p_large, test.sites[1].p_small), (0.05, 1.0));
        let inside = NullTest::rank(&names, &[1.09, 1.91, 0.0], &replicates, 1).unwrap();
        assert!(inside.p > 0.5, "{}", inside.p);
        let small = NullTest::rank(&names, &[0.01, 1.91, 0.0], &replicates, 1).unwrap();
        assert_eq!((small.p, small.sites[0].p_small), (0.05, 0.05));
    }

    #[test]
    fn nothing_to_rank_is_no_test() {
        assert_eq!(NullTest::rank(&["a".to_owned()], &[0.0], &[vec![0.0], vec![0.0]], 1), None);
        assert_eq!(NullTest::rank(&["a".to_owned()], &[1.0], &[vec![1.0]], 1), None);
    }
}
