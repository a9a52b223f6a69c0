//! Choices that change how fast a result comes, and never the result.

use clap::ValueEnum;

/// Where weights are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadChoice {
    /// In `run` and `bench` a copy, where weights are large and there is room; else where the file is mapped
    Auto,
    /// Where the file is mapped
    Map,
    /// In a copy, where the kernels of the instruction set read one
    Copy,
}

/// Instruction sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsaChoice {
    /// The widest that this processor has
    Auto,
    /// What every processor has
    Portable,
    /// AVX2 and FMA
    Avx2,
    /// AVX-512
    Avx512,
    /// AVX-512 with VNNI
    Avx512vnni,
    /// The same with AMX
    Amx,
}
