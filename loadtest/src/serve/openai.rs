//! What a request of the OpenAI dialect asks for.

use serde::Deserialize;

/// The endpoints of the OpenAI dialect that are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Transcriptions,
}

impl Endpoint {
    /// The endpoint of a path; a base path before `/v1` is allowed.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (_, rest) = path.rsplit_once("/v1/")?;
        match rest {
            "chat/completions" => Some(Self::Chat),
            "completions" => Some(Self::Completions),
            "embeddings" => Some(Self::Embeddings),
            "responses" => Some(Self::Responses),
            "audio/transcriptions" => Some(Self::Transcriptions),
            _ => None,
        }
    }
}

/// The fields of a request body that decide an answer; all others are skipped.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Fields {
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(crate) encoding_format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

impl Fields {
    /// Reads a JSON body. A repeated key is an error, since two readers could differ about it.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("malformed body: {error}"))
    }

    /// Reads the fields of a form as gateways send it: what stands between a name and the next line end.
    pub(crate) fn of_form(body: &[u8]) -> Result<Self, String> {
        let field = |name: &str| {
            let head = format!("name=\"{name}\"\r\n\r\n");
            let rest = body.get(memchr::memmem::find(body, head.as_bytes())? + head.len()..)?;
            let value = rest.get(..memchr::memchr(b'\r', rest)?)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let model = field("model").ok_or("malformed form: no `model`")?;
        let stream = field("stream").map(|value| value == "true");
        Ok(Self { model: Some(model), stream, ..Self::default() })
    }

    /// Whether the usage of a stream was asked for.
    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }
}
