//! JSON of a request, strictly.
//!
//! A key twice, text behind the end or a wrong type is refused, with the path and never with the value: it may be a secret.

use std::fmt;

use serde::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::{Map, Number, Value};

use super::code::Code;
use super::error::ApiError;

/// Reads a body into `T`.
///
/// # Errors
/// 400 when it is not JSON, 422 when it is not a `T`.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let Strict(value) = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    serde_path_to_error::deserialize(Exact(value)).map_err(|error| {
        let path = error.path().to_string();
        let said = error.inner().to_string();
        let path = if path == "." { String::new() } else { path };
        refuse(&path, &said)
    })
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let said = error.to_string();
    let what = if said.contains(TWICE) {
        TWICE
    } else if said.contains("recursion limit") {
        "nested too deeply"
    } else {
        "not JSON"
    };
    let detail = format!("the body is refused at line {}, column {}: {what}", error.line(), error.column());
    ApiError::new(Code::MalformedJson, detail)
}

/// Turns a message of serde into a refusal that repeats no value.
fn refuse(path: &str, said: &str) -> ApiError {
    let quoted = said.split('`').nth(1).unwrap_or_default();
    if said.starts_with("unknown field") {
        return ApiError::field(
            path_to(path, quoted),
            expectation(said).replacen("expected", "unknown field; known:", 1),
        );
    }
    if said.starts_with("missing field") {
        return ApiError::field(path_to(path, quoted), "missing; this field is required");
    }
    ApiError::field(path, expectation(said))
}

fn path_to(path: &str, field: &str) -> String {
    // The path of an unknown field names the field already, that of a missing one its parent.
    if path.is_empty() || path == field || path.ends_with(&format!(".{field}")) {
        return if path.is_empty() { field.to_owned() } else { path.to_owned() };
    }
    format!("{path}.{field}")
}

/// Keeps of a message of serde what was expected, and drops what came: that is the caller's text.
pub(super) fn expectation(said: &str) -> String {
    if let Some(at) = said.rfind(", expected ").or_else(|| said.rfind(", there are no fields")) {
        return said.get(at + 2..).unwrap_or_default().to_owned();
    }
    let foreign = ["invalid digit", "invalid type", "invalid value", "unknown", "provided string", "number too"];
    if foreign.iter().any(|start| said.starts_with(start)) {
        return "not of the expected form".to_owned();
    }
    said.to_owned()
}

const TWICE: &str = "a key stands twice in one object";

/// A value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // `1.0` is a whole number to JSON Schema.
        let whole = format!("{value:.0}").parse::<i64>().ok().filter(|_| value.fract() == 0.0 && value.abs() < 9e15);
        if let Some(whole) = whole {
            return Ok(Value::from(whole));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that cannot be held"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

/// Hands a value to serde as JSON Schema sees it: an object is never made from a list.
struct Exact(Value);

impl<'de> Deserializer<'de> for Exact {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Array(list) => {
                let mut access = SeqDeserializer::new(list.into_iter().map(Exact));
                let made = visitor.visit_seq(&mut access)?;
                access.end().map(|()| made)
            }
            Value::Object(map) => {
                let mut access = MapDeserializer::new(map.into_iter().map(|(key, value)| (key, Exact(value))));
                let made = visitor.visit_map(&mut access)?;
                access.end().map(|()| made)
            }
            plain => plain.deserialize_any(visitor).map_err(ValueError::custom),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if self.0.is_object() { self.deserialize_any(visitor) } else { Err(ValueError::custom("expected an object")) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.into_deserializer()),
            _ => Err(ValueError::custom("expected a word")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ValueError> for Exact {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads a field that may be null and tells that from one that is absent.
///
/// For changes: `#[serde(default, deserialize_with = "present")] field: Option<Option<T>>`.
///
/// # Errors
/// Those of `T`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        #[serde(rename = "tags")]
        _tags: BTreeMap<String, Inner>,
        #[serde(default, deserialize_with = "present")]
        limit: Option<Option<u32>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "count")]
        _count: u8,
    }

    #[test]
    fn text_that_is_not_strict_json_is_malformed() {
        for (name, text, said) in [
            ("empty", "", "not JSON"),
            ("cut", r#"{"name": "x""#, "not JSON"),
            ("behind the end", r#"{"name": "x"} {}"#, "not JSON"),
            ("key twice", r#"{"name": "x", "name": "y"}"#, TWICE),
            ("escaped key twice", r#"{"name": "x", "n\u0061me": "y"}"#, TWICE),
            ("key twice inside", r#"{"name": "x", "tags": {"a": {"count": 1, "count": 1}}}"#, TWICE),
            ("byte order mark", "\u{feff}{}", "not JSON"),
            ("deep", &"[".repeat(200), "nested too deeply"),
            ("not a number", "NaN", "not JSON"),
        ] {
            let error = read::<Sample>(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::MalformedJson, "{name}");
            assert!(format!("{error:?}").contains(said), "{name}: {error:?}");
        }
    }

    #[test]
    fn wrong_field_is_named_and_its_value_is_not_repeated() {
        for (name, text, path, said) in [
            ("unknown", r#"{"name": "x", "colour": "canary"}"#, "colour", "unknown field; known: "),
            (
                "unknown inside",
                r#"{"name": "x", "tags": {"a": {"count": 1, "b": "canary"}}}"#,
                "tags.a.b",
                "unknown field",
            ),
            ("missing", "{}", "name", "missing; this field is required"),
            ("missing inside", r#"{"name": "x", "tags": {"a": {}}}"#, "tags.a.count", "missing"),
            ("wrong type", r#"{"name": "x", "limit": "canary"}"#, "limit", "expected u32"),
            (
                "wrong type with a comma",
                r#"{"name": "x", "limit": "canary, expected canary"}"#,
                "limit",
                "expected u32",
            ),
            ("too large", r#"{"name": "x", "tags": {"a": {"count": 256}}}"#, "tags.a.count", "expected u8"),
            ("list for an object", r#"["canary"]"#, "", "expected an object"),
            ("list for an object inside", r#"{"name": "x", "tags": {"a": [1]}}"#, "tags.a", "expected an object"),
            ("text for a map", r#"{"name": "x", "tags": "canary"}"#, "tags", "expected a map"),
        ] {
            let said_all = format!("{:?}", read::<Sample>(text.as_bytes()).unwrap_err());
            assert!(said_all.contains(&format!("path: {path:?}")), "{name}: {said_all}");
            assert!(said_all.contains(said), "{name}: {said_all}");
            assert!(!said_all.contains("canary"), "{name}: {said_all}");
        }
    }

    #[test]
    fn null_differs_from_absent_and_one_point_zero_is_whole() {
        assert_eq!(read::<Sample>(br#"{"name": "x"}"#).unwrap().limit, None);
        assert_eq!(read::<Sample>(br#"{"name": "x", "limit": null}"#).unwrap().limit, Some(None));
        assert_eq!(read::<Sample>(br#"{"name": "x", "limit": 2.0}"#).unwrap().limit, Some(Some(2)));
        assert_eq!(read::<Sample>(br#"{"name": "x"}"#).unwrap().name, "x");
        assert!(read::<Sample>(br#"{"name": "x", "limit": 2.5}"#).is_err());
    }
}
