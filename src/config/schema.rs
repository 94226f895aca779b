//! Prints the tables as JSON Schema, draft 2020-12.
//!
//! Shape only: what needs two keys at once is said by `check`. Null stands for "absent" wherever a key is known.

use serde_json::{Map, Value, json};

use crate::base::parse_duration;

use super::project_tables::PROJECT;
use super::server_tables::{KEYS, SERVER};
use super::table::{Field, Kind, State, Table};
use super::value::shown_size;

/// The JSON Schema of project documents.
#[must_use]
pub fn project_schema() -> Value {
    document(&PROJECT, "Millrace project", Variables::Refused)
}

/// The JSON Schema of server settings.
#[must_use]
pub fn server_schema() -> Value {
    document(&SERVER, "Millrace server settings", Variables::Expanded)
}

/// The JSON Schema of the file of API keys.
#[must_use]
pub fn keys_schema() -> Value {
    document(&KEYS, "Millrace API keys", Variables::Refused)
}

/// Whether `${NAME}` may stand for a value of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variables {
    Expanded,
    Refused,
}

struct Printer {
    definitions: Map<String, Value>,
    variables: Variables,
}

fn document(root: &'static Table, title: &str, variables: Variables) -> Value {
    let mut printer = Printer { definitions: Map::new(), variables };
    let schema = printer.table(root);
    let mut out = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    merge(&mut out, schema);
    printer.definitions.sort_keys();
    merge(&mut out, json!({ "$defs": printer.definitions }));
    out
}

impl Printer {
    fn table(&mut self, table: &'static Table) -> Value {
        let mut properties = Map::new();
        for field in table.fields {
            let schema = self.field(field);
            for alias in field.aliases {
                properties.insert((*alias).to_owned(), schema.clone());
            }
            properties.insert(field.name.to_owned(), schema);
        }
        let required = table.fields.iter().filter(|field| field.state == State::Required);
        let required: Vec<&str> = required.map(|field| field.name).collect();
        let mut schema = json!({
            "description": table.doc,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            merge(&mut schema, json!({ "required": required }));
        }
        schema
    }

    fn field(&mut self, field: &'static Field) -> Value {
        let (mut schema, doc) = match field.state {
            State::Unsupported => {
                (json!({ "type": "null" }), format!("{} Not supported yet: a value is refused.", field.doc))
            }
            State::MustBeEmpty(_) => (json!({ "type": ["object", "null"], "maxProperties": 0 }), field.doc.to_owned()),
            State::Required => (self.value(&field.kind), field.doc.to_owned()),
            State::Optional => {
                (json!({ "anyOf": [self.value(&field.kind), { "type": "null" }] }), field.doc.to_owned())
            }
        };
        merge(&mut schema, json!({ "description": doc }));
        if let Some(default) = field.default {
            let default = match field.kind {
                Kind::Bool => json!(default == "true"),
                Kind::Int { .. } => default.parse::<u64>().map_or(Value::Null, Value::from),
                _ => json!(default),
            };
            merge(&mut schema, json!({ "default": default }));
        }
        schema
    }

    /// A value, or a variable that stands for it.
    fn value(&mut self, kind: &'static Kind) -> Value {
        let value = self.kind(kind);
        let scalar =
            !matches!(kind, Kind::Table(_) | Kind::List { .. } | Kind::Map { .. } | Kind::OrFile { .. } | Kind::Json);
        if scalar && self.variables == Variables::Expanded {
            return json!({ "anyOf": [value, { "type": "string", "pattern": "\\$\\{[A-Za-z_]" }] });
        }
        value
    }

    fn kind(&mut self, kind: &'static Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Kind::Size { min, max } => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            {
                "type": "string",
                "pattern": "^\\s*[0-9]+\\s*(B|KiB|MiB|GiB)?\\s*$",
                "description": format!("{} to {}", shown_size(*min), shown_size(*max)),
            },
        ] }),
            Kind::Duration { min, max } => json!({ "anyOf": [
            { "type": "number", "minimum": seconds(min), "maximum": seconds(max), "multipleOf": 0.001 },
            {
                "type": "string",
                "pattern": "^\\s*[0-9]+(\\.[0-9]{1,3}|\\s*([Mm][Ss]|[A-Za-z]+))?\\s*$",
                "description": format!("{min} to {max}"),
            },
        ] }),
            Kind::Money => json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]{1,6})?\\s*$", "description": "USD, at most 6 decimals" },
        ] }),
            Kind::Text { bytes_max } => json!({ "type": "string", "maxLength": bytes_max }),
            Kind::Word(word) => match word.pattern {
                Some(pattern) => json!({ "type": "string", "pattern": pattern }),
                None => json!({ "type": "string", "minLength": 1 }),
            },
            Kind::Choice(words) => json!({ "anyOf": [
            { "enum": words },
            { "type": "string", "pattern": any_case(words) },
        ] }),
            Kind::Secret => json!({
                "type": "string",
                "description": "Written with the tag `!secret`.",
                "pattern": "^[A-Za-z0-9_.-]{1,64}$",
            }),
            Kind::OrFile { text, table } => json!({ "anyOf": [
            { "type": "string", "description": text },
            self.reference(table),
        ] }),
            Kind::Table(table) => self.reference(table),
            Kind::List { of, max } => json!({
                "type": "array",
                "items": self.value(of),
                "maxItems": max,
            }),
            Kind::Map { names, of, max } => json!({
                "type": "object",
                "propertyNames": { "pattern": names.pattern.unwrap_or("") },
                "additionalProperties": self.value(of),
                "maxProperties": max,
            }),
            Kind::Json => json!({ "type": "object" }),
        }
    }

    fn reference(&mut self, table: &'static Table) -> Value {
        if !self.definitions.contains_key(table.name) {
            // The name is taken before the content, which may refer to it.
            self.definitions.insert(table.name.to_owned(), Value::Null);
            let schema = self.table(table);
            self.definitions.insert(table.name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/$defs/{}", table.name) })
    }
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

fn seconds(text: &str) -> f64 {
    parse_duration(text).unwrap_or_default().as_secs_f64()
}

/// A pattern for words in any case in which `-` and `_` are the same; ECMA 262 has no flag in a schema.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match c {
        '-' | '_' => "[-_]".to_owned(),
        c => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}
