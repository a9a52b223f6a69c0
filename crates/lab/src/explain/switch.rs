//! Mixed arithmetic: which side evaluates which site.

use std::collections::BTreeMap;

use twinpath_engine::{Elem, Numerics, Op, Probe, Site, Tensor};
use twinpath_paths::Path;

/// A path on f64 activations: inputs are rounded to f32 (exact where a path made them), values widened. So that a path and
/// the oracle, or two paths, can take turns within one pass.
pub(crate) struct Widened<'p>(pub(crate) &'p dyn Path);

/// Every element as another type.
fn cast<A: Elem, B: Elem>(x: &Tensor<A>) -> Tensor<B> {
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
    /// The last site that B evaluates; `None`: A evaluates all.
    pub(crate) last: Option<Site>,
}

impl Numerics for Prefix<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        "prefix"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        let by_b = self.last.is_some_and(|last| site <= last);
        if by_b { self.b.eval(site, op, inputs) } else { self.a.eval(site, op, inputs) }
    }
}

/// What B's arithmetic adds to A's at each site, on B's own inputs.
pub(crate) type Residuals = BTreeMap<Site, Tensor<f64>>;

/// Collects the residuals of a run of B.
pub(crate) struct Freeze<'s> {
    pub(crate) a: Side64<'s>,
    pub(crate) residuals: Residuals,
}

impl Probe<f64> for Freeze<'_> {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>], value: &mut Tensor<f64>) {
        let mut residual = self.a.eval(site, op, inputs);
        let mut zero = true;
        for (r, y) in residual.data_mut().iter_mut().zip(value.data()) {
            *r = y - *r;
            zero &= *r == 0.0;
        }
        if !zero {
            self.residuals.insert(site, residual);
        }
    }
}

/// A's arithmetic with frozen residuals added at the sites from `first` on.
pub(crate) struct Injected<'s> {
    pub(crate) a: Side64<'s>,
    pub(crate) residuals: &'s Residuals,
    pub(crate) first: Site,
}

impl Numerics for Injected<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        "injected"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        let mut y = self.a.eval(site, op, inputs);
        if site >= self.first
            && let Some(residual) = self.residuals.get(&site)
        {
            y.data_mut().iter_mut().zip(residual.data()).for_each(|(y, r)| *y += r);
        }
        y
    }
}
