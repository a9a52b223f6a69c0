//! 32 values under one scale: ggml's first formats.

use super::f16_at;

#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for l in 0..16 {
        let q = block[2 + l];
        out[l] = d * (f32::from(q & 15) - 8.0);
        out[l + 16] = d * (f32::from(q >> 4) - 8.0);
    }
}

#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for l in 0..16 {
        let q = block[4 + l];
        out[l] = d * f32::from(q & 15) + m;
        out[l + 16] = d * f32::from(q >> 4) + m;
    }
}

#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for l in 0..16 {
        let q = u32::from(block[6 + l]);
        let (low, high) = (q & 15 | (fifth >> l & 1) << 4, q >> 4 | (fifth >> (l + 16) & 1) << 4);
        out[l] = d * (low as f32 - 16.0);
        out[l + 16] = d * (high as f32 - 16.0);
    }
}

#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for l in 0..16 {
        let q = u32::from(block[8 + l]);
        let (low, high) = (q & 15 | (fifth >> l & 1) << 4, q >> 4 | (fifth >> (l + 16) & 1) << 4);
        out[l] = d * low as f32 + m;
        out[l + 16] = d * high as f32 + m;
    }
}

#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for l in 0..32 {
        out[l] = d * f32::from(block[2 + l].cast_signed());
    }
}
