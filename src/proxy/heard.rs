//! What a transcription hears, and what it is billed for.
//!
//! Reserved is how long the file lasts; settled is what the provider says, or else the same length, marked as an estimate.

use crate::{
    base::TokenCounts,
    http::{Downstream, Gone},
    limit::Claim,
    metrics::Outcome,
    sound::Length,
    wire::{AnswerFormat, Endpoint, last_cue_millis, view_answer},
};

use super::{
    attempt::Failure,
    exchange::Exchange,
    passed::Passed,
    relay::{invalid, no_answer, send},
    reply::After,
    settle::TOKEN_BYTES,
};

/// Tokens of a second of audio at most: models hear 50 frames a second, and most of them join several to a token.
const TOKENS_SECOND_MAX: u64 = 50;
/// Tokens of a second as they are likely: OpenAI's models count one for 100 ms.
const TOKENS_SECOND: u64 = 10;
/// Longest type of an answer that is passed on.
const TYPE_BYTES_MAX: usize = 64;

/// The file of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// How long it lasts.
    pub length: Length,
    /// What the client wants the answer to be.
    pub format: AnswerFormat,
    /// Bytes of the fields beside it.
    pub text_bytes: u32,
}

impl Heard {
    /// Milliseconds to reserve: whole seconds, as providers count.
    fn reserved_millis(&self) -> u64 {
        self.length.millis.div_ceil(1_000).saturating_mul(1_000)
    }

    /// Whether the provider may hear more than is reserved: the file only says itself how long it is.
    pub(super) fn is_open(&self) -> bool {
        self.length.millis_max > self.reserved_millis()
    }

    /// Reserves what the file can use at most, instead of what its bytes could.
    pub(super) fn reserve(&self, claim: &mut Claim) {
        claim.audio_millis = self.reserved_millis();
        let tokens = (claim.audio_millis / 1_000).saturating_mul(TOKENS_SECOND_MAX);
        claim.input_tokens = tokens.saturating_add(u64::from(self.text_bytes));
    }
}

impl Exchange<'_> {
    /// Tokens and audio of a transcription of so many bytes, by what the provider states.
    pub(super) fn account_heard(
        &mut self,
        (stated, audio_millis): (Option<TokenCounts>, Option<u64>),
        said_bytes: impl FnOnce() -> u64,
    ) {
        let Some(heard) = self.heard else { return };
        self.tokens = stated.unwrap_or_default();
        match audio_millis {
            Some(millis) => self.tokens.audio_millis = self.plausible(heard.length, millis),
            None => {
                self.estimated = true;
                self.tokens.audio_millis = heard.length.millis;
            }
        }
        if stated.is_none() && audio_millis.is_none() && self.estimate_heard_tokens(heard) {
            self.tokens.output = said_bytes().div_ceil(TOKEN_BYTES);
        }
    }

    /// What is billed for so much audio. What a file says of itself is no bound of what is paid for it: more is billed as stated,
    /// and flagged.
    fn plausible(&mut self, length: Length, millis: u64) -> u64 {
        if millis <= length.likely_max {
            return millis;
        }
        self.usage_suspect = true;
        millis.min(length.millis_max)
    }

    /// Bills no less than the time until the last cue of subtitles, whose provider states no length.
    fn heard_until(&mut self, cue_millis: Option<u64>) {
        let (Some(heard), Some(millis)) = (self.heard, cue_millis) else { return };
        if millis > self.tokens.audio_millis {
            self.tokens.audio_millis = self.plausible(heard.length, millis);
        }
    }

    /// Estimates a transcription that was sent and of which the provider states nothing.
    pub(super) fn estimate_heard(&mut self, heard: Heard) {
        self.tokens.audio_millis = heard.length.millis;
        self.estimate_heard_tokens(heard);
    }

    /// Returns whether there are any: models that are paid by the minute have no tokens.
    fn estimate_heard_tokens(&mut self, heard: Heard) -> bool {
        let is_by_minute = self.price_in_force().is_some_and(|price| price.per_audio_minute().0 > 0);
        if !is_by_minute {
            let sound = heard.length.millis.saturating_mul(TOKENS_SECOND).div_ceil(1_000);
            self.tokens.audio_input = sound;
            self.tokens.input = sound.saturating_add(u64::from(heard.text_bytes).div_ceil(TOKEN_BYTES));
        }
        !is_by_minute
    }
}

/// Passes a whole transcription on, whatever it is written as.
///
/// # Errors
/// [`Failure`] when it is none.
pub(super) async fn pass_transcript(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (status, passed, body): (u16, &Passed, &[u8]),
    after: After,
) -> Result<Result<(), Gone>, Failure> {
    let format = exchange.heard.map_or(AnswerFormat::Json, |heard| heard.format);
    let said_bytes = || u64::try_from(body.len()).unwrap_or(u64::MAX);
    let stated_type = passed.content_type.as_deref();
    let kind = match (view_answer(Endpoint::Transcriptions, body), format) {
        (Ok(view), _) => {
            if view.error.is_some() {
                return Err(no_answer("the provider answered 200 with an error object"));
            }
            exchange.account_heard((view.usage, view.audio_millis), said_bytes);
            "application/json"
        }
        (Err(_), AnswerFormat::Json) => return Err(invalid("the provider's answer is not a JSON object")),
        (Err(_), AnswerFormat::Text) => {
            if is_page(stated_type.unwrap_or_default(), body) {
                return Err(invalid("the provider's answer is a page and no transcription"));
            }
            exchange.account_heard((None, None), said_bytes);
            exchange.heard_until(last_cue_millis(body));
            stated_type.unwrap_or("text/plain; charset=utf-8")
        }
    };
    exchange.finish = crate::base::Finish::Completed;
    exchange.price();
    exchange.count_attempt(Outcome::Success);
    Ok(send(exchange, down, (status, passed, (kind, body)), (after, None)).await)
}

/// Whether a text is a page for a browser, such as a login, which some send with status 200.
fn is_page(content_type: &str, body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    let starts = |mark: &str| text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()));
    let is_html = content_type.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("text/html"));
    is_html || starts("<!doctype") || starts("<html")
}

/// The type of an answer as it may be passed on: what could end its line, or is long, is not.
pub(super) fn passable_type(value: &[u8]) -> Option<Box<str>> {
    let is_plain = value.len() <= TYPE_BYTES_MAX && value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let text = std::str::from_utf8(value).ok().filter(|text| is_plain && text.contains('/'))?;
    Some(text.trim().into())
}
