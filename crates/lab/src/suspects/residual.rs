//! # What goes wrong
//!
//! The residual connection is left out, added twice, or multiplied by a factor that another family has.
//!
//! # Seen in
//!
//! llama.cpp 5276 (MiniCPM) and 9412 (Granite), ferrox 186.
//!
//! # What it changes
//!
//! The residual stream after attention or after the layer.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! A factor on the projection before it. Where no usual number fits, the factor is fitted.

use twinpath_engine::{Op, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "residual", source: include_str!("residual.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Add, [x, y]) = (scene.op, scene.inputs) else { return Vec::new() };
    let mut all = vec![
        of("left out", 0.0, 1.0),
        of("what should be added is left out", 1.0, 0.0),
        of("added twice", 2.0, 1.0),
        of("subtracted", -1.0, 1.0),
        of("0.22 times what should be added", 1.0, 0.22),
    ];
    if let Some(by) = scene.found.and_then(|f| fit(x, y, f.value)).filter(|by| (by - 1.0).abs() > 1e-6) {
        all.push(of(&format!("{} times what should be added", kit::word(by)), 1.0, by));
    }
    all
}

/// `a x + b y`.
fn of(name: &str, a: f64, b: f64) -> Change {
    let times = |x: &Tensor<f32>, by: f64| kit::each(x, |x| (f64::from(x) * by) as f32);
    Change::op(name, move |op, x, then| {
        if let [x, y] = x {
            then(0..x.rows(), op, &[&times(x, a), &times(y, b)]);
        }
    })
}

/// `b = <z - x, y> / ‖y‖²`.
fn fit(x: &Tensor<f32>, y: &Tensor<f32>, z: &Tensor<f32>) -> Option<f64> {
    let all =
        x.data().iter().zip(y.data()).zip(z.data()).map(|((x, y), z)| (f64::from(*z) - f64::from(*x), f64::from(*y)));
    let (along, norm) = all.fold((0.0, 0.0), |(a, n), (d, y)| (a + d * y, n + y * y));
    Some(along / norm).filter(|b| b.is_finite())
}
