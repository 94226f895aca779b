//! Answers that break the framing rules of HTTP.

use super::Fault;
use super::reuse::canary_answer;
use crate::mock::answer::{
    LAST_CHUNK, before, events, honest, is_chunked, json_head, own_lines, plain, stream, stream_steps,
};
use crate::mock::ask::Ask;
use crate::mock::body;
use crate::serve::{Plan, Step, chunk, head};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "garbage",
        values: "text|binary|tls|http2|http09",
        keys: &[],
        rows: "T-53",
        about: "No head at all: a line of text (default), random bytes, a TLS alert, HTTP/2 settings, or a bare body; then the connection is closed.",
        streams_only: false,
        make: garbage,
    },
    Fault {
        name: "badhead",
        values: "nocolon|space|fold|nul|status|version|barecr|noname",
        keys: &[],
        rows: "T-53",
        about: "One malformed part in an otherwise honest head: a line without colon (default), a blank before the colon, a folded line, a NUL, a status of letters, `HTTP/9.9`, a bare CR, or no name.",
        streams_only: false,
        make: |ask| in_head(ask, bad_line(ask.script.value.unwrap_or("nocolon"))?),
    },
    Fault {
        name: "bighead",
        values: "BYTES",
        keys: &[],
        rows: "T-53",
        about: "One header of this many bytes (100,000).",
        streams_only: false,
        make: |ask| {
            let bytes = ask.script.own_number(100_000, 16 << 20)?;
            in_head(ask, Bad::Line(format!("x-big: {}\r\n", "a".repeat(bytes))))
        },
    },
    Fault {
        name: "manyheaders",
        values: "COUNT",
        keys: &[],
        rows: "T-53",
        about: "This many small headers (1,000).",
        streams_only: false,
        make: |ask| {
            let count = ask.script.own_number(1_000, 1_000_000)?;
            in_head(ask, Bad::Line("x-many: 1\r\n".repeat(count)))
        },
    },
    Fault {
        name: "leakheaders",
        values: "",
        keys: &[],
        rows: "T-55",
        about: "Headers that no client may see: `set-cookie`, `content-security-policy`, `alt-svc`, `strict-transport-security`, `server`, `location`, `openai-organization`, and a field named by `connection`.",
        streams_only: false,
        make: |ask| in_head(ask, Bad::Line(LEAKS.to_owned())),
    },
    Fault {
        name: "length",
        values: "short|long|two|same|both|sign|huge|hex",
        keys: &[],
        rows: "F-17 T-53",
        about: "Plain answer whose length is: 100 less than the body (default), 100 more and then closed, given twice with two values, twice with one, given beside chunks, signed, beyond 64 bits, or in hex.",
        streams_only: false,
        make: length,
    },
    Fault {
        name: "chunked",
        values: "cut|badsize|hugesize|longer|notail|trailers|badtrailer|extension|barelf|close",
        keys: &[],
        rows: "F-17 T-53",
        about: "Chunked answer that: ends without last chunk (default), has a size that is no number, a size beyond 64 bits, a chunk longer than its size, no line end behind the last chunk, trailers with a canary (legal), a trailer that is no field, chunk extensions (legal), bare LF, or no framing at all but the close (legal).",
        streams_only: false,
        make: chunked,
    },
    Fault {
        name: "interim",
        values: "COUNT",
        keys: &["code"],
        rows: "T-53",
        about: "This many interim answers (100) with status `code` (102; also 100, 103) before the honest one.",
        streams_only: false,
        make: interim,
    },
    Fault {
        name: "upgrade",
        values: "",
        keys: &[],
        rows: "T-53",
        about: "`101 Switching Protocols`, then bytes of no protocol.",
        streams_only: false,
        make: |ask| {
            let lines = "connection: upgrade\r\nupgrade: mock\r\n";
            let bytes = [head(101, lines), b"switched\n".to_vec()].concat();
            Ok(Plan { status: 101, ..ended(ask, vec![Step::write(bytes), Step::Fin]) })
        },
    },
    Fault {
        name: "nocontent",
        values: "",
        keys: &[],
        rows: "T-53",
        about: "`204` with a length and a body.",
        streams_only: false,
        make: |ask| {
            let body = body::body(ask);
            let bytes = [head(204, &format!("content-length: {}\r\n", body.len())), body].concat();
            Ok(Plan { status: 204, ..ended(ask, vec![Step::write(bytes)]) })
        },
    },
    Fault {
        name: "surplus",
        values: "answer|bytes",
        keys: &[],
        rows: "T-53",
        about: "Behind the honest answer, in the same write, a second whole answer with a canary (default) or 64 bytes.",
        streams_only: false,
        make: surplus,
    },
];

const LEAKS: &str = "set-cookie: canary=1; Path=/\r\ncontent-security-policy: default-src 'none'\r\nalt-svc: h3=\":443\"\r\nstrict-transport-security: max-age=63072000\r\nserver: mock/1\r\nlocation: http://169.254.169.254/\r\nopenai-organization: org-canary\r\nconnection: x-hop\r\nx-hop: canary\r\n";

enum Bad {
    /// Lines to add to an honest head.
    Line(String),
    /// A status line in place of the honest one.
    Status(&'static str),
}

fn bad_line(kind: &str) -> Result<Bad, String> {
    Ok(match kind {
        "nocolon" => Bad::Line("this line has no colon\r\n".to_owned()),
        "space" => Bad::Line("x-space : 1\r\n".to_owned()),
        "fold" => Bad::Line("x-fold: 1\r\n  continued\r\n".to_owned()),
        "nul" => Bad::Line("x-nul: a\0b\r\n".to_owned()),
        "barecr" => Bad::Line("x-cr: a\rb\r\n".to_owned()),
        "noname" => Bad::Line(": nameless\r\n".to_owned()),
        "status" => Bad::Status("HTTP/1.1 abc OK"),
        "version" => Bad::Status("HTTP/9.9 200 OK"),
        other => return Err(format!("unknown head `{other}`")),
    })
}

/// An honest answer with something bad in its head.
fn in_head(ask: &Ask<'_>, bad: Bad) -> Result<Plan, String> {
    let mut steps = if ask.stream { stream(ask) } else { plain(ask) };
    let first = steps.iter_mut().find_map(|step| match step {
        Step::Write { bytes, .. } => Some(bytes),
        _ => None,
    });
    let Some(bytes) = first else {
        return Err("the answer has no head".to_owned());
    };
    let line_end = memchr::memmem::find(bytes, b"\r\n").unwrap_or(0);
    let honest_line: Vec<u8> = bytes.drain(..line_end).collect();
    let (status_line, lines) = match bad {
        Bad::Line(lines) => (honest_line, lines),
        Bad::Status(line) => (line.as_bytes().to_vec(), String::new()),
    };
    let rest = bytes.split_off(2.min(bytes.len()));
    *bytes = [status_line, b"\r\n".to_vec(), lines.into_bytes(), rest].concat();
    Ok(honest(ask, steps))
}

fn ended(ask: &Ask<'_>, steps: Vec<Step>) -> Plan {
    honest(ask, before(ask).into_iter().chain(steps).collect())
}

fn garbage(ask: &Ask<'_>) -> Result<Plan, String> {
    let bytes = match ask.script.value.unwrap_or("text") {
        "text" => b"SSH-2.0-OpenSSH_9.2 this is no HTTP\r\n".to_vec(),
        "binary" => {
            let mut random = fastrand::Rng::with_seed(ask.seed);
            (0..4_096).map(|_| random.u8(..)).collect()
        }
        "tls" => vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46],
        "http2" => vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100],
        "http09" => body::body(ask),
        other => return Err(format!("unknown garbage `{other}`")),
    };
    Ok(Plan { status: 0, usage: None, ..ended(ask, vec![Step::write(bytes), Step::Fin]) })
}

fn length(ask: &Ask<'_>) -> Result<Plan, String> {
    let body = body::body(ask);
    let exact = format!("content-length: {}\r\n", body.len());
    let mut end = None;
    let mut sent = body.clone();
    let framing = match ask.script.value.unwrap_or("short") {
        "short" => format!("content-length: {}\r\n", body.len().saturating_sub(100)),
        "long" => {
            end = Some(Step::Fin);
            format!("content-length: {}\r\n", body.len() + 100)
        }
        "two" => format!("{exact}content-length: {}\r\n", body.len() + 1),
        "same" => exact.repeat(2),
        "both" => {
            sent = [&chunk(&body), LAST_CHUNK].concat();
            format!("{exact}transfer-encoding: chunked\r\n")
        }
        "sign" => format!("content-length: +{}\r\n", body.len()),
        "huge" => {
            end = Some(Step::Fin);
            "content-length: 99999999999999999999999\r\n".to_owned()
        }
        "hex" => format!("content-length: 0x{:x}\r\n", body.len()),
        other => return Err(format!("unknown length `{other}`")),
    };
    let head = head(200, &format!("content-type: application/json\r\n{framing}{}", own_lines(ask)));
    let steps = std::iter::once(Step::write([head, sent].concat())).chain(end).collect();
    Ok(ended(ask, steps))
}

fn chunked(ask: &Ask<'_>) -> Result<Plan, String> {
    let kind = ask.script.value.unwrap_or("cut");
    let mut steps = begin_chunked(ask);
    let tail: &[u8] = match kind {
        "cut" | "close" => b"",
        "badsize" => b"xyz\r\nhello\r\n0\r\n\r\n",
        "hugesize" => b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "longer" => b"2\r\nhello\r\n0\r\n\r\n",
        "notail" => b"0\r\n",
        "trailers" => b"0\r\nx-trailer: canary\r\nset-cookie: canary=1\r\n\r\n",
        "badtrailer" => b"0\r\nHTTP/1.1 200 OK\r\n\r\n",
        "extension" => b"2;name=\"a;b\"\r\n\n\n\r\n0;last\r\n\r\n",
        "barelf" => b"2\n\n\n\n0\n\n",
        other => return Err(format!("unknown chunking `{other}`")),
    };
    if kind == "close" {
        steps = by_close(ask);
    }
    if !tail.is_empty() {
        steps.push(Step::write(tail.to_vec()));
    }
    let legal = matches!(kind, "trailers" | "extension");
    if !legal {
        steps.push(Step::Fin);
    }
    Ok(honest(ask, steps))
}

/// An honest chunked answer up to the last chunk.
fn begin_chunked(ask: &Ask<'_>) -> Vec<Step> {
    if ask.stream {
        return stream_steps(ask, events(ask));
    }
    let mut steps = before(ask);
    let head = json_head(ask, 200, None);
    steps.push(Step::write([head, chunk(&body::body(ask))].concat()));
    steps
}

/// An honest answer that only the close delimits.
fn by_close(ask: &Ask<'_>) -> Vec<Step> {
    let kind = if ask.stream { "text/event-stream" } else { "application/json" };
    let mut steps = before(ask);
    let lines = format!("content-type: {kind}\r\nconnection: close\r\n{}", own_lines(ask));
    steps.push(Step::write(head(200, &lines)));
    if ask.stream {
        steps.extend(events(ask).into_iter().map(|event| Step::event(event.bytes)));
    } else {
        steps.push(Step::write(body::body(ask)));
    }
    steps
}

fn interim(ask: &Ask<'_>) -> Result<Plan, String> {
    let count = ask.script.own_number(100, 1_000_000)?;
    let code: u16 = ask.script.number("code", 102, 103)?;
    if !matches!(code, 100 | 102 | 103) {
        return Err(format!("`{code}` is no interim status; known: 100, 102, 103"));
    }
    let mut steps = vec![Step::write(head(code, "").repeat(count))];
    steps.extend(if ask.stream { stream(ask) } else { plain(ask) });
    Ok(honest(ask, steps))
}

fn surplus(ask: &Ask<'_>) -> Result<Plan, String> {
    let extra = match ask.script.value.unwrap_or("answer") {
        "answer" => canary_answer(),
        "bytes" => b"canary! ".repeat(8),
        other => return Err(format!("unknown surplus `{other}`")),
    };
    if ask.stream && !is_chunked(ask) {
        return Err("there is no surplus behind a body that the close delimits".to_owned());
    }
    let mut steps = if ask.stream { stream(ask) } else { plain(ask) };
    if let Some(Step::Write { bytes, .. }) = steps.last_mut() {
        bytes.extend_from_slice(&extra);
    }
    Ok(honest(ask, steps))
}
