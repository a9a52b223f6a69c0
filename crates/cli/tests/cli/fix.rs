//! `twinpath fix`, and policies elsewhere.

use super::common::{gguf, json, ok, text, twinpath};

#[test]
fn three_options_stand_side_by_side() {
    let out = ok(&["fix", "--tokens", "5,6,7,8,9,10,11,12", "--decode", "2", "-q"]);
    let header = out.lines().find(|l| l.contains("before")).unwrap();
    let names: Vec<&str> = header.split_whitespace().collect();
    assert_eq!(names, ["before", "option-a", "option-b", "option-c"], "{out}");
    let verdicts = out.lines().find(|l| l.starts_with("the gap is")).unwrap();
    assert_eq!(verdicts.matches("closed (identical)").count(), 3, "{out}");
    assert!(out.contains("option-b is ") && out.contains("times nearer the oracle than option-a"), "{out}");
}

#[test]
fn one_option_gives_one_record_and_a_single_prompt_is_cut_in_two() {
    let record = json(&["fix", "--option", "a", "--tokens", "5,6,7,8", "--json", "-q"]);
    assert_eq!(record["tried"].as_array().unwrap().len(), 1);
    assert_eq!((record["seen"]["tokens"].as_u64(), record["held_out"]["tokens"].as_u64()), (Some(2), Some(4)));
    assert_eq!(record["tried"][0]["verdict"]["identical"], true);
    let ended = twinpath(&["fix", "--tokens", "5,6,7"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("one prompt of 3 tokens is too short"), "{}", ended.err);
}

#[test]
fn policies_are_listed_and_can_be_written() {
    let out = ok(&["list", "policies"]);
    assert!(out.contains("fused-q8x32 where one element sets the scale of a block; fused-q8k for all else"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(
        &file,
        "name: mine\nwhy: a test\nrules:\n  - {use: standalone, points: [q]}\n  - {use: fused-q8k}\n",
    )
    .unwrap();
    let record = json(&["fix", "--policy", &text(&file), "--tokens", "5,6,7,8", "--json", "-q"]);
    assert_eq!(record["tried"][0]["verdict"]["verdict"], "closed");
    let out = ok(&["compare", "--policy", &text(&file), "--tokens", "5,6,7,8", "--layers", "-q"]);
    assert!(out.contains("mine.yaml") && out.contains("111 of them identical"), "{out}");
    std::fs::write(&file, "name: mine\nwhy: a test\nrules:\n  - {use: standalone, points: [queue]}\n  - {use: x}\n")
        .unwrap();
    let ended = twinpath(&["fix", "--policy", &text(&file), "--tokens", "5,6,7,8"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("rule 1: there is no point `queue`"), "{}", ended.err);
}

#[test]
fn a_policy_is_also_a_path_by_name() {
    let model = text(&gguf());
    let tokens = |along: &[&str]| {
        let mut args = vec!["run", "--tokens", "5,6,7,8", "-n", "4", "--json", "-q"];
        args.extend(along);
        json(&args)["tokens"].clone()
    };
    let named = tokens(&[&format!("{model}@option-c")]);
    assert_eq!(named, tokens(&["--policy", "c", &model]));
    assert_eq!(named, tokens(&[&format!("{model}@fused-q8x32")]));
}
