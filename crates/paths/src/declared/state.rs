//! What is known of outputs while their columns are summed.

use super::Reading;
use super::lanes::{Lanes, Wide, ZEROS};
use super::linear::Join;
use super::whole::CHUNK;

/// The sums of one row and sixteen positions as they grow. The first chunk sets them.
#[derive(Clone, Copy)]
pub(super) struct State {
    codes: Lanes,
    /// Of coded activations.
    minimums: Lanes,
    /// Of plain ones: squares of the terms.
    walk: Lanes,
    squares: Lanes,
    magnitude: Lanes,
}

impl State {
    pub(super) const ZERO: State =
        State { codes: ZEROS, minimums: ZEROS, walk: ZEROS, squares: ZEROS, magnitude: ZEROS };

    #[inline(always)]
    fn before<W: Wide>(wide: W, first: bool, sum: &Lanes) -> W::V {
        if first { wide.splat(0.0) } else { wide.load(sum) }
    }

    /// `steps` additions to each of the sixteen lanes of an f32 dot, each of which rounds its partial sum. The squares of
    /// the lanes sum to that of the walk of unrelated terms, on average half-way through the chunk, and to the sixteenth of
    /// that of the whole sum if all lanes share it. Weights that round when they are decoded round once for each term.
    #[inline(always)]
    pub(super) fn plain<W: Wide>(
        &mut self,
        wide: W,
        first: bool,
        [sum, walk, norm]: [W::V; 3],
        (steps, rounded): (f64, bool),
    ) {
        let codes = wide.add(Self::before(wide, first, &self.codes), sum);
        let before = Self::before(wide, first, &self.walk);
        let half_way = wide.fma(wide.splat(0.5), walk, before);
        let lanes = wide.fma(wide.mul(codes, codes), wide.splat(1.0 / 16.0), half_way);
        let squares = wide.fma(wide.splat(steps), lanes, Self::before(wide, first, &self.squares));
        let decoded = if rounded { walk } else { wide.splat(0.0) };
        wide.store(codes, &mut self.codes);
        wide.store(wide.add(squares, decoded), &mut self.squares);
        wide.store(wide.add(before, walk), &mut self.walk);
        wide.store(wide.add(Self::before(wide, first, &self.magnitude), norm), &mut self.magnitude);
    }

    /// A chunk of integer blocks: each rounds the product of the scales, at most the conversion of the integer, and the
    /// sum; codes and minimums apart.
    #[inline(always)]
    pub(super) fn coded<W: Wide>(&mut self, wide: W, first: bool, [c, m, norm]: [W::V; 3], blocks: f64) {
        let codes = wide.add(Self::before(wide, first, &self.codes), c);
        let minimums = wide.add(Self::before(wide, first, &self.minimums), m);
        let own = wide.fma(c, c, wide.mul(m, m));
        let sums = wide.fma(codes, codes, wide.mul(minimums, minimums));
        let mut squares = wide.fma(wide.splat(2.0), own, Self::before(wide, first, &self.squares));
        squares = wide.fma(wide.splat(blocks), sums, squares);
        let (size, twice) = (wide.abs(m), wide.splat(2.0));
        // One block a chunk: its two terms are known; several: Cauchy and Schwarz bound their sum.
        let magnitude = if blocks > 1.0 {
            // The walk between two looks: `(blocks + 1) / 2` times the chunk's sum of squared products, as if weights
            // and activations were unrelated.
            let walk = wide.splat((blocks + 1.0) / 2.0 / CHUNK as f64);
            squares = wide.fma(wide.mul(walk, norm), norm, squares);
            wide.fma(twice, size, norm)
        } else {
            wide.add(wide.abs(c), size)
        };
        wide.store(codes, &mut self.codes);
        wide.store(minimums, &mut self.minimums);
        wide.store(squares, &mut self.squares);
        let before = Self::before(wide, first, &self.magnitude);
        wide.store(wide.add(before, magnitude), &mut self.magnitude);
    }

    /// Values, spreads and bounds. The tree of a plain dot rounds sums of two, four, eight and sixteen lanes.
    #[inline(always)]
    pub(super) fn outputs<W: Wide>(&self, wide: W, reading: Reading, join: &Join) -> [W::V; 3] {
        let (codes, squares) = (wide.load(&self.codes), wide.load(&self.squares));
        let (dot, last) = if reading == Reading::Plain {
            let walk = wide.mul(wide.splat(4.0), wide.load(&self.walk));
            (codes, wide.fma(wide.mul(wide.splat(2.0), codes), codes, walk))
        } else {
            let dot = wide.add(codes, wide.load(&self.minimums));
            (dot, wide.mul(dot, dot))
        };
        join.lanes(wide, dot, wide.add(squares, last), wide.load(&self.magnitude))
    }
}
