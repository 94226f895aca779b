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

/// Builds the fixed part of a request head for one endpoint of one target, up to the fields that differ from request to
/// request. Upstream heads are built from nothing: no field of the client's is ever copied.
#[must_use]
pub fn request_head(authority: &str, path_prefix: &str, endpoint: Endpoint, key: Option<&Secret>) -> Secret {
    let mut head = String::with_capacity(512);
    let path = endpoint.upstream_path();
    // Writing to a String cannot fail.
    let _ = write!(head, "POST {path_prefix}{path} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(key) = key {
        let _ = write!(head, "authorization: Bearer {}\r\n", key.reveal());
    }
    head.push_str(concat!(
        "user-agent: millrace/",
        env!("CARGO_PKG_VERSION"),
        "\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n"
    ));
    Secret::new(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_names_path_host_and_key_only_from_the_configuration() {
        let key = Secret::new("sk-1".to_owned());
        let head = request_head("api.example.com", "/v1", Endpoint::Chat, Some(&key));
        assert!(head.reveal().starts_with(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer sk-1\r\n"
        ));
        let bare = request_head("h:8000", "/v1", Endpoint::Embeddings, None);
        assert!(!bare.reveal().contains("authorization"));
    }
}
