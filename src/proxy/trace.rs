//! W3C trace context: a client's trace is continued, everything else starts a new one.
//!
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

const HEX: [u8; 16] = *b"0123456789abcdef";
/// Length of a `traceparent` value of version 00.
const LEN: usize = 55;

/// The trace of a request and our own span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    text: [u8; LEN],
    continued: bool,
}

impl Trace {
    /// Continues the client's trace with a span of ours, or starts a new trace. `draw` gives the new ids.
    #[must_use]
    pub(super) fn of(client: Option<&[u8]>, draw: u128) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        let client = client.and_then(|value| value.first_chunk::<LEN>()).filter(|value| is_valid(value));
        let continued = client.is_some();
        if let Some(client) = client {
            text = *client;
        } else {
            write_hex(&mut text, 3, draw.to_be_bytes());
        }
        // The span takes the other half of the draw, mixed, so that it does not repeat a part of a new trace's id.
        let mixed = (draw ^ (draw >> 67)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let span = u64::try_from(mixed >> 64).unwrap_or(1) | 1;
        write_hex(&mut text, 36, span.to_be_bytes());
        Self { text, continued }
    }

    /// The value of `traceparent`.
    #[must_use]
    pub(super) fn value(&self) -> &[u8] {
        &self.text
    }

    /// Whether the trace is the client's, so that its `tracestate` goes along.
    #[must_use]
    pub(super) fn is_continued(&self) -> bool {
        self.continued
    }

    /// The trace id as bytes.
    #[must_use]
    pub(super) fn id(&self) -> [u8; 16] {
        let mut id = [0u8; 16];
        let digits = self.text.get(3..35).unwrap_or_default();
        for (slot, pair) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
            *slot = value_of(pair[0]) << 4 | value_of(pair[1]);
        }
        id
    }
}

/// Version 00, lower-case hex, neither id all zero.
fn is_valid(value: &[u8; LEN]) -> bool {
    let hex = |range: std::ops::Range<usize>| {
        value.get(range).is_some_and(|part| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let nonzero = |range: std::ops::Range<usize>| value.get(range).is_some_and(|part| part.iter().any(|b| *b != b'0'));
    value.starts_with(b"00-")
        && value.get(35) == Some(&b'-')
        && value.get(52) == Some(&b'-')
        && hex(3..35)
        && hex(36..52)
        && hex(53..55)
        && nonzero(3..35)
        && nonzero(36..52)
}

fn write_hex<const N: usize>(text: &mut [u8; LEN], at: usize, bytes: [u8; N]) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (slot, digit) in text.iter_mut().skip(at).zip(digits) {
        *slot = HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
    }
}

fn value_of(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_trace_is_continued_with_a_new_span() {
        let client = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::of(Some(client), 7 << 64 | 9);
        assert!(trace.is_continued());
        assert_eq!(&trace.value()[..36], &client[..36]);
        assert_ne!(&trace.value()[36..52], &client[36..52]);
        assert_eq!(trace.id()[0], 0x4b);
    }

    #[test]
    fn invalid_trace_starts_a_new_one() {
        for client in [
            None,
            Some(&b"00-4bf9"[..]),
            Some(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
            Some(b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
            Some(b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ] {
            let trace = Trace::of(client, 0xabc << 100 | 5);
            assert!(!trace.is_continued(), "{client:?}");
            assert!(trace.value().starts_with(b"00-0abc"), "{client:?}");
        }
    }
}
