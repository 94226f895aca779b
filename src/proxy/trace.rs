//! W3C trace context: a trace is continued, or a new one begun.
//!
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use crate::base::hex16;

/// Length of a `traceparent` value of version 00.
const LEN: usize = 55;

/// The trace of a request and our own span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    text: [u8; LEN],
    continued: bool,
    id: [u8; 16],
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
            let halves = [draw >> 64, draw & u128::from(u64::MAX)].map(|half| hex16(u64::try_from(half).unwrap_or(0)));
            put(&mut text, 3, halves.as_flattened());
        }
        // The span takes the other half of the draw, mixed, so that it does not repeat a part of a new trace's id.
        let mixed = (draw ^ (draw >> 67)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let span = u64::try_from(mixed >> 64).unwrap_or(1) | 1;
        put(&mut text, 36, &hex16(span));
        let id = if continued { id_of(&text) } else { draw.to_be_bytes() };
        Self { text, continued, id }
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
        self.id
    }
}

fn id_of(text: &[u8; LEN]) -> [u8; 16] {
    let mut id = [0u8; 16];
    let digits = text.get(3..35).unwrap_or_default();
    for (slot, pair) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = *pair;
        *slot = value_of(high) << 4 | value_of(low);
    }
    id
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

fn put(text: &mut [u8; LEN], at: usize, digits: &[u8]) {
    if let Some(slots) = text.get_mut(at..at + digits.len()) {
        slots.copy_from_slice(digits);
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
            assert!(trace.value().starts_with(b"00-0000abc"), "{client:?}");
        }
    }
}
