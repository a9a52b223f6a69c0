//! Whether a change of arithmetic closes a gap, or only moves or hides it: with faults planted for the purpose.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod planted;

use std::path::Path;

use twinpath_engine::{Model, Numerics as _, Op, Site, Tensor};
use twinpath_evidence::{Fix, Warning};
use twinpath_formats::{TensorType, Verify};
use twinpath_lab::fix::{FixOptions, Inputs, Try, fix};
use twinpath_lab::party::Source;
use twinpath_lab::policies::POLICIES;
use twinpath_lab::trace::{Selection, record as trace};
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, PathName, compare};
use twinpath_paths::simd::Isa;
use twinpath_paths::{FusedQ8k, FusedQ8x32, Path as ArithmeticPath, Standalone};

use planted::{louder, mistaken};

fn model(file: &str) -> Model {
    Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file), Verify::All).unwrap()
}

const TEACHER: &str = "zoo/teacher-q4_k_m.gguf";
const MASSIVE: &str = "zoo/massive-q4_k_m.gguf";

fn tokens(n: u32, first: u32, vocab: u32) -> Vec<u32> {
    (0..n).map(|i| (first + i * 977) % vocab).collect()
}

fn fused() -> Box<dyn ArithmeticPath> {
    Box::new(FusedQ8k::new())
}

fn faulty(path: Box<dyn ArithmeticPath>, mistake: &str) -> Box<dyn ArithmeticPath> {
    mistaken(&model(TEACHER), path, mistake)
}

/// The record of replacing B, with A along standalone.
fn after(before: Box<dyn ArithmeticPath>, after: Box<dyn ArithmeticPath>) -> Fix {
    let model = model(TEACHER);
    let (a, b, c) = (Arithmetic::Path(Box::new(Standalone::new())), Arithmetic::Path(before), Arithmetic::Path(after));
    let party = |arithmetic| Party { label: String::new(), source: Source::Model(&model, arithmetic) };
    let tries = [Try { policy: "change".to_owned(), sides: [party(&a), party(&c)] }];
    let inputs = Inputs { seen: vec![tokens(8, 5, 4096)], held_out: vec![tokens(12, 700, 4096)] };
    let options = FixOptions { alpha: 1e-3, decode: 0, hash: false };
    fix(&[party(&a), party(&b)], &tries, &inputs, options, &mut |_, _| {}).unwrap()
}

fn verdict(record: &Fix) -> &'static str {
    record.tried[0].verdict.word()
}

fn two_faults() -> Box<dyn ArithmeticPath> {
    faulty(faulty(fused(), "nibbles@blk.1.ffn_gate"), "rope-pairing@blk.3.q_rope")
}

#[test]
fn undoing_both_faults_closes_the_gap() {
    let record = after(two_faults(), fused());
    let found: Vec<&str> = record.before.unexplained.iter().map(String::as_str).collect();
    assert_eq!((verdict(&record), found), ("closed", vec!["blk.1.ffn_gate", "blk.3.q_rope"]));
}

#[test]
fn undoing_half_of_a_two_site_fault_is_not_closed() {
    for left in ["nibbles@blk.1.ffn_gate", "rope-pairing@blk.3.q_rope"] {
        let record = after(two_faults(), faulty(fused(), left));
        assert_eq!(verdict(&record), "NOT CLOSED", "{left}: {:?}", record.tried[0]);
    }
}

#[test]
fn a_fault_at_another_place_is_a_gap_that_moved() {
    let before = faulty(fused(), "nibbles@blk.1.ffn_gate");
    let record = after(before, faulty(fused(), "nibbles@blk.2.ffn_up"));
    assert_eq!(verdict(&record), "MOVED", "{:?}", record.tried[0]);
}

/// Twice the values, and half of what is mixed from them: powers of two, so that nothing but two wrong sites is left.
#[test]
fn faults_that_compensate_each_other_hide_the_gap() {
    let before = louder(fused(), "blk.2.v", 2.0);
    let record = after(before, louder(louder(fused(), "blk.2.v", 2.0), "blk.2.attn_ctx", 0.5));
    assert_eq!(verdict(&record), "HIDDEN", "{:?}", record.tried[0]);
    let clean = after(fused(), fused());
    assert_eq!(record.tried[0].seen.relative_l2, clean.tried[0].seen.relative_l2);
}

#[test]
fn every_builtin_policy_on_both_sides_closes_the_gap_and_is_identical() {
    let model = model(TEACHER);
    let before = ["standalone", "fused-q8k"].map(|n| Arithmetic::new(PathName::find(n).unwrap(), Isa::detect()));
    let policies: Vec<Arithmetic> =
        POLICIES.iter().map(|p| Arithmetic::new(PathName::find(p.name).unwrap(), Isa::detect())).collect();
    let party = |arithmetic| Party { label: String::new(), source: Source::Model(&model, arithmetic) };
    let tries: Vec<Try<'_>> = POLICIES
        .iter()
        .zip(&policies)
        .map(|(p, arithmetic)| Try { policy: p.name.to_owned(), sides: [party(arithmetic), party(arithmetic)] })
        .collect();
    let inputs = Inputs { seen: vec![tokens(5, 5, 4096)], held_out: vec![tokens(9, 700, 4096)] };
    let options = FixOptions { alpha: 1e-3, decode: 2, hash: false };
    let record = fix(&[party(&before[0]), party(&before[1])], &tries, &inputs, options, &mut |_, _| {}).unwrap();
    for t in &record.tried {
        assert_eq!(t.verdict.word(), "closed (identical)", "{}: {:?}", t.policy, t.verdict);
        assert!(t.accepted && t.speed.is_some(), "{}: {t:?}", t.policy);
    }
    // The rounding of activations is all that the paths differ by: f32 is nearest the oracle.
    let distance = |i: usize| record.tried[i].seen.a_oracle.unwrap();
    assert!(distance(1) < distance(2) && distance(2) < distance(0), "{:?}", [distance(0), distance(1), distance(2)]);
}

/// One scale per 32 leaves 31 neighbours of a massive value to be crushed, one per 256 leaves 255: √(255/31) = 2.9 where
/// nothing else errs.
#[test]
fn option_c_is_nearer_the_oracle_than_option_a_where_activations_are_massive() {
    let model = model(MASSIVE);
    let distance = |policy: &str| -> f64 {
        let arithmetic = Arithmetic::new(PathName::find(policy).unwrap(), Isa::detect());
        let oracle = Arithmetic::new(PathName::Oracle, Isa::detect());
        let party = |arithmetic| Party { label: String::new(), source: Source::Model(&model, arithmetic) };
        let options = CompareOptions {
            oracle: OracleChoice::Off,
            layers: OracleChoice::Off,
            hash: false,
            replay: None,
            statistical: false,
        };
        let (o, p) = (party(&oracle), party(&arithmetic));
        let record = compare(&o, &p, &tokens(48, 3, 512), options, &mut |_, _| {}).unwrap();
        record.sites.last().unwrap().drift.relative_l2.unwrap()
    };
    let (a, b, c, mixed) = (distance("option-a"), distance("option-b"), distance("option-c"), distance("mixed"));
    println!("A {a} B {b} C {c} mixed {mixed}");
    assert!(a >= 2.5 * c, "A {a} is not 2.5 times C {c}");
    assert!(b < 1e-4 && mixed < a, "B {b}, mixed {mixed}");
}

/// Rows go to different paths, and each is judged by what its own path declares.
#[test]
fn a_mixed_policy_is_explained_row_by_row_and_has_the_bits_of_the_path_of_each_row() {
    let model = model(MASSIVE);
    let mixed = Arithmetic::new(PathName::find("mixed").unwrap(), Isa::detect());
    let plain = Arithmetic::Path(Box::new(Standalone::new()));
    let party = |arithmetic| Party { label: String::new(), source: Source::Model(&model, arithmetic) };
    let options = CompareOptions {
        oracle: OracleChoice::Off,
        layers: OracleChoice::Off,
        hash: false,
        replay: Some(1e-3),
        statistical: false,
    };
    let (a, b) = (party(&plain), party(&mixed));
    let record = compare(&a, &b, &tokens(24, 3, 512), options, &mut |_, _| {}).unwrap();
    assert_eq!(record.judgement.unwrap().verdict.word(), "explained");
    let path = mixed.path().unwrap();
    let weight = model.matrix("blk.0.ffn_gate.weight");
    let op = Op::Linear { weight, bias: None };
    let site: Site = "blk.0.ffn_gate".parse().unwrap();
    let mut x = Tensor::new(4, 256, (0..1024).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect());
    x.row_mut(1)[7] = 90.0;
    x.row_mut(2)[9] = -4.0;
    let all = path.eval(site, &op, &[&x]);
    let (coarse, fine) = (FusedQ8k::new().eval(site, &op, &[&x]), FusedQ8x32::new().eval(site, &op, &[&x]));
    for (t, expected) in [&coarse, &fine, &fine, &coarse].into_iter().enumerate() {
        assert_eq!(all.row(t), expected.row(t), "row {t}");
        assert_eq!(path.eval(site, &op, &[&x.rows_of(t..t + 1)]).data(), all.row(t), "row {t} alone");
    }
    assert_ne!(coarse.row(1), fine.row(1));
}

#[test]
fn massive_activations_are_named_by_site_position_and_channel() {
    let model = model(MASSIVE);
    let plain = Arithmetic::Path(Box::new(Standalone::new()));
    let party = || Party { label: String::new(), source: Source::Model(&model, &plain) };
    let options = CompareOptions {
        oracle: OracleChoice::Off,
        layers: OracleChoice::Off,
        hash: false,
        replay: None,
        statistical: false,
    };
    let record = compare(&party(), &party(), &tokens(24, 3, 512), options, &mut |_, _| {}).unwrap();
    // Four sites of each of two layers, and the last norm.
    assert_eq!((record.peaks.len(), record.peaks[0].peaks.len()), (9, 24));
    let found = record.warnings.iter().find_map(|w| match w {
        Warning::SoleScales { peak, sole, blocks, .. } => Some((peak.channel % 256, *sole, *blocks)),
        _ => None,
    });
    let (channel, sole, blocks) = found.unwrap();
    // Per position: a block of each norm and context, three of ffn_swiglu; twice, and the last norm.
    assert_eq!((channel, blocks), (100, 24 * (2 * 6 + 1)));
    assert!(sole > blocks / 4, "{sole} of {blocks}");
    // A recording names the same.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.safetensors");
    let traced = trace(&party(), &model, &tokens(24, 3, 512), Selection::All, &file, &mut |_, _| {}).unwrap();
    assert_eq!(traced.peaks, record.peaks);
    let same: Vec<_> = record.warnings.iter().filter(|w| matches!(w, Warning::SoleScales { .. })).collect();
    assert_eq!(traced.warnings.iter().collect::<Vec<_>>(), same);
}

#[test]
fn rules_choose_by_op_point_layer_and_weights() {
    let text = "name: p\nwhy: w\nrules:\n  - {use: fused-q8x32, points: [q], layers: [1]}\n  - {use: fused-q8k, ops: \
                [linear], weights: [Q6_K]}\n  - {use: standalone}\n";
    let policy = twinpath_evidence::Policy::read(text).unwrap();
    let path = twinpath_lab::policies::Policed::new("p", &policy, Isa::detect()).unwrap();
    let model = model(TEACHER);
    let x = [0.5f32; 256];
    let chosen = |site: &str, weight: &str| {
        let op = Op::Linear { weight: model.matrix(weight), bias: None };
        path.for_row(site.parse().unwrap(), &op, &x).unwrap().name()
    };
    assert_eq!(chosen("blk.1.q", "blk.1.attn_q.weight"), "fused-q8x32");
    assert_eq!(chosen("blk.0.q", "blk.0.attn_q.weight"), "standalone");
    let six = model.matrix_names().find(|n| n.starts_with("blk.2") && model.matrix(n).tensor_type() == TensorType::Q6K);
    if let Some(six) = six {
        assert_eq!(chosen("blk.2.v", six), "fused-q8k");
    }
    let bad = twinpath_evidence::Policy::read("name: p\nwhy: w\nrules: [{use: fused}]\n").unwrap();
    let error = twinpath_lab::policies::Policed::new("p", &bad, Isa::detect()).err().unwrap().to_string();
    assert!(error.contains("no path `fused`") && error.contains("standalone"), "{error}");
}
