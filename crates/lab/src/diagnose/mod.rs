//! Which known mistake explains what arithmetic does not.
//!
//! A's model is believed. B is run, or read from a recording; its values stand in for A's, so that each op of A's model is
//! judged on the inputs that B had there ([`RecordedSide`]). At a site that is unexplained every suspect of the catalogue is
//! tried (`follow`): does the residual vanish with its mistake in it? Suspects that explain most sites are named (`name`).

mod follow;
mod name;

pub(crate) use follow::scenes;

use std::collections::BTreeMap;

use twinpath_engine::Site;
use twinpath_evidence::diagnosis::SCHEMA;
use twinpath_evidence::{Diagnosis, Outcome, SiteDiagnosis, Verdict, Warning};
use twinpath_paths::Path;
use twinpath_paths::declared::foreign::Engine;

use crate::change::{Change, Planted};
use crate::compare::{declared, different_weights, provenance};
use crate::judge::Replay;
use crate::party::Party;
use crate::recorded::{Arithmetic, Hearing, RecordedSide};
use crate::side::{Side, stages};
use crate::suspects::{SUSPECTS, Scene, Suspect};
use crate::trace::Trace;
use crate::{LabError, Progress};
use follow::Sites;

/// How to diagnose.
#[derive(Debug, Clone, Copy)]
pub struct DiagnoseOptions {
    /// Chance of a false alarm in a run of faithful arithmetic.
    pub alpha: f64,
    /// Hash the files into the record.
    pub hash: bool,
    /// Suspects kept of those tried at a site.
    pub keep: usize,
}

/// Judges B's values by A's model, and tries every suspect where they are unexplained.
///
/// # Errors
/// When A is no model, the tokens do not fit it, or B cannot be read.
pub fn diagnose(
    a: &Party<'_>,
    b: &Party<'_>,
    tokens: &[u32],
    options: DiagnoseOptions,
    progress: Progress<'_>,
) -> Result<Diagnosis, LabError> {
    let model = a.model().ok_or_else(|| LabError::NoModel { label: a.label.clone() })?;
    // B's arithmetic is that of its path, if it is one of ours; else A's; else plain f32.
    let own = declared(b).or_else(|| declared(a)).unwrap_or_else(|| Box::new(twinpath_paths::Standalone::new()));
    let engine = b.trace().and_then(Trace::engine);
    let mut record = Diagnosis {
        schema: SCHEMA,
        provenance: provenance(&[a, b], options.hash)?,
        a: a.info(),
        b: b.info(),
        path: engine.map_or_else(|| own.name().to_owned(), Engine::describe),
        tokens: tokens.to_vec(),
        counts: Vec::new(),
        first_unexplained: None,
        named: Vec::new(),
        unnamed: Vec::new(),
        sites: Vec::new(),
        alpha: options.alpha,
        warnings: Vec::new(),
        outcome: Outcome::Measured,
    };
    let mismatch = a.config().difference(b.config()).or_else(|| b.misses(tokens));
    let held = b.positions(tokens.len());
    let mismatch = mismatch.or_else(|| {
        let part = held != (0..tokens.len());
        part.then(|| {
            format!("{} holds positions {}..{} of {}: record all tokens", b.label, held.start, held.end, tokens.len())
        })
    });
    if let Some(reason) = mismatch {
        record.outcome = Outcome::Incomparable { reason };
        return Ok(record);
    }
    if let Some(tensors) = b.model().map(|b| different_weights(model, b)).filter(|t| !t.is_empty()) {
        record.warnings.push(Warning::DifferentWeights { tensors });
    }
    for model in [a.model(), b.model()].into_iter().flatten() {
        model.check_tokens(tokens, 0)?;
    }
    let (alpha, sites, positions) = (options.alpha, count(a), tokens.len());
    let arithmetic = match engine {
        Some(engine) => Arithmetic::Engine(Hearing { engine, other: None, alpha, sites, positions }),
        None => {
            Arithmetic::Path(Replay { own: own.as_ref(), other: None, alpha, sites, positions, statistical: false })
        }
    };
    let mut found = Sites::new(model);
    let mut side = RecordedSide::new(model, b.side(tokens, None), tokens, arithmetic).before(&mut found);
    let stages = stages(model.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        side.stage(stage)?;
    }
    drop(side);
    progress(stages.len() as u64, stages.len() as u64);
    fill(&mut record, found.finish(), options.keep);
    Ok(record)
}

/// Values of a run, for the share of its chance of a false alarm.
fn count(a: &Party<'_>) -> usize {
    3 + (twinpath_engine::site::POINTS.len() - 3) * a.config().layers
}

fn fill(record: &mut Diagnosis, sites: Vec<(Site, SiteDiagnosis)>, keep: usize) {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    sites.iter().for_each(|(_, s)| *counts.entry((s.verdict.rank(), s.verdict.word())).or_default() += 1);
    record.counts = counts.into_iter().map(|((_, word), n)| (word.to_owned(), n)).collect();
    let unexplained = |s: &&(Site, SiteDiagnosis)| matches!(s.1.verdict, Verdict::Unexplained { .. });
    record.first_unexplained = sites.iter().find(unexplained).map(|(_, s)| s.site.clone());
    let reason = |(site, s): &(Site, SiteDiagnosis)| match &s.verdict {
        Verdict::Inconclusive { reason } => Some(format!("{site}: {reason}")),
        _ => None,
    };
    let reasons: Vec<String> = sites.iter().filter_map(reason).collect();
    if !reasons.is_empty() {
        record.outcome = Outcome::Inconclusive { reasons };
    }
    (record.named, record.unnamed) = name::name(&sites);
    record.sites = sites.into_iter().map(|(_, s)| s).collect();
    record.sites.iter_mut().for_each(|s| s.tried.truncate(keep));
}

/// Where and how to plant a mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Plant {
    /// The suspect.
    pub suspect: String,
    /// Its parameter; none: the first one that there is.
    pub parameter: Option<String>,
    /// The site, or a point in every layer; none: wherever it can be made.
    pub place: Option<String>,
}

impl Plant {
    /// Parses `NAME[=PARAMETER][@SITE]`.
    pub fn parse(text: &str) -> Plant {
        let (rest, place) = match text.rsplit_once('@') {
            Some((rest, place)) => (rest, Some(place.to_owned())),
            None => (text, None),
        };
        match rest.split_once('=') {
            Some((name, parameter)) => Plant { suspect: name.to_owned(), parameter: Some(parameter.to_owned()), place },
            None => Plant { suspect: rest.to_owned(), parameter: None, place },
        }
    }

    /// `path` with the mistake in it, for runs of `party`'s model.
    ///
    /// # Errors
    /// When there is no such suspect, or it cannot be made anywhere in this model that was asked for.
    pub fn plant(&self, party: &Party<'_>, path: Box<dyn Path>, tokens: &[u32]) -> Result<Planted, LabError> {
        let suspect = Suspect::find(&self.suspect).ok_or_else(|| LabError::UnknownSuspect {
            name: self.suspect.clone(),
            known: SUSPECTS.iter().map(|s| s.name).collect::<Vec<_>>().join(", "),
        })?;
        let model = party.model().ok_or_else(|| LabError::NoModel { label: party.label.clone() })?;
        let mut changes: BTreeMap<Site, Change> = BTreeMap::new();
        let mut parameters: Vec<String> = Vec::new();
        let mut at = |site: Site, scene: &Scene<'_>| {
            let asked = |place: &String| *place == site.to_string() || place == site.point.name();
            if !self.place.as_ref().is_none_or(asked) {
                return;
            }
            let mut all = suspect.changes(scene);
            parameters.extend(all.iter().map(|c| c.parameter.clone()));
            let wanted = |c: &Change| self.parameter.as_ref().is_none_or(|p| *p == c.parameter);
            if let Some(i) = all.iter().position(wanted) {
                changes.insert(site, all.swap_remove(i));
            }
        };
        scenes(model, path.as_ref(), tokens, &mut at)?;
        if changes.is_empty() {
            parameters.sort();
            parameters.dedup();
            return Err(LabError::NothingToPlant { suspect: suspect.name, known: parameters });
        }
        Ok(Planted::new(path, changes))
    }
}
