//! GGUF metadata values as JSON, so that each comes back with its type and its bits.

use serde_json::{Map, Number, Value as Json, json};

use crate::gguf::{Array, TYPE_NAMES, Value};

/// How a float that JSON cannot hold is written: these letters, then its bits in hex.
const BITS: &str = "bits:";

/// A value as plain JSON, the way foreign readers expect it (`[1, 2]`, `1e-6`), if that loses nothing but the type.
pub(crate) fn to_plain(value: &Value) -> Option<Json> {
    let json = match value {
        Value::Array(Array::Array(_)) => return None,
        Value::Array(array) => encode_array(array).remove("items")?,
        other => encode(other),
    };
    let back = from_plain(&json, &type_of(value))?;
    (same_bits(&back, value) && !has_bits(&json)).then_some(json)
}

/// The value of a type (as [`type_of`] writes it) that plain JSON stands for.
pub(crate) fn from_plain(json: &Json, type_name: &str) -> Option<Value> {
    match type_name.strip_prefix("array:") {
        Some(element) => decode_array(element, json.as_array()?).map(Value::Array),
        None => decode(json, type_name),
    }
}

/// The name of a value's type: `u32`, or `array:u32`.
pub(crate) fn type_of(value: &Value) -> String {
    match value {
        Value::Array(array) => format!("array:{}", array.type_name()),
        other => other.type_name().to_owned(),
    }
}

/// Any value as JSON that [`decode`] reads back bit for bit.
pub(crate) fn encode(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => encode_f32(*v),
        Value::F64(v) => json!(format!("{BITS}{:016x}", v.to_bits())),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::Array(array) => Json::Object(encode_array(array)),
    }
}

fn encode_array(array: &Array) -> Map<String, Json> {
    let items: Vec<Json> = match array {
        Array::U8(v) => v.iter().map(|v| json!(v)).collect(),
        Array::I8(v) => v.iter().map(|v| json!(v)).collect(),
        Array::U16(v) => v.iter().map(|v| json!(v)).collect(),
        Array::I16(v) => v.iter().map(|v| json!(v)).collect(),
        Array::U32(v) => v.iter().map(|v| json!(v)).collect(),
        Array::I32(v) => v.iter().map(|v| json!(v)).collect(),
        Array::U64(v) => v.iter().map(|v| json!(v)).collect(),
        Array::I64(v) => v.iter().map(|v| json!(v)).collect(),
        Array::F32(v) => v.iter().map(|v| encode_f32(*v)).collect(),
        Array::F64(v) => v.iter().map(|v| encode(&Value::F64(*v))).collect(),
        Array::Bool(v) => v.iter().map(|v| json!(v)).collect(),
        Array::String(v) => v.iter().map(|v| json!(v)).collect(),
        Array::Array(v) => v.iter().map(|v| Json::Object(encode_array(v))).collect(),
    };
    Map::from_iter([("type".to_owned(), json!(array.type_name())), ("items".to_owned(), Json::Array(items))])
}

/// The shortest decimal that reads back as `v`; its bits where there is none.
pub(crate) fn encode_f32(v: f32) -> Json {
    let shortest = serde_json::from_str::<Json>(&format!("{v:e}")).ok().and_then(|j| j.as_f64());
    let fits = |wide: &f64| {
        // serde_json's parser may be off by a unit in the last place, so the check goes through text.
        let text = Number::from_f64(*wide).map(|n| n.to_string());
        let back = text.and_then(|t| serde_json::from_str::<f64>(&t).ok());
        back.is_some_and(|b| (b as f32).to_bits() == v.to_bits())
    };
    match [shortest, Some(f64::from(v))].into_iter().flatten().find(fits) {
        Some(wide) => json!(wide),
        None => json!(format!("{BITS}{:08x}", v.to_bits())),
    }
}

/// The value of a type that [`encode`] wrote.
pub(crate) fn decode(json: &Json, type_name: &str) -> Option<Value> {
    Some(match type_name {
        "u8" => Value::U8(int(json)?),
        "i8" => Value::I8(int(json)?),
        "u16" => Value::U16(int(json)?),
        "i16" => Value::I16(int(json)?),
        "u32" => Value::U32(int(json)?),
        "i32" => Value::I32(int(json)?),
        "u64" => Value::U64(int(json)?),
        "i64" => Value::I64(int(json)?),
        "f32" => Value::F32(decode_f32(json)?),
        "f64" => Value::F64(decode_f64(json)?),
        "bool" => Value::Bool(json.as_bool()?),
        "string" => Value::String(json.as_str()?.to_owned()),
        "array" => Value::Array(decode_array(json.get("type")?.as_str()?, json.get("items")?.as_array()?)?),
        _ => return None,
    })
}

fn decode_array(element: &str, items: &[Json]) -> Option<Array> {
    fn all<T>(items: &[Json], each: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
        items.iter().map(each).collect()
    }
    debug_assert!(TYPE_NAMES.len() == 13, "a new type needs an arm here");
    Some(match element {
        "u8" => Array::U8(all(items, int)?),
        "i8" => Array::I8(all(items, int)?),
        "u16" => Array::U16(all(items, int)?),
        "i16" => Array::I16(all(items, int)?),
        "u32" => Array::U32(all(items, int)?),
        "i32" => Array::I32(all(items, int)?),
        "u64" => Array::U64(all(items, int)?),
        "i64" => Array::I64(all(items, int)?),
        "f32" => Array::F32(all(items, decode_f32)?),
        "f64" => Array::F64(all(items, decode_f64)?),
        "bool" => Array::Bool(all(items, Json::as_bool)?),
        "string" => Array::String(all(items, |j| j.as_str().map(str::to_owned))?),
        "array" => Array::Array(all(items, |j| decode_array(j.get("type")?.as_str()?, j.get("items")?.as_array()?))?),
        _ => return None,
    })
}

fn int<T: TryFrom<u64> + TryFrom<i64>>(json: &Json) -> Option<T> {
    match json.as_u64() {
        Some(n) => T::try_from(n).ok(),
        None => T::try_from(json.as_i64()?).ok(),
    }
}

fn decode_f32(json: &Json) -> Option<f32> {
    match json.as_str() {
        Some(text) => u32::from_str_radix(text.strip_prefix(BITS)?, 16).ok().map(f32::from_bits),
        None => json.as_f64().map(|v| v as f32),
    }
}

fn decode_f64(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some(text) => u64::from_str_radix(text.strip_prefix(BITS)?, 16).ok().map(f64::from_bits),
        None => json.as_f64(),
    }
}

fn has_bits(json: &Json) -> bool {
    // Strings of the file itself may begin with the same letters; they are then carried with their type, unharmed.
    let is_bits = |j: &Json| j.as_str().is_some_and(|s| s.starts_with(BITS));
    is_bits(json) || json.as_array().is_some_and(|items| items.iter().any(is_bits))
}

fn same_bits(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(Array::F32(a)), Value::Array(Array::F32(b))) => {
            a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it comes back from a file: through text.
    fn reread(json: &Json) -> Json {
        serde_json::from_str(&json.to_string()).unwrap()
    }

    #[test]
    fn what_json_cannot_hold_travels_as_bits() {
        for v in [f32::NAN, f32::INFINITY, f32::from_bits(0xffc0_0001)] {
            assert!(encode_f32(v).is_string());
            assert_eq!(to_plain(&Value::F32(v)), None);
        }
        assert_eq!(encode_f32(1e-6).to_string(), "1e-6", "the shortest spelling, not the widened one");
        assert_eq!(to_plain(&Value::String("bits:0".into())), None);
        assert_eq!(decode(&json!(300), "u8"), None);
        assert_eq!(decode(&json!(-1), "u64"), None);
        assert_eq!(decode(&json!(1.5), "u32"), None);
        assert_eq!(decode(&json!("x"), "no such type"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_f32_comes_back_by_its_bits(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let Some(Value::F32(back)) = decode(&reread(&encode_f32(value)), "f32") else { panic!("no f32") };
            prop_assert_eq!(back.to_bits(), bits);
            if let Some(plain) = to_plain(&Value::F32(value)) {
                let Some(Value::F32(back)) = from_plain(&reread(&plain), "f32") else { panic!("no f32") };
                prop_assert_eq!(back.to_bits(), bits);
            }
        }

        #[test]
        fn every_f64_and_integer_comes_back_by_its_bits(bits in any::<u64>()) {
            let Some(Value::F64(back)) = decode(&reread(&encode(&Value::F64(f64::from_bits(bits)))), "f64") else {
                panic!("no f64")
            };
            prop_assert_eq!(back.to_bits(), bits);
            for value in [Value::U64(bits), Value::I64(bits as i64), Value::I16(bits as i16)] {
                prop_assert_eq!(decode(&reread(&encode(&value)), value.type_name()), Some(value));
            }
        }
    }
}
