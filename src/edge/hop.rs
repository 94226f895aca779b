//! The way from the edge to a worker.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::timeout};

use crate::http::Preamble;

/// Time to connect and to write the preamble. The socket is on this machine: later means overload.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// The sockets of the workers, taken in turn.
#[derive(Debug)]
pub(super) struct Hop {
    sockets: Vec<PathBuf>,
    turn: AtomicUsize,
}

impl Hop {
    /// Takes the socket of each worker.
    pub(super) fn new(sockets: Vec<PathBuf>) -> Arc<Self> {
        Arc::new(Self { sockets, turn: AtomicUsize::new(0) })
    }

    /// Opens a connection for one client and says who that is. A worker that does not take it is passed over.
    ///
    /// # Errors
    /// The error of the last worker tried.
    pub(super) async fn connect(&self, preamble: &Preamble) -> io::Result<UnixStream> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for offset in 0..self.sockets.len() {
            let index = first.wrapping_add(offset) % self.sockets.len().max(1);
            let Some(socket) = self.sockets.get(index) else { continue };
            let opened = timeout(CONNECT_TIMEOUT, async {
                let mut stream = UnixStream::connect(socket).await?;
                stream.write_all(&preamble.encode()).await?;
                Ok(stream)
            });
            match opened.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}
