//! What the writers write through: counts the bytes and keeps their CRC-32.

use std::io::Write;
use std::path::Path;

use crate::error::{Fault, FormatError};

/// A writer that knows how much went through it, and its CRC-32 (IEEE).
pub(crate) struct Sink<'a> {
    out: &'a mut dyn Write,
    written: u64,
    crc: crc32fast::Hasher,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Sink<'a> {
        Sink { out, written: 0, crc: crc32fast::Hasher::new() }
    }

    /// Writes zeros up to the next multiple of `alignment`.
    pub(crate) fn pad(&mut self, alignment: u64) -> std::io::Result<()> {
        const ZEROS: [u8; 64] = [0; 64];
        let mut left = self.written.next_multiple_of(alignment) - self.written;
        while left > 0 {
            let n = left.min(ZEROS.len() as u64);
            self.write_all(&ZEROS[..n as usize])?;
            left -= n;
        }
        Ok(())
    }

    /// The CRC-32 of everything written so far.
    pub(crate) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        self.crc.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Lets `fill` write one tensor and checks that it wrote exactly `len` bytes.
pub(crate) fn fill_tensor(
    path: &Path,
    out: &mut Sink,
    name: &str,
    len: u64,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let before = out.written;
    fill(out)?;
    let found = out.written - before;
    if found != len {
        return Err(Fault::WrongSize { tensor: name.to_owned(), found, expected: len }.at(path));
    }
    Ok(())
}
