//! Searches and pictures that an answer shows beside tokens.
//!
//! Usage objects that state them are read with the tokens. Where they do not, OpenAI states searches in `tool_usage` beside it,
//! and every server of the Responses wire lists each call of its own tools in `output`. Chat lists pictures in its messages.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::json::Scanner;
use super::json_place::{JsonFault, Value};
use super::usage::{Found, count_of, parse_count, scan_usage};
use crate::base::TokenCounts;

/// How the type of every call ends: an answer without one is not looked through.
static CALL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"_call\""));

/// What a response of the Responses wire states of its use, as far as it was read.
#[derive(Default)]
pub(super) struct Used<'a> {
    pub(super) usage: Found,
    pub(super) output: &'a [u8],
    pub(super) tool_usage: &'a [u8],
}

impl Used<'_> {
    /// Gives the counts; none without a valid usage. What the usage states beats `tool_usage`, and that the list of calls.
    pub(super) fn counts(&self) -> Option<TokenCounts> {
        let mut counts = self.usage.counts()?;
        let stated = self.usage.states_searches() || self.take_tool_usage(&mut counts);
        if CALL.find(self.output).is_some() {
            let (searches, images) = calls(self.output).unwrap_or_default();
            counts.searches = if stated { counts.searches } else { searches };
            counts.images = counts.images.max(images);
        }
        Some(counts)
    }

    fn take_tool_usage(&self, counts: &mut TokenCounts) -> bool {
        let stated = member(self.tool_usage, b"web_search").and_then(|search| member(search, b"num_requests"));
        let Some(searches) = stated.and_then(parse_count) else { return false };
        counts.searches = count_of(searches);
        true
    }
}

/// Reads the usage of a response object that was checked before.
pub(super) fn read_response(response: &[u8]) -> Option<TokenCounts> {
    let mut used = Used::default();
    let mut scanner = Scanner::resume(response, 0, 0);
    if !scanner.open_object().ok()? {
        return None;
    }
    loop {
        match scanner.name().ok()?.span.inner_of(response) {
            b"usage" => used.usage = scan_usage(&mut scanner, response).ok()?,
            b"output" => used.output = scanner.value().ok()?.span.of(response),
            b"tool_usage" => used.tool_usage = scanner.value().ok()?.span.of(response),
            _ => {
                scanner.value().ok()?;
            }
        }
        if !scanner.next_member().ok()? {
            return used.counts();
        }
    }
}

/// Counts the pictures in the messages of a whole Chat answer.
#[must_use]
pub fn images_in_answer(body: &[u8]) -> u32 {
    let mut count = 0;
    let Some(choices) = member(body, b"choices") else { return 0 };
    // What cannot be read was refused before.
    let _ = elements(choices, |choice, _| {
        let images = member(choice, b"message").and_then(|message| find(message, b"images"));
        count += images.filter(|images| images.first == b'[').map_or(0, |images| images.children);
    });
    count
}

/// Searches and pictures among the items of `output`.
fn calls(output: &[u8]) -> Result<(u32, u32), JsonFault> {
    let (mut searches, mut images) = (0, 0);
    elements(output, |item, _| {
        searches += u32::from(is_search(item));
        images += u32::from(is_image(item));
    })?;
    Ok((searches, images))
}

/// Whether an item may be a search.
fn is_search_call(item: &[u8]) -> bool {
    matches!(text(item, b"type"), Some(b"web_search_call" | b"x_search_call"))
}

/// Whether an item is a search. A page that was opened is none.
fn is_search(item: &[u8]) -> bool {
    let action = || member(item, b"action").and_then(|action| text(action, b"type"));
    is_search_call(item) && action().is_none_or(|action| action == b"search")
}

fn is_image(item: &[u8]) -> bool {
    text(item, b"type") == Some(b"image_generation_call")
}

/// What the events of a stream have shown so far, for one that ends before its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MadeSoFar {
    searches: u32,
    /// Calls that have begun and not ended: what cannot be told yet is a search.
    open: u32,
    images: u32,
    /// Some text cites what was found, and nobody says how often was looked.
    cites: bool,
}

impl MadeSoFar {
    /// Notes the item of an event of the Responses wire; `item` is JSON text.
    pub(super) fn begun(&mut self, item: &[u8]) {
        self.open = self.open.saturating_add(u32::from(is_search_call(item)));
    }

    /// The same, once the item is whole.
    pub(super) fn ended(&mut self, item: &[u8]) {
        self.open = self.open.saturating_sub(u32::from(is_search_call(item)));
        self.searches = self.searches.saturating_add(u32::from(is_search(item)));
        self.images = self.images.saturating_add(u32::from(is_image(item)));
    }

    /// Notes that an answer of Chat cites what was found.
    pub(super) fn cited(&mut self) {
        self.cites = true;
    }

    /// Searches and pictures.
    pub(super) fn counts(self) -> (u32, u32) {
        (self.searches.saturating_add(self.open).max(u32::from(self.cites)), self.images)
    }
}

/// Steps through the elements of an array.
pub(super) fn elements<'a>(list: &'a [u8], mut each: impl FnMut(&'a [u8], Value)) -> Result<(), JsonFault> {
    let mut scanner = Scanner::resume(list, 0, 0);
    if scanner.peek() != b'[' || !scanner.open_array()? {
        return Ok(());
    }
    loop {
        let value = scanner.value()?;
        each(value.span.of(list), value);
        if !scanner.next_element()? {
            return Ok(());
        }
    }
}

/// The text of a member of an object, without its quotes; none for one that is spelt with escapes.
pub(super) fn text<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = find(object, name).filter(|value| value.first == b'"' && !value.escaped)?;
    Some(value.span.inner_of(object))
}

/// The JSON text of a member of an object.
pub(super) fn member<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    find(object, name).map(|value| value.span.of(object))
}

/// A member of an object; of a name that stands twice the last.
pub(super) fn find(object: &[u8], name: &[u8]) -> Option<Value> {
    let mut scanner = Scanner::resume(object, 0, 0);
    scanner.skip_space();
    if scanner.peek() != b'{' || !scanner.open_object().ok()? {
        return None;
    }
    let mut found = None;
    loop {
        let is_it = scanner.name().ok()?.span.inner_of(object) == name;
        let value = scanner.value().ok()?;
        found = if is_it { Some(value) } else { found };
        if !scanner.next_member().ok()? {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{answer::view_answer, endpoint::Endpoint, stream::StreamWatch};
    use super::*;

    const SEARCH: &str = r#"{"type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}"#;
    const OPEN: &str = r#"{"id":"1","action":{"type":"open_page"},"type":"web_search_call"}"#;
    const BARE: &str = r#"{"type":"web_search_call"}"#;
    const PICTURE: &str = r#"{"result":"AAAA","type":"image_generation_call"}"#;
    const SAID: &str = r#"{"type":"message","content":[{"text":"\"web_search_call\""}]}"#;

    #[test]
    fn searches_and_pictures_of_a_response_are_counted_once() {
        let usage = r#""usage":{"input_tokens":1,"output_tokens":2}"#;
        let stated =
            r#""usage":{"input_tokens":1,"output_tokens":2,"server_side_tool_usage_details":{"web_search_calls":5}}"#;
        let tools =
            |count: u32| format!(r#""tool_usage":{{"image_gen":{{}},"web_search":{{"num_requests":{count}}}}}"#);
        for (name, response, want) in [
            ("none", format!(r#"{{"output":[{SAID}],{usage}}}"#), (0, 0)),
            ("a list of calls", format!(r#"{{"output":[{SEARCH},{OPEN},{BARE},{PICTURE},{SAID}],{usage}}}"#), (2, 1)),
            ("behind the usage", format!(r#"{{{usage},"output":[{SEARCH}]}}"#), (1, 0)),
            ("stated beside", format!(r#"{{"output":[{SEARCH},{PICTURE}],{},{usage}}}"#, tools(3)), (3, 1)),
            ("stated as none", format!(r#"{{"output":[{BARE}],{},{usage}}}"#, tools(0)), (0, 0)),
            ("stated within", format!(r#"{{"output":[{SEARCH}],{},{stated}}}"#, tools(3)), (5, 0)),
            ("no list", format!(r#"{{"output":"_call\"",{usage},"tool_usage":null}}"#), (0, 0)),
        ] {
            let counted = |counts: TokenCounts| (counts.searches, counts.images);
            let whole = view_answer(Endpoint::Responses, response.as_bytes()).unwrap().usage;
            assert_eq!(whole.map(counted), Some(want), "{name}");
            let event = format!("data: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n");
            let mut watch = StreamWatch::new(Endpoint::Responses, false);
            watch.observe(event.as_bytes());
            assert_eq!(watch.usage().map(counted), Some(want), "{name}, as a stream");
        }
    }

    /// What a client that left has seen of them is what it is billed for.
    #[test]
    fn stream_without_usage_has_made_what_its_events_showed() {
        let event = |kind: &str, item: &str| {
            format!(
                "event: response.output_item.{kind}\ndata: {{\"type\":\"response.output_item.{kind}\",\"item\":{item}}}\n\n"
            )
        };
        let mut watch = StreamWatch::new(Endpoint::Responses, false);
        for (kind, item, want) in [
            ("added", SAID, (0, 0)),
            ("added", BARE, (1, 0)),
            ("done", SEARCH, (1, 0)),
            ("added", BARE, (2, 0)),
            ("done", OPEN, (1, 0)),
            ("added", PICTURE, (1, 0)),
            ("done", PICTURE, (1, 1)),
            ("done", SAID, (1, 1)),
            ("done", BARE, (2, 1)),
        ] {
            assert_eq!(watch.observe(event(kind, item).as_bytes()), super::super::stream::Action::Pass);
            assert_eq!((watch.usage(), watch.made_so_far()), (None, want), "{kind} {item}");
        }

        let mut watch = StreamWatch::new(Endpoint::Chat, false);
        for (delta, want) in [
            (r#"{"content":"a","annotations":[]}"#, (0, 0)),
            (r#"{"annotations":[{"type":"file","file":{}}]}"#, (0, 0)),
            (r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"u"}}]}"#, (1, 0)),
            (r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"v"}}],"images":[{}]}"#, (1, 1)),
        ] {
            watch.observe(format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n").as_bytes());
            assert_eq!((watch.usage(), watch.made_so_far()), (None, want), "{delta}");
        }
    }

    #[test]
    fn pictures_of_a_chat_are_counted() {
        for (body, want) in [
            (r#"{"choices":[{"message":{"images":[{},{}]}},{"message":{"content":"a","images":[{}]}}]}"#, 3),
            (r#"{"choices":[{"message":{"content":"\"images\":[1]"}},{"images":[1]},7]}"#, 0),
            (r#"{"choices":{"message":{"images":[1]}},"images":[1]}"#, 0),
            (r#"{"choices":[{"message":{"images":null}}]}"#, 0),
        ] {
            assert_eq!(images_in_answer(body.as_bytes()), want, "{body}");
        }
        let mut watch = StreamWatch::new(Endpoint::Chat, false);
        for event in [
            r#"{"choices":[{"index":0,"delta":{"content":"a","images":[{"image_url":{"url":"data:"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"images":[{}]}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"images":null}}]}"#,
        ] {
            watch.observe(format!("data: {event}\n\n").as_bytes());
        }
        assert_eq!(watch.usage().map(|usage| usage.images), Some(2));
    }
}
