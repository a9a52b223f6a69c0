//! Paths with one mistake at one site.
#![allow(dead_code, clippy::panic, reason = "helpers of tests, of which each uses some")]

use std::collections::BTreeMap;

use twinpath_engine::{Model, Op, Site};
use twinpath_formats::Matrix;
use twinpath_lab::change::{Change, Planted};
use twinpath_lab::diagnose::Plant;
use twinpath_lab::party::Source;
use twinpath_lab::{Arithmetic, Party};
use twinpath_paths::{Path, Standalone};

/// `path` with `change` at one site.
fn changed(path: Box<dyn Path>, site: &str, change: Change) -> Box<dyn Path> {
    let site: Site = site.parse().expect("a site");
    Box::new(Planted::new(path, BTreeMap::from([(site, change)])))
}

/// The value of one site times `factor`.
pub(crate) fn louder(path: Box<dyn Path>, site: &str, factor: f64) -> Box<dyn Path> {
    changed(path, site, Change::map("louder", move |y| y * factor))
}

/// A mistake of the catalogue, NAME[=PARAMETER]@SITE, in runs of `model`.
pub(crate) fn mistaken(model: &Model, path: Box<dyn Path>, mistake: &str) -> Box<dyn Path> {
    let right = Arithmetic::Path(Box::new(Standalone::new()));
    let party = Party { label: "m".into(), source: Source::Model(model, &right) };
    let planted = Plant::parse(mistake).plant(&party, path, &[1, 2, 3]);
    Box::new(planted.unwrap_or_else(|e| panic!("{mistake}: {e}")))
}

/// Bytes of a Q4_K block.
const BLOCK: usize = 144;

/// The scale of one group of one row of Q4_K weights is one unit too large, or too small where its low bits are full.
pub(crate) fn scale_off(path: Box<dyn Path>, site: &str, [row, block, group]: [usize; 3]) -> Box<dyn Path> {
    let change = Change::op("scale off by one", move |op, x, then| {
        let Op::Linear { weight, bias } = *op else { unreachable!("a fault of weights") };
        let mut bytes = weight.bytes().to_vec();
        let at = row * weight.row_bytes() + block * BLOCK + 4;
        let (low, most) = if group < 4 { (at + group, 63) } else { (at + 4 + group, 15) };
        bytes[low] = if bytes[low] & most < most { bytes[low] + 1 } else { bytes[low] - 1 };
        let weight = Matrix::new(weight.tensor_type(), weight.rows(), weight.cols(), &bytes).expect("the same shape");
        then(0..x[0].rows(), &Op::Linear { weight, bias }, x);
    });
    changed(path, site, change)
}
