//! Where in a forward pass a value is made.

use std::fmt;
use std::str::FromStr;

macro_rules! points {
    ($($variant:ident $name:literal $doc:literal),* $(,)?) => {
        /// A named value of the forward pass, in execution order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point { $(#[doc = $doc] $variant),* }

        /// Every point, in execution order.
        pub const POINTS: &[Point] = &[$(Point::$variant),*];

        impl Point {
            /// The name in a site's text form, `"ffn_swiglu"`.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name),* }
            }
            /// What the value is.
            pub fn describe(self) -> &'static str {
                match self { $(Point::$variant => $doc),* }
            }
        }
    };
}

points! {
    Embed "embed" "Token embeddings, `[T, hidden]`.",
    AttnNorm "attn_norm" "RMSNorm before attention, `[T, hidden]`.",
    Q "q" "Queries after bias, before RoPE, `[T, heads * head_dim]`.",
    K "k" "Keys after bias, before RoPE, `[T, kv_heads * head_dim]`.",
    V "v" "Values after bias, `[T, kv_heads * head_dim]`.",
    QNorm "q_norm" "Queries after the per-head RMSNorm, before RoPE, `[T, heads * head_dim]`.",
    KNorm "k_norm" "Keys after the per-head RMSNorm, before RoPE, `[T, kv_heads * head_dim]`.",
    QRope "q_rope" "Queries after RoPE, `[T, heads * head_dim]`.",
    KRope "k_rope" "Keys after RoPE, `[T, kv_heads * head_dim]`.",
    AttnScores "attn_scores" "Scaled q.k before the mask, `[T, heads * keys]`.",
    AttnProbs "attn_probs" "Softmax of the masked scores, `[T, heads * keys]`.",
    AttnCtx "attn_ctx" "Probability-weighted values, `[T, heads * head_dim]`.",
    AttnOut "attn_out" "Attention output before the residual, `[T, hidden]`.",
    AttnResidual "attn_residual" "Residual stream after attention, `[T, hidden]`.",
    FfnNorm "ffn_norm" "RMSNorm before the feed-forward, `[T, hidden]`.",
    FfnGate "ffn_gate" "Gate projection before the activation, `[T, ffn]`.",
    FfnUp "ffn_up" "Up projection, `[T, ffn]`.",
    FfnSilu "ffn_silu" "SiLU of the gate, `[T, ffn]`.",
    FfnSwiglu "ffn_swiglu" "SiLU(gate) * up, `[T, ffn]`.",
    FfnDown "ffn_down" "Feed-forward output before the residual, `[T, hidden]`.",
    Output "output" "Residual stream after the layer, `[T, hidden]`.",
    FinalNorm "final_norm" "RMSNorm before the head, `[T, hidden]`.",
    Logits "logits" "Unnormalised log-probabilities of the next token, `[T, vocab]`.",
}

/// The address of one value: layer and point. Its order is execution order, its text form is `blk.3.ffn_swiglu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// The layer, absent for `embed`, `final_norm` and `logits`.
    pub layer: Option<usize>,
    /// The point in the layer.
    pub point: Point,
}

impl Site {
    /// A point of a layer.
    pub fn block(layer: usize, point: Point) -> Site {
        Site { layer: Some(layer), point }
    }

    /// A point outside the layers.
    pub fn outer(point: Point) -> Site {
        Site { layer: None, point }
    }

    fn key(&self) -> (usize, Point) {
        let layer = match (self.layer, self.point) {
            (Some(layer), _) => layer + 1,
            (None, Point::Embed) => 0,
            (None, _) => usize::MAX,
        };
        (layer, self.point)
    }
}

impl Ord for Site {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Site {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "blk.{layer}.{}", self.point.name()),
            None => f.write_str(self.point.name()),
        }
    }
}

/// A text that names no site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no site; write `blk.3.ffn_swiglu`, `embed`, `final_norm` or `logits`")]
pub struct NoSuchSite(pub String);

impl FromStr for Site {
    type Err = NoSuchSite;

    fn from_str(text: &str) -> Result<Site, NoSuchSite> {
        let bad = || NoSuchSite(text.to_owned());
        let point = |name: &str| POINTS.iter().copied().find(|p| p.name() == name).ok_or_else(bad);
        let site = match text.strip_prefix("blk.") {
            Some(rest) => {
                let (layer, name) = rest.split_once('.').ok_or_else(bad)?;
                Site::block(layer.parse().map_err(|_| bad())?, point(name)?)
            }
            None => Site::outer(point(text)?),
        };
        let is_outer = matches!(site.point, Point::Embed | Point::FinalNorm | Point::Logits);
        if is_outer == site.layer.is_none() { Ok(site) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_order_is_execution_order() {
        let mut sites = vec![Site::outer(Point::Embed)];
        for layer in [0, 1, 10] {
            let inner = |p: &&Point| !matches!(p, Point::Embed | Point::FinalNorm | Point::Logits);
            sites.extend(POINTS.iter().filter(inner).map(|p| Site::block(layer, *p)));
        }
        sites.extend([Site::outer(Point::FinalNorm), Site::outer(Point::Logits)]);
        for site in &sites {
            assert_eq!(site.to_string().parse::<Site>().as_ref(), Ok(site));
        }
        assert!(sites.is_sorted());
        for bad in ["", "blk.0.embed", "q", "blk.x.q", "blk.1.", "blk.1.nope"] {
            assert!(bad.parse::<Site>().is_err(), "{bad} was accepted");
        }
    }
}
