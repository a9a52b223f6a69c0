//! The chain of mixed passes from A to B over one prompt.
//!
//! Forward: after step `i` the first `i` groups in execution order are B's, the rest A's. The differences between
//! neighbouring outputs sum to B − A by construction. Reverse: A with B's frozen residuals injected, the last group first.
//! Residual streams are kept at layer boundaries, so that only what follows a switched site is computed again.

use twinpath_engine::{Model, NoProbe, Numerics, Session, Site, Tensor};
use twinpath_evidence::logits::kl_divergence;

use super::Detail;
use super::switch::{Freeze, Injected, Prefix, Residuals, Side64};
use crate::error::LabError;

type T64 = Tensor<f64>;

/// A group of sites that is switched as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// `embed`, `blk.3`, `blk.3.ffn_down` or `head`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embed,
    Layer(usize),
    /// One site of a layer.
    Site(Site),
    Head,
}

/// What one group does to the output.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Step {
    /// `<v' − v, Δ> / ‖Δ‖²`.
    pub(crate) share: f64,
    /// `‖v' − v‖²`.
    pub(crate) energy: f64,
    /// Change of the mean KL(A ‖ ·), in nats.
    pub(crate) kl: f64,
}

/// One prompt, both sides.
pub(crate) struct Chain<'c> {
    pub(crate) model: &'c Model,
    pub(crate) a: Side64<'c>,
    pub(crate) b: Side64<'c>,
    pub(crate) tokens: &'c [u32],
    /// Residual stream at A's own layer boundaries: after the embedding, then after each layer.
    from_a: Vec<T64>,
    /// The same of B.
    from_b: Vec<T64>,
    logits_a: T64,
    logits_b: T64,
    delta: Vec<f64>,
    delta_norm2: f64,
    /// Layers and heads computed so far, in layers.
    pub(crate) layers_run: u64,
}

impl<'c> Chain<'c> {
    /// Runs both sides.
    pub(crate) fn new(model: &'c Model, a: Side64<'c>, b: Side64<'c>, tokens: &'c [u32]) -> Result<Self, LabError> {
        let (from_a, logits_a) = boundaries(model, a, tokens)?;
        let (from_b, logits_b) = boundaries(model, b, tokens)?;
        let delta: Vec<f64> = logits_b.data().iter().zip(logits_a.data()).map(|(b, a)| b - a).collect();
        let delta_norm2 = delta.iter().map(|d| d * d).sum();
        let layers_run = 2 * model.config().layers as u64;
        Ok(Chain { model, a, b, tokens, from_a, from_b, logits_a, logits_b, delta, delta_norm2, layers_run })
    }

    /// `‖B − A‖ / ‖A‖` of the logits.
    pub(crate) fn relative_l2(&self) -> f64 {
        (self.delta_norm2 / self.logits_a.data().iter().map(|a| a * a).sum::<f64>()).sqrt()
    }

    /// Mean KL(A ‖ B) over positions, in nats.
    pub(crate) fn kl(&self) -> f64 {
        self.mean_kl(&self.logits_b)
    }

    fn mean_kl(&self, v: &T64) -> f64 {
        let rows = 0..v.rows();
        rows.map(|t| kl_divergence(self.logits_a.row(t), v.row(t))).sum::<f64>() / v.rows() as f64
    }

    /// The groups of a level of detail.
    pub(crate) fn groups(&self, detail: &Detail) -> Vec<Group> {
        let group = |name: String, kind| Group { name, kind };
        let mut groups = vec![group("embed".to_owned(), Kind::Embed)];
        for layer in 0..self.model.config().layers {
            if detail.opens(layer) {
                let sites = sites_of(self.model, layer);
                groups.extend(sites.into_iter().map(|s| group(s.to_string(), Kind::Site(s))));
            } else {
                groups.push(group(format!("blk.{layer}"), Kind::Layer(layer)));
            }
        }
        groups.push(group("head".to_owned(), Kind::Head));
        groups
    }

    /// Forward telescoping: one step for each group, in order.
    pub(crate) fn forward(&mut self, groups: &[Group]) -> Vec<Step> {
        let mut before = self.logits_a.clone();
        // The last mixed residual stream, and the layer that reads it.
        let mut stream = (0, self.from_a[0].clone());
        let mut steps = Vec::with_capacity(groups.len());
        for group in groups {
            let (after, layer) = match group.kind {
                Kind::Embed => (self.from_b[0].clone(), 0),
                Kind::Layer(layer) => (self.from_b[layer + 1].clone(), layer + 1),
                Kind::Site(site) => {
                    let layer = site.layer.unwrap_or(0);
                    let mixed = Prefix { a: self.a, b: self.b, last: Some(site) };
                    self.layers_run += 1;
                    (run_layer(self.model, &mixed, layer, self.from_b[layer].clone()), layer + 1)
                }
                Kind::Head => {
                    let step = self.step(&before, &self.logits_b);
                    steps.push(step);
                    continue;
                }
            };
            // A site of a new layer starts from B's stream; within a layer, from the last mixed one.
            let mixed = (layer, after);
            if mixed == stream {
                steps.push(Step::default());
                continue;
            }
            stream = mixed;
            let logits = self.suffix(self.a, layer, stream.1.clone());
            steps.push(self.step(&before, &logits));
            before = logits;
        }
        steps
    }

    /// Reverse telescoping with frozen residuals; steps in the order of `groups`, and how far the end is from B,
    /// `‖v − B‖ / ‖Δ‖`.
    pub(crate) fn reverse(&mut self, groups: &[Group]) -> Result<(Vec<Step>, f64), LabError> {
        let residuals = self.freeze()?;
        let mut before = self.logits_a.clone();
        let mut steps = Vec::with_capacity(groups.len());
        for group in groups.iter().rev() {
            let (first, layer) = match group.kind {
                Kind::Embed => (Site::outer(twinpath_engine::Point::Embed), 0),
                Kind::Layer(layer) => (Site::block(layer, twinpath_engine::Point::AttnNorm), layer),
                Kind::Site(site) => (site, site.layer.unwrap_or(0)),
                Kind::Head => (Site::outer(twinpath_engine::Point::FinalNorm), self.model.config().layers),
            };
            let injected = Injected { a: self.a, residuals: &residuals, first };
            let stream = match group.kind {
                Kind::Embed => embed(self.model, &injected, self.tokens)?,
                _ => self.from_a[layer].clone(),
            };
            let logits = self.suffix(&injected, layer, stream);
            steps.push(self.step(&before, &logits));
            before = logits;
        }
        steps.reverse();
        let miss: f64 = before.data().iter().zip(self.logits_b.data()).map(|(v, b)| (v - b) * (v - b)).sum();
        Ok((steps, (miss / self.delta_norm2).sqrt()))
    }

    fn freeze(&mut self) -> Result<Residuals, LabError> {
        let mut freeze = Freeze { a: self.a, residuals: Residuals::new() };
        let rows = twinpath_engine::Rows::All;
        Session::new(self.model, self.b).forward(self.tokens, rows, &mut freeze)?;
        self.layers_run += 2 * self.model.config().layers as u64;
        Ok(freeze.residuals)
    }

    fn step(&self, before: &T64, after: &T64) -> Step {
        let (mut along, mut energy) = (0.0, 0.0);
        for ((v, w), d) in before.data().iter().zip(after.data()).zip(&self.delta) {
            along += (w - v) * d;
            energy += (w - v) * (w - v);
        }
        let share = if self.delta_norm2 > 0.0 { along / self.delta_norm2 } else { 0.0 };
        Step { share, energy, kl: self.mean_kl(after) - self.mean_kl(before) }
    }

    /// Layers from `layer` on and the head along `numerics`.
    fn suffix<N: Numerics<Elem = f64> + ?Sized>(&mut self, numerics: &N, layer: usize, mut x: T64) -> T64 {
        let layers = self.model.config().layers;
        self.layers_run += (layers - layer) as u64;
        let mut session = Session::new(self.model, numerics);
        for layer in layer..layers {
            x = session.block(layer, x, &mut NoProbe);
        }
        session.head(x, &mut NoProbe)
    }
}

fn embed<N: Numerics<Elem = f64> + ?Sized>(model: &Model, numerics: &N, tokens: &[u32]) -> Result<T64, LabError> {
    Ok(Session::new(model, numerics).embed(tokens, &mut NoProbe)?)
}

fn run_layer<N: Numerics<Elem = f64> + ?Sized>(model: &Model, numerics: &N, layer: usize, x: T64) -> T64 {
    Session::new(model, numerics).block(layer, x, &mut NoProbe)
}

/// The residual stream after the embedding and after each layer, and the logits of every position.
fn boundaries(model: &Model, side: Side64<'_>, tokens: &[u32]) -> Result<(Vec<T64>, T64), LabError> {
    let mut session = Session::new(model, side);
    let mut streams = vec![session.embed(tokens, &mut NoProbe)?];
    for layer in 0..model.config().layers {
        let x = session.block(layer, streams[layer].clone(), &mut NoProbe);
        streams.push(x);
    }
    let logits = session.head(streams[streams.len() - 1].clone(), &mut NoProbe);
    Ok((streams, logits))
}

/// The sites of a layer, in execution order.
fn sites_of(model: &Model, layer: usize) -> Vec<Site> {
    use twinpath_engine::Point as P;
    let normed = model.arch().tensors(model.config()).iter().any(|t| t.name == "attn_q_norm.weight");
    let inner = |p: &&P| match p {
        P::Embed | P::FinalNorm | P::Logits => false,
        P::QNorm | P::KNorm => normed,
        _ => true,
    };
    twinpath_engine::site::POINTS.iter().filter(inner).map(|p| Site::block(layer, *p)).collect()
}
