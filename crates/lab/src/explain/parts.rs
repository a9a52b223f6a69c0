//! What of a site's residual no arithmetic explains.
//!
//! With `y` what a side makes of B's input and `D` what its arithmetic declares for it, the residual of a site is
//! `y_B − y_A = (D_B − D_A) + (y_B − D_B) − (y_A − D_A)`. The first term is the declared difference of the two
//! arithmetics (the quantisation part `W e` of a linear op), the others are each side's own error. A side that the judge
//! does not convict errs by f32 rounding, and its error counts as explained: so the unexplained part is exactly 0 where
//! nothing is wrong, up to the chance of a false alarm. Of a convicted side the whole error of the site is unexplained,
//! its rounding too, because nothing tells them apart.

use std::collections::BTreeMap;

use twinpath_engine::{Model, Op, Probe, Site, Tensor};
use twinpath_evidence::Verdict;
use twinpath_paths::{Path, Reading};

use super::crushed::Crushed;
use super::switch::{Residuals, Side64, cast};
use super::weights::swapped;
use crate::judge::Replay;

/// The error of convicted sides at one site.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// Whether A and B are convicted.
    pub(crate) sides: [bool; 2],
    /// B's error minus A's, of those that are convicted: `[T, cols]`.
    pub(crate) part: Tensor<f64>,
}

/// Watches a run of B: judges both arithmetics on B's inputs, and freezes what B's adds to A's.
pub(crate) struct Watch<'s> {
    pub(crate) a: Side64<'s>,
    /// A and B, where they are paths: the oracle is not judged.
    pub(crate) paths: [Option<&'s dyn Path>; 2],
    pub(crate) alpha: f64,
    /// Sites of the whole run, over both sides and all prompts.
    pub(crate) sites: usize,
    /// B's weights, where they are others.
    pub(crate) weights: Option<&'s Model>,
    pub(crate) found: Found,
}

/// What was found of one run of B.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) faults: BTreeMap<Site, Fault>,
    /// What B's arithmetic adds to A's at each site, on B's own inputs.
    pub(crate) residuals: Residuals,
    pub(crate) crushed: Crushed,
}

impl Probe<f64> for Watch<'_> {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>], value: &mut Tensor<f64>) {
        let by_a = self.a.eval(site, op, inputs);
        if by_a.data() == value.data() {
            return;
        }
        let narrow: Vec<Tensor<f32>> = inputs.iter().map(|x| cast(x)).collect();
        let narrow: Vec<&Tensor<f32>> = narrow.iter().collect();
        let errors = [&by_a, &*value].map(cast::<f64, f32>);
        let theirs = self.weights.map_or(*op, |model| swapped(model, site, op));
        let [a, b] = [op, &theirs].map(|op| (site, op));
        let a = self.error(0, a, &narrow, &errors[0]);
        let b = self.error(1, b, &narrow, &errors[1]);
        self.crush(site, &theirs, &narrow);
        let mut residual = value.clone();
        residual.data_mut().iter_mut().zip(by_a.data()).for_each(|(r, a)| *r -= a);
        if a.is_some() || b.is_some() {
            let mut part = Tensor::zeros(value.rows(), value.cols());
            for (error, sign) in [(&a, -1.0), (&b, 1.0)] {
                let errors = error.iter().flatten();
                part.data_mut().iter_mut().zip(errors).for_each(|(part, e)| *part += sign * e);
            }
            self.found.faults.insert(site, Fault { sides: [a.is_some(), b.is_some()], part });
        }
        self.found.residuals.insert(site, residual);
    }
}

impl Watch<'_> {
    /// Looks for massive activations where B codes in 8 bits what A reads as it is.
    fn crush(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) {
        let (Op::Linear { weight, .. }, [x], [a, Some(b)]) = (op, inputs, self.paths) else { return };
        let reads = |path: &dyn Path, t: usize| {
            let maker = path.for_row(site, op, x.row(t)).unwrap_or(path);
            maker.reading(weight.tensor_type())
        };
        let plain = |t| a.is_none_or(|a| reads(a, t) == Reading::Plain);
        let rows: Vec<usize> = (0..x.rows()).filter(|t| plain(*t) && reads(b, *t) == Reading::Q8K).collect();
        self.found.crushed.add(site, *weight, x, &rows);
    }

    /// The error of one side, if it is convicted.
    fn error(
        &self,
        side: usize,
        (site, op): (Site, &Op<'_>),
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
    ) -> Option<Vec<f64>> {
        let own = self.paths[side]?;
        let replay = Replay {
            own,
            // Asks for what is declared.
            other: Some(own),
            alpha: self.alpha,
            sites: self.sites,
            positions: value.rows(),
            statistical: false,
        };
        let judged = replay.judge_at(site, op, inputs, value, 0);
        if !matches!(judged.local.finish("", None).verdict, Verdict::Unexplained { .. }) {
            return None;
        }
        let declared = judged.replayed?.own;
        Some(value.data().iter().zip(declared).map(|(y, d)| f64::from(*y) - d).collect())
    }
}
