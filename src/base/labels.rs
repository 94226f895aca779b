//! Who and what a request is counted under, and its tokens.

/// The names under which a request to one target is counted, logged and billed.
///
/// Made once when a configuration is compiled; requests share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels {
    /// Organization that owns the project.
    pub organization: Box<str>,
    /// Project slug; empty when the request named none that its key may use.
    pub project: Box<str>,
    /// Route name inside the project.
    pub route: Box<str>,
    /// Provider that answered, such as `openai`.
    pub provider: Box<str>,
    /// Model name as the provider knows it.
    pub model: Box<str>,
    /// Target: the `model_id` of the configuration, never an address.
    pub target: Box<str>,
}

/// Tokens of one answer, and the audio it was made from, as the provider stated them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCounts {
    /// Prompt tokens, cached ones included where the provider includes them.
    pub input: u64,
    /// Completion tokens, reasoning included where the provider includes it.
    pub output: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache, for whatever time.
    pub cache_write: u64,
    /// Those of `cache_write` that are kept for an hour.
    pub cache_write_1h: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
    /// Prompt tokens of audio, part of `input`.
    pub audio_input: u64,
    /// Completion tokens of audio, part of `output`.
    pub audio_output: u64,
    /// Prompt tokens of pictures, part of `input`.
    pub image_input: u64,
    /// Completion tokens of pictures, part of `output`.
    pub image_output: u64,
    /// Searches that the provider made for the answer: no tokens, but billed.
    pub searches: u32,
    /// Pictures that were made for the answer.
    pub images: u32,
    /// Milliseconds of audio that a transcription heard.
    pub audio_millis: u64,
}
