//! One accepted connection: reads requests, writes, watches.
//!
//! While an answer waits, a read stays outstanding: it notices within the same wake-up when the client
//! leaves, and bytes of a pipelined request are kept. A read is cancelled only when the connection ends, since
//! a cancelled read of the io_uring driver may lose bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use monoio::buf::IoBufMut;
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, CancelableAsyncReadRent, Canceller, OwnedReadHalf,
    OwnedWriteHalf, Splitable,
};
use monoio::net::TcpStream;
use monoio::time::Instant;

use super::request::{Chunks, Framing, HEAD_BYTES_MAX, Head, Request};

/// Size of a fresh read buffer, in bytes.
const READ_BYTES: usize = 4 * 1024;

type ReadHalf = OwnedReadHalf<TcpStream>;
type PendingRead = Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>, ReadHalf)>>>;

/// Why a connection has no next request.
#[derive(Debug)]
pub(crate) enum NoRequest {
    /// The client left, at any point.
    Gone,
    /// The client sent what no server should accept.
    Malformed(String),
}

/// How a client left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Gone {
    /// It closed, or closed its sending side.
    Closed,
    /// It reset the connection, or a write failed.
    Reset,
}

impl Gone {
    fn of(error: &io::Error) -> Self {
        debug_assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        Self::Reset
    }
}

/// An accepted connection.
pub(crate) struct Connection {
    reader: Option<ReadHalf>,
    writer: Option<OwnedWriteHalf<TcpStream>>,
    pending: Option<PendingRead>,
    canceller: Canceller,
    /// The same socket once more, for the options that monoio does not offer.
    socket: Option<std::net::TcpStream>,
    inbound: Vec<u8>,
    gone: Option<Gone>,
    bytes_out: u64,
}

impl Connection {
    /// Takes over an accepted socket.
    pub(crate) fn new(stream: TcpStream, socket: std::net::TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: Some(reader),
            writer: Some(writer),
            pending: None,
            canceller: Canceller::new(),
            socket: Some(socket),
            inbound: Vec::new(),
            gone: None,
            bytes_out: 0,
        }
    }

    /// Bytes written since the connection began.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Waits for the next whole request.
    pub(crate) async fn next_request(&mut self) -> Result<Request, NoRequest> {
        let head = loop {
            if !self.inbound.is_empty()
                && let Some(head) = Head::read(&self.inbound).map_err(NoRequest::Malformed)?
            {
                break head;
            }
            if self.inbound.len() > HEAD_BYTES_MAX {
                return Err(NoRequest::Malformed(format!("head over {HEAD_BYTES_MAX} bytes")));
            }
            self.fill(READ_BYTES).await?;
        };
        let begin = head.bytes;
        if head.expects_continue && self.inbound.len() == begin {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            self.write(interim).await.map_err(|_| NoRequest::Gone)?;
        }
        match head.framing {
            Framing::None => Ok(self.take(head, begin..begin, begin)),
            Framing::Length(length) => {
                let end = begin + length;
                while self.inbound.len() < end {
                    self.fill(end - self.inbound.len()).await?;
                }
                Ok(self.take(head, begin..end, end))
            }
            Framing::Chunked => {
                let mut chunks = Chunks::starting(begin);
                let end = loop {
                    if let Some(end) = chunks.read(&self.inbound).map_err(NoRequest::Malformed)? {
                        break end;
                    }
                    self.fill(READ_BYTES).await?;
                };
                let buffer = self.cut(end);
                Ok(Request::decoded(buffer, head, chunks.into_body()))
            }
        }
    }

    /// Gives the buffer of a finished request back.
    pub(crate) fn recycle(&mut self, request: Request) {
        if self.inbound.capacity() == 0 {
            let mut buffer = request.into_buffer();
            // One large body must not keep its memory for the life of the connection.
            if buffer.capacity() <= 16 * READ_BYTES {
                buffer.clear();
                self.inbound = buffer;
            }
        }
    }

    /// Writes all of `bytes` and hands the buffer back.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, Gone> {
        let count = bytes.len() as u64;
        let Some(writer) = self.writer.as_mut() else {
            return Err(Gone::Reset);
        };
        let (result, bytes) = writer.write_all(bytes).await;
        match result {
            Ok(_) => {
                self.bytes_out += count;
                Ok(bytes)
            }
            Err(error) => Err(Gone::of(&error)),
        }
    }

    /// Waits until `due`, or less long when the client leaves.
    pub(crate) async fn wait_until(&mut self, due: Instant) -> Result<(), Gone> {
        let mut sleep = std::pin::pin!(monoio::time::sleep_until(due));
        poll_fn(|context| {
            if self.poll_read(context) == Poll::Ready(())
                && let Some(gone) = self.gone
            {
                return Poll::Ready(Err(gone));
            }
            sleep.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Waits until the client leaves.
    pub(crate) async fn wait_gone(&mut self) -> Gone {
        poll_fn(|context| match self.poll_read(context) {
            Poll::Ready(()) => Poll::Ready(self.gone.unwrap_or(Gone::Closed)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Waits until bytes of a next request are there, or the client left.
    pub(crate) async fn wait_readable(&mut self) -> Result<(), NoRequest> {
        if self.inbound.is_empty() { self.fill(READ_BYTES).await } else { Ok(()) }
    }

    /// Closes the sending side.
    pub(crate) async fn shutdown(&mut self) {
        if let Some(writer) = self.writer.as_mut() {
            // A socket that the client has reset cannot be shut down, and need not be.
            drop(writer.shutdown().await);
        }
    }

    /// Ends the connection with RST.
    pub(crate) async fn reset(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        if let Err(error) = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)) {
            eprintln!("cannot set SO_LINGER, the connection ends with FIN instead of RST: {error}");
        }
        if let Some(pending) = self.pending.take() {
            self.canceller = std::mem::take(&mut self.canceller).cancel();
            let (_, _, reader) = pending.await;
            self.reader = Some(reader);
        }
        // A write half that is dropped alone sends FIN first.
        if let (Some(writer), Some(reader)) = (self.writer.take(), self.reader.take()) {
            drop(writer.reunite(reader));
        }
        self.gone = Some(Gone::Reset);
    }

    /// Drives the outstanding read, starting one if there is none; ready once the client has left.
    fn poll_read(&mut self, context: &mut std::task::Context<'_>) -> Poll<()> {
        loop {
            if self.gone.is_some() {
                return Poll::Ready(());
            }
            // Pipelined bytes are not read without bound while an answer is under way.
            if self.pending.is_none() && self.inbound.len() > HEAD_BYTES_MAX {
                return Poll::Pending;
            }
            if self.pending.is_none() {
                let Some(mut reader) = self.reader.take() else {
                    return Poll::Pending;
                };
                let handle = self.canceller.handle();
                self.pending = Some(Box::pin(async move {
                    let buffer = Vec::with_capacity(READ_BYTES);
                    let (result, buffer) = reader.cancelable_read(buffer, handle).await;
                    (result, buffer, reader)
                }));
            }
            let Some(pending) = self.pending.as_mut() else {
                return Poll::Pending;
            };
            let Poll::Ready((result, buffer, reader)) = pending.as_mut().poll(context) else {
                return Poll::Pending;
            };
            self.pending = None;
            self.reader = Some(reader);
            self.note(&result);
            self.inbound.extend_from_slice(&buffer);
        }
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), NoRequest> {
        if self.gone.is_some() {
            return Err(NoRequest::Gone);
        }
        if let Some(pending) = self.pending.take() {
            let (result, buffer, reader) = pending.await;
            self.reader = Some(reader);
            self.note(&result);
            self.inbound.extend_from_slice(&buffer);
        } else if let Some(reader) = self.reader.as_mut() {
            let mut buffer = std::mem::take(&mut self.inbound);
            let begin = buffer.len();
            buffer.reserve(wanted.max(READ_BYTES));
            let end = buffer.capacity();
            let (result, buffer) = reader.read(buffer.slice_mut(begin..end)).await;
            self.inbound = buffer.into_inner();
            self.note(&result);
        }
        self.gone.map_or(Ok(()), |_| Err(NoRequest::Gone))
    }

    fn note(&mut self, result: &io::Result<usize>) {
        match result {
            Ok(0) => self.gone = Some(Gone::Closed),
            Ok(_) => {}
            Err(error) => self.gone = Some(Gone::of(error)),
        }
    }

    fn take(&mut self, head: Head, body: Range<usize>, end: usize) -> Request {
        Request::spanning(self.cut(end), head, body)
    }

    /// Takes the buffer out and keeps only what stands behind `end`, the start of a pipelined request.
    fn cut(&mut self, end: usize) -> Vec<u8> {
        let buffer = std::mem::take(&mut self.inbound);
        if let Some(rest) = buffer.get(end..)
            && !rest.is_empty()
        {
            self.inbound = rest.to_vec();
        }
        buffer
    }
}
