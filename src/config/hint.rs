//! Guesses what was meant: did-you-mean hints.

/// Most edits between a text and what it was meant to be.
const EDITS_MAX: usize = 2;
/// Longer texts are no typing errors of our short names.
const CHARS_MAX: usize = 64;

/// Finds the known name that was probably meant, within two edits or starting with the text, and asks for it.
#[must_use]
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = written.to_lowercase();
    let length = lower.chars().count();
    if length == 0 || length > CHARS_MAX {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let candidate = name.to_lowercase();
        // Two texts differ by at least as many edits as their lengths do.
        let edits = if candidate.chars().count().abs_diff(length) > EDITS_MAX {
            usize::MAX
        } else {
            edit_distance(&lower, &candidate)
        };
        // With as many edits as letters anything becomes anything.
        let near = edits <= EDITS_MAX && edits < length;
        let rank = if near {
            edits
        } else if candidate.starts_with(&lower) {
            EDITS_MAX + 1
        } else {
            continue;
        };
        if best.is_none_or(|(found, _)| rank < found) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Writes a few known names for a message: `a`, `b`, `c` and 5 more.
pub(super) fn listing<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 8;
    let names: Vec<&str> = names.into_iter().collect();
    let mut out = names
        .iter()
        .take(SHOWN_MAX)
        .map(|name| format!("`{}`", super::problem::shown(name, CHARS_MAX)))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN_MAX {
        out.push_str(&format!(" and {} more", names.len() - SHOWN_MAX));
    }
    out
}

/// Counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().take(2 * CHARS_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, ca) in a.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, cb) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replace = at(&above, column).saturating_add(usize::from(ca != cb));
            let delete = at(&above, column + 1).saturating_add(1);
            let insert = at(&line, column).saturating_add(1);
            let mut edits = replace.min(delete).min(insert);
            let swapped = row > 0 && column > 0 && a.get(row - 1) == Some(cb) && b.get(column - 1) == Some(ca);
            if swapped {
                edits = edits.min(at(&before, column - 1).saturating_add(1));
            }
            line.push(edits);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_nearest_known_name() {
        let known = ["routes", "window_size", "openai", "gpt-4o", "EMAIL_ADDRESS"];
        for (written, want) in [
            ("route", Some("routes")),
            ("window_sise", Some("window_size")),
            ("opnai", Some("openai")),
            ("gtp-4o", Some("gpt-4o")),
            ("EMAIL", Some("EMAIL_ADDRESS")),
            ("Routes", Some("routes")),
            ("zz", None),
            ("", None),
            ("guardrails", None),
        ] {
            let want = want.map(|name| format!("did you mean `{name}`?"));
            assert_eq!(did_you_mean(written, known), want, "{written}");
        }
    }

    #[test]
    fn distance_counts_a_swap_as_one_edit() {
        for (a, b, want) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edit_distance(a, b), want, "{a} {b}");
        }
    }
}
