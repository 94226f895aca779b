//! The same events, otherwise written.
//!
//! Lines, sizes, pieces, pace.

use std::time::Duration;

use super::Fault;
use crate::mock::answer::{LAST_CHUNK, before, events, honest, is_chunked, stream_head, whole};
use crate::mock::ask::Ask;
use crate::mock::event::{self, Part};
use crate::serve::{Plan, Step, chunk};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "lines",
        values: "crlf|cr|bom|nospace|noblank|twodata|fields",
        keys: &[],
        rows: "T-51",
        about: "The honest events with CRLF (default), with CR only, behind a byte order mark, without the blank after `data:`, without the last blank line, with each JSON object cut over two `data:` lines, or with `id:`, `retry:` and unknown fields.",
        streams_only: true,
        make: lines,
    },
    Fault {
        name: "onebyte",
        values: "",
        keys: &["ms"],
        rows: "F-21",
        about: "The honest stream, each byte one chunk and one write, `ms` (0) apart.",
        streams_only: true,
        make: |ask| {
            let gap = gap(ask, 0)?;
            let bytes = events(ask).into_iter().flat_map(|event| event.bytes);
            let pieces = bytes.map(|byte| vec![byte]).collect();
            Ok(honest(ask, in_pieces(ask, pieces, gap)))
        },
    },
    Fault {
        name: "dribble",
        values: "",
        keys: &["ms"],
        rows: "T-50",
        about: "The whole answer, head included, one byte each `ms` (50).",
        streams_only: false,
        make: |ask| {
            let gap = gap(ask, 50)?;
            let bytes = wire(ask);
            Ok(honest(ask, vec![Step::Trickle { bytes, gap }]))
        },
    },
    Fault {
        name: "random-cuts",
        values: "SEED",
        keys: &["ms"],
        rows: "F-21",
        about: "The honest stream cut into chunks at random places of this seed (1), also inside characters and line ends; `ms` (0) apart.",
        streams_only: true,
        make: random_cuts,
    },
    Fault {
        name: "glue",
        values: "",
        keys: &[],
        rows: "F-21",
        about: "The whole stream, head included, in one chunk and one write.",
        streams_only: true,
        make: |ask| {
            let all: Vec<u8> = events(ask).into_iter().flat_map(|event| event.bytes).collect();
            let bytes = [stream_head(ask), frame(ask, &all), last(ask)].concat();
            let count = events(ask).len() as u64;
            let mut steps = before(ask);
            steps.push(Step::Write { bytes, events: count });
            Ok(honest(ask, steps))
        },
    },
    Fault {
        name: "bigline",
        values: "BYTES",
        keys: &[],
        rows: "F-21 T-51",
        about: "One content event of this many bytes (1,048,577) on one line.",
        streams_only: true,
        make: |ask| {
            let bytes = ask.script.own_number(1_048_577, 64 << 20)?;
            with_content(ask, |text| padded(text, bytes))
        },
    },
    Fault {
        name: "bigevent",
        values: "BYTES",
        keys: &[],
        rows: "F-21 T-51",
        about: "One event of this many bytes (10,485,760) in `data:` lines of 1,000 bytes.",
        streams_only: true,
        make: |ask| {
            let bytes: usize = ask.script.own_number(10_485_760, 64 << 20)?;
            let line = format!("data: {}\n", "x".repeat(993));
            with_content(ask, |_| [line.repeat(bytes / line.len()).into_bytes(), b"\n".to_vec()].concat())
        },
    },
    Fault {
        name: "tinyfields",
        values: "COUNT",
        keys: &[],
        rows: "T-51",
        about: "One event of this many empty `data` fields (100,000).",
        streams_only: true,
        make: |ask| {
            let count = ask.script.own_number(100_000, 10_000_000)?;
            with_content(ask, |_| [b"data\n".repeat(count), b"\n".to_vec()].concat())
        },
    },
    Fault {
        name: "nodelimiter",
        values: "BYTES",
        keys: &[],
        rows: "T-51",
        about: "This many bytes (2,097,152) of one line that never ends, then the end of the body.",
        streams_only: true,
        make: |ask| {
            let bytes: usize = ask.script.own_number(2_097_152, 64 << 20)?;
            let mut steps = before(ask);
            steps.push(Step::write(stream_head(ask)));
            steps.push(Step::write(frame(ask, &[b"data: ".to_vec(), b"x".repeat(bytes)].concat())));
            steps.push(Step::write(last(ask)));
            Ok(honest(ask, steps))
        },
    },
    Fault {
        name: "comments",
        values: "COUNT",
        keys: &["ms"],
        rows: "T-50",
        about: "The opening event, then this many comments (without a value: without end) `ms` (100) apart, then the honest rest.",
        streams_only: true,
        make: comments,
    },
    Fault {
        name: "forever",
        values: "",
        keys: &["ms"],
        rows: "T-50",
        about: "Content events without end, `ms` (10) apart.",
        streams_only: true,
        make: |ask| {
            let run = event::run(ask, is_chunked(ask));
            let gap = crate::serve::Delay::parse(&ask.script.number("ms", 10_u64, 3_600_000)?.to_string())?;
            let mut steps = before(ask);
            steps.push(Step::write(stream_head(ask)));
            steps.push(Step::Events(Box::new(crate::serve::EventRun { count: u64::MAX, gap, ..run })));
            Ok(honest(ask, steps))
        },
    },
];

fn frame(ask: &Ask<'_>, bytes: &[u8]) -> Vec<u8> {
    if is_chunked(ask) { chunk(bytes) } else { bytes.to_vec() }
}

fn last(ask: &Ask<'_>) -> Vec<u8> {
    if is_chunked(ask) { LAST_CHUNK.to_vec() } else { Vec::new() }
}

fn gap(ask: &Ask<'_>, default_ms: u64) -> Result<Duration, String> {
    ask.script.number("ms", default_ms, 3_600_000).map(Duration::from_millis)
}

/// All bytes of an honest answer as they stand on the wire.
fn wire(ask: &Ask<'_>) -> Vec<u8> {
    let steps = if ask.stream { whole(ask, events(ask)) } else { crate::mock::answer::plain(ask) };
    let writes = steps.into_iter().filter_map(|step| match step {
        Step::Write { bytes, .. } => Some(bytes),
        _ => None,
    });
    writes.flatten().collect()
}

fn lines(ask: &Ask<'_>) -> Result<Plan, String> {
    let kind = ask.script.value.unwrap_or("crlf");
    let mut all = events(ask);
    let count = all.len();
    for (index, event) in all.iter_mut().enumerate() {
        let text = String::from_utf8_lossy(&event.bytes).into_owned();
        let text = match kind {
            "crlf" => text.replace('\n', "\r\n"),
            "cr" => text.replace('\n', "\r"),
            "bom" if index == 0 => format!("\u{feff}{text}"),
            "noblank" if index + 1 == count => text.trim_end().to_owned() + "\n",
            "bom" | "noblank" => text,
            "nospace" => text.replace("data: ", "data:"),
            "twodata" => text.replacen(",\"", ",\ndata: \"", 1),
            "fields" => format!("id: {index}\nretry: 1000\nx-unknown: 1\n{text}"),
            other => return Err(format!("unknown lines `{other}`")),
        };
        event.bytes = text.into_bytes();
    }
    Ok(honest(ask, whole(ask, all)))
}

fn in_pieces(ask: &Ask<'_>, pieces: Vec<Vec<u8>>, gap: Duration) -> Vec<Step> {
    let mut steps = before(ask);
    steps.push(Step::write(stream_head(ask)));
    for piece in pieces {
        steps.push(Step::write(frame(ask, &piece)));
        if !gap.is_zero() {
            steps.push(Step::Wait(gap));
        }
    }
    steps.push(Step::write(last(ask)));
    steps
}

fn random_cuts(ask: &Ask<'_>) -> Result<Plan, String> {
    let seed = ask.script.own_number(1, u64::MAX)?;
    let all: Vec<u8> = events(ask).into_iter().flat_map(|event| event.bytes).collect();
    let pieces = crate::serve::split_randomly(&all, seed);
    Ok(honest(ask, in_pieces(ask, pieces, gap(ask, 0)?)))
}

/// An honest stream whose first content event is replaced.
fn with_content(ask: &Ask<'_>, replace: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Plan, String> {
    let mut all = events(ask);
    let Some(event) = all.iter_mut().find(|event| event.part == Part::Content) else {
        return Err("the stream has no content event".to_owned());
    };
    event.bytes = replace(&event.bytes);
    Ok(honest(ask, whole(ask, all)))
}

/// Lengthens the text of a content event, so that the whole event has `bytes` bytes.
fn padded(event: &[u8], bytes: usize) -> Vec<u8> {
    let at = memchr::memmem::find(event, b"w0").unwrap_or(event.len());
    let (left, right) = event.split_at(at);
    [left, "x".repeat(bytes.saturating_sub(event.len())).as_bytes(), right].concat()
}

fn comments(ask: &Ask<'_>) -> Result<Plan, String> {
    let count = ask.script.own_number(u64::MAX, u64::MAX)?;
    let gap = gap(ask, 100)?;
    let mut steps = whole(ask, events(ask));
    let behind_opening =
        steps.iter().position(|step| matches!(step, Step::Write { events: 1, .. })).map_or(0, |at| at + 1);
    steps.insert(behind_opening, Step::Repeat { bytes: frame(ask, b": mock\n\n"), gap, count });
    Ok(honest(ask, steps))
}
