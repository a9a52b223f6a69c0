//! Reproducible values for tests.

use half::f16;
use twinpath_engine::Tensor;
use twinpath_formats::TensorType;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in -1..1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.signed()).collect()
    }

    pub(crate) fn tensor(&mut self, rows: usize, cols: usize) -> Tensor<f32> {
        Tensor::new(rows, cols, self.values(rows * cols))
    }
}

/// The order of [`dot`](crate::simd::dot), said as plainly as it can be.
pub(crate) fn lane_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for i in 0..a.len() {
        sums[i % 16] = a[i].mul_add(b[i], sums[i % 16]);
    }
    let eight: [f32; 8] = std::array::from_fn(|j| sums[j] + sums[j + 8]);
    let four: [f32; 4] = std::array::from_fn(|j| eight[j] + eight[j + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Byte offsets of the f16 fields of a block.
fn f16_fields(tensor_type: TensorType) -> &'static [usize] {
    match tensor_type {
        TensorType::F32 | TensorType::BF16 => &[],
        TensorType::F16 | TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => &[0],
        TensorType::IQ4NL | TensorType::IQ4XS => &[0],
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K => &[0, 2],
        TensorType::Q2K => &[80, 82],
        TensorType::Q3K => &[108],
        TensorType::Q6K => &[208],
    }
}

/// Overwrites the f16 fields of a block.
pub(crate) fn set_scales(tensor_type: TensorType, block: &mut [u8], scales: [f16; 2]) {
    for (at, scale) in f16_fields(tensor_type).iter().zip(scales) {
        block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
    }
}

/// Random finite blocks: all codes equally likely, scales (plain values, too) of the order of 0.01 and both signs.
pub(crate) fn blocks(tensor_type: TensorType, count: usize, random: &mut Random) -> Vec<u8> {
    let size = tensor_type.format().block_bytes();
    let mut bytes: Vec<u8> = (0..count * size).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(size) {
        let [a, b] = [random.signed() / 64.0, random.signed() / 64.0];
        match tensor_type {
            TensorType::F32 => block.copy_from_slice(&a.to_le_bytes()),
            TensorType::BF16 => block.copy_from_slice(&half::bf16::from_f32(a).to_le_bytes()),
            _ => set_scales(tensor_type, block, [f16::from_f32(a), f16::from_f32(b)]),
        }
    }
    bytes
}
