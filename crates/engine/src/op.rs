//! One operation of a forward pass, as data.

use serde::{Deserialize, Serialize};
use twinpath_formats::Matrix;

/// The closed set of operations that all families share. Shapes: `T` token positions of this call, `S` cached positions
/// (those of this call included).
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// No input. Row `t` is row `tokens[t]` of `table`, decoded: `[T, hidden]`.
    Embed {
        /// `[vocab, hidden]`.
        table: Matrix<'a>,
        /// Token ids, each below `table.rows()`.
        tokens: &'a [u32],
    },
    /// Input x `[T, in]`. `x Wᵀ + b`: `[T, out]`.
    Linear {
        /// `[out, in]`.
        weight: Matrix<'a>,
        /// `[out]`.
        bias: Option<&'a [f32]>,
    },
    /// Input x `[T, groups * n]`. RMSNorm of each group of `n = weight.len()` values: `x / sqrt(mean(x²) + eps) * weight`.
    Norm {
        /// `[n]`.
        weight: &'a [f32],
        /// Added to the mean square.
        eps: f64,
    },
    /// Input x `[T, heads * head_dim]`. Rotates each pair of each head by `position * frequency`.
    Rope {
        /// Frequencies, pairing and magnitude.
        rope: &'a Rope,
        /// Heads of x.
        heads: usize,
        /// Position of the first row.
        start: usize,
    },
    /// Inputs q `[T, heads * head_dim]`, k `[S, kv_heads * head_dim]`. `scale * q.k`: `[T, heads * S]`, head-major.
    /// Query head `h` reads key head `h / (heads / kv_heads)`.
    Scores {
        /// Query heads.
        heads: usize,
        /// Key heads; divides `heads`.
        kv_heads: usize,
        /// Usually `1 / sqrt(head_dim)`.
        scale: f64,
    },
    /// Input scores `[T, heads * S]`. Softmax over the keys that the mask admits; all others are exactly 0.
    Softmax {
        /// Query heads.
        heads: usize,
        /// Which keys each row sees.
        mask: Mask,
    },
    /// Inputs probabilities `[T, heads * S]`, v `[S, kv_heads * head_dim]`. `Σ p v` over the keys that the mask admits, in
    /// key order: `[T, heads * head_dim]`.
    Mix {
        /// Query heads.
        heads: usize,
        /// Value heads; divides `heads`.
        kv_heads: usize,
        /// Which keys each row sees.
        mask: Mask,
    },
    /// Input x. `x / (1 + exp(-x))`, elementwise.
    Silu,
    /// Inputs x, y of one shape. `x * y`, elementwise.
    Multiply,
    /// Inputs x, y of one shape. `x + y`, elementwise.
    Add,
}

/// Causal attention, optionally to a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Position of the first row.
    pub start: usize,
    /// A row at position `p` sees keys `p - window + 1 ..= p`; `None`: all keys up to `p`.
    pub window: Option<usize>,
}

impl Mask {
    /// The keys that row `t` of the call sees: a contiguous range of positions, its own the last.
    pub fn keys(&self, t: usize) -> std::ops::Range<usize> {
        let end = self.start + t + 1;
        let begin = self.window.map_or(0, |w| end.saturating_sub(w));
        begin..end
    }
}

/// Which elements of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// `(2i, 2i + 1)`: ggml's NORM, the layout of Llama's GGUF files.
    Adjacent,
    /// `(i, i + n / 2)` of the `n` rotated elements: ggml's NEOX, the layout of Hugging Face checkpoints.
    HalfSplit,
}

/// Rotary position embedding of one model: Su et al. 2021, with the scalings of current files already in `frequencies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Pair layout.
    pub pairing: Pairing,
    /// Radians per position, one per pair; `2 * frequencies.len()` elements of each head rotate, the rest pass.
    pub frequencies: Vec<f64>,
    /// Factor on cos and sin (YaRN's attention factor; 1 elsewhere).
    pub magnitude: f64,
}
