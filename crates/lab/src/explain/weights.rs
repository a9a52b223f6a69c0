//! Weights as causes: the same arithmetic on the weights of two models of one shape.

use twinpath_engine::{Model, Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::attribution::TensorCause;

use super::switch::Side64;
use crate::compare::stored;

/// An arithmetic on another model's weights.
pub(crate) struct Swap<'s> {
    pub(crate) inner: Side64<'s>,
    pub(crate) weights: &'s Model,
}

impl Numerics for Swap<'_> {
    type Elem = f64;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f64>]) -> Tensor<f64> {
        self.inner.eval(site, &swapped(self.weights, site, op), inputs)
    }
}

/// `op` at `site` with the weights that `model` has there.
pub(crate) fn swapped<'m>(model: &'m Model, site: Site, op: &Op<'m>) -> Op<'m> {
    let name = |base: &str| site.layer.map_or(base.to_owned(), |layer| format!("blk.{layer}.{base}"));
    match *op {
        Op::Embed { tokens, .. } => Op::Embed { table: model.embedding().weight, tokens },
        Op::Linear { .. } => {
            let own = if site.point == Point::Logits { model.head() } else { model.linear(&name(matrix(site.point))) };
            Op::Linear { weight: own.weight, bias: own.bias }
        }
        Op::Norm { eps, .. } => match site.point {
            Point::FinalNorm => Op::Norm { weight: model.final_norm(), eps },
            point => Op::Norm { weight: model.vector(&name(norm(point))), eps },
        },
        other => other,
    }
}

/// The GGUF name of the matrix behind a point, without the layer and the ending.
fn matrix(point: Point) -> &'static str {
    match point {
        Point::Q => "attn_q",
        Point::K => "attn_k",
        Point::V => "attn_v",
        Point::AttnOut => "attn_output",
        Point::FfnGate => "ffn_gate",
        Point::FfnUp => "ffn_up",
        Point::FfnDown => "ffn_down",
        other => unreachable!("{} is made without a matrix of a layer", other.name()),
    }
}

/// The GGUF name of the weight of a norm, without the layer.
fn norm(point: Point) -> &'static str {
    match point {
        Point::AttnNorm => "attn_norm.weight",
        Point::FfnNorm => "ffn_norm.weight",
        Point::QNorm => "attn_q_norm.weight",
        Point::KNorm => "attn_k_norm.weight",
        other => unreachable!("{} is no norm of a layer", other.name()),
    }
}

/// The points of a layer that a matrix makes.
const READERS: [Point; 7] =
    [Point::Q, Point::K, Point::V, Point::AttnOut, Point::FfnGate, Point::FfnUp, Point::FfnDown];

/// The sites that read a matrix, by its GGUF name: two where the embedding is the head, too.
pub(crate) fn sites_of(name: &str, tied: bool) -> Vec<Site> {
    let (embed, logits) = (Site::outer(Point::Embed), Site::outer(Point::Logits));
    match name {
        "token_embd.weight" if tied => return vec![embed, logits],
        "token_embd.weight" => return vec![embed],
        "output.weight" => return vec![logits],
        _ => {}
    }
    let inner = || {
        let (layer, base) = name.strip_suffix(".weight")?.strip_prefix("blk.")?.split_once('.')?;
        let point = READERS.into_iter().find(|p| matrix(*p) == base)?;
        Some(Site::block(layer.parse().ok()?, point))
    };
    inner().into_iter().collect()
}

/// The matrices that differ between two models, with what each does to the output: `effect` knows share and energy
/// of a site, where it was switched by itself.
pub(crate) fn causes(a: &Model, b: &Model, effect: impl Fn(Site) -> Option<(f64, f64)>) -> Vec<TensorCause> {
    let mut causes = Vec::new();
    for name in a.matrix_names() {
        let (from, to) = (a.matrix(name), stored(b, name));
        let effects: Option<Vec<(f64, f64)>> = sites_of(name, b.tied()).into_iter().map(&effect).collect();
        let Some(effects) = effects else { continue };
        if from.tensor_type() == to.tensor_type() && from.bytes() == to.bytes() {
            continue;
        }
        causes.push(TensorCause {
            tensor: name.to_owned(),
            from: from.format().name().to_owned(),
            to: to.format().name().to_owned(),
            weights: to.rows() as u64 * to.cols() as u64,
            bytes: to.bytes().len() as u64,
            share: effects.iter().map(|e| e.0).sum(),
            energy: effects.iter().map(|e| e.1).sum(),
        });
    }
    causes.sort_by(|a, b| b.per_weight().total_cmp(&a.per_weight()));
    causes
}
