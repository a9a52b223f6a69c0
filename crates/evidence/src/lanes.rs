//! Rows in chunks of eight, so that what is summed over them becomes vectors in the caller's instruction set.

/// Values of a chunk.
pub(crate) const LANES: usize = 8;

/// Eight values.
pub(crate) type Lanes = [f64; LANES];

/// What rows are made of: f32 is widened as it is taken in, so that a row is read in four bytes and copied nowhere.
pub trait Value: Copy + Into<f64> {}

impl<T: Copy + Into<f64>> Value for T {}

/// What is summed. A closure would be compiled for the baseline; what is marked as inlined goes where its caller goes.
pub(crate) trait Step<const N: usize> {
    /// Takes in a chunk of each row.
    fn step(&mut self, rows: [&Lanes; N]);
}

/// Calls `sums` with the chunks of `N` rows of one length; the last is filled up with NaN, whose number is returned.
///
/// # Panics
/// When the rows differ in length.
#[inline(always)]
pub(crate) fn chunks<const N: usize>(rows: [&[f64]; N], sums: &mut impl Step<N>) -> u64 {
    let len = rows.first().map_or(0, |row| row.len());
    assert!(rows.iter().all(|row| row.len() == len), "rows of one site have one length");
    let whole = len / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        let mut chunk = [&[0.0; LANES]; N];
        for (chunk, row) in chunk.iter_mut().zip(rows) {
            if let Some(values) = row[i..].first_chunk() {
                *chunk = values;
            }
        }
        sums.step(chunk);
    }
    if whole == len {
        return 0;
    }
    let mut last = [[f64::NAN; LANES]; N];
    for (last, row) in last.iter_mut().zip(rows) {
        last[..len - whole].copy_from_slice(&row[whole..]);
    }
    sums.step(last.each_ref());
    (LANES - (len - whole)) as u64
}

/// `Σ x y`, lane by lane. Where several sums grow in one loop, LLVM makes vectors of what belongs to one lane, and turns them
/// for every chunk: so each has its own.
///
/// # Panics
/// Here and below: when the rows differ in length.
#[inline(always)]
pub(crate) fn products<X: Value, Y: Value>(x: &[X], y: &[Y]) -> Lanes {
    let mut sums = [0.0; LANES];
    over(x, y, |x, y| {
        for l in 0..LANES {
            sums[l] += x[l] * y[l];
        }
    });
    sums
}

/// `Σ (x - y)²`, lane by lane.
#[inline(always)]
pub(crate) fn squared_differences<X: Value, Y: Value>(x: &[X], y: &[Y]) -> Lanes {
    let mut sums = [0.0; LANES];
    over(x, y, |x, y| {
        for l in 0..LANES {
            sums[l] += (x[l] - y[l]) * (x[l] - y[l]);
        }
    });
    sums
}

/// The largest `|x - y|`, lane by lane.
#[inline(always)]
pub(crate) fn largest_difference<X: Value, Y: Value>(x: &[X], y: &[Y]) -> Lanes {
    let mut most = [0.0; LANES];
    over(x, y, |x, y| {
        for l in 0..LANES {
            let d = (x[l] - y[l]).abs();
            most[l] = if d > most[l] { d } else { most[l] };
        }
    });
    most
}

/// How many are equal. Integers may be added in any order, and LLVM makes better vectors of a plain loop than of lanes.
#[inline(always)]
pub(crate) fn equal<X: Value, Y: Value>(x: &[X], y: &[Y]) -> u64 {
    let one = |x: f64, y: f64| u64::from(x == y);
    x.iter().zip(y).fold(0u64, |n, (x, y)| n.wrapping_add(one((*x).into(), (*y).into())))
}

/// Calls `f` with the chunks of both rows; the last is filled up with zeros.
#[inline(always)]
fn over<X: Value, Y: Value>(x: &[X], y: &[Y], mut f: impl FnMut(&Lanes, &Lanes)) {
    assert!(x.len() == y.len(), "rows of one site have one length");
    let ((x, last_x), (y, last_y)) = (x.as_chunks(), y.as_chunks());
    for (x, y) in x.iter().zip(y) {
        f(&widened(x), &widened(y));
    }
    if !last_x.is_empty() {
        f(&filled(last_x, 0.0), &filled(last_y, 0.0));
    }
}

/// Values, widened.
#[inline(always)]
pub(crate) fn widened<const N: usize, T: Value>(x: &[T; N]) -> [f64; N] {
    let mut wide = [0.0; N];
    for l in 0..N {
        wide[l] = x[l].into();
    }
    wide
}

/// At most `N` values, widened and filled up.
#[inline(always)]
pub(crate) fn filled<const N: usize, T: Value>(x: &[T], with: f64) -> [f64; N] {
    let mut wide = [with; N];
    for (wide, x) in wide.iter_mut().zip(x) {
        *wide = (*x).into();
    }
    wide
}

/// Which values are finite, as 1 or 0.
#[inline(always)]
pub(crate) fn finite<const N: usize>(x: &[f64; N]) -> [u64; N] {
    let mut finite = [0; N];
    for l in 0..N {
        finite[l] = u64::from(x[l].abs() < f64::INFINITY);
    }
    finite
}

/// The values where `mask` is 1, and `other` where it is 0.
#[inline(always)]
pub(crate) fn select<const N: usize>(x: &[f64; N], mask: &[u64; N], other: f64) -> [f64; N] {
    let mut selected = [other; N];
    for l in 0..N {
        selected[l] = if mask[l] == 1 { x[l] } else { other };
    }
    selected
}

/// The first index below `len` for which `is` holds: looked for in many at once, as a search that may end anywhere is made
/// one by one.
#[inline(always)]
pub(crate) fn find(len: usize, is: impl Fn(usize) -> bool) -> Option<usize> {
    const MANY: usize = 8 * LANES;
    for first in (0..len).step_by(MANY) {
        let mut any = false;
        for i in first..len.min(first + MANY) {
            any |= is(i);
        }
        if any {
            return (first..len).find(|i| is(*i));
        }
    }
    None
}

/// All values, widened.
pub fn wide<T: Value>(row: &[T]) -> Vec<f64> {
    row.iter().map(|x| (*x).into()).collect()
}

/// The sum of all lanes.
#[inline(always)]
pub(crate) fn total(lanes: &[f64]) -> f64 {
    lanes.iter().sum()
}

/// The number in all lanes.
#[inline(always)]
pub(crate) fn count(lanes: &[u64]) -> u64 {
    lanes.iter().fold(0, |sum, n| sum.wrapping_add(*n))
}
