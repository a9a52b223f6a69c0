//! Activations as 8-bit integers: Q8_K (one scale per 256 values) and Q8_0 (one scale per 32), by ggml's rules.
//!
//! Both are functions of one block alone, made of f32 operations that every machine rounds alike, so their bits depend on
//! nothing else.
//!
//! *Not a number, and infinity.* A block that holds a non-finite value gets the scale NaN and codes 0: whatever it is
//! multiplied with is NaN, never a finite number.
//!
//! *Too small.* A block whose reciprocal scale would overflow (largest magnitude below about 3.7e-37) is treated as zero.

use rayon::prelude::*;

/// Values in a Q8_K block.
pub(crate) const Q8_K_BLOCK: usize = 256;
/// Values in a Q8_0 block.
pub(crate) const Q8_0_BLOCK: usize = 32;

/// `1.5 * 2^23`: adding it to `|v| <= 2^22` leaves `v`, rounded half to even, in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;

/// `v` rounded to the nearest integer, ties to even, for `|v| <= 2^22`.
#[inline(always)]
fn nearest(v: f32) -> i32 {
    ((v + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// Bits of the largest magnitude. Magnitudes order like their bits, and infinity and NaN above all finite ones.
#[inline(always)]
fn largest_bits(x: &[f32]) -> u32 {
    x.iter().fold(0, |m, v| m.max(v.to_bits() & 0x7fff_ffff))
}

/// Codes `x` (256 values) into `q` and returns the scale `d`: `x ≈ d q`.
///
/// With `max` the value of largest magnitude (the first such): `iscale = -127 / max`, `q = min(127, rint(iscale x))`,
/// `d = 1 / iscale`. The largest value becomes -127, and `|q| <= 127`.
#[inline(always)]
pub(crate) fn quantise_q8_k(x: &[f32], q: &mut [i8]) -> f32 {
    let top = largest_bits(x);
    if top >= f32::INFINITY.to_bits() {
        q.fill(0);
        return f32::NAN;
    }
    let max = x.iter().copied().find(|v| v.to_bits() & 0x7fff_ffff == top).unwrap_or(0.0);
    let iscale = -127.0 / max;
    if !iscale.is_finite() {
        q.fill(0);
        return 0.0;
    }
    for (q, &x) in q.iter_mut().zip(x) {
        *q = nearest(iscale * x).min(127) as i8;
    }
    1.0 / iscale
}

/// Codes `x` (32 values) into `q` and returns the scale as stored, an f16 widened: `x ≈ d q`.
///
/// `s = max |x| / 127`, `q = rint(x * (1 / s))`, `d = f16(s)`. Magnitudes above 8.3e6 make `d` infinite, those below
/// 3.8e-6 make it zero: both are in ggml's format.
#[inline(always)]
pub(crate) fn quantise_q8_0(x: &[f32], q: &mut [i8]) -> f32 {
    let top = largest_bits(x);
    if top >= f32::INFINITY.to_bits() {
        q.fill(0);
        return f32::NAN;
    }
    let scale = f32::from_bits(top) / 127.0;
    let inverse = 1.0 / scale;
    if !inverse.is_finite() {
        q.fill(0);
        return 0.0;
    }
    for (q, &x) in q.iter_mut().zip(x) {
        *q = nearest(x * inverse) as i8;
    }
    half::f16::from_f32(scale).to_f32()
}

/// How weights want their activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Values per scale: [`Q8_K_BLOCK`] or [`Q8_0_BLOCK`].
    pub(crate) block: usize,
    /// Values per sum of codes.
    pub(crate) group: usize,
}

impl Shape {
    /// Sums stored per block: one per group, at least two, because kernels multiply them in pairs. The spare one is 0.
    pub(crate) const fn sums(self) -> usize {
        let groups = self.block / self.group;
        if groups < 2 { 2 } else { groups }
    }
}

/// Coded activations of some positions, `[block][position]`: the positions of one block are neighbours, because a tile of
/// weights meets them one after another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Codes {
    /// What was asked for.
    pub(crate) shape: Shape,
    /// Positions coded.
    pub(crate) positions: usize,
    /// `[block][position][value]`.
    pub(crate) q: Vec<i8>,
    /// `[block][position]`: scales.
    pub(crate) d: Vec<f32>,
    /// `[block][position][Shape::sums]`: sums of `q` over each group; at most 32 * 127 in magnitude.
    pub(crate) sums: Vec<i16>,
}

impl Codes {
    /// Codes `x`, `[positions, cols]` with `cols` a whole number of blocks.
    pub(crate) fn new(shape: Shape, positions: usize, x: &[f32]) -> Codes {
        let cols = x.len().checked_div(positions).unwrap_or(0);
        let blocks = cols / shape.block;
        let mut codes = Codes {
            shape,
            positions,
            q: vec![0; positions * cols],
            d: vec![0.0; positions * blocks],
            sums: vec![0; positions * blocks * shape.sums()],
        };
        if positions == 0 || blocks == 0 {
            return codes;
        }
        let q = codes.q.chunks_mut(positions * shape.block);
        let d = codes.d.chunks_mut(positions);
        let sums = codes.sums.chunks_mut(positions * shape.sums());
        let parts = q.zip(d).zip(sums).enumerate().map(|(b, ((q, d), sums))| Part { b, q, d, sums });
        if positions * cols < SERIAL_VALUES {
            parts.for_each(|part| part.code(shape, x, cols));
        } else {
            parts.collect::<Vec<_>>().into_par_iter().for_each(|part| part.code(shape, x, cols));
        }
        codes
    }
}

/// Below this many values, threads cost more than they save.
const SERIAL_VALUES: usize = 1 << 15;

/// Block `b` of every position.
struct Part<'a> {
    b: usize,
    q: &'a mut [i8],
    d: &'a mut [f32],
    sums: &'a mut [i16],
}

impl Part<'_> {
    fn code(self, shape: Shape, x: &[f32], cols: usize) {
        let rows = x.chunks_exact(cols).zip(self.q.chunks_exact_mut(shape.block));
        for ((row, q), (d, sums)) in rows.zip(self.d.iter_mut().zip(self.sums.chunks_exact_mut(shape.sums()))) {
            let x = &row[self.b * shape.block..(self.b + 1) * shape.block];
            *d = if shape.block == Q8_K_BLOCK { quantise_q8_k(x, q) } else { quantise_q8_0(x, q) };
            for (sum, q) in sums.iter_mut().zip(q.chunks_exact(shape.group)) {
                *sum = q.iter().fold(0, |sum, q| sum.wrapping_add(i16::from(*q)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Q8_K as its definition reads, rounding by the standard library.
    fn naive_q8_k(x: &[f32]) -> (Vec<i8>, f32) {
        let mut max = 0.0f32;
        for &v in x {
            if v.abs() > max.abs() {
                max = v;
            }
        }
        if max == 0.0 {
            return (vec![0; x.len()], 0.0);
        }
        let iscale = -127.0f32 / max;
        (x.iter().map(|v| (iscale * v).round_ties_even().min(127.0) as i8).collect(), 1.0 / iscale)
    }

    fn naive_q8_0(x: &[f32]) -> (Vec<i8>, f32) {
        let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        if amax == 0.0 {
            return (vec![0; x.len()], 0.0);
        }
        let d = amax / 127.0f32;
        let id = 1.0 / d;
        (x.iter().map(|v| (v * id).round_ties_even() as i8).collect(), half::f16::from_f32(d).to_f32())
    }

    fn ours_q8_k(x: &[f32]) -> (Vec<i8>, f32) {
        let mut q = vec![1; x.len()];
        let d = quantise_q8_k(x, &mut q);
        (q, d)
    }

    fn ours_q8_0(x: &[f32]) -> (Vec<i8>, f32) {
        let mut q = vec![1; x.len()];
        let d = quantise_q8_0(x, &mut q);
        (q, d)
    }

    proptest! {
        #[test]
        fn q8_k_is_its_definition(x in prop::collection::vec(-3.0f32..3.0, 256), exponent in -90i32..120) {
            let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(exponent)).collect();
            let ((q, d), (nq, nd)) = (ours_q8_k(&x), naive_q8_k(&x));
            prop_assert_eq!(q, nq);
            prop_assert_eq!(d.to_bits(), nd.to_bits());
        }

        #[test]
        fn q8_0_is_its_definition(x in prop::collection::vec(-3.0f32..3.0, 32), exponent in -60i32..120) {
            let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(exponent)).collect();
            let ((q, d), (nq, nd)) = (ours_q8_0(&x), naive_q8_0(&x));
            prop_assert_eq!(q, nq);
            prop_assert_eq!(d.to_bits(), nd.to_bits());
        }
    }

    #[test]
    fn ties_go_to_even_and_the_first_of_equal_extremes_gives_the_sign() {
        let mut x = vec![0.0f32; 256];
        (x[3], x[9]) = (127.0, -127.0);
        for (i, v) in [0.5f32, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5].into_iter().enumerate() {
            x[20 + i] = v;
        }
        let (q, d) = ours_q8_k(&x);
        assert_eq!(d, -1.0, "the positive extreme comes first");
        assert_eq!((q[3], q[9]), (-127, 127));
        assert_eq!(q[20..27], [0, -2, -2, 0, 2, 2, -126]);
        let (q, d) = ours_q8_0(&x[..32]);
        assert_eq!(d, 1.0);
        assert_eq!(q[20..27], [0, 2, 2, 0, -2, -2, 126]);
    }

    #[test]
    fn zeros_have_scale_zero_and_codes_zero() {
        for zero in [0.0f32, -0.0] {
            assert_eq!(ours_q8_k(&[zero; 256]), (vec![0; 256], 0.0));
            assert_eq!(ours_q8_0(&[zero; 32]), (vec![0; 32], 0.0));
        }
    }

    #[test]
    fn tiny_blocks_never_become_nan() {
        for tiny in [f32::from_bits(1), 1e-40, 3.7e-37, 3.8e-37, -3.8e-37, f32::MIN_POSITIVE] {
            let mut x = vec![0.0f32; 256];
            x[7] = tiny;
            let (q, d) = ours_q8_k(&x);
            assert!(d.is_finite());
            // Where the reciprocal is finite the value survives, below it the block is zero: never in between.
            let expected = if (-127.0 / tiny).is_finite() { -127 } else { 0 };
            assert_eq!(q[7], expected, "{tiny:e}");
            assert_eq!(d == 0.0, expected == 0, "{tiny:e}");
            assert!(ours_q8_0(&x[..32]).1.is_finite());
        }
    }

    #[test]
    fn huge_blocks_stay_finite_in_q8_k_and_overflow_openly_in_q8_0() {
        let mut x = vec![1.0f32; 256];
        x[0] = f32::MAX;
        let (q, d) = ours_q8_k(&x);
        assert_eq!((q[0], q[1]), (-127, 0));
        // Two roundings, of iscale and of d: the product may pass f32::MAX, so it is formed in f64.
        assert!((f64::from(d) * -127.0 / f64::from(f32::MAX) - 1.0).abs() < 2.1 * 2f64.powi(-24));
        assert_eq!(ours_q8_0(&x[..32]).1, f32::INFINITY);
    }

    #[test]
    fn a_non_finite_value_makes_the_scale_nan() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0f32; 256];
            x[31] = bad;
            for (q, d) in [ours_q8_k(&x), ours_q8_0(&x[..32])] {
                assert!(d.is_nan());
                assert!(q.iter().all(|q| *q == 0));
            }
        }
    }

    #[test]
    fn codes_are_block_major_with_exact_sums() {
        let positions = 3;
        let x: Vec<f32> = (0..positions * 512).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.25).collect();
        let shapes = [(256, 16), (256, 32), (32, 32)];
        for shape in shapes.map(|(block, group)| Shape { block, group }) {
            let codes = Codes::new(shape, positions, &x);
            for (i, q) in codes.q.chunks_exact(shape.block).enumerate() {
                let (b, t) = (i / positions, i % positions);
                let x = &x[t * 512 + b * shape.block..][..shape.block];
                let (naive, d) = if shape.block == Q8_K_BLOCK { naive_q8_k(x) } else { naive_q8_0(x) };
                assert_eq!((q, codes.d[i]), (&naive[..], d));
                let mut sums: Vec<i16> = q.chunks(shape.group).map(|g| g.iter().map(|q| i16::from(*q)).sum()).collect();
                sums.resize(shape.sums(), 0);
                assert_eq!(codes.sums[i * shape.sums()..][..shape.sums()], sums);
            }
        }
    }

    #[test]
    fn threads_do_not_change_codes() {
        let x: Vec<f32> = (0..40 * 1024).map(|i| (i as f32 * 0.37).sin()).collect();
        let shape = Shape { block: Q8_K_BLOCK, group: 16 };
        let whole = Codes::new(shape, 40, &x);
        for t in 0..40 {
            let one = Codes::new(shape, 1, &x[t * 1024..(t + 1) * 1024]);
            for b in 0..4 {
                assert_eq!(whole.q[(b * 40 + t) * 256..][..256], one.q[b * 256..][..256]);
            }
        }
    }
}
