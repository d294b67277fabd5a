//! Names and addresses: those that work, those that do not, and those that say nothing.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::*;
use crate::http::{Phase, connect::dial};

/// An address that neither takes nor refuses connections, as long as what is returned lives.
async fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = timeout(MOMENT, TcpStream::connect(address)).await {
        held.push(stream.unwrap());
    }
    (address, (listener, held))
}

/// An address where nobody listens.
async fn vacant() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn send_to(url: &str, settings: ClientSettings) -> Result<Answer, SendError> {
    let endpoint = Endpoint::new(&url.parse().unwrap(), None).unwrap();
    let head: [&[u8]; 1] = [b"content-length: 0\r\n\r\n"];
    Client::new(settings).send(&endpoint, &head, b"", Instant::now() + PATIENCE, 0).await
}

#[tokio::test]
async fn a_name_is_resolved() {
    let mut stage = Stage::new().await;
    let url = format!("http://localhost:{}/", stage.listener.local_addr().unwrap().port());
    stage.endpoint = Endpoint::new(&url.parse().unwrap(), None).unwrap();
    stage.warm().await;
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let result = send_to("http://nothing.invalid/", ClientSettings::default()).await;
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::Dns { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot resolve nothing.invalid: "), "{error}");
}

#[tokio::test]
async fn a_refused_connection_names_the_host_and_no_address() {
    let port = vacant().await.port();
    let result = send_to(&format!("http://localhost:{port}/"), ClientSettings::default()).await;
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot connect to localhost:{port}: ")), "{text}");
    assert!(!text.contains("127.0.0.1") && !text.contains("::1"), "{text}");
}

#[tokio::test]
async fn connecting_has_a_cap_of_its_own() {
    let (address, _held) = black_hole().await;
    let settings = ClientSettings { connect_timeout: MOMENT, ..ClientSettings::default() };
    let result = send_to(&format!("http://{address}/"), settings).await;
    assert_eq!(result.unwrap_err(), SendError::Timeout { phase: Phase::Connect });
}

#[tokio::test]
async fn every_address_is_tried_without_waiting_for_those_before() {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = open.local_addr().unwrap();
    let (hole, _held) = black_hole().await;
    let empty = vacant().await;
    for addresses in [vec![address], vec![empty, address], vec![empty, empty, address]] {
        let stream = timeout(PATIENCE, dial(&addresses, PATIENCE)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address, "a refusal is followed at once");
    }
    for addresses in [vec![hole, address], vec![hole, empty, hole, address]] {
        let stream = timeout(PATIENCE, dial(&addresses, MOMENT)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address, "a silence is overtaken");
        assert!(stream.nodelay().unwrap());
    }
    assert!(dial(&[empty, empty], PATIENCE).await.is_err());
    assert!(dial(&[], PATIENCE).await.is_err());
}
