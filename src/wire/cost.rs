//! What a request cost, told in the usage of its stream.
//!
//! A stream has no head left for it when its usage comes. So the one event with the final usage is written anew, with `cost` (and
//! `fee`) in USD as the last members of its usage object; every other byte stays. A provider's own `cost` is what the gateway
//! pays and not what its client does: it is replaced.

use super::endpoint::Endpoint;
use super::event::message_of;
use super::json::Scanner;
use super::json_place::Span;
use crate::base::NanoUsd;

/// Gives the event with cost and fee in its usage; none where it has no usage object at the place of this wire, or is more
/// than one plain message.
#[must_use]
pub fn tell_cost(endpoint: Endpoint, event: &[u8], (cost, fee): (NanoUsd, NanoUsd)) -> Option<Vec<u8>> {
    let message = message_of(event)?;
    let text = message.of(event);
    let usage = match endpoint {
        Endpoint::Responses => {
            let response = member(text, Span::new(0, text.len()), b"response")?;
            member(text, response, b"usage")?
        }
        Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings | Endpoint::Transcriptions => {
            member(text, Span::new(0, text.len()), b"usage")?
        }
    };
    if !usage.of(text).starts_with(b"{") {
        return None;
    }
    let from = message.start as usize;
    let mut told = Vec::with_capacity(event.len() + 64);
    let mut written = 0;
    let mut more = String::new();
    let mut amounts = vec![("cost", cost)];
    if fee != NanoUsd::ZERO {
        amounts.push(("fee", fee));
    }
    // In the order of their places; what stands nowhere yet comes at the end.
    let mut known: Vec<(Span, NanoUsd)> = Vec::new();
    for (name, amount) in amounts {
        match member(text, usage, name.as_bytes()) {
            Some(place) => known.push((place, amount)),
            None => more += &format!(",\"{name}\":{amount}"),
        }
    }
    known.sort_by_key(|(place, _)| place.start);
    for (place, amount) in known {
        told.extend_from_slice(event.get(written..from + place.start as usize)?);
        told.extend_from_slice(amount.to_string().as_bytes());
        written = from + place.end as usize;
    }
    let close = from + (usage.end as usize).checked_sub(1)?;
    told.extend_from_slice(event.get(written..close)?);
    let is_empty = usage.inner_of(text).trim_ascii().is_empty();
    told.extend_from_slice(more.get(usize::from(is_empty && !more.is_empty())..)?.as_bytes());
    told.extend_from_slice(event.get(close..)?);
    Some(told)
}

/// The last value of a name in an object: what most readers take where it stands twice.
fn member(text: &[u8], object: Span, name: &[u8]) -> Option<Span> {
    let mut scanner = Scanner::resume(text, object.start as usize, 0);
    scanner.skip_space();
    if scanner.peek() != b'{' || !scanner.open_object().ok()? {
        return None;
    }
    let mut found = None;
    loop {
        let is_it = scanner.name().ok()?.span.inner_of(text) == name;
        let value = scanner.value().ok()?;
        if is_it {
            found = Some(value.span);
        }
        if !scanner.next_member().ok()? {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: NanoUsd = NanoUsd(1_230_000);
    const FEE: NanoUsd = NanoUsd(61_500);

    fn told(endpoint: Endpoint, event: &str, fee: NanoUsd) -> Option<String> {
        tell_cost(endpoint, event.as_bytes(), (COST, fee)).map(|told| String::from_utf8(told).unwrap())
    }

    #[test]
    fn cost_stands_last_in_the_usage_and_nothing_else_changes() {
        let chat = Endpoint::Chat;
        for (endpoint, event, fee, want) in [
            (
                chat,
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1} }\n\n",
                NanoUsd::ZERO,
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"cost\":0.001230000} }\n\n",
            ),
            (
                Endpoint::Completions,
                "data:{\"usage\":{ \"prompt_tokens\" : 1 }}\r\n\r\n",
                FEE,
                "data:{\"usage\":{ \"prompt_tokens\" : 1 ,\"cost\":0.001230000,\"fee\":0.000061500}}\r\n\r\n",
            ),
            (
                chat,
                "data: {\"usage\":{\"cost\":{\"total\":[1]},\"prompt_tokens\":1,\"fee\":null}}\n\n",
                FEE,
                "data: {\"usage\":{\"cost\":0.001230000,\"prompt_tokens\":1,\"fee\":0.000061500}}\n\n",
            ),
            (
                chat,
                "data: {\"usage\":{\"fee\":7,\"cost\":0.5}}\n\n",
                FEE,
                "data: {\"usage\":{\"fee\":0.000061500,\"cost\":0.001230000}}\n\n",
            ),
            (chat, "data: {\"usage\":{}}\n\n", NanoUsd::ZERO, "data: {\"usage\":{\"cost\":0.001230000}}\n\n"),
            (
                Endpoint::Responses,
                "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1}}}\n\n",
                NanoUsd::ZERO,
                "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"cost\":0.001230000}}}\n\n",
            ),
            (
                Endpoint::Responses,
                "data: {\"response\":{\"usage\":{}}}\nevent: response.completed\n\n",
                NanoUsd::ZERO,
                "data: {\"response\":{\"usage\":{\"cost\":0.001230000}}}\nevent: response.completed\n\n",
            ),
            (
                Endpoint::Responses,
                "data: {\"response\":{\"usage\":{\"input_tokens\":1}}}\n\n",
                NanoUsd::ZERO,
                "data: {\"response\":{\"usage\":{\"input_tokens\":1,\"cost\":0.001230000}}}\n\n",
            ),
        ] {
            assert_eq!(told(endpoint, event, fee).as_deref(), Some(want), "{event}");
        }
    }

    #[test]
    fn events_without_a_usage_object_of_the_wire_stay() {
        for (endpoint, event) in [
            (Endpoint::Chat, "data: {\"usage\":null}\n\n"),
            (Endpoint::Chat, "data: {\"x_groq\":{\"usage\":{\"prompt_tokens\":1}}}\n\n"),
            (Endpoint::Chat, "data: {\"usage\":{\ndata: }}\n\n"),
            (Endpoint::Chat, "data: [DONE]\n\n"),
            (Endpoint::Chat, ": usage\n\n"),
            (Endpoint::Responses, "data: {\"usage\":{\"input_tokens\":1}}\n\n"),
        ] {
            assert_eq!(told(endpoint, event, FEE), None, "{event}");
        }
    }
}
