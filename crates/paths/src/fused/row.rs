//! One row of weights with any number of positions.

use std::marker::PhantomData;

use super::bytes::{Bytes, Portable};
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Block, Form, Job, Packed, join};
use crate::q8::Codes;

/// Evaluates `job` into `[positions, rows]`.
pub(super) fn run<F: Packed>(job: &Job<'_>, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(s) = x86::Vnni::new(job.isa) {
            // SAFETY: `s` proves the features.
            return unsafe { vnni::<F>(s, job, out) };
        }
        if let Some(s) = x86::Avx2::new(job.isa) {
            // SAFETY: `s` proves the features.
            return unsafe { avx2::<F>(s, job, out) };
        }
    }
    rows::<F, _>(Portable, job, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn vnni<F: Packed>(s: x86::Vnni, job: &Job<'_>, out: &mut [f32]) {
    rows::<F, _>(s, job, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<F: Packed>(s: x86::Avx2, job: &Job<'_>, out: &mut [f32]) {
    rows::<F, _>(s, job, out);
}

#[inline(always)]
fn rows<F: Packed, S: Bytes>(s: S, job: &Job<'_>, out: &mut [f32]) {
    let Job { weight, bias, codes, .. } = *job;
    let (rows, positions) = (weight.rows(), codes.positions);
    let mut sums = vec![[0.0f32; 2]; positions];
    for row in 0..rows {
        let bytes = weight.row(row);
        if let [sums] = &mut sums[..] {
            *sums = one(s, bytes, codes, PhantomData::<F>);
        } else {
            many(s, bytes, codes, &mut sums, PhantomData::<F>);
        }
        for (t, sums) in sums.iter().enumerate() {
            let y = join(F::FORM, sums[0], sums[1]);
            out[t * rows + row] = bias.map_or(y, |b| y + b[row]);
        }
    }
}

/// The two sums of one row and one position, held in registers.
#[inline(always)]
fn one<F: Packed, S: Bytes>(s: S, row: &[u8], codes: &Codes, _: PhantomData<F>) -> [f32; 2] {
    let mut sums = [0.0; 2];
    let mut block = Block::ZERO;
    let q = codes.q.chunks_exact(F::SHAPE.block);
    let activations = q.zip(codes.sums.chunks_exact(F::SHAPE.sums())).zip(&codes.d);
    for (bytes, ((q, group_sums), &a)) in row.chunks_exact(F::BYTES).zip(activations) {
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
fn step(form: Form, sums: &mut [f32; 2], (d, dm): (f32, f32), a: f32, p: i32, m: i32) {
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
