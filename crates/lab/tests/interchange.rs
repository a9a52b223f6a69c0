//! What goes out of recordings and comes back, and what holds a part of a run only.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::{Comparison, Outcome, SiteRecord, Verdict};
use twinpath_formats::Verify;
use twinpath_lab::party::Source;
use twinpath_lab::trace::names::user::UserMap;
use twinpath_lab::trace::{Selection, Trace, export, record};
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, PathName, compare};
use twinpath_paths::simd::Isa;

const TOKENS: [u32; 12] = [44, 41, 44, 22, 3, 54, 14, 57, 35, 5, 19, 25];

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny/qwen3/model.gguf");
    Model::open(&path, Verify::All).unwrap()
}

fn along(path: &str) -> Arithmetic {
    Arithmetic::new(PathName::find(path).unwrap(), Isa::detect())
}

fn party<'m>(source: Source<'m>) -> Party<'m> {
    Party { label: if matches!(source, Source::Trace(_)) { "t" } else { "m" }.into(), source }
}

fn between(a: Source<'_>, b: Source<'_>) -> Comparison {
    let options = CompareOptions {
        oracle: OracleChoice::On,
        hash: true,
        replay: Some(1e-3),
        layers: OracleChoice::On,
        statistical: false,
    };
    compare(&party(a), &party(b), &TOKENS, options, &mut |_, _| {}).unwrap()
}

/// A recording of some positions.
fn recorded(model: &Model, path: &Arithmetic, selection: Selection, file: &Path) -> Trace {
    record(&party(Source::Model(model, path)), model, &TOKENS, selection, file, &mut |_, _| {}).unwrap();
    Trace::open(file).unwrap()
}

fn site<'r>(record: &'r Comparison, name: &str) -> &'r SiteRecord {
    record.sites.iter().find(|s| s.site == name).unwrap_or_else(|| panic!("no {name}"))
}

fn reason(record: &Comparison) -> &str {
    match &record.outcome {
        Outcome::Incomparable { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn inconclusive(site: &SiteRecord) -> &str {
    match &site.verdict {
        Some(Verdict::Inconclusive { reason }) => reason,
        other => panic!("{}: {other:?}", site.site),
    }
}

#[test]
fn a_recording_of_one_position_is_compared_there_and_judged_where_its_inputs_are() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let (path, file) = (along("standalone"), folder.path().join("one.safetensors"));
    let trace = recorded(&model, &path, Selection::One(9), &file);
    for swapped in [false, true] {
        let (m, t) = (Source::Model(&model, &path), Source::Trace(&trace));
        let record = if swapped { between(t, m) } else { between(m, t) };
        for s in &record.sites {
            assert_eq!((s.a.scope.positions.first, s.a.scope.positions.count), (9, 1), "{}", s.site);
            assert_eq!(s.drift.compared, s.drift.expected, "{}", s.site);
            assert_eq!((s.drift.equal, s.drift.relative_l2), (s.drift.compared, Some(0.0)), "{}", s.site);
            if s.point == "attn_scores" || s.point == "attn_ctx" {
                assert!(inconclusive(s).contains("at the positions before"), "{}: {}", s.site, inconclusive(s));
            } else {
                assert!(matches!(s.verdict, Some(Verdict::Identical)), "{}: {:?}", s.site, s.verdict);
            }
        }
        assert_eq!((record.exit_code(), record.logits.unwrap().by_position[0].position), (3, 9));
    }
}

#[test]
fn a_mistake_at_one_recorded_position_is_unexplained_there() {
    use twinpath_lab::diagnose::Plant;
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let (path, file) = (along("standalone"), folder.path().join("one.safetensors"));
    let standalone = twinpath_paths::path("standalone").unwrap();
    let plant = Plant::parse("rope-theta=theta 500000@blk.1.q_rope");
    let wrong = plant.plant(&party(Source::Model(&model, &path)), standalone, &TOKENS).unwrap();
    let trace = recorded(&model, &Arithmetic::Path(Box::new(wrong)), Selection::Last, &file);
    let record = between(Source::Model(&model, &path), Source::Trace(&trace));
    assert_eq!(record.judgement.as_ref().unwrap().first_unexplained.as_deref(), Some("blk.1.q_rope"));
    assert_eq!(record.exit_code(), 1);
}

#[test]
fn recordings_of_unequal_positions_are_incomparable() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let path = along("standalone");
    let of = |selection, name: &str| recorded(&model, &path, selection, &folder.path().join(name));
    let (all, last) = (of(Selection::All, "a.safetensors"), of(Selection::Last, "l.safetensors"));
    let record = between(Source::Trace(&all), Source::Trace(&last));
    assert!(reason(&record).contains("positions 0..12 of 12, t positions 11..12 of 12"), "{}", reason(&record));
    let record = between(Source::Trace(&last), Source::Trace(&last));
    assert_eq!(site(&record, "logits").a.scope.positions.first, 11);
    // Positions that the prompt has not.
    let dumps = folder.path().join("d");
    export::kind(Path::new("x.aprt")).unwrap().write(&last, &dumps).unwrap();
    let map = folder.path().join("m.yaml");
    std::fs::write(&map, format!("tokens: {TOKENS:?}\npositions: [12]\n")).unwrap();
    let beyond = Trace::of(&dumps, model.config(), Some(&UserMap::open(&map).unwrap())).unwrap();
    let record = between(Source::Model(&model, &path), Source::Trace(&beyond));
    assert!(reason(&record).contains("says that it holds positions 12..13 of 12"), "{}", reason(&record));
}

#[test]
fn dumps_of_the_apr_tool_are_written_and_read_back() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let path = along("standalone");
    for selection in [Selection::All, Selection::Last] {
        let trace = recorded(&model, &path, selection, &folder.path().join("r.safetensors"));
        let dumps = folder.path().join(format!("{selection:?}.aprt"));
        export::kind(&dumps).unwrap().write(&trace, &dumps).unwrap();
        let gate = std::fs::read(dumps.join("layer1_ffn_gate.bin")).unwrap();
        let rows = trace.header().positions.count;
        let words = [1, (rows * model.config().ffn) as u32].map(u32::to_le_bytes).concat();
        assert_eq!(
            (&gate[..4], &gate[4..12], gate.len()),
            (&b"APRT"[..], &words[..], 12 + 4 * rows * model.config().ffn)
        );
        let map = UserMap::open(&dumps.join("map.yaml")).unwrap();
        let back = Trace::of(&dumps, model.config(), Some(&map)).unwrap();
        assert_eq!((back.header().tokens.as_slice(), back.header().positions), (&TOKENS[..], trace.header().positions));
        let record = between(Source::Model(&model, &path), Source::Trace(&back));
        let gate = site(&record, "blk.1.ffn_gate");
        assert_eq!(gate.drift.equal, gate.drift.expected);
        assert!(matches!(gate.verdict, Some(Verdict::Identical | Verdict::Explained { .. })), "{:?}", gate.verdict);
        assert!(export::kind(&dumps).unwrap().write(&trace, &dumps).is_err(), "the folder was replaced");
    }
}

/// What `llama-perplexity` keeps of `logits`, written anew from the layout: positions 6 to 10 of 12, twice.
fn kl_base(logits: &[f32], vocab: usize) -> Vec<u8> {
    let mut file = b"_logits_".to_vec();
    for word in [12, vocab as i32, 2] {
        file.extend(word.to_le_bytes());
    }
    (0..2).for_each(|_| TOKENS.iter().for_each(|t| file.extend((*t as i32).to_le_bytes())));
    for t in (0..2).flat_map(|_| 6..11) {
        let row = &logits[t * vocab..(t + 1) * vocab];
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let min = row.iter().copied().fold(f32::INFINITY, f32::min).max(max - 16.0);
        let sum = row.iter().map(|x| f64::from(x - max).exp()).sum::<f64>().ln() as f32;
        let step = (max - min) / 65535.0;
        file.extend([step, min - max - sum].map(f32::to_le_bytes).concat());
        let code = |x: &f32| if *x > min { ((x - min) / step).round() as u16 } else { 0 };
        file.extend(row.iter().flat_map(|x| code(x).to_le_bytes()));
    }
    file
}

#[test]
fn log_probabilities_of_16_bits_are_compared_with_their_floor_and_never_judged() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let path = along("standalone");
    let whole = recorded(&model, &path, Selection::All, &folder.path().join("r.safetensors"));
    let npz = folder.path().join("r.npz");
    export::kind(&npz).unwrap().write(&whole, &npz).unwrap();
    let vocab = model.config().vocab;
    let twin = between(Source::Trace(&whole), Source::Trace(&whole));
    assert_eq!(twin.exit_code(), 0);
    // The logits themselves, by way of a file of raw values.
    let dumps = folder.path().join("d.aprt");
    export::kind(&dumps).unwrap().write(&whole, &dumps).unwrap();
    let raw = std::fs::read(dumps.join("lm_head.bin")).unwrap();
    let mut logits: Vec<f32> = raw[12..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    // The least likely token of one position becomes so unlikely that 16 bits do not tell how much.
    let row = &mut logits[8 * vocab..9 * vocab];
    *row.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap() -= 60.0;
    let file = folder.path().join("base.kld");
    let bytes = kl_base(&logits, vocab);
    std::fs::write(&file, &bytes).unwrap();
    let open = |file: &PathBuf| Trace::of(file, model.config(), None);
    let trace = open(&file).unwrap();
    let record = between(Source::Model(&model, &path), Source::Trace(&trace));
    let last = site(&record, "logits");
    assert_eq!((last.a.scope.positions.first, last.a.scope.positions.count), (6, 5));
    let told = |row: &&[f32]| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().filter(|x| **x > max - 16.0).count() as u64
    };
    let told: u64 = logits[6 * vocab..11 * vocab].chunks_exact(vocab).map(|row| told(&row)).sum();
    assert!(told < 5 * vocab as u64);
    assert_eq!((last.drift.compared, last.drift.expected), (told, 5 * vocab as u64));
    let most = last.drift.peak.as_ref().unwrap().abs;
    assert!(most > 0.0 && most < 1.3e-4, "{most} is more than half a step");
    assert!(inconclusive(last).contains("kept in 16 bits") || inconclusive(last).contains("not every element"));
    assert!(
        last.b_local
            .as_ref()
            .is_some_and(|l| matches!(&l.verdict, Verdict::Inconclusive { reason } if reason.contains("16 bits")))
    );
    let logits = record.logits.as_ref().unwrap();
    assert_eq!((logits.top1_equal, logits.positions), (5, 5));
    // Codes add up to step²/2, 3e-8; the tokens that are too unlikely have 64 e⁻¹⁶, 7e-6, of probability together.
    assert!(logits.by_position.iter().all(|p| p.kl < 1e-5), "{:?}", logits.by_position);
    assert!(record.coverage.as_ref().unwrap().notes.iter().any(|n| n.contains("chunk 1 of 2")));
    assert_eq!(record.exit_code(), 3);
    // The other way round.
    let record = between(Source::Trace(&trace), Source::Model(&model, &path));
    assert_eq!(site(&record, "logits").drift.compared, told);
    for keep in [10, 30, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..keep]).unwrap();
        let why = open(&file).err().unwrap().to_string();
        assert!(why.contains("cut short") && why.contains("base.kld"), "{why}");
    }
    for (at, word) in [(8, -1i32), (12, 0), (16, i32::MAX)] {
        let mut lying = bytes.clone();
        lying[at..at + 4].copy_from_slice(&word.to_le_bytes());
        std::fs::write(&file, lying).unwrap();
        let why = open(&file).err().unwrap().to_string();
        assert!(why.contains("says a context") || why.contains("cut short or lies"), "{why}");
    }
}
