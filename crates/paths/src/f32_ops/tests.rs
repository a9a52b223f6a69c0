//! Each op against its definition in f64. `U` is half the spacing of f32 at 1: one rounding errs by at most `U` of its
//! result, and `k` of them in sequence by at most `gamma(k)` (Higham 2002, §3.1).

use twinpath_engine::{Mask, Pairing, Rope, Tensor};

use super::*;
use crate::math::MAX_EXP_ERROR_ULPS;
use crate::simd::Isa;
use crate::test_values::Random;

const U: f64 = 1.0 / (1 << 24) as f64;

fn gamma(k: f64) -> f64 {
    k * U / (1.0 - k * U)
}

/// Roundings on the way of one product through a 16-lane dot of `n`.
fn dot_roundings(n: usize) -> f64 {
    (n.div_ceil(16) + 4) as f64
}

fn assert_within(found: f32, expected: f64, bound: f64, what: &str) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= bound, "{what}: {found:e} is {error:e} from {expected:e}, bound {bound:e}");
}

fn widen(x: &[f32]) -> impl Iterator<Item = f64> + '_ {
    x.iter().map(|x| f64::from(*x))
}

#[test]
fn norm_is_within_its_bound() {
    let mut random = Random::new(20);
    for n in [1, 15, 16, 17, 64, 1000] {
        let (x, weight, eps) = (random.tensor(3, 2 * n), random.values(n), 1e-5);
        let found = norm(Isa::detect(), &x, &weight, eps);
        for (found, x) in found.data().chunks(n).zip(x.data().chunks(n)) {
            let mean = widen(x).map(|x| x * x).sum::<f64>() / n as f64;
            for i in 0..n {
                let expected = f64::from(x[i]) / (mean + eps).sqrt() * f64::from(weight[i]);
                // Under the root: the dot, /n, eps, +eps; a relative error halves there. Then root, 1/, two products.
                let bound = gamma((dot_roundings(n) + 3.0) / 2.0 + 4.0) * expected.abs();
                assert_within(found[i], expected, bound, "norm");
            }
        }
    }
}

#[test]
fn rope_is_within_its_bound_and_passes_the_rest_of_a_head() {
    let mut random = Random::new(21);
    let (heads, dim, start) = (3, 10, 4000);
    let frequencies = vec![1.0, 0.1, 0.001, 0.0];
    for pairing in [Pairing::Adjacent, Pairing::HalfSplit] {
        let x = random.tensor(4, heads * dim);
        let found = rope(&x, &Rope { pairing, frequencies: frequencies.clone(), magnitude: 1.5 }, heads, start);
        for (place, head) in x.data().chunks(dim).enumerate() {
            let found = &found.data()[place * dim..][..dim];
            let position = (start + place / heads) as f64;
            for (i, f) in frequencies.iter().enumerate() {
                let (a, b) = if pairing == Pairing::Adjacent { (2 * i, 2 * i + 1) } else { (i, i + 4) };
                let (x0, x1) = (f64::from(head[a]), f64::from(head[b]));
                let (s, c) = (position * f).sin_cos();
                let (s, c) = (s * 1.5, c * 1.5);
                // Rounded once each: the cosine, the product, the sum; f64's own errors are 2⁻²⁸ of those.
                let bound = |p: f64, q: f64| gamma(3.01) * (p.abs() + q.abs());
                assert_within(found[a], x0 * c - x1 * s, bound(x0 * c, x1 * s), "rope, first of the pair");
                assert_within(found[b], x0 * s + x1 * c, bound(x0 * s, x1 * c), "rope, second of the pair");
            }
            assert_eq!(found[8..], head[8..], "beyond the pairs");
        }
    }
}

#[test]
fn scores_are_within_their_bound() {
    let mut random = Random::new(22);
    let (heads, kv_heads, scale) = (4, 2, 0.17);
    for (dim, rows, keys) in [(1, 1, 1), (17, 2, 63), (64, 3, 64), (80, 1, 65), (128, 2, 200)] {
        let (q, k) = (random.tensor(rows, heads * dim), random.tensor(keys, kv_heads * dim));
        let found = scores(Isa::detect(), &q, &k, heads, kv_heads, scale);
        for (place, found) in found.data().iter().enumerate() {
            let (t, head, key) = (place / keys / heads, place / keys % heads, place % keys);
            let q = widen(&q.row(t)[head * dim..][..dim]);
            let terms: Vec<f64> = q.zip(widen(&k.row(key)[head / 2 * dim..][..dim])).map(|(q, k)| q * k).collect();
            let size = scale * terms.iter().map(|x| x.abs()).sum::<f64>();
            // The dot, the rounding of the scale, the product with it.
            assert_within(*found, scale * terms.iter().sum::<f64>(), gamma(dot_roundings(dim) + 2.0) * size, "scores");
        }
    }
}

#[test]
fn softmax_is_within_its_bound_and_masked_keys_are_zero() {
    let mut random = Random::new(23);
    let heads = 2;
    for (start, rows, window, spare) in [(0, 1, None, 0), (0, 40, None, 3), (100, 3, Some(1), 0), (90, 5, Some(37), 20)]
    {
        let (mask, keys) = (Mask { start, window }, start + rows + spare);
        let mut x = random.tensor(rows, heads * keys);
        x.data_mut().iter_mut().for_each(|x| *x *= 20.0);
        let found = softmax(Isa::detect(), &x, heads, mask);
        for (i, found) in found.data().chunks(keys).enumerate() {
            let range = mask.keys(i / heads);
            let x: Vec<f64> = widen(&x.data()[i * keys..][range.clone()]).collect();
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
            let deepest = x.iter().map(|x| max - x).fold(0.0, f64::max);
            // An exponential errs by the rounding of x - max, at most `deepest * U` of it, and by its own ulps, each at
            // most 2 U. The dividend has one such error, the sum another and its additions; then the division.
            let exponentials = 2.0 * (deepest + 2.0 * MAX_EXP_ERROR_ULPS);
            let relative = gamma(exponentials + dot_roundings(x.len() + 15) + 1.0);
            for (key, found) in found.iter().enumerate() {
                if range.contains(&key) {
                    let expected = (x[key - range.start] - max).exp() / sum;
                    assert_within(*found, expected, relative * expected, "softmax");
                } else {
                    assert_eq!(found.to_bits(), 0, "masked key {key} of {range:?}");
                }
            }
        }
    }
}

/// The sixteen partial sums and their reduction, said as plainly as it can be.
fn lanes(terms: impl Iterator<Item = (usize, f32)>, add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut s = [0.0f32; 16];
    terms.for_each(|(i, x)| s[i % 16] = add(s[i % 16], x));
    let eight: Vec<f32> = (0..8).map(|j| s[j] + s[j + 8]).collect();
    let four: Vec<f32> = (0..4).map(|j| eight[j] + eight[j + 4]).collect();
    (four[0] + four[2]) + (four[1] + four[3])
}

#[test]
fn norm_softmax_and_mix_have_the_bits_of_their_stated_orders() {
    let mut random = Random::new(27);
    let isa = Isa::detect();
    // Windows that begin at every lane.
    let windows = (20..40).map(|window| (99, Some(window)));
    for (start, window) in [(0, None), (14, None), (15, None), (16, None), (99, Some(3))].into_iter().chain(windows) {
        let (mask, keys, dim) = (Mask { start, window }, start + 1, 19);
        let (x, v) = (random.tensor(1, keys), random.tensor(keys, dim));
        let seen = mask.keys(0);
        let max = x.data()[seen.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e = |k: usize| crate::math::exp(x.data()[k] - max);
        let sum = lanes(seen.clone().map(|k| (k, e(k))), |s, e| s + e);
        let p = softmax(isa, &x, 1, mask);
        for k in seen.clone() {
            assert_eq!(p.data()[k].to_bits(), (e(k) / sum).to_bits(), "softmax, key {k} of {seen:?}");
        }
        let mixed = mix(isa, &p, &v, 1, 1, mask);
        for c in 0..dim {
            let expected = seen.clone().fold(0.0f32, |acc, k| p.data()[k].mul_add(v.row(k)[c], acc));
            assert_eq!(mixed.data()[c].to_bits(), expected.to_bits(), "mix, channel {c} of {seen:?}");
        }
        let weight = random.values(keys);
        let mean = lanes(x.data().iter().copied().enumerate(), |s, x| x.mul_add(x, s)) / keys as f32;
        let factor = 1.0 / (mean + 1e-6).sqrt();
        for (k, found) in norm(isa, &x, &weight, 1e-6).data().iter().enumerate() {
            assert_eq!(found.to_bits(), (x.data()[k] * factor * weight[k]).to_bits(), "norm of {keys}");
        }
    }
}

/// A cache may hold anything after (or, with a window, before) the keys that a row sees.
#[test]
fn masked_keys_cannot_change_a_bit_of_softmax_or_mix() {
    let mut random = Random::new(24);
    let (heads, kv_heads, dim, keys) = (4, 2, 20, 37);
    for window in [None, Some(9)] {
        let mask = Mask { start: keys - 1, window };
        let (x, v) = (random.tensor(1, heads * keys), random.tensor(keys, kv_heads * dim));
        let longer = keys + 50;
        let (mut far, mut far_v) = (Tensor::zeros(1, heads * longer), Tensor::zeros(longer, kv_heads * dim));
        far.data_mut().fill(f32::NAN);
        far_v.data_mut().fill(f32::NAN);
        for key in mask.keys(0) {
            far_v.row_mut(key).copy_from_slice(v.row(key));
            for head in 0..heads {
                far.data_mut()[head * longer + key] = x.data()[head * keys + key];
            }
        }
        for isa in Isa::all_available() {
            let (p, far_p) = (softmax(isa, &x, heads, mask), softmax(isa, &far, heads, mask));
            for head in 0..heads {
                let (near, far) = (&p.data()[head * keys..][..keys], &far_p.data()[head * longer..][..longer]);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(near), bits(&far[..keys]), "{}", isa.name());
                assert_eq!(bits(&far[keys..]), [0; 50], "{}", isa.name());
            }
            let near = mix(isa, &p, &v, heads, kv_heads, mask);
            let far = mix(isa, &far_p, &far_v, heads, kv_heads, mask);
            assert!(near.data().iter().zip(far.data()).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", isa.name());
        }
    }
}

#[test]
fn mix_is_within_its_bound() {
    let mut random = Random::new(25);
    let (heads, kv_heads) = (6, 3);
    for (dim, start, rows, window) in [(1, 0, 1, None), (17, 0, 20, None), (64, 200, 3, None), (33, 60, 4, Some(16))] {
        let (mask, keys) = (Mask { start, window }, start + rows);
        let (p, v) = (random.tensor(rows, heads * keys), random.tensor(keys, kv_heads * dim));
        let found = mix(Isa::detect(), &p, &v, heads, kv_heads, mask);
        for (place, found) in found.data().iter().enumerate() {
            let (t, head, channel) = (place / dim / heads, place / dim % heads, place % dim);
            let term = |k: usize| f64::from(p.row(t)[head * keys + k]) * f64::from(v.row(k)[head / 2 * dim + channel]);
            let terms: Vec<f64> = mask.keys(t).map(term).collect();
            let size = terms.iter().map(|x| x.abs()).sum::<f64>();
            assert_within(*found, terms.iter().sum(), gamma(terms.len() as f64) * size, "mix");
        }
    }
}

#[test]
fn elementwise_ops_are_within_their_bounds() {
    let mut random = Random::new(26);
    let (mut x, y) = (random.tensor(7, 1500), random.tensor(7, 1500));
    x.data_mut().iter_mut().for_each(|x| *x *= 80.0);
    let isa = Isa::detect();
    let (silu, product, sum) = (silu(isa, &x), multiply(isa, &x, &y), add(isa, &x, &y));
    for (i, (x, y)) in x.data().iter().zip(y.data()).enumerate() {
        let wide = f64::from(*x);
        let expected = wide / (1.0 + (-wide).exp());
        // The exponential's ulps, each at most 2 U; the sum; the division.
        assert_within(silu.data()[i], expected, gamma(2.0 * MAX_EXP_ERROR_ULPS + 2.0) * expected.abs(), "silu");
        assert_eq!(product.data()[i].to_bits(), (x * y).to_bits());
        assert_eq!(sum.data()[i].to_bits(), (x + y).to_bits());
    }
}

#[test]
fn silu_of_edges_is_its_limit() {
    let x = Tensor::new(1, 6, vec![0.0, -0.0, 1e30, f32::INFINITY, -100.0, f32::NAN]);
    let found = silu(Isa::detect(), &x);
    let expected = [0.0, -0.0, 1e30, f32::INFINITY, -0.0];
    assert_eq!(found.data()[..5].iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected.map(f32::to_bits));
    assert!(found.data()[5].is_nan());
}

#[test]
fn a_nan_score_makes_its_own_head_nan_and_no_other() {
    let mut x = Tensor::new(1, 6, vec![1.0; 6]);
    x.data_mut()[1] = f32::NAN;
    let found = softmax(Isa::detect(), &x, 2, Mask { start: 2, window: None });
    assert!(found.data()[..3].iter().all(|x| x.is_nan()));
    assert!(found.data()[3..].iter().all(|x| *x == 1.0 / 3.0));
}
