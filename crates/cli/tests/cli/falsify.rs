//! `twinpath falsify`.

use super::common::{gguf, json, ok, text, twinpath};

#[test]
fn the_published_figures_come_out_again_and_what_needs_another_model_is_counted_as_skipped() {
    let out = ok(&["falsify", "--published"]);
    for bits in ["0x44191e70", "0x412c0000", "0x3fa00000", "0xc69384e3", "0xc693a21e"] {
        let line = out.lines().find(|line| line.contains(bits)).unwrap();
        assert!(line.ends_with("match"), "{line}");
    }
    assert!(out.contains("SUMMARY  52 figures match, 0 differ, 10 skipped"), "{out}");
    assert!(out.contains("A5-real-weights: skipped: needs model Qwen2.5-Coder-7B-Instruct Q4_K_M"), "{out}");
    let ended = twinpath(&["falsify", "014", "--published"]);
    assert_eq!(ended.code, Some(3), "all skipped is no success: {ended:?}");
}

#[test]
fn the_bundled_model_upholds_every_claim_twice_in_the_same_bytes() {
    let run = || ok(&["falsify", "--json", "-q"]);
    let first = run();
    assert!(first == run(), "two runs differ");
    let record: serde_json::Value = serde_json::from_str(&first).unwrap();
    let counts = &record["counts"];
    assert_eq!((counts["upheld"].as_u64(), counts["skipped_rows"].as_u64()), (Some(14), Some(3)), "{counts}");
    assert_eq!(counts["controls_failed"].as_u64(), Some(0));
}

#[test]
fn an_experiment_explains_itself_and_is_found_by_its_published_number() {
    let out = ok(&["falsify", "008", "--explain"]);
    assert!(out.starts_with("mechanism (published as 008 M94)"), "{out}");
    assert!(out.contains("# Refuted if") && out.contains("# Blind spots"), "{out}");
    let record = json(&["falsify", "A5-real-weights", "--model", &text(&gguf()), "--json", "-q"]);
    assert_eq!(record["experiments"][0]["verdict"], "upheld");
    assert_eq!(record["tokens"].as_array().unwrap().len(), 0, "no run was needed");
}

#[test]
fn what_is_not_there_is_an_error() {
    let ended = twinpath(&["falsify", "A7"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no experiment `A7`") && ended.err.contains("A6-rmsnorm"), "{}", ended.err);
    let ended = twinpath(&["falsify", "order", "--model", "no-such.gguf"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no-such.gguf"), "{}", ended.err);
    assert_eq!(twinpath(&["falsify", "A1-rope", "--tokens", "999999"]).code, Some(2));
}
