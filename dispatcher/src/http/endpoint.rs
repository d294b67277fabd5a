//! A URL that events are sent to, made ready once.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use url::Url;

use super::tls;

/// Where requests go: the host, the part of the request that never changes, and whom TLS trusts.
///
/// Shared between workers. Two endpoints on the same host, port and trust share connections.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) origin: Origin,
    /// Host and port as the URL has them, for messages.
    pub(super) authority: Box<str>,
    /// Request line and the headers that are the same for every request.
    pub(super) prefix: Box<[u8]>,
    pub(super) tls: Option<Tls>,
}

/// What must be equal for two endpoints to share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) host: Host,
    pub(super) port: u16,
    trust: Trust,
}

/// A host as the URL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Name(Arc<str>),
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Trust {
    Plaintext,
    System,
    Bundle(Arc<str>),
}

/// What a handshake needs.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Why a URL, or the certificates beside it, cannot be an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Only `http` and `https` are spoken.
    #[error("scheme {0} is not http or https")]
    Scheme(Box<str>),
    /// Credentials do not belong into a URL, and would end in logs.
    #[error("URL holds a user name or a password")]
    UserInfo,
    /// The URL names no host, or one that TLS cannot check.
    #[error("URL has no usable host name")]
    Host,
    /// The CA bundle has a broken or unusable certificate, or none at all.
    #[error("CA certificates: {0}")]
    CaCerts(Box<str>),
    /// The machine has no certificate authorities that `https` without a bundle could trust.
    #[error(
        "the system has no certificate authorities: install its CA certificates or give a bundle"
    )]
    NoSystemRoots,
}

impl Endpoint {
    /// Makes `url` ready. A fragment is ignored; path and query are sent as they are.
    ///
    /// `ca_certs` is a PEM bundle that replaces the system's certificate authorities for this
    /// endpoint (Knative's `CACerts`); it is ignored for `http`. The system's are read from its
    /// files at the first `https` endpoint without a bundle, once a process: not for a worker.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL or the bundle; see [`EndpointError`].
    pub fn new(url: &Url, ca_certs: Option<&str>) -> Result<Self, EndpointError> {
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(EndpointError::Scheme(other.into())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::UserInfo);
        }
        let host = match url.host().ok_or(EndpointError::Host)? {
            url::Host::Domain(name) => Host::Name(name.into()),
            url::Host::Ipv4(address) => Host::Address(address.into()),
            url::Host::Ipv6(address) => Host::Address(address.into()),
        };
        let port = url.port_or_known_default().ok_or(EndpointError::Host)?;
        let tls = is_tls.then(|| Tls::new(&host, ca_certs)).transpose()?;
        let trust = match (is_tls, ca_certs) {
            (false, _) => Trust::Plaintext,
            (true, None) => Trust::System,
            (true, Some(bundle)) => Trust::Bundle(bundle.into()),
        };
        let host_text = url.host_str().unwrap_or_default();
        Ok(Self {
            origin: Origin { host, port, trust },
            authority: format!("{host_text}:{port}").into(),
            prefix: prefix(url, host_text).into_bytes().into(),
            tls,
        })
    }

    /// Host and port, as a log line names the endpoint.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl Tls {
    fn new(host: &Host, ca_certs: Option<&str>) -> Result<Self, EndpointError> {
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            // A final dot is for the resolver; no certificate has it.
            Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| EndpointError::Host)?,
        };
        Ok(Self { config: tls::config(ca_certs)?, name })
    }
}

fn prefix(url: &Url, host: &str) -> String {
    let mut text = format!("POST {}", url.path());
    // Writing to a string cannot fail.
    if let Some(query) = url.query() {
        let _infallible = write!(text, "?{query}");
    }
    let _infallible = write!(text, " HTTP/1.1\r\nhost: {host}");
    if let Some(port) = url.port() {
        let _infallible = write!(text, ":{port}");
    }
    text.push_str("\r\nuser-agent: catchment\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(&url.parse().unwrap(), None)
    }

    #[test]
    fn the_request_line_is_the_url_s() {
        for (url, line, host) in [
            ("http://sink.example", "POST / HTTP/1.1", "sink.example"),
            ("http://Sink.Example:80/a b?c=d#e", "POST /a%20b?c=d HTTP/1.1", "sink.example"),
            ("http://[::1]:8080/?", "POST /? HTTP/1.1", "[::1]:8080"),
            ("http://0x7f.1:81/x%0d%0a", "POST /x%0d%0a HTTP/1.1", "127.0.0.1:81"),
            ("http://s/a\r\nb", "POST /ab HTTP/1.1", "s"),
        ] {
            let expected = format!("{line}\r\nhost: {host}\r\nuser-agent: catchment\r\n");
            assert_eq!(str::from_utf8(&endpoint(url).unwrap().prefix).unwrap(), expected);
        }
    }

    #[test]
    fn a_url_that_cannot_be_sent_to_is_refused() {
        for (url, error) in [
            ("ftp://a/", EndpointError::Scheme("ftp".into())),
            ("mailto:a@b", EndpointError::Scheme("mailto".into())),
            ("http://user@a/", EndpointError::UserInfo),
            ("http://:secret@a/", EndpointError::UserInfo),
        ] {
            assert_eq!(endpoint(url).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for bundle in ["", "nothing", broken, hollow] {
            let url = "https://a/".parse().unwrap();
            let error = Endpoint::new(&url, Some(bundle)).unwrap_err();
            assert!(matches!(error, EndpointError::CaCerts(_)), "{bundle:?}: {error:?}");
        }
    }

    #[test]
    fn paths_share_connections_and_trust_does_not() {
        let origin = |url: &str| endpoint(url).unwrap().origin;
        assert_eq!(origin("http://a/x"), origin("http://a:80/y"));
        assert_ne!(origin("http://a/"), origin("http://a:81/"));
        let ca = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
        let trusted = Endpoint::new(&"https://a:80/".parse().unwrap(), Some(&ca)).unwrap();
        assert_ne!(origin("http://a:80/"), trusted.origin);
    }
}
