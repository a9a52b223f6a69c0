//! # What goes wrong
//!
//! The codes of a packed block are taken from the wrong bits: low and high half of each byte exchanged, neighbours for
//! halves, signed for unsigned.
//!
//! # Seen in
//!
//! llama.cpp 12657 (AVX2, Q4_K), 19561 (repacked Q4_K), 3276 (Metal, Q3_K and Q4_K), 21548 (SVE), 22011 (ARM);
//! ik_llama.cpp 2224.
//!
//! # What it changes
//!
//! Every projection and embedding of such weights, often on one kind of processor only.
//!
//! # When it can not be seen
//!
//! Where a kernel of another format is used.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_formats::TensorType;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "nibbles", source: include_str!("nibbles.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    use TensorType::{IQ4NL, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let Some(weight) = kit::weight_of(scene.op) else { return Vec::new() };
    // Where the four-bit halves lie, and how many bytes make one run of halves.
    let (codes, run) = match weight.tensor_type() {
        Q4_0 | IQ4NL => (2..18, 16),
        Q4_1 => (4..20, 16),
        Q5_0 => (6..22, 16),
        Q5_1 => (8..24, 16),
        Q4K => (16..144, 32),
        Q5K => (48..176, 32),
        Q6K => (0..128, 32),
        Q8_0 => return vec![edited("sign bit of codes inverted", |b| b[2..34].iter_mut().for_each(|b| *b ^= 0x80))],
        _ => return Vec::new(),
    };
    let (exchanged, neighbours) = (codes.clone(), codes);
    vec![
        edited("halves of each byte exchanged", move |b| {
            b[exchanged.clone()].iter_mut().for_each(|b| *b = b.rotate_left(4));
        }),
        edited("neighbours for halves", move |b| {
            for run in b[neighbours.clone()].chunks_exact_mut(run) {
                let old = run.to_vec();
                // Value i is read from half i mod 2 of byte i / 2, not from half i / n of byte i mod n.
                let code = |i: usize| old[i / 2] >> (4 * (i % 2)) & 15;
                let n = run.len();
                run.iter_mut().enumerate().for_each(|(i, b)| *b = code(i) | code(i + n) << 4);
            }
        }),
    ]
}

fn edited(name: &str, edit: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Change {
    kit::weights(name, move |w| {
        let mut bytes = w.bytes().to_vec();
        bytes.chunks_exact_mut(w.format().block_bytes()).for_each(&edit);
        (w.tensor_type(), bytes)
    })
}
