//! Who asks: the key of a request and to whom it belongs.

use std::sync::Arc;

/// The holder of an API key. Made once when the key is compiled; requests share it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// Public id of the key, for logs and records.
    pub key_id: Arc<str>,
    /// Id of the key's object; the public id where keys come from a file.
    pub key: Arc<str>,
    /// The one project that the key belongs to, by its id; none when a file gives it several.
    pub project: Option<Arc<str>>,
    /// Id of who made the key, if that is a member.
    pub member: Option<Arc<str>>,
    /// Name of the group that shares counters with the key.
    pub group: Option<Arc<str>>,
}

impl Caller {
    /// A caller of whom only the public id of the key is known.
    #[must_use]
    pub fn of_key(key_id: &str) -> Self {
        let key_id = Arc::<str>::from(key_id);
        Self { key: Arc::clone(&key_id), key_id, ..Self::default() }
    }
}

/// What one finished request added to a durable account of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The account, by the text of its meter.
    pub account: Arc<str>,
    /// The period of the account that the request was admitted in.
    pub period: u64,
    /// The true amount, in the unit of the account: nano-USD, tokens, requests, milliseconds.
    pub amount: u64,
    /// Where the amount lies in a window that moves; none for windows that begin and end.
    pub moving: Option<Moving>,
}

/// Where an amount lies in a window that moves, in nanoseconds since 1970 on the steady clock of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// In the slot of a sliding window that begins then.
    Slot(u64),
    /// In a bucket.
    Bucket {
        /// When it was settled.
        at: u64,
        /// What refills in one window, in the unit of the account.
        refill: u64,
    },
}
