//! A connection to a provider: plain or TLS, one face.

use std::io::{self, IoSlice};

use super::{socket::Socket, tls::TlsStream};

/// A byte stream to a provider.
pub enum Stream {
    /// Plain TCP.
    Plain(Socket),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Reads what is there. See [`Socket::try_read`].
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there yet; `UnexpectedEof` when TLS ended without its close message.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(into),
            Self::Tls(stream) => stream.try_read(into),
        }
    }

    /// Writes as much of the slices as fits now.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel's buffer is full.
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => match slices {
                [only] => socket.try_write(only),
                _ => socket.try_write_vectored(slices),
            },
            Self::Tls(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Whether bytes that were taken still wait for the kernel; [`Stream::writable`] sends them.
    #[must_use]
    pub fn is_unflushed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_unflushed(),
        }
    }

    /// Waits until a read is worth trying. See [`Socket::readable`].
    ///
    /// # Errors
    /// The driver's error.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(stream) => stream.readable().await,
        }
    }

    /// Waits until a write would take something.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(stream) => stream.writable().await,
        }
    }

    /// Tells whether bytes, the end or an error wait to be read. On a pooled connection each of them means: destroy it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_readable(),
            Self::Tls(stream) => stream.is_readable(),
        }
    }
}
