//! Exact dot products of whole numbers: rows of weights with sixteen columns of digits side by side.
//!
//! Lanes are positions. A pair of neighbouring weights of one row, broadcast, meets the same pair of columns of sixteen
//! positions, so that no weight has to change its place and no sum crosses lanes. AMX's tiles do the same with four
//! neighbours of one byte each: weights and digits are split in two, `128 high + low`. The order of exact sums is free: on
//! every instruction set the result is the same.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::lanes::{Aligned, Wide};
use super::whole::{CHUNK, Integers};
#[cfg(target_arch = "x86_64")]
use crate::simd::amx::{HasTiles, TileRegisters};
use crate::simd::{Isa, Kernel, Level};

/// Rows of weights whose sums are made together.
pub(super) const ROWS: usize = 2 * TILE;
/// Of them those of one tile of AMX, or of one vector's registers.
const TILE: usize = 16;
/// Positions in one vector.
pub(super) const LANES: usize = 16;

/// Two neighbouring columns of sixteen positions.
pub(super) type Pairs = Aligned<[[i16; 2]; LANES]>;
/// Four neighbouring columns of sixteen positions.
pub(super) type Quads = Aligned<[[i8; 4]; LANES]>;
/// Rows of weights in 256 columns, as pairs meet them.
type Words = [Aligned<[i16; CHUNK]>];
/// Sums of each row and position.
pub(super) type Sums = [[i32; LANES]; ROWS];

/// Digits of sixteen positions, as an instruction set reads them.
#[derive(Debug, Clone)]
pub(super) enum Digits {
    /// Two columns after two.
    Pairs { pairs: Vec<Pairs>, piece: usize },
    /// Four columns after four: low parts in -64..=63 and the high ones, or all in `low` where they are codes of one byte.
    Quads { low: Vec<Quads>, high: Vec<Quads>, piece: usize },
}

/// How columns are summed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    /// Columns of one sum: all that share their scales.
    pub(super) span: usize,
    /// Columns whose sum fits `i32` whatever their digits: the span, a half or a fourth of it.
    pub(super) piece: usize,
}

impl Digits {
    /// From `[column][position]`; `bytes` says that none has more than seven bits and a sign: the sum of a span fits.
    #[inline(always)]
    pub(super) fn new(isa: Isa, spans: Spans, digits: &[[i16; LANES]], bytes: bool) -> Digits {
        let piece = if bytes { spans.span } else { spans.piece };
        if !reads_quads(isa, spans.span) {
            let mut pairs = vec![Aligned([[0; 2]; LANES]); digits.len() / 2];
            for (to, from) in pairs.iter_mut().zip(digits.as_chunks::<2>().0) {
                for l in 0..LANES {
                    to[l] = [from[0][l], from[1][l]];
                }
            }
            return Digits::Pairs { pairs, piece };
        }
        let mut low = vec![Aligned([[0; 4]; LANES]); digits.len() / 4];
        let mut high = if bytes { Vec::new() } else { low.clone() };
        for (q, from) in digits.as_chunks::<4>().0.iter().enumerate() {
            for l in 0..LANES {
                for i in 0..4 {
                    let x = from[i][l];
                    // What is below 128, nearest to 0: seven bits with their sign.
                    let below = if bytes { x as i8 } else { ((x as i8) << 1) >> 1 };
                    low[q][l][i] = below;
                    if !bytes {
                        high[q][l][i] = (x.wrapping_sub(i16::from(below)) >> 7) as i8;
                    }
                }
            }
        }
        Digits::Quads { low, high, piece }
    }
}

/// Whether tiles make sums over `span` columns: they take 64 at a time.
fn reads_quads(isa: Isa, span: usize) -> bool {
    isa.level() == Level::Amx && span.is_multiple_of(64)
}

/// A tile of rows.
pub(super) struct Weights {
    /// Where pairs meet them; empty where tiles alone do.
    words: Vec<Aligned<[i16; CHUNK]>>,
    #[cfg(target_arch = "x86_64")]
    bytes: Option<Box<x86::Bytes>>,
}

impl Weights {
    /// The integer in column `i` of row `r`.
    pub(super) fn at(&self, r: usize, i: usize) -> i16 {
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) = &self.bytes {
            return i16::from(bytes.high[r][i]) * 128 + i16::from(bytes.low[r][i]);
        }
        self.words[r][i]
    }

    /// Sets row `r`. Of each 32 columns, the sum of the squares of the integers, then that of their products with the step
    /// of their 16.
    #[inline(always)]
    pub(super) fn put(&mut self, isa: Isa, r: usize, integers: &Integers, steps: &[i8; 16]) -> [i32; 16] {
        if let Some(words) = self.words.get_mut(r) {
            (0..CHUNK).for_each(|i| words[i] = integers.at(i));
        }
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Amx => {
                let bytes = self.bytes.as_mut().map(|bytes| [&mut bytes.low[r], &mut bytes.high[r]]);
                // SAFETY: an `Isa` of this level exists only if the features of the function were detected; AMX's include
                // VNNI.
                unsafe { x86::put(integers, steps, bytes) }
            }
            _ => moments(integers, steps),
        }
    }
}

/// See [`Weights::put`].
fn moments(integers: &Integers, steps: &[i8; 16]) -> [i32; 16] {
    let mut moments = [0i32; 16];
    for g in 0..8 {
        for i in 32 * g..32 * g + 32 {
            let integer = i32::from(integers.at(i));
            moments[g] += integer * integer;
            moments[8 + g] += integer * i32::from(steps[i / 16]);
        }
    }
    moments
}

/// Makes sums over the columns of a span.
pub(super) struct Dots {
    isa: Isa,
    /// Whether some digits are pairs.
    pairs: bool,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<TileRegisters>,
}

impl Dots {
    /// For sums over spans of these lengths.
    pub(super) fn new(isa: Isa, mut spans: impl Iterator<Item = usize> + Clone) -> Dots {
        #[cfg(target_arch = "x86_64")]
        let quads = spans.clone().any(|span| reads_quads(isa, span));
        Dots {
            isa,
            pairs: spans.any(|span| !reads_quads(isa, span)),
            #[cfg(target_arch = "x86_64")]
            tiles: HasTiles::new(isa).filter(|_| quads).map(TileRegisters::shaped),
        }
    }

    /// A tile of rows to be multiplied.
    pub(super) fn weights(&self) -> Weights {
        Weights {
            words: vec![Aligned([0; CHUNK]); if self.pairs { ROWS } else { 0 }],
            #[cfg(target_arch = "x86_64")]
            bytes: self.tiles.is_some().then(|| Box::new(x86::Bytes::ZERO)),
        }
    }

    /// Puts `Σ w[r][from + i] · x[from + i][l]` over `span` columns `i` into `out`; columns are even, for tiles multiples
    /// of 64.
    #[inline(always)]
    pub(super) fn sums(&mut self, w: &Weights, from: usize, span: usize, digits: &Digits, out: &mut Parts) {
        match digits {
            Digits::Pairs { pairs: x, piece } => {
                out.made = Made::Pieces(span / piece);
                for (from, out) in (from..from + span).step_by(*piece).zip(&mut out.sums) {
                    pairs(self.isa, &w.words, from / 2, &x[from / 2..(from + piece) / 2], out);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Digits::Quads { low, high, piece } => {
                let (Some(tiles), Some(bytes)) = (&mut self.tiles, &w.bytes) else {
                    unreachable!("quads are made for tiles")
                };
                let columns = from / 4..(from + span) / 4;
                out.made = match (high.is_empty(), *piece == span) {
                    (true, _) => Made::Two,
                    (false, true) => Made::Three,
                    (false, false) => Made::Wide,
                };
                let low = &low[columns.clone()];
                if high.is_empty() {
                    x86::bytes(tiles, bytes, from, low, out.first_mut());
                } else {
                    x86::words(tiles, bytes, from, [low, &high[columns]], out.first_mut());
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Digits::Quads { .. } => unreachable!("no tiles here"),
        }
    }
}

/// Sums of a tile of rows with a plane, as they were made.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Parts {
    sums: [Sums; 4],
    made: Made,
}

/// What sums are parts of.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// As many pieces of the columns.
    Pieces(usize),
    /// Low and high parts of weights.
    Two,
    /// Low with low parts of weights and digits, low with high ones both ways, and high ones; the sum fits `i32`.
    Three,
    /// The same where it may not.
    Wide,
}

impl Parts {
    pub(super) const ZERO: Parts = Parts { sums: [[[0; LANES]; ROWS]; 4], made: Made::Pieces(0) };

    /// The first of them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn first_mut<const N: usize>(&mut self) -> &mut [Sums; N] {
        self.sums.first_chunk_mut().unwrap_or_else(|| unreachable!("no more than all"))
    }

    /// The sums of row `r`, exactly: of parts `2¹⁴ high high + 2⁷ (high low + low high) + low low`. Where the whole fits
    /// `i32`, it does not matter that a part may not.
    #[inline(always)]
    pub(super) fn row<W: Wide>(&self, wide: W, r: usize) -> W::V {
        let [a, b, c, _] = &self.sums;
        match self.made {
            Made::Pieces(n) => {
                let mut sum = wide.whole(&a[r]);
                for piece in &self.sums[1..n] {
                    sum = wide.add(sum, wide.whole(&piece[r]));
                }
                sum
            }
            Made::Two => wide.joined([&a[r], &b[r]]),
            Made::Three => wide.joined_twice([&a[r], &b[r], &c[r]]),
            Made::Wide => wide.fma(wide.splat(16384.0), wide.whole(&c[r]), wide.joined([&a[r], &b[r]])),
        }
    }
}

/// `out[r][l] = Σ w[r][2 (from + i) + j] · x[i][l][j]` over the pairs `i` of `x` and `j` of 0 and 1.
fn pairs(isa: Isa, w: &Words, from: usize, x: &[Pairs], out: &mut Sums) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this level exists only if the features of the function were detected; AMX's include VNNI.
        Level::Avx512Vnni | Level::Amx => unsafe { x86::vnni(w, from, x, out) },
        _ => isa.run(Portable { w, from, x, out }),
    }
}

struct Portable<'a> {
    w: &'a Words,
    from: usize,
    x: &'a [Pairs],
    out: &'a mut Sums,
}

impl Kernel for Portable<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (w, out) in self.w.iter().zip(self.out) {
            let mut sums = [0i32; LANES];
            for (x, w) in self.x.iter().zip(w[2 * self.from..].as_chunks::<2>().0) {
                for l in 0..LANES {
                    let product = |j: usize| i32::from(w[j]) * i32::from(x[l][j]);
                    sums[l] = sums[l].wrapping_add(product(0).wrapping_add(product(1)));
                }
            }
            *out = sums;
        }
    }
}
