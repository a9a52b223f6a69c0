//! 256-wide blocks whose activations have a scale per 32 values.
//!
//! With `p_j` and `m_j` the parts of a block's two integers that belong to its values `32 j ..`, and `a_j` their scale, each
//! output is block after block, and inside a block `j` after `j`,
//!
//! ```text
//! acc = fma(d · a_j, p_j, acc)        accm = fma(dm · a_j, m_j, accm)
//! ```
//!
//! in f32, joined at the end by the format's [`Form`]; an offset format has `p_j - m_j` in place of `p_j` and no `accm`. The
//! integers lose nothing as f32: of 32 values they are at most 128 · 32 · 127 · 32 = 16646144 in magnitude (Q6_K; IQ4_XS
//! 32 · 127 in place of 128 · 32, Q5_K 63 · 31), below 2^24.
//!
//! One output is one chain of additions, each waiting for the last, so eight outputs are made side by side.

use super::bytes::Bytes;
#[cfg(test)]
use super::bytes::Portable;
use super::row::value;
#[cfg(all(test, target_arch = "x86_64"))]
use super::x86;
use super::{Block, Form, Job, Packed};
use crate::columns::Columns;
use crate::q8::Codes;
#[cfg(test)]
use crate::simd::Isa;

/// The integers of each 32 values of a block. Of an offset format, `p` is the difference and `m` is left as it was.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Parts {
    pub(crate) p: [f32; 8],
    pub(crate) m: [f32; 8],
}

impl Parts {
    pub(crate) const ZERO: Parts = Parts { p: [0.0; 8], m: [0.0; 8] };
}

/// One block of each of eight rows.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct EightRows {
    pub(crate) parts: [Parts; 8],
    pub(crate) d: [f32; 8],
    pub(crate) dm: [f32; 8],
}

impl EightRows {
    const ZERO: EightRows = EightRows { parts: [Parts::ZERO; 8], d: [0.0; 8], dm: [0.0; 8] };
}

/// The two sums of each of eight rows.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct EightSums {
    pub(crate) acc: [f32; 8],
    pub(crate) accm: [f32; 8],
}

/// Evaluates `job` into `[positions, rows]`.
#[inline(always)]
pub(super) fn rows<F: Packed, S: Bytes>(s: S, job: &Job<'_>, out: &mut Columns<'_>) {
    let Job { weight, bias, codes, .. } = *job;
    let (rows, positions) = (weight.rows(), codes.positions);
    let mut first = 0;
    if positions == 1 {
        let mut blocks = vec![EightRows::ZERO; weight.cols() / F::SHAPE.block];
        let values = out.of(0, 0..rows);
        while first + 8 <= rows {
            let bytes: [&[u8]; 8] = std::array::from_fn(|r| weight.row(first + r));
            let EightSums { acc, accm } = eight::<F, S>(s, bytes, codes, &mut blocks);
            for r in 0..8 {
                values[first + r] = value(F::FORM, [acc[r], accm[r]], bias.map(|b| b[first + r]));
            }
            first += 8;
        }
    }
    let mut sums = vec![[0.0f32; 2]; positions];
    for row in first..rows {
        many::<F, S>(s, weight.row(row), codes, &mut sums);
        for (t, sums) in sums.iter().enumerate() {
            out.of(t, row..row + 1)[0] = value(F::FORM, *sums, bias.map(|b| b[row]));
        }
    }
}

/// The sums of eight rows and one position. Their integers come first, row after row, because memory is fastest in one
/// stream.
#[inline(always)]
fn eight<F: Packed, S: Bytes>(s: S, rows: [&[u8]; 8], codes: &Codes, blocks: &mut [EightRows]) -> EightSums {
    let mut block = Block::ZERO;
    for (r, row) in rows.into_iter().enumerate() {
        let q = codes.q.as_chunks().0.iter().zip(codes.sums.chunks_exact(F::SHAPE.sums()));
        for ((bytes, (q, sums)), to) in row.chunks_exact(F::BYTES).zip(q).zip(&mut *blocks) {
            F::unpack(s, bytes, &mut block);
            s.parts::<F>(&block, q, sums, &mut to.parts[r]);
            (to.d[r], to.dm[r]) = F::factors(s, bytes);
        }
    }
    let mut sums = EightSums { acc: [0.0; 8], accm: [0.0; 8] };
    for (block, a) in blocks.iter().zip(codes.d.as_chunks().0) {
        s.add_rows::<F>(block, a, &mut sums);
    }
    sums
}

/// The sums of one row and each position: each block of weights is unpacked once and meets all of them.
#[inline(always)]
fn many<F: Packed, S: Bytes>(s: S, row: &[u8], codes: &Codes, sums: &mut [[f32; 2]]) {
    sums.fill([0.0; 2]);
    let positions = sums.len();
    let (mut block, mut parts) = (Block::ZERO, Parts::ZERO);
    let q = codes.q.as_chunks().0.chunks_exact(positions);
    let group_sums = codes.sums.chunks_exact(positions * F::SHAPE.sums());
    let scales = codes.d.as_chunks().0.chunks_exact(positions);
    for (bytes, ((q, group_sums), a)) in row.chunks_exact(F::BYTES).zip(q.zip(group_sums).zip(scales)) {
        F::unpack(s, bytes, &mut block);
        let factors = F::factors(s, bytes);
        let each = q.iter().zip(group_sums.chunks_exact(F::SHAPE.sums())).zip(a);
        for (sums, ((q, group_sums), a)) in sums.iter_mut().zip(each) {
            s.parts::<F>(&block, q, group_sums, &mut parts);
            step(F::FORM, sums, factors, a, &parts);
        }
    }
}

/// Adds one block to the two sums of an output.
#[inline(always)]
fn step(form: Form, sums: &mut [f32; 2], (d, dm): (f32, f32), a: &[f32; 8], parts: &Parts) {
    for j in 0..8 {
        sums[0] = (d * a[j]).mul_add(parts.p[j], sums[0]);
        if form != Form::Offset {
            sums[1] = (dm * a[j]).mul_add(parts.m[j], sums[1]);
        }
    }
}

/// The integers of one packed block.
#[cfg(test)]
pub(super) fn parts_of<F: Packed>(isa: Isa, bytes: &[u8], q: &[i8; 256], sums: &[i16]) -> Parts {
    fn with<F: Packed, S: Bytes>(s: S, bytes: &[u8], q: &[i8; 256], sums: &[i16]) -> Parts {
        let (mut block, mut parts) = (Block::ZERO, Parts::ZERO);
        F::unpack(s, bytes, &mut block);
        s.parts::<F>(&block, q, sums, &mut parts);
        parts
    }
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(s) = x86::Vnni::new(isa) {
            return with::<F, _>(s, bytes, q, sums);
        }
        if let Some(s) = x86::Avx2::new(isa) {
            return with::<F, _>(s, bytes, q, sums);
        }
    }
    with::<F, _>(Portable, bytes, q, sums)
}
