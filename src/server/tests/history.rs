//! What may happen, in any order.

use proptest::prelude::*;

/// Keys of the world; each third belongs to one project.
pub(super) const KEYS: usize = 6;
/// Projects: one with own credentials, one on credits, one that tries its own first.
pub(super) const PROJECTS: usize = 3;
/// Members who made the keys.
pub(super) const MEMBERS: usize = 2;

/// One step of a history.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A request comes.
    Begin(Ask),
    /// One of the open requests ends.
    End { which: usize, how: How },
    /// So many milliseconds pass.
    Pass(u64),
    /// The wall clock is set by so many seconds.
    Step(i64),
    /// The keeper stores what there is.
    Commit(Commit),
    /// A limit of the list is made or changed.
    SetLimit { limit: usize, level: u64, shadow: bool },
    /// A limit of the list is deleted.
    DropLimit { limit: usize },
    /// A project serves a new version, with these prices in 100 pico-USD a token and these limits of its route.
    Publish { project: usize, price: (u64, u64), bounds: usize, on_cancel: usize },
    /// So much is paid in, or taken back.
    Pay(i64),
    /// The fee, in hundredths of a percent.
    Fee(u32),
    /// Something happens to a key.
    Key { key: usize, what: KeyDeed },
    /// Roll-ups are folded, what is too old is forgotten, the books are compared.
    Upkeep,
    /// Counters that nobody needs go.
    Sweep,
    /// Everything ends, is stored and compared.
    Quiesce,
    /// The process ends cleanly and begins again.
    Restart,
    /// The process is gone at once.
    Crash,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) key: usize,
    /// Whether it is sent with the text that the key had before it was rolled.
    pub(super) old_text: bool,
    pub(super) worker: usize,
    pub(super) padding: usize,
    pub(super) cap: u64,
    pub(super) answers: u64,
    pub(super) stream: bool,
    /// How the first commit goes that it has to wait for.
    pub(super) wait: Commit,
}

/// How a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    Stored,
    /// The file is not where it was.
    Away,
    /// The database takes everything back at the end.
    Refused,
    /// The answer is lost.
    Unanswered,
    /// It is carried out a second time.
    Repeated,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyDeed {
    Disable,
    Enable,
    Roll { overlap_s: u64 },
    Delete,
}

/// How a request ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// By an answer, after so many connections that were dead.
    Answered {
        dead: u32,
        answer: Reply,
    },
    /// The own credential is refused.
    OwnRefused(Reply),
    Panic,
    Dropped,
}

/// What the provider does. Tokens are parts of what was reserved, in percent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    Whole { input: u64, output: u64 },
    NoUsage { bytes: usize },
    Stream { events: usize, chars: usize, output: Option<u64>, end: Finish },
    Error(u16),
    TimedOut,
    Reset,
    Truncated,
    ClientGone,
}

/// How a stream ends: whole, or after a part of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Complete,
    ClientGone,
    Broken,
}

/// Histories of some length.
pub(super) fn histories() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 12..60)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => ask().prop_map(Op::Begin),
        20 => (0..8usize, how()).prop_map(|(which, how)| Op::End { which, how }),
        6 => pause().prop_map(Op::Pass),
        1 => prop_oneof![-90_000i64..90_000, -40i64..40].prop_map(Op::Step),
        5 => commit().prop_map(Op::Commit),
        9 => (0..super::world::LIMITS.len(), 0..9u64, prop::bool::weighted(0.15))
            .prop_map(|(limit, level, shadow)| Op::SetLimit { limit, level, shadow }),
        2 => (0..super::world::LIMITS.len()).prop_map(|limit| Op::DropLimit { limit }),
        2 => (0..PROJECTS, (0..20_000u64, 0..20_000u64), 0..super::world::BOUNDS.len(), 0..3usize)
            .prop_map(|(project, price, bounds, on_cancel)| Op::Publish { project, price, bounds, on_cancel }),
        3 => prop_oneof![3 => 0..4_000_000i64, 1 => -1_000_000..0i64].prop_map(Op::Pay),
        1 => (0..1_000u32).prop_map(Op::Fee),
        1 => (0..KEYS, key_deed()).prop_map(|(key, what)| Op::Key { key, what }),
        2 => Just(Op::Upkeep),
        1 => Just(Op::Sweep),
        1 => Just(Op::Quiesce),
        1 => Just(Op::Restart),
        2 => Just(Op::Crash),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let sizes = (0..200usize, 1..400u64, prop_oneof![4 => Just(1u64), 1 => 2..4u64]);
    (0..KEYS, prop::bool::weighted(0.05), 0..4usize, sizes, any::<bool>(), commit()).prop_map(
        |(key, old_text, worker, (padding, cap, answers), stream, wait)| Ask {
            key,
            old_text,
            worker,
            padding,
            cap,
            answers,
            stream,
            wait,
        },
    )
}

fn commit() -> impl Strategy<Value = Commit> {
    prop_oneof![
        6 => Just(Commit::Stored),
        1 => Just(Commit::Away),
        1 => Just(Commit::Refused),
        1 => Just(Commit::Unanswered),
        1 => Just(Commit::Repeated),
    ]
}

/// Mostly short, sometimes over the border of some window, rarely over that of what is kept.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 1..20_000u64,
        4 => 20_000..90_000u64,
        3 => 600_000..4_000_000u64,
        2 => 40_000_000..90_000_000u64,
        // Just to the border of a window.
        2 => prop_oneof![Just(60_000u64), Just(3_600_000)],
        1 => 600_000_000..3_000_000_000u64,
        // A little less than rows are kept.
        1 => 2_550_000_000..2_592_000_000u64,
    ]
}

fn key_deed() -> impl Strategy<Value = KeyDeed> {
    prop_oneof![
        1 => Just(KeyDeed::Disable),
        2 => Just(KeyDeed::Enable),
        1 => (0..7_200u64).prop_map(|overlap_s| KeyDeed::Roll { overlap_s }),
        1 => Just(KeyDeed::Delete),
    ]
}

fn how() -> impl Strategy<Value = How> {
    let dead = prop_oneof![5 => Just(0u32), 1 => 1..3u32];
    prop_oneof![
        12 => (dead, reply()).prop_map(|(dead, answer)| How::Answered { dead, answer }),
        3 => reply().prop_map(How::OwnRefused),
        1 => Just(How::Panic),
        1 => Just(How::Dropped),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let part = || prop_oneof![1 => Just(0u64), 6 => 1..=100u64, 1 => 100..300u64, 1 => Just(1_000_000_000_000)];
    let end = prop_oneof![3 => Just(Finish::Complete), 1 => Just(Finish::ClientGone), 1 => Just(Finish::Broken)];
    prop_oneof![
        8 => (part(), part()).prop_map(|(input, output)| Reply::Whole { input, output }),
        1 => (0..3_000usize).prop_map(|bytes| Reply::NoUsage { bytes }),
        6 => (0..6usize, 0..900usize, prop::option::weighted(0.7, part()), end)
            .prop_map(|(events, chars, output, end)| Reply::Stream { events, chars, output, end }),
        1 => prop_oneof![Just(500u16), Just(429), Just(400)].prop_map(Reply::Error),
        1 => Just(Reply::TimedOut),
        1 => Just(Reply::Reset),
        1 => Just(Reply::Truncated),
        1 => Just(Reply::ClientGone),
    ]
}
