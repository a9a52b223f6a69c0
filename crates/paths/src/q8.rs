//! Activations as 8-bit integers: Q8_K (one scale per 256 values) and Q8_0 (one scale per 32), by ggml's rules, and the
//! codes of Q8_0 with the scale left in f32.
//!
//! All are functions of one block alone, made of f32 operations that every machine rounds alike, so their bits depend on
//! nothing else.
//!
//! *Not a number, and infinity.* A block that holds a non-finite value gets the scale NaN and codes 0: whatever it is
//! multiplied with is NaN, never a finite number.
//!
//! *Too small.* A block whose reciprocal scale would overflow (largest magnitude below about 3.7e-37) is treated as zero.

use crate::lines::Lines;
use crate::simd::{Isa, Kernel, Level};
use crate::team;

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

/// The first value of which `top` are the magnitude's bits. Which signs occur is seen in any order, hence fast; only where
/// both do, the first must be looked for.
#[inline(always)]
fn extreme(x: &[f32], top: u32) -> f32 {
    let negative = top | 1 << 31;
    let signs = x.iter().fold(0, |signs, v| {
        let v = v.to_bits();
        signs | u32::from(v == top) | u32::from(v == negative) << 1
    });
    match signs {
        1 => f32::from_bits(top),
        2 => f32::from_bits(negative),
        _ => x.iter().copied().find(|v| v.to_bits() & 0x7fff_ffff == top).unwrap_or(0.0),
    }
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
    let iscale = -127.0 / extreme(x, top);
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
/// The codes of [`quantise_32`], `d` its scale rounded to f16. Magnitudes above 8.3e6 make `d` infinite, those below
/// 3.8e-6 make it zero: both are in ggml's format.
#[inline(always)]
pub(crate) fn quantise_q8_0(x: &[f32], q: &mut [i8]) -> f32 {
    half::f16::from_f32(quantise_32(x, q)).to_f32()
}

/// Codes `x` (32 values) into `q` and returns the scale `d`: `x ≈ d q`.
///
/// `d = max |x| / 127`, `q = rint(x * (1 / d))`. Three roundings leave `|x * (1 / d)| < 127.1`, hence `|q| <= 127`, reached
/// by the largest value; `d` is finite for every finite `x`.
#[inline(always)]
pub(crate) fn quantise_32(x: &[f32], q: &mut [i8]) -> f32 {
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
    scale
}

/// How many activations share a scale, and what a scale is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// One per block of the weights: Q8_K for 256-wide blocks, Q8_0 for 32-wide ones.
    Ggml,
    /// One f32 per 32 values, whatever the weights' block.
    Per32,
}

impl Scales {
    /// Scales of one block.
    pub(crate) const fn of(self, shape: Shape) -> usize {
        match self {
            Scales::Ggml => 1,
            Scales::Per32 => shape.block / 32,
        }
    }
}

/// How weights want their activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Values of a block of weights: [`Q8_K_BLOCK`] or [`Q8_0_BLOCK`].
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
    /// What was asked for.
    pub(crate) scales: Scales,
    /// Positions coded.
    pub(crate) positions: usize,
    /// `[block][position][value]`.
    pub(crate) q: Lines<i8>,
    /// `[block][position][Scales::of]`: scales.
    pub(crate) d: Vec<f32>,
    /// `[block][position][Shape::sums]`: sums of `q` over each group; at most 32 * 127 in magnitude.
    pub(crate) sums: Vec<i16>,
    /// `[block][position][group]`: scale times sum, rounded; where each group of a 256-wide block has a scale of its own,
    /// else empty.
    pub(crate) scaled: Vec<f32>,
    /// `[block][position / MANY]`: how large sums over groups can become. Where there are so many positions in Q8_K, and
    /// kernels ask for it; else empty.
    pub(crate) most: Vec<Most>,
}

/// The largest sums of magnitudes of any group of some blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Most {
    /// Of all codes: what `Σ |q|` is at most.
    pub(crate) both_signs: u16,
    /// Of the positive ones alone, and of the negative ones.
    pub(crate) one_sign: u16,
}

/// Positions that kernels multiply together.
pub(crate) const MANY: usize = 8;

impl Codes {
    /// Codes `x`, `[positions, cols]` with `cols` a whole number of blocks.
    pub(crate) fn new(isa: Isa, shape: Shape, scales: Scales, positions: usize, x: &[f32]) -> Codes {
        let cols = x.len().checked_div(positions).unwrap_or(0);
        let blocks = cols / shape.block;
        let bounded = positions >= MANY
            && scales == Scales::Ggml
            && shape.block == Q8_K_BLOCK
            && isa.level() >= Level::Avx512Vnni;
        let mut codes = Codes {
            shape,
            scales,
            positions,
            q: Lines::zeros(positions * cols),
            d: vec![0.0; positions * blocks * scales.of(shape)],
            sums: vec![0; positions * blocks * shape.sums()],
            scaled: Vec::new(),
            most: vec![Most::default(); if bounded { positions.div_ceil(MANY) * blocks } else { 0 }],
        };
        if positions == 0 || blocks == 0 {
            return codes;
        }
        if positions * cols < SERIAL_VALUES {
            let part = Part { b: 0, q: &mut codes.q, d: &mut codes.d, sums: &mut codes.sums, most: &mut codes.most };
            code(isa, Coding { part, shape, scales, x, cols });
        } else {
            let q = codes.q.chunks_mut(positions * shape.block);
            let d = codes.d.chunks_mut(positions * scales.of(shape));
            let sums = codes.sums.chunks_mut(positions * shape.sums());
            let mut most = codes.most.chunks_mut(positions.div_ceil(MANY));
            let parts = q.zip(d).zip(sums).enumerate();
            let parts = parts.map(|(b, ((q, d), sums))| Part { b, q, d, sums, most: most.next().unwrap_or_default() });
            let mut parts: Vec<Part<'_>> = parts.collect();
            team::chunks(&mut parts, 1, |_, part| {
                let Part { b, q, d, sums, most } = &mut part[0];
                code(isa, Coding { part: Part { b: *b, q, d, sums, most }, shape, scales, x, cols });
            });
        }
        if scales == Scales::Per32 && shape.block > 32 && shape.group == 32 {
            codes.scaled = codes.d.iter().zip(&codes.sums).map(|(d, sum)| d * f32::from(*sum)).collect();
        }
        codes
    }
}

/// Codes one part on `isa`.
fn code(isa: Isa, coding: Coding<'_>) {
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx512 && coding.scales == Scales::Ggml && coding.shape.block == Q8_K_BLOCK {
        // SAFETY: an `Isa` of this level exists only where these instructions were detected.
        return unsafe { x86::code_all(coding) };
    }
    isa.run(coding);
}

/// Below this many values, threads cost more than they save.
const SERIAL_VALUES: usize = 1 << 15;

/// Some blocks of every position, from block `b` on.
struct Part<'a> {
    b: usize,
    q: &'a mut [i8],
    d: &'a mut [f32],
    sums: &'a mut [i16],
    most: &'a mut [Most],
}

/// Coding them.
struct Coding<'a> {
    part: Part<'a>,
    shape: Shape,
    scales: Scales,
    x: &'a [f32],
    cols: usize,
}

/// A rule of coding. A type, because a function given as a value is compiled for the baseline and called.
trait Rule {
    fn code(x: &[f32], q: &mut [i8]) -> f32;
}

struct Q8K;
struct Q8Zero;
struct Per32;

impl Rule for Q8K {
    #[inline(always)]
    fn code(x: &[f32], q: &mut [i8]) -> f32 {
        quantise_q8_k(x, q)
    }
}

impl Rule for Q8Zero {
    #[inline(always)]
    fn code(x: &[f32], q: &mut [i8]) -> f32 {
        quantise_q8_0(x, q)
    }
}

impl Rule for Per32 {
    #[inline(always)]
    fn code(x: &[f32], q: &mut [i8]) -> f32 {
        quantise_32(x, q)
    }
}

impl Kernel for Coding<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        match self.scales {
            Scales::Per32 => self.by::<Per32>(),
            Scales::Ggml if self.shape.block == Q8_K_BLOCK => self.by::<Q8K>(),
            Scales::Ggml => self.by::<Q8Zero>(),
        }
    }
}

impl Coding<'_> {
    #[inline(always)]
    fn by<R: Rule>(self) {
        let (shape, width) = (self.shape, self.shape.block / self.scales.of(self.shape));
        self.positions(|x, q, d, sums| {
            for (d, (x, q)) in d.iter_mut().zip(x.chunks_exact(width).zip(q.chunks_exact_mut(width))) {
                *d = R::code(x, q);
            }
            for (sum, q) in sums.iter_mut().zip(q.chunks_exact(shape.group)) {
                *sum = q.iter().fold(0, |sum, q| sum.wrapping_add(i16::from(*q)));
            }
        });
    }

    /// Calls `code` with each block of each position: its values, codes, scales and sums.
    #[inline(always)]
    fn positions(self, mut code: impl FnMut(&[f32], &mut [i8], &mut [f32], &mut [i16])) {
        let Coding { part: Part { b, q, d, sums, .. }, shape, scales, x, cols } = self;
        let positions = x.len() / cols;
        let each = d.chunks_exact_mut(scales.of(shape)).zip(sums.chunks_exact_mut(shape.sums()));
        for (i, (q, (d, sums))) in q.chunks_exact_mut(shape.block).zip(each).enumerate() {
            let at = i % positions * cols + (b + i / positions) * shape.block;
            code(&x[at..at + shape.block], q, d, sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
