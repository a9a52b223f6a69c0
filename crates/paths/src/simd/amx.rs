//! The tile registers of AMX, as a thread holds them: eight, each of 16 lines of 64 bytes.
//!
//! Each instruction is a function. In tests of a processor with VNNI and no tiles, [`emulated`] does what the manual says that
//! they do: all kernels of tiles are tested there too, and what remains for a processor with tiles are these six instructions.

#[cfg(test)]
mod emulated;

use std::arch::asm;
use std::marker::PhantomData;

use super::{Isa, Level};
#[cfg(test)]
pub(super) use emulated::stands_in;

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
///
/// Nothing that the compiler makes touches tiles: they keep what they hold from one function to the next.
#[derive(Debug)]
pub(crate) struct TileRegisters {
    #[cfg(test)]
    emulated: Option<Box<emulated::Registers>>,
    /// Tiles are a thread's own.
    thread: PhantomData<*const ()>,
}

/// The shape of tiles: palette 1; of each of eight 64 bytes per line (from byte 16, u16 each) and 16 lines (from byte 48).
#[repr(C, align(64))]
struct Palette([u8; 64]);

/// See [`Palette`].
static TILES: Palette = {
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

/// In tests without tiles, returns what their emulation does.
macro_rules! or_emulated {
    ($self:ident, $emulated:ident => $does:expr) => {
        #[cfg(test)]
        if let Some($emulated) = &mut $self.emulated {
            return $does;
        }
    };
}

impl TileRegisters {
    /// Gives this thread's tiles their shape.
    pub(crate) fn shaped(_: HasTiles) -> TileRegisters {
        let mut tiles = TileRegisters {
            #[cfg(test)]
            emulated: emulated::Registers::if_needed(),
            thread: PhantomData,
        };
        tiles.shape();
        tiles
    }

    fn shape(&mut self) {
        or_emulated!(self, emulated => emulated.shape());
        // SAFETY: a `HasTiles` exists only where AMX was detected and the system lets this process use it; 64 readable
        // bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) TILES.0.as_ptr(), options(nostack, preserves_flags, readonly)) };
    }

    /// Makes tile `T` zero.
    #[inline(always)]
    pub(crate) fn zero<const T: usize>(&mut self) {
        const { assert!(T < 8) };
        or_emulated!(self, emulated => emulated.zero(T));
        // SAFETY: `self` proves AMX.
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nomem, nostack, preserves_flags)) };
    }

    /// Makes tiles 0 to 3 zero.
    #[inline(always)]
    pub(crate) fn zero_four(&mut self) {
        self.zero::<0>();
        self.zero::<1>();
        self.zero::<2>();
        self.zero::<3>();
    }

    /// Puts sixteen lines of 64 bytes into tile `T`.
    ///
    /// # Safety
    /// They begin at `from`, each `stride` bytes behind the one before, and are readable.
    #[inline(always)]
    pub(crate) unsafe fn load<const T: usize>(&mut self, from: *const i8, stride: usize) {
        const { assert!(T < 8) };
        // SAFETY: the caller's.
        or_emulated!(self, emulated => unsafe { emulated.load(T, from, stride) });
        // SAFETY: `self` proves AMX and the shape of the tile; the lines are readable by the caller.
        unsafe {
            asm!(
                "tileloadd tmm{t}, [{from} + {stride}*1]",
                t = const T,
                from = in(reg) from,
                stride = in(reg) stride,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    /// Adds to the sum in line `m` and column `n` of tile `SUMS`, an `i32`, the products of the bytes in line `m` of tile `A`
    /// with those of column `n` of tile `B`, four of each of its lines: `Σ A[m][4 k + i] · B[k][4 n + i]`, all signed.
    #[inline(always)]
    pub(crate) fn multiply<const SUMS: usize, const A: usize, const B: usize>(&mut self) {
        const { assert!(SUMS < 8 && A < 8 && B < 8 && SUMS != A && SUMS != B && A != B) };
        or_emulated!(self, emulated => emulated.multiply(SUMS, A, B));
        // SAFETY: `self` proves AMX and the shape of the tiles.
        unsafe {
            asm!(
                "tdpbssd tmm{sums}, tmm{a}, tmm{b}",
                sums = const SUMS, a = const A, b = const B,
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    /// Writes the sums in tile `T`.
    #[inline(always)]
    pub(crate) fn store<const T: usize>(&mut self, to: &mut [[i32; 16]; 16]) {
        const { assert!(T < 8) };
        or_emulated!(self, emulated => *to = emulated.sums(T));
        // SAFETY: `self` proves AMX and the shape of the tile; the reference is to 16 writable lines of 64 bytes.
        unsafe {
            asm!(
                "tilestored [{to} + {stride}*1], tmm{t}",
                t = const T,
                to = in(reg) to.as_mut_ptr(),
                stride = in(reg) 64usize,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Drop for TileRegisters {
    fn drop(&mut self) {
        or_emulated!(self, emulated => emulated.release());
        // SAFETY: `self` proves that there are tiles.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}
