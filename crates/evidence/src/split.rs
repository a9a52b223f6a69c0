//! Where the drift of a site comes from.

use serde::{Deserialize, Serialize};

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

/// One element of a split.
#[derive(Debug, Clone, Copy)]
pub struct SplitElement {
    /// A's value.
    pub a: f64,
    /// B's value.
    pub b: f64,
    /// A's declared arithmetic on B's input.
    pub a_on_b: f64,
    /// B's declared arithmetic on B's input.
    pub b_on_b: f64,
}

impl SplitSum {
    /// Adds one element; what is not finite is left out (and counted by the drift).
    pub fn add(&mut self, e: &SplitElement) {
        let (made, inherited, left) = (e.b - e.a_on_b, e.a_on_b - e.a, e.b - e.b_on_b);
        if !(made.is_finite() && inherited.is_finite() && left.is_finite()) {
            return;
        }
        self.made += made * made;
        self.inherited += inherited * inherited;
        self.product += made * inherited;
        self.unexplained += left * left;
        self.reference += e.a * e.a;
        self.elements += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example() {
        let mut sum = SplitSum::default();
        // y_A = (3, 4), A on B's input = (3, 5), y_B = (4, 5), declared (4.5, 5).
        sum.add(&SplitElement { a: 3.0, b: 4.0, a_on_b: 3.0, b_on_b: 4.5 });
        sum.add(&SplitElement { a: 4.0, b: 5.0, a_on_b: 5.0, b_on_b: 5.0 });
        let split = sum.finish(vec![]).unwrap();
        assert_eq!((split.made_here, split.inherited, split.unexplained), (Some(0.2), Some(0.2), Some(0.1)));
        assert_eq!(split.cosine, Some(0.0));
        assert_eq!(SplitSum::default().finish(vec![]), None);
    }
}
