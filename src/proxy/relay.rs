//! Whole answers: read, checked, counted, passed on.
//!
//! An answer is sent only after all of it was read and is one JSON object: so a provider that breaks off, or sends a
//! login page with status 200, gives a clean 502 and never half an answer.

use std::{io::Read as _, time::Duration};

use crate::{
    base::{Instant, now, yield_now},
    http::{Buffer, Coding, Content, Cut, Downstream, Gone},
    metrics::Outcome,
    wire::{Endpoint, ErrorCase, Meaning, view_answer, view_upstream_error},
};

use super::{
    attempt::{Answer, Failure, failure},
    exchange::{Exchange, Sent},
    fault,
    heard::pass_transcript,
    passed::Passed,
    reply::{After, Kind, Length, Refusal, close_head, open, passed_on, pause, served_by},
};

/// Bodies up to this size are copied behind the head: one plain `send` costs less than a gathering one.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// Largest body of an error answer that is read.
const ERROR_BYTES_MAX: usize = 256 * 1024;
/// Largest body after decompression, and largest ratio to its compressed size.
const DECODED_BYTES_MAX: usize = 32 << 20;
const DECODED_RATIO_MAX: usize = 100;
const JSON: &str = "application/json";
/// Told to a client whose provider refuses for its rate and names no time, or none that makes sense.
const PAUSE_MS: u64 = 1_000;

/// Reads the whole answer and passes it on.
///
/// # Errors
/// [`Failure`] when there is nothing to pass on; the client was sent nothing then.
pub(super) async fn relay_whole(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    endpoint: Endpoint,
    (until, after): (Instant, After),
) -> Result<Result<(), Gone>, Failure> {
    let status = answer.head.status;
    let success = (200..300).contains(&status);
    let bytes_max = if success { exchange.context.shared.settings.response_bytes_max } else { ERROR_BYTES_MAX };
    let idle = exchange.target.as_ref().map_or(Duration::MAX, |target| target.timeouts.idle);
    let received = answer.connection.upstream.received();
    let read = answer.connection.upstream.read_whole_body(bytes_max, (idle, until), down).await;
    if answer.connection.upstream.received() > received {
        // Small answers come whole with their head: then there was no wait to be measured.
        exchange.upstream_wait += now().saturating_duration_since(exchange.answered);
    }
    match read {
        // An error whose text is too long is still an error: its status says enough.
        Err(Cut::BodyTooLarge) if !success => {}
        Err(cut) => return Err(failure(exchange.context, cut, true)),
        Ok(()) => {}
    }
    let decoded = decode(answer.head.coding, answer.connection.upstream.body())?;
    let body = decoded.as_deref().unwrap_or_else(|| answer.connection.upstream.body());
    if success {
        return pass(exchange, down, (status, &answer.passed, body), endpoint, after).await;
    }
    if !(400..600).contains(&status) {
        return Err(no_answer("the provider answered with a redirect, which is not followed"));
    }
    pass_error(exchange, down, (status, &answer.passed, body), after).await
}

pub(super) async fn pass(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (status, passed, body): (u16, &Passed, &[u8]),
    endpoint: Endpoint,
    after: After,
) -> Result<Result<(), Gone>, Failure> {
    if endpoint == Endpoint::Transcriptions {
        return Box::pin(pass_transcript(exchange, down, (status, passed, body), after)).await;
    }
    let view = view_answer(endpoint, body).map_err(|_| invalid("the provider's answer is not a JSON object"))?;
    if view.error.is_some() && endpoint != Endpoint::Responses {
        return Err(no_answer("the provider answered 200 with an error object"));
    }
    exchange.account_whole(endpoint, body, view.usage);
    exchange.note_finish(endpoint, body);
    exchange.price();
    exchange.count_attempt(Outcome::Success);
    Ok(send(exchange, down, (status, passed, (JSON, body)), (after, None)).await)
}

pub(super) async fn pass_error(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (status, passed, body): (u16, &Passed, &[u8]),
    after: After,
) -> Result<Result<(), Gone>, Failure> {
    let error = view_upstream_error(status, body);
    let outcome = match error.meaning {
        Meaning::Auth => Outcome::Auth,
        Meaning::Quota | Meaning::Rate => Outcome::RateLimited,
        Meaning::Transient => Outcome::ServerError,
        Meaning::Context | Meaning::Content | Meaning::Invalid => Outcome::Rejected,
    };
    exchange.count_attempt(outcome);
    exchange.error = "upstream_status";
    let mut text = Vec::with_capacity(512);
    error.write_body(&mut text);
    let retry = error.should_retry();
    Ok(send(exchange, down, (error.client_status(), passed, (JSON, &text)), (after, retry)).await)
}

pub(super) async fn send(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (status, passed, (kind, body)): (u16, &Passed, (&str, &[u8])),
    (after, retry): (After, Option<bool>),
) -> Result<(), Gone> {
    exchange.capture_answer(body);
    exchange.status = status;
    let overhead = exchange.first_byte_sent();
    exchange.content_came_with_it();
    let mut out = Buffer::default();
    open(&mut out, exchange, status);
    served_by(&mut out, exchange, overhead);
    passed_on(&mut out, passed);
    if let Some(retry) = retry {
        out.extend(if retry { b"x-should-retry: true\r\n" } else { b"x-should-retry: false\r\n" });
    }
    if status == 429 {
        pause(&mut out, passed.pause_ms.unwrap_or(PAUSE_MS));
    }
    close_head(&mut out, Kind::Whole(kind), Length::Known(body.len()), after);
    exchange.bytes_out += u64::try_from(out.len() + body.len()).unwrap_or(0);
    fault::point(exchange, "reply");
    exchange.sent = Sent::Bytes;
    yield_now().await;
    if body.len() <= COPY_BYTES_MAX {
        out.extend(body);
        return down.write(out.filled()).await;
    }
    down.write_both(out.filled(), body).await
}

/// Decompresses a body, within bounds; none when it is not compressed.
fn decode(coding: Coding, body: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    match coding {
        Coding::Identity => Ok(None),
        Coding::Unknown => Err(invalid("the provider's answer is compressed in a way that was not asked for")),
        Coding::Gzip => {
            let bytes_max = body.len().saturating_mul(DECODED_RATIO_MAX).min(DECODED_BYTES_MAX);
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
            let mut decoded = Vec::new();
            let read = flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut decoded);
            match read {
                Ok(_) if decoded.len() <= bytes_max => Ok(Some(decoded)),
                Ok(_) => Err(invalid("the provider's compressed answer is too large")),
                Err(_) => Err(invalid("the provider's compressed answer is damaged")),
            }
        }
    }
}

/// Whether an answer is relayed event by event.
///
/// # Errors
/// [`Failure`] when the provider streams although nobody asked for a stream, or compresses a stream.
pub(super) fn is_stream(exchange: &Exchange<'_>, answer: &Answer) -> Result<bool, Failure> {
    if answer.head.status != 200 || answer.head.content != Content::EventStream {
        return Ok(false);
    }
    if !exchange.stream {
        return Err(invalid("the provider streams although no stream was asked for"));
    }
    if answer.head.coding != Coding::Identity {
        return Err(invalid("the provider's stream is compressed, which was not asked for"));
    }
    Ok(true)
}

/// The provider says in its own way that there is no answer, so that there is nothing to bill.
pub(super) fn no_answer(message: &'static str) -> Failure {
    Failure::Target(Outcome::ServerError, Refusal::new(ErrorCase::UpstreamError, message))
}

pub(super) fn invalid(message: &'static str) -> Failure {
    Failure::Target(Outcome::Invalid, Refusal::new(ErrorCase::UpstreamError, message))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_bodies_are_decoded_within_bounds() {
        let ok = gzip(b"{\"a\":1}");
        assert_eq!(decode(Coding::Gzip, &ok).unwrap().as_deref(), Some(&b"{\"a\":1}"[..]));
        let bomb = gzip(&vec![b'0'; 4 << 20]);
        assert!(bomb.len() < 8192, "{} bytes", bomb.len());
        assert!(decode(Coding::Gzip, &bomb).is_err(), "ratio above 100");
        assert!(decode(Coding::Gzip, &ok[..ok.len() - 4]).is_err(), "cut");
        assert!(decode(Coding::Unknown, &ok).is_err(), "unknown coding");
    }
}
