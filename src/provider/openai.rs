//! Requests in the OpenAI dialect.

use std::fmt::Write as _;

use crate::{base::Secret, config::Provider, wire::Endpoint};

/// Whether streams of this provider carry usage only when asked for it by `stream_options.include_usage`.
///
/// Mistral and `DeepSeek` state usage unasked, Groq in `x_groq.usage`; all others get the option, which OpenAI-compatible
/// servers know.
#[must_use]
pub fn asks_usage(provider: Provider) -> bool {
    match provider {
        Provider::OpenAi | Provider::OpenRouter => true,
        Provider::Groq | Provider::DeepSeek | Provider::Mistral | Provider::Mock => false,
    }
}

/// Why a request head cannot be built. The text is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadTextError {
    /// The host or the path.
    #[error("the address holds a character that cannot be sent in a request")]
    Address,
    /// The credential.
    #[error("the secret holds a character that cannot be sent in a header")]
    Key,
}

/// Builds the fixed part of a request head for one endpoint of one target, up to the fields that differ from request to
/// request. Upstream heads are built from nothing: no field of the client's is ever copied.
///
/// # Errors
/// [`HeadTextError`] when a part could end its line. Every part was checked where it came from; this is the last door
/// before a socket, and it does not rely on that.
pub fn request_head(
    authority: &str,
    path_prefix: &str,
    endpoint: Endpoint,
    key: Option<&Secret>,
) -> Result<Secret, HeadTextError> {
    if !authority.bytes().chain(path_prefix.bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Err(HeadTextError::Address);
    }
    if key.is_some_and(|key| !key.reveal().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')) {
        return Err(HeadTextError::Key);
    }
    let mut head = String::with_capacity(512);
    let path = endpoint.upstream_path();
    // Writing to a String cannot fail.
    let _ = write!(head, "POST {path_prefix}{path} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(key) = key {
        let _ = write!(head, "authorization: Bearer {}\r\n", key.reveal());
    }
    head.push_str(concat!("user-agent: millrace/", env!("CARGO_PKG_VERSION"), "\r\naccept-encoding: identity\r\n"));
    // The type of a form has the client's boundary in it.
    if endpoint != Endpoint::Transcriptions {
        head.push_str("content-type: application/json\r\n");
    }
    Ok(Secret::new(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_names_path_host_and_key_only_from_the_configuration() {
        let key = Secret::new("sk-1".to_owned());
        let head = request_head("api.example.com", "/v1", Endpoint::Chat, Some(&key)).unwrap();
        assert!(head.reveal().starts_with(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer sk-1\r\n"
        ));
        let bare = request_head("h:8000", "/v1", Endpoint::Embeddings, None).unwrap();
        assert!(!bare.reveal().contains("authorization"));
    }

    #[test]
    fn nothing_that_could_end_its_line_gets_into_a_head() {
        for (name, authority, path, key, want) in [
            ("key", "h", "/v1", "sk\r\nx: y", Err(HeadTextError::Key)),
            ("key beyond ASCII", "h", "/v1", "sk-é", Err(HeadTextError::Key)),
            ("host", "h\nx: y", "/v1", "sk", Err(HeadTextError::Address)),
            ("path", "h", "/v1 HTTP/1.1", "sk", Err(HeadTextError::Address)),
            ("sound", "h", "/v1", "sk", Ok(())),
        ] {
            let key = Secret::new(key.to_owned());
            let got = request_head(authority, path, Endpoint::Chat, Some(&key)).map(|_| ());
            assert_eq!(got, want, "{name}");
        }
    }
}
