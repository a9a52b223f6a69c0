//! A file appears under its name whole, or not at all.
//!
//! The bytes go to a temporary file in the target's folder, are forced to disk, and the file is renamed. An interrupted
//! write leaves nothing under the target's name, and what was there before stays.
//!
//! ```
//! use std::io::Write;
//! let folder = tempfile::tempdir()?;
//! let target = folder.path().join("model.gguf");
//! let refused = twinpath_formats::atomic::write_atomically(&target, |out| {
//!     out.write_all(b"half").map_err(|e| twinpath_formats::atomic::write_error(&target, e))?;
//!     Err(twinpath_formats::FormatError::new(&target, twinpath_formats::Fault::Empty))
//! });
//! assert!(refused.is_err() && !target.exists());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Fault, FormatError, io};
use crate::map::name_of;

/// Bytes gathered before one write to the operating system.
const BUFFER: usize = 1 << 20;

/// Calls `fill` with a writer and puts what it wrote at `target`, replacing what was there.
///
/// # Errors
/// What `fill` returns, or the I/O error of a step; in both cases `target` is as it was.
pub fn write_atomically(
    target: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let real = real_target(target)?;
    let folder = match real.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".twinpath-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let temporary = builder.tempfile_in(folder).map_err(io(target, "create a file in its folder"))?;
    let mut out = BufWriter::with_capacity(BUFFER, temporary);
    fill(&mut out)?;
    let temporary = out.into_inner().map_err(|e| write_error(target, e.into_error()))?;
    temporary.as_file().sync_all().map_err(io(target, "force it to disk"))?;
    temporary.persist(&real).map_err(|e| io(target, "rename the finished file")(e.error))?;
    // The rename itself is only durable once the folder is on disk; some file systems refuse to sync a folder, and
    // the file is complete either way.
    let _ = std::fs::File::open(folder).and_then(|f| f.sync_all());
    Ok(())
}

/// The file behind symbolic links, so that a link stays one; refuses to put a file in the place of a device or folder.
fn real_target(target: &Path) -> Result<PathBuf, FormatError> {
    match std::fs::metadata(target) {
        Err(_) => Ok(target.to_owned()),
        Ok(found) if !found.is_file() => Err(Fault::NotAFile { what: name_of(found.file_type()) }.at(target)),
        Ok(_) => std::fs::canonicalize(target).map_err(io(target, "resolve")),
    }
}

/// The error of a write to `target`.
pub fn write_error(target: &Path, source: std::io::Error) -> FormatError {
    io(target, "write")(source)
}
