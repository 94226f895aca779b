//! A provider behind TLS, with any certificate.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate, for a file of trusted ones.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server that shows a certificate for `name`, valid now.
    pub(crate) fn serve(&self, name: &str) -> TlsProvider {
        self.serve_with(name, Manners::Honest, |_| {})
    }

    /// As [`Authority::serve`], but each request is refused with 413 after its first bytes, and no more of it is read.
    pub(crate) fn serve_refusing(&self, name: &str) -> TlsProvider {
        self.serve_with(name, Manners::Refusing, |_| {})
    }

    /// As [`Authority::serve`], with a certificate that ended in 2020.
    pub(crate) fn serve_expired(&self, name: &str) -> TlsProvider {
        self.serve_with(name, Manners::Honest, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    fn serve_with(&self, name: &str, manners: Manners, change: impl FnOnce(&mut CertificateParams)) -> TlsProvider {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsProvider::start(config, manners)
    }
}

#[derive(Debug, Clone, Copy)]
enum Manners {
    Honest,
    Refusing,
}

/// What came, as the server saw it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Every byte off the wire.
    pub(crate) wire: Vec<u8>,
    /// Whole requests, decrypted.
    pub(crate) requests: Vec<String>,
    /// How each handshake that ended went.
    pub(crate) handshakes: Vec<HandshakeKind>,
}

/// A provider that answers each request with a whole chat completion, and closes after every second one.
pub(crate) struct TlsProvider {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl TlsProvider {
    fn start(config: ServerConfig, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (config, shown) = (Arc::new(config), Arc::clone(&seen));
        // It ends with the test binary, and so do its connections.
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&shown));
                thread::spawn(move || {
                    let session = ServerConnection::new(config).unwrap();
                    // A client that refuses us is what many tests are about.
                    let tls = StreamOwned::new(session, Wire { socket, seen: Arc::clone(&seen) });
                    let _ = match manners {
                        Manners::Honest => serve(tls, &seen),
                        Manners::Refusing => refuse(tls),
                    };
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }
}

fn serve(mut tls: StreamOwned<ServerConnection, Wire>, seen: &Mutex<Seen>) -> io::Result<()> {
    tls.conn.complete_io(&mut tls.sock)?;
    seen.lock().unwrap().handshakes.extend(tls.conn.handshake_kind());
    for last in [false, true] {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut buffer = [0; 4096];
            let count = tls.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..count]);
        }
        seen.lock().unwrap().requests.push(String::from_utf8_lossy(&request).into_owned());
        let body = super::COMPLETION;
        let close = if last { "connection: close\r\n" } else { "" };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{close}content-length: {}", body.len());
        tls.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        tls.flush()?;
    }
    tls.conn.send_close_notify();
    tls.flush()
}

fn refuse(mut tls: StreamOwned<ServerConnection, Wire>) -> io::Result<()> {
    let _ = tls.read(&mut [0; 1024])?;
    tls.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}")?;
    tls.flush()?;
    // Open, and unread, until the peer leaves: a peek takes nothing.
    while tls.sock.socket.peek(&mut [0; 1]).is_ok_and(|count| count > 0) {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The socket, with a record of what came.
struct Wire {
    socket: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(into)?;
        self.seen.lock().unwrap().wire.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
