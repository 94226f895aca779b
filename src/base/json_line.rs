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
        Self { out, separator: b'{' }
    }

    /// Closes the object and the line.
    pub fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.extend_from_slice(b"}\n");
    }

    /// Writes members that are the same in every line: JSON without braces and outer commas, from the source.
    pub fn constant(&mut self, members: &'static str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.extend_from_slice(members.as_bytes());
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

    /// Writes an object of texts. Its names may be from a client: they are cut and escaped like the texts.
    pub fn texts<'t>(&mut self, name: &'static str, texts: impl Iterator<Item = (&'t str, &'t str)>) {
        self.name(name);
        let mut separator = b'{';
        for (name, text) in texts {
            self.out.extend_from_slice(&[separator, b'"']);
            separator = b',';
            escape(self.out, capped(name));
            self.out.extend_from_slice(b"\":\"");
            escape(self.out, capped(text));
            self.out.push(b'"');
        }
        if separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// Writes a whole number.
    pub fn uint(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.decimal(value);
    }

    /// Writes a whole number that may be negative.
    pub fn int(&mut self, name: &'static str, value: i64) {
        self.name(name);
        if value < 0 {
            self.out.push(b'-');
        }
        self.decimal(value.unsigned_abs());
    }

    /// Writes `true` or `false`.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes a duration in milliseconds with three decimals.
    pub fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let us = whole_micros(value);
        self.decimal(us / 1_000);
        let [_, hundreds, tens, ones] = four_digits(us % 1_000);
        self.out.extend_from_slice(&[b'.', hundreds, tens, ones]);
    }

    /// Writes a duration in whole microseconds.
    pub fn micros(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        self.decimal(whole_micros(value));
    }

    /// Writes a time as RFC 3339 in UTC with milliseconds. From the year 10,000 on it stays at that year's four last digits.
    pub fn time(&mut self, name: &'static str, value: UnixTime) {
        self.name(name);
        let c = value.civil();
        let [y0, y1, y2, y3] = four_digits(c.year);
        let [_, _, mo0, mo1] = four_digits(c.month);
        let [_, _, d0, d1] = four_digits(c.day);
        let [_, _, h0, h1] = four_digits(c.hour);
        let [_, _, mi0, mi1] = four_digits(c.minute);
        let [_, _, s0, s1] = four_digits(c.second);
        let [_, ms0, ms1, ms2] = four_digits(u64::from(value.0.subsec_millis()));
        self.out.extend_from_slice(&[
            b'"', y0, y1, y2, y3, b'-', mo0, mo1, b'-', d0, d1, b'T', h0, h1, b':', mi0, mi1, b':', s0, s1, b'.', ms0,
            ms1, ms2, b'Z', b'"',
        ]);
    }

    /// Writes 16 bytes, such as a trace id, as lower-case hex in quotes.
    pub fn hex(&mut self, name: &'static str, bytes: &[u8; 16]) {
        self.name(name);
        let mut pairs = [[0; 2]; 16];
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = hex_digits(*byte);
        }
        self.out.push(b'"');
        self.out.extend_from_slice(pairs.as_flattened());
        self.out.push(b'"');
    }

    /// Writes an address in quotes.
    pub fn address(&mut self, name: &'static str, value: IpAddr) {
        self.name(name);
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "\"{value}\"");
    }

    fn decimal(&mut self, mut value: u64) {
        // Formatting through `fmt` costs several times as much, and there are twenty numbers in a line.
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = last_digit(value);
            start = index;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(start..).unwrap_or_default());
    }

    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.separator = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The four last digits, with leading zeros.
fn four_digits(value: u64) -> [u8; 4] {
    [last_digit(value / 1_000), last_digit(value / 100), last_digit(value / 10), last_digit(value)]
}

fn last_digit(value: u64) -> u8 {
    let [low, ..] = (value % 10).to_le_bytes();
    b'0' + low
}

/// The longest start of `value` that is not over the cap and ends between characters.
fn capped(value: &str) -> &str {
    let end = value.floor_char_boundary(TEXT_BYTES_MAX);
    value.get(..end).unwrap_or("")
}

fn escape(out: &mut Vec<u8>, value: &str) {
    // Without an early end the loop is done many bytes at a time.
    if value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
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
    // Arithmetic instead of a table, so that a row of bytes is done at once.
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut JsonLine<'_>)) -> String {
        let mut out = Vec::new();
        let mut line = JsonLine::begin(&mut out);
        write(&mut line);
        line.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_in_their_forms() {
        let time = UnixTime(Duration::from_millis(1_700_000_000_125));
        let line = written(|line| {
            line.time("ts", time);
            line.text("msg", "hello");
            line.text_if_any("none", "");
            line.uint("big", u64::MAX);
            line.int("small", i64::MIN);
            line.flag("yes", true);
            line.millis("ms", Duration::from_micros(1_234_005));
            line.micros("us", Duration::from_nanos(17_900));
            line.hex("trace", b"\x00\xab\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
            line.address("ip", "::1".parse().unwrap());
        });
        assert_eq!(
            line,
            concat!(
                r#"{"ts":"2023-11-14T22:13:20.125Z","msg":"hello","big":18446744073709551615,"#,
                r#""small":-9223372036854775808,"yes":true,"ms":1234.005,"us":17,"trace":"00ab02030405060708090a0b0c0d0eff","ip":"::1"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for (value, want) in [(0, "0"), (9, "9"), (10, "10"), (100_200, "100200")] {
            assert_eq!(written(|line| line.uint("n", value)), format!("{{\"n\":{want}}}\n"));
            let ms = Duration::from_micros(value);
            let shown = format!("{}.{:03}", value / 1_000, value % 1_000);
            assert_eq!(written(|line| line.millis("n", ms)), format!("{{\"n\":{shown}}}\n"));
        }
        assert_eq!(written(|line| line.int("n", -5)), "{\"n\":-5}\n");
    }

    #[test]
    fn empty_object_is_valid() {
        assert_eq!(written(|_| {}), "{}\n");
    }

    #[test]
    fn characters_that_change_a_log_are_escaped() {
        for (name, text, want) in [
            ("quote", "a\"b", r#""a\"b""#),
            ("backslash", "a\\b", r#""a\\b""#),
            ("line feed", "a\nb", r#""a\u000ab""#),
            ("escape", "\u{1b}[2J", r#""\u001b[2J""#),
            ("delete", "\u{7f}", r#""\u007f""#),
            ("C1 control", "\u{9b}2J", r#""\u009b2J""#),
            ("line separator", "\u{2028}", r#""\u2028""#),
            ("right to left override", "\u{202e}x", r#""\u202ex""#),
            ("isolate", "\u{2066}", r#""\u2066""#),
            ("plain letters stay", "häß 你好 🚀", "\"häß 你好 🚀\""),
        ] {
            let line = written(|line| line.text("v", text));
            assert_eq!(line, format!("{{\"v\":{want}}}\n"), "{name}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        for (name, text, kept) in [
            ("exact", "x".repeat(256), 256),
            ("over", "x".repeat(257), 256),
            ("inside a character", format!("{}é", "x".repeat(255)), 255),
        ] {
            let line = written(|line| line.text("v", &text));
            assert_eq!(line.len(), kept + r#"{"v":""}"#.len() + 1, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_makes_one_valid_line(text in any::<String>()) {
            let line = written(|line| line.text("v", &text));
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            let body = line.trim_end_matches('\n');
            prop_assert!(!body.chars().any(char::is_control));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let read = value["v"].as_str().unwrap();
            prop_assert!(text.starts_with(read) && read.len() <= TEXT_BYTES_MAX);
            prop_assert!(text.len() <= TEXT_BYTES_MAX - 3 || read.len() >= TEXT_BYTES_MAX - 3);
        }
    }
}
