//! The machine itself: reading memory, and multiplying in registers.

use twinpath_evidence::bench::Warning;
use twinpath_paths::limits::{self, Pages};

use super::race::Race;
use super::{Log, Measure, Subject, kit, system};
use crate::error::LabError;

pub(super) const MEASURE: Measure =
    Measure { name: "machine", about: "reading memory in and out of cache, and multiplying in registers", run };

/// Bytes for each thread that lie in the second-level cache of any processor of the last ten years.
const IN_CACHE: usize = 192 << 10;
/// Products of one turn.
const MACS: f64 = 2e8;
/// All threads read less than this times what one does: the memory is shared, or one thread saturates it.
const LOW: f64 = 1.2;

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let isa = subject.isa;
    let (huge, small) = buffers(subject.pace.quick, log)?;
    let mut rates = Vec::new();
    for pool in subject.threads.each() {
        let mut race = Race::new("machine", format!("reading, {}", kit::on(pool)), "GB/s");
        let cached = &huge[..IN_CACHE * pool.current_num_threads()];
        for (name, bytes) in [("in cache", cached), ("out of cache", &huge), ("out of cache, 4 KiB pages", &small)] {
            race.racer(name, pool, move || {
                kit::read(isa, bytes);
                Ok(bytes.len() as f64 / 1e9)
            });
        }
        race.speed("out of cache, 4 KiB pages", "out of cache", None);
        log.race(race)?;
        rates.extend(log.record.groups.last().map(|g| g.entrants[1].rate.median));
    }
    if let [one, all] = rates[..]
        && all < LOW * one
    {
        log.record.warnings.push(Warning::LimitLow { one, all });
    }
    for pool in subject.threads.each() {
        let mut race = Race::new("machine", format!("multiplying, {}", kit::on(pool)), "GMAC/s");
        kit::peaks(&mut race, isa, pool, MACS, MACS / 1e9);
        match race.racers.is_empty() {
            true => log.left_out(race.name, "portable code has no instructions of its own for products"),
            false => log.race(race)?,
        }
    }
    Ok(())
}

/// Memory out of cache, on huge pages and on small ones.
fn buffers(quick: bool, log: &mut Log<'_>) -> Result<(limits::Buffer, limits::Buffer), LabError> {
    let len = kit::out_of_cache(quick);
    let before = system::on_huge_pages();
    let huge = kit::buffer(len, Pages::Huge)?;
    if let (Some(before), Some(after)) = (before, system::on_huge_pages()) {
        let (asked, given) = (len as u64, after.saturating_sub(before));
        if given < asked / 10 * 9 {
            log.record.warnings.push(Warning::SmallPages { asked, given });
        }
    }
    Ok((huge, kit::buffer(len, Pages::Small)?))
}
