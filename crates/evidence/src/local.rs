//! Residuals of one side at one site, judged.

use serde::{Deserialize, Serialize};

use crate::histogram::{Histogram, HistogramSum};
use crate::residuals::{Plain, Residuals};
use crate::verdict::{CALIBRATED, Contrast, Evidence, Finding, Part, SIGMA, Verdict};
use crate::within;

/// Residuals of one side at one site, on its own recorded inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// `‖value − declared‖₂ / ‖declared‖₂`; absent when nothing finite was judged or all declared values are 0.
    pub relative_l2: Option<f64>,
    /// Largest residual in units of the calibrated tolerance.
    pub calibrated: f64,
    /// In units of the probabilistic one.
    pub probabilistic: f64,
    /// In units of the rigorous one.
    pub rigorous: f64,
    /// Elements judged.
    pub judged: u64,
    /// Elements beyond the calibrated tolerance.
    pub flagged: u64,
    /// Elements beyond the probabilistic one.
    pub convicted: u64,
    /// Elements that could not be judged: the declared value is not finite.
    pub not_judged: u64,
    /// Activations taken to have been coded the other way.
    pub flips: usize,
    /// Residuals in standard deviations.
    pub histogram: Histogram,
    /// What follows.
    pub verdict: Verdict,
}

/// The worst element so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Worst {
    position: usize,
    row: usize,
    value: f64,
    declared: f64,
    sigmas: f64,
}

/// One element with its tolerances.
#[derive(Debug, Clone, Copy)]
pub struct Residual {
    /// Token position.
    pub position: usize,
    /// Index in the row.
    pub row: usize,
    /// As recorded.
    pub value: f64,
    /// As declared.
    pub declared: f64,
    /// See the `declared` module of the paths.
    pub spread: f64,
    /// See the `declared` module of the paths.
    pub bound: f64,
}

impl Residual {
    /// `|value − declared|` in units of `tolerance`; 0 for no residual at all, infinite where the value is no number.
    fn over(&self, tolerance: f64) -> f64 {
        let residual = (self.value - self.declared).abs();
        match residual {
            0.0 => 0.0,
            r if r.is_nan() => f64::INFINITY,
            r => r / tolerance,
        }
    }

    /// The residual in units of the calibrated tolerance.
    pub fn calibrated(&self) -> f64 {
        self.over(CALIBRATED * SIGMA * self.spread)
    }
}

/// Accumulates a [`Local`].
#[derive(Debug, Clone, Default)]
pub struct LocalSum {
    residual: f64,
    reference: f64,
    calibrated: f64,
    probabilistic: f64,
    rigorous: f64,
    judged: u64,
    flagged: u64,
    convicted: u64,
    not_judged: u64,
    worst: Option<Worst>,
    range: Option<(f64, f64)>,
    flips: usize,
    histogram: HistogramSum,
    rows: std::collections::BTreeSet<usize>,
    part: Option<Part>,
    contrast: Option<Contrast>,
    /// Why nothing could be judged.
    excuse: Option<String>,
    /// A gain that no element shows alone, in units of its probabilistic tolerance.
    common_gain: Option<f64>,
}

impl LocalSum {
    /// Adds one element; `lambda` is the probabilistic tolerance of its site. Returns whether it was convicted.
    ///
    /// A value that is not finite where the declared one is, is convicted. Where the declared one is not, nothing is
    /// judged.
    pub fn add(&mut self, r: &Residual, lambda: f64) -> bool {
        if !r.declared.is_finite() || r.declared.abs() > f64::from(f32::MAX) {
            self.not_judged += 1;
            return false;
        }
        self.judged += 1;
        let difference = r.value - r.declared;
        self.histogram.add(difference, r.spread);
        if difference.is_finite() {
            self.residual += difference * difference;
            let (min, max) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
            self.range = Some((min.min(r.value), max.max(r.value)));
        }
        self.reference += r.declared * r.declared;
        let (calibrated, probable, rigorous) = (r.calibrated(), r.over(lambda * r.spread), r.over(r.bound));
        self.calibrated = self.calibrated.max(calibrated);
        self.probabilistic = self.probabilistic.max(probable);
        self.rigorous = self.rigorous.max(rigorous);
        self.flagged += u64::from(!within(calibrated, 1.0));
        let convicted = !within(probable, 1.0);
        self.convicted += u64::from(convicted);
        if convicted {
            self.rows.insert(r.row);
        }
        let sigmas = calibrated * CALIBRATED;
        if self.worst.is_none_or(|w| sigmas > w.sigmas) {
            let Residual { position, row, value, declared, .. } = *r;
            self.worst = Some(Worst { position, row, value, declared, sigmas });
        }
        convicted
    }

    /// Adds one position; returns the convicted element with the largest residual.
    #[inline(always)]
    pub fn add_row(&mut self, r: &Residuals<'_>, lambda: f64) -> Option<Residual> {
        let plain = Plain::of(r).filter(|_| lambda >= CALIBRATED * SIGMA);
        let Some(plain) = plain else { return self.add_elements(r, lambda) };
        self.judged += r.value.len() as u64;
        self.histogram.count(&plain.places);
        self.residual += plain.residual;
        self.reference += plain.reference;
        self.calibrated = self.calibrated.max(plain.spreads / (CALIBRATED * SIGMA));
        self.probabilistic = self.probabilistic.max(plain.spreads / lambda);
        self.rigorous = self.rigorous.max(plain.bounds);
        let (min, max) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        self.range = Some((min.min(plain.least), max.max(plain.most)));
        let sigmas = plain.spreads / SIGMA;
        if self.worst.is_none_or(|w| sigmas > w.sigmas)
            && let Some(Residual { position, row, value, declared, .. }) = r.worst(plain.spreads)
        {
            self.worst = Some(Worst { position, row, value, declared, sigmas });
        }
        None
    }

    /// The same, one by one.
    fn add_elements(&mut self, r: &Residuals<'_>, lambda: f64) -> Option<Residual> {
        let mut worst: Option<Residual> = None;
        for row in 0..r.value.len() {
            let element = r.element(row);
            if self.add(&element, lambda) && worst.is_none_or(|w| element.calibrated() > w.calibrated()) {
                worst = Some(element);
            }
        }
        worst
    }

    /// Nothing can be judged, and why; the first reason stays.
    pub fn excuse(&mut self, why: String) {
        self.excuse.get_or_insert(why);
    }

    /// Elements convicted so far.
    pub fn convicted(&self) -> u64 {
        self.convicted
    }

    /// Elements flagged so far.
    pub fn flagged(&self) -> u64 {
        self.flagged
    }

    /// Elements of which the declared value is no number, so far.
    pub fn not_judged(&self) -> u64 {
        self.not_judged
    }

    /// The largest residual so far, in units of the calibrated tolerance.
    pub fn calibrated(&self) -> f64 {
        self.calibrated
    }

    /// Notes activations that were taken to have been coded the other way.
    pub fn add_flips(&mut self, flips: usize) {
        self.flips += flips;
    }

    /// Notes the gain common to all elements, and its size in units of the probabilistic tolerance: beyond it, the site is
    /// convicted even if no element is alone.
    pub fn add_gain(&mut self, gain: Contrast, over: f64) {
        self.common_gain = Some(self.common_gain.map_or(over, |mine| mine.max(over)));
        if !within(over, 1.0) {
            self.contrast = Some(gain);
        }
    }

    /// Notes what names a bug; the first stays.
    pub fn name(&mut self, part: Option<Part>, contrast: Option<Contrast>) {
        self.part = self.part.take().or(part);
        self.contrast = self.contrast.take().or(contrast);
    }

    /// Joins what was judged of other positions of the same site.
    pub fn merge(&mut self, other: LocalSum) {
        self.residual += other.residual;
        self.reference += other.reference;
        self.calibrated = self.calibrated.max(other.calibrated);
        self.probabilistic = self.probabilistic.max(other.probabilistic);
        self.rigorous = self.rigorous.max(other.rigorous);
        self.judged += other.judged;
        self.flagged += other.flagged;
        self.convicted += other.convicted;
        self.not_judged += other.not_judged;
        self.flips += other.flips;
        self.histogram.merge(&other.histogram);
        self.excuse = self.excuse.take().or(other.excuse);
        self.rows.extend(other.rows);
        if let Some(w) = other.worst
            && self.worst.is_none_or(|mine| w.sigmas > mine.sigmas)
        {
            self.worst = Some(w);
        }
        self.range = match (self.range, other.range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (mine, theirs) => mine.or(theirs),
        };
        self.common_gain = match (self.common_gain, other.common_gain) {
            (Some(mine), Some(theirs)) => Some(mine.max(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.name(other.part, other.contrast);
    }

    /// The record; `side` is `a` or `b`, `idle` says why the input could not have shown a fault, if it could not.
    pub fn finish(&self, side: &str, idle: Option<&str>) -> Local {
        let relative_l2 = match (self.residual, self.reference) {
            (0.0, _) if self.judged > 0 => Some(0.0),
            (_, 0.0) => None,
            (r, y) => Some((r / y).sqrt()),
        };
        Local {
            relative_l2,
            calibrated: self.calibrated,
            probabilistic: self.probabilistic,
            rigorous: self.rigorous,
            judged: self.judged,
            flagged: self.flagged,
            convicted: self.convicted,
            not_judged: self.not_judged,
            flips: self.flips,
            histogram: self.histogram.finish(),
            verdict: self.verdict(side, idle),
        }
    }

    fn verdict(&self, side: &str, idle: Option<&str>) -> Verdict {
        let inconclusive = |reason: &str| Verdict::Inconclusive { reason: reason.to_owned() };
        let gain = self.common_gain.is_some_and(|over| !within(over, 1.0));
        if let (true, Some(w)) = (self.convicted > 0 || gain, self.worst) {
            return Verdict::Unexplained {
                finding: Box::new(Finding {
                    side: side.to_owned(),
                    position: w.position,
                    row: w.row,
                    value: w.value,
                    declared: w.declared,
                    sigmas: w.sigmas,
                    beyond_bound: !within(self.rigorous, 1.0),
                    convicted: self.convicted,
                    judged: self.judged,
                    rows: self.rows.len() as u64,
                    part: self.part.clone(),
                    contrast: self.contrast.clone(),
                }),
            };
        }
        if self.not_judged > 0 {
            return inconclusive(&format!("{} declared values are not finite in f32", self.not_judged));
        }
        if let Some(why) = &self.excuse {
            return inconclusive(why);
        }
        if let Some(reason) = idle {
            return Verdict::NotExercised { reason: reason.to_owned() };
        }
        match self.range {
            None => return inconclusive("nothing was judged"),
            Some((min, max)) if min == max && self.judged > 1 => {
                return inconclusive(&format!("every value is {min}: constant evidence shows nothing"));
            }
            Some(_) => {}
        }
        if !within(self.calibrated, 1.0) {
            return Verdict::Possible { flagged: self.flagged, sigmas: self.calibrated * CALIBRATED };
        }
        let evidence = if self.flips > 0 { Evidence::Flips { count: self.flips } } else { Evidence::Exact };
        Verdict::Explained { evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::ContrastKind;

    fn element(row: usize, value: f64, declared: f64) -> Residual {
        Residual { position: 2, row, value, declared, spread: 1e-3, bound: 1.0 }
    }

    fn of(elements: &[Residual]) -> Verdict {
        let mut sum = LocalSum::default();
        elements.iter().for_each(|r| {
            sum.add(r, 6.0);
        });
        sum.finish("a", None).verdict
    }

    #[test]
    fn a_residual_is_explained_then_possible_then_unexplained() {
        let (first, word) = (element(0, 1.0, 1.0), |r| of(&[element(0, 1.0, 1.0), element(7, 2.0 + r, 2.0)]).word());
        // Tolerances: 8 · 0.4246e-3 = 3.4e-3 and 6e-3.
        assert_eq!(
            [word(0.0), word(3.3e-3), word(3.5e-3), word(6.1e-3)],
            ["explained", "explained", "possible", "UNEXPLAINED"]
        );
        let Verdict::Unexplained { finding } = of(&[first, element(7, 2.1, 2.0)]) else { panic!("not convicted") };
        assert_eq!((finding.position, finding.row, finding.convicted, finding.judged), (2, 7, 1, 2));
        assert!(!finding.beyond_bound);
    }

    #[test]
    fn a_value_that_is_no_number_where_one_is_declared_is_convicted() {
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(of(&[element(0, 1.0, 1.0), element(1, value, 2.0)]).word(), "UNEXPLAINED");
        }
    }

    #[test]
    fn constant_absent_and_undeclared_evidence_shows_nothing() {
        assert_eq!(of(&[]).word(), "inconclusive");
        assert_eq!(of(&[element(0, 0.0, 0.0), element(1, 0.0, 0.0)]).word(), "inconclusive");
        assert_eq!(of(&[element(0, 1.0, 1.0), element(1, f64::NAN, f64::NAN)]).word(), "inconclusive");
    }

    #[test]
    fn a_gain_that_no_element_shows_convicts_alone() {
        let mut sum = LocalSum::default();
        for row in 0..4 {
            sum.add(&element(row, 1.0 + f64::from(row as u8), 1.0 + f64::from(row as u8)), 6.0);
        }
        let gain = Contrast { kind: ContrastKind::Gain, size: 1e-6, z: 9.0, share: 0.3 };
        let mut faithful = sum.clone();
        faithful.add_gain(gain.clone(), 0.99);
        assert_eq!(faithful.finish("a", None).verdict.word(), "explained");
        sum.add_gain(gain.clone(), 1.01);
        let Verdict::Unexplained { finding } = sum.finish("a", None).verdict else { panic!("not convicted") };
        assert_eq!((finding.convicted, finding.contrast), (0, Some(gain)));
    }

    #[test]
    fn a_tolerance_of_zero_admits_equality_only() {
        let exact = Residual { spread: 0.0, bound: 0.0, ..element(1, 3.0, 3.0) };
        assert_eq!(of(&[element(0, 1.0, 1.0), exact]).word(), "explained");
        assert_eq!(of(&[element(0, 1.0, 1.0), Residual { value: 3.0000001, ..exact }]).word(), "UNEXPLAINED");
    }
}
