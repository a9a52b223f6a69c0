//! `twinpath contract` as a person or a script runs it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use twinpath_evidence::contract::Evidence;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
    command.current_dir(repo("")).arg("contract").args(args);
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A copy of the shipped contracts, without the one whose experiments take longest.
fn copy() -> (tempfile::TempDir, String) {
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
    let names = ["decode-v1", "determinism-v1", "apr-vs-gguf-parity-v1"];
    for name in names {
        let file = format!("contracts/{name}.yaml");
        std::fs::copy(repo(&file), folder.path().join(format!("{name}.yaml"))).unwrap();
        all(&repo("contracts/evidence").join(name), &folder.path().join("evidence").join(name));
    }
    let path = folder.path().display().to_string();
    (folder, path)
}

/// Every evidence file with its bytes.
fn evidence(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for contract in std::fs::read_dir(folder.join("evidence")).unwrap() {
        for file in std::fs::read_dir(contract.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
    files.sort();
    files
}

#[test]
fn a_check_that_reproduces_its_evidence_exits_0_and_changes_no_byte() {
    let (folder, path) = copy();
    let before = evidence(folder.path());
    let (code, out, err) = run(&["check", &path, "--quiet"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(evidence(folder.path()), before);
    assert_eq!(run(&["status", &path]).0, 0);
}

#[test]
fn a_planted_fault_exits_1_names_the_claims_and_writes_nothing() {
    let (folder, path) = copy();
    let before = evidence(folder.path());
    let (code, out, _) = run(&["check", &path, "--plant", "conditions", "--json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).unwrap();
    let refuted: Vec<&str> = report["claims"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["status"] == "refuted")
        .map(|c| c["id"].as_str().unwrap())
        .collect();
    assert!(refuted.contains(&"DETERMINISM-FUSED-THREADS"), "{refuted:?}");
    assert!(!refuted.contains(&"DETERMINISM-FUSED-AGAIN") && !refuted.contains(&"PARITY-WEIGHTS"), "{refuted:?}");
    assert_eq!(evidence(folder.path()), before);
}

#[test]
fn edited_evidence_stops_every_command_with_its_line_and_is_not_overwritten() {
    let (folder, path) = copy();
    let file = folder.path().join("evidence/apr-vs-gguf-parity-v1/PARITY-LOGITS.json");
    let edited = std::fs::read_to_string(&file).unwrap().replacen("\"value\": 0.01", "\"value\": 0.02", 1);
    std::fs::write(&file, &edited).unwrap();
    for what in ["validate", "status", "check"] {
        let (code, out, err) = run(&[what, &path]);
        assert_eq!(code, 2, "{what}: {out}{err}");
        assert!((out + &err).contains("PARITY-LOGITS.json:"), "{what}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), edited);
}

#[test]
fn a_forged_number_with_a_right_digest_is_not_reproduced() {
    let (folder, path) = copy();
    let file = folder.path().join("evidence/apr-vs-gguf-parity-v1/PARITY-LOGITS.json");
    let mut forged = Evidence::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
    forged.measured = twinpath_evidence::contract::Measured::value(1e-6, Some("logits".to_owned()));
    let forged = forged.sealed().text();
    std::fs::write(&file, &forged).unwrap();
    let (code, _, err) = run(&["check", &path, "--claim", "PARITY-LOGITS"]);
    assert!(code == 2 && err.contains("the evidence says 0.000001"), "{code} {err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), forged, "left as it is");
    assert_eq!(run(&["check", &path, "--claim", "PARITY-LOGITS", "--accept"]).0, 0);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), forged);
}

#[test]
fn a_check_killed_at_any_moment_leaves_every_evidence_file_whole() {
    for milliseconds in [1, 20, 60, 120, 250, 500] {
        let (folder, path) = copy();
        // Other predictions, so that every file of this contract is written again.
        let file = folder.path().join("determinism-v1.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("{equals: 0}", "{at_most: 0}")).unwrap();
        let mut child = command(&["check", &path, "--quiet"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        for (path, text) in evidence(folder.path()) {
            if path.extension().is_some_and(|e| e == "json") {
                assert!(Evidence::read(&text).is_ok(), "{milliseconds} ms: {}", path.display());
            }
        }
        let (code, out, err) = run(&["check", &path, "--quiet"]);
        assert_eq!(code, 0, "{milliseconds} ms: the next check finds nothing in its way: {out}{err}");
    }
}

#[test]
fn an_invalid_file_exits_2_with_file_line_column_and_excerpt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine-v1.yaml");
    let path = file.display().to_string();
    assert_eq!(run(&["new", &path]).0, 0);
    assert_eq!(run(&["new", &path]).0, 2, "nothing is replaced unasked");
    assert_eq!(run(&["validate", &path]).0, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("if_refuted", "if_refutd", 1)).unwrap();
    let (code, out, err) = run(&["validate", &path]);
    assert_eq!(code, 2);
    let line = 1 + text.lines().position(|l| l.contains("if_refuted")).unwrap();
    assert!(out.contains(&format!("mine-v1.yaml:{line}:5: error: TP-KEY-001: ")), "{out}{err}");
    assert!(out.contains("did you mean `if_refuted`?") && out.contains("    |     if_refutd:"), "{out}");
    let (code, out, _) = run(&["validate", &path, "--sarif"]);
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, sarif["version"].as_str()), (2, Some("2.1.0")));
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "TP-KEY-001");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], line as u64);
    assert_eq!(run(&["status", &path]).0, 2);
    assert_eq!(run(&["check", &path]).0, 2);
    assert!(!folder.path().join("evidence").exists(), "nothing is written");
}

#[test]
fn a_new_contract_is_open_until_it_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine-v1.yaml").display().to_string();
    run(&["new", &path]);
    let (code, out, _) = run(&["status", &path]);
    assert!(code == 3 && out.contains("never measured"), "{out}");
    assert_eq!(run(&["check", &path, "--dry-run"]).0, 0);
    assert_eq!(run(&["status", &path]).0, 3, "a dry run leaves nothing");
    assert_eq!(run(&["check", &path]).0, 0);
    assert_eq!(run(&["status", &path]).0, 0);
}

#[test]
fn a_version_that_rose_too_little_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
    let text = std::fs::read_to_string(repo("contracts/apr-vs-gguf-parity-v1.yaml")).unwrap();
    std::fs::write(&old, &text).unwrap();
    let judge = |changed: String| {
        std::fs::write(&new, changed).unwrap();
        let (code, out, _) = run(&["diff", &old.display().to_string(), &new.display().to_string(), "--json"]);
        (code, serde_json::from_str::<Value>(&out).unwrap()["needed"].as_str().unwrap().to_owned())
    };
    assert_eq!(judge(text.clone()), (0, "1.0.0".to_owned()));
    assert_eq!(judge(text.replace("the drift reaches the text", "the drift shows")), (1, "1.0.1".to_owned()));
    assert_eq!(judge(text.replace("at_most: 0.36", "at_most: 0.35")), (1, "2.0.0".to_owned()));
    let raised = text.replace("at_most: 0.36", "at_most: 0.35").replace("version: 1.0.0", "version: 2.0.0");
    assert_eq!(judge(raised), (0, "2.0.0".to_owned()));
}

#[test]
fn graphs_name_every_claim_and_gate() {
    for args in [vec!["graph"], vec!["graph", "--mermaid"]] {
        let (code, out, _) = run(&args);
        assert_eq!(code, 0);
        for name in ["FALSIFY-FFN-GGUF-017", "MODEL-1", "PARITY-COUNTS", "M-FFN-GGUF-5"] {
            assert!(out.contains(name), "{name} is missing in {args:?}");
        }
    }
}

#[test]
fn a_model_that_is_not_the_one_meant_is_refused() {
    let model = repo("zoo/teacher-q4_k_m.gguf").display().to_string();
    let (code, _, err) = run(&["check", "--claim", "SHIP-007-SPEED", "--model", &format!("qwen-7b-gguf={model}")]);
    assert!(code == 2 && err.contains("is not the model `qwen-7b-gguf`"), "{err}");
    let (code, _, err) = run(&["check", "--model", "nothing.gguf"]);
    assert!(code == 2 && err.contains("NAME=FILE"), "{err}");
}
