//! YAML events to a tree in which every node has its place.
//!
//! The only file that names the YAML parser. It holds the rules every document shares: UTF-8 without a byte order mark,
//! at most 1 MiB, 32 levels and 50,000 nodes, one document, no anchors, aliases, merge keys or tags except `!secret`,
//! no key twice. Limits are checked while events arrive, so that a bomb costs no more than the limit.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::problem::{Code, Position, Problem, Problems, shown};

/// Most bytes of one document.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Most levels of lists and maps in each other.
pub(super) const DEPTH_MAX: usize = 32;
/// Most nodes of one document, keys included.
pub(super) const NODES_MAX: usize = 50_000;

/// Most bytes of one key: paths are made of keys, and every node below has one.
pub(super) const KEY_BYTES_MAX: usize = 256;

/// One node and the place where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something forbidden stood here; it is reported already and no reader says more about it.
    Refused,
}

/// One key of a map with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) value: Node,
}

/// A text as written, before anybody decides whether it is a number.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) form: Form,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In quotes or as a block: always text.
    Quoted,
    /// `!secret NAME`.
    Secret,
    /// Held `${NAME}`, and holds its value now: text, or what the text looks like.
    Expanded,
}

impl Scalar {
    /// Whether the scalar means "absent".
    pub(super) fn is_null(&self) -> bool {
        self.form == Form::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// Whether the node means "absent".
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    fn null(at: Position) -> Self {
        let text = String::new();
        Self { at, content: Content::Scalar(Scalar { text, form: Form::Plain }) }
    }
}

/// Appends a key to a path.
pub(super) fn join_key(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Appends the place in a list to a path.
pub(super) fn join_index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Reads one document. `None` when there is no tree to go on with; the reason is among the problems.
pub(super) fn read(text: &[u8], problems: &mut Problems) -> Option<Node> {
    let text = match admit(text) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut builder = Builder { parser: Parser::new_from_str(text), problems, nodes: 0 };
    builder.document().ok()
}

/// Checks what can be said without parsing.
fn admit(text: &[u8]) -> Result<&str, Problem> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the document has {} bytes, at most 1 MiB is accepted", text.len());
        return Err(Problem::error("", Position::START, Code::TooLarge, message));
    }
    let valid = match std::str::from_utf8(text) {
        Ok(valid) => valid,
        Err(error) => {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            let at = end_of(std::str::from_utf8(before).unwrap_or_default());
            return Err(Problem::error("", at, Code::YamlSyntax, "the text is not UTF-8"));
        }
    };
    if valid.starts_with('\u{feff}') {
        let message = "a byte order mark is not accepted";
        return Err(Problem::error("", Position::START, Code::YamlForbidden, message)
            .hint("save the file as UTF-8 without BOM"));
    }
    // The parser takes NUL for the end of the text: what follows it would be ignored silently.
    match valid.char_indices().find(|(_, c)| !is_printable(*c)) {
        None => Ok(valid),
        Some((index, c)) => {
            let at = end_of(valid.get(..index).unwrap_or_default());
            let message = format!("character U+{:04X} is not accepted", u32::from(c));
            Err(Problem::error("", at, Code::YamlSyntax, message))
        }
    }
}

/// YAML 1.2.2, section 5.1, without the byte order mark.
fn is_printable(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
}

/// The position right after a text.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    position(line, last.chars().count())
}

fn position(line: usize, column_from_0: usize) -> Position {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: narrow(line), column: narrow(column_from_0).saturating_add(1) }
}

fn place(marker: Marker) -> Position {
    position(marker.line().max(1), marker.col())
}

/// Parsing cannot go on; the reason is reported.
struct Stop;

struct Builder<'t, 'p> {
    parser: Parser<'t, StrInput<'t>>,
    problems: &'p mut Problems,
    nodes: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        self.event("")?;
        let (event, at) = self.event("")?;
        if event == Event::StreamEnd {
            return Ok(Node::null(Position::START));
        }
        debug_assert!(matches!(event, Event::DocumentStart(_)), "{event:?} {at:?}");
        let (event, at) = self.event("")?;
        let root = self.node(event, at, "", 0)?;
        self.event("")?;
        let (event, at) = self.event("")?;
        if event != Event::StreamEnd {
            self.forbid("", at, "a second document is not accepted");
        }
        Ok(root)
    }

    fn event(&mut self, path: &str) -> Result<(Event<'t>, Position), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(span.start))),
            Some(Err(error)) => {
                self.problems.push(explain(&error, path));
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn node(&mut self, event: Event<'t>, at: Position, path: &str, depth: usize) -> Result<Node, Stop> {
        self.count(at)?;
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let secret = anchor == 0 && tag.as_deref().is_some_and(is_secret);
                if secret || self.admits(anchor, tag.as_deref(), at, path) {
                    Content::Scalar(Scalar { text: text.into_owned(), form: form_of(style, secret) })
                } else {
                    Content::Refused
                }
            }
            Event::SequenceStart(anchor, tag) => {
                let fine = self.admits(anchor, tag.as_deref(), at, path);
                let list = self.list(path, at, depth + 1)?;
                if fine { list } else { Content::Refused }
            }
            Event::MappingStart(anchor, tag) => {
                let fine = self.admits(anchor, tag.as_deref(), at, path);
                let map = self.map(path, at, depth + 1)?;
                if fine { map } else { Content::Refused }
            }
            _ => {
                self.forbid(path, at, "anchors and aliases are not accepted; write the value again");
                Content::Refused
            }
        };
        Ok(Node { at, content })
    }

    fn list(&mut self, path: &str, at: Position, depth: usize) -> Result<Content, Stop> {
        self.descend(at, depth)?;
        let mut nodes = Vec::new();
        loop {
            let (event, at) = self.event(path)?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(nodes));
            }
            let path = join_index(path, nodes.len());
            nodes.push(self.node(event, at, &path, depth)?);
        }
    }

    fn map(&mut self, path: &str, at: Position, depth: usize) -> Result<Content, Stop> {
        self.descend(at, depth)?;
        let mut entries = Vec::new();
        let mut first_uses: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, key_at) = self.event(path)?;
            if event == Event::MappingEnd {
                return Ok(Content::Map(entries));
            }
            let key = self.key(event, key_at, path, depth)?;
            let value_path = join_key(path, key.as_deref().unwrap_or("?"));
            let (event, at) = self.event(&value_path)?;
            let value = self.node(event, at, &value_path, depth)?;
            let Some(key) = key else { continue };
            if let Some(line) = first_uses.get(&key) {
                let message = format!("`{}` is written twice", shown(&key, 64));
                let problem = Problem::error(value_path, key_at, Code::Duplicate, message);
                self.problems.push(problem.hint(format!("first use in line {line}")));
                continue;
            }
            first_uses.insert(key.clone(), key_at.line);
            entries.push(Entry { key, key_at, value });
        }
    }

    /// Reads a key. `None` when it is refused: its value is then read and forgotten.
    fn key(&mut self, event: Event<'t>, at: Position, path: &str, depth: usize) -> Result<Option<String>, Stop> {
        if let Event::Scalar(text, style, 0, None) = event {
            self.count(at)?;
            if text.len() > KEY_BYTES_MAX {
                let message = "a key has more than 256 bytes";
                self.problems.push(Problem::error(path, at, Code::TooLarge, message));
                return Err(Stop);
            }
            if text == "<<" && style == ScalarStyle::Plain {
                let path = join_key(path, "<<");
                self.forbid(&path, at, "merge keys are not accepted");
                return Ok(None);
            }
            return Ok(Some(text.into_owned()));
        }
        let plain = matches!(event, Event::SequenceStart(0, None) | Event::MappingStart(0, None));
        if plain || matches!(event, Event::Scalar(_, _, 0, Some(_))) {
            self.forbid(path, at, "a key is plain text");
        }
        // Anchors and aliases are reported where the node is read.
        self.node(event, at, path, depth)?;
        Ok(None)
    }

    /// Reports an anchor or a tag where none is accepted. `true` when there is neither.
    fn admits(&mut self, anchor: usize, tag: Option<&Tag>, at: Position, path: &str) -> bool {
        if anchor != 0 {
            self.forbid(path, at, "anchors and aliases are not accepted; write the value again");
        }
        if let Some(tag) = tag {
            let written = if tag.is_yaml_core_schema() {
                format!("!!{}", tag.suffix)
            } else {
                format!("{}{}", tag.handle, tag.suffix)
            };
            let message = format!(
                "the tag `{}` is not accepted here; only `!secret NAME` is, for one value",
                shown(&written, 64)
            );
            self.forbid(path, at, message);
        }
        anchor == 0 && tag.is_none()
    }

    fn count(&mut self, at: Position) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let message = "the document has more than 50,000 nodes";
        self.problems.push(Problem::error("", at, Code::TooLarge, message));
        Err(Stop)
    }

    fn descend(&mut self, at: Position, depth: usize) -> Result<(), Stop> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        let message = "lists and maps are nested more than 32 levels deep";
        self.problems.push(Problem::error("", at, Code::TooLarge, message));
        Err(Stop)
    }

    fn forbid(&mut self, path: &str, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::error(path, at, Code::YamlForbidden, message));
    }
}

fn form_of(style: ScalarStyle, secret: bool) -> Form {
    match style {
        _ if secret => Form::Secret,
        ScalarStyle::Plain => Form::Plain,
        _ => Form::Quoted,
    }
}

fn is_secret(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == "secret"
}

/// Turns the parser's reason into a problem. Its texts are fixed sentences and never quote the document.
fn explain(error: &ScanError, path: &str) -> Problem {
    let at = place(*error.marker());
    let reason = error.info();
    // An alias without its anchor and a tag with an undeclared handle are forbidden, whatever else is wrong with them.
    if reason.contains("unknown anchor") {
        let message = "anchors and aliases are not accepted; write the value again";
        return Problem::error(path, at, Code::YamlForbidden, message);
    }
    if reason.contains("handle wasn't declared") {
        let message = "only the tag `!secret NAME` is accepted";
        return Problem::error(path, at, Code::YamlForbidden, message);
    }
    if reason.contains("recursion limit") {
        let message = "lists and maps are nested more than 32 levels deep";
        return Problem::error(path, at, Code::TooLarge, message);
    }
    Problem::error(path, at, Code::YamlSyntax, format!("not valid YAML: {reason}"))
}
