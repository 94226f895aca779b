//! Holds the module rows, the bans and the length of files.
//!
//! The picture is in `ARCHITECTURE.md`: imports only go down, features of row 3 never see each other, and a few crates
//! may be named in one place only. A new folder needs a row here before it compiles into a habit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules and their rows; an import goes to a lower row or stays inside its folder.
const ROWS: &[(&str, u8)] = &[
    ("main", 9),
    ("cli", 9),
    ("server", 8),
    ("worker", 7),
    ("edge", 7),
    ("admin", 7),
    ("proxy", 6),
    ("control", 6),
    ("store", 6),
    ("shared", 5),
    ("snapshot", 4),
    ("provider", 3),
    ("upstream", 3),
    ("limit", 3),
    ("iam", 3),
    ("cache", 3),
    ("guard", 3),
    ("usage", 3),
    ("tokens", 3),
    ("metrics", 3),
    ("http", 2),
    ("wire", 2),
    ("sound", 2),
    ("config", 2),
    ("base", 1),
];

/// Same row, but the one direction that the design draws.
const SIDEWAYS: &[(&str, &str)] = &[("main", "cli"), ("control", "store")];

/// Forbidden by name although the rows allow it.
const FORBIDDEN: &[(&str, &str)] =
    &[("worker", "control"), ("worker", "config"), ("proxy", "config"), ("admin", "proxy")];

/// Crates that only these files or folders may name.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("arc_swap", &["base/swap.rs"]),
    ("saphyr_parser", &["config/yaml.rs"]),
    ("monoio", &["http/"]),
    ("pingora_core", &["server/", "edge/"]),
    ("pingora_proxy", &["edge/"]),
    ("pingora_http", &["edge/"]),
    ("hickory_resolver", &["upstream/resolve.rs"]),
    ("rusqlite", &["store/sqlite/", "store/tests/"]),
    ("utoipa", &["admin/", "store/record/text_enum.rs"]),
    ("axum", &["admin/"]),
    ("ureq", &["cli/remote/client.rs"]),
    ("serde_path_to_error", &["admin/rest/json.rs"]),
    ("argon2", &["control/login/password.rs"]),
    ("portable_atomic", &["limit/atomic.rs"]),
    ("papaya", &["limit/"]),
    ("jiff", &["control/ledger/zone.rs"]),
    ("bpe", &["tokens/table.rs"]),
    ("regex_automata", &["tokens/table.rs"]),
    ("lettre", &["control/alerts/mail.rs"]),
    ("tokio_rustls", &["control/alerts/webhook.rs"]),
    ("shuttle", &["limit/explore.rs", "limit/tests/"]),
];

/// Names that say nothing; see the glossary of the style page.
const BANNED_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "misc", "manager", "service", "info", "data"];

const LINES_MAX: usize = 500;
const FIRST_LINE_CHARS_MAX: usize = 60;

struct Source {
    /// Relative to `src/`, with `/`.
    path: String,
    /// The text without test modules and comments.
    code: String,
    text: String,
}

impl Source {
    /// The top-level module: a folder, or a file of `src/` without its ending.
    fn folder(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        Source {
            path: path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/"),
            code: without_comments(&without_tests(&text)),
            text,
        }
    };
    // A sibling `tests.rs` is test code as a whole.
    files.iter().map(read).filter(|source| !source.path.ends_with("tests.rs")).collect()
}

/// Cuts every item behind a `#[cfg(test)]` at the start of a line.
fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        for skipped in lines.by_ref() {
            if skipped == "}" || (skipped.ends_with(';') && !skipped.starts_with(' ')) {
                break;
            }
        }
    }
    kept
}

fn without_comments(text: &str) -> String {
    let keep = |line: &str| !line.trim_start().starts_with("//");
    text.lines().filter(|line| keep(line)).flat_map(|line| [line, "\n"]).collect()
}

/// Every module path that starts with `crate::` or, in the binary, `millrace::`; groups are taken apart.
fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for head in ["crate::", "millrace::"] {
        for (at, _) in source.code.match_indices(head) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            expand(&source.code[at + head.len()..], "", &mut found);
        }
    }
    found
}

/// Reads one path at the start of `text`; returns how many bytes it took.
fn expand(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    if let Some(group) = text.strip_prefix('{') {
        let mut at = 0;
        loop {
            let rest = &group[at..];
            let skipped = rest.len() - rest.trim_start_matches([' ', '\n', ',']).len();
            at += skipped;
            let rest = &group[at..];
            if rest.is_empty() || rest.starts_with('}') {
                return at + 2;
            }
            let took = expand(rest, prefix, found);
            // A rename or anything unknown: go on behind it.
            let tail = group[at + took..].find([',', '}', '\n']).unwrap_or(0);
            at += took + tail;
            if took + tail == 0 {
                at += 1;
            }
        }
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    match text[name.len()..].strip_prefix("::") {
        Some(rest) => name.len() + 2 + expand(rest, &path, found),
        None => {
            found.push(path);
            name.len()
        }
    }
}

fn row(name: &str) -> Option<u8> {
    ROWS.iter().find(|(folder, _)| *folder == name).map(|(_, row)| *row)
}

/// Why `from` may not import `to`, both top-level modules.
fn import_problem(from: &str, to: &str) -> Option<String> {
    if from == to || from == "lib" {
        return None;
    }
    let (Some(from_row), Some(to_row)) = (row(from), row(to)) else {
        return None;
    };
    if FORBIDDEN.contains(&(from, to)) {
        return Some(format!("{from} must never import {to}"));
    }
    if to_row < from_row || SIDEWAYS.contains(&(from, to)) {
        return None;
    }
    Some(format!("{from} (row {from_row}) imports {to} (row {to_row}): imports only go down"))
}

fn assert_none(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

#[test]
fn every_folder_has_a_row() {
    let mut problems = BTreeSet::new();
    for source in sources() {
        if source.folder() != "lib" && row(source.folder()).is_none() {
            problems.insert(format!("src/{}: `{}` has no row", source.path, source.folder()));
        }
    }
    assert_none("folders without a row", &problems.into_iter().collect::<Vec<_>>());
}

#[test]
fn imports_only_go_down() {
    let mut problems = Vec::new();
    for source in sources() {
        for import in imports(&source) {
            let to = import.split("::").next().unwrap();
            if let Some(problem) = import_problem(source.folder(), to) {
                problems.push(format!("src/{}: `{import}`: {problem}", source.path));
            }
        }
    }
    assert_none("imports against the rows", &problems);
}

#[test]
fn child_never_imports_its_own_mod() {
    let all = sources();
    let mut problems = Vec::new();
    for source in &all {
        let Some((folder, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        // A folder whose face is a file beside it (`server.rs` and `server/`) has no mod.rs.
        if file == "mod.rs" || !all.iter().any(|other| other.path == format!("{folder}/mod.rs")) {
            continue;
        }
        let siblings: BTreeSet<&str> = all
            .iter()
            .filter_map(|other| other.path.strip_prefix(folder)?.strip_prefix('/'))
            .map(|rest| rest.split('/').next().unwrap().trim_end_matches(".rs"))
            .collect();
        let own = folder.replace('/', "::");
        let mut paths: Vec<String> = imports(source)
            .iter()
            .filter_map(|import| Some(import.strip_prefix(&own)?.strip_prefix("::")?.to_owned()))
            .collect();
        for (at, _) in source.code.match_indices("super::") {
            if !source.code[..at].ends_with("::") {
                expand(&source.code[at + "super::".len()..], "", &mut paths);
            }
        }
        for path in paths {
            let first = path.split("::").next().unwrap();
            if first != "super" && !siblings.contains(first) {
                problems.push(format!("src/{}: `{path}` comes from {folder}/mod.rs", source.path));
            }
        }
    }
    assert_none("children that import their own mod.rs", &problems);
}

#[test]
fn crates_are_named_in_their_place_only() {
    let mut problems = Vec::new();
    for source in sources() {
        for (name, places) in NAMED_ONLY_IN {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            let named = source.code.match_indices(name).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + name.len()..].chars().next();
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !part(before) && !part(after)
            });
            if named && !allowed {
                problems.push(format!("src/{} names {name}", source.path));
            }
        }
    }
    assert_none("crates named outside their place", &problems);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut files = Vec::new();
    for folder in ["src", "loadtest/src", "tests", "benches", "fuzz/targets"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            rust_files(&folder, &mut files);
        }
    }
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LINES_MAX && !name.ends_with("tests.rs") {
            problems.push(format!("{name}: {lines} lines before its tests, at most {LINES_MAX}"));
        }
        let first = text.lines().next().unwrap_or_default();
        match first.strip_prefix("//! ") {
            None => problems.push(format!("{name}: line 1 is not `//! ...`")),
            Some(said) if said.chars().count() > FIRST_LINE_CHARS_MAX => problems
                .push(format!("{name}: {} characters in line 1, at most {FIRST_LINE_CHARS_MAX}", said.chars().count())),
            Some(_) => {}
        }
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        for part in [stem, folder] {
            if BANNED_NAMES.contains(&part) {
                problems.push(format!("{name}: `{part}` says nothing, see the glossary"));
            }
        }
    }
    assert_none("files against the style page", &problems);
}

#[test]
fn no_stub_is_left() {
    // Taken apart so that this file does not find itself.
    let stubs = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore]")];
    let mut files = Vec::new();
    for folder in ["src", "loadtest/src", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for stub in stubs.iter().filter(|stub| text.contains(**stub)) {
            problems.push(format!("{}: {stub}", file.strip_prefix(root()).unwrap().display()));
        }
    }
    assert_none("stubs", &problems);
}

#[test]
fn mod_files_say_more_than_their_list() {
    let mut problems = Vec::new();
    for source in sources() {
        let comments = source.text.lines().filter(|line| line.starts_with("//!")).count();
        if source.path.ends_with("/mod.rs") && source.text.lines().count() > 1 && comments == 0 {
            problems.push(format!("src/{}: a bare list of modules", source.path));
        }
    }
    assert_none("mod.rs files without a word", &problems);
}

#[test]
fn import_rules_hold_for_made_up_folders() {
    for (from, to, refused) in [
        ("worker", "proxy", false),
        ("proxy", "snapshot", false),
        ("upstream", "http", false),
        ("base", "http", true),
        ("limit", "cache", true),
        ("provider", "upstream", true),
        ("worker", "config", true),
        ("worker", "control", true),
        ("admin", "proxy", true),
        ("proxy", "config", true),
        ("control", "store", false),
        ("store", "control", true),
        ("wire", "http", true),
        ("http", "base", false),
        ("limit", "limit", false),
    ] {
        assert_eq!(import_problem(from, to).is_some(), refused, "{from} -> {to}");
    }
}

#[test]
fn import_scanner_takes_groups_apart() {
    let source = Source {
        path: "proxy/admit.rs".to_owned(),
        code: "use crate::{base::Secret, limit::{Table, rule::Rule as R},\n    wire};\nlet x: crate::http::Head = \
               y;\nuse other_crate::z;"
            .to_owned(),
        text: String::new(),
    };
    let want = ["base::Secret", "limit::Table", "limit::rule::Rule", "wire", "http::Head"];
    assert_eq!(imports(&source), want);
}

#[test]
fn test_modules_are_cut_and_the_rest_stays() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod more {\n    x;\n}\nc\n";
    assert_eq!(without_tests(text), "a\nb\nc\n");
}
