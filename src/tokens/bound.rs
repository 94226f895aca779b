//! An upper bound of the input that a body is billed for.
//!
//! Providers bill the tokens of each text, the framing of messages, and tools and schemas in a form of their own. So every
//! text of the body is counted by itself, names included, with an allowance for each value and one for the whole. The
//! allowances are tested against every recorded request of OpenAI that states its usage.
//!
//! Bodies with anything of which this is not known (pictures, sound, files, kept items, the provider's own tools,
//! references inside schemas, which may be expanded) have no such bound.

use std::fmt::{self, Formatter};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Tokens that a provider adds to a request: the largest recorded is 148, for tools of the Responses API.
const FRAME_TOKENS: u64 = 512;
/// Tokens around one value: punctuation, the marks of a message, a space that is joined to a word.
const VALUE_TOKENS: u64 = 3;
/// Most tokens of a number.
const NUMBER_TOKENS: u64 = 10;
/// Members of a schema that stand for another part of it.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Counts a body with the count of a text; none when it has no bound this way.
pub(super) fn bound(body: &[u8], count: impl Fn(&str) -> u64) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.is_plain_request().then(|| body.tokens(&count))?.map(|tokens| tokens.saturating_add(FRAME_TOKENS))
}

/// A value of a body. Members keep their order and stand as often as they were written: which of two of one name a provider
/// reads is not known.
enum Value {
    Null,
    Bool,
    Number,
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The tokens of every text in it; none if something in it stands for more than itself.
    fn tokens(&self, count: &impl Fn(&str) -> u64) -> Option<u64> {
        let inner = match self {
            Self::Null | Self::Bool => 1,
            Self::Number => NUMBER_TOKENS,
            Self::Text(text) => count(text),
            Self::List(values) => values.iter().try_fold(0u64, |sum, value| Some(sum + value.tokens(count)?))?,
            Self::Object(members) => members.iter().try_fold(0u64, |sum, (name, value)| {
                let refers = REFERENCES.contains(&name.as_str());
                (!refers).then_some(())?;
                Some(sum + count(name) + value.tokens(count)?)
            })?,
        };
        Some(inner.saturating_add(VALUE_TOKENS))
    }

    /// Whether everything that the provider reads for it is text that stands in it.
    fn is_plain_request(&self) -> bool {
        let messages = self.all("messages").flat_map(Self::values);
        let items = self.all("input").flat_map(Self::values);
        let tools = self.all("tools").flat_map(Self::values);
        messages.into_iter().all(Self::is_plain_message)
            && items.into_iter().all(Self::is_plain_item)
            && tools.into_iter().all(|tool| tool.has_type_of(&["function", "custom"]))
    }

    fn is_plain_message(&self) -> bool {
        self.all("content").all(Self::is_plain_content) && self.all("audio").all(|audio| matches!(audio, Self::Null))
    }

    /// An element of `input`: a message or a call of a function; of embeddings a text or numbers.
    fn is_plain_item(&self) -> bool {
        // Without a type and without a role it refers to an item that the provider keeps.
        let is_untyped = || self.all("type").next().is_none() && self.all("role").next().is_some();
        let is_message = self.has_type_of(&["message"]) || is_untyped();
        let is_call = || {
            self.has_type_of(&["function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"])
        };
        match self {
            Self::Object(_) if is_message => self.is_plain_message() && self.all("tools").next().is_none(),
            Self::Object(_) => is_call() && self.all("output").all(Self::is_plain_content),
            _ => true,
        }
    }

    fn is_plain_content(&self) -> bool {
        const PARTS: [&str; 4] = ["text", "input_text", "output_text", "refusal"];
        match self {
            Self::Null | Self::Text(_) => true,
            Self::List(parts) => parts.iter().all(|part| matches!(part, Self::Text(_)) || part.has_type_of(&PARTS)),
            _ => false,
        }
    }

    /// Whether it has a `type`, and no other than one of these.
    fn has_type_of(&self, known: &[&str]) -> bool {
        let is_known = |found: &Self| matches!(found, Self::Text(text) if known.contains(&text.as_str()));
        self.all("type").next().is_some() && self.all("type").all(is_known)
    }

    /// Every member of a name.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        let members = if let Self::Object(members) = self { members.as_slice() } else { &[] };
        members.iter().filter(move |(found, _)| found == name).map(|(_, value)| value)
    }

    /// The elements of a list.
    fn values(&self) -> &[Self] {
        if let Self::List(values) = self { values } else { &[] }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Option<u64> {
        bound(body.as_bytes(), |text| text.split_whitespace().count() as u64)
    }

    #[test]
    fn every_text_is_counted_however_it_is_written() {
        let plain = words(r#"{"model":"m","messages":[{"role":"user","content":"a b\nc"}]}"#).unwrap();
        // Names: model, messages, role, content. Texts: m, user, three words. Values: 6.
        assert_eq!(plain, FRAME_TOKENS + 9 + 6 * VALUE_TOKENS);
        let escaped = r#"{"model":"m","messages":[{"role":"user","\u0063ontent":"a\u0020b\u000ac"}]}"#;
        assert_eq!(words(escaped), Some(plain));
        let twice = r#"{"model":"m","messages":[{"role":"user","content":"a b\nc","content":"x"}]}"#;
        assert_eq!(words(twice), Some(plain + 2 + VALUE_TOKENS));
    }

    #[test]
    fn what_stands_for_more_than_itself_has_no_bound() {
        for (body, want) in [
            (r#"{"messages":[{"content":[{"type":"text","text":"a"}]}],"tools":[{"type":"function"}]}"#, true),
            (r#"{"input":"a"}"#, true),
            (r#"{"input":["a",[1,2],3]}"#, true),
            (
                r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call"}]}"#,
                true,
            ),
            (r#"{"input":[{"type":"function_call_output","output":"a"}]}"#, true),
            (r#"{"prompt":["a","b"]}"#, true),
            (r#"{"messages":[{"content":[{"type":"image_url"}]}]}"#, false),
            (r#"{"messages":[{"content":[{"type":"input_audio"}]}]}"#, false),
            (r#"{"messages":[{"content":[{"type":"text","type":"file"}]}]}"#, false),
            (r#"{"messages":[{"content":[{"text":"a"}]}]}"#, false),
            (r#"{"messages":[{"content":null,"audio":{"id":"a"}}]}"#, false),
            (r#"{"messages":[],"tools":[{"type":"web_search"}]}"#, false),
            (r#"{"messages":[],"tools":[{}]}"#, false),
            (r#"{"input":[{"type":"reasoning","id":"rs"}]}"#, false),
            (r#"{"input":[{"type":"item_reference","id":"msg"}]}"#, false),
            (r#"{"input":[{"id":"msg"}]}"#, false),
            (r#"{"input":[{"type":"function_call_output","output":[{"type":"input_image"}]}]}"#, false),
            (r#"{"messages":[],"tools":[{"type":"function","parameters":{"a":{"$ref":"b"}}}]}"#, false),
            (r#"{"messages":[],"tools":[{"type":"function","parameters":{"a":{"\u0024ref":"b"}}}]}"#, false),
            (r#"{"messages":"#, false),
            (r#"{"n":1e999}"#, false),
        ] {
            assert_eq!(words(body).is_some(), want, "{body}");
        }
    }
}
