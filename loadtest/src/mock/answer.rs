//! Honest answers as steps; faults have the same parts.

use std::time::Duration;

use super::ask::Ask;
use super::body;
use super::event::{self, Event, Part};
use crate::serve::{After, EventRun, Plan, Step, chunk, head};

/// The last chunk of a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An honest answer, plain or streamed as asked for.
pub(crate) fn honest(ask: &Ask<'_>, steps: Vec<Step>) -> Plan {
    let after = if closes(ask) { After::Close } else { After::KeepAlive };
    Plan { status: 200, steps, after, model: None, stream: ask.stream, usage: Some(ask.usage()) }
}

/// The steps of a plain answer: one write.
pub(crate) fn plain(ask: &Ask<'_>) -> Vec<Step> {
    let mut steps = before(ask);
    let body = body::body(ask);
    let chunked = ask.options.chunked && !ask.http_10;
    let mut bytes = json_head(ask, 200, if chunked { None } else { Some(body.len()) });
    bytes.extend_from_slice(&if chunked { [&chunk(&body), LAST_CHUNK].concat() } else { body });
    steps.push(Step::write(bytes));
    steps
}

/// The steps of a stream: head, opening, numbered content, closing; each event one chunk and one write.
pub(crate) fn stream(ask: &Ask<'_>) -> Vec<Step> {
    let mut steps = before(ask);
    steps.push(Step::write(stream_head(ask)));
    first_wait(ask, &mut steps);
    let chunked = is_chunked(ask);
    let frame = |bytes: Vec<u8>| if chunked { chunk(&bytes) } else { bytes };
    steps.push(Step::event(frame(event::opening(ask).bytes)));
    steps.push(Step::Events(Box::new(event::run(ask, chunked))));
    let mut closing = event::closing(ask).into_iter().peekable();
    while let Some(event) = closing.next() {
        let mut bytes = frame(event.bytes);
        // The end of the body leaves in the same write as the last event.
        if closing.peek().is_none() && chunked {
            bytes.extend_from_slice(LAST_CHUNK);
        }
        steps.push(Step::event(bytes));
    }
    steps
}

/// A stream that sends one event and then a comment every 5 seconds until the client leaves.
pub(crate) fn hold(ask: &Ask<'_>) -> Vec<Step> {
    let mut steps = before(ask);
    steps.push(Step::write(stream_head(ask)));
    first_wait(ask, &mut steps);
    let chunked = is_chunked(ask);
    let frame = |bytes: &[u8]| {
        if chunked { chunk(bytes) } else { bytes.to_vec() }
    };
    steps.push(Step::event(frame(&event::opening(ask).bytes)));
    let every = Duration::from_secs(5);
    steps.push(Step::Wait(every));
    steps.push(Step::Repeat { bytes: frame(b": hold\n\n"), gap: every, count: u64::MAX });
    steps
}

/// All events of a stream as a list, for faults that change single events. At most 100,000 content events.
pub(crate) fn events(ask: &Ask<'_>) -> Vec<Event> {
    let run: EventRun = event::run(ask, false);
    let mut events = vec![event::opening(ask)];
    events.extend((0..run.count.min(100_000)).map(|index| event::content_event(&run, index)));
    events.extend(event::closing(ask));
    events
}

/// Head and events of a stream, each event one chunk and one write, without the end of the body.
pub(crate) fn stream_steps(ask: &Ask<'_>, events: Vec<Event>) -> Vec<Step> {
    let mut steps = before(ask);
    steps.push(Step::write(stream_head(ask)));
    first_wait(ask, &mut steps);
    let mut random = fastrand::Rng::with_seed(ask.seed);
    let mut seen = 0;
    for event in events {
        if event.part == Part::Content {
            seen += 1;
            if seen > 1 && !ask.options.gap.is_none() {
                steps.push(Step::Wait(ask.options.gap.sample(&mut random)));
            }
        }
        steps.push(Step::event(if is_chunked(ask) { chunk(&event.bytes) } else { event.bytes }));
    }
    steps
}

/// The same with the end of the body, in the same write as the last event.
pub(crate) fn whole(ask: &Ask<'_>, events: Vec<Event>) -> Vec<Step> {
    let mut steps = stream_steps(ask, events);
    if is_chunked(ask)
        && let Some(Step::Write { bytes, .. }) = steps.last_mut()
    {
        bytes.extend_from_slice(LAST_CHUNK);
    }
    steps
}

/// What comes before the head: the latency.
pub(crate) fn before(ask: &Ask<'_>) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(ask.seed);
    let wait = ask.options.latency.sample(&mut random);
    if wait.is_zero() { Vec::new() } else { vec![Step::Wait(wait)] }
}

/// What comes between head and first event.
pub(crate) fn first_wait(ask: &Ask<'_>, steps: &mut Vec<Step>) {
    if ask.options.first_ms > 0 {
        steps.push(Step::Wait(Duration::from_millis(ask.options.first_ms)));
    }
}

/// Whether streams are chunked, as they are but for HTTP/1.0.
pub(crate) fn is_chunked(ask: &Ask<'_>) -> bool {
    !ask.http_10
}

/// Whether the connection ends after the answer.
pub(crate) fn closes(ask: &Ask<'_>) -> bool {
    ask.options.close || (ask.http_10 && ask.stream)
}

/// The head of a JSON answer; without a length it is chunked.
pub(crate) fn json_head(ask: &Ask<'_>, status: u16, length: Option<usize>) -> Vec<u8> {
    let framing = length
        .map_or_else(|| "transfer-encoding: chunked\r\n".to_owned(), |length| format!("content-length: {length}\r\n"));
    head(status, &format!("content-type: application/json\r\n{framing}{}", own_lines(ask)))
}

/// The head of an event stream.
pub(crate) fn stream_head(ask: &Ask<'_>) -> Vec<u8> {
    let framing = if is_chunked(ask) { "transfer-encoding: chunked\r\n" } else { "" };
    let kind = "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n";
    head(200, &format!("{kind}{framing}{}", own_lines(ask)))
}

/// Header lines that every answer carries.
pub(crate) fn own_lines(ask: &Ask<'_>) -> String {
    let close = if closes(ask) { "connection: close\r\n" } else { "" };
    format!("x-request-id: mock-{}-{}\r\nopenai-processing-ms: 1\r\n{close}", ask.connection, ask.request)
}
