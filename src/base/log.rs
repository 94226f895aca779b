//! The application log: any thread may write, none ever waits.
//!
//! A line is made by the thread that has something to say and put into a bounded queue; the admin thread writes it out. The
//! same message is let through a few times a window and then only counted, so that one fault cannot flood the log (T-16).

use std::fmt;
use std::sync::LazyLock;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::clock::{UnixTime, unix_time};
use super::json_line::JsonLine;

/// Lines that wait at most; more are dropped and counted.
pub const LINES_MAX: usize = 4_096;
/// How often one message passes in a window before it is only counted.
pub const REPEATS_MAX: u64 = 10;
/// Length of a window, in seconds.
pub const WINDOW_S: u64 = 10;

/// Distinct messages that are counted; far more than the source has. One that finds no place is always written.
const PLACES: usize = 512;
/// Places that are tried for a message.
const PROBES: usize = 8;

/// How serious a line is. A level shows itself and all above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Nothing is written.
    Off = 0,
    /// Something is broken and needs an operator.
    Error = 1,
    /// Something is wrong and was coped with.
    Warn = 2,
    /// What an operator wants to know in normal operation. The default.
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// One value of a line.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Text; capped at 256 bytes and escaped.
    Text(&'a str),
    /// A whole number.
    Uint(u64),
    /// A whole number that may be negative.
    Int(i64),
    /// `true` or `false`.
    Flag(bool),
}

/// A level that is none, in `MILLRACE_LOG` or `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level `{0}`; known: `off`, `error`, `warn`, `info`, `debug`, `trace`")]
pub struct LevelError(String);

/// Writes one line to the log of this process. Cheap when the level is off; otherwise it allocates the line.
///
/// `msg` is a constant, so that the same fault has the same text; what differs goes into `fields`. Their names must not be
/// `ts`, `level`, `msg`, `stream` or `repeated`.
pub fn emit(level: Level, msg: &'static str, fields: &[(&'static str, Value<'_>)]) {
    PROCESS.emit(unix_time(), (level, msg), fields);
}

/// Sets which levels are written. The default is `info`.
pub fn set_level(level: Level) {
    PROCESS.level.store(level as u8, Relaxed);
}

/// Reads the level from `MILLRACE_LOG`, else from `RUST_LOG`; none when neither is set.
///
/// `RUST_LOG` may be a list such as `info,hyper=warn`: the bare level and that of `millrace` count.
///
/// # Errors
/// When `MILLRACE_LOG` is no level. In `RUST_LOG`, which other programs share, an unknown level is passed over.
pub fn level_from_env(read: impl Fn(&str) -> Option<String>) -> Result<Option<Level>, LevelError> {
    if let Some(text) = read("MILLRACE_LOG") {
        return parse_level(&text).map(Some).ok_or(LevelError(text));
    }
    let list = read("RUST_LOG").unwrap_or_default();
    let mut level = None;
    for item in list.split(',') {
        let text = match item.split_once('=') {
            Some(("millrace", text)) => text,
            Some(_) => continue,
            None => item,
        };
        level = parse_level(text).or(level);
    }
    Ok(level)
}

/// Appends up to `lines_max` waiting lines to `out`, oldest first, and returns how many.
pub fn drain(lines_max: usize, out: &mut Vec<u8>) -> usize {
    PROCESS.drain(unix_time(), lines_max, out)
}

/// How many lines wait.
#[must_use]
pub fn depth() -> usize {
    PROCESS.lines.len()
}

/// How many lines were lost because too many waited.
pub fn dropped() -> u64 {
    PROCESS.dropped.load(Relaxed)
}

static PROCESS: LazyLock<Log> = LazyLock::new(Log::new);

struct Log {
    level: AtomicU8,
    lines: ArrayQueue<Vec<u8>>,
    dropped: AtomicU64,
    places: Box<[Place]>,
}

/// How often one message came in its current window.
#[derive(Default)]
struct Place {
    owner: OnceLock<(Level, &'static str)>,
    window: AtomicU64,
    passed: AtomicU64,
    held_back: AtomicU64,
}

impl Log {
    fn new() -> Self {
        Self {
            level: AtomicU8::new(Level::Info as u8),
            lines: ArrayQueue::new(LINES_MAX),
            dropped: AtomicU64::new(0),
            places: (0..PLACES).map(|_| Place::default()).collect(),
        }
    }

    fn emit(&self, now: UnixTime, (level, msg): (Level, &'static str), fields: &[(&'static str, Value<'_>)]) {
        if level == Level::Off || level as u8 > self.level.load(Relaxed) {
            return;
        }
        let window = now.seconds() / WINDOW_S;
        let repeated = match self.place((level, msg)).map(|place| place.pass(window)) {
            Some(Pass::HeldBack) => return,
            Some(Pass::After(held_back)) => held_back,
            Some(Pass::Free) | None => 0,
        };
        self.push(make_line(now, (level, msg), repeated, fields));
    }

    fn push(&self, line: Vec<u8>) {
        if self.lines.push(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn drain(&self, now: UnixTime, lines_max: usize, out: &mut Vec<u8>) -> usize {
        self.report_held_back(now);
        let mut count = 0;
        while count < lines_max {
            let Some(line) = self.lines.pop() else {
                break;
            };
            out.extend_from_slice(&line);
            count += 1;
        }
        count
    }

    /// Writes a line for each message that was held back in a window that is over.
    fn report_held_back(&self, now: UnixTime) {
        let window = now.seconds() / WINDOW_S;
        for place in &self.places {
            let Some(owner) = place.owner.get() else {
                continue;
            };
            if place.window.load(Relaxed) >= window || place.held_back.load(Relaxed) == 0 {
                continue;
            }
            let held_back = place.held_back.swap(0, Relaxed);
            if held_back > 0 {
                self.push(make_line(now, *owner, held_back, &[]));
            }
        }
    }

    /// Finds the place of a message, or takes a free one; none when all that may be its own belong to others.
    fn place(&self, owner: (Level, &'static str)) -> Option<&Place> {
        let start = hash(owner.1);
        (0..PROBES)
            .filter_map(|step| self.places.get((start + step) % PLACES))
            .find(|place| *place.owner.get_or_init(|| owner) == owner)
    }
}

/// Whether a message may be written.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    Free,
    /// It may, and so many were held back before.
    After(u64),
    HeldBack,
}

impl Place {
    /// Counts one more of its message. Threads that turn a window at the same moment may let one or two more pass.
    fn pass(&self, window: u64) -> Pass {
        let mut held_back = 0;
        if self.window.swap(window, Relaxed) != window {
            self.passed.store(0, Relaxed);
            held_back = self.held_back.swap(0, Relaxed);
        }
        if self.passed.fetch_add(1, Relaxed) >= REPEATS_MAX {
            self.held_back.fetch_add(1, Relaxed);
            return Pass::HeldBack;
        }
        if held_back > 0 {
            return Pass::After(held_back);
        }
        Pass::Free
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn parse_level(text: &str) -> Option<Level> {
    [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]
        .into_iter()
        .find(|level| text.trim().eq_ignore_ascii_case(level.name()))
}

fn make_line(
    now: UnixTime,
    (level, msg): (Level, &'static str),
    repeated: u64,
    fields: &[(&'static str, Value<'_>)],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    let mut line = JsonLine::begin(&mut bytes);
    line.time("ts", now);
    line.text("level", level.name());
    line.text("msg", msg);
    line.text("stream", "app");
    for (name, value) in fields {
        match *value {
            Value::Text(text) => line.text(name, text),
            Value::Uint(number) => line.uint(name, number),
            Value::Int(number) => line.int(name, number),
            Value::Flag(flag) => line.flag(name, flag),
        }
    }
    if repeated > 0 {
        line.uint("repeated", repeated);
    }
    line.end();
    bytes
}

/// FNV-1a: short constant texts, no secret to keep.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime(Duration::from_secs(seconds))
    }

    fn lines(log: &Log, seconds: u64) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        log.drain(at(seconds), usize::MAX, &mut out);
        out.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn line_has_its_fields() {
        let log = Log::new();
        let fields = [
            ("path", Value::Text("a\nb")),
            ("count", Value::Uint(3)),
            ("code", Value::Int(-2)),
            ("kept", Value::Flag(false)),
        ];
        log.emit(at(0), (Level::Warn, "file is bad"), &fields);
        assert_eq!(
            lines(&log, 0),
            [serde_json::json!({
                "ts": "1970-01-01T00:00:00.000Z", "level": "warn", "msg": "file is bad", "stream": "app",
                "path": "a\nb", "count": 3, "code": -2, "kept": false,
            })]
        );
    }

    #[test]
    fn level_hides_what_is_below_it() {
        let log = Log::new();
        log.emit(at(0), (Level::Debug, "hidden"), &[]);
        log.emit(at(0), (Level::Info, "shown"), &[]);
        log.level.store(Level::Off as u8, Relaxed);
        log.emit(at(0), (Level::Error, "hidden too"), &[]);
        let lines = lines(&log, 0);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["msg"], "shown");
    }

    #[test]
    fn repeated_message_is_held_back_and_counted() {
        let log = Log::new();
        for _ in 0..100 {
            log.emit(at(1), (Level::Error, "same"), &[]);
        }
        log.emit(at(1), (Level::Error, "another"), &[]);
        assert_eq!(lines(&log, 2).len(), 11, "ten of one, one of another");
        log.emit(at(WINDOW_S + 1), (Level::Error, "same"), &[]);
        let next = lines(&log, WINDOW_S + 1);
        assert_eq!((next.len(), &next[0]["repeated"]), (1, &90.into()));
    }

    #[test]
    fn count_is_reported_when_the_message_stops() {
        let log = Log::new();
        for _ in 0..15 {
            log.emit(at(1), (Level::Error, "same"), &[]);
        }
        assert_eq!(lines(&log, 1).len(), 10);
        assert!(lines(&log, 2).is_empty(), "the window is not over");
        let summary = lines(&log, WINDOW_S);
        assert_eq!(summary.len(), 1);
        assert_eq!((&summary[0]["msg"], &summary[0]["repeated"]), (&"same".into(), &5.into()));
        assert!(lines(&log, 5 * WINDOW_S).is_empty(), "reported once");
    }

    #[test]
    fn full_queue_drops_and_counts() {
        let log = Log::new();
        for window in 0..=u64::try_from(LINES_MAX).unwrap() {
            log.emit(at(window * WINDOW_S), (Level::Info, "tick"), &[]);
        }
        assert_eq!(log.dropped.load(Relaxed), 1);
        assert_eq!(lines(&log, 0).len(), LINES_MAX);
    }

    #[test]
    fn level_comes_from_the_environment() {
        let warn = || Ok(Some(Level::Warn));
        for (name, own, rust, want) in [
            ("nothing", None, None, Ok(None)),
            ("own", Some("warn"), Some("trace"), warn()),
            ("upper case", Some("WARN"), None, warn()),
            ("shared", None, Some("warn"), warn()),
            ("list", None, Some("warn,hyper=trace"), warn()),
            ("named", None, Some("error,millrace=warn"), warn()),
            ("off", Some("off"), None, Ok(Some(Level::Off))),
            ("unknown", Some("loud"), None, Err(LevelError("loud".into()))),
            ("unknown shared", None, Some("loud"), Ok(None)),
        ] {
            let read = |variable: &str| match variable {
                "MILLRACE_LOG" => own.map(str::to_owned),
                _ => rust.map(str::to_owned),
            };
            assert_eq!(level_from_env(read), want, "{name}");
        }
    }
}
