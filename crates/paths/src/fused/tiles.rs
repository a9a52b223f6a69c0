//! Weights laid out anew, sixteen rows side by side and four such strips in turns, so that a kernel reads them in one stream and
//! in its own order.
//!
//! No bit of a path's values changes: of every row the same integers are made, and the same f32 sequence over them.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::ops::Range;

use twinpath_formats::{Matrix, TensorType};

use super::{Entry, PART_ROWS, TILE_ROWS, find};
use crate::limits::{Buffer, Pages};
use crate::lines::Line;
use crate::simd::Isa;
use crate::team;

/// Copies of matrices, on huge pages where the system gives them.
pub struct Tiles {
    buffer: Buffer,
    /// By the address of the stored bytes.
    places: HashMap<usize, Place>,
    /// What owns the stored bytes: while it lives, no other matrix can be at one of the addresses.
    _owner: Box<dyn Any + Send + Sync>,
}

/// Where a matrix lies.
struct Place {
    tensor_type: TensorType,
    shape: [usize; 2],
    bytes: Range<usize>,
}

/// A kind of weights that can be laid out: lines of a block of sixteen rows, and what fills those of a group of strips.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) lines: usize,
    /// Fills the tiles of the group whose first row is the given one.
    pub(crate) fill: fn(Isa, Matrix<'_>, usize, &mut [Line]),
}

impl Tiles {
    /// Lays out those of `weights` whose type has a layout. `owner` owns all their bytes. `done` hears each matrix that has
    /// been copied, whose stored bytes are not read again by a path that has the tiles, and how many bytes are copied of
    /// how many. `None` where the kernels of `isa` read no tiles.
    ///
    /// # Errors
    /// When the system has not so much memory.
    pub fn new<'m>(
        isa: Isa,
        weights: &[Matrix<'m>],
        owner: impl Any + Send + Sync,
        done: &mut dyn FnMut(Matrix<'m>, u64, u64),
    ) -> io::Result<Option<Tiles>> {
        if !reads_tiles(isa) {
            return Ok(None);
        }
        let mut places = HashMap::new();
        let (mut chosen, mut len) = (Vec::new(), 0);
        for weight in weights {
            let Some(bytes) = bytes_of(*weight) else { continue };
            let place = Place {
                tensor_type: weight.tensor_type(),
                shape: [weight.rows(), weight.cols()],
                bytes: len..len + bytes,
            };
            if places.insert(weight.bytes().as_ptr().addr(), place).is_none() {
                chosen.push((*weight, len..len + bytes));
                len += bytes;
            }
        }
        let mut buffer = Buffer::new(len, Pages::Huge)?;
        for (weight, bytes) in chosen {
            let copied = bytes.end as u64;
            fill(isa, weight, &mut buffer[bytes]);
            done(weight, copied, len as u64);
        }
        Ok(Some(Tiles { buffer, places, _owner: Box::new(owner) }))
    }

    /// Bytes that tiles of these weights take; 0 where the kernels of `isa` read none.
    pub fn size(isa: Isa, weights: &[Matrix<'_>]) -> u64 {
        if !reads_tiles(isa) {
            return 0;
        }
        weights.iter().filter_map(|weight| bytes_of(*weight)).map(|bytes| bytes as u64).sum()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// The tiles of a whole matrix that was among the weights.
    pub(crate) fn find(&self, weight: &Matrix<'_>) -> Option<Interleaved<'_>> {
        let place = self.places.get(&weight.bytes().as_ptr().addr())?;
        let same = place.tensor_type == weight.tensor_type() && place.shape == [weight.rows(), weight.cols()];
        let lines = Line::all(&self.buffer[place.bytes.clone()]);
        same.then(|| Interleaved { lines, strips: weight.rows().div_ceil(TILE_ROWS) })
    }
}

/// Whether the kernels of `isa` read tiles.
fn reads_tiles(isa: Isa) -> bool {
    isa.level() >= crate::simd::Level::Avx512Vnni
}

/// Bytes of the tiles of a matrix, if its type has a layout.
fn bytes_of(weight: Matrix<'_>) -> Option<usize> {
    let Entry { layout, shape, .. } = find(weight.tensor_type())?;
    Some(weight.rows().div_ceil(TILE_ROWS) * (weight.cols() / shape.block) * layout.as_ref()?.lines * size_of::<Line>())
}

/// Fills the tiles of a matrix, on all threads.
fn fill(isa: Isa, weight: Matrix<'_>, to: &mut [u8]) {
    let Some(layout) = find(weight.tensor_type()).and_then(|entry| entry.layout) else { return };
    let strips = weight.rows().div_ceil(TILE_ROWS);
    let lines = Line::all_mut(to);
    let strip = lines.len().checked_div(strips).unwrap_or(0);
    if strip > 0 {
        team::chunks(lines, strip * GROUP, |i, tiles| (layout.fill)(isa, weight, i * PART_ROWS, tiles));
    }
}

/// Strips of sixteen rows whose tiles take turns: a block of activations then stays in the first-level cache while it meets
/// them all. Met by whole strips, activations of many columns come out of the second-level cache each time: with 8960 columns of
/// Q6_K one thread of Zen 4 then reads 24 GB/s of memory where in turns it reads 32.
pub(crate) const GROUP: usize = 4;

/// The tiles of a matrix: of its first [`GROUP`] strips those of the first block, then those of the next; then those of the
/// next strips.
#[derive(Clone, Copy)]
pub(crate) struct Interleaved<'a> {
    lines: &'a [Line],
    strips: usize,
}

impl<'a> Interleaved<'a> {
    /// Those of some of a matrix's rows, which begin and end with groups.
    pub(crate) fn rows_of(self, rows: Range<usize>) -> Interleaved<'a> {
        let strips = rows.start / TILE_ROWS..rows.end.div_ceil(TILE_ROWS);
        debug_assert!(rows.start.is_multiple_of(PART_ROWS));
        debug_assert!(strips.end.is_multiple_of(GROUP) || strips.end == self.strips);
        let lines = self.lines.len().checked_div(self.strips).unwrap_or(0);
        Interleaved { lines: &self.lines[strips.start * lines..strips.end * lines], strips: strips.len() }
    }

    /// Those of each group of strips.
    pub(crate) fn groups(self) -> impl Iterator<Item = &'a [Line]> {
        let strip = self.lines.len().checked_div(self.strips).unwrap_or(0);
        self.lines.chunks((strip * GROUP).max(1))
    }

    /// Where the tile of a block of a strip is, and that of the strip's next block, of tiles of so many lines.
    pub(crate) fn tile(self, lines: usize, strip: usize, block: usize) -> (&'a [Line], *const Line) {
        let blocks = self.lines.len() / lines / self.strips;
        let (first, i) = (strip / GROUP * GROUP, strip % GROUP);
        let strips = GROUP.min(self.strips - first);
        let at = (first * blocks + block * strips + i) * lines;
        (&self.lines[at..at + lines], self.lines.as_ptr().wrapping_add(at + strips * lines))
    }
}

#[cfg(test)]
mod tests;
