//! What is wrong with a document, and where exactly.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

/// A place in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The first character of a document.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A value with its place, for what later stages can still refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value itself.
    pub value: T,
    /// Where the value begins.
    pub at: Position,
    /// Its path, such as `routes.chat.chat_models[0]`.
    pub path: Box<str>,
}

impl<T> At<T> {
    /// Makes the error that refuses this value.
    #[must_use]
    pub fn refuse(&self, code: Code, message: impl Into<String>) -> Problem {
        Problem::error(self.path.as_ref(), self.at, code, message)
    }

    /// Makes a warning about this value.
    #[must_use]
    pub fn warn(&self, code: Code, message: impl Into<String>) -> Problem {
        Problem::warning(self.path.as_ref(), self.at, code, message)
    }
}

/// Whether a problem stops the document from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but probably says something other than its author meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kind of a problem: a closed set that programs may rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The text is not YAML.
    YamlSyntax = "yaml_syntax",
    /// YAML that is not accepted: anchors, aliases, merge keys, foreign tags, a second document.
    YamlForbidden = "yaml_forbidden",
    /// Beyond a limit of the document: bytes, depth, nodes, routes.
    TooLarge = "too_large",
    /// A key nobody knows at this place.
    UnknownKey = "unknown_key",
    /// A key or value that is known but has no effect in this version, or never will.
    Unsupported = "unsupported",
    /// A key that must be written is absent.
    MissingKey = "missing_key",
    /// A list where a map is wanted, a number where a text is wanted, and so on.
    WrongType = "wrong_type",
    /// The right type, but not one of the accepted values or forms.
    BadValue = "bad_value",
    /// A number, duration, size or length outside its bounds.
    OutOfRange = "out_of_range",
    /// The second use of something that may be used once.
    Duplicate = "duplicate",
    /// Two settings that exclude each other.
    Conflict = "conflict",
    /// A name that points to nothing.
    UnknownReference = "unknown_reference",
    /// Secret text written into the document.
    LiteralSecret = "literal_secret",
    /// `!secret NAME` with a name that does not exist.
    UnknownSecret = "unknown_secret",
    /// A secret bound to another scheme, host or port.
    SecretHostMismatch = "secret_host_mismatch",
    /// An address that the egress guard refuses.
    EgressDenied = "egress_denied",
    /// A target that needs a credential and has none.
    NoCredential = "no_credential",
    /// `${NAME}` of a variable that is not set.
    MissingVariable = "missing_variable",
    /// A file that the document names cannot be read.
    Unreadable = "unreadable",
    /// A file that more users can open than its content allows.
    LooseMode = "loose_mode",
    /// A target without a price: an error where money is limited, else a warning.
    UnpricedModel = "unpriced_model",
    /// Warning: a key that cannot have an effect here.
    NoEffect = "no_effect",
    /// Warning: a key that acts as another one.
    ActsAs = "acts_as",
    /// Warning: an accepted value that is probably a mistake.
    Suspicious = "suspicious",
}

/// One problem of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key or value; empty for the document as a whole.
    pub path: String,
    /// Where it stands.
    pub at: Position,
    /// What kind of problem it is.
    pub code: Code,
    /// What is wrong, in lower case, without a full stop. Never contains a secret.
    pub message: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
    /// Whether it stops the document from being used.
    pub severity: Severity,
}

impl Problem {
    /// Makes an error without a hint.
    #[must_use]
    pub fn error(path: impl Into<String>, at: Position, code: Code, message: impl Into<String>) -> Self {
        Self { path: path.into(), at, code, message: message.into(), hint: None, severity: Severity::Error }
    }

    /// Makes a warning without a hint.
    #[must_use]
    pub fn warning(path: impl Into<String>, at: Position, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, at, code, message) }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint if there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Writes the problem as one line: `file:line:column: path: message (hint)`.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        let mut line = format!("{file}:{}:{}: ", self.at.line, self.at.column);
        if self.severity == Severity::Warning {
            line.push_str("warning: ");
        }
        // Writing to a `String` cannot fail.
        let _ = write!(line, "{self}");
        line
    }

    /// Writes the problem as a JSON object with every field.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "path": self.path,
            "line": self.at.line,
            "column": self.at.column,
            "code": self.code.as_str(),
            "message": self.message,
            "hint": self.hint,
            "severity": self.severity.as_str(),
        })
    }
}

/// Writes path, message and hint, without the position.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(formatter, "{}: ", shown(&self.path, 256))?;
        }
        formatter.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A document that can be used, with what its author should still know.
#[derive(Debug, Clone)]
pub struct Checked<T> {
    /// The checked config.
    pub config: T,
    /// Warnings only, sorted by position.
    pub warnings: Vec<Problem>,
}

/// Most problems of one report, so that a hostile document cannot make the report larger than itself.
const PROBLEMS_MAX: usize = 1_000;

/// Most searches for a hint among names of the author, which may be thousands.
const SEARCHES_MAX: usize = 50;

/// Collects problems while a document is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    refused: bool,
    dropped: usize,
    searches: usize,
}

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.refused |= problem.severity == Severity::Error;
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(problem);
        } else {
            self.dropped += 1;
        }
    }

    /// Looks for a hint among names of the author, unless that was done too often already.
    pub(super) fn search(&mut self, look: impl FnOnce() -> Option<String>) -> Option<String> {
        self.searches += 1;
        if self.searches > SEARCHES_MAX {
            return None;
        }
        look()
    }

    pub(super) fn extend(&mut self, problem: Option<Problem>) {
        if let Some(problem) = problem {
            self.push(problem);
        }
    }

    /// Ends the reading: the config if there is no error, else every problem.
    pub(super) fn finish<T>(mut self, config: Option<T>) -> Result<Checked<T>, Vec<Problem>> {
        self.found.sort_by(|a, b| a.at.cmp(&b.at).then(a.severity.cmp(&b.severity)));
        if self.dropped > 0 {
            let at = self.found.last().map_or(Position::START, |last| last.at);
            let message = format!("{} more problems are not shown", self.dropped);
            self.found.push(Problem::error("", at, Code::TooLarge, message));
        }
        match config {
            Some(config) if !self.refused && self.dropped == 0 => Ok(Checked { config, warnings: self.found }),
            _ => Err(self.found),
        }
    }
}

/// Prepares a text of the author for a message: at most `chars_max` characters, no control characters.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    let mut out: String =
        text.chars().take(chars_max).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(chars_max).is_some() {
        out.push_str("...");
    }
    out
}
