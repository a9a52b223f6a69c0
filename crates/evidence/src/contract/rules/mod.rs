//! The rules that a contract file must follow: one list, with the ids of the published validator where it has the rule too.

mod beat;
mod claims;
mod kernel;
mod links;
mod metadata;

use super::finding::{Finding, Level};
use super::{Contract, Document};

/// The file cannot be read.
pub const YAML: &str = "TP-YAML-001";
/// A key that nothing reads.
pub const UNKNOWN_KEY: &str = "TP-KEY-001";
/// A status that somebody typed in.
pub const TYPED_STATUS: &str = "TP-STATUS-001";
/// Evidence that was edited or cannot be read.
pub const EDITED: &str = "TP-EVIDENCE-001";
/// Evidence for another model.
pub const OTHER_MODEL: &str = "TP-EVIDENCE-002";
/// Evidence that no longer speaks of its claim.
pub const STALE: &str = "TP-EVIDENCE-003";
/// Evidence for no claim.
pub const ORPHAN: &str = "TP-EVIDENCE-004";

/// Names that claims may use.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Built-in experiments.
    pub experiments: Vec<String>,
    /// Built-in experiments that have published figures.
    pub published: Vec<String>,
    /// Numeric paths, the oracle among them.
    pub paths: Vec<String>,
    /// Faults that can be planted as a control.
    pub faults: Vec<String>,
    /// Block formats.
    pub formats: Vec<String>,
    /// Points of a layer.
    pub points: Vec<String>,
}

/// What a rule looks at.
pub struct Context<'c> {
    /// The file.
    pub document: &'c Document,
    /// All files, this one among them.
    pub all: &'c [Document],
    /// Names that claims may use.
    pub known: &'c Known,
}

impl<'c> Context<'c> {
    fn contract(&self) -> &'c Contract {
        &self.document.contract
    }
}

/// What a rule found: JSON pointers and messages.
pub type Found = Vec<(String, String)>;

/// A rule.
pub struct Rule {
    /// Its id.
    pub id: &'static str,
    /// How bad a violation is.
    pub level: Level,
    /// What it demands.
    pub demands: &'static str,
    /// Looks for violations; absent for what is found while files are read.
    pub check: Option<fn(&Context<'_>) -> Found>,
}

const fn error(id: &'static str, demands: &'static str, check: fn(&Context<'_>) -> Found) -> Rule {
    Rule { id, level: Level::Error, demands, check: Some(check) }
}

const fn warning(id: &'static str, demands: &'static str, check: fn(&Context<'_>) -> Found) -> Rule {
    Rule { id, level: Level::Warning, demands, check: Some(check) }
}

const fn reading(id: &'static str, demands: &'static str) -> Rule {
    Rule { id, level: Level::Error, demands, check: None }
}

/// Every rule. Those of the published validator come first, under its ids.
pub const RULES: &[Rule] = &[
    error("SCHEMA-001", "metadata.references names at least one source", metadata::references),
    error("SCHEMA-002", "metadata.version is not empty", metadata::version),
    error("SCHEMA-003", "a kernel contract has an equation", kernel::equations),
    error("SCHEMA-004", "each equation of a kernel contract has a formula", kernel::formulas),
    error("SCHEMA-005", "each proof obligation states a property", kernel::properties),
    warning("SCHEMA-006", "no two proof obligations have the same formal predicate", kernel::formal),
    error("SCHEMA-007", "ids of falsification tests are unique", kernel::test_ids),
    error("SCHEMA-008", "each falsification test has a prediction", kernel::predictions),
    warning("SCHEMA-009", "each falsification test says what a failure means", kernel::if_fails),
    error("SCHEMA-010", "ids of Kani harnesses are unique", kernel::kani_ids),
    error("SCHEMA-011", "each Kani harness names its obligation", kernel::kani_obligations),
    warning("SCHEMA-012", "each Kani harness has an unwinding bound", kernel::kani_bounds),
    warning("SCHEMA-013", "a kernel contract has a qa_gate", kernel::qa_gate),
    error("SCHEMA-014", "`requires` stands only in postconditions", kernel::requires),
    error("SCHEMA-015", "`applies_to_phase` stands only in loop properties", kernel::phases),
    error("SCHEMA-016", "`parent_contract` stands only in subcontracts", kernel::parents),
    error("SCHEMA-017", "the parent of a subcontract is in metadata.depends_on", kernel::parent_declared),
    reading("SCHEMA-018", "`kind` stands in metadata"),
    reading("SCHEMA-019", "no key is a near miss of a known one"),
    reading("SCHEMA-020", "no key is written twice"),
    error("SCHEMA-021", "what does not apply says why", kernel::na_reason),
    error("SCHEMA-022", "what does not apply says who decided it", kernel::na_owner),
    error("SCHEMA-023", "na_reason and na_owner stand only where something does not apply", kernel::na_needless),
    error("SCHEMA-024", "falsification_tests is not written and empty", kernel::no_tests),
    error("SCHEMA-025", "test and test_harness are not written and blank", kernel::blank_tests),
    error(
        "PROVABILITY-001",
        "a kernel contract has obligations, tests for all of them, and Kani harnesses",
        kernel::provable,
    ),
    error("VS-COUNT-001", "verification_summary.total_obligations is the number of obligations", kernel::count),
    error("CRUX-001", "demand scores are 1 to 5", beat::scores),
    error("CRUX-002", "competitors are known ones", beat::competitors),
    error("BEAT-001", "a beat-benchmark contract has a `beat` block", beat::block),
    error("BEAT-002", "beat.incumbent is one of the four", beat::incumbent),
    error("BEAT-003", "beat.metric names what is measured", beat::metric),
    error("BEAT-004", "beat.direction says which way is better", beat::direction),
    error("BEAT-005", "beat.beat_threshold is a finite number", beat::threshold),
    error("BEAT-006", "beat.ci_gate_name names the gate", beat::gate),
    error("BEAT-007", "beat.approved_compute is CPU or GPU", beat::compute),
    reading(YAML, "the file is YAML of the right types, not too large, and every number in it is finite"),
    reading(UNKNOWN_KEY, "every key is one that something reads"),
    reading(TYPED_STATUS, "no status is typed in"),
    error("TP-KIND-001", "the kind is one that this program can judge", metadata::kind),
    error("TP-VERSION-001", "metadata.version is a semantic version", metadata::semver),
    error("TP-EXT-001", "`twinpath.schema` is the version that this program knows", claims::extension),
    error("TP-EMPTY-001", "a contract has claims or gates", claims::empty),
    error("TP-WORDS-001", "ids, statements and consequences are not blank", claims::words),
    error("TP-MODEL-001", "a bundled model is pinned by its BLAKE3", claims::models),
    error(
        "TP-PROMPT-001",
        "a prompt has at least two tokens, so that RoPE and the mask are exercised",
        claims::prompts,
    ),
    error("TP-BOUND-001", "bounds are finite, in order, and values that could come out", claims::bounds),
    error("TP-BOUND-002", "a prediction could fail", claims::vacuous),
    error("TP-BOUND-003", "a prediction is of the kind that its measurement yields", claims::kinds),
    error("TP-COVER-001", "coverage is above 0 and at most 1", claims::coverage),
    error("TP-CONTROL-001", "what is measured has a control", claims::controls),
    error("TP-NAME-001", "models and prompts are declared", links::declared),
    error("TP-NAME-002", "experiments exist", links::experiments),
    error("TP-NAME-003", "paths, faults, formats and sites exist", links::names),
    error("TP-LINK-001", "ids of claims and gates are unique among all contracts", links::unique),
    error("TP-LINK-002", "what is depended on exists", links::dangling),
    error("TP-LINK-003", "nothing depends on itself", links::cycles),
    error("TP-GATE-001", "a gate needs something", links::gates),
    error("TP-HISTORY-001", "versions of the history rise and end at metadata.version", metadata::history),
    reading(EDITED, "evidence is as it was written"),
    reading(OTHER_MODEL, "evidence is of the pinned model"),
    reading(STALE, "evidence is of the claim as it stands"),
    reading(ORPHAN, "evidence belongs to a claim"),
];

/// Everything that a file violates, in the order of its lines. Where the kind was left out, the first finding of a rule that
/// only kernel contracts must follow says so.
pub fn validate(document: &Document, all: &[Document], known: &Known) -> Vec<Finding> {
    let context = Context { document, all, known };
    let mut findings = Vec::new();
    for rule in RULES {
        let Some(check) = rule.check else { continue };
        for (pointer, message) in check(&context) {
            findings.push(document.finding(rule.id, rule.level, &pointer, message));
        }
    }
    findings.sort_by(|a, b| (a.line, a.column, a.rule).cmp(&(b.line, b.column, b.rule)));
    findings
}

/// A finding if `bad`.
fn when(bad: bool, pointer: impl Into<String>, message: impl Into<String>) -> Found {
    if bad { vec![(pointer.into(), message.into())] } else { Vec::new() }
}
