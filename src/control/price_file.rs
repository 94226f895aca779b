//! The operator's own price table, as a file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    config::{Code, Position, Problem, Server},
    snapshot::Refusal,
    usage::{Catalogue, PriceSource, PriceTable, PriceTableError},
};

/// Largest table that is read: fifty times the one that is built in.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where the table is, if there is one.
#[derive(Debug, Clone)]
pub struct PriceFile(Option<PathBuf>);

impl PriceFile {
    /// Takes the place of the file from the settings.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self(server.prices_file.as_ref().map(|path| path.value.clone()))
    }

    /// The file, if the settings name one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// The built-in prices, below those of the file.
    ///
    /// # Errors
    /// The file cannot be read, or every problem in it.
    pub fn load(&self) -> Result<Catalogue, Vec<Refusal>> {
        let table = self.0.as_deref().map(read_price_table).transpose()?;
        Ok(Catalogue::new(table.map(Into::into)))
    }
}

/// Reads and checks a price table.
///
/// # Errors
/// The file cannot be read, or every problem in it.
pub fn read_price_table(path: &Path) -> Result<PriceTable, Vec<Refusal>> {
    let refused = |problem| Refusal { file: path.display().to_string(), problem };
    let text = read(path).map_err(|error| {
        let message = format!("cannot be read: {error}");
        vec![refused(Problem::error("", Position::START, Code::Unreadable, message))]
    })?;
    let refuse = |error: PriceTableError| {
        let line = u32::try_from(error.line).unwrap_or(u32::MAX);
        refused(Problem::error("", Position { line, column: 1 }, Code::BadValue, error.message))
    };
    let table = PriceTable::new(text, PriceSource::File).map_err(|error| vec![refuse(error)])?;
    match table.check() {
        Ok(_) => Ok(table),
        Err(errors) => Err(errors.into_iter().map(refuse).collect()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("a price table has at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::check_server;

    use super::*;

    fn load(text: Option<&str>) -> Result<Catalogue, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.txt");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let mut server = check_server(b"prices_file: prices.txt", &|_| None).unwrap().config;
        server.resolve_paths(folder.path());
        let shown = |refusal: Refusal| format!("{}: {}", refusal.problem.at.line, refusal.problem.code.as_str());
        PriceFile::new(&server).load().map_err(|refusals| refusals.into_iter().map(shown).collect())
    }

    #[test]
    fn file_is_taken_whole_or_refused_with_its_lines() {
        const HEAD: &str = "#millrace-prices 1 source=a date=2026-11-01 unit=usd_per_million_tokens\n@own\n";
        assert!(load(Some(&format!("{HEAD}x in=1 out=2\n"))).unwrap().find("own", "x").is_some());
        for (text, want) in [
            (None, vec!["1: unreadable"]),
            (Some("prices".to_owned()), vec!["1: bad_value"]),
            (Some(format!("{HEAD}x in=1\ny in=1 out=2\nz out=1\n")), vec!["3: bad_value", "5: bad_value"]),
        ] {
            assert_eq!(load(text.as_deref()).err().unwrap(), want, "{text:?}");
        }
    }
}
