//! Names with wildcards: `*` is any text, `#` one digit.
//!
//! Small and capital letters are the same: providers do not tell them apart in names of models, nor do hosts.

/// Whether a name fits a pattern. Takes at most the product of both lengths.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how much of the name it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(wanted) if is_one(*wanted, *byte) => {
                p += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, swallowed)) = star else {
            return false;
        };
        star = Some((at, swallowed + 1));
        p = at + 1;
        n = swallowed + 1;
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

fn is_one(wanted: u8, byte: u8) -> bool {
    if wanted == b'#' { byte.is_ascii_digit() } else { wanted.eq_ignore_ascii_case(&byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_by_their_wildcards() {
        for (pattern, name, want) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "GPT-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("gpt-4o*", "gpt-4o", true),
            ("*mini", "gpt-4o-mini", true),
            ("*mini", "gpt-4o-mini-x", false),
            ("*claude*", "eu.anthropic.claude-x", true),
            ("*claude*", "eu.anthropic.clyde", false),
            ("m-####-##-##", "m-2026-01-31", true),
            ("m-####-##-##", "m-2026-01-3x", false),
            ("m-####", "m-202", false),
            ("bedrock.*.aws.com", "bedrock.eu-west-1.aws.com", true),
            ("bedrock.*.aws.com", "bedrock.aws.com", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!fits(&"*a".repeat(60), &format!("{}b", "a".repeat(4_000))));
    }
}
