//! What all prompts gave.

use std::collections::BTreeMap;

use twinpath_engine::Site;
use twinpath_engine::rng::SplitMix64;
use twinpath_evidence::attribution::{MassiveAt, MassiveShare, SCHEMA, Suspicious, TensorCause, interval};
use twinpath_evidence::{Attribution, GroupShare, Interaction, Provenance, SideInfo};

use super::chain::{Chain, Step};
use super::crushed::list;
use super::groups::Group;
use super::saved::Finished;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// Frozen orders to switch in beside the forward one: places of groups.
pub(super) struct Orders {
    pub(super) reverse: Option<Vec<usize>>,
    pub(super) random: Vec<Vec<usize>>,
}

/// What a record says that the sums do not know.
pub(super) struct About {
    pub(super) provenance: Provenance,
    pub(super) a: SideInfo,
    pub(super) b: SideInfo,
    pub(super) tokens: usize,
    pub(super) passes: f64,
    pub(super) alpha: f64,
    pub(super) seed: u64,
    pub(super) tensors: Vec<TensorCause>,
}

/// Measures the frozen orders and all that is no step.
pub(super) fn finish(chain: &mut Chain<'_, '_>, forward: Vec<Step>, groups: &[Group], orders: &Orders) -> Finished {
    let mut closure = 0.0f64;
    let mut frozen = |order: &Vec<usize>| {
        let (steps, miss) = chain.frozen(groups, order);
        closure = closure.max(miss);
        steps
    };
    let reverse = orders.reverse.as_ref().map(&mut frozen);
    let random = orders.random.iter().map(&mut frozen).collect();
    let share = chain.crushed();
    let crushed = &chain.found.crushed;
    let massive = (crushed.blocks.0 > 0).then(|| MassiveShare {
        share,
        blocks: crushed.blocks,
        largest: crushed.largest.clone(),
    });
    let [margin_a, margin_b] = chain.margins();
    let faults = chain.found.faults.iter().map(|(site, fault)| (site.to_string(), fault.sides)).collect();
    let (relative_l2, kl) = (chain.relative_l2(), chain.kl());
    Finished { forward, reverse, random, closure, relative_l2, kl, margin_a, margin_b, faults, massive }
}

/// What all prompts gave.
pub(super) struct Sums<'f>(pub(super) &'f [Finished]);

impl Sums<'_> {
    /// The record.
    pub(super) fn finish(&self, groups: &[Group], about: About) -> Attribution {
        let n = self.0.len();
        let mut rng = SplitMix64::new(about.seed);
        let draws: Vec<Vec<usize>> =
            (0..RESAMPLES).map(|_| (0..n).map(|_| (rng.next_u64() % n as u64) as usize).collect()).collect();
        let shares = |g: usize| self.share(g, &groups[g].name, &draws);
        let groups: Vec<GroupShare> = (0..groups.len()).map(shares).collect();
        Attribution {
            schema: SCHEMA,
            provenance: about.provenance,
            a: about.a,
            b: about.b,
            prompts: n,
            tokens: about.tokens,
            relative_l2: mean(self.0.iter().map(|p| p.relative_l2)),
            kl: mean(self.0.iter().map(|p| p.kl)),
            margin: (mean(self.0.iter().map(|p| p.margin_a)), mean(self.0.iter().map(|p| p.margin_b))),
            sum: groups.iter().map(|g| g.share.mean).sum(),
            unexplained: groups.iter().map(|g| g.unexplained).sum(),
            suspicious: self.suspicious(),
            groups,
            interaction: self.interaction(),
            tensors: about.tensors,
            massive: self.massive(),
            random_orders: self.0.first().map_or(0, |p| p.random.len()),
            passes: about.passes,
            alpha: about.alpha,
            seed: about.seed,
        }
    }

    fn share(&self, g: usize, name: &str, draws: &[Vec<usize>]) -> GroupShare {
        let column = |f: fn(&Step) -> f64| self.0.iter().map(move |prompt| f(&prompt.forward[g]));
        let energy = |prompt: &Finished| {
            let all: f64 = prompt.forward.iter().map(|s| s.energy).sum();
            if all > 0.0 { prompt.forward[g].energy / all } else { 0.0 }
        };
        let shares: Vec<f64> = column(|s| s.share).collect();
        let reverse = self.0.iter().filter_map(|p| p.reverse.as_ref());
        let drawn = self.0.iter().any(|p| !p.random.is_empty());
        let of_prompt = |p: &Finished| mean(p.random.iter().map(|steps| steps[g].share));
        GroupShare {
            group: name.to_owned(),
            share: interval(&shares, draws),
            unexplained: mean(column(|s| s.unexplained)),
            energy: mean(self.0.iter().map(energy)),
            kl: mean(column(|s| s.kl)),
            margin: mean(column(|s| s.margin)),
            reverse: reverse.clone().next().map(|_| mean(reverse.map(|steps| steps[g].share))),
            shapley: drawn.then(|| mean(self.0.iter().map(of_prompt))),
        }
    }

    fn interaction(&self) -> Option<Interaction> {
        let apart = |p: &Finished| -> Option<f64> {
            Some(p.forward.iter().zip(p.reverse.as_ref()?).map(|(f, r)| (f.share - r.share).abs()).sum())
        };
        let sums: Vec<f64> = self.0.iter().filter_map(apart).collect();
        let closure = self.0.iter().map(|p| p.closure).fold(0.0, f64::max);
        (!sums.is_empty()).then(|| Interaction { sum: mean(sums.into_iter()), closure })
    }

    /// Prompts in which a side is convicted, by site in execution order.
    fn suspicious(&self) -> Vec<Suspicious> {
        let mut counts: BTreeMap<Site, [usize; 2]> = BTreeMap::new();
        for (name, sides) in self.0.iter().flat_map(|p| &p.faults) {
            let site = name.parse().unwrap_or_else(|e| unreachable!("written by us: {e}"));
            let count = counts.entry(site).or_default();
            count.iter_mut().zip(sides).for_each(|(n, convicted)| *n += usize::from(*convicted));
        }
        counts.iter().map(|(site, [a, b])| Suspicious { site: site.to_string(), a: *a, b: *b }).collect()
    }

    fn massive(&self) -> Option<MassiveShare> {
        let found = || self.0.iter().map(|p| p.massive.as_ref());
        found().flatten().next()?;
        let mut all = MassiveShare {
            share: mean(found().map(|m| m.map_or(0.0, |m| m.share))),
            blocks: (0, 0),
            largest: Vec::new(),
        };
        for (prompt, massive) in found().enumerate().filter_map(|(i, m)| Some((i, m?))) {
            all.blocks = (all.blocks.0 + massive.blocks.0, all.blocks.1 + massive.blocks.1);
            all.largest.extend(massive.largest.iter().cloned().map(|m| MassiveAt { prompt, ..m }));
        }
        list(&mut all.largest);
        Some(all)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.fold((0.0f64, 0.0), |(n, sum), x| (n + 1.0, sum + x));
    sum / n.max(1.0)
}
