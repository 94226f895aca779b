//! A TLS connection over a socket that is used when ready.
//!
//! Same shape as [`Socket`]: try, and wait only for readiness. No await holds bytes or a borrow, so every wait can be
//! dropped. Ciphertext is read only when no plaintext is left, therefore at most one record of each waits in memory.

use std::{
    cell::{Cell, RefCell, RefMut},
    io::{self, IoSlice, Read, Write},
    sync::Arc,
};

use rustls::ClientConnection;

use super::{ALPN, ServerName, TlsConnector};
use crate::http::socket::Socket;

/// Most plaintext bytes that wait for the kernel to take them.
const PENDING_BYTES_MAX: usize = 64 * 1024;
/// Most reads from the socket in one call that bring no plaintext; then others on this worker get their turn.
const BARREN_READS_MAX: u32 = 16;

/// A verified connection to a provider.
pub struct TlsStream {
    socket: Socket,
    session: RefCell<ClientConnection>,
    /// Decrypted bytes that nobody has read yet.
    plain_bytes: Cell<usize>,
    /// Whether the peer's direction has ended, in whichever way; then a read answers at once.
    ended: Cell<bool>,
    /// Why the connection broke; told once the good bytes before it are read.
    failure: RefCell<Option<rustls::Error>>,
}

impl TlsStream {
    /// Performs the handshake over a fresh socket. The caller bounds the time.
    ///
    /// # Errors
    /// `InvalidData` with rustls' reason for a bad certificate, a wrong name, an old version or another protocol than
    /// HTTP/1.1; `UnexpectedEof` when the peer left; else the socket's error. Nothing but the handshake was sent then.
    pub async fn connect(connector: &TlsConnector, socket: Socket, server_name: &ServerName) -> io::Result<Self> {
        let config = Arc::clone(&connector.config);
        let mut session = ClientConnection::new(config, server_name.0.clone()).map_err(invalid)?;
        session.set_buffer_limit(Some(PENDING_BYTES_MAX));
        let stream = Self {
            socket,
            session: RefCell::new(session),
            plain_bytes: Cell::new(0),
            ended: Cell::new(false),
            failure: RefCell::new(None),
        };
        stream.handshake().await?;
        let agreed = stream.session.borrow().alpn_protocol().is_none_or(|protocol| protocol == ALPN);
        if !agreed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "peer chose another protocol than http/1.1"));
        }
        Ok(stream)
    }

    async fn handshake(&self) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.session.borrow().is_handshaking() {
                return Ok(());
            }
            let filled = self.fill(&mut self.session.borrow_mut());
            match filled {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(()) if self.failure.borrow().is_some() => continue,
                Ok(()) if self.ended.get() && self.session.borrow().is_handshaking() => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "peer left during the tls handshake"));
                }
                Ok(()) => continue,
            }
            self.socket.readable().await?;
        }
    }

    /// Reads decrypted bytes that are there. `Ok(0)` is an end that the peer declared.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there yet; `UnexpectedEof` when the connection ended without the peer's close
    /// message, so that what came may be cut; `InvalidData` when the peer breaks the protocol.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let mut session = self.session.borrow_mut();
        for _ in 0..BARREN_READS_MAX {
            match session.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.fill(&mut session)?,
                Err(error) => return Err(error),
                Ok(count) => {
                    self.plain_bytes.set(self.plain_bytes.get().saturating_sub(count));
                    return Ok(count);
                }
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Takes as many bytes of the slices as fit into 64 KiB of waiting bytes, and hands the kernel what it takes now.
    ///
    /// Bytes taken are not yet sent: call [`TlsStream::flush`] after the last of a message.
    ///
    /// # Errors
    /// `WouldBlock` when nothing more fits; [`TlsStream::writable`] waits for room.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        self.drain(&mut session)?;
        let taken = session.writer().write_vectored(slices)?;
        self.drain(&mut session)?;
        if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// As [`TlsStream::try_write_vectored`], for one slice.
    ///
    /// # Errors
    /// The same.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    /// Whether bytes that were taken still wait for the kernel.
    pub fn is_unflushed(&self) -> bool {
        self.session.borrow().wants_write()
    }

    /// Waits until the kernel has all bytes that were taken.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn flush(&self) -> io::Result<()> {
        loop {
            {
                let mut session = self.session.borrow_mut();
                self.drain(&mut session)?;
                if !session.wants_write() {
                    return Ok(());
                }
            }
            self.socket.writable().await?;
        }
    }

    /// Waits until a read may give something: at once when plaintext or the end is here already.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn readable(&self) -> io::Result<()> {
        if self.plain_bytes.get() > 0 || self.ended.get() {
            return Ok(());
        }
        self.socket.readable().await
    }

    /// Waits until a write has room, by sending what waits.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn writable(&self) -> io::Result<()> {
        self.flush().await
    }

    /// Tells whether plaintext, the end or an error wait to be read. On a pooled connection each of them means: destroy it.
    ///
    /// Session tickets and key updates come unasked on a healthy idle connection; they are taken in and do not count.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        for _ in 0..BARREN_READS_MAX {
            if self.plain_bytes.get() > 0 || self.ended.get() {
                return true;
            }
            if !self.socket.is_readable() {
                return false;
            }
            let filled = self.fill(&mut self.session.borrow_mut());
            match filled {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
        true
    }

    /// Tells the peer that we send no more, as far as the kernel takes it now; for a connection about to be dropped.
    pub fn close(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        // An error means that the peer is gone and needs no farewell.
        let _ = self.drain(&mut session);
    }

    /// Reads ciphertext once and decrypts all complete records of it.
    ///
    /// A bad record is an error from the next call on, so that the good ones before it can be read first.
    fn fill(&self, session: &mut RefMut<'_, ClientConnection>) -> io::Result<()> {
        if let Some(error) = &*self.failure.borrow() {
            return Err(invalid(error.clone()));
        }
        if session.read_tls(&mut Wire(&self.socket))? == 0 {
            self.ended.set(true);
        }
        match session.process_new_packets() {
            Ok(state) => {
                self.plain_bytes.set(state.plaintext_bytes_to_read());
                if state.peer_has_closed() {
                    self.ended.set(true);
                }
            }
            Err(error) => {
                self.ended.set(true);
                // The alert tells the peer why; whether it arrives changes nothing here.
                let _ = self.drain(session);
                self.failure.replace(Some(error));
                return Ok(());
            }
        }
        // Answers of the protocol itself, such as to a key update. A broken socket shows at the next write of ours.
        let _ = self.drain(session);
        Ok(())
    }

    /// Hands ciphertext to the kernel until it takes no more.
    fn drain(&self, session: &mut RefMut<'_, ClientConnection>) -> io::Result<()> {
        while session.wants_write() {
            match session.write_tls(&mut Wire(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The socket as rustls wants to see it.
struct Wire<'a>(&'a Socket);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
