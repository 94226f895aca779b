//! TLS to providers: always verified, never optional.
//!
//! The one file in `http/` that names rustls. There is no switch that turns verification off, no fallback to an older
//! version, and no way back to plain text: a connection that cannot be verified is an error and sends nothing of ours.

mod stream;
#[cfg(test)]
mod tests;

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{self, CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use thiserror::Error;

pub use stream::TlsStream;

/// The one protocol that we speak inside TLS.
const ALPN: &[u8] = b"http/1.1";
/// Most providers whose sessions one worker remembers.
const SESSIONS_MAX: usize = 256;

/// Why there are no certificates to trust.
#[derive(Debug, Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error("certificate file: {0}")]
    Read(#[from] io::Error),
    /// The file is no PEM, or a certificate in it cannot be parsed.
    #[error("certificate file: not a PEM file of certificates")]
    Form,
    /// Nothing was found; `detail` says what the system's store answered.
    #[error("no trusted certificates found{detail}")]
    Empty {
        /// Empty, or the first problem met, after a colon.
        detail: String,
    },
    /// The cryptography library refuses its own set-up.
    #[error("tls set-up: {0}")]
    SetUp(#[from] rustls::Error),
}

/// Opens verified connections. Cheap to clone.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Trusts what the operating system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name another place.
    ///
    /// Reads files: not for a worker. Certificates that cannot be parsed are skipped.
    ///
    /// # Errors
    /// [`RootsError::Empty`] when not one certificate is left.
    pub fn from_system() -> Result<Self, RootsError> {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(loaded.certs);
        if roots.is_empty() {
            let detail = loaded.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(RootsError::Empty { detail });
        }
        Self::new(roots)
    }

    /// The verifying configuration, for connections outside of the data path.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Trusts the certificates of one PEM file and nothing else.
    ///
    /// # Errors
    /// When the file cannot be read, holds none, or holds one that cannot be parsed.
    pub fn from_pem_file(path: &Path) -> Result<Self, RootsError> {
        Self::from_pem(&std::fs::read(path)?)
    }

    fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| RootsError::Form)?;
            roots.add(certificate).map_err(|_| RootsError::Form)?;
        }
        if roots.is_empty() {
            return Err(RootsError::Empty { detail: String::new() });
        }
        Self::new(roots)
    }

    fn new(roots: RootCertStore) -> Result<Self, RootsError> {
        // The provider is named, because another crate in the process may install a different default.
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config) }.for_worker())
    }

    /// Returns a connector with a session memory of its own, so that workers do not share a lock.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self { config: Arc::new(config) }
    }
}

/// The name or address that a provider's certificate must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(pki_types::ServerName<'static>);

impl ServerName {
    /// Parses a host name, or an address without brackets. `None` when it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        pki_types::ServerName::try_from(text).ok().map(|name| Self(name.to_owned()))
    }
}
