//! Tags and metadata that a client puts on its request.
//!
//! They are for the access log and the bill only: never a label of a metric, never sent to a provider. A request without
//! them allocates nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// Most bytes of `x-millrace-tags`, repeated lines together, and of `x-millrace-metadata`.
pub const ANNOTATION_BYTES_MAX: usize = 4_096;

const TAG_NAME_BYTES_MAX: usize = 64;
const TAG_VALUE_BYTES_MAX: usize = 256;
const METADATA_COUNT_MAX: usize = 5;

/// Texts by name; every name stands once.
pub type Texts = BTreeMap<Box<str>, Box<str>>;

/// What a client says about its request. At most 8 KiB of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// From `x-millrace-tags`.
    pub tags: Texts,
    /// From `x-millrace-metadata`, at most 5.
    pub metadata: Texts,
}

/// Why the header is refused. The text of the client is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// The tags.
    #[error(
        "`x-millrace-tags` must be `name=value,name=value` of at most 4096 bytes; a name, once, has 1 to 64 of `A-Z a-z \
         0-9 _ . : -` and begins with a letter or digit, a value has at most 256 bytes of UTF-8 without control characters"
    )]
    Tags,
    /// The metadata.
    #[error(
        "`x-millrace-metadata` must be a JSON object of at most 4096 bytes with at most 5 members, each a string, no name twice"
    )]
    Metadata,
}

impl Annotations {
    /// Reads the values of the headers; `None` when there is nothing in them.
    ///
    /// # Errors
    /// [`AnnotationError`] names the header.
    pub fn parse<'a>(
        tag_lines: impl Iterator<Item = &'a [u8]>,
        metadata: Option<&[u8]>,
    ) -> Result<Option<Box<Self>>, AnnotationError> {
        let tags = parse_tags(tag_lines).ok_or(AnnotationError::Tags)?;
        let metadata = metadata.map_or(Some(Texts::new()), parse_metadata).ok_or(AnnotationError::Metadata)?;
        let any = !tags.is_empty() || !metadata.is_empty();
        Ok(any.then(|| Box::new(Self { tags, metadata })))
    }
}

fn parse_tags<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Texts> {
    let (mut tags, mut bytes) = (Texts::new(), 0);
    for line in lines {
        bytes += line.len();
        if bytes > ANNOTATION_BYTES_MAX {
            return None;
        }
        for tag in std::str::from_utf8(line).ok()?.split(',') {
            let (name, value) = tag.trim_matches([' ', '\t']).split_once('=')?;
            let fits = is_tag_name(name) && value.len() <= TAG_VALUE_BYTES_MAX && !value.contains(char::is_control);
            if !fits || tags.insert(name.into(), value.into()).is_some() {
                return None;
            }
        }
    }
    Some(tags)
}

fn is_tag_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && name.len() <= TAG_NAME_BYTES_MAX && name.bytes().all(inner)
}

fn parse_metadata(value: &[u8]) -> Option<Texts> {
    if value.len() > ANNOTATION_BYTES_MAX {
        return None;
    }
    serde_json::from_slice::<Metadata>(value).ok().map(|metadata| metadata.0)
}

/// A map reader of its own, since the usual ones let a second member of one name win silently.
struct Metadata(Texts);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Metadata, A::Error> {
        let mut texts = Texts::new();
        while let Some((name, text)) = members.next_entry::<Box<str>, Box<str>>()? {
            if texts.insert(name, text).is_some() || texts.len() > METADATA_COUNT_MAX {
                return Err(A::Error::custom("a name stands twice, or there are too many"));
            }
        }
        Ok(Metadata(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn tags_are_read_or_refused_as_a_whole() {
        let long = |name: usize, value: usize| format!("{}={}", "n".repeat(name), "v".repeat(value));
        let many =
            |count: usize| (0..count).map(|i| format!("k{i:02}={}", "v".repeat(252))).collect::<Vec<_>>().join(",");
        for (name, lines, want) in [
            ("two", vec!["team=red,env=prod"], Ok(texts(&[("team", "red"), ("env", "prod")]))),
            ("lines are joined", vec!["a=1", "b=2"], Ok(texts(&[("a", "1"), ("b", "2")]))),
            ("space around", vec!["a=1 ,\tb=2"], Ok(texts(&[("a", "1"), ("b", "2")]))),
            ("equals sign in a value", vec!["a=1=2"], Ok(texts(&[("a", "1=2")]))),
            ("empty value", vec!["a="], Ok(texts(&[("a", "")]))),
            ("every sign of a name", vec!["9a.b:c_d-e=é"], Ok(texts(&[("9a.b:c_d-e", "é")]))),
            ("no equals sign", vec!["a"], Err(AnnotationError::Tags)),
            ("empty", vec![""], Err(AnnotationError::Tags)),
            ("comma at the end", vec!["a=1,"], Err(AnnotationError::Tags)),
            ("twice", vec!["a=1", "a=1"], Err(AnnotationError::Tags)),
            ("first sign", vec!["-a=1"], Err(AnnotationError::Tags)),
            ("space in a name", vec!["a b=1"], Err(AnnotationError::Tags)),
            ("no name", vec!["=1"], Err(AnnotationError::Tags)),
            ("control character", vec!["a=\u{85}"], Err(AnnotationError::Tags)),
            ("name of 65", vec![long(65, 1).as_str()], Err(AnnotationError::Tags)),
            ("value of 257", vec![long(1, 257).as_str()], Err(AnnotationError::Tags)),
            (
                "4,112 bytes in two lines",
                vec![many(8).as_str(), many(8).replace('k', "l").as_str()],
                Err(AnnotationError::Tags),
            ),
        ] {
            let got = Annotations::parse(lines.iter().map(|line| line.as_bytes()), None);
            assert_eq!(got.map(|found| found.unwrap_or_default().tags), want, "{name}");
        }
        let fits = long(64, 256);
        assert!(Annotations::parse([fits.as_bytes()].into_iter(), None).is_ok());
        assert_eq!(Annotations::parse([&b"a=\xff"[..]].into_iter(), None), Err(AnnotationError::Tags));
    }

    #[test]
    fn metadata_is_read_or_refused_as_a_whole() {
        let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "v".repeat(length - 8));
        for (name, value, want) in [
            ("five", r#"{"a":"1","b":"2","c":"3","d":"4","e":"é"}"#, Some(5)),
            ("none", "{}", Some(0)),
            ("4,096 bytes", long(4_096).as_str(), Some(1)),
            ("4,097 bytes", long(4_097).as_str(), None),
            ("six", r#"{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6"}"#, None),
            ("a number", r#"{"a":1}"#, None),
            ("nested", r#"{"a":{"b":"c"}}"#, None),
            ("a name twice", r#"{"a":"1","\u0061":"2"}"#, None),
            ("a list", r#"["a"]"#, None),
            ("not JSON", "a=1", None),
            ("text after it", r#"{"a":"1"} x"#, None),
            ("empty", "", None),
        ] {
            let got = Annotations::parse(std::iter::empty(), Some(value.as_bytes()));
            let want = want.ok_or(AnnotationError::Metadata);
            assert_eq!(got.map(|found| found.unwrap_or_default().metadata.len()), want, "{name}");
        }
        assert_eq!(Annotations::parse(std::iter::empty(), Some(b"{\"a\":\"\xff\"}")), Err(AnnotationError::Metadata));
    }

    #[test]
    fn nothing_written_is_nothing_kept() {
        for metadata in [None, Some(&b"{}"[..])] {
            assert_eq!(Annotations::parse(std::iter::empty(), metadata), Ok(None));
        }
    }
}
