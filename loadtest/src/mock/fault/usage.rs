//! Usage that is wrong, missing, repeated or somewhere else.

use super::Fault;
use crate::mock::answer::{events, honest, json_head, whole};
use crate::mock::ask::Ask;
use crate::mock::body::{body_with, usage};
use crate::mock::event::{self, Event, Part};
use crate::serve::{Endpoint, Plan, Step};

pub(super) const FAULTS: &[Fault] = &[Fault {
    name: "usage",
    values: "missing|null|negative|huge|overflow|float|text|contradict|zero|twice|late|early|unasked|groq",
    keys: &[],
    rows: "F-23 T-56",
    about: "Usage that is: missing (default), null, negative, 10^15, beyond 64 bits, fractional, a string, contradicting (1 token, another total), all zero; given twice with two values; streams: behind `[DONE]`, growing on each content event, sent though not asked for, or in `x_groq`.",
    streams_only: false,
    make,
}];

fn make(ask: &Ask<'_>) -> Result<Plan, String> {
    let kind = ask.script.value.unwrap_or("missing");
    if let Some(wrong) = wrong_usage(ask, kind) {
        return Ok(if ask.stream { streamed(ask, wrong.as_deref()) } else { plain(ask, wrong.as_deref()) });
    }
    match (kind, ask.stream) {
        ("twice", false) => {
            let other = usage(ask, (1, 1));
            let body = format!("{},\"usage\":{}", other, usage(ask, ask.usage()));
            Ok(plain(ask, Some(&body)))
        }
        ("twice", true) => Ok(edited(ask, |all| {
            let extra = event::usage_event(ask, &usage(ask, (1, 1)));
            let at = all.iter().position(|event| event.part == Part::Done).unwrap_or(all.len());
            let honest = event::usage_event(ask, &usage(ask, ask.usage()));
            all.retain(|event| event.part != Part::Usage);
            let at = at.min(all.len().saturating_sub(1));
            all.splice(at..at, [extra, honest]);
        })),
        ("late", true) => Ok(edited(ask, |all| {
            all.retain(|event| event.part != Part::Usage);
            all.push(event::usage_event(ask, &usage(ask, ask.usage())));
        })),
        ("unasked", true) => Ok(edited(ask, |all| {
            all.retain(|event| event.part != Part::Usage);
            let at = all.iter().position(|event| event.part == Part::Done).unwrap_or(all.len());
            all.insert(at, event::usage_event(ask, &usage(ask, ask.usage())));
        })),
        ("early", true) => Ok(edited(ask, |all| growing(ask, all))),
        ("groq", true) => Ok(edited(ask, |all| {
            all.retain(|event| event.part != Part::Usage);
            for event in all.iter_mut().filter(|event| event.part == Part::Finish) {
                let inside = format!(r#","x_groq":{{"id":"req_mock","usage":{}}}}}"#, usage(ask, ask.usage()));
                insert_last(event, &inside);
            }
        })),
        ("late" | "early" | "unasked" | "groq", false) => Err(format!("usage `{kind}` needs `\"stream\": true`")),
        _ => Err(format!("unknown usage `{kind}`")),
    }
}

/// The usage object of the kinds that only change it; the inner `None` leaves it out.
fn wrong_usage(ask: &Ask<'_>, kind: &str) -> Option<Option<String>> {
    let (input, output) = match ask.endpoint {
        Endpoint::Responses => ("input_tokens", "output_tokens"),
        _ => ("prompt_tokens", "completion_tokens"),
    };
    let all = |value: &str| format!(r#"{{"{input}":{value},"{output}":{value},"total_tokens":{value}}}"#);
    Some(match kind {
        "missing" => None,
        "null" => Some("null".to_owned()),
        "negative" => Some(all("-50")),
        "huge" => Some(all("1000000000000000")),
        "overflow" => Some(all("99999999999999999999999999")),
        "float" => Some(all("12.5")),
        "text" => Some(all("\"12\"")),
        "zero" => Some(all("0")),
        "contradict" => Some(format!(r#"{{"{input}":1,"{output}":1,"total_tokens":987654}}"#)),
        _ => return None,
    })
}

fn plain(ask: &Ask<'_>, usage: Option<&str>) -> Plan {
    let body = body_with(ask, usage);
    let mut steps = crate::mock::answer::before(ask);
    steps.push(Step::write([json_head(ask, 200, Some(body.len())), body].concat()));
    honest(ask, steps)
}

/// A stream with this usage where the endpoint puts it, whether or not it was asked for.
fn streamed(ask: &Ask<'_>, usage: Option<&str>) -> Plan {
    edited(ask, |all| {
        all.retain(|event| event.part != Part::Usage);
        if ask.endpoint == Endpoint::Responses {
            all.retain(|event| event.part != Part::Finish);
            all.push(event::finish(ask, usage));
        } else if let Some(usage) = usage {
            let at = all.iter().position(|event| event.part == Part::Done).unwrap_or(all.len());
            all.insert(at, event::usage_event(ask, usage));
        }
    })
}

fn edited(ask: &Ask<'_>, edit: impl FnOnce(&mut Vec<Event>)) -> Plan {
    let mut all = events(ask);
    edit(&mut all);
    honest(ask, whole(ask, all))
}

/// Puts cumulative usage on each content event, as Perplexity does.
fn growing(ask: &Ask<'_>, all: &mut Vec<Event>) {
    all.retain(|event| event.part != Part::Usage);
    let (input, _) = ask.usage();
    for (count, event) in all.iter_mut().filter(|event| event.part == Part::Content).enumerate() {
        let sofar = usage(ask, (input, count as u64 + 1));
        insert_last(event, &format!(r#","usage":{sofar}}}"#));
    }
}

/// Puts members at the end of an event's JSON object; `members` closes it again.
fn insert_last(event: &mut Event, members: &str) {
    let Some(at) = memchr::memrchr(b'}', &event.bytes) else {
        return;
    };
    let tail = event.bytes.split_off(at);
    event.bytes.extend_from_slice(members.as_bytes());
    event.bytes.extend_from_slice(tail.get(1..).unwrap_or_default());
}
