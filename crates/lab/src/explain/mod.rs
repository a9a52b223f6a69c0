//! Who contributes how much to the output difference, in shares that sum to the total.
//!
//! Groups of sites are switched from A to B one after another, in execution order; a group's share is the projection of
//! what its switch does to the logits on the total difference, over that difference's square. The steps telescope, so
//! the shares sum to 1 whatever the groups are. Switching sites one at a time, or leaving one out, would not: any
//! change upstream draws every later rounding anew.

mod chain;
mod crushed;
mod floor;
mod groups;
mod parts;
mod saved;
mod sums;
mod switch;
mod weights;

use std::collections::BTreeSet;
use std::path::PathBuf;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Model, Oracle};
use twinpath_evidence::{Attribution, Provenance};

use crate::Progress;
use crate::compare::{different_weights, provenance};
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;
use chain::{Chain, Meter, Step};
pub(crate) use floor::floor;
use groups::{Group, Kind, Price};
use parts::{Found, Watch};
use saved::{Finished, Saved};
use sums::{About, Orders, Sums};
use switch::{Side64, Widened};
use weights::Swap;

/// Which layers are opened into their sites.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Detail {
    /// None: one group a layer.
    Layers,
    /// These.
    Inside(Vec<usize>),
    /// So many, those with most energy: found closed first, then opened. Steps of closed layers are not taken again.
    Top(usize),
    /// All.
    Sites,
}

impl Detail {
    fn opens(&self, layer: usize) -> bool {
        match self {
            Detail::Layers | Detail::Top(_) => false,
            Detail::Inside(layers) => layers.contains(&layer),
            Detail::Sites => true,
        }
    }
}

/// What to explain, and how finely.
#[derive(Debug, Clone)]
pub struct ExplainOptions {
    /// Layers to open.
    pub detail: Detail,
    /// Also the reverse order.
    pub interactions: bool,
    /// Random orders, each with its reverse, whose mean estimates the Shapley value; 0 for none.
    pub shapley: usize,
    /// Chance of calling a faithful value unexplained, in the whole run.
    pub alpha: f64,
    /// Seed of the bootstrap and of the random orders.
    pub seed: u64,
    /// Hash the model files into the record.
    pub hash: bool,
    /// Where to keep what is done, so that an interrupted run goes on; removed at the end.
    pub checkpoint: Option<PathBuf>,
}

/// Where the chain begins and ends.
#[derive(Clone, Copy)]
pub struct Ends<'e> {
    /// A's model.
    pub model_a: &'e Model,
    /// B's, of the same shape.
    pub model_b: &'e Model,
    /// A's label and arithmetic.
    pub a: (&'e str, &'e Arithmetic),
    /// B's.
    pub b: (&'e str, &'e Arithmetic),
}

/// What a run costs and needs, before it is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Forward passes for each prompt, at most, where nothing is unexplained: A's run; B's with A's arithmetic and both
    /// declared ones on its inputs; one for massive activations; and after each switched group the rest again.
    pub passes: f64,
    /// Bytes beside the mapped files, at most, for the longest prompt.
    pub bytes: u64,
}

/// See [`Estimate`].
pub fn estimate(model: &Model, prompts: &[Vec<u32>], options: &ExplainOptions) -> Estimate {
    let price = Price::of(model);
    let passes = cost(model, options) as f64 / price.pass() as f64;
    let c = model.config();
    let tokens = prompts.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let (hidden, ffn, vocab) = (c.hidden as u64, c.ffn as u64, c.vocab as u64);
    let heads = ((c.heads + 2 * c.kv_heads) * c.head_dim) as u64;
    let residuals = c.layers as u64 * (2 * hidden + heads + 3 * ffn) + vocab;
    // Three sets of streams; logits of A, B, their difference and two steps; what the judge declares of one value.
    let streams = 3 * (c.layers as u64 + 1) * hidden;
    Estimate { passes, bytes: 8 * tokens * (streams + 2 * residuals + 9 * vocab + 8 * ffn) }
}

fn cost(model: &Model, options: &ExplainOptions) -> u64 {
    let price = Price::of(model);
    let orders = 1 + u64::from(options.interactions) + 2 * options.shapley as u64;
    let one = |detail: &Detail| {
        let groups = groups::groups(model, detail);
        let opened = groups.iter().filter(|g| matches!(g.kind, Kind::Site(_))).count() as u64;
        6 * price.pass() + opened * price.layer() + orders * price.order(&groups)
    };
    match options.detail {
        // The layers are not known; the first cost most, and each is entered anew.
        Detail::Top(n) => {
            let first = Detail::Inside((0..n.min(model.config().layers)).collect());
            one(&Detail::Layers) + one(&first)
        }
        ref detail => one(detail),
    }
}

/// Attributes the difference between two ends, averaged over `prompts`: of two arithmetics on one set of weights, or of two
/// sets of weights along one arithmetic.
///
/// Memory beside the mapped files is bounded by [`Estimate::bytes`].
///
/// # Errors
/// When a prompt does not fit the model, or there is none; when both weights and arithmetic differ; when a checkpoint
/// cannot be read or written, or is of another run.
pub fn explain(
    ends: Ends<'_>,
    prompts: &[Vec<u32>],
    options: &ExplainOptions,
    progress: Progress<'_>,
) -> Result<Attribution, LabError> {
    let model = ends.model_a;
    for prompt in prompts {
        model.check_tokens(prompt, 0)?;
    }
    if prompts.is_empty() {
        model.check_tokens(&[], 0)?;
    }
    let swapped = !different_weights(model, ends.model_b).is_empty();
    if swapped && ends.a.1.name() != ends.b.1.name() {
        return Err(LabError::TwoCauses { a: ends.a.0.to_owned(), b: ends.b.0.to_owned() });
    }
    let party =
        |(label, arithmetic), model| Party { label: String::from(label), source: Source::Model(model, arithmetic) };
    let (a, b) = (party(ends.a, model), party(ends.b, ends.model_b));
    let provenance = provenance(&[&a, &b], options.hash)?;
    let price = Price::of(model);
    let total = prompts.len() as u64 * cost(model, options);
    let saved = Saved::open(options.checkpoint.as_deref(), key(&ends, prompts, options, &provenance))?;
    let meter = Meter { price, spent: saved.state.spent, total, progress };
    let mut run = Run { ends, swapped, prompts, options, meter, saved };
    let groups = run.all()?;
    let finished = &run.saved.state.finished;
    let effect = |site| effect(finished, &groups, site);
    let about = About {
        provenance,
        a: a.info(),
        b: b.info(),
        tokens: prompts.iter().map(Vec::len).sum(),
        passes: run.meter.spent as f64 / price.pass() as f64,
        alpha: options.alpha,
        seed: options.seed,
        tensors: if swapped { weights::causes(model, ends.model_b, effect) } else { Vec::new() },
    };
    let record = Sums(finished).finish(&groups, about);
    run.saved.remove()?;
    Ok(record)
}

/// Share and energy of the group that holds `site`, if that was switched by itself.
fn effect(finished: &[Finished], groups: &[Group], site: twinpath_engine::Site) -> Option<(f64, f64)> {
    let g = groups.iter().position(|g| g.holds(site) && !matches!(g.kind, Kind::Layer(_)))?;
    let n = finished.len() as f64;
    let energy =
        |p: &Finished| p.forward[g].energy / p.forward.iter().map(|s| s.energy).sum::<f64>().max(f64::MIN_POSITIVE);
    let share = finished.iter().map(|p| p.forward[g].share).sum::<f64>() / n;
    Some((share, finished.iter().map(energy).sum::<f64>() / n))
}

/// What a checkpoint must be of.
fn key(ends: &Ends<'_>, prompts: &[Vec<u32>], options: &ExplainOptions, provenance: &Provenance) -> String {
    let asked = (options.interactions, options.shapley, options.alpha.to_bits(), options.seed);
    let said = format!("{:?} {:?} {:?} {:?} {asked:?} {prompts:?}", provenance, ends.a.0, ends.b.0, options.detail);
    blake3::hash(said.as_bytes()).to_hex().to_string()
}

/// One run.
struct Run<'r, 'p> {
    ends: Ends<'r>,
    /// Whether the weights differ.
    swapped: bool,
    prompts: &'r [Vec<u32>],
    options: &'r ExplainOptions,
    meter: Meter<'p>,
    saved: Saved,
}

impl Run<'_, '_> {
    /// All prompts; answers the groups.
    fn all(&mut self) -> Result<Vec<Group>, LabError> {
        let model = self.ends.model_a;
        let Detail::Top(most) = self.options.detail else {
            let groups = groups::groups(model, &self.options.detail);
            return self.stage(&groups, &[]).map(|()| groups);
        };
        let closed = groups::groups(model, &Detail::Layers);
        if self.saved.state.closed.is_empty() {
            self.stage(&closed, &[])?;
            self.saved.state.closed = std::mem::take(&mut self.saved.state.finished);
        }
        let open: BTreeSet<usize> = top(&self.saved.state.closed, &closed, most);
        let groups = groups::groups(model, &Detail::Inside(open.into_iter().collect()));
        let known = |finished: &Finished| -> Vec<Option<Step>> {
            let step = |g: &Group| closed.iter().position(|c| c == g).map(|i| finished.forward[i]);
            groups.iter().map(step).collect()
        };
        let known: Vec<Vec<Option<Step>>> = self.saved.state.closed.iter().map(known).collect();
        self.stage(&groups, &known).map(|()| groups)
    }

    /// The prompts that are not finished, with the steps that are `known` of each.
    fn stage(&mut self, groups: &[Group], known: &[Vec<Option<Step>>]) -> Result<(), LabError> {
        let Ends { model_a, model_b, a, b } = self.ends;
        let turns = [Turn::new(a.1), Turn::new(b.1)];
        let swap = Swap { inner: turns[1].side(), weights: model_b };
        let by_b: Side64<'_> = if self.swapped { &swap } else { turns[1].side() };
        for i in self.saved.state.finished.len()..self.prompts.len() {
            let watch = Watch {
                a: turns[0].side(),
                paths: [a.1.path(), b.1.path()],
                alpha: self.options.alpha,
                sites: 2 * groups::site_count(model_a) * self.prompts.len(),
                weights: self.swapped.then_some(model_b),
                found: Found::default(),
            };
            let mut chain = Chain::new(model_a, by_b, &self.prompts[i], watch, &mut self.meter)?;
            let mut steps = std::mem::take(&mut self.saved.state.steps);
            if steps.is_empty() {
                steps = known.get(i).cloned().unwrap_or_default();
            }
            let saved = &mut self.saved;
            let forward = chain.forward(groups, &mut steps, &mut |steps, spent| {
                saved.state.steps = steps.to_vec();
                saved.state.spent = spent;
                saved.write()
            })?;
            let finished = sums::finish(&mut chain, forward, groups, &orders(groups, self.options, i as u64));
            self.saved.state.steps.clear();
            self.saved.state.spent = self.meter.spent;
            self.saved.state.finished.push(finished);
            self.saved.write()?;
        }
        (self.meter.progress)(self.meter.spent.min(self.meter.total), self.meter.total);
        Ok(())
    }
}

/// The layers with most energy.
fn top(finished: &[Finished], groups: &[Group], most: usize) -> BTreeSet<usize> {
    let energy = |g: usize| finished.iter().map(|p| p.forward[g].energy).sum::<f64>();
    let mut layers: Vec<(f64, usize)> = (0..groups.len())
        .filter_map(|g| match groups[g].kind {
            Kind::Layer(layer) => Some((energy(g), layer)),
            _ => None,
        })
        .collect();
    layers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    layers.into_iter().take(most).map(|(_, layer)| layer).collect()
}

/// The frozen orders of a prompt: places in `groups`.
fn orders(groups: &[Group], options: &ExplainOptions, prompt: u64) -> Orders {
    let reverse: Vec<usize> = (0..groups.len()).rev().collect();
    let mut rng = SplitMix64::new(options.seed ^ (prompt << 32));
    let mut shuffled = || {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        // Fisher and Yates; the bias of the remainder, below 2⁻⁵⁰, is no matter.
        for i in (1..order.len()).rev() {
            order.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
        }
        let back = order.iter().rev().copied().collect();
        [order, back]
    };
    Orders {
        reverse: options.interactions.then_some(reverse),
        random: (0..options.shapley).flat_map(|_| shuffled()).collect(),
    }
}

/// An arithmetic that can take turns with another.
enum Turn<'a> {
    Oracle(&'a Oracle),
    Path(Widened<'a>),
}

impl<'a> Turn<'a> {
    fn new(arithmetic: &'a Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::Oracle(oracle) => Turn::Oracle(oracle),
            Arithmetic::Path(path) => Turn::Path(Widened(path.as_ref())),
        }
    }

    fn side(&self) -> Side64<'_> {
        match self {
            Turn::Oracle(oracle) => *oracle,
            Turn::Path(path) => path,
        }
    }
}
