//! Plays the steps of a plan on a connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monoio::time::Instant;

use super::connection::{Connection, Gone};
use super::plan::{Digits, EventRun, Step};

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// All steps were played.
    Complete,
    /// The client left first.
    Gone(Gone),
    /// We reset, half-closed or closed the connection.
    ResetSent,
    FinSent,
    Closed,
}

impl End {
    /// The word in the truth log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Gone(Gone::Closed) => "client_closed",
            Self::Gone(Gone::Reset) => "client_reset",
            Self::ResetSent => "reset_sent",
            Self::FinSent => "fin_sent",
            Self::Closed => "closed",
        }
    }
}

/// What was played.
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) end: End,
    /// Whole events written.
    pub(crate) events: u64,
    /// When the client was seen to leave.
    pub(crate) gone_at: Option<Instant>,
}

/// Plays all steps, or as many as the client stays for.
pub(crate) async fn play(connection: &mut Connection, steps: Vec<Step>, random: &mut fastrand::Rng) -> Outcome {
    let mut events = 0;
    for step in steps {
        let end = match play_one(connection, step, random, &mut events).await {
            Ok(None) => continue,
            Ok(Some(end)) => end,
            Err(gone) => {
                return Outcome { end: End::Gone(gone), events, gone_at: Some(Instant::now()) };
            }
        };
        let gone_at = match end {
            // The close of the client is still of interest: it tells how fast the fault was noticed.
            End::FinSent => connection_gone(connection).await,
            _ => None,
        };
        return Outcome { end, events, gone_at };
    }
    Outcome { end: End::Complete, events, gone_at: None }
}

async fn connection_gone(connection: &mut Connection) -> Option<Instant> {
    let due = Instant::now() + Duration::from_secs(30);
    connection.wait_until(due).await.err().map(|_| Instant::now())
}

async fn play_one(
    connection: &mut Connection,
    step: Step,
    random: &mut fastrand::Rng,
    events: &mut u64,
) -> Result<Option<End>, Gone> {
    match step {
        Step::Write { bytes, events: count } => {
            connection.write(bytes).await?;
            *events += count;
        }
        Step::Trickle { bytes, gap } => {
            for byte in bytes {
                connection.write(vec![byte]).await?;
                pause(connection, gap).await?;
            }
        }
        Step::Repeat { mut bytes, gap, count } => {
            for _ in 0..count {
                bytes = connection.write(bytes).await?;
                *events += 1;
                pause(connection, gap).await?;
            }
        }
        Step::Events(run) => play_events(connection, *run, random, events).await?,
        Step::Wait(wait) => pause(connection, wait).await?,
        Step::Silence => return Err(connection.wait_gone().await),
        Step::Reset => {
            connection.reset().await;
            return Ok(Some(End::ResetSent));
        }
        Step::Fin => {
            connection.shutdown().await;
            return Ok(Some(End::FinSent));
        }
        Step::Close => return Ok(Some(End::Closed)),
    }
    Ok(None)
}

async fn pause(connection: &mut Connection, wait: Duration) -> Result<(), Gone> {
    if wait.is_zero() { Ok(()) } else { connection.wait_until(Instant::now() + wait).await }
}

/// Writes numbered events. Each is due relative to the one before, not to its end, so that the pace holds under load.
async fn play_events(
    connection: &mut Connection,
    run: EventRun,
    random: &mut fastrand::Rng,
    events: &mut u64,
) -> Result<(), Gone> {
    let EventRun { mut bytes, digits, stamp_at, count, gap } = run;
    let paced = !gap.is_none();
    let mut due = Instant::now();
    for index in 0..count {
        if paced && index > 0 {
            due += gap.sample(random);
            connection.wait_until(due).await?;
        }
        for field in &digits {
            field.put(&mut bytes, index);
        }
        if let Some(at) = stamp_at {
            Digits { at, width: 16, pad: b'0', first: now_us() }.put(&mut bytes, 0);
        }
        bytes = connection.write(bytes).await?;
        *events += 1;
    }
    Ok(())
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
