//! Fields of one server-sent event.

use std::borrow::Cow;

use super::json_place::Span;

/// What one event says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event<'a> {
    /// Value of the last `event` field; empty if there is none.
    pub(super) name: &'a [u8],
    /// Values of the `data` fields, joined with line feeds; `None` if there is none.
    pub(super) text: Option<Cow<'a, [u8]>>,
    /// Value of a field `error`, which the format does not have but a provider sends.
    pub(super) error: Option<&'a [u8]>,
}

/// Gives the value of the only field of a plain event: `data: ...` and a blank line. Others need [`parse_event`].
#[inline]
pub(super) fn plain_message(event: &[u8]) -> Option<&[u8]> {
    let text = event.strip_prefix(b"data:")?;
    let text = text.strip_suffix(b"\n\n").or_else(|| text.strip_suffix(b"\r\n\r\n"))?;
    Some(text.strip_prefix(b" ").unwrap_or(text))
}

/// Gives name and message of an event of just these two lines: `event: ...` and `data: ...`.
#[inline]
pub(super) fn named_message(event: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = event.strip_prefix(b"event: ")?;
    let (name, rest) = rest.split_at_checked(memchr::memchr(b'\n', rest)?)?;
    let text = rest.strip_prefix(b"\ndata: ")?.strip_suffix(b"\n\n")?;
    let is_one_line = !name.contains(&b'\r') && memchr::memchr2(b'\n', b'\r', text).is_none();
    is_one_line.then_some((name, text))
}

/// Gives the place of the message in an event of one `data` line, whatever other lines it has.
pub(super) fn message_of(event: &[u8]) -> Option<Span> {
    let (mut found, mut at) = (None, 0);
    while let Some(rest) = event.get(at..).filter(|rest| !rest.is_empty()) {
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        if let Some(value) = rest.get(..length).unwrap_or_default().strip_prefix(b"data:") {
            let from = at + length - value.strip_prefix(b" ").unwrap_or(value).len();
            if found.replace(Span::new(from, at + length)).is_some() {
                return None;
            }
        }
        at += length + 1;
    }
    found
}

/// Reads the fields of an event, with or without its blank line.
pub(super) fn parse_event(event: &[u8]) -> Event<'_> {
    let mut rest = event.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(event);
    let mut parsed = Event::default();
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after.strip_prefix(b"\r\n").or_else(|| after.split_first().map(|(_, after)| after)).unwrap_or_default();
        parsed.take_line(line);
    }
    parsed
}

impl<'a> Event<'a> {
    fn take_line(&mut self, line: &'a [u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => match &mut self.text {
                None => self.text = Some(Cow::Borrowed(value)),
                Some(text) => {
                    let text = text.to_mut();
                    text.push(b'\n');
                    text.extend_from_slice(value);
                }
            },
            b"event" => self.name = value,
            b"error" => self.error = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_the_format_says() {
        for (name, event, want_name, want_text) in [
            ("plain", "data: a\n\n", "", Some("a")),
            ("no space", "data:a\n\n", "", Some("a")),
            ("one space is taken", "data:  a\n\n", "", Some(" a")),
            ("several lines", "data: a\r\ndata\r\ndata: b\r\n\r\n", "", Some("a\n\nb")),
            ("CR", "event: x\rdata: a\r\r", "x", Some("a")),
            ("comment", ": data: a\n\n", "", None),
            ("byte order mark", "\u{feff}data: a\n\n", "", Some("a")),
            ("half of a line end before", "\nevent: x\ndata: a\n\n", "x", Some("a")),
            ("other fields", "id: 1\nretry: 5\ndatax: 1\ndata: a", "", Some("a")),
            ("empty", "", "", None),
        ] {
            let parsed = parse_event(event.as_bytes());
            assert_eq!(parsed.name, want_name.as_bytes(), "{name}");
            assert_eq!(parsed.text.as_deref(), want_text.map(str::as_bytes), "{name}");
        }
        let parsed = parse_event(b"error: {\"code\":500}\n\n");
        assert_eq!(parsed.error, Some(&b"{\"code\":500}"[..]));
    }

    #[test]
    fn a_named_message_is_what_the_fields_say() {
        for event in [
            "event: x\ndata: {}\n\n",
            "event: x\r\ndata: {}\r\n\r\n",
            "event: x\rdata: y\ndata: {}\n\n",
            "event: x\ndata: {\ndata: }\n\n",
            "event: x\ndata: {\rdata: }\n\n",
            "event: x\n\ndata: {}\n\n",
            "event: x\ndata: {}\n",
            "data: {}\n\n",
        ] {
            let Some((name, text)) = named_message(event.as_bytes()) else {
                continue;
            };
            assert_eq!(event, "event: x\ndata: {}\n\n");
            let parsed = parse_event(event.as_bytes());
            assert_eq!((parsed.name, parsed.text.as_deref()), (name, Some(text)));
        }
    }

    #[test]
    fn only_a_lone_message_is_plain() {
        for (event, want) in [
            ("data: a\n\n", Some("a")),
            ("data:a\r\n\r\n", Some("a")),
            ("data: a\n", None),
            ("data: a\r\r", None),
            ("event: x\ndata: a\n\n", None),
            (": a\n\n", None),
        ] {
            assert_eq!(plain_message(event.as_bytes()), want.map(str::as_bytes), "{event}");
        }
    }
}
