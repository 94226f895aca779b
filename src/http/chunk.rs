//! The chunked coding of RFC 9112, 7.1, decoded strictly.
//!
//! Sizes are 1 to 15 hex digits. Extensions are skipped, trailers are dropped, both within bounds. Every line must end
//! with CRLF: a bare line feed here is how two parsers come to see two different messages. A trailer must be a field as in
//! a head, `name: value` without a space before the colon: else the request behind a body whose end went missing would
//! pass for one and be swallowed. What its name says does not matter, since none is used.

use std::ops::Range;

/// Longest chunk-size line with its extensions, and longest trailer section, in bytes.
const LINE_MAX: u32 = 1024;
const TRAILERS_MAX: u32 = 8 * 1024;

/// The body is not in the chunked coding, or breaks a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked coding of the body is malformed")]
pub struct ChunkError;

/// What the decoder found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the body at this range of the input.
    Content(Range<usize>),
    /// The input is used up; more is needed.
    More,
    /// The body is complete.
    End,
}

/// Decodes one body; keeps its place over input cut at any byte.
#[derive(Debug, Clone)]
pub struct ChunkDecoder {
    state: State,
    left: u64,
    digits: u8,
    seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeEnd,
    Content,
    ContentCr,
    ContentLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size, left: 0, digits: 0, seen: 0 }
    }
}

impl ChunkDecoder {
    /// Goes on in `input` from `*at`, which is moved behind what was used.
    ///
    /// # Errors
    /// [`ChunkError`]; the message cannot be read on from there.
    pub fn step(&mut self, input: &[u8], at: &mut usize) -> Result<Step, ChunkError> {
        loop {
            if self.state == State::End {
                return Ok(Step::End);
            }
            if self.state == State::Content {
                return Ok(self.content(input, at));
            }
            if self.take_plain_line(input.get(*at..).unwrap_or_default(), at) {
                continue;
            }
            let Some(byte) = input.get(*at).copied() else {
                return Ok(Step::More);
            };
            *at += 1;
            self.state = self.next(byte)?;
        }
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Takes what mostly stands between two chunks at once: the line end behind the content, or a whole size line
    /// without extension. False if something else is there, or not all of it yet; then nothing is taken.
    #[inline]
    fn take_plain_line(&mut self, rest: &[u8], at: &mut usize) -> bool {
        if self.state == State::ContentCr && rest.starts_with(b"\r\n") {
            *at += 2;
            self.seen = 0;
            self.state = State::Size;
            return true;
        }
        if self.state != State::Size || self.seen > 0 {
            return false;
        }
        let Some((size, used)) = plain_size(rest) else {
            return false;
        };
        *at += used;
        self.left = size;
        self.state = if size == 0 { State::TrailerStart } else { State::Content };
        true
    }

    fn content(&mut self, input: &[u8], at: &mut usize) -> Step {
        let there = input.len().saturating_sub(*at);
        if there == 0 {
            return Step::More;
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(there);
        let range = *at..*at + count;
        *at = range.end;
        self.left -= u64::try_from(count).unwrap_or(self.left);
        if self.left == 0 {
            self.state = State::ContentCr;
        }
        Step::Content(range)
    }

    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.seen += 1;
        let line_max = match self.state {
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => TRAILERS_MAX,
            _ => LINE_MAX,
        };
        if self.seen > line_max {
            return Err(ChunkError);
        }
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeEnd),
            (State::Size, b';') if self.digits > 0 => Ok(State::Extension),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..=0xff) => Ok(State::Extension),
            (State::SizeEnd, b'\n') => {
                self.seen = 0;
                self.digits = 0;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Content })
            }
            (State::ContentCr, b'\r') => Ok(State::ContentLf),
            (State::ContentLf, b'\n') => {
                self.seen = 0;
                Ok(State::Size)
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart | State::TrailerName, _) if is_name(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..=0xff) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::End),
            _ => Err(ChunkError),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.digits += 1;
        if self.digits > 15 {
            return Err(ChunkError);
        }
        self.left = self.left << 4 | u64::from(hex_value(byte));
        Ok(State::Size)
    }
}

/// Whether a field name may hold the byte: `tchar` of RFC 9110, section 5.6.2.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of each byte as a hex digit; [`NO_DIGIT`] for the others.
static HEX_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let digits = b"0123456789abcdefABCDEF";
    let mut at = 0;
    while at < digits.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        #[expect(clippy::cast_possible_truncation, reason = "at most 21")]
        {
            values[digits[at] as usize] = if at < 16 { at as u8 } else { at as u8 - 6 };
        }
        at += 1;
    }
    values
};
const NO_DIGIT: u8 = 0xFF;

/// The value of a hex digit.
#[inline]
fn hex_value(digit: u8) -> u8 {
    HEX_VALUES.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT)
}

/// Reads a line of 1 to 8 hex digits and CRLF: the size, and the bytes used.
#[inline]
fn plain_size(rest: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    let mut used = 0;
    for byte in rest.iter().take(8) {
        let value = hex_value(*byte);
        if value == NO_DIGIT {
            break;
        }
        size = size << 4 | u64::from(value);
        used += 1;
    }
    let is_whole = used > 0 && rest.get(used..used + 2) == Some(b"\r\n");
    is_whole.then_some((size, used + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let mut decoder = ChunkDecoder::default();
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in pieces {
            let mut at = 0;
            loop {
                match decoder.step(piece, &mut at)? {
                    Step::Content(range) => body.extend_from_slice(&piece[range]),
                    Step::More => break,
                    Step::End => return Ok((body, used + at, true)),
                }
            }
            used += at;
        }
        Ok((body, used, false))
    }

    #[test]
    fn body_is_the_same_at_every_cut() {
        let wire = b"5;name=\"v\"\r\nhello\r\nA\r\n, world!!!\r\n0\r\nTrailer: x\r\n\r\nnext";
        for cut in 0..wire.len() {
            let (body, used, ended) = decode(&[&wire[..cut], &wire[cut..]]).unwrap();
            assert_eq!(body, b"hello, world!!!", "cut at {cut}");
            assert!(ended);
            // What was used of the second piece counts from the cut, so the sum is the whole message.
            assert_eq!(used.max(wire.len() - 4), wire.len() - 4, "cut at {cut}");
        }
    }

    #[test]
    fn sizes_of_any_length_are_read() {
        for (line, want) in [
            ("5", b"hello".as_slice()),
            ("05", b"hello"),
            ("00000005", b"hello"),
            ("000000005", b"hello"),
            ("000000000000005", b"hello"),
            ("a", b"0123456789"),
            ("A", b"0123456789"),
            ("0F", b"0123456789abcde"),
        ] {
            let wire = [line.as_bytes(), b"\r\n", want, b"\r\n0\r\n\r\n"].concat();
            assert_eq!(decode(&[&wire]), Ok((want.to_vec(), wire.len(), true)), "{line}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for (name, wire) in [
            ("no digits", &b"\r\nx"[..]),
            ("sign", b"+5\r\nhello\r\n"),
            ("prefix", b"0x5\r\nhello\r\n"),
            ("space before the size", b" 5\r\nhello\r\n"),
            ("space behind the size", b"5 \r\nhello\r\n"),
            ("bare line feed", b"5\nhello\r\n"),
            ("bare line feed in an extension", b"5;a\nhello\r\n"),
            ("content too long", b"5\r\nhello!\r\n"),
            ("no end of content", b"5\r\nhello0\r\n\r\n"),
            ("16 digits", b"0000000000000005\r\nhello\r\n"),
            ("negative", b"-1\r\n"),
            ("NUL in an extension", b"5;\0\r\nhello\r\n"),
            ("trailer without a name", b"0\r\n: x\r\n\r\n"),
            ("trailer without a colon", b"0\r\nA\r\n\r\n"),
            ("space before the colon of a trailer", b"0\r\nA : x\r\n\r\n"),
            ("separator in the name of a trailer", b"0\r\nA(b): x\r\n\r\n"),
            ("request line as a trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
            ("byte above ASCII in the name of a trailer", b"0\r\n\xc3\xa4: x\r\n\r\n"),
            ("folded trailer", b"0\r\nA: x\r\n y\r\n\r\n"),
            ("NUL in a trailer", b"0\r\nA: \0\r\n\r\n"),
            ("bare carriage return in a trailer", b"0\r\nA: x\ry\r\n\r\n"),
            ("bare line feed after a trailer", b"0\r\nA: x\n\r\n"),
        ] {
            assert_eq!(decode(&[wire]), Err(ChunkError), "{name}");
        }
        let long = [b"5;".as_slice(), &[b'a'; 2000], b"\r\nhello\r\n"].concat();
        assert_eq!(decode(&[&long]), Err(ChunkError), "long extension");
        let many = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(1500), b"\r\n"].concat();
        assert_eq!(decode(&[&many]), Err(ChunkError), "9 KB of trailers");
    }

    #[test]
    fn trailers_that_are_fields_are_dropped() {
        for (name, trailers) in [
            ("none", ""),
            ("two", "A: x\r\nB: y\r\n"),
            ("every sign of a name", "!#$%&'*+-.^_`|~09azAZ: x\r\n"),
            ("no value", "A:\r\n"),
            ("no space", "A:x\r\n"),
            ("colons, a tab and bytes above ASCII in a value", "A: x:\ty:\u{e4}\r\n"),
        ] {
            let wire = format!("1\r\nx\r\n0\r\n{trailers}\r\n");
            assert_eq!(decode(&[wire.as_bytes()]), Ok((b"x".to_vec(), wire.len(), true)), "{name}");
        }
    }

    #[test]
    fn cut_body_is_not_complete() {
        let (body, _, ended) = decode(&[b"5\r\nhel"]).unwrap();
        assert_eq!((body.as_slice(), ended), (&b"hel"[..], false));
    }
}
