use safetensors::SafeTensors;

use super::{FORMATS, QuantFormat, TensorType};
use crate::matrix::{Matrix, MatrixError};

/// Byte offsets of the f16 fields of each format: what `is_finite` must look at, said a second time.
const F16_FIELDS: &[(&str, &[usize])] = &[
    ("Q4_0", &[0]),
    ("Q4_1", &[0, 2]),
    ("Q5_0", &[0]),
    ("Q5_1", &[0, 2]),
    ("Q8_0", &[0]),
    ("Q2_K", &[80, 82]),
    ("Q3_K", &[108]),
    ("Q4_K", &[0, 2]),
    ("Q5_K", &[0, 2]),
    ("Q6_K", &[208]),
    ("IQ4_NL", &[0]),
    ("IQ4_XS", &[0]),
];

fn quantised() -> impl Iterator<Item = (&'static dyn QuantFormat, &'static [usize])> {
    let fields = |name| F16_FIELDS.iter().find(|(n, _)| *n == name).map(|(_, fields)| *fields);
    FORMATS.iter().filter_map(move |f| fields(f.name()).map(|fields| (*f, fields)))
}

fn decode(format: &dyn QuantFormat, block: &[u8]) -> Vec<f64> {
    let mut out = vec![f64::NAN; format.block_len()];
    format.decode(block, &mut out);
    out
}

#[test]
fn every_file_of_the_folder_is_in_formats() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/quant");
    let mut stems: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|stem| !["mod", "tests", "float"].contains(&stem.as_str()))
        .collect();
    stems.sort();
    let mut names: Vec<String> = quantised().map(|(f, _)| f.name().to_lowercase()).collect();
    names.sort();
    assert_eq!(stems, names);
    assert_eq!(FORMATS.len(), names.len() + 3, "FORMATS holds the quantised formats and F32, F16, BF16");
}

#[test]
fn ids_and_names_find_their_format_and_others_find_none() {
    let known: Vec<u32> = (0..200).filter(|id| TensorType::from_ggml(*id).is_some()).collect();
    assert_eq!(known, [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 30]);
    for f in FORMATS {
        assert_eq!(TensorType::from_ggml(f.tensor_type() as u32), Some(f.tensor_type()));
        assert_eq!(TensorType::from_name(&f.name().to_lowercase()), Some(f.tensor_type()));
        assert_eq!(f.tensor_type().name(), f.name());
    }
    assert_eq!(TensorType::from_name("Q9_K"), None);
}

#[test]
fn bits_per_value_are_the_published_ones() {
    let bits = [
        ("F32", 32.0),
        ("F16", 16.0),
        ("BF16", 16.0),
        ("Q4_0", 4.5),
        ("Q4_1", 5.0),
        ("Q5_0", 5.5),
        ("Q5_1", 6.0),
        ("Q8_0", 8.5),
        ("Q2_K", 2.625),
        ("Q3_K", 3.4375),
        ("Q4_K", 4.5),
        ("Q5_K", 5.5),
        ("Q6_K", 6.5625),
        ("IQ4_NL", 4.5),
        ("IQ4_XS", 4.25),
    ];
    assert_eq!(bits.len(), FORMATS.len());
    for (f, (name, bits)) in FORMATS.iter().zip(bits) {
        assert_eq!((f.name(), f.block_bytes() as f64 * 8.0), (name, bits * f.block_len() as f64));
    }
}

#[test]
fn truncated_padded_and_partial_rows_are_refused() {
    for f in FORMATS {
        let (t, len, size) = (f.tensor_type(), f.block_len(), f.block_bytes());
        let bytes = vec![0; 6 * size + 1];
        assert!(Matrix::new(t, 2, 3 * len, &bytes[..6 * size]).is_ok(), "{}", f.name());
        assert!(Matrix::new(t, 0, 3 * len, &[]).is_ok(), "{}", f.name());
        for wrong in [0, size, 6 * size - 1, 6 * size + 1] {
            let refused = Matrix::new(t, 2, 3 * len, &bytes[..wrong]);
            assert!(matches!(refused, Err(MatrixError::Length { .. })), "{} accepted {wrong} bytes", f.name());
        }
        assert!(matches!(Matrix::new(t, usize::MAX, len * 8, &[]), Err(MatrixError::Length { .. })));
        assert_eq!(t.bytes_of(3 * len as u64), Some(3 * size as u64));
        if len > 1 {
            let partial = Matrix::new(t, 1, len + 1, &bytes[..size]);
            assert!(matches!(partial, Err(MatrixError::PartialBlock { .. })), "{}", f.name());
            assert_eq!(t.bytes_of(len as u64 - 1), None);
        } else {
            assert_eq!(t.bytes_of(u64::MAX), None, "{}: overflow", f.name());
        }
    }
}

#[test]
fn a_scale_that_is_nan_or_infinite_is_seen_and_codes_are_not_mistaken_for_one() {
    assert_eq!(quantised().count(), F16_FIELDS.len());
    for (f, fields) in quantised() {
        // All bits set outside of the scales: any code or integer scale read as an f16 would be a NaN.
        let mut sound = vec![0xff; f.block_bytes()];
        for at in fields {
            sound[*at..at + 2].copy_from_slice(&half::f16::MAX.to_le_bytes());
        }
        assert!(f.is_finite(&sound), "{}", f.name());
        assert!(decode(f, &sound).iter().all(|x| x.is_finite()), "{}", f.name());
        for at in fields {
            for bad in [half::f16::NAN, half::f16::INFINITY, half::f16::NEG_INFINITY] {
                let mut block = sound.clone();
                block[*at..at + 2].copy_from_slice(&bad.to_le_bytes());
                assert!(!f.is_finite(&block), "{} missed {bad} at byte {at}", f.name());
            }
        }
    }
    for (t, bad) in [
        (TensorType::F32, f32::NAN.to_le_bytes().to_vec()),
        (TensorType::F16, half::f16::INFINITY.to_le_bytes().to_vec()),
        (TensorType::BF16, half::bf16::NEG_INFINITY.to_le_bytes().to_vec()),
    ] {
        assert!(!t.format().is_finite(&bad) && t.format().is_finite(&vec![0; bad.len()]), "{}", t.name());
    }
}

#[test]
fn every_place_is_written_and_one_flipped_bit_changes_only_its_block() {
    for (f, _) in quantised() {
        let (len, size) = (f.block_len(), f.block_bytes());
        let bytes: Vec<u8> = (0..3 * size).map(|i| (i * 37 % 101) as u8).collect();
        let mut changed = bytes.clone();
        changed[size + size / 2] ^= 1;
        let row = |bytes: &[u8]| {
            let mut out = vec![f64::NAN; 3 * len];
            Matrix::new(f.tensor_type(), 1, 3 * len, bytes).unwrap().decode_row(0, &mut out);
            out
        };
        let (a, b) = (row(&bytes), row(&changed));
        assert!(a.iter().all(|x| !x.is_nan()), "{} left a place unwritten", f.name());
        assert_eq!((&a[..len], &a[2 * len..]), (&b[..len], &b[2 * len..]), "{}", f.name());
        assert_ne!(a[len..2 * len], b[len..2 * len], "{}", f.name());
    }
}

/// `golden.safetensors` holds random blocks and what PyPI's `gguf` decodes them to. That decoder works in f32; its
/// products are exact (11 bits of an f16 times at most 12 of integers) and it rounds at most once, in the final
/// subtraction, so the exact value rounded once must have its very bits.
#[test]
fn every_format_agrees_bit_for_bit_with_an_independent_decoder() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks/golden.safetensors");
    let file = std::fs::read(path).unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    for f in FORMATS {
        let bytes = golden.tensor(&format!("{}.bytes", f.name())).unwrap();
        let values = golden.tensor(&format!("{}.values", f.name())).unwrap();
        assert_eq!(bytes.shape(), [values.shape()[0], f.block_bytes()], "{}", f.name());
        assert_eq!(values.shape()[1], f.block_len(), "{}", f.name());
        assert!(values.shape()[0] >= 16, "{}: too few blocks to tell", f.name());
        let expected = values.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let found = bytes.data().chunks_exact(f.block_bytes()).flat_map(|block| decode(*f, block));
        for (i, (expected, found)) in expected.zip(found).enumerate() {
            let found = found as f32;
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{} value {i}: {found:e} is not {expected:e}", f.name());
        }
    }
}
