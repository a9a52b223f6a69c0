//! Contract files that are broken, one fault each: every fault is found, by its rule and at its place.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use twinpath_evidence::contract::{Finding, Level, RULES};
use twinpath_lab::contract::{Folder, known};

fn testdata(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/contracts").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A folder that holds the neighbour and one more contract.
fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other-v1.yaml"), testdata("other-v1.yaml")).unwrap();
    let file = folder.path().join("good.yaml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn findings(text: &str) -> Vec<Finding> {
    let (_folder, file) = folder(text);
    Folder::read(&file, &known()).unwrap().findings
}

/// The good file with one edit.
fn broken(edit: &Value) -> String {
    let mut text = testdata("good.yaml");
    if let Some(old) = edit["old"].as_str() {
        assert!(text.contains(old), "{}: the good file has no such text", edit["name"]);
        text = text.replacen(old, edit["new"].as_str().unwrap(), 1);
    }
    if let Some(cut) = edit["cut"].as_str() {
        text.truncate(text.find(cut).unwrap() + 1);
    }
    text + edit["append"].as_str().unwrap_or_default()
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(findings(&testdata("good.yaml")), vec![]);
}

#[test]
fn every_planted_fault_is_found_by_its_rule_and_at_its_place() {
    let edits: Vec<Value> = serde_json::from_str(&testdata("edits.json")).unwrap();
    assert!(edits.len() >= 40, "{} broken files", edits.len());
    let mut wrong = Vec::new();
    for edit in &edits {
        let (name, rule, at) =
            (edit["name"].as_str().unwrap(), edit["rule"].as_str().unwrap(), edit["at"].as_str().unwrap());
        let mut expected = vec![rule];
        expected.extend(edit["also"].as_array().into_iter().flatten().map(|v| v.as_str().unwrap()));
        let found = findings(&broken(edit));
        let starts = |f: &Finding| f.excerpt.chars().skip(f.column as usize - 1).collect::<String>().starts_with(at);
        if !found.iter().any(|f| f.rule == rule && (at.is_empty() || starts(f))) {
            wrong.push(format!("{name}: {rule} is not found at `{at}`, but {found:#?}"));
        }
        let others: Vec<&Finding> = found.iter().filter(|f| !expected.contains(&f.rule)).collect();
        if !others.is_empty() {
            wrong.push(format!("{name}: something else is found: {others:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_rule_that_looks_at_a_file_is_seen_to_fail() {
    let edits: Vec<Value> = serde_json::from_str(&testdata("edits.json")).unwrap();
    let tested =
        |rule: &str| edits.iter().any(|e| e["rule"] == rule || e["also"].as_array().unwrap().iter().any(|a| a == rule));
    // Evidence is no part of a contract file; its rules are tested where evidence is.
    let untested: Vec<&str> =
        RULES.iter().map(|r| r.id).filter(|id| !id.starts_with("TP-EVIDENCE") && !tested(id)).collect();
    assert_eq!(untested, Vec::<&str>::new());
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_unread() {
    let (_folder, file) = folder("");
    std::fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    let start = std::time::Instant::now();
    let found = Folder::read(&file, &known()).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].rule == "TP-YAML-001" && found[0].message.contains("larger than"), "{found:?}");
    // One megabyte is read, of a hundred.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        let before = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb += &format!("a{i}: &a{i} [{before}]\n");
    }
    let found = findings(&bomb);
    assert!(found.len() == 1 && found[0].rule == "TP-YAML-001", "{found:?}");
    let deep = format!("a: {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(findings(&deep)[0].rule, "TP-YAML-001");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let (_folder, file) = folder("");
    std::fs::write(&file, b"metadata:\n  version: \xff\n").unwrap();
    let found = Folder::read(&file, &known()).unwrap().findings;
    assert!(found[0].message.contains("byte 21 is not UTF-8"), "{found:?}");
}

#[test]
fn a_file_cut_at_any_length_makes_no_panic_and_is_refused_before_its_first_claim_is_whole() {
    let good = testdata("good.yaml");
    let whole = good.find("    if_refuted: ").unwrap();
    for n in (0..good.len()).step_by(37) {
        let found = findings(&good[..n]);
        assert!(n > whole || found.iter().any(|f| f.level == Level::Error), "{n} bytes were accepted");
    }
}

#[test]
fn misspelt_words_bring_a_suggestion() {
    for (old, new, suggestion) in [
        ("    coverage: 1.0\n", "    covrage: 1.0\n", "did you mean `coverage`?"),
        ("id: mechanism", "id: mechansim", "did you mean `mechanism`?"),
        ("path: standalone", "path: standalne", "did you mean `standalone`?"),
        ("gates:\n  - id", "gate:\n  - id", "did you mean `gates`?"),
    ] {
        let found = findings(&testdata("good.yaml").replacen(old, new, 1));
        assert!(found.iter().any(|f| f.message.contains(suggestion)), "{new}: {found:?}");
    }
}

#[test]
fn the_shipped_contracts_are_valid_and_their_evidence_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
    let folder = Folder::read(&path, &known()).unwrap();
    assert_eq!(folder.findings, vec![]);
    assert_eq!(folder.stale(), vec![]);
    assert!(folder.documents.len() >= 5 && folder.evidence.len() >= 30, "{}", folder.evidence.len());
}

#[test]
fn the_committed_schema_is_the_one_that_is_generated() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/contracts.schema.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    let generated = serde_json::to_string_pretty(twinpath_evidence::contract::schema::schema()).unwrap() + "\n";
    assert!(committed == generated, "write it again: twinpath contract schema > contracts/contracts.schema.json");
}
