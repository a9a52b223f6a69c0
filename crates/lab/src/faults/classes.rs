//! Kinds of faults: real ones, as reports of other engines tell them, at several severities.

use twinpath_engine::{Op, Point, Rope};

use crate::change::{Change, rows};
use crate::suspects::{Scene, Suspect};

/// One kind of fault.
pub(super) struct Class {
    /// Its name.
    pub(super) name: &'static str,
    /// The suspect that should be named; none: the catalogue does not know it.
    pub(super) suspect: Option<&'static str>,
    make: fn(&Scene<'_>) -> Vec<Change>,
}

impl Class {
    /// The ways in which it can happen at a scene.
    pub(super) fn changes(&self, scene: &Scene<'_>) -> Vec<Change> {
        (self.make)(scene)
    }
}

/// Those of a suspect's grid whose parameter contains a text.
fn of(scene: &Scene<'_>, suspect: &str, text: &str) -> Vec<Change> {
    let suspect = Suspect::find(suspect).unwrap_or_else(|| unreachable!("{suspect} is no suspect"));
    let mut all = suspect.changes(scene);
    all.retain(|c| c.parameter.contains(text));
    all
}

macro_rules! classes {
    ($($name:literal $suspect:literal $($text:literal)|+;)*) => {
        &[$(Class {
            name: $name,
            suspect: Some($suspect),
            make: |scene| [$($text),+].iter().flat_map(|text| of(scene, $suspect, text)).collect(),
        }),*]
    };
}

/// Faults of the catalogue's own grid.
pub(super) const OF_CATALOGUE: &[Class] = classes! {
    "RoPE pairs of the other layout" "rope-pairing" "";
    "RoPE theta not read" "rope-theta" "";
    "RoPE scaling left out or imposed" "rope-scaling" "";
    "RoPE on part of a head" "rope-dims" "dimensions";
    "RoPE applied twice or not at all" "rope-dims" "turned";
    "YaRN's factor on cos and sin" "rope-magnitude" "";
    "RoPE table or angles in f16 or bf16" "rope-precision" "angles" | "table";
    "positions off by one" "position-offset" "off by";
    "query or key rows by the wrong head count" "head-rows" "";
    "bias left out" "bias" "left out";
    "bias doubled or of the wrong sign" "bias" "twice" | "subtracted";
    "norm's eps" "norm-eps" "eps 1";
    "eps added to the root" "norm-eps" "root";
    "norm weight + 1 or - 1" "norm-offset" "weight +" | "weight -";
    "norm weight missing" "norm-offset" "no weight";
    "norm missing" "norm-order" "left out";
    "LayerNorm for RMSNorm" "norm-order" "mean subtracted";
    "norm of other channels or with another's weight" "norm-order" "mean over" | "weight of";
    "GELU for SiLU" "activation" "GELU";
    "another or no activation" "activation" "ReLU" | "none" | "tanh" | "sigmoid";
    "gate and up exchanged" "gate-up" "taken";
    "gate and up interleaved" "gate-up" "interleaved";
    "query heads on the wrong key heads" "head-mapping" "";
    "attention scale" "attention-scale" "";
    "softcap that is not the model's" "softcap" "";
    "sliding window off by one" "window" "for";
    "sliding window ignored or imposed" "window" "ignored" | "imposed";
    "the next token is seen" "window" "next";
    "embedding or logit multiplier" "embedding-scale" "";
    "residual left out or scaled" "residual" "";
    "head tied wrongly" "head-tie" "";
    "matrix transposed" "layout" "";
    "rows from the wrong place" "stride" "";
    "high bits of 6-bit scales lost" "scale-bits" "bits";
    "scales and minimums confused" "scale-bits" "exchanged" | "minimums" | "scales";
    "codes from the wrong bits" "nibbles" "";
    "end of each row left out" "tail" "";
    "a layer's weights used twice" "other-layer" "";
    "another tensor of the layer" "other-tensor" "";
    "one byte of the weights is another" "stored-bytes" "";
    "values kept in f16 or bf16" "number-type" "";
    "weights decoded to f16 or bf16" "weight-type" "f16";
    "activations coded otherwise" "activation-coding" "";
    "KV cache in f16, bf16 or 8 bits" "cache-type" "";
    "BOS missing or doubled" "bos" "";
};

/// Severities beside the grid, down to what no f32 shows; and faults that the catalogue does not know.
pub(super) const GRADED: &[Class] = &[
    Class {
        name: "theta slightly off",
        suspect: Some("rope-theta"),
        make: |scene| {
            let Op::Rope { rope, .. } = *scene.op else { return Vec::new() };
            [1e-9, 1e-5, 1e-3, 0.1].map(|by| theta(rope, by)).into()
        },
    },
    Class {
        name: "eps slightly off",
        suspect: Some("norm-eps"),
        make: |scene| {
            let Op::Norm { .. } = scene.op else { return Vec::new() };
            [1.01, 1.1, 2.0, 30.0].map(eps).into()
        },
    },
    Class {
        name: "attention scale slightly off",
        suspect: Some("attention-scale"),
        make: |scene| if scene.site.point == Point::AttnScores { gains(scene) } else { Vec::new() },
    },
    Class { name: "one scale of one row off by one", suspect: None, make: one_scale },
    Class {
        name: "a gain on all values",
        suspect: None,
        make: |scene| {
            let not_fitted = [Point::AttnScores, Point::Embed, Point::Logits];
            if not_fitted.contains(&scene.site.point) { Vec::new() } else { gains(scene) }
        },
    },
    Class {
        name: "one row wrong",
        suspect: None,
        make: |scene| {
            if !matches!(scene.op, Op::Linear { .. }) { Vec::new() } else { [1e-8, 1e-4, 1.0].map(one_row).into() }
        },
    },
];

fn gains(_: &Scene<'_>) -> Vec<Change> {
    [1e-9, 1e-7, 1e-5, 1e-3].map(|g| Change::map(format!("{g:e} too large"), move |x| x * (1.0 + g))).into()
}

fn theta(rope: &Rope, by: f64) -> Change {
    let n = 2.0 * rope.frequencies.len() as f64;
    let f = |(i, f): (usize, &f64)| f * libm::pow(1.0 + by, -2.0 * i as f64 / n);
    let table = Rope { frequencies: rope.frequencies.iter().enumerate().map(f).collect(), ..rope.clone() };
    Change::op(format!("theta {by:e} too large"), move |op, x, then| match *op {
        Op::Rope { heads, start, .. } => then(0..x[0].rows(), &Op::Rope { rope: &table, heads, start }, x),
        _ => then(0..rows(op, x), op, x),
    })
}

fn eps(by: f64) -> Change {
    Change::op(format!("eps times {by}"), move |op, x, then| match *op {
        Op::Norm { weight, eps } => then(0..x[0].rows(), &Op::Norm { weight, eps: eps * by }, x),
        _ => then(0..rows(op, x), op, x),
    })
}

/// Row 3 is too large by a share.
fn one_row(by: f64) -> Change {
    Change::op(format!("row 3 {by:e} too large"), move |op, x, then| {
        let Op::Linear { weight, bias } = *op else { return then(0..rows(op, x), op, x) };
        let mut bias = bias.map_or_else(|| vec![0.0; weight.rows()], <[f32]>::to_vec);
        let sum: f64 = {
            let mut w = vec![0.0; weight.cols()];
            weight.decode_row(3, &mut w);
            w.iter().map(|w| w.abs()).sum()
        };
        bias[3] += (by * sum) as f32;
        then(0..x[0].rows(), &Op::Linear { weight, bias: Some(&bias) }, x);
    })
}

/// The scale of group 2 of the first block of row 3 one unit off.
fn one_scale(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Linear { weight, .. } = scene.op else { return Vec::new() };
    if weight.tensor_type() != twinpath_formats::TensorType::Q4K {
        return Vec::new();
    }
    vec![Change::op("row 3, block 0, group 2", |op, x, then| {
        let Op::Linear { weight, bias } = *op else { return then(0..rows(op, x), op, x) };
        let mut bytes = weight.bytes().to_vec();
        bytes[3 * weight.row_bytes() + 6] ^= 1;
        let weight = twinpath_formats::Matrix::new(weight.tensor_type(), weight.rows(), weight.cols(), &bytes);
        let weight = weight.unwrap_or_else(|e| unreachable!("the same shape: {e}"));
        then(0..x[0].rows(), &Op::Linear { weight, bias }, x);
    })]
}
