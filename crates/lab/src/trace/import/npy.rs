//! NumPy's `.npy`: one array (NEP 1, versions 1 to 3). Its name is the file's.

use std::path::Path;

use twinpath_formats::map::Bytes;

use super::Import;
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct Npy;

/// What every such file begins with.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of a header that are read; NumPy's own have a few hundred.
const MAX_HEADER: usize = 1 << 16;

impl Import for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn describe(&self) -> &'static str {
        "one array of NumPy, named as its file; says nothing of tokens unless a map does"
    }

    fn recognises(&self, _: &Path, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn read(&self, path: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let array = array(name, bytes.clone(), 0..bytes.len())?;
        Ok(Raw { arrays: vec![array], ..Raw::default() })
    }
}

/// The array in the bytes `range`.
pub(super) fn array(name: String, bytes: Bytes, range: std::ops::Range<usize>) -> Result<Array, String> {
    let of = |why: &str| format!("array `{name}` {why}");
    let data = &bytes[range.clone()];
    let cut = || of("is cut short in its header: write it again");
    if !data.starts_with(MAGIC) {
        return Err(of("is no .npy: it does not begin with NumPy's mark"));
    }
    let (length, start) = match data.get(6).ok_or_else(cut)? {
        1 => (data.get(8..10).map(|b| usize::from(b[0]) | usize::from(b[1]) << 8), 10),
        2 | 3 => (data.get(8..12).map(|b| b.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))), 12),
        version => return Err(of(&format!("is of .npy version {version}: 1, 2 and 3 are known"))),
    };
    let length = length.filter(|n| *n <= MAX_HEADER).ok_or_else(cut)?;
    let text = data.get(start..start + length).ok_or_else(cut)?;
    let text = std::str::from_utf8(text).map_err(|_| of("has a header that is no text"))?;
    let header = header(text).map_err(|why| of(&why))?;
    let body = range.start + start + length..range.end;
    let count = header.shape.iter().try_fold(header.element.size(), |n, d| n.checked_mul(*d));
    if count != Some(body.len()) {
        return Err(of(&format!(
            "has shape {:?} of {}, which does not fill its {} bytes: it is cut short or lies",
            header.shape,
            header.element.name(),
            body.len()
        )));
    }
    if header.fortran && header.shape.len() > 1 {
        let turned = turned(&bytes[body], &header.shape, header.element.size());
        return Array::owned(name, header.shape, header.element, turned);
    }
    Array::new(name, header.shape, header.element, bytes.clone(), body)
}

struct Header {
    element: Element,
    fortran: bool,
    shape: Vec<usize>,
}

/// The header is a Python dictionary of three keys.
fn header(text: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let at = text.find(&format!("'{key}':")).ok_or_else(|| format!("has a header without `{key}`"))?;
        Ok::<&str, String>(text[at + key.len() + 3..].trim_start())
    };
    let descr = value("descr")?;
    let quoted = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(name, _)| name);
    let element = match quoted {
        Some("<f8") => Element::F64,
        Some("<f4") => Element::F32,
        Some("<f2") => Element::F16,
        Some("<i8") => Element::I64,
        Some("<i4") => Element::I32,
        Some("<u2") => Element::U16,
        Some("|O") => {
            return Err("holds Python objects, which are never read: save plain arrays of float32".to_owned());
        }
        Some(other) => {
            return Err(format!("is of type `{other}`: save little-endian float32, or integers for token ids"));
        }
        None => return Err("is a table of records: save one plain array for each value".to_owned()),
    };
    let order = value("fortran_order")?;
    let fortran = match (order.starts_with("True"), order.starts_with("False")) {
        (true, _) => true,
        (_, true) => false,
        _ => return Err("has a header with no True or False for `fortran_order`".to_owned()),
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(dims, _)| dims);
    let dims =
        shape.ok_or("has a header whose `shape` is no tuple")?.split(',').map(str::trim).filter(|d| !d.is_empty());
    let shape = dims.map(|d| d.parse::<usize>().map_err(|_| format!("has a header with the dimension `{d}`")));
    let shape = shape.collect::<Result<Vec<usize>, String>>()?;
    Ok(Header { element, fortran, shape })
}

/// Columns first to rows first.
fn turned(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = vec![1; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut out = Vec::with_capacity(data.len());
    for i in 0..data.len() / size.max(1) {
        let (mut rest, mut from) = (i, 0);
        for (d, stride) in shape.iter().zip(&strides).rev() {
            from += rest % d * stride;
            rest /= d;
        }
        out.extend_from_slice(&data[from * size..][..size]);
    }
    out
}
