//! A reading position in a file that is not to be trusted.

use std::path::Path;

use crate::error::{Fault, FormatError};

/// Reads little-endian fields, and checks the bytes left before it takes any.
pub(crate) struct Cursor<'a> {
    pub(crate) file: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// What `bytes[0]` is in the file, for messages.
    base: u64,
}

macro_rules! field {
    ($name:ident) => {
        pub(crate) fn $name(&mut self, what: &'static str) -> Result<$name, FormatError> {
            const N: usize = size_of::<$name>();
            let mut bytes = [0; N];
            bytes.copy_from_slice(self.take(N as u64, what)?);
            Ok($name::from_le_bytes(bytes))
        }
    };
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(file: &'a Path, bytes: &'a [u8], base: u64) -> Cursor<'a> {
        Cursor { file, bytes, at: 0, base }
    }

    /// Offset in the file of the next field.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    pub(crate) fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], FormatError> {
        if n > self.left() {
            return Err(Fault::Truncated { offset: self.offset(), what, needed: n, left: self.left() }.at(self.file));
        }
        let end = self.at + n as usize;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    field!(u8);
    field!(i8);
    field!(u16);
    field!(i16);
    field!(u32);
    field!(i32);
    field!(u64);
    field!(i64);
    field!(f32);
    field!(f64);

    /// Checks a count that is about to decide an allocation: against its cap, and against the bytes left when each item
    /// takes at least `item` bytes. `offset` is where the count stands.
    pub(crate) fn check_count(
        &self,
        count: u64,
        what: &'static str,
        offset: u64,
        cap: u64,
        item: u64,
    ) -> Result<usize, FormatError> {
        if count > cap {
            return Err(Fault::TooLarge { what, offset, count, cap }.at(self.file));
        }
        let needed = count.saturating_mul(item);
        if needed > self.left() {
            return Err(Fault::Truncated { offset: self.offset(), what, needed, left: self.left() }.at(self.file));
        }
        Ok(count as usize)
    }

    /// `n` bytes of UTF-8, `n` at most `cap`.
    pub(crate) fn text(&mut self, n: u64, what: &'static str, cap: u64) -> Result<&'a str, FormatError> {
        let offset = self.offset();
        self.check_count(n, what, offset, cap, 1)?;
        let bytes = self.take(n, what)?;
        std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8 { what, offset }.at(self.file))
    }
}
