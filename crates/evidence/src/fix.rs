//! Whether a change of arithmetic closes the gap between two sides, or only moves or hides it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::comparison::{Comparison, Outcome, SideInfo, SiteRecord};
use crate::provenance::Provenance;
use crate::verdict::Verdict;
use crate::within;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;
/// Published acceptance: ratio of the sides' standard deviations of `ffn_swiglu` over the same positions, the larger one
/// above.
pub const STD_RATIO: f64 = 1.1;
/// Published acceptance: relative distance of the sides' standard deviations of each layer's output.
pub const LAYER: f64 = 0.1;
/// Published acceptance: cosine of the logits.
pub const COSINE: f64 = 0.9999;
/// A gap counts as gone when it is no more than this many times what arithmetic explains.
const TIMES_FLOOR: f64 = 2.0;
/// A gap counts as gone, too, when it is at most this share of what it was.
const SHARE_LEFT: f64 = 0.1;

/// Two sides before and after one or more policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// The reference side, as it was.
    pub a: SideInfo,
    /// The other side, as it was.
    pub b: SideInfo,
    /// What a fix is made on.
    pub seen: Extent,
    /// What it is then tried on: other prompts, and positions beyond those.
    pub held_out: Extent,
    /// As it was, on both.
    pub before: Gap,
    /// What was tried.
    pub tried: Vec<Tried>,
    /// Chance of calling a faithful value unexplained, in the whole run.
    pub alpha: f64,
}

/// How much input there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Prompts.
    pub prompts: usize,
    /// Tokens of all of them.
    pub tokens: usize,
    /// Positions of the longest.
    pub positions: usize,
}

/// One policy on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The policy's name.
    pub policy: String,
    /// On the prompts that were seen.
    pub seen: Gap,
    /// On held-out prompts and positions.
    pub held_out: Gap,
    /// What became of the gap.
    pub verdict: FixVerdict,
    /// Whether the published acceptance holds, on both.
    pub accepted: bool,
    /// Tokens decoded per second over those of the first policy, in one run; absent where speed was not measured.
    pub speed: Option<f64>,
}

/// The gap between two sides over some prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Prompts.
    pub prompts: usize,
    /// Mean over prompts of `‖B − A‖ / ‖A‖` of the logits.
    pub relative_l2: f64,
    /// Mean over prompts of the mean KL(A ‖ B), in nats.
    pub kl: f64,
    /// Smallest cosine of the logits.
    pub cosine: f64,
    /// Largest ratio of standard deviations of a layer's `ffn_swiglu`, the larger one above.
    pub std_ratio: f64,
    /// Largest relative distance of the standard deviations of a layer's output.
    pub layer: f64,
    /// Mean over prompts of A's distance from the oracle at the logits; absent where the oracle did not run.
    pub a_oracle: Option<f64>,
    /// B's.
    pub b_oracle: Option<f64>,
    /// Sites that are identical in every prompt.
    pub identical: usize,
    /// Sites that are explained, in at least one prompt not identical.
    pub explained: usize,
    /// Sites where a side is not what its arithmetic declares.
    pub unexplained: BTreeSet<String>,
    /// Sites of which nothing can be said, each with the reason.
    pub undecided: BTreeSet<(String, String)>,
    /// What the gap would be if every side were as it declares; measured where something is unexplained.
    pub floor: Option<f64>,
}

/// What became of a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum FixVerdict {
    /// Every site is identical or explained, on held-out prompts and positions too.
    Closed {
        /// Whether every site is identical.
        identical: bool,
    },
    /// A side is still wrong where it was wrong before, and the outputs show it.
    Open {
        /// Where.
        sites: BTreeSet<String>,
    },
    /// A side is wrong where it was right before, and the outputs show it.
    Moved {
        /// Where.
        sites: BTreeSet<String>,
    },
    /// A side is wrong, and the outputs no longer show it.
    Hidden {
        /// Where.
        sites: BTreeSet<String>,
    },
    /// Nothing can be said.
    Inconclusive {
        /// Why.
        reason: String,
    },
}

impl FixVerdict {
    /// Judges what is left of `before`.
    pub fn of(before: &Gap, seen: &Gap, held_out: &Gap) -> FixVerdict {
        let sites: BTreeSet<String> = seen.unexplained.union(&held_out.unexplained).cloned().collect();
        if sites.is_empty() {
            let undecided = seen.undecided.iter().chain(&held_out.undecided).next();
            return match undecided {
                Some((site, why)) => FixVerdict::Inconclusive { reason: format!("{site}: {why}") },
                None => FixVerdict::Closed { identical: seen.explained + held_out.explained == 0 },
            };
        }
        if seen.is_gone(before) && held_out.is_gone(before) {
            return FixVerdict::Hidden { sites };
        }
        let new: BTreeSet<String> = sites.difference(&before.unexplained).cloned().collect();
        if new.is_empty() { FixVerdict::Open { sites } } else { FixVerdict::Moved { sites: new } }
    }

    /// One word, and where.
    pub fn word(&self) -> &'static str {
        match self {
            FixVerdict::Closed { identical: true } => "closed (identical)",
            FixVerdict::Closed { identical: false } => "closed",
            FixVerdict::Open { .. } => "NOT CLOSED",
            FixVerdict::Moved { .. } => "MOVED",
            FixVerdict::Hidden { .. } => "HIDDEN",
            FixVerdict::Inconclusive { .. } => "inconclusive",
        }
    }

    /// Exit code: 0 closed, 1 not, 3 inconclusive.
    pub fn exit_code(&self) -> u8 {
        match self {
            FixVerdict::Closed { .. } => 0,
            FixVerdict::Inconclusive { .. } => 3,
            _ => 1,
        }
    }
}

impl Gap {
    /// Whether the outputs no longer show a fault.
    fn is_gone(&self, before: &Gap) -> bool {
        let floor = self.floor.unwrap_or(0.0);
        within(self.relative_l2, (TIMES_FLOOR * floor).max(SHARE_LEFT * before.relative_l2))
    }

    /// Whether the published acceptance holds.
    pub fn is_accepted(&self) -> bool {
        // The first is published as "below".
        self.std_ratio < STD_RATIO && within(self.layer, LAYER) && self.cosine >= COSINE
    }
}

/// Accumulates a [`Gap`] over prompts.
#[derive(Debug, Clone, Default)]
pub struct GapSum {
    prompts: usize,
    relative_l2: f64,
    kl: f64,
    oracle: [Option<f64>; 2],
    cosine: Option<f64>,
    std_ratio: f64,
    layer: f64,
    sites: BTreeSet<String>,
    differing: BTreeSet<String>,
    unexplained: BTreeSet<String>,
    undecided: BTreeSet<(String, String)>,
    /// Sites that some prompt exercised.
    exercised: BTreeSet<String>,
    idle: BTreeSet<(String, String)>,
    floor: Option<f64>,
}

impl GapSum {
    /// Adds a comparison with replay; `floor` is what its gap would be if every side were as it declares.
    pub fn add(&mut self, record: &Comparison, floor: Option<f64>) {
        self.prompts += 1;
        self.floor = floor.map(|f| f + self.floor.unwrap_or(0.0)).or(self.floor);
        let reason = match &record.outcome {
            Outcome::Incomparable { reason } => Some(reason),
            Outcome::Inconclusive { reasons } => reasons.first(),
            Outcome::Identical | Outcome::Measured => None,
        };
        self.undecided.extend(reason.map(|why| ("comparison".to_owned(), why.clone())));
        self.kl += record.logits.as_ref().map_or(f64::NAN, |l| l.kl_mean);
        for site in &record.sites {
            self.add_site(site);
        }
    }

    fn add_site(&mut self, site: &SiteRecord) {
        let ratio = if site.a.std == site.b.std { 1.0 } else { (site.b.std / site.a.std).max(site.a.std / site.b.std) };
        match site.point.as_str() {
            "ffn_swiglu" => self.std_ratio = max(self.std_ratio, ratio),
            "output" if site.a.std != site.b.std => self.layer = max(self.layer, (site.b.std / site.a.std - 1.0).abs()),
            "logits" => {
                self.relative_l2 += site.drift.relative_l2.unwrap_or(f64::NAN);
                let cosine = site.drift.cosine.unwrap_or(f64::NAN);
                self.cosine = Some(self.cosine.map_or(cosine, |least| -max(-least, -cosine)));
                for (sum, drift) in self.oracle.iter_mut().zip([&site.a_oracle, &site.b_oracle]) {
                    let distance = drift.as_ref().and_then(|d| d.relative_l2);
                    *sum = distance.map(|d| d + sum.unwrap_or(0.0));
                }
            }
            _ => {}
        }
        self.sites.insert(site.site.clone());
        let undecided = |why: &str| (site.site.clone(), why.to_owned());
        match &site.verdict {
            Some(Verdict::Identical) => {}
            Some(Verdict::Explained { .. }) => {
                self.differing.insert(site.site.clone());
            }
            Some(Verdict::NotExercised { reason }) => {
                self.idle.insert(undecided(reason));
                return;
            }
            Some(Verdict::Unexplained { .. }) => {
                self.unexplained.insert(site.site.clone());
            }
            Some(Verdict::Possible { .. }) => {
                self.undecided.insert(undecided("beyond the calibrated tolerance, within the probabilistic one"));
            }
            Some(Verdict::Inconclusive { reason } | Verdict::Incomparable { reason }) => {
                self.undecided.insert(undecided(reason));
            }
            None => {
                self.undecided.insert(undecided("not judged"));
            }
        }
        self.exercised.insert(site.site.clone());
    }

    /// The gap so far.
    pub fn finish(&self) -> Gap {
        let n = self.prompts as f64;
        let idle = self.idle.iter().filter(|(site, _)| !self.exercised.contains(site)).cloned();
        let undecided: BTreeSet<(String, String)> = self.undecided.iter().cloned().chain(idle).collect();
        let odd: BTreeSet<&String> = undecided.iter().map(|(site, _)| site).chain(&self.unexplained).collect();
        let sound = || self.sites.iter().filter(|s| !odd.contains(s));
        Gap {
            prompts: self.prompts,
            relative_l2: self.relative_l2 / n,
            kl: self.kl / n,
            cosine: self.cosine.unwrap_or(f64::NAN),
            std_ratio: self.std_ratio,
            layer: self.layer,
            a_oracle: self.oracle[0].map(|d| d / n),
            b_oracle: self.oracle[1].map(|d| d / n),
            identical: sound().filter(|s| !self.differing.contains(*s)).count(),
            explained: sound().filter(|s| self.differing.contains(*s)).count(),
            unexplained: self.unexplained.clone(),
            undecided,
            floor: self.floor.map(|f| f / n),
        }
    }
}

/// The larger; NaN if either is.
fn max(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(relative_l2: f64, unexplained: &[&str]) -> Gap {
        Gap {
            prompts: 1,
            relative_l2,
            kl: 0.0,
            cosine: 1.0,
            std_ratio: 1.0,
            layer: 0.0,
            a_oracle: None,
            b_oracle: None,
            identical: 3,
            explained: 4,
            unexplained: unexplained.iter().map(|s| (*s).to_owned()).collect(),
            undecided: BTreeSet::new(),
            floor: Some(0.02),
        }
    }

    fn judged(seen: &Gap, held_out: &Gap) -> &'static str {
        FixVerdict::of(&gap(0.5, &["q", "v"]), seen, held_out).word()
    }

    #[test]
    fn what_is_left_says_whether_a_gap_is_closed_moved_or_hidden() {
        let none = gap(0.02, &[]);
        assert_eq!(judged(&none, &none), "closed");
        let same = Gap { explained: 0, ..none.clone() };
        assert_eq!(judged(&same, &same), "closed (identical)");
        assert_eq!(judged(&gap(0.3, &["q"]), &gap(0.3, &["q"])), "NOT CLOSED");
        assert_eq!(judged(&gap(0.3, &["k"]), &gap(0.3, &["k"])), "MOVED");
        // No more than twice the floor, or a tenth of what it was.
        assert_eq!(judged(&gap(0.04, &["q"]), &gap(0.05, &["q"])), "HIDDEN");
        assert_eq!(judged(&gap(0.06, &["q"]), &gap(0.05, &["q"])), "NOT CLOSED");
    }

    #[test]
    fn a_fault_on_held_out_input_alone_is_not_closed() {
        assert_eq!(judged(&gap(0.02, &[]), &gap(0.3, &["q"])), "NOT CLOSED");
        let mut odd = gap(0.02, &[]);
        odd.undecided.insert(("k".to_owned(), "why".to_owned()));
        assert_eq!(judged(&gap(0.02, &[]), &odd), "inconclusive");
    }

    #[test]
    fn the_published_acceptance_is_at_its_published_bounds() {
        let at = |std_ratio, layer, cosine| Gap { std_ratio, layer, cosine, ..gap(0.0, &[]) }.is_accepted();
        assert!(at(1.0999, 0.1, 0.9999));
        assert!(!at(1.1, 0.0, 1.0) && !at(1.0, 0.11, 1.0) && !at(1.0, 0.0, 0.9998));
        assert!(!at(f64::NAN, 0.0, 1.0) && !at(1.0, f64::NAN, 1.0) && !at(1.0, 0.0, f64::NAN));
    }
}
