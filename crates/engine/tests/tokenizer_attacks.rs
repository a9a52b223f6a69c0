//! Vocabularies that lie are refused by name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::{bytes, spec};
use serde_json::{Value, json};
use twinpath_engine::tokenizer::{MAX_TEXT_BYTES, Tokenizer, TokenizerError, TokenizerKind, TokenizerSpec};

fn refused(change: impl FnOnce(&mut TokenizerSpec)) -> TokenizerError {
    refused_from("llama-bpe", change)
}

fn refused_from(fixture: &str, change: impl FnOnce(&mut TokenizerSpec)) -> TokenizerError {
    let mut spec = spec(fixture);
    change(&mut spec);
    Tokenizer::from_spec(&spec).unwrap_err()
}

fn refused_json(fixture: &str, change: impl FnOnce(&mut Value)) -> TokenizerError {
    let mut file: Value = serde_json::from_slice(&bytes(fixture, "tokenizer.json")).unwrap();
    change(&mut file);
    Tokenizer::from_hf(file.to_string().as_bytes(), None).unwrap_err()
}

#[test]
fn an_unknown_pre_tokenizer_is_named_with_the_known_ones() {
    let error = refused(|s| s.pre = "gpt-5o".into()).to_string();
    assert!(error.contains("`gpt-5o`") && error.contains("qwen2") && error.contains("smollm"), "{error}");
    assert!(matches!(refused(|s| s.pre = String::new()), TokenizerError::UnknownPre { .. }));
}

#[test]
fn an_empty_vocabulary() {
    let empty = TokenizerSpec { pre: "qwen2".into(), ..TokenizerSpec::default() };
    assert!(matches!(Tokenizer::from_spec(&empty), Err(TokenizerError::Empty)));
    let empty = TokenizerSpec { kind: TokenizerKind::SentencePieceBpe, ..TokenizerSpec::default() };
    assert!(matches!(Tokenizer::from_spec(&empty), Err(TokenizerError::Empty)));
}

#[test]
fn one_token_with_two_ids() {
    let error = refused(|s| s.tokens[7] = "%".into());
    assert!(matches!(&error, TokenizerError::DuplicateToken { first: 4, second: 7, .. }), "{error}");
}

#[test]
fn one_token_twice_in_the_text_of_the_file() {
    let text = String::from_utf8(bytes("llama-bpe", "tokenizer.json")).unwrap();
    let twice = text.replacen(r#""vocab":{"#, r#""vocab":{"%":1199,"#, 1);
    assert_ne!(text, twice);
    let error = Tokenizer::from_hf(twice.as_bytes(), None).unwrap_err();
    assert!(matches!(&error, TokenizerError::DuplicateToken { .. }), "{error}");
}

#[test]
fn one_id_for_two_tokens() {
    let error = refused_json("llama-bpe", |f| f["model"]["vocab"]["%"] = json!(5));
    assert!(matches!(&error, TokenizerError::DuplicateId { id: 5, .. }), "{error}");
}

#[test]
fn an_added_token_under_another_id_than_its_own() {
    let error = refused_json("spm", |f| f["added_tokens"][1]["id"] = json!(5));
    assert!(matches!(&error, TokenizerError::DuplicateToken { first: 1, second: 5, .. }), "{error}");
    let error = refused_json("llama-bpe", |f| f["added_tokens"][1]["id"] = json!(5));
    assert!(matches!(&error, TokenizerError::DuplicateId { id: 5, .. }), "{error}");
}

#[test]
fn an_id_that_would_need_gigabytes() {
    let error = refused_json("llama-bpe", |f| f["added_tokens"][1]["id"] = json!(u32::MAX));
    assert!(matches!(&error, TokenizerError::TooLarge { what: "token id", .. }), "{error}");
}

#[test]
fn added_tokens_may_leave_holes_and_keep_their_ids() {
    let mut file: Value = serde_json::from_slice(&bytes("llama-bpe", "tokenizer.json")).unwrap();
    file["added_tokens"][4]["id"] = json!(2000);
    let tokenizer = Tokenizer::from_hf(file.to_string().as_bytes(), None).unwrap();
    assert_eq!(tokenizer.encode("<|eot_id|>", false).unwrap(), [2000]);
    assert_eq!((tokenizer.vocab_size(), tokenizer.token_text(1999)), (2001, None));
    assert_eq!(tokenizer.decode(&[2000, 1999], false), "<|eot_id|>\u{FFFD}");
}

#[test]
fn merges_of_unknown_parts_or_without_a_product() {
    let error = refused(|s| s.merges[3] = "Ġ nowhere".into());
    assert!(
        matches!(&error, TokenizerError::MergeUnknown { index: 3, missing, .. } if missing == "nowhere"),
        "{error}"
    );
    let error = refused(|s| s.merges[3] = "% %".into());
    assert!(matches!(&error, TokenizerError::MergeUnknown { index: 3, missing, .. } if missing == "%%"), "{error}");
    let error = refused_json("llama-bpe", |f| f["model"]["merges"][2] = json!(["%", "%"]));
    assert!(matches!(&error, TokenizerError::MergeUnknown { index: 2, .. }), "{error}");
}

#[test]
fn merges_that_are_not_pairs_or_come_twice() {
    for bad in ["", "a", "a ", " a", "a b c"] {
        let error = refused(|s| s.merges[5] = bad.into());
        assert!(matches!(&error, TokenizerError::BadMerge { index: 5, .. }), "{bad:?}: {error}");
    }
    let error = refused(|s| s.merges[5] = s.merges[2].clone());
    assert!(matches!(&error, TokenizerError::DuplicateMerge { index: 5, first: 2, .. }), "{error}");
}

#[test]
fn lists_of_another_length_than_the_tokens() {
    assert!(matches!(
        refused(|s| {
            s.token_types.pop();
        }),
        TokenizerError::Length { what: "token_type", .. }
    ));
    let error = refused_from("spm", |s| s.scores.truncate(10));
    assert!(matches!(error, TokenizerError::Length { what: "scores", got: 10, tokens: 1200 }));
    let error = refused_from("spm", |s| s.scores.clear());
    assert!(matches!(error, TokenizerError::Length { what: "scores", got: 0, .. }));
}

#[test]
fn values_without_meaning() {
    assert!(matches!(refused(|s| s.token_types[9] = 7), TokenizerError::TokenType { id: 9, value: 7 }));
    assert!(matches!(refused(|s| s.token_types[9] = -1), TokenizerError::TokenType { id: 9, value: -1 }));
    assert!(matches!(refused_from("spm", |s| s.scores[700] = f32::NAN), TokenizerError::Score { id: 700, .. }));
    let error = refused(|s| s.eos = Some(1206));
    assert!(matches!(error, TokenizerError::SpecialId { role: "eos_token_id", id: 1206, vocab: 1206 }));
}

#[test]
fn a_special_token_that_is_asked_for_but_not_named() {
    assert!(matches!(refused(|s| s.bos = None), TokenizerError::NoSpecial { flag: "add_bos_token", .. }));
    let error = refused_from("teacher", |s| (s.eos, s.add_eos) = (None, Some(true)));
    assert!(matches!(error, TokenizerError::NoSpecial { flag: "add_eos_token", .. }));
}

#[test]
fn a_byte_that_text_would_lose() {
    // 0x21 is `!`, token 0 of this vocabulary, and part of no merge here once those that use it are gone.
    let error = refused(|s| {
        s.tokens[0] = "<gone>".into();
        s.merges.retain(|m| !m.contains('!'));
    });
    assert!(matches!(error, TokenizerError::MissingByte { byte: 0x21 }), "{error}");
    let error = refused_from("spm", |s| {
        s.unk = None;
        s.tokens[3 + 0x41] = "<gone>".into();
    });
    assert!(matches!(error, TokenizerError::MissingByte { byte: 0x41 }), "{error}");
}

#[test]
fn a_token_or_a_text_of_absurd_length() {
    assert!(matches!(refused(|s| s.tokens[900] = "x".repeat(5000)), TokenizerError::TooLarge { .. }));
    let tokenizer = Tokenizer::from_spec(&spec("llama-bpe")).unwrap();
    let long = "a".repeat(MAX_TEXT_BYTES + 1);
    assert!(matches!(tokenizer.encode(&long, false), Err(TokenizerError::TextTooLong { .. })));
}

#[test]
fn parts_of_tokenizer_json_that_are_not_done_here_are_named() {
    let cases: [(&str, &str, Value); 9] = [
        ("/model/type", "Unigram", json!("Unigram")),
        ("/model/dropout", "0.1", json!(0.1)),
        ("/model/continuing_subword_prefix", "##", json!("##")),
        ("/model/end_of_word_suffix", "</w>", json!("</w>")),
        ("/normalizer", "Precompiled", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("/pre_tokenizer/pretokenizers/0/type", "BertPreTokenizer", json!("BertPreTokenizer")),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", "empty pattern", json!("")),
        ("/decoder/type", "WordPiece", json!("WordPiece")),
        ("/post_processor/processors/0/type", "BertProcessing", json!("BertProcessing")),
    ];
    for (at, name, value) in cases {
        let error = refused_json("llama-bpe", |f| *f.pointer_mut(at).unwrap() = value);
        assert!(
            matches!(&error, TokenizerError::Unsupported { .. }) && error.to_string().contains(name),
            "{at}: {error}"
        );
    }
}

#[test]
fn a_unigram_file_is_refused_by_the_name_of_its_model() {
    let file = json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}});
    let error = Tokenizer::from_hf(file.to_string().as_bytes(), None).unwrap_err();
    assert_eq!(error.to_string(), "tokenizer model `Unigram` is not supported; supported are BPE");
}

#[test]
fn a_post_processor_with_ids_outside_the_vocabulary() {
    let ids = "/post_processor/processors/1/special_tokens/<|begin_of_text|>/ids";
    let error = refused_json("llama-bpe", |f| *f.pointer_mut(ids).unwrap() = json!([9999]));
    assert!(matches!(error, TokenizerError::SpecialId { id: 9999, .. }), "{error}");
}

#[test]
fn a_broken_regular_expression_is_an_error() {
    let error = refused_json("llama-bpe", |f| f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a"));
    assert!(matches!(error, TokenizerError::Json { .. }), "{error}");
}

#[test]
fn no_json_at_all_and_every_truncation_of_it() {
    let whole = bytes("llama-bpe", "tokenizer.json");
    for cut in (0..whole.len()).step_by(997) {
        let error = Tokenizer::from_hf(&whole[..cut], None).unwrap_err();
        assert!(error.to_string().starts_with("tokenizer.json: "), "{error}");
    }
    let error = Tokenizer::from_hf(&whole, Some(b"{")).unwrap_err();
    assert!(error.to_string().starts_with("tokenizer_config.json: "), "{error}");
}

#[test]
fn unused_tokens_are_decoded_but_never_produced() {
    let mut spec = spec("llama-bpe");
    spec.tokens.push("[PAD1206]".into());
    spec.token_types.push(5);
    let tokenizer = Tokenizer::from_spec(&spec).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.decode(&[1206], true).as_str()), (1207, "[PAD1206]"));
    assert!(!tokenizer.encode("[PAD1206]", false).unwrap().contains(&1206));
}
