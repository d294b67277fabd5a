//! Whom TLS trusts: the system's certificate authorities, or a given bundle and nobody else.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{bundle::BundleVerifier, endpoint::EndpointError};

/// The configuration that trusts the PEM bundle `ca_certs`, or the system when there is none.
pub(super) fn config(ca_certs: Option<&str>) -> Result<Arc<ClientConfig>, EndpointError> {
    ca_certs.map_or_else(system, bundled)
}

/// The system's, read once a process. A failure is not kept: the certificates may be installed later.
fn system() -> Result<Arc<ClientConfig>, EndpointError> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(Arc::clone(config));
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "part of the system's certificate authorities cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(EndpointError::NoSystemRoots);
    }
    let config = trusting(roots)?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| config)))
}

fn bundled(bundle: &str) -> Result<Arc<ClientConfig>, EndpointError> {
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| refusal(&error))?;
        roots.add(certificate.clone()).map_err(|error| refusal(&error))?;
        certificates.push(certificate);
    }
    if roots.is_empty() {
        return Err(EndpointError::CaCerts("the bundle holds no PEM certificate".into()));
    }
    let verifier = BundleVerifier::new(roots, certificates).map_err(|error| refusal(&error))?;
    let config = versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(speaking_http(config))
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, EndpointError> {
    Ok(speaking_http(versions()?.with_root_certificates(roots).with_no_client_auth()))
}

fn versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, EndpointError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refusal(&error))
}

fn speaking_http(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Why a handshake failed, in words for whom the library has only the name of its error.
pub(super) fn explain(error: &std::io::Error) -> Box<str> {
    let said = error.to_string();
    if said.contains("CaUsedAsEndEntity") {
        return "invalid peer certificate: it is a certificate authority's own (CA:TRUE); \
                a server needs one that the authority has signed, with CA:FALSE"
            .into();
    }
    said.into()
}

fn refusal(error: &dyn std::error::Error) -> EndpointError {
    EndpointError::CaCerts(error.to_string().into())
}
