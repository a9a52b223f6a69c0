//! `twinpath bench`: what it writes, not how fast anything is.

use super::common::{gguf, json, ok, root, text, twinpath};

#[test]
fn a_quick_look_measures_what_was_asked_for_and_names_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (text(&gguf()), text(folder.path()));
    let arguments = ["bench", &model, "--quick", "--only", "memory", "--only", "load", "--only", "decode", "--json"];
    let record = json(&[&arguments[..], &["--record", &out]].concat());
    let groups = record["groups"].as_array().unwrap();
    let of = |measure: &str| groups.iter().filter(|g| g["measure"] == measure).collect::<Vec<_>>();
    assert_eq!(of("load").len(), 1, "{record}");
    let decode = of("decode");
    assert_eq!(decode.len() + of("load").len(), groups.len(), "nothing else was asked for");
    for group in &decode {
        let names: Vec<&str> =
            group["entrants"].as_array().unwrap().iter().filter_map(|e| e["name"].as_str()).collect();
        for path in ["standalone", "fused-q8k", "fused-q8x32", "read, huge pages"] {
            assert!(names.contains(&path), "{path} in {names:?}");
        }
        assert!(
            group["entrants"].as_array().unwrap().iter().all(|e| e["rate"]["q1"].as_f64().unwrap() > 0.0),
            "{group}"
        );
        let ratios = group["ratios"].as_array().unwrap();
        assert!(ratios.iter().any(|r| r["of"] == "fused-q8x32" && r["to"] == "fused-q8k" && r["quantity"] == "time"));
    }
    #[cfg(target_os = "linux")]
    assert!(record["memory"]["peak"].as_u64() > record["memory"]["anonymous"].as_u64(), "{}", record["memory"]);
    let written = std::fs::read_to_string(folder.path().join("teacher-q4_k_m.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), record);
    assert!(!written.contains(&text(&root())) && !written.contains(&out), "a record is shown to others");
    assert_eq!(record["command"], "twinpath bench teacher-q4_k_m.gguf --only memory --only load --only decode --quick");
}

#[test]
fn the_table_has_the_paths_and_the_limit() {
    let out = ok(&["bench", "--quick", "--only", "decode"]);
    for word in ["decode: after 32 positions, 1 thread", "read, huge pages", "fused-q8x32", "x the speed of", "tok/s"] {
        assert!(out.contains(word), "{word} in\n{out}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_in_one_line() {
    let oracle = format!("{}@oracle", text(&gguf()));
    for (arguments, word) in [
        (&["bench", oracle.as_str()][..], "the oracle is exact, not fast"),
        (&["bench", "--record", "no/such/folder"], "no/such/folder: is no folder"),
        (&["bench", "--path", "oracle"], "the oracle is exact, not fast"),
        (&["bench", "--path", "fast"], "no path `fast`; there are standalone"),
        (&["bench", "--only", "everything"], "everything"),
        (&["bench", "missing.gguf"], "missing.gguf"),
    ] {
        let ended = twinpath(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.err.contains(word), "{word} in {}", ended.err);
    }
}
