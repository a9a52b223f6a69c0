//! Two paths in lockstep: both sides run the same stage, their values are compared site by site, and only the drift is
//! kept. Memory is that of one layer's activations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use twinpath_engine::{Config, Model, Oracle, Point, Site};
use twinpath_evidence::comparison::SCHEMA;
use twinpath_evidence::{
    Comparison, DriftSum, FileId, LogitSum, Outcome, Positions, Provenance, Scope, SiteRecord, StatsSum,
    Values as Covered, Warning,
};

use crate::Progress;
use crate::error::LabError;
pub use crate::party::Party;
use crate::side::{Cells, ModelSide, Recorded, Side, stages};
use twinpath_formats::Matrix;
use twinpath_paths::simd::Isa;

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
    /// Hash the model files into the record.
    pub hash: bool,
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
    let mut reference = reference.map(|model| ModelSide::new(model, &oracle, tokens));
    let (mut side_a, mut side_b) = (a.side(tokens), b.side(tokens));
    let mut walk = Lockstep { config: a.config(), sums: BTreeMap::new(), only_in_b: Vec::new() };
    let stages = stages(a.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        let (from_a, from_b) = (side_a.stage(stage)?, side_b.stage(stage)?);
        let from_oracle = reference.as_mut().map(|o| o.stage(stage)).transpose()?;
        walk.add(&from_a, &from_b, from_oracle.as_deref());
    }
    progress(stages.len() as u64, stages.len() as u64);
    walk.fill(&mut record, tokens.len());
    Ok(record)
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
    warnings.dedup();
    Ok(Comparison {
        schema: SCHEMA,
        provenance: provenance(&[a, b], options.hash)?,
        a: a.info(),
        b: b.info(),
        oracle: None,
        tokens: tokens.to_vec(),
        sites: Vec::new(),
        logits: None,
        a_oracle_logits: None,
        b_oracle_logits: None,
        warnings,
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
    // A tied head is the same matrix under another name.
    fn stored<'m>(model: &'m Model, name: &str) -> Matrix<'m> {
        if name == "output.weight" { model.head().weight } else { model.matrix(name) }
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

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// What is accumulated at one site.
#[derive(Default)]
struct SiteSum {
    weights: Option<&'static str>,
    masked: bool,
    a: StatsSum,
    b: StatsSum,
    drift: DriftSum,
    a_oracle: DriftSum,
    b_oracle: DriftSum,
    logits: LogitSum,
    a_oracle_logits: LogitSum,
    b_oracle_logits: LogitSum,
}

/// The comparison as it grows, stage by stage.
struct Lockstep<'c> {
    config: &'c Config,
    sums: BTreeMap<Site, SiteSum>,
    only_in_b: Vec<Site>,
}

impl Lockstep<'_> {
    fn add(&mut self, a: &[Recorded], b: &[Recorded], oracle: Option<&[Recorded]>) {
        let at = |side: &[Recorded], site| side.iter().position(|r| r.site == site);
        let mut work: Vec<(SiteSum, &Recorded)> =
            a.iter().map(|a| (self.sums.remove(&a.site).unwrap_or_default(), a)).collect();
        work.par_iter_mut().for_each(|(sum, a)| {
            let b = at(b, a.site).map(|i| &b[i]);
            let oracle = oracle.map(|o| at(o, a.site).map(|i| &o[i]));
            add_site(sum, self.config.heads, a, b, oracle);
        });
        self.sums.extend(work.into_iter().map(|(sum, a)| (a.site, sum)));
        self.only_in_b.extend(b.iter().map(|r| r.site).filter(|site| at(a, *site).is_none()));
    }

    fn fill(self, record: &mut Comparison, tokens: usize) {
        let oracle = record.oracle.is_some();
        for (site, sum) in self.sums {
            let values = if sum.masked { Covered::AdmittedKeys } else { Covered::All };
            let scope = Scope { site: site.to_string(), positions: Positions::new(0, tokens), values };
            record.sites.push(SiteRecord {
                site: site.to_string(),
                layer: site.layer,
                point: site.point.name().to_owned(),
                weights: sum.weights.map(str::to_owned),
                a: sum.a.finish(scope.clone()),
                b: sum.b.finish(scope),
                drift: sum.drift.finish(),
                a_oracle: oracle.then(|| sum.a_oracle.finish()),
                b_oracle: oracle.then(|| sum.b_oracle.finish()),
            });
            if site.point == Point::Logits {
                record.logits = sum.logits.finish();
                record.a_oracle_logits = sum.a_oracle_logits.finish();
                record.b_oracle_logits = sum.b_oracle_logits.finish();
            }
        }
        let unpaired: BTreeSet<String> = self.only_in_b.iter().map(|s| format!("{s}: recorded in B only")).collect();
        record.outcome = Outcome::of(&record.sites).and(unpaired.into_iter().collect());
    }
}

/// `oracle` is absent where it does not run, and `Some(None)` where it has no such site.
fn add_site(sum: &mut SiteSum, heads: usize, a: &Recorded, b: Option<&Recorded>, oracle: Option<Option<&Recorded>>) {
    let (rows, _) = a.values.shape();
    sum.weights = a.weights;
    sum.masked = a.mask.is_some();
    let (mut row_a, mut row_b, mut row_o) = (Vec::new(), Vec::new(), Vec::new());
    for t in 0..rows {
        let position = a.first_row + t;
        let cells = Cells::of(a, heads, position);
        cells.read(a, t, &mut row_a);
        sum.a.add(&row_a);
        let channel = |i| cells.channel(i);
        let has_b = b.is_some_and(|b| b.values.shape() == a.values.shape());
        if let (true, Some(b)) = (has_b, b) {
            cells.read(b, t, &mut row_b);
            sum.b.add(&row_b);
            sum.drift.add(position, &row_b, &row_a, channel);
        } else {
            sum.drift.add_missing(row_a.len() as u64);
        }
        match oracle {
            None => {}
            Some(Some(o)) if o.values.shape() == a.values.shape() => {
                cells.read(o, t, &mut row_o);
                sum.a_oracle.add(position, &row_a, &row_o, channel);
                if has_b {
                    sum.b_oracle.add(position, &row_b, &row_o, channel);
                }
            }
            Some(_) => sum.a_oracle.add_missing(row_a.len() as u64),
        }
        if a.site.point == Point::Logits && has_b {
            sum.logits.add(position, &row_b, &row_a);
            if !row_o.is_empty() {
                sum.a_oracle_logits.add(position, &row_a, &row_o);
                sum.b_oracle_logits.add(position, &row_b, &row_o);
            }
        }
    }
}
