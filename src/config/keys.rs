//! The file of API keys: the checks of meaning.

use std::collections::{HashMap, HashSet};

use crate::base::Digest;

use super::fields::{Fields, Item};
use super::problem::{At, Checked, Code, Problem, Problems, shown};
use super::server_tables::{KEY, KEYS};
use super::settings::KeyEntry;
use super::shape::check_table;
use super::words::{PROJECT_ROUTE, PROJECT_SLUG, parse_time};
use super::yaml;

/// Checks a file of API keys. Whether projects and routes exist is left to whoever knows them.
///
/// # Errors
/// Every problem of the document, warnings included, sorted by position. At least one of them is an error.
pub fn check_keys(text: &[u8]) -> Result<Checked<Vec<KeyEntry>>, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(root) = yaml::read(text, &mut problems) else {
        return problems.finish(None);
    };
    check_table(&KEYS, &root, "", &mut problems);
    let root = Fields::new(&KEYS, &root, String::new());
    let mut keys = Vec::new();
    let mut ids: HashMap<String, u32> = HashMap::new();
    let mut digests: HashMap<Digest, u32> = HashMap::new();
    for item in root.list("keys") {
        let fields = Fields::new(&KEY, item.node, item.path);
        let id = fields.word("id");
        if let Some(id) = &id {
            let first = ids.insert(id.value.clone(), id.at.line);
            problems.extend(repeated(id, first, "id"));
        }
        let written = fields.word("digest");
        let digest = written.as_ref().and_then(|text| Digest::parse(&text.value).ok());
        if let (Some(written), Some(digest)) = (&written, digest) {
            let first = digests.insert(digest, written.at.line);
            problems.extend(repeated(written, first, "digest"));
        }
        keys.extend(read_key(&fields, id, digest, &mut problems));
    }
    problems.finish(Some(keys))
}

/// Refuses a value that an earlier entry has too.
fn repeated(written: &At<String>, earlier_line: Option<u32>, what: &str) -> Option<Problem> {
    let line = earlier_line?;
    let message = format!("this {what} is used twice");
    let hint = format!("earlier use in line {line}");
    Some(written.refuse(Code::Duplicate, message).hint(hint))
}

fn read_key(
    fields: &Fields<'_>,
    id: Option<At<String>>,
    digest: Option<Digest>,
    problems: &mut Problems,
) -> Option<KeyEntry> {
    let projects = read_names(fields, "projects", problems);
    let slugs: HashSet<&str> = projects.iter().map(|slug| slug.value.as_str()).collect();
    let routes = fields.has("routes").then(|| read_names(fields, "routes", problems));
    for route in routes.iter().flatten() {
        let project = route.value.split('/').next().unwrap_or_default();
        if !slugs.contains(project) {
            let message = format!("project `{}` is not in `projects`", shown(project, 64));
            problems.push(route.refuse(Code::UnknownReference, message));
        }
    }
    for (name, message) in [
        ("projects", "a key without a project can call nothing"),
        ("routes", "a key with an empty list can call nothing; leave `routes` out for every route"),
    ] {
        if let Some(item) = fields.item(name)
            && matches!(&item.node.content, yaml::Content::List(list) if list.is_empty())
        {
            problems.push(Problem::error(item.path, item.node.at, Code::OutOfRange, message));
        }
    }
    Some(KeyEntry {
        id: id?,
        digest: digest?,
        description: fields.text("description"),
        projects,
        routes,
        enabled: fields.boolean("enabled")?,
        expires: fields.word("expires").and_then(|text| parse_time(&text.value)),
    })
}

/// Reads a list of names and refuses repetitions.
fn read_names(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Vec<At<String>> {
    let word = if name == "projects" { &PROJECT_SLUG } else { &PROJECT_ROUTE };
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut names = Vec::new();
    for written in fields.list(name).iter().filter_map(Item::word) {
        if (word.check)(&written.value).is_err() {
            continue;
        }
        if let Some(line) = seen.get(&written.value) {
            let message = format!("`{}` is listed twice", shown(&written.value, 128));
            let hint = format!("first use in line {line}");
            problems.push(written.refuse(Code::Duplicate, message).hint(hint));
            continue;
        }
        seen.insert(written.value.clone(), written.at.line);
        names.push(written);
    }
    names
}
