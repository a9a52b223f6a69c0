//! The sums in the tile registers of AMX.

use std::arch::asm;

use super::{PARTS, POSITIONS, Strip, Sums, Tiles};
use crate::simd::amx::TileRegisters;

/// Tiles 0 to 3 are the sums of `low` and of `high` with 16 positions and then with 16 more; 4 and 5 hold positions, 6 and 7
/// weights. Nothing else uses tiles while they have their shape.
impl Tiles for TileRegisters {
    #[inline(always)]
    fn clear(&mut self) {
        // SAFETY: `self` proves AMX.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nomem, nostack, preserves_flags)
            )
        }
    }

    #[inline(always)]
    fn multiply(&mut self, q: &[i8], strip: &Strip, part: usize) {
        assert!(q.len() == POSITIONS * 256 && part < PARTS, "two tiles of positions");
        // SAFETY: `self` proves AMX and the shape of the tiles. Read are 64 of 256 bytes of each of 32 positions, and 1024 of
        // a strip's low and of its high bytes, twice 4096 and adjacent.
        unsafe {
            asm!(
                "tileloadd tmm4, [{q} + {block}*1]",
                "tileloadd tmm6, [{w} + {line}*1]",
                "tileloadd tmm7, [{w} + {line}*1 + 4096]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{q} + {block}*1 + 4096]",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                q = in(reg) q.as_ptr().add(64 * part),
                w = in(reg) (&raw const *strip).cast::<u8>().add(1024 * part),
                block = in(reg) 256usize,
                line = in(reg) 64usize,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn store(&mut self, sums: &mut Sums) {
        // SAFETY: `self` proves AMX and the shape of the tiles. Written are the 4096 bytes of `sums`.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}*1], tmm0",
                "tilestored [{sums} + {line}*1 + 1024], tmm1",
                "tilestored [{sums} + {line}*1 + 2048], tmm2",
                "tilestored [{sums} + {line}*1 + 3072], tmm3",
                sums = in(reg) &raw mut *sums,
                line = in(reg) 64usize,
                options(nostack, preserves_flags),
            );
        }
    }
}
