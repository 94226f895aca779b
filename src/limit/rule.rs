//! What a limit says: what it counts, over which window.
//!
//! Made when a configuration is compiled or a key is published. What changes while running is a meter.

use std::{fmt, sync::Arc, time::Duration};

/// What a limit counts. Amounts are whole numbers of the unit that stands beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Requests.
    Requests,
    /// Tokens of requests.
    InputTokens,
    /// Tokens of answers.
    OutputTokens,
    /// Tokens of both.
    TotalTokens,
    /// Nano-USD.
    Money,
    /// Milliseconds of audio.
    AudioMillis,
    /// Requests that are open now.
    Concurrent,
}

impl Kind {
    /// Every kind, in the order of [`Kinds`].
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::InputTokens,
        Self::OutputTokens,
        Self::TotalTokens,
        Self::Money,
        Self::AudioMillis,
        Self::Concurrent,
    ];

    /// The name in accounts, metrics and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "tokens_input",
            Self::OutputTokens => "tokens_output",
            Self::TotalTokens => "tokens",
            Self::Money => "usd",
            Self::AudioMillis => "audio",
            Self::Concurrent => "concurrent",
        }
    }

    /// Whether an amount may turn out different from its reservation, so that it is pending before it is posted.
    pub(super) const fn is_reserved(self) -> bool {
        !matches!(self, Self::Requests | Self::Concurrent)
    }
}

/// Some kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(0x7f);
    /// Known before a body is read: requests and concurrency.
    pub const ARRIVAL: Self = Self::of(Kind::Requests).and(Kind::Concurrent);
    /// Known once a request is estimated: tokens, money, audio.
    pub const AMOUNTS: Self = Self(Self::ALL.0 & !Self::ARRIVAL.0);
    /// The three of tokens.
    pub const TOKENS: Self = Self::of(Kind::InputTokens).and(Kind::OutputTokens).and(Kind::TotalTokens);

    /// One kind.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    /// These and another one.
    #[must_use]
    pub const fn and(self, kind: Kind) -> Self {
        Self(self.0 | Self::of(kind).0)
    }

    /// What either has.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a kind is among them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    /// Whether both have a kind.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Over what time a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Begins with the first request, lasts this long, then begins again with the next request.
    Fixed(Duration),
    /// Begins at multiples of this length from 1970-01-01T00:00:00Z.
    Aligned(Duration),
    /// No interval of this length holds more than the maximum.
    Sliding(Duration),
    /// A bucket that refills by the maximum in this time, evenly.
    Bucket(Duration),
    /// Whole hours, days, weeks from Monday, or months, in UTC; `count` of them at a time.
    Calendar(CalendarUnit, u32),
    /// All time.
    Total,
    /// No time at all: what is open now. For [`Kind::Concurrent`] only.
    Open,
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// Begins at full hours.
    Hour,
    /// Begins at 00:00 UTC.
    Day,
    /// Begins on Monday at 00:00 UTC.
    Week,
    /// Begins on the first at 00:00 UTC.
    Month,
}

/// From this length on a window is kept over a restart.
pub const DURABLE_WINDOW_MIN: Duration = Duration::from_secs(600);

impl Window {
    /// The name of the algorithm, as the configuration spells it.
    #[must_use]
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed_window",
            Self::Aligned(_) => "aligned_fixed_window",
            Self::Sliding(_) => "sliding_window",
            Self::Bucket(_) => "token_bucket",
            Self::Calendar(..) => "calendar",
            Self::Total => "total",
            Self::Open => "concurrent",
        }
    }

    /// About how long a window is; none for the two that have no length. A month counts as 30 days.
    #[must_use]
    pub const fn length(self) -> Option<Duration> {
        const HOUR: u64 = 3_600;
        match self {
            Self::Fixed(length) | Self::Aligned(length) | Self::Sliding(length) | Self::Bucket(length) => Some(length),
            Self::Calendar(unit, count) => {
                let unit = match unit {
                    CalendarUnit::Hour => HOUR,
                    CalendarUnit::Day => 24 * HOUR,
                    CalendarUnit::Week => 7 * 24 * HOUR,
                    CalendarUnit::Month => 30 * 24 * HOUR,
                };
                Some(Duration::from_secs(unit * count as u64))
            }
            Self::Total | Self::Open => None,
        }
    }
}

impl Window {
    /// The window that moves of an account, by the text of its meter; none for those that begin and end.
    #[must_use]
    pub fn moving(account: &str) -> Option<Self> {
        let (_, window) = account.rsplit_once('/')?;
        let (algorithm, length) = window.split_once(':')?;
        let length = Duration::from_millis(length.strip_suffix("ms")?.parse().ok()?);
        [Self::Sliding(length), Self::Bucket(length)].into_iter().find(|window| window.algorithm() == algorithm)
    }
}

impl fmt::Display for Window {
    /// The stable text of accounts: `fixed_window:60000ms`, `calendar:1month`, `total`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm())?;
        match self {
            Self::Fixed(length) | Self::Aligned(length) | Self::Sliding(length) | Self::Bucket(length) => {
                write!(f, ":{}ms", length.as_millis())
            }
            Self::Calendar(unit, count) => {
                let unit = match unit {
                    CalendarUnit::Hour => "hour",
                    CalendarUnit::Day => "day",
                    CalendarUnit::Week => "week",
                    CalendarUnit::Month => "month",
                };
                write!(f, ":{count}{unit}")
            }
            Self::Total | Self::Open => Ok(()),
        }
    }
}

/// Whose limit it is; refusals name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// An organization.
    Organization,
    /// A project.
    Project,
    /// Who made the key.
    Member,
    /// An API key.
    Key,
    /// The keys of one group.
    Group,
    /// A route.
    Route,
    /// What an organization has paid in.
    Credits,
}

impl Scope {
    /// The name in refusals and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Member => "member",
            Self::Key => "key",
            Self::Group => "group",
            Self::Route => "route",
            Self::Credits => "credits",
        }
    }
}

/// Which counter a limit uses. Two limits with one key share it; the maximum is no part of it, so that it can change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterKey {
    /// Whose counter: `key:key_abc`, `route:prj_x/chat`, `route_key:prj_x/chat:key_abc`.
    pub owner: Arc<str>,
    /// What it counts.
    pub kind: Kind,
    /// Over what time.
    pub window: Window,
}

impl MeterKey {
    /// Whether the counter is kept over a restart: money always, the rest with windows of [`DURABLE_WINDOW_MIN`] and more.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        match self.window {
            Window::Open => false,
            Window::Total => true,
            _ if self.kind == Kind::Money => true,
            window => window.length().is_some_and(|length| length >= DURABLE_WINDOW_MIN),
        }
    }
}

impl fmt::Display for MeterKey {
    /// The stable text, and so the name of the durable account: `key:key_abc/usd/calendar:1month`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.owner, self.kind.name(), self.window)
    }
}

/// What a limit allows; may change while its counter stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Most in one window, in the unit of the kind. 0 blocks everything.
    pub max: u64,
    /// Most at once, for [`Window::Bucket`]; elsewhere the same as `max`.
    pub burst: u64,
}

impl Terms {
    /// The same for the window and at once.
    #[must_use]
    pub const fn max(max: u64) -> Self {
        Self { max, burst: max }
    }
}

/// The figures of one request: before it is sent an upper bound, after it what it really used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// Requests, 1.
    pub requests: u64,
    /// Open requests, 1.
    pub concurrent: u64,
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Nano-USD.
    pub money_nano: u64,
    /// Milliseconds of audio.
    pub audio_millis: u64,
}

impl Claim {
    /// One request, nothing else.
    #[must_use]
    pub const fn request() -> Self {
        Self { requests: 1, concurrent: 1, input_tokens: 0, output_tokens: 0, money_nano: 0, audio_millis: 0 }
    }

    /// The figure of one kind.
    #[must_use]
    pub const fn amount(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Requests => self.requests,
            Kind::InputTokens => self.input_tokens,
            Kind::OutputTokens => self.output_tokens,
            Kind::TotalTokens => self.input_tokens.saturating_add(self.output_tokens),
            Kind::Money => self.money_nano,
            Kind::AudioMillis => self.audio_millis,
            Kind::Concurrent => self.concurrent,
        }
    }
}
