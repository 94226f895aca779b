//! Steps over JSON tokens, string escapes and encoding.

use wide::u8x16;

/// Gives the byte at an offset, or NUL at the end: no valid byte outside strings.
#[inline(always)]
pub(super) fn byte_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Gives the offset after white space; most bodies have none.
#[inline(always)]
pub(super) fn after_space(bytes: &[u8], at: usize) -> usize {
    if byte_at(bytes, at) > b' ' {
        return at;
    }
    after_space_run(bytes, at)
}

#[inline(never)]
fn after_space_run(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte_at(bytes, at), b' ' | b'\t' | b'\n' | b'\r') {
        at += 1;
    }
    at
}

/// Counts the digits at the head.
#[inline]
pub(super) fn digits_count(rest: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = rest;
    // Eight at a time: long fractions fill the answers of embeddings.
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word) ^ (LOW_BITS * 0x30);
        // A digit is 0..=9 now: adding 0x76 leaves its high bit clear.
        let others = (word.wrapping_add(LOW_BITS * 0x76) | word) & HIGH_BITS;
        if others != 0 {
            return count + (others.trailing_zeros() / 8) as usize;
        }
        count += 8;
        rest = after;
    }
    count + rest.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Reads an unsigned integer of at most 18 digits, which fit into 64 bits whatever they are, and counts its digits;
/// `None` for anything else.
#[inline]
pub(super) fn parse_short_count(rest: &[u8]) -> Option<(u64, usize)> {
    let (mut count, mut digits) = (0, 0);
    for byte in rest.iter().take(18) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        count = count * 10 + u64::from(digit);
        digits += 1;
    }
    let is_padded = digits > 1 && byte_at(rest, 0) == b'0';
    // A comma or an end follows nearly always. Behind more digits, a fraction or an exponent this is no count.
    let is_ended = matches!(byte_at(rest, digits), b',' | b'}' | b']' | b' ' | b'\n' | b'\r');
    (digits > 0 && !is_padded && is_ended).then_some((count, digits))
}

/// Gives the offset after the closing quote of a string that ends within 16 bytes and has nothing special in it.
#[inline(always)]
pub(super) fn short_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let special = match rest.first_chunk::<16>() {
        Some(block) => special_bytes(block),
        None => special_bytes(&padded(rest)),
    };
    if special == 0 {
        return None;
    }
    end_at_quote(bytes, from + special.trailing_zeros() as usize)
}

/// As [`short_string_end`], for a string that ends within 32 bytes: the long names of usage fields.
#[inline]
pub(super) fn middling_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = bytes.get(from..)?.split_first_chunk::<16>()?;
    let special = special_bytes(first) | special_bytes(rest.first_chunk::<16>()?) << 16;
    if special == 0 {
        return None;
    }
    end_at_quote(bytes, from + special.trailing_zeros() as usize)
}

/// Fills the last bytes of a body up to a block; the padding counts as special, so nothing is found in it.
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; 16] {
    let mut block = [0; 16];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    block
}

#[inline(always)]
fn end_at_quote(bytes: &[u8], at: usize) -> Option<usize> {
    (byte_at(bytes, at) == b'"').then_some(at + 1)
}

/// Reads `\uXXXX`.
pub(super) fn parse_code_unit(escape: &[u8]) -> Option<u32> {
    let hex = escape.strip_prefix(b"\\u")?;
    hex.iter().try_fold(0u32, |unit, &byte| Some(unit * 16 + char::from(byte).to_digit(16)?))
}

/// Bytes of a string that are looked at together.
pub(super) const BLOCK_BYTES: usize = 64;
/// Bytes of a long string that are looked at together.
pub(super) const PAGE_BYTES: usize = 1024;

/// Makes the quote a space, the space a quote, and each control character another one: then one comparison finds quotes
/// and control characters.
const QUOTE_TO_CONTROL: u8 = b'"' ^ b' ';
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Marks each byte of a block that is a quote, a backslash or a control character: one bit a byte, the first lowest.
#[inline(always)]
pub(super) fn special_bytes(block: &[u8; 16]) -> u32 {
    special_lanes(u8x16::new(*block)).to_bitmask()
}

#[inline(always)]
fn special_lanes(block: u8x16) -> u8x16 {
    let flipped = block ^ u8x16::splat(QUOTE_TO_CONTROL);
    let control_or_quote = flipped.min(u8x16::splat(b' ')).simd_eq(flipped);
    control_or_quote | flipped.simd_eq(u8x16::splat(b'\\' ^ QUOTE_TO_CONTROL))
}

/// Tells whether a large block holds a special byte.
#[inline(always)]
pub(super) fn has_special(block: &[u8; BLOCK_BYTES]) -> bool {
    let mut any = u8x16::splat(0);
    for lanes in block.as_chunks::<16>().0 {
        any |= special_lanes(u8x16::new(*lanes));
    }
    any.to_bitmask() != 0
}

/// Tells whether a piece of a long text has no special byte.
///
/// Two passes over a page that lies in the nearest cache: the search uses the widest vectors that the processor has,
/// which the blocks cannot, since a build for any processor knows only the narrowest.
#[inline]
pub(super) fn is_plain_page(page: &[u8; PAGE_BYTES]) -> bool {
    let least = |page: &[u8]| page.iter().fold(0xFF, |least: u8, &byte| least.min(byte ^ QUOTE_TO_CONTROL));
    memchr::memchr(b'\\', page).is_none() && least(page) > b' '
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
