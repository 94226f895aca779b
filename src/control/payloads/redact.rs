//! Takes secrets out of what is kept of requests and answers.
//!
//! Two kinds are found: every value that the stores of secrets and provider keys hold for the project, in full, as it is and
//! as JSON writes it; and texts that look like keys (the table below), bearer tokens, JSON web tokens and private keys in
//! PEM. Where a text was cut, what may be the beginning of one is cut off as well. A secret that is written in another way
//! (base64, spelled out, with `\u` for letters) is not found: that is said where payloads are switched on.

use std::ops::Range;

use memchr::memmem;
use zeroize::Zeroizing;

use super::joined::Joined;

/// What stands for a secret.
const MARK: &[u8] = b"[redacted]";
/// Shortest stored value that is looked for: shorter ones would take ordinary words out.
const VALUE_BYTES_MIN: usize = 4;
/// Longest end of a cut text that is taken for the beginning of a secret.
const CUT_BYTES_MAX: usize = 512;
const BEARER: &[u8] = b"bearer";
const TOKEN_BYTES_MIN: usize = 8;
const PEM_HEAD: &[u8] = b"PRIVATE KEY-----";
const PEM_BEGIN: &[u8] = b"-----BEGIN ";
const PEM_END: &[u8] = b"-----END ";
/// Most bytes between `BEGIN` and the kind of a private key.
const PEM_KIND_BYTES_MAX: usize = 32;

/// How keys begin that can be told by it, and how many characters follow at least. Behind the beginning stand letters, digits,
/// `_` and `-`.
const KEYS: &[(&[u8], usize)] = &[
    (b"mr_live_", 8),
    (b"mr_test_", 8),
    (b"mr_admin_", 8),
    (b"sk-", 16),
    (b"gsk_", 16),
    (b"AIza", 30),
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghs_", 20),
    (b"github_pat_", 20),
    (b"glpat-", 16),
    (b"hf_", 20),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"eyJ", 30),
];

/// What a project's secrets look like.
pub(super) struct Redactor {
    values: Vec<Zeroizing<Vec<u8>>>,
}

/// A text without secrets.
pub(super) struct Clean {
    pub(super) text: Vec<u8>,
    /// How many places were taken out.
    pub(super) count: u32,
}

impl Redactor {
    /// Looks for these values.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut forms = Vec::new();
        for value in values.filter(|value| value.len() >= VALUE_BYTES_MIN) {
            let quoted = Zeroizing::new(serde_json::Value::from(value).to_string().into_bytes());
            let escaped = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            if escaped != value.as_bytes() {
                forms.push(Zeroizing::new(escaped.to_vec()));
            }
            forms.push(Zeroizing::new(value.as_bytes().to_vec()));
        }
        Self { values: forms }
    }

    /// Takes secrets out of a text; `is_cut` where it goes on beyond its end.
    pub(super) fn clean(&self, text: &[u8], is_cut: bool) -> Clean {
        let text = if is_cut { self.without_open_end(text) } else { text };
        let mut found = self.places(text);
        // A model writes a key in several events of its stream.
        let joined = Joined::of(text);
        for place in self.places(&joined.text) {
            found.extend(joined.origin(&place));
        }
        found.sort_by_key(|place| (place.start, place.end));
        let mut clean = Clean { text: Vec::with_capacity(text.len()), count: 0 };
        let mut at = 0;
        for place in found {
            if place.start >= at {
                clean.text.extend_from_slice(text.get(at..place.start).unwrap_or_default());
                clean.text.extend_from_slice(MARK);
                clean.count += 1;
            }
            at = at.max(place.end);
        }
        clean.text.extend_from_slice(text.get(at..).unwrap_or_default());
        clean
    }

    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for value in &self.values {
            found.extend(memmem::find_iter(text, value.as_slice()).map(|at| at..at + value.len()));
        }
        for (begin, count_min) in KEYS {
            let mut passed = 0;
            for at in memmem::find_iter(text, begin) {
                if at < passed || !is_boundary(text, at) {
                    continue;
                }
                // What begins inside of a run that is too short is too short as well.
                passed = run_end(text, at + begin.len(), is_key_byte);
                if passed - at - begin.len() >= *count_min {
                    found.push(at..passed);
                }
            }
        }
        bearers(text, &mut found);
        private_keys(text, &mut found);
        found
    }

    /// A cut text without its last word and without any beginning of a stored value.
    fn without_open_end<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let word = text.iter().rev().take(CUT_BYTES_MAX).take_while(|byte| is_token_byte(**byte)).count();
        let begun = self.values.iter().map(|value| {
            let most = value.len().saturating_sub(1).min(text.len());
            (1..=most).rev().find(|count| text.ends_with(value.get(..*count).unwrap_or_default())).unwrap_or(0)
        });
        let count = begun.max().unwrap_or(0).max(word);
        text.get(..text.len() - count).unwrap_or_default()
    }
}

/// `Bearer` in any case, space, a token; the word itself stays.
fn bearers(text: &[u8], found: &mut Vec<Range<usize>>) {
    for at in memchr::memchr2_iter(b'b', b'B', text) {
        let word = text.get(at..at + BEARER.len()).unwrap_or_default();
        if !word.eq_ignore_ascii_case(BEARER) || !is_boundary(text, at) {
            continue;
        }
        let begin = run_end(text, at + BEARER.len(), |byte| byte == b' ');
        let end = run_end(text, begin, is_token_byte);
        if begin > at + BEARER.len() && end - begin >= TOKEN_BYTES_MIN {
            found.push(begin..end);
        }
    }
}

/// From `-----BEGIN` of a private key to the line that ends it, or to the end of the text.
fn private_keys(text: &[u8], found: &mut Vec<Range<usize>>) {
    let mut passed = 0;
    for at in memmem::find_iter(text, PEM_BEGIN) {
        if at < passed {
            continue;
        }
        let kind_at = at + PEM_BEGIN.len();
        let kind = text.get(kind_at..text.len().min(kind_at + PEM_KIND_BYTES_MAX + PEM_HEAD.len())).unwrap_or_default();
        let Some(kind_len) = memmem::find(kind, PEM_HEAD) else { continue };
        let body_at = kind_at + kind_len + PEM_HEAD.len();
        let body = text.get(body_at..).unwrap_or_default();
        let end = memmem::find(body, PEM_END).and_then(|end| {
            let rest = body.get(end..)?;
            Some(end + memmem::find(rest, PEM_HEAD)? + PEM_HEAD.len())
        });
        passed = end.map_or(text.len(), |end| body_at + end);
        found.push(at..passed);
    }
}

fn run_end(text: &[u8], from: usize, fits: fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !fits(*byte)).unwrap_or(rest.len())
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b'+' | b'/' | b'=')
}

/// Whether a word may begin here: `ask-` holds no key, but the `n` of `\n` in JSON is no part of a word.
fn is_boundary(text: &[u8], at: usize) -> bool {
    let before = |count: usize| at.checked_sub(count).and_then(|at| text.get(at)).copied();
    let Some(last) = before(1) else { return true };
    !last.is_ascii_alphanumeric() || before(2) == Some(b'\\') || (before(6) == Some(b'\\') && before(5) == Some(b'u'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "pa\"ss/w\\ord é 1234";

    fn clean(text: &str) -> String {
        String::from_utf8(Redactor::of([VALUE].into_iter()).clean(text.as_bytes(), false).text).unwrap()
    }

    #[test]
    fn keys_tokens_and_stored_values_are_taken_out_and_words_are_not() {
        let escaped = serde_json::Value::from(VALUE).to_string();
        let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0";
        for (name, text, want) in [
            ("stored value", format!("a {VALUE} b {VALUE}"), "a [redacted] b [redacted]".to_owned()),
            ("in JSON", format!("{{\"content\":{escaped}}}"), "{\"content\":\"[redacted]\"}".to_owned()),
            ("own key", format!("use mr_live_{long}, please"), "use [redacted], please".to_owned()),
            ("own token", format!("mr_admin_{long}"), "[redacted]".to_owned()),
            ("provider key", format!("sk-proj-{long}"), "[redacted]".to_owned()),
            ("behind an escape", format!("a\\nsk-ant-{long}\\n"), "a\\n[redacted]\\n".to_owned()),
            ("behind a unicode escape", format!("\\u0022gsk_{long}"), "\\u0022[redacted]".to_owned()),
            ("bearer", format!("authorization: Bearer {long}+/= x"), "authorization: Bearer [redacted] x".to_owned()),
            ("bearer, loud", format!("BEARER   {long}"), "BEARER   [redacted]".to_owned()),
            ("web token", format!("eyJhbGciOiJIUzI1NiJ9.{long}.{long}"), "[redacted]".to_owned()),
            (
                "private key",
                "x -----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY----- y".to_owned(),
                "x [redacted] y".to_owned(),
            ),
            ("private key without end", "x -----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), "x [redacted]".to_owned()),
            ("two that touch", format!("Bearer sk-{long}"), "Bearer [redacted]".to_owned()),
            ("words", "task-oriented-dialogue-systems, bearer of news, sk-short".to_owned(), String::new()),
            ("a public key", "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----".to_owned(), String::new()),
        ] {
            let want = if want.is_empty() { text.clone() } else { want };
            assert_eq!(clean(&text), want, "{name}");
        }
    }

    #[test]
    fn secret_in_several_events_of_a_stream_is_taken_out_of_each() {
        let long = "A1b2C3d4E5f6G7h8I9j0";
        for stream in [
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"key: sk-\"}}}}]}}\n\n\
                 data: {{\"choices\":[{{\"delta\":{{\"content\":\"{long}\"}}}}]}}\n\n\
                 data: {{\"choices\":[{{\"delta\":{{\"content\":\" done\"}}}}]}}\n\ndata: [DONE]\n\n"
            ),
            format!(
                "event: response.output_text.delta\ndata: {{\"delta\":\"key: sk-\"}}\n\n\
                 event: response.output_text.delta\ndata: {{\"delta\":\"{long}\"}}\n\n\
                 event: response.output_text.delta\ndata: {{\"delta\":\" done\"}}\n\n"
            ),
        ] {
            let shown = clean(&stream);
            assert!(!shown.contains(long) && !shown.contains("sk-"), "{shown}");
            assert!(
                shown.contains("\"key: [redacted]\"") && shown.contains("\"[redacted]\"") && shown.contains(" done")
            );
            assert_eq!(shown.lines().count(), stream.lines().count());
        }
    }

    #[test]
    fn end_of_a_cut_text_shows_no_beginning_of_a_secret() {
        let redactor = Redactor::of([VALUE].into_iter());
        for (text, want) in [
            ("the key is sk-A1b2C3", "the key is "),
            ("the word is pa\"ss/w\\or", "the word is "),
            ("ends with a space ", "ends with a space "),
            ("", ""),
        ] {
            let cut = redactor.clean(text.as_bytes(), true);
            assert_eq!(String::from_utf8(cut.text).unwrap(), want);
        }
        let whole = redactor.clean(b"the key is sk-A1b2C3", false);
        assert_eq!((whole.text.as_slice(), whole.count), (&b"the key is sk-A1b2C3"[..], 0));
    }

    #[test]
    fn time_grows_with_the_text_and_not_faster() {
        // 1 MiB of what begins everything: it must not be looked at once for each beginning.
        let redactor = Redactor::of([VALUE].into_iter());
        for piece in ["-----BEGIN ", "bearer ", "sk-", "data: {\"delta\":\"", "\\", "Bearer "] {
            let text = piece.repeat((1 << 20) / piece.len());
            let started = crate::base::now();
            redactor.clean(text.as_bytes(), true);
            assert!(started.elapsed().as_secs() < 60, "{piece}: {:?}", started.elapsed());
        }
    }
}
