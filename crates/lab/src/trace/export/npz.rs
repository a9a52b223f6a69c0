//! NumPy's `.npz`, as `np.savez` writes it: stored members, one array for each site, `input_ids` and `positions`.

use std::io::{self, Write};
use std::path::Path;

use super::{Export, file, values};
use crate::error::LabError;
use crate::side::Values;
use crate::trace::Trace;

/// The kind.
pub(super) struct Npz;

impl Export for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn describe(&self) -> &'static str {
        "arrays of NumPy by site, with input_ids and positions; without model and path; up to 4 GiB"
    }

    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError> {
        file(out, |out| fill(trace, out))
    }
}

fn fill(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    let mut archive = Archive { out, at: 0, directory: Vec::new(), members: 0 };
    let header = trace.header();
    let ids: Vec<u8> = header.tokens.iter().flat_map(|t| i64::from(*t).to_le_bytes()).collect();
    archive.add("input_ids", "<i8", &[header.tokens.len()], &ids)?;
    let first = header.positions.first as i64;
    let positions = (first..first + header.positions.count as i64).flat_map(i64::to_le_bytes);
    archive.add("positions", "<i8", &[header.positions.count], &positions.collect::<Vec<u8>>())?;
    for (site, values) in values(trace) {
        let (rows, cols) = values.shape();
        let (descr, body): (_, Vec<u8>) = match &values {
            Values::F32(x) => ("<f4", x.data().iter().flat_map(|x| x.to_le_bytes()).collect()),
            Values::F64(x) => ("<f8", x.data().iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        archive.add(&site.to_string(), descr, &[rows, cols], &body)?;
    }
    archive.finish()
}

/// A ZIP archive of stored members (APPNOTE.TXT 4.3), as it grows.
struct Archive<'o> {
    out: &'o mut dyn Write,
    at: u64,
    directory: Vec<u8>,
    members: u16,
}

impl Archive<'_> {
    fn add(&mut self, name: &str, descr: &str, shape: &[usize], body: &[u8]) -> io::Result<()> {
        let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        // Magic, version, length, text and a line feed fill a multiple of 64.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        header.push_str(&" ".repeat(length - header.len() - 1));
        header.push('\n');
        let length = u16::try_from(length).map_err(io::Error::other)?.to_le_bytes();
        let data = [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), body].concat();
        let name = format!("{name}.npy");
        let wide = || io::Error::other("the recording is too large for .npz (4 GiB): write safetensors");
        let size = u32::try_from(data.len()).map_err(|_| wide())?.to_le_bytes();
        let offset = u32::try_from(self.at).map_err(|_| wide())?.to_le_bytes();
        let crc = crc32fast::hash(&data).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        // Version needed, flags, method, time, date (1 January 1980: a record holds no clock), then sums and sizes.
        let common = [&[20u8, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &crc, &size, &size, &name_length, &[0, 0]].concat();
        self.put(&[&b"PK\x03\x04"[..], &common, name.as_bytes(), &data].concat())?;
        let line = [&b"PK\x01\x02\x14\x00"[..], &common, &[0; 10], &offset, name.as_bytes()].concat();
        self.directory.extend(line);
        self.members = self.members.checked_add(1).ok_or_else(wide)?;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        let wide = |_| io::Error::other("the recording is too large for .npz (4 GiB): write safetensors");
        let (at, size) = (u32::try_from(self.at).map_err(wide)?, u32::try_from(self.directory.len()).map_err(wide)?);
        let count = self.members.to_le_bytes();
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let (at, size) = (at.to_le_bytes(), size.to_le_bytes());
        self.put(&[&b"PK\x05\x06\x00\x00\x00\x00"[..], &count, &count, &size, &at, &[0, 0]].concat())
    }
}
