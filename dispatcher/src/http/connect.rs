//! A fresh connection: name, address, TCP, TLS.

use std::{cell::Cell, io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    client::ClientSettings,
    endpoint::Endpoint,
    error::{Phase, SendError},
    resolve::Addresses,
    stream::{Connection, Stream},
    tls,
};

/// Opens a connection to `endpoint`. Dropping the future gives it up.
pub(super) async fn connect(
    endpoint: &Endpoint,
    known: &Addresses,
    settings: &ClientSettings,
    phase: &Cell<Phase>,
) -> Result<Connection, SendError> {
    phase.set(Phase::Resolve);
    let addresses = known.get(&endpoint.origin, settings.name_ttl).await?;

    phase.set(Phase::Connect);
    let dialled = timeout(settings.connect_timeout, dial(&addresses, settings.connect_stagger));
    let tcp = match dialled.await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => {
            known.forget();
            return Err(SendError::Connect {
                authority: endpoint.authority.clone(),
                reason: error.to_string().into(),
            });
        }
        Err(_) => {
            known.forget();
            return Err(SendError::Timeout { phase: Phase::Connect });
        }
    };

    let stream = match &endpoint.tls {
        None => Stream::Plain(tcp),
        Some(trust) => {
            phase.set(Phase::Tls);
            let handshake =
                TlsConnector::from(trust.config.clone()).connect(trust.name.clone(), tcp);
            match timeout(settings.tls_timeout, handshake).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    return Err(SendError::Tls {
                        authority: endpoint.authority.clone(),
                        reason: tls::explain(&error),
                    });
                }
                Err(_) => return Err(SendError::Timeout { phase: Phase::Tls }),
            }
        }
    };
    Ok(Connection { stream, buffer: BytesMut::new(), opened: Instant::now() })
}

/// Connects to the first address that takes it: each gets a head start of `stagger` on the next,
/// less when it fails sooner (RFC 8305 section 5). Fails as the first address did.
pub(super) async fn dial(addresses: &[SocketAddr], stagger: Duration) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut attempts: FuturesUnordered<_> = waiting.next().map(open).into_iter().collect();
    let mut first_error = None;
    while !attempts.is_empty() {
        tokio::select! {
            biased;
            Some(result) = attempts.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    first_error.get_or_insert(error);
                    attempts.extend(waiting.next().map(open));
                }
            },
            () = sleep(stagger), if waiting.len() > 0 => {
                attempts.extend(waiting.next().map(open));
            }
        }
    }
    Err(first_error.unwrap_or_else(|| io::Error::other("no address to connect to")))
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
