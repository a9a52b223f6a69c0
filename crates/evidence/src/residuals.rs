//! Residuals of a whole position at once: nearly all are within their tolerance, and then a few sums say all.

use crate::histogram::{self, Place};
use crate::lanes::{self, LANES, Lanes};
use crate::local::Residual;
use crate::verdict::{CALIBRATED, SIGMA};

/// One position with its tolerances.
#[derive(Debug, Clone, Copy)]
pub struct Residuals<'a> {
    /// Token position.
    pub position: usize,
    /// As recorded.
    pub value: &'a [f64],
    /// As declared.
    pub declared: &'a [f64],
    /// Of each element.
    pub spread: &'a [f64],
    /// Of each element.
    pub bound: &'a [f64],
}

impl Residuals<'_> {
    /// The first element whose residual is `spreads`, the largest, to the last bits.
    #[inline(always)]
    pub(crate) fn worst(&self, spreads: f64) -> Option<Residual> {
        let least = spreads * (1.0 - 4.0 * f64::EPSILON);
        let largest = |row: usize| (self.value[row] - self.declared[row]).abs() >= least * self.spread[row];
        lanes::find(self.value.len(), largest).map(|row| self.element(row))
    }

    /// One of its elements.
    pub fn element(&self, row: usize) -> Residual {
        Residual {
            position: self.position,
            row,
            value: self.value[row],
            declared: self.declared[row],
            spread: self.spread[row],
            bound: self.bound[row],
        }
    }
}

/// What a position comes to in which everything is finite and within the calibrated tolerance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plain {
    /// Sum of squared residuals.
    pub(crate) residual: f64,
    /// Sum of squared declared values.
    pub(crate) reference: f64,
    /// Largest residual in spreads.
    pub(crate) spreads: f64,
    /// Largest residual in bounds.
    pub(crate) bounds: f64,
    /// Smallest value.
    pub(crate) least: f64,
    /// Largest value.
    pub(crate) most: f64,
    /// Where each residual is counted.
    pub(crate) places: Vec<Place>,
}

impl Plain {
    /// `None` where an element asks for more, or there is none.
    #[inline(always)]
    pub(crate) fn of(r: &Residuals<'_>) -> Option<Plain> {
        let mut places = vec![0; r.value.len()];
        let sums = RowSums::of(r, &mut places);
        if r.value.is_empty() || sums.plain.contains(&0) {
            return None;
        }
        let largest = |lanes: &Lanes, least: f64| lanes.iter().copied().fold(least, f64::max);
        Some(Plain {
            residual: lanes::total(&sums.residual),
            reference: lanes::total(&sums.reference),
            spreads: largest(&sums.spreads, 0.0),
            bounds: largest(&sums.bounds, 0.0),
            least: sums.least.iter().copied().fold(f64::INFINITY, f64::min),
            most: largest(&sums.most, f64::NEG_INFINITY),
            places,
        })
    }
}

/// Sums of one position, lane by lane. Where something asks for more, `plain` turns 0 and the others are worth nothing.
struct RowSums {
    plain: [u64; LANES],
    residual: Lanes,
    reference: Lanes,
    spreads: Lanes,
    bounds: Lanes,
    least: Lanes,
    most: Lanes,
}

impl RowSums {
    #[inline(always)]
    fn of(r: &Residuals<'_>, places: &mut [Place]) -> RowSums {
        let mut sums = RowSums {
            plain: [1; LANES],
            residual: [0.0; LANES],
            reference: [0.0; LANES],
            spreads: [0.0; LANES],
            bounds: [0.0; LANES],
            least: [f64::INFINITY; LANES],
            most: [f64::NEG_INFINITY; LANES],
        };
        let rows = [r.value, r.declared, r.spread, r.bound];
        assert!(rows.iter().all(|row| row.len() == places.len()), "rows of one site have one length");
        let rows = rows.map(<[f64]>::as_chunks::<LANES>);
        let (whole, rest) = places.as_chunks_mut::<LANES>();
        for (i, places) in whole.iter_mut().enumerate() {
            sums.add([&rows[0].0[i], &rows[1].0[i], &rows[2].0[i], &rows[3].0[i]], places);
        }
        // The last ones, beside elements of no residual; these do not count as declared.
        let mut last = [[0.0; LANES], [0.0; LANES], [1.0; LANES], [1.0; LANES]];
        if !rest.is_empty() {
            for (last, (_, rest)) in last.iter_mut().zip(&rows) {
                last[..rest.len()].copy_from_slice(rest);
            }
            let fill = r.value[r.value.len() - 1];
            for equal in &mut last[..2] {
                equal[rest.len()..].fill(fill);
            }
            let mut more = [0; LANES];
            let reference = sums.reference;
            sums.add([&last[0], &last[1], &last[2], &last[3]], &mut more);
            rest.copy_from_slice(&more[..rest.len()]);
            sums.reference[rest.len()..].copy_from_slice(&reference[rest.len()..]);
        }
        sums
    }

    /// Zero residuals have no size in any tolerance, also where that is zero.
    #[inline(always)]
    fn add(&mut self, [value, declared, spread, bound]: [&Lanes; 4], places: &mut [Place; LANES]) {
        let limit = CALIBRATED * SIGMA;
        let (mut residual, mut beyond) = ([0.0; LANES], false);
        for l in 0..LANES {
            let difference = value[l] - declared[l];
            residual[l] = difference.abs();
            let judged = declared[l].abs() <= f64::from(f32::MAX);
            let inside = residual[l] == 0.0 || residual[l] <= limit * spread[l];
            self.plain[l] &= u64::from(judged) & u64::from(inside);
            self.residual[l] += difference * difference;
            self.reference[l] += declared[l] * declared[l];
            let spreads = difference / at_least(spread[l]);
            places[l] = histogram::place(spreads, spread[l]);
            let size = spreads.abs();
            self.spreads[l] = if size > self.spreads[l] { size } else { self.spreads[l] };
            beyond |= residual[l] > self.bounds[l] * bound[l];
            self.least[l] = if value[l] < self.least[l] { value[l] } else { self.least[l] };
            self.most[l] = if value[l] > self.most[l] { value[l] } else { self.most[l] };
        }
        // Seldom, and then divided.
        if beyond {
            for l in 0..LANES {
                self.bounds[l] = self.bounds[l].max(residual[l] / at_least(bound[l]));
            }
        }
    }
}

/// A tolerance to divide by: the least positive number where it is 0.
#[inline(always)]
fn at_least(tolerance: f64) -> f64 {
    if tolerance > 0.0 { tolerance } else { f64::MIN_POSITIVE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalSum;

    /// Residuals of a small row, whose element 11 is changed.
    fn both(value: f64, declared: f64, spread: f64) -> [LocalSum; 2] {
        let mut rows = [[0.0; 21]; 4];
        for i in 0..21 {
            let x = 1.0 + i as f64 / 7.0;
            (rows[0][i], rows[1][i], rows[2][i], rows[3][i]) = (x, x + (i % 3) as f64 * 1e-7, 1e-7, 1e-5);
        }
        (rows[0][11], rows[1][11], rows[2][11]) = (value, declared, spread);
        let what = format!("{value} {declared}");
        let [value, declared, spread, bound] = &rows;
        let row = Residuals { position: 4, value, declared, spread, bound };
        let (mut whole, mut single) = (LocalSum::default(), LocalSum::default());
        let convicted = whole.add_row(&row, 6.0);
        let mine: Vec<usize> = (0..21).filter(|i| single.add(&row.element(*i), 6.0)).collect();
        assert_eq!(convicted.map(|r| r.row), mine.first().copied(), "{what}");
        [whole, single]
    }

    #[test]
    fn a_row_at_once_is_its_elements_one_by_one() {
        let nan = f64::NAN;
        let odd = [(2.0, 2.0, 0.0), (2.0, 2.000_000_5, 1e-7), (2.0, 2.1, 1e-7), (nan, 2.0, 1e-7), (2.0, nan, 1e-7)];
        for (value, declared, spread) in
            odd.into_iter().chain([(2.0, 1e39, 1e30), (f64::INFINITY, 2.0, 1e-7), (2.0, 2.0, 1.0)])
        {
            let [whole, single] = both(value, declared, spread).map(|sum| sum.finish("a", None));
            assert_eq!((whole.judged, whole.not_judged), (single.judged, single.not_judged), "{value} {declared}");
            assert_eq!((whole.flagged, whole.convicted), (single.flagged, single.convicted), "{value} {declared}");
            // As text: a finding may hold NaN, which is unequal to itself.
            assert_eq!(format!("{:?}", whole.verdict), format!("{:?}", single.verdict), "{value} {declared}");
            for (a, b) in [(whole.calibrated, single.calibrated), (whole.rigorous, single.rigorous)] {
                assert!(a == b || (a / b - 1.0).abs() < 1e-12, "{value} {declared}: {a} {b}");
            }
            let l2 = whole.relative_l2.zip(single.relative_l2).map(|(a, b)| (a / b - 1.0).abs());
            assert!(l2.is_none_or(|off| off < 1e-12) && whole.relative_l2.is_some() == single.relative_l2.is_some());
        }
    }
}
