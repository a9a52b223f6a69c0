//! Recordings of ours for other programs. One file for each kind.

mod aprt;
mod csv;
mod jsonl;
mod npz;
mod parquet;

use std::io::{self, Write};
use std::path::Path;

use twinpath_engine::Site;
use twinpath_formats::atomic::{write_atomically, write_error};

use super::Trace;
use crate::error::LabError;
use crate::side::Values;

/// A kind of file.
pub trait Export: Sync {
    /// The name in lists, and the extension of its files.
    fn name(&self) -> &'static str;
    /// What is in it and what is lost.
    fn describe(&self) -> &'static str;
    /// Writes all of `trace` to `out`, which appears when it is whole.
    ///
    /// # Errors
    /// When it cannot be written, or the recording is too large for the kind.
    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError>;
}

/// Every kind; safetensors is what a recording is made of.
pub const EXPORTS: &[&dyn Export] = &[&npz::Npz, &jsonl::JsonLines, &csv::Csv, &parquet::Parquet, &aprt::Aprt];

/// The kind of a file that is to be written, by its extension; `None` for safetensors and for what is not known.
pub fn kind(out: &Path) -> Option<&'static dyn Export> {
    let extension = out.extension()?.to_str()?.to_ascii_lowercase();
    EXPORTS.iter().copied().find(|kind| kind.name() == extension)
}

/// Writes one file, which appears when it is whole.
fn file(out: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), LabError> {
    Ok(write_atomically(out, |sink| fill(sink).map_err(|e| write_error(out, e)))?)
}

/// Every value of a recording, in execution order.
fn values(trace: &Trace) -> impl Iterator<Item = (Site, Values)> {
    let rows = 0..trace.header().positions.count;
    trace.sites().filter_map(move |site| Some((site, trace.values(site, rows.clone())?)))
}
