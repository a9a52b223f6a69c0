//! Many positions through one matrix.

use rayon::ThreadPool;
use twinpath_engine::{Op, Point, Site};
use twinpath_paths::Reading;

use super::kit::{self, Weights};
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure = Measure {
    name: "gemm",
    about: "64 positions through one matrix of each block type of the model, beside the peak of the multipliers",
    run,
};

/// Positions, rows and columns.
const SHAPE: (usize, usize, usize) = (64, 4096, 4096);
/// Share of the peak of f32 multiply-adds that `standalone` is to reach.
const STANDALONE_SHARE: f64 = 0.60;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    for matrix in kit::largest_of_each_type(subject.model) {
        let weights = Weights::new(matrix, SHAPE.1, SHAPE.2, 0)?;
        for pool in subject.threads.each() {
            log.race(race(subject, &weights, pool)?)?;
        }
    }
    Ok(())
}

fn race<'r>(subject: &'r Subject<'_>, weights: &'r Weights, pool: &'r ThreadPool) -> Result<Race<'r>, LabError> {
    let (positions, rows, cols) = SHAPE;
    let (isa, matrix) = (subject.isa, weights.matrix(0));
    let name = format!("{} {rows} x {cols}, {positions} positions, {}", matrix.format().name(), kit::on(pool));
    let mut race = Race::new("gemm", name, "GMAC/s");
    kit::peaks(&mut race, isa, pool, 1e9, 1.0);
    let work = (positions * rows * cols) as f64 / 1e9;
    let x = kit::activations(positions, cols);
    for path in subject.paths {
        let (x, path) = (x.clone(), kit::along(path));
        race.racer(path.name(), pool, move || {
            let op = Op::Linear { weight: matrix, bias: None };
            std::hint::black_box(path.eval(Site { layer: None, point: Point::Logits }, &op, &[&x]));
            Ok(work)
        });
        let plain = path.reading(matrix.tensor_type()) == Reading::Plain;
        let target = (path.name() == "standalone").then_some(STANDALONE_SHARE);
        match plain {
            true => race.speed(path.name(), kit::F32_PEAK, target),
            false => kit::share_of_int8_peak(&mut race, isa, path.name(), None),
        }
    }
    for (name, path) in weights.copied(subject)? {
        kit::share_of_int8_peak(&mut race, isa, &name, None);
        let x = x.clone();
        race.racer(name, pool, move || {
            let op = Op::Linear { weight: matrix, bias: None };
            std::hint::black_box(kit::along(&path).eval(Site { layer: None, point: Point::Logits }, &op, &[&x]));
            Ok(work)
        });
    }
    kit::peers(subject, &mut race, pool, weights, &x, work);
    Ok(race)
}
