//! GGUF to `.apr` and back, with the stored bytes of every tensor kept bit for bit.
//!
//! Only one tensor's piece is in memory at a time. What cannot be kept (a block format without an `.apr` code) is
//! refused, or with [`Options::dequantize`] decoded exactly and rounded to the nearest; the [`ConvertReport`] says for
//! each tensor which it was.
//!
//! ```no_run
//! use twinpath_formats::convert::{Options, convert};
//! let report = convert("model.gguf".as_ref(), "model.apr".as_ref(), &Options::default(), &mut |_done, _total| ())?;
//! assert!(report.tensors.iter().all(|t| t.kept));
//! # Ok::<(), twinpath_formats::FormatError>(())
//! ```

mod json;
mod metadata;
mod names;

mod round;

use std::io::Write;
use std::path::Path;

pub use names::{to_ggml, to_hf};

use crate::apr::{self, Apr, WRITTEN};
use crate::atomic::write_error;
use crate::container::{Container, ModelFile, TensorEntry, TensorPlan, Verify};
use crate::error::{Fault, FormatError};
use crate::gguf::{self, Gguf, Metadata};
use crate::quant::TensorType;

/// Bytes copied between two calls of the progress callback.
const PIECE: usize = 1 << 22;

/// What to do with tensors that the target cannot hold as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dequantize {
    /// Round to binary16.
    F16,
    /// Round to binary32.
    F32,
}

impl Dequantize {
    /// The type that is written.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Dequantize::F16 => TensorType::F16,
            Dequantize::F32 => TensorType::F32,
        }
    }
}

/// How to convert.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `None` refuses a tensor that cannot be kept bit for bit.
    pub dequantize: Option<Dequantize>,
    /// How much of the input's checksums to verify first.
    pub verify: Verify,
}

/// What became of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorReport {
    /// Its name in the input.
    pub from: String,
    /// Its name in the output; `None` when it is left out (a copied output head on the way back).
    pub to: Option<String>,
    /// Name of its type in the input.
    pub from_type: &'static str,
    /// Name of its type in the output.
    pub to_type: &'static str,
    /// Bytes in the output.
    pub bytes: u64,
    /// Whether the output holds the input's bytes, bit for bit.
    pub kept: bool,
}

/// What a conversion did.
#[derive(Debug, Clone, Default)]
pub struct ConvertReport {
    /// Every tensor, in the order of the input's data.
    pub tensors: Vec<TensorReport>,
    /// Metadata keys that are not in the output: those of splitting, and those made untrue by dequantising.
    pub dropped_keys: Vec<String>,
    /// What was odd about the input.
    pub warnings: Vec<String>,
}

/// The GGUF metadata that an `.apr` file made by [`convert`] still holds; none for a file of another writer.
///
/// # Errors
/// When the list is damaged.
pub fn kept_gguf_metadata(apr: &Apr) -> Result<Metadata, FormatError> {
    metadata::listed(apr)
}

/// Called with the bytes of tensors written so far and in all.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Converts `input` (sniffed) to `output`, whose kind is its extension, `.gguf` or `.apr`.
///
/// # Errors
/// When the input is not sound, the pair or the family is not supported, a tensor cannot be kept and
/// [`Options::dequantize`] is not given, or the disk refuses. The output is then as it was before.
pub fn convert(
    input: &Path,
    output: &Path,
    options: &Options,
    progress: &mut Progress,
) -> Result<ConvertReport, FormatError> {
    let model = ModelFile::open(input, options.verify)?;
    let to = output.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match (&model, to.as_str()) {
        (ModelFile::Gguf(gguf), "apr") => gguf_to_apr(gguf, output, options, progress),
        (ModelFile::Apr(apr), "gguf") => apr_to_gguf(apr, output, options, progress),
        _ => {
            let to = if to.is_empty() { "a file without extension".to_owned() } else { format!(".{to}") };
            Err(Fault::UnsupportedConversion { from: model.kind().to_owned(), to }.at(input))
        }
    }
}

/// One tensor of the output and where it comes from.
struct Step<'a> {
    source: &'a TensorEntry,
    plan: TensorPlan,
    /// `None` copies the bytes.
    round: Option<Dequantize>,
}

fn gguf_to_apr(
    gguf: &Gguf,
    output: &Path,
    options: &Options,
    progress: &mut Progress,
) -> Result<ConvertReport, FormatError> {
    let file = gguf.paths()[0];
    let mut steps = Vec::new();
    for source in gguf.tensors() {
        let name = to_hf(&source.name);
        let renamed = to_ggml(&name);
        if renamed != source.name {
            return Err(Fault::AmbiguousName { tensor: source.name.clone(), renamed }.at(file));
        }
        steps.push(step_to_apr(file, source, &name, options)?);
    }
    let tied = gguf.tensor(names::HEAD).is_none();
    if tied && let Some(embedding) = gguf.tensor(names::EMBEDDING) {
        steps.push(step_to_apr(file, embedding, &to_hf(names::HEAD), options)?);
    }
    let weights = metadata::Weights {
        values: gguf.tensors().iter().map(TensorEntry::values).sum(),
        vocabulary: gguf.tensor(names::EMBEDDING).map(|e| e.rows_cols().0 as u64),
        tied: tied && gguf.tensor(names::EMBEDDING).is_some(),
        shapes: steps.iter().map(|s| (s.plan.name.clone(), s.plan.shape.clone())).collect(),
    };
    let mut report = ConvertReport::default();
    if gguf.version() != 3 {
        report.warnings.push(format!("GGUF version {} is written as version 3 on the way back", gguf.version()));
    }
    let changed = steps.iter().any(|s| s.round.is_some());
    let metadata = metadata::to_apr(gguf, &weights, changed, &mut report.dropped_keys)?;
    let plans: Vec<TensorPlan> = steps.iter().map(|s| s.plan.clone()).collect();
    let mut copy = Copy::new(gguf, output, &plans, progress)?;
    apr::write(output, &metadata, &plans, &mut |i, out| copy.step(&steps[i], out))?;
    report.tensors = steps.iter().map(|s| s.report(output, s.source.tensor_type.name())).collect::<Result<_, _>>()?;
    Ok(report)
}

fn step_to_apr<'a>(
    file: &Path,
    source: &'a TensorEntry,
    name: &str,
    options: &Options,
) -> Result<Step<'a>, FormatError> {
    let round = match (WRITTEN.contains(&source.tensor_type), options.dequantize) {
        (true, _) => None,
        (false, Some(target)) => Some(target),
        (false, None) => {
            let tensor_type = source.tensor_type.name();
            return Err(Fault::NoAprCode { tensor: source.name.clone(), tensor_type }.at(file));
        }
    };
    let tensor_type = round.map_or(source.tensor_type, Dequantize::tensor_type);
    Ok(Step { source, plan: TensorPlan::new(name, tensor_type, &source.shape), round })
}

fn apr_to_gguf(
    apr: &Apr,
    output: &Path,
    options: &Options,
    progress: &mut Progress,
) -> Result<ConvertReport, FormatError> {
    let file = apr.paths()[0];
    // The index is sorted by name; the order of the data is that of the GGUF file it was made from.
    let mut sources: Vec<&TensorEntry> = apr.tensors().iter().collect();
    sources.sort_by_key(|e| e.offset);
    let copied_head = copied_head(apr)?;
    let mut steps = Vec::new();
    for source in sources {
        if copied_head.is_some_and(|head| head.name == source.name) {
            continue;
        }
        let round = match (apr.legacy(source), options.dequantize) {
            (None, _) => None,
            (Some(_), Some(target)) => Some(target),
            (Some(code), None) => {
                let problem =
                    format!("tensor {:?} is {}, which only --dequantize f16|f32 converts", source.name, code.name());
                return Err(Fault::CannotWrite { problem }.at(file));
            }
        };
        let tensor_type = round.map_or(source.tensor_type, Dequantize::tensor_type);
        steps.push(Step { source, plan: TensorPlan::new(&to_ggml(&source.name), tensor_type, &source.shape), round });
    }
    let mut report = ConvertReport { warnings: apr.warnings().to_vec(), ..ConvertReport::default() };
    let changed = steps.iter().any(|s| s.round.is_some());
    let quantised = steps.iter().any(|s| s.plan.tensor_type.format().block_len() > 1);
    let metadata = metadata::to_gguf(apr, quantised, changed, &mut report.dropped_keys)?;
    let plans: Vec<TensorPlan> = steps.iter().map(|s| s.plan.clone()).collect();
    let mut copy = Copy::new(apr, output, &plans, progress)?;
    gguf::write(output, &metadata, &plans, &mut |i, out| copy.step(&steps[i], out))?;
    let stored = |s: &Step| apr.legacy(s.source).map_or(s.source.tensor_type.name(), apr::Legacy::name);
    report.tensors = steps.iter().map(|s| s.report(output, stored(s))).collect::<Result<_, _>>()?;
    if let Some(head) = copied_head {
        let name = head.tensor_type.name();
        let (from, to) = (head.name.clone(), None);
        report.tensors.push(TensorReport { from, to, from_type: name, to_type: name, bytes: 0, kept: true });
    }
    Ok(report)
}

/// The output head, if the file says that it is a copy of the embedding and it is one.
fn copied_head(apr: &Apr) -> Result<Option<&TensorEntry>, FormatError> {
    if apr.bool("tied_embeddings")? != Some(true) {
        return Ok(None);
    }
    let pair = (apr.tensor(&to_hf(names::HEAD)), apr.tensor(&to_hf(names::EMBEDDING)));
    let (Some(head), Some(embedding)) = pair else { return Ok(None) };
    let same = head.tensor_type == embedding.tensor_type
        && head.shape == embedding.shape
        && apr.bytes(head) == apr.bytes(embedding);
    Ok(same.then_some(head))
}

impl Step<'_> {
    fn report(&self, output: &Path, from_type: &'static str) -> Result<TensorReport, FormatError> {
        Ok(TensorReport {
            from: self.source.name.clone(),
            to: Some(self.plan.name.clone()),
            from_type,
            to_type: self.plan.tensor_type.name(),
            bytes: self.plan.byte_len(output)?,
            kept: self.round.is_none(),
        })
    }
}

/// Copies or rounds tensors, and counts.
struct Copy<'a> {
    model: &'a dyn Container,
    output: &'a Path,
    done: u64,
    total: u64,
    progress: &'a mut Progress<'a>,
}

impl<'a> Copy<'a> {
    fn new(
        model: &'a dyn Container,
        output: &'a Path,
        plans: &[TensorPlan],
        progress: &'a mut Progress<'a>,
    ) -> Result<Copy<'a>, FormatError> {
        let total = plans.iter().map(|p| p.byte_len(output)).sum::<Result<u64, _>>()?;
        Ok(Copy { model, output, done: 0, total, progress })
    }

    fn step(&mut self, step: &Step, out: &mut dyn Write) -> Result<(), FormatError> {
        let (total, mut done) = (self.total, self.done);
        if let Some(target) = step.round {
            let matrix = self.model.matrix(&step.source.name)?;
            round::write_rounded(self.output, &step.source.name, &matrix, target, out, &mut |n| {
                done += n;
                (self.progress)(done, total);
            })?;
        } else {
            for piece in self.model.bytes(step.source).chunks(PIECE) {
                out.write_all(piece).map_err(|e| write_error(self.output, e))?;
                done += piece.len() as u64;
                (self.progress)(done, total);
            }
        }
        self.done = done;
        Ok(())
    }
}
