//! The JSON Schema of a contract file, for editors and for the search for misspelt keys.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Contract;

static SCHEMA: LazyLock<Value> = LazyLock::new(generate);

/// The schema. No object that names its keys admits another.
pub fn schema() -> &'static Value {
    &SCHEMA
}

fn generate() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Contract>().to_value();
    close(&mut schema);
    schema
}

/// Marks every object that names its keys as admitting no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
