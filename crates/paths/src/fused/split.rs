//! 256-wide blocks whose activations have a scale per 32 values.
//!
//! With `a_j` the scale of values `32 j ..`, each output is block after block, and inside a block `j` after `j`,
//!
//! ```text
//! acc = fma(w_j · a_j, p_j, acc)        accm = fma(v_j, a_j · m_j, accm)
//! ```
//!
//! in f32, joined at the end by the format's [`Form`]; an offset format has no `accm`. Where 32 values share a scale `sc` and
//! a minimum `mn`,
//!
//! ```text
//! w_j = d · sc_j       p_j = Σ c q        v_j = dm · mn_j       m_j = Σ q
//! ```
//!
//! so that scales are multiplied once for all positions and sums once for all rows, and where 16 do
//!
//! ```text
//! w_j = d              p_j = Σ_groups sc · Σ c q                v_j = dm            m_j = Σ_groups mn · Σ q
//! ```
//!
//! with `c` less the offset in an offset format. `w` and `v` lose nothing as f32: `d` has 11 bits and `sc` at most 6. Nor do
//! the integers: of 32 values they are at most 128 · 32 · 127 · 32 = 16646144 in magnitude (Q6_K), below 2^24.
//!
//! One output is one chain of additions, each waiting for the last, so eight outputs are made side by side.

use super::bytes::Bytes;
#[cfg(test)]
use super::bytes::Portable;
use super::row::value;
#[cfg(all(test, target_arch = "x86_64"))]
use super::x86;
use super::{Block, Form, Job, Packed, by_32};
use crate::columns::Columns;
use crate::q8::Codes;
#[cfg(test)]
use crate::simd::Isa;

/// What a block makes of each 32 codes of activations.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Parts {
    pub(crate) p: [f32; 8],
    /// `m_j`, the bits of an f32; where 32 values share them, `sc_j` in the lower half and `mn_j` in the upper one.
    pub(crate) beside: [u32; 8],
}

impl Parts {
    pub(crate) const ZERO: Parts = Parts { p: [0.0; 8], beside: [0; 8] };

    /// Puts `sc_j` and `mn_j`.
    #[inline(always)]
    pub(super) fn set_small(&mut self, block: &Block, j: usize) {
        let [scale, min] = [block.scales[j], block.mins[j]].map(|v| u32::from(v.cast_unsigned()));
        self.beside[j] = scale | min << 16;
    }

    /// `sc_j` and `mn_j`.
    #[inline(always)]
    fn small(&self, j: usize) -> [f32; 2] {
        [self.beside[j], self.beside[j] >> 16].map(|v| f32::from((v as u16).cast_signed()))
    }
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

/// What one position brings to a block besides codes: a scale for each 32 values, and, where 32 values of weights share a
/// minimum, that times their sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activations<'a> {
    pub(crate) a: &'a [f32; 8],
    pub(crate) scaled: &'a [f32; 8],
}

/// Those of each block and position.
fn activations(codes: &Codes) -> impl Iterator<Item = Activations<'_>> + Clone {
    let a = codes.d.as_chunks().0;
    let scaled = if codes.scaled.is_empty() { &codes.d } else { &codes.scaled };
    a.iter().zip(scaled.as_chunks().0).map(|(a, scaled)| Activations { a, scaled })
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
    for (block, x) in blocks.iter().zip(activations(codes)) {
        s.add_rows::<F>(block, x, &mut sums);
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
    let mut x = activations(codes);
    for (bytes, (q, group_sums)) in row.chunks_exact(F::BYTES).zip(q.zip(group_sums)) {
        F::unpack(s, bytes, &mut block);
        let factors = F::factors(s, bytes);
        let each = q.iter().zip(group_sums.chunks_exact(F::SHAPE.sums())).zip(x.by_ref());
        for (sums, ((q, group_sums), x)) in sums.iter_mut().zip(each) {
            s.parts::<F>(&block, q, group_sums, &mut parts);
            step::<F>(sums, factors, x, &parts);
        }
    }
}

/// Adds one block to the two sums of an output.
#[inline(always)]
pub(super) fn step<F: Packed>([acc, accm]: &mut [f32; 2], (d, dm): (f32, f32), x: Activations<'_>, parts: &Parts) {
    for j in 0..8 {
        let (w, v, m) = if by_32::<F>() {
            let [scale, min] = parts.small(j);
            (d * scale, dm * min, x.scaled[j])
        } else {
            (d, dm, x.a[j] * f32::from_bits(parts.beside[j]))
        };
        *acc = (w * x.a[j]).mul_add(parts.p[j], *acc);
        if F::FORM != Form::Offset {
            *accm = v.mul_add(m, *accm);
        }
    }
}

/// The integers of each 32 values of one packed block, scales and minimums included: of codes and of minimums.
#[cfg(test)]
pub(super) fn parts_of<F: Packed>(isa: Isa, bytes: &[u8], q: &[i8; 256], sums: &[i16]) -> [[f32; 8]; 2] {
    fn with<F: Packed, S: Bytes>(s: S, bytes: &[u8], q: &[i8; 256], sums: &[i16]) -> [[f32; 8]; 2] {
        let (mut block, mut parts) = (Block::ZERO, Parts::ZERO);
        F::unpack(s, bytes, &mut block);
        s.parts::<F>(&block, q, sums, &mut parts);
        if by_32::<F>() {
            let with = |of: &dyn Fn(usize) -> f32| std::array::from_fn(of);
            [with(&|j| parts.p[j] * parts.small(j)[0]), with(&|j| f32::from(sums[j]) * parts.small(j)[1])]
        } else {
            [parts.p, parts.beside.map(f32::from_bits)]
        }
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
