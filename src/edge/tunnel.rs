//! HTTP/1.1 inside TLS: its bytes go to a worker as they are.
//!
//! The worker parses, refuses, limits and times out exactly as on its public port. Nothing is gathered here: what one side
//! sends is written to the other before more is read, so a reader that is slow slows its writer.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    time::timeout,
};

/// Bytes taken at a time, each way: few on a connection that idles or streams events, more where more comes.
const CHUNK_BYTES_MIN: usize = 2 * 1024;
const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// Time that a client gets to close after the worker has.
const LINGER: Duration = Duration::from_secs(1);

/// Carries bytes both ways until one side has gone, or both have ended.
///
/// `stall` bounds the time in which a side takes no byte.
pub(super) async fn tunnel<C, W>(client: C, worker: W, stall: Duration)
where
    C: AsyncRead + AsyncWrite,
    W: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = split(client);
    let (from_worker, to_worker) = split(worker);
    let up = carry(from_client, to_worker, stall);
    let down = carry(from_worker, to_client, stall);
    tokio::pin!(up, down);
    tokio::select! {
        // The client only sends no more, or has left. The worker sees the end and knows which.
        sent = &mut up => if sent.is_ok() {
            let _ = down.await;
        },
        // The worker has ended the connection. What the client still sends is read for a moment: unread bytes would turn
        // the end into a reset, and the client would lose the answer.
        received = &mut down => if received.is_ok() {
            let _ = timeout(LINGER, up).await;
        },
    }
}

/// Carries bytes one way until their end, which is passed on.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, stall: Duration) -> io::Result<()> {
    let mut chunk = vec![0u8; CHUNK_BYTES_MIN];
    loop {
        let count = from.read(&mut chunk).await?;
        let mut left = chunk.get(..count).unwrap_or_default();
        if left.is_empty() {
            return timeout(stall, to.shutdown()).await?;
        }
        while !left.is_empty() {
            let written = timeout(stall, to.write(left)).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = left.get(written..).unwrap_or_default();
        }
        timeout(stall, to.flush()).await??;
        if count == chunk.len() && count < CHUNK_BYTES_MAX {
            chunk.resize(count * 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn end_of_each_side_reaches_the_other_behind_its_bytes() {
        let ((mut client, edge), (worker_side, mut worker)) = (duplex(64 * 1024), duplex(64 * 1024));
        let running = tokio::spawn(tunnel(edge, worker_side, STALL));
        let question: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let sent = question.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut asked = Vec::new();
        worker.read_to_end(&mut asked).await.unwrap();
        let mut client = sending.await.unwrap();
        worker.write_all(b"answer").await.unwrap();
        worker.shutdown().await.unwrap();
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).await.unwrap();
        assert!(asked == question && answered == b"answer");
        running.await.unwrap();
    }

    #[tokio::test]
    async fn client_that_takes_nothing_is_cut() {
        let ((_client, edge), (worker_side, mut worker)) = (duplex(64), duplex(64));
        let running = tokio::spawn(tunnel(edge, worker_side, Duration::from_millis(10)));
        let flood = tokio::spawn(async move { while worker.write_all(&[b'x'; 64]).await.is_ok() {} });
        running.await.unwrap();
        flood.await.unwrap();
    }
}
