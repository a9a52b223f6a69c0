//! Running a model along one path.
//!
//! [`Session`] is the only caller of a [`Numerics`]; right after each op it shows the value to the [`Probe`].
//! A model family sees only [`Cx`]: it names ops and sites, and holds [`Value`]s without knowing what numbers they are.

use crate::arch::Block;
use crate::config::Config;
use crate::error::EngineError;
use crate::model::{Linear, Model};
use crate::numerics::Numerics;
use crate::op::{Mask, Op};
use crate::site::{Point, Site};
use crate::tensor::Tensor;

/// Sees each op with its inputs and its value, once, just after it is made, and may replace the value.
pub trait Probe<E> {
    /// `value` is what `op` made of `inputs` at `site`.
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<E>], value: &mut Tensor<E>);
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl<E> Probe<E> for NoProbe {
    fn see(&mut self, _: Site, _: &Op<'_>, _: &[&Tensor<E>], _: &mut Tensor<E>) {}
}

/// A value of the block that is being run.
#[derive(Debug, Clone, Copy)]
pub struct Value(Slot);

#[derive(Debug, Clone, Copy)]
enum Slot {
    Temporary(usize),
    Keys,
    Values,
}

/// What [`Cx`] needs of the running session, with the number type erased.
trait Execute {
    fn eval(&mut self, site: Site, op: &Op<'_>, inputs: &[Value]) -> Value;
    fn extend_cache(&mut self, k: Value, v: Value);
}

/// The hand of a model family: one method for each kind of op.
pub struct Cx<'r> {
    config: &'r Config,
    layer: Option<usize>,
    start: usize,
    run: &'r mut dyn Execute,
}

impl Cx<'_> {
    fn eval(&mut self, point: Point, op: &Op<'_>, inputs: &[Value]) -> Value {
        self.run.eval(Site { layer: self.layer, point }, op, inputs)
    }

    fn mask(&self) -> Mask {
        Mask { start: self.start, window: self.layer.and_then(|layer| self.config.windows[layer]) }
    }

    /// Token embeddings.
    pub fn embed(&mut self, table: Linear<'_>, tokens: &[u32]) -> Value {
        self.eval(Point::Embed, &Op::Embed { table: table.weight, tokens }, &[])
    }

    /// `x Wᵀ + b`.
    pub fn linear(&mut self, point: Point, w: Linear<'_>, x: Value) -> Value {
        self.eval(point, &Op::Linear { weight: w.weight, bias: w.bias }, &[x])
    }

    /// RMSNorm of each group of `weight.len()` values.
    pub fn norm(&mut self, point: Point, weight: &[f32], x: Value) -> Value {
        self.eval(point, &Op::Norm { weight, eps: self.config.eps }, &[x])
    }

    /// Rotary position embedding.
    pub fn rope(&mut self, point: Point, heads: usize, x: Value) -> Value {
        let op = Op::Rope { rope: &self.config.rope, heads, start: self.start };
        self.eval(point, &op, &[x])
    }

    /// Appends this call's keys and values to the cache of the layer; returns all cached ones.
    pub fn cache(&mut self, k: Value, v: Value) -> (Value, Value) {
        self.run.extend_cache(k, v);
        (Value(Slot::Keys), Value(Slot::Values))
    }

    /// Scaled dot products of queries and keys.
    pub fn scores(&mut self, q: Value, k: Value) -> Value {
        let c = self.config;
        let op = Op::Scores { heads: c.heads, kv_heads: c.kv_heads, scale: 1.0 / (c.head_dim as f64).sqrt() };
        self.eval(Point::AttnScores, &op, &[q, k])
    }

    /// Softmax over the keys that the layer's mask admits.
    pub fn softmax(&mut self, scores: Value) -> Value {
        let op = Op::Softmax { heads: self.config.heads, mask: self.mask() };
        self.eval(Point::AttnProbs, &op, &[scores])
    }

    /// Probability-weighted sum of the values.
    pub fn mix(&mut self, probs: Value, v: Value) -> Value {
        let op = Op::Mix { heads: self.config.heads, kv_heads: self.config.kv_heads, mask: self.mask() };
        self.eval(Point::AttnCtx, &op, &[probs, v])
    }

    /// `x / (1 + exp(-x))`.
    pub fn silu(&mut self, x: Value) -> Value {
        self.eval(Point::FfnSilu, &Op::Silu, &[x])
    }

    /// Elementwise product.
    pub fn multiply(&mut self, point: Point, x: Value, y: Value) -> Value {
        self.eval(point, &Op::Multiply, &[x, y])
    }

    /// Elementwise sum.
    pub fn add(&mut self, point: Point, x: Value, y: Value) -> Value {
        self.eval(point, &Op::Add, &[x, y])
    }
}

/// Keys after RoPE and values of one layer, one row per cached position.
struct LayerCache<E> {
    keys: Tensor<E>,
    values: Tensor<E>,
}

/// One model along one path, with its KV cache.
///
/// [`forward`](Session::forward) runs a whole call; [`embed`](Session::embed), [`block`](Session::block),
/// [`head`](Session::head) and [`advance`](Session::advance) are its pieces, for callers that walk several sessions layer
/// by layer. Running a block again before `advance` replaces what it had cached.
pub struct Session<'m, N: Numerics + ?Sized> {
    model: &'m Model,
    numerics: &'m N,
    cache: Vec<LayerCache<N::Elem>>,
    position: usize,
}

/// Which rows of the logits a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every position.
    All,
    /// The last position only.
    Last,
}

impl<'m, N: Numerics + ?Sized> Session<'m, N> {
    /// An empty session.
    pub fn new(model: &'m Model, numerics: &'m N) -> Self {
        let width = model.config().kv_heads * model.config().head_dim;
        let empty = || LayerCache { keys: Tensor::zeros(0, width), values: Tensor::zeros(0, width) };
        let cache = (0..model.config().layers).map(|_| empty()).collect();
        Session { model, numerics, cache, position: 0 }
    }

    /// The same, as if `positions` had passed of which nothing is known: their keys and values are zeros, and what attends to
    /// them means nothing.
    pub fn after(mut self, positions: usize) -> Self {
        for cache in &mut self.cache {
            cache.keys = Tensor::zeros(positions, cache.keys.cols());
            cache.values = Tensor::zeros(positions, cache.values.cols());
        }
        self.position = positions;
        self
    }

    /// The model that runs.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Positions already advanced over.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Runs `tokens` through the whole model; returns the logits `[T, vocab]` or `[1, vocab]`.
    ///
    /// # Errors
    /// When `tokens` is empty, holds an id outside the vocabulary, or does not fit into the context.
    pub fn forward(
        &mut self,
        tokens: &[u32],
        rows: Rows,
        probe: &mut dyn Probe<N::Elem>,
    ) -> Result<Tensor<N::Elem>, EngineError> {
        let mut x = self.embed(tokens, probe)?;
        for layer in 0..self.model.config().layers {
            x = self.block(layer, x, probe);
        }
        if rows == Rows::Last {
            x = x.last_row();
        }
        let logits = self.head(x, probe);
        self.advance(tokens.len());
        Ok(logits)
    }

    /// Token embeddings of the next positions, `[T, hidden]`.
    ///
    /// # Errors
    /// As [`forward`](Session::forward).
    pub fn embed(&mut self, tokens: &[u32], probe: &mut dyn Probe<N::Elem>) -> Result<Tensor<N::Elem>, EngineError> {
        self.model.check_tokens(tokens, self.position)?;
        let table = self.model.embedding();
        Ok(self.stage(None, None, probe, |_, cx| cx.embed(table, tokens)))
    }

    /// One layer on the residual stream `x`, `[T, hidden]`.
    pub fn block(&mut self, layer: usize, x: Tensor<N::Elem>, probe: &mut dyn Probe<N::Elem>) -> Tensor<N::Elem> {
        let model = self.model;
        let cache = &mut self.cache[layer];
        cache.keys.truncate(self.position);
        cache.values.truncate(self.position);
        let block = Block::new(model, layer);
        self.stage(Some(layer), Some(x), probe, |x, cx| model.arch().block(model.config(), &block, cx, x))
    }

    /// Final norm and head on rows of the last layer's output; returns logits, one row for each row of `x`.
    pub fn head(&mut self, x: Tensor<N::Elem>, probe: &mut dyn Probe<N::Elem>) -> Tensor<N::Elem> {
        let (norm, head) = (self.model.final_norm(), self.model.head());
        self.stage(None, Some(x), probe, |x, cx| {
            let x = cx.norm(Point::FinalNorm, norm, x);
            cx.linear(Point::Logits, head, x)
        })
    }

    /// Makes the last `tokens` positions past.
    pub fn advance(&mut self, tokens: usize) {
        self.position += tokens;
    }

    fn stage(
        &mut self,
        layer: Option<usize>,
        x: Option<Tensor<N::Elem>>,
        probe: &mut dyn Probe<N::Elem>,
        body: impl FnOnce(Value, &mut Cx<'_>) -> Value,
    ) -> Tensor<N::Elem> {
        let mut run = Stage {
            numerics: self.numerics,
            probe,
            temporaries: x.into_iter().collect(),
            cache: layer.map(|layer| &mut self.cache[layer]),
        };
        let mut cx = Cx { config: self.model.config(), layer, start: self.position, run: &mut run };
        let Value(slot) = body(Value(Slot::Temporary(0)), &mut cx);
        match slot {
            Slot::Temporary(i) => run.temporaries.swap_remove(i),
            Slot::Keys | Slot::Values => unreachable!("a block ends in a value of its own"),
        }
    }
}

struct Stage<'s, N: Numerics + ?Sized> {
    numerics: &'s N,
    probe: &'s mut dyn Probe<N::Elem>,
    /// The block's input, if it has one, then every value in the order made.
    temporaries: Vec<Tensor<N::Elem>>,
    cache: Option<&'s mut LayerCache<N::Elem>>,
}

/// The tensor behind a value. A free function, so that the probe stays borrowable beside it.
fn resolve<'s, E>(temporaries: &'s [Tensor<E>], cache: Option<&'s LayerCache<E>>, value: Value) -> &'s Tensor<E> {
    match (value.0, cache) {
        (Slot::Temporary(i), _) => &temporaries[i],
        (Slot::Keys, Some(cache)) => &cache.keys,
        (Slot::Values, Some(cache)) => &cache.values,
        (Slot::Keys | Slot::Values, None) => unreachable!("only a layer has a cache"),
    }
}

impl<N: Numerics + ?Sized> Execute for Stage<'_, N> {
    fn eval(&mut self, site: Site, op: &Op<'_>, inputs: &[Value]) -> Value {
        let cache = self.cache.as_deref();
        let inputs: Vec<&Tensor<N::Elem>> = inputs.iter().map(|v| resolve(&self.temporaries, cache, *v)).collect();
        let mut value = self.numerics.eval(site, op, &inputs);
        self.probe.see(site, op, &inputs, &mut value);
        self.temporaries.push(value);
        Value(Slot::Temporary(self.temporaries.len() - 1))
    }

    fn extend_cache(&mut self, k: Value, v: Value) {
        let (Slot::Temporary(k), Slot::Temporary(v)) = (k.0, v.0) else { unreachable!("cached once") };
        if let Some(cache) = &mut self.cache {
            cache.keys.append(&self.temporaries[k]);
            cache.values.append(&self.temporaries[v]);
        }
    }
}
