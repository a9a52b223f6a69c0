//! A planted massive activation: one channel of each norm's value, and one of each 256 of `ffn_swiglu`, is [`FACTOR`]
//! times as large as the others at every position, as in trained models where single channels carry outliers.
//!
//! Norm weights, and the rows of `ffn_up` that make the channel, are multiplied; the columns of the matrices that read it
//! are set as near to 0 as their blocks can say. So the channel hardly contributes to what follows, but it sets the scale
//! that its 255 neighbours are coded with.

use half::f16;
use twinpath_formats::{TensorPlan, TensorType};

/// How much larger. A power of two, so that block scales can be multiplied exactly. With one scale per 256 the step is
/// then about `64 / 127` of a neighbour's standard deviation: an error of 15 % in every product.
pub(super) const FACTOR: f32 = 64.0;
/// The massive channel of each 256.
pub(super) const CHANNEL: usize = 100;

/// Multiplies the massive channel of a norm's weight; `first` is the place of the first value of `bytes`.
pub(super) fn norm(bytes: &mut [u8], first: usize) {
    for (i, place) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if first + i == CHANNEL {
            *place = (f32::from_le_bytes(*place) * FACTOR).to_le_bytes();
        }
    }
}

/// Changes the blocks of a matrix; `first` is the place of the first block of `bytes`.
pub(super) fn blocks(plan: &TensorPlan, bytes: &mut [u8], first: usize) {
    let [_, cols] = plan.shape[..] else { return };
    let size = plan.tensor_type.format().block_bytes();
    let per_row = cols / plan.tensor_type.format().block_len();
    // Embeddings are read by row; the value of attention has no massive channel.
    let reads = !plan.name.starts_with("token_embd") && !plan.name.ends_with("attn_output.weight");
    for (i, block) in bytes.chunks_exact_mut(size).enumerate() {
        let place = first + i;
        let reads_massive = reads && (plan.name.ends_with("ffn_down.weight") || place.is_multiple_of(per_row));
        if reads_massive {
            silence(plan.tensor_type, block);
        }
        if plan.name.ends_with("ffn_up.weight") && place / per_row % 256 == CHANNEL {
            scale(plan.tensor_type, block);
        }
    }
}

/// Sets the weight of the massive channel to the value nearest 0.
fn silence(tensor_type: TensorType, block: &mut [u8]) {
    let i = CHANNEL;
    match tensor_type {
        TensorType::Q4K => {
            let (sc, m) = six(block, i / 32);
            // d (sc q - 7.5 m): dmin is 7.5 d.
            let code = (7.5 * f64::from(m) / f64::from(sc)).round().min(15.0) as u8;
            let (at, shift) = (16 + i / 64 * 32 + i % 32, 4 * (i / 32 % 2));
            block[at] = block[at] & !(15 << shift) | code << shift;
        }
        TensorType::Q6K => {
            let (half, plane, l) = (i / 128, i % 128 / 32, i % 32);
            let (low, high) = (64 * half + 32 * (plane % 2) + l, 128 + 32 * half + l);
            // 32, of which 32 is taken: the low four bits are 0, the high two are 2.
            block[low] &= !(15 << (4 * (plane / 2)));
            block[high] = block[high] & !(3 << (2 * plane)) | 2 << (2 * plane);
        }
        _ => {}
    }
}

/// The 6-bit scale and minimum of group `g` of a Q4_K block.
fn six(block: &[u8], g: usize) -> (u8, u8) {
    let b = |i: usize| block[4 + i];
    if g < 4 {
        (b(g) & 63, b(4 + g) & 63)
    } else {
        (b(4 + g) & 15 | b(g - 4) >> 6 << 4, b(4 + g) >> 4 | b(g) >> 6 << 4)
    }
}

/// Multiplies a block.
fn scale(tensor_type: TensorType, block: &mut [u8]) {
    if tensor_type == TensorType::Q4K {
        for at in [0, 2] {
            let d = f16::from_le_bytes([block[at], block[at + 1]]).to_f32() * FACTOR;
            block[at..at + 2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        }
    }
}
