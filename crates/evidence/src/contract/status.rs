//! The status of claims and gates: computed from evidence, and from nothing else.

use std::collections::BTreeMap;

use serde::Serialize;

use super::claim::{Claim, Gate, Measure, Quantity};
use super::measured::{Evidence, Holds, models_of};
use super::{Contract, Document};

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Never measured.
    New,
    /// The evidence is stale.
    Pending,
    /// Fresh evidence, the prediction holds, the control was refuted.
    Discharged,
    /// Fresh evidence, the prediction does not hold.
    Refuted,
    /// Measured or not, it is not decided.
    Inconclusive,
    /// It would be discharged, but something that it depends on is not.
    Blocked,
}

impl Status {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::Pending => "pending",
            Status::Discharged => "discharged",
            Status::Refuted => "REFUTED",
            Status::Inconclusive => "inconclusive",
            Status::Blocked => "blocked",
        }
    }
}

/// Where a claim stands, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimStatus {
    /// Name of the contract.
    pub contract: String,
    /// The claim.
    pub id: String,
    /// What it says.
    pub statement: String,
    /// Where it stands.
    pub status: Status,
    /// Why, where it is not discharged; the measured number, where it is.
    pub reason: String,
    /// The prediction, in symbols.
    pub prediction: String,
    /// What it would mean if the prediction failed.
    pub if_refuted: String,
}

/// Where a gate stands, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateStatus {
    /// Name of the contract.
    pub contract: String,
    /// The gate.
    pub id: String,
    /// What it demands.
    pub demands: String,
    /// Whether all that it needs is discharged and met.
    pub met: bool,
    /// What it needs itself that is not, with the reason.
    pub waits_for: Vec<String>,
    /// Every claim under it that is not discharged, with the reason.
    pub open: Vec<String>,
}

/// Where everything stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub schema: u32,
    /// In the order of the files.
    pub claims: Vec<ClaimStatus>,
    /// In the order of the files.
    pub gates: Vec<GateStatus>,
    /// How many claims stand where.
    pub counts: BTreeMap<&'static str, usize>,
}

/// Evidence by contract and claim.
pub type AllEvidence = BTreeMap<(String, String), Evidence>;

/// Computes the status of every claim and gate. `version` is that of the program which would measure.
pub fn assess(documents: &[Document], evidence: &AllEvidence, version: &str) -> Report {
    let mut own = BTreeMap::new();
    for document in documents {
        for claim in &document.contract.claims {
            let found = evidence.get(&(document.name.clone(), claim.id.clone()));
            own.insert(claim.id.as_str(), alone(claim, &document.contract, found, version));
        }
    }
    let world = World { documents, own };
    let mut report = Report { schema: 1, claims: Vec::new(), gates: Vec::new(), counts: BTreeMap::new() };
    for document in documents {
        for claim in &document.contract.claims {
            let (status, reason) = world.claim(claim);
            *report.counts.entry(status.word()).or_default() += 1;
            report.claims.push(ClaimStatus {
                contract: document.name.clone(),
                id: claim.id.clone(),
                statement: claim.statement.clone(),
                status,
                reason,
                prediction: claim.prediction.to_string(),
                if_refuted: claim.if_refuted.clone(),
            });
        }
        for gate in &document.contract.gates {
            let open = world.open(&gate.id, &mut Vec::new());
            report.gates.push(GateStatus {
                contract: document.name.clone(),
                id: gate.id.clone(),
                demands: gate.demands.clone(),
                met: open.is_empty(),
                waits_for: world.waits_for(gate),
                open,
            });
        }
    }
    report
}

impl Report {
    /// Exit code: 0 all claims are discharged, 1 one is refuted, 3 otherwise.
    pub fn exit_code(&self) -> u8 {
        let any = |status| self.claims.iter().any(|c| c.status == status);
        let all = !self.claims.is_empty() && self.claims.iter().all(|c| c.status == Status::Discharged);
        match (any(Status::Refuted), all) {
            (true, _) => 1,
            (_, true) => 0,
            _ => 3,
        }
    }
}

/// Why a prediction would hold whatever was measured; `None` if it could fail.
pub fn vacuous(claim: &Claim) -> Option<String> {
    let (low, high) = match &claim.measure {
        Measure::Compare(m) => Quantity::range(m.quantity),
        Measure::Repeat(_) | Measure::Decode(_) | Measure::Weights(_) | Measure::Published(_) | Measure::Speed(_) => {
            (0.0, f64::INFINITY)
        }
        Measure::Experiment(_) | Measure::External(_) => return None,
    };
    let (least, most) = claim.prediction.band()?;
    (least <= low && most >= high).then(|| "the prediction admits every value that could come out".to_owned())
}

/// The status of a claim by its own evidence.
fn alone(claim: &Claim, contract: &Contract, evidence: Option<&Evidence>, version: &str) -> (Status, String) {
    if let Measure::External(e) = &claim.measure {
        return (Status::Inconclusive, format!("measured by {}, not by this program: {}", e.tool, e.because));
    }
    let Some(evidence) = evidence else {
        return match absent(claim, contract) {
            Some(model) => (Status::Inconclusive, format!("model absent: {model}; give it with --model FILE")),
            None => (Status::New, "never measured".to_owned()),
        };
    };
    if let Some(why) = evidence.stale(claim, contract, version) {
        return (Status::Pending, why);
    }
    if let Some(why) = vacuous(claim) {
        return (Status::Inconclusive, why);
    }
    if !(evidence.expected > 0 && crate::within(claim.coverage, evidence.coverage())) {
        let (compared, expected) = (evidence.compared, evidence.expected);
        return (
            Status::Inconclusive,
            format!("{compared} of {expected} elements compared, {} asked for", claim.coverage),
        );
    }
    let measured = &evidence.measured;
    match (measured.against(&claim.prediction), &evidence.control) {
        (Holds::No, _) => (Status::Refuted, format!("measured {measured}, predicted {}", claim.prediction)),
        (Holds::Undecided, _) => (Status::Inconclusive, format!("measured {measured}, predicted {}", claim.prediction)),
        (Holds::Yes, Some(control)) if !control.refuted => {
            (Status::Inconclusive, format!("the control `{}` was not noticed: {}", control.what, control.measured))
        }
        (Holds::Yes, None) => (Status::Inconclusive, "no control was measured".to_owned()),
        (Holds::Yes, Some(_)) => (Status::Discharged, format!("measured {measured}, predicted {}", claim.prediction)),
    }
}

/// Description of a model that the claim needs and that is not bundled.
fn absent<'c>(claim: &'c Claim, contract: &'c Contract) -> Option<&'c str> {
    let models = contract.twinpath.as_ref().map(|t| &t.models)?;
    models_of(claim).into_iter().find_map(|name| {
        let model = models.get(name)?;
        model.file.is_none().then_some(model.description.as_str())
    })
}

/// All claims with their own status, and what depends on what.
struct World<'d> {
    documents: &'d [Document],
    own: BTreeMap<&'d str, (Status, String)>,
}

impl<'d> World<'d> {
    fn claim(&self, claim: &'d Claim) -> (Status, String) {
        let (status, reason) = self.own[claim.id.as_str()].clone();
        if status != Status::Discharged {
            return (status, reason);
        }
        let mut seen = vec![claim.id.as_str()];
        let open: Vec<String> = claim.depends_on.iter().flat_map(|name| self.open(name, &mut seen)).collect();
        if open.is_empty() { (status, reason) } else { (Status::Blocked, format!("needs {}", open.join("; "))) }
    }

    /// Claims and gates that a gate names and that are not discharged and not met.
    fn waits_for(&self, gate: &'d Gate) -> Vec<String> {
        let reasons = |id: &'d str| self.open(id, &mut Vec::new());
        let claims = gate.claims.iter().flat_map(|id| reasons(id));
        let gates = gate.gates.iter().filter_map(|id| match reasons(id).len() {
            0 => None,
            1 => Some(format!("gate {id} is open (1 claim)")),
            n => Some(format!("gate {id} is open ({n} claims)")),
        });
        claims.chain(gates).collect()
    }

    /// What of `name` (a claim, a gate or a contract) is not discharged, each with its reason. What was `seen` is not
    /// looked at again.
    fn open(&self, name: &'d str, seen: &mut Vec<&'d str>) -> Vec<String> {
        if seen.contains(&name) {
            return Vec::new();
        }
        seen.push(name);
        let mut open = Vec::new();
        for document in self.documents {
            let contract = &document.contract;
            if document.name == name {
                let ids = contract.claims.iter().map(|c| c.id.as_str());
                open.extend(ids.flat_map(|id| self.open(id, seen)));
            }
            for claim in contract.claims.iter().filter(|c| c.id == name) {
                match &self.own[claim.id.as_str()] {
                    (Status::Discharged, _) => {
                        open.extend(claim.depends_on.iter().flat_map(|dependency| self.open(dependency, seen)));
                    }
                    (status, reason) => open.push(format!("{name} is {} ({reason})", status.word())),
                }
            }
            for gate in contract.gates.iter().filter(|g| g.id == name) {
                open.extend(gate.claims.iter().chain(&gate.gates).flat_map(|needed| self.open(needed, seen)));
            }
        }
        open
    }
}
