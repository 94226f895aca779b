//! Reads the small YAML files of scenarios and gateways.
//!
//! Mappings, sequences and scalars; no anchors, tags or second documents, for nothing here needs them.

use anyhow::{Context as _, bail};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// Deepest nesting.
const DEPTH_MAX: usize = 16;
/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads one YAML document into a type that refuses unknown fields.
///
/// # Errors
/// Broken YAML with its line, or the field that does not fit.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    if text.len() > FILE_BYTES_MAX {
        bail!("the file is over {FILE_BYTES_MAX} bytes");
    }
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let value = reader.document()?;
    serde_json::from_value(value).context("the file has the wrong form")
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> anyhow::Result<Value> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => bail!("the file is empty"),
                other => {
                    let value = self.value(other, span, 0)?;
                    self.end()?;
                    return Ok(value);
                }
            }
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, span) => bail!("line {}: only one document is read", span.start.line()),
            }
        }
    }

    fn next(&mut self) -> anyhow::Result<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => bail!("line {}: {}", error.marker().line(), error.info()),
            None => bail!("the file ends early"),
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> anyhow::Result<Value> {
        let line = span.start.line();
        if depth > DEPTH_MAX {
            bail!("line {line}: nested deeper than {DEPTH_MAX}");
        }
        match event {
            Event::Scalar(text, style, 0, None) => Ok(scalar(&text, style)),
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                        (event, span) => items.push(self.value(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(0, None) => self.mapping(depth),
            _ => bail!("line {line}: anchors, aliases and tags are not read"),
        }
    }

    fn mapping(&mut self, depth: usize) -> anyhow::Result<Value> {
        let mut map = Map::new();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Object(map)),
                (Event::Scalar(name, _, 0, None), span) => (name.into_owned(), span.start.line()),
                (_, span) => bail!("line {}: a name must be plain text", span.start.line()),
            };
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth + 1)?;
            if map.insert(name.clone(), value).is_some() {
                bail!("line {line}: `{name}` stands twice");
            }
        }
    }
}

/// Reads a plain scalar as null, boolean, number or text; a quoted one is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::Number(number.into());
    }
    let looks_like_number = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e'));
    match text.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) if looks_like_number => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_values() {
        for (name, text, want) in [
            (
                "block",
                "a: 1\nb:\n  - x\n  - \"2\"\nc: {d: true, e: 1.5}\n",
                json!({"a": 1, "b": ["x", "2"], "c": {"d": true, "e": 1.5}}),
            ),
            ("address", "listen: 127.0.0.1:80\n", json!({"listen": "127.0.0.1:80"})),
            ("folded", "about: >\n  two\n  lines\n", json!({"about": "two lines\n"})),
            ("nothing", "a:\n", json!({"a": null})),
            ("version", "v: 1.2.3\n", json!({"v": "1.2.3"})),
            ("word", "v: inf\n", json!({"v": "inf"})),
        ] {
            assert_eq!(read::<Value>(text).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn what_is_not_needed_is_refused() {
        for (name, text) in [
            ("empty", ""),
            ("twice", "a: 1\na: 2\n"),
            ("anchor", "a: &x 1\nb: *x\n"),
            ("two documents", "a: 1\n---\nb: 2\n"),
            ("broken", "a: [1\n"),
            ("list as name", "[a]: 1\n"),
        ] {
            assert!(read::<Value>(text).is_err(), "{name}");
        }
    }
}
