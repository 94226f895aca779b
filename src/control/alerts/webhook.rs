//! A signed `POST` to an address that was just checked.
//!
//! The connection goes to the checked address and no other: a name is not resolved a second time, a redirect is not
//! followed, nothing of the answer but its status is read, and nothing of it is shown.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use ring::hmac;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    deliver::Failure,
    site::{origin_of, place_of_webhook},
};
use crate::{
    base::{UnixTime, VERSION, unix_time},
    control::instance::Control,
    store::{Alert, AlertDelivery},
    upstream::{BaseUrl, Origin, ResolveError, Scheme, Status},
};

/// How long a name may take.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// Bytes of the head of an answer at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// Sends one delivery. The caller bounds the time.
pub(super) async fn send(control: &Control, alert: &Alert, url: &str, delivery: &AlertDelivery) -> Result<(), Failure> {
    let origin_list = origin_of(alert);
    let sealed = alert.sealed_secret.as_deref().filter(|sealed| !sealed.is_empty());
    let sealed = sealed.ok_or_else(|| Failure::ForGood("the webhook has no secret; enter one".to_owned()))?;
    let secret = control.vault().open_seal(place_of_webhook(alert, &origin_list), sealed);
    let secret = secret.map_err(|error| Failure::ForGood(error.to_string()))?;
    let origins = control.registries().origins;
    let place = format!("alerts:{}", alert.organization);
    let origin = origins.track(&place, url).map_err(|error| Failure::ForGood(error.to_string()))?;
    let _ = timeout(LOOKUP_MAX, origins.looked_up(&origin)).await;
    let request = request(origin.url(), delivery, &secret, unix_time());
    let status = exchange(control, &origin, &request).await?;
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Failure::Now(format!("it answered {status}; redirects are not followed"))),
        _ => Err(Failure::Now(format!("it answered {status}"))),
    }
}

/// Connects to an address of the origin, sends the request, and reads the status of the answer.
async fn exchange(control: &Control, origin: &Arc<Origin>, request: &[u8]) -> Result<u16, Failure> {
    let turn = usize::from(fastrand::u16(..));
    let Some(address) = origin.addresses().pick(turn) else {
        return Err(match origin.addresses().status() {
            Status::Failed(ResolveError::Denied(error)) => Failure::ForGood(error.to_string()),
            Status::Failed(error) => Failure::Now(error.to_string()),
            Status::Unresolved => Failure::Now("the name was not resolved in time".to_owned()),
            // The address is known, and the guard has just refused it.
            Status::Fresh { .. } | Status::Stale { .. } => {
                Failure::ForGood("the egress rules do not allow its address".to_owned())
            }
        });
    };
    let failed = |error: io::Error| Failure::Now(format!("the connection failed: {}", error.kind()));
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    if origin.url().scheme() == Scheme::Http {
        return converse(stream, request).await.map_err(failed);
    }
    let name = ServerName::try_from(origin.url().host_name())
        .map_err(|_| Failure::ForGood("its name cannot be that of a certificate".to_owned()))?;
    let connector = TlsConnector::from(control.shared().tls.client_config());
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| Failure::Now(format!("the TLS handshake failed: {error}")))?;
    converse(stream, request).await.map_err(failed)
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(1_024);
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        match answer.parse(&head) {
            Ok(httparse::Status::Complete(length)) => match answer.code {
                // Said ahead of the answer, which may be here already.
                Some(100..=199) => {
                    head.drain(..length);
                    continue;
                }
                Some(status) => return Ok(status),
                None => return Err(io::ErrorKind::InvalidData.into()),
            },
            Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES_MAX => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn request(url: &BaseUrl, delivery: &AlertDelivery, secret: &[u8], at: UnixTime) -> Vec<u8> {
    let path = if url.path().is_empty() { "/" } else { url.path() };
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: millrace/{VERSION}\r\n", url.authority());
    let signature = signature(secret, at.seconds(), delivery.payload.as_bytes());
    // Writing to a String cannot fail.
    let _ = write!(head, "x-millrace-signature: {signature}\r\nx-millrace-delivery: {}\r\n", delivery.id);
    let _ = write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", delivery.payload.len());
    head.push_str("connection: close\r\n\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(delivery.payload.as_bytes());
    request
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 over the seconds, a dot and the body, so that an old notice cannot be sent again as new.
fn signature(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// RFC 2104, written out.
    fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
        let mut block = [0u8; 64];
        block[..key.len()].copy_from_slice(key);
        let padded = |pad: u8| block.map(|byte| byte ^ pad);
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
    }

    #[test]
    fn signature_is_hmac_over_time_and_body() {
        let (secret, body) = (b"0123456789abcdef".as_slice(), br#"{"type":"alert"}"#.as_slice());
        let want = hmac_sha256(secret, &[b"1700000000.", body].concat());
        let want: String = want.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature(secret, 1_700_000_000, body), format!("t=1700000000,v1={want}"));
        assert_ne!(signature(secret, 1_700_000_001, body), format!("t=1700000000,v1={want}"));
    }

    #[tokio::test]
    async fn status_is_read_behind_what_is_said_ahead() {
        for (answer, want) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Some(204)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nx: y\r\n\r\nbody", Some(503)),
            ("HTTP/1.1 200", None),
            ("nothing of the kind\r\n\r\n", None),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(4_096);
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert_eq!(converse(ours, b"request").await.ok(), want, "{answer}");
        }
    }
}
