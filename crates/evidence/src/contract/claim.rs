//! What this project adds to the published schema: claims that a machine re-measures, gates that name the claims they need,
//! and the history of both.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::within;

/// Version of the extension.
pub const SCHEMA: u32 = 1;

/// What the claims speak of.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Extension {
    /// Version of the extension; this reader knows 1.
    pub schema: u32,
    /// The models, by the names that claims call them.
    #[serde(default)]
    pub models: BTreeMap<String, ModelRef>,
    /// Token ids of the prompts, by the names that claims call them.
    #[serde(default)]
    pub prompts: BTreeMap<String, Vec<u32>>,
}

/// A model file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// What it is.
    pub description: String,
    /// File name of a bundled model. Absent for a model that is only measured where somebody gives it.
    pub file: Option<String>,
    /// BLAKE3 of the content, 64 hexadecimal digits. Evidence for another content is refused.
    pub blake3: Option<String>,
    /// Dimensions that a given file must have, by the names of `twinpath inspect`.
    #[serde(default)]
    pub dimensions: BTreeMap<String, u64>,
}

/// A promise about numbers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Claim {
    /// Its name, unique among all contracts of the folder.
    pub id: String,
    /// The promise, in a sentence.
    pub statement: String,
    /// How it is measured.
    pub measure: Measure,
    /// Where the measured number must lie; fixed before the measurement.
    pub prediction: Prediction,
    /// Share of the expected elements that must have been compared, above 0 and at most 1.
    #[serde(default = "everything")]
    pub coverage: f64,
    /// Something deliberately wrong that the same measurement must refute.
    pub control: Option<Control>,
    /// What it would mean if the prediction failed, and what to do then.
    pub if_refuted: String,
    /// Claims, gates or contracts that must hold first.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Name of the model without which it cannot be measured.
    pub requires_model: Option<String>,
}

fn everything() -> f64 {
    1.0
}

/// How a claim is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Two paths over the same tokens.
    Compare(Compare),
    /// One path again and again, under conditions that must not matter.
    Repeat(Repeat),
    /// Every weight of a model, decoded to f32 and in f64.
    Decode(Decode),
    /// Stored bytes of two model files.
    Weights(Weights),
    /// Tokens a second.
    Speed(Speed),
    /// A built-in experiment, in its sound form.
    Experiment(ExperimentRef),
    /// The published figures of a built-in experiment, to the bit.
    Published(PublishedRef),
    /// Something that this program does not run. Never discharged by it.
    External(External),
}

/// A model along a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Name of the model.
    pub model: String,
    /// Name of the path, or `oracle`.
    pub path: String,
}

/// Two paths over the same tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compare {
    /// The reference.
    pub a: Run,
    /// The other side.
    pub b: Run,
    /// Name of the prompt.
    pub prompt: String,
    /// Sites (`blk.3.ffn_swiglu`) or points of every layer (`ffn_swiglu`); all sites if left out.
    #[serde(default)]
    pub sites: Vec<String>,
    /// What is measured there.
    pub quantity: Quantity,
    /// Which pair it is measured between.
    #[serde(default)]
    pub between: Between,
}

/// Pairs among the two sides and the f64 oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// B against A.
    #[default]
    AB,
    /// A against the oracle.
    AOracle,
    /// B against the oracle.
    BOracle,
}

/// Numbers that a comparison yields; the worst over the sites counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Largest `‖x − r‖₂ / ‖r‖₂`.
    RelativeL2,
    /// Smallest cosine of the angle between the values.
    Cosine,
    /// Largest `|x − r|`.
    Peak,
    /// Elements that are not equal.
    Differing,
    /// Sites at which the sides do not have the same number of values over the same positions.
    UnequalCounts,
    /// Largest ratio of the sides' standard deviations, the larger one above.
    StdRatio,
    /// Mean over positions of KL(reference ‖ side), in nats.
    KlMean,
    /// Share of the positions whose most likely token is the same.
    Top1Share,
    /// Smallest ratio of A's distance from the oracle, `‖A − oracle‖₂`, to B's.
    OracleRatio,
}

impl Quantity {
    /// Values that it can take at all. A prediction that admits them all says nothing.
    pub fn range(self) -> (f64, f64) {
        match self {
            Quantity::Cosine => (-1.0, 1.0),
            Quantity::Top1Share => (0.0, 1.0),
            Quantity::StdRatio => (1.0, f64::INFINITY),
            _ => (0.0, f64::INFINITY),
        }
    }
}

/// One path again and again; counts logits whose bits are not those of the first run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repeat {
    /// Name of the model.
    pub model: String,
    /// Name of the path.
    pub path: String,
    /// Name of the prompt.
    pub prompt: String,
    /// What changes between the runs.
    pub over: Vec<Condition>,
}

/// Conditions that must not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nothing: the same run twice.
    Again,
    /// A probe that looks at every value, and none.
    Observed,
    /// One, two and three threads.
    Threads,
    /// The prompt in one call, token by token, and in uneven pieces.
    Calls,
    /// Every instruction set of this processor.
    InstructionSets,
}

/// Every weight of a model along the path `standalone`; counts those that are not the stored value rounded once to f32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decode {
    /// Name of the model.
    pub model: String,
    /// Block formats that must occur in it; all that occur are measured.
    #[serde(default)]
    pub formats: Vec<String>,
}

/// Stored bytes of two models; counts matrices whose type, shape or bytes are not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Weights {
    /// Name of a model.
    pub a: String,
    /// Name of the other.
    pub b: String,
}

/// Greedy decoding; measures tokens a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Speed {
    /// Name of the model.
    pub model: String,
    /// Name of the path.
    pub path: String,
    /// Name of the prompt.
    pub prompt: String,
    /// Tokens to decode.
    pub tokens: u32,
    /// Name of another path: then it measures the time a token takes, over the time it takes along that one, in turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// A built-in experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentRef {
    /// Its name, as in `twinpath falsify`.
    pub id: String,
    /// One of its measurements, by name. Without it the prediction is `verdict: upheld`.
    pub check: Option<String>,
    /// Name of the model.
    pub model: String,
    /// Name of the prompt.
    pub prompt: String,
}

/// The published figures of a built-in experiment; counts those that do not come out again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedRef {
    /// Its name, as in `twinpath falsify`.
    pub id: String,
    /// Name of the published model, for the figures that need it.
    pub model: Option<String>,
}

/// Something that this program does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct External {
    /// What would measure it.
    pub tool: String,
    /// Why this program does not.
    pub because: String,
}

/// Where the measured number must lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// Between the two, ends included.
    In([f64; 2]),
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// Exactly this.
    Equals(f64),
    /// The verdict of an experiment.
    Verdict(Said),
}

/// What an experiment must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Its claim holds.
    Upheld,
    /// Its claim does not hold.
    Refuted,
}

impl Prediction {
    /// The smallest and the largest value admitted; none for a verdict.
    pub fn band(&self) -> Option<(f64, f64)> {
        match *self {
            Prediction::In([low, high]) => Some((low, high)),
            Prediction::AtMost(high) => Some((f64::NEG_INFINITY, high)),
            Prediction::AtLeast(low) => Some((low, f64::INFINITY)),
            Prediction::Equals(x) => Some((x, x)),
            Prediction::Verdict(_) => None,
        }
    }

    /// Whether all of `low ..= high` is admitted. NaN never is.
    pub fn admits(&self, low: f64, high: f64) -> bool {
        self.band().is_some_and(|(least, most)| within(least, low) && within(low, high) && within(high, most))
    }

    /// Whether none of `low ..= high` is admitted. NaN is neither admitted nor excluded.
    pub fn excludes(&self, low: f64, high: f64) -> bool {
        self.band().is_some_and(|(least, most)| high < least || low > most)
    }
}

impl std::fmt::Display for Prediction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Prediction::In([low, high]) => write!(f, "{low} .. {high}"),
            Prediction::AtMost(high) => write!(f, "<= {high}"),
            Prediction::AtLeast(low) => write!(f, ">= {low}"),
            Prediction::Equals(x) => write!(f, "= {x}"),
            Prediction::Verdict(Said::Upheld) => f.write_str("upheld"),
            Prediction::Verdict(Said::Refuted) => f.write_str("refuted"),
        }
    }
}

/// Something deliberately wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A named fault, planted in the measured side.
    Fault(String),
    /// The experiment brings its own.
    BuiltIn(BuiltIn),
}

/// Where a control comes with the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// The experiment's own controls.
    Experiment,
}

/// A decision that rests on claims.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Gate {
    /// Its name, unique among all contracts of the folder.
    pub id: String,
    /// What it demands, in a sentence.
    pub demands: String,
    /// Claims that must be discharged.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Gates that must be met first.
    #[serde(default)]
    pub gates: Vec<String>,
}

/// What changed with a version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Amendment {
    /// The version that it made.
    pub version: String,
    /// The day, `2026-05-10`, where it is known.
    pub date: Option<String>,
    /// Why.
    pub reason: String,
    /// Claims that it added or changed.
    #[serde(default)]
    pub claims: Vec<String>,
    /// What was said of each at that time, by whoever wrote it. Not computed, and of no effect.
    #[serde(default)]
    pub said_then: BTreeMap<String, String>,
}
