//! JSON strings: special bytes, escapes, encoding.

/// Reads `\uXXXX`.
pub(super) fn parse_code_unit(escape: &[u8]) -> Option<u32> {
    let hex = escape.strip_prefix(b"\\u")?;
    hex.iter().try_fold(0u32, |unit, &byte| Some(unit * 16 + char::from(byte).to_digit(16)?))
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Marks the high bit of bytes that are a quote, a backslash or a control character; the lowest mark is exact.
#[inline]
pub(super) fn special_bytes(word: u64) -> u64 {
    let quote = word ^ (LOW_BITS * 0x22);
    let backslash = word ^ (LOW_BITS * 0x5C);
    let quote = quote.wrapping_sub(LOW_BITS) & !quote;
    let backslash = backslash.wrapping_sub(LOW_BITS) & !backslash;
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (quote | backslash | control) & HIGH_BITS
}

/// Tells whether a block holds a special byte; written so that the compiler makes vector code of it.
#[inline]
pub(super) fn has_special(block: &[u8; 32]) -> bool {
    let mut any = 0u8;
    for &byte in block {
        any |= u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
    }
    any != 0
}

/// Undoes the escapes of a checked string, given without quotes; `None` if it is malformed.
pub(super) fn unescape(inner: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let letter = *escape.get(1)?;
        let plain = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => {
                let (character, used) = unescape_unicode(escape)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = escape.get(used..)?;
                continue;
            }
        };
        out.push(plain);
        rest = escape.get(2..)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn unescape_unicode(escape: &[u8]) -> Option<(char, usize)> {
    let unit = parse_code_unit(escape.get(..6)?)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 6));
    }
    let low = parse_code_unit(escape.get(6..12)?)?;
    let code = 0x10000 + ((unit.checked_sub(0xD800)?) << 10) + low.checked_sub(0xDC00)?;
    Some((char::from_u32(code)?, 12))
}

/// Appends a text as a JSON string with its quotes.
pub(super) fn push_json_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7F => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
