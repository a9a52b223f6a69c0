//! Who contributes how much to the output difference, in shares that sum to the total.
//!
//! Groups of sites are switched from A to B one after another, in execution order; a group's share is the projection of
//! what its switch does to the logits on the total difference, over that difference's square. The steps telescope, so
//! the shares sum to 1 whatever the groups are. Switching sites one at a time, or leaving one out, would not: any
//! change upstream draws every later rounding anew.

mod chain;
mod groups;
mod parts;
mod sums;
mod switch;

use std::collections::BTreeMap;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Model, Oracle};
use twinpath_evidence::Attribution;

use crate::Progress;
use crate::compare::provenance;
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;
use chain::{Chain, Meter};
use groups::{Group, Price};
use parts::Watch;
use sums::{About, Orders, Sums};
use switch::{Residuals, Side64, Widened};

/// Which layers are opened into their sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// None: one group a layer.
    Layers,
    /// These.
    Inside(Vec<usize>),
    /// All.
    Sites,
}

impl Detail {
    fn opens(&self, layer: usize) -> bool {
        match self {
            Detail::Layers => false,
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
}

/// Forward passes that [`explain`] will cost for each prompt, at most, where nothing is unexplained: A's run; B's with A's
/// arithmetic and both declared ones on its inputs; and after each switched group the rest again.
pub fn passes(model: &Model, options: &ExplainOptions) -> f64 {
    let price = Price::of(model);
    cost(model, &groups::groups(model, &options.detail), options) as f64 / price.pass() as f64
}

fn cost(model: &Model, groups: &[Group], options: &ExplainOptions) -> u64 {
    let price = Price::of(model);
    let opened = groups.iter().filter(|g| matches!(g.kind, groups::Kind::Site(_))).count() as u64;
    let orders = 1 + u64::from(options.interactions) + 2 * options.shapley as u64;
    5 * price.pass() + opened * price.layer() + orders * price.order(groups)
}

/// Attributes the difference between the logits of two arithmetics on one model, averaged over `prompts`.
///
/// Memory of a prompt of `T` positions: three residual streams of `layers · T · hidden` values and a few times
/// `T · vocab` logits, all in f64; in frozen orders once more every value of the pass.
///
/// # Errors
/// When a prompt does not fit the model, or there is none.
pub fn explain(
    model: &Model,
    a: (&str, &Arithmetic),
    b: (&str, &Arithmetic),
    prompts: &[Vec<u32>],
    options: &ExplainOptions,
    progress: Progress<'_>,
) -> Result<Attribution, LabError> {
    for prompt in prompts {
        model.check_tokens(prompt, 0)?;
    }
    if prompts.is_empty() {
        model.check_tokens(&[], 0)?;
    }
    let turns = [Turn::new(a.1), Turn::new(b.1)];
    let groups = groups::groups(model, &options.detail);
    let price = Price::of(model);
    let total = prompts.len() as u64 * cost(model, &groups, options);
    let mut meter = Meter { price, spent: 0, total, progress };
    let mut sums = Sums::default();
    let frozen = options.interactions || options.shapley > 0;
    for (i, tokens) in prompts.iter().enumerate() {
        let watch = Watch {
            a: turns[0].side(),
            paths: [a.1.path(), b.1.path()],
            alpha: options.alpha,
            sites: 2 * groups::site_count(model) * prompts.len(),
            faults: BTreeMap::new(),
            residuals: frozen.then(Residuals::new),
        };
        let mut chain = Chain::new(model, turns[1].side(), tokens, watch, &mut meter)?;
        sums.add(&mut chain, &groups, &orders(&groups, options, i as u64));
    }
    let party = |(label, arithmetic)| Party { label: String::from(label), source: Source::Model(model, arithmetic) };
    let (a, b) = (party(a), party(b));
    let passes = meter.spent as f64 / price.pass() as f64;
    (meter.progress)(total, total);
    let about = About {
        provenance: provenance(&[&a, &b], options.hash)?,
        a: a.info(),
        b: b.info(),
        tokens: prompts.iter().map(Vec::len).sum(),
        passes,
        alpha: options.alpha,
        seed: options.seed,
    };
    Ok(sums.finish(&groups, about))
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
