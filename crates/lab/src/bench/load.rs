//! From a file to a model that can run.

use twinpath_engine::Model;
use twinpath_formats::Verify;

use super::race::Race;
use super::{Log, Measure, Subject};
use crate::error::LabError;
use crate::inspect::inspect;

pub(super) const MEASURE: Measure =
    Measure { name: "load", about: "opening and inspecting the file, which lies in the page cache", run };

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let path = subject.model.path();
    let pool = subject.threads.all();
    let mut race = Race::new("load", "once", "1/s");
    race.racer("open, header checked", pool, || {
        Model::open(path, Verify::Header)?;
        Ok(1.0)
    });
    race.racer("open, all checked", pool, || {
        Model::open(path, Verify::All)?.file().check_finite()?;
        Ok(1.0)
    });
    race.racer("inspect", pool, || {
        inspect(path, false)?;
        Ok(1.0)
    });
    log.race(race)
}
