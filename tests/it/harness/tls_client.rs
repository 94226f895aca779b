//! A certificate of the edge, and a client that trusts only it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The name that the certificates carry.
pub(crate) const NAME: &str = "gateway.test";

/// A certificate and its key, in files of their own.
pub(crate) struct Identity {
    folder: TempDir,
    roots: Vec<CertificateDer<'static>>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let mut identity = Self { folder: tempfile::tempdir().unwrap(), roots: Vec::new() };
        identity.renew();
        identity
    }

    /// Puts another certificate and key into the files; the one before stays trusted. Returns the new one.
    pub(crate) fn renew(&mut self) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        // By renaming, the key first: a reader in between gets a pair that does not fit, and tries again.
        self.replace("key.pem", &made.signing_key.serialize_pem());
        self.replace("cert.pem", &made.cert.pem());
        self.roots.push(made.cert.der().clone());
        made.cert.der().to_vec()
    }

    /// Puts any text into the file of the certificate.
    pub(crate) fn spoil(&self) {
        self.replace("cert.pem", "not a certificate");
    }

    fn replace(&self, name: &str, text: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&next, self.folder.path().join(name)).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The lines of the settings that put it in front of a gateway.
    pub(crate) fn server_lines(&self) -> String {
        let at = self.folder().display();
        format!("edge: {{listen: \"127.0.0.1:0\", certificates: [{{cert: {at}/cert.pem, key: {at}/key.pem}}]}}\n")
    }

    /// Settings of a client that offers these protocols.
    pub(crate) fn config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.roots {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    pub(crate) fn stream(&self, mut tcp: TcpStream, alpn: &[&[u8]]) -> TlsStream {
        let name = ServerName::try_from(NAME).unwrap();
        let mut client = ClientConnection::new(self.config(alpn), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut tcp).unwrap();
        }
        StreamOwned::new(client, tcp)
    }
}
