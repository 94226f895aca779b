//! Bodies and streams with the wrong content under a 200.

use super::Fault;
use crate::mock::answer::{before, events, honest, own_lines, plain, stream, whole};
use crate::mock::ask::Ask;
use crate::mock::body;
use crate::mock::event::{Event, Part};
use crate::serve::{Endpoint, Plan, Step, head};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "body",
        values: "badjson|truncated|html|empty|error|blank|deep|duplicate|null",
        keys: &[],
        rows: "F-09",
        about: "A plain 200 with: invalid JSON (default), JSON cut off with a matching length, HTML, nothing, an error object, 2.9 KB of leading blank lines (legal), 100,000 nested lists, a repeated key, `null`.",
        streams_only: false,
        make: body_fault,
    },
    Fault {
        name: "form",
        values: "plain|stream|type",
        keys: &[],
        rows: "F-09",
        about: "The wrong form: a plain answer to a streaming request (default), a stream to a plain request, or the right body typed `application/octet-stream`.",
        streams_only: false,
        make: form,
    },
    Fault {
        name: "no-done",
        values: "",
        keys: &[],
        rows: "F-15",
        about: "All events but `[DONE]`, then a clean end of the body.",
        streams_only: true,
        make: |ask| without(ask, &[Part::Done]),
    },
    Fault {
        name: "no-finish",
        values: "",
        keys: &["done"],
        rows: "F-14",
        about: "No finish reason (no `response.completed`) and no `[DONE]`; with `done` the mark is sent all the same.",
        streams_only: true,
        make: |ask| {
            let parts: &[Part] = if ask.script.has("done") { &[Part::Finish] } else { &[Part::Finish, Part::Done] };
            without(ask, parts)
        },
    },
    Fault {
        name: "empty-stream",
        values: "",
        keys: &["done"],
        rows: "F-14",
        about: "A stream without any event; with `done` only the mark.",
        streams_only: true,
        make: |ask| {
            let keep = ask.script.has("done");
            let kept = events(ask).into_iter().filter(|event| keep && event.part == Part::Done).collect();
            Ok(honest(ask, whole(ask, kept)))
        },
    },
    Fault {
        name: "after-done",
        values: "",
        keys: &[],
        rows: "F-15",
        about: "Two more content events and a second `[DONE]` behind the end.",
        streams_only: true,
        make: after_done,
    },
    Fault {
        name: "error-event",
        values: "openai|groq|openrouter|gpustack|responses",
        keys: &["chunk", "goes_on"],
        rows: "F-19",
        about: "An error after `chunk` (3) content events, as the named provider sends it, then the end of the body; with `goes_on` the stream continues.",
        streams_only: true,
        make: error_event,
    },
    Fault {
        name: "event",
        values: "badjson|utf8|glued|nul",
        keys: &["chunk"],
        rows: "F-20",
        about: "Content event `chunk` (3) is broken: invalid JSON, invalid UTF-8 inside the text, two objects glued together, or a NUL byte.",
        streams_only: true,
        make: broken_event,
    },
];

fn body_fault(ask: &Ask<'_>) -> Result<Plan, String> {
    let (kind, body) = match ask.script.value.unwrap_or("badjson") {
        "badjson" => ("application/json", b"{\"id\": \"mock\", \"choices\": [}".to_vec()),
        "truncated" => {
            let mut body = body::body(ask);
            body.truncate(body.len() / 2);
            ("application/json", body)
        }
        "html" => ("text/html", b"<html><body>Sign in to the hotel network</body></html>\n".to_vec()),
        "empty" => ("application/json", Vec::new()),
        "error" => ("application/json", br#"{"error":{"message":"the prompt was filtered","type":"invalid_request_error","param":"prompt","code":"content_filter"}}"#.to_vec()),
        "blank" => ("application/json", [b"\n         ".repeat(290), body::body(ask)].concat()),
        "deep" => ("application/json", [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
        "duplicate" => ("application/json", [b"{\"id\":\"twice\",".as_slice(), body::body(ask).get(1..).unwrap_or_default()].concat()),
        "null" => ("application/json", b"null".to_vec()),
        other => return Err(format!("unknown body `{other}`")),
    };
    let lines = format!("content-type: {kind}\r\ncontent-length: {}\r\n{}", body.len(), own_lines(ask));
    let mut steps = before(ask);
    steps.push(Step::write([head(200, &lines), body].concat()));
    Ok(honest(ask, steps))
}

fn form(ask: &Ask<'_>) -> Result<Plan, String> {
    match ask.script.value.unwrap_or("plain") {
        "plain" => Ok(honest(ask, plain(ask))),
        "stream" => Ok(honest(ask, stream(ask))),
        "type" => {
            let body = body::body(ask);
            let lines = format!(
                "content-type: application/octet-stream\r\ncontent-length: {}\r\n{}",
                body.len(),
                own_lines(ask)
            );
            let mut steps = before(ask);
            steps.push(Step::write([head(200, &lines), body].concat()));
            Ok(honest(ask, steps))
        }
        other => Err(format!("unknown form `{other}`")),
    }
}

fn without(ask: &Ask<'_>, parts: &[Part]) -> Result<Plan, String> {
    let kept = events(ask).into_iter().filter(|event| !parts.contains(&event.part)).collect();
    Ok(honest(ask, whole(ask, kept)))
}

fn after_done(ask: &Ask<'_>) -> Result<Plan, String> {
    let mut all = events(ask);
    let mut more: Vec<Event> = all.iter().filter(|event| event.part == Part::Content).take(2).cloned().collect();
    more.extend(all.iter().filter(|event| event.part == Part::Done).cloned());
    all.extend(more);
    Ok(honest(ask, whole(ask, all)))
}

fn error_event(ask: &Ask<'_>) -> Result<Plan, String> {
    let default = if ask.endpoint == Endpoint::Responses { "responses" } else { "openai" };
    let bytes: &[u8] = match ask.script.value.unwrap_or(default) {
        "openai" => b"data: {\"error\":{\"message\":\"mock failed\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n",
        "groq" => b"event: error\ndata: {\"error\":{\"message\":\"mock failed\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"status_code\":400}}\n\n",
        "openrouter" => b"data: {\"id\":\"gen-mock\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"mock-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}],\"error\":{\"code\":502,\"message\":\"mock failed\"}}\n\n",
        "gpustack" => b"error: {\"error\": {\"code\": 500, \"message\": \"mock failed\"}}\n\n",
        "responses" => b"event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":99,\"response\":{\"id\":\"resp_mock\",\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"mock failed\"},\"output\":[],\"usage\":null}}\n\n",
        other => return Err(format!("unknown shape `{other}`")),
    };
    let at = place(ask)?;
    let mut all = events(ask);
    let rest = all.split_off((at + 1).min(all.len()));
    all.push(Event { part: Part::Content, bytes: bytes.to_vec() });
    if ask.script.has("goes_on") {
        all.extend(rest);
    }
    Ok(honest(ask, whole(ask, all)))
}

fn broken_event(ask: &Ask<'_>) -> Result<Plan, String> {
    let kind = ask.script.value.unwrap_or("badjson");
    let at = place(ask)?;
    let mut all = events(ask);
    let Some(event) = all.get_mut(at) else {
        return Err("no such event".to_owned());
    };
    let text = event.bytes.clone();
    let (line, blank) = text.split_at(text.len().saturating_sub(2));
    let marker = memchr::memmem::find(line, b"\"w0").map_or(line.len() / 2, |start| start + 1);
    let (left, right) = line.split_at(marker);
    event.bytes = match kind {
        "badjson" => [left, blank].concat(),
        "utf8" => [left, b"\xc3\x28\xff\xfe", right, blank].concat(),
        "glued" => {
            let object = line.strip_prefix(b"data: ").unwrap_or(line);
            [line, object, blank].concat()
        }
        "nul" => [left, b"\0", right, blank].concat(),
        other => return Err(format!("unknown event `{other}`")),
    };
    Ok(honest(ask, whole(ask, all)))
}

/// The place in the list of events of the content event that `chunk` names; the opening stands before them.
fn place(ask: &Ask<'_>) -> Result<usize, String> {
    let max = usize::try_from(ask.options.events).unwrap_or(usize::MAX);
    ask.script.number("chunk", 3.min(max), max)
}
