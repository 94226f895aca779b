//! How often a provider may search for a request.
//!
//! Searches cost beside tokens, so a reservation needs a bound of them. A tool may state one (`max_uses`), and a request of the
//! Responses wire one for all its tools (`max_tool_calls`). Read only where searches have a price.

use super::endpoint::Endpoint;
use super::json::Scanner;
use super::json_place::JsonFault;
use super::made::{elements, member, text};
use super::usage::{count_of, parse_count};

/// How often a provider may search for one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searches {
    /// The request asks for none.
    None,
    /// The request bounds them.
    AtMost(u32),
    /// As often as the provider likes.
    Open,
}

/// Members that let a provider search, beside its tools.
const MEMBERS: [&[u8]; 3] = [b"web_search_options", b"search_parameters", b"plugins"];
/// Tools that look through what the client itself has stored: no search of the web.
const OWN_STORES: [&[u8]; 2] = [b"file_search", b"tool_search"];

/// Reads how often a provider may search for one answer to a body that was checked before.
#[must_use]
pub fn searches_asked(endpoint: Endpoint, body: &[u8]) -> Searches {
    // What cannot be read may say anything.
    read(endpoint, body).unwrap_or(Searches::Open)
}

fn read(endpoint: Endpoint, body: &[u8]) -> Result<Searches, JsonFault> {
    let (mut asked, mut calls_max) = (Searches::None, None);
    let mut scanner = Scanner::resume(body, 0, 0);
    scanner.skip_space();
    if !scanner.open_object()? {
        return Ok(asked);
    }
    loop {
        let name = scanner.name()?;
        let value = scanner.value()?;
        match name.span.inner_of(body) {
            b"tools" => {
                let mut of_tools = Searches::None;
                elements(value.span.of(body), |tool, _| of_tools = of_tools.and(of_tool(tool)))?;
                asked = asked.and(of_tools);
            }
            // Only this wire knows it.
            b"max_tool_calls" if endpoint == Endpoint::Responses => calls_max = parse_count(value.span.of(body)),
            member if MEMBERS.contains(&member) && value.first != b'n' => asked = Searches::Open,
            _ if name.escaped => asked = Searches::Open,
            _ => {}
        }
        if !scanner.next_member()? {
            return Ok(asked.cut(calls_max));
        }
    }
}

/// What one tool of the request lets the provider do.
fn of_tool(tool: &[u8]) -> Searches {
    let Some(kind) = text(tool, b"type") else { return Searches::Open };
    if OWN_STORES.contains(&kind) || memchr::memmem::find(kind, b"search").is_none() {
        return Searches::None;
    }
    let stated = [Some(tool), member(tool, b"parameters")].into_iter().flatten();
    let most = stated.filter_map(|place| parse_count(member(place, b"max_uses")?)).min();
    most.map_or(Searches::Open, |most| Searches::AtMost(count_of(most)))
}

impl Searches {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::None, asked) | (asked, Self::None) => asked,
            (Self::AtMost(one), Self::AtMost(two)) => Self::AtMost(one.saturating_add(two)),
        }
    }

    fn cut(self, calls_max: Option<u64>) -> Self {
        match (self, calls_max.map(count_of)) {
            (Self::AtMost(asked), Some(most)) => Self::AtMost(asked.min(most)),
            (Self::Open, Some(most)) => Self::AtMost(most),
            (asked, _) => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_ask_for_searches_is_read() {
        let (chat, responses) = (Endpoint::Chat, Endpoint::Responses);
        for (endpoint, body, want) in [
            (chat, r#"{"model":"m"}"#, Searches::None),
            (chat, r#"{"tools":[{"type":"function","function":{"name":"web_search"}}]}"#, Searches::None),
            (responses, r#"{"tools":[{"type":"file_search","vector_store_ids":[]}]}"#, Searches::None),
            (responses, r#"{"tools":[{"type":"web_search"}]}"#, Searches::Open),
            (responses, r#"{"tools":[{"type":"web_search_preview","max_uses":null}]}"#, Searches::Open),
            (responses, r#"{"tools":[{"type":"x_search"}],"max_tool_calls":3}"#, Searches::AtMost(3)),
            (responses, r#"{"max_tool_calls":null,"tools":[{"type":"x_search"}]}"#, Searches::Open),
            (responses, r#"{"max_tool_calls":3}"#, Searches::None),
            (chat, r#"{"tools":[{"type":"x_search"}],"max_tool_calls":3}"#, Searches::Open),
            (chat, r#"{"tools":[{"type":"web_search_20250305","max_uses":2,"name":"w"}]}"#, Searches::AtMost(2)),
            (
                chat,
                r#"{"tools":[{"type":"openrouter:web_search","parameters":{"max_uses":1}},{"type":"web_search","max_uses":4}]}"#,
                Searches::AtMost(5),
            ),
            (chat, r#"{"tools":[{"type":"web_search","max_uses":2},{"type":"web_search"}]}"#, Searches::Open),
            (chat, r#"{"tools":[{"type":"web_search","max_uses":-2}]}"#, Searches::Open),
            (chat, r#"{"tools":[{"type":"web_search","max_uses":99999999999}]}"#, Searches::AtMost(u32::MAX)),
            (chat, r#"{"tools":[{"type":"web\u005fsearch"}]}"#, Searches::Open),
            (chat, r#"{"t\u006fols":[]}"#, Searches::Open),
            (chat, r#"{"web_search_options":{}}"#, Searches::Open),
            (chat, r#"{"web_search_options":null,"search_parameters":null}"#, Searches::None),
            (chat, r#"{"search_parameters":{"mode":"on"}}"#, Searches::Open),
            (chat, r#"{"plugins":[{"id":"web"}]}"#, Searches::Open),
            (chat, "no JSON", Searches::Open),
        ] {
            assert_eq!(searches_asked(endpoint, body.as_bytes()), want, "{body}");
        }
    }
}
