//! The published schema: the part of a contract file that other people's validator reads too.
//!
//! Keys are listed, not tolerated: a key that no field here names is reported, with the nearest one that exists.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Who, what and why.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Metadata {
    /// Semantic version of the file, `1.13.0`.
    pub version: String,
    /// What is promised, in a sentence or two.
    pub description: String,
    /// Day of the first version, `2026-11-22`.
    pub created: Option<String>,
    /// Who answers for it.
    pub author: Option<String>,
    /// Where the claims come from; at least one.
    #[serde(default)]
    pub references: Vec<String>,
    /// Names (file stems) of contracts that this one builds on.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Old spelling of `kind: registry`.
    #[serde(default)]
    pub registry: bool,
    /// What sort of contract it is; decides which rules apply.
    #[serde(default)]
    pub kind: Kind,
    /// How strictly it is to be enforced.
    pub enforcement_level: Option<EnforcementLevel>,
    /// A level below which it may not fall.
    pub locked_level: Option<String>,
    /// Whose behaviour it was taken from.
    pub competitor: Option<String>,
    /// How much it is wanted, 1 to 5.
    pub demand_score: Option<i64>,
    /// How far it has come.
    pub intake_status: Option<IntakeStatus>,
}

/// Sorts of contracts. Only `kernel` must bring proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the published names")]
pub enum Kind {
    #[default]
    Kernel,
    Registry,
    ModelFamily,
    ModelFamilyVariant,
    Tokenizer,
    TrainingLoop,
    PretrainingCorpus,
    TrainingPreconditionGate,
    CorpusAssembly,
    Pattern,
    Schema,
    Kaizen,
    BeatBenchmark,
}

/// How strictly a contract is to be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the published names")]
pub enum EnforcementLevel {
    Basic,
    Standard,
    Strict,
    Proven,
}

/// How far a taken-over behaviour has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the published names")]
pub enum IntakeStatus {
    Missing,
    Partial,
    Supported,
    Unclear,
}

/// Something to be proved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Obligation {
    /// Its name.
    pub id: Option<String>,
    /// What sort of property it is.
    #[serde(rename = "type", default)]
    pub sort: ObligationType,
    /// The property, in words. Also spelt `statement`.
    #[serde(default, alias = "statement")]
    pub property: String,
    /// The property, in symbols. Also spelt `verification`.
    #[serde(alias = "verification")]
    pub formal: Option<String>,
    /// Rounding that is allowed for.
    pub tolerance: Option<f64>,
    /// `all`, `scalar`, `simd`, `converter`, `not_applicable` or a name.
    pub applies_to: Option<String>,
    /// What proves it: one name or several.
    pub discharged_by: Option<Value>,
    /// Why it does not apply.
    pub na_reason: Option<String>,
    /// Who says that it does not apply.
    pub na_owner: Option<String>,
    /// A proof in Lean.
    pub lean: Option<Value>,
    /// For a postcondition: what it rests on.
    pub requires: Option<String>,
    /// For a loop property: the loop.
    pub applies_to_phase: Option<String>,
    /// For a subcontract: the contract that it is part of.
    pub parent_contract: Option<String>,
}

/// Sorts of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the published names")]
pub enum ObligationType {
    #[default]
    Invariant,
    Equivalence,
    Bound,
    Monotonicity,
    Idempotency,
    Linearity,
    Symmetry,
    Associativity,
    Conservation,
    Ordering,
    Completeness,
    Soundness,
    Involution,
    Determinism,
    Roundtrip,
    StateMachine,
    Classification,
    Independence,
    Termination,
    Safety,
    Liveness,
    Precondition,
    Postcondition,
    Frame,
    LoopInvariant,
    LoopVariant,
    OldState,
    Subcontract,
}

/// A test that could show the contract to be broken.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FalsificationTest {
    /// Its name, unique in the file.
    pub id: String,
    /// What it tests. Also spelt `description`.
    #[serde(default, alias = "description")]
    pub rule: String,
    /// What is expected. Also spelt `expected`.
    #[serde(default, alias = "expected")]
    pub prediction: String,
    /// How to run it. Also spelt `command`.
    #[serde(alias = "command")]
    pub test: Option<String>,
    /// The harness that runs it.
    pub test_harness: Option<String>,
    /// A title.
    pub name: Option<String>,
    /// What a failure means. Also spelt `fails_if`.
    #[serde(default, alias = "fails_if")]
    pub if_fails: String,
    /// The obligation that it tests. Also spelt `binds_to`.
    #[serde(alias = "binds_to")]
    pub obligation: Option<Value>,
}

/// A bounded model-checking harness.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct KaniHarness {
    /// Its name, unique in the file.
    pub id: String,
    /// The obligation that it checks.
    pub obligation: String,
    /// What it shows.
    pub property: Option<String>,
    /// Unwinding bound.
    pub bound: Option<u32>,
    /// How inputs are chosen.
    pub strategy: Option<KaniStrategy>,
    /// The solver.
    pub solver: Option<String>,
    /// The function.
    pub harness: Option<String>,
    /// Whether it was ever run.
    pub actually_verified: Option<bool>,
}

/// How a harness chooses its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the published names")]
pub enum KaniStrategy {
    Exhaustive,
    StubFloat,
    Compositional,
    BoundedInt,
    BoundedFloat,
}

/// What must pass before a release.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct QaGate {
    /// Its name.
    pub id: Option<String>,
    /// A title.
    pub name: Option<String>,
    /// What it guards.
    pub description: Option<String>,
    /// What is checked.
    #[serde(default)]
    pub checks: Vec<String>,
    /// When it passes.
    pub pass_criteria: Option<String>,
    /// What would show it to be broken.
    pub falsification: Option<String>,
}

/// Counts of what has been proved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct VerificationSummary {
    /// Number of proof obligations; must be the number written in the file.
    pub total_obligations: u32,
    /// Tested on many inputs.
    pub l2_property_tested: Option<u32>,
    /// Proved by bounded model checking.
    pub l3_kani_proved: Option<u32>,
    /// Proved in Lean.
    pub l4_lean_proved: Option<u32>,
    /// Stated in Lean without a proof.
    pub l4_sorry_count: Option<u32>,
    /// To which Lean does not apply.
    pub l4_not_applicable: Option<u32>,
}

/// Phases of a kernel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct KernelStructure {
    /// In order.
    #[serde(default)]
    pub phases: Vec<Phase>,
}

/// One phase of a kernel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What holds throughout.
    pub invariant: Option<String>,
}

/// What holds of every value of a type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct TypeInvariant {
    /// Its name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub of: String,
    /// The predicate.
    pub predicate: String,
}

/// How one rule is enforced.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Enforcement {
    /// What it is.
    pub description: Option<String>,
    /// How it is checked.
    pub check: Option<String>,
    /// How bad a violation is.
    pub severity: Option<String>,
    /// Where it comes from.
    pub reference: Option<String>,
}

/// A benchmark to be won.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Beat {
    /// Which of the four.
    pub pillar: Option<u8>,
    /// Who is to be beaten.
    #[serde(default)]
    pub incumbent: String,
    /// Its version.
    pub incumbent_pinned: Option<String>,
    /// The task.
    pub canonical_task: Option<String>,
    /// What is measured.
    #[serde(default)]
    pub metric: String,
    /// `higher_is_better` or `lower_is_better`.
    #[serde(default)]
    pub direction: String,
    /// The incumbent's figure.
    pub baseline_value: Option<f64>,
    /// The least that is accepted.
    pub baseline_floor: Option<f64>,
    /// The figure to beat.
    pub beat_threshold: Option<f64>,
    /// When the incumbent was measured.
    pub baseline_sourced_date: Option<String>,
    /// `CPU` or `GPU`.
    pub approved_compute: Option<String>,
    /// The gate that checks it.
    #[serde(default)]
    pub ci_gate_name: String,
}

/// A row of a registry of wishes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Story {
    /// Its name.
    #[serde(default)]
    pub id: String,
    /// Whose behaviour it was taken from.
    pub competitor: Option<String>,
    /// How much it is wanted, 1 to 5.
    pub demand_score: Option<i64>,
    /// How far it has come.
    pub status: Option<IntakeStatus>,
}

/// Second spellings of keys: `(key, other spelling)`.
pub const ALIASES: &[(&str, &str)] = &[
    ("property", "statement"),
    ("formal", "verification"),
    ("rule", "description"),
    ("prediction", "expected"),
    ("test", "command"),
    ("if_fails", "fails_if"),
    ("obligation", "binds_to"),
];
