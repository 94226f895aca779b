//! Holds a document against its tables: keys, types, bounds.
//!
//! What is refused here is not looked at again: `fields.rs` skips it, and the checks of meaning see only the rest.

use super::hint::{did_you_mean, listing};
use super::problem::{Code, Problem, Problems, shown};
use super::table::{Field, Kind, State, Table, Word, choose};
use super::value::{self, Refusal};
use super::words::is_secret_name;
use super::yaml::{Content, Entry, Form, Node, join_index, join_key};

/// Checks a map against its table.
pub(super) fn check_table(table: &Table, node: &Node, path: &str, problems: &mut Problems) {
    let Some(entries) = entries(node, path, problems) else {
        return;
    };
    for entry in entries {
        check_entry(table, entry, entries, path, problems);
    }
    for field in table.fields {
        if field.state == State::Required && find(field, entries).is_none() {
            let message = format!("`{}` is missing: {}", field.name, lower_first(field.doc));
            problems.push(Problem::error(path, node.at, Code::MissingKey, message));
        }
    }
}

/// Finds the entry of a field that is not null.
pub(super) fn find<'n>(field: &Field, entries: &'n [Entry]) -> Option<&'n Entry> {
    entries.iter().find(|entry| {
        (entry.key == field.name || field.aliases.contains(&entry.key.as_str())) && !entry.value.is_null()
    })
}

/// The entries of a map; nothing at all is an empty map.
fn entries<'n>(node: &'n Node, path: &str, problems: &mut Problems) -> Option<&'n [Entry]> {
    match &node.content {
        Content::Map(entries) => Some(entries),
        Content::Refused => None,
        _ if node.is_null() => Some(&[]),
        _ => {
            push(path, node, Refusal::wrong_type("a map", node), problems);
            None
        }
    }
}

fn check_entry(table: &Table, entry: &Entry, all: &[Entry], path: &str, problems: &mut Problems) {
    let path = join_key(path, &entry.key);
    let Some(field) = table.field(&entry.key) else {
        let message = format!("unknown key `{}`", shown(&entry.key, 64));
        let problem = Problem::error(path, entry.key_at, Code::UnknownKey, message);
        problems.push(problem.maybe_hint(did_you_mean(&entry.key, table.names())));
        return;
    };
    if entry.value.is_null() {
        return;
    }
    // Two spellings of one key are one key written twice.
    let first = find(field, all).filter(|first| first.key_at < entry.key_at);
    if let Some(first) = first {
        let message = format!("`{}` and `{}` are the same key", first.key, entry.key);
        let problem = Problem::error(path, entry.key_at, Code::Duplicate, message);
        problems.push(problem.hint(format!("first use in line {}", first.key_at.line)));
        return;
    }
    match field.state {
        State::Unsupported => {
            let message = format!("`{}` is not supported yet", field.name);
            problems.push(Problem::error(path, entry.key_at, Code::Unsupported, message));
        }
        State::MustBeEmpty(reason) => check_empty(entry, reason, &path, problems),
        State::Required | State::Optional => {
            check_kind(&field.kind, &entry.value, &path, problems);
        }
    }
}

fn check_empty(entry: &Entry, reason: &str, path: &str, problems: &mut Problems) {
    let Some(inner) = entries(&entry.value, path, problems) else {
        return;
    };
    for entry in inner {
        let path = join_key(path, &entry.key);
        problems.push(Problem::error(path, entry.key_at, Code::Unsupported, reason));
    }
}

fn check_kind(kind: &Kind, node: &Node, path: &str, problems: &mut Problems) {
    if matches!(node.content, Content::Refused) {
        return;
    }
    let result = match kind {
        Kind::Bool => value::boolean(node).map(drop),
        Kind::Int { min, max } => value::integer(node, *min, *max).map(drop),
        Kind::Size { min, max } => value::size(node, *min, *max).map(drop),
        Kind::Duration { min, max } => value::duration(node, min, max).map(drop),
        Kind::Money => value::money(node).map(drop),
        Kind::Text { bytes_max } => check_text(node, *bytes_max),
        Kind::Word(word) => check_word(word, node),
        Kind::Choice(words) => check_choice(words, node),
        Kind::Secret => check_secret(node),
        Kind::OrFile { table, .. } => {
            if matches!(node.content, Content::Map(_)) {
                check_table(table, node, path, problems);
            }
            Ok(())
        }
        Kind::Table(table) => {
            check_table(table, node, path, problems);
            Ok(())
        }
        Kind::List { of, max } => check_list(of, *max, node, path, problems),
        Kind::Map { names, of, max } => {
            check_map(names, of, *max, (node, path), problems);
            Ok(())
        }
        Kind::Json => Ok(()),
    };
    if let Err(refusal) = result {
        push(path, node, refusal, problems);
    }
}

fn check_text(node: &Node, bytes_max: usize) -> Result<(), Refusal> {
    let text = value::text(node)?;
    if text.len() <= bytes_max {
        return Ok(());
    }
    let size = value::shown_size(u64::try_from(bytes_max).unwrap_or(u64::MAX));
    Err(Refusal::new(Code::OutOfRange, format!("at most {size} of text are accepted")))
}

fn check_word(word: &Word, node: &Node) -> Result<(), Refusal> {
    let text = value::text(node).map_err(|mut refusal| {
        refusal.message = refusal.message.replacen("expected text", &format!("expected {}", word.name), 1);
        refusal
    })?;
    (word.check)(text.trim()).map_err(|(code, message)| Refusal::new(code, message))
}

fn check_choice(words: &[&'static str], node: &Node) -> Result<(), Refusal> {
    let text = value::text(node)?;
    if choose(words, text.trim()).is_some() {
        return Ok(());
    }
    let message = format!("expected one of {}", listing(words.iter().copied()));
    let mut refusal = Refusal::new(Code::BadValue, message);
    refusal.hint = did_you_mean(text.trim(), words.iter().copied());
    Err(refusal)
}

fn check_secret(node: &Node) -> Result<(), Refusal> {
    match &node.content {
        Content::Scalar(scalar) if scalar.form == Form::Secret => {
            if is_secret_name(&scalar.text) {
                return Ok(());
            }
            let message = "the name after `!secret` has 1 to 64 letters, digits, `_`, `.` or `-`";
            Err(Refusal::new(Code::BadValue, message))
        }
        Content::Scalar(_) => {
            Err(Refusal::new(Code::LiteralSecret, "a secret is not written into the document; use `!secret NAME`"))
        }
        _ => Err(Refusal::wrong_type("`!secret NAME`", node)),
    }
}

fn check_list(of: &Kind, max: usize, node: &Node, path: &str, problems: &mut Problems) -> Result<(), Refusal> {
    let Content::List(nodes) = &node.content else {
        return Err(Refusal::wrong_type("a list", node));
    };
    if nodes.len() > max {
        let message = format!("at most {max} entries are accepted, found {}", nodes.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    for (index, node) in nodes.iter().enumerate() {
        check_kind(of, node, &join_index(path, index), problems);
    }
    Ok(())
}

fn check_map(names: &Word, of: &Kind, max: usize, (node, path): (&Node, &str), problems: &mut Problems) {
    let Some(entries) = entries(node, path, problems) else {
        return;
    };
    if entries.len() > max {
        let message = format!("at most {max} entries are accepted, found {}", entries.len());
        push(path, node, Refusal::new(Code::TooLarge, message), problems);
        return;
    }
    for entry in entries {
        let path = join_key(path, &entry.key);
        if let Err((code, message)) = (names.check)(&entry.key) {
            problems.push(Problem::error(path.as_str(), entry.key_at, code, message));
        }
        check_kind(of, &entry.value, &path, problems);
    }
}

fn push(path: &str, node: &Node, refusal: Refusal, problems: &mut Problems) {
    let problem = Problem::error(path, node.at, refusal.code, refusal.message);
    problems.push(problem.maybe_hint(refusal.hint));
}

fn lower_first(text: &str) -> String {
    let sentence = text.split(". ").next().unwrap_or(text);
    let mut chars = sentence.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}
