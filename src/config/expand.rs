//! Puts variables of the environment into server settings.
//!
//! Works on parsed scalars, never on the text of the document: a variable can become a value, but not a key or a line.

use super::problem::{Code, Problem, Problems};
use super::yaml::{Content, Form, Node, Scalar, join_index, join_key};

/// Looks up one variable of the environment.
pub(super) type Lookup<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Replaces `${NAME}`, `${NAME:-default}` and `$$` in every scalar below a node. Secrets are left out: they are read
/// by name, so that their text never stands in the tree.
pub(super) fn expand(node: &mut Node, path: &str, lookup: Lookup<'_>, problems: &mut Problems) {
    let at = node.at;
    match &mut node.content {
        Content::Refused => {}
        Content::Scalar(scalar) => {
            if let Err((code, message)) = expand_scalar(scalar, lookup) {
                let hint =
                    (code == Code::MissingVariable).then(|| "`${NAME:-default}` gives a variable a default".to_owned());
                problems.push(Problem::error(path, at, code, message).maybe_hint(hint));
                node.content = Content::Refused;
            }
        }
        Content::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                expand(node, &join_index(path, index), lookup, problems);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                if !(path.is_empty() && entry.key == "secrets") {
                    let path = join_key(path, &entry.key);
                    expand(&mut entry.value, &path, lookup, problems);
                }
            }
        }
    }
}

/// Replaces the variables of one scalar.
pub(super) fn expand_scalar(scalar: &mut Scalar, lookup: Lookup<'_>) -> Result<(), (Code, String)> {
    if scalar.form == Form::Secret || !scalar.text.contains('$') {
        return Ok(());
    }
    let mut out = String::with_capacity(scalar.text.len());
    let mut rest = scalar.text.as_str();
    let mut expanded = false;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) =
                after.split_once('}').ok_or_else(|| (Code::BadValue, "`${` without `}`".to_owned()))?;
            out.push_str(&resolve(inside, lookup)?);
            expanded = true;
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    scalar.text = out;
    if expanded {
        // Inside `{}` a variable has to stand in quotes, so quotes do not make its value a text.
        scalar.form = Form::Expanded;
    }
    Ok(())
}

/// Resolves what stands between `${` and `}`.
fn resolve(inside: &str, lookup: Lookup<'_>) -> Result<String, (Code, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        let message =
            "a variable is written `${NAME}` or `${NAME:-default}`, with letters, digits and `_`; `$$` stands for `$`";
        return Err((Code::BadValue, message.to_owned()));
    }
    let value = lookup(name);
    match (value.filter(|value| !value.is_empty() || default.is_none()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((Code::MissingVariable, format!("the variable `{name}` is not set"))),
    }
}

/// The name in `${NAME}` when the whole text is that and nothing else.
pub(super) fn whole_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    is_variable_name(name).then_some(name)
}

fn is_variable_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_inside_scalars_only() {
        let lookup = |name: &str| match name {
            "PORT" => Some("9000".to_owned()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some("a: b\nc: ${PORT}".to_owned()),
            _ => None,
        };
        for (text, want) in [
            ("plain", Ok("plain")),
            ("${PORT}", Ok("9000")),
            ("[::]:${PORT}", Ok("[::]:9000")),
            ("${NONE:-1}", Ok("1")),
            ("${EMPTY:-1}", Ok("1")),
            ("${EMPTY}", Ok("")),
            ("${NONE:-}", Ok("")),
            ("$$", Ok("$")),
            ("$${PORT}", Ok("${PORT}")),
            ("a$b", Ok("a$b")),
            ("$", Ok("$")),
            ("${LINES}", Ok("a: b\nc: ${PORT}")),
            ("${NONE}", Err(Code::MissingVariable)),
            ("${PORT", Err(Code::BadValue)),
            ("${}", Err(Code::BadValue)),
            ("${A B}", Err(Code::BadValue)),
        ] {
            let mut scalar = Scalar { text: text.to_owned(), form: Form::Plain };
            let got = expand_scalar(&mut scalar, &lookup).map_err(|(code, _)| code);
            assert_eq!(got.map(|()| scalar.text.as_str()), want, "{text}");
        }
    }
}
