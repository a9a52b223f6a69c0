//! Two paths in lockstep: both sides run the same stage, their values are compared site by site, and only the drift is
//! kept. Memory is that of one layer's activations.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use twinpath_engine::site::POINTS;
use twinpath_engine::{Model, Oracle};
use twinpath_evidence::comparison::SCHEMA;
use twinpath_evidence::{
    Comparison, Coverage, FileId, Judgement, Outcome, Positions, Provenance, SiteRecord, Verdict, Warning,
};

use crate::Progress;
use crate::beside::{Desk, Role};
use crate::error::LabError;
use crate::judge::Replay;
use crate::layers::Splitter;
use crate::lockstep::Lockstep;
pub use crate::party::Party;
use crate::party::{cut, positions};
use crate::recorded::{Arithmetic, Hearing};
use crate::side::{ModelSide, Side, stages};
use crate::spec::ORACLE;
use crate::trace::Trace;
use twinpath_formats::Matrix;
use twinpath_paths::simd::Isa;
use twinpath_paths::{Path as ArithmeticPath, Standalone};

/// Whether the f64 oracle runs along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OracleChoice {
    /// Where it is estimated to take less than a minute.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What to run along with the two sides.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// The f64 oracle.
    pub oracle: OracleChoice,
    /// Each layer of A on B's input as well, which splits the drift layer by layer: one forward pass. `Auto` does where the
    /// oracle, too, would be quick.
    pub layers: OracleChoice,
    /// Hash the model files into the record.
    pub hash: bool,
    /// Replay every op of every path on its own inputs and judge it, with this chance of a false alarm in the whole run.
    pub replay: Option<f64>,
    /// Judge B's linear ops by the statistics of rounding instead, as if how their activations were coded were not known.
    pub statistical: bool,
}

/// Runs both sides over `tokens` and compares every value of every layer.
///
/// # Errors
/// When the tokens do not fit a model. Sides of unequal shape, tokens or positions are no error: the outcome says
/// `Incomparable`.
pub fn compare(
    a: &Party<'_>,
    b: &Party<'_>,
    tokens: &[u32],
    options: CompareOptions,
    progress: Progress<'_>,
) -> Result<Comparison, LabError> {
    let mut record = blank(a, b, tokens, options)?;
    let mismatch = a.config().difference(b.config()).or_else(|| a.misses(tokens)).or_else(|| b.misses(tokens));
    if let Some(reason) = mismatch {
        record.outcome = Outcome::Incomparable { reason };
        return Ok(record);
    }
    let positions = match positions(a, b, tokens.len()) {
        Ok(positions) => positions,
        Err(reason) => {
            record.outcome = Outcome::Incomparable { reason };
            return Ok(record);
        }
    };
    let whole = positions == (0..tokens.len());
    if let (Some(a), Some(b)) = (a.model(), b.model()) {
        let different = different_weights(a, b);
        if !different.is_empty() {
            record.warnings.push(Warning::DifferentWeights { tensors: different });
        }
    }
    let reference = match a.model().or(b.model()) {
        Some(model) if wants_oracle(model, tokens.len(), options.oracle, &mut record.warnings) => Some(model),
        _ => None,
    };
    for model in [a.model(), b.model()].into_iter().flatten() {
        model.check_tokens(tokens, 0)?;
    }
    record.oracle = reference.map(|model| model.path().display().to_string());
    let oracle = Oracle;
    let exact = |model| cut(Box::new(ModelSide::new(model, &oracle, tokens)), &positions, tokens.len());
    let mut reference = reference.map(exact);
    let (declared_a, declared_b) = (declared(a), declared(b));
    let alpha = options.replay;
    let files = &record.provenance.files;
    let judged_a = alpha.and_then(|alpha| judged((a, declared_a.as_deref()), b, None, files, (alpha, tokens.len())));
    let judged_b = alpha
        .and_then(|alpha| judged((b, declared_b.as_deref()), a, declared_a.as_deref(), files, (alpha, tokens.len())));
    let judged_b = judged_b.map(|judged| judged.statistical(options.statistical));
    let desk = Desk::default();
    let [mut side_a, mut side_b] = match together([(a, judged_a), (b, judged_b)], whole) {
        Some(seats) => seats.map(|seat| -> Box<dyn Side> {
            let side = ModelSide::new(seat.model, seat.path, tokens);
            Box::new(side.replayed(Some(seat.replay)).beside(seat.role, &desk))
        }),
        None => [(a, b, judged_a), (b, a, judged_b)]
            .map(|(side, beside, judged)| side.judged_side(beside.model(), (tokens, &positions), judged)),
    };
    let unjudged = [(a, judged_a), (b, judged_b)].map(|(party, judged)| party.trace().is_some() && judged.is_none());
    let mut walk = Lockstep::new(a.config(), unjudged, tokens.len());
    let splits = whole && splits_layers(a, tokens.len(), options.layers);
    let mut layers = if splits { Splitter::new(a) } else { None };
    let stages = stages(a.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        let (mut from_a, from_b) = (side_a.stage(stage)?, side_b.stage(stage)?);
        desk.hand_out(&mut from_a);
        let from_oracle = reference.as_mut().map(|o| o.stage(stage)).transpose()?;
        walk.add(&from_a, &from_b, from_oracle.as_deref());
        if let Some(layers) = &mut layers {
            layers.add(stage, &from_a, &from_b);
        }
    }
    progress(stages.len() as u64, stages.len() as u64);
    walk.fill(&mut record, Positions::new(positions.start, positions.len()));
    record.layers = layers.as_ref().and_then(Splitter::finish);
    for trace in [a, b].into_iter().filter_map(Party::trace).filter(|trace| trace.engine().is_some()) {
        record.coverage = Some(coverage(trace, &record.sites));
    }
    if let Some(alpha) = options.replay {
        let twice = judged_b.is_some() && declared_a.is_some();
        let ran = [record.oracle.is_some(), judged_a.is_some(), judged_b.is_some(), twice, layers.is_some()];
        let passes = 2 + ran.into_iter().filter(|ran| *ran).count();
        record.judgement = Judgement::of(&record.sites, alpha, passes as f64);
    }
    Ok(record)
}

/// How `party` is judged: a model along a path, a recording of one with the same file beside it, or a recording of another
/// engine with any model beside it. `own` declares its arithmetic, `other` that of the other side.
fn judged<'m>(
    (party, own): (&Party<'m>, Option<&'m dyn ArithmeticPath>),
    beside: &Party<'m>,
    other: Option<&'m dyn ArithmeticPath>,
    files: &[FileId],
    (alpha, positions): (f64, usize),
) -> Option<Arithmetic<'m>> {
    let inner = POINTS.len() - 3;
    let sites = 2 * (3 + inner * party.config().layers);
    let replay = |own| Arithmetic::Path(Replay { own, other, alpha, sites, positions, statistical: false });
    let Some(trace) = party.trace() else { return party.path().map(replay) };
    let model = beside.model()?;
    if let Some(engine) = trace.engine() {
        return Some(Arithmetic::Engine(Hearing { engine, other, alpha, sites, positions }));
    }
    let shown: Vec<String> = model.file().paths().iter().map(|path| path.display().to_string()).collect();
    let hash = |file: &FileId| file.blake3.clone();
    let beside: Vec<Option<String>> = files.iter().filter(|f| shown.contains(&f.path)).map(hash).collect();
    let made_from: Vec<Option<String>> = trace.header().provenance.files.iter().map(hash).collect();
    let same = !beside.is_empty() && beside == made_from && beside.iter().all(Option::is_some);
    (same && trace.is_whole()).then(|| own.map(replay)).flatten()
}

/// A side that is judged together with another.
struct Seat<'m> {
    model: &'m Model,
    path: &'m dyn ArithmeticPath,
    replay: Replay<'m>,
    role: Role<'m>,
}

/// Both sides, where the ops of one can be judged with those of the other: of one model along two paths.
fn together<'m>(
    [(a, judged_a), (b, judged_b)]: [(&Party<'m>, Option<Arithmetic<'m>>); 2],
    whole: bool,
) -> Option<[Seat<'m>; 2]> {
    let (Some(Arithmetic::Path(of_a)), Some(Arithmetic::Path(of_b)), true) = (judged_a, judged_b, whole) else {
        return None;
    };
    let (model, beside) = (a.model()?, b.model()?);
    let first = Seat { model, path: a.path()?, replay: of_a, role: Role::First };
    let second = Seat { model, path: b.path()?, replay: of_b, role: Role::Second(of_a) };
    std::ptr::eq(model, beside).then_some([first, second])
}

/// What the recording holds of the sites that were met.
fn coverage(trace: &Trace, sites: &[SiteRecord]) -> Coverage {
    let with = |s: &SiteRecord| s.covers.iter().map(|missing| (missing.clone(), s.site.clone())).collect::<Vec<_>>();
    let judged_with: Vec<(String, String)> = sites.iter().flat_map(with).collect();
    let held: Vec<String> = trace.sites().map(|site| site.to_string()).collect();
    let lacks = |s: &&SiteRecord| !held.contains(&s.site);
    let unjudged: Vec<String> = sites.iter().filter(lacks).map(|s| s.site.clone()).collect();
    let says = |s: &&SiteRecord| {
        let silent = matches!(s.verdict, None | Some(Verdict::Inconclusive { .. } | Verdict::Incomparable { .. }));
        !silent && held.contains(&s.site)
    };
    // What two ops read may be judged with both.
    let missing: BTreeSet<&String> = sites.iter().flat_map(|s| &s.covers).collect();
    let judged: BTreeSet<&String> = sites.iter().filter(says).flat_map(|s| s.covers.iter().chain([&s.site])).collect();
    Coverage {
        recorded: sites.len() - unjudged.len(),
        expected: sites.len() + missing.len(),
        judged: judged.len(),
        judged_with,
        unjudged,
        notes: trace.notes().to_vec(),
    }
}

/// What declares the arithmetic of `party`: its path; for a recording the path that made it, if it is one of ours; for the
/// oracle one that reads activations as they are, whose declared arithmetic is the exact one.
pub(crate) fn declared(party: &Party<'_>) -> Option<Box<dyn ArithmeticPath>> {
    let name = party.info().path;
    if name == ORACLE { Some(Box::new(Standalone::new())) } else { twinpath_paths::path(&name) }
}

fn wants_oracle(model: &Model, tokens: usize, choice: OracleChoice, warnings: &mut Vec<Warning>) -> bool {
    match choice {
        OracleChoice::On => true,
        OracleChoice::Off => false,
        OracleChoice::Auto => {
            let seconds = oracle_seconds(model, tokens);
            if seconds >= ORACLE_PATIENCE {
                warnings.push(Warning::OracleSkipped { seconds });
            }
            seconds < ORACLE_PATIENCE
        }
    }
}

fn splits_layers(a: &Party<'_>, tokens: usize, choice: OracleChoice) -> bool {
    match choice {
        OracleChoice::On => true,
        OracleChoice::Off => false,
        OracleChoice::Auto => a.model().is_some_and(|model| oracle_seconds(model, tokens) < ORACLE_PATIENCE),
    }
}

/// Seconds below which the oracle runs unasked.
const ORACLE_PATIENCE: u64 = 60;

/// Estimated seconds of an oracle pass on this machine's threads: per weight one decode and one multiply-add for each
/// position, at the rates measured on one Zen 4 core (2 ns and 0.4 ns). Only the default of an option rests on it.
fn oracle_seconds(model: &Model, tokens: usize) -> u64 {
    let weights: f64 = model.matrix_names().map(|n| model.matrix(n)).map(|m| m.rows() as f64 * m.cols() as f64).sum();
    let threads = rayon::current_num_threads() as f64;
    (weights * (2.0 + 0.4 * tokens as f64) / threads / 1e9).ceil() as u64
}

fn blank(a: &Party<'_>, b: &Party<'_>, tokens: &[u32], options: CompareOptions) -> Result<Comparison, LabError> {
    let mut warnings = Vec::new();
    for model in [a.model(), b.model()].into_iter().flatten() {
        let file = model.path().display().to_string();
        let doubts = model.warnings().iter();
        warnings.extend(doubts.map(|doubt| Warning::File { file: file.clone(), doubt: doubt.clone() }));
    }
    if tokens.len() == 1 {
        warnings.push(Warning::SinglePosition);
    }
    let windows = a.config().windows.iter().flatten().filter(|w| **w >= tokens.len());
    warnings.extend(windows.max().map(|w| Warning::WindowIdle { window: *w }));
    warnings.dedup();
    Ok(Comparison {
        schema: SCHEMA,
        provenance: provenance(&[a, b], options.hash)?,
        a: a.info(),
        b: b.info(),
        oracle: None,
        tokens: tokens.to_vec(),
        sites: Vec::new(),
        layers: None,
        logits: None,
        a_oracle_logits: None,
        b_oracle_logits: None,
        budget: None,
        profiles: Vec::new(),
        peaks: Vec::new(),
        warnings,
        judgement: None,
        coverage: None,
        null: None,
        outcome: Outcome::of(&[]),
    })
}

/// What made a record: version, processor, and the files of its sides.
///
/// # Errors
/// When a file can no longer be read.
pub fn provenance(parties: &[&Party<'_>], hash: bool) -> Result<Provenance, LabError> {
    let mut files: Vec<FileId> = Vec::new();
    for path in parties.iter().flat_map(|p| p.files()).filter(|p| !p.is_dir()) {
        let shown = path.display().to_string();
        if files.iter().all(|f| f.path != shown) {
            files.push(identify(path, hash)?);
        }
    }
    let cpu = format!("{} {}", std::env::consts::ARCH, Isa::detect().name());
    Ok(Provenance { version: env!("CARGO_PKG_VERSION").to_owned(), cpu, files })
}

fn identify(path: &Path, hash: bool) -> Result<FileId, LabError> {
    let io = |source| LabError::Io { file: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    let blake3 = if hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap_rayon(path).map_err(io)?;
        Some(hasher.finalize().to_hex().to_string())
    } else {
        None
    };
    Ok(FileId { path: path.display().to_string(), bytes, blake3 })
}

/// Names of tensors whose stored values differ between two models of one shape.
pub fn different_weights(a: &Model, b: &Model) -> Vec<String> {
    if same_file(a.path(), b.path()) {
        return Vec::new();
    }
    let mut names: Vec<&str> = a.matrix_names().chain(b.matrix_names()).collect();
    names.sort_unstable();
    names.dedup();
    let matrices = names.par_iter().filter(|name| {
        let (a, b) = (stored(a, name), stored(b, name));
        a.tensor_type() != b.tensor_type() || a.bytes() != b.bytes()
    });
    let mut different: Vec<String> = matrices.map(|name| (*name).to_owned()).collect();
    let vectors = a
        .vectors()
        .zip(b.vectors())
        .filter(|((_, a), (_, b))| a.iter().zip(*b).any(|(a, b)| a.to_bits() != b.to_bits()));
    different.extend(vectors.map(|((name, _), _)| name.to_owned()));
    different
}

/// A matrix by its name; a tied head is the embedding under another name.
pub(crate) fn stored<'m>(model: &'m Model, name: &str) -> Matrix<'m> {
    if name == "output.weight" { model.head().weight } else { model.matrix(name) }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
