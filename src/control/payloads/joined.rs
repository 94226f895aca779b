//! The text of a stream's events in one piece.

use std::ops::Range;

use memchr::memmem;

/// Members whose texts make up what a model says, in the wires that streams have.
const MEMBERS: &[&[u8]] = &[b"\"content\":\"", b"\"delta\":\"", b"\"text\":\"", b"\"arguments\":\""];
/// Between the name of a member and its text.
const TEXT: &[u8] = b"\":\"";
const LINE: &[u8] = b"data: ";

/// Texts of events, put together, and where each came from.
pub(super) struct Joined {
    /// The texts as JSON writes them.
    pub(super) text: Vec<u8>,
    /// Where each begins here, and where it stands in the stream.
    pieces: Vec<(usize, Range<usize>)>,
}

impl Joined {
    /// Takes the texts out of a stream; nothing out of what is none.
    pub(super) fn of(stream: &[u8]) -> Self {
        let mut joined = Self { text: Vec::new(), pieces: Vec::new() };
        let is_stream = stream.starts_with(LINE) || stream.starts_with(b"event: ");
        let mut at = 0;
        while is_stream && at < stream.len() {
            let rest = stream.get(at..).unwrap_or_default();
            let end = at + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if rest.starts_with(LINE) {
                joined.add_line(stream, at..end);
            }
            at = end + 1;
        }
        joined
    }

    fn add_line(&mut self, stream: &[u8], line: Range<usize>) {
        let mut passed = line.start;
        for at in memmem::find_iter(stream.get(line.clone()).unwrap_or_default(), TEXT) {
            let begin = line.start + at + TEXT.len();
            let head = stream.get(passed..begin).unwrap_or_default();
            if begin < passed || !MEMBERS.iter().any(|member| head.ends_with(member)) {
                continue;
            }
            let end = begin + text_len(stream.get(begin..line.end).unwrap_or_default());
            if end > begin {
                self.pieces.push((self.text.len(), begin..end));
                self.text.extend_from_slice(stream.get(begin..end).unwrap_or_default());
            }
            passed = end;
        }
    }

    /// Where a place of the joined text stands in the stream; several where it is in several events.
    pub(super) fn origin(&self, place: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.pieces.partition_point(|(at, origin)| at + origin.len() <= place.start);
        let touched = self.pieces.iter().skip(first).take_while(|(at, _)| *at < place.end);
        let origins = touched.map(|(at, origin)| {
            let from = place.start.saturating_sub(*at);
            let to = (place.end - at).min(origin.len());
            origin.start + from..origin.start + to
        });
        origins.collect()
    }
}

/// Length of a JSON string from behind its first quote up to its last.
fn text_len(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default()) {
        at += found;
        if rest.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    rest.len()
}
