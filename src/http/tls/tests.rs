//! Tests of TLS to providers, against rustls on threads.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    thread::{JoinHandle, spawn},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, pki_types::PrivateKeyDer,
};

use super::*;
use crate::http::socket::Socket;

mod content;

type Tls = StreamOwned<ServerConnection, TcpStream>;
type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Each has its own name: verification must fail on who signed, not on a clash of names.
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    params.distinguished_name = DistinguishedName::new();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    params.distinguished_name.push(DnType::CommonName, format!("test root {serial}"));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

struct Server {
    params: CertificateParams,
    issuer: Option<Ca>,
    alpn: &'static [&'static str],
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Server {
    fn new(issuer: Option<Ca>, names: &[&str]) -> Self {
        Self { params: leaf(names), issuer, alpn: &["http/1.1"], versions: vec![&TLS13, &TLS12] }
    }

    fn config(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = match &self.issuer {
            Some(issuer) => self.params.signed_by(&key, issuer).unwrap(),
            None => self.params.self_signed(&key).unwrap(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Accepts `count` raw connections one after the other and plays `script` on each.
fn raw_server<T: Send + 'static>(
    count: usize,
    mut script: impl FnMut(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let played = spawn(move || {
        (0..count)
            .map(|_| {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                script(socket)
            })
            .collect()
    });
    (address, played)
}

fn tls_server<T: Send + 'static>(
    config: ServerConfig,
    count: usize,
    mut script: impl FnMut(Tls) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<T>>) {
    let config = Arc::new(config);
    raw_server(count, move |socket| {
        script(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket))
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    let limited = crate::http::timeout(Duration::from_secs(60), future);
    crate::http::block_on(limited).unwrap().expect("hangs for 60 s")
}

async fn connect(connector: &TlsConnector, address: SocketAddr, name: &str) -> io::Result<TlsStream> {
    let socket = Socket::connect(address).await?;
    TlsStream::connect(connector, socket, &ServerName::parse(name).unwrap()).await
}

fn trusting(ca: &Ca) -> TlsConnector {
    TlsConnector::from_pem(ca.pem().as_bytes()).unwrap()
}

async fn read_some(stream: &TlsStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.try_read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
            other => return other,
        }
    }
}

async fn write_all(stream: &TlsStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    stream.flush().await
}

async fn is_ready_now<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// Connects once, asks with a canary, and tells what the client met and whether the server read the canary.
fn ask(config: ServerConfig, connector: &TlsConnector, name: &str) -> (io::Result<String>, bool) {
    let (address, played) = tls_server(config, 1, |mut tls| {
        let mut heard = [0; 6];
        let got = tls.read_exact(&mut heard).is_ok() && heard == *b"canary";
        let _ = tls.write_all(b"answer").and_then(|()| tls.flush());
        got
    });
    let answer = block_on(async {
        let stream = connect(connector, address, name).await?;
        write_all(&stream, b"canary").await?;
        let mut into = [0; 64];
        let count = read_some(&stream, &mut into).await?;
        Ok(String::from_utf8_lossy(&into[..count]).into_owned())
    });
    let heard = played.join().unwrap() == [true];
    (answer, heard)
}

#[test]
fn verified_servers_are_spoken_to() {
    for (name, server, asked) in [
        ("name", Server::new(Some(ca()), &["api.example"]), "api.example"),
        ("name in upper case", Server::new(Some(ca()), &["api.example"]), "API.example"),
        ("wildcard", Server::new(Some(ca()), &["*.models.example"]), "api.models.example"),
        ("underscore", Server::new(Some(ca()), &["my_model.example"]), "my_model.example"),
        ("IPv4", Server::new(Some(ca()), &["192.0.2.7"]), "192.0.2.7"),
        ("IPv6", Server::new(Some(ca()), &["2001:db8::7"]), "2001:db8::7"),
        ("TLS 1.2", Server { versions: vec![&TLS12], ..Server::new(Some(ca()), &["api.example"]) }, "api.example"),
        ("TLS 1.3", Server { versions: vec![&TLS13], ..Server::new(Some(ca()), &["api.example"]) }, "api.example"),
        ("no ALPN", Server { alpn: &[], ..Server::new(Some(ca()), &["api.example"]) }, "api.example"),
        (
            "h2 preferred",
            Server { alpn: &["h2", "http/1.1"], ..Server::new(Some(ca()), &["api.example"]) },
            "api.example",
        ),
    ] {
        let connector = trusting(server.issuer.as_ref().unwrap());
        let (answer, heard) = ask(server.config(), &connector, asked);
        assert_eq!((answer.unwrap_or_else(|e| panic!("{name}: {e}")).as_str(), heard), ("answer", true), "{name}");
    }
}

#[test]
fn unverified_servers_get_nothing_of_ours() {
    let trusted = || Server::new(Some(ca()), &["api.example"]);
    let with = |change: fn(&mut CertificateParams)| {
        let mut server = trusted();
        change(&mut server.params);
        server
    };
    for (name, server, asked, want) in [
        ("wrong name", trusted(), "other.example", "not valid for name"),
        ("parent name", trusted(), "example", "not valid for name"),
        ("address for a name", trusted(), "192.0.2.7", "not valid for name"),
        ("expired", with(|params| params.not_after = date_time_ymd(2020, 1, 1)), "api.example", "expired"),
        ("not yet valid", with(|params| params.not_before = date_time_ymd(4000, 1, 1)), "api.example", "not valid yet"),
        ("self-signed", Server::new(None, &["api.example"]), "api.example", "UnknownIssuer"),
        (
            "for clients only",
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "api.example",
            "extended key usage",
        ),
        ("a CA as server", with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "api.example", "CaUsedAs"),
        ("h2 only", Server { alpn: &["h2"], ..trusted() }, "api.example", "NoApplicationProtocol"),
    ] {
        let stranger = ca();
        let connector = trusting(server.issuer.as_ref().unwrap_or(&stranger));
        let (answer, heard) = ask(server.config(), &connector, asked);
        let error = answer.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}: {error}");
        assert!(error.to_string().contains(want), "{name}: {error}");
        assert!(!heard, "{name}");
    }
    let (answer, heard) = ask(trusted().config(), &trusting(&ca()), "api.example");
    assert!(answer.unwrap_err().to_string().contains("UnknownIssuer"));
    assert!(!heard);
}

/// A ServerHello of the given version with a cipher of that time, in a record.
fn old_hello(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    // No session id, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression, no extensions.
    hello.extend([0, 0xc0, 0x13, 0, 0, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, version, 0, length + 4, 2, 0, 0, length];
    record.extend(hello);
    record
}

#[test]
fn peers_without_proper_tls_fail_the_handshake() {
    for (name, answer, kind) in [
        ("TLS 1.1", old_hello(2), ErrorKind::InvalidData),
        ("TLS 1.0", old_hello(1), ErrorKind::InvalidData),
        ("SSL 3.0", old_hello(0), ErrorKind::InvalidData),
        ("protocol version alert", vec![21, 3, 1, 0, 2, 2, 70], ErrorKind::InvalidData),
        ("plain HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), ErrorKind::InvalidData),
        ("noise", vec![0xaa; 64], ErrorKind::InvalidData),
        ("leaves at once", Vec::new(), ErrorKind::UnexpectedEof),
        ("leaves in the hello", old_hello(3)[..20].to_vec(), ErrorKind::UnexpectedEof),
    ] {
        let (address, played) = raw_server(1, move |mut socket| {
            let mut hello = [0; 4_096];
            let count = socket.read(&mut hello).unwrap();
            socket.write_all(&answer).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest);
            (hello[..count].to_vec(), rest)
        });
        let error = block_on(connect(&trusting(&ca()), address, "api.example")).err().expect(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let (hello, rest) = played.join().unwrap().remove(0);
        assert_eq!(hello.first(), Some(&22), "{name}: opened with a handshake record");
        // What follows a failure is an alert of two bytes at most, never a record of ours with content.
        assert!(rest.is_empty() || (rest[0] == 21 && rest.len() == 7), "{name}: {rest:?}");
    }
}

#[test]
fn sessions_are_resumed_within_one_worker() {
    for version in [&TLS13, &TLS12] {
        let server = Server { versions: vec![version], ..Server::new(Some(ca()), &["api.example"]) };
        let connector = trusting(server.issuer.as_ref().unwrap());
        let mut config = server.config();
        config.ticketer = ring::Ticketer::new().unwrap();
        let (address, played) = tls_server(config, 3, |mut tls| {
            tls.write_all(b"hello").unwrap();
            tls.flush().unwrap();
            let _ = tls.read(&mut [0; 1]);
            tls.conn.handshake_kind()
        });
        let other = connector.for_worker();
        block_on(async {
            for connector in [&connector, &connector, &other] {
                let stream = connect(connector, address, "api.example").await.unwrap();
                read_some(&stream, &mut [0; 64]).await.unwrap();
                stream.close();
            }
        });
        let kinds = played.join().unwrap();
        assert_eq!(
            kinds,
            [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed), Some(HandshakeKind::Full)],
            "{version:?}"
        );
    }
}

#[test]
fn roots_must_be_certificates() {
    let good = ca().pem();
    let other = ca().pem();
    let garbled = good.replacen("MII", "AAA", 1);
    for (name, pem, want) in [
        ("one", good.clone(), true),
        ("two", format!("{good}{other}"), true),
        ("with comments", format!("# mine\n{good}\n"), true),
        ("empty", String::new(), false),
        ("text", "hello".to_owned(), false),
        ("a key only", KeyPair::generate().unwrap().serialize_pem(), false),
        ("garbled", garbled.clone(), false),
        ("second garbled", format!("{good}{garbled}"), false),
        ("cut", good[..good.len() / 2].to_owned(), false),
    ] {
        assert_eq!(TlsConnector::from_pem(pem.as_bytes()).is_ok(), want, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    assert!(matches!(TlsConnector::from_pem_file(&file), Err(RootsError::Read(_))));
    std::fs::write(&file, &good).unwrap();
    assert!(TlsConnector::from_pem_file(&file).is_ok());
}

#[test]
fn server_names_are_names_or_addresses() {
    for (text, good) in [
        ("api.example", true),
        ("192.0.2.7", true),
        ("2001:db8::7", true),
        ("", false),
        ("[2001:db8::7]", false),
        ("api.example:443", false),
        ("a b", false),
        ("*.example", false),
    ] {
        assert_eq!(ServerName::parse(text).is_some(), good, "{text:?}");
    }
}
