//! TLS for one registry: whom we believe, and who we are.
//!
//! Besides the authorities of the system, `certs.d/<host:port>/` speaks for one registry alone, laid out as Docker has
//! it: `*.crt` are authorities, `NAME.cert` with `NAME.key` says who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{Config, roots};

/// The certificates in one directory of `certs.d`.
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    /// Chain and key.
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// The directory for `host:port`, if there is one.
pub(super) fn directory(certs_d: Option<&Path>, authority: &str) -> Option<PathBuf> {
    // A name of a directory, not a way out of it.
    let plain = !authority.is_empty() && !authority.contains(['/', '\0']) && !authority.starts_with('.');
    certs_d.filter(|_| plain).map(|d| d.join(authority)).filter(|d| d.is_dir())
}

/// When something in the directory was changed last, in nanoseconds.
pub(super) fn stamp(directory: &Path) -> u128 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
    let times = entries.chain([directory.to_owned()]).filter_map(|p| std::fs::metadata(p).ok()?.modified().ok());
    let newest = times.max().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    newest.map_or(0, |age| age.as_nanos())
}

/// What a connection to `host:port` needs.
pub(super) fn config(config: &Config, authority: &str) -> Result<ClientConfig, String> {
    let own = match directory(config.certs_d.as_deref(), authority) {
        Some(dir) => read(&dir)?,
        None => Own::default(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?;
    let builder = if config.insecure.covers(authority) {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
    } else {
        let extra: Vec<_> = config.extra_roots.iter().cloned().chain(own.authorities).collect();
        builder.with_root_certificates(roots::load(&extra)?)
    };
    match own.identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| format!("tls: the client certificate for {authority}: {e}")),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn read(dir: &Path) -> Result<Own, String> {
    let mut own = Own::default();
    let entries = std::fs::read_dir(dir).map_err(|e| format!("tls: can't read {}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in &paths {
        let other = |extension| path.with_extension(extension);
        let missing = |what: &str, other: PathBuf| {
            format!("tls: {} has no {what} {} beside it (authorities end in .crt)", path.display(), other.display())
        };
        match path.extension().and_then(|e| e.to_str()) {
            Some("crt") => own.authorities.extend(certificates(path)?),
            Some("cert") if !other("key").is_file() => return Err(missing("key", other("key"))),
            Some("cert") => {
                let key = PrivateKeyDer::from_pem_file(other("key"))
                    .map_err(|e| format!("tls: can't read the key in {}: {e}", other("key").display()))?;
                own.identity = Some((certificates(path)?, key));
            }
            Some("key") if !other("cert").is_file() => return Err(missing("certificate", other("cert"))),
            _ => {}
        }
    }
    Ok(own)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |e| format!("tls: can't read the certificates in {}: {e}", path.display());
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
    list.map_err(failed)
}

/// Believes every certificate; only for registries that the administrator called insecure.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
