//! Dot products in one fixed order.
//!
//! The order: sixteen partial sums start at +0; element `i` goes to sum `i mod 16` with one FMA, in order of `i`; then sum
//! `j` takes sum `j + 8`, `j + 4`, `j + 2`, `j + 1`. Sixteen lanes are one register of AVX-512, two of AVX2, sixteen
//! scalars, so every instruction set can do it. A tile keeps the sums of several rows of each side in registers to use
//! each loaded register often; no two sums ever meet before the reduction, so tiles cannot change a bit.

use super::{Isa, Level};

/// Partial sums of one dot product.
pub(crate) type Lanes = [f32; 16];

/// Some equally long rows at equal distances.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    /// Holds the rows; row `i` begins at `i * stride`.
    pub(crate) data: &'a [f32],
    /// Distance between the beginnings of rows.
    pub(crate) stride: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Values of a row.
    pub(crate) len: usize,
}

impl<'a> Panel<'a> {
    #[inline(always)]
    fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.len]
    }
}

/// Adds to `sums[i * b.rows + j]` the products of row `i` of `a` and row `j` of `b`. A long row may come in pieces, if all
/// but the last are multiples of 16.
pub(crate) fn accumulate(isa: Isa, a: Panel<'_>, b: Panel<'_>, sums: &mut [Lanes]) {
    assert_eq!(a.len, b.len, "dot products need equally long rows");
    assert_eq!(sums.len(), a.rows * b.rows, "dot products need one place per pair of rows");
    match isa.level() {
        // SAFETY: an `Isa` of this level exists only where AVX2 and FMA were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::accumulate(a, b, sums) },
        // SAFETY: an `Isa` of these levels exists only where AVX-512 F was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Amx => unsafe { avx512::accumulate(a, b, sums) },
        _ => portable::accumulate(a, b, sums),
    }
}

/// Adds the sixteen partial sums: lane `j` takes lane `j + 8`, then `j + 4`, `j + 2`, `j + 1`.
#[inline(always)]
pub(crate) fn reduce(sums: &Lanes) -> f32 {
    let mut s = *sums;
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            s[j] += s[j + width];
        }
    }
    s[0]
}

/// One instruction set's tiles. `width` is the lanes of its vector; `rows` x `columns` is the largest tile whose sums,
/// with one vector of each side, fit its registers.
macro_rules! tiles {
    ($module:ident, [$($target:meta)?], $vector:ty, width $width:literal, tile $rows:literal x $columns:literal,
     $zero:path, $load:path, $store:path, $fma:path) => {
        mod $module {
            use super::{Lanes, Panel};

            $(#[$target])?
            pub(super) fn accumulate(a: Panel<'_>, b: Panel<'_>, sums: &mut [Lanes]) {
                let mut i = 0;
                while i + $rows <= a.rows {
                    columns::<$rows>(a, i, b, sums);
                    i += $rows;
                }
                while i < a.rows {
                    columns::<1>(a, i, b, sums);
                    i += 1;
                }
            }

            $(#[$target])?
            fn columns<const R: usize>(a: Panel<'_>, i: usize, b: Panel<'_>, sums: &mut [Lanes]) {
                let mut j = 0;
                while j + $columns <= b.rows {
                    tile::<R, $columns>(a, i, b, j, sums);
                    j += $columns;
                }
                while j < b.rows {
                    tile::<R, 1>(a, i, b, j, sums);
                    j += 1;
                }
            }

            $(#[$target])?
            fn tile<const R: usize, const C: usize>(a: Panel<'_>, i: usize, b: Panel<'_>, j: usize, sums: &mut [Lanes]) {
                let whole = a.len / 16;
                let (mut x, mut y) = ([const { &[] as &[Lanes] }; R], [const { &[] as &[Lanes] }; C]);
                for r in 0..R {
                    x[r] = &a.row(i + r).as_chunks::<16>().0[..whole];
                }
                for c in 0..C {
                    y[c] = &b.row(j + c).as_chunks::<16>().0[..whole];
                }
                for part in (0..16).step_by($width) {
                    let mut acc: [[$vector; C]; R] = [[$zero(); C]; R];
                    for r in 0..R {
                        for c in 0..C {
                            // SAFETY: `part + width <= 16`, the floats of a `Lanes`.
                            acc[r][c] = unsafe { $load(sums[(i + r) * b.rows + j + c].as_ptr().add(part)) };
                        }
                    }
                    for k in 0..whole {
                        let mut v: [$vector; C] = [$zero(); C];
                        for c in 0..C {
                            // SAFETY: as above.
                            v[c] = unsafe { $load(y[c][k].as_ptr().add(part)) };
                        }
                        for r in 0..R {
                            // SAFETY: as above.
                            let u = unsafe { $load(x[r][k].as_ptr().add(part)) };
                            for c in 0..C {
                                acc[r][c] = $fma(u, v[c], acc[r][c]);
                            }
                        }
                    }
                    for r in 0..R {
                        for c in 0..C {
                            // SAFETY: as above, and the reference is exclusive.
                            unsafe { $store(sums[(i + r) * b.rows + j + c].as_mut_ptr().add(part), acc[r][c]) };
                        }
                    }
                }
                if a.len % 16 != 0 {
                    for r in 0..R {
                        for c in 0..C {
                            let tail = a.row(i + r)[16 * whole..].iter().zip(&b.row(j + c)[16 * whole..]);
                            for (sum, (u, v)) in sums[(i + r) * b.rows + j + c].iter_mut().zip(tail) {
                                *sum = u.mul_add(*v, *sum);
                            }
                        }
                    }
                }
            }
        }
    };
}

tiles!(portable, [], Lanes, width 16, tile 4 x 2, super::zero, super::load, super::store, super::fma);

#[cfg(target_arch = "x86_64")]
tiles!(
    avx2, [target_feature(enable = "avx2,fma")], std::arch::x86_64::__m256, width 8, tile 4 x 3,
    std::arch::x86_64::_mm256_setzero_ps, std::arch::x86_64::_mm256_loadu_ps, std::arch::x86_64::_mm256_storeu_ps,
    std::arch::x86_64::_mm256_fmadd_ps
);

#[cfg(target_arch = "x86_64")]
tiles!(
    avx512, [target_feature(enable = "avx2,fma,avx512f")], std::arch::x86_64::__m512, width 16, tile 8 x 3,
    std::arch::x86_64::_mm512_setzero_ps, std::arch::x86_64::_mm512_loadu_ps, std::arch::x86_64::_mm512_storeu_ps,
    std::arch::x86_64::_mm512_fmadd_ps
);

#[inline(always)]
fn zero() -> Lanes {
    [0.0; 16]
}

/// # Safety
/// `from` points to 16 floats.
#[inline(always)]
unsafe fn load(from: *const f32) -> Lanes {
    // SAFETY: the caller's promise; an array has the alignment of its elements.
    unsafe { *from.cast::<Lanes>() }
}

/// # Safety
/// `to` points to 16 floats that may be written.
#[inline(always)]
unsafe fn store(to: *mut f32, x: Lanes) {
    // SAFETY: the caller's promise; an array has the alignment of its elements.
    unsafe { *to.cast::<Lanes>() = x }
}

#[inline(always)]
fn fma(a: Lanes, b: Lanes, mut c: Lanes) -> Lanes {
    for l in 0..16 {
        c[l] = a[l].mul_add(b[l], c[l]);
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_values::{Random, lane_dot};

    #[test]
    fn every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order() {
        let mut random = Random::new(2);
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257] {
            for (rows, columns) in [(0, 1), (1, 0), (1, 1), (1, 4), (3, 2), (4, 3), (7, 5), (8, 3), (9, 4), (17, 7)] {
                let stride = len + 3;
                let (x, y) = (random.values(rows * stride), random.values(columns * stride));
                let a = Panel { data: &x, stride, rows, len };
                let b = Panel { data: &y, stride, rows: columns, len };
                for isa in Isa::all_available() {
                    let mut sums = vec![[0.0; 16]; rows * columns];
                    accumulate(isa, a, b, &mut sums);
                    for (place, sums) in sums.iter().enumerate() {
                        let expected = lane_dot(a.row(place / columns), b.row(place % columns));
                        let name = (isa.name(), len, rows, columns, place);
                        assert_eq!(reduce(sums).to_bits(), expected.to_bits(), "{name:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_in_pieces_has_the_bits_of_the_whole() {
        let mut random = Random::new(3);
        let (x, y) = (random.values(2 * 100), random.values(2 * 100));
        let panel = |data, from: usize, len| Panel { data: &(data as &[f32])[from..], stride: 100, rows: 2, len };
        for isa in Isa::all_available() {
            let mut whole = [[0.0; 16]; 4];
            accumulate(isa, panel(&x, 0, 100), panel(&y, 0, 100), &mut whole);
            let mut pieces = [[0.0; 16]; 4];
            for (from, len) in [(0, 48), (48, 16), (64, 36)] {
                accumulate(isa, panel(&x, from, len), panel(&y, from, len), &mut pieces);
            }
            assert_eq!(whole.map(|s| s.map(f32::to_bits)), pieces.map(|s| s.map(f32::to_bits)), "{}", isa.name());
        }
    }
}
