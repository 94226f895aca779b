//! The lines of a head: where they end, and their grammar.
//!
//! RFC 9112, sections 3 to 5, without what it merely tolerates: no folded lines, no space before a colon, no control character but
//! the tab, and each line ends with a carriage return and a line feed. Sixteen bytes are looked at together: nearly every
//! name is letters, digits and hyphens, and nearly every value has no control character.

use wide::u8x16;

use super::head::{HeadError, Part};

/// What every line ends with.
pub(super) const LINE_END: &[u8; 2] = b"\r\n";
const DELETE: u8 = 0x7F;
/// The bit of lower case in eight bytes.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;
/// Bytes that are looked at together.
const LANES: usize = 16;

/// Looks for the end of a head in what has arrived so far.
///
/// `seen` is how far an earlier call has looked; it is moved on. Returns the length of the head once its empty line is
/// there. Empty lines before the request line are skipped by the caller through [`leading_blank`].
///
/// # Errors
/// [`HeadError::BareLineEnd`] at once, before the head is complete; [`HeadError::TooLarge`] past the limit.
pub fn find_end(bytes: &[u8], seen: &mut usize, bytes_max: usize) -> Result<Option<usize>, HeadError> {
    let from = *seen;
    let (blocks, tail) = bytes.get(from..).unwrap_or_default().as_chunks::<LANES>();
    for (index, block) in blocks.iter().enumerate() {
        // Lines are short: a search for each of their ends would cost more than this look at all bytes.
        let mut feeds = line_feeds(block);
        while feeds != 0 {
            let at = from + index * LANES + feeds.trailing_zeros() as usize;
            if is_end(bytes, at)? {
                return within(at + 1, bytes_max).map(Some);
            }
            // Without its lowest bit.
            feeds &= feeds - 1;
        }
    }
    let tail_at = bytes.len() - tail.len();
    for at in tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(offset, _)| tail_at + offset) {
        if is_end(bytes, at)? {
            return within(at + 1, bytes_max).map(Some);
        }
    }
    *seen = bytes.len();
    within(bytes.len(), bytes_max).map(|_| None)
}

/// Whether the line that ends with the line feed at an offset is the empty one behind the fields.
#[inline(always)]
fn is_end(bytes: &[u8], at: usize) -> Result<bool, HeadError> {
    match bytes.get(..at) {
        Some([.., b'\r', b'\n', b'\r']) => Ok(true),
        Some([.., b'\r']) => Ok(false),
        _ => Err(HeadError::BareLineEnd),
    }
}

fn within(length: usize, bytes_max: usize) -> Result<usize, HeadError> {
    if length <= bytes_max { Ok(length) } else { Err(HeadError::TooLarge) }
}

/// Length of the empty lines before a request line that a server should ignore (RFC 9112, section 2.2): at most one.
#[must_use]
pub fn leading_blank(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// A line breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// One field of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The name as it was sent.
    pub(super) name: &'a [u8],
    /// The value without the white space around it.
    pub(super) value: &'a [u8],
    /// Where the value stands in the head.
    pub(super) place: Part,
}

impl Field<'_> {
    /// Whether it has this name, which is written in lower case here: letters and hyphens only.
    ///
    /// The bit that tells lower from upper case is set first. Of all bytes that a name may have, that makes no others alike
    /// than the two cases of a letter.
    #[inline(always)]
    pub(super) fn is<const N: usize>(&self, known: &[u8; N]) -> bool {
        let Ok(name) = <&[u8; N]>::try_from(self.name) else { return false };
        let (words, rest) = name.as_chunks::<8>();
        let (known_words, known_rest) = known.as_chunks::<8>();
        let is_word =
            |(word, known): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*word) | CASE_BITS == u64::from_ne_bytes(*known);
        let is_byte = |(byte, known): (&u8, &u8)| byte | 0x20 == *known;
        words.iter().zip(known_words).all(is_word) && rest.iter().zip(known_rest).all(is_byte)
    }
}

/// Goes through a head from its front.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Lines<'a> {
    /// Starts at the first line of a complete head.
    pub(super) fn new(head: &'a [u8]) -> Self {
        Self { rest: head, len: head.len() }
    }

    /// How many bytes were read.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Steps over empty lines in front of the first one.
    #[inline(always)]
    pub(super) fn skip_empty(&mut self) {
        while self.skip(LINE_END).is_ok() {}
    }

    /// Steps over these bytes if they come next.
    #[inline(always)]
    pub(super) fn skip<const N: usize>(&mut self, expected: &[u8; N]) -> Result<(), Malformed> {
        match self.rest.split_first_chunk() {
            Some((found, rest)) if found == expected => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// Steps over so many bytes, and gives them.
    #[inline(always)]
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a token, at least one byte long.
    #[inline(always)]
    pub(super) fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let count = bytes_before(self.rest, |lanes| !is_usual(lanes));
        // A colon or a space follows nearly every name and every method.
        let count = if matches!(self.rest.get(count), Some(b':' | b' ')) { count } else { token_bytes(self.rest) };
        self.take(count).ok().filter(|token| !token.is_empty()).ok_or(Malformed)
    }

    /// Reads what ends before a space or a control character, at least one byte long.
    #[inline(always)]
    pub(super) fn word(&mut self) -> Result<&'a [u8], Malformed> {
        let is_blank = |lanes: u8x16| up_to(lanes, b' ') | lanes.simd_eq(u8x16::splat(DELETE));
        self.take(bytes_before(self.rest, is_blank)).ok().filter(|word| !word.is_empty()).ok_or(Malformed)
    }

    /// Reads text and the end of its line.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let mut count = bytes_before(self.rest, is_control);
        if self.rest.get(count) == Some(&b'\t') {
            count = text_bytes(self.rest);
        }
        let text = self.take(count)?;
        self.skip(LINE_END)?;
        Ok(text)
    }

    /// Reads the next field; none at the empty line, behind which nothing may stand.
    #[inline(always)]
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.rest == LINE_END {
            return Ok(None);
        }
        let name = self.token()?;
        self.skip(b":")?;
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let value_at = self.at();
        let mut value = self.text()?;
        while let [before @ .., b' ' | b'\t'] = value {
            value = before;
        }
        Ok(Some(Field { name, value, place: Part::new(value_at, value.len()) }))
    }
}

/// Counts the bytes at the front that a name or a method may have.
#[cold]
fn token_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_token(**byte)).count()
}

/// Counts the bytes at the front that are no control characters, or tabs.
#[cold]
fn text_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)).count()
}

/// Marks the line feeds, the first byte by the lowest bit.
#[inline(always)]
fn line_feeds(block: &[u8; LANES]) -> u32 {
    u8x16::new(*block).simd_eq(u8x16::splat(b'\n')).to_bitmask()
}

/// Counts the bytes before the first that stops. NUL does, so the end of the bytes is found as well.
#[inline(always)]
fn bytes_before(bytes: &[u8], stops: impl Fn(u8x16) -> u8x16) -> usize {
    let (blocks, rest) = bytes.as_chunks::<LANES>();
    let mut count = 0;
    for block in blocks {
        let found = stops(u8x16::new(*block)).to_bitmask();
        if found != 0 {
            return count + found.trailing_zeros() as usize;
        }
        count += LANES;
    }
    count + stops(u8x16::new(filled_up(rest))).to_bitmask().trailing_zeros() as usize
}

/// The last bytes, filled up with NUL.
#[inline(never)]
fn filled_up(rest: &[u8]) -> [u8; LANES] {
    let mut block = [0; LANES];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    block
}

#[inline(always)]
fn is_usual(lanes: u8x16) -> u8x16 {
    let letters = up_to((lanes | u8x16::splat(0x20)) - u8x16::splat(b'a'), b'z' - b'a');
    letters | up_to(lanes - u8x16::splat(b'0'), 9) | lanes.simd_eq(u8x16::splat(b'-'))
}

#[inline(always)]
fn is_control(lanes: u8x16) -> u8x16 {
    up_to(lanes, 0x1F) | lanes.simd_eq(u8x16::splat(DELETE))
}

#[inline(always)]
fn up_to(lanes: u8x16, highest: u8) -> u8x16 {
    lanes.min(u8x16::splat(highest)).simd_eq(lanes)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = (&'a [u8], &'a [u8], Vec<(&'a [u8], &'a [u8])>);

    fn read(head: &[u8]) -> Result<Read<'_>, Malformed> {
        let mut lines = Lines::new(head);
        lines.skip_empty();
        let method = lines.token()?;
        lines.skip(b" ")?;
        let target = lines.word()?;
        lines.skip(b" HTTP/1.1\r\n")?;
        let mut fields = Vec::new();
        while let Some(field) = lines.field()? {
            assert_eq!(field.place.of(head), field.value);
            fields.push((field.name, field.value));
        }
        Ok((method, target, fields))
    }

    /// The same by `httparse`, which is laxer in what heads with the right line ends never have.
    fn rival(head: &[u8]) -> Option<Read<'_>> {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut slots);
        let read = request.parse(head).ok()?;
        assert!(read.is_complete(), "{:?}", String::from_utf8_lossy(head));
        let fields = request.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        (request.version == Some(1)).then_some((request.method?.as_bytes(), request.path?.as_bytes(), fields))
    }

    /// A piece of a head, and now and then one that does not belong there.
    fn piece(random: &mut fastrand::Rng, usual: &[&str], into: &mut Vec<u8>) {
        const UNUSUAL: &[&[u8]] = &[
            b"",
            b" ",
            b"\t",
            b"\0",
            b"\x7f",
            b"\x80\xff",
            b"\r",
            b":",
            b"\x1f",
            b"_",
            b"(",
            b"~|`^",
            b"\r\n",
            b"\r\n ",
            b"@[{",
        ];
        if random.u32(..24) == 0 {
            into.extend_from_slice(UNUSUAL[random.usize(..UNUSUAL.len())]);
        }
        into.extend_from_slice(usual[random.usize(..usual.len())].as_bytes());
    }

    #[test]
    fn lines_are_read_as_another_parser_reads_them() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut head = Vec::new();
            piece(&mut random, &["GET", "POST", "X-METHOD-THAT-NOBODY-KNOWS"], &mut head);
            piece(&mut random, &[" "], &mut head);
            piece(&mut random, &["/", "/v1/chat/completions?a=b", "http://[::1]:80/%2F"], &mut head);
            piece(&mut random, &[" HTTP/1.1\r\n"], &mut head);
            for _ in 0..random.u32(..5) {
                piece(
                    &mut random,
                    &["a", "Host", "x-millrace-timeout-ms", "content-length-and-much-more-than-it"],
                    &mut head,
                );
                piece(&mut random, &[":", ": ", ":\t  "], &mut head);
                piece(&mut random, &["", "1", "a b", "Bearer 0123456789abcdef0123456789abcdef", "  a\tb"], &mut head);
                piece(&mut random, &["", " ", "\t "], &mut head);
                piece(&mut random, &["\r\n"], &mut head);
            }
            head.extend_from_slice(b"\r\n");
            // Only the first head: what follows an empty line in the middle is no part of it.
            let end = memchr::memmem::find(&head, b"\r\n\r\n").unwrap() + 4;
            let head = &head[..end];
            let is_text = |(_, target, _): &Read<'_>| std::str::from_utf8(target).is_ok();
            let ours = read(head).ok().filter(is_text);
            assert_eq!(ours, rival(head), "{:?}", String::from_utf8_lossy(head));
            *if ours.is_some() { &mut taken } else { &mut refused } += 1;
        }
        assert!(taken > 5_000 && refused > 2_000, "{taken} taken, {refused} refused");
    }

    #[test]
    fn names_are_known_in_any_case_and_by_their_whole_length() {
        let field = |name: &'static [u8]| Field { name, value: b"", place: Part::new(0, 0) };
        for (name, want) in [
            (&b"x-api-key"[..], true),
            (b"X-Api-KEY", true),
            (b"x-api-ke", false),
            (b"x-api-keys", false),
            (b"x_api-key", false),
        ] {
            assert_eq!(field(name).is(b"x-api-key"), want, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn nothing_may_follow_the_empty_line() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n\r\n"), Err(Malformed));
        assert_eq!(read(b"GET / HTTP/1.1\r\na: b\r\n"), Err(Malformed));
    }

    /// A name may have no byte besides that becomes a letter or a hyphen of ours with the bit of lower case set.
    #[test]
    fn only_upper_case_looks_like_lower_case() {
        for byte in (0..=u8::MAX).filter(|byte| is_token(*byte)) {
            let set = byte | 0x20;
            let is_known = set == b'-' || set.is_ascii_lowercase();
            assert!(!is_known || set == byte.to_ascii_lowercase(), "{byte}");
        }
    }
}
