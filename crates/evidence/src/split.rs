//! Where the drift of a site comes from.

use serde::{Deserialize, Serialize};

use crate::lanes::{self, LANES, Lanes, Step};

/// B's drift from A at one site, split exactly: `y_B − y_A = made here + inherited`, with A's declared arithmetic on B's
/// input in between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// `‖y_B − A's arithmetic on B's input‖₂ / ‖y_A‖₂`: what B's arithmetic adds.
    pub made_here: Option<f64>,
    /// `‖A's arithmetic on B's input − y_A‖₂ / ‖y_A‖₂`: what came with the input (and A's own rounding).
    pub inherited: Option<f64>,
    /// What is left of made-here when B's declared arithmetic is subtracted, coding of activations included, as
    /// `‖·‖₂ / ‖y_A‖₂`.
    pub unexplained: Option<f64>,
    /// Cosine between made-here and inherited.
    pub cosine: Option<f64>,
    /// Inherited drift over the relative drift of the inputs (their root sum of squares, where there are several).
    pub gain: Option<f64>,
    /// The sites whose values the op reads.
    pub inputs: Vec<String>,
}

/// Accumulates a [`Split`].
#[derive(Debug, Clone, Default)]
pub struct SplitSum {
    made: f64,
    inherited: f64,
    product: f64,
    unexplained: f64,
    reference: f64,
    elements: u64,
}

/// One position of a split.
#[derive(Debug, Clone, Copy)]
pub struct SplitRow<'a> {
    /// A's values.
    pub a: &'a [f64],
    /// B's values.
    pub b: &'a [f64],
    /// A's declared arithmetic on B's input.
    pub a_on_b: &'a [f64],
    /// B's declared arithmetic on B's input.
    pub b_on_b: &'a [f64],
}

impl SplitSum {
    /// Adds one position; what is not finite is left out (and counted by the drift).
    ///
    /// # Panics
    /// When the rows differ in length.
    #[inline(always)]
    pub fn add(&mut self, row: &SplitRow<'_>) {
        let mut sums = RowSums { sums: [[0.0; LANES]; 5], elements: [0; LANES] };
        lanes::chunks([row.a, row.b, row.a_on_b, row.b_on_b], &mut sums);
        let mine = [&mut self.made, &mut self.inherited, &mut self.product, &mut self.unexplained, &mut self.reference];
        mine.into_iter().zip(&sums.sums).for_each(|(mine, sum)| *mine += lanes::total(sum));
        self.elements += lanes::count(&sums.elements);
    }

    /// Joins what was added to another.
    pub fn merge(&mut self, other: &SplitSum) {
        self.made += other.made;
        self.inherited += other.inherited;
        self.product += other.product;
        self.unexplained += other.unexplained;
        self.reference += other.reference;
        self.elements += other.elements;
    }

    /// The record without gain; `None` when nothing was added.
    pub fn finish(&self, inputs: Vec<String>) -> Option<Split> {
        let relative = |energy: f64| (self.reference > 0.0).then(|| (energy / self.reference).sqrt());
        let norms = (self.made * self.inherited).sqrt();
        (self.elements > 0).then(|| Split {
            made_here: relative(self.made),
            inherited: relative(self.inherited),
            unexplained: relative(self.unexplained),
            cosine: (norms > 0.0).then(|| (self.product / norms).clamp(-1.0, 1.0)),
            gain: None,
            inputs,
        })
    }
}

/// Sums of one position, lane by lane: made here, inherited, their product, what is left, A's values.
struct RowSums {
    sums: [Lanes; 5],
    elements: [u64; LANES],
}

impl Step<4> for RowSums {
    #[inline(always)]
    fn step(&mut self, [a, b, a_on_b, b_on_b]: [&Lanes; 4]) {
        let (mut made, mut inherited, mut left, mut all) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for l in 0..LANES {
            (made[l], inherited[l], left[l]) = (b[l] - a_on_b[l], a_on_b[l] - a[l], b[l] - b_on_b[l]);
            all[l] = made[l].abs() + inherited[l].abs() + left[l].abs();
        }
        let finite = lanes::finite(&all);
        let (made, inherited) = (lanes::select(&made, &finite, 0.0), lanes::select(&inherited, &finite, 0.0));
        let (left, a) = (lanes::select(&left, &finite, 0.0), lanes::select(a, &finite, 0.0));
        for l in 0..LANES {
            self.sums[0][l] += made[l] * made[l];
            self.sums[1][l] += inherited[l] * inherited[l];
            self.sums[2][l] += made[l] * inherited[l];
            self.sums[3][l] += left[l] * left[l];
            self.sums[4][l] += a[l] * a[l];
            self.elements[l] = self.elements[l].wrapping_add(finite[l]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example() {
        let mut sum = SplitSum::default();
        // y_A = (3, 4), A on B's input = (3, 5), y_B = (4, 5), declared (4.5, 5).
        sum.add(&SplitRow { a: &[3.0, 4.0], b: &[4.0, 5.0], a_on_b: &[3.0, 5.0], b_on_b: &[4.5, 5.0] });
        let split = sum.finish(vec![]).unwrap();
        assert_eq!((split.made_here, split.inherited, split.unexplained), (Some(0.2), Some(0.2), Some(0.1)));
        assert_eq!(split.cosine, Some(0.0));
        assert_eq!(SplitSum::default().finish(vec![]), None);
    }
}
