//! 256 values under integer scales of groups of 16 or 32.

use super::f16_at;

/// `[f(0), f(1), f(2), f(3)]`; `std::array::from_fn` is not always inlined.
macro_rules! four {
    ($j:ident => $value:expr) => {{
        let mut all = [0.0f32; 4];
        for $j in 0..4 {
            all[$j] = $value;
        }
        all
    }};
}

/// The four planes of 32 values that a half block of 128 has under its 32 bytes of bit pairs: value `32 j + l` is
/// `value(j, l)`. `j` is a constant wherever it is called, and so is every shift made of it.
#[inline(always)]
fn planes(l: std::ops::Range<usize>, out: &mut [f32], value: impl Fn(usize, usize) -> f32) {
    for l in l {
        out[l] = value(0, l);
        out[32 + l] = value(1, l);
        out[64 + l] = value(2, l);
        out[96 + l] = value(3, l);
    }
}

#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let (scales, codes) = (&block[8 * half..8 * half + 8], &block[16 + 32 * half..48 + 32 * half]);
        for odd in 0..2 {
            let scale = four!(j => d * f32::from(scales[2 * j + odd] & 15));
            let min = four!(j => dmin * f32::from(scales[2 * j + odd] >> 4));
            planes(16 * odd..16 * odd + 16, out, |j, l| scale[j] * f32::from(codes[l] >> (2 * j) & 3) - min[j]);
        }
    }
}

#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    let third = &block[..32];
    for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let codes = &block[32 + 32 * half..64 + 32 * half];
        for odd in 0..2 {
            let scale = four!(j => d * (f32::from(q3_scale(block, 8 * half + 2 * j + odd)) - 32.0));
            planes(16 * odd..16 * odd + 16, out, |j, l| {
                let q = codes[l] >> (2 * j) & 3 | (third[l] >> (4 * half) >> j & 1) << 2;
                scale[j] * (f32::from(q) - 4.0)
            });
        }
    }
}

/// The 6-bit scale of a group of 16 of Q3_K.
#[inline(always)]
fn q3_scale(block: &[u8; 110], group: usize) -> u8 {
    let low = block[96 + group % 8] >> (group / 8 * 4) & 15;
    let high = block[104 + group % 4] >> (group / 4 * 2) & 3;
    low | high << 4
}

/// Scale and minimum of each group of 32, for Q4_K and Q5_K alike.
#[inline(always)]
fn scales_mins(block: &[u8]) -> [(f32, f32); 8] {
    let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
    let mut all = [(0.0, 0.0); 8];
    for j in 0..4 {
        let (a, b, both) = (block[4 + j], block[8 + j], block[12 + j]);
        all[j] = (d * f32::from(a & 63), dmin * f32::from(b & 63));
        all[j + 4] = (d * f32::from(both & 15 | a >> 6 << 4), dmin * f32::from(both >> 4 | b >> 6 << 4));
    }
    all
}

#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let groups = scales_mins(block);
    for pair in 0..4 {
        let ((d0, m0), (d1, m1)) = (groups[2 * pair], groups[2 * pair + 1]);
        for l in 0..32 {
            let q = block[16 + 32 * pair + l];
            out[64 * pair + l] = d0 * f32::from(q & 15) - m0;
            out[64 * pair + 32 + l] = d1 * f32::from(q >> 4) - m1;
        }
    }
}

#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let groups = scales_mins(block);
    for pair in 0..4 {
        let ((d0, m0), (d1, m1)) = (groups[2 * pair], groups[2 * pair + 1]);
        for l in 0..32 {
            let (q, fifth) = (block[48 + 32 * pair + l], block[16 + l] >> (2 * pair));
            out[64 * pair + l] = d0 * f32::from(q & 15 | (fifth & 1) << 4) - m0;
            out[64 * pair + 32 + l] = d1 * f32::from(q >> 4 | (fifth & 2) << 3) - m1;
        }
    }
}

#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let (low, high) = (&block[64 * half..64 * half + 64], &block[128 + 32 * half..160 + 32 * half]);
        let scales = &block[192 + 8 * half..200 + 8 * half];
        for odd in 0..2 {
            let scale = four!(j => d * f32::from(scales[2 * j + odd].cast_signed()));
            planes(16 * odd..16 * odd + 16, out, |j, l| {
                let q = low[32 * (j % 2) + l] >> (4 * (j / 2)) & 15 | (high[l] >> (2 * j) & 3) << 4;
                scale[j] * (f32::from(q) - 32.0)
            });
        }
    }
}
