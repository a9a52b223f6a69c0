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
    /// Whether there is a value at every place.
    valued: bool,
    values: PhantomData<&'a mut [f32]>,
}

impl Columns<'_> {
    /// `[positions, rows]` values, of which `f` makes those of successive rows, on all threads if there is enough work: each
    /// row meets `cols` columns. All parts but the last are multiples of `tile` rows. What `f` does not make is zero.
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
        let (all, apart) = (&Shared(values.as_mut_ptr()), rows);
        team::for_each(parts, &|i| {
            let range = i * tiles / parts * tile..rows.min((i + 1) * tiles / parts * tile);
            let start = all.0.wrapping_add(range.start);
            let rows = range.len();
            let mut columns = Columns { start, apart, positions, rows, valued: false, values: PhantomData };
            f(range, &mut columns);
            if !columns.valued {
                columns.clear();
            }
        });
        // SAFETY: the parts have all rows at all positions, and of each all are valued.
        unsafe { values.set_len(positions * rows) };
        values
    }

    /// Makes all zero.
    #[cold]
    fn clear(&mut self) {
        for t in 0..self.positions {
            // SAFETY: places of these rows at a position, inside the capacity; no other part has any of them.
            unsafe { self.start.add(t * self.apart).write_bytes(0, self.rows) };
        }
        self.valued = true;
    }

    /// The values of these rows at position `t`, zeros at first.
    #[inline]
    pub(crate) fn of(&mut self, t: usize, rows: Range<usize>) -> &mut [f32] {
        if !self.valued {
            self.clear();
        }
        // SAFETY: values of these rows; columns of two parts have no place in common, and these of one are lent one stretch at
        // a time.
        unsafe { std::slice::from_raw_parts_mut(self.places(t, rows.clone()), rows.len()) }
    }

    /// Where the values of these rows at position `t` go, for who writes all: zeros are not written first.
    #[inline]
    pub(crate) fn places(&mut self, t: usize, rows: Range<usize>) -> *mut f32 {
        assert!(
            t < self.positions && rows.start <= rows.end && rows.end <= self.rows,
            "rows and a position that are here"
        );
        self.start.wrapping_add(t * self.apart + rows.start)
    }

    /// Says that every place was written.
    ///
    /// # Safety
    /// It was, and before anything that this thread tells another.
    pub(crate) unsafe fn all_written(&mut self) {
        self.valued = true;
    }
}

/// Where values begin whose columns are made by several threads.
struct Shared(*mut f32);

// SAFETY: each thread makes other columns from it, of values that may be sent to it.
unsafe impl Sync for Shared {}
