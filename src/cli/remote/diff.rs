//! What differs between two configurations, for people.

use serde_json::Value;
use similar::TextDiff;

use super::desk::text;
use super::table::plain;

/// The parts that a summary counts, in the order of their weight.
const PARTS: [&str; 4] = ["routes", "models", "guardrails", "limits"];

/// A comparison in meaning: a summary, what is not guarded any more, every changed path.
pub(super) fn diff_text(found: &Value) -> String {
    let mut out = String::new();
    for part in PARTS {
        for (verb, sign) in [("added", '+'), ("removed", '-'), ("changed", '~')] {
            for name in list(found.pointer(&format!("/summary/{part}/{verb}"))) {
                out.push_str(&format!("{sign} {} {}\n", part.trim_end_matches('s'), show(name)));
            }
        }
    }
    for name in list(found.get("guardrails_removed")) {
        out.push_str(&format!("! guardrail {} guards nothing any more\n", show(name)));
    }
    for change in list(found.get("changes")) {
        let [old, new] = ["old", "new"].map(|name| change.get(name).filter(|value| !value.is_null()));
        let path = plain(text(change, "path"));
        out.push_str(&match (old, new) {
            (Some(old), Some(new)) => format!("    {path}: {} -> {}\n", show(old), show(new)),
            (None, Some(new)) => format!("    {path}: {} (new)\n", show(new)),
            (Some(old), None) => format!("    {path}: {} (removed)\n", show(old)),
            (None, None) => format!("    {path}\n"),
        });
    }
    if found.get("truncated").and_then(Value::as_bool) == Some(true) {
        out.push_str("    ... and more\n");
    }
    if out.is_empty() { "no difference in meaning\n".to_owned() } else { out }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// Lines that differ between two texts, with three lines around them; empty when they are the same.
pub(super) fn line_diff(before: (&str, &str), after: (&str, &str)) -> String {
    let diff = TextDiff::from_lines(before.1, after.1);
    diff.unified_diff().context_radius(3).header(before.0, after.0).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn summary_comes_before_the_paths() {
        let found = json!({
            "summary": {"routes": {"added": ["b"], "removed": [], "changed": ["chat"]},
                        "models": {"added": [], "removed": ["m"], "changed": []}},
            "guardrails_removed": ["pii"],
            "changes": [{"path": "routes.chat.timeout", "old": 5, "new": 9}, {"path": "routes.b", "old": null, "new": {}},
                        {"path": "m", "old": "x", "new": null}],
            "truncated": true,
        });
        let want = "+ route b\n~ route chat\n- model m\n! guardrail pii guards nothing any more\n    \
                    routes.chat.timeout: 5 -> 9\n    routes.b: {} (new)\n    m: x (removed)\n    ... and more\n";
        assert_eq!(diff_text(&found), want);
        assert_eq!(diff_text(&json!({"summary": {}, "changes": []})), "no difference in meaning\n");
    }

    #[test]
    fn same_lines_are_no_difference() {
        assert_eq!(line_diff(("a", "x\n"), ("b", "x\n")), "");
        assert_eq!(line_diff(("a", "x\n"), ("b", "y\n")), "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n");
    }
}
