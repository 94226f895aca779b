//! Taking connections of the edge: first, who they are from.
//!
//! The listener is a Unix socket in the folder of the process; the peer must be of the same user, and the first bytes must
//! be the preamble of our own edge (rules E-01, E-02). After that a connection is one of any client: everything that it
//! sends is as hostile as what arrives on the public port.

use std::{
    io,
    net::TcpStream,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    rc::Rc,
    time::Duration,
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::Uid,
};

use crate::{
    base::{
        log::{Level, Value, emit},
        yield_now,
    },
    http::{PREAMBLE_HEAD_BYTES, Preamble, Socket, sleep, spawn, timeout},
    proxy::Context,
};

use super::accept::{BATCH_MAX, PAUSE_MAX, PAUSE_MIN, admit, is_of_one_connection, watch};

/// Time for the preamble, which the edge writes as soon as it has connected.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts until the worker ends: in a drain too, because a client of HTTP/2 may send a request before it has heard of it.
///
/// # Errors
/// The error of registering the listener with the driver.
pub(super) async fn run(context: Rc<Context>, listener: UnixListener) -> io::Result<()> {
    let waiting = watch(listener.try_clone()?)?;
    let mut pause = PAUSE_MIN;
    loop {
        waiting.readable().await?;
        for _ in 0..BATCH_MAX {
            match listener.accept() {
                Ok((stream, _)) => {
                    pause = PAUSE_MIN;
                    context.block.accepted.inc();
                    spawn(welcome(Rc::clone(&context), stream));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    waiting.found_nothing();
                    break;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    break;
                }
            }
        }
        yield_now().await;
    }
}

async fn welcome(context: Rc<Context>, stream: UnixStream) {
    match timeout(PREAMBLE_TIMEOUT, identify(&stream)).await {
        Ok(Ok(preamble)) => {
            let client = preamble.client.to_string();
            let fields = [
                ("client", Value::Text(&client)),
                ("tls", Value::Text(&preamble.tls_version)),
                ("alpn", Value::Text(&preamble.alpn)),
            ];
            emit(Level::Debug, "connection from the edge", &fields);
            admit(&context, in_tcp_clothes(stream), preamble.client);
        }
        Ok(Err(error)) => refuse(&context, &error.to_string()),
        Err(_) => refuse(&context, "no preamble in time"),
    }
}

fn refuse(context: &Context, reason: &str) {
    context.block.refused_connections.inc();
    emit(Level::Warn, "a connection to the edge's socket was refused", &[("reason", Value::Text(reason))]);
}

/// Checks the peer and reads its preamble, and no byte more.
async fn identify(stream: &UnixStream) -> io::Result<Preamble> {
    if getsockopt(stream, PeerCredentials)?.uid() != Uid::effective().as_raw() {
        return Err(io::Error::other("the peer is another user"));
    }
    stream.set_nonblocking(true)?;
    let waiting = watch(stream.try_clone()?)?;
    let mut head = [0u8; PREAMBLE_HEAD_BYTES];
    read_exact(&waiting, &mut head).await?;
    let mut rest = vec![0u8; Preamble::rest_len(&head).map_err(io::Error::other)?];
    read_exact(&waiting, &mut rest).await?;
    Preamble::decode(&head, &rest).map_err(io::Error::other)
}

async fn read_exact(socket: &Socket, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match socket.try_read(into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => into = into.split_at_mut_checked(count).map_or(&mut [], |(_, rest)| rest),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The connections of a worker are streams of bytes, whatever carries them.
fn in_tcp_clothes(stream: UnixStream) -> TcpStream {
    TcpStream::from(OwnedFd::from(stream))
}
