//! Cuts bodies into pieces, as a network would.

/// How a body is cut into the pieces that are written one by one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Split {
    /// Not at all.
    Whole,
    /// Behind each byte.
    OneByte,
    /// Inside each character of several bytes, and nowhere else.
    Characters,
    /// Inside each line end: between CR and LF, and between two LF.
    LineEnds,
    /// At random places, drawn from a seed.
    Seed(u64),
}

impl Split {
    /// Reads `whole`, `one-byte`, `utf8`, `crlf` or `seed:N`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown split `{text}`; known: whole, one-byte, utf8, crlf, seed:N");
        Ok(match text {
            "whole" => Self::Whole,
            "one-byte" => Self::OneByte,
            "utf8" => Self::Characters,
            "crlf" => Self::LineEnds,
            _ => {
                let seed = text.strip_prefix("seed:").and_then(|seed| seed.parse().ok());
                Self::Seed(seed.ok_or_else(unknown)?)
            }
        })
    }

    /// Cuts a body. The pieces are never empty and, put together, are the body.
    pub(crate) fn cut(self, body: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::Whole => cut_where(body, |_, _| false),
            Self::OneByte => cut_where(body, |_, _| true),
            Self::Characters => cut_where(body, |_, right| right & 0xc0 == 0x80),
            Self::LineEnds => cut_where(body, |left, right| matches!((left, right), (b'\r' | b'\n', b'\n'))),
            Self::Seed(seed) => split_randomly(body, seed),
        }
    }
}

/// Cuts at random places; places inside characters and line ends are cut more often.
pub(crate) fn split_randomly(body: &[u8], seed: u64) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed);
    // Some seeds make a few large pieces and others many small ones.
    let mean = 1 << random.u32(2..10);
    cut_where(body, |left, right| {
        let delicate = right & 0xc0 == 0x80 || matches!((left, right), (b'\r' | b'\n', b'\n'));
        random.u32(..if delicate { 3 } else { mean }) == 0
    })
}

/// Cuts between each two bytes for which `is_cut` holds.
fn cut_where(body: &[u8], mut is_cut: impl FnMut(u8, u8) -> bool) -> Vec<Vec<u8>> {
    body.chunk_by(|left, right| !is_cut(*left, *right)).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "data: \u{20ac}\r\n\r\ndata: b\n\n";

    #[test]
    fn splits_are_read_or_refused() {
        for (text, want) in [
            ("whole", Some(Split::Whole)),
            ("one-byte", Some(Split::OneByte)),
            ("utf8", Some(Split::Characters)),
            ("crlf", Some(Split::LineEnds)),
            ("seed:7", Some(Split::Seed(7))),
            ("seed:", None),
            ("bytes", None),
        ] {
            assert_eq!(Split::parse(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn pieces_are_never_empty_and_make_the_body() {
        let splits = [Split::Whole, Split::OneByte, Split::Characters, Split::LineEnds];
        for split in splits.into_iter().chain((0..50).map(Split::Seed)) {
            let pieces = split.cut(BODY.as_bytes());
            assert!(pieces.iter().all(|piece| !piece.is_empty()), "{split:?}");
            assert_eq!(pieces.concat(), BODY.as_bytes(), "{split:?}");
        }
        assert!(Split::Seed(1).cut(b"").is_empty());
    }

    #[test]
    fn cuts_stand_where_they_are_asked_for() {
        for (split, want) in [
            (Split::Whole, 1),
            (Split::OneByte, BODY.len()),
            // The euro sign has three bytes, so two places inside it.
            (Split::Characters, 3),
            // CR|LF twice and LF|LF once; LF and CR are not one line end.
            (Split::LineEnds, 4),
        ] {
            assert_eq!(split.cut(BODY.as_bytes()).len(), want, "{split:?}");
        }
    }

    #[test]
    fn equal_seeds_cut_equally() {
        let body = BODY.repeat(20);
        assert_eq!(split_randomly(body.as_bytes(), 7), split_randomly(body.as_bytes(), 7));
        assert_ne!(split_randomly(body.as_bytes(), 7), split_randomly(body.as_bytes(), 8));
    }
}
