//! 4-bit codes into a table.

use super::f16_at;

/// ggml's `kvalues_iq4nl`.
const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// In two loops: looking up bytes is left scalar, where looking up floats becomes slow gathers.
#[inline(always)]
fn group(scale: f32, codes: &[u8], out: &mut [f32]) {
    let mut values = [0i8; 32];
    for l in 0..16 {
        values[l] = VALUES[usize::from(codes[l] & 15)];
        values[l + 16] = VALUES[usize::from(codes[l] >> 4)];
    }
    for l in 0..32 {
        out[l] = scale * f32::from(values[l]);
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
