//! Reads documents and settings files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use millrace::config::{Checked, Code, Position, Problem, Server, check_server};
use millrace::snapshot::Refusal;

/// Most bytes read: one more than a document may have, so that its check can say that it is too large.
const BYTES_MAX: u64 = (1 << 20) + 1;

/// Settings, and what their author should still know.
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) warnings: Vec<Refusal>,
}

/// Reads a document, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    let done = if path == Path::new("-") {
        io::stdin().lock().take(BYTES_MAX).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text))
    };
    match done {
        Ok(_) => Ok(text),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            let problem = Problem::error("", Position::START, Code::Unreadable, message);
            Err(Refusal { file: path.display().to_string(), problem })
        }
    }
}

/// Checks server settings with the variables of this process. Their paths become relative to the folder of the file.
pub(crate) fn settings(text: &[u8], path: &Path) -> Result<Settings, Vec<Refusal>> {
    let file = path.display().to_string();
    let checked = check_server(text, &|name| std::env::var(name).ok());
    let Checked { config: mut server, warnings } = checked.map_err(|found| in_file(&file, found))?;
    server.resolve_paths(path.parent().unwrap_or(Path::new("")));
    Ok(Settings { server, warnings: in_file(&file, warnings) })
}

/// Puts the file beside its problems.
pub(crate) fn in_file(file: &str, problems: Vec<Problem>) -> Vec<Refusal> {
    problems.into_iter().map(|problem| Refusal { file: file.to_owned(), problem }).collect()
}
