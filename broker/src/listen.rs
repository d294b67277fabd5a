//! Listening sockets: one a worker on the same port, and none for a second process.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, for each socket.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address; a port of 0 is chosen once for all.
///
/// Sockets that share a port would let a second process in unnoticed. So the port is first taken
/// for oneself alone, which fails while anybody listens there.
///
/// # Errors
///
/// When the address is in use or not to be had.
pub fn bind_shared(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let alone = bind(address, false)?;
    let address = alone.local_addr()?;
    drop(alone);
    (0..count.max(1)).map(|_| bind(address, true)).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections that are closing must not keep a restarted process out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_kept_out() {
        let any = ([127, 0, 0, 1], 0).into();
        let sockets = bind_shared(any, 2).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert_eq!(sockets[1].local_addr().unwrap(), address);
        let error = bind_shared(address, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind_shared(address, 2).unwrap();
    }
}
