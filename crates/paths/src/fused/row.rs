//! One row of weights with any number of positions.

use std::marker::PhantomData;

use twinpath_formats::TensorType;

use super::bytes::{Bytes, Eight, Portable, Terms};
use super::{Block, Form, Job, Packed, join, split};
#[cfg(target_arch = "x86_64")]
use super::{tile, x86, x86::amx, x86::lanes::Stored, x86::wide};
use crate::columns::Columns;
use crate::q8::{Codes, Q8_0_BLOCK, Q8_K_BLOCK};

/// Evaluates `job` into `[positions, rows]`; with `SPLIT`, its activations have a scale per 32 values of a 256-wide block.
pub(super) fn run<F: Packed, const SPLIT: bool>(job: &Job<'_>, out: &mut Columns<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        if !SPLIT
            && F::SHAPE.block == Q8_K_BLOCK
            && let Some(s) = amx::Amx::of(job)
        {
            // SAFETY: `s` proves the features.
            return unsafe { amx::run::<F>(s, job, Stored::<F>::new(s.vnni(), job), out) };
        }
        if let Some(s) = x86::Vnni::new(job.isa) {
            // SAFETY: `s` proves the features.
            return unsafe {
                if job.codes.positions >= tile::MIN_POSITIONS {
                    tile::run::<F, SPLIT>(job, Stored::<F>::new(s, job), out)
                } else {
                    match F::TYPE {
                        TensorType::Q4K if !SPLIT => wide::run::<wide::WideQ4K>(s, job, out),
                        TensorType::Q6K if !SPLIT => wide::run::<wide::WideQ6K>(s, job, out),
                        _ => vnni::<F, SPLIT>(s, job, out),
                    }
                }
            };
        }
        if let Some(s) = x86::Avx2::new(job.isa) {
            // SAFETY: `s` proves the features.
            return unsafe { avx2::<F, SPLIT>(s, job, out) };
        }
    }
    either::<F, _, SPLIT>(Portable, job, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn vnni<F: Packed, const SPLIT: bool>(s: x86::Vnni, job: &Job<'_>, out: &mut Columns<'_>) {
    either::<F, _, SPLIT>(s, job, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<F: Packed, const SPLIT: bool>(s: x86::Avx2, job: &Job<'_>, out: &mut Columns<'_>) {
    either::<F, _, SPLIT>(s, job, out);
}

#[inline(always)]
fn either<F: Packed, S: Bytes, const SPLIT: bool>(s: S, job: &Job<'_>, out: &mut Columns<'_>) {
    if SPLIT {
        split::rows::<F, S>(s, job, out);
    } else {
        rows::<F, S>(s, job, out);
    }
}

#[inline(always)]
pub(super) fn rows<F: Packed, S: Bytes>(s: S, job: &Job<'_>, out: &mut Columns<'_>) {
    let Job { weight, bias, codes, .. } = *job;
    let (rows, positions) = (weight.rows(), codes.positions);
    let mut sums = vec![[0.0f32; 2]; positions];
    let mut first = 0;
    if F::SHAPE.block == Q8_0_BLOCK && positions == 1 {
        let (mut terms, values) = (Vec::new(), out.of(0, 0..rows));
        while first + 4 <= rows {
            let four = [0, 1, 2, 3].map(|i| weight.row(first + i));
            let four = self::four(s, four, codes, &mut terms, PhantomData::<F>);
            for (i, sums) in four.into_iter().enumerate() {
                values[first + i] = value(F::FORM, sums, bias.map(|b| b[first + i]));
            }
            first += 4;
        }
    }
    for row in first..rows {
        let bytes = weight.row(row);
        if let [sums] = &mut sums[..] {
            *sums = one(s, bytes, codes, 0, [0.0; 2], PhantomData::<F>);
        } else {
            many(s, bytes, codes, &mut sums, PhantomData::<F>);
        }
        for (t, sums) in sums.iter().enumerate() {
            out.of(t, row..row + 1)[0] = value(F::FORM, *sums, bias.map(|b| b[row]));
        }
    }
}

/// An output from its two sums.
#[inline(always)]
pub(super) fn value(form: Form, sums: [f32; 2], bias: Option<f32>) -> f32 {
    let y = join(form, sums[0], sums[1]);
    bias.map_or(y, |b| y + b)
}

/// The two sums of four rows of 32-wide blocks and one position. Their integers come first, row after row, because memory
/// is fastest in one stream; then four chains of additions run side by side, because each alone would wait for itself.
#[inline(always)]
fn four<F: Packed, S: Bytes>(
    s: S,
    rows: [&[u8]; 4],
    codes: &Codes,
    terms: &mut Vec<[Terms; 4]>,
    _: PhantomData<F>,
) -> [[f32; 2]; 4] {
    let mut sums = [[0.0f32; 2]; 4];
    let (q, q_rest) = codes.q.as_chunks::<256>();
    let (group_sums, d) = (codes.sums.as_chunks::<16>().0, codes.d.as_chunks::<8>().0);
    terms.resize(q.len(), [Terms::ZERO; 4]);
    for r in 0..4 {
        let blocks = rows[r].chunks_exact(8 * F::BYTES);
        let activations = q.iter().zip(group_sums).zip(d);
        for ((terms, blocks), ((q, sums), d)) in terms.iter_mut().zip(blocks).zip(activations) {
            s.eight::<F>(blocks, &Eight { q, sums, d }, &mut terms[r]);
        }
    }
    for terms in &*terms {
        for i in 0..8 {
            for r in 0..4 {
                sums[r][0] = terms[r].scales[i].mul_add(terms[r].integers[i], sums[r][0]);
                if F::FORM != Form::Offset {
                    sums[r][1] = terms[r].min_scales[i].mul_add(terms[r].min_integers[i], sums[r][1]);
                }
            }
        }
    }
    if !q_rest.is_empty() {
        for r in 0..4 {
            sums[r] = one(s, rows[r], codes, 8 * q.len(), sums[r], PhantomData::<F>);
        }
    }
    sums
}

/// The two sums of one row and one position, held in registers, from block `first` on.
#[inline(always)]
fn one<F: Packed, S: Bytes>(
    s: S,
    row: &[u8],
    codes: &Codes,
    first: usize,
    mut sums: [f32; 2],
    _: PhantomData<F>,
) -> [f32; 2] {
    let mut block = Block::ZERO;
    let q = codes.q[first * F::SHAPE.block..].chunks_exact(F::SHAPE.block);
    let activations = q.zip(codes.sums[first * F::SHAPE.sums()..].chunks_exact(F::SHAPE.sums())).zip(&codes.d[first..]);
    for (bytes, ((q, group_sums), &a)) in row[first * F::BYTES..].chunks_exact(F::BYTES).zip(activations) {
        F::unpack(s, bytes, &mut block);
        let (p, m) = s.integers::<F>(&block, q, group_sums);
        step(F::FORM, &mut sums, F::factors(s, bytes), a, p, m);
    }
    sums
}

/// The same for each position: each block of weights is unpacked once and meets all of them.
#[inline(always)]
fn many<F: Packed, S: Bytes>(s: S, row: &[u8], codes: &Codes, sums: &mut [[f32; 2]], _: PhantomData<F>) {
    sums.fill([0.0; 2]);
    let positions = sums.len();
    let mut block = Block::ZERO;
    let q = codes.q.chunks_exact(positions * F::SHAPE.block);
    let group_sums = codes.sums.chunks_exact(positions * F::SHAPE.sums());
    let activations = q.zip(group_sums).zip(codes.d.chunks_exact(positions));
    for (bytes, ((q, group_sums), d)) in row.chunks_exact(F::BYTES).zip(activations) {
        F::unpack(s, bytes, &mut block);
        let factors = F::factors(s, bytes);
        let each = q.chunks_exact(F::SHAPE.block).zip(group_sums.chunks_exact(F::SHAPE.sums())).zip(d);
        for (sums, ((q, group_sums), &a)) in sums.iter_mut().zip(each) {
            let (p, m) = s.integers::<F>(&block, q, group_sums);
            step(F::FORM, sums, factors, a, p, m);
        }
    }
}

/// Adds one block to the two sums of an output.
#[inline(always)]
pub(super) fn step(form: Form, sums: &mut [f32; 2], (d, dm): (f32, f32), a: f32, p: i32, m: i32) {
    if form == Form::Offset {
        sums[0] = (d * a).mul_add(p.wrapping_sub(m) as f32, sums[0]);
    } else {
        sums[0] = (d * a).mul_add(p as f32, sums[0]);
        sums[1] = (dm * a).mul_add(m as f32, sums[1]);
    }
}

/// The exact `(p, m)` of one packed block.
#[cfg(test)]
pub(super) fn integers_of<F: Packed>(bytes: &[u8], q: &[i8], sums: &[i16]) -> (i32, i32) {
    let mut block = Block::ZERO;
    F::unpack(Portable, bytes, &mut block);
    Portable.integers::<F>(&block, q, sums)
}

/// The codes of one packed block.
#[cfg(test)]
pub(super) fn codes_of<F: Packed>(bytes: &[u8]) -> Vec<u8> {
    let mut block = Block::ZERO;
    F::unpack(Portable, bytes, &mut block);
    block.codes[..F::SHAPE.block].to_vec()
}

/// The factors of one packed block.
#[cfg(test)]
pub(super) fn factors_of<F: Packed>(bytes: &[u8]) -> (f32, f32) {
    F::factors(Portable, bytes)
}
