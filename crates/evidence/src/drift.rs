//! How far a value is from its reference at one site.

use serde::{Deserialize, Serialize};

use crate::lanes::{self, LANES, Lanes, Step, Value};

/// Total drift of a value `x` from a reference `r` over all compared elements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `‖x − r‖₂ / ‖r‖₂`; absent when the reference is all zero and the value is not.
    pub relative_l2: Option<f64>,
    /// Largest `|x − r|` and where it is; absent when nothing was compared.
    pub peak: Option<Peak>,
    /// `x·r / (‖x‖ ‖r‖)`; absent when one side is all zero.
    pub cosine: Option<f64>,
    /// `−20 log10(relative_l2)` in dB; absent when the drift is zero or undefined.
    pub sqnr_db: Option<f64>,
    /// Elements with equal bits or equal value.
    pub equal: u64,
    /// Elements compared: finite on both sides.
    pub compared: u64,
    /// Elements that should have been compared.
    pub expected: u64,
    /// Non-finite elements of the value.
    pub non_finite: u64,
    /// Non-finite elements of the reference.
    pub reference_non_finite: u64,
}

/// The largest difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// `|x − r|`.
    pub abs: f64,
    /// Token position.
    pub position: usize,
    /// Index in the row: the channel, or for attention scores and probabilities `head * keys + key`.
    pub channel: usize,
    /// The value there.
    pub value: f64,
    /// The reference there.
    pub reference: f64,
}

impl Drift {
    /// Whether every expected element was compared and found equal.
    pub fn is_identical(&self) -> bool {
        self.expected > 0 && self.equal == self.expected
    }

    /// Whether every expected element was compared.
    pub fn is_complete(&self) -> bool {
        self.expected > 0 && self.compared == self.expected
    }
}

/// Accumulates a [`Drift`] row by row, in f64.
#[derive(Debug, Clone, Default)]
pub struct DriftSum {
    difference: f64,
    value: f64,
    reference: f64,
    product: f64,
    peak: Option<Peak>,
    equal: u64,
    compared: u64,
    expected: u64,
    non_finite: u64,
    reference_non_finite: u64,
}

impl DriftSum {
    /// Adds one position. `channels` maps an index of the rows to the channel to report.
    ///
    /// # Panics
    /// When the rows differ in length: shapes are compared before rows are.
    #[inline(always)]
    pub fn add<V: Value, R: Value>(
        &mut self,
        position: usize,
        value: &[V],
        reference: &[R],
        channels: impl Fn(usize) -> usize,
    ) -> Squares {
        let (row, padding) = RowSums::of(value, reference);
        self.expected += value.len() as u64;
        self.non_finite += lanes::count(&row.non_finite) - padding;
        self.reference_non_finite += lanes::count(&row.reference_non_finite) - padding;
        let compared = lanes::count(&row.compared);
        self.compared += compared;
        self.equal += lanes::count(&row.equal);
        self.difference += lanes::total(&row.difference);
        self.value += lanes::total(&row.value);
        self.reference += lanes::total(&row.reference);
        self.product += lanes::total(&row.product);
        let most = row.most.iter().copied().fold(0.0, f64::max);
        if compared > 0 && self.peak.as_ref().is_none_or(|p| most > p.abs) {
            self.peak = peak(position, value, reference, most, channels);
        }
        row.squares
    }

    /// Joins the drift of later positions.
    pub fn merge(&mut self, later: DriftSum) {
        self.difference += later.difference;
        self.value += later.value;
        self.reference += later.reference;
        self.product += later.product;
        self.equal += later.equal;
        self.compared += later.compared;
        self.expected += later.expected;
        self.non_finite += later.non_finite;
        self.reference_non_finite += later.reference_non_finite;
        let larger = |p: &Peak| self.peak.as_ref().is_none_or(|mine| p.abs > mine.abs);
        if later.peak.as_ref().is_some_and(larger) {
            self.peak = later.peak;
        }
    }

    /// Notes elements that should have been compared but are missing on one side.
    pub fn add_missing(&mut self, elements: u64) {
        self.expected += elements;
    }

    /// The drift so far.
    pub fn finish(&self) -> Drift {
        let relative_l2 = match (self.difference, self.reference) {
            (0.0, _) if self.compared > 0 => Some(0.0),
            (_, 0.0) => None,
            (d, r) => Some((d / r).sqrt()),
        };
        let norms = (self.value * self.reference).sqrt();
        Drift {
            relative_l2,
            peak: self.peak.clone(),
            // Rounding can lift the quotient of equal vectors a few ULP above 1.
            cosine: (norms > 0.0).then(|| (self.product / norms).clamp(-1.0, 1.0)),
            sqnr_db: relative_l2.filter(|d| *d > 0.0).map(|d| -20.0 * d.log10()),
            equal: self.equal,
            compared: self.compared,
            expected: self.expected,
            non_finite: self.non_finite,
            reference_non_finite: self.reference_non_finite,
        }
    }
}

/// Sums over the elements of a position, those that are not finite included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Squares {
    /// `Σ x²`.
    pub value: f64,
    /// `Σ r²`.
    pub reference: f64,
    /// `Σ (x − r)²`.
    pub difference: f64,
}

/// The sums of one row, lane by lane.
#[derive(Default)]
struct RowSums {
    squares: Squares,
    difference: Lanes,
    value: Lanes,
    reference: Lanes,
    product: Lanes,
    most: Lanes,
    equal: [u64; LANES],
    compared: [u64; LANES],
    non_finite: [u64; LANES],
    reference_non_finite: [u64; LANES],
}

impl RowSums {
    /// Those of a row, and how many elements count as not finite besides.
    #[inline(always)]
    fn of<V: Value, R: Value>(value: &[V], reference: &[R]) -> (RowSums, u64) {
        let squares = [lanes::products(value, value), lanes::products(reference, reference)];
        let difference = lanes::squared_differences(value, reference);
        let [of_value, of_reference, of_difference] = [&squares[0], &squares[1], &difference].map(|s| lanes::total(s));
        let whole = Squares { value: of_value, reference: of_reference, difference: of_difference };
        // A sum that is not finite says that some elements are not, or that they are too large to be added up.
        if squares.iter().all(|sums| lanes::total(sums).is_finite()) {
            let [of_value, of_reference] = squares;
            let [mut compared, mut equal] = [[0; LANES]; 2];
            (compared[0], equal[0]) = (value.len() as u64, lanes::equal(value, reference));
            let row = RowSums {
                squares: whole,
                difference,
                value: of_value,
                reference: of_reference,
                product: lanes::products(value, reference),
                most: lanes::largest_difference(value, reference),
                equal,
                compared,
                ..RowSums::default()
            };
            return (row, 0);
        }
        let mut row = RowSums { squares: whole, ..RowSums::default() };
        let padding = lanes::chunks([&lanes::wide(value), &lanes::wide(reference)], &mut row);
        (row, padding)
    }
}

impl Step<2> for RowSums {
    #[inline(always)]
    fn step(&mut self, [x, r]: [&Lanes; 2]) {
        let (finite_x, finite_r) = (lanes::finite(x), lanes::finite(r));
        let mut both = finite_x;
        for l in 0..LANES {
            both[l] &= finite_r[l];
        }
        let (x, r) = (lanes::select(x, &both, 0.0), lanes::select(r, &both, 0.0));
        for l in 0..LANES {
            let d = x[l] - r[l];
            self.difference[l] += d * d;
            self.value[l] += x[l] * x[l];
            self.reference[l] += r[l] * r[l];
            self.product[l] += x[l] * r[l];
            self.most[l] = if d.abs() > self.most[l] { d.abs() } else { self.most[l] };
        }
        for l in 0..LANES {
            self.compared[l] = self.compared[l].wrapping_add(both[l]);
            self.equal[l] = self.equal[l].wrapping_add(both[l] & u64::from(x[l] == r[l]));
            self.non_finite[l] = self.non_finite[l].wrapping_add(1 ^ finite_x[l]);
            self.reference_non_finite[l] = self.reference_non_finite[l].wrapping_add(1 ^ finite_r[l]);
        }
    }
}

/// The first element whose difference is `abs`.
#[inline(always)]
fn peak<V: Value, R: Value>(
    position: usize,
    value: &[V],
    reference: &[R],
    abs: f64,
    channels: impl Fn(usize) -> usize,
) -> Option<Peak> {
    let both = |i: usize| -> [f64; 2] { [value[i].into(), reference[i].into()] };
    let difference = |[value, reference]: [f64; 2]| (value - reference).abs();
    let i = lanes::find(value.len().min(reference.len()), |i| difference(both(i)) == abs)?;
    let [value, reference] = both(i);
    Some(Peak { abs, position, channel: channels(i), value, reference })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &[f64], reference: &[f64]) -> Drift {
        let mut sum = DriftSum::default();
        sum.add(3, value, reference, |i| i + 10);
        sum.finish()
    }

    #[test]
    fn worked_example() {
        let d = of(&[3.0, 4.5], &[3.0, 4.0]);
        assert_eq!(d.relative_l2, Some(0.1));
        assert_eq!(d.sqnr_db, Some(20.0));
        assert_eq!((d.equal, d.compared, d.expected), (1, 2, 2));
        let peak = d.peak.unwrap();
        assert_eq!((peak.abs, peak.position, peak.channel, peak.value), (0.5, 3, 11, 4.5));
    }

    #[test]
    fn nothing_compared_is_neither_identical_nor_complete() {
        let d = DriftSum::default().finish();
        assert!(!d.is_identical() && !d.is_complete());
        assert_eq!((d.relative_l2, d.cosine), (None, None));
    }

    #[test]
    fn a_non_finite_element_is_counted_and_never_equal() {
        let d = of(&[f64::NAN, 1.0], &[f64::NAN, 1.0]);
        assert_eq!((d.non_finite, d.reference_non_finite, d.compared, d.expected), (1, 1, 1, 2));
        assert!(!d.is_complete() && !d.is_identical());
    }

    #[test]
    fn zero_reference_has_no_relative_drift_unless_equal() {
        assert_eq!(of(&[1.0], &[0.0]).relative_l2, None);
        assert_eq!(of(&[0.0], &[0.0]).relative_l2, Some(0.0));
    }

    #[test]
    fn missing_elements_make_it_incomplete() {
        let mut sum = DriftSum::default();
        sum.add(0, &[1.0], &[1.0], |i| i);
        sum.add_missing(4);
        let d = sum.finish();
        assert_eq!((d.compared, d.expected), (1, 5));
        assert!(!d.is_complete() && !d.is_identical());
    }

    #[test]
    fn a_row_of_finite_values_has_the_sums_that_masks_would_give() {
        for len in 0..40 {
            let value: Vec<f64> = (0..len).map(|i| f64::from(i * i % 7) - 3.3).collect();
            let reference: Vec<f64> = (0..len).map(|i| f64::from(i * i % 7) - 3.3 * f64::from(i % 3)).collect();
            let (quick, no_padding) = RowSums::of(&value, &reference);
            let mut masked = RowSums::default();
            let padding = lanes::chunks([value.as_slice(), &reference], &mut masked);
            let floats = |row: &RowSums| {
                [row.difference, row.value, row.reference, row.product, row.most].map(|l| l.map(f64::to_bits))
            };
            assert_eq!(floats(&quick), floats(&masked), "{len}");
            let counts = |row: &RowSums, padding| {
                let missing = [&row.non_finite, &row.reference_non_finite].map(|n| lanes::count(n) - padding);
                (lanes::count(&row.equal), lanes::count(&row.compared), missing)
            };
            assert_eq!(counts(&quick, no_padding), counts(&masked, padding), "{len}");
        }
    }
}
