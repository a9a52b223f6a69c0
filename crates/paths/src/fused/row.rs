//! One row of weights with any number of positions: portable code, compiled once per instruction set.
//!
//! Each block of weights is read once and meets all positions while it is in registers or the first cache.

use super::{Block, Form, Job, Packed, join};
use crate::simd::Kernel;

/// Evaluates `job` into `[positions, rows]`.
pub(super) fn run<F: Packed>(job: &Job<'_>, out: &mut [f32]) {
    job.isa.run(Rows::<F> { job, out, format: std::marker::PhantomData });
}

struct Rows<'a, F> {
    job: &'a Job<'a>,
    out: &'a mut [f32],
    format: std::marker::PhantomData<F>,
}

impl<F: Packed> Kernel for Rows<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Job { weight, bias, codes, .. } = *self.job;
        let (rows, positions) = (weight.rows(), codes.positions);
        let mut sums = vec![[0.0f32; 2]; positions];
        let mut block = Block::ZERO;
        for row in 0..rows {
            sums.fill([0.0; 2]);
            for (b, bytes) in weight.row(row).chunks_exact(F::BYTES).enumerate() {
                F::unpack(bytes, &mut block);
                let (d, dm) = F::factors(bytes);
                let at = b * positions..(b + 1) * positions;
                let q = codes.q[at.start * F::SHAPE.block..].chunks_exact(F::SHAPE.block);
                let group_sums = codes.sums[at.start * F::SHAPE.sums()..].chunks_exact(F::SHAPE.sums());
                let activations = q.zip(group_sums).zip(&codes.d[at]);
                for (sums, ((q, group_sums), &a)) in sums.iter_mut().zip(activations) {
                    let (p, m) = integers::<F>(&block, q, group_sums);
                    step(F::FORM, sums, [d, dm], a, p, m);
                }
            }
            for (t, sums) in sums.iter().enumerate() {
                let y = join(F::FORM, sums[0], sums[1]);
                self.out[t * rows + row] = bias.map_or(y, |b| y + b[row]);
            }
        }
    }
}

/// Adds one block to the two sums of an output.
#[inline(always)]
fn step(form: Form, sums: &mut [f32; 2], [d, dm]: [f32; 2], a: f32, p: i32, m: i32) {
    if form == Form::Offset {
        sums[0] = (d * a).mul_add(p.wrapping_sub(m) as f32, sums[0]);
    } else {
        sums[0] = (d * a).mul_add(p as f32, sums[0]);
        sums[1] = (dm * a).mul_add(m as f32, sums[1]);
    }
}

/// The exact `(p, m)` of one block. Wrapping operations, because none can overflow (see the module above) and checks would
/// keep the loops from being vectorised.
#[inline(always)]
fn integers<F: Packed>(block: &Block, q: &[i8], sums: &[i16]) -> (i32, i32) {
    let groups = F::SHAPE.block / F::SHAPE.group;
    let (mut p, mut m) = (0i32, 0i32);
    for g in 0..groups {
        let of = g * F::SHAPE.group..(g + 1) * F::SHAPE.group;
        let pairs = block.codes[of.clone()].iter().zip(&q[of]);
        let dot =
            pairs.fold(0i32, |dot, (c, q)| dot.wrapping_add(i32::from(i16::from(*c).wrapping_mul(i16::from(*q)))));
        p = p.wrapping_add(dot.wrapping_mul(i32::from(block.scales[g])));
        m = m.wrapping_add(i32::from(sums[g]).wrapping_mul(i32::from(block.mins[g])));
    }
    (p, m)
}

/// The exact `(p, m)` of one packed block.
#[cfg(test)]
pub(super) fn integers_of<F: Packed>(bytes: &[u8], q: &[i8], sums: &[i16]) -> (i32, i32) {
    let mut block = Block::ZERO;
    F::unpack(bytes, &mut block);
    integers::<F>(&block, q, sums)
}

/// The codes of one packed block.
#[cfg(test)]
pub(super) fn codes_of<F: Packed>(bytes: &[u8]) -> Vec<u8> {
    let mut block = Block::ZERO;
    F::unpack(bytes, &mut block);
    block.codes[..F::SHAPE.block].to_vec()
}
