//! Recordings of other engines: whose they are, which names they use, and of which tokens they are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use twinpath_engine::{Config, Site};
use twinpath_evidence::{Positions, Provenance, SideInfo};
use twinpath_paths::declared::foreign::{Activations, Engine, Kv};

use super::layout::{Frame, Place};
use super::names::user::{Ids, UserMap};
use super::names::{NAMES, Names};
use super::raw::{Array, Raw};
use super::read::{Trace, vocabulary};
use super::{Header, SCHEMA};
use crate::error::LabError;

/// Key of the [`Capture`] in a file's metadata.
pub const CAPTURE_KEY: &str = "twinpath.capture";

/// What the capture scripts write beside the values, as JSON.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Capture {
    /// Name and version of the engine.
    engine: String,
    /// `f32` or `ggml`.
    activations: Option<String>,
    /// `f32`, `f16` or `bf16`.
    kv: Option<String>,
    /// Whether attention was of the flash kind.
    flash: bool,
    /// What was run.
    command: String,
}

/// Names under which token ids travel.
const TOKENS: &[&str] = &["input_ids", "tokens", "token_ids"];
/// Names under which their positions travel.
const POSITIONS: &[&str] = &["positions", "position_ids"];

/// Makes a trace of `raw`, as one of a model of this shape.
pub(super) fn read(path: &Path, raw: Raw, config: &Config, map: Option<&UserMap>) -> Result<Trace, LabError> {
    let bad = |why: String| LabError::BadTrace { file: path.to_owned(), why };
    let names = match map {
        Some(map) if map.has_names() => known(&raw, config, map).then_some(map as &dyn Names),
        _ => vocabulary(&raw, config),
    };
    let names = names.ok_or_else(|| bad(unknown(&raw)))?;
    let mut capture: Capture = match raw.metadata.get(CAPTURE_KEY) {
        Some(text) => serde_json::from_str(text).map_err(|e| bad(format!("has metadata that cannot be read: {e}")))?,
        None => Capture::default(),
    };
    let mut notes = vec![format!("names are read as those of {}", names.name())];
    notes.extend(raw.notes.iter().cloned());
    if let Some(map) = map {
        capture.activations = map.activations.clone().or(capture.activations);
        capture.kv = map.kv.clone().or(capture.kv);
        capture.flash |= map.flash;
    }
    let engine = engine(&capture, names, &mut notes).map_err(bad)?;
    let tokens = match map.and_then(|map| map.tokens.as_ref()) {
        Some(Ids::Given(tokens)) => Some(tokens.clone()),
        Some(Ids::Array(name)) => ids(&raw, &[name]).map_err(bad)?,
        None => ids(&raw, TOKENS).map_err(bad)?,
    };
    let tokens = tokens.unwrap_or_default();
    let positions = match map.and_then(|map| map.positions.as_ref()) {
        Some(Ids::Given(positions)) => Ok(Some(positions.clone())),
        Some(Ids::Array(name)) => ids(&raw, &[name]),
        None => ids(&raw, POSITIONS),
    };
    let positions = positions_of(positions.map_err(bad)?.as_deref(), tokens.len()).map_err(bad)?;
    let frame = Frame { config, tokens: tokens.len(), positions: positions.count, half_split: names.half_split() };
    let places = if tokens.is_empty() { BTreeMap::new() } else { place(&raw, names, &frame, &mut notes) };
    let maker = if capture.engine.is_empty() { "engine unknown".to_owned() } else { capture.engine.clone() };
    let header = Header {
        schema: SCHEMA,
        provenance: Provenance { version: maker.clone(), cpu: capture.command.clone(), files: Vec::new() },
        side: SideInfo { label: path.display().to_string(), path: engine.describe(), kernels: maker },
        config: config.clone(),
        tokens,
        positions,
    };
    Ok(Trace::foreign(path, raw, header, places, engine, notes))
}

fn known(raw: &Raw, config: &Config, names: &dyn Names) -> bool {
    raw.arrays.iter().any(|array| names.meaning(&array.name, config).is_some())
}

fn unknown(raw: &Raw) -> String {
    let known: Vec<&str> = NAMES.iter().map(|names| names.name()).collect();
    let seen: Vec<&str> = raw.arrays.iter().map(|a| a.name.as_str()).take(3).collect();
    format!(
        "none of its {} names is known ({} …); vocabularies: {}; another one can be given in a map (--map)",
        raw.arrays.len(),
        seen.join(", "),
        known.join(", ")
    )
}

/// What is known of the engine; where the file does not say it, what its vocabulary suggests, and a note.
fn engine(capture: &Capture, names: &dyn Names, notes: &mut Vec<String>) -> Result<Engine, String> {
    let activations = match capture.activations.as_deref() {
        Some("f32") => Activations::F32,
        Some("ggml") => Activations::Ggml,
        Some(other) => return Err(format!("says that activations are `{other}`: f32 and ggml are known")),
        None if names.name() == "ggml" => Activations::Ggml,
        None => Activations::F32,
    };
    let kv = match capture.kv.as_deref() {
        Some("f32") | None => Kv::F32,
        Some("f16") => Kv::F16,
        Some("bf16") => Kv::BF16,
        Some(other) => return Err(format!("says that its cache is `{other}`: f32, f16 and bf16 are known")),
    };
    let engine = Engine { activations, kv, flash: capture.flash };
    if capture.activations.is_none() || capture.kv.is_none() {
        notes.push(format!("it does not say how its engine computes; judged as: {}", engine.describe()));
    }
    Ok(engine)
}

fn ids(raw: &Raw, names: &[&str]) -> Result<Option<Vec<u32>>, String> {
    let found = raw.arrays.iter().find(|array| names.contains(&array.name.as_str()));
    found.map(Array::ids).transpose()
}

/// Consecutive positions; all of them where the file does not say.
fn positions_of(given: Option<&[u32]>, tokens: usize) -> Result<Positions, String> {
    let Some(given) = given else { return Ok(Positions::new(0, tokens)) };
    let first = given.first().copied().unwrap_or(0);
    if let Some(i) = given.iter().zip(first..).position(|(a, b)| *a != b) {
        return Err(format!("has positions that are not consecutive: {} at {i}", given[i]));
    }
    Ok(Positions::new(first as usize, given.len()))
}

/// Every array that a name is known of and that has a fitting shape; the others are noted.
fn place(raw: &Raw, names: &dyn Names, frame: &Frame<'_>, notes: &mut Vec<String>) -> BTreeMap<Site, Place> {
    let mut places: BTreeMap<Site, (u8, Place)> = BTreeMap::new();
    for (i, array) in raw.arrays.iter().enumerate() {
        let Some(meaning) = names.meaning(&array.name, frame.config) else { continue };
        if meaning.sites.iter().any(|site| site.layer.is_some_and(|l| l >= frame.config.layers)) {
            notes.push(format!("`{}` is left out: the model has {} layers", array.name, frame.config.layers));
            continue;
        }
        if !array.element.is_float() {
            notes.push(format!("`{}` is left out: it holds {}", array.name, array.element.name()));
            continue;
        }
        match frame.place(i, array, &meaning) {
            Err(why) => notes.push(format!("{why}; left out")),
            Ok((placed, more)) => {
                notes.extend(more);
                for (site, place) in placed {
                    if places.get(&site).is_none_or(|(rank, _)| *rank < meaning.rank) {
                        places.insert(site, (meaning.rank, place));
                    }
                }
            }
        }
    }
    places.into_iter().map(|(site, (_, place))| (site, place)).collect()
}
