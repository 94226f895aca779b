//! Writes one JSON object on one line, for logs.
//!
//! Whatever the values hold, the line is valid JSON, has no raw control or direction-changing character and no line break
//! (threat T-16). Values are capped, so that a client cannot flood the log through one field.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::clock::UnixTime;

/// Longest text value that is written, in bytes before escaping. The rest is cut off.
pub const TEXT_BYTES_MAX: usize = 256;

/// Appends one object to a buffer; [`JsonLine::end`] closes it.
///
/// Names are from the source, not from clients: they are written as they are.
pub struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> JsonLine<'a> {
    /// Opens an object at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            separator: b'{',
        }
    }

    /// Closes the object and the line.
    pub fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.extend_from_slice(b"}\n");
    }

    /// Writes a text, cut at [`TEXT_BYTES_MAX`] and escaped.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.out.push(b'"');
        escape(self.out, capped(value));
        self.out.push(b'"');
    }

    /// Writes a text unless it is empty.
    pub fn text_if_any(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// Writes a whole number.
    pub fn uint(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.shown(format_args!("{value}"));
    }

    /// Writes a whole number that may be negative.
    pub fn int(&mut self, name: &'static str, value: i64) {
        self.name(name);
        self.shown(format_args!("{value}"));
    }

    /// Writes `true` or `false`.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes a duration in milliseconds with three decimals.
    pub fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let us = value.as_micros();
        self.shown(format_args!("{}.{:03}", us / 1_000, us % 1_000));
    }

    /// Writes a duration in whole microseconds.
    pub fn micros(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        self.shown(format_args!("{}", value.as_micros()));
    }

    /// Writes a time as RFC 3339 in UTC with milliseconds.
    pub fn time(&mut self, name: &'static str, value: UnixTime) {
        self.name(name);
        let c = value.civil();
        self.shown(format_args!(
            "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\"",
            c.year,
            c.month,
            c.day,
            c.hour,
            c.minute,
            c.second,
            value.0.subsec_millis()
        ));
    }

    /// Writes bytes as lower-case hex in quotes.
    pub fn hex(&mut self, name: &'static str, bytes: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        for byte in bytes {
            self.out.extend_from_slice(&hex_digits(*byte));
        }
        self.out.push(b'"');
    }

    /// Writes an address in quotes.
    pub fn address(&mut self, name: &'static str, value: IpAddr) {
        self.name(name);
        self.shown(format_args!("\"{value}\""));
    }

    /// Writes what displays without quotes, escapes or line breaks.
    fn shown(&mut self, value: std::fmt::Arguments<'_>) {
        // Writing to a Vec cannot fail.
        let _ = self.out.write_fmt(value);
    }

    fn name(&mut self, name: &'static str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// The longest start of `value` that is not over the cap and ends between characters.
fn capped(value: &str) -> &str {
    let end = value.floor_char_boundary(TEXT_BYTES_MAX);
    value.get(..end).unwrap_or("")
}

fn escape(out: &mut Vec<u8>, value: &str) {
    if value.bytes().all(is_plain) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for c in value.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            _ if needs_code(c) => {
                let code = u32::from(c).to_be_bytes();
                out.extend_from_slice(b"\\u");
                out.extend_from_slice(&hex_digits(code[2]));
                out.extend_from_slice(&hex_digits(code[3]));
            }
            _ => {
                let mut utf8 = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Control characters, line breaks of Unicode, and characters that change the direction of the text around them.
/// All of them are below U+10000, so one `\u` escape is enough.
fn needs_code(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 15)]
}
