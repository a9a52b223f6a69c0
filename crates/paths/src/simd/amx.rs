//! The tile registers of AMX, as a thread holds them: eight, each of 16 rows of 64 bytes.

use std::arch::asm;
use std::marker::PhantomData;

use super::{Isa, Level};

/// That this process may use tiles: a value of this type is the proof.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HasTiles(());

impl HasTiles {
    /// If `isa` has them.
    pub(crate) fn new(isa: Isa) -> Option<HasTiles> {
        (isa.level() >= Level::Amx).then_some(HasTiles(()))
    }
}

/// This thread's tiles have their shape. Dropped, they are given back.
#[derive(Debug)]
pub(crate) struct TileRegisters(PhantomData<*const ()>);

/// The shape of tiles: palette 1; of each of eight 64 bytes per row (from byte 16, u16 each) and 16 rows (from byte 48).
#[repr(C, align(64))]
pub(crate) struct Palette(pub(crate) [u8; 64]);

/// See [`Palette`].
pub(crate) static TILES: Palette = {
    let mut palette = [0; 64];
    palette[0] = 1;
    let mut i = 0;
    while i < 8 {
        palette[16 + 2 * i] = 64;
        palette[48 + i] = 16;
        i += 1;
    }
    Palette(palette)
};

impl TileRegisters {
    /// Gives this thread's tiles their shape.
    pub(crate) fn shaped(_: HasTiles) -> TileRegisters {
        // SAFETY: a `HasTiles` exists only where AMX was detected and the system lets this process use it; 64 readable
        // bytes. Nothing that the compiler makes touches tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) TILES.0.as_ptr(), options(nostack, preserves_flags, readonly)) };
        TileRegisters(PhantomData)
    }
}

impl Drop for TileRegisters {
    fn drop(&mut self) {
        // SAFETY: `self` proves that there are tiles.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}
