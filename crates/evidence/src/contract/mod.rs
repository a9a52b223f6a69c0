//! Contracts: claims about numbers that a machine re-measures.
//!
//! A file is read in one place ([`read`]), judged by one list of rules ([`rules::RULES`]) and given a status by one
//! function ([`status::assess`]). A status is never typed in: it follows from evidence that can be measured again.

pub mod claim;
pub mod diff;
pub mod equations;
pub mod finding;
pub mod graph;
mod keys;
pub mod measured;
pub mod rules;
pub mod schema;
pub mod shared;
pub mod status;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub use claim::{Amendment, Claim, Control, Extension, Gate, Measure, Prediction};
pub use finding::{Finding, Level};
pub use measured::{Evidence, Measured};
pub use rules::{Known, RULES};
pub use status::{Report, Status};

/// A contract file: the published schema, and the claims.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Contract {
    /// Who, what and why.
    pub metadata: shared::Metadata,
    /// Formulas.
    #[serde(default)]
    pub equations: equations::Equations,
    /// What is to be proved.
    #[serde(default)]
    pub proof_obligations: Vec<shared::Obligation>,
    /// Phases of a kernel.
    pub kernel_structure: Option<shared::KernelStructure>,
    /// Kernels by instruction set.
    #[serde(default)]
    pub simd_dispatch: BTreeMap<String, BTreeMap<String, String>>,
    /// How rules are enforced.
    #[serde(default)]
    pub enforcement: BTreeMap<String, shared::Enforcement>,
    /// What could show it to be broken.
    #[serde(default)]
    pub falsification_tests: Vec<shared::FalsificationTest>,
    /// Bounded model checking.
    #[serde(default)]
    pub kani_harnesses: Vec<shared::KaniHarness>,
    /// What must pass before a release.
    pub qa_gate: Option<shared::QaGate>,
    /// Counts of what has been proved.
    pub verification_summary: Option<shared::VerificationSummary>,
    /// What holds of every value of a type.
    #[serde(default)]
    pub type_invariants: Vec<shared::TypeInvariant>,
    /// What must hold before.
    #[serde(default)]
    pub requires: Vec<Value>,
    /// What holds after.
    #[serde(default)]
    pub ensures: Vec<Value>,
    /// A specification in Coq.
    pub coq_spec: Option<Value>,
    /// A benchmark to be won.
    pub beat: Option<shared::Beat>,
    /// Rows of a registry.
    #[serde(default)]
    pub stories: Vec<shared::Story>,
    /// Old and without effect.
    pub falsification: Option<Value>,
    /// Old and without effect.
    pub falsification_conditions: Option<Value>,
    /// What the claims speak of.
    pub twinpath: Option<Extension>,
    /// The promises.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Decisions that rest on them.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// What changed with each version.
    #[serde(default)]
    pub history: Vec<Amendment>,
}

/// A contract and the file it is from.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file.
    pub file: PathBuf,
    /// Its name without the extension: the name of the contract.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Where its values are.
    pub places: yaml::Places,
    /// What it says.
    pub contract: Contract,
}

impl Document {
    /// What is wrong at `pointer`, with its place and the line.
    pub fn finding(&self, rule: &'static str, level: Level, pointer: &str, message: String) -> Finding {
        Finding::new(&self.file, &self.text, rule, level, self.places.of(pointer), pointer, message)
    }
}

/// Reads the text of a contract file. Everything that is wrong with its form is in the answer, as far as reading could go;
/// the document is absent where it could not be read at all.
pub fn read(file: PathBuf, text: String) -> (Option<Document>, Vec<Finding>) {
    let mut findings = Vec::new();
    let failed = |e: yaml::Unreadable| {
        let rule = if e.duplicate_key { "SCHEMA-020" } else { rules::YAML };
        Finding::new(&file, &text, rule, Level::Error, e.at, "", e.why)
    };
    let (root, places) = match yaml::tree(&text) {
        Ok(read) => read,
        Err(e) => return (None, vec![failed(e)]),
    };
    for unknown in keys::unknown(&root) {
        findings.push(Finding::new(
            &file,
            &text,
            unknown.rule,
            Level::Error,
            unknown.at,
            &unknown.pointer,
            unknown.message,
        ));
    }
    match yaml::contract(&text) {
        Ok(contract) => {
            let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            (Some(Document { file, name, text, places, contract }), findings)
        }
        Err(e) => {
            findings.push(failed(e));
            (None, findings)
        }
    }
}
