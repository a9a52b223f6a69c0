//! Files that other programs write: bytes to named arrays. One file for each kind.

mod aprt;
mod eval_callback;
mod kl_base;
mod llama_logits;
mod npy;
mod npz;
mod safetensors;

use std::path::{Path, PathBuf};

use twinpath_formats::map::Bytes;

use super::raw::Raw;
use crate::error::LabError;

/// A kind of file.
pub trait Import: Sync {
    /// The name in lists.
    fn name(&self) -> &'static str;
    /// Who writes it and what it lacks.
    fn describe(&self) -> &'static str;
    /// Whether a file is of this kind, by its name and its first bytes (up to [`HEAD`]).
    fn recognises(&self, path: &Path, head: &[u8]) -> bool;
    /// Takes it apart.
    ///
    /// # Errors
    /// What is wrong with the file and what to do, without its name.
    fn read(&self, path: &Path, bytes: &Bytes) -> Result<Raw, String>;
}

/// Every kind, asked in this order.
pub const IMPORTS: &[&dyn Import] = &[
    &safetensors::Safetensors,
    &npz::Npz,
    &npy::Npy,
    &aprt::Aprt,
    &kl_base::KlBase,
    &llama_logits::LlamaLogits,
    &eval_callback::EvalCallback,
];

/// Bytes that a kind is recognised by.
pub const HEAD: usize = 16;

/// The kind of a file; `None` for what is no recording, models among it.
pub fn kind(path: &Path) -> Option<&'static dyn Import> {
    if !path.is_file() {
        return None;
    }
    let head = head(path).unwrap_or_default();
    IMPORTS.iter().copied().find(|kind| kind.recognises(path, &head))
}

/// Whether there is a recording: a file of a known kind, or a folder of files that hold one array each.
pub fn is_recording(path: &Path) -> bool {
    kind(path).is_some() || !pieces(path).is_empty()
}

/// The files of a folder that hold one array each, by name; none for a file and for the folder of a model.
fn pieces(path: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(path) else { return Vec::new() };
    if path.join("config.json").is_file() {
        return Vec::new();
    }
    let of_one =
        |path: &PathBuf| kind(path).is_some_and(|kind| [npy::Npy.name(), aprt::Aprt.name()].contains(&kind.name()));
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).filter(of_one).collect();
    files.sort();
    files
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Maps a recording and takes it apart.
///
/// # Errors
/// When it cannot be read, is of no known kind, or is not sound.
pub fn open(path: &Path) -> Result<Raw, LabError> {
    let pieces = pieces(path);
    if pieces.is_empty() {
        return open_file(path);
    }
    let mut all = Raw::default();
    for piece in pieces {
        all.arrays.extend(open_file(&piece)?.arrays);
    }
    Ok(all)
}

fn open_file(path: &Path) -> Result<Raw, LabError> {
    let bytes = Bytes::map(path)?;
    let bad = |why: String| LabError::BadTrace { file: path.to_owned(), why };
    let kind = kind(path).ok_or_else(|| {
        let kinds: Vec<&str> = IMPORTS.iter().map(|kind| kind.name()).collect();
        bad(format!("is no recording of a known kind ({})", kinds.join(", ")))
    })?;
    kind.read(path, &bytes).map_err(bad)
}

/// Whether the file's name ends so.
fn ends(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}
