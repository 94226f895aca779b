//! A strict JSON scanner: it checks and finds, never builds.
//!
//! One forward pass in linear time, without recursion and without allocation. It accepts what RFC 8259 allows, minus
//! what readers disagree about: lone surrogates, numbers beyond a double's range, a byte order mark. The caller has
//! checked that the bytes are UTF-8.

use super::json_place::{JsonFault, Span, Text, Value};
use super::json_text::{
    BLOCK_BYTES, PAGE_BYTES, after_space, byte_at, digits_count, has_special, is_plain_page, middling_string_end,
    parse_code_unit, parse_short_count, short_string_end, special_bytes,
};

/// Most bytes of one document.
pub(super) const BYTES_MAX: usize = 1 << 30;
/// Deepest nesting that can be asked for: one bit a level.
pub(super) const DEPTH_CEILING: u32 = 128;
/// Longest number, in bytes; longer ones take some readers quadratic time.
const NUMBER_BYTES_MAX: usize = 256;
/// Bytes of a string without a special one after which the next ones are looked at a page at a time.
const LONG_TEXT_BYTES: usize = 1024;

/// The position in a document; see the file's head.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Open containers that the caller itself entered.
    depth: u32,
    depth_max: u32,
    nodes_left: u32,
    text_bytes: usize,
    /// Letters and such that are spelt as escapes, `\u0040` to `\u007f`: nothing but a disguise.
    pub(super) disguised: u32,
}

impl<'a> Scanner<'a> {
    /// Starts at an offset of `bytes`, with limits on nesting (at most [`DEPTH_CEILING`]) and on the number of values.
    pub(super) fn new(bytes: &'a [u8], at: usize, depth_max: u32, nodes_max: u32) -> Self {
        let depth_max = depth_max.min(DEPTH_CEILING);
        Self { bytes, at, depth: 0, depth_max, nodes_left: nodes_max, text_bytes: 0, disguised: 0 }
    }

    /// Goes on in the middle of a document whose first part was scanned before, with that many containers entered.
    pub(super) fn resume(bytes: &'a [u8], at: usize, depth: u32) -> Self {
        Self { depth, ..Self::new(bytes, at, DEPTH_CEILING, u32::MAX) }
    }

    /// Gives the bytes of all string values stepped over so far, names and quotes not counted.
    #[inline]
    pub(super) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Gives the offset of the next byte.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Gives the next byte, or NUL at the end: no valid byte outside strings.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        byte_at(self.bytes, self.at)
    }

    /// Steps over white space.
    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        self.at = after_space(self.bytes, self.at);
    }

    #[inline]
    fn unexpected(&self) -> JsonFault {
        if self.at >= self.bytes.len() { JsonFault::End } else { JsonFault::Unexpected }
    }

    /// Enters an object: steps over `{`; false if it is empty, then over `}` too.
    #[inline(always)]
    pub(super) fn open_object(&mut self) -> Result<bool, JsonFault> {
        self.open(b'{', b'}')
    }

    /// Enters an array: steps over `[`; false if it is empty, then over `]` too.
    #[inline(always)]
    pub(super) fn open_array(&mut self) -> Result<bool, JsonFault> {
        self.open(b'[', b']')
    }

    #[inline(always)]
    fn open(&mut self, opening: u8, closing: u8) -> Result<bool, JsonFault> {
        if self.peek() != opening {
            return Err(self.unexpected());
        }
        if self.depth >= self.depth_max {
            return Err(JsonFault::Depth);
        }
        self.count_node()?;
        self.at += 1;
        self.skip_space();
        if self.peek() == closing {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    /// Steps over what follows an element of the entered array; false at its end.
    #[inline(always)]
    pub(super) fn next_element(&mut self) -> Result<bool, JsonFault> {
        self.next(b']')
    }

    /// Steps over what follows a member of the entered object; false at its end.
    #[inline(always)]
    pub(super) fn next_member(&mut self) -> Result<bool, JsonFault> {
        self.next(b'}')
    }

    #[inline(always)]
    fn next(&mut self, closing: u8) -> Result<bool, JsonFault> {
        self.skip_space();
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            self.skip_space();
            return Ok(true);
        }
        if byte != closing {
            return Err(self.unexpected());
        }
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
        Ok(false)
    }

    /// Reads a member's name and steps over its `:`, up to the value.
    #[inline(always)]
    pub(super) fn name(&mut self) -> Result<Text, JsonFault> {
        let name = self.string()?;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.unexpected());
        }
        self.at += 1;
        self.skip_space();
        Ok(name)
    }

    #[inline(always)]
    fn count_node(&mut self) -> Result<(), JsonFault> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(JsonFault::Nodes)?;
        Ok(())
    }

    /// Steps over one value of any type and checks all of it.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Result<Value, JsonFault> {
        let start = self.at;
        let first = self.peek();
        let mut children = 0;
        let mut escaped = false;
        match first {
            b'"' => {
                self.count_node()?;
                escaped = self.string()?.escaped;
                self.text_bytes += self.at - start - 2;
            }
            b'{' | b'[' => children = self.container()?,
            _ => {
                self.count_node()?;
                self.at = self.scalar_after(start)?;
            }
        }
        Ok(Value { span: Span::new(start, self.at), children, first, escaped })
    }

    /// Steps over a container with all its content; the stack is one bit a level, set for objects.
    ///
    /// The place is kept in a local while the loop runs: through `self` it would live in memory.
    fn container(&mut self) -> Result<u32, JsonFault> {
        let open_max = self.depth_max.saturating_sub(self.depth);
        let mut at = self.at;
        let mut stack: u128 = 0;
        let mut open: u32 = 0;
        let mut children: u32 = 0;
        loop {
            self.count_node()?;
            let first = byte_at(self.bytes, at);
            match first {
                b'"' => {
                    let start = at;
                    at = self.string_after(at)?;
                    self.text_bytes += at - start - 2;
                }
                b'{' | b'[' => {
                    self.at = at;
                    if open >= open_max {
                        return Err(JsonFault::Depth);
                    }
                    at = after_space(self.bytes, at + 1);
                    // `{` and `}`, `[` and `]` stand two apart in ASCII.
                    if byte_at(self.bytes, at) == first + 2 {
                        at += 1;
                    } else {
                        let is_object = first == b'{';
                        stack = (stack << 1) | u128::from(is_object);
                        open += 1;
                        if is_object {
                            at = self.name_after(at)?;
                        }
                        children += u32::from(open == 1);
                        continue;
                    }
                }
                _ => at = self.scalar_after(at)?,
            }
            // A value ended: close containers until another value follows.
            loop {
                if open == 0 {
                    self.at = at;
                    return Ok(children);
                }
                let is_object = stack & 1 == 1;
                at = after_space(self.bytes, at);
                let byte = byte_at(self.bytes, at);
                if byte == b',' {
                    at = after_space(self.bytes, at + 1);
                    children += u32::from(open == 1);
                    if is_object {
                        at = self.name_after(at)?;
                    }
                    break;
                }
                if byte != if is_object { b'}' } else { b']' } {
                    self.at = at;
                    return Err(self.unexpected());
                }
                at += 1;
                stack >>= 1;
                open -= 1;
            }
        }
    }

    /// Steps over the string at an offset and gives the offset after it.
    #[inline(always)]
    fn string_after(&mut self, at: usize) -> Result<usize, JsonFault> {
        if byte_at(self.bytes, at) == b'"'
            && let Some(end) = short_string_end(self.bytes, at + 1)
        {
            return Ok(end);
        }
        self.at = at;
        self.long_string()?;
        Ok(self.at)
    }

    /// Steps over the name at an offset, its `:` and the white space, and gives the offset of the value.
    #[inline(always)]
    fn name_after(&mut self, at: usize) -> Result<usize, JsonFault> {
        let at = self.string_after(at)?;
        let at = after_space(self.bytes, at);
        if byte_at(self.bytes, at) != b':' {
            self.at = at;
            return Err(self.unexpected());
        }
        Ok(after_space(self.bytes, at + 1))
    }

    /// Steps over the literal or number at an offset and gives the offset after it.
    #[inline(always)]
    fn scalar_after(&mut self, at: usize) -> Result<usize, JsonFault> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let first = byte_at(rest, 0);
        if first == b'n' && rest.starts_with(b"null") {
            return Ok(at + 4);
        }
        if first.is_ascii_digit() && first != b'0' {
            // Most numbers are short integers.
            let end = at + 1 + digits_count(rest.get(1..).unwrap_or_default());
            let is_whole = !matches!(byte_at(self.bytes, end), b'.' | b'e' | b'E');
            if is_whole && end - at <= NUMBER_BYTES_MAX {
                return Ok(end);
            }
        }
        self.at = at;
        self.other_scalar(first)?;
        Ok(self.at)
    }

    /// Steps over an unsigned integer of at most 18 digits and gives it; for anything else steps over nothing.
    #[inline]
    pub(super) fn short_count(&mut self) -> Result<Option<u64>, JsonFault> {
        let Some((count, digits)) = parse_short_count(self.bytes.get(self.at..).unwrap_or_default()) else {
            return Ok(None);
        };
        self.count_node()?;
        self.at += digits;
        Ok(Some(count))
    }

    #[inline(never)]
    fn other_scalar(&mut self, first: u8) -> Result<(), JsonFault> {
        match first {
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    #[inline]
    fn literal(&mut self, word: &[u8]) -> Result<(), JsonFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(JsonFault::Unexpected);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        let mut at = start + usize::from(self.peek() == b'-');
        at = if byte_at(self.bytes, at) == b'0' { at + 1 } else { self.digits_after(at)? };
        if byte_at(self.bytes, at) == b'.' {
            at = self.digits_after(at + 1)?;
        }
        if byte_at(self.bytes, at) | 0x20 == b'e' {
            let sign = matches!(byte_at(self.bytes, at + 1), b'+' | b'-');
            at = self.digits_after(at + 1 + usize::from(sign))?;
            self.check_range(start, at)?;
        }
        self.at = at;
        if at - start > NUMBER_BYTES_MAX {
            return Err(JsonFault::Number);
        }
        Ok(())
    }

    /// Steps over one or more digits at an offset and gives the offset after them.
    #[inline]
    fn digits_after(&mut self, at: usize) -> Result<usize, JsonFault> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let count = digits_count(rest);
        if count == 0 {
            self.at = at;
            return Err(JsonFault::Number);
        }
        Ok(at + count)
    }

    /// Refuses an exponent that overflows a double: readers make of it infinity, an error or a huge integer.
    #[cold]
    fn check_range(&self, start: usize, end: usize) -> Result<(), JsonFault> {
        let literal = self.bytes.get(start..end).unwrap_or_default();
        let finite = literal.len() <= NUMBER_BYTES_MAX
            && std::str::from_utf8(literal).ok().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite);
        if finite { Ok(()) } else { Err(JsonFault::Number) }
    }

    /// Reads a string, from its opening quote to after the closing one.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Text, JsonFault> {
        let start = self.at;
        if self.peek() == b'"'
            && let Some(end) = short_string_end(self.bytes, start + 1)
        {
            self.at = end;
            let span = Span::new(start, end);
            return Ok(Text { span, escaped: false });
        }
        let escaped = self.long_string()?;
        let span = Span::new(start, self.at);
        Ok(Text { span, escaped })
    }

    /// Steps over a string of any kind and tells whether an escape is in it.
    #[inline(never)]
    fn long_string(&mut self) -> Result<bool, JsonFault> {
        if self.peek() != b'"' {
            return Err(self.unexpected());
        }
        self.at += 1;
        if let Some(end) = middling_string_end(self.bytes, self.at) {
            self.at = end;
            return Ok(false);
        }
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.bytes.get(self.at).copied() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => return Err(JsonFault::Control),
                Some(_) => self.at += 1,
                None => return Err(JsonFault::End),
            }
        }
    }

    /// Steps over bytes of a string that need no look: a block, then large blocks while they last, then blocks.
    ///
    /// The last few bytes of a body are left to the caller, one by one.
    #[inline]
    fn skip_plain(&mut self) {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut is_first = true;
        while let Some((block, after)) = rest.split_first_chunk::<16>() {
            let special = special_bytes(block);
            if special != 0 {
                self.at += special.trailing_zeros() as usize;
                return;
            }
            self.at += block.len();
            rest = after;
            if is_first {
                is_first = false;
                rest = self.skip_large_blocks(rest);
            }
        }
    }

    /// Steps over large blocks of a string without a special byte; a long text is searched in pieces of a page.
    #[inline]
    fn skip_large_blocks(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        let start = self.at;
        while let Some((block, after)) = rest.split_first_chunk::<BLOCK_BYTES>() {
            if has_special(block) {
                return rest;
            }
            self.at += block.len();
            rest = after;
            if self.at - start >= LONG_TEXT_BYTES {
                while let Some((page, after)) = rest.split_first_chunk::<PAGE_BYTES>()
                    && is_plain_page(page)
                {
                    self.at += page.len();
                    rest = after;
                }
            }
        }
        rest
    }

    /// Steps over a backslash and what it escapes.
    fn escape(&mut self) -> Result<(), JsonFault> {
        match self.bytes.get(self.at + 1).copied() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            Some(_) => Err(JsonFault::Escape),
            None => Err(JsonFault::End),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), JsonFault> {
        let unit = self.code_unit(self.at)?;
        match unit {
            0xDC00..0xE000 => Err(JsonFault::Surrogate),
            0xD800..0xDC00 => {
                let low = self.code_unit(self.at + 6);
                if !matches!(low, Ok(0xDC00..0xE000)) {
                    return Err(JsonFault::Surrogate);
                }
                self.at += 12;
                Ok(())
            }
            _ => {
                self.disguised += u32::from(matches!(unit, 0x40..0x80));
                self.at += 6;
                Ok(())
            }
        }
    }

    /// Reads the `\uXXXX` at an offset.
    fn code_unit(&self, at: usize) -> Result<u32, JsonFault> {
        let escape = self.bytes.get(at..at + 6).ok_or(JsonFault::End)?;
        parse_code_unit(escape).ok_or(JsonFault::Escape)
    }

    /// Checks that only white space follows.
    pub(super) fn finish(&mut self) -> Result<(), JsonFault> {
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(JsonFault::Trailing);
        }
        Ok(())
    }
}
