//! What the difference would be if every side were as it declares.

use std::collections::BTreeSet;

use twinpath_engine::{Model, NoProbe, Site};

use super::Turn;
use super::chain::run;
use super::groups::site_count;
use super::parts::{Found, Watch};
use super::switch::Injected;
use crate::error::LabError;
use crate::side::Arithmetic;

/// `‖B' − A‖ / ‖A‖` of the logits, where B' is A with all of B's frozen residuals but for their unexplained parts.
///
/// # Errors
/// When the tokens do not fit the model.
pub(crate) fn floor(
    model: &Model,
    a: &Arithmetic,
    b: &Arithmetic,
    tokens: &[u32],
    alpha: f64,
) -> Result<f64, LabError> {
    let (turn_a, turn_b) = (Turn::new(a), Turn::new(b));
    let mut watch = Watch {
        a: turn_a.side(),
        paths: [a.path(), b.path()],
        alpha,
        sites: 2 * site_count(model),
        weights: None,
        found: Found::default(),
    };
    let plain = run(model, turn_a.side(), tokens, &mut NoProbe)?.logits;
    run(model, turn_b.side(), tokens, &mut watch)?;
    let Found { faults, mut residuals, .. } = watch.found;
    for (site, fault) in &faults {
        if let Some(residual) = residuals.get_mut(site) {
            residual.data_mut().iter_mut().zip(fault.part.data()).for_each(|(r, part)| *r -= part);
        }
    }
    let at: BTreeSet<Site> = residuals.keys().copied().collect();
    let explained = Injected { a: turn_a.side(), residuals: &residuals, at: &at };
    let made = run(model, &explained, tokens, &mut NoProbe)?.logits;
    let square = |x: f64| x * x;
    let apart: f64 = made.data().iter().zip(plain.data()).map(|(x, y)| square(x - y)).sum();
    Ok((apart / plain.data().iter().map(|y| square(*y)).sum::<f64>()).sqrt())
}
