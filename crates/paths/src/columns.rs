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

impl Columns<'_> {
    /// `[positions, rows]` values, of which `f` makes those of successive rows out of zeros, on all threads if there is enough
    /// work: each row meets `cols` columns. All parts but the last are multiples of `tile` rows.
    pub(crate) fn made(
        positions: usize,
        (rows, cols): (usize, usize),
        tile: usize,
        f: impl Fn(Range<usize>, &mut Columns<'_>) + Sync,
    ) -> Vec<f32> {
        let serial = positions * rows * cols < SERIAL_MACS;
        let tiles = rows.div_ceil(tile);
        let parts = tiles.min(if serial { 1 } else { PARTS_PER_THREAD * rayon::current_num_threads() });
        let mut values = Vec::with_capacity(positions * rows);
        let all = Shared(values.as_mut_ptr());
        let all = &all;
        team::for_each(parts, &|i| {
            let range = i * tiles / parts * tile..rows.min((i + 1) * tiles / parts * tile);
            let start = all.0.wrapping_add(range.start);
            for t in 0..positions {
                // SAFETY: places of these rows at a position, inside the capacity; no other part has any of them.
                unsafe { start.add(t * rows).write_bytes(0, range.len()) };
            }
            f(range.clone(), &mut Columns { start, apart: rows, positions, rows: range.len(), values: PhantomData });
        });
        // SAFETY: the parts have all rows at all positions, and each has written its own.
        unsafe { values.set_len(positions * rows) };
        values
    }

    /// The values of these rows at position `t`.
    #[inline]
    pub(crate) fn of(&mut self, t: usize, rows: Range<usize>) -> &mut [f32] {
        assert!(
            t < self.positions && rows.start <= rows.end && rows.end <= self.rows,
            "rows and a position that are here"
        );
        // SAFETY: values of these rows, which were written when the columns were made; columns of two parts have no place in
        // common, and these of one are lent one stretch at a time.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(t * self.apart + rows.start), rows.len()) }
    }
}

/// Where values begin whose columns are made by several threads.
struct Shared(*mut f32);

// SAFETY: each thread makes other columns from it, of values that may be sent to it.
unsafe impl Sync for Shared {}
