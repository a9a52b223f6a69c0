//! Parquet: a table of site, position, channel and value, and the header of the recording under the key `twinpath`.
//!
//! Written from the format's own description (parquet-format 2: `parquet.thrift` in the compact protocol, `Encodings.md`): flat
//! required columns, uncompressed. A row group holds one site, or a piece of one; its site is a dictionary of one word.

use std::io::{self, Write};
use std::path::Path;

use super::{Export, file, values};
use crate::error::LabError;
use crate::side::Values;
use crate::trace::Trace;

/// The kind.
pub(super) struct Parquet;

impl Export for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn describe(&self) -> &'static str {
        "a table of site, position, channel and value, with tokens and model in its metadata; uncompressed"
    }

    fn write(&self, trace: &Trace, out: &Path) -> Result<(), LabError> {
        file(out, |out| fill(trace, out))
    }
}

const MAGIC: &[u8; 4] = b"PAR1";
/// Values of one row group: sizes of pages are 32 bits wide.
const GROUP: usize = 1 << 22;

// Numbers of the format: physical types, encodings, kinds of pages.
const INT32: i64 = 1;
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const PLAIN: i64 = 0;
const RLE: i64 = 3;
const RLE_DICTIONARY: i64 = 8;
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;

fn fill(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    let wide = values(trace).any(|(_, values)| matches!(values, Values::F64(_)));
    let mut table = Table { out, at: 0, rows: 0, groups: Vec::new(), value: if wide { DOUBLE } else { FLOAT } };
    table.put(MAGIC)?;
    for (site, values) in values(trace) {
        let (rows, cols) = values.shape();
        let step = (GROUP / cols.max(1)).max(1);
        for from in (0..rows).step_by(step).filter(|_| cols > 0) {
            let piece =
                Piece { values: &values, rows: from..rows.min(from + step), first: trace.header().positions.first };
            table.group(&site.to_string(), &piece, cols)?;
        }
    }
    let header = serde_json::to_string(trace.header())?;
    table.finish(&header)
}

/// Some rows of a value.
struct Piece<'v> {
    values: &'v Values,
    rows: std::ops::Range<usize>,
    first: usize,
}

/// The file as it grows.
struct Table<'o> {
    out: &'o mut dyn Write,
    at: u64,
    rows: u64,
    groups: Vec<Thrift>,
    /// Physical type of the values.
    value: i64,
}

impl Table<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn group(&mut self, site: &str, piece: &Piece<'_>, cols: usize) -> io::Result<()> {
        let count = piece.rows.len() * cols;
        let begin = self.at;
        let of_cells = |of: &dyn Fn(usize, usize) -> i32| {
            let cells = piece.rows.clone().flat_map(|t| (0..cols).map(move |i| (t, i)));
            cells.flat_map(|(t, i)| of(t, i).to_le_bytes()).collect::<Vec<u8>>()
        };
        // One run of index 0, which is one bit wide.
        let mut indices = vec![1];
        varint((count as u64) << 1, &mut indices);
        indices.push(0);
        let word = [&(site.len() as u32).to_le_bytes(), site.as_bytes()].concat();
        let dictionary = self.at;
        self.page(DICTIONARY_PAGE, 1, PLAIN, &word)?;
        let mut columns = vec![self.column("site", (BYTE_ARRAY, RLE_DICTIONARY), count, Some(dictionary), &indices)?];
        let position = of_cells(&|t, _| (piece.first + t) as i32);
        columns.push(self.column("position", (INT32, PLAIN), count, None, &position)?);
        columns.push(self.column("channel", (INT32, PLAIN), count, None, &of_cells(&|_, i| i as i32))?);
        let bytes = piece.bytes(self.value == DOUBLE);
        columns.push(self.column("value", (self.value, PLAIN), count, None, &bytes)?);
        let mut group = Thrift::default();
        group.structs(1, &columns).int(2, WIDE, self.at as i64 - begin as i64).int(3, WIDE, count as i64);
        self.groups.push(group);
        self.rows += count as u64;
        Ok(())
    }

    /// A column of one data page; its pages begin with the dictionary, if there is one.
    fn column(
        &mut self,
        name: &str,
        (kind, encoding): (i64, i64),
        count: usize,
        dictionary: Option<u64>,
        body: &[u8],
    ) -> io::Result<Thrift> {
        let page = self.at;
        self.page(DATA_PAGE, count, encoding, body)?;
        let begin = dictionary.unwrap_or(page);
        let size = (self.at - begin) as i64;
        let mut meta = Thrift::default();
        meta.int(1, NARROW, kind).ints(2, &[PLAIN, RLE, encoding]).texts(3, &[name]).int(4, NARROW, 0);
        meta.int(5, WIDE, count as i64).int(6, WIDE, size).int(7, WIDE, size).int(9, WIDE, page as i64);
        if let Some(dictionary) = dictionary {
            meta.int(11, WIDE, dictionary as i64);
        }
        let mut column = Thrift::default();
        column.int(2, WIDE, begin as i64).inner(3, &meta);
        Ok(column)
    }

    fn page(&mut self, kind: i64, count: usize, encoding: i64, body: &[u8]) -> io::Result<()> {
        let mut about = Thrift::default();
        about.int(1, NARROW, count as i64).int(2, NARROW, encoding);
        if kind == DATA_PAGE {
            // Levels, of which required columns have none.
            about.int(3, NARROW, RLE).int(4, NARROW, RLE);
        }
        let mut header = Thrift::default();
        let size = body.len() as i64;
        header.int(1, NARROW, kind).int(2, NARROW, size).int(3, NARROW, size);
        header.inner(if kind == DATA_PAGE { 5 } else { 7 }, &about);
        self.put(&header.ended())?;
        self.put(body)
    }

    fn finish(mut self, header: &str) -> io::Result<()> {
        let mut root = Thrift::default();
        root.text(4, "twinpath").int(5, NARROW, 4);
        let leaf = |name: &str, kind: i64| {
            let mut leaf = Thrift::default();
            leaf.int(1, NARROW, kind).int(3, NARROW, 0).text(4, name);
            if kind == BYTE_ARRAY {
                leaf.int(6, NARROW, 0); // UTF8
            }
            leaf
        };
        let leaves = [("site", BYTE_ARRAY), ("position", INT32), ("channel", INT32), ("value", self.value)];
        let schema: Vec<Thrift> = [root].into_iter().chain(leaves.map(|(name, kind)| leaf(name, kind))).collect();
        let mut about = Thrift::default();
        about.text(1, "twinpath").text(2, header);
        let mut footer = Thrift::default();
        footer.int(1, NARROW, 2).structs(2, &schema).int(3, WIDE, self.rows as i64).structs(4, &self.groups);
        footer.structs(5, &[about]).text(6, concat!("twinpath version ", env!("CARGO_PKG_VERSION")));
        let footer = footer.ended();
        let length = u32::try_from(footer.len()).map_err(io::Error::other)?.to_le_bytes();
        self.put(&[&footer[..], &length, MAGIC].concat())
    }
}

impl Piece<'_> {
    fn bytes(&self, wide: bool) -> Vec<u8> {
        match self.values {
            Values::F32(t) if wide => {
                self.rows.clone().flat_map(|r| t.row(r)).flat_map(|x| f64::from(*x).to_le_bytes()).collect()
            }
            Values::F32(t) => self.rows.clone().flat_map(|r| t.row(r)).flat_map(|x| x.to_le_bytes()).collect(),
            Values::F64(t) => self.rows.clone().flat_map(|r| t.row(r)).flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

// Types of fields in Thrift's compact protocol.
const NARROW: u8 = 5;
const WIDE: u8 = 6;
const TEXT: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A struct in Thrift's compact protocol, without its end.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    /// Fields come in order, and no two are 16 numbers apart.
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn int(&mut self, id: u8, kind: u8, value: i64) -> &mut Self {
        self.field(id, kind);
        varint(zigzag(value), &mut self.bytes);
        self
    }

    fn text(&mut self, id: u8, text: &str) -> &mut Self {
        self.field(id, TEXT);
        put_text(text, &mut self.bytes);
        self
    }

    fn inner(&mut self, id: u8, inner: &Thrift) -> &mut Self {
        self.field(id, STRUCT);
        self.bytes.extend(inner.ended());
        self
    }

    fn list(&mut self, id: u8, kind: u8, count: usize) -> &mut Self {
        self.field(id, LIST);
        self.bytes.push((count.min(15) as u8) << 4 | kind);
        if count >= 15 {
            varint(count as u64, &mut self.bytes);
        }
        self
    }

    fn structs(&mut self, id: u8, all: &[Thrift]) -> &mut Self {
        self.list(id, STRUCT, all.len());
        all.iter().for_each(|one| self.bytes.extend(one.ended()));
        self
    }

    fn ints(&mut self, id: u8, all: &[i64]) -> &mut Self {
        self.list(id, NARROW, all.len());
        all.iter().for_each(|one| varint(zigzag(*one), &mut self.bytes));
        self
    }

    fn texts(&mut self, id: u8, all: &[&str]) -> &mut Self {
        self.list(id, TEXT, all.len());
        all.iter().for_each(|one| put_text(one, &mut self.bytes));
        self
    }

    fn ended(&self) -> Vec<u8> {
        [&self.bytes[..], &[0]].concat()
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Signs in the lowest bit.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Seven bits a byte, the lowest first.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
