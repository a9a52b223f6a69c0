//! Random blocks whose decoded values have a mean of 0 and a chosen standard deviation.
//!
//! The codes are uniform random bits. What follows says, for each format, which scales make the mean vanish, and the
//! standard deviation for a block scale `d` of 1; a code of `b` bits has variance `(4^b - 1) / 12`.

use anyhow::bail;
use half::f16;
use twinpath_formats::TensorType;

use super::random::Random;

/// Makes the blocks of one tensor.
pub(super) struct Blocks {
    bytes: usize,
    finish: Finish,
    scales: [Scale; SCALES],
    random: Random,
}

/// Puts the scales into a block of random bits.
type Finish = fn(&mut [u8], &Scale, &mut Random);

/// The block scales of a tensor: 0.75 to 1.25 of their root mean square.
const SCALES: usize = 16;

/// A block scale, and where the format has a minimum, the factor of that: 7.5 `d`, exactly.
#[derive(Clone, Copy, Default)]
struct Scale {
    d: f16,
    dmin: f16,
}

impl Blocks {
    /// Blocks of `tensor_type` with this standard deviation.
    ///
    /// # Errors
    /// When no rule for the format is known, or `std` needs a scale that f16 does not have.
    pub(super) fn new(tensor_type: TensorType, std: f64, random: Random) -> anyhow::Result<Blocks> {
        let (unit, finish): (f64, Finish) = match tensor_type {
            // d (sc q - 7.5 m), sc and m independent and uniform in 32..64: variance E[sc²] 255/12 + 7.5² 2 Var(sc).
            TensorType::Q4K => ((2341.5f64 * 21.25 + 56.25 * 2.0 * 85.25).sqrt(), q4_k),
            // d sc (q - 32), sc in ±64..128: its sign cancels the mean of -1/2. E[sc²] times 4095/12 + 1/4.
            TensorType::Q6K => ((9461.5f64 * 341.5).sqrt(), q6_k),
            // d (q - 16), the sign of d cancels the mean of -1/2: 1023/12 + 1/4.
            TensorType::Q5_0 => (85.5f64.sqrt(), signed_scale_first),
            // d q, q in -128..128, as above: 65535/12 + 1/4.
            TensorType::Q8_0 => (5461.5f64.sqrt(), signed_scale_first),
            other => bail!("no rule for random {} blocks", other.name()),
        };
        let spread = |i: usize| 0.75 + 0.5 * i as f64 / (SCALES - 1) as f64;
        let mean_square: f64 = (0..SCALES).map(|i| spread(i) * spread(i)).sum::<f64>() / SCALES as f64;
        let mut scales = [Scale::default(); SCALES];
        for (i, scale) in scales.iter_mut().enumerate() {
            let d = few_bits(std / unit * spread(i) / mean_square.sqrt());
            *scale = Scale { d: f16::from_f64(d), dmin: f16::from_f64(7.5 * d) };
            if scale.d.to_f64() != d || scale.dmin.to_f64() != 7.5 * d || d == 0.0 {
                bail!("{} blocks of standard deviation {std} need a scale of {d}, which f16 lacks", tensor_type.name());
            }
        }
        Ok(Blocks { bytes: tensor_type.format().block_bytes(), finish, scales, random })
    }

    /// Fills `out`, whole blocks.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        self.random.fill(out);
        for block in out.chunks_exact_mut(self.bytes) {
            let scale = self.scales[(self.random.next() >> 60) as usize];
            (self.finish)(block, &scale, &mut self.random);
        }
    }
}

/// `d` rounded to 7 significant bits and a multiple of 2⁻²³, so that `7.5 d` = `15 (d / 2)` has at most 11 bits and is a
/// multiple of 2⁻²⁴: an f16 as well.
fn few_bits(d: f64) -> f64 {
    let unit = (d.log2().floor() - 6.0).max(-23.0).exp2();
    (d / unit).round() * unit
}

/// d, dmin, then the packed 6-bit scales and minimums: of groups 0..4 in the low bits of bytes 0..8; of groups 4..8 the
/// low nibbles in bytes 8..12 and the upper two bits on top of bytes 0..8.
fn q4_k(block: &mut [u8], scale: &Scale, random: &mut Random) {
    block[..2].copy_from_slice(&scale.d.to_le_bytes());
    block[2..4].copy_from_slice(&scale.dmin.to_le_bytes());
    // 32 + 5 random bits: the sixth bit is always set.
    let (sc, m) = (random.next().to_le_bytes().map(|b| 32 | b & 31), random.next().to_le_bytes().map(|b| 32 | b & 31));
    for j in 0..4 {
        block[4 + j] = sc[j] | sc[j + 4] >> 4 << 6;
        block[8 + j] = m[j] | m[j + 4] >> 4 << 6;
        block[12 + j] = sc[j + 4] & 15 | m[j + 4] << 4;
    }
}

/// 192 bytes of codes, 16 signed scales, d.
fn q6_k(block: &mut [u8], scale: &Scale, _: &mut Random) {
    for sc in &mut block[192..208] {
        let size = (64 | *sc & 63).cast_signed();
        *sc = if *sc < 128 { size } else { -size }.cast_unsigned();
    }
    block[208..].copy_from_slice(&scale.d.to_le_bytes());
}

/// d, then codes.
fn signed_scale_first(block: &mut [u8], scale: &Scale, random: &mut Random) {
    let d = if random.next() >> 63 == 0 { scale.d } else { -scale.d };
    block[..2].copy_from_slice(&d.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_formats::Matrix;

    #[test]
    fn decoded_values_have_mean_zero_and_the_standard_deviation_asked_for() {
        for tensor_type in [TensorType::Q4K, TensorType::Q6K, TensorType::Q5_0, TensorType::Q8_0] {
            for std in [1.0 / 18944f64.sqrt(), 0.02, 0.5] {
                let (rows, cols) = (256, 1024);
                let mut bytes = vec![0; tensor_type.bytes_of((rows * cols) as u64).unwrap() as usize];
                Blocks::new(tensor_type, std, Random::of(7, "t")).unwrap().fill(&mut bytes);
                let matrix = Matrix::new(tensor_type, rows, cols, &bytes).unwrap();
                let (mut sum, mut squares, mut row) = (0.0, 0.0, vec![0.0; cols]);
                for i in 0..rows {
                    matrix.decode_row(i, &mut row);
                    sum += row.iter().sum::<f64>();
                    squares += row.iter().map(|x| x * x).sum::<f64>();
                }
                let n = (rows * cols) as f64;
                let (mean, found) = (sum / n, (squares / n).sqrt());
                // Values that share a scale share an offset of at most 0.4 std (Q4_K: sqrt(9591 / 59348)) over 32
                // values, so the mean of n has a standard error below std sqrt((1 + 31 * 0.17) / n) = 0.005 std; 5 of
                // them are allowed. Rounding d to 7 bits moves the deviation by at most 1/128 (to multiples of 2⁻²³
                // at 2⁻¹⁸, the smallest d here: 1/64), sampling by well below 1 %.
                assert!(mean.abs() < 0.025 * std, "{} {std}: mean {mean}", tensor_type.name());
                assert!((found / std - 1.0).abs() < 0.03, "{} {std}: deviation {found}", tensor_type.name());
            }
        }
    }

    #[test]
    fn formats_without_a_rule_and_deviations_beyond_f16_are_refused() {
        assert!(Blocks::new(TensorType::Q2K, 0.02, Random::of(0, "t")).is_err());
        assert!(Blocks::new(TensorType::Q6K, 1e-9, Random::of(0, "t")).is_err());
        assert!(Blocks::new(TensorType::Q5_0, 1e9, Random::of(0, "t")).is_err());
    }
}
