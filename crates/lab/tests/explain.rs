//! Shares that sum to the total, whatever the model, the prompt, the detail and the order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod planted;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::{Attribution, GroupShare};
use twinpath_formats::Verify;
use twinpath_lab::explain::{Detail, Ends, ExplainOptions, estimate, explain};
use twinpath_lab::{Arithmetic, LabError, PathName};
use twinpath_paths::simd::Isa;

use planted::louder;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn run(model: &str, a: &str, b: &str, prompts: &[Vec<u32>], detail: Detail) -> Attribution {
    let model = Model::open(&repo(model), Verify::All).unwrap();
    let along = |name| Arithmetic::new(PathName::find(name).unwrap(), Isa::detect());
    let (arithmetic_a, arithmetic_b) = (along(a), along(b));
    let options = options(detail);
    let ends = Ends { model_a: &model, model_b: &model, a: (a, &arithmetic_a), b: (b, &arithmetic_b) };
    explain(ends, prompts, &options, &mut |_, _| {}).unwrap()
}

fn options(detail: Detail) -> ExplainOptions {
    ExplainOptions { detail, interactions: true, shapley: 1, alpha: 1e-3, seed: 1, hash: false, checkpoint: None }
}

fn prompts(vocab: u32, n: u32) -> Vec<Vec<u32>> {
    (0..n).map(|p| (0..3 + p % 5).map(|i| (p * 131 + i * 977 + 5) % vocab).collect()).collect()
}

/// Each step is a difference of the logits that the next step starts from, so the sum of up to 111 projections telescopes
/// up to the rounding of f64 sums over at most 10^5 products: 10^5 * 2^-53 = 1e-11. The same holds backwards.
const SUM_BOUND: f64 = 1e-9;

#[test]
fn shares_sum_to_the_total_in_every_order() {
    let cases = [
        ("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", 4096, 1),
        ("zoo/teacher-q4_k_m.gguf", "oracle", "fused-q8k", 4096, 1),
        ("testdata/tiny/qwen3/model.gguf", "oracle", "standalone", 64, 4),
        ("testdata/tiny/mistral-window/model.gguf", "standalone", "oracle", 64, 4),
    ];
    for (model, a, b, vocab, n) in cases {
        for detail in [Detail::Layers, Detail::Inside(vec![1]), Detail::Sites] {
            let name = format!("{model}: {a} to {b}, {detail:?}");
            let record = run(model, a, b, &prompts(vocab, n), detail);
            assert!((record.sum - 1.0).abs() <= SUM_BOUND, "{name}: forward sums to {}", record.sum);
            // All residuals injected is B: each is a difference of two f32 or of two f64, added to one of the two.
            let reverse: f64 = record.groups.iter().filter_map(|g| g.reverse).sum();
            assert!((reverse - 1.0).abs() <= SUM_BOUND, "{name}: reverse sums to {reverse}");
            let shapley: f64 = record.groups.iter().filter_map(|g| g.shapley).sum();
            assert!((shapley - 1.0).abs() <= SUM_BOUND, "{name}: random orders sum to {shapley}");
            let margin: f64 = record.groups.iter().map(|g| g.margin).sum();
            assert!((margin - (record.margin.1 - record.margin.0)).abs() <= SUM_BOUND, "{name}: margins {margin}");
            assert_eq!((record.unexplained, record.suspicious.len()), (0.0, 0), "{name}");
            let kl: f64 = record.groups.iter().map(|g| g.kl).sum();
            assert!((kl - record.kl).abs() <= SUM_BOUND, "{name}: KL steps sum to {kl}, not {}", record.kl);
            let energy: f64 = record.groups.iter().map(|g| g.energy).sum();
            assert!((energy - 1.0).abs() <= SUM_BOUND, "{name}: energies sum to {energy}");
        }
    }
}

#[test]
fn opening_a_layer_splits_its_share_and_leaves_the_others() {
    let all = prompts(4096, 3);
    let closed = run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &all, Detail::Layers);
    let opened = run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &all, Detail::Inside(vec![2]));
    let share = |r: &Attribution, name: &str| r.groups.iter().find(|g| g.group == name).map(|g| g.share.mean);
    assert_eq!(share(&closed, "blk.1"), share(&opened, "blk.1"));
    let inside: f64 = opened.groups.iter().filter(|g| g.group.starts_with("blk.2.")).map(|g| g.share.mean).sum();
    let whole = share(&closed, "blk.2").unwrap();
    assert!((inside - whole).abs() <= SUM_BOUND, "{inside} is not {whole}");
}

#[test]
fn a_path_against_itself_has_nothing_to_share() {
    let record = run("zoo/teacher-q4_k_m.gguf", "fused-q8k", "fused-q8k", &prompts(4096, 2), Detail::Layers);
    assert!(record.groups.iter().all(|g| g.energy == 0.0 && g.share.mean == 0.0));
    assert_eq!((record.relative_l2, record.kl), (0.0, 0.0));
}

/// `explain` from one path to another where `factor` is planted at `site` of side `at`.
fn planted(names: [&str; 2], at: usize, site: &str, factor: f64, detail: Detail) -> Attribution {
    let model = Model::open(&repo("zoo/teacher-q4_k_m.gguf"), Verify::All).unwrap();
    let mut sides = names.map(|name| twinpath_paths::path(name).unwrap());
    let path = std::mem::replace(&mut sides[at], Box::new(twinpath_paths::Standalone::new()));
    sides[at] = louder(path, site, factor);
    let sides = sides.map(Arithmetic::Path);
    let options = ExplainOptions { interactions: false, shapley: 0, ..options(detail) };
    let prompts = prompts(4096, 2);
    let ends = Ends { model_a: &model, model_b: &model, a: ("a", &sides[0]), b: ("b", &sides[1]) };
    explain(ends, &prompts, &options, &mut |_, _| {}).unwrap()
}

#[test]
fn a_dominating_error_has_its_share_at_its_op_whatever_the_kind_of_op() {
    let sites = [
        "embed",
        "blk.2.attn_norm",
        "blk.2.v",
        "blk.2.q_rope",
        "blk.2.attn_scores",
        "blk.2.attn_probs",
        "blk.2.attn_ctx",
        "blk.2.ffn_silu",
        "blk.2.ffn_swiglu",
        "blk.2.output",
    ];
    for site in sites {
        let record = planted(["standalone", "fused-q8x32"], 1, site, -20.0, Detail::Inside(vec![2]));
        let group = record.groups.iter().find(|g| g.group == site).unwrap();
        println!("{site}: share {} unexplained {} of {}", group.share.mean, group.unexplained, record.unexplained);
        assert!(group.share.mean >= 0.95 && group.unexplained >= 0.95, "{site}: {group:?}");
        assert_eq!(record.unexplained, group.unexplained, "{site}: something else is unexplained");
        let found: Vec<(&str, usize, usize)> = record.suspicious.iter().map(|s| (s.site.as_str(), s.a, s.b)).collect();
        assert_eq!(found, [(site, 0, 2)], "{site}");
    }
}

#[test]
fn the_unexplained_part_is_found_in_a_closed_layer_and_on_either_side() {
    for (at, found) in [(0, (2, 0)), (1, (0, 2))] {
        let open = planted(["standalone", "fused-q8k"], at, "blk.3.ffn_down", 1.05, Detail::Inside(vec![3]));
        let closed = planted(["standalone", "fused-q8k"], at, "blk.3.ffn_down", 1.05, Detail::Layers);
        for record in [&open, &closed] {
            let s = &record.suspicious[..];
            assert_eq!((s.len(), s[0].site.as_str(), (s[0].a, s[0].b)), (1, "blk.3.ffn_down", found));
            assert!((record.sum - 1.0).abs() <= SUM_BOUND);
        }
        assert!(
            (open.unexplained - closed.unexplained).abs() <= SUM_BOUND,
            "{} {}",
            open.unexplained,
            closed.unexplained
        );
        // 5 % of one of the values that the layer adds, among a drift of 2 % from everywhere: there, and not dominating.
        assert!((0.01..0.5).contains(&open.unexplained), "{}", open.unexplained);
        let group = closed.groups.iter().find(|g| g.unexplained != 0.0).unwrap();
        assert_eq!(group.group, "blk.3");
    }
}

/// A run of several prompts over a small model.
fn small(options: &ExplainOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Attribution, LabError> {
    let model = Model::open(&repo("testdata/tiny/qwen3/model.gguf"), Verify::All).unwrap();
    let along = |name| Arithmetic::new(PathName::find(name).unwrap(), Isa::detect());
    let (a, b) = (along("oracle"), along("standalone"));
    let ends = Ends { model_a: &model, model_b: &model, a: ("a", &a), b: ("b", &b) };
    explain(ends, &prompts(64, 3), options, progress)
}

#[test]
fn an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let asked = ExplainOptions { checkpoint: Some(file.clone()), ..options(Detail::Top(1)) };
    // Each state is taken away as soon as it is there, so that the next one is written at once.
    let mut states = Vec::new();
    let whole = small(&asked, &mut |_, _| {
        if let Ok(state) = std::fs::read(&file) {
            states.push(state);
            std::fs::remove_file(&file).unwrap();
        }
    })
    .unwrap();
    assert!(!file.exists() && states.len() > 12, "{} states", states.len());
    for at in [0, 3, states.len() / 2, states.len() - 1] {
        std::fs::write(&file, &states[at]).unwrap();
        let (mut first, mut calls) = (None, 0);
        let again = small(&asked, &mut |done, _| {
            first.get_or_insert(done);
            calls += 1;
        })
        .unwrap();
        assert_eq!(Attribution { passes: whole.passes, ..again }, whole, "from state {at}");
        assert!(first.unwrap() > 0 && calls > 0 && !file.exists());
    }
    std::fs::write(&file, &states[0]).unwrap();
    let error = small(&ExplainOptions { seed: 2, ..asked.clone() }, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("of another run"), "{error}");
    std::fs::write(&file, "{").unwrap();
    let error = small(&asked, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("no checkpoint to go on from"), "{error}");
}

#[test]
fn the_layers_that_matter_are_opened_and_the_others_not_taken_again() {
    let lazy = small(&options(Detail::Top(1)), &mut |_, _| {}).unwrap();
    let inside =
        lazy.groups.iter().find_map(|g| g.group.strip_prefix("blk.")?.split_once('.').map(|(l, _)| l.to_owned()));
    let layer: usize = inside.unwrap().parse().unwrap();
    let direct = small(&options(Detail::Inside(vec![layer])), &mut |_, _| {}).unwrap();
    assert_eq!(lazy.groups, direct.groups);
    let closed = small(&options(Detail::Layers), &mut |_, _| {}).unwrap();
    let largest =
        closed.groups.iter().filter(|g| g.group.starts_with("blk.")).max_by(|a, b| a.energy.total_cmp(&b.energy));
    assert_eq!(largest.unwrap().group, format!("blk.{layer}"));
}

/// A step after known ones starts from where those have led, not from the last that was computed.
#[test]
fn steps_telescope_across_layers_that_are_not_opened() {
    let lazy = run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &prompts(4096, 1), Detail::Top(3));
    let layer = |g: &GroupShare| g.group.strip_prefix("blk.")?.split_once('.')?.0.parse::<usize>().ok();
    let opened: BTreeSet<usize> = lazy.groups.iter().filter_map(layer).collect();
    let (first, last) = (opened.first().unwrap(), opened.last().unwrap());
    assert!(opened.len() == 3 && last - first > 2, "no closed layer between {opened:?}: take another prompt");
    assert!((lazy.sum - 1.0).abs() <= SUM_BOUND, "sums to {}", lazy.sum);
}

#[test]
fn the_cost_is_what_was_announced() {
    let model = Model::open(&repo("testdata/tiny/qwen3/model.gguf"), Verify::All).unwrap();
    for detail in [Detail::Layers, Detail::Top(1), Detail::Sites] {
        let options = options(detail);
        let announced = estimate(&model, &prompts(64, 3), &options).passes * 3.0;
        let spent = small(&options, &mut |_, _| {}).unwrap().passes;
        // Sites that change nothing are not computed, and of the top layers the first would cost most.
        assert!(spent <= announced && spent > 0.3 * announced, "{:?}: {spent} of {announced}", options.detail);
    }
}

/// One channel of each value that a matrix reads is 64 times as large as the others: its neighbours are crushed.
#[test]
fn what_massive_activations_do_is_said_and_is_most_of_the_difference() {
    let model = Model::open(&repo("zoo/massive-q4_k_m.gguf"), Verify::All).unwrap();
    let along = |name| Arithmetic::new(PathName::find(name).unwrap(), Isa::detect());
    let (a, b, c) = (along("standalone"), along("fused-q8k"), along("fused-q8x32"));
    let run = |b| {
        let ends = Ends { model_a: &model, model_b: &model, a: ("a", &a), b: ("b", b) };
        let options = ExplainOptions { interactions: false, shapley: 0, ..options(Detail::Layers) };
        explain(ends, &[prompts(512, 1)[0].repeat(4)], &options, &mut |_, _| {}).unwrap()
    };
    let found = run(&b).massive.unwrap();
    println!("{found:?}");
    assert!(found.share > 0.5, "{}", found.share);
    assert!(found.largest.iter().all(|m| m.peak.channel % 256 == 100), "{:?}", found.largest);
    assert!(found.blocks.0 > 0 && found.blocks.0 <= found.blocks.1);
    assert_eq!(run(&c).massive, None, "one scale per 32 is another question");
    let teacher = run_teacher();
    assert!(teacher.is_none_or(|m| m.share.abs() < 0.5));
}

fn run_teacher() -> Option<twinpath_evidence::attribution::MassiveShare> {
    run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &prompts(4096, 1), Detail::Layers).massive
}
