//! What any recording comes down to: named arrays, and what their file says of them.

use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};
use twinpath_formats::map::Bytes;

/// What an array is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
    /// Signed integers of 64 bits.
    I64,
    /// Signed integers of 32 bits.
    I32,
    /// Unsigned integers of 16 bits.
    U16,
}

impl Element {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::BF16 | Element::U16 => 2,
        }
    }

    /// Whether it holds reals.
    pub fn is_float(self) -> bool {
        matches!(self, Element::F64 | Element::F32 | Element::F16 | Element::BF16)
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Element::F64 => "F64",
            Element::F32 => "F32",
            Element::F16 => "F16",
            Element::BF16 => "BF16",
            Element::I64 => "I64",
            Element::I32 => "I32",
            Element::U16 => "U16",
        }
    }
}

/// One array of a file: little-endian, the last dimension runs fastest.
pub struct Array {
    /// As in the file.
    pub name: String,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// What it is made of.
    pub element: Element,
    bytes: Bytes,
    range: Range<usize>,
}

impl Array {
    /// An array of the bytes `range` of a file.
    ///
    /// # Errors
    /// When the shape asks for another number of bytes, or for bytes that are not there.
    pub fn new(
        name: String,
        shape: Vec<usize>,
        element: Element,
        bytes: Bytes,
        range: Range<usize>,
    ) -> Result<Array, String> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let wanted = count.and_then(|n| n.checked_mul(element.size()));
        if wanted != Some(range.len()) || range.end > bytes.len() {
            let kind = element.name();
            return Err(format!(
                "array `{name}` of shape {shape:?} and {kind} does not fill its {} bytes: the file is cut short or lies",
                range.len().min(bytes.len().saturating_sub(range.start))
            ));
        }
        Ok(Array { name, shape, element, bytes, range })
    }

    /// An array of its own bytes.
    ///
    /// # Errors
    /// As [`new`](Array::new).
    pub fn owned(name: String, shape: Vec<usize>, element: Element, bytes: Vec<u8>) -> Result<Array, String> {
        let range = 0..bytes.len();
        Array::new(name, shape, element, bytes.into(), range)
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.range.len() / self.element.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i`, widened; integers exactly up to 2⁵³.
    pub fn get(&self, i: usize) -> f64 {
        let size = self.element.size();
        let b = &self.bytes[self.range.start + i * size..][..size];
        match self.element {
            Element::F64 => f64::from_le_bytes(b.try_into().unwrap_or_default()),
            Element::F32 => f64::from(f32::from_le_bytes(b.try_into().unwrap_or_default())),
            Element::F16 => f16::from_le_bytes(b.try_into().unwrap_or_default()).to_f64(),
            Element::BF16 => bf16::from_le_bytes(b.try_into().unwrap_or_default()).to_f64(),
            Element::I64 => i64::from_le_bytes(b.try_into().unwrap_or_default()) as f64,
            Element::I32 => f64::from(i32::from_le_bytes(b.try_into().unwrap_or_default())),
            Element::U16 => f64::from(u16::from_le_bytes(b.try_into().unwrap_or_default())),
        }
    }

    /// All elements as token ids, or as positions.
    ///
    /// # Errors
    /// When one of them is not a whole number that fits.
    pub fn ids(&self) -> Result<Vec<u32>, String> {
        let id = |i: usize| match self.get(i) {
            x if x >= 0.0 && x <= f64::from(u32::MAX) && x.fract() == 0.0 => Ok(x as u32),
            x => Err(format!("array `{}` holds {x} at {i}, which is no token id and no position", self.name)),
        };
        (0..self.len()).map(id).collect()
    }
}

/// A file, taken apart.
#[derive(Default)]
pub struct Raw {
    /// In the order of the file.
    pub arrays: Vec<Array>,
    /// What the file says beside them.
    pub metadata: BTreeMap<String, String>,
    /// Why its values are weaker evidence than whole tensors of f32, if they are.
    pub weak: Option<String>,
    /// Whether its logits are log-probabilities.
    pub log_probabilities: bool,
    /// What else is to be said of it.
    pub notes: Vec<String>,
}
