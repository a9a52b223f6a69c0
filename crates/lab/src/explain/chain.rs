//! The chain of mixed passes from A to B over one prompt.
//!
//! Forward: after step `i` the first `i` groups in execution order are B's, the rest A's. The differences between
//! neighbouring outputs sum to B − A by construction. Any other order: A with B's frozen residuals injected, group after
//! group. Residual streams are kept at layer boundaries, so that only what follows a switched site is computed again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use twinpath_engine::{Model, NoProbe, Numerics, Point, Probe, Session, Site, Tensor};
use twinpath_evidence::logits::kl_divergence;

use super::groups::{Group, Kind, Price};
use super::parts::{Found, Watch};
use super::saved::exact;
use super::switch::{Injected, Prefix, Side64};
use crate::error::LabError;

type T64 = Tensor<f64>;

/// What one group does to the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// `<v' − v, Δ> / ‖Δ‖²`.
    #[serde(with = "exact")]
    pub(crate) share: f64,
    /// What of the share no arithmetic explains.
    #[serde(with = "exact")]
    pub(crate) unexplained: f64,
    /// `‖v' − v‖²`.
    #[serde(with = "exact")]
    pub(crate) energy: f64,
    /// Change of the mean KL(A ‖ ·), in nats.
    #[serde(with = "exact")]
    pub(crate) kl: f64,
    /// Change of the answer's margin.
    #[serde(with = "exact")]
    pub(crate) margin: f64,
}

/// Work done and work to do, in weights read.
pub(crate) struct Meter<'p> {
    pub(crate) price: Price,
    pub(crate) spent: u64,
    pub(crate) total: u64,
    pub(crate) progress: crate::Progress<'p>,
}

impl Meter<'_> {
    fn spend(&mut self, weights: u64) {
        self.spent += weights;
        (self.progress)(self.spent.min(self.total), self.total);
    }
}

/// The residual stream after the embedding and after each layer, and the logits of every position.
pub(crate) struct Run {
    streams: Vec<T64>,
    pub(crate) logits: T64,
}

/// Is shown the steps as they grow, with the layers run so far; may end the work.
pub(crate) type OnStep<'w> = &'w mut dyn FnMut(&[Option<Step>], u64) -> Result<(), LabError>;

/// One prompt, both sides.
pub(crate) struct Chain<'c, 'p> {
    model: &'c Model,
    a: Side64<'c>,
    b: Side64<'c>,
    tokens: &'c [u32],
    from_a: Run,
    from_b: Run,
    pub(crate) found: Found,
    /// A's best token at the last position.
    answer: usize,
    delta: Vec<f64>,
    delta_norm2: f64,
    meter: &'c mut Meter<'p>,
}

impl<'c, 'p> Chain<'c, 'p> {
    /// Runs both sides; `watch` judges B's run.
    pub(crate) fn new(
        model: &'c Model,
        b: Side64<'c>,
        tokens: &'c [u32],
        mut watch: Watch<'c>,
        meter: &'c mut Meter<'p>,
    ) -> Result<Self, LabError> {
        let from_a = run(model, watch.a, tokens, &mut NoProbe)?;
        meter.spend(meter.price.pass());
        let from_b = run(model, b, tokens, &mut watch)?;
        // B's run, A's arithmetic on its inputs, and both declared ones.
        meter.spend(4 * meter.price.pass());
        let delta: Vec<f64> = from_b.logits.data().iter().zip(from_a.logits.data()).map(|(b, a)| b - a).collect();
        let delta_norm2 = delta.iter().map(|d| d * d).sum();
        let answer = argmax(from_a.logits.row(from_a.logits.rows() - 1));
        let Watch { a, found, .. } = watch;
        Ok(Chain { model, a, b, tokens, from_a, from_b, found, answer, delta, delta_norm2, meter })
    }

    /// `‖B − A‖ / ‖A‖` of the logits.
    pub(crate) fn relative_l2(&self) -> f64 {
        (self.delta_norm2 / self.from_a.logits.data().iter().map(|a| a * a).sum::<f64>()).sqrt()
    }

    /// Mean KL(A ‖ B) over positions, in nats.
    pub(crate) fn kl(&self) -> f64 {
        self.mean_kl(&self.from_b.logits)
    }

    /// A's answer: its margin on both sides.
    pub(crate) fn margins(&self) -> [f64; 2] {
        [&self.from_a, &self.from_b].map(|run| self.margin(&run.logits))
    }

    fn mean_kl(&self, v: &T64) -> f64 {
        let rows = 0..v.rows();
        rows.map(|t| kl_divergence(self.from_a.logits.row(t), v.row(t))).sum::<f64>() / v.rows() as f64
    }

    /// The logit of A's answer minus the largest other one, at the last position.
    fn margin(&self, v: &T64) -> f64 {
        let row = v.row(v.rows() - 1);
        let others = row.iter().enumerate().filter(|(i, _)| *i != self.answer).map(|(_, x)| *x);
        row[self.answer] - others.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Forward telescoping: fills in the step of each group that has none, in order; `each` sees the steps as they grow.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn forward(
        &mut self,
        groups: &[Group],
        steps: &mut Vec<Option<Step>>,
        each: OnStep<'_>,
    ) -> Result<Vec<Step>, LabError> {
        steps.resize(groups.len(), None);
        // The stream that the last switched group leaves, with its logits where they were needed.
        let mut last: Option<((usize, T64), T64)> = None;
        for (i, group) in groups.iter().enumerate() {
            if steps[i].is_some() {
                last = None;
                continue;
            }
            let (stream, before) = match (last.take(), i) {
                (Some(last), _) => last,
                (None, 0) => ((0, self.from_a.streams[0].clone()), self.from_a.logits.clone()),
                (None, _) => {
                    let stream = self.mixed(&groups[i - 1]);
                    let logits = self.suffix(self.a, stream.0, stream.1.clone());
                    (stream, logits)
                }
            };
            let unexplained = self.unexplained(group);
            if group.kind == Kind::Head {
                steps[i] = Some(Step { unexplained, ..self.step(&before, &self.from_b.logits) });
                continue;
            }
            let mixed = self.mixed(group);
            let (step, after) = if mixed == stream {
                (Step::default(), before)
            } else {
                let after = self.suffix(self.a, mixed.0, mixed.1.clone());
                (self.step(&before, &after), after)
            };
            steps[i] = Some(Step { unexplained, ..step });
            each(steps, self.meter.spent)?;
            last = Some((mixed, after));
        }
        Ok(steps.iter().map(|s| s.unwrap_or_default()).collect())
    }

    /// The layer that reads the stream left when B has evaluated all groups up to this one, and that stream.
    fn mixed(&mut self, group: &Group) -> (usize, T64) {
        let layers = self.model.config().layers;
        let stream = |layer: usize| (layer, self.from_b.streams[layer].clone());
        match group.kind {
            Kind::Embed => stream(0),
            Kind::Layer(layer) => stream(layer + 1),
            Kind::Site(site) => self.after_layer(site),
            Kind::Head => stream(layers),
        }
    }

    /// The layer after that of `site`, and the stream that it reads if B evaluates all up to `site`.
    fn after_layer(&mut self, site: Site) -> (usize, T64) {
        let layer = site.layer.unwrap_or(0);
        let mixed = Prefix { a: self.a, b: self.b, last: site, less: None };
        self.meter.spend(self.meter.price.layer());
        let x = self.from_b.streams[layer].clone();
        (layer + 1, Session::new(self.model, &mixed).block(layer, x, &mut NoProbe))
    }

    /// The share of a group that no arithmetic explains: of each site where a side is convicted, what its switch does with
    /// and without the unexplained part.
    fn unexplained(&mut self, group: &Group) -> f64 {
        let sites: Vec<Site> = self.found.faults.keys().copied().filter(|s| group.holds(*s)).collect();
        let mut sum = 0.0;
        for site in sites {
            let part = self.found.faults[&site].part.clone();
            let [without, with] = [Some(&part), None].map(|less| {
                let mixed = Prefix { a: self.a, b: self.b, last: site, less };
                self.after_site(&mixed, site)
            });
            sum += self.step(&without, &with).share;
        }
        sum
    }

    /// The logits when `mixed` evaluates what follows B's stream before `site`.
    fn after_site(&mut self, mixed: &Prefix<'_>, site: Site) -> T64 {
        let layer = match (site.layer, site.point) {
            (Some(layer), _) => layer,
            (None, Point::Embed) => {
                let x = embed(self.model, mixed, self.tokens);
                return self.suffix(mixed, 0, x);
            }
            (None, _) => self.model.config().layers,
        };
        self.suffix(mixed, layer, self.from_b.streams[layer].clone())
    }

    /// Switches groups in the given order by injecting frozen residuals; steps in the order of `groups`, and how far the
    /// end is from B, `‖v − B‖ / ‖Δ‖`.
    pub(crate) fn frozen(&mut self, groups: &[Group], order: &[usize]) -> (Vec<Step>, f64) {
        let residuals = std::mem::take(&mut self.found.residuals);
        let mut at = BTreeSet::new();
        let mut streams = self.from_a.streams.clone();
        let mut before = self.from_a.logits.clone();
        let mut steps = vec![Step::default(); groups.len()];
        for group in order {
            let known = at.len();
            at.extend(residuals.keys().copied().filter(|s| groups[*group].holds(*s)));
            if at.len() == known {
                continue;
            }
            let injected = Injected { a: self.a, residuals: &residuals, at: &at };
            let after = self.again(&injected, &groups[*group], &mut streams);
            steps[*group] = self.step(&before, &after);
            before = after;
        }
        self.found.residuals = residuals;
        let miss: f64 = before.data().iter().zip(self.from_b.logits.data()).map(|(v, b)| (v - b) * (v - b)).sum();
        (steps, if self.delta_norm2 > 0.0 { (miss / self.delta_norm2).sqrt() } else { 0.0 })
    }

    /// The share that goes when the coding of blocks whose scale one element sets makes no error: all residuals are
    /// injected but for what those errors add to them.
    pub(crate) fn crushed(&mut self) -> f64 {
        if self.found.crushed.parts.is_empty() {
            return 0.0;
        }
        let mut residuals = self.found.residuals.clone();
        for (site, part) in &self.found.crushed.parts {
            if let Some(residual) = residuals.get_mut(site) {
                residual.data_mut().iter_mut().zip(part.data()).for_each(|(r, part)| *r -= part);
            }
        }
        let at: BTreeSet<Site> = residuals.keys().copied().collect();
        let without = Injected { a: self.a, residuals: &residuals, at: &at };
        let embedded = embed(self.model, &without, self.tokens);
        let without = self.suffix(&without, 0, embedded);
        self.step(&without, &self.from_b.logits).share
    }

    /// Computes again what follows `group`; `streams` become those of the new mixture.
    fn again(&mut self, injected: &Injected<'_>, group: &Group, streams: &mut [T64]) -> T64 {
        let layers = self.model.config().layers;
        let first = group.layer(layers);
        self.meter.spend(self.meter.price.suffix(first));
        let mut session = Session::new(self.model, injected);
        if group.kind == Kind::Embed {
            streams[0] = embed(self.model, injected, self.tokens);
        }
        for layer in first..layers {
            streams[layer + 1] = session.block(layer, streams[layer].clone(), &mut NoProbe);
        }
        session.head(streams[layers].clone(), &mut NoProbe)
    }

    fn step(&self, before: &T64, after: &T64) -> Step {
        let (mut along, mut energy) = (0.0, 0.0);
        for ((v, w), d) in before.data().iter().zip(after.data()).zip(&self.delta) {
            along += (w - v) * d;
            energy += (w - v) * (w - v);
        }
        let share = if self.delta_norm2 > 0.0 { along / self.delta_norm2 } else { 0.0 };
        let kl = self.mean_kl(after) - self.mean_kl(before);
        Step { share, unexplained: 0.0, energy, kl, margin: self.margin(after) - self.margin(before) }
    }

    /// Layers from `layer` on and the head along `numerics`.
    fn suffix<N: Numerics<Elem = f64> + ?Sized>(&mut self, numerics: &N, layer: usize, mut x: T64) -> T64 {
        self.meter.spend(self.meter.price.suffix(layer));
        let mut session = Session::new(self.model, numerics);
        for layer in layer..self.model.config().layers {
            x = session.block(layer, x, &mut NoProbe);
        }
        session.head(x, &mut NoProbe)
    }
}

fn argmax(row: &[f64]) -> usize {
    (0..row.len()).max_by(|i, j| row[*i].total_cmp(&row[*j]).then(j.cmp(i))).unwrap_or(0)
}

/// Embeddings of tokens that a whole run has embedded before.
fn embed<N: Numerics<Elem = f64> + ?Sized>(model: &Model, numerics: &N, tokens: &[u32]) -> T64 {
    let made = Session::new(model, numerics).embed(tokens, &mut NoProbe);
    made.unwrap_or_else(|e| unreachable!("the tokens were checked: {e}"))
}

pub(crate) fn run(
    model: &Model,
    side: Side64<'_>,
    tokens: &[u32],
    probe: &mut dyn Probe<f64>,
) -> Result<Run, LabError> {
    let mut session = Session::new(model, side);
    let mut streams = vec![session.embed(tokens, probe)?];
    for layer in 0..model.config().layers {
        let x = session.block(layer, streams[layer].clone(), probe);
        streams.push(x);
    }
    let logits = session.head(streams[streams.len() - 1].clone(), probe);
    Ok(Run { streams, logits })
}
