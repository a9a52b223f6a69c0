//! GGUF: what goes in comes out, and each way in which a file can lie is refused as such.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{every_type, fault, fill_bytes, gguf_bytes, llama_plans, plan_len};
use proptest::prelude::*;
use twinpath_formats::gguf::{self, Array, Gguf, Metadata, Value};
use twinpath_formats::{Container, Fault, TensorPlan, TensorType};

/// A tensor as the directory states it: name, `ne`, type code, offset.
type RawTensor<'a> = (&'a str, &'a [u64], u32, u64);

/// A file written field by field, so that it can state anything.
fn raw(version: u32, keys: &[(&str, u32, Vec<u8>)], tensors: &[RawTensor], data: usize) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, code, value) in keys {
        out.extend((key.len() as u64).to_le_bytes());
        out.extend(key.as_bytes());
        out.extend(code.to_le_bytes());
        out.extend(value);
    }
    for (name, ne, code, offset) in tensors {
        out.extend((name.len() as u64).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend((ne.len() as u32).to_le_bytes());
        ne.iter().for_each(|d| out.extend(d.to_le_bytes()));
        out.extend(code.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

fn read(bytes: Vec<u8>) -> Result<Gguf, twinpath_formats::FormatError> {
    Gguf::from_bytes("attack.gguf", bytes)
}

fn one_tensor(tensor: RawTensor, data: usize) -> Fault {
    fault(read(raw(3, &[], &[tensor], data)))
}

fn one_key(key: &str, code: u32, value: Vec<u8>) -> Fault {
    fault(read(raw(3, &[(key, code, value)], &[], 0)))
}

#[test]
fn every_value_type_and_every_tensor_comes_back_in_order() {
    let (metadata, plans) = (every_type(), llama_plans());
    let model = read(gguf_bytes(&metadata, &plans)).unwrap();
    assert_eq!(model.version(), 3);
    assert_eq!(model.metadata(), &metadata);
    assert_eq!(model.tensors().len(), plans.len());
    for (i, (entry, plan)) in model.tensors().iter().zip(&plans).enumerate() {
        assert_eq!((&entry.name, entry.tensor_type, &entry.shape), (&plan.name, plan.tensor_type, &plan.shape));
        assert_eq!(model.bytes(entry), fill_bytes(i, plan_len(plan)));
        let matrix = model.matrix(&entry.name).unwrap();
        assert_eq!((matrix.rows(), matrix.cols()), entry.rows_cols());
    }
    model.check_finite().unwrap();
}

#[test]
fn version_2_is_read_like_version_3() {
    let mut bytes = gguf_bytes(&every_type(), &llama_plans());
    bytes[4] = 2;
    let model = read(bytes).unwrap();
    assert_eq!((model.version(), model.metadata()), (2, &every_type()));
}

#[test]
fn typed_getters_tell_absent_from_wrong() {
    let model = read(gguf_bytes(&every_type(), &[])).unwrap();
    assert_eq!(model.u32("a.u8").unwrap(), Some(255));
    assert_eq!(model.u64("a.u64").unwrap(), Some(u64::MAX));
    assert_eq!(model.f32("a.f32").unwrap(), Some(1e-6));
    assert_eq!(model.bool("a.bool").unwrap(), Some(true));
    assert_eq!(model.array("a.empty").unwrap().map(Array::type_name), Some("i16"));
    assert_eq!(model.str("a.absent").unwrap(), None);
    assert!(matches!(fault(model.u32("a.u64")), Fault::WrongType { .. }));
    assert!(matches!(fault(model.u64("a.i8")), Fault::WrongType { .. }));
    assert!(matches!(fault(model.str("a.u8")), Fault::WrongType { found: "u8", .. }));
    assert!(matches!(fault(model.require::<u32>("a.absent")), Fault::MissingKey { .. }));
}

#[test]
fn an_alignment_other_than_32_is_kept() {
    let mut metadata = every_type();
    metadata.set("general.alignment", Value::U32(128));
    let model = read(gguf_bytes(&metadata, &llama_plans())).unwrap();
    assert_eq!(model.alignment(), 128);
    assert!(model.tensors().iter().all(|t| t.file_offset().is_multiple_of(128)));
    assert_eq!(model.bytes(&model.tensors()[3]), fill_bytes(3, 30));
}

#[test]
fn wrong_magic_version_and_byte_order_are_told_apart() {
    assert!(matches!(fault(read(b"GGML\x03\0\0\0".to_vec())), Fault::UnknownMagic { .. }));
    for version in [0, 1, 4] {
        assert!(matches!(fault(read(raw(version, &[], &[], 0))), Fault::Version { .. }), "{version}");
    }
    assert!(matches!(fault(read(raw(3u32.swap_bytes(), &[], &[], 0))), Fault::BigEndian));
}

#[test]
fn overlapping_tensors_are_refused() {
    let pair = [("a", &[16u64][..], 0, 0), ("b", &[16][..], 0, 32)];
    match fault(read(raw(3, &[], &pair, 96))) {
        Fault::Overlap { first, second, .. } => assert_eq!((&*first, &*second), ("a", "b")),
        other => panic!("{other}"),
    }
    let apart = [("a", &[16u64][..], 0, 32), ("b", &[8][..], 0, 0)];
    read(raw(3, &[], &apart, 96)).unwrap();
}

#[test]
fn misaligned_offsets_are_refused() {
    assert!(matches!(one_tensor(("a", &[8], 0, 16), 96), Fault::Misaligned { offset: 16, alignment: 32, .. }));
}

#[test]
fn repeated_tensor_names_and_keys_are_refused() {
    let pair = [("a", &[8u64][..], 0, 0), ("a", &[8][..], 0, 32)];
    assert!(matches!(fault(read(raw(3, &[], &pair, 64))), Fault::DuplicateTensor { .. }));
    let keys = [("k", 0, vec![1]), ("k", 0, vec![1])];
    assert!(matches!(fault(read(raw(3, &keys, &[], 0))), Fault::DuplicateKey { .. }));
}

#[test]
fn unknown_types_are_refused_never_guessed() {
    for code in [4, 5, 16, 39, 77, u32::MAX] {
        assert!(matches!(one_tensor(("a", &[256], code, 0), 4096), Fault::UnknownTensorType { .. }), "{code}");
    }
    assert!(one_tensor(("a", &[256], 16, 0), 0).to_string().contains("IQ2_XXS"));
    assert!(matches!(one_key("k", 13, vec![0; 16]), Fault::UnknownValueType { code: 13, .. }));
    let array_of_13 = [13u32.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()].concat();
    assert!(matches!(one_key("k", 9, array_of_13), Fault::UnknownValueType { code: 13, .. }));
}

#[test]
fn dimension_lies_are_refused() {
    assert!(matches!(one_tensor(("a", &[0, 4], 0, 0), 64), Fault::ZeroDimension { .. }));
    // The product wraps to 0 in 64 bits; with the last pair it wraps to 16, which the data would satisfy.
    for ne in [[1u64 << 32, 1 << 32], [(1 << 63) + 8, 2], [u64::MAX, u64::MAX]] {
        assert!(matches!(one_tensor(("a", &ne, 0, 0), 64), Fault::DimensionOverflow { .. }), "{ne:?}");
    }
    // The values fit 64 bits, their bytes do not.
    assert!(matches!(one_tensor(("a", &[1 << 62], 0, 0), 64), Fault::DimensionOverflow { .. }));
    assert!(matches!(one_tensor(("a", &[100], 12, 0), 144), Fault::PartialBlock { row: 100, .. }));
    // 2 rows of 128 are 256 values, but a block must not cross rows.
    assert!(matches!(one_tensor(("a", &[128, 2], 12, 0), 144), Fault::PartialBlock { row: 128, .. }));
    assert!(matches!(one_tensor(("a", &[1, 1, 1, 1, 1], 0, 0), 64), Fault::TooLarge { count: 5, cap: 4, .. }));
}

#[test]
fn tensors_beyond_the_end_are_refused() {
    assert!(matches!(one_tensor(("a", &[9], 0, 0), 32), Fault::OutOfBounds { .. }));
    assert!(matches!(one_tensor(("a", &[8], 0, 32), 32), Fault::OutOfBounds { .. }));
    assert!(matches!(one_tensor(("a", &[8], 0, u64::MAX - 31), 64), Fault::OutOfBounds { .. }));
    assert!(matches!(one_tensor(("a", &[1 << 50], 0, 0), 64), Fault::OutOfBounds { .. }));
}

#[test]
fn alignment_lies_are_refused() {
    for n in [0u32, 24, 1 << 21] {
        assert!(matches!(one_key("general.alignment", 4, n.to_le_bytes().into()), Fault::BadAlignment { .. }), "{n}");
    }
    assert!(matches!(one_key("general.alignment", 6, vec![0; 4]), Fault::BadAlignment { .. }));
}

#[test]
fn damaged_values_are_refused() {
    assert!(matches!(one_key("k", 7, vec![2]), Fault::BadBool { found: 2, .. }));
    let text = [2u64.to_le_bytes().to_vec(), vec![0xff, 0xfe]].concat();
    assert!(matches!(one_key("k", 8, text), Fault::NotUtf8 { .. }));
    // Five arrays within one another.
    let mut nested = Vec::new();
    (0..5).for_each(|_| nested.extend([9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat()));
    assert!(matches!(one_key("k", 9, nested), Fault::TooDeep { .. }));
}

#[test]
fn a_shard_cannot_be_read_from_memory() {
    let keys = [("split.no", 2, vec![0, 0]), ("split.count", 2, vec![2, 0])];
    let bytes = raw(3, &keys, &[], 0);
    assert!(matches!(fault(Gguf::from_bytes("m-00001-of-00002.gguf", bytes)), Fault::BadShard { .. }));
}

#[test]
fn infinite_scales_are_found_by_tensor_and_block() {
    let plan = [TensorPlan::new("fine", TensorType::F32, &[4]), TensorPlan::new("bad", TensorType::Q4K, &[3, 512])];
    let write = |d: u16| {
        gguf::to_bytes(&Metadata::default(), &plan, &mut |i, out| {
            let mut bytes = vec![0; [16, 6 * 144][i]];
            if i == 1 {
                bytes[4 * 144..4 * 144 + 2].copy_from_slice(&d.to_le_bytes());
            }
            out.write_all(&bytes).unwrap();
            Ok(())
        })
    };
    read(write(0x7bff).unwrap()).unwrap().check_finite().unwrap();
    for d in [0x7c00, 0x7e00] {
        match fault(read(write(d).unwrap()).unwrap().check_finite()) {
            Fault::NotFinite { tensor, block } => assert_eq!((&*tensor, block), ("bad", 4)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn infinite_values_are_found_where_threads_share_a_tensor() {
    let n = 600_000;
    let plan = [TensorPlan::new("big", TensorType::F16, &[n])];
    for bad in [0, 299_999, 300_000, n - 1] {
        let bytes = gguf::to_bytes(&Metadata::default(), &plan, &mut |_, out| {
            let mut bytes = vec![0u8; 2 * n];
            // A later one must not be reported first.
            bytes[2 * n - 1] = 0x7c;
            bytes[2 * bad + 1] = 0x7c;
            out.write_all(&bytes).unwrap();
            Ok(())
        });
        let found = fault(read(bytes.unwrap()).unwrap().check_finite());
        assert!(matches!(found, Fault::NotFinite { block, .. } if block == bad as u64), "{found}");
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let none = Metadata::default();
    let twice = [TensorPlan::new("a", TensorType::F32, &[1]), TensorPlan::new("a", TensorType::F32, &[1])];
    let write = |m: &Metadata, p: &[TensorPlan]| fault(gguf::to_bytes(m, p, &mut |_, _| Ok(())));
    assert!(matches!(write(&none, &twice), Fault::DuplicateTensor { .. }));
    let partial = [TensorPlan::new("a", TensorType::Q4K, &[255])];
    assert!(matches!(write(&none, &partial), Fault::PartialBlock { .. }));
    let one = [TensorPlan::new("a", TensorType::F32, &[1])];
    assert!(matches!(write(&none, &one), Fault::WrongSize { found: 0, expected: 4, .. }));
    let mut odd = Metadata::default();
    odd.set("general.alignment", Value::U32(3));
    assert!(matches!(write(&odd, &[]), Fault::BadAlignment { .. }));
    let mut deep = Array::U8(vec![]);
    (0..5).for_each(|_| deep = Array::Array(vec![deep.clone()]));
    let mut nested = Metadata::default();
    nested.set("k", Value::Array(deep));
    assert!(matches!(write(&nested, &[]), Fault::CannotWrite { .. }));
}

#[test]
fn plain_values_are_infinite_or_nan_exactly_where_their_format_says() {
    let patterns: Vec<u16> =
        (0..=u16::MAX).step_by(3).chain([0x7c00, 0x7bff, 0x7f80, 0x7f7f, 0xff80, 0xfc00]).collect();
    for kind in [TensorType::F16, TensorType::BF16, TensorType::F32] {
        for pattern in &patterns {
            let mut value = vec![0xff; kind.format().block_bytes() - 2];
            value.extend(pattern.to_le_bytes());
            let plan = [TensorPlan::new("x", kind, &[1])];
            let bytes = gguf::to_bytes(&Metadata::default(), &plan, &mut |_, out| {
                out.write_all(&value).unwrap();
                Ok(())
            });
            let found = read(bytes.unwrap()).unwrap().check_finite().is_ok();
            assert_eq!(found, kind.format().is_finite(&value), "{} {pattern:04x}", kind.name());
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = ".{0,8}";
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_filter("equality is tested by value", |v| !v.is_nan()).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        text.prop_map(Value::String),
        prop::collection::vec(text, 0..4).prop_map(|v| Value::Array(Array::String(v))),
        prop::collection::vec(any::<i32>(), 0..4).prop_map(|v| Value::Array(Array::I32(v))),
        prop::collection::vec(prop::collection::vec(any::<u16>(), 0..3).prop_map(Array::U16), 0..3)
            .prop_map(|v| Value::Array(Array::Array(v))),
    ]
}

proptest! {
    #[test]
    fn any_metadata_and_tensors_come_back(
        pairs in prop::collection::btree_map("[a-z.]{1,12}", value(), 0..12),
        shapes in prop::collection::vec((prop::sample::select(vec![TensorType::F32, TensorType::BF16, TensorType::Q6K]),
            prop::collection::vec(1usize..4, 0..3)), 0..5),
    ) {
        let mut metadata = Metadata::default();
        pairs.iter().for_each(|(k, v)| metadata.set(k, v.clone()));
        let plans: Vec<TensorPlan> = shapes.iter().enumerate().map(|(i, (kind, dims))| {
            let mut dims = dims.clone();
            dims.push(kind.format().block_len() * (1 + i % 2));
            TensorPlan::new(&format!("t{i}"), *kind, &dims)
        }).collect();
        let model = read(gguf_bytes(&metadata, &plans)).unwrap();
        prop_assert_eq!(model.metadata(), &metadata);
        for (i, (entry, plan)) in model.tensors().iter().zip(&plans).enumerate() {
            prop_assert_eq!(&entry.shape, &plan.shape);
            prop_assert_eq!(model.bytes(entry), fill_bytes(i, plan_len(plan)));
        }
    }
}
