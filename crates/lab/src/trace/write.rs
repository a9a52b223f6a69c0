//! Recording a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};
use twinpath_engine::{Model, Site};
use twinpath_evidence::massive::{Peak, Peaks};
use twinpath_evidence::{Positions, Scope, StatsSum, Values as Covered};
use twinpath_formats::atomic::{write_atomically, write_error};

use super::{HEADER_KEY, Header, SCHEMA, TraceRecord, TracedSite};
use crate::Progress;
use crate::compare::{Party, provenance};
use crate::error::LabError;
use crate::side::{Cells, Recorded, Values, stages};
use crate::sums::READ;

/// Which positions to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All tokens.
    All,
    /// The last token.
    Last,
    /// One position.
    One(usize),
}

impl Selection {
    fn rows(self, tokens: usize) -> Range<usize> {
        match self {
            Selection::All => 0..tokens,
            Selection::Last => tokens.saturating_sub(1)..tokens,
            Selection::One(i) => i..i + 1,
        }
    }
}

/// Runs `party` over `tokens`, writes every site's values at the selected positions to `out`, and returns the layer table.
///
/// The file appears when it is complete; an interrupted run leaves none.
///
/// # Errors
/// When the tokens do not fit the model, a selected position is not in the prompt, or the file cannot be written.
pub fn record(
    party: &Party<'_>,
    model: &Model,
    tokens: &[u32],
    selection: Selection,
    out: &Path,
    progress: Progress<'_>,
) -> Result<TraceRecord, LabError> {
    model.check_tokens(tokens, 0)?;
    let rows = selection.rows(tokens.len());
    if rows.end > tokens.len() {
        let why = format!("position {} is not in the prompt of {} tokens", rows.start, tokens.len());
        return Err(LabError::BadTrace { file: out.to_owned(), why });
    }
    let header = header(party, model, tokens, &rows, true)?;
    let mut body = Body::new(out, rows)?;
    let mut side = party.side(tokens, None);
    let stages = stages(model.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        for recorded in side.stage(stage)? {
            body.add(&recorded, model.config().heads)?;
        }
    }
    body.finish(out, &header)?;
    progress(stages.len() as u64, stages.len() as u64);
    let positions = header.positions;
    Ok(TraceRecord::new(header, body.table(positions), body.peaks()))
}

/// What a recording of these rows says of itself; without `hash`, the files of the model are not read for it.
pub(super) fn header(
    party: &Party<'_>,
    model: &Model,
    tokens: &[u32],
    rows: &Range<usize>,
    hash: bool,
) -> Result<Header, LabError> {
    Ok(Header {
        schema: SCHEMA,
        provenance: provenance(&[party], hash)?,
        side: party.info(),
        config: model.config().clone(),
        tokens: tokens.to_vec(),
        positions: Positions::new(rows.start, rows.len()),
    })
}

/// One tensor of the file.
struct Region {
    dtype: &'static str,
    cols: usize,
    offset: u64,
    weights: Option<&'static str>,
    masked: bool,
    stats: StatsSum,
    /// Of what matrices read.
    peaks: Vec<Peak>,
}

/// The values, in an unnamed temporary file until their sizes are all known.
struct Body<'o> {
    out: &'o Path,
    file: File,
    rows: Range<usize>,
    regions: BTreeMap<Site, Region>,
    end: u64,
}

impl<'o> Body<'o> {
    fn new(out: &'o Path, rows: Range<usize>) -> Result<Self, LabError> {
        let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(folder).map_err(|source| LabError::Io { file: out.to_owned(), source })?;
        Ok(Body { out, file, rows, regions: BTreeMap::new(), end: 0 })
    }

    fn add(&mut self, recorded: &Recorded, heads: usize) -> Result<(), LabError> {
        let (held, cols) = recorded.values.shape();
        let (dtype, size) = match recorded.values {
            Values::F32(_) => ("F32", 4),
            Values::F64(_) => ("F64", 8),
        };
        let row_bytes = (cols * size) as u64;
        let region = self.regions.entry(recorded.site).or_insert_with(|| {
            let offset = self.end;
            self.end += row_bytes * self.rows.len() as u64;
            let (masked, stats) = (recorded.mask.is_some(), StatsSum::default());
            Region { dtype, cols, offset, weights: recorded.weights, masked, stats, peaks: Vec::new() }
        });
        let mut row = Vec::new();
        for t in 0..held {
            let position = recorded.first_row + t;
            if !self.rows.contains(&position) {
                continue;
            }
            let at = region.offset + (position - self.rows.start) as u64 * row_bytes;
            let bytes: Vec<u8> = match &recorded.values {
                Values::F32(v) => v.row(t).iter().flat_map(|x| x.to_le_bytes()).collect(),
                Values::F64(v) => v.row(t).iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&bytes));
            written.map_err(|source| LabError::Io { file: self.out.to_owned(), source })?;
            Cells::of(recorded, heads, position).read(recorded, t, &mut row);
            region.stats.add(&row);
            if READ.contains(&recorded.site.point) {
                region.peaks.extend(Peak::of(position, &row));
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &Path, header: &Header) -> Result<(), LabError> {
        let mut index = Map::new();
        let text =
            serde_json::to_string(header).map_err(|e| LabError::Io { file: out.to_owned(), source: e.into() })?;
        let mut metadata = Map::new();
        metadata.insert(HEADER_KEY.to_owned(), Value::String(text));
        index.insert("__metadata__".to_owned(), Value::Object(metadata));
        for (site, region) in &self.regions {
            let size = if region.dtype == "F32" { 4 } else { 8 };
            let end = region.offset + (self.rows.len() * region.cols * size) as u64;
            let entry = json!({
                "dtype": region.dtype, "shape": [self.rows.len(), region.cols], "data_offsets": [region.offset, end],
            });
            index.insert(site.to_string(), entry);
        }
        let mut index = Value::Object(index).to_string().into_bytes();
        index.resize(index.len().next_multiple_of(8), b' ');
        self.file.rewind().map_err(|source| LabError::Io { file: out.to_owned(), source })?;
        let file = &mut self.file;
        write_atomically(out, |sink| {
            let mut write = |bytes: &[u8]| sink.write_all(bytes).map_err(|e| write_error(out, e));
            write(&(index.len() as u64).to_le_bytes())?;
            write(&index)?;
            let mut piece = vec![0; 1 << 20];
            loop {
                match file.read(&mut piece).map_err(|e| write_error(out, e))? {
                    0 => return Ok(()),
                    n => write(&piece[..n])?,
                }
            }
        })?;
        Ok(())
    }

    fn peaks(&self) -> Vec<Peaks> {
        let found = self.regions.iter().filter(|(_, region)| !region.peaks.is_empty());
        found.map(|(site, region)| Peaks { site: site.to_string(), peaks: region.peaks.clone() }).collect()
    }

    fn table(&self, positions: Positions) -> Vec<TracedSite> {
        let site = |(site, r): (&Site, &Region)| {
            let values = if r.masked { Covered::AdmittedKeys } else { Covered::All };
            let scope = Scope { site: site.to_string(), positions, values };
            TracedSite { site: site.to_string(), weights: r.weights.map(str::to_owned), stats: r.stats.finish(scope) }
        };
        self.regions.iter().map(site).collect()
    }
}
