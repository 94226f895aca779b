//! How much an answer says: a floor of what it can have cost.
//!
//! Only the text itself counts, in characters: no white space or control characters, no repeats of the same one, no names, calls, thoughts or
//! encrypted parts. So the count is about as many times the tokens in every language, and less where text is padded.

use serde_json::Value;

use super::endpoint::Endpoint;

/// Longest answer that is looked through, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of an escape beside the character that it stands for, at most.
const ESCAPE_BYTES: usize = 5;

/// Counts the characters of a text that stands in JSON; never too many.
///
/// Bytes are compared with their neighbours in lanes: every event of a stream with a text passes here.
#[inline]
pub(super) fn said_chars(text: &[u8], escaped: bool) -> usize {
    let [first, others @ ..] = text else {
        return 0;
    };
    let mut count = usize::from(is_said(*first));
    // So few pairs that their count fits a byte, and whole registers of them: then a lane is a byte too.
    const LANES_MAX: usize = 240;
    for (before, bytes) in text.chunks(LANES_MAX).zip(others.chunks(LANES_MAX)) {
        let pairs = before.iter().zip(bytes);
        let said =
            pairs.fold(0u8, |said, (before, byte)| said.wrapping_add(u8::from(is_said(*byte) & (byte != before))));
        count += usize::from(said);
    }
    if escaped {
        let escapes = memchr::memchr_iter(b'\\', text).count();
        return count.saturating_sub(escapes * ESCAPE_BYTES);
    }
    count
}

/// Whether a byte starts a character that a reader sees.
#[inline]
fn is_said(byte: u8) -> bool {
    (byte > b' ') & (byte & 0b1100_0000 != 0b1000_0000)
}

/// Counts the characters of all texts of a whole answer; 0 where that is not known.
#[must_use]
pub fn said_in_answer(endpoint: Endpoint, body: &[u8]) -> u64 {
    if !endpoint.has_output_cap() || body.len() > ANSWER_BYTES_MAX {
        return 0;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return 0;
    };
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let said = match endpoint {
        Endpoint::Responses => {
            let items = list(&answer, "output");
            items.iter().filter_map(|item| item.get("content")).map(content_chars).sum()
        }
        _ => {
            let choices = list(&answer, "choices");
            let text = |choice: &Value| match endpoint {
                Endpoint::Completions => choice.get("text").map(content_chars),
                _ => choice.pointer("/message/content").map(content_chars),
            };
            choices.iter().filter_map(text).sum::<usize>()
        }
    };
    u64::try_from(said).unwrap_or(0)
}

/// A text, or a list of parts with texts.
fn content_chars(content: &Value) -> usize {
    match content {
        Value::String(text) => said_chars(text.as_bytes(), false),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.map(|text| said_chars(text.as_bytes(), false)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_reader_sees_counts_and_once() {
        for (text, escaped, want) in [
            ("hello", false, 4),
            ("a b\tc", false, 3),
            ("----------", false, 1),
            ("| a  | b  |", false, 5),
            ("Привет", false, 6),
            ("数据", false, 2),
            (r"a\nb", true, 0),
            (r"\u4f60", true, 1),
            (r"abcdefgh\n", true, 5),
            ("", false, 0),
        ] {
            assert_eq!(said_chars(text.as_bytes(), escaped), want, "{text}");
        }
    }

    #[test]
    fn lanes_count_as_one_byte_after_the_other_does() {
        let mut random = fastrand::Rng::with_seed(7);
        for len in (0..600).chain([1_000, 4_097]) {
            let text: Vec<u8> = (0..len).map(|_| *random.choice(b"aab \n\x01\xc3\xa9\xe4\xbd\xa0").unwrap()).collect();
            let mut before = b' ';
            let mut want = 0;
            for byte in &text {
                want += usize::from(byte & 0xc0 != 0x80 && *byte > b' ' && *byte != before);
                before = *byte;
            }
            assert_eq!(said_chars(&text, false), want, "{len}");
        }
    }

    #[test]
    fn texts_of_every_wire_are_found() {
        for (endpoint, body, want) in [
            (Endpoint::Chat, r#"{"choices":[{"message":{"content":"abc"}},{"message":{"content":"de"}}]}"#, 5),
            (Endpoint::Chat, r#"{"choices":[{"message":{"content":[{"type":"text","text":"abc"}]}}]}"#, 3),
            (Endpoint::Chat, r#"{"choices":[{"message":{"content":null,"reasoning_content":"abc"}}]}"#, 0),
            (Endpoint::Completions, r#"{"choices":[{"text":"abc"}]}"#, 3),
            (
                Endpoint::Responses,
                r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"abc"}]},{}]}"#,
                3,
            ),
            (Endpoint::Embeddings, r#"{"choices":[{"text":"abc"}]}"#, 0),
            (Endpoint::Chat, "[]", 0),
        ] {
            assert_eq!(said_in_answer(endpoint, body.as_bytes()), want, "{body}");
        }
    }
}
