//! Sockets of the operating system.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::net::KEEPALIVE;

#[expect(clippy::disallowed_types, reason = "wrapped as runtime::net::TcpListener")]
#[derive(Debug)]
pub(in crate::runtime) struct Listener(tokio::net::TcpListener);

#[expect(clippy::disallowed_types, reason = "wrapped as runtime::net::TcpStream")]
#[derive(Debug)]
pub(in crate::runtime) struct Stream(tokio::net::TcpStream);

impl Listener {
    #[expect(clippy::disallowed_types, reason = "wrapped as runtime::net::TcpListener")]
    pub async fn bind(address: &str) -> io::Result<Self> {
        tokio::net::TcpListener::bind(address).await.map(Listener)
    }

    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream::new(stream)?, peer))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Stream {
    #[expect(clippy::disallowed_types, reason = "wrapped as runtime::net::TcpStream")]
    pub async fn connect(address: &str) -> io::Result<Self> {
        Stream::new(tokio::net::TcpStream::connect(address).await?)
    }

    #[expect(clippy::disallowed_types, reason = "wrapped as runtime::net::TcpStream")]
    fn new(stream: tokio::net::TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE.idle)
            .with_interval(KEEPALIVE.interval)
            .with_retries(KEEPALIVE.probes);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Stream(stream))
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_of_a_stream_ask_whether_the_other_is_there() {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (near, far) = tokio::join!(Stream::connect(&address), listener.accept());
        for stream in [near.unwrap(), far.unwrap().0] {
            let socket = SockRef::from(&stream.0);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE.idle);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE.interval);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE.probes);
        }
    }
}
