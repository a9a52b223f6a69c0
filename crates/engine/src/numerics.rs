//! One named way of doing the arithmetic.

use crate::op::Op;
use crate::site::Site;
use crate::tensor::{Elem, Tensor};

/// One named way of doing the arithmetic: evaluates an [`Op`] at a [`Site`] into a value.
///
/// There are no default method bodies: a shared default would hide an error common to the oracle and a path.
/// Shapes have been checked when the model was loaded; an implementation may panic on others.
/// The bits of the value must not depend on the number of threads, on how a prompt is cut into calls, or on the
/// instruction set.
pub trait Numerics: Sync {
    /// What activations are made of.
    type Elem: Elem;

    /// The name in reports and on the command line.
    fn name(&self) -> &'static str;

    /// Evaluates `op` on `inputs` (as many as the op's description names).
    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<Self::Elem>]) -> Tensor<Self::Elem>;
}
