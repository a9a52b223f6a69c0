//! Runs with and without a fault, and what each detector flags in them.

use std::collections::BTreeMap;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Elem, Model, Numerics, Op, Oracle, Probe, Rows, Session, Site, Tensor};
use twinpath_evidence::{Diagnosis, Verdict};
use twinpath_paths::{Path, path};

use super::baselines::{BASELINES, Legs};
use super::models::Named;
use super::plan::{self, Fault};
use crate::change::{Change, Planted};
use crate::diagnose::{DiagnoseOptions, diagnose, scenes};
use crate::party::Source;
use crate::{Arithmetic, LabError, Party};

/// Chance of a false alarm in a run.
pub(super) const ALPHA: f64 = 1e-3;
const OPTIONS: DiagnoseOptions = DiagnoseOptions { alpha: ALPHA, hash: false, keep: usize::MAX };

/// Values of a run, in execution order.
pub(super) type Run = BTreeMap<Site, Vec<f64>>;

/// A run without a fault, with all that rules may look at.
pub(super) struct Clean {
    /// The name of its path.
    pub(super) path: &'static str,
    /// Its input.
    pub(super) tokens: Vec<u32>,
    reference: Run,
    exact: Run,
    noise: Run,
    layers: usize,
    /// What each detector flags in it: replay, then the rules.
    pub(super) flagged: Vec<Vec<Site>>,
}

impl Clean {
    /// The path itself.
    pub(super) fn path(&self) -> Box<dyn Path> {
        path(self.path).unwrap_or_else(|| unreachable!("{} is a path", self.path))
    }

    /// Sites of a run, for the share of its chance of a false alarm.
    pub(super) fn sites(&self) -> usize {
        3 + (twinpath_engine::site::POINTS.len() - 3) * self.layers
    }

    /// Sites that it has.
    pub(super) fn sites_seen(&self) -> usize {
        self.noise.len()
    }

    /// What each rule flags of a run.
    pub(super) fn rules(&self, target: &Run) -> Vec<Vec<Site>> {
        let epsilon = if self.path == "standalone" { 1.0 / (1u64 << 24) as f64 } else { 1.0 / 254.0 };
        let legs: Vec<Legs<'_>> = (target.iter())
            .filter_map(|(site, target)| {
                let (reference, exact, noise) =
                    (self.reference.get(site)?, self.exact.get(site)?, self.noise.get(site)?);
                Some(Legs { site: *site, layers: self.layers, epsilon, target, reference, exact, noise })
            })
            .collect();
        let of = |flags: Vec<bool>| legs.iter().zip(flags).filter(|(_, f)| *f).map(|(l, _)| l.site).collect();
        BASELINES.iter().map(|b| of((b.flags)(&legs))).collect()
    }
}

/// What was seen of a faulty run.
pub(super) struct Seen {
    /// What each detector flags: replay, then the rules.
    pub(super) flagged: Vec<Vec<Site>>,
    /// The first mistake that was named, with its parameter.
    pub(super) named: Option<(String, String)>,
    /// What replay says of the fault's site.
    pub(super) word: String,
}

/// Runs without a fault of one model: along `standalone` if its weights are plain, along `fused-q8k` and `standalone` if they
/// are packed.
pub(super) fn cleans(named: &Named, seed: u64, quick: bool) -> Result<Vec<Clean>, LabError> {
    let paths: &[&'static str] = match (named.packed, quick) {
        (false, _) => &["standalone"],
        (true, true) => &["fused-q8k"],
        (true, false) => &["fused-q8k", "standalone"],
    };
    paths.iter().map(|path| clean(named, path, prompt(&named.model, TOKENS, seed))).collect()
}

/// Tokens of a prompt: beyond the small models' window of 8.
const TOKENS: usize = 12;

/// Random tokens.
pub(super) fn prompt(model: &Model, length: usize, seed: u64) -> Vec<u32> {
    let mut rng = SplitMix64::new(seed);
    (0..length).map(|_| (rng.next_u64() % model.config().vocab as u64) as u32).collect()
}

/// A run without a fault. Its reference is exact where weights are plain, else `standalone`, which reads activations as they
/// are.
pub(super) fn clean(named: &Named, name: &'static str, tokens: Vec<u32>) -> Result<Clean, LabError> {
    let model = &named.model;
    let exact = values(model, &Oracle, &tokens)?;
    let own = path(name).unwrap_or_else(|| unreachable!("{name} is a path"));
    let noise = values(model, own.as_ref(), &tokens)?;
    let reference = match name {
        "standalone" => exact.clone(),
        _ => values(model, &twinpath_paths::Standalone::new(), &tokens)?,
    };
    let layers = model.config().layers;
    let mut clean = Clean { path: name, tokens, reference, exact, noise, layers, flagged: Vec::new() };
    let record = judged(model, own, clean.path(), &clean.tokens)?;
    clean.flagged = [vec![blamed(&record)], clean.rules(&clean.noise)].concat();
    Ok(clean)
}

/// The run with the fault.
pub(super) fn faulty(named: &Named, clean: &Clean, fault: &Fault) -> Result<Seen, LabError> {
    let model = &named.model;
    let mut changes: BTreeMap<Site, Change> = BTreeMap::new();
    scenes(model, clean.path().as_ref(), &clean.tokens, &mut |site, scene| {
        if fault.sites.contains(&site) {
            changes.extend(plan::change(fault.class, &fault.parameter, scene).map(|c| (site, c)));
        }
    })?;
    let planted = Planted::new(clean.path(), changes);
    let target = values(model, &planted, &clean.tokens)?;
    let record = judged(model, clean.path(), Box::new(planted), &clean.tokens)?;
    let first = fault.first.to_string();
    let word = record.sites.iter().find(|s| s.site == first).map_or("absent", |s| s.verdict.word()).to_owned();
    let named = record.named.iter().find(|n| n.equivalent.is_none()).map(|n| (n.suspect.clone(), n.parameter.clone()));
    Ok(Seen { flagged: [vec![blamed(&record)], clean.rules(&target)].concat(), named, word })
}

/// B along one path, judged by the model along another.
pub(super) fn judged(model: &Model, a: Box<dyn Path>, b: Box<dyn Path>, tokens: &[u32]) -> Result<Diagnosis, LabError> {
    let (a, b) = (Arithmetic::Path(a), Arithmetic::Path(b));
    between((model, &a), (model, &b), tokens)
}

/// One model along one arithmetic, judged by another.
pub(super) fn between(
    a: (&Model, &Arithmetic),
    b: (&Model, &Arithmetic),
    tokens: &[u32],
) -> Result<Diagnosis, LabError> {
    let party = |(model, arithmetic)| Party { label: String::new(), source: Source::Model(model, arithmetic) };
    diagnose(&party(a), &party(b), tokens, OPTIONS, &mut |_, _| {})
}

/// Sites that are unexplained and not merely laid out otherwise.
pub(super) fn blamed(record: &Diagnosis) -> Vec<Site> {
    let excused = |site: &String| record.named.iter().any(|n| n.equivalent.is_some() && n.sites.contains(site));
    let wrong = record.sites.iter().filter(|s| matches!(s.verdict, Verdict::Unexplained { .. }));
    wrong.filter(|s| !excused(&s.site)).filter_map(|s| s.site.parse().ok()).collect()
}

/// Every value of a run.
pub(super) fn values<N: Numerics + ?Sized>(model: &Model, numerics: &N, tokens: &[u32]) -> Result<Run, LabError> {
    struct Values(Run);
    impl<E: Elem> Probe<E> for Values {
        fn see(&mut self, site: Site, _: &Op<'_>, _: &[&Tensor<E>], value: &mut Tensor<E>) {
            self.0.insert(site, value.data().iter().map(|x| x.to_f64()).collect());
        }
    }
    let mut run = Values(Run::new());
    Session::new(model, numerics).forward(tokens, Rows::All, &mut run)?;
    Ok(run.0)
}
