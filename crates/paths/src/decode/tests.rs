use twinpath_formats::quant::FORMATS;

use super::{decode, f16_at};
use crate::simd::Isa;
use crate::test_values::{Random, blocks};

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn every_f16_converts_exactly() {
    for bits in 0..=u16::MAX {
        let expected = half::f16::from_bits(bits).to_f32();
        assert!(same(f16_at(&bits.to_le_bytes(), 0), expected), "{bits:#06x}");
    }
}

#[test]
fn every_format_has_the_bits_of_the_rounded_exact_value_on_every_instruction_set() {
    let mut random = Random::new(1);
    for f in FORMATS {
        for count in [0, 1, 2, 7, 300] {
            let bytes = blocks(f.tensor_type(), count, &mut random);
            let mut exact = vec![f64::NAN; count * f.block_len()];
            for (block, out) in bytes.chunks_exact(f.block_bytes()).zip(exact.chunks_exact_mut(f.block_len())) {
                f.decode(block, out);
            }
            for isa in Isa::all_available() {
                let mut found = vec![f32::NAN; exact.len()];
                decode(isa, f.tensor_type(), &bytes, &mut found);
                for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
                    let name = (f.name(), isa.name());
                    assert!(same(*found, *exact as f32), "{name:?} value {i}: {found:e} is not {exact:e}");
                }
            }
        }
    }
}

/// Each code and integer scale at its ends, under scales of every kind: the largest products, subnormal f16, both zeros.
#[test]
fn extreme_blocks_have_the_bits_of_the_rounded_exact_value() {
    let scales = [half::f16::MAX, half::f16::MIN, half::f16::from_bits(1), half::f16::ZERO, half::f16::NEG_ZERO];
    for f in FORMATS.iter().filter(|f| f.block_len() > 1) {
        for (fill, scale) in [0x00, 0xff, 0x80, 0x7f, 0x55].into_iter().flat_map(|b| scales.map(|s| (b, s))) {
            let mut block = vec![fill; f.block_bytes()];
            crate::test_values::set_scales(f.tensor_type(), &mut block, [scale, -scale]);
            let mut exact = vec![0.0; f.block_len()];
            f.decode(&block, &mut exact);
            for isa in Isa::all_available() {
                let mut found = vec![f32::NAN; exact.len()];
                decode(isa, f.tensor_type(), &block, &mut found);
                let agree = found.iter().zip(&exact).all(|(found, exact)| same(*found, *exact as f32));
                assert!(agree, "{} on {} filled with {fill:#x} under {scale:e}", f.name(), isa.name());
            }
        }
    }
}
