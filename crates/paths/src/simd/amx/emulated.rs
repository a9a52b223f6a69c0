//! What AMX's instructions do, as their manual defines it (Intel, Instruction Set Extensions Programming Reference, 319433:
//! TILEZERO, TILELOADD, TDPBSSD, TILESTORED), for tiles of 16 lines of 64 bytes.

use super::super::{Level, has, has_amx};

/// Whether tests take tiles to be there: on processors that have none, but what kernels use beside them.
pub(in crate::simd) fn stands_in() -> bool {
    !has_amx() && has(Level::Avx512Vnni)
}

/// A tile.
type Tile = [[u8; 64]; 16];

/// Eight tiles; none before they have their shape.
#[derive(Debug)]
pub(super) struct Registers {
    tiles: Vec<Tile>,
}

impl Registers {
    /// Where there are no real ones.
    pub(super) fn if_needed() -> Option<Box<Registers>> {
        stands_in().then(|| Box::new(Registers { tiles: Vec::new() }))
    }

    pub(super) fn shape(&mut self) {
        self.tiles = vec![[[0; 64]; 16]; 8];
    }

    pub(super) fn release(&mut self) {
        self.tiles.clear();
    }

    pub(super) fn zero(&mut self, tile: usize) {
        self.tiles[tile] = [[0; 64]; 16];
    }

    /// # Safety
    /// See [`super::TileRegisters::load`].
    pub(super) unsafe fn load(&mut self, tile: usize, from: *const i8, stride: usize) {
        for (i, line) in self.tiles[tile].iter_mut().enumerate() {
            // SAFETY: line `i` is readable by the caller.
            *line = unsafe { from.add(i * stride).cast::<[u8; 64]>().read_unaligned() };
        }
    }

    pub(super) fn multiply(&mut self, sums: usize, a: usize, b: usize) {
        let (a, b) = (self.tiles[a], self.tiles[b]);
        let mut totals = self.sums(sums);
        for (totals, a) in totals.iter_mut().zip(a) {
            for (a, b) in a.as_chunks::<4>().0.iter().zip(b) {
                for (total, b) in totals.iter_mut().zip(b.as_chunks::<4>().0) {
                    for (a, b) in a.iter().zip(b) {
                        *total = total.wrapping_add(i32::from(a.cast_signed()) * i32::from(b.cast_signed()));
                    }
                }
            }
        }
        for (line, totals) in self.tiles[sums].iter_mut().zip(totals) {
            line.as_chunks_mut().0.iter_mut().zip(totals).for_each(|(to, total)| *to = total.to_le_bytes());
        }
    }

    pub(super) fn sums(&self, tile: usize) -> [[i32; 16]; 16] {
        self.tiles[tile].map(|line| std::array::from_fn(|n| i32::from_le_bytes(line.as_chunks().0[n])))
    }
}
