//! Keys that nothing reads: unknown ones, misspelt ones, and words where something is computed.

use serde_json::Value;

use super::rules;
use super::schema::schema;
use super::shared::ALIASES;
use super::yaml::{Body, Node, Place, escape};

/// A key that nothing reads.
pub(crate) struct Unknown {
    pub(crate) rule: &'static str,
    pub(crate) pointer: String,
    pub(crate) at: Place,
    pub(crate) message: String,
}

/// All such keys.
pub(crate) fn unknown(root: &Node) -> Vec<Unknown> {
    let mut found = Vec::new();
    walk(root, &[schema()], "", &mut found);
    found
}

/// The schemas that a value may follow: references and alternatives resolved.
fn alternatives<'s>(schema: &'s Value, depth: usize, out: &mut Vec<&'s Value>) {
    // Our own schema nests references two or three deep.
    if depth > 8 {
        return;
    }
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
        if let Some(target) = self::schema().get("$defs").and_then(|d| d.get(name)) {
            alternatives(target, depth + 1, out);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for choice in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            alternatives(choice, depth + 1, out);
        }
    }
    out.push(schema);
}

fn walk(node: &Node, schemas: &[&Value], pointer: &str, found: &mut Vec<Unknown>) {
    let mut all = Vec::new();
    schemas.iter().for_each(|s| alternatives(s, 0, &mut all));
    match &node.body {
        Body::Leaf => {}
        Body::List(items) => {
            let inner: Vec<&Value> = all.iter().filter_map(|s| s.get("items")).collect();
            for (i, item) in items.iter().enumerate() {
                walk(item, &inner, &format!("{pointer}/{i}"), found);
            }
        }
        Body::Map(entries) => {
            let properties: Vec<&serde_json::Map<String, Value>> =
                all.iter().filter_map(|s| s.get("properties").and_then(Value::as_object)).collect();
            let open: Vec<&Value> = all
                .iter()
                .filter_map(|s| s.get("additionalProperties"))
                .filter(|a| **a != Value::Bool(false))
                .collect();
            for (key, at, value) in entries {
                let pointer = format!("{pointer}/{}", escape(key));
                let name = ALIASES.iter().find(|(_, other)| other == key).map_or(key.as_str(), |(name, _)| *name);
                let mut inner: Vec<&Value> =
                    properties.iter().filter_map(|p| p.get(key).or_else(|| p.get(name))).collect();
                inner.extend(&open);
                if inner.is_empty() && !properties.is_empty() {
                    let known: Vec<&str> = properties.iter().flat_map(|p| p.keys().map(String::as_str)).collect();
                    let (rule, message) = judge(key, &pointer, &known);
                    found.push(Unknown { rule, pointer, at: *at, message });
                } else {
                    walk(value, &inner, &pointer, found);
                }
            }
        }
    }
}

fn judge(key: &str, pointer: &str, known: &[&str]) -> (&'static str, String) {
    let top = pointer.matches('/').count() == 1;
    if top && key == "kind" {
        let message = "`kind` belongs into `metadata`; here nothing reads it".to_owned();
        return ("SCHEMA-018", message);
    }
    if key == "status" || key == "verdict" {
        let message = format!(
            "`{key}` is computed from evidence and never typed in: remove it, and read it with `twinpath contract status`"
        );
        return (rules::TYPED_STATUS, message);
    }
    if let Some(near) = known.iter().find(|k| top && squash(k) == squash(key)) {
        return ("SCHEMA-019", format!("`{key}` is no key of a contract and would be ignored: did you mean `{near}`?"));
    }
    let nearest = nearest(key, known.iter().copied());
    let hint = nearest.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    (rules::UNKNOWN_KEY, format!("nothing reads the key `{key}`{hint}"))
}

/// A key without case, separators and a plural ending.
fn squash(key: &str) -> String {
    let plain: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let stem = plain.strip_suffix("es").or_else(|| plain.strip_suffix('s')).unwrap_or(&plain);
    stem.to_owned()
}

/// The name nearest to `name`, if it is near enough to have been meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = distance(name, candidate);
        if distance <= allowed && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, name)| name)
}

/// Characters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let one = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        one.min(rows[i - 2][j - 2] + 1)
                    } else {
                        one
                    }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_could_have_been_meant() {
        let known = ["prediction", "coverage", "control"];
        assert_eq!(nearest("predicton", known.into_iter()), Some("prediction"));
        assert_eq!(nearest("cotnrol", known.into_iter()), Some("control"));
        assert_eq!(nearest("xyzzy", known.into_iter()), None);
    }

    #[test]
    fn plural_case_and_separators_are_near_misses() {
        assert_eq!(squash("Falsification-Test"), squash("falsification_tests"));
        assert_ne!(squash("claims"), squash("requires"));
    }
}
