//! Who contributes how much to the difference between two paths' outputs.

use serde::{Deserialize, Serialize};

use crate::comparison::SideInfo;
use crate::massive::Peak;
use crate::provenance::Provenance;

/// Shares of the output difference, averaged over prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// Where the chain begins.
    pub a: SideInfo,
    /// Where it ends.
    pub b: SideInfo,
    /// Prompts averaged over.
    pub prompts: usize,
    /// Tokens of all prompts.
    pub tokens: usize,
    /// Mean over prompts of `‖B − A‖ / ‖A‖` of the logits.
    pub relative_l2: f64,
    /// Mean over prompts of the mean KL(A ‖ B), in nats.
    pub kl: f64,
    /// Means over prompts of the margin of A's answer at the last position, its logit minus the largest other: in A and B.
    pub margin: (f64, f64),
    /// In execution order.
    pub groups: Vec<GroupShare>,
    /// Mean over prompts of the sum of the shares: 1 to rounding.
    pub sum: f64,
    /// What of that sum no arithmetic explains: exactly 0 where no side is convicted.
    pub unexplained: f64,
    /// Sites where a side is not what its arithmetic declares.
    pub suspicious: Vec<Suspicious>,
    /// The other order, if asked for.
    pub interaction: Option<Interaction>,
    /// Matrices that the sides do not share, those that do most for their size first; empty where they share all.
    pub tensors: Vec<TensorCause>,
    /// What massive activations have to do with it; absent where no scale of B is set by one element alone.
    pub massive: Option<MassiveShare>,
    /// Random orders of each prompt, reverses included.
    pub random_orders: usize,
    /// Forward passes spent, both sides of each prompt included.
    pub passes: f64,
    /// Chance of calling a faithful value unexplained, in the whole run.
    pub alpha: f64,
    /// Seed of the bootstrap and of the random orders.
    pub seed: u64,
}

/// What a matrix that is stored otherwise in B contributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorCause {
    /// GGUF name.
    pub tensor: String,
    /// Block format in A.
    pub from: String,
    /// In B.
    pub to: String,
    /// Weights that it holds.
    pub weights: u64,
    /// Bytes that they take in B.
    pub bytes: u64,
    /// Share of the output difference.
    pub share: f64,
    /// Part of the sum of squared effects.
    pub energy: f64,
}

impl TensorCause {
    /// Part of the sum of squared effects per weight: what more bits there would be worth.
    pub fn per_weight(&self) -> f64 {
        self.energy / self.weights.max(1) as f64
    }
}

/// Tensors that are said to deserve more bits.
pub const DESERVING: usize = 5;

/// What blocks of activations whose scale one element sets contribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MassiveShare {
    /// Mean over prompts of the share of the output difference that goes when the errors of these blocks do.
    pub share: f64,
    /// Blocks whose scale one element sets, of all blocks that B coded.
    pub blocks: (u64, u64),
    /// The largest such elements, over all prompts.
    pub largest: Vec<MassiveAt>,
}

/// An element that sets the scale of its block alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MassiveAt {
    /// The site that reads it.
    pub site: String,
    /// Prompt, from 0.
    pub prompt: usize,
    /// Where it is.
    pub peak: Peak,
}

/// A site where a side is convicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicious {
    /// Text form of the site.
    pub site: String,
    /// Prompts in which A's arithmetic is convicted, on B's inputs.
    pub a: usize,
    /// Prompts in which B's is.
    pub b: usize,
}

/// What one group of sites contributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupShare {
    /// `embed`, `blk.3`, `blk.3.ffn_down` or `head`.
    pub group: String,
    /// Projection of its effect on the total difference, over the total's square: signed; all sum to 1.
    pub share: Interval,
    /// What of the share no arithmetic explains: exactly 0 where no side is convicted.
    pub unexplained: f64,
    /// Its part of the sum of squared effects: never negative; all sum to 1.
    pub energy: f64,
    /// Mean change of KL(A ‖ ·) when it is switched, in nats: telescopes to the total, is no share, may be negative.
    pub kl: f64,
    /// Mean change of the margin of A's answer: telescopes, too.
    pub margin: f64,
    /// Its share in the reverse order, if asked for.
    pub reverse: Option<f64>,
    /// Its mean share over random orders and their reverses, if asked for: an estimate of its Shapley value.
    pub shapley: Option<f64>,
}

/// A mean over prompts with a bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// 95 % percentile-bootstrap bounds; absent below [`MIN_PROMPTS`] prompts, where they would be too narrow.
    pub bounds: Option<(f64, f64)>,
}

/// How much the shares depend on the order of switching.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// Mean over prompts of the sum over groups of |forward − reverse|.
    pub sum: f64,
    /// Largest distance of the reverse chain's end from B, relative to the difference.
    pub closure: f64,
}

/// Two paths' distances from the oracle, each attributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// From the oracle to A.
    pub a: Attribution,
    /// From the oracle to B.
    pub b: Attribution,
}

/// One group of sites in both budgets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetLine<'b> {
    /// The group.
    pub group: &'b str,
    /// What A's arithmetic does there.
    pub a: BudgetSide,
    /// What B's does.
    pub b: BudgetSide,
}

/// What a path's arithmetic does at one group.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BudgetSide {
    /// Share of the path's distance from the oracle.
    pub share: f64,
    /// The distance that it makes, of the norm of the oracle's logits: the path's distance times the root of its energy.
    pub size: f64,
    /// What of the share no arithmetic explains.
    pub unexplained: f64,
}

impl Budget {
    /// The groups where either path does something, in execution order.
    pub fn lines(&self) -> Vec<BudgetLine<'_>> {
        let side = |of: &Attribution, group: &str| {
            let found = of.groups.iter().find(|g| g.group == group);
            found.map_or_else(BudgetSide::default, |g| BudgetSide {
                share: g.share.mean,
                size: of.relative_l2 * g.energy.sqrt(),
                unexplained: g.unexplained,
            })
        };
        let all = self.a.groups.iter().map(|g| g.group.as_str());
        let more =
            self.b.groups.iter().map(|g| g.group.as_str()).filter(|g| !self.a.groups.iter().any(|a| a.group == **g));
        let lines = all.chain(more).map(|group| BudgetLine { group, a: side(&self.a, group), b: side(&self.b, group) });
        lines.filter(|l| l.a.size > 0.0 || l.b.size > 0.0 || l.a.unexplained != 0.0 || l.b.unexplained != 0.0).collect()
    }
}

/// Prompts below which no interval is given: percentile bootstrap then covers well below its nominal 95 %.
pub const MIN_PROMPTS: usize = 16;
/// Version of the JSON layout.
pub const SCHEMA: u32 = 2;
/// Order dependence above which the shares alone mislead.
pub const NOTABLE_INTERACTION: f64 = 0.3;

/// Mean and bootstrap bounds of one value a prompt. `draws` holds, for each resample, the prompts drawn.
pub fn interval(values: &[f64], draws: &[Vec<usize>]) -> Interval {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.len() < MIN_PROMPTS || draws.is_empty() {
        return Interval { mean, bounds: None };
    }
    let mut means: Vec<f64> =
        draws.iter().map(|d| d.iter().map(|i| values[*i]).sum::<f64>() / d.len() as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means[((means.len() - 1) as f64 * q).round() as usize];
    Interval { mean, bounds: Some((at(0.025), at(0.975))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_prompts_get_no_interval() {
        assert_eq!(interval(&[1.0, 3.0], &[vec![0, 0]]), Interval { mean: 2.0, bounds: None });
    }

    #[test]
    fn the_interval_holds_the_middle_of_the_resampled_means() {
        let values: Vec<f64> = (0..16).map(f64::from).collect();
        let draws: Vec<Vec<usize>> = (0..16).map(|i| vec![i; 16]).collect();
        let i = interval(&values, &draws);
        assert_eq!((i.mean, i.bounds), (7.5, Some((0.0, 15.0))));
    }
}
