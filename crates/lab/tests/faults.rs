//! The fault benchmark: its short form, and the committed record.

use std::path::{Path, PathBuf};

use twinpath_evidence::fault_bench::{DetectorScore, FaultBench};
use twinpath_lab::faults::bench;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn committed() -> FaultBench {
    let text = std::fs::read_to_string(root().join("benches/record/faults.json")).expect("the record is committed");
    serde_json::from_str(&text).expect("the record has this layout")
}

/// What is promised of replay on faults above the limit.
fn check(record: &FaultBench) {
    let own = &record.detectors[0];
    assert!(own.detected.share() >= 0.98, "detected {:?}", own.detected);
    assert!(own.exact.share() >= 0.95, "exact {:?}", own.exact);
    assert!(own.named.share() >= 0.9, "named {:?}", own.named);
    assert!(own.false_positives.share() <= 0.001, "false positives {:?}", own.false_positives);
    assert!(own.false_positives.of > 0 && own.detected.of > 0, "nothing was counted");
    assert!(record.below.iter().all(|(word, _)| word != "identical"), "{:?}", record.below);
    let shares = |d: &DetectorScore| [d.detected, d.exact, d.layer, d.top3].map(|r| r.share());
    for rule in &record.detectors[1..] {
        for (own, other) in shares(own).into_iter().zip(shares(rule)) {
            assert!(own > other, "{} is as good: {own} and {other}", rule.name);
        }
    }
}

#[test]
fn a_short_run_finds_names_and_blames_nothing_and_a_seed_gives_the_same_bytes() {
    let run = || {
        let scratch = tempfile::tempdir().expect("there is room");
        bench(&root(), scratch.path(), 1, true, &mut |_, _| {}).expect("the models are sound")
    };
    let record = run();
    check(&record);
    let text = |r: &FaultBench| serde_json::to_string(r).expect("it has a text");
    assert_eq!(text(&record), text(&run()));
}

#[test]
fn the_committed_record_keeps_its_promise_and_the_table_is_made_of_it() {
    let record = committed();
    assert!(!record.quick && record.classes.len() >= 30);
    check(&record);
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is one");
    assert!(
        readme.contains(&twinpath_report::fault_bench(&record)),
        "run `cargo xtask faults`: the table is of another record"
    );
}
