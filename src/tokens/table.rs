//! A table of tokens and the rule by which a text is cut.
//!
//! The tables are OpenAI's, as published for `tiktoken`, and stand compressed in the binary. The only place that names `bpe`
//! and `regex_automata`. Cutting and merging take linear time in the length of the text, whatever it is.

use std::io::Read as _;

use bpe::byte_pair_encoding::{BytePairEncoding, read_tiktoken};
use flate2::read::GzDecoder;
use regex_automata::{Anchored, Input, PatternID, meta::Regex};

use super::encoding::Encoding;

const CL100K: &[u8] = include_bytes!("tables/cl100k_base.tiktoken.gz");
const O200K: &[u8] = include_bytes!("tables/o200k_base.tiktoken.gz");

/// With this factor no two tokens of either table have one hash; `bpe` needs one and refuses others.
const HASH_FACTOR: u64 = 17_846_336_922_010_275_747;

const CL100K_PIECES: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+$"
);
const O200K_PIECES: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+$"
);
/// Stands for `\s+(?!\S)`, which needs a look ahead: here the last character of the match is only looked at.
const SPACE_BEFORE_SPACE: &str = r"\s+\s";
const LOOKS_AHEAD: PatternID = PatternID::new_unchecked(1);
const SPACE: &str = r"\s+";

/// A table that is built: some 40 MB.
pub(super) struct Table {
    tokens: BytePairEncoding,
    pieces: Regex,
}

impl Table {
    /// Builds a table: about a second of work. None when the text in the binary is damaged.
    pub(super) fn build(encoding: Encoding) -> Option<Self> {
        let (packed, pieces) = match encoding {
            Encoding::Cl100k => (CL100K, CL100K_PIECES),
            Encoding::O200k => (O200K, O200K_PIECES),
        };
        let mut text = String::new();
        GzDecoder::new(packed).read_to_string(&mut text).ok()?;
        let words = read_tiktoken(&text).ok()?;
        drop(text);
        let tokens = BytePairEncoding::from_dictionary(words, Some(HASH_FACTOR));
        let pieces = Regex::new_many(&[pieces, SPACE_BEFORE_SPACE, SPACE]).ok()?;
        Some(Self { tokens, pieces })
    }

    /// Counts the tokens of a text, special ones read as the text that they are.
    pub(super) fn count(&self, text: &str) -> u64 {
        let mut rest = text;
        let mut count = 0;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at_checked(self.piece_bytes(rest)).unwrap_or((rest, ""));
            count += self.tokens.count(piece.as_bytes());
            rest = after;
        }
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// The table of an encoding, built once for all tests.
    #[cfg(test)]
    pub(super) fn shared(encoding: Encoding) -> &'static Self {
        use std::sync::OnceLock;
        static CL100K: OnceLock<Table> = OnceLock::new();
        static O200K: OnceLock<Table> = OnceLock::new();
        let place = if encoding == Encoding::Cl100k { &CL100K } else { &O200K };
        place.get_or_init(|| Self::build(encoding).unwrap())
    }

    /// Length of the first piece; never 0.
    fn piece_bytes(&self, rest: &str) -> usize {
        let Some(found) = self.pieces.find(Input::new(rest).anchored(Anchored::Yes)) else {
            return rest.len();
        };
        let piece = rest.get(..found.end()).unwrap_or(rest);
        let looked_at = match piece.chars().next_back() {
            Some(last) if found.pattern() == LOOKS_AHEAD => last.len_utf8(),
            _ => 0,
        };
        match piece.len() - looked_at {
            0 => rest.len(),
            length => length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_published_tokenizer() {
        let [cl100k, o200k] = [Encoding::Cl100k, Encoding::O200k].map(Table::shared);
        for (text, old, new) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            // Examples of OpenAI's cookbook on counting with tiktoken.
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            ("お誕生日おめでとう", 9, 8),
            ("tiktoken is great!", 6, 6),
        ] {
            assert_eq!((cl100k.count(text), o200k.count(text)), (old, new), "{text:?}");
        }
        for text in ["a \n\n  b", "   x", "\u{a0}\t ", "it's 1234567 IT'S", "<|endoftext|>"] {
            for table in [cl100k, o200k] {
                let count = usize::try_from(table.count(text)).unwrap();
                assert!((2..=text.len()).contains(&count), "{text:?}: {count}");
            }
        }
    }

    #[test]
    fn no_text_takes_more_than_linear_time() {
        let table = Table::shared(Encoding::O200k);
        for (text, want) in [("a", 1 << 15), (" ", 1 << 11), ("\n", 1), ("!", 1)] {
            let count = table.count(&text.repeat(1 << 18));
            assert!((want..1 << 18).contains(&count), "{text:?}: {count}");
        }
    }
}
