//! One position through one matrix, coding of the activations included.

use rayon::ThreadPool;
use twinpath_engine::{Op, Point, Site, Tensor};
use twinpath_formats::TensorType;

use super::kit::{self, Weights};
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure = Measure {
    name: "gemv",
    about: "one position through one matrix of each block type of the model, in and out of cache",
    run,
};

/// Rows and columns of a matrix that the second-level cache of one core holds.
const IN_CACHE: (usize, usize) = (512, 2048);
/// Of one of those that are met one after another.
const OUT_OF_CACHE: (usize, usize) = (4096, 4096);
/// Share of the read limit that the two types of a Q4_K_M file are to reach out of cache on all threads.
const SHARE: f64 = 0.95;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    for matrix in kit::largest_of_each_type(subject.model) {
        let (rows, cols) = IN_CACHE;
        let cached = Weights::new(matrix, rows, cols, 0)?;
        for pool in subject.threads.each() {
            log.race(race(subject, &cached, pool, "in cache", None)?)?;
        }
        drop(cached);
        let (rows, cols) = OUT_OF_CACHE;
        let weights = Weights::new(matrix, rows, cols, kit::out_of_cache(subject.pace.quick))?;
        for pool in subject.threads.each() {
            let judged =
                pool.current_num_threads() > 1 && matches!(matrix.tensor_type(), TensorType::Q4K | TensorType::Q6K);
            log.race(race(subject, &weights, pool, "out of cache", judged.then_some(SHARE))?)?;
        }
    }
    Ok(())
}

fn race<'r>(
    subject: &'r Subject<'_>,
    weights: &'r Weights,
    pool: &'r ThreadPool,
    place: &str,
    target: Option<f64>,
) -> Result<Race<'r>, LabError> {
    let (isa, first) = (subject.isa, weights.matrix(0));
    let name = format!("{} {} x {}, {place}, {}", first.format().name(), first.rows(), first.cols(), kit::on(pool));
    let mut race = Race::new("gemv", name, "GB/s");
    let gigabytes = weights.size() as f64 / 1e9;
    race.racer("read", pool, move || {
        kit::read(isa, weights.bytes());
        Ok(weights.bytes().len() as f64 / 1e9)
    });
    let x = kit::activations(1, first.cols());
    let copies = weights.copied(subject)?;
    for path in subject.paths {
        let path = kit::along(path);
        race.racer(path.name(), pool, product(x.clone(), weights, move |op, x| path.eval(SITE, op, x)));
        let target = target.filter(|_| path.name() != "standalone" && copies.is_empty());
        race.speed(path.name(), "read", target);
    }
    for (name, path) in copies {
        race.speed(&name, "read", target);
        race.racer(name, pool, product(x.clone(), weights, move |op, x| kit::along(&path).eval(SITE, op, x)));
    }
    kit::peers(subject, &mut race, pool, weights, &x, gigabytes);
    Ok(race)
}

/// One matrix after another times `x`; the work is gigabytes of weights.
fn product<'r>(
    x: Tensor<f32>,
    weights: &'r Weights,
    eval: impl Fn(&Op<'_>, &[&Tensor<f32>]) -> Tensor<f32> + Send + 'r,
) -> impl FnMut() -> Result<f64, LabError> + Send + 'r {
    let mut i = 0;
    move || {
        std::hint::black_box(eval(&Op::Linear { weight: weights.matrix(i), bias: None }, &[&x]));
        i += 1;
        Ok(weights.size() as f64 / 1e9)
    }
}

/// Where a product is made does not matter to it.
const SITE: Site = Site { layer: None, point: Point::Logits };
