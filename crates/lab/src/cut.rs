//! Some positions of a side that computes all of them: to be compared with a recording that holds no others.

use std::ops::Range;

use crate::error::LabError;
use crate::side::{Recorded, Side, Stage, Values};

/// The side, cut.
pub(crate) struct Cut<'m> {
    /// The whole.
    pub(crate) side: Box<dyn Side + 'm>,
    /// The positions that are left.
    pub(crate) positions: Range<usize>,
}

impl Side for Cut<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let all = self.side.stage(stage)?;
        Ok(all.into_iter().filter_map(|recorded| cut(recorded, &self.positions)).collect())
    }
}

/// What is common to two ranges; `None` if nothing is.
pub(crate) fn common(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

/// The rows of a value at these positions. What was judged of it stays: it is of all of them.
fn cut(recorded: Recorded, positions: &Range<usize>) -> Option<Recorded> {
    let (rows, cols) = recorded.values.shape();
    let first = recorded.first_row;
    let kept = common(&(first..first + rows), positions)?;
    let at = kept.start - first..kept.end - first;
    let values = match &recorded.values {
        Values::F32(t) => Values::F32(t.rows_of(at.clone())),
        Values::F64(t) => Values::F64(t.rows_of(at.clone())),
    };
    let mut judged = recorded.judged;
    if let Some(replayed) = judged.as_mut().and_then(|j| j.replayed.as_mut()) {
        let cells = at.start * cols..at.end * cols;
        replayed.own = replayed.own[cells.clone()].to_vec();
        replayed.other = replayed.other.take().map(|other| other[cells].to_vec());
    }
    Some(Recorded { values, judged, first_row: kept.start, ..recorded })
}
