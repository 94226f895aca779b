//! Counts server-sent events in a body that comes in pieces.

/// Longest start of a line that is kept: `data: [DONE]` and a carriage return.
const LINE_START_BYTES: usize = 16;

/// What a piece of the body held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Events with data that ended in this piece, without `[DONE]`.
    pub(crate) events: u64,
    /// Events after `[DONE]`: a stream that goes on after its end.
    pub(crate) late: u64,
}

/// Scanner of one stream.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    line_start: [u8; LINE_START_BYTES],
    line_bytes: usize,
    has_text: bool,
    has_done: bool,
    done: bool,
    events: u64,
}

impl Scanner {
    /// Events so far, without `[DONE]`.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Whether `[DONE]` came as a whole event.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Reads a piece of the body. Comments and events without `data` do not count.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
            self.keep(line);
            self.end_line(&mut seen);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
        seen
    }

    fn keep(&mut self, part: &[u8]) {
        if let Some(room) = self.line_start.get_mut(self.line_bytes..) {
            for (to, from) in room.iter_mut().zip(part) {
                *to = *from;
            }
        }
        self.line_bytes = self.line_bytes.saturating_add(part.len());
    }

    fn end_line(&mut self, seen: &mut Seen) {
        let kept = self.line_bytes.min(LINE_START_BYTES);
        let line = self.line_start.get(..kept).unwrap_or_default();
        let whole = self.line_bytes <= LINE_START_BYTES;
        let line = match line.strip_suffix(b"\r") {
            Some(line) if whole => line,
            _ => line,
        };
        if whole && line.is_empty() {
            self.end_event(seen);
        } else if let Some(value) = line.strip_prefix(b"data:") {
            if whole && value.trim_ascii() == b"[DONE]" {
                self.has_done = true;
            } else {
                self.has_text = true;
            }
        }
        self.line_bytes = 0;
    }

    fn end_event(&mut self, seen: &mut Seen) {
        if self.has_text || self.has_done {
            if self.done {
                seen.late += 1;
            } else if self.has_done && !self.has_text {
                self.done = true;
            } else {
                self.events += 1;
                seen.events += 1;
            }
        }
        self.has_text = false;
        self.has_done = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_in_any_pieces() {
        for (name, wire, events, late, done) in [
            ("one", "data: {\"a\":1}\n\n", 1, 0, false),
            ("crlf", "data: x\r\n\r\ndata: [DONE]\r\n\r\n", 1, 0, true),
            ("no space", "data:x\n\ndata:[DONE]\n\n", 1, 0, true),
            ("comments do not count", ": ping\n\n: ping\n\ndata: x\n\n", 1, 0, false),
            ("named event", "event: delta\ndata: x\ndata: y\n\n", 1, 0, false),
            ("event without data", "event: ping\n\n", 0, 0, false),
            ("unfinished", "data: x\n\ndata: y\n", 1, 0, false),
            ("done without its end", "data: [DONE]\n", 0, 0, false),
            ("late", "data: [DONE]\n\ndata: x\n\n", 0, 1, true),
            ("done inside text", "data: say [DONE] and more and more\n\n", 1, 0, false),
            ("sixteen bytes with a return", "data: 123456789\r\n\r\ndata: [DONE]\n\n", 1, 0, true),
            ("text that starts like the end", "data: [DONE]    x and more\n\n", 1, 0, false),
        ] {
            for step in [1, 2, 5, 1000] {
                let mut scanner = Scanner::default();
                let mut sum = Seen::default();
                for piece in wire.as_bytes().chunks(step) {
                    let seen = scanner.feed(piece);
                    sum.events += seen.events;
                    sum.late += seen.late;
                }
                assert_eq!(scanner.events(), events, "{name} by {step}");
                assert_eq!(sum, Seen { events, late }, "{name} by {step}");
                assert_eq!(scanner.is_done(), done, "{name} by {step}");
            }
        }
    }
}
