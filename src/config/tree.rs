//! A document as a plain tree of values, for comparison.
//!
//! Says nothing about whether the document is a valid configuration: a draft that is not can be compared as well.

use serde_json::{Map, Number, Value};

use super::problem::{Problem, Problems};
use super::yaml::{self, Content, Form, Node, Scalar};

/// Reads a document as JSON values: `!secret NAME` as that text, plain numbers and booleans as what they look like.
///
/// # Errors
/// Every problem that keeps the text from being read as YAML of the accepted form.
pub fn read_tree(text: &[u8]) -> Result<Value, Vec<Problem>> {
    let mut problems = Problems::default();
    let root = yaml::read(text, &mut problems);
    let checked = problems.finish(root)?;
    Ok(value_of(&checked.config))
}

fn value_of(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => scalar_value(scalar),
        Content::List(nodes) => Value::Array(nodes.iter().map(value_of).collect()),
        Content::Map(entries) => {
            let pairs = entries.iter().map(|entry| (entry.key.clone(), value_of(&entry.value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Content::Refused => Value::Null,
    }
}

fn scalar_value(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    match scalar.form {
        Form::Secret => Value::from(format!("!secret {text}")),
        Form::Plain if scalar.is_null() => Value::Null,
        Form::Plain => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            // A number that cannot be held exactly stays the text that was written.
            _ => text.parse::<i64>().map(Number::from).map_or_else(|_| Value::from(text), Value::Number),
        },
        Form::Quoted | Form::Expanded => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tree_holds_what_is_written() {
        let text = b"a: 1\nb: [true, no, \"3\", 0.10, ~]\nc: {k: !secret KEY}\nd:\n";
        let want = json!({"a": 1, "b": [true, "no", "3", "0.10", null], "c": {"k": "!secret KEY"}, "d": null});
        assert_eq!(read_tree(text).unwrap(), want);
        assert_eq!(read_tree(b"").unwrap(), Value::Null);
        assert!(read_tree(b"a: [").is_err() && read_tree(b"a: 1\na: 2\n").is_err());
    }
}
