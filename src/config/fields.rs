//! Reads values of one map by its table, defaults included.
//!
//! Comes after `shape.rs`: what is malformed is reported already and reads as absent.

use std::time::Duration;

use crate::base::{ByteSize, NanoUsd};

use super::problem::{At, Position};
use super::shape::find;
use super::table::{Kind, Table, choose};
use super::value;
use super::yaml::{Content, Entry, Form, Node, Scalar, join_index, join_key};

/// One map of the document and the table that describes it.
#[derive(Clone)]
pub(super) struct Fields<'n> {
    table: &'static Table,
    entries: &'n [Entry],
    /// Where the map begins.
    pub(super) at: Position,
    /// Path of the map.
    pub(super) path: String,
}

/// One value with its path.
#[derive(Debug, Clone)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

impl<'n> Fields<'n> {
    /// Looks at a map; anything else reads as an empty one.
    pub(super) fn new(table: &'static Table, node: &'n Node, path: String) -> Self {
        let entries: &[Entry] = match &node.content {
            Content::Map(entries) => entries,
            _ => &[],
        };
        Self { table, entries, at: node.at, path }
    }

    /// The value of a key, unless it is absent or null.
    pub(super) fn item(&self, name: &str) -> Option<Item<'n>> {
        let entry = self.entry(name)?;
        Some(Item { node: &entry.value, path: join_key(&self.path, &entry.key) })
    }

    /// The entry of a key, unless its value is null.
    pub(super) fn entry(&self, name: &str) -> Option<&'n Entry> {
        let field = self.table.field(name);
        debug_assert!(field.is_some(), "no field `{name}` in {}", self.table.name);
        find(field?, self.entries)
    }

    /// Whether a key is written and not null, well-formed or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name, |node| value::boolean(node).ok())
    }

    /// A whole number. The table's bounds make it fit.
    pub(super) fn integer<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        let Kind::Int { min, max } = self.kind(name)? else {
            return None;
        };
        let number = self.value(name, |node| value::integer(node, *min, *max).ok())?;
        T::try_from(number).ok()
    }

    pub(super) fn size(&self, name: &str) -> Option<ByteSize> {
        let Kind::Size { min, max } = self.kind(name)? else {
            return None;
        };
        self.value(name, |node| value::size(node, *min, *max).ok()).map(ByteSize)
    }

    /// An amount in USD.
    pub(super) fn money(&self, name: &str) -> Option<NanoUsd> {
        self.value(name, |node| value::money(node).ok())
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let Kind::Duration { min, max } = self.kind(name)? else {
            return None;
        };
        self.value(name, |node| value::duration(node, min, max).ok())
    }

    /// The word of a choice, as the table spells it.
    pub(super) fn choice(&self, name: &str) -> Option<&'static str> {
        let Kind::Choice(words) = self.kind(name)? else {
            return None;
        };
        self.value(name, |node| choose(words, value::text(node).ok()?.trim()))
    }

    /// A text as written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name, |node| value::text(node).ok().map(str::to_owned))
    }

    /// A word in its form, without the space around it. Defaults have the position of the map.
    pub(super) fn word(&self, name: &str) -> Option<At<String>> {
        let Kind::Word(word) = self.kind(name)? else {
            return None;
        };
        let text = self.value(name, |node| {
            let text = value::text(node).ok()?.trim();
            (word.check)(text).ok()?;
            Some(text.to_owned())
        })?;
        let place = self.item(name);
        Some(At {
            value: text,
            at: place.as_ref().map_or(self.at, |item| item.node.at),
            path: place.map_or_else(|| join_key(&self.path, name), |item| item.path).into(),
        })
    }

    /// The name after `!secret`.
    pub(super) fn secret(&self, name: &str) -> Option<At<String>> {
        let item = self.item(name)?;
        match &item.node.content {
            Content::Scalar(scalar) if scalar.form == Form::Secret && super::words::is_secret_name(&scalar.text) => {
                Some(At { value: scalar.text.clone(), at: item.node.at, path: item.path.into() })
            }
            _ => None,
        }
    }

    /// The map below a key; absent, it reads as an empty one, so that its defaults hold.
    pub(super) fn table(&self, name: &str) -> Fields<'n> {
        let table = match self.kind(name) {
            Some(Kind::Table(table)) => table,
            _ => self.table,
        };
        match self.item(name) {
            Some(item) => Fields::new(table, item.node, item.path),
            None => Fields { table, entries: &[], at: self.at, path: join_key(&self.path, name) },
        }
    }

    /// The entries of a list.
    pub(super) fn list(&self, name: &str) -> Vec<Item<'n>> {
        let Some(item) = self.item(name) else {
            return Vec::new();
        };
        let Content::List(nodes) = &item.node.content else {
            return Vec::new();
        };
        nodes.iter().enumerate().map(|(index, node)| Item { node, path: join_index(&item.path, index) }).collect()
    }

    /// The entries of a map with free names, each with its path.
    pub(super) fn map(&self, name: &str) -> Vec<(&'n Entry, String)> {
        let Some(item) = self.item(name) else {
            return Vec::new();
        };
        let Content::Map(entries) = &item.node.content else {
            return Vec::new();
        };
        entries.iter().map(|entry| (entry, join_key(&item.path, &entry.key))).collect()
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        Some(&self.table.field(name)?.kind)
    }

    /// Reads what is written, else the default of the table.
    fn value<T>(&self, name: &str, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        if let Some(entry) = self.entry(name) {
            return read(&entry.value);
        }
        let text = self.table.field(name)?.default?;
        read(&Node { at: self.at, content: Content::Scalar(Scalar { text: text.to_owned(), form: Form::Plain }) })
    }
}

impl Item<'_> {
    /// The item as a word, without the space around it.
    pub(super) fn word(&self) -> Option<At<String>> {
        Some(At {
            value: value::text(self.node).ok()?.trim().to_owned(),
            at: self.node.at,
            path: self.path.as_str().into(),
        })
    }
}
