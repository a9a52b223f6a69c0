//! Token ids and texts against transformers, for both ways to build a tokenizer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{FIXTURES, both, bytes, references, spec};
use proptest::prelude::*;
use twinpath_engine::tokenizer::{Tokenizer, TokenizerSpec};
use twinpath_formats::convert::{Options, convert};
use twinpath_formats::{ModelFile, Verify};

#[test]
fn ids_equal_the_reference_for_every_text() {
    for fixture in FIXTURES {
        let references = references(fixture);
        assert!(references.len() > 100, "{fixture}");
        for (made, tokenizer) in both(fixture) {
            for r in &references {
                let ids = tokenizer.encode(&r.text, r.add_special).unwrap();
                assert_eq!(ids, r.ids, "{fixture} {made} {:?} add_special={}", r.text, r.add_special);
            }
        }
    }
}

/// The tokenizer of a model file, through the loader that every command uses.
fn loaded(model: &Path) -> Tokenizer {
    let file = ModelFile::open(model, Verify::All).unwrap();
    twinpath_engine::load::tokenizer(&file, model).unwrap().unwrap()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn assert_ids(made: &str, fixture: &str, tokenizer: &Tokenizer) {
    for r in references(fixture) {
        let ids = tokenizer.encode(&r.text, r.add_special).unwrap();
        assert_eq!(ids, r.ids, "{made} {:?} add_special={}", r.text, r.add_special);
    }
}

#[test]
fn model_files_of_every_kind_give_the_reference_ids() {
    for fixture in FIXTURES {
        assert_ids("vocab.gguf", fixture, &loaded(&common::path(fixture, "vocab.gguf")));
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(repository("testdata/tiny/llama-gqa4").join(name), folder.path().join(name)).unwrap();
        }
        std::fs::copy(common::path(fixture, "tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        assert_ids("folder", fixture, &loaded(folder.path()));
    }
    assert_ids("zoo gguf", "teacher", &loaded(&repository("zoo/teacher-q4_k_m.gguf")));
    assert_ids("zoo apr", "teacher", &loaded(&repository("zoo/teacher-q4_k_m.apr")));
}

#[test]
fn vocabularies_survive_conversion_to_apr_and_back() {
    for fixture in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let [apr, gguf] = ["v.apr", "v.gguf"].map(|name| folder.path().join(name));
        let options = Options::default();
        convert(&common::path(fixture, "vocab.gguf"), &apr, &options, &mut |_, _| ()).unwrap();
        convert(&apr, &gguf, &options, &mut |_, _| ()).unwrap();
        assert_ids("apr", fixture, &loaded(&apr));
        assert_ids("gguf again", fixture, &loaded(&gguf));
    }
}

#[test]
fn decoded_texts_equal_the_reference() {
    for fixture in FIXTURES {
        for (made, tokenizer) in both(fixture) {
            for r in references(fixture) {
                assert_eq!(tokenizer.decode(&r.ids, false), r.decoded, "{fixture} {made} {:?}", r.text);
                assert_eq!(tokenizer.decode(&r.ids, true), r.decoded_plain, "{fixture} {made} {:?}", r.text);
            }
        }
    }
}

#[test]
fn a_stream_concatenates_to_the_reference_and_never_holds_half_a_character() {
    let mut unfinished = 0;
    for fixture in FIXTURES {
        for (made, tokenizer) in both(fixture) {
            for r in references(fixture) {
                let mut stream = tokenizer.stream(true);
                let parts: Vec<String> = r.ids.iter().map(|id| stream.push(*id)).collect();
                unfinished += parts.iter().filter(|part| part.is_empty()).count();
                let whole = parts.concat();
                assert_eq!(stream.finish(), "", "{fixture} {made} {:?}", r.text);
                assert_eq!(whole, r.decoded_plain, "{fixture} {made} {:?}", r.text);
            }
        }
    }
    assert!(unfinished > 100, "the references hold no character of several tokens");
}

#[test]
fn both_ways_know_the_same_vocabulary() {
    for fixture in FIXTURES {
        let [(_, a), (_, b)] = both(fixture);
        assert_eq!(a.vocab_size(), b.vocab_size());
        for id in 0..a.vocab_size() as u32 {
            assert_eq!(a.token_text(id), b.token_text(id), "{fixture}");
            assert_eq!(a.is_special(id), b.is_special(id), "{fixture} {id}");
        }
    }
}

#[test]
fn end_of_generation_is_eos_and_the_known_special_tokens() {
    let [(_, teacher), _] = both("teacher");
    let ends = |t: &Tokenizer| (0..t.vocab_size() as u32).filter(|id| t.is_end_of_generation(*id)).collect::<Vec<_>>();
    assert_eq!((teacher.bos(), teacher.eos(), ends(&teacher)), (None, Some(0), vec![0]));
    let [(_, mut llama), _] = both("llama-bpe");
    assert_eq!((llama.bos(), llama.eos(), ends(&llama)), (Some(1200), Some(1204), vec![1201, 1204]));
    llama.add_end_of_generation(&[1203]).unwrap();
    assert_eq!(ends(&llama), [1201, 1203, 1204]);
    assert!(llama.add_end_of_generation(&[1206]).is_err());
}

#[test]
fn the_configuration_names_tokens_and_overrules_the_post_processor() {
    let config = |text: &str| Tokenizer::from_hf(&bytes("llama-bpe", "tokenizer.json"), Some(text.as_bytes()));
    let named = r#""bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|eot_id|>"}, "chat_template": "T""#;
    let plain = config(&format!("{{{named}}}")).unwrap();
    assert_eq!((plain.bos(), plain.eos(), plain.chat_template()), (Some(1200), Some(1204), Some("T")));
    assert_eq!(plain.encode("", true).unwrap(), [1200]);
    let without = config(&format!(r#"{{{named}, "add_bos_token": false, "add_eos_token": true}}"#)).unwrap();
    assert_eq!(without.encode("", true).unwrap(), [1204]);
    let several = r#"{"chat_template": [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]}"#;
    assert_eq!(config(several).unwrap().chat_template(), Some("D"));
    assert!(config(r#"{"bos_token": "<nowhere>"}"#).unwrap_err().to_string().contains("<nowhere>"));
    assert!(config(r#"{"add_eos_token": true}"#).unwrap_err().to_string().contains("eos_token"));
}

#[test]
fn tokens_that_only_the_configuration_adds_are_known_under_its_ids() {
    let config = |id: u32, text: &str| {
        let flags = r#""lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": true"#;
        let config = format!(r#"{{"added_tokens_decoder": {{"{id}": {{"content": "{text}", {flags}}}}}}}"#);
        Tokenizer::from_hf(&bytes("llama-bpe", "tokenizer.json"), Some(config.as_bytes()))
    };
    let known = config(1204, "<|eot_id|>").unwrap();
    assert_eq!(known.vocab_size(), 1206);
    let added = config(1300, "<|im_end|>").unwrap();
    assert_eq!(added.encode("a<|im_end|>", false).unwrap()[1..], [1300]);
    assert!(added.is_end_of_generation(1300));
    let error = config(1200, "<|im_end|>").unwrap_err().to_string();
    assert!(error.contains("id 1200 belongs to both"), "{error}");
}

#[test]
fn what_the_metadata_leave_open_follows_the_family() {
    let open = |fixture: &str, pre: &str| {
        let pre = pre.to_owned();
        let spec = TokenizerSpec { add_bos: None, add_eos: None, add_space_prefix: None, pre, ..spec(fixture) };
        Tokenizer::from_spec(&spec).unwrap().encode("a", true).unwrap()
    };
    assert_eq!(open("llama-bpe", "llama-v3")[0], 1200);
    assert_eq!(open("llama-bpe", "gpt-2").len(), 1);
    let spm = references("spm").into_iter().find(|r| r.text == "Hello" && r.add_special).unwrap();
    let spec = TokenizerSpec { add_bos: None, add_space_prefix: None, ..spec("spm") };
    assert_eq!(Tokenizer::from_spec(&spec).unwrap().encode("Hello", true).unwrap(), spm.ids);
}

#[test]
fn without_the_space_prefix_text_begins_as_it_is() {
    let spec = TokenizerSpec { add_space_prefix: Some(false), ..spec("spm") };
    let tokenizer = Tokenizer::from_spec(&spec).unwrap();
    for text in ["Hello", " Hello", "", "\n", "é"] {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(&ids, true), text);
    }
    let ids = tokenizer.encode("Hello", false).unwrap();
    assert!(!tokenizer.token_text(ids[0]).unwrap().starts_with('\u{2581}'));
}

/// SentencePiece's own procedure, said naively: join the neighbours whose union scores best, the leftmost of equals.
fn sentence_piece_ids(spec: &TokenizerSpec, text: &str) -> Vec<u32> {
    let score = |t: &str| {
        let id = spec.tokens.iter().position(|token| token == t)?;
        (spec.token_types[id] == 1).then(|| (spec.scores[id], id as u32))
    };
    let mut parts: Vec<String> = text.chars().map(|c| c.to_string().replace(' ', "\u{2581}")).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for at in 1..parts.len() {
            let found = score(&format!("{}{}", parts[at - 1], parts[at]));
            if found.is_some_and(|(s, _)| best.is_none_or(|(b, _)| s > b)) {
                best = found.map(|(s, _)| (s, at));
            }
        }
        let Some((_, at)) = best else { break };
        let right = parts.remove(at);
        parts[at - 1].push_str(&right);
    }
    let byte = |b: u8| spec.tokens.iter().position(|t| *t == format!("<0x{b:02X}>")).unwrap() as u32;
    parts
        .iter()
        .flat_map(|part| score(part).map_or_else(|| part.bytes().map(byte).collect(), |(_, id)| vec![id]))
        .collect()
}

/// Of [`FIXTURES`], in order.
static BUILT: LazyLock<Vec<Tokenizer>> =
    LazyLock::new(|| FIXTURES.map(|f| both(f).map(|(_, t)| t)).into_iter().flatten().step_by(2).collect());

static NO_PREFIX: LazyLock<(TokenizerSpec, Tokenizer)> = LazyLock::new(|| {
    let spec = TokenizerSpec { add_space_prefix: Some(false), ..spec("spm") };
    let tokenizer = Tokenizer::from_spec(&spec).unwrap();
    (spec, tokenizer)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn merges_from_scores_do_what_sentencepiece_does(text in "[ aeinorst_=(d.0\u{e9}]{0,40}") {
        let (spec, tokenizer) = &*NO_PREFIX;
        prop_assert_eq!(tokenizer.encode(&text, false).unwrap(), sentence_piece_ids(spec, &text));
    }

    #[test]
    fn any_text_survives_a_round_trip(text in "\\PC{0,60}") {
        // The teacher normalises to NFC, so only composed text comes back as it was.
        for tokenizer in [&BUILT[1], &BUILT[2]] {
            // SentencePiece writes its spaces as U+2581 and cannot tell one from the other.
            let text = text.replace('\u{2581}', "_");
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids, false), text);
        }
    }

    #[test]
    fn any_ids_stream_to_what_they_decode_to(ids in prop::collection::vec(0u32..1300, 0..60), skip in any::<bool>()) {
        for tokenizer in BUILT.iter() {
            let mut stream = tokenizer.stream(skip);
            let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
            text.push_str(&stream.finish());
            prop_assert_eq!(text, tokenizer.decode(&ids, skip));
        }
    }
}

#[test]
fn broken_bytes_and_unknown_ids_are_marked_not_dropped() {
    let [(_, spm), _] = both("spm");
    let id = |t: &str| spm.token_id(t).unwrap();
    // The first two bytes of U+2581's three, then a letter: SentencePiece marks each broken byte.
    assert_eq!(spm.decode(&[id("<0xE2>"), id("<0x96>"), id("a")], false), "\u{FFFD}\u{FFFD}a");
    assert_eq!(spm.decode(&[id("<0xE2>")], false), "\u{FFFD}");
    assert_eq!(spm.decode(&[9999, id("a")], false), "\u{FFFD}a");
    let [(_, bpe), _] = both("llama-bpe");
    let id = |t: &str| bpe.token_id(t).unwrap();
    assert_eq!(bpe.decode(&[id("\u{e2}"), id("\u{138}"), id("a")], false), "\u{FFFD}a");
}

#[test]
fn a_special_token_between_the_bytes_of_a_character_does_not_join_them() {
    let [(_, bpe), _] = both("llama-bpe");
    let (first, second) = (bpe.token_id("\u{c3}").unwrap(), bpe.token_id("\u{a9}").unwrap());
    assert_eq!(bpe.decode(&[first, second], false), "\u{e9}");
    assert_eq!(bpe.decode(&[first, 1204, second], false), "\u{FFFD}<|eot_id|>\u{FFFD}");
}

#[test]
fn long_runs_of_white_space_keep_every_character() {
    for fixture in FIXTURES {
        for (made, tokenizer) in both(fixture) {
            let text = format!("{}x{}", " ".repeat(200_000), "\n ".repeat(50_000));
            let ids = tokenizer.encode(&text, false).unwrap();
            assert!(tokenizer.decode(&ids, true) == text, "{fixture} {made}");
        }
    }
}
