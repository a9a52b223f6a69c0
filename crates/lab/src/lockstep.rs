//! The records of a comparison as they grow, stage by stage.

use std::collections::{BTreeMap, BTreeSet};

use twinpath_engine::{Config, Point, Site};
use twinpath_evidence::massive::{Peaks, sole_scales};
use twinpath_evidence::{
    Budget, Comparison, LocalSum, Outcome, Positions, Profile, Scope, SiteRecord, Statistical, Values as Covered,
    Verdict, Warning,
};
use twinpath_paths::simd::Isa;
use twinpath_paths::team;

use crate::side::Recorded;
use crate::sums::{Group, Position, READ, Sums};

/// What is accumulated at one site.
#[derive(Default)]
struct SiteSum {
    weights: Option<&'static str>,
    masked: bool,
    sums: Sums,
    a_local: Option<LocalSum>,
    b_local: Option<LocalSum>,
    statistical: Vec<Statistical>,
    idle: Option<&'static str>,
    inputs: Vec<Site>,
    /// Sites that a recording lacks and whose ops were judged with this one.
    covers: BTreeSet<Site>,
    /// Whether both sides have it.
    paired: bool,
}

/// The comparison as it grows, stage by stage.
pub(crate) struct Lockstep<'c> {
    config: &'c Config,
    sums: BTreeMap<Site, SiteSum>,
    only_in_b: Vec<Site>,
    /// Whether A and B are recordings that nothing judges.
    recorded: [bool; 2],
    /// Whether norms are kept token by token at every site.
    profiled: bool,
}

impl<'c> Lockstep<'c> {
    pub(crate) fn new(config: &'c Config, recorded: [bool; 2], tokens: usize) -> Self {
        let profiled = tokens <= FEW_TOKENS;
        Lockstep { config, sums: BTreeMap::new(), only_in_b: Vec::new(), recorded, profiled }
    }

    pub(crate) fn add(&mut self, a: &[Recorded], b: &[Recorded], oracle: Option<&[Recorded]>) {
        let at = |side: &[Recorded], site| side.iter().position(|r| r.site == site);
        let mut work: Vec<(SiteSum, &Recorded)> =
            a.iter().map(|a| (self.sums.remove(&a.site).unwrap_or_default(), a)).collect();
        let add = |(sum, a): &mut (SiteSum, &Recorded)| {
            let b = at(b, a.site).map(|i| &b[i]);
            let oracle = oracle.map(|o| at(o, a.site).map(|i| &o[i]));
            add_site(sum, (self.config.heads, self.profiled), a, b, oracle);
        };
        // The threads share out sites where each has one position, and else the positions of each.
        match work.iter().all(|(_, a)| a.values.shape().0 == 1) {
            true => team::chunks(&mut work, 1, |_, work| work.iter_mut().for_each(add)),
            false => work.iter_mut().for_each(add),
        }
        self.sums.extend(work.into_iter().map(|(sum, a)| (a.site, sum)));
        self.only_in_b.extend(b.iter().map(|r| r.site).filter(|site| at(a, *site).is_none()));
    }

    /// Completes the record.
    pub(crate) fn fill(self, record: &mut Comparison, positions: Positions) {
        let oracle = record.oracle.is_some();
        let mut profiles = Vec::new();
        let covered: BTreeSet<Site> = self.sums.values().flat_map(|sum| sum.covers.iter().copied()).collect();
        for (site, sum) in self.sums.into_iter().filter(|(site, sum)| sum.paired || !covered.contains(site)) {
            if site.point == Point::Logits {
                record.logits = sum.sums.logits.finish();
                record.a_oracle_logits = sum.sums.a_oracle_logits.finish();
                record.b_oracle_logits = sum.sums.b_oracle_logits.finish();
            }
            profiles.extend(sum.sums.profile.clone().map(|p| (site.point, p)));
            if READ.contains(&site.point) {
                record.peaks.push(Peaks { site: site.to_string(), peaks: sum.sums.peaks.clone() });
            }
            record.sites.push(site_record(site, sum, positions, oracle, self.config.layers, self.recorded));
        }
        add_gains(&mut record.sites);
        record.budget = Budget::of(&record.sites);
        record.warnings.extend(doubts(&profiles));
        record.warnings.extend(sole_scales(&record.peaks));
        record.profiles = profiles.into_iter().map(|(_, p)| p).collect();
        let only_in_b = self.only_in_b.iter().filter(|site| !covered.contains(site));
        let unpaired: BTreeSet<String> = only_in_b.map(|s| format!("{s}: recorded in B only")).collect();
        record.outcome = Outcome::of(&record.sites).and(unpaired.into_iter().collect());
    }
}

fn site_record(
    site: Site,
    sum: SiteSum,
    positions: Positions,
    oracle: bool,
    layers: usize,
    recorded: [bool; 2],
) -> SiteRecord {
    let values = if sum.masked { Covered::AdmittedKeys } else { Covered::All };
    let scope = Scope { site: site.to_string(), positions, values };
    let inputs = match site.point {
        Point::FinalNorm => vec![Site::block(layers - 1, Point::Output)],
        _ => sum.inputs,
    };
    let mut record = SiteRecord {
        site: site.to_string(),
        layer: site.layer,
        point: site.point.name().to_owned(),
        weights: sum.weights.map(str::to_owned),
        a: sum.sums.a.finish(scope.clone()),
        b: sum.sums.b.finish(scope),
        drift: sum.sums.drift.finish(),
        a_oracle: oracle.then(|| sum.sums.a_oracle.finish()),
        b_oracle: oracle.then(|| sum.sums.b_oracle.finish()),
        a_local: sum.a_local.map(|l| l.finish("a", sum.idle)),
        b_local: sum.b_local.map(|l| l.finish("b", sum.idle)),
        statistical: sum.statistical.into_iter().reduce(Statistical::worse),
        split: sum.sums.split.finish(inputs.iter().map(Site::to_string).collect()),
        verdict: None,
        covers: sum.covers.iter().map(Site::to_string).collect(),
    };
    record.verdict = verdict(&record, recorded);
    record
}

/// The worst of both sides; a recording counts only where it equals a side that is judged. `None` without replay.
fn verdict(record: &SiteRecord, recorded: [bool; 2]) -> Option<Verdict> {
    let locals = [&record.a_local, &record.b_local].map(Option::as_ref);
    let locals = locals.into_iter().flatten().map(|l| l.verdict.clone());
    // The weaker evidence names the verdict where both explain.
    let worst =
        record.statistical.as_ref().map(Statistical::verdict).into_iter().chain(locals).reduce(Verdict::worse)?;
    let (identical, complete) = (record.drift.is_identical(), record.drift.is_complete());
    let worst = match worst {
        Verdict::Explained { .. } if identical => Verdict::Identical,
        worst => worst,
    };
    let inconclusive = |reason: &str| Verdict::Inconclusive { reason: reason.to_owned() };
    if !complete {
        return Some(worst.worse(inconclusive("not every element was compared")));
    }
    if recorded.contains(&true) && !identical {
        return Some(worst.worse(inconclusive(
            "the recording is of an unknown file or is not whole: it cannot be judged, and it differs",
        )));
    }
    Some(worst)
}

/// Inherited drift over that of the inputs.
fn add_gains(sites: &mut [SiteRecord]) {
    let drifts: BTreeMap<String, Option<f64>> = sites.iter().map(|s| (s.site.clone(), s.drift.relative_l2)).collect();
    for split in sites.iter_mut().filter_map(|s| s.split.as_mut()) {
        let inputs: Option<Vec<f64>> = split.inputs.iter().map(|i| drifts.get(i).copied().flatten()).collect();
        let size = inputs.map(|drifts| drifts.iter().map(|d| d * d).sum::<f64>().sqrt());
        split.gain = size.filter(|size| *size > 0.0).zip(split.inherited).map(|(size, inherited)| inherited / size);
    }
}

/// What the norms warn of: those of the residual stream of all, those of the other sites of large tokens only, because
/// near-zero values may well differ by a factor.
fn doubts(profiles: &[(Point, Profile)]) -> Vec<Warning> {
    let stream = || profiles.iter().filter(|(point, _)| STREAM.contains(point)).map(|(_, p)| p);
    let uneven = stream().find_map(|p| p.uneven().map(|u| (p, u)));
    let mut warnings: Vec<Warning> = Vec::new();
    warnings.extend(large_token(profiles));
    warnings.extend(uneven.map(|(p, (position, ratio))| Warning::UnevenNorms {
        site: p.site.clone(),
        position,
        ratio,
    }));
    let all = || stream().flat_map(|p| p.massive.iter().map(move |m| (p, m)));
    let size = |m: &twinpath_evidence::Massive| m.a.abs().max(m.b.abs());
    if let Some((p, m)) = all().max_by(|a, b| size(a.1).total_cmp(&size(b.1))) {
        let positions: BTreeSet<usize> = all().map(|(_, m)| m.position).collect();
        let channels: BTreeSet<usize> = all().map(|(_, m)| m.channel).collect();
        warnings.push(Warning::Massive {
            site: p.site.clone(),
            position: m.position,
            channel: m.channel,
            a: m.a,
            b: m.b,
            positions: positions.into_iter().collect(),
            channels: channels.into_iter().collect(),
            one_sided: all().filter(|(_, m)| m.one_sided).count(),
        });
    }
    warnings
}

/// The site where one token is largest against the others. Rows of attention scores are of unequal length.
fn large_token(profiles: &[(Point, Profile)]) -> Option<Warning> {
    let values = profiles.iter().filter(|(point, _)| !matches!(point, Point::AttnScores | Point::AttnProbs));
    let large = values.filter_map(|(_, p)| Some((p, p.large()?, p.all_over_last()?)));
    let (p, (position, times), all_over_last) = large.max_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
    Some(Warning::LargeToken { site: p.site.clone(), position, times, all_over_last })
}

/// Prompts of up to this many tokens have their norms kept token by token at every site; a page of 28 layers stays below
/// 2 MB.
const FEW_TOKENS: usize = 64;

/// Points of the residual stream, whose norms are kept token by token for any prompt.
const STREAM: [Point; 3] = [Point::Embed, Point::AttnResidual, Point::Output];

/// Joins what was judged of other positions.
fn join(sum: &mut Option<LocalSum>, more: Option<&LocalSum>) {
    if let Some(more) = more {
        sum.get_or_insert_default().merge(more.clone());
    }
}

/// `oracle` is absent where it does not run, and `Some(None)` where it has no such site.
fn add_site(
    sum: &mut SiteSum,
    (heads, profiled): (usize, bool),
    a: &Recorded,
    b: Option<&Recorded>,
    oracle: Option<Option<&Recorded>>,
) {
    let (rows, _) = a.values.shape();
    sum.weights = a.weights;
    sum.masked = a.mask.is_some();
    let judged_b = b.and_then(|b| b.judged.as_ref());
    let by_statistics = judged_b.and_then(|j| j.statistical.clone());
    join(&mut sum.a_local, a.judged.as_ref().map(|j| &j.local));
    join(&mut sum.b_local, judged_b.filter(|_| by_statistics.is_none()).map(|j| &j.local));
    sum.statistical.extend(by_statistics);
    sum.idle = a.judged.as_ref().or(judged_b).and_then(|j| j.idle);
    sum.paired |= b.is_some();
    for judged in [a.judged.as_ref(), judged_b].into_iter().flatten() {
        sum.covers.extend(judged.covers.iter().copied());
    }
    sum.inputs = b.filter(|b| !b.inputs.is_empty()).unwrap_or(a).inputs.clone();
    let same = |x: &&Recorded| x.values.shape() == a.values.shape();
    let profiled = profiled || STREAM.contains(&a.site.point);
    let group = Group { heads, profiled, a, b: b.filter(same), oracle: oracle.map(|o| o.filter(same)) };
    let isa = Isa::detect();
    let one = |t: usize| isa.run(Position { group: &group, t });
    team::map(rows, one).into_iter().for_each(|later| sum.sums.merge(later));
}
