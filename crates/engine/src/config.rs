//! The dimensions of a model, from whichever container it came.

use serde::{Deserialize, Serialize};

use crate::arch::Architecture;
use crate::op::{Pairing, Rope};
use crate::rope::{self, Scaling};
use crate::site::Point;

/// Everything about a model that is not a weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The family, by its GGUF name.
    pub arch: String,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads` (GQA).
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward.
    pub ffn: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Positions that the model was made for.
    pub context: usize,
    /// Added to the mean square in RMSNorm.
    pub eps: f64,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Sliding window of each layer; `None`: full causal attention.
    pub windows: Vec<Option<usize>>,
}

impl Config {
    /// Values per row at a point, with `keys` cached positions.
    pub fn width(&self, point: Point, keys: usize) -> usize {
        match point {
            Point::Q | Point::QNorm | Point::QRope | Point::AttnCtx => self.heads * self.head_dim,
            Point::K | Point::V | Point::KNorm | Point::KRope => self.kv_heads * self.head_dim,
            Point::AttnScores | Point::AttnProbs => self.heads * keys,
            Point::FfnGate | Point::FfnUp | Point::FfnSilu | Point::FfnSwiglu => self.ffn,
            Point::Logits => self.vocab,
            Point::Embed
            | Point::AttnNorm
            | Point::AttnOut
            | Point::AttnResidual
            | Point::FfnNorm
            | Point::FfnDown
            | Point::Output
            | Point::FinalNorm => self.hidden,
        }
    }

    /// Whether every dimension is within the caps: for a shape that was read back and not worked out by [`Described::check`].
    pub fn is_sensible(&self) -> bool {
        let dims = [self.hidden, self.heads, self.kv_heads, self.head_dim, self.ffn, self.vocab];
        let sensible = |d: &usize| (1..=MAX_DIMENSION as usize).contains(d);
        dims.iter().all(sensible) && self.layers <= MAX_LAYERS as usize && self.windows.len() == self.layers
    }

    /// The first difference that makes values of two models incomparable, in words.
    pub fn difference(&self, other: &Config) -> Option<String> {
        let dims = |c: &Config| {
            [
                ("hidden size", c.hidden),
                ("layers", c.layers),
                ("heads", c.heads),
                ("kv heads", c.kv_heads),
                ("head dimension", c.head_dim),
                ("feed-forward size", c.ffn),
                ("vocabulary size", c.vocab),
            ]
        };
        if self.arch != other.arch {
            return Some(format!("architecture is {} in A and {} in B", self.arch, other.arch));
        }
        for ((name, a), (_, b)) in dims(self).into_iter().zip(dims(other)) {
            if a != b {
                return Some(format!("{name} is {a} in A and {b} in B"));
            }
        }
        None
    }
}

/// What a container says of a model, before it is checked.
#[derive(Clone)]
pub struct Described {
    /// The family.
    pub arch: &'static dyn Architecture,
    /// See [`Config`].
    pub hidden: u64,
    /// See [`Config`].
    pub layers: u64,
    /// See [`Config`].
    pub heads: u64,
    /// See [`Config`]; `None`: as many as `heads`.
    pub kv_heads: Option<u64>,
    /// See [`Config`]; `None`: `hidden / heads`.
    pub head_dim: Option<u64>,
    /// See [`Config`].
    pub ffn: u64,
    /// See [`Config`].
    pub context: u64,
    /// See [`Config`].
    pub eps: f64,
    /// Base of the RoPE frequencies.
    pub theta: f64,
    /// Scaling of the RoPE frequencies.
    pub scaling: Scaling,
    /// RoPE pair layout of the stored q and k rows.
    pub pairing: Pairing,
    /// Layers that attend to a sliding window.
    pub window: Window,
}

/// Which layers attend to a sliding window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// None.
    Full,
    /// All layers from `first` on.
    From {
        /// First windowed layer.
        first: u64,
        /// Keys seen.
        size: u64,
    },
    /// Layer by layer.
    Listed(Vec<Option<u64>>),
}

/// Largest value that any dimension may have: far above every model, far below where products overflow.
pub const MAX_DIMENSION: u64 = 1 << 31;
/// Largest head dimension: memory for RoPE is set aside by it before any tensor's shape is compared with it.
pub const MAX_HEAD_DIMENSION: u64 = 1 << 16;
/// Largest number of layers.
pub const MAX_LAYERS: u64 = 4096;

impl Described {
    /// Checks the description and works out what follows from it.
    ///
    /// # Errors
    /// The name of the offending value and what is wrong with it.
    pub fn check(&self, vocab: usize) -> Result<Config, (&'static str, String)> {
        let dim = |name: &'static str, value: u64, most: u64| match value {
            0 => Err((name, "is 0".to_owned())),
            v if v > most => Err((name, format!("is {v}; at most {most} is sensible"))),
            v => Ok(v as usize),
        };
        let hidden = dim("hidden size", self.hidden, MAX_DIMENSION)?;
        let layers = dim("number of layers", self.layers, MAX_LAYERS)?;
        let heads = dim("number of heads", self.heads, MAX_DIMENSION)?;
        let kv_heads = dim("number of kv heads", self.kv_heads.unwrap_or(self.heads), MAX_DIMENSION)?;
        let head_dim = dim("head dimension", self.head_dim.unwrap_or(self.hidden / self.heads), MAX_HEAD_DIMENSION)?;
        let ffn = dim("feed-forward size", self.ffn, MAX_DIMENSION)?;
        let context = dim("context length", self.context, MAX_DIMENSION)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(("number of kv heads", format!("is {kv_heads}, which does not divide {heads} heads")));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(("head dimension", format!("is {head_dim}; RoPE needs an even one")));
        }
        // Negated comparisons, so that NaN is refused too.
        if !(self.eps >= 0.0 && self.eps < 1.0) {
            return Err(("RMSNorm epsilon", format!("is {}; it must be in [0, 1)", self.eps)));
        }
        if !(self.theta > 0.0 && self.theta.is_finite()) {
            return Err(("RoPE theta", format!("is {}; it must be positive", self.theta)));
        }
        if let Scaling::Factors(f) = &self.scaling
            && f.len() != head_dim / 2
        {
            return Err(("RoPE factors", format!("are {}, but there are {} pairs", f.len(), head_dim / 2)));
        }
        let frequencies = rope::frequencies(head_dim, self.theta, &self.scaling);
        if let Some(bad) = frequencies.iter().find(|f| !(f.is_finite() && **f >= 0.0)) {
            return Err(("RoPE scaling", format!("gives a frequency of {bad}")));
        }
        let magnitude = rope::magnitude(&self.scaling);
        if !(magnitude > 0.0 && magnitude.is_finite()) {
            return Err(("RoPE scaling", format!("gives a magnitude of {magnitude}")));
        }
        let rope = Rope { pairing: self.pairing, frequencies, magnitude };
        let windows = self.windows(layers)?;
        let arch = self.arch.name().to_owned();
        Ok(Config {
            arch,
            hidden,
            layers,
            heads,
            kv_heads,
            head_dim,
            ffn,
            vocab,
            context,
            eps: self.eps,
            rope,
            windows,
        })
    }

    fn windows(&self, layers: usize) -> Result<Vec<Option<usize>>, (&'static str, String)> {
        let listed: Vec<Option<u64>> = match &self.window {
            Window::Full => vec![None; layers],
            Window::From { first, size } => (0..layers as u64).map(|l| (l >= *first).then_some(*size)).collect(),
            Window::Listed(list) if list.len() == layers => list.clone(),
            Window::Listed(list) => {
                return Err(("attention layer types", format!("are {}, but there are {layers} layers", list.len())));
            }
        };
        if listed.contains(&Some(0)) {
            return Err(("sliding window", "is 0".to_owned()));
        }
        Ok(listed.into_iter().map(|w| w.map(|w| w as usize)).collect())
    }
}
