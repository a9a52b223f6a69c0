//! Coded activations against their definitions, and at the edges.

use super::*;
use proptest::prelude::*;

/// Q8_K as its definition reads, rounding by the standard library.
fn naive_q8_k(x: &[f32]) -> (Vec<i8>, f32) {
    let mut max = 0.0f32;
    for &v in x {
        if v.abs() > max.abs() {
            max = v;
        }
    }
    if max == 0.0 {
        return (vec![0; x.len()], 0.0);
    }
    let iscale = -127.0f32 / max;
    (x.iter().map(|v| (iscale * v).round_ties_even().min(127.0) as i8).collect(), 1.0 / iscale)
}

fn naive_q8_0(x: &[f32]) -> (Vec<i8>, f32) {
    let (q, d) = naive_32(x);
    (q, half::f16::from_f32(d).to_f32())
}

fn naive_32(x: &[f32]) -> (Vec<i8>, f32) {
    let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if amax == 0.0 {
        return (vec![0; x.len()], 0.0);
    }
    let d = amax / 127.0f32;
    let id = 1.0 / d;
    (x.iter().map(|v| (v * id).round_ties_even() as i8).collect(), d)
}

fn ours_q8_k(x: &[f32]) -> (Vec<i8>, f32) {
    let mut q = vec![1; x.len()];
    let d = quantise_q8_k(x, &mut q);
    (q, d)
}

fn ours_32(x: &[f32]) -> (Vec<i8>, f32) {
    let mut q = vec![1; x.len()];
    let d = quantise_32(x, &mut q);
    (q, d)
}

fn ours_q8_0(x: &[f32]) -> (Vec<i8>, f32) {
    let mut q = vec![1; x.len()];
    let d = quantise_q8_0(x, &mut q);
    (q, d)
}

proptest! {
    #[test]
    fn q8_k_is_its_definition(x in prop::collection::vec(-3.0f32..3.0, 256), exponent in -90i32..120) {
        let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(exponent)).collect();
        let ((q, d), (nq, nd)) = (ours_q8_k(&x), naive_q8_k(&x));
        prop_assert_eq!(q, nq);
        prop_assert_eq!(d.to_bits(), nd.to_bits());
    }

    #[test]
    fn q8_0_is_its_definition(x in prop::collection::vec(-3.0f32..3.0, 32), exponent in -60i32..120) {
        let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(exponent)).collect();
        let ((q, d), (nq, nd)) = (ours_q8_0(&x), naive_q8_0(&x));
        prop_assert_eq!(q, nq);
        prop_assert_eq!(d.to_bits(), nd.to_bits());
    }
}

proptest! {
    #[test]
    fn a_scale_per_32_is_its_definition(x in prop::collection::vec(-3.0f32..3.0, 32), exponent in -118i32..126) {
        let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(exponent)).collect();
        let ((q, d), (nq, nd)) = (ours_32(&x), naive_32(&x));
        prop_assert_eq!(q, nq);
        prop_assert_eq!(d.to_bits(), nd.to_bits());
    }
}

#[test]
fn the_f32_scale_per_32_neither_overflows_nor_turns_nan_and_tiny_values_are_zero() {
    for zero in [0.0f32, -0.0, f32::from_bits(1), 1e-40, -3.7e-37] {
        let mut x = [0.0; 32];
        x[7] = zero;
        assert_eq!(ours_32(&x), (vec![0; 32], 0.0), "{zero:e}");
    }
    // Of the smallest reciprocals that are finite the scale is subnormal: 2^-22 of its value is half a unit or more.
    for extreme in [3.8e-37, f32::MIN_POSITIVE * 64.0, 1e-6, 1.0, 8.4e6, f32::MAX] {
        for sign in [1.0, -1.0] {
            let mut x = [0.0; 32];
            (x[7], x[8]) = (sign * extreme, sign * extreme / 127.0 * 2.5);
            let (q, d) = ours_32(&x);
            assert_eq!(i32::from(q[7]), 127 * sign as i32, "{extreme:e}");
            assert!([2, 3].contains(&(i32::from(q[8]) * sign as i32)), "{extreme:e}");
            assert!((f64::from(d) * 127.0 / f64::from(extreme) - 1.0).abs() < 2f64.powi(-22), "{extreme:e}");
        }
    }
}

#[test]
fn a_massive_value_leaves_the_other_scales_alone() {
    let mut x: Vec<f32> = (0..256).map(|i| (i as f32 * 0.7).sin()).collect();
    let shape = Shape { block: Q8_K_BLOCK, group: 32 };
    let before = Codes::new(Isa::detect(), shape, Scales::Per32, 1, &x);
    x[100] = 1000.0;
    let after = Codes::new(Isa::detect(), shape, Scales::Per32, 1, &x);
    for j in (0..8).filter(|j| *j != 3) {
        assert_eq!(before.d[j], after.d[j]);
        assert_eq!(before.q[32 * j..32 * j + 32], after.q[32 * j..32 * j + 32]);
    }
    assert_eq!((after.d[3], after.q[100]), (1000.0 / 127.0, 127));
}

#[test]
fn ties_go_to_even_and_the_first_of_equal_extremes_gives_the_sign() {
    let mut x = vec![0.0f32; 256];
    (x[3], x[9]) = (127.0, -127.0);
    for (i, v) in [0.5f32, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5].into_iter().enumerate() {
        x[20 + i] = v;
    }
    let (q, d) = ours_q8_k(&x);
    assert_eq!(d, -1.0, "the positive extreme comes first");
    assert_eq!((q[3], q[9]), (-127, 127));
    assert_eq!(q[20..27], [0, -2, -2, 0, 2, 2, -126]);
    let (q, d) = ours_q8_0(&x[..32]);
    assert_eq!(d, 1.0);
    assert_eq!(q[20..27], [0, 2, 2, 0, -2, -2, 126]);
}

#[test]
fn zeros_have_scale_zero_and_codes_zero() {
    for zero in [0.0f32, -0.0] {
        assert_eq!(ours_q8_k(&[zero; 256]), (vec![0; 256], 0.0));
        assert_eq!(ours_q8_0(&[zero; 32]), (vec![0; 32], 0.0));
    }
}

#[test]
fn tiny_blocks_never_become_nan() {
    for tiny in [f32::from_bits(1), 1e-40, 3.7e-37, 3.8e-37, -3.8e-37, f32::MIN_POSITIVE] {
        let mut x = vec![0.0f32; 256];
        x[7] = tiny;
        let (q, d) = ours_q8_k(&x);
        assert!(d.is_finite());
        // Where the reciprocal is finite the value survives, below it the block is zero: never in between.
        let expected = if (-127.0 / tiny).is_finite() { -127 } else { 0 };
        assert_eq!(q[7], expected, "{tiny:e}");
        assert_eq!(d == 0.0, expected == 0, "{tiny:e}");
        assert!(ours_q8_0(&x[..32]).1.is_finite());
    }
}

#[test]
fn huge_blocks_stay_finite_in_q8_k_and_overflow_openly_in_q8_0() {
    let mut x = vec![1.0f32; 256];
    x[0] = f32::MAX;
    let (q, d) = ours_q8_k(&x);
    assert_eq!((q[0], q[1]), (-127, 0));
    // Two roundings, of iscale and of d: the product may pass f32::MAX, so it is formed in f64.
    assert!((f64::from(d) * -127.0 / f64::from(f32::MAX) - 1.0).abs() < 2.1 * 2f64.powi(-24));
    assert_eq!(ours_q8_0(&x[..32]).1, f32::INFINITY);
}

#[test]
fn a_non_finite_value_makes_the_scale_nan() {
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0f32; 256];
        x[31] = bad;
        for (q, d) in [ours_q8_k(&x), ours_q8_0(&x[..32]), ours_32(&x[..32])] {
            assert!(d.is_nan());
            assert!(q.iter().all(|q| *q == 0));
        }
    }
}

#[test]
fn codes_are_block_major_with_exact_sums() {
    let positions = 3;
    let x: Vec<f32> = (0..positions * 512).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.25).collect();
    let shapes = [(256, 16), (256, 32), (32, 32)].map(|(block, group)| Shape { block, group });
    for (shape, scales) in shapes.into_iter().flat_map(|s| [(s, Scales::Ggml), (s, Scales::Per32)]) {
        let codes = Codes::new(Isa::detect(), shape, scales, positions, &x);
        for (i, q) in codes.q.chunks_exact(shape.block).enumerate() {
            let (b, t) = (i / positions, i % positions);
            let x = &x[t * 512 + b * shape.block..][..shape.block];
            let of = scales.of(shape);
            let naive = x.chunks(shape.block / of).map(|x| match scales {
                Scales::Per32 => naive_32(x),
                Scales::Ggml if shape.block == Q8_K_BLOCK => naive_q8_k(x),
                Scales::Ggml => naive_q8_0(x),
            });
            let (naive, d): (Vec<_>, Vec<_>) = naive.unzip();
            assert_eq!((q, &codes.d[i * of..(i + 1) * of]), (&naive.concat()[..], &d[..]));
            let mut sums: Vec<i16> = q.chunks(shape.group).map(|g| g.iter().map(|q| i16::from(*q)).sum()).collect();
            sums.resize(shape.sums(), 0);
            assert_eq!(codes.sums[i * shape.sums()..][..shape.sums()], sums);
        }
    }
}

#[test]
fn threads_do_not_change_codes() {
    let x: Vec<f32> = (0..40 * 1024).map(|i| (i as f32 * 0.37).sin()).collect();
    let (shape, scales) = (Shape { block: Q8_K_BLOCK, group: 16 }, Scales::Per32);
    let whole = Codes::new(Isa::detect(), shape, scales, 40, &x);
    for t in 0..40 {
        let one = Codes::new(Isa::detect(), shape, scales, 1, &x[t * 1024..(t + 1) * 1024]);
        for b in 0..4 {
            assert_eq!(whole.q[(b * 40 + t) * 256..][..256], one.q[b * 256..][..256]);
            assert_eq!(whole.d[(b * 40 + t) * 8..][..8], one.d[b * 8..][..8]);
        }
    }
}

/// Equal extremes of both signs in either order, blocks that hold one sign only, zeros and what is not finite, too.
#[test]
fn every_instruction_set_codes_alike() {
    let mut x: Vec<f32> = (0..9 * 1024).map(|i| (i as f32 * 0.37).sin() * (i / 256) as f32).collect();
    for (block, values) in [(2, [3.0, -3.0]), (3, [-3.0, 3.0]), (4, [90.0, 90.0]), (5, [-90.0, -90.0])] {
        x[block * 256 + 17] = 256.0 * values[0];
        x[block * 256 + 200] = 256.0 * values[1];
    }
    x[6 * 256 + 100] = f32::NAN;
    x[7 * 256 + 255] = f32::NEG_INFINITY;
    for (block, group) in [(Q8_K_BLOCK, 16), (Q8_K_BLOCK, 32), (Q8_0_BLOCK, 32)] {
        for scales in [Scales::Ggml, Scales::Per32] {
            let on = |isa| {
                let Codes { q, d, sums, .. } = Codes::new(isa, Shape { block, group }, scales, 3, &x);
                (q, d.iter().map(|d| d.to_bits()).collect::<Vec<_>>(), sums)
            };
            for isa in Isa::all_available() {
                assert!(on(isa) == on(Isa::PORTABLE), "{} {block} {group} {scales:?}", isa.name());
            }
        }
    }
}

/// Below and above the number of values from which threads code them, with eights that are whole and not.
#[test]
fn the_largest_sums_of_groups_are_those_of_the_codes() {
    for (positions, group) in [(8, 16), (19, 32), (40, 16), (65, 32)] {
        let x: Vec<f32> = (0..positions * 1024).map(|i| (i as f32 * 0.37).sin() + (i as f32 * 1e-3).sin()).collect();
        for isa in Isa::all_available() {
            let codes = Codes::new(isa, Shape { block: Q8_K_BLOCK, group }, Scales::Ggml, positions, &x);
            let blocks = codes.q.chunks_exact(positions * Q8_K_BLOCK);
            let naive = blocks.flat_map(|q| q.chunks(MANY * Q8_K_BLOCK)).map(|eight| {
                let of = |signs: &[i16]| {
                    let sum = |q: &[i8], sign| q.iter().map(|q| 0.max(sign * i16::from(*q))).sum::<i16>();
                    let sums = eight.chunks(group).map(|q| signs.iter().map(|sign| sum(q, *sign)).sum::<i16>());
                    sums.max().unwrap().cast_unsigned()
                };
                Most { both_signs: of(&[1, -1]), one_sign: of(&[1]).max(of(&[-1])) }
            });
            let naive: Vec<_> = naive.collect();
            let asked = isa.level() >= Level::Avx512Vnni;
            assert_eq!(codes.most, if asked { naive } else { Vec::new() }, "{} {positions} {group}", isa.name());
        }
    }
}

/// Values of every size, halves that are ties, extremes of both signs, zeros of both, and what is not finite.
fn blocks_of_all_kinds() -> Vec<f32> {
    let mut random = crate::test_values::Random::new(41);
    let mut x = Vec::new();
    for kind in 0..40 {
        let mut block: Vec<f32> = (0..Q8_K_BLOCK)
            .map(|_| match kind % 4 {
                0 => random.signed(),
                1 => f32::from_bits(random.bits() as u32 & 0xbfff_ffff),
                2 => (random.bits() % 255) as f32 / 2.0 - 63.5,
                _ => -(random.signed().abs()),
            })
            .collect();
        let at = random.bits() as usize % 255;
        match kind {
            20 => (block[at], block[at + 1]) = (200.0, -200.0),
            21 => (block[at], block[at + 1]) = (-200.0, 200.0),
            22 => block[at] = f32::NAN,
            23 => block[at] = -f32::NAN,
            24 => block[at] = f32::INFINITY,
            25 => block[at] = f32::NEG_INFINITY,
            26 => block.fill(-0.0),
            27 => block.fill(0.0),
            28 => block.iter_mut().for_each(|x| *x *= 1e-38),
            29 => block.fill(-1.0),
            30 => block.fill(f32::MAX),
            _ => {}
        }
        x.extend(block);
    }
    x
}

#[test]
fn blocks_of_all_kinds_are_coded_alike_by_every_instruction_set() {
    let x = blocks_of_all_kinds();
    for (block, group) in [(256, 32), (256, 16), (32, 32)] {
        for scales in [Scales::Ggml, Scales::Per32] {
            for positions in [1, 4, 40] {
                let shape = Shape { block, group };
                let portable = Codes::new(Isa::PORTABLE, shape, scales, positions, &x);
                for isa in Isa::all_available() {
                    let codes = Codes::new(isa, shape, scales, positions, &x);
                    let what = (isa.name(), shape, scales, positions);
                    assert!(codes.q == portable.q && codes.sums == portable.sums, "{what:?}: other codes");
                    let bits = |d: &[f32]| d.iter().map(|d| d.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&codes.d), bits(&portable.d), "{what:?}");
                }
            }
        }
    }
}
