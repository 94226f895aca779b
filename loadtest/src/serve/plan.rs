//! What the server will do for one request, as plain values.

use std::time::Duration;

use super::delay::Delay;
use super::request::Request;

/// Turns requests into plans. One value is shared by all workers.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Decides the whole answer to one request, faults included.
    fn plan(&self, request: &Request, seat: &mut Seat) -> Plan;
}

/// Where a request sits, and the random numbers of its connection.
pub(crate) struct Seat {
    /// Number of the connection since the start of the process, from 1.
    pub(crate) connection: u64,
    /// Number of the request on its connection, from 1.
    pub(crate) request: u64,
    /// Random numbers, seeded by the process's seed and the connection's number.
    pub(crate) random: fastrand::Rng,
}

/// One answer, as steps to play in order.
pub(crate) struct Plan {
    /// The status that the answer names, 0 when it names none. For the truth log only.
    pub(crate) status: u16,
    /// What to do.
    pub(crate) steps: Vec<Step>,
    /// What happens to the connection once all steps are played.
    pub(crate) after: After,
    /// The model asked for, as the request spelled it. For the truth log only.
    pub(crate) model: Option<String>,
    /// Whether the request asked for a stream. For the truth log only.
    pub(crate) stream: bool,
    /// Input and output tokens that the answer claims, if it claims any. For the truth log only.
    pub(crate) usage: Option<(u64, u64)>,
}

impl Plan {
    /// A plan that answers with one write and keeps the connection.
    pub(crate) fn whole(status: u16, bytes: Vec<u8>) -> Self {
        Self {
            status,
            steps: vec![Step::write(bytes)],
            after: After::KeepAlive,
            model: None,
            stream: false,
            usage: None,
        }
    }
}

/// One thing to do on a connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Writes bytes at once; they hold this many whole events.
    Write { bytes: Vec<u8>, events: u64 },
    /// Writes bytes one at a time, waiting in between.
    Trickle { bytes: Vec<u8>, gap: Duration },
    /// Writes the same bytes again and again, each time as one event.
    Repeat { bytes: Vec<u8>, gap: Duration, count: u64 },
    /// Writes numbered events at a steady pace.
    Events(Box<EventRun>),
    /// Waits, and notices meanwhile when the client leaves.
    Wait(Duration),
    /// Says nothing more until the client leaves.
    Silence,
    /// Ends the connection with RST.
    Reset,
    /// Closes the sending side only, then waits for the client to leave.
    Fin,
    /// Closes the connection.
    Close,
}

impl Step {
    /// Writes bytes that hold no whole event.
    pub(crate) fn write(bytes: Vec<u8>) -> Self {
        Self::Write { bytes, events: 0 }
    }

    /// Writes one event.
    pub(crate) fn event(bytes: Vec<u8>) -> Self {
        Self::Write { bytes, events: 1 }
    }
}

/// Equal events that differ in their numbers only, so that one buffer serves all of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventRun {
    /// One event as it goes onto the wire, chunk framing included.
    pub(crate) bytes: Vec<u8>,
    /// Where the event's number stands in `bytes`.
    pub(crate) digits: Vec<Digits>,
    /// Where the time of sending stands, 16 digits of microseconds since 1970.
    pub(crate) stamp_at: Option<usize>,
    /// How many events to send.
    pub(crate) count: u64,
    /// The time between the starts of two events.
    pub(crate) gap: Delay,
}

/// A number inside an event, right-aligned in a field of fixed width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Digits {
    /// Offset of the field.
    pub(crate) at: usize,
    /// Width of the field in bytes.
    pub(crate) width: usize,
    /// What fills the field on the left: `0` inside strings, a blank where JSON wants a number.
    pub(crate) pad: u8,
    /// The number in the first event.
    pub(crate) first: u64,
}

impl Digits {
    /// Writes the number of event `index` into its field.
    pub(crate) fn put(self, bytes: &mut [u8], index: u64) {
        let Some(field) = bytes.get_mut(self.at..self.at.saturating_add(self.width)) else {
            return;
        };
        let mut number = self.first.saturating_add(index);
        let mut started = false;
        for place in field.iter_mut().rev() {
            *place = if number == 0 && started { self.pad } else { digit(number) };
            number /= 10;
            started = true;
        }
    }
}

fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

/// What happens to a connection after an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum After {
    /// It serves the next request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed as soon as a next request arrives, with zero bytes of answer.
    CloseOnReuse { reset: bool },
    /// It is closed after this time, whether or not a request has arrived.
    CloseLater { wait: Duration, reset: bool },
    /// These bytes are sent after this time, without a request; then it serves on.
    SayLater { wait: Duration, bytes: Vec<u8> },
}

/// Frames bytes as one chunk of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.reserve(bytes.len() + 2);
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

/// Builds a response head; `lines` are complete header lines, each with its CRLF.
pub(crate) fn head(status: u16, lines: &str) -> Vec<u8> {
    let reason = reason(status);
    format!("HTTP/1.1 {status} {reason}\r\n{lines}\r\n").into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_their_field_only() {
        for (name, pad, first, index, want) in [
            ("zero padded", b'0', 0, 42, "<000042>"),
            ("blank padded", b' ', 1, 42, "<    43>"),
            ("zero", b' ', 0, 0, "<     0>"),
            ("too wide keeps the last digits", b'0', 0, 12_345_678, "<345678>"),
        ] {
            let mut bytes = b"<xxxxxx>".to_vec();
            Digits { at: 1, width: 6, pad, first }.put(&mut bytes, index);
            assert_eq!(String::from_utf8_lossy(&bytes), want, "{name}");
        }
    }

    #[test]
    fn chunk_names_its_length_in_hex() {
        assert_eq!(chunk(&[b'a'; 26]), [b"1a\r\n", [b'a'; 26].as_slice(), b"\r\n"].concat());
    }
}
