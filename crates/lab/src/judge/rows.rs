//! All elements of a value at once, row after row: nearly all are within their tolerance.

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_evidence::{LocalSum, Residual, Residuals, within};
use twinpath_paths::declared::Declared;
use twinpath_paths::simd::{Isa, Kernel};

use super::element;

/// Share of the calibrated tolerance, estimated, from which an element is worked out.
const SUSPECT: f64 = 0.8;

/// Whether all elements are clearly inside their calibrated tolerance.
pub(super) fn is_calm(local: &LocalSum) -> bool {
    local.not_judged() == 0 && within(local.calibrated(), SUSPECT)
}

/// Elements that are not clearly inside their calibrated tolerance, with the residual in units of it.
pub(super) fn suspects(value: &Tensor<f32>, own: &Declared) -> Vec<(f64, usize)> {
    let over = |i: usize| (element(value, own, 0, i).calibrated(), i);
    (0..own.value.len()).into_par_iter().map(over).filter(|(over, _)| !within(*over, SUSPECT)).collect()
}

/// All elements judged, and the index of the worst convicted one.
pub(super) fn judge_all(
    value: &Tensor<f32>,
    own: &Declared,
    first_row: usize,
    lambda: f64,
) -> (LocalSum, Option<usize>) {
    let isa = Isa::detect();
    let one_row = |t: usize| {
        let found: Vec<f64> = value.row(t).iter().map(|v| f64::from(*v)).collect();
        let at = t * own.cols..(t + 1) * own.cols;
        let residuals = Residuals {
            position: first_row + t,
            value: &found,
            declared: &own.value[at.clone()],
            spread: &own.spread[at.clone()],
            bound: &own.bound[at],
        };
        isa.run(JudgeRow { residuals, lambda })
    };
    let rows: Vec<(LocalSum, Option<Residual>)> = (0..value.rows()).into_par_iter().map(one_row).collect();
    let (mut all, mut worst) = (LocalSum::default(), None::<Residual>);
    for (sum, mine) in rows {
        all.merge(sum);
        worst = match (worst, mine) {
            (Some(worst), Some(mine)) if mine.calibrated() > worst.calibrated() => Some(mine),
            (worst, mine) => worst.or(mine),
        };
    }
    (all, worst.map(|w| (w.position - first_row) * own.cols + w.row))
}

/// Judges one position in the instruction set that it is run on.
struct JudgeRow<'a> {
    residuals: Residuals<'a>,
    lambda: f64,
}

impl Kernel for JudgeRow<'_> {
    type Output = (LocalSum, Option<Residual>);
    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut sum = LocalSum::default();
        let worst = sum.add_row(&self.residuals, self.lambda);
        (sum, worst)
    }
}
