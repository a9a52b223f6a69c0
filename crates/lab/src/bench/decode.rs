//! One token after another.

use twinpath_paths::limits::Pages;

use super::kit::{self, Standing};
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure = Measure {
    name: "decode",
    about: "one token after another, beside reading as many bytes as the weights of one have",
    run,
};

/// Positions before the one that is decoded.
const PAST: usize = 32;
/// Bytes beyond which the buffer for reading is gone through several times.
const LARGEST: usize = 1 << 30;
/// Share of the read limit to reach where the weights are out of cache.
const SHARE: f64 = 0.80;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let model = subject.model;
    let weights = kit::read_by_a_pass(model);
    let bytes: usize = weights.iter().map(|m| m.bytes().len()).sum();
    let huge = kit::buffer(bytes.min(LARGEST), Pages::Huge)?;
    let (isa, tokens) = (subject.isa, huge.len() as f64 / bytes as f64);
    for pool in subject.threads.each() {
        let mut race = Race::new("decode", format!("after {PAST} positions, {}", kit::on(pool)), "tok/s");
        race.racer(READ, pool, || {
            kit::read(isa, &huge);
            Ok(tokens)
        });
        race.racer(MAPPED, pool, || {
            weights.iter().for_each(|m| kit::read(isa, m.bytes()));
            Ok(1.0)
        });
        for path in subject.paths {
            let mut standing = pool.install(|| Standing::new(model, path, PAST))?;
            race.racer(path.name(), pool, move || {
                standing.step()?;
                Ok(1.0)
            });
            let judged = path.name() == "fused-q8k" && pool.current_num_threads() > 1 && kit::is_large(model);
            race.speed(path.name(), READ, judged.then_some(SHARE));
            race.speed(path.name(), MAPPED, None);
        }
        for path in subject.mapped {
            let mut standing = pool.install(|| Standing::new(model, path, PAST))?;
            let name = format!("{}, mapped", path.name());
            race.speed(path.name(), &name, None);
            race.racer(name, pool, move || {
                standing.step()?;
                Ok(1.0)
            });
        }
        kit::finer_scales(&mut race, model, 1.10);
        log.race(race)?;
    }
    Ok(())
}

const READ: &str = "read, huge pages";
const MAPPED: &str = "read, the mapped file";
