//! Blocks to f32, and activations to codes.

use twinpath_formats::TensorType;
use twinpath_paths::pieces;

use super::kit::{self, Weights};
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure =
    Measure { name: "blocks", about: "blocks decoded to f32 and activations coded in 8 bits, on one thread", run };

/// Rows and columns decoded in a turn; as f32 they fit in the second-level cache.
const DECODED: (usize, usize) = (32, 1024);
/// Activations coded in a turn.
const CODED: usize = 4096;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let (isa, pool) = (subject.isa, subject.threads.one());
    let (rows, cols) = DECODED;
    for matrix in kit::largest_of_each_type(subject.model) {
        let weights = Weights::new(matrix, rows, cols, 0)?;
        let mut race = Race::new("blocks", format!("{} to f32", matrix.format().name()), "Gval/s");
        // From a line of the cache on, as the strips of a linear op and the opponent's values.
        let mut out = vec![0.0f32; rows * cols + 15];
        let first = out.as_ptr().align_offset(64);
        let weights = &weights;
        race.racer("decode", pool, move || {
            pieces::decode(isa, weights.matrix(0), &mut out[first..first + rows * cols]);
            std::hint::black_box(&out);
            Ok((rows * cols) as f64 / 1e9)
        });
        log.race(race)?;
    }
    for (name, weights) in [("Q8_K", TensorType::Q4K), ("Q8_0", TensorType::Q8_0)] {
        let mut race = Race::new("blocks", format!("activations to {name}"), "Gval/s");
        let x = kit::activations(1, CODED);
        race.racer("code", pool, move || {
            pieces::code(isa, weights, &x);
            Ok(CODED as f64 / 1e9)
        });
        log.race(race)?;
    }
    Ok(())
}
