//! Mixed arithmetic: which side evaluates which site.

use std::collections::{BTreeMap, BTreeSet};

use twinpath_engine::{Elem, Numerics, Op, Site, Tensor};
use twinpath_paths::Path;

/// A path on f64 activations: inputs are rounded to f32 (exact where a path made them), values widened. So that a path and
/// the oracle, or two paths, can take turns within one pass.
pub(crate) struct Widened<'p>(pub(crate) &'p dyn Path);

/// Every element as another type.
pub(crate) fn cast<A: Elem, B: Elem>(x: &Tensor<A>) -> Tensor<B> {
    Tensor::new(x.rows(), x.cols(), x.data().iter().map(|x| B::from_f64(x.to_f64())).collect())
}

impl Numerics for Widened<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        let inputs: Vec<Tensor<f32>> = inputs.iter().map(|x| cast(x)).collect();
        cast(&self.0.eval(site, op, &inputs.iter().collect::<Vec<_>>()))
    }
}

/// Either side, on f64 activations.
pub(crate) type Side64<'s> = &'s dyn Numerics<Elem = f64>;

/// B up to and including a site, A after it.
pub(crate) struct Prefix<'s> {
    pub(crate) a: Side64<'s>,
    pub(crate) b: Side64<'s>,
    /// The last site that B evaluates.
    pub(crate) last: Site,
    /// What is taken from the value of that site.
    pub(crate) less: Option<&'s Tensor<f64>>,
}

impl Numerics for Prefix<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        "prefix"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        if site > self.last {
            return self.a.eval(site, op, inputs);
        }
        let mut y = self.b.eval(site, op, inputs);
        if let (true, Some(less)) = (site == self.last, self.less) {
            y.data_mut().iter_mut().zip(less.data()).for_each(|(y, less)| *y -= less);
        }
        y
    }
}

/// What B's arithmetic adds to A's at each site, on B's own inputs.
pub(crate) type Residuals = BTreeMap<Site, Tensor<f64>>;

/// A's arithmetic with frozen residuals added at some sites.
pub(crate) struct Injected<'s> {
    pub(crate) a: Side64<'s>,
    pub(crate) residuals: &'s Residuals,
    pub(crate) at: &'s BTreeSet<Site>,
}

impl Numerics for Injected<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        "injected"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        let mut y = self.a.eval(site, op, inputs);
        if self.at.contains(&site)
            && let Some(residual) = self.residuals.get(&site)
        {
            y.data_mut().iter_mut().zip(residual.data()).for_each(|(y, r)| *y += r);
        }
        y
    }
}
