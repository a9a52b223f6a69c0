//! Memory of a short run.

use twinpath_engine::{NoProbe, Rows, Session};
use twinpath_evidence::bench::Memory;
use twinpath_paths::fused_q8k;

use super::{Log, Measure, Subject, kit, system};
use crate::error::LabError;

pub(super) const MEASURE: Measure =
    Measure { name: "memory", about: "the largest resident set of a run of 128 positions and 8 steps", run };

/// Positions of the prompt, as many as `run` gives a path at once, and steps after it.
const POSITIONS: (usize, usize) = (128, 8);

fn run(subject: &Subject<'_>, log: &mut Log<'_>) -> Result<(), LabError> {
    let model = subject.model;
    let path = subject.paths.iter().find(|p| p.name() == fused_q8k::NAME).unwrap_or(&subject.paths[0]);
    let tokens = kit::tokens(model, POSITIONS.0 + POSITIONS.1);
    let (prompt, steps) = tokens.split_at(tokens.len().min(POSITIONS.0));
    subject.threads.all().install(|| {
        let mut session = Session::new(model, kit::along(path));
        session.forward(prompt, Rows::Last, &mut NoProbe)?;
        for token in steps {
            session.forward(&[*token], Rows::Last, &mut NoProbe)?;
        }
        Ok::<(), LabError>(())
    })?;
    let Some((peak, anonymous)) = system::resident() else {
        log.left_out("memory", "this system does not tell it under /proc/self/status");
        return Ok(());
    };
    let files = log.record.provenance.files.iter().map(|f| f.bytes).sum();
    let path = path.name().to_owned();
    log.record.memory = Some(Memory { path, model: files, peak, anonymous, positions: tokens.len() });
    Ok(())
}
