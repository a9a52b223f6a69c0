//! Rotary position embedding.

use twinpath_engine::{Pairing, Rope, Tensor};

use super::changed;

/// Rotates the pairs of each head. The angle is `position * frequency` in f64; its cosine and sine are libm's in f64, times
/// the magnitude, rounded to f32. A pair becomes `(x0 * c - x1 * s, x0 * s + x1 * c)`, each operation rounded, none fused.
///
/// # Panics
/// When the width of `x` is not a multiple of `heads`, or a head is shorter than its pairs.
pub fn rope(x: &Tensor<f32>, rope: &Rope, heads: usize, start: usize) -> Tensor<f32> {
    let (dim, pairs) = (x.cols() / heads, rope.frequencies.len());
    assert!(x.cols() == heads * dim && 2 * pairs <= dim, "{} values are no {heads} heads of {pairs} pairs", x.cols());
    // A sine and a cosine in f64 cost about as much as 32 simple operations each.
    changed(x, heads * dim, 4 * heads * dim + 64 * pairs, |t, row| {
        let position = (start + t) as f64;
        let turns: Vec<(f32, f32)> = rope.frequencies.iter().map(|f| turn(position * f, rope.magnitude)).collect();
        for head in row.chunks_exact_mut(dim) {
            for (i, (c, s)) in turns.iter().enumerate() {
                let (a, b) = match rope.pairing {
                    Pairing::Adjacent => (2 * i, 2 * i + 1),
                    Pairing::HalfSplit => (i, i + pairs),
                };
                (head[a], head[b]) = (head[a] * c - head[b] * s, head[a] * s + head[b] * c);
            }
        }
    })
}

fn turn(angle: f64, magnitude: f64) -> (f32, f32) {
    ((libm::cos(angle) * magnitude) as f32, (libm::sin(angle) * magnitude) as f32)
}
