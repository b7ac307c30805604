//! Whom we believe: the certificate authorities of the system.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Where distributions keep the bundle of all authorities; the first that exists is taken.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",                  // older ones
    "/etc/ssl/ca-bundle.pem",                            // SUSE
    "/etc/ssl/cert.pem",                                 // Alpine
];

/// The authorities of the system and `extra`. `SSL_CERT_FILE` names another bundle, as for other programs.
pub(super) fn load(extra: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let named = std::env::var_os("SSL_CERT_FILE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let bundle = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|p| p.is_file()));
    if let Some(path) = &bundle {
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|e| format!("tls: can't read the certificates in {}: {e}", path.display()))?;
        // Old bundles hold certificates that today's rules refuse; the others still count.
        store.add_parsable_certificates(certificates.flatten());
    }
    store.add_parsable_certificates(extra.iter().cloned());
    if store.is_empty() {
        return Err("tls: no certificate authorities on this machine (install the package ca-certificates)".to_owned());
    }
    Ok(store)
}
