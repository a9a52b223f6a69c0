//! Comparing two paths, against running each by itself.

use twinpath_engine::{NoProbe, Rows, Session};

use super::kit;
use super::race::Race;
use super::{Log, Measure, Subject};
use crate::compare::{CompareOptions, OracleChoice, compare};
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;

pub(super) const MEASURE: Measure = Measure {
    name: "lockstep",
    about: "comparing two paths in lockstep, without oracle and replay, against a pass of each",
    run,
};

/// Positions and the share of both passes' time that a comparison may take: a decoding step reads each weight once for
/// both paths, a prompt may pay for its statistics.
const CASES: [(usize, f64); 2] = [(1, 0.75), (64, 1.0)];

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let [a, b, ..] = subject.paths else {
        log.left_out("lockstep", "it needs two paths: name the model without @PATH");
        return Ok(());
    };
    let cases = if subject.pace.quick { &CASES[..1] } else { &CASES };
    for (positions, target) in cases {
        let tokens = kit::tokens(subject.model, *positions);
        log.race(race(subject, [a, b], &tokens, *target))?;
    }
    Ok(())
}

fn race<'r>(subject: &'r Subject<'_>, paths: [&'r Arithmetic; 2], tokens: &'r [u32], target: f64) -> Race<'r> {
    let (model, pool) = (subject.model, subject.threads.all());
    let [a, b] = paths.map(Arithmetic::name);
    let name = format!("{a} and {b}, positions {}, {}", tokens.len(), kit::on(pool));
    let mut race = Race::new("lockstep", name, "1/s");
    race.racer(SEPARATE, pool, move || {
        for path in paths {
            let mut session = Session::new(model, kit::along(path));
            std::hint::black_box(session.forward(tokens, Rows::All, &mut NoProbe)?);
        }
        Ok(1.0)
    });
    race.racer(LOCKSTEP, pool, move || {
        let party = |path| Party { label: String::new(), source: Source::Model(model, path) };
        let off = OracleChoice::Off;
        let options = CompareOptions { oracle: off, layers: off, hash: false, replay: None, statistical: false };
        compare(&party(paths[0]), &party(paths[1]), tokens, options, &mut |_, _| {})?;
        Ok(1.0)
    });
    race.time(LOCKSTEP, SEPARATE, kit::is_large(model).then_some(target));
    race
}

const SEPARATE: &str = "two passes";
const LOCKSTEP: &str = "compare";
