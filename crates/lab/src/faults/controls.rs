//! Runs in which nothing is wrong: faithful ones, and changes that change nothing that matters.

use std::collections::BTreeMap;
use std::path::Path;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Model, Op, Point, Site};
use twinpath_evidence::fault_bench::Rate;
use twinpath_evidence::{Diagnosis, Verdict};
use twinpath_formats::{Matrix, Verify};
use twinpath_paths::simd::{Isa, Level};
use twinpath_paths::{FusedQ8k, Standalone};

use super::models::Named;
use super::run::{between, blamed, clean, judged, prompt};
use crate::change::{Change, Planted, rows};
use crate::diagnose::Plant;
use crate::party::Source;
use crate::{Arithmetic, LabError, Party};

/// One run in which nothing is wrong.
pub(super) struct Found {
    /// What it is.
    pub(super) name: &'static str,
    /// Sites flagged, of all: by replay, then by the rules, where they apply.
    pub(super) flagged: Vec<Rate>,
}

/// Lengths of prompts of faithful runs.
const LENGTHS: [usize; 4] = [2, 7, 12, 33];

/// Runs of one model.
pub(super) fn all(named: &Named, root: &Path, seed: u64, quick: bool) -> Result<Vec<Found>, LabError> {
    let mut found = Vec::new();
    let names: &[&'static str] =
        if named.packed { &["standalone", "fused-q8k", "fused-q8x32"] } else { &["standalone"] };
    let small = named.model.config().layers < 4;
    let (seeds, lengths) = if quick { (1, 2) } else { (if small { 5 } else { 1 }, LENGTHS.len()) };
    for name in names {
        for (i, length) in LENGTHS.iter().take(lengths).enumerate() {
            for s in 0..seeds {
                let tokens = prompt(&named.model, *length, seed.wrapping_add(1000 + 10 * s + i as u64));
                let clean = clean(named, name, tokens)?;
                let sites = clean.sites_seen() as u64;
                let flagged = clean.flagged.iter().map(|f| Rate { hits: f.len() as u64, of: sites }).collect();
                found.push(Found { name: "faithful runs", flagged });
            }
        }
    }
    found.push(other_kernels(&named.model, seed)?);
    found.extend(at_position_0(&named.model, seed)?);
    found.push(norm_twice(&named.model, seed)?);
    if !named.packed {
        // Packed rows are coded in blocks of neighbours, which another order of the channels changes.
        found.push(channels(&named.model, seed)?);
    }
    if named.name.starts_with(TWO_LAYOUTS) {
        found.push(layouts(&named.model, &root.join("testdata/tiny").join(TWO_LAYOUTS), seed)?);
    }
    Ok(found)
}

/// The portable kernels against the widest ones.
fn other_kernels(model: &Model, seed: u64) -> Result<Found, LabError> {
    let portable = Isa::new(Level::Portable).map_or_else(FusedQ8k::new, FusedQ8k::with_isa);
    let record = judged(model, Box::new(FusedQ8k::new()), Box::new(portable), &prompt(model, 7, seed))?;
    let flagged = vec![Rate { hits: blamed(&record).len() as u64, of: record.sites.len() as u64 }];
    Ok(Found { name: "kernels of another instruction set", flagged })
}

/// Mistakes that one token cannot show: the site must not be blamed, nor called right.
fn at_position_0(model: &Model, seed: u64) -> Result<Vec<Found>, LabError> {
    let mut found = Vec::new();
    for mistake in ["rope-pairing", "rope-theta", "rope-scaling=linear, factor 4", "window=window ignored"] {
        if mistake.starts_with("rope-scaling") && model.config().rope.magnitude != 1.0 {
            continue; // YaRN's factor on cos and sin goes with the scaling, and shows at every position
        }
        let record = planted(model, mistake, &prompt(model, 1, seed))?;
        let Some(record) = record else { continue };
        let points = if mistake.starts_with("rope") { ["q_rope", "k_rope"] } else { ["attn_probs", "attn_ctx"] };
        let sites = || record.sites.iter().filter(|s| points.iter().any(|p| s.site.ends_with(p)));
        let wrong = |v: &Verdict| !matches!(v, Verdict::NotExercised { .. });
        let hits = sites().filter(|s| wrong(&s.verdict)).count() as u64;
        let flagged = vec![Rate { hits, of: sites().count() as u64 }];
        found.push(Found { name: "RoPE and mask faults on one token: not exercised", flagged });
    }
    Ok(found)
}

/// RMSNorm taken twice, the first time without a weight: the same up to eps.
fn norm_twice(model: &Model, seed: u64) -> Result<Found, LabError> {
    let record = planted(model, "norm-order=taken twice", &prompt(model, 12, seed))?;
    let rate = record.map(|r| Rate { hits: blamed(&r).len() as u64, of: r.sites.len() as u64 });
    Ok(Found { name: "RMSNorm taken twice", flagged: vec![rate.unwrap_or_default()] })
}

/// A model that is there as GGUF, with rows for adjacent pairs, and as a folder, with rows for halves.
const TWO_LAYOUTS: &str = "llama-gqa4";

/// Rows of queries and keys in the other order, and RoPE with the other pairing.
fn layouts(model: &Model, folder: &Path, seed: u64) -> Result<Found, LabError> {
    let other = Model::open(folder, Verify::All)?;
    let path = Arithmetic::Path(Box::new(Standalone::new()));
    let record = between((model, &path), (&other, &path), &prompt(model, 12, seed))?;
    let flagged = vec![Rate { hits: blamed(&record).len() as u64, of: record.sites.len() as u64 }];
    Ok(Found { name: "rows and RoPE pairs of the other layout", flagged })
}

/// Hidden channels of every feed-forward in another order, alike in gate, up and down projection.
fn channels(model: &Model, seed: u64) -> Result<Found, LabError> {
    let mut order: Vec<usize> = (0..model.config().ffn).collect();
    let mut rng = SplitMix64::new(seed);
    (1..order.len()).rev().for_each(|i| order.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize));
    let mut changes = BTreeMap::new();
    for layer in 0..model.config().layers {
        for point in [Point::FfnGate, Point::FfnUp] {
            changes.insert(Site::block(layer, point), rows_moved(order.clone()));
        }
        changes.insert(Site::block(layer, Point::FfnDown), columns_moved(order.clone()));
    }
    let planted = Planted::new(Box::new(Standalone::new()), changes);
    let record = judged(model, Box::new(Standalone::new()), Box::new(planted), &prompt(model, 12, seed))?;
    let flagged = vec![Rate { hits: blamed(&record).len() as u64, of: record.sites.len() as u64 }];
    Ok(Found { name: "hidden channels in another order", flagged })
}

/// Row `i` of the weights is row `order[i]`.
fn rows_moved(order: Vec<usize>) -> Change {
    Change::op("rows moved", move |op, x, then| {
        let Op::Linear { weight, bias } = *op else { return then(0..rows(op, x), op, x) };
        let bytes: Vec<u8> = order.iter().flat_map(|i| weight.row(*i).iter().copied()).collect();
        then(0..x[0].rows(), &Op::Linear { weight: reshaped(&weight, &bytes), bias }, x);
    })
}

/// Column `i` of F32 weights is column `order[i]`.
fn columns_moved(order: Vec<usize>) -> Change {
    Change::op("columns moved", move |op, x, then| {
        let Op::Linear { weight, bias } = *op else { return then(0..rows(op, x), op, x) };
        let row = |j: usize| order.iter().flat_map(move |i| weight.row(j)[4 * i..4 * i + 4].iter().copied());
        let bytes: Vec<u8> = (0..weight.rows()).flat_map(row).collect();
        then(0..x[0].rows(), &Op::Linear { weight: reshaped(&weight, &bytes), bias }, x);
    })
}

fn reshaped<'b>(weight: &Matrix<'_>, bytes: &'b [u8]) -> Matrix<'b> {
    let matrix = Matrix::new(weight.tensor_type(), weight.rows(), weight.cols(), bytes);
    matrix.unwrap_or_else(|e| unreachable!("the same shape: {e}"))
}

/// The model against itself with a mistake in it; `None` where it cannot be made.
fn planted(model: &Model, mistake: &str, tokens: &[u32]) -> Result<Option<Diagnosis>, LabError> {
    let right = Arithmetic::Path(Box::new(Standalone::new()));
    let party = Party { label: String::new(), source: Source::Model(model, &right) };
    match Plant::parse(mistake).plant(&party, Box::new(Standalone::new()), tokens) {
        Ok(planted) => Ok(Some(judged(model, Box::new(Standalone::new()), Box::new(planted), tokens)?)),
        Err(LabError::NothingToPlant { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
