//! The one request a run sends, built once as bytes.

use anyhow::{Context as _, bail};
use serde_json::json;

use super::target::Target;

/// Largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// What padding is made of: plain words, so that scanners and tokenizers see text and not one run.
const FILLER: &[u8] = b"the quick brown fox jumps over the lazy dog and then it rests a while ";

/// What a chat request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Value of `model`.
    pub(crate) model: String,
    /// Bearer key; no `authorization` header without it.
    pub(crate) key: Option<String>,
    /// Length of the body; a shorter one is padded in its message. `None` pads nothing.
    pub(crate) body_bytes: Option<usize>,
    /// Whether to ask for server-sent events.
    pub(crate) stream: bool,
}

/// Builds head and body of a chat request.
///
/// # Errors
/// A model or key that breaks the header or the JSON, or a body length that cannot be met.
pub(crate) fn build(target: &Target, ask: &Ask) -> anyhow::Result<Vec<u8>> {
    let body = body(ask)?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: {}\r\nuser-agent: loadtest\r\ncontent-length: {}\r\n",
        target.path,
        target.addr,
        if ask.stream { "text/event-stream" } else { "application/json" },
        body.len(),
    );
    if let Some(key) = &ask.key {
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("the key must be visible ASCII without spaces");
        }
        head.push_str("authorization: Bearer ");
        head.push_str(key);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn body(ask: &Ask) -> anyhow::Result<Vec<u8>> {
    let bare = body_with(ask, "")?;
    let Some(body_bytes) = ask.body_bytes else {
        return body_with(ask, "Say hello.");
    };
    if body_bytes > BODY_BYTES_MAX {
        bail!("a body of {body_bytes} bytes is over the limit of {BODY_BYTES_MAX}");
    }
    let padding = body_bytes.checked_sub(bare.len()).with_context(|| {
        format!(
            "a chat request for model `{}` has {} bytes at least, {body_bytes} were asked for",
            ask.model,
            bare.len()
        )
    })?;
    let filler: Vec<u8> = FILLER.iter().copied().cycle().take(padding).collect();
    body_with(ask, std::str::from_utf8(&filler)?)
}

fn body_with(ask: &Ask, content: &str) -> anyhow::Result<Vec<u8>> {
    let mut value = json!({
        "model": ask.model,
        "messages": [{"role": "user", "content": content}],
    });
    if ask.stream
        && let Some(object) = value.as_object_mut()
    {
        object.insert("stream".to_owned(), true.into());
    }
    Ok(serde_json::to_vec(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body_bytes: Option<usize>, stream: bool) -> Ask {
        Ask { model: "fast".to_owned(), key: Some("k".to_owned()), body_bytes, stream }
    }

    fn sent(ask: &Ask) -> (String, serde_json::Value, usize) {
        let target = super::super::target::parse("http://127.0.0.1:1/p").unwrap();
        let bytes = build(&target, ask).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap(), body.len())
    }

    #[test]
    fn body_has_exactly_the_length_asked_for() {
        for body_bytes in [100, 800, 65_536, 1 << 20] {
            let (head, value, length) = sent(&ask(Some(body_bytes), false));
            assert_eq!(length, body_bytes);
            assert!(head.contains(&format!("content-length: {body_bytes}")));
            assert_eq!(value["model"], "fast");
            assert!(value.get("stream").is_none());
        }
    }

    #[test]
    fn stream_and_key_are_said() {
        let (head, value, _) = sent(&ask(None, true));
        assert!(head.starts_with("POST /p HTTP/1.1\r\nhost: 127.0.0.1:1\r\n"));
        assert!(head.contains("authorization: Bearer k"));
        assert_eq!(value["stream"], true);
    }

    #[test]
    fn impossible_requests_are_refused() {
        let target = super::super::target::parse("http://127.0.0.1:1").unwrap();
        assert!(build(&target, &ask(Some(10), false)).is_err(), "too short");
        let too_long = ask(Some(BODY_BYTES_MAX + 1), false);
        assert!(build(&target, &too_long).is_err(), "too long");
        let mut split = ask(None, false);
        split.key = Some("k\r\nx: y".to_owned());
        assert!(build(&target, &split).is_err(), "key with a line break");
    }
}
