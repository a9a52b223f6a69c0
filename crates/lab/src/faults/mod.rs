//! A benchmark of finding faults: real kinds of mistakes are planted at several severities, layers and models; faithful runs
//! and harmless changes go beside them. Replay and the rules of other tools are asked what they see.
//!
//! A fault counts as above the limit if it moves an element by [`ABOVE`] times what replay convicts there, on the inputs of
//! the run without it. That is worked out before anything is judged.

mod baselines;
mod classes;
mod controls;
mod models;
mod plan;
mod run;

use std::path::Path;

use rayon::prelude::*;
use twinpath_evidence::fault_bench::{ClassScore, DetectorScore, FaultBench, Rate, SCHEMA};

use crate::{LabError, Progress};
use baselines::BASELINES;
use plan::Fault;
use run::{Clean, Seen};

/// How far beyond what is convicted a fault must move an element to count as above the limit: rounding may take away up to
/// 8 standard deviations, half of what is convicted.
pub const ABOVE: f64 = 1.5;

/// Runs the benchmark on the models under `root`, the repository; random ones are written to `scratch`.
///
/// # Errors
/// When a model cannot be read or written.
pub fn bench(
    root: &Path,
    scratch: &Path,
    seed: u64,
    quick: bool,
    progress: Progress<'_>,
) -> Result<FaultBench, LabError> {
    let models = models::all(root, scratch, seed, quick)?;
    let mut total = Total::new();
    let names = models.iter().map(|m| m.name.clone()).collect();
    let parts = models.len() as u64 * 100;
    for (i, named) in models.iter().enumerate() {
        let mut done = |share: f64| progress(i as u64 * 100 + (share * 100.0) as u64, parts);
        for clean in run::cleans(named, seed, quick)? {
            let faults = plan::faults(named, &clean, seed ^ i as u64, quick)?;
            for (n, piece) in faults.chunks(PIECE).enumerate() {
                done((n * PIECE) as f64 / faults.len() as f64);
                let seen: Result<Vec<Seen>, LabError> =
                    piece.par_iter().map(|f| run::faulty(named, &clean, f)).collect();
                piece.iter().zip(seen?).for_each(|(fault, seen)| total.add(named, &clean, fault, &seen));
            }
        }
        total.controls(controls::all(named, root, seed, quick)?);
    }
    progress(parts, parts);
    Ok(total.finish(seed, quick, names))
}

/// Faults between two looks at the progress.
const PIECE: usize = 16;

/// What is counted.
struct Total {
    detectors: Vec<DetectorScore>,
    classes: Vec<ClassScore>,
    controls: Vec<twinpath_evidence::fault_bench::ControlScore>,
    below: std::collections::BTreeMap<String, u64>,
}

impl Total {
    fn new() -> Total {
        let score = |name: &str, rule: &str| DetectorScore {
            name: name.to_owned(),
            rule: rule.to_owned(),
            detected: Rate::default(),
            exact: Rate::default(),
            layer: Rate::default(),
            top3: Rate::default(),
            named: Rate::default(),
            false_positives: Rate::default(),
            interval: None,
        };
        let class = |c: &classes::Class| ClassScore {
            class: c.name.to_owned(),
            suspect: c.suspect.map(str::to_owned),
            planted: 0,
            detected: Rate::default(),
            exact: Rate::default(),
            named: Rate::default(),
            misses: Vec::new(),
        };
        let own = score("twinpath", "residual to the declared arithmetic on the recorded inputs beyond its tolerance");
        let rules = BASELINES.iter().map(|b| score(b.name, b.rule));
        Total {
            detectors: [own].into_iter().chain(rules).collect(),
            classes: plan::classes().map(class).collect(),
            controls: Vec::new(),
            below: std::collections::BTreeMap::new(),
        }
    }

    fn add(&mut self, named: &models::Named, clean: &Clean, fault: &Fault, seen: &Seen) {
        let class = &mut self.classes[fault.class];
        class.planted += 1;
        if fault.effect <= ABOVE {
            *self.below.entry(seen.word.clone()).or_default() += 1;
            return;
        }
        for (i, (score, flagged)) in self.detectors.iter_mut().zip(&seen.flagged).enumerate() {
            let new: Vec<_> = flagged.iter().filter(|site| !clean.flagged[i].contains(site)).collect();
            score.detected.add(!new.is_empty());
            score.exact.add(new.first() == Some(&&fault.first));
            score.layer.add(new.first().is_some_and(|site| site.layer == fault.first.layer));
            score.top3.add(new.iter().take(3).any(|site| **site == fault.first));
            if class.suspect.is_some() {
                score.named.add(i == 0 && seen.named.as_ref().map(|n| &n.0) == class.suspect.as_ref());
            }
        }
        let own = &seen.flagged[0];
        class.detected.add(!own.is_empty());
        class.exact.add(own.first() == Some(&fault.first));
        let right = class.suspect.is_none() || seen.named.as_ref().map(|n| &n.0) == class.suspect.as_ref();
        if class.suspect.is_some() {
            class.named.add(right);
        }
        if own.first() != Some(&fault.first) || !right {
            let what = match (&seen.named, own.first()) {
                (_, None) => "not detected".to_owned(),
                (Some((suspect, parameter)), Some(site)) => format!("{suspect} ({parameter}) first at {site}"),
                (None, Some(site)) => format!("none of the known mistakes, first at {site}"),
            };
            let (model, parameter, first, effect) = (&named.name, &fault.parameter, fault.first, fault.effect);
            class.misses.push(format!("{model} {}, {parameter}, {first} ({effect:.1}): {what}", clean.path));
        }
    }

    fn controls(&mut self, found: Vec<controls::Found>) {
        for control in found {
            let mine = |c: &&mut twinpath_evidence::fault_bench::ControlScore| c.control == control.name;
            for (score, rate) in self.detectors.iter_mut().zip(&control.flagged) {
                score.false_positives.merge(*rate);
            }
            let blamed = control.flagged.first().copied().unwrap_or_default();
            match self.controls.iter_mut().find(mine) {
                Some(score) => {
                    score.runs += 1;
                    score.blamed.merge(blamed);
                }
                None => self.controls.push(twinpath_evidence::fault_bench::ControlScore {
                    control: control.name.to_owned(),
                    runs: 1,
                    blamed,
                }),
            }
        }
    }

    fn finish(mut self, seed: u64, quick: bool, models: Vec<String>) -> FaultBench {
        self.detectors.iter_mut().for_each(|d| d.interval = d.false_positives.interval());
        FaultBench {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            quick,
            above: ABOVE,
            models,
            detectors: self.detectors,
            classes: self.classes,
            controls: self.controls,
            below: self.below.into_iter().collect(),
        }
    }
}
