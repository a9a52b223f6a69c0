//! Exact dot products of whole numbers: rows of weights with sixteen columns of digits side by side.
//!
//! Lanes are positions. A pair of neighbouring weights of one row, broadcast, meets the same pair of columns of sixteen
//! positions, so that no weight has to change its place and no sum crosses lanes. The order of exact sums is free: on every
//! instruction set the result is the same.

use crate::simd::{Isa, Kernel, Level};

use super::whole::CHUNK;

/// Rows of weights whose sums are in registers together.
pub(super) const ROWS: usize = 12;
/// Positions in one vector.
pub(super) const LANES: usize = 16;

/// Two neighbouring columns of sixteen positions.
pub(super) type Pairs = [[i16; 2]; LANES];
/// Sums of each row and position.
pub(super) type Sums = [[i32; LANES]; ROWS];

/// `out[r][l] = Σ w[r][2 (from + i) + j] · x[i][l][j]` over the pairs `i` of `x` and `j` of 0 and 1.
///
/// No partial sum may leave `i32`: the caller bounds weights, digits and length.
pub(super) fn dots(isa: Isa, w: &[[i16; CHUNK]; ROWS], from: usize, x: &[Pairs], out: &mut Sums) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this level exists only if the features of the function were detected; AMX's include VNNI.
        Level::Avx512Vnni | Level::Amx => unsafe { x86::vnni(w, from, x, out) },
        _ => isa.run(Portable { w, from, x, out }),
    }
}

/// Of each 32 integers of a row, the sum of squares, then that of the products with the step of their 16.
pub(super) fn moments(isa: Isa, integers: &[i16; CHUNK], steps: &[i16; 16]) -> [i32; 16] {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this level exists only if the features of the function were detected; AMX's include VNNI.
        Level::Avx512Vnni | Level::Amx => unsafe { x86::moments(integers, steps) },
        _ => {
            let mut moments = [0i32; 16];
            for (g, integers) in integers.as_chunks::<32>().0.iter().enumerate() {
                for (l, i) in integers.iter().map(|i| i32::from(*i)).enumerate() {
                    moments[g] += i * i;
                    moments[8 + g] += i * i32::from(steps[2 * g + l / 16]);
                }
            }
            moments
        }
    }
}

struct Portable<'a> {
    w: &'a [[i16; CHUNK]; ROWS],
    from: usize,
    x: &'a [Pairs],
    out: &'a mut Sums,
}

impl Kernel for Portable<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (w, out) in self.w.iter().zip(self.out) {
            let mut sums = [0i32; LANES];
            for (x, w) in self.x.iter().zip(w[2 * self.from..].as_chunks::<2>().0) {
                for l in 0..LANES {
                    let product = |j: usize| i32::from(w[j]) * i32::from(x[l][j]);
                    sums[l] = sums[l].wrapping_add(product(0).wrapping_add(product(1)));
                }
            }
            *out = sums;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CHUNK, LANES, Pairs, ROWS, Sums};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn vnni(w: &[[i16; CHUNK]; ROWS], from: usize, x: &[Pairs], out: &mut Sums) {
        assert!(from <= CHUNK / 2 && x.len() <= CHUNK / 2 - from, "the pairs lie within the rows");
        let mut sums = [_mm512_setzero_si512(); ROWS];
        for (i, columns) in x.iter().enumerate() {
            let columns = load(columns);
            for r in 0..ROWS {
                // SAFETY: a row is of `CHUNK / 2` pairs, and `from + i` is less, as asserted.
                let pair = unsafe { w[r].as_ptr().cast::<i32>().add(from + i).read_unaligned() };
                sums[r] = _mm512_dpwssd_epi32(sums[r], _mm512_set1_epi32(pair), columns);
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sums)| store(out, sums));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn moments(integers: &[i16; CHUNK], steps: &[i16; 16]) -> [i32; 16] {
        let zero = _mm512_setzero_si512();
        let mut sums = [zero; 16];
        for g in 0..8 {
            // SAFETY: the row is of eight times 64 readable bytes; the load asks for no alignment.
            let x = unsafe { _mm512_loadu_si512(integers.as_ptr().add(32 * g).cast()) };
            let (low, high) = (_mm256_set1_epi16(steps[2 * g]), _mm256_set1_epi16(steps[2 * g + 1]));
            let step = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            sums[g] = _mm512_dpwssd_epi32(zero, x, x);
            sums[8 + g] = _mm512_dpwssd_epi32(zero, x, step);
        }
        let mut out = [0; 16];
        store(&mut out, totals(sums));
        out
    }

    /// The sum of the lanes of each vector, by transposing in four steps.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn totals(v: [__m512i; 16]) -> __m512i {
        let mut pairs = [v[0]; 8];
        for i in 0..8 {
            let (a, b) = (v[2 * i], v[2 * i + 1]);
            pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        }
        let mut fours = [v[0]; 4];
        for i in 0..4 {
            let (a, b) = (pairs[2 * i], pairs[2 * i + 1]);
            fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        }
        let halves = |a, b| {
            let (low, high) =
                (_mm512_shuffle_i32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b));
            _mm512_add_epi32(low, high)
        };
        let (a, b) = (halves(fours[0], fours[1]), halves(fours[2], fours[3]));
        let (even, odd) = (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b));
        _mm512_add_epi32(even, odd)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(x: &Pairs) -> __m512i {
        // SAFETY: the reference is to 64 readable bytes; the load asks for no alignment.
        unsafe { _mm512_loadu_si512(std::ptr::from_ref(x).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(out: &mut [i32; LANES], sums: __m512i) {
        // SAFETY: the reference is to 64 writable bytes; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(std::ptr::from_mut(out).cast(), sums) }
    }
}
