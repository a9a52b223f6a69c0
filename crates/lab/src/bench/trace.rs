//! Watching every value, against not watching.

use twinpath_engine::{NoProbe, Rows, Session};

use super::kit;
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;
use crate::trace::statistics;

pub(super) const MEASURE: Measure =
    Measure { name: "trace", about: "a pass with the statistics of every value, against a plain pass", run };

/// Positions, and of a quick run; and the time that statistics may take, by that of a plain pass.
const CASES: [(usize, usize, f64); 2] = [(1, 1, 1.25), (264, 64, 1.10)];

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    for path in subject.paths {
        for (full, quick, target) in CASES {
            let tokens = kit::tokens(subject.model, if subject.pace.quick { quick } else { full });
            log.race(race(subject, path, &tokens, target))?;
        }
    }
    Ok(())
}

fn race<'r>(subject: &'r Subject<'_>, path: &'r Arithmetic, tokens: &'r [u32], target: f64) -> Race<'r> {
    let (model, pool) = (subject.model, subject.threads.all());
    let name = format!("{}, positions {}, {}", path.name(), tokens.len(), kit::on(pool));
    let mut race = Race::new("trace", name, "1/s");
    race.racer(PLAIN, pool, move || {
        let mut session = Session::new(model, kit::along(path));
        std::hint::black_box(session.forward(tokens, Rows::All, &mut NoProbe)?);
        Ok(1.0)
    });
    race.racer(WATCHED, pool, move || {
        let party = Party { label: String::new(), source: Source::Model(model, path) };
        std::hint::black_box(statistics(&party, tokens, false, &mut |_, _| {})?);
        Ok(1.0)
    });
    race.time(WATCHED, PLAIN, kit::is_large(model).then_some(target));
    race
}

const PLAIN: &str = "plain pass";
const WATCHED: &str = "with statistics";
