//! Why an answer ended, in one set of words for all providers.

use super::words::words;

words! {
    /// Why an answer ended.
    #[derive(Default)]
    Finish {
        /// Nobody said so, or nobody looked: only requests that become a row of their own are looked at.
        #[default]
        Unknown = "unknown",
        /// It was all said.
        Completed = "completed",
        /// The most tokens that it could have were used up.
        LengthLimit = "length_limit",
        /// A filter refused, or cut it.
        ContentFilter = "content_filter",
        /// The model wants tools to be called.
        ToolCalls = "tool_calls",
        /// The gateway itself.
        GatewayError = "gateway_error",
        /// The provider, or the way to it.
        UpstreamError = "upstream_error",
        /// The request was refused for what it is, or by a limit of its sender.
        ClientError = "client_error",
        /// The client left.
        Cancelled = "cancelled",
    }
}

impl Finish {
    /// The reason that a provider of the OpenAI wire states, in any of its spellings.
    #[must_use]
    pub fn stated(word: &[u8]) -> Self {
        match word {
            b"stop" | b"completed" | b"eos" | b"end_turn" | b"STOP" => Self::Completed,
            b"length" | b"max_output_tokens" | b"max_tokens" | b"model_length" => Self::LengthLimit,
            b"content_filter" => Self::ContentFilter,
            b"tool_calls" | b"function_call" | b"tool_use" => Self::ToolCalls,
            b"error" => Self::UpstreamError,
            _ => Self::Unknown,
        }
    }
}
