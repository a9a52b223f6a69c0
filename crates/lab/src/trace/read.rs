//! Reading a recording, as one side of a comparison.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use twinpath_engine::{Mask, Point, Site, Tensor};
use twinpath_formats::map::Bytes;

use super::{HEADER_KEY, Header, SCHEMA};
use crate::error::LabError;
use crate::side::{Recorded, Side, Stage, Values};

/// A recording, mapped and checked.
pub struct Trace {
    path: PathBuf,
    bytes: Bytes,
    header: Header,
    sites: Vec<Site>,
}

impl Trace {
    /// Whether the file looks like a safetensors file (a trace) and not like a model.
    pub fn is_trace(path: &Path) -> bool {
        path.is_file() && path.extension().is_some_and(|e| e == "safetensors")
    }

    /// Maps and checks a recording.
    ///
    /// # Errors
    /// When it is no safetensors file, was not made by `twinpath trace`, has another layout version, or holds tensors that
    /// are no sites or have not one row for each recorded position.
    pub fn open(path: &Path) -> Result<Trace, LabError> {
        let bad = |why: String| LabError::BadTrace { file: path.to_owned(), why };
        let bytes = Bytes::map(path)?;
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| bad(format!("is no sound safetensors file: {e}")))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(HEADER_KEY));
        let text = text.ok_or_else(|| bad("was not written by `twinpath trace`: it says nothing of tokens".into()))?;
        let header: Header =
            serde_json::from_str(text).map_err(|e| bad(format!("has a header that cannot be read: {e}")))?;
        if header.schema != SCHEMA {
            return Err(bad(format!(
                "has layout version {}, this twinpath reads {SCHEMA}: record it again",
                header.schema
            )));
        }
        if !header.config.is_sensible() {
            return Err(bad("has a header with a senseless model shape: record it again".into()));
        }
        let mut sites = Vec::new();
        // In the order of the file, so that the same fault is told of a file every time.
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let site: Site = name.parse().map_err(|e| bad(format!("tensor `{name}`: {e}")))?;
            if site.layer.is_some_and(|l| l >= header.config.layers) {
                return Err(bad(format!("tensor `{name}`: the model has {} layers", header.config.layers)));
            }
            let width = header.config.width(site.point, header.tokens.len());
            if info.shape != [header.positions.count, width] || !matches!(info.dtype, Dtype::F32 | Dtype::F64) {
                let want = header.positions.count;
                return Err(bad(format!(
                    "tensor `{name}` is {:?} {:?}, not [{want}, {width}] F32 or F64",
                    info.dtype, info.shape
                )));
            }
            sites.push(site);
        }
        sites.sort();
        Ok(Trace { path: path.to_owned(), bytes, header, sites })
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a recording stage by stage.
pub struct TraceSide<'t> {
    trace: &'t Trace,
}

impl<'t> TraceSide<'t> {
    /// A side that replays `trace`.
    pub fn new(trace: &'t Trace) -> Self {
        TraceSide { trace }
    }

    fn load(&self, tensors: &SafeTensors<'_>, site: Site, first_row: usize, rows: usize) -> Result<Recorded, LabError> {
        let bad = |why: String| LabError::BadTrace { file: self.trace.path.clone(), why };
        let view = tensors.tensor(&site.to_string()).map_err(|e| bad(e.to_string()))?;
        let cols = view.shape()[1];
        let values = match view.dtype() {
            Dtype::F32 => {
                let data = &view.data()[first_row * cols * 4..(first_row + rows) * cols * 4];
                let data = data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                Values::F32(Tensor::new(rows, cols, data.collect()))
            }
            _ => {
                let data = &view.data()[first_row * cols * 8..(first_row + rows) * cols * 8];
                let data = data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
                Values::F64(Tensor::new(rows, cols, data.collect()))
            }
        };
        let window = site.layer.and_then(|l| self.trace.header.config.windows.get(l).copied().flatten());
        let masked = matches!(site.point, Point::AttnScores | Point::AttnProbs);
        let mask = masked.then_some(Mask { start: 0, window });
        Ok(Recorded { site, weights: None, mask, first_row, values, inputs: Vec::new(), judged: None })
    }
}

impl Side for TraceSide<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let bad = |why: String| LabError::BadTrace { file: self.trace.path.clone(), why };
        let tensors = SafeTensors::deserialize(&self.trace.bytes).map_err(|e| bad(e.to_string()))?;
        let count = self.trace.header.positions.count;
        let wanted = |s: &&Site| match stage {
            Stage::Embed => s.point == Point::Embed,
            Stage::Block(layer) => s.layer == Some(*layer),
            Stage::Head(_) => matches!(s.point, Point::FinalNorm | Point::Logits),
        };
        let rows = match stage {
            Stage::Embed | Stage::Block(_) => 0..count,
            Stage::Head(rows) => rows.clone(),
        };
        let sites = self.trace.sites.iter().filter(wanted);
        sites.map(|site| self.load(&tensors, *site, rows.start, rows.len())).collect()
    }
}
