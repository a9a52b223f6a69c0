//! Which instructions this processor has, as values.
//!
//! An [`Isa`] exists only where its instructions were detected, so holding one is the proof that the `unsafe` calls of a
//! kernel rest on. Kernels come in two kinds. Those that LLVM vectorises well are portable code under [`Kernel`], compiled
//! once per instruction set by [`Isa::run`]. The others match on [`Isa::level`] and call a `#[target_feature]` function of
//! their own. Either way the instruction set changes the speed and never a bit of the result.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub(crate) mod combine;
pub mod dot;
pub(crate) mod fetch;

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

/// Instruction sets, each containing those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compiler's target has.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The same with VNNI.
    Avx512Vnni,
    /// The same with AMX's tiles of 8-bit integers.
    Amx,
}

/// Portable code to be compiled for each instruction set. `run` is to be `#[inline(always)]`, and so is all that it
/// calls: what is not inlined is compiled for the baseline. (Closures handed to rayon are not inlined: dispatch inside.)
pub trait Kernel {
    /// What it computes.
    type Output;
    /// Computes it.
    fn run(self) -> Self::Output;
}

const LEVELS: [Level; 5] = [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Amx];

impl Level {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Amx => "amx",
        }
    }
}

impl Isa {
    /// Portable code, which every processor runs.
    pub const PORTABLE: Isa = Isa(Level::Portable);

    /// The widest that this processor has.
    pub fn detect() -> Isa {
        LEVELS.into_iter().rev().find(|level| has(*level)).map_or(Isa::PORTABLE, Isa)
    }

    /// This level, if this processor has it. Tests of this crate have tiles wherever there is VNNI: see `amx`.
    pub fn new(level: Level) -> Option<Isa> {
        #[cfg(all(test, target_arch = "x86_64"))]
        if level == Level::Amx && amx::stands_in() {
            return Some(Isa(level));
        }
        has(level).then_some(Isa(level))
    }

    /// All that this processor has, narrowest first.
    pub fn all_available() -> Vec<Isa> {
        LEVELS.into_iter().filter_map(Isa::new).collect()
    }

    /// The level, whose instructions may be used.
    pub fn level(self) -> Level {
        self.0
    }

    /// The name in records.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Runs the compilation of `kernel` for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: an `Isa` of this level exists only if `has` detected each feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::avx2(kernel) },
            // SAFETY: as above; VNNI and AMX include the features of plain AVX-512.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Vnni | Level::Amx => unsafe { x86::avx512(kernel) },
            _ => kernel.run(),
        }
    }
}

/// The features must cover those of the functions in [`x86`] and of every kernel that matches on the level.
#[cfg(target_arch = "x86_64")]
fn has(level: Level) -> bool {
    match level {
        Level::Portable => true,
        Level::Avx2 => {
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
        }
        Level::Avx512 => {
            has(Level::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        }
        Level::Avx512Vnni => has(Level::Avx512) && is_x86_feature_detected!("avx512vnni"),
        Level::Amx => has(Level::Avx512Vnni) && has_amx(),
    }
}

/// Whether there are tiles of 8-bit integers (CPUID leaf 7, EDX bits 24 and 25) and this process may use them: Linux gives
/// a process the memory to save their 8 KiB only when asked (`ARCH_REQ_XCOMP_PERM`, component 18).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_amx() -> bool {
    static HAS: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let leaf = std::arch::x86_64::__cpuid_count(7, 0);
        // SAFETY: the call reads and writes no memory of this process.
        leaf.edx >> 24 & 3 == 3 && unsafe { libc::syscall(libc::SYS_arch_prctl, 0x1023, 18) } == 0
    });
    *HAS
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn has_amx() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has(level: Level) -> bool {
    level == Level::Portable
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Kernel;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Dot<'_> {
        type Output = f32;
        #[inline(always)]
        fn run(self) -> f32 {
            self.0.iter().zip(self.1).fold(0.0, |acc, (a, b)| a.mul_add(*b, acc))
        }
    }

    #[test]
    fn the_detected_set_is_the_last_of_the_available_ones_and_all_give_one_answer() {
        let all = Isa::all_available();
        assert_eq!(all[0], Isa::PORTABLE);
        let real = all.iter().rfind(|isa| has(isa.level()));
        assert_eq!(real, Some(&Isa::detect()));
        assert!(all.is_sorted_by_key(|isa| isa.level()));
        let x: Vec<f32> = (0..100).map(|i| (i as f32).sqrt()).collect();
        let y: Vec<f32> = (0..100).map(|i| 1.0 / (i as f32 + 3.0)).collect();
        for isa in all {
            assert_eq!(isa.run(Dot(&x, &y)).to_bits(), Isa::PORTABLE.run(Dot(&x, &y)).to_bits(), "{}", isa.name());
        }
    }
}
