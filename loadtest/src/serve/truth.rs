//! The truth log: what the provider really received and sent.
//!
//! One JSON object a line for each request, written when its answer has ended. Tests compare it with what
//! clients saw and with what the gateway booked. The key headers stay readable: the mock sees test keys only.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::Serialize;
use sha2::Digest;

/// Most bytes kept when the log lives in memory; what follows is counted, not kept.
const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest request body that is logged itself and not only by its digest.
pub(crate) const BODY_BYTES_LOGGED: usize = 4 * 1024;

/// One line of the log.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// Number of the connection since the start, from 1, and of the request on it.
    pub(crate) connection: u64,
    pub(crate) request: u64,
    pub(crate) worker: usize,
    pub(crate) peer: &'a str,
    /// The first header `x-request-id`, else `x-millrace-request-id`.
    pub(crate) request_id: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body_bytes: usize,
    pub(crate) body_sha256: String,
    /// The body itself, if it is text of at most 4 KiB.
    pub(crate) body: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) stream: bool,
    /// Microseconds since 1970 when the request was complete.
    pub(crate) received_us: u64,
    pub(crate) status: u16,
    /// Whole events written; the end mark counts as one.
    pub(crate) events: u64,
    pub(crate) bytes_out: u64,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    /// `complete`, `client_closed`, `client_reset`, `reset_sent`, `fin_sent`, `closed` or `refused`.
    pub(crate) end: &'a str,
    /// Why a request was refused.
    pub(crate) reason: Option<&'a str>,
    /// Microseconds from `received_us` to the end, and to the moment the client was seen to leave.
    pub(crate) end_us: u64,
    pub(crate) client_gone_us: Option<u64>,
}

/// The log of one process.
pub(crate) struct Truth {
    log: Mutex<Log>,
}

struct Log {
    file: Option<File>,
    /// Lines that are not in the file yet, or all lines when there is no file.
    lines: Vec<u8>,
    dropped: u64,
}

impl Truth {
    /// Opens a log in a new file, or in memory when `path` is the word `memory`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = if path.as_os_str() == "memory" {
            None
        } else {
            let options = File::options().create(true).truncate(true).read(true).write(true).open(path);
            Some(options.with_context(|| format!("cannot write truth log {}", path.display()))?)
        };
        Ok(Self { log: Mutex::new(Log { file, lines: Vec::new(), dropped: 0 }) })
    }

    /// Adds one line.
    pub(crate) fn add(&self, line: &Line<'_>) {
        let mut log = self.lock();
        if log.lines.len() > MEMORY_BYTES_MAX {
            log.dropped += 1;
            return;
        }
        if serde_json::to_writer(&mut log.lines, line).is_ok() {
            log.lines.push(b'\n');
        }
    }

    /// Writes what is buffered to the file.
    pub(crate) fn flush(&self) -> std::io::Result<()> {
        let mut log = self.lock();
        let Log { file: Some(file), lines, .. } = &mut *log else {
            return Ok(());
        };
        file.write_all(lines)?;
        lines.clear();
        Ok(())
    }

    /// All lines so far, and how many were dropped since the memory was full.
    pub(crate) fn read(&self) -> std::io::Result<(Vec<u8>, u64)> {
        self.flush()?;
        let mut log = self.lock();
        let dropped = log.dropped;
        let Some(file) = &mut log.file else {
            return Ok((log.lines.clone(), dropped));
        };
        let mut lines = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut lines)?;
        Ok((lines, dropped))
    }

    /// Forgets all lines, in the file too.
    pub(crate) fn clear(&self) -> std::io::Result<()> {
        let mut log = self.lock();
        log.lines.clear();
        log.dropped = 0;
        if let Some(file) = &mut log.file {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of `bytes` in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_all_lines_once_and_forgets_them() {
        let path = std::env::temp_dir().join(format!("truth-{}.ndjson", std::process::id()));
        let truth = Truth::open(&path).unwrap();
        let add = |text: &str| {
            let mut log = truth.lock();
            log.lines.extend_from_slice(text.as_bytes());
        };
        add("1\n");
        truth.flush().unwrap();
        add("2\n");
        // Reading moves the file's cursor, so the next line shows whether it is still appended.
        assert_eq!(truth.read().unwrap(), (b"1\n2\n".to_vec(), 0));
        add("3\n");
        assert_eq!(truth.read().unwrap(), (b"1\n2\n3\n".to_vec(), 0));
        truth.clear().unwrap();
        add("4\n");
        truth.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"4\n");
        std::fs::remove_file(&path).unwrap();
    }
}
