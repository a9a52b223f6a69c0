//! What `compare` says at its end.

use super::common::{gguf, json, ok, text, twinpath};

#[test]
fn one_token_exercises_neither_rope_nor_mask_and_the_summary_says_what_to_do() {
    let ended = twinpath(&["compare", "--tokens", "5", "--oracle", "off"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let last = ended.out.lines().last().unwrap();
    // Two ropes, the probabilities and the context of each of six layers.
    assert!(
        last.starts_with("NOT EXERCISED: 24 of 111 sites could not have shown a fault, all others are as declared"),
        "{last}"
    );
    assert!(
        last.contains("use a prompt of two tokens or more") && last.contains("coverage 111 of 111 sites"),
        "{last}"
    );
}

#[test]
fn statistics_of_rounding_explain_the_pair_and_state_what_they_would_have_found() {
    let args = ["compare", "--statistical", "--oracle", "off", "--split-layers", "off"];
    let out = ok(&args);
    let line = out.lines().find(|l| l.starts_with("blk.2.ffn_gate ")).unwrap();
    assert!(line.contains("explained, gain < "), "{line}");
    assert!(out.lines().last().unwrap().starts_with("EXPLAINED: "), "{out}");
    let record = json(&[&args[..], &["--json"]].concat());
    let judged = |s: &&serde_json::Value| !s["statistical"].is_null();
    let sites: Vec<&serde_json::Value> = record["sites"].as_array().unwrap().iter().filter(judged).collect();
    assert_eq!(sites.len(), 6 * 7 + 1, "every product of every layer, and the head");
    for site in sites {
        let statistical = &site["statistical"];
        let ratio = statistical["ratio_e"].as_f64().unwrap();
        // Trained rows are correlated, so the freedoms are few; 0.8 to 1.08 was measured on rows with a common mean.
        assert!((0.7..1.3).contains(&ratio), "{}: {ratio}", site["site"]);
        assert!(statistical["least_gain"].as_f64().unwrap() > 0.0 && site["b_local"].is_null(), "{site}");
    }
}

#[test]
fn a_line_for_each_layer_says_what_it_adds_and_passes_on() {
    let model = text(&gguf());
    let out = ok(&["compare", &format!("{model}@standalone"), &model, "--tokens", "5,6,7,8", "--layers"]);
    let header = out.lines().find(|l| l.starts_with("layer ")).unwrap();
    for column in ["fresh", "gain", "cosine", "verdict"] {
        assert!(header.contains(column), "{header}");
    }
    let first: Vec<&str> = out.lines().find(|l| l.starts_with("blk.0 ")).unwrap().split_whitespace().collect();
    // Nothing comes into the first layer: it has no gain and no cosine, and all its drift is its own.
    assert_eq!((first[1], first[5], first[6]), (first[3], "-", "-"), "{first:?}");
    assert!(out.contains("layer by layer, ρ'² = a²ρ² + n² gives "), "{out}");
    let budget = out.lines().find(|l| l.starts_with("B fused-q8k")).unwrap();
    assert!(
        budget.contains("0 of ") && out.contains("A is ") && out.contains(" times closer to the oracle at logits"),
        "{out}"
    );
}
