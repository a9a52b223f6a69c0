//! Claims are measured, faults turn the right ones to refuted, and evidence cannot be doctored.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinpath_evidence::contract::status::{AllEvidence, Report, Status, assess};
use twinpath_evidence::contract::{Evidence, Measure};
use twinpath_lab::contract::{Bench, FAULTS, Fault, Folder, Outcome, VERSION, evidence_file, known};

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn bundled(name: &str) -> Option<PathBuf> {
    Some(repo("zoo").join(name)).filter(|p| p.is_file())
}

fn shipped() -> Folder {
    Folder::read(&repo("contracts"), &known()).unwrap()
}

/// Measures the claims of one contract that run models (its experiments have tests of their own), with a fault if there is
/// one, and says where they then stand.
fn check(contract: &str, fault: Option<&str>) -> Report {
    let folder = shipped();
    let mut bench = Bench::new(&bundled, BTreeMap::new(), fault.map(|f| Fault::find(f).unwrap()));
    let mut evidence = folder.evidence.clone();
    for document in folder.documents.iter().filter(|d| d.name == contract) {
        for claim in &document.contract.claims {
            if matches!(claim.measure, Measure::Experiment(_) | Measure::Published(_)) {
                continue;
            }
            if let Outcome::Found(found) = bench.measure(document, claim).unwrap() {
                evidence.insert((document.name.clone(), claim.id.clone()), *found);
            }
        }
    }
    assess(&folder.documents, &evidence, VERSION)
}

fn with(report: &Report, contract: &str, status: Status) -> Vec<String> {
    let of = |c: &&twinpath_evidence::contract::status::ClaimStatus| c.contract == contract && c.status == status;
    report.claims.iter().filter(of).map(|c| c.id.clone()).collect()
}

#[test]
fn the_measured_claims_of_the_parity_contract_are_discharged_and_reproduce_their_evidence() {
    let report = check("apr-vs-gguf-parity-v1", None);
    let open: Vec<_> = report
        .claims
        .iter()
        .filter(|c| c.contract == "apr-vs-gguf-parity-v1" && c.status != Status::Discharged)
        .collect();
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn a_fault_in_a_kernel_refutes_the_claims_that_speak_of_it_and_no_others() {
    let report = check("apr-vs-gguf-parity-v1", Some("one-ulp"));
    // One float more in one element breaks equality of bits, and nothing that allows for rounding.
    assert_eq!(
        with(&report, "apr-vs-gguf-parity-v1", Status::Refuted),
        ["PARITY-CONTAINER-STANDALONE", "PARITY-CONTAINER-FUSED"]
    );
    assert_eq!(report.exit_code(), 1);
    assert!(!report.gates.iter().any(|g| g.id == "PARITY" && g.met));
    let report = check("apr-vs-gguf-parity-v1", Some("no-silu"));
    let refuted = with(&report, "apr-vs-gguf-parity-v1", Status::Refuted);
    for id in ["PARITY-LOGITS", "PARITY-STD", "PARITY-KL", "PARITY-ORACLE-STANDALONE", "PARITY-CONTAINER-FUSED"] {
        assert!(refuted.iter().any(|r| r == id), "{id} is not refuted: {refuted:?}");
    }
    assert!(!refuted.iter().any(|r| r == "PARITY-WEIGHTS" || r == "PARITY-COUNTS"), "{refuted:?}");
}

#[test]
fn a_path_whose_bits_depend_on_threads_is_not_deterministic() {
    let report = check("determinism-v1", Some("conditions"));
    let refuted = with(&report, "determinism-v1", Status::Refuted);
    let expected: Vec<String> = ["STANDALONE", "FUSED"]
        .iter()
        .flat_map(|p| ["THREADS", "CALLS", "INSTRUCTION-SETS"].map(|c| format!("DETERMINISM-{p}-{c}")))
        .collect();
    assert_eq!(refuted, expected);
}

#[test]
fn every_fault_is_noticed_by_some_claim_whose_control_it_is() {
    let folder = shipped();
    for fault in FAULTS {
        let used = folder
            .evidence
            .values()
            .filter_map(|e| e.control.as_ref())
            .any(|c| c.refuted && c.what.starts_with(fault.name));
        // Those that no shipped claim names serve for planting by hand; they must at least change something.
        if !used {
            assert!(
                ["rope-frequency", "rope-pairing", "no-bias", "short-sight", "ffn-down-gain", "twenty-times"]
                    .contains(&fault.name),
                "{} is noticed by no claim",
                fault.name
            );
        }
    }
    for fault in ["rope-frequency", "rope-pairing", "no-bias", "short-sight", "ffn-down-gain"] {
        let report = check("apr-vs-gguf-parity-v1", Some(fault));
        let refuted = with(&report, "apr-vs-gguf-parity-v1", Status::Refuted);
        assert!(refuted.iter().any(|id| id == "PARITY-CONTAINER-FUSED"), "{fault}: {refuted:?}");
    }
}

/// A copy of the shipped contracts, to be tampered with.
fn copy() -> (tempfile::TempDir, PathBuf) {
    fn all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                all(&path, &target);
            } else {
                std::fs::copy(&path, &target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    all(&repo("contracts"), folder.path());
    let contract = folder.path().join("apr-vs-gguf-parity-v1.yaml");
    (folder, contract)
}

fn rules(folder: &Path) -> Vec<(&'static str, u64)> {
    let read = Folder::read(folder, &known()).unwrap();
    read.findings.iter().chain(&read.stale()).map(|f| (f.rule, f.line)).collect()
}

#[test]
fn one_edited_digit_of_evidence_is_detected_wherever_it_is() {
    let (folder, contract) = copy();
    let file = evidence_file(&contract, "PARITY-LOGITS");
    let right = std::fs::read_to_string(&file).unwrap();
    assert_eq!(rules(folder.path()), vec![]);
    let digits: Vec<usize> = right.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(i, _)| i).collect();
    assert!(digits.len() > 100);
    for at in digits {
        let digit = (right.as_bytes()[at] - b'0' + 1) % 10;
        let edited = format!("{}{digit}{}", &right[..at], &right[at + 1..]);
        assert!(Evidence::read(&edited).is_err(), "byte {at}: {edited}");
    }
    let at = right.find("\"value\": 0.").unwrap() + 11;
    std::fs::write(&file, format!("{}9{}", &right[..at], &right[at + 1..])).unwrap();
    let line = right[..at].lines().count() as u64;
    assert_eq!(rules(folder.path()), vec![("TP-EVIDENCE-001", line)]);
}

#[test]
fn evidence_of_another_model_of_no_claim_and_of_a_changed_claim_is_told_apart() {
    let (folder, contract) = copy();
    let file = evidence_file(&contract, "PARITY-LOGITS");
    let right = std::fs::read_to_string(&file).unwrap();
    let mut other = Evidence::read(&right).unwrap();
    other.models.insert("teacher-gguf".to_owned(), "0".repeat(64));
    std::fs::write(&file, other.sealed().text()).unwrap();
    assert_eq!(rules(folder.path())[0].0, "TP-EVIDENCE-002");
    std::fs::write(&file, &right).unwrap();
    std::fs::copy(&file, file.with_file_name("NO-SUCH-CLAIM.json")).unwrap();
    assert_eq!(rules(folder.path())[0].0, "TP-EVIDENCE-004");
    std::fs::remove_file(file.with_file_name("NO-SUCH-CLAIM.json")).unwrap();
    let text = std::fs::read_to_string(&contract).unwrap();
    std::fs::write(&contract, text.replace("{at_most: 0.36}", "{at_most: 0.37}")).unwrap();
    assert_eq!(rules(folder.path())[0].0, "TP-EVIDENCE-003");
    let read = Folder::read(folder.path(), &known()).unwrap();
    let report = assess(&read.documents, &read.evidence, VERSION);
    let claim = report.claims.iter().find(|c| c.id == "PARITY-LOGITS").unwrap();
    assert_eq!(claim.status, Status::Pending, "{}", claim.reason);
    assert_ne!(report.exit_code(), 0);
}

#[test]
fn statuses_follow_from_evidence_alone() {
    let folder = shipped();
    let none = assess(&folder.documents, &AllEvidence::new(), VERSION);
    assert!(
        none.claims.iter().all(|c| matches!(c.status, Status::New | Status::Inconclusive)),
        "nothing measured, nothing said"
    );
    assert!(none.gates.iter().all(|g| !g.met));
    let report = assess(&folder.documents, &folder.evidence, VERSION);
    assert_eq!(with(&report, "ship-two-001", Status::Discharged), Vec::<String>::new());
    let speed = report.claims.iter().find(|c| c.id == "SHIP-007-SPEED").unwrap();
    assert!(speed.reason.contains("model absent"), "{}", speed.reason);
    let old = assess(&folder.documents, &folder.evidence, "0.0.1");
    assert!(old.claims.iter().all(|c| c.status != Status::Discharged), "evidence of another version is stale");
}
