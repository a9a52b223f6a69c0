//! What all prompts gave.

use std::collections::BTreeMap;

use twinpath_engine::Site;
use twinpath_engine::rng::SplitMix64;
use twinpath_evidence::attribution::{SCHEMA, Suspicious, interval};
use twinpath_evidence::{Attribution, GroupShare, Interaction, Provenance, SideInfo};

use super::chain::{Chain, Step};
use super::groups::Group;

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
}

/// Steps of every group, prompt after prompt: `[prompt][group]`.
type Steps = Vec<Vec<Step>>;

/// What all prompts gave.
#[derive(Default)]
pub(super) struct Sums {
    forward: Steps,
    reverse: Steps,
    /// `[prompt][order][group]`.
    random: Vec<Steps>,
    closure: f64,
    relative_l2: Vec<f64>,
    kl: Vec<f64>,
    margins: Vec<[f64; 2]>,
    /// Prompts in which a side is convicted: A, B.
    faults: BTreeMap<Site, [usize; 2]>,
}

impl Sums {
    pub(super) fn add(&mut self, chain: &mut Chain<'_, '_>, groups: &[Group], orders: &Orders) {
        self.forward.push(chain.forward(groups));
        let mut frozen = |order: &Vec<usize>| {
            let (steps, closure) = chain.frozen(groups, order);
            self.closure = self.closure.max(closure);
            steps
        };
        self.reverse.extend(orders.reverse.iter().map(&mut frozen));
        self.random.push(orders.random.iter().map(&mut frozen).collect());
        self.relative_l2.push(chain.relative_l2());
        self.kl.push(chain.kl());
        self.margins.push(chain.margins());
        for (site, fault) in &chain.faults {
            let count = self.faults.entry(*site).or_default();
            count.iter_mut().zip(fault.sides).for_each(|(n, convicted)| *n += usize::from(convicted));
        }
    }

    /// The record.
    pub(super) fn finish(&self, groups: &[Group], about: About) -> Attribution {
        let n = self.forward.len();
        let mut rng = SplitMix64::new(about.seed);
        let draws: Vec<Vec<usize>> =
            (0..RESAMPLES).map(|_| (0..n).map(|_| (rng.next_u64() % n as u64) as usize).collect()).collect();
        let shares = |g: usize| self.share(g, &groups[g].name, &draws);
        let groups: Vec<GroupShare> = (0..groups.len()).map(shares).collect();
        let at = |side: usize| mean(self.margins.iter().map(|m| m[side]));
        Attribution {
            schema: SCHEMA,
            provenance: about.provenance,
            a: about.a,
            b: about.b,
            prompts: n,
            tokens: about.tokens,
            relative_l2: mean(self.relative_l2.iter().copied()),
            kl: mean(self.kl.iter().copied()),
            margin: (at(0), at(1)),
            sum: groups.iter().map(|g| g.share.mean).sum(),
            unexplained: groups.iter().map(|g| g.unexplained).sum(),
            suspicious: self.suspicious(),
            groups,
            interaction: self.interaction(),
            random_orders: self.random.first().map_or(0, Vec::len),
            passes: about.passes,
            alpha: about.alpha,
            seed: about.seed,
        }
    }

    fn share(&self, g: usize, name: &str, draws: &[Vec<usize>]) -> GroupShare {
        let column = |f: fn(&Step) -> f64| self.forward.iter().map(move |prompt| f(&prompt[g]));
        let energy = |steps: &Vec<Step>| {
            let all: f64 = steps.iter().map(|s| s.energy).sum();
            if all > 0.0 { steps[g].energy / all } else { 0.0 }
        };
        let shares: Vec<f64> = column(|s| s.share).collect();
        let of_prompt = |orders: &Steps| mean(orders.iter().map(|steps| steps[g].share));
        let random = self.random.iter().filter(|orders| !orders.is_empty());
        let drawn = random.clone().next().is_some();
        GroupShare {
            group: name.to_owned(),
            share: interval(&shares, draws),
            unexplained: mean(column(|s| s.unexplained)),
            energy: mean(self.forward.iter().map(energy)),
            kl: mean(column(|s| s.kl)),
            margin: mean(column(|s| s.margin)),
            reverse: (!self.reverse.is_empty()).then(|| mean(self.reverse.iter().map(|steps| steps[g].share))),
            shapley: drawn.then(|| mean(random.map(of_prompt))),
        }
    }

    fn interaction(&self) -> Option<Interaction> {
        let apart =
            |(f, r): (&Vec<Step>, &Vec<Step>)| -> f64 { f.iter().zip(r).map(|(f, r)| (f.share - r.share).abs()).sum() };
        let sum = mean(self.forward.iter().zip(&self.reverse).map(apart));
        (!self.reverse.is_empty()).then_some(Interaction { sum, closure: self.closure })
    }

    fn suspicious(&self) -> Vec<Suspicious> {
        let one = |(site, [a, b]): (&Site, &[usize; 2])| Suspicious { site: site.to_string(), a: *a, b: *b };
        self.faults.iter().map(one).collect()
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.fold((0.0f64, 0.0), |(n, sum), x| (n + 1.0, sum + x));
    sum / n.max(1.0)
}
