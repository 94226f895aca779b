//! Requests as they end, as server-sent events.
//!
//! Whoever reads too slowly loses rows and is told how many. A tail ends with the drain of the process, and within two
//! seconds of the end of the token, session or role that it was opened with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::logs::{LogQuery, RequestView};
use crate::admin::rest::{Api, ApiError, Caller, EventStream, ProjectId, Query, Standing};
use crate::base::Id;
use crate::control::Tail;

/// How often rows are sent.
const TICK: Duration = Duration::from_millis(250);
/// Rows of one tick: 1,024 a second.
const ROWS_MAX: usize = 256;
/// Ticks between two looks whether the reader may still read: 2 s.
const CHECK_TICKS: u64 = 8;
/// Ticks without a row after which a comment is sent: 15 s.
const SILENT_TICKS: u64 = 60;
/// Ticks after which a reader that takes nothing is given up: 60 s.
const STUCK_TICKS: u64 = 240;
/// Pieces that wait to be written.
const PIECES_MAX: usize = 2;

pub(super) async fn tail(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    standing: Standing,
    ProjectId(project): ProjectId,
    Query(query): Query<LogQuery>,
) -> Result<EventStream, ApiError> {
    let tail = api.control.tail(&actor, &project, query.filter()?).await?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(Following { api, standing, project, tail, sender, said_lost: 0, silent: 0 }.run());
    Ok(EventStream { body: Body::new(Pieces(receiver)) })
}

struct Following {
    api: Arc<Api>,
    standing: Standing,
    project: Id,
    tail: Tail,
    sender: mpsc::Sender<Bytes>,
    /// How many lost rows the reader was told of.
    said_lost: u64,
    /// Ticks since something was sent.
    silent: u64,
}

impl Following {
    async fn run(mut self) {
        // The head of the answer goes out with it.
        let _ = self.sender.try_send(Bytes::from_static(b": following\n\n"));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 1u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.sender.closed() => return,
            }
            if self.api.control.is_draining() {
                return self.end("draining");
            }
            if tick % CHECK_TICKS == 0 && !self.is_allowed().await {
                return self.end("revoked");
            }
            self.silent += 1;
            if self.silent > STUCK_TICKS {
                return;
            }
            // Without room nothing is taken: it waits in the tail, and then it is lost there and counted.
            if let Ok(place) = self.sender.clone().try_reserve_owned()
                && let Some(piece) = self.piece()
            {
                place.send(piece);
                self.silent = 0;
            }
        }
    }

    /// What is to be sent now.
    fn piece(&mut self) -> Option<Bytes> {
        let mut text = String::new();
        for row in self.tail.take(ROWS_MAX) {
            let view = serde_json::to_string(&RequestView::from(row)).unwrap_or_default();
            push(&mut text, "request", &view);
        }
        let lost = self.tail.lost();
        if lost != self.said_lost {
            self.said_lost = lost;
            push(&mut text, "lost", &json!({ "lost": lost }).to_string());
        }
        if text.is_empty() && self.silent >= SILENT_TICKS {
            text.push_str(": keep-alive\n\n");
        }
        (!text.is_empty()).then(|| text.into())
    }

    /// Whether the reader is still who it was, and may still see the same.
    async fn is_allowed(&self) -> bool {
        let Ok(actor) = self.api.again(&self.standing).await else { return false };
        let seen = self.api.control.tail_member(&actor, &self.project).await;
        seen.is_ok_and(|member| member.is_none() || member == self.tail.filter.member)
    }

    fn end(self, reason: &str) {
        let mut text = String::new();
        push(&mut text, "end", &json!({ "reason": reason }).to_string());
        // Without room the end of the body says it.
        let _ = self.sender.try_send(text.into());
    }
}

fn push(text: &mut String, event: &str, line: &str) {
    text.push_str("event: ");
    text.push_str(event);
    text.push_str("\ndata: ");
    text.push_str(line);
    text.push_str("\n\n");
}

struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
