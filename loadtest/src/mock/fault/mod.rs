//! Faults that a provider can cause, by name.
//!
//! Each fault is one row of a table: its name, the keys it takes and the function that makes its steps. The
//! README prints this table, so a fault cannot exist without its line there.

mod coding;
mod content;
mod cut;
mod framing;
mod reuse;
mod status;
mod text;
mod usage;

use super::ask::Ask;
use crate::serve::Plan;

/// One fault.
pub(crate) struct Fault {
    /// Its name behind `fault/`, with the values it takes.
    name: &'static str,
    /// The values that may follow its name, or an empty text.
    values: &'static str,
    /// The keys it takes beside the common ones.
    keys: &'static [&'static str],
    /// Rows of the fault matrix and of the threats that it serves.
    rows: &'static str,
    /// What it does.
    about: &'static str,
    /// Whether it makes sense for streams only.
    streams_only: bool,
    make: fn(&Ask<'_>) -> Result<Plan, String>,
}

const FAMILIES: &[&[Fault]] = &[
    cut::FAULTS,
    status::FAULTS,
    content::FAULTS,
    reuse::FAULTS,
    framing::FAULTS,
    coding::FAULTS,
    text::FAULTS,
    usage::FAULTS,
];

/// Makes the answer of a fault.
///
/// # Errors
/// When the fault or one of its options is unknown, or when it cannot be done to this request.
pub(crate) fn make(kind: &str, ask: &Ask<'_>) -> Result<Plan, String> {
    let Some(fault) = all().find(|fault| fault.name == kind) else {
        let names: Vec<&str> = all().map(|fault| fault.name).collect();
        return Err(format!("unknown fault `{kind}`; known: {}", names.join(", ")));
    };
    ask.script.check_keys(fault.keys)?;
    if ask.script.value.is_some() && fault.values.is_empty() {
        return Err(format!("fault `{kind}` takes no value"));
    }
    if fault.streams_only && !ask.stream {
        return Err(format!("fault `{kind}` needs `\"stream\": true`"));
    }
    (fault.make)(ask)
}

/// The table of all faults in Markdown.
pub(crate) fn table() -> String {
    let mut table = String::from("| script | keys | what it does | rows |\n| --- | --- | --- | --- |\n");
    for fault in all() {
        let values = if fault.values.is_empty() { String::new() } else { format!("[={}]", fault.values) };
        let streams = if fault.streams_only { " Streams only." } else { "" };
        let keys: Vec<String> = fault.keys.iter().map(|key| format!("`{key}`")).collect();
        let row = format!(
            "| `fault/{}{values}` | {} | {}{streams} | {} |\n",
            fault.name,
            keys.join(" "),
            fault.about,
            fault.rows
        );
        table.push_str(&row);
    }
    table
}

fn all() -> impl Iterator<Item = &'static Fault> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// Names of all faults, for tests that try each.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    all().map(|fault| fault.name).collect()
}
