//! An authenticated client: waiting for its messages and sending to it, both bounded and both interruptible.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::link::{Link, ReadError};
use super::message::{Frame, MessageError};
use super::reply::{Reply, Report};
use super::sqlstate::Severity;
use crate::engine::SessionHandle;
use crate::runtime;
use crate::sql::{CopyInput, SqlError, SqlErrorKind};

/// What a server that stops tells its clients. PostgreSQL's words.
pub(super) const SHUTDOWN: &str = "terminating connection due to administrator command";

/// How long a client that is being sent away may take to hear why. Whoever waits for its end waits this long at most.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) struct Client<S> {
    link: Link<S>,
    pub handle: SessionHandle,
    /// Cancelled when the server begins to stop.
    stop: CancellationToken,
    limits: ClientLimits,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    pub message_bytes_max: usize,
    /// How long a client may be silent, and how long it may take nothing.
    pub read_timeout: Option<Duration>,
    pub write_timeout: Option<Duration>,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client left; there is nobody to tell.
    Gone,
    /// The client is told this.
    Fatal(Box<Report>),
}

impl End {
    pub fn fatal(report: Report) -> End {
        End::Fatal(Box::new(report))
    }

    fn terminated(why: &str) -> End {
        End::fatal(Report::of_error(&SqlError::new(SqlErrorKind::Terminated, why)))
    }

    fn idle() -> End {
        let error = SqlError::new(
            SqlErrorKind::IdleTimeout,
            "terminating connection due to idle-session timeout",
        )
        .hint("listener.read_timeout_millis says how long a connection may be silent.");
        End::fatal(Report::of_error(&error))
    }

    pub fn bad_message(error: &MessageError) -> End {
        End::fatal(Report {
            severity: Severity::Fatal,
            ..Report::of_error(&unreadable(error))
        })
    }
}

/// A message that cannot be understood, as an error of a statement.
pub(super) fn unreadable(error: &MessageError) -> SqlError {
    let kind = match error {
        MessageError::NotUtf8 => SqlErrorKind::InvalidEncoding,
        _ => SqlErrorKind::Protocol,
    };
    SqlError::new(kind, error.to_string())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Client<S> {
    pub fn new(link: Link<S>, handle: SessionHandle, stop: CancellationToken, limits: ClientLimits) -> Client<S> {
        Client {
            link,
            handle,
            stop,
            limits,
        }
    }

    pub fn reply(&mut self) -> Reply<'_> {
        self.link.reply()
    }

    /// The next message, or why there is none.
    pub async fn next(&mut self) -> Result<Frame, End> {
        match self.link.buffered_frame(self.limits.message_bytes_max) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(read_end(error)),
        }
        tokio::select! {
            biased;
            why = self.handle.terminated() => Err(End::terminated(why)),
            () = self.stop.cancelled() => Err(End::terminated(SHUTDOWN)),
            frame = self.link.frame(self.limits.message_bytes_max) => frame.map_err(read_end),
            () = elapsed(self.limits.read_timeout) => Err(End::idle()),
        }
    }

    /// A message in the middle of a COPY; other messages than the copy's end it.
    pub async fn next_copy_input(&mut self) -> Result<CopyInput, SqlError> {
        loop {
            let max = self.limits.message_bytes_max;
            let frame = tokio::select! {
                biased;
                why = self.handle.terminated() => return Err(SqlError::new(SqlErrorKind::Terminated, why)),
                frame = self.link.frame(max) => frame,
                () = elapsed(self.limits.read_timeout) => return Err(lost("it sent nothing for too long")),
            };
            let frame = frame.map_err(|error| match error {
                ReadError::Gone => lost("it closed"),
                ReadError::Bad(error) => unreadable(&error),
            })?;
            match frame.kind {
                b'd' => return Ok(CopyInput::Data(frame.body)),
                b'c' => return Ok(CopyInput::Done),
                b'f' => {
                    let reason: &[u8] = frame.body.strip_suffix(b"\0").unwrap_or(&frame.body);
                    return Ok(CopyInput::Failed(String::from_utf8_lossy(reason).into_owned()));
                }
                // Clients that send everything with Sync are allowed by the protocol.
                b'H' | b'S' => {}
                kind => {
                    let message = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
                    return Err(SqlError::new(SqlErrorKind::Protocol, message));
                }
            }
        }
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// `ConnectionLost` when it cannot be sent, `Terminated` when the session is ended while the client does not read.
    pub async fn flush(&mut self) -> Result<(), SqlError> {
        tokio::select! {
            biased;
            sent = self.link.flush() => sent.map_err(|error| lost(&error.to_string())),
            why = self.handle.terminated() => Err(SqlError::new(SqlErrorKind::Terminated, why)),
            () = elapsed(self.limits.write_timeout) => Err(lost("it took nothing for too long")),
        }
    }

    pub async fn flush_if_full(&mut self) -> Result<(), SqlError> {
        if self.link.wants_flush() {
            self.flush().await
        } else {
            Ok(())
        }
    }

    pub fn copy_data(&mut self, data: &Bytes) {
        self.reply().copy_data(data);
    }

    /// Tells the client about a failed statement; an error that ends the connection comes back.
    pub fn tell(&mut self, error: &SqlError) -> Result<(), End> {
        if let Some(why) = self.handle.why_terminated() {
            return Err(End::terminated(why));
        }
        match error.kind {
            SqlErrorKind::Terminated => Err(End::terminated(&error.message)),
            SqlErrorKind::ConnectionLost => Err(End::Gone),
            _ => {
                self.reply().error(&Report::of_error(error));
                Ok(())
            }
        }
    }

    /// Says why, if there is somebody to hear it, and closes.
    pub async fn farewell(mut self, end: End) {
        farewell(&mut self.link, end).await;
    }
}

/// See [`Client::farewell`]; also for clients that have no session yet.
pub(super) async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, end: End) {
    let End::Fatal(report) = end else { return };
    link.reply().error(&report);
    let _ = runtime::timeout(FAREWELL, async {
        if link.flush().await.is_ok() {
            link.close().await;
        }
    })
    .await;
}

fn read_end(error: ReadError) -> End {
    match error {
        ReadError::Gone => End::Gone,
        ReadError::Bad(error) => End::bad_message(&error),
    }
}

fn lost(why: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::ConnectionLost,
        format!("connection to client lost: {why}"),
    )
}

/// Waits this long; for ever without a limit.
async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => runtime::sleep(limit).await,
        None => std::future::pending().await,
    }
}
