//! A prompt at once.

use twinpath_engine::{NoProbe, Rows, Session};

use super::kit;
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure =
    Measure { name: "prefill", about: "a prompt at once, beside the peak of the multipliers", run };

/// Positions, and of a quick run.
const POSITIONS: (usize, usize) = (512, 64);
/// Share of the peak of the multipliers that `fused-q8k` is to reach.
const SHARE: f64 = 0.50;
/// Part of a prompt's products that the peak is measured by.
const PART: f64 = 0.1;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let model = subject.model;
    let tokens = kit::tokens(model, if subject.pace.quick { POSITIONS.1 } else { POSITIONS.0 });
    let pool = subject.threads.all();
    let mut race = Race::new("prefill", format!("{} positions, {}", tokens.len(), kit::on(pool)), "tok/s");
    let work = tokens.len() as f64;
    kit::peaks(&mut race, subject.isa, pool, kit::macs(model, tokens.len()) * PART, work * PART);
    for path in subject.paths {
        let (path, tokens) = (kit::along(path), &tokens);
        race.racer(path.name(), pool, move || {
            let mut session = Session::new(model, path);
            std::hint::black_box(session.forward(tokens, Rows::Last, &mut NoProbe)?);
            Ok(work)
        });
        let target = (path.name() == "fused-q8k" && kit::is_large(model)).then_some(SHARE);
        match path.name() {
            "standalone" => race.speed(path.name(), kit::F32_PEAK, None),
            name => kit::share_of_int8_peak(&mut race, subject.isa, name, target),
        }
    }
    kit::finer_scales(&mut race, model, 1.25);
    log.race(race)
}
