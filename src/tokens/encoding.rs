//! Which models are counted with which table.

/// A published table of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `cl100k_base`: GPT-3.5, GPT-4, embeddings.
    Cl100k,
    /// `o200k_base`: GPT-4o and later, and the o-series.
    O200k,
}

/// Families by the beginning of their names; what follows is the end, `-` or `.`. The first that fits counts.
const FAMILIES: [(&str, Encoding); 15] = [
    ("gpt-4o", Encoding::O200k),
    ("chatgpt-4o", Encoding::O200k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4.5", Encoding::O200k),
    ("gpt-5", Encoding::O200k),
    ("o1", Encoding::O200k),
    ("o3", Encoding::O200k),
    ("o4", Encoding::O200k),
    ("gpt-4-turbo", Encoding::Cl100k),
    ("gpt-4-32k", Encoding::Cl100k),
    ("gpt-4", Encoding::Cl100k),
    ("gpt-3.5", Encoding::Cl100k),
    ("text-embedding-3-small", Encoding::Cl100k),
    ("text-embedding-3-large", Encoding::Cl100k),
    ("text-embedding-ada-002", Encoding::Cl100k),
];

/// Kinds of these models that read more than their request: searches, sound, pictures.
const OTHERS: [&str; 6] = ["search", "research", "audio", "realtime", "image", "transcribe"];

impl Encoding {
    /// The table of a model of OpenAI by its name there, fine-tuned ones (`ft:`) included. None for all others: their tables are
    /// not public, or what they read is not in the request alone.
    #[must_use]
    pub fn of_openai_model(name: &str) -> Option<Self> {
        let name = name.strip_prefix("ft:").unwrap_or(name);
        if OTHERS.iter().any(|other| name.contains(other)) {
            return None;
        }
        let fits = |family: &str| {
            let rest = name.strip_prefix(family)?;
            (rest.is_empty() || rest.starts_with(['-', '.', ':'])).then_some(())
        };
        FAMILIES.iter().find(|(family, _)| fits(family).is_some()).map(|(_, encoding)| *encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_their_family() {
        for (name, want) in [
            ("gpt-4o", Some(Encoding::O200k)),
            ("gpt-4o-mini-2024-07-18", Some(Encoding::O200k)),
            ("ft:gpt-4o-mini:acme::x", Some(Encoding::O200k)),
            ("gpt-4.1-nano", Some(Encoding::O200k)),
            ("gpt-5.4-mini", Some(Encoding::O200k)),
            ("o3", Some(Encoding::O200k)),
            ("o4-mini", Some(Encoding::O200k)),
            ("gpt-4", Some(Encoding::Cl100k)),
            ("gpt-4-0613", Some(Encoding::Cl100k)),
            ("gpt-3.5-turbo", Some(Encoding::Cl100k)),
            ("text-embedding-3-small", Some(Encoding::Cl100k)),
            ("gpt-4ox", None),
            ("o30", None),
            ("gpt-4o-search-preview", None),
            ("gpt-4o-audio-preview", None),
            ("o3-deep-research", None),
            ("openai/gpt-4o", None),
            ("claude-sonnet-4", None),
            ("", None),
        ] {
            assert_eq!(Encoding::of_openai_model(name), want, "{name}");
        }
    }
}
