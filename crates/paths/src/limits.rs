//! What the machine can do at most: loops that only read, and loops that only multiply. A kernel's speed is told as a share
//! of theirs, measured in the same run.

use std::hint::black_box;
use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};

#[cfg(target_arch = "x86_64")]
use crate::simd::amx::HasTiles;
use crate::simd::{Isa, Kernel, Level};

/// Size of the pages of a [`Buffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// 2 MiB, where the system gives them to who asks.
    Huge,
    /// 4 KiB: what a mapped file has.
    Small,
}

/// Anonymous memory that begins at a multiple of 2 MiB.
pub struct Buffer {
    map: MmapMut,
    start: usize,
    len: usize,
}

const HUGE: usize = 2 << 20;

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// When the system has not so much memory.
    pub fn new(len: usize, pages: Pages) -> io::Result<Buffer> {
        let map = MmapMut::map_anon(len.max(1).next_multiple_of(HUGE) + HUGE)?;
        #[cfg(target_os = "linux")]
        match pages {
            // A system built without huge pages refuses the advice, and gives small ones.
            Pages::Huge => drop(map.advise(Advice::HugePage)),
            Pages::Small => drop(map.advise(Advice::NoHugePage)),
        }
        #[cfg(not(target_os = "linux"))]
        let _ = pages;
        let start = map.as_ptr().align_offset(HUGE);
        Ok(Buffer { map, start, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.start..self.start + self.len]
    }
}

/// Reads every byte once, in order, and does next to nothing with it.
pub fn read(isa: Isa, bytes: &[u8]) {
    match isa.level() {
        // SAFETY: an `Isa` of this level exists only where AVX-512 F was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Amx => unsafe { x86::read(bytes) },
        _ => {
            black_box(isa.run(Xor(bytes)));
        }
    }
}

/// The exclusive or of all words, in eight chains that LLVM vectorises.
struct Xor<'a>(&'a [u8]);

impl Kernel for Xor<'_> {
    type Output = u64;
    #[inline(always)]
    fn run(self) -> u64 {
        let (lines, rest) = self.0.as_chunks::<256>();
        let mut sums = [0u64; 32];
        for line in lines {
            for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
                *sum ^= u64::from_le_bytes(*word);
            }
        }
        sums.iter().fold(0, |a, b| a ^ b) ^ rest.iter().fold(0, |a, b| a ^ u64::from(*b))
    }
}

/// Integer products of 8 bits with 32-bit sums, in registers alone, at least `macs` of them: as fast as this instruction
/// set can. Returns how many were done, or `None` where the set has no instruction for them.
pub fn multiply_int8(isa: Isa, macs: u64) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        let each = match isa.level() {
            Level::Portable => return None,
            Level::Avx2 | Level::Avx512 => 32 * x86::CHAINS,
            Level::Avx512Vnni => 64 * x86::CHAINS,
            Level::Amx => 4 * 16 * 16 * 64,
        };
        let steps = macs.div_ceil(each);
        match isa.level() {
            // SAFETY: an `Isa` of this level exists only where AVX-512 F and VNNI were detected.
            Level::Avx512Vnni => unsafe { x86::dpbusd(steps) },
            Level::Amx => HasTiles::new(isa).into_iter().for_each(|has| x86::tiles(has, steps)),
            // SAFETY: one of this or a higher level only where AVX2 was.
            _ => unsafe { x86::maddubs(steps) },
        }
        Some(steps * each)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, macs);
        None
    }
}

/// The same for fused multiply-adds of f32.
pub fn multiply_f32(isa: Isa, macs: u64) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        let each = match isa.level() {
            Level::Portable => return None,
            Level::Avx2 => 8 * x86::CHAINS,
            Level::Avx512 | Level::Avx512Vnni | Level::Amx => 16 * x86::CHAINS,
        };
        let steps = macs.div_ceil(each);
        match isa.level() {
            // SAFETY: an `Isa` of this level exists only where AVX2 and FMA were detected.
            Level::Avx2 => unsafe { x86::fma256(steps) },
            // SAFETY: one of a higher level only where AVX-512 F was.
            _ => unsafe { x86::fma512(steps) },
        }
        Some(steps * each)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, macs);
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use crate::simd::amx::{HasTiles, TileRegisters};

    /// Independent sums: more than latency times units of any processor at hand, and they fit in 16 registers.
    pub(super) const CHAINS: u64 = 12;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read(bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<512>();
        let mut sums = [_mm512_setzero_si512(); 8];
        for block in blocks {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `block` has 512 bytes, and `64 i + 64` is at most that; the load needs no alignment.
                let line = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * i).cast()) };
                *sum = _mm512_xor_si512(*sum, line);
            }
        }
        let sum = sums.into_iter().reduce(|a, b| _mm512_xor_si512(a, b));
        black_box((sum, rest.iter().fold(0, |a, b| a ^ b)));
    }

    /// `steps` times the instructions for each of the sums 0 to 11. In assembly, because LLVM sees that equal sums stay equal.
    macro_rules! chains {
        ($steps:expr, $instructions:literal) => {
            // SAFETY: only the registers named below change; the caller has the features that the instructions need.
            unsafe {
                asm!(
                    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13\nvpxor xmm\\i, xmm\\i, xmm\\i\n.endr",
                    "2:",
                    concat!(".irp i,0,1,2,3,4,5,6,7,8,9,10,11\n", $instructions, "\n.endr"),
                    "dec {steps}",
                    "jnz 2b",
                    steps = inout(reg) $steps.max(1) => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                    out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _,
                    options(nomem, nostack),
                )
            }
        };
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn dpbusd(steps: u64) {
        chains!(steps, "vpdpbusd zmm\\i, zmm12, zmm13");
    }

    /// `steps` times four products of a tile with a tile, whose sums do not wait for each other.
    pub(super) fn tiles(has: HasTiles, steps: u64) {
        let mut tiles = TileRegisters::shaped(has);
        tiles.zero_four();
        tiles.zero::<4>();
        tiles.zero::<5>();
        for _ in 0..steps {
            tiles.multiply::<0, 4, 5>();
            tiles.multiply::<1, 4, 5>();
            tiles.multiply::<2, 4, 5>();
            tiles.multiply::<3, 4, 5>();
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn maddubs(steps: u64) {
        chains!(steps, "vpmaddubsw ymm14, ymm12, ymm13\nvpmaddwd ymm14, ymm14, ymm13\nvpaddd ymm\\i, ymm\\i, ymm14");
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma256(steps: u64) {
        chains!(steps, "vfmadd231ps ymm\\i, ymm12, ymm13");
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn fma512(steps: u64) {
        chains!(steps, "vfmadd231ps zmm\\i, zmm12, zmm13");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_huge_page_and_holds_what_is_written() {
        for pages in [Pages::Huge, Pages::Small] {
            let mut buffer = Buffer::new(5 * HUGE + 3, pages).unwrap();
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % HUGE), (5 * HUGE + 3, 0));
            buffer.fill(7);
            assert!(buffer.iter().all(|b| *b == 7));
        }
    }

    #[test]
    fn at_least_as_many_products_are_done_as_were_asked_for() {
        for isa in Isa::all_available() {
            // Whole steps, the longest of 65536 products.
            for done in [multiply_int8(isa, 1_000_001), multiply_f32(isa, 1_000_001)] {
                assert_eq!(done.is_some(), isa.level() != Level::Portable);
                assert!(
                    done.is_none_or(|n| (1_000_001..1_000_001 + (1 << 16)).contains(&n)),
                    "{} {done:?}",
                    isa.name()
                );
            }
            read(isa, &[1; 1000]);
        }
    }
}
