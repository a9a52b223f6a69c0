//! The experiments: their list, their pages, the published figures, and their controls on the bundled model.

use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::experiment::{Falsification, Verdict};
use twinpath_evidence::published::Reproduced;
use twinpath_formats::Verify;
use twinpath_lab::experiments::{EXPERIMENTS, Experiment, HEADINGS, Subject, falsify, reproduce};
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn all() -> Vec<&'static Experiment> {
    EXPERIMENTS.iter().collect()
}

fn run(model: &str, tokens: &[u32], isa: Isa) -> Falsification {
    let model = Model::open(&repo(model), Verify::All).expect("the model is in the repository");
    falsify(&all(), &Subject { model: &model, tokens, isa }, &|_, _| ()).expect("the tokens fit the model")
}

fn prompt() -> Vec<u32> {
    (0..32).map(|i| (i * 397 + 11) % 4096).collect()
}

#[test]
fn every_file_of_the_folder_is_in_the_list() {
    let folder = repo("crates/lab/src/experiments");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|stem| !["mod", "kit"].contains(&stem.as_str()))
        .collect();
    files.sort();
    let mut listed: Vec<String> = EXPERIMENTS.iter().map(|e| e.id.to_lowercase().replace('-', "_")).collect();
    listed.sort();
    assert_eq!(files, listed);
}

#[test]
fn every_page_has_every_heading_in_order_and_text_under_each() {
    for e in EXPERIMENTS {
        let page = e.page();
        let found: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        assert_eq!(found, HEADINGS, "{}", e.id);
        for heading in HEADINGS {
            assert!(e.section(heading).len() > 20, "{}: nothing under {heading}", e.id);
        }
    }
}

#[test]
fn experiments_are_found_by_name_and_by_published_number() {
    for (name, id) in
        [("mechanism", "mechanism"), ("a1-ROPE", "A1-rope"), ("008", "mechanism"), ("017", "cumulative-layers")]
    {
        assert_eq!(Experiment::find(name).map(|e| e.id), Some(id));
    }
    assert!(Experiment::find("00").is_none() && Experiment::find("").is_none());
}

#[test]
fn every_published_figure_that_needs_no_7b_file_comes_out_to_the_bit() {
    let record = reproduce(&all(), None);
    for (e, row) in record.experiments.iter().flat_map(|e| e.rows.iter().map(move |row| (e, row))) {
        let needs_7b = ["A5-real-weights", "cumulative-layers"].contains(&e.id.as_str());
        let expected = if needs_7b { Reproduced::Skipped } else { Reproduced::Match };
        assert_eq!(row.reproduced(), expected, "{}: {row:?}", e.id);
    }
    assert_eq!((record.matched, record.differing, record.skipped), (52, 0, 10));
    assert_eq!(record.exit_code(), 0);
    let bits = |figure: &str| {
        let row = record.experiments.iter().flat_map(|e| &e.rows).find(|row| row.figure == figure).unwrap();
        row.bits.clone().unwrap()
    };
    assert_eq!((bits("eight lanes"), bits("left fold")), ("0x44191e70".into(), "0x44191e70".into()));
    assert_eq!((bits("path A"), bits("path B")), ("0xc69384e3".into(), "0xc693a21e".into()));
    assert_eq!((bits("element 0"), bits("element 255")), ("0x412c0000".into(), "0x3fa00000".into()));
}

#[test]
fn published_rules_and_titles_stand_side_by_side() {
    let record = reproduce(&all(), None);
    let disagreeing: Vec<&str> = record
        .experiments
        .iter()
        .filter(|e| {
            e.title.contains("FALSIFIED") && e.rule_says.as_deref().is_some_and(|says| says.contains("NOT CONFIRMED"))
        })
        .map(|e| e.number.as_str())
        .collect();
    assert_eq!(disagreeing, ["010", "011", "012", "015"]);
}

#[test]
fn a_model_of_other_weights_skips_the_rows_of_the_7b_model() {
    let model = Model::open(&repo("zoo/teacher-q4_k_m.gguf"), Verify::Header).unwrap();
    let only: Vec<&Experiment> =
        ["A5-real-weights", "cumulative-layers"].map(|id| Experiment::find(id).unwrap()).to_vec();
    let record = reproduce(&only, Some(&model));
    assert_eq!((record.matched, record.differing, record.skipped, record.exit_code()), (0, 0, 10, 3));
}

#[test]
fn on_the_bundled_model_all_is_upheld_and_every_control_refuted() {
    let record = run("zoo/teacher-q4_k_m.gguf", &prompt(), Isa::detect());
    for e in &record.experiments {
        assert!(!e.findings.controls.is_empty() && !e.findings.positive_controls.is_empty(), "{} has no control", e.id);
        for control in &e.findings.controls {
            assert_eq!(control.verdict(), Verdict::Refuted, "{}: {control:?}", e.id);
        }
        for control in &e.findings.positive_controls {
            assert_eq!(control.verdict(), Verdict::Upheld, "{}: {control:?}", e.id);
        }
        assert_eq!(e.verdict(), Verdict::Upheld, "{}: {:?}", e.id, e.findings.checks);
    }
    assert_eq!((record.counts.upheld, record.counts.skipped_rows, record.exit_code()), (EXPERIMENTS.len(), 3, 0));
}

#[test]
fn a_second_run_on_other_kernels_and_threads_gives_the_same_bytes_apart_from_provenance() {
    let bytes = |isa| {
        let mut record = run("zoo/teacher-q4_k_m.gguf", &prompt(), isa);
        record.provenance.cpu.clear();
        serde_json::to_vec(&record).unwrap()
    };
    let first = bytes(Isa::detect());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert!(first == pool.install(|| bytes(Isa::PORTABLE)), "two runs differ");
}

#[test]
fn one_token_exercises_neither_rotation_nor_softmax_and_passes_neither() {
    let record = run("zoo/teacher-q4_k_m.gguf", &[5], Isa::detect());
    for id in ["A1-rope", "A2-softmax", "A4-batch"] {
        let e = record.experiments.iter().find(|e| e.id == id).unwrap();
        assert_eq!(e.findings.checks[0].verdict(), Verdict::NotExercised, "{id}");
        assert_ne!(e.verdict(), Verdict::Upheld, "{id}");
    }
    assert_eq!(record.exit_code(), 3);
}

#[test]
fn a_model_of_plain_floats_has_nothing_to_round_and_is_not_called_upheld() {
    let tokens: Vec<u32> = (0..24).map(|i| (i * 29 + 7) % 64).collect();
    let record = run("testdata/tiny/mistral-window/model.gguf", &tokens, Isa::detect());
    for id in ["mechanism", "compounding", "A5-real-weights", "cumulative-layers"] {
        let e = record.experiments.iter().find(|e| e.id == id).unwrap();
        assert_eq!(e.findings.checks[0].verdict(), Verdict::NotExercised, "{id}: {:?}", e.findings.checks[0]);
        assert_ne!(e.verdict(), Verdict::Upheld, "{id}");
    }
}
