//! What differs between two versions, as text and in meaning.
//!
//! Entries of lists that have a name are compared by name, so that moving a model is no change of it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::{base::Id, config::read_tree};

use super::{actor::Actor, error::ControlError, instance::Control};

/// Most changes of one answer.
const CHANGES_MAX: usize = 5_000;
/// Longest comparison of two texts; what is left then is shown as replaced.
const TEXT_TIME_MAX: Duration = Duration::from_millis(500);
/// Lines around a change of text.
const CONTEXT_LINES: usize = 3;
/// Keys by which the entries of lists are told apart.
const NAME_KEYS: [&str; 3] = ["model_id", "name", "alias"];
const MODEL_LISTS: [&str; 3] = ["chat_models", "embedding_models", "transcription_models"];
const LIMITS: [&str; 4] = ["rate_limiting", "token_limiting", "budget_limiting", "concurrency_limiting"];

/// Which version is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionName {
    /// The one with this number.
    Number(u32),
    /// The live one.
    Served,
    /// The open one.
    Open,
}

/// One path whose value differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Such as `routes.chat.chat_models[0]` or `chat_models[gpt-4o].params.temperature`.
    pub path: String,
    /// The value before; none when the path is new.
    pub before: Option<Value>,
    /// The value after; none when the path has gone.
    pub after: Option<Value>,
}

/// Names that came, went and stayed with a change inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Only in the later version.
    pub added: Vec<String>,
    /// Only in the earlier version.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

/// What differs in meaning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SemanticDiff {
    /// Every changed path, at most 5,000.
    pub changes: Vec<Change>,
    /// Whether there are more than these.
    pub truncated: bool,
    /// Routes by name.
    pub routes: Names,
    /// Models by id.
    pub models: Names,
    /// Guardrails by name.
    pub guardrails: Names,
    /// Limits as `route.limit`.
    pub limits: Names,
}

/// Two versions of one project.
#[derive(Debug, Clone)]
pub struct Compared<T> {
    /// Number of the earlier version.
    pub from: u32,
    /// Number of the later version.
    pub to: u32,
    /// What differs.
    pub diff: T,
}

impl Control {
    /// Compares two versions in meaning.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when one of them is no YAML, [`ControlError::NotFound`], or the permission's.
    pub async fn semantic_diff(
        &self,
        actor: &Actor,
        project: &Id,
        (from, to): (VersionName, VersionName),
    ) -> Result<Compared<SemanticDiff>, ControlError> {
        let [(from, before), (to, after)] = self.both(actor, project, from, to).await?;
        let diff = aside(move || {
            let before = tree("from", &before)?;
            let after = tree("to", &after)?;
            Ok(semantic_diff(&before, &after))
        });
        Ok(Compared { from, to, diff: diff.await? })
    }

    /// Compares two versions as text, in the unified form.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], or the permission's.
    pub async fn text_diff(
        &self,
        actor: &Actor,
        project: &Id,
        (from, to): (VersionName, VersionName),
    ) -> Result<Compared<String>, ControlError> {
        let [(from, before), (to, after)] = self.both(actor, project, from, to).await?;
        let diff = aside(move || Ok(text_diff((from, &before), (to, &after))));
        Ok(Compared { from, to, diff: diff.await? })
    }

    async fn both(
        &self,
        actor: &Actor,
        project: &Id,
        from: VersionName,
        to: VersionName,
    ) -> Result<[(u32, Vec<u8>); 2], ControlError> {
        let record = self.project(actor, project).await?.project;
        let number = |name: VersionName| match name {
            VersionName::Number(number) => Ok(number),
            VersionName::Served => record.served_version.ok_or(ControlError::NotFound),
            VersionName::Open => record.open_version.ok_or(ControlError::NotFound),
        };
        let (from, to) = (number(from)?, number(to)?);
        let before = self.version(actor, project, from).await?.text;
        let after = self.version(actor, project, to).await?.text;
        Ok([(from, before), (to, after)])
    }
}

/// Two texts of 1 MiB take longer than the admin thread may stand still.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ControlError::Internal("a comparison panicked".to_owned())))
}

fn tree(field: &str, text: &[u8]) -> Result<Value, ControlError> {
    read_tree(text).map_err(|problems| {
        let first = problems.first().map_or_else(String::new, |problem| problem.render("line"));
        ControlError::field(field, format!("is not valid YAML ({first}); compare with `format=text`"))
    })
}

fn text_diff((from, before): (u32, &[u8]), (to, after): (u32, &[u8])) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let diff = TextDiff::configure().timeout(TEXT_TIME_MAX).diff_lines(&*before, &*after);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT_LINES).header(&format!("version {from}"), &format!("version {to}"));
    unified.to_string()
}

/// Compares two documents.
#[must_use]
pub fn semantic_diff(before: &Value, after: &Value) -> SemanticDiff {
    let mut diff = SemanticDiff::default();
    compare("", (Some(before), Some(after)), &mut diff);
    diff.routes = names(&named_map(before, "routes"), &named_map(after, "routes"));
    diff.models = names(&models(before), &models(after));
    diff.guardrails = names(&named_list(before, "guardrails"), &named_list(after, "guardrails"));
    diff.limits = names(&limits(before), &limits(after));
    diff
}

fn compare(path: &str, values: (Option<&Value>, Option<&Value>), diff: &mut SemanticDiff) {
    let (before, after) = values;
    if before == after || is_nothing(before) && is_nothing(after) {
        return;
    }
    match values {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for key in keys(before, after) {
                compare(&joined(path, key), (before.get(key), after.get(key)), diff);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => compare_lists(path, (before, after), diff),
        _ => push(path, values, diff),
    }
}

fn compare_lists(path: &str, (before, after): (&[Value], &[Value]), diff: &mut SemanticDiff) {
    if let (Some(before), Some(after)) = (by_name(before), by_name(after)) {
        for key in keys(&before, &after) {
            compare(&format!("{path}[{key}]"), (before.get(key), after.get(key)), diff);
        }
        return;
    }
    for at in 0..before.len().max(after.len()) {
        compare(&format!("{path}[{at}]"), (before.get(at), after.get(at)), diff);
    }
}

fn push(path: &str, (before, after): (Option<&Value>, Option<&Value>), diff: &mut SemanticDiff) {
    if diff.changes.len() >= CHANGES_MAX {
        diff.truncated = true;
        return;
    }
    diff.changes.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
}

/// A key without a value means the same as no key.
fn is_nothing(value: Option<&Value>) -> bool {
    value.is_none_or(Value::is_null)
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Keys of both maps, those of the first in their order, then the new ones.
fn keys<'a>(before: &'a Map<String, Value>, after: &'a Map<String, Value>) -> Vec<&'a String> {
    before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect()
}

/// The entries of a list by their names; none when one has no name, or two have the same.
fn by_name(list: &[Value]) -> Option<Map<String, Value>> {
    let mut named = Map::new();
    for entry in list {
        let name = NAME_KEYS.iter().find_map(|key| entry.get(key)?.as_str())?;
        if named.insert(name.trim().to_owned(), entry.clone()).is_some() {
            return None;
        }
    }
    Some(named)
}

fn named_map(document: &Value, key: &str) -> Map<String, Value> {
    document.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn named_list(document: &Value, key: &str) -> Map<String, Value> {
    let list = document.get(key).and_then(Value::as_array).map(Vec::as_slice);
    list.and_then(by_name).unwrap_or_default()
}

/// Models of all lists: an id is unique over all of them.
fn models(document: &Value) -> Map<String, Value> {
    MODEL_LISTS.iter().flat_map(|list| named_list(document, list)).collect()
}

fn limits(document: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    for (route, value) in named_map(document, "routes") {
        for limit in LIMITS {
            if let Some(rule) = value.get(limit).filter(|rule| !rule.is_null()) {
                found.insert(format!("{route}.{limit}"), rule.clone());
            }
        }
    }
    found
}

fn names(before: &Map<String, Value>, after: &Map<String, Value>) -> Names {
    let only = |these: &Map<String, Value>, those: &Map<String, Value>| -> Vec<String> {
        let sorted: BTreeSet<&String> = these.keys().filter(|key| !those.contains_key(*key)).collect();
        sorted.into_iter().cloned().collect()
    };
    let changed: BTreeSet<&String> = before
        .iter()
        .filter(|(key, value)| after.get(*key).is_some_and(|other| other != *value))
        .map(|(key, _)| key)
        .collect();
    Names { added: only(after, before), removed: only(before, after), changed: changed.into_iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BEFORE: &str = "chat_models:\n  - {model_id: a, model: mock/a, params: {temperature: 0.1}}\n  \
                          - {model_id: b, model: mock/b}\nguardrails:\n  - {name: pii, type: x}\n  - {name: old, type: y}\n\
                          routes:\n  chat: {chat_models: [a], rate_limiting: {max_requests: 5}}\n  gone: {chat_models: [b]}\n";
    const AFTER: &str = "chat_models:\n  - {model_id: b, model: mock/b}\n  \
                         - {model_id: a, model: mock/a, params: {temperature: 0.2}}\nguardrails:\n  - {name: pii, type: x}\n\
                         routes:\n  chat: {chat_models: [a], rate_limiting: {max_requests: 9}}\n  new: {chat_models: [b], \
                         token_limiting: {input: 1}}\n";

    fn diff(before: &str, after: &str) -> SemanticDiff {
        semantic_diff(&read_tree(before.as_bytes()).unwrap(), &read_tree(after.as_bytes()).unwrap())
    }

    #[test]
    fn changes_are_told_by_path_and_by_name() {
        let diff = diff(BEFORE, AFTER);
        let shown: Vec<_> = diff.changes.iter().map(|c| (c.path.as_str(), c.before.clone(), c.after.clone())).collect();
        assert_eq!(
            shown,
            [
                ("chat_models[a].params.temperature", Some(json!("0.1")), Some(json!("0.2"))),
                ("guardrails[old]", Some(json!({"name": "old", "type": "y"})), None),
                ("routes.chat.rate_limiting.max_requests", Some(json!(5)), Some(json!(9))),
                ("routes.gone", Some(json!({"chat_models": ["b"]})), None),
                ("routes.new", None, Some(json!({"chat_models": ["b"], "token_limiting": {"input": 1}}))),
            ]
        );
        let names = |names: &Names| [names.added.join(","), names.removed.join(","), names.changed.join(",")];
        assert_eq!(names(&diff.routes), ["new", "gone", "chat"]);
        assert_eq!(names(&diff.models), ["", "", "a"]);
        assert_eq!(names(&diff.guardrails), ["", "old", ""]);
        assert_eq!(names(&diff.limits), ["new.token_limiting", "", "chat.rate_limiting"]);
        assert!(!diff.truncated);
    }

    #[test]
    fn order_space_and_empty_keys_are_no_change() {
        for (name, before, after) in [
            ("same", BEFORE, BEFORE),
            ("order of keys", "a: 1\nb: 2\n", "b: 2\na: 1\n"),
            ("style", "a: [1, \"x\"]\n", "a:\n  - 1\n  - x\n"),
            ("key without a value", "a: 1\n", "a: 1\nroutes:\n"),
            (
                "order of models",
                "chat_models: [{model_id: a}, {model_id: b}]",
                "chat_models: [{model_id: b}, {model_id: a}]",
            ),
        ] {
            assert_eq!(diff(before, after), SemanticDiff::default(), "{name}");
        }
        assert_eq!(diff("l: [1, 2]", "l: [1, 3, 4]").changes.len(), 2);
        assert_eq!(diff("", "a: 1").changes.len(), 1);
    }

    #[test]
    fn number_of_changes_is_bounded() {
        let list = |first: usize| {
            let lines: Vec<String> = (0..CHANGES_MAX + 10).map(|at| format!("k{at}: {}\n", first + at)).collect();
            lines.concat()
        };
        let diff = diff(&list(0), &list(1));
        assert_eq!((diff.changes.len(), diff.truncated), (CHANGES_MAX, true));
    }

    #[test]
    fn text_is_compared_by_lines() {
        let text = text_diff((1, b"a\nb\nc\n"), (2, b"a\nx\nc\n"));
        assert_eq!(text, "--- version 1\n+++ version 2\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
    }
}
