//! A runtime and a listening socket for each core, as the broker's workers have them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime;

const BACKLOG: i32 = 4096;

/// `threads` listeners on one free port of the loopback (SO_REUSEPORT): the kernel spreads
/// connections over them.
pub(crate) fn listeners(threads: usize) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = listener(0)?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(listener(port)?);
    }
    Ok((port, listeners))
}

fn listener(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts a thread that does `work` on a runtime of its own. It ends with the process.
pub(crate) fn start<W, F>(work: W) -> io::Result<()>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = io::Result<()>>,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().spawn(move || runtime.block_on(work()))?;
    Ok(())
}
