//! Coding of activations, written from its definition: blocks of several positions side by side.

/// One block of each of `N` positions, coded.
pub(super) struct Coded<const N: usize> {
    /// The scale; NaN when the block holds a value that is not finite.
    pub(super) d: [f32; N],
    /// What values were multiplied by before rounding; 0 for a block that counts as zero.
    pub(super) inverse: [f32; N],
    /// The codes.
    pub(super) q: Vec<[f32; N]>,
}

/// Q8_K: with `max` the (first) value of largest magnitude, `iscale = -127 / max`, `q = min(127, rint(iscale x))`,
/// `d = 1 / iscale`. A block whose `iscale` overflows counts as zero.
#[inline(always)]
pub(super) fn q8_k<const N: usize>(x: &[[f32; N]]) -> Coded<N> {
    let mut max = [0.0f32; N];
    for v in x {
        for l in 0..N {
            max[l] = if v[l].abs() > max[l].abs() { v[l] } else { max[l] };
        }
    }
    let inverse = max.map(|max| -127.0 / max);
    code(x, inverse, inverse.map(|inverse| 1.0 / inverse))
}

/// Q8_0: `s = max |x| / 127`, `q = rint(x (1 / s))`, `d = s` rounded to f16.
#[inline(always)]
pub(super) fn q8_0<const N: usize>(x: &[[f32; N]]) -> Coded<N> {
    let coded = q8_32(x);
    Coded { d: coded.d.map(|d| half::f16::from_f32(d).to_f32()), ..coded }
}

/// `d = max |x| / 127`, `q = rint(x (1 / d))`.
#[inline(always)]
pub(super) fn q8_32<const N: usize>(x: &[[f32; N]]) -> Coded<N> {
    let mut max = [0.0f32; N];
    for v in x {
        for l in 0..N {
            max[l] = if v[l].abs() > max[l] { v[l].abs() } else { max[l] };
        }
    }
    let d = max.map(|max| max / 127.0);
    code(x, d.map(|d| 1.0 / d), d)
}

/// Codes are cut to 127; only Q8_K's can be beyond, `1 / d` of the others is never enough larger.
#[inline(always)]
fn code<const N: usize>(x: &[[f32; N]], mut inverse: [f32; N], mut d: [f32; N]) -> Coded<N> {
    let mut finite = [true; N];
    for v in x {
        for l in 0..N {
            finite[l] &= v[l].is_finite();
        }
    }
    for l in 0..N {
        if !finite[l] {
            (d[l], inverse[l]) = (f32::NAN, 0.0);
        } else if !inverse[l].is_finite() {
            (d[l], inverse[l]) = (0.0, 0.0);
        }
    }
    let mut q = vec![[0.0; N]; x.len()];
    for (q, v) in q.iter_mut().zip(x) {
        for l in 0..N {
            let code = (v[l] * inverse[l]).round_ties_even();
            // Compared so that NaN, whose inverse is 0, gives 0.
            q[l] = if inverse[l] == 0.0 {
                0.0
            } else if code < 127.0 {
                code
            } else {
                127.0
            };
        }
    }
    Coded { d, inverse, q }
}
