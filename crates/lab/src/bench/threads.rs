//! What more threads gain, beside what they gain a processor that does nothing but multiply: threads of one core share its
//! units, and neighbours on the machine take of them what they like.

use twinpath_engine::{NoProbe, Rows, Session};
use twinpath_paths::{limits, standalone};

use super::kit::{self, Limit};
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure = Measure {
    name: "threads",
    about: "a prompt on one thread and on all, beside multiplying in registers on one and on all",
    run,
};

/// Positions, and of a quick run.
const POSITIONS: (usize, usize) = (128, 64);
/// What each thread is to bring: two make it 1.9 times as fast.
const EACH: f64 = 0.95;
/// Share of a prompt's products that a peak makes.
const PART: f64 = 1.0 / 16.0;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let model = subject.model;
    let tokens = kit::tokens(model, if subject.pace.quick { POSITIONS.1 } else { POSITIONS.0 });
    let (one, all) = (subject.threads.one(), subject.threads.all());
    if all.current_num_threads() == 1 {
        log.left_out("threads", "there is one");
        return Ok(());
    }
    for path in subject.paths {
        let path = kit::along(path);
        let mut race = Race::new("threads", format!("{}, {} positions", path.name(), tokens.len()), "tok/s");
        let work = tokens.len() as f64;
        for pool in [one, all] {
            let tokens = &tokens;
            race.racer(kit::on(pool), pool, move || {
                let mut session = Session::new(model, path);
                std::hint::black_box(session.forward(tokens, Rows::Last, &mut NoProbe)?);
                Ok(work)
            });
        }
        let macs = kit::macs(model, tokens.len()) * PART;
        let (peak, limit): (_, Limit) = match path.name() {
            standalone::NAME => (kit::F32_PEAK, limits::multiply_f32),
            _ => (kit::INT8_PEAK, limits::multiply_int8),
        };
        let on = |pool| format!("{peak}, {}", kit::on(pool));
        for pool in [one, all] {
            kit::peak(&mut race, on(pool), (limit, subject.isa), pool, (macs, work * PART));
        }
        race.speed(&on(all), &on(one), None);
        race.speed(
            &kit::on(all),
            &kit::on(one),
            kit::is_large(model).then_some(EACH * all.current_num_threads() as f64),
        );
        log.race(race)?;
    }
    Ok(())
}
