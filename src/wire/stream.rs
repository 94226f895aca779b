//! Watches a relayed stream: usage, end, failure.

use super::Endpoint;
use super::upstream_error::Meaning;
use crate::base::TokenCounts;

/// What to do with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Relay its bytes.
    Pass,
    /// Keep it back: a usage chunk that we asked for and the client did not.
    Hide,
    /// Keep it back: an end marker that this wire does not have, or anything after the end.
    Drop,
    /// Keep it back: the provider reports a failure. End the stream with our own error event, then close.
    Fail(Meaning),
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Properly; nothing is to be written.
    Clean,
    /// Complete, but without its end marker: write `data: [DONE]` and a blank line.
    AddDone,
    /// Cut off: write an error event, no end marker.
    Truncated,
    /// The provider said so in the wire's own final event, which was relayed: write nothing; the request failed.
    Failed,
}

/// The state of one stream.
#[derive(Debug, Clone)]
pub struct StreamWatch {
    endpoint: Endpoint,
}

impl StreamWatch {
    /// Starts at the head of a stream; with `hide_usage_chunk`, we asked for a usage chunk that the client does not want.
    #[must_use]
    pub fn new(endpoint: Endpoint, hide_usage_chunk: bool) -> Self {
        let _ = hide_usage_chunk;
        Self { endpoint }
    }

    /// Reads one whole event, blank line included, and says what to do with it.
    pub fn observe(&mut self, event: &[u8]) -> Action {
        let _ = event;
        Action::Pass
    }

    /// Reads what is left without a blank line when the provider closed. True: it is a whole message, relay it, then
    /// a line feed or two, then act on [`StreamWatch::end`]. False: discard it, the client shall not see half a message.
    pub fn observe_tail(&mut self, tail: &[u8]) -> bool {
        let _ = tail;
        false
    }

    /// Says how the stream stands if the provider closes now.
    #[must_use]
    pub fn end(&self) -> End {
        let _ = self.endpoint;
        End::Truncated
    }

    /// Tells whether the end marker was seen: nothing more needs to be read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        false
    }

    /// Gives the last valid usage.
    #[must_use]
    pub fn usage(&self) -> Option<TokenCounts> {
        None
    }

    /// Counts the events with a message in them; comments and pings are none. It grows while there is progress.
    #[must_use]
    pub fn messages_count(&self) -> u64 {
        0
    }

    /// Gives the bytes of generated text, reasoning and arguments so far, as JSON text; a base for estimates.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        0
    }
}
