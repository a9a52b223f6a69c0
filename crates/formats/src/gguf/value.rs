//! GGUF metadata values: what they hold, and typed access by key.

use std::collections::HashMap;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are the types of the GGUF specification")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of values of one type; an empty one still has its type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are the types of the GGUF specification")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// Type codes of the GGUF specification and their names, by code.
pub(crate) const TYPE_NAMES: [&str; 13] =
    ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];

impl Value {
    /// The type's code in the file.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Value::U8(_) => 0,
            Value::I8(_) => 1,
            Value::U16(_) => 2,
            Value::I16(_) => 3,
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::String(_) => 8,
            Value::Array(_) => 9,
            Value::U64(_) => 10,
            Value::I64(_) => 11,
            Value::F64(_) => 12,
        }
    }

    /// The type's name, `"u32"`.
    pub fn type_name(&self) -> &'static str {
        TYPE_NAMES[self.code() as usize]
    }

    /// Any integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::U8(v) => Some(u64::from(*v)),
            Value::U16(v) => Some(u64::from(*v)),
            Value::U32(v) => Some(u64::from(*v)),
            Value::U64(v) => Some(*v),
            Value::I8(v) => u64::try_from(*v).ok(),
            Value::I16(v) => u64::try_from(*v).ok(),
            Value::I32(v) => u64::try_from(*v).ok(),
            Value::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }
}

impl Array {
    /// The element type's code in the file.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Array::U8(_) => 0,
            Array::I8(_) => 1,
            Array::U16(_) => 2,
            Array::I16(_) => 3,
            Array::U32(_) => 4,
            Array::I32(_) => 5,
            Array::F32(_) => 6,
            Array::Bool(_) => 7,
            Array::String(_) => 8,
            Array::Array(_) => 9,
            Array::U64(_) => 10,
            Array::I64(_) => 11,
            Array::F64(_) => 12,
        }
    }

    /// The element type's name, `"string"`.
    pub fn type_name(&self) -> &'static str {
        TYPE_NAMES[self.code() as usize]
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::String(v) => v.len(),
            Array::Array(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F64(v) => v.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, of an array of strings.
    pub fn strings(&self) -> Option<&[String]> {
        match self {
            Array::String(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, of an array of f32.
    pub fn f32s(&self) -> Option<&[f32]> {
        match self {
            Array::F32(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, of an array of i32.
    pub fn i32s(&self) -> Option<&[i32]> {
        match self {
            Array::I32(v) => Some(v),
            _ => None,
        }
    }
}

/// Types that a metadata value can be asked for as.
pub trait FromValue<'a>: Sized {
    /// What was wanted, for the message when it is something else.
    const WANTED: &'static str;
    /// The value as this type, where it is one.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl FromValue<'_> for u64 {
    const WANTED: &'static str = "an integer of at least 0";
    fn from_value(value: &Value) -> Option<u64> {
        value.as_u64()
    }
}

impl FromValue<'_> for u32 {
    const WANTED: &'static str = "an integer from 0 to 2^32 - 1";
    fn from_value(value: &Value) -> Option<u32> {
        value.as_u64().and_then(|v| u32::try_from(v).ok())
    }
}

impl FromValue<'_> for f32 {
    const WANTED: &'static str = "an f32";
    fn from_value(value: &Value) -> Option<f32> {
        match value {
            Value::F32(v) => Some(*v),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    const WANTED: &'static str = "a bool";
    fn from_value(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WANTED: &'static str = "a string";
    fn from_value(value: &'a Value) -> Option<&'a str> {
        match value {
            Value::String(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const WANTED: &'static str = "an array";
    fn from_value(value: &'a Value) -> Option<&'a Array> {
        match value {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }
}

/// Metadata: keys in the order of the file, none twice.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    pairs: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
}

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|i| &self.pairs[*i].1)
    }

    /// Sets a key: in its place if it is there, else at the end.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.by_key.get(key) {
            Some(i) => self.pairs[*i].1 = value,
            None => {
                self.by_key.insert(key.to_owned(), self.pairs.len());
                self.pairs.push((key.to_owned(), value));
            }
        }
    }

    /// Takes a key out, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.by_key.remove(key)?;
        self.by_key.values_mut().filter(|i| **i > at).for_each(|i| *i -= 1);
        Some(self.pairs.remove(at).1)
    }

    /// Keys and values, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Metadata) -> bool {
        self.pairs == other.pairs
    }
}
