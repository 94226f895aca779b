//! Token counts out of a `usage` object, in every OpenAI form.
//!
//! The forms differ in names only, so one table of names reads them all: OpenAI Chat and Responses, DeepSeek
//! (`prompt_cache_hit_tokens`), Perplexity, Mistral, Voyage, and Anthropic behind an address of the OpenAI wire. Fields that are not counted may hold anything, such as
//! Groq's times and OpenRouter's `cost`, which are floats.

use super::json::Scanner;
use super::json_place::JsonFault;
use crate::base::TokenCounts;

/// Reads the counts of a `usage` object, given as its JSON text.
///
/// `None` if it holds no count of prompt or completion, or if a counted field is neither an unsigned integer nor
/// `null`: then the answer has no valid usage. Of a name that stands twice the last counts.
#[must_use]
pub fn read_usage(object: &[u8]) -> Option<TokenCounts> {
    let mut scanner = Scanner::resume(object, 0, 0);
    let found = scan_usage(&mut scanner, object).ok()?;
    scanner.finish().ok()?;
    found.counts()
}

/// What a `usage` member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// It is an object.
    pub(super) is_object: bool,
    invalid: bool,
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    reasoning: u64,
    audio_input: u64,
    audio_output: u64,
    image_input: u64,
    image_output: u64,
    searches: Option<u64>,
    images: u64,
    /// What a transcription heard, in milliseconds.
    audio_millis: Option<u64>,
    /// Cached tokens stand in Anthropic's names.
    names_cache: bool,
    /// Input stands in the name that Anthropic and the Responses API use.
    names_input: bool,
}

impl Found {
    /// Gives the counts if they are valid.
    pub(super) fn counts(&self) -> Option<TokenCounts> {
        if self.invalid || (self.input.is_none() && self.output.is_none()) {
            return None;
        }
        let mut counts = TokenCounts {
            input: self.input.unwrap_or(0),
            output: self.output.unwrap_or(0),
            cache_read: self.cache_read,
            cache_write: self.cache_write.max(self.cache_write_5m.saturating_add(self.cache_write_1h)),
            cache_write_1h: self.cache_write_1h,
            reasoning: self.reasoning,
            audio_input: self.audio_input,
            audio_output: self.audio_output,
            image_input: self.image_input,
            image_output: self.image_output,
            searches: count_of(self.searches.unwrap_or(0)),
            images: count_of(self.images),
            audio_millis: 0,
        };
        let sum = counts.input.saturating_add(counts.output);
        if self.total.is_some_and(|total| total > sum) || (self.names_cache && self.names_input) {
            self.complete(&mut counts, sum);
        }
        Some(counts)
    }

    /// Counts in what a provider states beside its input and output instead of in them, so that parts never exceed their whole.
    ///
    /// Anthropic states cached input apart, xAI reasoning in Chat, Mistral sound. The last two are told by a total that is
    /// larger by just that.
    #[cold]
    fn complete(&self, counts: &mut TokenCounts, sum: u64) {
        if self.names_cache && self.names_input {
            let cached = counts.cache_read.saturating_add(counts.cache_write);
            counts.input = counts.input.saturating_add(cached);
            return;
        }
        let apart = self.total.unwrap_or(0).saturating_sub(sum);
        let (thought, heard) = (counts.reasoning, counts.audio_input);
        let (thought, heard) = match apart {
            both if both == thought.saturating_add(heard) => (thought, heard),
            one if one == thought => (thought, 0),
            one if one == heard => (0, heard),
            _ => return,
        };
        counts.output = counts.output.saturating_add(thought);
        counts.input = counts.input.saturating_add(heard);
    }

    /// Whether it states how often the provider searched.
    pub(super) fn states_searches(&self) -> bool {
        self.searches.is_some()
    }

    /// Gives what a transcription heard, in milliseconds, where the provider states it.
    pub(super) fn audio_millis(&self) -> Option<u64> {
        self.audio_millis
    }

    /// Gives the counts of an embedding, where some providers state a total alone: all of it is input.
    pub(super) fn counts_of_embedding(&self) -> Option<TokenCounts> {
        let input = self.input.or(self.total);
        Self { input, ..*self }.counts()
    }
}

/// Steps over the value of a `usage` member and keeps the counts in it.
pub(super) fn scan_usage(scanner: &mut Scanner<'_>, body: &[u8]) -> Result<Found, JsonFault> {
    let mut found = Found::default();
    if scanner.peek() != b'{' {
        scanner.value()?;
        return Ok(found);
    }
    found.is_object = true;
    if !scanner.open_object()? {
        return Ok(found);
    }
    loop {
        match Field::find(scanner.name()?.span.inner_of(body)) {
            Some(Field::Prompt) => found.input = found.count(scanner, body)?,
            Some(Field::Input) => {
                found.input = found.count(scanner, body)?;
                found.names_input = true;
            }
            Some(Field::Output) => found.output = found.count(scanner, body)?,
            Some(Field::Total) => found.total = found.count(scanner, body)?,
            Some(Field::Tools) => scan_tools(scanner, body, &mut found)?,
            Some(details @ (Field::InputDetails | Field::OutputDetails | Field::CacheCreation)) => {
                scan_details(scanner, body, details, &mut found)?;
            }
            Some(field @ (Field::CacheReadInput | Field::CacheCreationInput)) => {
                let count = found.count(scanner, body)?.unwrap_or(0);
                let kept = if field == Field::CacheReadInput { &mut found.cache_read } else { &mut found.cache_write };
                *kept = count.max(*kept);
                found.names_cache = true;
            }
            Some(Field::CacheRead | Field::CacheHit) => {
                // Beside `prompt_tokens_details`, where both stand, these say the same.
                let count = found.count(scanner, body)?;
                found.cache_read = found.cache_read.max(count.unwrap_or(0));
            }
            Some(Field::Reasoning) => {
                let count = found.count(scanner, body)?;
                found.reasoning = found.reasoning.max(count.unwrap_or(0));
            }
            Some(Field::Queries) => found.add_searches(scanner, body)?,
            Some(Field::Seconds) => {
                let value = scanner.value()?;
                found.audio_millis = parse_seconds(value.span.of(body)).or(found.audio_millis);
            }
            _ => {
                scanner.value()?;
            }
        }
        if !scanner.next_member()? {
            return Ok(found);
        }
    }
}

/// A field that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Prompt,
    Input,
    Output,
    Total,
    InputDetails,
    OutputDetails,
    /// Anthropic's object of writes by their time.
    CacheCreation,
    /// The name that stands in the details too.
    CacheRead,
    /// Names that stand outside the details only.
    CacheHit,
    /// Anthropic's, outside the details only.
    CacheReadInput,
    /// Anthropic's, outside the details only.
    CacheCreationInput,
    CacheWrite,
    CacheWrite5m,
    CacheWrite1h,
    Reasoning,
    Audio,
    Image,
    /// Objects that count what the provider's own tools did.
    Tools,
    /// Searches, in such an object.
    Searches,
    /// Perplexity's, outside of one.
    Queries,
    /// Pictures made, in such an object.
    Pictures,
    /// Seconds of audio, outside the details only.
    Seconds,
}

impl Field {
    #[inline]
    fn find(name: &[u8]) -> Option<Self> {
        // By length first, so that a name is compared once or twice.
        match name.len() {
            7 if name == b"seconds" => Some(Self::Seconds),
            12 if name == b"input_tokens" => Some(Self::Input),
            12 if name == b"total_tokens" => Some(Self::Total),
            12 if name == b"audio_tokens" => Some(Self::Audio),
            12 if name == b"image_tokens" => Some(Self::Image),
            13 if name == b"prompt_tokens" => Some(Self::Prompt),
            13 if name == b"output_tokens" => Some(Self::Output),
            13 if name == b"cached_tokens" => Some(Self::CacheRead),
            14 if name == b"cache_creation" => Some(Self::CacheCreation),
            14 if name == b"x_search_calls" => Some(Self::Searches),
            15 if name == b"server_tool_use" => Some(Self::Tools),
            16 if name == b"web_search_calls" => Some(Self::Searches),
            16 if name == b"reasoning_tokens" => Some(Self::Reasoning),
            17 if name == b"completion_tokens" => Some(Self::Output),
            17 if name == b"num_cached_tokens" => Some(Self::CacheHit),
            18 if name == b"cache_write_tokens" => Some(Self::CacheWrite),
            18 if name == b"num_search_queries" => Some(Self::Queries),
            19 if name == b"web_search_requests" => Some(Self::Searches),
            19 if name == b"input_token_details" => Some(Self::InputDetails),
            20 if name == b"prompt_audio_seconds" => Some(Self::Seconds),
            20 if name == b"input_tokens_details" => Some(Self::InputDetails),
            21 if name == b"prompt_tokens_details" => Some(Self::InputDetails),
            21 if name == b"output_tokens_details" => Some(Self::OutputDetails),
            22 if name == b"image_generation_calls" => Some(Self::Pictures),
            23 if name == b"server_tool_use_details" => Some(Self::Tools),
            23 if name == b"prompt_cache_hit_tokens" => Some(Self::CacheHit),
            23 if name == b"cache_read_input_tokens" => Some(Self::CacheReadInput),
            25 if name == b"completion_tokens_details" => Some(Self::OutputDetails),
            25 if name == b"ephemeral_5m_input_tokens" => Some(Self::CacheWrite5m),
            25 if name == b"ephemeral_1h_input_tokens" => Some(Self::CacheWrite1h),
            27 if name == b"cache_creation_input_tokens" => Some(Self::CacheCreationInput),
            30 if name == b"server_side_tool_usage_details" => Some(Self::Tools),
            _ => None,
        }
    }
}

/// Reads what the provider's own tools did. Of several objects that say it the largest counts.
#[cold]
fn scan_tools(scanner: &mut Scanner<'_>, body: &[u8], found: &mut Found) -> Result<(), JsonFault> {
    let known = found.searches.take();
    scan_details(scanner, body, Field::Tools, found)?;
    found.searches = found.searches.max(known);
    Ok(())
}

fn scan_details(scanner: &mut Scanner<'_>, body: &[u8], details: Field, found: &mut Found) -> Result<(), JsonFault> {
    if scanner.peek() != b'{' {
        scanner.value()?;
        return Ok(());
    }
    if !scanner.open_object()? {
        return Ok(());
    }
    loop {
        match Field::find(scanner.name()?.span.inner_of(body)) {
            Some(Field::CacheRead) => {
                let count = found.count(scanner, body)?;
                found.cache_read = found.cache_read.max(count.unwrap_or(0));
            }
            Some(Field::CacheWrite) => found.cache_write = found.count(scanner, body)?.unwrap_or(0),
            Some(Field::CacheWrite5m) => found.cache_write_5m = found.count(scanner, body)?.unwrap_or(0),
            Some(Field::CacheWrite1h) => found.cache_write_1h = found.count(scanner, body)?.unwrap_or(0),
            Some(Field::Audio) => {
                let count = found.count(scanner, body)?.unwrap_or(0);
                let kept =
                    if details == Field::OutputDetails { &mut found.audio_output } else { &mut found.audio_input };
                *kept = count;
            }
            Some(Field::Image) => {
                let count = found.count(scanner, body)?.unwrap_or(0);
                let kept =
                    if details == Field::OutputDetails { &mut found.image_output } else { &mut found.image_input };
                *kept = count;
            }
            Some(Field::Searches) if details == Field::Tools => found.add_searches(scanner, body)?,
            Some(Field::Pictures) if details == Field::Tools => {
                found.images = found.count(scanner, body)?.unwrap_or(0);
            }
            Some(Field::Reasoning) => {
                let count = found.count(scanner, body)?;
                found.reasoning = found.reasoning.max(count.unwrap_or(0));
            }
            _ => {
                scanner.value()?;
            }
        }
        if !scanner.next_member()? {
            return Ok(());
        }
    }
}

impl Found {
    /// Reads searches, which some count by their kind.
    fn add_searches(&mut self, scanner: &mut Scanner<'_>, body: &[u8]) -> Result<(), JsonFault> {
        if let Some(count) = self.count(scanner, body)? {
            self.searches = Some(self.searches.unwrap_or(0).saturating_add(count));
        }
        Ok(())
    }

    /// Reads one count; anything but an unsigned integer or `null` makes the whole usage invalid.
    #[inline]
    fn count(&mut self, scanner: &mut Scanner<'_>, body: &[u8]) -> Result<Option<u64>, JsonFault> {
        match scanner.short_count()? {
            Some(count) => Ok(Some(count)),
            None => self.other_count(scanner, body),
        }
    }

    #[cold]
    fn other_count(&mut self, scanner: &mut Scanner<'_>, body: &[u8]) -> Result<Option<u64>, JsonFault> {
        let value = scanner.value()?;
        if value.first == b'n' {
            return Ok(None);
        }
        let count = parse_count(value.span.of(body));
        self.invalid |= count.is_none();
        Ok(count)
    }
}

/// A count of things that are no tokens.
pub(super) fn count_of(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Reads seconds as milliseconds, rounded up: a plain decimal number, or one in quotes. None for signs, exponents and overflow.
pub(super) fn parse_seconds(literal: &[u8]) -> Option<u64> {
    let text = literal.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(literal);
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(point) => (text.get(..point)?, text.get(point + 1..).filter(|digits| !digits.is_empty())?),
        None => (text, &b"0"[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| u64::from(byte - b'0'));
    let more = fraction.iter().skip(3).any(|byte| *byte != b'0');
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(more);
    parse_count(whole)?.checked_mul(1_000)?.checked_add(millis)
}

/// Reads an unsigned integer; `None` for anything else, signs, fractions and overflow included.
pub(super) fn parse_count(literal: &[u8]) -> Option<u64> {
    if literal.is_empty() {
        return None;
    }
    literal.iter().try_fold(0u64, |count, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        count.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(input: u64, output: u64, cache_read: u64, cache_write: u64, reasoning: u64) -> TokenCounts {
        TokenCounts { input, output, cache_read, cache_write, reasoning, ..TokenCounts::default() }
    }

    #[test]
    fn every_openai_form_of_usage_is_read() {
        for (name, text, want) in [
            (
                "chat",
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}"#,
                counts(10, 5, 4, 0, 2),
            ),
            (
                "responses",
                r#"{ "input_tokens" : 8 , "input_tokens_details":{"cached_tokens":1,"cache_write_tokens":3},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":17 }"#,
                counts(8, 9, 1, 3, 7),
            ),
            (
                "deepseek",
                r#"{"prompt_tokens":20,"completion_tokens":1,"prompt_cache_hit_tokens":16,"prompt_cache_miss_tokens":4}"#,
                counts(20, 1, 16, 0, 0),
            ),
            (
                "floats in fields that are not counted",
                r#"{"queue_time":0.05,"prompt_tokens":3,"cost":{"total_cost":0.5e-3},"completion_tokens":4,"tps":-1.5}"#,
                counts(3, 4, 0, 0, 0),
            ),
            (
                "details are null",
                r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
                counts(3, 4, 0, 0, 0),
            ),
            ("embedding", r#"{"prompt_tokens":3,"total_tokens":3}"#, counts(3, 0, 0, 0, 0)),
            (
                "the last of two counts",
                r#"{"prompt_tokens":3,"prompt_tokens":5,"completion_tokens":1}"#,
                counts(5, 1, 0, 0, 0),
            ),
            (
                "zero, and 18 and 19 digits",
                r#"{"prompt_tokens":0,"completion_tokens":123456789012345678,"prompt_tokens_details":{"cached_tokens":1234567890123456789 }}"#,
                counts(0, 123_456_789_012_345_678, 1_234_567_890_123_456_789, 0, 0),
            ),
            (
                "the largest number",
                r#"{"prompt_tokens":18446744073709551615,"completion_tokens":0}"#,
                counts(u64::MAX, 0, 0, 0, 0),
            ),
            (
                "sound",
                r#"{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17,"prompt_tokens_details":{"audio_tokens":4},"completion_tokens_details":{"audio_tokens":6,"reasoning_tokens":0}}"#,
                TokenCounts { audio_input: 4, audio_output: 6, ..counts(9, 8, 0, 0, 0) },
            ),
        ] {
            assert_eq!(read_usage(text.as_bytes()), Some(want), "{name}");
        }
    }

    #[test]
    fn pictures_and_searches_are_read() {
        for (name, text, want) in [
            (
                "pictures",
                r#"{"input_tokens":9,"output_tokens":8,"input_tokens_details":{"image_tokens":4,"text_tokens":5},"output_tokens_details":{"image_tokens":6}}"#,
                TokenCounts { image_input: 4, image_output: 6, ..counts(9, 8, 0, 0, 0) },
            ),
            (
                "anthropic, searches",
                r#"{"input_tokens":9,"output_tokens":8,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":2}}"#,
                TokenCounts { searches: 3, ..counts(9, 8, 0, 0, 0) },
            ),
            (
                "openrouter, searches",
                r#"{"prompt_tokens":9,"completion_tokens":8,"server_tool_use_details":{"tool_calls_executed":2,"web_search_requests":1}}"#,
                TokenCounts { searches: 1, ..counts(9, 8, 0, 0, 0) },
            ),
            (
                "xai, searches and pictures",
                r#"{"input_tokens":9,"output_tokens":8,"num_sources_used":5,"num_server_side_tools_used":4,"server_side_tool_usage_details":{"web_search_calls":2,"x_search_calls":1,"image_generation_calls":4,"file_search_calls":7}}"#,
                TokenCounts { searches: 3, images: 4, ..counts(9, 8, 0, 0, 0) },
            ),
            (
                "perplexity, searches",
                r#"{"prompt_tokens":9,"completion_tokens":8,"num_search_queries":18,"citation_tokens":7}"#,
                TokenCounts { searches: 18, ..counts(9, 8, 0, 0, 0) },
            ),
            (
                "searches outside of their object, and null",
                r#"{"prompt_tokens":9,"completion_tokens":8,"web_search_requests":4,"image_tokens":5,"server_tool_use":null,"server_tool_use_details":{"web_search_requests":null}}"#,
                counts(9, 8, 0, 0, 0),
            ),
        ] {
            assert_eq!(read_usage(text.as_bytes()), Some(want), "{name}");
        }
    }

    #[test]
    fn what_stands_beside_its_whole_is_counted_in() {
        for (name, text, want) in [
            (
                "mistral, sound apart",
                r#"{"prompt_tokens":3,"completion_tokens":11,"total_tokens":389,"prompt_tokens_details":{"audio_tokens":375}}"#,
                TokenCounts { audio_input: 375, ..counts(378, 11, 0, 0, 0) },
            ),
            (
                "xai, reasoning apart",
                r#"{"prompt_tokens":12,"completion_tokens":1,"total_tokens":303,"completion_tokens_details":{"reasoning_tokens":290}}"#,
                counts(12, 291, 0, 0, 290),
            ),
            (
                "both apart",
                r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":12,"prompt_tokens_details":{"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":7}}"#,
                TokenCounts { audio_input: 3, ..counts(4, 8, 0, 0, 7) },
            ),
            (
                "a total that nothing explains",
                r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":12,"completion_tokens_details":{"reasoning_tokens":1}}"#,
                counts(1, 1, 0, 0, 1),
            ),
            (
                "anthropic, cached input apart",
                r#"{"input_tokens":10,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":40},"output_tokens":7}"#,
                TokenCounts { cache_write_1h: 40, ..counts(1_110, 7, 1_000, 100, 0) },
            ),
            (
                "anthropic in the names of chat, cached input within",
                r#"{"prompt_tokens":1110,"completion_tokens":7,"total_tokens":1117,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000}"#,
                counts(1_110, 7, 1_000, 100, 0),
            ),
            (
                "writes by their time alone",
                r#"{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":3}}"#,
                TokenCounts { cache_write_1h: 3, ..counts(15, 1, 0, 5, 0) },
            ),
        ] {
            assert_eq!(read_usage(text.as_bytes()), Some(want), "{name}");
        }
    }

    #[test]
    fn false_usage_is_no_usage() {
        for text in [
            "null",
            "{}",
            "[]",
            "",
            r#""prompt_tokens""#,
            r#"{"total_tokens":3}"#,
            r#"{"prompt_tokens":-3,"completion_tokens":4}"#,
            r#"{"prompt_tokens":3.0,"completion_tokens":4}"#,
            r#"{"prompt_tokens":3e2,"completion_tokens":4}"#,
            r#"{"prompt_tokens":"3","completion_tokens":4}"#,
            r#"{"prompt_tokens":03,"completion_tokens":4}"#,
            r#"{"prompt_tokens":3 4,"completion_tokens":4}"#,
            r#"{"prompt_tokens":1000000000000000000.5,"completion_tokens":4}"#,
            r#"{"prompt_tokens":18446744073709551616,"completion_tokens":4}"#,
            r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":-1}}"#,
            r#"{"prompt_tokens":3,"completion_tokens":4,"server_tool_use":{"web_search_requests":-1}}"#,
            r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"image_tokens":0.5}}"#,
            r#"{"prompt_tokens":3,"completion_tokens":4"#,
            r#"{"prompt_tokens":3,"completion_tokens":4}}"#,
        ] {
            assert_eq!(read_usage(text.as_bytes()), None, "{text}");
        }
    }
}
