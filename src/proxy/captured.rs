//! Copies what is said, where that is kept.
//!
//! Asked once a request, when it goes on to its target: one that is not kept pays for one flag, and for one empty pointer a
//! write of its answer.

use crate::{
    base::Turns,
    usage::Payload,
    wire::{Form, tell_form},
};

use super::exchange::Exchange;

impl Exchange<'_> {
    /// Copies the body of the request. For projects that keep what is said only.
    #[cold]
    pub(super) fn capture_request(&mut self, body: &[u8]) {
        self.payload = Payload::begin(&self.context.shared.payloads, body);
    }

    /// Copies a form with a digest in the place of its file.
    pub(super) async fn capture_form(&mut self, form: &Form, body: &[u8]) {
        let Some(mut payload) = Payload::begin(&self.context.shared.payloads, b"") else { return };
        let mut has_room = true;
        let tell = |piece: &[u8]| has_room = has_room && payload.request(piece);
        tell_form(&form.form_type, body, &mut Turns::default(), tell).await;
        self.payload = has_room.then_some(payload);
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
