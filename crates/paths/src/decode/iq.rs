//! 4-bit codes into a table.

use super::f16_at;

/// ggml's `kvalues_iq4nl`.
const VALUES: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

#[inline(always)]
fn group(scale: f32, codes: &[u8], out: &mut [f32]) {
    for l in 0..16 {
        out[l] = scale * VALUES[usize::from(codes[l] & 15)];
        out[l + 16] = scale * VALUES[usize::from(codes[l] >> 4)];
    }
}

#[inline(always)]
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    group(f16_at(block, 0), &block[2..], out);
}

#[inline(always)]
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = f16_at(block, 0);
    let high = u32::from(block[2]) | u32::from(block[3]) << 8;
    for g in 0..8 {
        let sc = u32::from(block[4 + g / 2]) >> (g % 2 * 4) & 15 | (high >> (2 * g) & 3) << 4;
        group(d * (sc as f32 - 32.0), &block[8 + 16 * g..24 + 16 * g], &mut out[32 * g..32 * g + 32]);
    }
}
