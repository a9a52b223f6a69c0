//! Equations of the published schema: a map by name, or a list whose items carry an `id`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A formula and what it holds for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct Equation {
    /// Its name, where equations are written as a list.
    pub id: Option<String>,
    /// The formula.
    #[serde(default)]
    pub formula: String,
    /// Inputs that it speaks of.
    pub domain: Option<String>,
    /// Values that it takes.
    pub codomain: Option<String>,
    /// What always holds of it.
    #[serde(default)]
    pub invariants: Vec<String>,
    /// What must hold before.
    #[serde(default)]
    pub preconditions: Vec<String>,
    /// What holds after.
    #[serde(default)]
    pub postconditions: Vec<String>,
    /// A theorem that proves it.
    pub lean_theorem: Option<String>,
    /// Rounding that is allowed for.
    pub float_tolerance: Option<f64>,
    /// Shapes that it takes for granted.
    pub assumes: Option<Value>,
    /// Shapes that it promises.
    pub guarantees: Option<Value>,
}

/// Equations by name, or as a list whose items carry an `id`.
#[derive(Debug, Clone, Default)]
pub struct Equations(pub Vec<(String, Equation)>);

impl<'de> Deserialize<'de> for Equations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Equations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to equations, or a list of equations with `id`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Equations, A::Error> {
                let mut equations = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    equations.push(entry);
                }
                Ok(Equations(equations))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Equations, A::Error> {
                let mut equations = Vec::new();
                while let Some(equation) = seq.next_element::<Equation>()? {
                    equations.push((equation.id.clone().unwrap_or_else(|| equations.len().to_string()), equation));
                }
                Ok(Equations(equations))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Equations {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Equations".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let map = generator.subschema_for::<BTreeMap<String, Equation>>();
        let list = generator.subschema_for::<Vec<Equation>>();
        schemars::json_schema!({ "anyOf": [map, list] })
    }
}
