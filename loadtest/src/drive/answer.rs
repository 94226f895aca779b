//! Reads one HTTP/1.1 answer piece by piece, without copying.
//!
//! Strict where it matters for a benchmark: an answer that ends early, runs over or breaks its framing is an error,
//! never a success. Nothing is allocated unless a head is split over two reads.

use super::tally::Fault;

/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header lines.
const HEADERS_MAX: usize = 64;
/// Longest line of a chunk's size with its extensions, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Where the reader stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    /// Bytes left of a body with a length.
    Length(u64),
    Chunk(ChunkPlace),
    UntilClose,
    Complete,
}

/// Where the reader stands in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkPlace {
    /// In the size line: the size so far, digits seen, whether an extension began, length of the line.
    Size {
        size: u64,
        digits: usize,
        extension: bool,
        line_bytes: usize,
    },
    Content(u64),
    /// In the line break after the content.
    ContentEnd,
    /// In the trailer: length of the current line.
    Trailer(usize),
}

const CHUNK_START: ChunkPlace = ChunkPlace::Size { size: 0, digits: 0, extension: false, line_bytes: 0 };

/// Reader of one answer after another on one connection.
#[derive(Debug)]
pub(crate) struct Answer {
    place: Place,
    partial_head: Vec<u8>,
    status: u16,
    keep_alive: bool,
}

impl Answer {
    /// Makes a reader that waits for a head.
    pub(crate) fn new() -> Self {
        Self { place: Place::Head, partial_head: Vec::new(), status: 0, keep_alive: true }
    }

    /// Forgets the last answer; buffers are kept.
    pub(crate) fn reset(&mut self) {
        self.place = Place::Head;
        self.partial_head.clear();
        self.status = 0;
        self.keep_alive = true;
    }

    /// Status code; 0 before the head is complete.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the whole answer was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.place == Place::Complete
    }

    /// Whether the connection may carry another request.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive && self.is_complete()
    }

    /// Reads `bytes`; gives each piece of the body to `sink`.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a broken head or framing, and for bytes after the end.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), Fault> {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Head => self.feed_head(bytes)?,
                Place::Length(left) => self.feed_length(left, bytes, sink),
                Place::Chunk(at) => self.feed_chunk(at, bytes, sink)?,
                Place::UntilClose => {
                    sink(bytes);
                    &[]
                }
                Place::Complete => return Err(Fault::Malformed),
            };
        }
        Ok(())
    }

    /// Says that the peer closed; complete only for a body that ends so.
    ///
    /// # Errors
    /// [`Fault::Truncated`] within an answer, [`Fault::Reset`] before its first byte.
    pub(crate) fn close(&mut self) -> Result<(), Fault> {
        self.keep_alive = false;
        match self.place {
            Place::UntilClose => {
                self.place = Place::Complete;
                Ok(())
            }
            Place::Complete => Ok(()),
            Place::Head if self.partial_head.is_empty() => Err(Fault::Reset),
            _ => Err(Fault::Truncated),
        }
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let before = self.partial_head.len();
        if before == 0 {
            let Some(length) = self.parse_head(bytes)? else {
                self.partial_head.extend_from_slice(bytes);
                return Ok(&[]);
            };
            return Ok(bytes.get(length..).unwrap_or_default());
        }
        let mut head = std::mem::take(&mut self.partial_head);
        head.extend_from_slice(bytes);
        let parsed = self.parse_head(&head);
        let too_long = head.len() > HEAD_BYTES_MAX;
        self.partial_head = head;
        let Some(length) = parsed? else {
            return if too_long { Err(Fault::Malformed) } else { Ok(&[]) };
        };
        self.partial_head.clear();
        Ok(bytes.get(length.saturating_sub(before)..).unwrap_or_default())
    }

    /// Returns the length of the head, or `None` when it is not complete yet.
    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Fault::Malformed),
        };
        let status = response.code.unwrap_or(0);
        if (100..200).contains(&status) {
            // An interim answer: the final one follows.
            return Ok(Some(length));
        }
        self.status = status;
        self.keep_alive = response.version == Some(1);
        let mut body_bytes = None;
        let mut chunked = false;
        for header in response.headers.iter() {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let value = parse_decimal(header.value).ok_or(Fault::Malformed)?;
                if body_bytes.is_some_and(|known| known != value) {
                    return Err(Fault::Malformed);
                }
                body_bytes = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = header.value.eq_ignore_ascii_case(b"chunked");
                if !chunked {
                    return Err(Fault::Malformed);
                }
            } else if name.eq_ignore_ascii_case("connection") {
                self.keep_alive = !header.value.eq_ignore_ascii_case(b"close");
            }
        }
        self.place = match (chunked, body_bytes) {
            // Both at once is how answers are smuggled (RFC 9112, section 6.3).
            (true, Some(_)) => return Err(Fault::Malformed),
            (true, None) => Place::Chunk(CHUNK_START),
            (false, Some(0)) => Place::Complete,
            (false, Some(length)) => Place::Length(length),
            (false, None) if status == 204 || status == 304 => Place::Complete,
            (false, None) => Place::UntilClose,
        };
        Ok(Some(length))
    }

    fn feed_length<'a>(&mut self, left: u64, bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let (mine, rest) = split(bytes, left);
        sink(mine);
        let left = left.saturating_sub(length_of(mine));
        self.place = if left == 0 { Place::Complete } else { Place::Length(left) };
        rest
    }

    fn feed_chunk<'a>(
        &mut self,
        at: ChunkPlace,
        bytes: &'a [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], Fault> {
        if let ChunkPlace::Content(left) = at {
            let (mine, rest) = split(bytes, left);
            sink(mine);
            let left = left.saturating_sub(length_of(mine));
            self.place = Place::Chunk(if left == 0 { ChunkPlace::ContentEnd } else { ChunkPlace::Content(left) });
            return Ok(rest);
        }
        let Some((&byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        self.place = match at {
            ChunkPlace::ContentEnd => match byte {
                b'\r' => Place::Chunk(at),
                b'\n' => Place::Chunk(CHUNK_START),
                _ => return Err(Fault::Malformed),
            },
            ChunkPlace::Trailer(line_bytes) => match byte {
                b'\r' => Place::Chunk(at),
                b'\n' if line_bytes == 0 => Place::Complete,
                b'\n' => Place::Chunk(ChunkPlace::Trailer(0)),
                _ if line_bytes >= CHUNK_LINE_BYTES_MAX => return Err(Fault::Malformed),
                _ => Place::Chunk(ChunkPlace::Trailer(line_bytes + 1)),
            },
            ChunkPlace::Size { .. } => Place::Chunk(size_byte(at, byte)?),
            ChunkPlace::Content(_) => self.place,
        };
        Ok(rest)
    }
}

/// Takes one byte of a chunk's size line.
fn size_byte(at: ChunkPlace, byte: u8) -> Result<ChunkPlace, Fault> {
    let ChunkPlace::Size { size, digits, extension, line_bytes } = at else {
        return Ok(at);
    };
    if line_bytes >= CHUNK_LINE_BYTES_MAX {
        return Err(Fault::Malformed);
    }
    let line_bytes = line_bytes + 1;
    match byte {
        b'\n' if digits == 0 => Err(Fault::Malformed),
        b'\n' if size == 0 => Ok(ChunkPlace::Trailer(0)),
        b'\n' => Ok(ChunkPlace::Content(size)),
        b'\r' => Ok(ChunkPlace::Size { size, digits, extension: true, line_bytes }),
        b';' | b' ' if digits > 0 => Ok(ChunkPlace::Size { size, digits, extension: true, line_bytes }),
        _ if extension => Ok(ChunkPlace::Size { size, digits, extension, line_bytes }),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or(Fault::Malformed)?;
            if digits >= 15 {
                return Err(Fault::Malformed);
            }
            Ok(ChunkPlace::Size { size: size * 16 + u64::from(digit), digits: digits + 1, extension, line_bytes })
        }
    }
}

/// Splits off at most `left` bytes.
fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Reads decimal digits only: no sign, no space.
fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire` in pieces of `step` bytes, then the close.
    fn read(wire: &[u8], step: usize) -> (Result<(), Fault>, u16, Vec<u8>, bool) {
        let mut answer = Answer::new();
        let mut body = Vec::new();
        let mut outcome = Ok(());
        for piece in wire.chunks(step) {
            outcome = answer.feed(piece, &mut |part| body.extend_from_slice(part));
            if outcome.is_err() {
                break;
            }
        }
        let keeps_alive = answer.keeps_alive();
        if outcome.is_ok() {
            outcome = answer.close();
        }
        (outcome, answer.status(), body, keeps_alive)
    }

    #[test]
    fn whole_answers_are_read_in_any_pieces() {
        for (name, wire, status, body, keeps_alive) in [
            ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true),
            ("empty", "HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n", 502, "", true),
            (
                "chunks",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
                200,
                "hello!",
                true,
            ),
            (
                "trailer",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\na: b\r\n\r\n",
                200,
                "0123456789",
                true,
            ),
            (
                "interim",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
                200,
                "x",
                false,
            ),
            ("until close", "HTTP/1.0 200 OK\r\n\r\nall of it", 200, "all of it", false),
            ("no content", "HTTP/1.1 204 No\r\n\r\n", 204, "", true),
        ] {
            for step in [1, 2, 3, 7, 1000] {
                let (outcome, seen_status, seen, seen_alive) = read(wire.as_bytes(), step);
                assert_eq!(outcome, Ok(()), "{name} by {step}");
                assert_eq!(seen_status, status, "{name} by {step}");
                assert_eq!(String::from_utf8(seen).unwrap(), body, "{name} by {step}");
                assert_eq!(seen_alive, keeps_alive, "{name} by {step}");
            }
        }
    }

    #[test]
    fn broken_answers_are_faults() {
        for (name, wire, fault) in [
            ("nothing", "", Fault::Reset),
            ("half a head", "HTTP/1.1 200 OK\r\nconte", Fault::Truncated),
            ("short body", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", Fault::Truncated),
            ("no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", Fault::Truncated),
            ("too much", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy", Fault::Malformed),
            ("not HTTP", "SSH-2.0-x\r\n", Fault::Malformed),
            ("bad size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Fault::Malformed),
            ("empty size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n", Fault::Malformed),
            ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy", Fault::Malformed),
            (
                "length and chunks",
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
                Fault::Malformed,
            ),
            ("signed length", "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", Fault::Malformed),
        ] {
            for step in [1, 5, 1000] {
                assert_eq!(read(wire.as_bytes(), step).0, Err(fault), "{name} by {step}");
            }
        }
    }
}
