//! The client's side of a stream: head first, then events.
//!
//! Events are framed where they lie.

use crate::{
    http::{Buffer, CHUNK_END, Downstream, Gone, LAST_CHUNK},
    wire::{Endpoint, ErrorCase, StreamErrorAt, write_stream_error},
};

use super::{
    attempt::Answer,
    caught::Panicked,
    exchange::{Exchange, Sent},
    fault,
    passed::Passed,
    reply::{After, Kind, Length, Refusal, close_head, open, passed_on, served_by},
};

/// What is still to be sent, and how.
pub(super) struct Outlet {
    chunked: bool,
    after: After,
    opened: bool,
    passed: Passed,
}

impl Outlet {
    /// Prepares an outlet. Clients of HTTP/1.0 do not know chunks: for them the connection's end is the stream's end.
    #[must_use]
    pub(super) fn new(is_1_1: bool, after: After, passed: Passed) -> Self {
        let after = if is_1_1 { after } else { After::Close };
        Self { chunked: is_1_1, after, opened: false, passed }
    }

    /// Whether the head has been sent: from then on nothing can be taken back.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// What happens to the connection after a complete stream.
    #[must_use]
    pub(super) fn after(&self) -> After {
        self.after
    }

    /// Sends the first `count` body bytes of the provider's connection.
    ///
    /// # Errors
    /// [`Gone`].
    pub(super) async fn send_events(
        &mut self,
        exchange: &mut Exchange<'_>,
        down: &mut Downstream,
        answer: &mut Answer,
        (count, tail): (usize, &'static [u8]),
    ) -> Result<(), Gone> {
        let upstream = &mut answer.connection.upstream;
        exchange.capture_answer(upstream.body().get(..count).unwrap_or_default());
        if !self.chunked {
            let body = upstream.body().get(..count).unwrap_or_default();
            let sent = self.write(exchange, down, body).await;
            upstream.consume(count);
            return sent;
        }
        let chunk = upstream.frame_chunk(count, tail);
        let sent = self.write(exchange, down, upstream.framed(&chunk)).await;
        upstream.unframe(&chunk, count);
        sent
    }

    /// Sends bytes of our own as one chunk.
    ///
    /// # Errors
    /// [`Gone`].
    pub(super) async fn send_own(
        &mut self,
        exchange: &mut Exchange<'_>,
        down: &mut Downstream,
        bytes: &[u8],
    ) -> Result<(), Gone> {
        exchange.capture_answer(bytes);
        if !self.chunked {
            return self.write(exchange, down, bytes).await;
        }
        let mut buffer = Buffer::default();
        buffer.extend(bytes);
        let chunk = buffer.frame_chunk(bytes.len(), CHUNK_END);
        self.write(exchange, down, buffer.framed(&chunk)).await
    }

    /// Ends a complete stream.
    ///
    /// # Errors
    /// [`Gone`].
    pub(super) async fn send_last(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream) -> Result<(), Gone> {
        if !self.chunked {
            return Ok(());
        }
        // `LAST_CHUNK` begins with the end of a chunk that has been sent already.
        self.write(exchange, down, LAST_CHUNK.get(CHUNK_END.len()..).unwrap_or_default()).await
    }

    /// Ends a broken stream with the wire's error event. The body stays without its last chunk: its end is not proper.
    pub(super) async fn fail(
        &mut self,
        exchange: &mut Exchange<'_>,
        down: &mut Downstream,
        endpoint: Endpoint,
        (refusal, at): (&Refusal, StreamErrorAt<'_>),
    ) {
        let mut event = Vec::with_capacity(256);
        write_stream_error(endpoint, refusal.case, &refusal.message, at, &mut event);
        // A client that is gone by now cannot be told.
        let _ = self.send_own(exchange, down, &event).await;
    }

    /// Ends a stream whose relay panicked, and lets the panic go on: it is counted and answered for all requests at one
    /// place. The client is told here if whole events are all that it has got.
    pub(super) async fn fail_for(
        &mut self,
        panicked: Panicked,
        exchange: &mut Exchange<'_>,
        down: &mut Downstream,
        (endpoint, at): (Endpoint, StreamErrorAt<'_>),
    ) -> ! {
        if exchange.sent == Sent::Events {
            let refusal = Refusal::new(ErrorCase::Internal, "the gateway failed on this request; please try again");
            self.fail(exchange, down, endpoint, (&refusal, at)).await;
        }
        panicked.resume()
    }

    async fn write(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream, bytes: &[u8]) -> Result<(), Gone> {
        exchange.bytes_out += u64::try_from(bytes.len()).unwrap_or(0);
        if self.opened {
            exchange.sent = Sent::Bytes;
            fault::point(exchange, "write");
            down.write(bytes).await?;
            exchange.sent = Sent::Events;
            return Ok(());
        }
        self.opened = true;
        exchange.status = 200;
        let overhead = exchange.first_byte_sent();
        let mut head = Buffer::default();
        open(&mut head, exchange, 200);
        served_by(&mut head, exchange, overhead);
        passed_on(&mut head, &self.passed);
        let length = if self.chunked { Length::Chunked } else { Length::UntilClose };
        close_head(&mut head, Kind::Events, length, self.after);
        exchange.bytes_out += u64::try_from(head.len()).unwrap_or(0);
        exchange.sent = Sent::Bytes;
        down.write_both(head.filled(), bytes).await?;
        exchange.sent = Sent::Events;
        Ok(())
    }
}
