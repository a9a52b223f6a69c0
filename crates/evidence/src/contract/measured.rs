//! What a measurement of a claim found, as kept in a file beside the contracts.
//!
//! An evidence file has exactly one right text for its content, digest included: a file whose text is another was edited.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Contract;
use super::claim::{Claim, Measure, Prediction, Said};
use crate::provenance::Provenance;
use crate::within;

/// Version of the layout of evidence files.
pub const SCHEMA: u32 = 1;

/// Relative difference up to which a number measured again is the same number. Bits of the paths do not depend on the
/// machine; a sum of up to 2^24 statistics in f64 that a later compiler orders otherwise stays within 2^24 * 2^-53 = 2e-9.
const SAME: f64 = 1e-8;

/// A number, in decimal and in bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "NumberFields", into = "NumberFields")]
pub struct Number(pub f64);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberFields {
    value: Option<f64>,
    bits: String,
}

impl From<NumberFields> for Number {
    fn from(n: NumberFields) -> Number {
        let bits = n.bits.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Number(bits.map_or(f64::NAN, f64::from_bits))
    }
}

impl From<Number> for NumberFields {
    fn from(n: Number) -> NumberFields {
        NumberFields { value: n.0.is_finite().then_some(n.0), bits: format!("0x{:016x}", n.0.to_bits()) }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Measured {
    /// A number, exactly.
    Value {
        /// The number.
        value: Number,
        /// Where it is worst, if it is the worst of several.
        at: Option<String>,
    },
    /// A number and the interval in which it may be.
    Interval {
        /// Lower end.
        low: Number,
        /// The number.
        value: Number,
        /// Upper end.
        high: Number,
        /// How the ends were found.
        how: String,
    },
    /// What an experiment says.
    Says {
        /// `upheld`, `refuted` or another word, which then decides nothing.
        verdict: String,
        /// The numbers that it rests on.
        numbers: Vec<String>,
    },
    /// Nothing that decides.
    Nothing {
        /// Why.
        why: String,
    },
}

/// What follows for a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// That is not decided.
    Undecided,
}

impl Measured {
    /// A number with no interval.
    pub fn value(value: f64, at: Option<String>) -> Measured {
        if value.is_finite() {
            return Measured::Value { value: Number(value), at };
        }
        Measured::Nothing {
            why: format!("the number is not finite{}", at.map_or(String::new(), |at| format!(" at {at}"))),
        }
    }

    /// Whether the prediction holds.
    pub fn against(&self, prediction: &Prediction) -> Holds {
        let (low, high) = match self {
            Measured::Value { value, .. } => (value.0, value.0),
            Measured::Interval { low, high, .. } => (low.0, high.0),
            Measured::Says { verdict, .. } => return against_words(verdict, prediction),
            Measured::Nothing { .. } => return Holds::Undecided,
        };
        match (prediction.admits(low, high), prediction.excludes(low, high)) {
            (true, _) => Holds::Yes,
            (false, true) => Holds::No,
            (false, false) => Holds::Undecided,
        }
    }

    /// Whether `again` is the same measurement made again.
    pub fn is_reproduced_by(&self, again: &Measured) -> bool {
        let near = |a: Number, b: Number| a == b || within((a.0 - b.0).abs(), SAME * a.0.abs().max(b.0.abs()));
        match (self, again) {
            (Measured::Value { value: a, at: x }, Measured::Value { value: b, at: y }) => near(*a, *b) && x == y,
            (
                Measured::Interval { low: al, value: av, high: ah, .. },
                Measured::Interval { low: bl, value: bv, high: bh, .. },
            ) => near(*al, *bl) && near(*av, *bv) && near(*ah, *bh),
            (Measured::Says { verdict: a, .. }, Measured::Says { verdict: b, .. }) => a == b,
            (Measured::Nothing { .. }, Measured::Nothing { .. }) => true,
            _ => false,
        }
    }
}

fn against_words(verdict: &str, prediction: &Prediction) -> Holds {
    let said = match verdict {
        "upheld" => Said::Upheld,
        "refuted" => Said::Refuted,
        _ => return Holds::Undecided,
    };
    match prediction {
        Prediction::Verdict(expected) if *expected == said => Holds::Yes,
        Prediction::Verdict(_) => Holds::No,
        _ => Holds::Undecided,
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Measured::Value { value, at: Some(at) } => write!(f, "{} at {at}", value.0),
            Measured::Value { value, at: None } => write!(f, "{}", value.0),
            Measured::Interval { low, value, high, .. } => write!(f, "{} [{}, {}]", value.0, low.0, high.0),
            Measured::Says { verdict, .. } => f.write_str(verdict),
            Measured::Nothing { why } => f.write_str(why),
        }
    }
}

/// What the measurement found for something deliberately wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlFound {
    /// What was wrong.
    pub what: String,
    /// What came out.
    pub measured: Measured,
    /// Whether the measurement noticed: it must.
    pub refuted: bool,
}

/// Findings of one claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Version of this layout.
    pub schema: u32,
    /// Name of the contract.
    pub contract: String,
    /// The claim.
    pub claim: String,
    /// BLAKE3 of what the claim measures and predicts.
    pub definition: String,
    /// What made it.
    pub provenance: Provenance,
    /// BLAKE3 of each model, by name.
    pub models: BTreeMap<String, String>,
    /// BLAKE3 of the token ids, as 32-bit little-endian numbers.
    pub tokens: Option<String>,
    /// Kernels that were used. Results do not depend on them.
    pub kernels: Vec<String>,
    /// What came out.
    pub measured: Measured,
    /// Elements that were compared.
    pub compared: u64,
    /// Elements that should have been.
    pub expected: u64,
    /// What came out for something deliberately wrong.
    pub control: Option<ControlFound>,
    /// What follows for the prediction.
    pub holds: Holds,
    /// BLAKE3 of this record with an empty digest.
    pub digest: String,
}

impl Evidence {
    /// Seals the record.
    pub fn sealed(mut self) -> Evidence {
        self.digest = String::new();
        self.digest = blake3::hash(self.text().as_bytes()).to_hex().to_string();
        self
    }

    /// The one right text of the record.
    pub fn text(&self) -> String {
        // A record of numbers, strings and maps with string keys always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Line and words, when it is no evidence, or not as it was written.
    pub fn read(text: &str) -> Result<Evidence, (u64, String)> {
        let evidence: Evidence =
            serde_json::from_str(text).map_err(|e| (e.line() as u64, format!("this is no evidence file: {e}")))?;
        if evidence.schema != SCHEMA {
            return Err((1, format!("layout {} is not known here; this program writes {SCHEMA}", evidence.schema)));
        }
        let right = evidence.clone().sealed().text();
        let differing = right.lines().zip(text.lines()).position(|(a, b)| a != b);
        match differing {
            _ if right == text => Ok(evidence),
            at => {
                let line = at.map_or(text.lines().count(), |i| i + 1) as u64;
                Err((
                    line,
                    "the record was edited after it was written (its digest does not fit): remove the file and measure \
                     again with `twinpath contract check`"
                        .to_owned(),
                ))
            }
        }
    }

    /// The share of the expected elements that was compared.
    pub fn coverage(&self) -> f64 {
        self.compared as f64 / self.expected.max(1) as f64
    }

    /// Models that the contract pins to another content: name, as pinned, as measured.
    pub fn foreign<'e>(&'e self, contract: &'e Contract) -> Option<(&'e str, &'e str, &'e str)> {
        let models = contract.twinpath.as_ref().map(|t| &t.models)?;
        self.models.iter().find_map(|(name, hash)| {
            let pinned = models.get(name)?.blake3.as_deref()?;
            (pinned != hash).then_some((name.as_str(), pinned, hash.as_str()))
        })
    }

    /// Why it no longer speaks of the claim; `None` if it does.
    pub fn stale(&self, claim: &Claim, contract: &Contract, version: &str) -> Option<String> {
        if self.definition != definition(claim) {
            return Some("what the claim measures or predicts was changed since".to_owned());
        }
        if self.tokens != tokens_of(claim, contract) {
            return Some("the prompt was changed since".to_owned());
        }
        if self.provenance.version != version {
            return Some(format!("it was measured by version {}, this is {version}", self.provenance.version));
        }
        None
    }
}

/// BLAKE3 of what a claim measures and predicts; wording is no part of it.
pub fn definition(claim: &Claim) -> String {
    let parts = (&claim.measure, &claim.prediction, claim.coverage.to_bits(), &claim.control, &claim.requires_model);
    let text = serde_json::to_string(&parts).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Name of the prompt that a claim runs.
pub fn prompt_of(claim: &Claim) -> Option<&str> {
    match &claim.measure {
        Measure::Compare(m) => Some(&m.prompt),
        Measure::Repeat(m) => Some(&m.prompt),
        Measure::Speed(m) => Some(&m.prompt),
        Measure::Experiment(m) => Some(&m.prompt),
        _ => None,
    }
}

/// BLAKE3 of the token ids that a claim runs.
pub fn tokens_of(claim: &Claim, contract: &Contract) -> Option<String> {
    let tokens = contract.twinpath.as_ref()?.prompts.get(prompt_of(claim)?)?;
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    Some(blake3::hash(&bytes).to_hex().to_string())
}

/// Names of the models that a claim runs.
pub fn models_of(claim: &Claim) -> Vec<&str> {
    let mut names: Vec<&str> = match &claim.measure {
        Measure::Compare(m) => vec![&m.a.model, &m.b.model],
        Measure::Repeat(m) => vec![&m.model],
        Measure::Decode(m) => vec![&m.model],
        Measure::Weights(m) => vec![&m.a, &m.b],
        Measure::Speed(m) => vec![&m.model],
        Measure::Experiment(m) => vec![&m.model],
        Measure::Published(m) => m.model.as_deref().into_iter().collect(),
        Measure::External(_) => vec![],
    };
    names.extend(claim.requires_model.as_deref());
    names.sort_unstable();
    names.dedup();
    names
}
