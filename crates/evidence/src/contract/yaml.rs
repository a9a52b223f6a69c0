//! The one place where YAML is read: into the typed contract, and into the places of all its values.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options, Spanned};

use super::Contract;

/// Bytes that a contract file may have. The largest of ours has 40 thousand.
pub const MAX_BYTES: u64 = 1 << 20;
/// Values that it may hold, aliases expanded.
const MAX_VALUES: usize = 100_000;
/// Levels that they may be nested.
const MAX_DEPTH: usize = 32;
/// Aliases (`*name`) that it may use.
const MAX_ALIASES: usize = 100;

/// A line and a column, both from 1; 0 where the file as a whole is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// Why a file could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// A key that is written twice, and not some other fault.
    pub duplicate_key: bool,
    /// What is wrong.
    pub why: String,
    /// Where.
    pub at: Place,
}

/// A value and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) body: Body,
}

/// What a value is made of.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Leaf,
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

impl From<Spanned<Body>> for Node {
    fn from(s: Spanned<Body>) -> Node {
        Node { at: place(s.referenced), body: s.value }
    }
}

fn place(l: serde_saphyr::Location) -> Place {
    Place { line: l.line(), column: l.column() }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_i128<E>(self, _: i128) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_u128<E>(self, _: u128) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_str<E>(self, _: &str) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_unit<E>(self) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_none<E>(self) -> Result<Body, E> {
        Ok(Body::Leaf)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Body, D::Error> {
        d.deserialize_any(Build)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Body>>()? {
            items.push(item.into());
        }
        Ok(Body::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Body>>()? {
            entries.push((key.value, place(key.referenced), value.into()));
        }
        Ok(Body::Map(entries))
    }
}

/// Places of all values of a file by JSON pointer (`/claims/3/prediction`): of the key where there is one.
#[derive(Debug, Clone, Default)]
pub struct Places {
    places: BTreeMap<String, Place>,
}

impl Places {
    /// The place of `pointer`, or of the nearest value that holds it.
    pub fn of(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return *place;
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return Place { line: 1, column: 1 },
            }
        }
    }

    /// Whether something is written at `pointer`.
    pub fn has(&self, pointer: &str) -> bool {
        self.places.contains_key(pointer)
    }

    fn add(&mut self, pointer: &str, at: Place, node: &Node) {
        self.places.insert(pointer.to_owned(), at);
        match &node.body {
            Body::Leaf => {}
            Body::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.add(&format!("{pointer}/{i}"), item.at, item);
                }
            }
            Body::Map(entries) => {
                for (key, at, value) in entries {
                    self.add(&format!("{pointer}/{}", escape(key)), *at, value);
                }
            }
        }
    }
}

/// A key as a part of a JSON pointer.
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_VALUES,
            max_events: 4 * MAX_VALUES,
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_VALUES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
    }
}

fn unreadable(error: &Error) -> Unreadable {
    let error = error.without_snippet();
    let at = error.location().map_or(Place { line: 1, column: 1 }, place);
    let duplicate_key = matches!(error, Error::DuplicateMappingKey { .. });
    Unreadable { duplicate_key, why: error.to_string(), at }
}

fn check_size(text: &str) -> Result<(), Unreadable> {
    if text.len() as u64 > MAX_BYTES {
        let why = format!("the file has {} bytes; such a file has at most {MAX_BYTES}: split it", text.len());
        return Err(Unreadable { duplicate_key: false, why, at: Place { line: 1, column: 1 } });
    }
    Ok(())
}

/// All values of a file and their places.
pub(crate) fn tree(text: &str) -> Result<(Node, Places), Unreadable> {
    check_size(text)?;
    let root: Node =
        serde_saphyr::from_str_with_options::<Spanned<Body>>(text, options()).map_err(|e| unreadable(&e))?.into();
    let mut places = Places::default();
    places.add("", Place { line: 1, column: 1 }, &root);
    Ok((root, places))
}

/// The contract of a file.
pub(crate) fn contract(text: &str) -> Result<Contract, Unreadable> {
    typed(text)
}

/// A file of any kind.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    check_size(text)?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|e| unreadable(&e))
}
