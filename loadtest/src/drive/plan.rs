//! What one run does, with its bounds.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::bail;

use super::pace::Loop;
use super::request::Ask;
use super::target::Target;

/// Most connections at once.
pub(crate) const CONNECTIONS_MAX: usize = 25_000;
/// Longest run.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Most requests of a run.
pub(crate) const REQUESTS_MAX: u64 = 1_000_000_000;
/// Highest rate of an open loop, in requests a second.
const RATE_MAX: f64 = 1_000_000.0;
/// Connections above which read buffers are small.
const CONNECTIONS_MANY: usize = 1_000;

/// What the answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One JSON body.
    Json,
    /// Server-sent events with an end.
    Stream,
    /// Server-sent events that stay open until the run ends.
    Hold,
}

/// One bounded run against one address.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where to.
    pub(crate) target: Target,
    /// Address that connections come from; only for targets on IPv4.
    pub(crate) source: Ipv4Addr,
    /// What to send.
    pub(crate) ask: Ask,
    /// What comes back.
    pub(crate) mode: Mode,
    /// Closed or open loop.
    pub(crate) shape: Loop,
    /// Connections, all opened before the clock starts.
    pub(crate) connections: usize,
    /// Most requests.
    pub(crate) requests_max: u64,
    /// No request starts later than this.
    pub(crate) duration: Duration,
    /// Time that requests in flight have after the end before they count as unfinished.
    pub(crate) grace: Duration,
    /// Time over which the first requests of a closed loop are spread.
    pub(crate) ramp: Duration,
    /// Events that each stream must have before `[DONE]`.
    pub(crate) events: Option<u64>,
    /// Text that must stand in the first 4 KiB of a JSON answer.
    pub(crate) expect: String,
}

impl Plan {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The first bound that is broken.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            bail!("connections must be 1 to {CONNECTIONS_MAX}");
        }
        if self.requests_max == 0 || self.requests_max > REQUESTS_MAX {
            bail!("requests must be 1 to {REQUESTS_MAX}");
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            bail!("duration must be above 0 and at most {DURATION_MAX:?}");
        }
        if self.grace > DURATION_MAX || self.ramp > self.duration {
            bail!("grace must be at most {DURATION_MAX:?}, ramp at most the duration");
        }
        if let Loop::Open { rate } = self.shape {
            if !(rate > 0.0 && rate <= RATE_MAX) {
                bail!("rate must be above 0 and at most {RATE_MAX}");
            }
            if self.mode == Mode::Hold {
                bail!("held streams have no rate");
            }
        }
        Ok(())
    }

    /// Size of one connection's read buffer, in bytes.
    pub(crate) fn read_bytes(&self) -> usize {
        if self.connections > CONNECTIONS_MANY { 4 << 10 } else { 16 << 10 }
    }
}
