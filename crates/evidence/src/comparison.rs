//! Two paths side by side.

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::drift::Drift;
use crate::layers::LayerSplit;
use crate::local::Local;
use crate::logits::LogitDrift;
use crate::massive::{Peak, Peaks};
use crate::null::NullTest;
use crate::profile::Profile;
use crate::provenance::Provenance;
use crate::split::Split;
use crate::statistical::Statistical;
use crate::stats::Stats;
use crate::verdict::Verdict;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 3;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInfo {
    /// As given on the command line, `model.gguf@fused-q8k`.
    pub label: String,
    /// The arithmetic.
    pub path: String,
    /// Kernels chosen.
    pub kernels: String,
}

/// Everything measured at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Text form of the site, `blk.3.ffn_swiglu`.
    pub site: String,
    /// The layer, if any.
    pub layer: Option<usize>,
    /// The point, `ffn_swiglu`.
    pub point: String,
    /// Block type of the weights that made it (`Q4_K`), if any.
    pub weights: Option<String>,
    /// A's own values.
    pub a: Stats,
    /// B's own values.
    pub b: Stats,
    /// B against A.
    pub drift: Drift,
    /// A against the oracle.
    pub a_oracle: Option<Drift>,
    /// B against the oracle.
    pub b_oracle: Option<Drift>,
    /// A replayed on its own inputs; absent where A is a recording or the oracle, and without replay.
    pub a_local: Option<Local>,
    /// B on its own.
    pub b_local: Option<Local>,
    /// B by the statistics of rounding, where that was asked for or its inputs are not known.
    pub statistical: Option<Statistical>,
    /// Where the drift comes from; absent where B is not replayed or A's arithmetic is unknown.
    pub split: Option<Split>,
    /// What follows; absent without replay.
    pub verdict: Option<Verdict>,
    /// Sites that a recording lacks: their ops were judged with this one, whose tolerance includes their roundings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
}

/// What the run as a whole allows to conclude.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The worst of the sites.
    pub verdict: Verdict,
    /// The first site in execution order that is unexplained.
    pub first_unexplained: Option<String>,
    /// Chance of a false alarm in a run of faithful paths.
    pub alpha: f64,
    /// Sites with each verdict, best first.
    pub counts: Vec<(String, usize)>,
    /// Elements judged, of both sides.
    pub judged: u64,
    /// Elements that should have been.
    pub expected: u64,
    /// Multiplications and additions of all that ran (both sides, their replays, the oracle, A's layers on B's input), in
    /// forward passes of one side.
    pub passes: f64,
}

impl Judgement {
    /// Judges the run by its sites. `None` if no site has a verdict.
    pub fn of(sites: &[SiteRecord], alpha: f64, passes: f64) -> Option<Judgement> {
        let verdicts = || sites.iter().filter_map(|s| s.verdict.as_ref());
        let verdict = verdicts().cloned().reduce(Verdict::worse)?;
        let mut words: Vec<(u8, String)> = verdicts().map(|v| (v.rank(), v.word().to_owned())).collect();
        words.sort();
        let mut counts: Vec<(String, usize)> = Vec::new();
        for (_, word) in words {
            match counts.last_mut() {
                Some((last, n)) if *last == word => *n += 1,
                _ => counts.push((word, 1)),
            }
        }
        let first = sites.iter().find(|s| matches!(s.verdict, Some(Verdict::Unexplained { .. })));
        let locals = || sites.iter().flat_map(|s| [s.a_local.as_ref(), s.b_local.as_ref()]).flatten();
        let statistical = || sites.iter().filter_map(|s| s.statistical.as_ref());
        let judged = locals().map(|l| l.judged).chain(statistical().map(|s| s.judged)).sum();
        let not_judged = locals().map(|l| l.not_judged).chain(statistical().map(|s| s.not_judged)).sum::<u64>();
        Some(Judgement {
            verdict,
            first_unexplained: first.map(|s| s.site.clone()),
            alpha,
            counts,
            judged,
            expected: judged + not_judged,
            passes,
        })
    }
}

/// How much of a forward pass a recording of another engine holds, and how it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Sites that it holds.
    pub recorded: usize,
    /// Sites of the forward pass.
    pub expected: usize,
    /// Sites whose ops were judged: by their own recorded value, or with the next recorded one.
    pub judged: usize,
    /// Sites that it lacks, each with the recorded one that its op was judged with.
    pub judged_with: Vec<(String, String)>,
    /// Sites that it lacks and whose ops nothing was said of.
    pub unjudged: Vec<String>,
    /// What was taken to be so while it was read.
    pub notes: Vec<String>,
}

/// Two paths over the same tokens, site by site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// The reference side.
    pub a: SideInfo,
    /// The other side.
    pub b: SideInfo,
    /// Whose weights the oracle used, if it ran.
    pub oracle: Option<String>,
    /// Token ids, the same on both sides.
    pub tokens: Vec<u32>,
    /// In execution order.
    pub sites: Vec<SiteRecord>,
    /// What each layer adds and passes on; absent unless every layer of A was also run on B's input.
    pub layers: Option<LayerSplit>,
    /// B's next-token distributions against A's.
    pub logits: Option<LogitDrift>,
    /// A's against the oracle's.
    pub a_oracle_logits: Option<LogitDrift>,
    /// B's against the oracle's.
    pub b_oracle_logits: Option<LogitDrift>,
    /// Each side's whole error against the oracle; absent where it did not run.
    pub budget: Option<Budget>,
    /// Norms token by token: of every site for a prompt of few tokens, else of the residual stream.
    pub profiles: Vec<Profile>,
    /// The largest value of each position of A, at every site that matrices read.
    #[serde(default)]
    pub peaks: Vec<Peaks>,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// Whether arithmetic explains it; absent without replay.
    pub judgement: Option<Judgement>,
    /// What a recording of another engine holds; absent where no side is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Whether the drift is as large as rounding alone would make it; absent unless asked for.
    pub null: Option<NullTest>,
    /// What may be concluded.
    pub outcome: Outcome,
}

impl Comparison {
    /// Exit code: that of the outcome where something could not be compared; else of the judgement, if there is one.
    pub fn exit_code(&self) -> u8 {
        match (&self.outcome, &self.judgement) {
            (_, Some(j)) if matches!(j.verdict, Verdict::Unexplained { .. }) => 1,
            (Outcome::Measured | Outcome::Identical, Some(j)) => j.verdict.exit_code(),
            (outcome, _) => outcome.exit_code(),
        }
    }
}

/// What may be concluded from the drift alone: whether all was compared, and whether it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Every expected element of every site was compared and is equal.
    Identical,
    /// Every expected element of every site was compared; the drift is what the table says.
    Measured,
    /// Something that should have been compared was not.
    Inconclusive {
        /// What.
        reasons: Vec<String>,
    },
    /// The sides are not of the same thing.
    Incomparable {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// What a full set of site records allows to conclude.
    pub fn of(sites: &[SiteRecord]) -> Outcome {
        if sites.is_empty() {
            return Outcome::Inconclusive { reasons: vec!["no site was compared".to_owned()] };
        }
        let drifts = |s: &SiteRecord| [Some(&s.drift), s.a_oracle.as_ref(), s.b_oracle.as_ref()].map(|d| d.cloned());
        let reasons: Vec<String> = sites
            .iter()
            .filter_map(|s| {
                let d = drifts(s).into_iter().flatten().find(|d| !d.is_complete())?;
                let (bad, reference) = (d.non_finite, d.reference_non_finite);
                Some(format!(
                    "{}: {} of {} elements compared ({bad} non-finite, {reference} non-finite in the reference)",
                    s.site, d.compared, d.expected
                ))
            })
            .collect();
        if !reasons.is_empty() {
            return Outcome::Inconclusive { reasons };
        }
        if sites.iter().all(|s| s.drift.is_identical()) { Outcome::Identical } else { Outcome::Measured }
    }

    /// The outcome, given that some things also could not be compared.
    pub fn and(self, unpaired: Vec<String>) -> Outcome {
        match self {
            _ if unpaired.is_empty() => self,
            Outcome::Inconclusive { mut reasons } => {
                reasons.extend(unpaired);
                Outcome::Inconclusive { reasons }
            }
            Outcome::Incomparable { .. } => self,
            Outcome::Identical | Outcome::Measured => Outcome::Inconclusive { reasons: unpaired },
        }
    }

    /// Exit code: 0 compared, 3 inconclusive or incomparable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Identical | Outcome::Measured => 0,
            Outcome::Inconclusive { .. } | Outcome::Incomparable { .. } => 3,
        }
    }
}

/// A doubt about a measurement, with what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// One position only.
    SinglePosition,
    /// The sides hold different weights.
    DifferentWeights {
        /// Tensors whose values differ.
        tensors: Vec<String>,
    },
    /// The oracle did not run.
    OracleSkipped {
        /// Estimated cost in seconds.
        seconds: u64,
    },
    /// A token's norm moved otherwise than the others': the sides may not be aligned.
    UnevenNorms {
        /// The site.
        site: String,
        /// The token position.
        position: usize,
        /// `‖B‖ / ‖A‖` there over the median of all positions.
        ratio: f64,
    },
    /// One token is much larger than the others, on both sides alike.
    LargeToken {
        /// The site where it is largest.
        site: String,
        /// The token position.
        position: usize,
        /// Its norm over the median one, in A.
        times: f64,
        /// Root mean square over all positions over that of the last, in A and in B.
        all_over_last: [f64; 2],
    },
    /// Some activations are a thousand times the median.
    Massive {
        /// The site with the largest.
        site: String,
        /// Its token position.
        position: usize,
        /// Its channel.
        channel: usize,
        /// A's value.
        a: f64,
        /// B's value.
        b: f64,
        /// All positions with a massive activation anywhere.
        positions: Vec<usize>,
        /// All channels.
        channels: Vec<usize>,
        /// Massive in one side only.
        one_sided: usize,
    },
    /// Some blocks of activations are coded as one element of them alone demands.
    SoleScales {
        /// The site with the largest such element, relative to the median of its row.
        site: String,
        /// The element.
        peak: Peak,
        /// Such blocks, at all sites that matrices read.
        sole: usize,
        /// Blocks there.
        blocks: usize,
    },
    /// The prompt is shorter than the sliding window.
    WindowIdle {
        /// Keys that a row may see.
        window: usize,
    },
    /// A doubt about a file.
    File {
        /// The file.
        file: String,
        /// The doubt.
        doubt: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::SinglePosition => f.write_str(
                "one token only: RoPE is the identity at position 0 and the mask has nothing to hide, so neither is \
                 exercised; use a longer prompt",
            ),
            Warning::DifferentWeights { tensors } => write!(
                f,
                "the sides hold different weights ({}{}): the drift is of weights and arithmetic together; compare one \
                 file along two paths to see the arithmetic alone",
                tensors.first().map_or("", String::as_str),
                if tensors.len() > 1 { format!(" and {} more", tensors.len() - 1) } else { String::new() }
            ),
            Warning::OracleSkipped { seconds } => write!(
                f,
                "the f64 oracle would take about {seconds} s and was not run: `--oracle on` runs it, a shorter prompt \
                 makes it cheaper"
            ),
            Warning::UnevenNorms { site, position, ratio } => write!(
                f,
                "at {site} the norm of position {position} is {ratio:.3} times as large in B, measured by the other \
                 positions: check that tokens and positions are aligned before trusting a pooled number"
            ),
            Warning::LargeToken { site, position, times, all_over_last: [a, b] } => write!(
                f,
                "position {position} is {times:.1} times as large as the median position at {site}: pooled over all \
                 positions the values there are {a:.2} times those of the last position in A, and {b:.2} times in B, so a \
                 ratio of one side's all to the other's last would show {a:.1}x with no arithmetic at all; compare equal \
                 positions only"
            ),
            Warning::Massive { site, position, channel, a, b, positions, channels, one_sided } => write!(
                f,
                "massive activations at positions {positions:?}, channels {channels:?}; the largest at {site} {position}:\
                 {channel} ({a:.4} in A, {b:.4} in B), {one_sided} in one side only: numbers pooled over tokens or \
                 channels are theirs; look at single positions"
            ),
            Warning::SoleScales { site, peak, sole, blocks } => write!(
                f,
                "one element sets the scale of {sole} of {blocks} blocks of 256 that matrices read; the largest at {site} \
                 {}:{} is {:.4}, {:.0} times the median of its row: where activations are coded with one scale per 256 its \
                 neighbours are crushed; `explain` says what that does, `--policy c` and `--policy mixed` avoid it",
                peak.position,
                peak.channel,
                peak.value,
                peak.times_median.unwrap_or(f64::INFINITY)
            ),
            Warning::WindowIdle { window } => write!(
                f,
                "the prompt fits the sliding window of {window}, so the window is not exercised: use a longer prompt"
            ),
            Warning::File { file, doubt } => write!(f, "{file}: {doubt}"),
        }
    }
}
