//! Keeps results: README, summary and raw figures.
//!
//! The folder is `DATE-MACHINE/`.
//!
//! Append only: an existing folder is never written to again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::contest::Outcome;

/// Folders of one day and machine.
const FOLDERS_MAX: u32 = 1_000;

/// What the results were made on and with.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Date, `2026-11-21`.
    pub(crate) date: String,
    /// Short name of the machine in folder names.
    pub(crate) machine: String,
    /// Processor and count of CPUs.
    pub(crate) processor: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Commit, with `-dirty` when files were changed.
    pub(crate) commit: String,
    /// Arguments of this program.
    pub(crate) command: String,
}

impl Origin {
    /// Asks the machine. `name` replaces the name made from the processor.
    pub(crate) fn of_this_machine(name: Option<&str>) -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']))
            .to_owned();
        let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            date: date_of_today(),
            machine: slug(name.unwrap_or(&format!("{model} {count}cpu"))),
            processor: format!("{model}, {count} CPUs"),
            kernel: kernel.trim().to_owned(),
            commit: commit(),
            command: command(std::env::args()),
        }
    }
}

/// Arguments as typed; the path of the program is nobody's business.
fn command(args: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = args.skip(1).collect();
    format!("loadtest {}", words.join(" "))
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .to_ascii_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.join("-")
}

fn date_of_today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date_of(seconds)
}

/// Date in UTC, by the proleptic Gregorian calendar.
fn date_of(unix_seconds: u64) -> String {
    // Days are counted from 0000-03-01, so that the leap day is the last of its year.
    let shifted = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Writes the three files; returns their folder.
///
/// # Errors
/// The folder cannot be made or written.
pub(crate) fn save(results: &Path, origin: &Origin, outcomes: &[Outcome], summary: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(results)?;
    let folder = new_folder(results, &format!("{}-{}", origin.date, origin.machine))?;
    let raw = json!({
        "date": origin.date,
        "processor": origin.processor,
        "kernel": origin.kernel,
        "commit": origin.commit,
        "command": origin.command,
        "outcomes": outcomes,
    });
    std::fs::write(folder.join("raw.json"), format!("{raw:#}\n"))?;
    std::fs::write(folder.join("summary.txt"), summary)?;
    std::fs::write(folder.join("README.md"), readme(origin, outcomes))?;
    Ok(folder)
}

fn new_folder(results: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for number in 1..=FOLDERS_MAX {
        let folder = match number {
            1 => results.join(name),
            _ => results.join(format!("{name}-{number}")),
        };
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        }
    }
    bail!("there are {FOLDERS_MAX} results of `{name}` already")
}

fn readme(origin: &Origin, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "# Comparison of {}\n\n\
         | | |\n| --- | --- |\n\
         | processor | {} |\n| kernel | {} |\n| commit | `{}` |\n",
        origin.date, origin.processor, origin.kernel, origin.commit
    );
    let mut versions: Vec<(&str, &str)> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.entries)
        .map(|entry| {
            let version = entry.version.as_deref().unwrap_or("unknown");
            (entry.name.as_str(), version)
        })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    for (name, version) in versions {
        text.push_str(&format!("| {name} | {version} |\n"));
    }
    text.push_str(&format!(
        "\nMade with, from the root of the repository:\n\n```\n{}\n```\n\n\
         `summary.txt` has the tables, `raw.json` every round with the driver's full report.\n\
         The gateway ran alone on one CPU; mock provider, driver and direct runs on another.\n",
        origin.command
    ));
    for outcome in outcomes {
        text.push_str(&format!(
            "\n- `{}`: {}; {} rounds, {} thrown away for drift",
            outcome.scenario.name, outcome.scenario.about, outcome.scenario.rounds, outcome.thrown_away
        ));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_219_200, "2026-11-21"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date_of(seconds), date);
        }
    }

    #[test]
    fn machine_names_fit_in_a_path() {
        assert_eq!(slug("AMD EPYC (9B45) @ 2.6 GHz 2cpu"), "amd-epyc-9b45-2-6-ghz-2cpu");
        assert_eq!(slug("../x"), "x");
    }

    #[test]
    fn the_command_does_not_tell_where_it_lives() {
        let args = ["/home/me/target/loadtest", "compare", "a.yaml"].map(str::to_owned);
        assert_eq!(command(args.into_iter()), "loadtest compare a.yaml");
    }

    #[test]
    fn results_are_never_overwritten() {
        let base = std::env::temp_dir().join(format!("loadtest-save-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let first = new_folder(&base, "2026-11-21-x").unwrap();
        let second = new_folder(&base, "2026-11-21-x").unwrap();
        assert_ne!(first, second);
        assert!(second.ends_with("2026-11-21-x-2"));
        std::fs::remove_dir_all(base).unwrap();
    }
}
