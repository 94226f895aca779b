//! Heads of requests and answers, cut at any byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::http::{FIELDS_CEILING, Framing, HeadLimits, find_end, parse_request, parse_response};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 32 * 1024, fields_max: FIELDS_CEILING };

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let cut = usize::from(cut).min(bytes.len());
    let at_once = find_end(bytes, &mut 0, LIMITS.bytes_max);
    let mut seen = 0;
    let in_two = match find_end(&bytes[..cut], &mut seen, LIMITS.bytes_max) {
        Ok(None) => find_end(bytes, &mut seen, LIMITS.bytes_max),
        decided => decided,
    };
    assert_eq!(at_once, in_two, "the end depends on where the head was cut");

    let Ok(Some(end)) = at_once else { return };
    let head = &bytes[..end];
    // What the provider side makes of the same bytes; it must only not panic.
    let _ = parse_response(head);
    let Ok(parsed) = parse_request(head, LIMITS) else { return };
    assert_eq!(parsed.len, head.len());
    another_parser_takes_it(head, parsed.method_text.of(head));
    holds_the_rules(head, parsed.framing, parsed.is_1_1);
    for (name, part) in [
        ("authorization", parsed.authorization),
        ("x-api-key", parsed.x_api_key),
        ("api-key", parsed.api_key),
        ("content-type", parsed.content_type),
        ("content-encoding", parsed.content_encoding),
        ("x-request-id", parsed.request_id),
        ("traceparent", parsed.traceparent),
        ("x-millrace-timeout-ms", parsed.timeout_ms),
        ("x-millrace-no-fallback", parsed.no_fallback),
        ("x-millrace-metadata", parsed.metadata),
    ] {
        let Some(part) = part else { continue };
        assert_eq!(values(head, name), [part.of(head)], "the value of {name}");
    }
});

/// A parser that others rely on is laxer than ours, never stricter.
fn another_parser_takes_it(head: &[u8], method: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; FIELDS_CEILING];
    let mut request = httparse::Request::new(&mut slots);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(request.method.map(str::as_bytes), Some(method));
    for field in request.headers.iter() {
        assert!(values(head, field.name).contains(&field.value), "{}", field.name);
    }
}

/// All values of a field, read by lines.
fn values<'a>(head: &'a [u8], wanted: &str) -> Vec<&'a [u8]> {
    let name_and_value = |line: &'a [u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let named = line[..colon].eq_ignore_ascii_case(wanted.as_bytes());
        named.then(|| line[colon + 1..].trim_ascii())
    };
    // The request line holds no field, however many colons it has.
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.skip_while(|line| line.is_empty()).skip(1).filter_map(name_and_value).collect()
}

/// The rules again, written down another way: by lines.
fn holds_the_rules(head: &[u8], framing: Framing, is_1_1: bool) {
    let text: String = head.iter().copied().map(char::from).collect();
    assert!(!text.contains('\0'));
    // Empty lines before a request line are ignored, as RFC 9112, section 2.2, asks.
    let text = text.trim_start_matches("\r\n");
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("an empty line").split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "a bare CR or LF");
    let fields: Vec<(String, &str)> = lines[1..]
        .iter()
        .map(|line| line.split_once(':').expect("a colon"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    for (name, _) in &fields {
        assert!(!name.is_empty() && !name.contains([' ', '\t', '_']), "name {name:?}");
    }
    let values = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::None => {
            assert!(codings.is_empty());
            assert!(lengths.is_empty() || (lengths.len() == 1 && lengths[0].bytes().all(|b| b == b'0')), "{lengths:?}");
        }
        Framing::Length(length) => {
            assert!(codings.is_empty() && lengths.len() == 1 && is_1_1);
            assert_eq!(lengths[0].parse(), Ok(length));
        }
        Framing::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1 && is_1_1);
            assert!(codings[0].eq_ignore_ascii_case("chunked"));
        }
        Framing::Close => panic!("a request that ends with its connection"),
    }
    let hosts = values("host").len();
    assert!(hosts == 1 || (hosts == 0 && !is_1_1), "{hosts} hosts");
    assert!(values("upgrade").is_empty());
}
