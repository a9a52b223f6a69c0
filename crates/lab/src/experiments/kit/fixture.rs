//! The published inputs, and the published orders of operations on them: f32 throughout, evaluated left to right as written.
//!
//! They live here and not among the paths, because nothing but the published figures uses them.

/// Values of a super-block.
pub(crate) const BLOCK: usize = 256;
/// Bytes of a Q4_K super-block.
pub(crate) const BLOCK_BYTES: usize = 144;
/// Relative error of one published dot product, to which all published "amplifications" refer.
pub(crate) const BASELINE: f32 = 0.000_77;

/// The published activation of `token`: 256 values from -12.8 upwards.
pub(crate) fn activation(token: usize) -> Vec<f32> {
    (0..BLOCK).map(|i| (i as f32 - 128.0) * 0.05 + (i % 7 + token) as f32 * 0.01).collect()
}

/// The published super-block of row `row` and matrix `matrix`: d = 1, dmin = -0.25.
pub(crate) fn block(row: usize, matrix: usize) -> [u8; BLOCK_BYTES] {
    let mut b = [0; BLOCK_BYTES];
    b[..4].copy_from_slice(&[0x00, 0x3c, 0x00, 0xb4]);
    for i in 0..12 {
        b[4 + i] = (7 * i + 3 + row + 11 * matrix) as u8;
    }
    for i in 0..128 {
        b[16 + i] = (13 * i + 17 + 3 * row + 19 * matrix) as u8;
    }
    b
}

fn f16(b: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

/// d and dmin of a super-block.
pub(crate) fn scales(b: &[u8]) -> (f32, f32) {
    (f16(b, 0), f16(b, 2))
}

/// The 6-bit scale and minimum of group `j`, as in ggml's `get_scale_min_k4`.
fn scale_min(b: &[u8], j: usize) -> (u8, u8) {
    let s = &b[4..16];
    if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4))
    }
}

/// The code of value `i`: each 64 values are 32 low nibbles, then the high nibbles of the same bytes.
fn code(b: &[u8], i: usize) -> u8 {
    let (chunk, within) = (i / 64, i % 64);
    let byte = b[16 + chunk * 32 + within % 32];
    if within < 32 { byte & 15 } else { byte >> 4 }
}

/// Path A's weights: `d * sc` and `dmin * m` rounded to f32, multiplied by the code, subtracted.
pub(crate) fn decode(b: &[u8]) -> Vec<f32> {
    let (d, dmin) = scales(b);
    let weight = |i: usize| {
        let (sc, m) = scale_min(b, i / 32);
        (d * f32::from(sc)) * f32::from(code(b, i)) - dmin * f32::from(m)
    };
    (0..BLOCK).map(weight).collect()
}

/// A left fold of products.
pub(crate) fn fold_dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Eight lanes of fused multiply-adds; low and high halves, then neighbours, then neighbours again.
pub(crate) fn lane_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: Vec<(f32, f32)> = a8.remainder().iter().copied().zip(b8.remainder().iter().copied()).collect();
    for (a, b) in a8.zip(b8) {
        for l in 0..8 {
            lanes[l] = a[l].mul_add(b[l], lanes[l]);
        }
    }
    let half: Vec<f32> = (0..4).map(|l| lanes[l] + lanes[l + 4]).collect();
    let sum = (half[0] + half[1]) + (half[2] + half[3]);
    tail.into_iter().fold(sum, |sum, (a, b)| sum + a * b)
}

/// 256 activations in 8 bits: the published serving convention, which is not ggml's.
pub(crate) struct Codes {
    scale: f32,
    q: Vec<i32>,
}

/// One scale for 256 values: the largest magnitude over 127; codes rounded half away from zero.
pub(crate) fn quantise(x: &[f32]) -> Codes {
    let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let scale = if largest <= 1e-10 { 1.0 / 127.0 } else { largest / 127.0 };
    let inverse = 1.0 / scale;
    let q = x.iter().map(|x| (x * inverse).round().clamp(-128.0, 127.0) as i32).collect();
    Codes { scale, q }
}

/// The activations that the codes stand for.
pub(crate) fn widen(codes: &Codes) -> Vec<f32> {
    codes.q.iter().map(|q| codes.scale * *q as f32).collect()
}

/// Path B: a row of packed super-blocks times coded activations, in the order of the published kernel: eight lanes of
/// four consecutive products, four lanes of minimums.
pub(crate) fn fused_dot(row: &[u8], x: &[Codes]) -> f32 {
    let (mut acc, mut minimums) = ([0.0f32; 8], [0.0f32; 4]);
    for (b, x) in row.chunks_exact(BLOCK_BYTES).zip(x) {
        let (d, dmin) = scales(b);
        let (scale, minus) = (x.scale * d, -x.scale * dmin);
        let mut lanes = [0i32; 8];
        let mut sums = [0i32; 8];
        for (i, q) in x.q.iter().enumerate() {
            let (group, lane) = (i / 32, i % 32 / 4);
            lanes[lane] += i32::from(scale_min(b, group).0) * i32::from(code(b, i)) * q;
            sums[group] += q;
        }
        for l in 0..8 {
            acc[l] = scale.mul_add(lanes[l] as f32, acc[l]);
        }
        for k in 0..4 {
            let pair = |j: usize| i32::from(scale_min(b, j).1) * sums[j];
            minimums[k] = minus.mul_add((pair(2 * k) + pair(2 * k + 1)) as f32, minimums[k]);
        }
    }
    let half: Vec<f32> = (0..4).map(|l| acc[l] + acc[l + 4]).collect();
    let products = (half[0] + half[2]) + (half[1] + half[3]);
    products + ((minimums[0] + minimums[2]) + (minimums[1] + minimums[3]))
}

/// Both published answers for one super-block and one activation.
pub(crate) fn both(block: &[u8], x: &[f32]) -> (f32, f32) {
    (fold_dot(x, &decode(block)), fused_dot(block, &[quantise(x)]))
}

/// `|a - b| / max(|a|, 1e-9)`.
pub(crate) fn relative(a: f32, b: f32) -> f32 {
    (a - b).abs() / a.abs().max(1e-9)
}

/// Two vectors after each op of the published chain, and the relative L2 distance between them.
pub(crate) struct Link {
    /// Path A's vector.
    pub(crate) a: Vec<f32>,
    /// Path B's vector.
    pub(crate) b: Vec<f32>,
}

impl Link {
    /// `‖a − b‖`, `‖a‖` and their quotient.
    pub(crate) fn distance(&self) -> (f32, f32, f32) {
        let difference = self.a.iter().zip(&self.b).fold(0.0f32, |s, (a, b)| s + (a - b) * (a - b)).sqrt();
        let norm = self.a.iter().fold(0.0f32, |s, a| s + a * a).sqrt();
        (difference, norm, difference / norm)
    }
}

fn normalise(y: &mut [f32]) {
    let rms = (y.iter().fold(0.0f32, |s, y| s + y * y) / y.len() as f32).sqrt().max(1e-9);
    y.iter_mut().for_each(|y| *y /= rms);
}

/// The published chain of five matrices of 256 rows, each followed by a division by the root mean square.
pub(crate) fn chain(token: usize) -> Vec<Link> {
    let x = activation(token);
    let (mut a, mut b) = (x.clone(), x);
    let links = (0..5).map(|matrix| {
        let codes = [quantise(&b)];
        let rows: Vec<[u8; BLOCK_BYTES]> = (0..BLOCK).map(|row| block(row, matrix)).collect();
        a = rows.iter().map(|row| fold_dot(&decode(row), &a)).collect();
        b = rows.iter().map(|row| fused_dot(row, &codes)).collect();
        normalise(&mut a);
        normalise(&mut b);
        Link { a: a.clone(), b: b.clone() }
    });
    links.collect()
}

/// `Σ|a − b| / Σ|a|`.
pub(crate) fn relative_l1(a: &[f32], b: &[f32]) -> f32 {
    let difference = a.iter().zip(b).fold(0.0f32, |s, (a, b)| s + (a - b).abs());
    difference / a.iter().fold(0.0f32, |s, a| s + a.abs())
}

/// Percent with six digits, as published.
pub(crate) fn percent(x: f32) -> String {
    format!("{:.6} %", x * 100.0)
}

/// A factor with four digits, as published.
pub(crate) fn times(x: f32) -> String {
    format!("{x:.4}x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_input_byte_changes_each_figure() {
        let x = activation(0);
        let (a, b) = both(&block(0, 0), &x);
        // Not the last bytes: the published bytes give group 7 the scale 0, so its codes reach nothing.
        for at in [0, 5, 9, 20, 80] {
            let mut changed = block(0, 0);
            changed[at] ^= 0x10;
            let (c, d) = both(&changed, &x);
            assert_ne!(a.to_bits(), c.to_bits(), "byte {at} does not reach path A");
            assert_ne!(b.to_bits(), d.to_bits(), "byte {at} does not reach path B");
        }
    }

    #[test]
    fn ties_are_rounded_away_from_zero_and_zeros_have_a_scale() {
        let codes = quantise(&[127.0, 0.5, -0.5, 1.5, -2.5]);
        assert_eq!((codes.scale, codes.q), (1.0, vec![127, 1, -1, 2, -3]));
        assert_eq!(quantise(&[0.0; 4]).scale, 1.0 / 127.0);
    }
}
