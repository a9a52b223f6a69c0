//! Packed weights times coded activations, in exact integers and one fixed sequence of f32 operations.
//!
//! A block of weights is read as unsigned codes `c`, one integer scale `sc` per group and one integer minimum `mn` per
//! group. With `q` the codes of the activations in the block,
//!
//! ```text
//! p = Σ_groups sc · Σ c q        m = Σ_groups mn · Σ q
//! ```
//!
//! are exact in `i32` whatever the order, so every layout, tile and instruction set gives the same two numbers. What a
//! format makes of them is its [`Form`]. No sum overflows, nor any part of one: over 256 values, `|q| <= 127`,
//! `Σ |sc| c |q|` is at most 128 · 63 · 127 · 256 = 2.63e8 (Q6_K; IQ4_XS 32 · 241, Q5_K 63 · 31 in place of 128 · 63) and
//! `Σ |mn q|` at most 4096 · 127 · 256 = 1.34e8 (Q6_K: 32 · 128, IQ4_XS: 128 · 32); both together 4.0e8 < 2^31.
//!
//! | file | holds |
//! |---|---|
//! | one per weight format | where its bits are |
//! | `bytes`, `x86` | 32 bytes and what is done with them, on each instruction set |
//! | `row` | one row of weights with any number of positions |
//! | `split` | the same for 256-wide blocks whose activations have a scale per 32 values |
//! | `tile` | sixteen rows with eight or more positions |
//! | `tiles` | weights laid out anew, sixteen rows side by side |
//! | `x86::wide` | whole rows as stored with one position, where the instructions are |
//! | `x86::lanes`, `x86::amx` | sixteen rows side by side with few positions, and with many |

mod bytes;
mod iq4_nl;
mod iq4_xs;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod row;
mod split;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
pub(crate) mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

use twinpath_engine::Tensor;
use twinpath_formats::{Matrix, TensorType};

use self::bytes::Bytes;
use self::tiles::{Interleaved, Layout, Tiles};
use crate::columns::Columns;
use crate::q8::{Codes, Q8_K_BLOCK, Scales, Shape};
use crate::simd::{Isa, Level};
use crate::standalone;

/// What a format makes of the two integers, per block of scale `d` and minimum `dm`, with `a` the activations' scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The minimum only re-centres the codes: `acc = fma(d·a, p - m, acc)`, `y = acc`.
    Offset,
    /// `acc = fma(d·a, p, acc)`, `accm = fma(dm·a, m, accm)`, `y = acc - accm`.
    MinusMin,
    /// The same with `y = acc + accm`.
    PlusMin,
}

/// Where the bits of one weight format are.
pub(crate) trait Packed: Sync + 'static {
    /// The type it reads.
    const TYPE: TensorType;
    /// Bytes of a block.
    const BYTES: usize;
    /// The activations it multiplies.
    const SHAPE: Shape;
    /// What it makes of the integers.
    const FORM: Form;
    /// The largest code.
    const TOP: u8;

    /// Reads one block. Only the first `block` codes and the first `block / group` scales and minimums are written.
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block);

    /// `d` and `dm` of one block; `dm` is 0 where the format has none.
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32);
}

/// Whether all groups of a 256-wide block are 32 values.
const fn by_32<F: Packed>() -> bool {
    F::SHAPE.block == Q8_K_BLOCK && F::SHAPE.group == 32
}

/// Log2 of an offset format's offset, around which its codes lie.
const fn offset_log<F: Packed>() -> u32 {
    (F::TOP as u32 + 1).next_power_of_two().ilog2() - 1
}

/// One block of weights, read. The `mn` of an offset format is the offset times `sc`.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Block {
    /// Codes in the order of the values.
    codes: [u8; 256],
    /// Per group.
    scales: [i16; 16],
    /// Per group.
    mins: [i16; 16],
}

impl Block {
    const ZERO: Block = Block { codes: [0; 256], scales: [0; 16], mins: [0; 16] };

    /// The codes of values `32 i ..`.
    #[inline(always)]
    fn codes_mut(&mut self, i: usize) -> &mut [u8; 32] {
        self.codes[32 * i..32 * i + 32].first_chunk_mut().expect("the range has 32 codes")
    }
}

/// Some rows of weights and the coded activations that they meet.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// `[rows, cols]`.
    pub(crate) weight: Matrix<'a>,
    /// `[rows]`.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[positions, cols]`, in the shape of the weights' format.
    pub(crate) codes: &'a Codes,
    /// The weights laid out anew, if they are.
    pub(crate) tiles: Option<Interleaved<'a>>,
    /// The instructions to use.
    pub(crate) isa: Isa,
}

impl<'a> Job<'a> {
    /// The same for some of its rows, from a multiple of [`PART_ROWS`] on.
    fn rows_of(&self, rows: std::ops::Range<usize>) -> Self {
        Job {
            weight: self.weight.rows_of(rows.clone()),
            bias: self.bias.map(|b| &b[rows.clone()]),
            tiles: self.tiles.map(|tiles| tiles.rows_of(rows)),
            ..*self
        }
    }

    /// Block `b` of a row; of the last for rows that there are not.
    #[inline(always)]
    fn block<F: Packed>(&self, row: usize, b: usize) -> &'a [u8] {
        let row = self.weight.row(row.min(self.weight.rows() - 1));
        &row[b * F::BYTES..(b + 1) * F::BYTES]
    }
}

/// The instructions to use, and weights laid out for them.
#[derive(Clone, Copy)]
pub(crate) struct Kernels<'t> {
    pub(crate) isa: Isa,
    pub(crate) tiles: &'t [Arc<Tiles>],
}

impl From<Isa> for Kernels<'_> {
    fn from(isa: Isa) -> Self {
        Kernels { isa, tiles: &[] }
    }
}

/// How one weight format is multiplied.
pub(crate) struct Entry {
    /// The format.
    pub(crate) tensor_type: TensorType,
    /// The activations it multiplies.
    pub(crate) shape: Shape,
    /// Evaluates a job into `[positions, rows]`.
    pub(crate) run: fn(&Job<'_>, &mut Columns<'_>),
    /// How weights are laid out anew, if the format has a layout.
    layout: Option<Layout>,
    /// The exact `(p, m)` of one block, by portable code, for tests.
    #[cfg(test)]
    integers: Integers,
    /// Of a 256-wide block, those of each 32 values, for tests.
    #[cfg(test)]
    parts: Integers32,
    #[cfg(test)]
    codes: fn(&[u8]) -> Vec<u8>,
    #[cfg(test)]
    factors: fn(&[u8]) -> (f32, f32),
    #[cfg(test)]
    form: Form,
    #[cfg(test)]
    top: u8,
}

/// The exact `(p, m)` of a packed block, the codes and the sums it meets.
#[cfg(test)]
type Integers = fn(&[u8], &[i8], &[i16]) -> (i32, i32);

/// The same of each 32 values of a 256-wide block, by an instruction set.
#[cfg(test)]
type Integers32 = fn(Isa, &[u8], &[i8; 256], &[i16]) -> [[f32; 8]; 2];

/// The entry of one format.
const fn entry<F: Packed>() -> Entry {
    Entry {
        tensor_type: F::TYPE,
        shape: F::SHAPE,
        run: run::<F>,
        layout: None,
        #[cfg(test)]
        integers: row::integers_of::<F>,
        #[cfg(test)]
        parts: split::parts_of::<F>,
        #[cfg(test)]
        codes: row::codes_of::<F>,
        #[cfg(test)]
        factors: row::factors_of::<F>,
        #[cfg(test)]
        form: F::FORM,
        #[cfg(test)]
        top: F::TOP,
    }
}

/// The entry of a format whose rows can lie side by side.
#[cfg(target_arch = "x86_64")]
const fn laid_out<F: x86::lanes::Lanes>() -> Entry {
    Entry { run: x86::lanes::linear::<F>, layout: Some(x86::lanes::layout::<F>()), ..entry::<F>() }
}

#[cfg(not(target_arch = "x86_64"))]
use entry as laid_out;

/// Every packed format.
pub(crate) const PACKED: &[Entry] = &[
    entry::<q4_0::Q4_0>(),
    entry::<q4_1::Q4_1>(),
    entry::<q5_0::Q5_0>(),
    entry::<q5_1::Q5_1>(),
    entry::<q8_0::Q8_0>(),
    entry::<q2_k::Q2K>(),
    entry::<q3_k::Q3K>(),
    laid_out::<q4_k::Q4K>(),
    laid_out::<q5_k::Q5K>(),
    laid_out::<q6_k::Q6K>(),
    entry::<iq4_nl::Iq4Nl>(),
    entry::<iq4_xs::Iq4Xs>(),
];

fn run<F: Packed>(job: &Job<'_>, out: &mut Columns<'_>) {
    debug_assert_eq!(job.codes.shape, F::SHAPE);
    if job.weight.rows() == 0 || job.codes.positions == 0 {
        return;
    }
    if F::SHAPE.block == Q8_K_BLOCK && job.codes.scales == Scales::Per32 {
        row::run::<F, true>(job, out);
    } else {
        row::run::<F, false>(job, out);
    }
}

/// The value of an output from its two sums, in the format's form.
#[inline(always)]
fn join(form: Form, acc: f32, accm: f32) -> f32 {
    match form {
        Form::Offset => acc,
        Form::MinusMin => acc - accm,
        Form::PlusMin => acc + accm,
    }
}

/// The u16 at byte `at`.
#[inline(always)]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*array(bytes, at))
}

/// The u64 at byte `at`.
#[inline(always)]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*array(bytes, at))
}

/// `N` bytes from byte `at`, as an array whose length the compiler knows.
#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..at + N].first_chunk().expect("the range has N bytes")
}

/// The kernels that run on `isa`, for records.
pub(crate) fn kernel_name(isa: Isa) -> &'static str {
    match isa.level() {
        // Without VNNI, AVX-512 has nothing for integer products that AVX2 lacks.
        Level::Avx512 => Level::Avx2.name(),
        level => level.name(),
    }
}

/// The entry that multiplies `tensor_type`; none for plain floats.
pub(crate) fn find(tensor_type: TensorType) -> Option<&'static Entry> {
    PACKED.iter().find(|e| e.tensor_type == tensor_type)
}

/// `x Wᵀ + b`: `x [T, in]`, `weight [out, in]`, `bias [out]`, result `[T, out]`. Plain float weights go the way of
/// [`standalone`].
///
/// # Panics
/// When `x` is not as wide as the weight, or the bias not as long as its rows.
pub(crate) fn linear(
    scales: Scales,
    kernels: Kernels<'_>,
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    x: &Tensor<f32>,
) -> Tensor<f32> {
    let Some(entry) = find(weight.tensor_type()) else {
        return standalone::linear(kernels.isa, weight, bias, x);
    };
    assert_eq!(x.cols(), weight.cols(), "a linear op needs inputs as wide as its weight");
    assert!(bias.is_none_or(|b| b.len() == weight.rows()), "a linear op needs one bias per row");
    Tensor::new(x.rows(), weight.rows(), entry.linear(scales, kernels, weight, bias, x.rows(), x.data()))
}

/// Rows of a tile.
const TILE_ROWS: usize = 16;
/// Parts are whole groups of strips of tiles.
const PART_ROWS: usize = tiles::GROUP * TILE_ROWS;

impl Entry {
    /// `x Wᵀ + b` for `x` `[positions, cols]`, coded with these scales: `[positions, rows]`.
    pub(crate) fn linear<'t>(
        &self,
        scales: Scales,
        kernels: impl Into<Kernels<'t>>,
        weight: Matrix<'_>,
        bias: Option<&[f32]>,
        positions: usize,
        x: &[f32],
    ) -> Vec<f32> {
        let Kernels { isa, tiles } = kernels.into();
        let codes = Codes::new(isa, self.shape, scales, positions, x);
        let tiles = tiles.iter().find_map(|tiles| tiles.find(&weight));
        let job = Job { weight, bias, codes: &codes, tiles, isa };
        Columns::made(positions, (weight.rows(), weight.cols()), PART_ROWS, |rows, out| {
            (self.run)(&job.rows_of(rows), out);
        })
    }
}
