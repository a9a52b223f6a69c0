//! Values `[positions, rows]` of a linear op while several threads make them, each those of some rows.

use std::marker::PhantomData;
use std::ops::Range;

use crate::team;

/// Below this many multiplications, threads cost more than they save.
pub(crate) const SERIAL_MACS: usize = 1 << 18;
/// Parts per thread: neighbours on a busy machine differ, and a part that is left over is taken by who is done.
const PARTS_PER_THREAD: usize = 4;

/// The values of some rows at every position: of each position a stretch, `apart` values after that of the one before.
pub(crate) struct Columns<'a> {
    start: *mut f32,
    apart: usize,
    positions: usize,
    rows: usize,
    values: PhantomData<&'a mut [f32]>,
}

impl<'a> Columns<'a> {
    /// All of `values`, `[positions, rows]`.
    pub(crate) fn new(values: &'a mut [f32], rows: usize) -> Self {
        let positions = values.len().checked_div(rows).unwrap_or(0);
        assert_eq!(values.len(), positions * rows, "every position has {rows} values");
        Columns { start: values.as_mut_ptr(), apart: rows, positions, rows, values: PhantomData }
    }

    /// Calls `f` with parts of successive rows of `values`, `[positions, rows]`, on all threads if there is enough work: each
    /// row meets `cols` columns. A part is a multiple of `tile` rows.
    pub(crate) fn share(
        values: &mut [f32],
        (rows, cols): (usize, usize),
        tile: usize,
        f: impl Fn(Range<usize>, &mut Columns<'_>) + Sync,
    ) {
        let serial = values.len() * cols < SERIAL_MACS;
        let parts = if serial { 1 } else { PARTS_PER_THREAD * rayon::current_num_threads() };
        let part = rows.div_ceil(parts).max(1).next_multiple_of(tile);
        let all = Shared(Columns::new(values, rows));
        let all = &all;
        team::for_each(rows.div_ceil(part), &|i| {
            let range = i * part..rows.min((i + 1) * part);
            let start = all.0.start.wrapping_add(range.start);
            f(range.clone(), &mut Columns { start, rows: range.len(), values: PhantomData, ..all.0 });
        });
    }

    /// The values of these rows at position `t`.
    #[inline]
    pub(crate) fn of(&mut self, t: usize, rows: Range<usize>) -> &mut [f32] {
        assert!(
            t < self.positions && rows.start <= rows.end && rows.end <= self.rows,
            "rows and a position that are here"
        );
        // SAFETY: inside the values that `new` borrowed; columns of two parts have no place in common, and these of one are
        // lent one stretch at a time.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(t * self.apart + rows.start), rows.len()) }
    }
}

/// Columns whose parts are taken by several threads.
struct Shared<'a>(Columns<'a>);

// SAFETY: nothing is written through it: each thread takes other columns of it, of values that may be sent to it.
unsafe impl Sync for Shared<'_> {}
