//! `twinpath explain`, and the page of `compare`.

use super::common::{gguf, json, ok, text, tiny, twinpath};

#[test]
fn shares_of_one_prompt_sum_to_one_and_say_that_they_are_noisy() {
    let out = ok(&["explain", "--tokens", "5,6,7,8", "--by", "layers", "--interactions", "-q"]);
    assert!(out.contains("the shares sum to 1.000000000 of the total"), "{out}");
    assert!(out.contains("warning: shares on 1 prompts are noisy"), "{out}");
    let record = json(&["explain", "--tokens", "5,6,7,8", "--by", "layers", "--json", "-q"]);
    let groups = record["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 8, "embedding, six layers, head");
    assert!(groups.iter().all(|g| g["share"]["bounds"].is_null()), "one prompt has no interval");
}

#[test]
fn a_set_of_prompts_is_cut_and_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompts.txt");
    std::fs::write(&file, "one two three\n---\nfour five six\n").unwrap();
    let record =
        json(&["explain", "--prompts", &text(&file), "--prompt-tokens", "3", "--by", "layers", "--json", "-q"]);
    assert_eq!((record["prompts"].as_u64(), record["tokens"].as_u64()), (Some(2), Some(6)));
}

#[test]
fn different_weights_and_recordings_are_refused() {
    let models = [text(&tiny("llama-gqa4")), text(&tiny("llama-gqa4/model.gguf"))];
    let ended = twinpath(&["explain", &models[0], &models[1], "--tokens", "1,2"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("hold different weights and run along different paths"), "{}", ended.err);
    let ended = twinpath(&["explain", "--prompts", "no-such-file"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no-such-file: cannot read the prompts"), "{}", ended.err);
}

#[test]
fn the_page_holds_the_record_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let model = text(&gguf());
    ok(&["compare", &format!("{model}@standalone"), &model, "--tokens", "5,6,7", "--html", &text(&file)]);
    let page = std::fs::read_to_string(&file).unwrap();
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"record\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    let record: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(record["record"]["sites"].as_array().unwrap().len(), 111);
    // The one address in the page is the name of the SVG namespace, which nothing fetches.
    let addresses: Vec<&str> = page.match_indices("://").map(|(i, _)| &page[i..i + 13]).collect();
    assert_eq!(addresses, ["://www.w3.org"], "{addresses:?}");
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_budget_attributes_each_sides_distance_from_the_oracle() {
    let out = ok(&["explain", "--budget", "--tokens", "5,6,7,8", "--by", "layers", "-q"]);
    assert!(out.contains("distance from the oracle at the logits"), "{out}");
    assert!(out.contains("A is ") && out.contains(" times nearer"), "{out}");
    let record = json(&["explain", "--budget", "--tokens", "5,6,7,8", "--by", "layers", "--json", "-q"]);
    for side in ["a", "b"] {
        assert!((record[side]["sum"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{side}");
        assert_eq!(record[side]["unexplained"], 0.0);
    }
    assert!(record["a"]["relative_l2"].as_f64().unwrap() < record["b"]["relative_l2"].as_f64().unwrap());
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_one_that_is_done_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let args = |seed: &'static str| {
        ["explain", "--tokens", "5,6", "--by", "layers", "-q", "--seed", seed, "--checkpoint"].map(str::to_owned)
    };
    ok(&[&args("1")[..], &[text(&file)]].concat());
    assert!(!file.exists());
    std::fs::write(&file, "{}").unwrap();
    let ended = twinpath(&[&args("1")[..], &[text(&file)]].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no checkpoint to go on from"), "{}", ended.err);
}
