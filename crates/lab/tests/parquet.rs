//! The table that Parquet's readers see, read here by a reader of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use twinpath_engine::Model;
use twinpath_formats::Verify;
use twinpath_lab::party::Source;
use twinpath_lab::trace::{Selection, Trace, export, record};
use twinpath_lab::{Arithmetic, Party, PathName};
use twinpath_paths::simd::Isa;

/// What Thrift's compact protocol can hold, as far as Parquet uses it.
#[derive(Debug, Clone)]
enum Thrift {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Thrift>),
    Struct(BTreeMap<u8, Thrift>),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let b = self.byte();
            value |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn value(&mut self, kind: u8) -> Thrift {
        match kind {
            5 | 6 => {
                let n = self.varint();
                Thrift::Int((n >> 1) as i64 ^ -((n & 1) as i64))
            }
            8 => {
                let n = self.varint() as usize;
                self.at += n;
                Thrift::Bytes(self.bytes[self.at - n..self.at].to_vec())
            }
            9 => {
                let head = self.byte();
                let n = if head >> 4 == 15 { self.varint() as usize } else { usize::from(head >> 4) };
                Thrift::List((0..n).map(|_| self.value(head & 15)).collect())
            }
            12 => {
                let (mut fields, mut id) = (BTreeMap::new(), 0);
                loop {
                    let head = self.byte();
                    if head == 0 {
                        return Thrift::Struct(fields);
                    }
                    assert_ne!(head >> 4, 0, "a field with its number written out");
                    id += head >> 4;
                    fields.insert(id, self.value(head & 15));
                }
            }
            other => panic!("type {other}"),
        }
    }
}

impl Thrift {
    fn field(&self, id: u8) -> &Thrift {
        match self {
            Thrift::Struct(fields) => fields.get(&id).unwrap_or_else(|| panic!("no field {id} in {self:?}")),
            other => panic!("{other:?}"),
        }
    }

    fn int(&self, id: u8) -> usize {
        match self.field(id) {
            Thrift::Int(n) => usize::try_from(*n).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, id: u8) -> &[Thrift] {
        match self.field(id) {
            Thrift::List(all) => all,
            other => panic!("{other:?}"),
        }
    }

    fn text(&self, id: u8) -> String {
        match self.field(id) {
            Thrift::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// The page at `at`: its header and its body.
fn page(bytes: &[u8], at: usize) -> (Thrift, &[u8]) {
    let mut reader = Reader { bytes, at };
    let header = reader.value(12);
    let size = header.int(3);
    (header, &bytes[reader.at..reader.at + size])
}

/// All rows of a file whose values are `width` bytes wide, each as a line of CSV.
fn rows(bytes: &[u8], width: usize) -> Vec<String> {
    let end = bytes.len() - 8;
    assert_eq!((&bytes[..4], &bytes[end + 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let footer = Reader { bytes, at: end - length }.value(12);
    let names: Vec<String> = footer.list(2).iter().map(|element| element.text(4)).collect();
    assert_eq!(names, ["twinpath", "site", "position", "channel", "value"]);
    assert!(footer.list(5)[0].text(2).contains("\"tokens\":[5,6,7]"));
    let mut rows = Vec::new();
    for group in footer.list(4) {
        let columns: Vec<&Thrift> = group.list(1).iter().map(|column| column.field(3)).collect();
        let (dictionary, word) = page(bytes, columns[0].int(11));
        assert_eq!((dictionary.int(1), dictionary.field(7).int(1)), (2, 1));
        let site = std::str::from_utf8(&word[4..]).unwrap();
        let bodies: Vec<&[u8]> = columns.iter().map(|column| page(bytes, column.int(9)).1).collect();
        let int = |body: &[u8], i: usize| u32::from_le_bytes(body[4 * i..4 * i + 4].try_into().unwrap());
        let n = group.int(3);
        let mut run = Reader { bytes: bodies[0], at: 1 };
        assert_eq!((run.varint(), run.byte()), ((n as u64) << 1, 0), "one run of the first word");
        for i in 0..n {
            let at = &bodies[3][width * i..width * (i + 1)];
            let value = match width {
                4 => format!("{:?}", f32::from_le_bytes(at.try_into().unwrap())),
                _ => format!("{:?}", f64::from_le_bytes(at.try_into().unwrap())),
            };
            rows.push(format!("{site},{},{},{value}", int(bodies[1], i), int(bodies[2], i)));
        }
    }
    assert_eq!(footer.int(3), rows.len());
    rows
}

#[test]
fn a_table_holds_what_the_lines_hold() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny/qwen3/model.gguf");
    let model = Model::open(&model, Verify::All).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, selection, width) in [("standalone", Selection::All, 4), ("oracle", Selection::Last, 8)] {
        let arithmetic = Arithmetic::new(PathName::find(path).unwrap(), Isa::detect());
        let party = Party { label: "m".into(), source: Source::Model(&model, &arithmetic) };
        let file = folder.path().join("r.safetensors");
        record(&party, &model, &[5, 6, 7], selection, &file, &mut |_, _| {}).unwrap();
        let trace = Trace::open(&file).unwrap();
        let write = |name: &str| {
            let out = folder.path().join(name);
            export::kind(&out).unwrap().write(&trace, &out).unwrap();
            std::fs::read(out).unwrap()
        };
        let lines = String::from_utf8(write("r.csv")).unwrap();
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        let rows = rows(&write("r.parquet"), width);
        assert!(rows.len() > 1000);
        assert_eq!(rows, lines, "{path}");
    }
}
