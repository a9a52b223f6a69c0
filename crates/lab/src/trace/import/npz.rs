//! NumPy's `.npz`: a ZIP archive of `.npy` files, each an array of that name.
//!
//! `np.savez` stores its members, `np.savez_compressed` deflates them; both are read, and their checksums are checked.

use std::ops::Range;
use std::path::Path;

use twinpath_formats::map::Bytes;

use super::{Import, npy};
use crate::trace::raw::Raw;

/// The kind.
pub(super) struct Npz;

/// Bytes that a deflated member may grow to.
const MAX_MEMBER: u64 = 1 << 32;

impl Import for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn describe(&self) -> &'static str {
        "arrays of NumPy by name, stored or deflated"
    }

    fn recognises(&self, _: &Path, head: &[u8]) -> bool {
        head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
    }

    fn read(&self, _: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let mut raw = Raw::default();
        for member in members(bytes)? {
            let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
            let stored = member.range(bytes)?;
            let array = match member.method {
                0 => {
                    member.check(&bytes[stored.clone()])?;
                    npy::array(name, bytes.clone(), stored)?
                }
                8 => {
                    let data = member.inflate(&bytes[stored])?;
                    let range = 0..data.len();
                    npy::array(name, data.into(), range)?
                }
                method => return Err(format!("member `{}` is packed by method {method}: use np.savez", member.name)),
            };
            raw.arrays.push(array);
        }
        Ok(raw)
    }
}

/// A line of the central directory (APPNOTE.TXT 4.3.12).
struct Member {
    name: String,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    at: u64,
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let b = bytes.get(at..at.checked_add(size)?)?;
    Some(b.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Members of the archive, by its directory at the end.
fn members(bytes: &[u8]) -> Result<Vec<Member>, String> {
    let cut = || "is cut short: its directory of members is missing or ends early; write it again".to_owned();
    // The end record has 22 bytes and a comment of up to 65535.
    let from = bytes.len().saturating_sub(22 + 0xffff);
    let end = bytes[from..].windows(4).rposition(|w| w == b"PK\x05\x06").map(|at| from + at).ok_or_else(cut)?;
    let comment = number(bytes, end + 20, 2).ok_or_else(cut)?;
    if end + 22 + comment as usize != bytes.len() {
        return Err(cut());
    }
    let (count, mut at) = (number(bytes, end + 10, 2).ok_or_else(cut)?, number(bytes, end + 16, 4).ok_or_else(cut)?);
    let mut members = Vec::new();
    for _ in 0..count {
        let (member, next) = line(bytes, usize::try_from(at).map_err(|_| cut())?).ok_or_else(cut)?;
        members.push(member);
        at = next as u64;
    }
    Ok(members)
}

/// One line of the directory, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(Member, usize)> {
    let field = |offset: usize, size: usize| number(bytes, at.checked_add(offset)?, size);
    if field(0, 4)? != 0x0201_4b50 {
        return None;
    }
    let (name, extra, comment) = (field(28, 2)? as usize, field(30, 2)? as usize, field(32, 2)? as usize);
    let text = bytes.get(at + 46..at + 46 + name)?;
    let mut member = Member {
        name: String::from_utf8_lossy(text).into_owned(),
        method: field(10, 2)? as u16,
        crc: field(16, 4)? as u32,
        packed: field(20, 4)?,
        size: field(24, 4)?,
        at: field(42, 4)?,
    };
    // Fields that are full stand, in this order, in the extra field of ZIP64.
    let mut wide = at + 46 + name + 4;
    for value in [&mut member.size, &mut member.packed, &mut member.at] {
        if *value == u64::from(u32::MAX) {
            *value = number(bytes, wide, 8)?;
            wide += 8;
        }
    }
    Some((member, at + 46 + name + extra + comment))
}

impl Member {
    /// Where its bytes are.
    fn range(&self, bytes: &[u8]) -> Result<Range<usize>, String> {
        let find = || {
            let at = usize::try_from(self.at).ok()?;
            let head = (number(bytes, at, 4)? == 0x0403_4b50).then_some(at + 30)?;
            let start = head + number(bytes, at + 26, 2)? as usize + number(bytes, at + 28, 2)? as usize;
            let end = start.checked_add(usize::try_from(self.packed).ok()?)?;
            (end <= bytes.len()).then_some(start..end)
        };
        find().ok_or_else(|| format!("member `{}` is cut short: write the archive again", self.name))
    }

    fn check(&self, data: &[u8]) -> Result<(), String> {
        if data.len() as u64 == self.size && crc32fast::hash(data) == self.crc {
            return Ok(());
        }
        Err(format!("member `{}` does not have the checksum that the archive says: write it again", self.name))
    }

    fn inflate(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let limit = self.size.min(MAX_MEMBER) as usize;
        let data = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, limit);
        let data = data.map_err(|e| format!("member `{}` cannot be inflated: {e}", self.name))?;
        self.check(&data)?;
        Ok(data)
    }
}
