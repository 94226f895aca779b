//! Finds the ends of server-sent events in a growing buffer.
//!
//! Lines end with LF, CRLF or CR; a blank line ends an event. Only line ends are looked for, so the cost is one vector
//! search over each byte, once. The relay keeps the bytes; this keeps where it stopped.

/// Bounds of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseLimits {
    /// Longest line, in bytes. Default 1 MiB.
    pub line_bytes_max: usize,
    /// Longest event, in bytes. Default 1 MiB, at most 16 MiB.
    pub event_bytes_max: usize,
    /// Most lines of one event. Default 1,024.
    pub fields_max: u32,
    /// Longest stream, in bytes. Default 64 MiB.
    pub stream_bytes_max: u64,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self { line_bytes_max: 1 << 20, event_bytes_max: 1 << 20, fields_max: 1_024, stream_bytes_max: 64 << 20 }
    }
}

/// Which bound a stream broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is too long.
    #[error("a line of the stream is too long")]
    Line,
    /// An event is too long.
    #[error("an event of the stream is too long")]
    Event,
    /// An event has too many lines.
    #[error("an event of the stream has too many fields")]
    Fields,
    /// The stream is too long.
    #[error("the stream is too long")]
    Stream,
}

/// The position in a stream of events; see the file's head.
#[derive(Debug, Clone)]
pub struct Splitter {
    limits: SseLimits,
    /// Bytes of the event that were searched.
    searched: usize,
    /// Offset of the current line in the event.
    line: usize,
    /// Lines of the event so far.
    fields: u32,
    /// The stream ends lines with CR alone.
    bare_cr: bool,
    /// The last event ended with CR: a LF at the head of the next one belongs to that line end.
    swallow_lf: bool,
    stream_bytes: u64,
}

impl Splitter {
    /// Starts at the head of a stream.
    #[must_use]
    pub fn new(limits: SseLimits) -> Self {
        Self { limits, searched: 0, line: 0, fields: 0, bare_cr: false, swallow_lf: false, stream_bytes: 0 }
    }

    /// Finds the end of the event that starts at `from`: the offset after its blank line.
    ///
    /// `None` means that it is not complete yet: call again with the same event's bytes at `from` and more after them;
    /// the buffer may have been moved, and nothing is searched twice. After `Some(end)` the next event starts at `end`.
    /// The same bytes give the same events however they are cut.
    ///
    /// # Errors
    /// [`SseError`] names the bound that the stream broke; it must then be ended.
    #[inline]
    pub fn next_event(&mut self, buf: &[u8], from: usize) -> Result<Option<usize>, SseError> {
        let event = buf.get(from..).unwrap_or_default();
        if self.swallow_lf
            && let Some(first) = event.first()
        {
            self.swallow_lf = false;
            self.line = usize::from(*first == b'\n');
            self.searched = self.line;
        }
        let mut at = self.searched;
        while let Some(found) = event.get(at..).and_then(|rest| memchr::memchr2(b'\n', b'\r', rest)) {
            let line_end = at + found;
            let is_blank = line_end == self.line;
            if is_blank && self.bare_cr && event.get(line_end) == Some(&b'\r') {
                // Such a stream is not kept waiting for a byte that may never come.
                self.swallow_lf = true;
                return self.end_event(line_end + 1).map(|end| Some(from + end));
            }
            let Some(next) = self.after_line_end(event, line_end) else {
                // A CR stands last: whether a LF belongs to it, the next byte tells.
                self.searched = line_end;
                self.check_line(line_end)?;
                return Ok(None);
            };
            if is_blank {
                return self.end_event(next).map(|end| Some(from + end));
            }
            self.check_line(line_end)?;
            self.fields += 1;
            if self.fields > self.limits.fields_max {
                return Err(SseError::Fields);
            }
            // Mostly the next line is the blank one.
            if event.get(next) == Some(&b'\n') {
                return self.end_event(next + 1).map(|end| Some(from + end));
            }
            self.line = next;
            at = next;
        }
        self.searched = event.len().max(at);
        self.check_line(event.len())?;
        Ok(None)
    }

    /// Gives the offset of the line after the line end at this offset, or `None` if one more byte must be seen.
    #[inline]
    fn after_line_end(&mut self, event: &[u8], line_end: usize) -> Option<usize> {
        if event.get(line_end) == Some(&b'\n') {
            return Some(line_end + 1);
        }
        match event.get(line_end + 1) {
            Some(b'\n') => Some(line_end + 2),
            Some(_) => {
                self.bare_cr = true;
                Some(line_end + 1)
            }
            None => None,
        }
    }

    #[inline]
    fn check_line(&self, end: usize) -> Result<(), SseError> {
        if end > self.limits.event_bytes_max {
            return Err(SseError::Event);
        }
        if end.saturating_sub(self.line) > self.limits.line_bytes_max {
            return Err(SseError::Line);
        }
        Ok(())
    }

    #[inline]
    fn end_event(&mut self, end: usize) -> Result<usize, SseError> {
        self.searched = 0;
        self.line = 0;
        self.fields = 0;
        self.stream_bytes += end as u64;
        if self.stream_bytes > self.limits.stream_bytes_max {
            return Err(SseError::Stream);
        }
        if end > self.limits.event_bytes_max {
            return Err(SseError::Event);
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn limits() -> SseLimits {
        SseLimits { line_bytes_max: 20, event_bytes_max: 40, fields_max: 3, stream_bytes_max: 100 }
    }

    /// Feeds a stream in the given pieces and gives the ends of its events as offsets in the stream.
    fn ends(pieces: &[&[u8]], limits: SseLimits) -> (Vec<usize>, Result<(), SseError>) {
        let mut splitter = Splitter::new(limits);
        let (mut buf, mut ends, mut gone) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            buf.extend_from_slice(piece);
            let mut from = 0;
            loop {
                match splitter.next_event(&buf, from) {
                    Ok(Some(end)) => {
                        ends.push(gone + end);
                        from = end;
                    }
                    Ok(None) => break,
                    Err(error) => return (ends, Err(error)),
                }
            }
            buf.drain(..from);
            gone += from;
        }
        (ends, Ok(()))
    }

    #[test]
    fn events_end_after_their_blank_line() {
        for (name, stream, want) in [
            ("LF", "data: a\n\ndata: b\n\n", vec![9, 18]),
            ("CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", vec![11, 22]),
            ("CR", "data: a\r\rdata: b\r\r", vec![9, 18]),
            ("mixed", "data: a\n\r\ndata: b\r\n\n", vec![10, 20]),
            ("CR CRLF", "data: a\r\r\ndata: b\n\n", vec![9, 19]),
            ("CR inside, CRLF at the end", "a\rb\r\n\r\nc\n\n", vec![6, 10]),
            ("comment", ": ping\n\n", vec![8]),
            ("several lines", "event: e\ndata: a\ndata: b\n\n", vec![26]),
            ("no colon", "data\n\n", vec![6]),
            ("byte order mark", "\u{feff}data: a\n\n", vec![12]),
            ("surplus blank lines", "\n\ndata: a\n\n\n", vec![1, 2, 11, 12]),
            ("not complete", "data: a\n", vec![]),
            ("no line end", "data: a", vec![]),
            ("CR at the end may be half of CRLF", "data: a\r\n\r", vec![]),
        ] {
            assert_eq!(ends(&[stream.as_bytes()], SseLimits::default()), (want, Ok(())), "{name}");
        }
    }

    #[test]
    fn a_stream_beyond_a_bound_is_refused() {
        for (name, stream, want) in [
            ("line", "data: 789012345678901".to_owned(), SseError::Line),
            ("line before its end", "d".repeat(21) + "\n\n", SseError::Line),
            ("event", "d: 4567890123\n".repeat(3), SseError::Event),
            ("fields", "d\nd\nd\nd\n".to_owned(), SseError::Fields),
            ("stream", "data: 7890\n\n".repeat(9), SseError::Stream),
        ] {
            assert_eq!(ends(&[stream.as_bytes()], limits()).1, Err(want), "{name}");
        }
        let within = "data: 78901234567890\nd\nd\n\n";
        assert_eq!(ends(&[within.as_bytes()], limits()), (vec![26], Ok(())));
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        let stream = b"\xEF\xBB\xBFdata: \xC3\xA9\r\n\r\n: c\n\nevent: x\rdata: 1\r\rdata\n\r\r\ndata: 2\r\n\r\ndata: [DONE]\n\n";
        let whole = ends(&[stream], SseLimits::default());
        assert_eq!(whole.0.len(), 7);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let cut = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(ends(&cut, SseLimits::default()), whole, "{first} {second}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(ends(&bytes, SseLimits::default()), whole);
    }

    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just("data: x".to_owned()),
            Just(":".to_owned()),
            Just("event: response.created".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n\n".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn random_streams_do_not_depend_on_cuts(stream in lines(), cuts in proptest::collection::vec(0usize..200, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.push(0);
            cuts.push(stream.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(ends(&pieces, SseLimits::default()), ends(&[&stream], SseLimits::default()));
        }

        #[test]
        fn no_bytes_make_the_splitter_panic(stream in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ends(&[&stream], limits());
        }
    }
}
