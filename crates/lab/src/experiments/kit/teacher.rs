//! The published 7B model, which some figures need.

use twinpath_engine::Model;

use super::fixture::BLOCK_BYTES;

/// What those figures need.
pub(crate) const NAME: &str = "Qwen2.5-Coder-7B-Instruct Q4_K_M";

/// d and dmin of the first super-block of its layer-3 ffn_down, as stored: the first is published in hexadecimal, the
/// second is the one f16 that prints as the published 0.0007982254.
const LAYER_3: [u8; 4] = [0xc6, 0x06, 0x8a, 0x12];

/// The first super-block of a layer's ffn_down, if `model` is the published one.
///
/// # Errors
/// What is needed instead.
pub(crate) fn first_block(model: Option<&Model>, layer: usize) -> Result<&[u8], String> {
    let needs = |why: String| format!("needs model {NAME}: {why}");
    let model = model.ok_or_else(|| needs("give it with --model".to_owned()))?;
    let c = model.config();
    if (c.hidden, c.ffn, c.layers) != (3584, 18_944, 28) {
        return Err(needs("the one given has other sizes".to_owned()));
    }
    let block = |layer: usize| {
        let matrix = model.matrix(&format!("blk.{layer}.ffn_down.weight"));
        let is_q4_k = matrix.tensor_type() == twinpath_formats::TensorType::Q4K;
        matrix.bytes().get(..BLOCK_BYTES).filter(|_| is_q4_k)
    };
    match block(3) {
        Some(bytes) if bytes[..4] == LAYER_3 => {}
        _ => return Err(needs("the one given holds other weights".to_owned())),
    }
    block(layer)
        .ok_or_else(|| needs(format!("ffn_down of layer {layer} is not Q4_K here; the published file has it so")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_scales_are_the_published_ones() {
        let f16 = |at: usize| half::f16::from_le_bytes([LAYER_3[at], LAYER_3[at + 1]]).to_f32();
        assert_eq!(format!("{:.12} {:.10}", f16(0), f16(2)), "0.000103354454 0.0007982254");
    }
}
