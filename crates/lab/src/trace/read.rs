//! A recording, whoever made it: values by site, with the tokens that they are of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinpath_engine::site::POINTS;
use twinpath_engine::{Config, Mask, Point, Site};

use super::layout::{Frame, Place};
use super::names::own::Own;
use super::names::user::UserMap;
use super::names::{Meaning, NAMES, Names};
use super::raw::{Element, Raw};
use super::{HEADER_KEY, Header, SCHEMA, foreign, import};
use crate::cut::common;
use crate::error::LabError;
use crate::side::{Recorded, Side, Stage, Values};
use twinpath_paths::declared::foreign::Engine;

/// A recording, checked.
pub struct Trace {
    path: PathBuf,
    raw: Raw,
    header: Header,
    places: BTreeMap<Site, Place>,
    engine: Option<Engine>,
    notes: Vec<String>,
}

impl Trace {
    /// Whether the file is a recording of some kind and not a model.
    pub fn is_trace(path: &Path) -> bool {
        import::is_recording(path)
    }

    /// Opens a recording that `twinpath trace` made.
    ///
    /// # Errors
    /// When it is no sound recording, was made by another program, has another layout version, or holds tensors that are
    /// no sites or have not one row for each recorded position.
    pub fn open(path: &Path) -> Result<Trace, LabError> {
        Trace::own(path, import::open(path)?)?.map_err(|_| LabError::BadTrace {
            file: path.to_owned(),
            why: "was not written by `twinpath trace`: to read it, compare it with the model that it is of".into(),
        })
    }

    /// Opens a recording, one of another program as one of a model of this shape, under the names that `map` gives or those
    /// of a known vocabulary.
    ///
    /// # Errors
    /// As [`open`](Trace::open) for our own; for others, when the file is not sound or none of its names is known.
    pub fn of(path: &Path, config: &Config, map: Option<&UserMap>) -> Result<Trace, LabError> {
        let raw = import::open(path)?;
        if map.is_some() {
            return foreign::read(path, raw, config, map);
        }
        match Trace::own(path, raw)? {
            Ok(trace) => Ok(trace),
            Err(raw) => foreign::read(path, raw, config, None),
        }
    }

    /// Ours, or the file for another reader.
    fn own(path: &Path, raw: Raw) -> Result<Result<Trace, Raw>, LabError> {
        let Some(text) = raw.metadata.get(HEADER_KEY) else { return Ok(Err(raw)) };
        let bad = |why: String| LabError::BadTrace { file: path.to_owned(), why };
        let header: Header =
            serde_json::from_str(text).map_err(|e| bad(format!("has a header that cannot be read: {e}")))?;
        if header.schema != SCHEMA {
            let schema = header.schema;
            return Err(bad(format!("has layout version {schema}, this twinpath reads {SCHEMA}: record it again")));
        }
        if !header.config.is_sensible() {
            return Err(bad("has a header with a senseless model shape: record it again".into()));
        }
        let frame = Frame {
            config: &header.config,
            tokens: header.tokens.len(),
            positions: header.positions.count,
            half_split: false,
        };
        let mut places = BTreeMap::new();
        for (i, array) in raw.arrays.iter().enumerate() {
            let name = &array.name;
            let site: Site = name.parse().map_err(|e| bad(format!("tensor `{name}`: {e}")))?;
            if site.layer.is_some_and(|l| l >= header.config.layers) {
                return Err(bad(format!("tensor `{name}`: the model has {} layers", header.config.layers)));
            }
            let (want, width) = (header.positions.count, header.config.width(site.point, header.tokens.len()));
            if array.shape != [want, width] || !matches!(array.element, Element::F32 | Element::F64) {
                let kind = array.element.name();
                return Err(bad(format!(
                    "tensor `{name}` is {kind} {:?}, not [{want}, {width}] F32 or F64",
                    array.shape
                )));
            }
            let meaning = Own.meaning(name, &header.config);
            let meaning = meaning.unwrap_or(Meaning { sites: vec![site], layout: None, unscaled: false, rank: 0 });
            let (placed, _) = frame.place(i, array, &meaning).map_err(bad)?;
            places.extend(placed);
        }
        Ok(Ok(Trace { path: path.to_owned(), raw, header, places, engine: None, notes: Vec::new() }))
    }

    pub(super) fn foreign(
        path: &Path,
        raw: Raw,
        header: Header,
        places: BTreeMap<Site, Place>,
        engine: Engine,
        notes: Vec<String>,
    ) -> Trace {
        Trace { path: path.to_owned(), raw, header, places, engine: Some(engine), notes }
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the engine that made it, if that is not one of our paths.
    pub fn engine(&self) -> Option<Engine> {
        self.engine
    }

    /// What was taken to be so while it was read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Sites that it holds, in execution order.
    pub fn sites(&self) -> impl Iterator<Item = Site> {
        self.places.keys().copied()
    }

    /// Whether it holds every site of its model's forward pass.
    pub(crate) fn is_whole(&self) -> bool {
        let config = &self.header.config;
        let norms = self.places.contains_key(&Site::block(0, Point::QNorm));
        let per_layer = POINTS.len() - 3 - if norms { 0 } else { 2 };
        self.places.len() == 3 + per_layer * config.layers
    }

    /// Why the values of a site are too coarse to be judged; `None` where they are not.
    fn coarse(&self, site: Site) -> Option<String> {
        let element = self.raw.arrays[self.places.get(&site)?.array].element;
        let dumped = matches!(element, Element::F16 | Element::BF16);
        let dumped = dumped.then(|| format!("dumped as {}, which hides what is judged: dump F32", element.name()));
        dumped.or_else(|| self.raw.weak.clone())
    }

    /// Rows `rows` of the values at `site`, if it holds them; row 0 is the first recorded position.
    pub(crate) fn values(&self, site: Site, rows: std::ops::Range<usize>) -> Option<Values> {
        let place = self.places.get(&site)?;
        Some(place.read(&self.raw.arrays[place.array], rows))
    }

    fn recorded(&self, site: Site, rows: std::ops::Range<usize>) -> Option<Recorded> {
        let values = self.values(site, rows.clone())?;
        let window = site.layer.and_then(|l| self.header.config.windows.get(l).copied().flatten());
        let masked = matches!(site.point, Point::AttnScores | Point::AttnProbs);
        let mask = masked.then_some(Mask { start: 0, window });
        Some(Recorded {
            site,
            weights: None,
            mask,
            first_row: self.header.positions.first + rows.start,
            values,
            inputs: Vec::new(),
            judged: None,
            coarse: self.coarse(site),
            normalised: self.raw.log_probabilities && site.point == Point::Logits,
        })
    }
}

/// The vocabulary that knows most of the names.
pub(super) fn vocabulary(raw: &Raw, config: &Config) -> Option<&'static dyn Names> {
    let known = |names: &dyn Names| raw.arrays.iter().filter(|a| names.meaning(&a.name, config).is_some()).count();
    let counts: Vec<usize> = NAMES.iter().map(|names| known(*names)).collect();
    let most = counts.iter().copied().max().filter(|most| *most > 0)?;
    counts.iter().position(|n| *n == most).map(|i| NAMES[i])
}

/// Reads a recording stage by stage.
pub struct TraceSide<'t> {
    trace: &'t Trace,
}

impl<'t> TraceSide<'t> {
    /// A side that plays `trace` back.
    pub fn new(trace: &'t Trace) -> Self {
        TraceSide { trace }
    }
}

impl Side for TraceSide<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let wanted = |s: &Site| match stage {
            Stage::Embed => s.point == Point::Embed,
            Stage::Block(layer) => s.layer == Some(*layer),
            Stage::Head(_) => matches!(s.point, Point::FinalNorm | Point::Logits),
        };
        let positions = self.trace.header.positions;
        let held = positions.first..positions.first + positions.count;
        let rows = match stage {
            Stage::Embed | Stage::Block(_) => Some(held),
            Stage::Head(rows) => common(rows, &held),
        };
        let Some(rows) = rows.map(|rows| rows.start - positions.first..rows.end - positions.first) else {
            return Ok(Vec::new());
        };
        Ok(self.trace.sites().filter(wanted).filter_map(|site| self.trace.recorded(site, rows.clone())).collect())
    }
}
