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
    #[cfg(test)]
    fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.len]
    }

    /// Where the first row begins; all of them lie within the panel.
    ///
    /// # Panics
    /// When the panel does not hold all its rows.
    pub(super) fn start(&self) -> *const f32 {
        let last = self.rows.checked_sub(1).map(|last| last.checked_mul(self.stride));
        let end = last.map(|last| last.and_then(|last| last.checked_add(self.len)));
        assert!(end.is_none_or(|end| end.is_some_and(|end| end <= self.data.len())), "a panel holds its rows");
        self.data.as_ptr()
    }
}

/// Partial sums of pairs of rows: those of row `i` of `a` and row `j` of `b` at `j * apart + i`.
pub(crate) struct Sums<'s> {
    pub(crate) lanes: &'s mut [Lanes],
    pub(crate) apart: usize,
}

impl Sums<'_> {
    fn has(&self, rows: usize, columns: usize) -> bool {
        let last = columns.checked_sub(1).map(|last| last.checked_mul(self.apart));
        let end = last.map(|last| last.and_then(|last| last.checked_add(rows)));
        self.apart >= rows && end.is_none_or(|end| end.is_some_and(|end| end <= self.lanes.len()))
    }
}

/// Adds to `sums`, or to zeros if `fresh`, the products of each row of `a` and each of `b`. A long row may come in pieces, if
/// all but the last are multiples of 16; the first of them is fresh.
pub(crate) fn accumulate(isa: Isa, a: Panel<'_>, b: Panel<'_>, fresh: bool, sums: Sums<'_>) {
    match isa.level() {
        // SAFETY: an `Isa` of this level exists only where AVX2 and FMA were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::accumulate(a, b, fresh, sums) },
        // SAFETY: an `Isa` of these levels exists only where AVX-512 F was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Amx => unsafe { avx512::accumulate(a, b, fresh, sums) },
        _ => portable::accumulate(a, b, fresh, sums),
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

/// `out[i]` is `sums[i]` [reduced](reduce).
pub(crate) fn reduce_each(isa: Isa, sums: &[Lanes], out: &mut [f32]) {
    assert_eq!(sums.len(), out.len(), "a place for each sum");
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx512 {
        for (sums, out) in sums.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
            // SAFETY: an `Isa` of this level exists only where AVX-512 F was detected.
            unsafe { x86::reduce_16(sums, out) };
            done += 16;
        }
    }
    let _ = isa;
    for (sums, out) in sums.iter().zip(out).skip(done) {
        *out = reduce(sums);
    }
}

/// Sums that [`dots`] keeps: of so many pairs of rows.
pub(crate) const PAIRS: usize = 384;

/// The dots of each row of `a` with each of `b`, times `scale`: those of row `j` of `b` from `out[j * apart]` on.
///
/// # Panics
/// When there are more than [`PAIRS`], or rows of `b` without a place for `a.rows` dots.
pub(crate) fn dots(isa: Isa, a: Panel<'_>, b: Panel<'_>, scale: f32, (out, apart): (&mut [f32], usize)) {
    assert!(a.rows * b.rows <= PAIRS, "a sum for each pair");
    assert!(a.len == b.len && (b.rows == 0 || out.len() >= (b.rows - 1) * apart + a.rows), "a place for each dot");
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx512 && a.rows >= 8 && a.len.is_multiple_of(16) {
        let (x, y, to) = (a.start(), b.start(), out.as_mut_ptr());
        for i in (0..a.rows).step_by(8).map(|i| i.min(a.rows - 8)) {
            let x = (x.wrapping_add(i * a.stride), a.stride);
            for j in (0..b.rows).step_by(2) {
                let y = (y.wrapping_add(j * b.stride), b.stride);
                let to = (to.wrapping_add(j * apart + i), apart);
                // SAFETY: an `Isa` of this level exists only where AVX-512 F was detected; eight rows of `a` from `i` on, one
                // or two of `b`, and a place for each dot are there.
                unsafe {
                    match b.rows - j {
                        1 => x86::dots_8::<1>(x, y, a.len, scale, to),
                        _ => x86::dots_8::<2>(x, y, a.len, scale, to),
                    }
                }
            }
        }
        return;
    }
    let mut sums: [Lanes; PAIRS] = [[0.0; 16]; PAIRS];
    accumulate(isa, a, b, true, Sums { lanes: &mut sums, apart: a.rows });
    for (j, out) in out.chunks_mut(apart).take(b.rows).enumerate() {
        let out = &mut out[..a.rows];
        reduce_each(isa, &sums[j * a.rows..][..a.rows], out);
        out.iter_mut().for_each(|out| *out *= scale);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

/// One instruction set's tiles. `width` is the lanes of its vector; `rows` x `columns` is the largest tile whose sums,
/// with one vector of each side, fit its registers.
macro_rules! tiles {
    ($module:ident, [$($target:meta)?], $vector:ty, width $width:literal, tile $rows:literal x $columns:literal,
     $zero:path, $load:path, $store:path, $fma:path) => {
        mod $module {
            use super::{Lanes, Panel, Sums};

            $(#[$target])?
            pub(super) fn accumulate(a: Panel<'_>, b: Panel<'_>, fresh: bool, mut sums: Sums<'_>) {
                let mut i = 0;
                while i + $rows <= a.rows {
                    columns::<$rows>(a, i, b, fresh, &mut sums);
                    i += $rows;
                }
                while i < a.rows {
                    columns::<1>(a, i, b, fresh, &mut sums);
                    i += 1;
                }
            }

            $(#[$target])?
            fn columns<const R: usize>(a: Panel<'_>, i: usize, b: Panel<'_>, fresh: bool, sums: &mut Sums<'_>) {
                assert!(i + R <= a.rows && a.len == b.len && sums.has(a.rows, b.rows));
                let (x, y) = (a.start().wrapping_add(i * a.stride), b.start());
                let (sums, apart) = (sums.lanes.as_mut_ptr().wrapping_add(i), sums.apart);
                let mut j = 0;
                while j + $columns <= b.rows {
                    // SAFETY: rows `i .. i + R` of `a` and `j .. j + columns` of `b` are in their panels, and there is a sum
                    // for each pair.
                    unsafe { tile::<R, $columns>((x, a.stride), (y.add(j * b.stride), b.stride), a.len, (sums.add(j * apart), apart), fresh) };
                    j += $columns;
                }
                while j < b.rows {
                    // SAFETY: as above.
                    unsafe { tile::<R, 1>((x, a.stride), (y.add(j * b.stride), b.stride), a.len, (sums.add(j * apart), apart), fresh) };
                    j += 1;
                }
            }

            /// # Safety
            /// `x` and `y` begin `R` and `C` rows of `len` floats at their distances; `sums` begins `C` rows of `R` sums, at
            /// theirs, that nobody else has.
            $(#[$target])?
            unsafe fn tile<const R: usize, const C: usize>(
                (x, x_stride): (*const f32, usize),
                (y, y_stride): (*const f32, usize),
                len: usize,
                (sums, apart): (*mut Lanes, usize),
                fresh: bool,
            ) {
                let whole = len / 16;
                // Checked arithmetic has no place in the innermost loop: rows by their pointers.
                let (mut x_rows, mut y_rows) = ([x; R], [y; C]);
                (0..R).for_each(|r| x_rows[r] = x.wrapping_add(r * x_stride));
                (0..C).for_each(|c| y_rows[c] = y.wrapping_add(c * y_stride));
                for part in (0..16).step_by($width) {
                    let mut acc: [[$vector; C]; R] = [[$zero(); C]; R];
                    if !fresh {
                        for r in 0..R {
                            for c in 0..C {
                                // SAFETY: a sum; `part + width <= 16`, its floats.
                                acc[r][c] = unsafe { $load(sums.add(c * apart + r).cast::<f32>().add(part)) };
                            }
                        }
                    }
                    for at in (0..16 * whole).step_by(16) {
                        let mut v: [$vector; C] = [$zero(); C];
                        for c in 0..C {
                            // SAFETY: sixteen floats of a row, of which `width` from `part` on are read.
                            v[c] = unsafe { $load(y_rows[c].add(at).add(part)) };
                        }
                        for r in 0..R {
                            // SAFETY: as above.
                            let u = unsafe { $load(x_rows[r].add(at).add(part)) };
                            for c in 0..C {
                                acc[r][c] = $fma(u, v[c], acc[r][c]);
                            }
                        }
                    }
                    for r in 0..R {
                        for c in 0..C {
                            // SAFETY: as where they were loaded.
                            unsafe { $store(sums.add(c * apart + r).cast::<f32>().add(part), acc[r][c]) };
                        }
                    }
                }
                for i in 16 * whole..len {
                    for r in 0..R {
                        for c in 0..C {
                            // SAFETY: a float of each row, and one of a sum.
                            unsafe {
                                let (u, v) = (*x_rows[r].add(i), *y_rows[c].add(i));
                                let sum = sums.add(c * apart + r).cast::<f32>().add(i % 16);
                                *sum = u.mul_add(v, *sum);
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
pub(super) fn zero() -> Lanes {
    [0.0; 16]
}

#[inline(always)]
pub(super) fn splat(x: f32) -> Lanes {
    [x; 16]
}

/// # Safety
/// `from` points to 16 floats.
#[inline(always)]
pub(super) unsafe fn load(from: *const f32) -> Lanes {
    // SAFETY: the caller's promise; an array has the alignment of its elements.
    unsafe { *from.cast::<Lanes>() }
}

/// # Safety
/// `to` points to 16 floats that may be written.
#[inline(always)]
pub(super) unsafe fn store(to: *mut f32, x: Lanes) {
    // SAFETY: the caller's promise; an array has the alignment of its elements.
    unsafe { *to.cast::<Lanes>() = x }
}

#[inline(always)]
pub(super) fn fma(a: Lanes, b: Lanes, mut c: Lanes) -> Lanes {
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
                    let apart = rows + 1;
                    let mut sums = vec![[f32::NAN; 16]; apart * columns];
                    accumulate(isa, a, b, true, Sums { lanes: &mut sums, apart });
                    for (place, sums) in sums.iter().enumerate() {
                        let name = (isa.name(), len, rows, columns, place);
                        let (i, j) = (place % apart, place / apart);
                        if i == rows {
                            assert!(sums.iter().all(|s| s.is_nan()), "{name:?}: written between two columns");
                        } else {
                            assert_eq!(reduce(sums).to_bits(), lane_dot(a.row(i), b.row(j)).to_bits(), "{name:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sums_reduced_together_have_the_bits_of_each_by_itself() {
        let mut random = Random::new(4);
        let sums: Vec<Lanes> = (0..66).map(|_| std::array::from_fn(|_| random.signed())).collect();
        for isa in Isa::all_available() {
            for count in [0, 1, 15, 16, 17, 40, 66] {
                let mut out = vec![0.0; count];
                reduce_each(isa, &sums[..count], &mut out);
                for (i, found) in out.iter().enumerate() {
                    assert_eq!(found.to_bits(), reduce(&sums[i]).to_bits(), "{} {i} of {count}", isa.name());
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
            let mut whole = [[f32::NAN; 16]; 4];
            accumulate(isa, panel(&x, 0, 100), panel(&y, 0, 100), true, Sums { lanes: &mut whole, apart: 2 });
            let mut pieces = [[f32::NAN; 16]; 4];
            for (from, len) in [(0, 48), (48, 16), (64, 36)] {
                accumulate(
                    isa,
                    panel(&x, from, len),
                    panel(&y, from, len),
                    from == 0,
                    Sums { lanes: &mut pieces, apart: 2 },
                );
            }
            assert_eq!(whole.map(|s| s.map(f32::to_bits)), pieces.map(|s| s.map(f32::to_bits)), "{}", isa.name());
        }
    }

    #[test]
    fn dots_of_every_instruction_set_have_the_bits_of_the_plain_order_and_keep_to_their_places() {
        let mut random = Random::new(7);
        for len in [0, 1, 16, 17, 48, 128] {
            for (a, b) in [(0, 1), (1, 1), (7, 2), (8, 1), (8, 2), (9, 3), (15, 2), (16, 5), (64, 6)] {
                let (x, y) = (random.values(a * (len + 3)), random.values(b * (len + 1)));
                let of = |data, stride, rows| Panel { data, stride, rows, len };
                for isa in Isa::all_available() {
                    let mut out = vec![f32::INFINITY; b * (a + 2)];
                    dots(isa, of(&x, len + 3, a), of(&y, len + 1, b), 0.3, (&mut out, a + 2));
                    for (place, found) in out.iter().enumerate() {
                        let (j, i) = (place / (a + 2), place % (a + 2));
                        let dot = || lane_dot(&x[i * (len + 3)..][..len], &y[j * (len + 1)..][..len]) * 0.3;
                        let expected = if i < a { dot() } else { f32::INFINITY };
                        assert_eq!(found.to_bits(), expected.to_bits(), "{} {len} {a} {b}", isa.name());
                    }
                }
            }
        }
    }
}
