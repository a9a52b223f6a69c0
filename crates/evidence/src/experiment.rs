//! Experiments: what was predicted, what was measured, and the verdict that follows.
//!
//! A verdict is a function of the numbers. It is written into a record for readers, and computed again when one is read:
//! editing it has no effect.

use serde::{Deserialize, Serialize};

use crate::provenance::Provenance;
use crate::within;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// What an experiment says of its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every measurement lies within its prediction, with its whole interval.
    Upheld,
    /// A measurement lies outside its prediction, with its whole interval.
    Refuted,
    /// The numbers do not decide, or a control failed.
    Inconclusive,
    /// The input cannot show it.
    NotExercised,
    /// Something that it needs was not given. Never a pass.
    Skipped,
}

impl Verdict {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Upheld => "UPHELD",
            Verdict::Refuted => "REFUTED",
            Verdict::Inconclusive => "INCONCLUSIVE",
            Verdict::NotExercised => "NOT EXERCISED",
            Verdict::Skipped => "SKIPPED",
        }
    }
}

/// A measured number and where it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The number.
    pub estimate: f64,
    /// Upper end.
    pub high: f64,
    /// How the ends were found: `exact`, or the resampling and its unit.
    pub how: String,
}

impl Interval {
    /// A number that has no sampling error: a count, or an extreme over all that there is.
    pub fn exact(x: f64) -> Interval {
        Interval { low: x, estimate: x, high: x, how: "exact".to_owned() }
    }

    fn is_sound(&self) -> bool {
        within(self.low, self.estimate)
            && within(self.estimate, self.high)
            && self.high.is_finite()
            && self.low.is_finite()
    }
}

/// Where a number was predicted to be; an absent end is open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Smallest value admitted.
    pub low: Option<f64>,
    /// Largest value admitted.
    pub high: Option<f64>,
}

impl Band {
    /// `low ..= high`.
    pub fn between(low: f64, high: f64) -> Band {
        Band { low: Some(low), high: Some(high) }
    }

    /// At most `high`.
    pub fn at_most(high: f64) -> Band {
        Band { low: None, high: Some(high) }
    }

    /// At least `low`.
    pub fn at_least(low: f64) -> Band {
        Band { low: Some(low), high: None }
    }

    /// Exactly zero: a count of things that must not be.
    pub fn none() -> Band {
        Band::between(0.0, 0.0)
    }

    fn judge(&self, x: &Interval) -> Verdict {
        let inside = self.low.is_none_or(|low| within(low, x.low)) && self.high.is_none_or(|high| within(x.high, high));
        let outside = self.low.is_some_and(|low| x.high < low) || self.high.is_some_and(|high| x.low > high);
        match (x.is_sound(), inside, outside) {
            (false, ..) => Verdict::Inconclusive,
            (true, true, _) => Verdict::Upheld,
            (true, _, true) => Verdict::Refuted,
            _ => Verdict::Inconclusive,
        }
    }
}

/// What came out of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measured {
    /// A number.
    Value(Interval),
    /// None: too little to measure on, or not finite.
    Nothing {
        /// Why.
        why: String,
    },
    /// The input cannot show it.
    NotExercised {
        /// Why.
        why: String,
    },
    /// Something was not given.
    Skipped {
        /// What it needs.
        needs: String,
    },
}

impl From<Option<Interval>> for Measured {
    fn from(x: Option<Interval>) -> Measured {
        match x {
            Some(x) if x.is_sound() => Measured::Value(x),
            Some(_) => Measured::Nothing { why: "the number is not finite".to_owned() },
            None => Measured::Nothing { why: "too few samples for an interval".to_owned() },
        }
    }
}

impl From<Interval> for Measured {
    fn from(x: Interval) -> Measured {
        Some(x).into()
    }
}

/// One prediction and its measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "CheckFields")]
pub struct Check {
    /// What is measured, over what.
    pub name: String,
    /// Where it must be, fixed before the run.
    pub prediction: Band,
    /// Where the prediction comes from.
    pub because: String,
    /// What came out.
    pub measured: Measured,
    verdict: Verdict,
}

/// A [`Check`] as written, before its verdict is computed.
#[derive(Deserialize)]
struct CheckFields {
    name: String,
    prediction: Band,
    because: String,
    measured: Measured,
}

impl From<CheckFields> for Check {
    fn from(f: CheckFields) -> Check {
        Check::new(&f.name, f.prediction, &f.because, f.measured)
    }
}

impl Check {
    /// Judges a measurement by its prediction.
    pub fn new(name: &str, prediction: Band, because: &str, measured: impl Into<Measured>) -> Check {
        let measured = measured.into();
        let verdict = match &measured {
            Measured::Value(x) => prediction.judge(x),
            Measured::Nothing { .. } => Verdict::Inconclusive,
            Measured::NotExercised { .. } => Verdict::NotExercised,
            Measured::Skipped { .. } => Verdict::Skipped,
        };
        Check { name: name.to_owned(), prediction, because: because.to_owned(), measured, verdict }
    }

    /// What follows from the numbers.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// What an experiment found, before it is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The claim's predictions.
    pub checks: Vec<Check>,
    /// The same measurements of something deliberately wrong: each must be refuted.
    pub controls: Vec<Check>,
    /// The same measurements of something known to be right: each must be upheld.
    pub positive_controls: Vec<Check>,
    /// What else is worth knowing, in sentences.
    pub notes: Vec<String>,
}

impl Findings {
    /// Whether the measurement has shown that it can say both yes and no.
    pub fn controls_hold(&self) -> bool {
        let all = |checks: &[Check], verdict| !checks.is_empty() && checks.iter().all(|c| c.verdict == verdict);
        all(&self.controls, Verdict::Refuted) && all(&self.positive_controls, Verdict::Upheld)
    }

    fn verdict(&self) -> Verdict {
        let any = |verdict| self.checks.iter().any(|c| c.verdict == verdict);
        if any(Verdict::Refuted) {
            Verdict::Refuted
        } else if any(Verdict::Inconclusive) || self.checks.is_empty() {
            Verdict::Inconclusive
        } else if any(Verdict::Upheld) {
            if self.controls_hold() { Verdict::Upheld } else { Verdict::Inconclusive }
        } else if any(Verdict::Skipped) {
            Verdict::Skipped
        } else {
            Verdict::NotExercised
        }
    }
}

/// One experiment and what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ExperimentFields")]
pub struct ExperimentRecord {
    /// Its name on the command line.
    pub id: String,
    /// The claim, in a sentence.
    pub claim: String,
    /// Everything measured.
    pub findings: Findings,
    /// What the published procedure says of the published claim, and the title that it was given.
    pub published: Option<String>,
    controls_hold: bool,
    verdict: Verdict,
}

#[derive(Deserialize)]
struct ExperimentFields {
    id: String,
    claim: String,
    findings: Findings,
    published: Option<String>,
}

impl From<ExperimentFields> for ExperimentRecord {
    fn from(f: ExperimentFields) -> ExperimentRecord {
        ExperimentRecord::new(&f.id, &f.claim, f.findings, f.published)
    }
}

impl ExperimentRecord {
    /// Judges what was found.
    pub fn new(id: &str, claim: &str, findings: Findings, published: Option<String>) -> ExperimentRecord {
        let (controls_hold, verdict) = (findings.controls_hold(), findings.verdict());
        ExperimentRecord { id: id.to_owned(), claim: claim.to_owned(), findings, published, controls_hold, verdict }
    }

    /// What follows from the findings.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether every control was refuted and every positive control upheld.
    pub fn controls_hold(&self) -> bool {
        self.controls_hold
    }
}

/// All experiments of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Falsification {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// Token ids that the model was run on.
    pub tokens: Vec<u32>,
    /// In the order of the list.
    pub experiments: Vec<ExperimentRecord>,
    /// How many came out how.
    pub counts: Counts,
}

/// How many came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Experiments upheld.
    pub upheld: usize,
    /// Experiments refuted.
    pub refuted: usize,
    /// Experiments that decide nothing.
    pub inconclusive: usize,
    /// Experiments whose input cannot show it.
    pub not_exercised: usize,
    /// Experiments not run for want of something.
    pub skipped: usize,
    /// Single rows not measured for want of something, in all experiments.
    pub skipped_rows: usize,
    /// Experiments whose controls did not come out as they must.
    pub controls_failed: usize,
}

impl Falsification {
    /// Counts what came out.
    pub fn new(provenance: Provenance, tokens: Vec<u32>, experiments: Vec<ExperimentRecord>) -> Falsification {
        let count = |verdict| experiments.iter().filter(|e| e.verdict == verdict).count();
        let rows = experiments.iter().flat_map(|e| &e.findings.checks);
        let counts = Counts {
            upheld: count(Verdict::Upheld),
            refuted: count(Verdict::Refuted),
            inconclusive: count(Verdict::Inconclusive),
            not_exercised: count(Verdict::NotExercised),
            skipped: count(Verdict::Skipped),
            skipped_rows: rows.filter(|c| c.verdict == Verdict::Skipped).count(),
            controls_failed: experiments.iter().filter(|e| !e.controls_hold).count(),
        };
        Falsification { schema: SCHEMA, provenance, tokens, experiments, counts }
    }

    /// Exit code: 1 something was refuted, 3 something is undecided or nothing was upheld, 0 otherwise.
    pub fn exit_code(&self) -> u8 {
        let c = &self.counts;
        match c {
            _ if c.refuted > 0 => 1,
            _ if c.inconclusive > 0 || c.upheld == 0 => 3,
            _ => 0,
        }
    }
}
