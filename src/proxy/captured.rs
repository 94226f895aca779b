//! Copies what is said, where that is kept.
//!
//! Asked once a request, when it goes on to its target: one that is not kept pays for one flag, and for one empty pointer a
//! write of its answer.

use crate::usage::Payload;

use super::exchange::Exchange;

impl Exchange<'_> {
    /// Copies the body of the request. For projects that keep what is said only.
    #[cold]
    pub(super) fn capture_request(&mut self, body: &[u8]) {
        self.payload = Payload::begin(&self.context.shared.payloads, body);
    }

    /// Copies a piece of the answer, if the request was copied. Without room the payload is dropped as a whole.
    #[inline]
    pub(super) fn capture_answer(&mut self, bytes: &[u8]) {
        if let Some(payload) = &mut self.payload
            && !payload.answer(bytes)
        {
            self.payload = None;
        }
    }
}
