//! `.apr` v2: what goes in comes out, and each way in which a file can lie is refused as such.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{apr_bytes, apr_metadata, apr_plans, crc32, fault, fill_bytes, plan_len, reseal};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use twinpath_formats::apr::{self, Apr, Legacy};
use twinpath_formats::gguf::Gguf;
use twinpath_formats::{Container, Fault, FormatError, TensorPlan, TensorType, Verify};

fn read(bytes: Vec<u8>) -> Result<Apr, FormatError> {
    Apr::from_bytes("attack.apr", bytes, Verify::All)
}

/// The small model with some bytes replaced and all checksums made right again.
fn patched(patches: &[(usize, &[u8])]) -> Result<Apr, FormatError> {
    let mut bytes = apr_bytes(&apr_metadata(), &apr_plans());
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    reseal(&mut bytes);
    read(bytes)
}

/// An index entry as its fields.
type RawEntry<'a> = (&'a str, u8, &'a [u64], u64, u64);

/// A file written field by field, so that its index can state anything.
fn raw(metadata: &str, entries: &[RawEntry], data: &[u8]) -> Vec<u8> {
    let mut index = Vec::new();
    for (name, code, dims, offset, size) in entries {
        index.extend((name.len() as u16).to_le_bytes());
        index.extend(name.as_bytes());
        index.extend([*code, dims.len() as u8]);
        dims.iter().for_each(|d| index.extend(d.to_le_bytes()));
        index.extend(offset.to_le_bytes());
        index.extend(size.to_le_bytes());
    }
    let index_at = 64 + metadata.len().next_multiple_of(64);
    let data_at = index_at + index.len().next_multiple_of(64);
    let mut out = b"APR\0\x02\0\0\x04".to_vec();
    out.extend((entries.len() as u32).to_le_bytes());
    out.extend(64u64.to_le_bytes());
    out.extend((metadata.len() as u32).to_le_bytes());
    out.extend((index_at as u64).to_le_bytes());
    out.extend((data_at as u64).to_le_bytes());
    out.resize(64, 0);
    out.extend(metadata.as_bytes());
    out.resize(index_at, 0);
    out.extend(index);
    out.resize(data_at, 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(64) + 4, 0);
    reseal(&mut out);
    out
}

fn index_fault(entries: &[RawEntry]) -> Fault {
    fault(read(raw("{}", entries, &[0; 256])))
}

#[test]
fn the_checksum_is_the_published_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    let bytes = apr_bytes(&apr_metadata(), &apr_plans());
    let mut again = bytes.clone();
    reseal(&mut again);
    assert_eq!(bytes, again, "the writer's checksums are those of the definition");
}

#[test]
fn the_header_is_laid_out_as_other_readers_expect() {
    let bytes = apr_bytes(&apr_metadata(), &apr_plans());
    assert_eq!(bytes[..24][..8], *b"APR\0\x02\0\0\x04");
    assert_eq!(bytes[8..20], [3, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((bytes.len() - 4) % 64, 0);
    assert_eq!(bytes[44..64], [0; 20]);
}

#[test]
fn a_model_comes_back_whatever_the_order_of_its_data() {
    let (metadata, plans) = (apr_metadata(), apr_plans());
    let model = read(apr_bytes(&metadata, &plans)).unwrap();
    assert_eq!(model.metadata(), &metadata);
    assert_eq!(model.warnings(), [] as [&str; 0]);
    let names: Vec<&str> = model.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"]);
    for (i, plan) in plans.iter().enumerate() {
        let entry = model.tensor(&plan.name).unwrap();
        assert_eq!((entry.tensor_type, &entry.shape), (plan.tensor_type, &plan.shape));
        assert_eq!(model.bytes(entry), fill_bytes(i, plan_len(plan)));
        assert!(entry.file_offset().is_multiple_of(64));
    }
}

#[test]
fn any_changed_byte_is_detected() {
    let bytes = apr_bytes(&apr_metadata(), &apr_plans());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read(changed).is_err(), "byte {at}");
    }
}

#[test]
fn each_checksum_is_checked_when_asked_for() {
    let mut bytes = apr_bytes(&apr_metadata(), &apr_plans());
    bytes[60] ^= 1;
    assert!(matches!(fault(read(bytes.clone())), Fault::Checksum { what: "header", .. }));
    assert!(Apr::from_bytes("x", bytes.clone(), Verify::Header).is_err());
    Apr::from_bytes("x", bytes.clone(), Verify::None).unwrap();
    bytes[60] ^= 1;
    let last_data = bytes.len() - 5;
    bytes[last_data] ^= 1;
    assert!(matches!(fault(read(bytes.clone())), Fault::Checksum { what: "footer", .. }));
    Apr::from_bytes("x", bytes.clone(), Verify::Header).unwrap();
    bytes.truncate(bytes.len() - 4);
    assert!(matches!(fault(Apr::from_bytes("x", bytes.clone(), Verify::Header)), Fault::Truncated { .. }));
    Apr::from_bytes("x", bytes, Verify::None).unwrap();
}

#[test]
fn magic_and_versions_are_told_apart() {
    assert!(matches!(fault(patched(&[(0, b"APRN")])), Fault::Version { .. }));
    assert!(matches!(fault(patched(&[(0, b"APR1")])), Fault::Version { .. }));
    assert!(matches!(fault(patched(&[(0, b"APRX")])), Fault::UnknownMagic { .. }));
    assert!(matches!(fault(patched(&[(4, &[3])])), Fault::Version { .. }));
    assert_eq!(patched(&[(0, b"APR2")]).unwrap().warnings().len(), 1);
}

#[test]
fn flags_that_change_the_meaning_of_bytes_are_refused() {
    for (bits, flag) in
        [(0x0402u16, "ZSTD"), (0x0404, "ENCRYPTED"), (0x0410, "SHARDED"), (0x0800, "LAYOUT_COLUMN_MAJOR")]
    {
        let refused = fault(patched(&[(6, &bits.to_le_bytes())]));
        assert!(matches!(refused, Fault::UnsupportedFlag { flag: f, .. } if f == flag), "{refused}");
    }
    // Other writers set the LZ4 bit and do not compress.
    assert_eq!(patched(&[(6, &0x0401u16.to_le_bytes())]).unwrap().warnings().len(), 1);
    assert_eq!(patched(&[(6, &0x0620u16.to_le_bytes())]).unwrap().warnings().len(), 0);
}

#[test]
fn sections_in_the_wrong_place_are_refused() {
    let section = |at: usize, value: u64| fault(patched(&[(at, &value.to_le_bytes())]));
    for (at, value) in [(12, 0), (24, 64), (24, 1 << 40), (32, 64), (32, 1 << 40), (32, u64::MAX)] {
        assert!(matches!(section(at, value), Fault::BadSection { .. }), "{at} {value}");
    }
    assert!(matches!(section(12, u64::MAX), Fault::BadSection { .. }));
    assert!(matches!(fault(patched(&[(20, &u32::MAX.to_le_bytes())])), Fault::TooLarge { .. }));
    assert!(matches!(fault(patched(&[(8, &u32::MAX.to_le_bytes())])), Fault::TooLarge { .. }));
    assert!(matches!(fault(patched(&[(8, &1000u32.to_le_bytes())])), Fault::Truncated { .. }));
}

#[test]
fn an_index_out_of_order_or_with_repeats_is_refused() {
    let (a, b) = (("a", 0, &[4u64][..], 0, 16), ("b", 0, &[4u64][..], 64, 16));
    read(raw("{}", &[a, b], &[0; 128])).unwrap();
    assert!(matches!(index_fault(&[b, a]), Fault::NotSorted { .. }));
    assert!(matches!(index_fault(&[a, a]), Fault::DuplicateTensor { .. }));
}

#[test]
fn index_entries_that_lie_are_refused() {
    let one = |code, dims: &[u64], offset, size| index_fault(&[("a", code, dims, offset, size)]);
    assert!(matches!(one(0, &[4], 32, 16), Fault::Misaligned { .. }));
    assert!(matches!(one(0, &[4], 0, 12), Fault::WrongSize { found: 12, expected: 16, .. }));
    assert!(matches!(one(0, &[4], 4096, 16), Fault::OutOfBounds { .. }));
    assert!(matches!(one(0, &[4], u64::MAX - 63, 16), Fault::OutOfBounds { .. }));
    assert!(matches!(one(0, &[0], 0, 0), Fault::ZeroDimension { .. }));
    assert!(matches!(one(0, &[1 << 33, 1 << 33], 0, 16), Fault::DimensionOverflow { .. }));
    assert!(matches!(one(12, &[128, 2], 0, 144), Fault::PartialBlock { .. }));
    assert!(matches!(one(0, &[1; 9], 0, 4), Fault::TooLarge { count: 9, cap: 8, .. }));
    let overlap = [("a", 0, &[32u64][..], 0, 128), ("b", 0, &[4u64][..], 64, 16)];
    assert!(matches!(index_fault(&overlap), Fault::Overlap { .. }));
    let long = "x".repeat(257);
    assert!(matches!(index_fault(&[(&long, 0, &[4], 0, 16)]), Fault::TooLarge { .. }));
}

#[test]
fn an_unknown_type_code_is_refused_never_read_as_f32() {
    for code in (0..=255u8).filter(|c| ![0, 1, 30, 12, 14, 8, 9, 128, 129].contains(c)) {
        let refused = index_fault(&[("model.norm.weight", code, &[4], 0, 16)]);
        assert!(matches!(refused, Fault::UnknownTensorType { .. }), "{code}: {refused}");
    }
}

#[test]
fn the_old_codes_are_read_as_f32() {
    // Scale 0.5; nibbles 0..=15 twice: value i is (i mod 16 - 8) / 2. 34 values need a second block.
    let block: Vec<u8> =
        [0x00, 0x38].into_iter().chain((0..16u8).map(|j| (2 * j % 16) | ((2 * j + 1) % 16) << 4)).collect();
    let data = [block.clone(), block].concat();
    for code in [8, 128] {
        let model = read(raw("{}", &[("q", code, &[34], 0, 36)], &data)).unwrap();
        let entry = model.tensor("q").unwrap();
        assert_eq!((model.legacy(entry), entry.tensor_type), (Some(Legacy::AprQ4), TensorType::F32));
        let mut row = [0.0; 34];
        model.matrix("q").unwrap().decode_row(0, &mut row);
        for (i, value) in row.iter().enumerate() {
            assert_eq!(*value, ((i % 16) as f64 - 8.0) / 2.0, "value {i}");
        }
        assert!(model.warnings().iter().any(|w| w.contains("AprQ4")));
    }
    let data = [0.25f32.to_le_bytes().to_vec(), vec![1, 0xff, 127, 0x81]].concat();
    for code in [9, 129] {
        let model = read(raw("{}", &[("q", code, &[2, 2], 0, 8)], &data)).unwrap();
        let mut rows = [[0.0; 2]; 2];
        (0..2).for_each(|i| model.matrix("q").unwrap().decode_row(i, &mut rows[i]));
        assert_eq!(rows, [[0.25, -0.25], [31.75, -31.75]]);
    }
}

#[test]
fn the_old_codes_become_gguf_only_when_asked_to() {
    use twinpath_formats::convert::{Dequantize, Options, convert};
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.apr", "out.gguf"].map(|n| folder.path().join(n));
    let data = [0.25f32.to_le_bytes().to_vec(), vec![1, 0xff, 127, 0x81]].concat();
    std::fs::write(&input, raw(r#"{"architecture":"qwen2"}"#, &[("lm_head.weight", 129, &[2, 2], 0, 8)], &data))
        .unwrap();
    let refused = fault(convert(&input, &output, &Options::default(), &mut |_, _| ()));
    assert!(matches!(refused, Fault::CannotWrite { .. }) && refused.to_string().contains("AprQ8"), "{refused}");
    let options = Options { dequantize: Some(Dequantize::F16), ..Options::default() };
    let report = convert(&input, &output, &options, &mut |_, _| ()).unwrap();
    assert_eq!((report.tensors[0].from_type, report.tensors[0].kept), ("AprQ8", false));
    let mut row = [0.0; 2];
    Gguf::open(&output).unwrap().matrix("output.weight").unwrap().decode_row(1, &mut row);
    assert_eq!(row, [31.75, -31.75]);
}

#[test]
fn an_infinite_scale_in_an_old_code_is_found() {
    let data = [f32::INFINITY.to_le_bytes().to_vec(), vec![0, 1]].concat();
    let model = read(raw("{}", &[("q", 129, &[2], 0, 6)], &data)).unwrap();
    assert!(matches!(fault(model.check_finite()), Fault::NotFinite { block: 0, .. }));
}

#[test]
fn metadata_that_is_no_object_is_refused() {
    for text in ["", "[]", "1", "{", "{} {}", "{\"a\":1,}", &"[".repeat(200), "\u{0}"] {
        assert!(matches!(fault(read(raw(text, &[], &[]))), Fault::BadJson { .. }), "{text:?}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert!(matches!(fault(read(raw(&deep, &[], &[]))), Fault::BadJson { .. }));
}

fn warnings_of(change: impl FnOnce(&mut Map<String, Value>)) -> Vec<String> {
    let mut metadata = apr_metadata();
    change(&mut metadata);
    let json = serde_json::to_string(&metadata).unwrap();
    read(raw(&json, &[], &[])).unwrap().warnings().to_vec()
}

#[test]
fn metadata_that_other_readers_lose_gives_warnings() {
    assert_eq!(warnings_of(|_| ()), [] as [&str; 0]);
    let clash = warnings_of(|m| drop(m.insert("num_hidden_layers".into(), Value::Null)));
    assert!(clash[0].contains("num_layers, num_hidden_layers"), "{clash:?}");
    assert!(clash[1].contains("is null"), "{clash:?}");
    let gap = warnings_of(|m| drop(m.remove("hidden_size")));
    assert!(gap.len() == 1 && gap[0].contains("no hidden_size"), "{gap:?}");
    let null = warnings_of(|m| drop(m.insert("num_heads".into(), Value::Null)));
    assert!(null.len() == 2 && null[1].contains("no num_heads"), "{null:?}");
    let mute = warnings_of(|m| drop(m.remove("tokenizer.merges")));
    assert!(mute.len() == 1 && mute[0].contains("tokenizer"), "{mute:?}");
    let twice = read(raw("{\"x\":1,\"x\":2}", &[], &[])).unwrap();
    assert!(twice.warnings()[0].contains("\"x\" occurs twice"));
}

#[test]
fn aliases_are_found_and_wrong_types_refused() {
    let model = read(raw(r#"{"n_embd":8,"hidden_size":null,"norm_eps":"small"}"#, &[], &[])).unwrap();
    assert_eq!(model.u64("hidden_size").unwrap(), Some(8));
    assert_eq!(model.u64("num_layers").unwrap(), None);
    assert!(matches!(fault(model.f64("rms_norm_eps")), Fault::WrongType { found: "a string", .. }));
}

#[test]
fn the_writer_refuses_what_readers_would_misread() {
    let write = |m: &Value, p: &[TensorPlan]| fault(apr::to_bytes(m.as_object().unwrap(), p, &mut |_, _| Ok(())));
    let q5 = [TensorPlan::new("a", TensorType::Q5K, &[256])];
    assert!(matches!(write(&json!({}), &q5), Fault::NoAprCode { tensor_type: "Q5_K", .. }));
    assert!(matches!(write(&json!({"num_layers": 1, "n_layer": 1}), &[]), Fault::CannotWrite { .. }));
    assert!(matches!(write(&json!({"num_layers": null}), &[]), Fault::CannotWrite { .. }));
    let twice = [TensorPlan::new("a", TensorType::F32, &[1]), TensorPlan::new("a", TensorType::F32, &[1])];
    assert!(matches!(write(&json!({}), &twice), Fault::DuplicateTensor { .. }));
}

proptest! {
    #[test]
    fn any_tensors_come_back(
        names in prop::collection::btree_set("[a-z.]{1,20}", 0..6),
        kinds in prop::collection::vec((prop::sample::select(apr::WRITTEN.to_vec()), 1usize..5), 6),
    ) {
        let plans: Vec<TensorPlan> = names.iter().rev().zip(&kinds).map(|(name, (kind, rows))| {
            TensorPlan::new(name, *kind, &[*rows, kind.format().block_len()])
        }).collect();
        let model = read(apr_bytes(&apr_metadata(), &plans)).unwrap();
        for (i, plan) in plans.iter().enumerate() {
            let entry = model.tensor(&plan.name).unwrap();
            prop_assert_eq!(&entry.shape, &plan.shape);
            prop_assert_eq!(model.bytes(entry), fill_bytes(i, plan_len(plan)));
        }
    }
}
