//! # What goes wrong
//!
//! A norm is left out, subtracts the mean (LayerNorm for RMSNorm), uses the weight of another norm, or takes its mean over
//! other channels: the whole row for each head, or each head for the whole row.
//!
//! # Seen in
//!
//! mlxcel 316 and 317, vLLM 16311 (MMLU-Pro .6858 for .7153), vllm-metal 692.
//!
//! # What it changes
//!
//! The value of the norm.
//!
//! # When it can not be seen
//!
//! LayerNorm for RMSNorm where rows have a mean of 0.
//!
//! # Equivalent to
//!
//! RMSNorm taken twice, the first time without a weight, is the same up to eps (llama.cpp 1925).

use twinpath_engine::{Op, Point, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "norm-order", source: include_str!("norm_order.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Norm { weight, .. } = *scene.op else { return Vec::new() };
    let mut all = vec![
        Change::of_input("left out", |x| x),
        kit::on("mean subtracted", |op, x| {
            each_group(op, x, |group, mean, _| group.iter().map(|x| x - mean).collect())
        }),
        kit::on("taken twice", |op, x| each_group(op, x, |group, _, rms| group.iter().map(|x| x / rms).collect())),
    ];
    let cols = scene.inputs[0].cols();
    if weight.len() < cols {
        let groups = cols / weight.len();
        all.push(kit::norm("mean over all heads", move |w, eps| (w.repeat(groups), eps)));
    }
    all.extend(others(scene));
    all
}

/// The weights of the other norms of the same width.
fn others(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Norm { weight, .. } = *scene.op else { return Vec::new() };
    let vector = |name: String| scene.model.vectors().find(|(n, _)| *n == name).map(|(_, v)| v.to_vec());
    let of_layer = |name: &str| scene.site.layer.and_then(|l| vector(format!("blk.{l}.{name}.weight")));
    let name = match scene.site.point {
        Point::AttnNorm => "ffn_norm",
        Point::FfnNorm => "attn_norm",
        Point::QNorm => "attn_k_norm",
        Point::KNorm => "attn_q_norm",
        _ => return Vec::new(),
    };
    let other = of_layer(name).filter(|other| other.as_slice() != weight);
    other.into_iter().map(|w| kit::norm(format!("weight of {name}"), move |_, eps| (w.clone(), eps))).collect()
}

/// Each group made anew, given its mean and its root mean square with eps.
fn each_group(op: &Op<'_>, x: &Tensor<f32>, f: fn(&[f64], f64, f64) -> Vec<f64>) -> Tensor<f32> {
    let Op::Norm { weight, eps } = *op else { return x.clone() };
    let mut made = x.clone();
    for group in made.data_mut().chunks_exact_mut(weight.len()) {
        let wide: Vec<f64> = group.iter().map(|x| f64::from(*x)).collect();
        let n = wide.len() as f64;
        let mean = wide.iter().sum::<f64>() / n;
        let rms = (wide.iter().map(|x| x * x).sum::<f64>() / n + eps).sqrt();
        group.iter_mut().zip(f(&wide, mean, rms)).for_each(|(x, y)| *x = y as f32);
    }
    made
}
