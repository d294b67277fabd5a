//! The same over TLS, and whom it trusts.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::http::{EndpointError, Phase};

/// A stage whose peers speak TLS as `localhost`.
struct TlsStage {
    stage: Stage,
    acceptor: TlsAcceptor,
}

impl TlsStage {
    /// The certificate is for `name`; the client trusts it, or only another when not `trusted`.
    async fn new(name: &str, trusted: bool) -> Self {
        let issue = || rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (ours, other) = (issue(), issue());
        Self::presenting(&ours, if trusted { &ours } else { &other }).await
    }

    /// The peer has `ours`; the client trusts `authority`.
    async fn presenting(
        ours: &rcgen::CertifiedKey<rcgen::KeyPair>,
        authority: &rcgen::CertifiedKey<rcgen::KeyPair>,
    ) -> Self {
        let key = PrivateKeyDer::from_pem_slice(ours.signing_key.serialize_pem().as_bytes());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![ours.cert.der().clone()], key.unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let settings = ClientSettings { tls_timeout: MOMENT * 50, ..ClientSettings::default() };
        let mut stage = Stage::with(settings).await;
        stage.endpoint = Endpoint::new(&stage.url(), Some(&authority.cert.pem())).unwrap();
        Self { stage, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    async fn accept(&self) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
        let stream = self.acceptor.accept(self.stage.accept().await.stream).await?;
        Ok(Peer { stream, received: Vec::new() })
    }
}

impl Stage {
    fn url(&self) -> url::Url {
        let port = self.listener.local_addr().unwrap().port();
        format!("https://localhost:{port}/").parse().unwrap()
    }
}

#[tokio::test]
async fn a_connection_with_a_given_authority_serves_again() {
    let tls = TlsStage::new("localhost", true).await;
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(LARGE / 8).collect();
    let (first, mut peer) = tokio::join!(tls.stage.send(&large), async {
        let mut peer = tls.accept().await.unwrap();
        assert_eq!(peer.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(peer.request().await.1 == large, "every byte, in order");
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        peer
    });
    assert_eq!(&*first.unwrap().body, b"hello");
    let (second, ()) = tokio::join!(tls.stage.send(b"again"), async {
        assert_eq!(peer.request().await.1, b"again");
        peer.say(ACCEPTED).await;
    });
    assert_eq!(second.unwrap().status, 202);
    assert_eq!(tls.stage.client.counters().opened, 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_refused() {
    for (name, trusted, reason) in [
        ("localhost", false, "invalid peer certificate"),
        ("other.example", true, "not valid for name"),
    ] {
        let tls = TlsStage::new(name, trusted).await;
        let (result, accepted) = tokio::join!(tls.stage.send(b"hello"), tls.accept());
        let error = result.unwrap_err();
        assert!(matches!(error, SendError::Tls { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(accepted.is_err());
    }
}

/// What `openssl req -x509` makes when nobody says otherwise: a certificate of an authority.
fn authority(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    rcgen::CertifiedKey { cert, signing_key }
}

#[tokio::test]
async fn an_authority_that_is_the_server_itself_is_trusted_by_its_bundle() {
    let ours = authority("localhost");
    let tls = TlsStage::presenting(&ours, &ours).await;
    let (result, ()) = tokio::join!(tls.stage.send(b"hello"), async {
        let mut peer = tls.accept().await.unwrap();
        assert_eq!(peer.request().await.1, b"hello");
        peer.say(ACCEPTED).await;
    });
    assert_eq!(result.unwrap().status, 202);
}

#[tokio::test]
async fn an_authority_of_another_bundle_or_name_is_refused() {
    let ours = authority("localhost");
    let elsewhere = authority("other.example");
    for (presented, trusted, reason) in [
        (&ours, &elsewhere, "certificate authority's own"),
        (&elsewhere, &elsewhere, "not valid for name"),
    ] {
        let tls = TlsStage::presenting(presented, trusted).await;
        let (result, accepted) = tokio::join!(tls.stage.send(b"hello"), tls.accept());
        let error = result.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(accepted.is_err());
    }
}

#[tokio::test]
async fn the_system_does_not_trust_a_stranger() {
    let mut tls = TlsStage::new("localhost", true).await;
    tls.stage.endpoint = match Endpoint::new(&tls.stage.url(), None) {
        Ok(endpoint) => endpoint,
        // A machine without certificate authorities refuses sooner.
        Err(error) => return assert_eq!(error, EndpointError::NoSystemRoots),
    };
    let (result, _) = tokio::join!(tls.stage.send(b"hello"), tls.accept());
    assert!(matches!(result, Err(SendError::Tls { .. })), "{result:?}");
}

#[tokio::test]
async fn a_handshake_has_a_cap_of_its_own() {
    let mut tls = TlsStage::new("localhost", true).await;
    let settings = ClientSettings { tls_timeout: MOMENT, ..ClientSettings::default() };
    tls.stage.client = Client::new(settings);
    let (result, _peer) = tokio::join!(tls.stage.send(b"hello"), tls.stage.accept());
    assert_eq!(result.unwrap_err(), SendError::Timeout { phase: Phase::Tls });
}

#[tokio::test]
async fn a_peer_without_tls_is_a_failed_handshake() {
    let tls = TlsStage::new("localhost", true).await;
    let (result, _peer) = tokio::join!(tls.stage.send(b"hello"), async {
        let mut peer = tls.stage.accept().await;
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer
    });
    assert!(matches!(result, Err(SendError::Tls { .. })), "{result:?}");
}

#[tokio::test]
async fn a_close_without_farewell_ends_a_body_of_no_length_and_cuts_any_other() {
    for (text, expected) in [
        ("HTTP/1.0 200 OK\r\n\r\nhello", Some("hello")),
        ("HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nhello", None),
    ] {
        let tls = TlsStage::new("localhost", true).await;
        let (result, ()) = tokio::join!(tls.stage.send(b"hello"), async {
            let mut peer = tls.accept().await.unwrap();
            peer.request().await;
            peer.say(text).await;
        });
        match (result, expected) {
            (Ok(answer), Some(body)) => assert_eq!(answer.body, body),
            (Err(SendError::Closed { phase: Phase::Body, .. }), None) => {}
            (result, _) => panic!("{text:?}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn an_idle_tls_connection_that_was_closed_is_not_used() {
    let tls = TlsStage::new("localhost", true).await;
    for opened in 1..=2 {
        let (result, ()) = tokio::join!(tls.stage.send(b"hello"), async {
            let mut peer = tls.accept().await.unwrap();
            peer.request().await;
            peer.say(ACCEPTED).await;
            peer.stream.shutdown().await.unwrap();
        });
        assert_eq!(result.unwrap().status, 202);
        tls.stage.until_nothing_is_kept().await;
        assert_eq!(tls.stage.client.counters().opened, opened);
    }
    assert_eq!(tls.stage.client.counters().resent, 0);
}
