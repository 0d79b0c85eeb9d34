//! A configured standby remote as an endpoint: its gRPC connection, shared by all links to it, and its key document.
//!
//! Invariants
//! - Nothing waits without a limit of ours: tonic's and hyper's own timeouts need tokio's clock and are not used.
//! - A connection that failed one link is discarded for all; the next to ask opens a new one, and resolves the name
//!   again.
//!
//! Must not know: roles, databases.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint as TonicEndpoint, Uri};

use crate::config::{Endpoint, StandbyRemote};
use crate::runtime::net::TcpStream;
use crate::runtime::{self, HyperExecutor};

pub const KEY_DOCUMENT_PATH: &str = "/.well-known/jwks.json";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// A document of one key has some 200 bytes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// How much a stalled database may hold back unread, and all databases of a peer together.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

pub struct Peer {
    /// As configured; the `standby_remote` of status rows.
    pub name: String,
    endpoint: Endpoint,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    /// Counts connections, so that a late failure of an old one does not discard its successor.
    number: u64,
    channel: Option<Channel>,
}

/// What cannot be reached, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(pub String);

impl Peer {
    pub fn new(remote: &StandbyRemote) -> Peer {
        Peer {
            name: remote.name.clone(),
            endpoint: remote.endpoint.clone(),
            connection: Mutex::default(),
        }
    }

    /// `host:port`, for messages.
    pub fn authority(&self) -> String {
        self.endpoint.authority()
    }

    /// The connection to this peer, opened when there is none.
    pub async fn channel(&self) -> Result<(u64, Channel), PeerError> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok((connection.number, channel.clone()));
        }
        let authority = self.authority();
        let connected = runtime::timeout(CONNECT_LIMIT, connect(&authority)).await;
        let channel = match connected {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => {
                return Err(PeerError(format!(
                    "status: Unavailable, cannot connect to {authority}: {error}"
                )));
            }
            Err(_) => {
                let seconds = CONNECT_LIMIT.as_secs();
                return Err(PeerError(format!(
                    "status: Unavailable, no connection to {authority} within {seconds} s"
                )));
            }
        };
        connection.number += 1;
        connection.channel = Some(channel.clone());
        Ok((connection.number, channel))
    }

    /// The connection of this number is not to be used again.
    pub async fn discard(&self, number: u64) {
        let mut connection = self.connection.lock().await;
        if connection.number == number {
            connection.channel = None;
        }
    }

    /// Fetches the key document.
    pub async fn fetch_document(&self) -> Result<Bytes, PeerError> {
        match runtime::timeout(FETCH_LIMIT, get(&self.authority(), KEY_DOCUMENT_PATH)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(PeerError(error)),
            Err(_) => Err(PeerError(format!("no answer within {} s", FETCH_LIMIT.as_secs()))),
        }
    }
}

async fn connect(authority: &str) -> Result<Channel, String> {
    let dial = authority.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let dial = dial.clone();
        // Boxed because tonic asks for a future that may be moved.
        Box::pin(async move { TcpStream::connect(&dial).await.map(TokioIo::new) })
    });
    TonicEndpoint::from_shared(format!("http://{authority}"))
        .map_err(|error| error.to_string())?
        .executor(HyperExecutor)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector(connector)
        .await
        .map_err(|error| innermost(&error))
}

/// tonic's own text is "transport error"; what happened is at the end of its chain.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

async fn get(authority: &str, path: &str) -> Result<Bytes, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| innermost(&error))?;
    // Ends with the exchange: the connection is closed when this function returns, whatever came of it.
    let _driver = runtime::spawn("key document", async move {
        // What goes wrong here the request sees too.
        let _ = connection.await;
    })
    .abort_on_drop();
    let request = http::Request::get(path)
        .header(http::header::HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| innermost(&error))?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("the answer was {}", response.status()));
    }
    let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
}
