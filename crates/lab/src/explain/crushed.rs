//! What massive activations do to a path that codes activations with one scale per 256: their neighbours are crushed.

use std::collections::BTreeMap;

use twinpath_engine::{Site, Tensor};
use twinpath_evidence::attribution::MassiveAt;
use twinpath_evidence::massive::{BLOCK, Peak, is_sole};
use twinpath_formats::Matrix;
use twinpath_paths::fused_q8k::rounding_error;
use twinpath_paths::simd::Isa;
use twinpath_paths::standalone;

use super::switch::cast;

/// Elements that are kept for the record.
const MOST_LISTED: usize = 8;

/// Blocks of one run whose scale one element sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crushed {
    /// What their coding adds to each linear output, `W e` with `e` the error of those blocks alone: `[T, out]`.
    pub(crate) parts: BTreeMap<Site, Tensor<f64>>,
    /// Such blocks, of all that were coded.
    pub(crate) blocks: (u64, u64),
    /// The largest such elements.
    pub(crate) largest: Vec<MassiveAt>,
}

impl Crushed {
    /// Looks at rows of the input `x` of a linear op that are coded with one scale per 256.
    pub(crate) fn add(&mut self, site: Site, weight: Matrix<'_>, x: &Tensor<f32>, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let Some(mut error) = rounding_error(weight, x) else { return };
        let mut sole = 0;
        for t in 0..x.rows() {
            let coded = rows.contains(&t);
            for (x, e) in x.row(t).chunks(BLOCK).zip(error.row_mut(t).chunks_mut(BLOCK)) {
                self.blocks.1 += u64::from(coded);
                if coded && is_sole(x.iter().map(|x| f64::from(*x))) {
                    sole += 1;
                } else {
                    e.fill(0.0);
                }
            }
        }
        self.blocks.0 += sole;
        if sole == 0 {
            return;
        }
        self.parts.insert(site, cast(&standalone::linear(Isa::detect(), weight, None, &error)));
        for t in rows {
            let row: Vec<f64> = x.row(*t).iter().map(|x| f64::from(*x)).collect();
            let peak = Peak::of(*t, &row).filter(|p| p.sole_blocks > 0);
            // Matrices that read one value see one peak.
            let new = |p: &Peak| self.largest.iter().all(|m| m.peak != *p);
            if let Some(peak) = peak.filter(new) {
                self.largest.push(MassiveAt { site: site.to_string(), prompt: 0, peak });
            }
        }
        list(&mut self.largest);
    }
}

/// Keeps the largest, relative to the median of their rows.
pub(crate) fn list(largest: &mut Vec<MassiveAt>) {
    let size = |m: &MassiveAt| m.peak.times_median.unwrap_or(f64::INFINITY);
    largest.sort_by(|a, b| size(b).total_cmp(&size(a)));
    largest.truncate(MOST_LISTED);
}
