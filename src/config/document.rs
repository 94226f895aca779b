//! Tells the three kinds of document apart by their keys.

use super::hint::did_you_mean;
use super::problem::Problems;
use super::project_tables::PROJECT;
use super::server_tables::{KEYS, SERVER};
use super::table::Table;
use super::yaml::{self, Content};

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// Models and routes of one project.
    Project,
    /// Settings of one process.
    Server,
    /// API keys of one process.
    Keys,
}

/// Recognises a document by its top-level keys, mistyped ones included. `None` when no kind fits better than the others.
///
/// A text that is no YAML counts as a project: what is wrong with it is the same for every kind.
#[must_use]
pub fn recognise(text: &[u8]) -> Option<DocumentKind> {
    let Some(root) = yaml::read(text, &mut Problems::default()) else {
        return Some(DocumentKind::Project);
    };
    let Content::Map(entries) = root.content else {
        return None;
    };
    let score = |table: &'static Table| -> usize {
        let points = |key: &str| {
            if table.field(key).is_some() {
                return 10;
            }
            usize::from(did_you_mean(key, table.names()).is_some())
        };
        // The first keys tell enough, and bound the work.
        entries.iter().take(32).map(|entry| points(&entry.key)).sum()
    };
    let scores = [
        (score(&PROJECT), DocumentKind::Project),
        (score(&SERVER), DocumentKind::Server),
        (score(&KEYS), DocumentKind::Keys),
    ];
    let best = scores.iter().map(|(points, _)| *points).max().filter(|points| *points > 0)?;
    let mut fitting = scores.iter().filter(|(points, _)| *points == best);
    let (_, kind) = fitting.next()?;
    fitting.next().is_none().then_some(*kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_recognised_by_their_keys() {
        use DocumentKind::{Keys, Project, Server};
        for (text, want) in [
            ("routes: {}", Some(Project)),
            ("chat_modles: []", Some(Project)),
            ("listen: 0.0.0.0:9000\nroutes: {}\negress: {}", Some(Server)),
            ("keys: []", Some(Keys)),
            ("key: []", None),
            ("a: [", Some(Project)),
            ("xyzzy: 1", None),
            ("", None),
            ("[]", None),
        ] {
            assert_eq!(recognise(text.as_bytes()), want, "{text}");
        }
    }
}
