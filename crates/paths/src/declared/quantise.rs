//! Coding of activations, written from its definition.

/// One coded block.
pub(super) struct Coded {
    /// The scale; NaN when the block holds a value that is not finite.
    pub(super) d: f32,
    /// What values were multiplied by before rounding; 0 for a block that counts as zero.
    pub(super) inverse: f32,
    /// The codes.
    pub(super) q: Vec<f32>,
}

/// Q8_K: with `max` the (first) value of largest magnitude, `iscale = -127 / max`, `q = min(127, rint(iscale x))`,
/// `d = 1 / iscale`. A block whose `iscale` overflows counts as zero.
pub(super) fn q8_k(x: &[f32]) -> Coded {
    let mut max = 0.0f32;
    for v in x {
        if v.abs() > max.abs() {
            max = *v;
        }
    }
    let inverse = -127.0 / max;
    code(x, inverse, |v| v.min(127.0), 1.0 / inverse)
}

/// Q8_0: `s = max |x| / 127`, `q = rint(x (1 / s))`, `d = s` rounded to f16.
pub(super) fn q8_0(x: &[f32]) -> Coded {
    let coded = q8_32(x);
    Coded { d: half::f16::from_f32(coded.d).to_f32(), ..coded }
}

/// `d = max |x| / 127`, `q = rint(x (1 / d))`.
pub(super) fn q8_32(x: &[f32]) -> Coded {
    let scale = x.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
    code(x, 1.0 / scale, |v| v, scale)
}

fn code(x: &[f32], inverse: f32, clip: impl Fn(f32) -> f32, d: f32) -> Coded {
    let zeros = || vec![0.0; x.len()];
    if x.iter().any(|v| !v.is_finite()) {
        return Coded { d: f32::NAN, inverse: 0.0, q: zeros() };
    }
    if !inverse.is_finite() {
        return Coded { d: 0.0, inverse: 0.0, q: zeros() };
    }
    Coded { d, inverse, q: x.iter().map(|v| clip((v * inverse).round_ties_even())).collect() }
}
