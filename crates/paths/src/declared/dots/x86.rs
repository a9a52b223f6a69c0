//! On x86: VNNI for pairs, AMX for quads.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{CHUNK, Integers, LANES, Pairs, Quads, ROWS, Sums, TILE, TileRegisters};

/// Weights as tiles read them: `128 high + low`, `low` in 0..=127.
#[repr(C, align(64))]
pub(super) struct Bytes {
    pub(super) low: [[i8; CHUNK]; ROWS],
    pub(super) high: [[i8; CHUNK]; ROWS],
}

impl Bytes {
    pub(super) const ZERO: Bytes = Bytes { low: [[0; CHUNK]; ROWS], high: [[0; CHUNK]; ROWS] };
}

/// Puts the sums of the low parts of weights with part of the digits, then of the high ones.
#[inline(always)]
pub(super) fn quads(_: &TileRegisters, w: &Bytes, from: usize, x: &[Quads], out: &mut [Sums; 2]) {
    const { assert!(ROWS == 2 * TILE && TILE == 16 && LANES == 16) };
    let steps = x.len() / 16;
    assert!(x.len().is_multiple_of(16) && steps > 0, "tiles take 64 columns");
    assert!(from + 64 * steps <= CHUNK, "the columns lie within the rows");
    // SAFETY: the reference proves the shape of the tiles. Read are `steps` times 64 bytes from `from` on, as asserted, in
    // 32 lines of `CHUNK` bytes of each part of `w`, and `steps` times 1024 bytes of `x`; written are the 4096 bytes of
    // `out`. No tile is used across this statement.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{x} + {line}*1]",
            "tileloadd tmm4, [{low} + {row}*1]",
            "tdpbssd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{high} + {row}*1]",
            "tdpbssd tmm1, tmm5, tmm6",
            "tileloadd tmm7, [{low} + {row}*1 + 4096]",
            "tdpbssd tmm2, tmm7, tmm6",
            "tileloadd tmm4, [{high} + {row}*1 + 4096]",
            "tdpbssd tmm3, tmm4, tmm6",
            "add {low}, 64", "add {high}, 64", "add {x}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {line}*1], tmm0",
            "tilestored [{out} + {line}*1 + 2048], tmm1",
            "tilestored [{out} + {line}*1 + 1024], tmm2",
            "tilestored [{out} + {line}*1 + 3072], tmm3",
            low = inout(reg) w.low.as_ptr().cast::<i8>().wrapping_add(from) => _,
            high = inout(reg) w.high.as_ptr().cast::<i8>().wrapping_add(from) => _,
            x = inout(reg) x.as_ptr() => _,
            steps = inout(reg) steps => _,
            out = in(reg) out.as_mut_ptr(),
            row = in(reg) CHUNK,
            line = in(reg) 64usize,
            options(nostack),
        );
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn vnni(w: &Integers, from: usize, x: &[Pairs], out: &mut Sums) {
    assert!(from <= CHUNK / 2 && x.len() <= CHUNK / 2 - from, "the pairs lie within the rows");
    for (w, out) in w.as_chunks::<TILE>().0.iter().zip(out.as_chunks_mut::<TILE>().0) {
        let mut sums = [_mm512_setzero_si512(); TILE];
        for (i, columns) in x.iter().enumerate() {
            // SAFETY: the reference is to 64 readable bytes; the load asks for no alignment.
            let columns = unsafe { _mm512_loadu_si512(std::ptr::from_ref(columns).cast()) };
            for r in 0..TILE {
                // SAFETY: a row is of `CHUNK / 2` pairs, and `from + i` is less, as asserted.
                let pair = unsafe { w[r].as_ptr().cast::<i32>().add(from + i).read_unaligned() };
                sums[r] = _mm512_dpwssd_epi32(sums[r], _mm512_set1_epi32(pair), columns);
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sums)| store(out, sums));
    }
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
        let (low, high) = (_mm512_shuffle_i32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b));
        _mm512_add_epi32(low, high)
    };
    let (a, b) = (halves(fours[0], fours[1]), halves(fours[2], fours[3]));
    let (even, odd) = (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b));
    _mm512_add_epi32(even, odd)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut [i32; LANES], sums: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
}
