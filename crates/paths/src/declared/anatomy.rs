//! The parts of a block: `weight = d · scale · code + dmin · minimum`.
//!
//! Read naively from the layouts of ggml's `ggml-common.h`, apart from every decoder.

use half::f16;
use twinpath_formats::TensorType;

/// One block, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    /// Values that share a scale.
    pub group: usize,
    /// The block's scale.
    pub d: f64,
    /// The block's scale of minimums, with the sign that they are added with; 0 where there are none.
    pub dmin: f64,
    /// Integer scale of each group.
    pub scales: Vec<i32>,
    /// Integer minimum of each group.
    pub mins: Vec<i32>,
    /// Codes, centred where the format centres them.
    pub codes: Vec<i32>,
}

/// Whether a weight is a difference or sum of two products.
pub fn has_minimum(tensor_type: TensorType) -> bool {
    use TensorType::{Q2K, Q4_1, Q4K, Q5_1, Q5K};
    matches!(tensor_type, Q4_1 | Q5_1 | Q2K | Q4K | Q5K)
}

/// Takes a block apart; `None` for plain floats.
pub fn of(tensor_type: TensorType, block: &[u8]) -> Option<Anatomy> {
    use TensorType::{BF16, F16, F32, IQ4NL, IQ4XS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let b = |i: usize| i32::from(block[i]);
    let half = |i: usize| f16::from_le_bytes([block[i], block[i + 1]]).to_f64();
    let nibble = |at: usize, i: usize| b(at + i % 16) >> (4 * (i / 16)) & 15;
    let fifth = |at: usize, i: usize| (b(at + i / 8) >> (i % 8) & 1) << 4;
    // K blocks: half, bit plane and byte of value i.
    let plane = |i: usize| (i / 128, i % 128 / 32, i % 32);
    let low_pair = |at: usize, i: usize| {
        let (h, j, l) = plane(i);
        b(at + 32 * h + l) >> (2 * j) & 3
    };
    let k_nibble = |at: usize, i: usize| b(at + i / 64 * 32 + i % 32) >> (4 * (i / 32 % 2)) & 15;
    let one = |d: f64, code: &dyn Fn(usize) -> i32| anatomy((32, 32), d, 0.0, &|_| 1, &|_| 0, code);
    let plus = |code: &dyn Fn(usize) -> i32| anatomy((32, 32), half(0), half(2), &|_| 1, &|_| 1, code);
    Some(match tensor_type {
        F32 | F16 | BF16 => return None,
        Q4_0 => one(half(0), &|i| nibble(2, i) - 8),
        Q5_0 => one(half(0), &|i| (nibble(6, i) | fifth(2, i)) - 16),
        Q8_0 => one(half(0), &|i| i32::from(block[2 + i].cast_signed())),
        IQ4NL => one(half(0), &|i| IQ4[nibble(2, i) as usize]),
        Q4_1 => plus(&|i| nibble(4, i)),
        Q5_1 => plus(&|i| nibble(8, i) | fifth(4, i)),
        Q2K => anatomy((256, 16), half(80), -half(82), &|g| b(g) & 15, &|g| b(g) >> 4, &|i| low_pair(16, i)),
        Q3K => {
            let low = |g: usize| b(96 + g % 8) >> (4 * (g / 8)) & 15;
            let scale = |g: usize| (low(g) | (b(104 + g % 4) >> (2 * (g / 4)) & 3) << 4) - 32;
            let code = |i: usize| (low_pair(32, i) | (b(i % 32) >> (i / 32) & 1) << 2) - 4;
            anatomy((256, 16), half(108), 0.0, &scale, &|_| 0, &code)
        }
        Q4K => anatomy((256, 32), half(0), -half(2), &|g| six(block, g).0, &|g| six(block, g).1, &|i| k_nibble(16, i)),
        Q5K => {
            let code = |i: usize| k_nibble(48, i) | (b(16 + i % 32) >> (i / 32) & 1) << 4;
            anatomy((256, 32), half(0), -half(2), &|g| six(block, g).0, &|g| six(block, g).1, &code)
        }
        Q6K => {
            let code = |i: usize| {
                let (h, j, l) = plane(i);
                let low = b(64 * h + 32 * (j % 2) + l) >> (4 * (j / 2)) & 15;
                (low | (b(128 + 32 * h + l) >> (2 * j) & 3) << 4) - 32
            };
            anatomy((256, 16), half(208), 0.0, &|g| i32::from(block[192 + g].cast_signed()), &|_| 0, &code)
        }
        IQ4XS => {
            let high = b(2) | b(3) << 8;
            let scale = |g: usize| (b(4 + g / 2) >> (4 * (g % 2)) & 15 | (high >> (2 * g) & 3) << 4) - 32;
            let code = |i: usize| IQ4[(b(8 + i / 32 * 16 + i % 16) >> (4 * (i % 32 / 16)) & 15) as usize];
            anatomy((256, 32), half(0), 0.0, &scale, &|_| 0, &code)
        }
    })
}

/// Steps of the four-bit formats with a table.
pub(super) const IQ4: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The 6-bit scale and minimum of group `g` of Q4_K and Q5_K, in the 12 bytes from byte 4.
fn six(block: &[u8], g: usize) -> (i32, i32) {
    let b = |i: usize| i32::from(block[4 + i]);
    match g {
        0..4 => (b(g) & 63, b(4 + g) & 63),
        _ => (b(4 + g) & 15 | b(g - 4) >> 6 << 4, b(4 + g) >> 4 | b(g) >> 6 << 4),
    }
}

fn anatomy(
    (len, group): (usize, usize),
    d: f64,
    dmin: f64,
    scale: &dyn Fn(usize) -> i32,
    min: &dyn Fn(usize) -> i32,
    code: &dyn Fn(usize) -> i32,
) -> Anatomy {
    let groups = 0..len / group;
    Anatomy {
        group,
        d,
        dmin,
        scales: groups.clone().map(scale).collect(),
        mins: groups.map(min).collect(),
        codes: (0..len).map(code).collect(),
    }
}

/// The minimum of every 16 values of a block, as added to each weight, into `out`: for formats that have minimums.
pub(super) fn minimums(tensor_type: TensorType, block: &[u8], out: &mut [f64]) {
    let half = |i: usize| f16::from_le_bytes([block[i], block[i + 1]]).to_f64();
    match tensor_type {
        TensorType::Q4_1 | TensorType::Q5_1 => out.fill(half(2)),
        TensorType::Q2K => {
            let dmin = half(82);
            out.iter_mut().enumerate().for_each(|(g, m)| *m = -dmin * f64::from(block[g] >> 4));
        }
        TensorType::Q4K | TensorType::Q5K => {
            let dmin = half(2);
            out.iter_mut().enumerate().for_each(|(g, m)| *m = -dmin * f64::from(six(block, g / 2).1));
        }
        _ => out.fill(0.0),
    }
}
