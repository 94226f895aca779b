//! The certificates of the edge, replaced while it serves.
//!
//! All are read together, or none is replaced. A handshake takes what is there at its start; open connections stay.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use thiserror::Error;

use crate::base::Swap;

/// Others may not read a key at all, and the group may only read it.
const KEY_MODE_REFUSED: u32 = 0o037;

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM file of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// Why certificates are refused.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Read(String, io::Error),
    /// Others could read the key.
    #[error("{0}: mode {1:04o} lets others read the key; run `chmod 0600` on it")]
    Mode(String, u32),
    /// Not a PEM file of what is wanted.
    #[error("{0}: not a PEM file of {1}")]
    Form(String, &'static str),
    /// Key and certificate do not fit, or the library knows neither of them.
    #[error("{0}: {1}")]
    Refused(String, rustls::Error),
}

/// The certificates that are shown to clients.
pub struct Certificates {
    pairs: Vec<Pair>,
    current: Swap<Vec<Arc<CertifiedKey>>>,
}

/// Sizes and times of the files: another stamp means that something changed.
pub type CertificateStamp = Vec<Option<(u64, Option<SystemTime>)>>;

impl Certificates {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(pairs: Vec<Pair>) -> Result<Self, CertificateError> {
        let current = Swap::new(read_all(&pairs)?);
        Ok(Self { pairs, current })
    }

    /// Reads all of them again.
    ///
    /// # Errors
    /// The first that cannot be used; nothing has changed then.
    pub fn reload(&self) -> Result<(), CertificateError> {
        self.current.store(read_all(&self.pairs)?);
        Ok(())
    }

    /// The present stamp of all files.
    #[must_use]
    pub fn stamp(&self) -> CertificateStamp {
        let look = |path: &PathBuf| fs::metadata(path).ok().map(|seen| (seen.len(), seen.modified().ok()));
        self.pairs.iter().flat_map(|pair| [look(&pair.cert), look(&pair.key)]).collect()
    }
}

/// The settings of TLS towards clients: 1.2 and 1.3, with these certificates.
///
/// # Errors
/// When the library refuses its own settings.
pub(super) fn tls_settings(certificates: Arc<Certificates>) -> Result<ServerConfig, rustls::Error> {
    let mut settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(settings)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.current.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| all.iter().find(|certified| carries(certified, &name)));
        named.or(all.first()).cloned()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificates").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

fn carries(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn read_all(pairs: &[Pair]) -> Result<Vec<Arc<CertifiedKey>>, CertificateError> {
    pairs.iter().map(|pair| read_pair(pair).map(Arc::new)).collect()
}

fn read_pair(pair: &Pair) -> Result<CertifiedKey, CertificateError> {
    let shown = |path: &Path| path.display().to_string();
    let pem = fs::read(&pair.cert).map_err(|error| CertificateError::Read(shown(&pair.cert), error))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| CertificateError::Form(shown(&pair.cert), "certificates"))?;
    let key = read_key(&pair.key)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| CertificateError::Refused(shown(&pair.cert), error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let shown = || path.display().to_string();
    let read = |error| CertificateError::Read(shown(), error);
    let mode = fs::metadata(path).map_err(read)?.permissions().mode() & 0o7777;
    if mode & KEY_MODE_REFUSED != 0 {
        return Err(CertificateError::Mode(shown(), mode));
    }
    let pem = zeroize::Zeroizing::new(fs::read(path).map_err(read)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CertificateError::Form(shown(), "a private key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, hosts: &[&str], mode: u32) -> Pair {
        let made = rcgen::generate_simple_self_signed(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
        let made = made.unwrap();
        let pair = Pair { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        fs::write(&pair.cert, made.cert.pem()).unwrap();
        fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(mode)).unwrap();
        pair
    }

    #[test]
    fn key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false)] {
            let loaded = Certificates::load(vec![write(folder.path(), "a", &["a.test"], mode)]);
            assert_eq!(loaded.is_ok(), accepted, "{mode:o}: {:?}", loaded.err().map(|error| error.to_string()));
        }
    }

    #[test]
    fn broken_files_are_named_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (write(folder.path(), "a", &["a.test"], 0o600), write(folder.path(), "b", &["b.test"], 0o600));
        let certificates = Certificates::load(vec![a.clone(), b.clone()]).unwrap();
        let before = certificates.current.load().first().unwrap().cert.clone();
        let stamp = certificates.stamp();
        for (name, path, text, want) in [
            ("no certificate", &b.cert, "", "b.pem: not a PEM file of certificates"),
            ("no key", &b.key, "x", "b.key: not a PEM file of a private key"),
        ] {
            let kept = fs::read(path).unwrap();
            write(folder.path(), "a", &["a.test"], 0o600);
            fs::write(path, text).unwrap();
            let error = certificates.reload().unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
            assert_eq!(certificates.current.load().first().unwrap().cert, before, "{name}");
            fs::write(path, kept).unwrap();
        }
        assert_ne!(certificates.stamp(), stamp);
        let strangers = Pair { cert: a.cert.clone(), key: b.key.clone() };
        assert!(matches!(Certificates::load(vec![strangers]), Err(CertificateError::Refused(..))));
        certificates.reload().unwrap();
        assert_ne!(certificates.current.load().first().unwrap().cert, before);
    }

    #[test]
    fn name_decides_which_certificate_fits() {
        let folder = tempfile::tempdir().unwrap();
        let pair = write(folder.path(), "a", &["a.test", "*.b.test"], 0o600);
        let certified = read_pair(&pair).unwrap();
        for (name, fits) in [("a.test", true), ("x.b.test", true), ("b.test", false), ("c.test", false)] {
            assert_eq!(carries(&certified, &ServerName::try_from(name).unwrap()), fits, "{name}");
        }
    }
}
