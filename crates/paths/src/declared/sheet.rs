//! Outputs of a linear op, `[positions, rows]`, which tasks of some rows each write at once.

use std::ops::Range;

use rayon::prelude::*;

use super::Declared;
use super::dots::{LANES, ROWS};
use super::lanes::Lanes;

/// Values, spreads and bounds of the reading that is judged, then values of the other.
const PLANES: usize = 4;

/// Where the outputs of an op go.
struct Sheet {
    places: [*mut f64; PLANES],
    rows: usize,
    positions: usize,
}

// SAFETY: tasks write disjoint places, see `Part::put`.
unsafe impl Sync for Sheet {}

/// Rows of the sheet that one task fills, tile after tile and in each block after block of positions.
pub(super) struct Part<'a> {
    sheet: &'a Sheet,
    rows: Range<usize>,
    /// The tile of rows and block of positions to be put next.
    next: (usize, usize),
}

impl Part<'_> {
    /// Puts the outputs of the next tile of rows and block of positions: for each plane `[row][position]`.
    pub(super) fn put(&mut self, outputs: &[[Lanes; ROWS]]) {
        let (tile, block) = self.next;
        let first = self.rows.start + tile * ROWS;
        let (count, from) = (ROWS.min(self.rows.end - first), block * LANES);
        let positions = LANES.min(self.sheet.positions - from);
        for (start, outputs) in self.sheet.places.iter().zip(outputs).filter(|(start, _)| !start.is_null()) {
            for l in 0..positions {
                for (r, output) in outputs[..count].iter().enumerate() {
                    // SAFETY: the row is one of this part's, which no other has, and the position is one of the sheet's: the
                    // place is one of its `positions · rows`.
                    unsafe { start.add((from + l) * self.sheet.rows + first + r).write(output[l]) };
                }
            }
        }
        self.next = if from + LANES < self.sheet.positions { (tile, block + 1) } else { (tile + 1, 0) };
    }

    /// Where there are no positions, there is nothing to fill.
    fn is_full(&self) -> bool {
        self.sheet.positions == 0 || self.next == (self.rows.len().div_ceil(ROWS), 0)
    }
}

/// Lets `task` fill sheets of the same rows, `step` rows at a time: each of some positions, with values of another reading or
/// without. It works on what `scratch` makes, some of which serve many tasks.
///
/// # Panics
/// When a task leaves a part unfilled.
pub(super) fn fill<S>(
    shapes: &[(usize, bool)],
    rows: usize,
    step: usize,
    scratch: impl Fn() -> S + Send + Sync,
    task: impl Fn(&mut S, Range<usize>, &mut [Part<'_>]) + Send + Sync,
) -> Vec<(Declared, Option<Vec<f64>>)> {
    let planes = |(positions, other): &(usize, bool)| -> Vec<Vec<f64>> {
        (0..if *other { PLANES } else { PLANES - 1 }).map(|_| Vec::with_capacity(positions * rows)).collect()
    };
    let mut made: Vec<Vec<Vec<f64>>> = shapes.iter().map(planes).collect();
    let sheet = |(planes, (positions, _)): (&mut Vec<Vec<f64>>, &(usize, bool))| {
        let mut places = [std::ptr::null_mut(); PLANES];
        places.iter_mut().zip(planes).for_each(|(place, plane)| *place = plane.as_mut_ptr());
        Sheet { places, rows, positions: *positions }
    };
    let sheets: Vec<Sheet> = made.iter_mut().zip(shapes).map(sheet).collect();
    (0..rows).into_par_iter().step_by(step).for_each_init(scratch, |scratch, first| {
        let rows = first..rows.min(first + step);
        let part = |sheet| Part { sheet, rows: rows.clone(), next: (0, 0) };
        let mut parts: Vec<Part<'_>> = sheets.iter().map(part).collect();
        task(scratch, rows, &mut parts);
        assert!(parts.iter().all(Part::is_full), "a task fills its parts");
    });
    let finish = |(mut planes, (positions, other)): (Vec<Vec<f64>>, &(usize, bool))| {
        for plane in &mut planes {
            // SAFETY: the capacity is this, and every place was written: parts have all rows, and each was full, tile after
            // tile and block after block.
            unsafe { plane.set_len(positions * rows) };
        }
        let other = other.then(|| planes.pop().unwrap_or_default());
        let mut next = planes.into_iter();
        let mut plane = || next.next().unwrap_or_default();
        (Declared { rows: *positions, cols: rows, value: plane(), spread: plane(), bound: plane() }, other)
    };
    made.into_iter().zip(shapes).map(finish).collect()
}
