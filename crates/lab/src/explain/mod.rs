//! Who contributes how much to the output difference, in shares that sum to the total.
//!
//! Groups of sites are switched from A to B one after another, in execution order; a group's share is the projection of
//! what its switch does to the logits on the total difference, over that difference's square. The steps telescope, so
//! the shares sum to 1 whatever the groups are. Switching sites one at a time, or leaving one out, would not: any
//! change upstream draws every later rounding anew.

mod chain;
mod switch;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Model, Oracle};
use twinpath_evidence::attribution::{SCHEMA, interval};
use twinpath_evidence::{Attribution, GroupShare, Interaction, SideInfo};

use crate::Progress;
use crate::compare::provenance;
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;
use chain::{Chain, Group, Step};
use switch::{Side64, Widened};

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
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Hash the model files into the record.
    pub hash: bool,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// Forward passes that [`explain`] will cost for each prompt: both sides, then on average half a pass for each group.
pub fn passes(layers: usize, sites: usize, options: &ExplainOptions) -> f64 {
    let inner: Vec<usize> = (0..layers).map(|l| if options.detail.opens(l) { sites } else { 1 }).collect();
    let rest = |l: usize| (layers - l) as f64 / layers as f64;
    let one_way: f64 = 1.0 + inner.iter().enumerate().map(|(l, n)| *n as f64 * rest(l)).sum::<f64>();
    2.0 + one_way + if options.interactions { 2.0 + one_way } else { 0.0 }
}

/// Attributes the difference between the logits of two arithmetics on one model, averaged over `prompts`.
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
    let (widened_a, widened_b) = (Turn::new(a.1), Turn::new(b.1));
    let mut all = All::default();
    for (i, tokens) in prompts.iter().enumerate() {
        progress(i as u64, prompts.len() as u64);
        let mut chain = Chain::new(model, widened_a.side(), widened_b.side(), tokens)?;
        all.add(&mut chain, options)?;
    }
    progress(prompts.len() as u64, prompts.len() as u64);
    let party = |(label, arithmetic)| Party { label: String::from(label), source: Source::Model(model, arithmetic) };
    let (a, b) = (party(a), party(b));
    let tokens = prompts.iter().map(Vec::len).sum();
    let info = (a.info(), b.info());
    Ok(all.finish(info, tokens, provenance(&[&a, &b], options.hash)?, model.config().layers, options))
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

/// What all prompts gave.
#[derive(Default)]
struct All {
    groups: Vec<Group>,
    /// `[prompt][group]`.
    forward: Vec<Vec<Step>>,
    reverse: Vec<Vec<Step>>,
    closure: f64,
    relative_l2: Vec<f64>,
    kl: Vec<f64>,
    layers_run: u64,
}

impl All {
    fn add(&mut self, chain: &mut Chain<'_>, options: &ExplainOptions) -> Result<(), LabError> {
        self.groups = chain.groups(&options.detail);
        self.forward.push(chain.forward(&self.groups));
        if options.interactions {
            let (steps, closure) = chain.reverse(&self.groups)?;
            self.reverse.push(steps);
            self.closure = self.closure.max(closure);
        }
        self.relative_l2.push(chain.relative_l2());
        self.kl.push(chain.kl());
        self.layers_run += chain.layers_run;
        Ok(())
    }

    fn finish(
        self,
        (a, b): (SideInfo, SideInfo),
        tokens: usize,
        provenance: twinpath_evidence::Provenance,
        layers: usize,
        options: &ExplainOptions,
    ) -> Attribution {
        let n = self.forward.len();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let mut rng = SplitMix64::new(options.seed);
        let draws: Vec<Vec<usize>> =
            (0..RESAMPLES).map(|_| (0..n).map(|_| (rng.next_u64() % n as u64) as usize).collect()).collect();
        let column = |steps: &[Vec<Step>], g: usize, f: fn(&Step) -> f64| -> Vec<f64> {
            steps.iter().map(|prompt| f(&prompt[g])).collect()
        };
        let energies: Vec<f64> = self.forward.iter().map(|p| p.iter().map(|s| s.energy).sum()).collect();
        let groups: Vec<GroupShare> = (0..self.groups.len())
            .map(|g| {
                let energy = column(&self.forward, g, |s| s.energy);
                let part = |(e, all): (&f64, &f64)| if *all > 0.0 { e / all } else { 0.0 };
                GroupShare {
                    group: self.groups[g].name.clone(),
                    share: interval(&column(&self.forward, g, |s| s.share), &draws),
                    energy: energy.iter().zip(&energies).map(part).sum::<f64>() / n as f64,
                    kl: mean(&column(&self.forward, g, |s| s.kl)),
                    reverse: options.interactions.then(|| mean(&column(&self.reverse, g, |s| s.share))),
                }
            })
            .collect();
        let interaction = options.interactions.then(|| {
            let apart = |(f, r): (&Vec<Step>, &Vec<Step>)| -> f64 {
                f.iter().zip(r).map(|(f, r)| (f.share - r.share).abs()).sum()
            };
            let sums: Vec<f64> = self.forward.iter().zip(&self.reverse).map(apart).collect();
            Interaction { sum: mean(&sums), closure: self.closure }
        });
        Attribution {
            schema: SCHEMA,
            provenance,
            a,
            b,
            prompts: n,
            tokens,
            relative_l2: mean(&self.relative_l2),
            kl: mean(&self.kl),
            sum: groups.iter().map(|g| g.share.mean).sum(),
            groups,
            interaction,
            passes: self.layers_run as f64 / layers as f64,
            seed: options.seed,
        }
    }
}
