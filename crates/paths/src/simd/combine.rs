//! Weighted sums of rows in one fixed order: row after row, one FMA each.
//!
//! A tile keeps some channels of several sums in registers while it goes through the rows, so that each loaded row serves
//! several weights. No sum meets another: tiles cannot change a bit.

use super::dot::Panel;
use super::{Isa, Level};

/// Adds `Σ_k weights[i][k] rows[k][c]` to `out[i * rows.len + c]`, where row `k` of `rows` meets the `k`-th weight of every row
/// of `weights`.
pub(crate) fn combine(isa: Isa, weights: Panel<'_>, rows: Panel<'_>, out: &mut [f32]) {
    assert_eq!(weights.len, rows.rows, "each row has its weight");
    assert_eq!(out.len(), weights.rows * rows.len, "each sum has its place");
    match isa.level() {
        // SAFETY: an `Isa` of this level exists only where AVX2 and FMA were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::combine(weights, rows, out) },
        // SAFETY: an `Isa` of these levels exists only where AVX-512 F was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Amx => unsafe { avx512::combine(weights, rows, out) },
        _ => portable::combine(weights, rows, out),
    }
}

/// One instruction set's tiles: three sums by `columns` vectors of `width` channels.
macro_rules! tiles {
    ($module:ident, [$($target:meta)?], $vector:ty, width $width:literal, columns $columns:literal,
     $zero:path, $splat:path, $load:path, $store:path, $fma:path) => {
        mod $module {
            use super::Panel;

            $(#[$target])?
            pub(super) fn combine(weights: Panel<'_>, rows: Panel<'_>, out: &mut [f32]) {
                let mut i = 0;
                while i + 3 <= weights.rows {
                    channels::<3>(weights, i, rows, out);
                    i += 3;
                }
                while i < weights.rows {
                    channels::<1>(weights, i, rows, out);
                    i += 1;
                }
            }

            $(#[$target])?
            fn channels<const R: usize>(weights: Panel<'_>, i: usize, rows: Panel<'_>, out: &mut [f32]) {
                assert!(i + R <= weights.rows && weights.len == rows.rows && out.len() == weights.rows * rows.len);
                let (w, v) = (weights.start().wrapping_add(i * weights.stride), rows.start());
                let (len, count) = (rows.len, rows.rows);
                let out = out[i * len..].as_mut_ptr();
                let mut c = 0;
                while c + $columns * $width <= len {
                    // SAFETY: rows `i .. i + R` of the weights, channels `c .. c + columns * width` of all rows and of `R` sums.
                    unsafe {
                        tile::<R, $columns>((w, weights.stride), (v.add(c), rows.stride), count, out.add(c), len);
                    }
                    c += $columns * $width;
                }
                while c + $width <= len {
                    // SAFETY: as above, with one vector of channels.
                    unsafe { tile::<R, 1>((w, weights.stride), (v.add(c), rows.stride), count, out.add(c), len) };
                    c += $width;
                }
                for c in c..len {
                    for r in 0..R {
                        // SAFETY: a weight of row `i + r`, channel `c` of row `k`, and of sum `i + r`.
                        unsafe {
                            let term = |k: usize| (*w.add(r * weights.stride + k), *v.add(k * rows.stride + c));
                            let add = |sum: f32, (w, v): (f32, f32)| w.mul_add(v, sum);
                            let sum = out.add(r * len + c);
                            *sum = (0..count).map(term).fold(*sum, add);
                        }
                    }
                }
            }

            /// # Safety
            /// `w` begins `R` rows of `count` weights, `v` as many rows of `C` vectors, at their distances; `out` begins `R`
            /// rows of `C` vectors, `len` apart, that nobody else has.
            $(#[$target])?
            unsafe fn tile<const R: usize, const C: usize>(
                (w, w_stride): (*const f32, usize),
                (v, v_stride): (*const f32, usize),
                count: usize,
                out: *mut f32,
                len: usize,
            ) {
                let mut acc: [[$vector; C]; R] = [[$zero(); C]; R];
                for r in 0..R {
                    for c in 0..C {
                        // SAFETY: a vector of sum `r`.
                        acc[r][c] = unsafe { $load(out.add(r * len + c * $width)) };
                    }
                }
                // Checked arithmetic has no place in the innermost loop: rows by their pointers.
                let (mut weights, mut row) = ([w; R], v);
                (0..R).for_each(|r| weights[r] = w.wrapping_add(r * w_stride));
                for k in 0..count {
                    let mut weight: [$vector; R] = [$zero(); R];
                    for r in 0..R {
                        // SAFETY: a weight of row `r`.
                        weight[r] = $splat(unsafe { *weights[r].add(k) });
                    }
                    for c in 0..C {
                        // SAFETY: a vector of row `k`.
                        let x = unsafe { $load(row.add(c * $width)) };
                        for r in 0..R {
                            acc[r][c] = $fma(weight[r], x, acc[r][c]);
                        }
                    }
                    row = row.wrapping_add(v_stride);
                }
                for r in 0..R {
                    for c in 0..C {
                        // SAFETY: a vector of sum `r`.
                        unsafe { $store(out.add(r * len + c * $width), acc[r][c]) };
                    }
                }
            }
        }
    };
}

tiles!(
    portable, [], super::super::dot::Lanes, width 16, columns 2,
    super::super::dot::zero, super::super::dot::splat, super::super::dot::load, super::super::dot::store,
    super::super::dot::fma
);

#[cfg(target_arch = "x86_64")]
tiles!(
    avx2, [target_feature(enable = "avx2,fma")], std::arch::x86_64::__m256, width 8, columns 4,
    std::arch::x86_64::_mm256_setzero_ps, std::arch::x86_64::_mm256_set1_ps, std::arch::x86_64::_mm256_loadu_ps,
    std::arch::x86_64::_mm256_storeu_ps, std::arch::x86_64::_mm256_fmadd_ps
);

#[cfg(target_arch = "x86_64")]
tiles!(
    avx512, [target_feature(enable = "avx2,fma,avx512f")], std::arch::x86_64::__m512, width 16, columns 8,
    std::arch::x86_64::_mm512_setzero_ps, std::arch::x86_64::_mm512_set1_ps, std::arch::x86_64::_mm512_loadu_ps,
    std::arch::x86_64::_mm512_storeu_ps, std::arch::x86_64::_mm512_fmadd_ps
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_values::Random;

    #[test]
    fn weighted_sums_have_the_bits_of_the_plain_order_on_every_instruction_set() {
        let mut random = Random::new(6);
        for len in [0, 1, 7, 8, 15, 16, 17, 32, 64, 80, 96, 127, 128, 129, 256] {
            for (sums, count) in [(0, 1), (1, 0), (1, 1), (2, 5), (3, 4), (4, 40), (7, 3)] {
                let (w, v) = (random.values(sums * (count + 1)), random.values(count * (len + 5)));
                let before = random.values(sums * len);
                let weights = Panel { data: &w, stride: count + 1, rows: sums, len: count };
                let rows = Panel { data: &v, stride: len + 5, rows: count, len };
                for isa in Isa::all_available() {
                    let mut out = before.clone();
                    combine(isa, weights, rows, &mut out);
                    for (place, found) in out.iter().enumerate() {
                        let (i, c) = (place / len, place % len);
                        let add = |sum: f32, k: usize| w[i * (count + 1) + k].mul_add(v[k * (len + 5) + c], sum);
                        let expected = (0..count).fold(before[place], add);
                        assert_eq!(found.to_bits(), expected.to_bits(), "{} {len} {sums} {count}", isa.name());
                    }
                }
            }
        }
    }
}
