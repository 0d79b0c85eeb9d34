//! Streams of bytes between servers and clients.
//!
//! TCP as programs see it, with `TCP_NODELAY` and keepalive on every stream: the end of a machine that went away without
//! a word is noticed within two minutes, or, if something is on its way to it, when that has been sent for the last time.
//! (`TCP_USER_TIMEOUT` would make that sooner, and would end those who only read slowly.) Names are resolved by the
//! platform: the system's resolver in production, the names of the nodes in the simulator.
//!
//! Must not know: TLS, HTTP, PostgreSQL.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::platform::net as platform;

/// When a stream that says nothing is asked whether its other end is still there.
pub(super) struct Keepalive {
    /// Before the first probe, since something came last.
    pub idle: Duration,
    /// Between two probes that are not answered.
    pub interval: Duration,
    /// After so many without an answer the stream is broken.
    pub probes: u32,
}

pub(super) const KEEPALIVE: Keepalive = Keepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    probes: 6,
};

/// Accepts streams on one address.
#[derive(Debug)]
pub struct TcpListener(platform::Listener);

impl TcpListener {
    /// Listens at `host:port`; port 0 picks a free one.
    pub async fn bind(address: &str) -> io::Result<Self> {
        platform::Listener::bind(address).await.map(TcpListener)
    }

    /// Waits for the next stream. Nothing is lost when the caller stops waiting.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((TcpStream(stream), peer))
    }

    /// Where it listens, with the port that was picked.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub struct TcpStream(platform::Stream);

impl TcpStream {
    /// Connects to `host:port`. May wait for minutes when nothing answers: use [`super::timeout`].
    pub async fn connect(address: &str) -> io::Result<Self> {
        platform::Stream::connect(address).await.map(TcpStream)
    }

    /// The other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// This end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
