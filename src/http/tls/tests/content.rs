//! What passes through a connection after its handshake.

use super::*;

#[test]
fn declared_end_differs_from_a_cut() {
    for (name, polite, want) in [("declared", true, Ok(0)), ("cut", false, Err(ErrorKind::UnexpectedEof))] {
        let server = Server::new(Some(ca()), &["api.example"]);
        let connector = trusting(server.issuer.as_ref().unwrap());
        let (address, played) = tls_server(server.config(), 1, move |mut tls| {
            tls.write_all(b"half").unwrap();
            if polite {
                tls.conn.send_close_notify();
            }
            tls.flush().unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = tls.sock.read_to_end(&mut Vec::new());
        });
        block_on(async {
            let stream = connect(&connector, address, "api.example").await.unwrap();
            let mut into = [0; 64];
            assert_eq!(read_some(&stream, &mut into).await.unwrap(), 4, "{name}");
            assert_eq!(read_some(&stream, &mut into).await.map_err(|e| e.kind()), want, "{name}");
            assert!(is_ready_now(stream.readable()).await, "{name}");
            assert!(stream.is_readable(), "{name}");
            assert_eq!(stream.try_read(&mut into).map_err(|e| e.kind()), want, "{name}: again");
        });
        played.join().unwrap();
    }
}

#[test]
fn broken_record_is_an_error_and_not_content() {
    let server = Server::new(Some(ca()), &["api.example"]);
    let connector = trusting(server.issuer.as_ref().unwrap());
    let (address, played) = tls_server(server.config(), 1, |mut tls| {
        tls.write_all(b"good").unwrap();
        tls.flush().unwrap();
        let mut forged = vec![23, 3, 3, 0, 64];
        forged.extend([0x41; 64]);
        tls.sock.write_all(&forged).unwrap();
        let _ = tls.sock.read_to_end(&mut Vec::new());
    });
    block_on(async {
        let stream = connect(&connector, address, "api.example").await.unwrap();
        let mut into = [0; 64];
        let mut got = Vec::new();
        let error = loop {
            match read_some(&stream, &mut into).await {
                Ok(count) => got.extend_from_slice(&into[..count]),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(got, b"good");
        assert!(stream.is_readable());
    });
    played.join().unwrap();
}

#[test]
fn readable_is_ready_while_plaintext_waits() {
    let server = Server::new(Some(ca()), &["api.example"]);
    let connector = trusting(server.issuer.as_ref().unwrap());
    let (address, played) = tls_server(server.config(), 1, |mut tls| {
        tls.write_all(&[9; 100]).unwrap();
        tls.flush().unwrap();
        let _ = tls.read(&mut [0; 1]);
    });
    block_on(async {
        let stream = connect(&connector, address, "api.example").await.unwrap();
        let mut into = [0; 30];
        for left in [70, 40, 10] {
            assert_eq!(read_some(&stream, &mut into).await.unwrap(), 30);
            assert!(is_ready_now(stream.readable()).await, "{left} left");
            assert!(stream.is_readable(), "{left} left");
        }
        assert_eq!(read_some(&stream, &mut into).await.unwrap(), 10);
        assert!(!is_ready_now(stream.readable()).await);
        assert!(!stream.is_readable());
        stream.close();
    });
    played.join().unwrap();
}

#[test]
fn session_tickets_do_not_make_an_idle_connection_stale() {
    let server = Server { versions: vec![&TLS13], ..Server::new(Some(ca()), &["api.example"]) };
    let connector = trusting(server.issuer.as_ref().unwrap());
    let (address, played) = tls_server(server.config(), 1, |mut tls| {
        tls.conn.complete_io(&mut tls.sock).unwrap();
        tls.flush().unwrap();
        let _ = tls.read(&mut [0; 1]);
    });
    block_on(async {
        let stream = connect(&connector, address, "api.example").await.unwrap();
        // The tickets come behind the handshake.
        stream.readable().await.unwrap();
        assert!(!stream.is_readable());
        stream.close();
    });
    played.join().unwrap();
}

#[test]
fn large_bodies_pass_both_ways() {
    let server = Server::new(Some(ca()), &["api.example"]);
    let connector = trusting(server.issuer.as_ref().unwrap());
    let body: Vec<u8> = (0..1_000_003_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let bytes = body.len();
    let (address, played) = tls_server(server.config(), 1, move |mut tls| {
        let mut heard = vec![0; bytes];
        tls.read_exact(&mut heard).unwrap();
        tls.write_all(&heard).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        let _ = tls.sock.read_to_end(&mut Vec::new());
    });
    block_on(async {
        let stream = connect(&connector, address, "api.example").await.unwrap();
        write_all(&stream, &body).await.unwrap();
        let mut echo = Vec::new();
        let mut into = vec![0; 50_000];
        loop {
            match read_some(&stream, &mut into).await.unwrap() {
                0 => break,
                count => echo.extend_from_slice(&into[..count]),
            }
        }
        assert!(echo == body, "{} of {bytes} bytes came back, or other ones", echo.len());
    });
    played.join().unwrap();
}

#[test]
fn peer_that_does_not_read_stops_our_writes() {
    let server = Server::new(Some(ca()), &["api.example"]);
    let connector = trusting(server.issuer.as_ref().unwrap());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (address, played) = tls_server(server.config(), 1, move |mut tls| {
        tls.conn.complete_io(&mut tls.sock).unwrap();
        wait.recv().unwrap();
        let mut heard = Vec::new();
        let _ = tls.read_to_end(&mut heard);
        heard.len()
    });
    let sent = block_on(async {
        let stream = connect(&connector, address, "api.example").await.unwrap();
        let piece = [5; 10_000];
        let mut sent = 0;
        loop {
            match stream.try_write_vectored(&[IoSlice::new(&piece), IoSlice::new(&piece)]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    // The kernel may find room of its own accord, as it enlarges the peer's buffer; it does so a few times.
                    if !is_ready_now(stream.writable()).await {
                        break;
                    }
                }
            }
            assert!(sent < 64 << 20, "nothing stops the writes");
        }
        go.send(()).unwrap();
        stream.writable().await.unwrap();
        stream.close();
        // Leaving with the tickets unread would be a reset, which takes bytes under way with it.
        let _ = read_some(&stream, &mut [0; 64]).await;
        sent
    });
    assert_eq!(played.join().unwrap(), [sent]);
}
