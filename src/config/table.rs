//! Declares the keys of a document: names, types, bounds, docs.
//!
//! A table is the only place that knows a key. `shape.rs` holds a document against it, `fields.rs` reads values by it,
//! `schema.rs` prints it.

use super::problem::Code;

/// The keys of one map.
#[derive(Debug)]
pub(super) struct Table {
    /// Name in the schema.
    pub(super) name: &'static str,
    /// What the map describes.
    pub(super) doc: &'static str,
    pub(super) fields: &'static [Field],
}

/// One key.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) state: State,
    /// What an absent key means, as it would be written.
    pub(super) default: Option<&'static str>,
    pub(super) doc: &'static str,
}

/// What may be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Must be written.
    Required,
    /// May be written.
    Optional,
    /// Known, and refused until it has an effect.
    Unsupported,
    /// Accepted only as an empty map; the text says why.
    MustBeEmpty(&'static str),
}

/// The type of a value.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int { min: u64, max: u64 },
    /// Bytes, or a number and `KiB`, `MiB`, `GiB`. Bounds in bytes.
    Size { min: u64, max: u64 },
    /// Seconds, or a number and a unit. Bounds as they are written in messages.
    Duration { min: &'static str, max: &'static str },
    /// An amount in USD: a number or a text, with at most 6 decimals.
    Money,
    /// Any text up to a number of bytes.
    Text { bytes_max: usize },
    /// A text of a certain form.
    Word(&'static Word),
    /// One of a few words; upper and lower case, `-` and `_` are the same.
    Choice(&'static [&'static str]),
    /// `!secret NAME`.
    Secret,
    /// A text of the first form, or a map `{file: PATH}`.
    OrFile {
        /// What the text is, for the schema.
        text: &'static str,
        table: &'static Table,
    },
    /// A map with these keys.
    Table(&'static Table),
    /// A list of such values.
    List { of: &'static Kind, max: usize },
    /// A map with names of this form and such values.
    Map { names: &'static Word, of: &'static Kind, max: usize },
    /// Anything that JSON can say; checked by the reader of the key.
    Json,
}

/// A form of text.
#[derive(Debug)]
pub(super) struct Word {
    /// What it is called in messages, such as `a route name`.
    pub(super) name: &'static str,
    /// The form as an ECMA 262 pattern, where one exists.
    pub(super) pattern: Option<&'static str>,
    /// Refuses a text, with the code and what is expected.
    pub(super) check: fn(&str) -> Result<(), (Code, String)>,
}

impl Field {
    /// A key that may be written.
    pub(super) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, aliases: &[], kind, state: State::Optional, default: None, doc }
    }

    /// A key that is known but refused: it has no effect in this version.
    pub(super) const fn unsupported(name: &'static str, doc: &'static str) -> Self {
        let mut field = Self::new(name, Kind::Json, doc);
        field.state = State::Unsupported;
        field
    }

    /// A key that is accepted only as an empty map.
    pub(super) const fn empty(
        name: &'static str,
        aliases: &'static [&'static str],
        reason: &'static str,
        doc: &'static str,
    ) -> Self {
        let mut field = Self::new(name, Kind::Json, doc);
        field.aliases = aliases;
        field.state = State::MustBeEmpty(reason);
        field
    }

    pub(super) const fn required(mut self) -> Self {
        self.state = State::Required;
        self
    }

    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }
}

impl Table {
    /// Finds a key by its name or alias.
    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == key || field.aliases.contains(&key))
    }

    /// Every name and alias.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().flat_map(|field| std::iter::once(field.name).chain(field.aliases.iter().copied()))
    }
}

/// Finds the word of a choice that a text means.
pub(super) fn choose(words: &[&'static str], text: &str) -> Option<&'static str> {
    let same = |word: &&&'static str| {
        word.len() == text.len() && word.bytes().zip(text.bytes()).all(|(a, b)| fold(a) == fold(b))
    };
    words.iter().find(same).copied()
}

fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}
