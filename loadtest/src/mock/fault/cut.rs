//! Answers that break off: reset, half-close, close, silence.

use std::time::Duration;

use super::Fault;
use crate::mock::answer::{before, events, honest, json_head, stream_head, stream_steps};
use crate::mock::ask::Ask;
use crate::mock::body;
use crate::mock::event::Part;
use crate::serve::{Plan, Step, chunk};

const KEYS: &[&str] = &["at", "chunk", "after_ms"];

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "reset",
        values: "",
        keys: KEYS,
        rows: "F-10 F-13",
        about: "RST. `at=head` (default): before the head; `at=midhead`: within it; `at=body`: within the first event or the plain body; `chunk=N`: after N content events, or N eighths of a plain body. `after_ms` (20): wait between the last byte and the end.",
        streams_only: false,
        make: |ask| cut(ask, Step::Reset),
    },
    Fault {
        name: "fin",
        values: "",
        keys: KEYS,
        rows: "F-10 F-14 F-17",
        about: "The same points, but the sending side is closed and the mock goes on reading.",
        streams_only: false,
        make: |ask| cut(ask, Step::Fin),
    },
    Fault {
        name: "close",
        values: "",
        keys: KEYS,
        rows: "F-10 F-14 F-17",
        about: "The same points, closed both ways.",
        streams_only: false,
        make: |ask| cut(ask, Step::Close),
    },
    Fault {
        name: "stall",
        values: "",
        keys: KEYS,
        rows: "F-03 F-16",
        about: "The same points, then silence until the client leaves. Without `at` it never answers.",
        streams_only: false,
        make: |ask| cut(ask, Step::Silence),
    },
];

/// Where an answer breaks off.
enum Point {
    Head,
    MidHead,
    Body,
    Chunk(u64),
}

fn point(ask: &Ask<'_>) -> Result<Point, String> {
    match (ask.script.text("at"), ask.script.text("chunk")) {
        (None | Some("head"), None) => Ok(Point::Head),
        (Some("midhead"), None) => Ok(Point::MidHead),
        (Some("body"), None) => Ok(Point::Body),
        (None, Some(_)) => {
            let max = if ask.stream { ask.options.events } else { 8 };
            ask.script.number("chunk", 0, max).map(Point::Chunk)
        }
        (Some(_), Some(_)) => Err("give `at` or `chunk`, not both".to_owned()),
        (Some(at), None) => Err(format!("unknown point `{at}`; known: head, midhead, body")),
    }
}

fn cut(ask: &Ask<'_>, end: Step) -> Result<Plan, String> {
    let point = point(ask)?;
    let mut steps = if ask.stream { begin_stream(ask, &point) } else { begin_plain(ask, &point) };
    if !matches!(point, Point::Head) {
        // A reset may overtake what was just written, so the peer gets time to read it.
        let after_ms = ask.script.number("after_ms", 20, 3_600_000)?;
        steps.push(Step::Wait(Duration::from_millis(after_ms)));
    }
    steps.push(end);
    let status = if matches!(point, Point::Head | Point::MidHead) { 0 } else { 200 };
    Ok(Plan { status, ..honest(ask, steps) })
}

fn begin_stream(ask: &Ask<'_>, point: &Point) -> Vec<Step> {
    let mut steps = before(ask);
    let opening = events(ask).into_iter().next().map(|event| event.bytes).unwrap_or_default();
    match point {
        Point::Head => {}
        Point::MidHead => steps.push(Step::write(first_half(stream_head(ask)))),
        Point::Body => {
            steps.push(Step::write(stream_head(ask)));
            steps.push(Step::write(first_half(chunk(&opening))));
        }
        Point::Chunk(count) => {
            let mut left = *count;
            let kept = events(ask).into_iter().take_while(|event| match event.part {
                Part::Opening => true,
                Part::Content if left > 0 => {
                    left -= 1;
                    true
                }
                _ => false,
            });
            return stream_steps(ask, kept.collect());
        }
    }
    steps
}

fn begin_plain(ask: &Ask<'_>, point: &Point) -> Vec<Step> {
    let mut steps = before(ask);
    let mut body = body::body(ask);
    let head = json_head(ask, 200, Some(body.len()));
    let eighths = |count: u64| usize::try_from(count).unwrap_or(8);
    match point {
        Point::Head => {}
        Point::MidHead => steps.push(Step::write(first_half(head))),
        Point::Body => {
            body.truncate(body.len() / 2);
            steps.push(Step::write([head, body].concat()));
        }
        Point::Chunk(count) => {
            body.truncate(body.len() / 8 * eighths(*count));
            steps.push(Step::write([head, body].concat()));
        }
    }
    steps
}

fn first_half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}
