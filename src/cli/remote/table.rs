//! Answers as tables and lists for people.

use serde_json::Value;

/// Widest cell; longer texts are cut.
const CELL_CHARS_MAX: usize = 60;

/// A heading, and the JSON pointer of its value in a row.
pub(super) type Column = (&'static str, &'static str);

/// Rows under headings; no rows are one line that says so.
pub(super) fn table(rows: &[Value], columns: &[Column]) -> String {
    if rows.is_empty() {
        return "nothing here\n".to_owned();
    }
    let head = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let body = rows.iter().map(|row| columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))).collect());
    aligned(&std::iter::once(head).chain(body).collect::<Vec<_>>())
}

/// The fields of an object, one a line.
pub(super) fn fields(object: &Value) -> String {
    let Some(map) = object.as_object() else {
        return format!("{}\n", cell(Some(object)));
    };
    aligned(&map.iter().map(|(name, value)| vec![name.replace('_', " "), full(value)]).collect::<Vec<_>>())
}

fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        for (index, text) in row.iter().enumerate() {
            let width = text.chars().count();
            match widths.get_mut(index) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{text:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// One row whose cells are at least so wide, for rows that are shown before the next is known.
pub(super) fn line(cells: &[(String, usize)]) -> String {
    let mut line = String::new();
    for (text, width) in cells {
        line.push_str(&format!("{text:<width$}  "));
    }
    format!("{}\n", line.trim_end())
}

fn cell(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "-".to_owned(), full);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

/// A value on one line.
fn full(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) if list.iter().all(|item| !item.is_object() && !item.is_array()) => {
            list.iter().map(full).collect::<Vec<_>>().join(", ")
        }
        Value::Object(map) if map.is_empty() => "-".to_owned(),
        Value::Object(map) if map.values().all(|item| !item.is_object() && !item.is_array()) => {
            map.iter().map(|(name, item)| format!("{}={}", plain(name), full(item))).collect::<Vec<_>>().join(" ")
        }
        other => plain(&other.to_string()),
    }
}

/// A text that cannot move the cursor or colour the terminal of its reader.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidirectional(c) {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`plain`] for a text of many lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Marks that make a text read other than it is.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_under_their_headings() {
        let rows = [
            json!({"slug": "support", "status": "PROD", "served_version": 12, "tags": {"team": "a"}}),
            json!({"slug": "a", "status": "DEV", "served_version": null, "tags": {}}),
        ];
        let columns = [("SLUG", "/slug"), ("STATUS", "/status"), ("SERVED", "/served_version"), ("TAGS", "/tags")];
        let want = "SLUG     STATUS  SERVED  TAGS\nsupport  PROD    12      team=a\na        DEV     -       -\n";
        assert_eq!(table(&rows, &columns), want);
        assert_eq!(table(&[], &columns), "nothing here\n");
    }

    #[test]
    fn long_and_odd_texts_stay_in_their_cell() {
        let long = "x".repeat(61);
        let rows = [json!({"a": long, "b": "two\nlines \u{1b}[31m\u{202e}"})];
        let shown = table(&rows, &[("A", "/a"), ("B", "/b"), ("C", "/c")]);
        let line = shown.lines().nth(1).unwrap();
        assert_eq!(line, format!("{}…  two\\nlines \\u{{1b}}[31m\\u{{202e}}  -", "x".repeat(59)));
        assert_eq!(shown.lines().count(), 2);
    }

    #[test]
    fn object_is_shown_whole() {
        let shown = fields(&json!({"id": "prj_1", "log_payloads": false, "models": ["a", "b"], "deep": {"x": [1]}}));
        assert_eq!(shown, "id            prj_1\nlog payloads  no\nmodels        a, b\ndeep          {\"x\":[1]}\n");
    }
}
