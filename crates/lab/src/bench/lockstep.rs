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
    about: "comparing two paths in lockstep, without the oracle, with and without replay, against a pass of each",
    run,
};

/// What to compare.
struct Case {
    positions: usize,
    /// Whether every op of both sides is judged on its own inputs.
    replay: bool,
    /// The share of both passes' time that it may take.
    target: f64,
    /// Whether a quick run has it.
    quick: bool,
}

/// A decoding step reads each weight once for both paths, a prompt may pay for its statistics; replay has three declared
/// evaluations to make.
const CASES: [Case; 3] = [
    Case { positions: 1, replay: false, target: 0.75, quick: true },
    Case { positions: 64, replay: false, target: 1.0, quick: false },
    Case { positions: 16, replay: true, target: 3.0, quick: true },
];

/// Chance of a false alarm in a run with replay; as fast with any other.
const ALPHA: f64 = 1e-3;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let [a, b, ..] = subject.paths else {
        log.left_out("lockstep", "it needs two paths: name the model without @PATH");
        return Ok(());
    };
    for case in CASES.iter().filter(|case| case.quick || !subject.pace.quick) {
        let tokens = kit::tokens(subject.model, case.positions);
        log.race(race(subject, [a, b], &tokens, case))?;
    }
    Ok(())
}

fn race<'r>(subject: &'r Subject<'_>, paths: [&'r Arithmetic; 2], tokens: &'r [u32], case: &Case) -> Race<'r> {
    let (model, pool) = (subject.model, subject.threads.all());
    let [a, b] = paths.map(Arithmetic::name);
    let (judged, replay) = if case.replay { (", with replay", Some(ALPHA)) } else { ("", None) };
    let name = format!("{a} and {b}{judged}, positions {}, {}", tokens.len(), kit::on(pool));
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
        let options = CompareOptions { oracle: off, layers: off, hash: false, replay, statistical: false };
        compare(&party(paths[0]), &party(paths[1]), tokens, options, &mut |_, _| {})?;
        Ok(1.0)
    });
    race.time(LOCKSTEP, SEPARATE, kit::is_large(model).then_some(case.target));
    race
}

const SEPARATE: &str = "two passes";
const LOCKSTEP: &str = "compare";
