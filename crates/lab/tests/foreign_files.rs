//! Files of other programs: each kind is read, and each lie is refused with a sentence that names it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use tempfile::TempDir;
use twinpath_engine::Model;
use twinpath_evidence::{Comparison, Outcome, Verdict};
use twinpath_formats::Verify;
use twinpath_lab::party::Source;
use twinpath_lab::trace::Trace;
use twinpath_lab::trace::names::user::UserMap;
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, PathName, compare};
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn model() -> Model {
    Model::open(&repo("testdata/tiny/qwen3/model.gguf"), Verify::All).unwrap()
}

/// A folder for files, and the named arrays of a sound recording.
struct Files {
    folder: TempDir,
    model: Model,
}

impl Files {
    fn new() -> Files {
        Files { folder: tempfile::tempdir().unwrap(), model: model() }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A safetensors file of these arrays.
    fn safetensors(&self, arrays: &[Named]) -> PathBuf {
        let views =
            arrays.iter().map(|a| (a.name.clone(), TensorView::new(a.dtype, a.shape.clone(), &a.bytes).unwrap()));
        self.write("r.safetensors", &serialize(views, None).unwrap())
    }

    fn refused(&self, path: &Path) -> String {
        match Trace::of(path, self.model.config(), None) {
            Ok(_) => panic!("{} was accepted", path.display()),
            Err(e) => e.to_string(),
        }
    }

    fn judge(&self, path: &Path, map: Option<&UserMap>) -> Comparison {
        self.judge_over(path, map, &TOKENS)
    }

    fn judge_over(&self, path: &Path, map: Option<&UserMap>, tokens: &[u32]) -> Comparison {
        let arithmetic = Arithmetic::new(PathName::find("standalone").unwrap(), Isa::detect());
        let trace = Trace::of(path, self.model.config(), map).unwrap();
        let a = Party { label: "a".into(), source: Source::Model(&self.model, &arithmetic) };
        let b = Party { label: "b".into(), source: Source::Trace(&trace) };
        let options = CompareOptions {
            oracle: OracleChoice::Off,
            hash: false,
            replay: Some(1e-3),
            layers: OracleChoice::Off,
            statistical: false,
        };
        compare(&a, &b, tokens, options, &mut |_, _| {}).unwrap()
    }
}

/// Those of the recording.
const TOKENS: [u32; 12] = [44, 41, 44, 22, 3, 54, 14, 57, 35, 5, 19, 25];

#[derive(Clone)]
struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The sound recording.
fn sound() -> Vec<Named> {
    let bytes = std::fs::read(repo("testdata/tiny/qwen3/recording.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let named = |(name, view): (String, TensorView<'_>)| Named {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    tensors.tensors().into_iter().map(named).filter(|a| a.name != "logits_np64").collect()
}

impl Named {
    fn f32(&self) -> Vec<f32> {
        self.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    /// The same name with other values.
    fn with(&self, shape: &[usize], values: &[f32]) -> Named {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Named { name: self.name.clone(), dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }
}

/// The sound recording with what `change` makes of the array of this name.
fn changed(name: &str, change: impl Fn(&Named) -> Vec<Named>) -> Vec<Named> {
    let arrays = sound();
    assert!(arrays.iter().any(|a| a.name == name), "{name}");
    arrays.iter().flat_map(|a| if a.name == name { change(a) } else { vec![a.clone()] }).collect()
}

fn npy(descr: &str, fortran: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), body].concat()
}

fn notes(record: &Comparison) -> String {
    record.coverage.as_ref().unwrap().notes.join("\n")
}

#[test]
fn archives_of_numpy_are_read_stored_deflated_and_columns_first() {
    let files = Files::new();
    let record = files.judge(&repo("testdata/recordings/qwen3-deflated.npz"), None);
    assert_eq!(record.exit_code(), 0, "{:?}", record.outcome);
    // One layer of two, its gate in Fortran order.
    let record = files.judge(&repo("testdata/recordings/qwen3-stored.npz"), None);
    let gate = record.sites.iter().find(|s| s.site == "blk.0.ffn_gate").unwrap();
    assert!(matches!(gate.verdict, Some(Verdict::Explained { .. })), "{:?}", gate.verdict);
    assert_eq!(record.exit_code(), 3, "the second layer is missing");
    let coverage = record.coverage.unwrap();
    assert!(coverage.unjudged.contains(&"blk.1.q".to_owned()), "{:?}", coverage.unjudged);
    assert!(coverage.judged > 0 && coverage.judged + coverage.unjudged.len() <= coverage.expected, "{coverage:?}");
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let files = Files::new();
    let whole = std::fs::read(repo("testdata/recordings/qwen3-stored.npz")).unwrap();
    for keep in [5, 40, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        let why = files.refused(&files.write("cut.npz", &whole[..keep]));
        assert!(why.contains("cut short") || why.contains("is empty"), "{keep}: {why}");
    }
    let mut flipped = whole.clone();
    flipped[400] ^= 1;
    let why = files.refused(&files.write("flipped.npz", &flipped));
    assert!(why.contains("checksum"), "{why}");
}

#[test]
fn arrays_that_numpy_writes_and_nobody_should_read_are_refused() {
    let files = Files::new();
    let shape = "(2, 2)";
    for (bytes, what) in [
        (npy("'|O'", "False", shape, &[0; 16]), "Python objects"),
        (npy("'>f4'", "False", shape, &[0; 16]), "little-endian"),
        (npy("[('a', '<f4')]", "False", shape, &[0; 16]), "table of records"),
        (npy("'<f4'", "False", shape, &[0; 15]), "cut short or lies"),
        (npy("'<f4'", "False", "(99999999999, 99999999999)", &[0; 16]), "cut short or lies"),
        (npy("'<f4'", "False", "(-1, 2)", &[0; 16]), "dimension"),
        (npy("'<f4'", "Maybe", shape, &[0; 16]), "fortran_order"),
        (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "cut short in its header"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9"),
    ] {
        let why = files.refused(&files.write("lie.npy", &bytes));
        assert!(why.contains(what) && why.contains("lie.npy"), "{what}: {why}");
    }
}

#[test]
fn values_of_another_shape_are_left_out_and_said_so() {
    let files = Files::new();
    let cut = changed("model.layers.0.mlp.gate_proj.out", |a| vec![a.with(&[11, 64], &a.f32()[..11 * 64])]);
    let record = files.judge(&files.safetensors(&cut), None);
    assert!(notes(&record).contains("record all positions"), "{}", notes(&record));
    // The gate's op is then judged with the product, to which it is an input.
    let product = record.sites.iter().find(|s| s.site == "blk.0.ffn_swiglu").unwrap();
    assert_eq!(product.covers, ["blk.0.ffn_gate", "blk.0.ffn_silu"]);
    assert_eq!(record.exit_code(), 0, "{:?}", record.outcome);
}

#[test]
fn a_missing_input_of_a_linear_op_is_inconclusive() {
    let files = Files::new();
    let record = files.judge(&files.safetensors(&changed("model.layers.1.input_layernorm.out", |_| vec![])), None);
    let q = record.sites.iter().find(|s| s.site == "blk.1.q").unwrap();
    let Some(Verdict::Inconclusive { reason }) = &q.verdict else { panic!("{:?}", q.verdict) };
    assert!(reason.contains("blk.1.attn_norm is not recorded"), "{reason}");
    assert_eq!(record.exit_code(), 3);
}

#[test]
fn head_major_and_transposed_values_are_taken_apart_and_said_so() {
    let files = Files::new();
    let (t, heads, dim) = (12, 8, 32);
    let by_head = changed("model.layers.0.self_attn.q_proj.out", |a| {
        let x = a.f32();
        let at = |i: usize| x[i / dim % t * heads * dim + i / dim / t * dim + i % dim];
        vec![a.with(&[1, heads, t, dim], &(0..x.len()).map(at).collect::<Vec<f32>>())]
    });
    let turned = |arrays: Vec<Named>| -> Vec<Named> {
        let turn = |a: Named| {
            if a.name != "model.layers.0.mlp.up_proj.out" {
                return a;
            }
            let x = a.f32();
            a.with(&[64, t], &(0..x.len()).map(|i| x[i % t * 64 + i / t]).collect::<Vec<f32>>())
        };
        arrays.into_iter().map(turn).collect()
    };
    let record = files.judge(&files.safetensors(&turned(by_head)), None);
    assert_eq!(record.exit_code(), 0, "{:?}", record.outcome);
    assert!(notes(&record).contains("head after head") && notes(&record).contains("transposed"), "{}", notes(&record));
}

#[test]
fn a_fused_projection_is_split_by_a_map() {
    let files = Files::new();
    let arrays = sound();
    let part = |name: &str| arrays.iter().find(|a| a.name == format!("model.layers.0.self_attn.{name}.out")).unwrap();
    let parts = ["q_proj", "k_proj", "v_proj"].map(part);
    let values: Vec<Vec<f32>> = parts.iter().map(|p| p.f32()).collect();
    let row = |t: usize| {
        parts.iter().zip(&values).flat_map(move |(p, v)| v[t * p.shape[1]..(t + 1) * p.shape[1]].iter().copied())
    };
    let fused: Vec<f32> = (0..12).flat_map(row).collect();
    let norm = arrays.iter().find(|a| a.name == "model.layers.0.input_layernorm.out").unwrap();
    let ids = arrays.iter().find(|a| a.name == "input_ids").unwrap();
    let rename = |a: &Named, name: &str| Named { name: name.to_owned(), ..a.clone() };
    let wide = rename(&parts[0].with(&[12, fused.len() / 12], &fused), "h.0.wqkv");
    let path = files.safetensors(&[wide, rename(norm, "h.0.ln"), rename(ids, "prompt")]);
    let map = "names:\n  'h.{}.wqkv': { sites: [q, k, v], layout: rows }\n  'h.{}.ln': attn_norm\ntokens: prompt\nactivations: f32\nkv: f32\n";
    let map = UserMap::open(&files.write("map.yaml", map.as_bytes())).unwrap();
    let record = files.judge(&path, Some(&map));
    for point in ["q", "k", "v"] {
        let site = record.sites.iter().find(|s| s.site == format!("blk.0.{point}")).unwrap();
        assert!(matches!(site.verdict, Some(Verdict::Explained { .. })), "{point}: {:?}", site.verdict);
    }
    assert!(notes(&record).contains("blk.0.q, blk.0.k, blk.0.v side by side"), "{}", notes(&record));
}

#[test]
fn a_map_that_lies_is_refused() {
    let files = Files::new();
    for (text, what) in [
        ("names: { 'a.{}': embed }", "which is not a point of a layer"),
        ("names: { a: blk.0.nothing }", "which is not embed"),
        ("names: {}\nunknown: 1", "is no map of names"),
        ("- 1", "is no map of names"),
    ] {
        let why = UserMap::open(&files.write("map.yaml", text.as_bytes())).err().unwrap().to_string();
        assert!(why.contains(what) && why.contains("map.yaml"), "{text}: {why}");
    }
}

#[test]
fn values_dumped_in_half_precision_are_not_judged() {
    let files = Files::new();
    let half = changed("model.layers.0.mlp.up_proj.out", |a| {
        let bytes = a.f32().iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        vec![Named { dtype: Dtype::F16, bytes, ..a.clone() }]
    });
    let record = files.judge(&files.safetensors(&half), None);
    let up = record.sites.iter().find(|s| s.site == "blk.0.ffn_up").unwrap();
    let Some(Verdict::Inconclusive { reason }) = &up.verdict else { panic!("{:?}", up.verdict) };
    assert!(reason.contains("F16") && record.exit_code() == 3, "{reason}");
}

#[test]
fn a_value_that_is_no_number_is_unexplained_where_it_arises_and_inconclusive_after() {
    let files = Files::new();
    let poisoned = changed("model.layers.0.mlp.up_proj.out", |a| {
        let mut values = a.f32();
        values[70] = f32::NAN;
        vec![a.with(&a.shape, &values)]
    });
    let record = files.judge(&files.safetensors(&poisoned), None);
    let judgement = record.judgement.as_ref().unwrap();
    assert_eq!(judgement.first_unexplained.as_deref(), Some("blk.0.ffn_up"));
    let after = record.sites.iter().find(|s| s.site == "blk.0.ffn_swiglu").unwrap();
    assert!(
        matches!(after.verdict, Some(Verdict::Inconclusive { .. } | Verdict::Unexplained { .. })),
        "{:?}",
        after.verdict
    );
}

#[test]
fn other_tokens_and_no_tokens_are_incomparable() {
    let files = Files::new();
    let reason = |record: Comparison| match record.outcome {
        Outcome::Incomparable { reason } => reason,
        other => panic!("{other:?}"),
    };
    let none = files.safetensors(&changed("input_ids", |_| vec![]));
    assert!(reason(files.judge(&none, None)).contains("says nothing of its tokens"));
    let path = files.safetensors(&sound());
    let missing = reason(files.judge_over(&path, None, &[&[1], &TOKENS[..]].concat()));
    assert!(missing.contains("BOS"), "{missing}");
    let mut other = TOKENS;
    other[4] += 1;
    assert!(reason(files.judge_over(&path, None, &other)).contains("position 4"));
    let bytes = [3i64, 5].iter().flat_map(|p| p.to_le_bytes()).collect();
    let positions = Named { name: "positions".into(), dtype: Dtype::I64, shape: vec![2], bytes };
    let gap = files.safetensors(&[sound(), vec![positions]].concat());
    assert!(files.refused(&gap).contains("not consecutive"));
}

#[test]
fn names_that_nobody_knows_are_refused_with_what_to_do() {
    let files = Files::new();
    let one = Named { name: "h.0.stuff".into(), dtype: Dtype::F32, shape: vec![1], bytes: vec![0; 4] };
    let why = files.refused(&files.safetensors(&[one]));
    assert!(why.contains("h.0.stuff") && why.contains("--map"), "{why}");
}

#[test]
fn files_of_the_apr_tool_are_read_from_a_folder_with_tokens_from_a_map() {
    let files = Files::new();
    let aprt = |layer: u32, values: &[f32]| {
        let body: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        [b"APRT".as_slice(), &layer.to_le_bytes(), &(values.len() as u32).to_le_bytes(), &body].concat()
    };
    let arrays = sound();
    let values = |name: &str| arrays.iter().find(|a| a.name == format!("model.layers.1.{name}")).unwrap().f32();
    for (file, name) in
        [("layer_1_ffn_norm.bin", "post_attention_layernorm.out"), ("layer_1_ffn_gate.bin", "mlp.gate_proj.out")]
    {
        files.write(file, &aprt(1, &values(name)));
    }
    // Without tokens nothing is placed.
    let map = format!("names: {{ 'ffn_norm@{{}}': ffn_norm, 'ffn_gate@{{}}': ffn_gate }}\ntokens: {TOKENS:?}\n");
    let maps = tempfile::tempdir().unwrap();
    let file = maps.path().join("map.yaml");
    std::fs::write(&file, map).unwrap();
    let record = files.judge(files.folder.path(), Some(&UserMap::open(&file).unwrap()));
    let gate = record.sites.iter().find(|s| s.site == "blk.1.ffn_gate").unwrap();
    assert!(matches!(gate.verdict, Some(Verdict::Explained { .. })), "{:?}", gate.verdict);
    let lying = aprt(1, &[1.0, 2.0]);
    for (bytes, what) in [(&lying[..lying.len() - 1], "cut short or lies"), (&lying[..9], "cut short")] {
        let why = files.refused(&files.write("lie.bin", bytes));
        assert!(why.contains(what), "{why}");
        std::fs::remove_file(files.folder.path().join("lie.bin")).unwrap();
    }
}

#[test]
fn the_print_of_an_evaluation_callback_is_compared_where_it_shows_and_never_judged() {
    let files = Files::new();
    let arrays = sound();
    let gate = arrays.iter().find(|a| a.name == "model.layers.0.mlp.gate_proj.out").unwrap().f32();
    let shown = |n: usize| [0, 1, 2].map(Some).into_iter().chain([None]).chain((n - 3..n).map(Some));
    let mut text = "ggml_debug:   ffn_gate-0 = (f32)    MUL_MAT(blk.0.ffn_gate.weight{32, 64, 1, 1}, ffn_norm-0{32, 12, 1, 1}}) = {64, 12, 1, 1}\n   [\n    [\n".to_owned();
    for t in shown(12) {
        let Some(t) = t else {
            text.push_str("     ..., \n");
            continue;
        };
        let cell = |c: Option<usize>| c.map_or("...".to_owned(), |c| format!("{:12.4}", gate[t * 64 + c]));
        text.push_str(&format!("     [{}],\n", shown(64).map(cell).collect::<Vec<_>>().join(", ")));
    }
    text.push_str("    ],\n   ]\n   sum = 1.0\n");
    let map = files
        .write("map.yaml", format!("names: {{ 'ffn_gate-{{}}@MUL_MAT': ffn_gate }}\ntokens: {TOKENS:?}\n").as_bytes());
    let record = files.judge(&files.write("log.txt", text.as_bytes()), Some(&UserMap::open(&map).unwrap()));
    let site = record.sites.iter().find(|s| s.site == "blk.0.ffn_gate").unwrap();
    assert_eq!((site.drift.compared, site.drift.expected), (36, 12 * 64));
    // Four decimals.
    assert!(site.drift.peak.as_ref().unwrap().abs < 1e-4, "{:?}", site.drift);
    assert!(matches!(site.verdict, Some(Verdict::Inconclusive { .. })), "{:?}", site.verdict);
    let cut = text.split_once("     [").unwrap().0;
    assert!(files.refused(&files.write("cut.txt", cut.as_bytes())).contains("no values"));
}

#[test]
fn raw_logits_of_llama_debug_are_compared_and_not_judged_alone() {
    let files = Files::new();
    let logits = sound().into_iter().find(|a| a.name == "logits").unwrap();
    let ids: Vec<u8> = TOKENS.iter().flat_map(|t| t.to_le_bytes()).collect();
    files.write("llama-tokens.bin", &ids);
    let record = files.judge(&files.write("llama.bin", &logits.bytes), None);
    let site = record.sites.iter().find(|s| s.site == "logits").unwrap();
    assert_eq!((site.drift.compared, site.drift.expected), (12 * 64, 12 * 64));
    let Some(Verdict::Inconclusive { reason }) = &site.verdict else { panic!("{:?}", site.verdict) };
    assert!(reason.contains("is not recorded"), "{reason}");
    assert_eq!((record.logits.unwrap().top1_equal, record.coverage.unwrap().recorded), (12, 1));
    let why = files.refused(&files.write("llama.bin", &logits.bytes[1..]));
    assert!(why.contains("no whole values"), "{why}");
}
