//! Sockets of the simulated network, as a program holds them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::{ConnectionId, HostId};
use super::world::{self, WorldSim};

pub(in crate::runtime) struct Listener {
    world: Arc<WorldSim>,
    host: HostId,
    address: SocketAddr,
    number: u64,
}

pub(in crate::runtime) struct Stream {
    world: Arc<WorldSim>,
    connection: ConnectionId,
    /// 0 for who connected, 1 for who accepted.
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} -> {})", self.local, self.peer)
    }
}

impl Listener {
    pub async fn bind(address: &str) -> io::Result<Self> {
        let world = world::current();
        let host = world::current_host();
        let (address, number) = world.with(|network| network.listen(host, address))?;
        Ok(Listener {
            world,
            host,
            address,
            number,
        })
    }

    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (connection, peer) = poll_fn(|cx| {
            let accepted = self
                .world
                .with(|network| network.accept(self.host, self.address.port(), self.number, cx.waker()));
            match accepted {
                Ok(Some(accepted)) => Poll::Ready(Ok(accepted)),
                Ok(None) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await?;
        Ok((
            Stream {
                world: self.world.clone(),
                connection,
                side: 1,
                local: self.address,
                peer,
            },
            peer,
        ))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.world
            .with(|network| network.stop_listening(self.host, self.address.port(), self.number));
    }
}

impl Stream {
    pub async fn connect(address: &str) -> io::Result<Self> {
        let world = world::current();
        let host = world::current_host();
        let (connection, local, peer) = world.with(|network| {
            let connection = network.connect(host, address)?;
            let (local, peer) = network.addresses(connection, 0).expect("made just now");
            io::Result::Ok((connection, local, peer))
        })?;
        // From here on a drop gives the attempt up.
        let stream = Stream {
            world,
            connection,
            side: 0,
            local,
            peer,
        };
        poll_fn(|cx| {
            let connected = stream
                .world
                .with(|network| network.poll_connected(connection, cx.waker()));
            connected.map_or(Poll::Pending, Poll::Ready)
        })
        .await?;
        Ok(stream)
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.world
            .with(|network| network.poll_read(self.connection, self.side, buf, cx.waker()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.world
            .with(|network| network.poll_write(self.connection, self.side, bytes, cx.waker()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.world.with(|network| network.shut(self.connection, self.side)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.world.with(|network| network.close(self.connection, self.side));
    }
}
