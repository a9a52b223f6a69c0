//! What more threads gain.

use twinpath_engine::{NoProbe, Rows, Session};

use super::kit;
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;

pub(super) const MEASURE: Measure = Measure { name: "threads", about: "a prompt on one thread and on all", run };

/// Positions, and of a quick run.
const POSITIONS: (usize, usize) = (128, 64);
/// What each thread is to bring: two make it 1.9 times as fast.
const EACH: f64 = 0.95;

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
        for pool in [one, all] {
            let tokens = &tokens;
            race.racer(kit::on(pool), pool, move || {
                let mut session = Session::new(model, path);
                std::hint::black_box(session.forward(tokens, Rows::Last, &mut NoProbe)?);
                Ok(tokens.len() as f64)
            });
        }
        race.speed(
            &kit::on(all),
            &kit::on(one),
            kit::is_large(model).then_some(EACH * all.current_num_threads() as f64),
        );
        log.race(race)?;
    }
    Ok(())
}
