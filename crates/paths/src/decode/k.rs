//! 256 values under integer scales of groups of 16 or 32.

use super::f16_at;

#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    for group in 0..16 {
        let (codes, shift) = pairs(group);
        let scale = d * f32::from(block[group] & 15);
        let min = dmin * f32::from(block[group] >> 4);
        for l in 0..16 {
            out[16 * group + l] = scale * f32::from(block[16 + codes + l] >> shift & 3) - min;
        }
    }
}

/// Where the 2-bit codes of a group of 16 are: their first byte and their shift.
#[inline(always)]
fn pairs(group: usize) -> (usize, usize) {
    (group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2)
}

#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    for group in 0..16 {
        let low = block[96 + group % 8] >> (group / 8 * 4) & 15;
        let high = block[104 + group % 4] >> (group / 4 * 2) & 3;
        let scale = d * (f32::from(low | high << 4) - 32.0);
        let (codes, shift) = pairs(group);
        for l in 0..16 {
            let third = block[group % 2 * 16 + l] >> (group / 2) & 1;
            let q = block[32 + codes + l] >> shift & 3 | third << 2;
            out[16 * group + l] = scale * (f32::from(q) - 4.0);
        }
    }
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
    for group in 0..16 {
        let (half, j, odd) = (group / 8, group % 8 / 2, group % 2 * 16);
        let scale = d * f32::from(block[192 + group].cast_signed());
        for l in 0..16 {
            let low = block[64 * half + 32 * (j % 2) + odd + l] >> (j / 2 * 4) & 15;
            let high = block[128 + 32 * half + odd + l] >> (2 * j) & 3;
            out[16 * group + l] = scale * (f32::from(low | high << 4) - 32.0);
        }
    }
}
