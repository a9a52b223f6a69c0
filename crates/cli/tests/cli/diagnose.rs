//! `twinpath diagnose`, and mistakes planted on purpose.

use super::common::{json, text, tiny, twinpath};

const TOKENS: [&str; 2] = ["--tokens", "5,6,7,8,9,10,11,12"];

#[test]
fn a_faithful_pair_has_nothing_to_name() {
    let ended = twinpath(&[&["diagnose", "-q"], &TOKENS[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("NOTHING UNEXPLAINED") && ended.out.contains("limit    one element off by"),
        "{ended:?}"
    );
}

#[test]
fn a_planted_mistake_is_named_with_its_parameter_and_site() {
    let mistake = ["diagnose", "--plant", "rope-theta=theta 10000@blk.2.k_rope", "-q"];
    let ended = twinpath(&[&mistake, &TOKENS[..]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("NAMED: rope-theta (theta 10000)"), "{}", ended.out);
    assert!(ended.out.contains("first unexplained site: blk.2.k_rope"), "{}", ended.out);
    let ended = twinpath(&[&["compare", "--plant", "bias@q", "--layers", "-q"], &TOKENS[..]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("arithmetic does not explain blk.0.q"), "{}", ended.out);
}

#[test]
fn a_model_with_rows_and_pairs_laid_out_otherwise_is_no_mistake() {
    let [a, b] = ["llama-gqa4/model.gguf", "llama-gqa4"].map(|name| text(&tiny(name)));
    let (a, b) = (format!("{a}@standalone"), format!("{b}@standalone"));
    let args = ["diagnose", &a, &b, "--tokens", "1,2,3,4,5,6", "--json", "-q"];
    assert_eq!(twinpath(&args).code, Some(0));
    let record = json(&args);
    let named: Vec<&str> = record["named"].as_array().unwrap().iter().map(|n| n["suspect"].as_str().unwrap()).collect();
    assert!(named.contains(&"head-rows") && named.contains(&"rope-pairing"), "{named:?}");
    assert!(record["named"].as_array().unwrap().iter().all(|n| n["equivalent"].is_string()), "{record}");
}

#[test]
fn what_cannot_be_planted_or_believed_is_told_with_what_can() {
    let ended = twinpath(&["diagnose", "--plant", "nonsense"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("there is no suspect `nonsense`") && ended.err.contains("rope-theta"), "{}", ended.err);
    let ended = twinpath(&["diagnose", "--plant", "bias=of another layer"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("left out") && ended.err.contains("added twice"), "{}", ended.err);
    let ended = twinpath(&["diagnose", "--plant", "norm-eps@blk.0.q"]);
    assert!(ended.err.contains("the model has no such op at that site"), "{}", ended.err);
}
