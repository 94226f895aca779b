//! Secrets that are typed or piped in, never arguments.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use millrace::base::Secret;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Longest secret that is read.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads a secret from a file, from standard input, or from the terminal without showing it.
pub(super) fn secret(file: Option<&Path>, what: &str) -> anyhow::Result<Secret> {
    let text = match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            whole(file).with_context(|| format!("cannot read {}", path.display()))?
        }
        _ if io::stdin().is_terminal() => typed(what)?,
        _ => whole(io::stdin().lock()).context("cannot read standard input")?,
    };
    // One line end belongs to the file or the key, not to the secret.
    let bare = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if bare.is_empty() {
        bail!("the {what} is empty");
    }
    Ok(Secret::new(bare.to_owned()))
}

/// Reads several secrets: each asked for on a terminal, else one a line of standard input.
pub(super) fn secrets<const N: usize>(names: [&str; N]) -> anyhow::Result<[Secret; N]> {
    let typed_in = io::stdin().is_terminal();
    let piped =
        if typed_in { String::new() } else { whole(io::stdin().lock()).context("cannot read standard input")? };
    let mut lines = piped.lines();
    let mut failed = None;
    let read = names.map(|what| {
        let text = if typed_in { typed(what) } else { Ok(lines.next().unwrap_or_default().to_owned()) };
        let text = text.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            String::new()
        });
        Secret::new(text.trim_end_matches(['\n', '\r']).to_owned())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    match names.iter().zip(&read).find(|(_, secret)| secret.reveal().is_empty()) {
        Some((what, _)) if typed_in => bail!("the {what} is empty"),
        Some((what, _)) => bail!("the {what} is missing on standard input; give {} line(s): {}", N, names.join(", ")),
        None => Ok(read),
    }
}

/// A new password, typed twice where it is typed and cannot be seen.
pub(super) fn again(password: &Secret) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let second = typed("the new password again")?;
    if second.trim_end_matches(['\n', '\r']) != password.reveal() {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(())
}

/// Asks a person at the terminal; none when there is no terminal.
pub(super) fn agreed(what: &str) -> anyhow::Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut stderr = io::stderr();
    write!(stderr, "{what}? [y/N] ").and_then(|()| stderr.flush()).context("cannot ask")?;
    let mut line = String::new();
    io::stdin().lock().take(BYTES_MAX).read_line(&mut line).context("cannot read the terminal")?;
    Ok(Some(matches!(line.trim(), "y" | "Y" | "yes")))
}

fn whole(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Echo is off until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> nix::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

fn typed(what: &str) -> anyhow::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{what}: ").and_then(|()| stderr.flush()).context("cannot ask")?;
    let hidden = Hidden::begin().context("cannot hide what is typed")?;
    let mut line = String::new();
    let read = io::stdin().lock().take(BYTES_MAX).read_line(&mut line);
    drop(hidden);
    read.context("cannot read the terminal")?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        for (text, want) in [
            ("sk-1", Some("sk-1")),
            ("sk-1\n", Some("sk-1")),
            ("sk-1\r\n", Some("sk-1")),
            (" sk-1 \n\n", Some(" sk-1 \n")),
            ("\n", None),
            ("", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let got = secret(Some(&path), "value").ok();
            assert_eq!(got.as_ref().map(|secret| secret.reveal()), want, "{text:?}");
        }
    }
}
