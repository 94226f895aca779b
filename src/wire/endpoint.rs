//! The OpenAI paths that are served and forwarded.

/// An OpenAI path we serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`, the legacy form.
    Completions,
    /// `POST /v1/embeddings`; never streams.
    Embeddings,
    /// `POST /v1/responses`, without stored state.
    Responses,
    /// `POST /v1/audio/transcriptions`: a form with a file.
    Transcriptions,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Responses, Self::Transcriptions];

    /// Names the endpoint in labels, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Transcriptions => "transcriptions",
        }
    }

    /// Gives the path that clients post to, such as `/v1/chat/completions`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Transcriptions => "/v1/audio/transcriptions",
        }
    }

    /// Gives the path below a provider's base URL, which itself ends in `/v1`: `/chat/completions`.
    #[must_use]
    pub const fn upstream_path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
            Self::Transcriptions => "/audio/transcriptions",
        }
    }

    /// Whether its streams are chunks of the Chat wire, with choices.
    #[must_use]
    pub const fn has_chunks(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Embeddings)
    }

    /// Whether an answer is text of the model's own, whose length a request can bound.
    #[must_use]
    pub const fn has_output_cap(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Responses)
    }

    /// Finds the endpoint of a request path, compared exactly and without a query.
    #[must_use]
    pub fn from_path(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.path().as_bytes() == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint_and_back() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::from_path(endpoint.path().as_bytes()), Some(endpoint));
            assert_eq!(endpoint.path().strip_prefix("/v1"), Some(endpoint.upstream_path()));
        }
        for path in ["/v1/chat/completions/", "/v1/Responses", "/responses", ""] {
            assert_eq!(Endpoint::from_path(path.as_bytes()), None, "{path}");
        }
    }
}
