//! A connection's stream with its two buffers.
//!
//! Invariants
//! - Reading and writing lose nothing when the caller stops waiting: bytes are in a buffer or on the stream.
//! - A buffer that grew for one large message does not stay large while the connection idles.
//!
//! Must not know: what a message means.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::message::{self, FirstPacket, Frame, MessageError};
use super::reply::Reply;

/// What is asked of the stream at a time, and the size an idle connection's buffers may keep.
const READ_BYTES: usize = 8 * 1024;
/// Replies are sent when this much has gathered; enough for few system calls, little for ten thousand connections.
const OUTPUT_BYTES: usize = 64 * 1024;

pub(super) struct Link<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
}

/// What reading can give beside a message.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The client closed, or the network did.
    Gone,
    Bad(MessageError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub fn new(stream: S) -> Link<S> {
        Link {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    /// To write messages; they are sent by [`Link::flush`].
    pub fn reply(&mut self) -> Reply<'_> {
        Reply(&mut self.output)
    }

    /// A byte outside any message: the answer to a request for encryption.
    pub fn put_byte(&mut self, byte: u8) {
        self.output.extend_from_slice(&[byte]);
    }

    /// Whether enough has gathered to be sent.
    pub fn wants_flush(&self) -> bool {
        self.output.len() >= OUTPUT_BYTES
    }

    pub async fn first_packet(&mut self) -> Result<FirstPacket, ReadError> {
        loop {
            if let Some(packet) = message::take_first(&mut self.input).map_err(ReadError::Bad)? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    pub async fn frame(&mut self, length_max: usize) -> Result<Frame, ReadError> {
        loop {
            if let Some(frame) = self.buffered_frame(length_max)? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// A frame that has already arrived.
    pub fn buffered_frame(&mut self, length_max: usize) -> Result<Option<Frame>, ReadError> {
        message::take_frame(&mut self.input, length_max).map_err(ReadError::Bad)
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        if self.input.is_empty() && self.input.capacity() > OUTPUT_BYTES {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(ReadError::Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Sends what was written.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.output.advance(written);
        }
        if self.output.capacity() > 2 * OUTPUT_BYTES {
            self.output = BytesMut::new();
        }
        self.stream.flush().await
    }

    /// Says that nothing more will be sent.
    pub async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
    }
}
