//! Settings of projects: rules, defaults, what holds.

use crate::{config::project_slug, store::Mode};

use super::error::{ControlError, FieldProblem};

/// Most characters of a name.
const NAME_CHARS_MAX: usize = 255;
/// Most characters of a description or a comment.
const TEXT_CHARS_MAX: usize = 2_000;
/// Most tags of a project.
const TAGS_MAX: usize = 20;
/// Most characters of a tag's value.
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Most characters of a slug.
const SLUG_CHARS_MAX: usize = 63;
/// Shortest and longest life of a cached answer: 10 seconds to a year.
const CACHE_SECONDS: std::ops::RangeInclusive<u32> = 10..=31_536_000;
/// Shortest and longest time that logs are kept: a day to ten years.
const RETENTION_DAYS: std::ops::RangeInclusive<u32> = 1..=3_650;

/// What a new project is made of; what is absent gets its default.
#[derive(Debug, Clone, Default)]
pub struct NewProject {
    /// 1 to 255 characters.
    pub name: String,
    /// The `project` part of `project/route`; made from the name when absent.
    pub slug: Option<String>,
    /// Up to 2,000 characters. Default empty.
    pub description: Option<String>,
    /// A label. Default `development`.
    pub environment: Option<String>,
    /// Up to 20 pairs.
    pub tags: Option<Vec<(String, String)>>,
    /// Default `hybrid`.
    pub mode: Option<Mode>,
    /// Default none: as the configuration says.
    pub caching_enabled: Option<bool>,
    /// 10 to 31,536,000 seconds. Default 60.
    pub cache_duration_seconds: Option<u32>,
}

/// What is to change; what is absent stays. The inner `None` of some goes back to the default.
#[derive(Debug, Clone, Default)]
pub struct ProjectPatch {
    /// 1 to 255 characters.
    pub name: Option<String>,
    /// Only before the first serve.
    pub slug: Option<String>,
    /// Up to 2,000 characters.
    pub description: Option<String>,
    /// A label.
    pub environment: Option<String>,
    /// All tags: they are replaced together.
    pub tags: Option<Vec<(String, String)>>,
    /// Where credentials come from.
    pub mode: Option<Mode>,
    /// Default of caching.
    pub caching_enabled: Option<Option<bool>>,
    /// 10 to 31,536,000 seconds.
    pub cache_duration_seconds: Option<u32>,
    /// Whether approval needs another person; owners and admins of the organization only.
    pub require_second_approver: Option<Option<bool>>,
    /// 1 to 3,650 days.
    pub retention_days: Option<Option<u32>>,
    /// Whether prompts and answers are kept.
    pub log_payloads: Option<Option<bool>>,
}

/// Where the effective value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// The served configuration decides, route by route.
    Configuration,
    /// The project's setting.
    Project,
    /// The organization's setting.
    Organization,
}

impl SettingSource {
    /// `configuration`, `project` or `organization`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Project => "project",
            Self::Organization => "organization",
        }
    }
}

/// A value that holds, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub from: SettingSource,
}

/// Collects what is wrong with the fields of one request.
#[derive(Default)]
pub(super) struct FieldCheck(Vec<FieldProblem>);

impl FieldCheck {
    /// Trims a name and checks it.
    pub(super) fn name(&mut self, path: &str, text: &str) -> String {
        let text = text.trim();
        let count = text.chars().count();
        if count == 0 || count > NAME_CHARS_MAX {
            self.refuse(path, format!("must have 1 to {NAME_CHARS_MAX} characters, not counting space around it"));
        } else if text.chars().any(char::is_control) {
            self.refuse(path, "must not hold control characters");
        }
        text.to_owned()
    }

    pub(super) fn text(&mut self, path: &str, text: &str) {
        if text.chars().count() > TEXT_CHARS_MAX {
            self.refuse(path, format!("must have at most {TEXT_CHARS_MAX} characters"));
        } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            self.refuse(path, "must not hold control characters");
        }
    }

    pub(super) fn slug(&mut self, slug: &str) {
        if let Err(message) = project_slug(slug) {
            self.refuse("slug", message);
        }
    }

    pub(super) fn environment(&mut self, text: &str) {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            self.refuse("environment", "must have 1 to 32 small letters, digits or `-`, such as `production`");
        }
    }

    /// Checks tags and sorts them by key.
    pub(super) fn tags(&mut self, mut tags: Vec<(String, String)>) -> Vec<(String, String)> {
        if tags.len() > TAGS_MAX {
            self.refuse("tags", format!("must be at most {TAGS_MAX} pairs"));
        }
        for (key, value) in tags.iter().take(TAGS_MAX) {
            let is_key = (1..=64).contains(&key.len())
                && key.starts_with(|c: char| c.is_ascii_alphanumeric())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
            let shown: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
            if !is_key {
                let message = "a key has 1 to 64 letters, digits or `_.:-`, and begins with a letter or digit";
                self.refuse(format!("tags.{shown}"), message);
            }
            if value.chars().count() > TAG_VALUE_CHARS_MAX || value.chars().any(char::is_control) {
                let message = format!("must have at most {TAG_VALUE_CHARS_MAX} characters, none of them control");
                self.refuse(format!("tags.{shown}"), message);
            }
        }
        tags.sort();
        tags
    }

    pub(super) fn cache_seconds(&mut self, seconds: u32) {
        if !CACHE_SECONDS.contains(&seconds) {
            self.refuse("cache_duration_seconds", "must be 10 to 31536000 seconds");
        }
    }

    pub(super) fn retention(&mut self, days: Option<u32>) {
        if days.is_some_and(|days| !RETENTION_DAYS.contains(&days)) {
            self.refuse("retention_days", "must be 1 to 3650 days");
        }
    }

    pub(super) fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldProblem::new(path, message));
    }

    pub(super) fn finish(self) -> Result<(), ControlError> {
        if self.0.is_empty() { Ok(()) } else { Err(ControlError::Invalid(self.0)) }
    }
}

/// Trims and checks a text of one line that people call something by: 1 to 255 characters.
///
/// # Errors
/// [`ControlError::Invalid`].
pub(super) fn checked_name(path: &str, text: &str) -> Result<String, ControlError> {
    let mut check = FieldCheck::default();
    let name = check.name(path, text);
    check.finish()?;
    Ok(name)
}

/// Checks a comment.
///
/// # Errors
/// [`ControlError::Invalid`] beyond 2,000 characters.
pub(super) fn check_comment(comment: &str) -> Result<(), ControlError> {
    let mut check = FieldCheck::default();
    check.text("comment", comment);
    check.finish()
}

/// Makes a slug of a name: a name that is one stays as it is, of any other each run of other characters becomes one `-`.
#[must_use]
pub(super) fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '-' && name_is_slug(name)) {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG_CHARS_MAX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "project".to_owned() } else { slug.to_owned() }
}

/// Whether a name is a slug as it stands; reserved words too, which then get a number.
fn name_is_slug(name: &str) -> bool {
    name.len() <= SLUG_CHARS_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The slug with a number behind it, within the length of a slug.
#[must_use]
pub(super) fn numbered(slug: &str, number: u32) -> String {
    let ending = format!("-{number}");
    let kept = slug.get(..SLUG_CHARS_MAX - ending.len()).unwrap_or(slug);
    format!("{}{ending}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_35_slug_is_the_name_or_comes_from_it() {
        let long = "x".repeat(80);
        for (name, want) in [
            ("my-project", "my-project"),
            ("a--b", "a--b"),
            ("Production API", "production-api"),
            ("  Mobile / App!! ", "mobile-app"),
            ("Ünïcode Größe", "n-code-gr-e"),
            ("日本", "project"),
            ("-lead", "lead"),
            ("trail-", "trail"),
            ("../etc", "etc"),
            ("' OR 1=1; --", "or-1-1"),
            (long.as_str(), &long[..63]),
        ] {
            let slug = slug_of(name);
            assert_eq!(slug, want, "{name}");
            assert!(project_slug(&slug).is_ok(), "{name}: {slug}");
        }
    }

    #[test]
    fn numbered_slug_stays_a_slug() {
        assert_eq!(numbered("chat", 2), "chat-2");
        let long = numbered(&"x".repeat(63), 12);
        assert_eq!((long.len(), project_slug(&long).is_ok()), (63, true));
        assert_eq!(numbered(&format!("{}-yy", "x".repeat(60)), 3), format!("{}-3", "x".repeat(60)));
    }

    #[test]
    fn s2_35_fields_outside_their_bounds_are_refused_all_at_once() {
        let refused = |fill: &dyn Fn(&mut FieldCheck)| {
            let mut check = FieldCheck::default();
            fill(&mut check);
            match check.finish() {
                Err(ControlError::Invalid(problems)) => problems.into_iter().map(|problem| problem.path).collect(),
                _ => Vec::new(),
            }
        };
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let (many, text) = (vec![("k".to_owned(), String::new()); 21], "x".repeat(2_001));
        type Row<'a> = (&'a str, &'a dyn Fn(&mut FieldCheck), &'a [&'a str]);
        let rows: [Row<'_>; 12] = [
            ("duration 9", &|c| c.cache_seconds(9), &["cache_duration_seconds"]),
            ("duration 10", &|c| c.cache_seconds(10), &[]),
            ("duration of a year", &|c| c.cache_seconds(31_536_000), &[]),
            ("duration above a year", &|c| c.cache_seconds(31_536_001), &["cache_duration_seconds"]),
            ("no name", &|c| drop(c.name("name", "  ")), &["name"]),
            ("line feed in a name", &|c| drop(c.name("name", "a\nb")), &["name"]),
            ("long description", &|c| c.text("description", &text), &["description"]),
            ("environment", &|c| c.environment("Prod"), &["environment"]),
            ("slug", &|c| c.slug("a/b"), &["slug"]),
            ("tags", &|c| drop(c.tags(many.clone())), &["tags"]),
            ("tag key", &|c| drop(c.tags(pair("a b", "x"))), &["tags.a b"]),
            (
                "several",
                &|c| {
                    c.retention(Some(0));
                    c.environment("");
                },
                &["retention_days", "environment"],
            ),
        ];
        for (name, fill, want) in rows {
            assert_eq!(refused(fill), want, "{name}");
        }
    }
}
