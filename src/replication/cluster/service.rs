//! The cluster port: gRPC for members, the key document for everybody, 400 for the rest.
//!
//! Invariants
//! - Authentication comes before the header rules, and those before anything of the request is used: a stranger changes
//!   nothing and learns nothing.
//! - What strangers may hold open is bounded in number and in time, and so is what they write into the log.
//!
//! Must not know: what is replicated.
//!
//! [`super::repair`] opens the port too, for its key document.
//!
//! Source: spec/cluster.md 2.5, 5.3, 5.4, 6.2; checks C-105, C-180 to C-183.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Status, Streaming};
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::core::{Core, MESSAGE_BYTES_MAX};
use super::giver;
use super::identity::ServerId;
use super::message;
use super::peer::{CONNECTION_WINDOW_BYTES, KEY_DOCUMENT_PATH, STREAM_WINDOW_BYTES};
use super::receiver::Receiver;
use super::token::TokenError;
use super::visitors::{Throttle, Visitor, Visitors};
use super::wire::repair_server::RepairServer;
use super::wire::replication_server::{Replication, ReplicationServer};
use super::wire::{ToPrimary, ToStandby};
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::{self, HyperExecutor, sometimes};

/// One stream for each database of a peer.
const STREAMS_MAX: u32 = 10_000;
/// Answers of a stream that hyper has not taken yet.
const ANSWERS_MAX: usize = 16;

pub struct Service {
    pub core: Arc<Core>,
    /// One place for each request for chunks that is being answered.
    pub answering: Arc<Semaphore>,
    refused: Throttle,
}

/// What a cluster port needs of whoever opens it.
#[derive(Clone)]
pub struct Port {
    /// The key document.
    pub document: Bytes,
    /// Cancelled when the port closes.
    pub closing: CancellationToken,
    /// The tasks of the port's connections.
    pub tasks: TaskTracker,
}

#[tonic::async_trait]
impl Replication for Service {
    type ReplicateStream = ReceiverStream<Result<ToPrimary, Status>>;

    async fn replicate(
        &self,
        request: tonic::Request<Streaming<ToStandby>>,
    ) -> Result<tonic::Response<Self::ReplicateStream>, Status> {
        let visitor = visitor_of(&request)?;
        let peer = self.admit(request.metadata(), &visitor).await?;
        let open = visitor.stream();
        let published = self.core.controller.published();
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        let stream = Receiver::new(
            self.core.clone(),
            peer,
            published.generation,
            request.into_inner(),
            sender,
        );
        let receive = async move {
            stream.run().await;
            drop(open);
        };
        // Ends by itself: with the stream, a change of role, or the closing of the cluster.
        runtime::spawn("replication receiver", self.core.tasks.track_future(receive)).detach();
        let mut response = tonic::Response::new(ReceiverStream::new(receiver));
        message::put_headers(response.metadata_mut(), &published.standing);
        Ok(response)
    }
}

impl Service {
    /// Which member it is.
    pub async fn authenticated(&self, metadata: &MetadataMap, visitor: &Visitor) -> Result<ServerId, Status> {
        match self.authenticate(metadata).await {
            Ok(peer) => {
                visitor.authenticated();
                Ok(peer)
            }
            Err(reason) => {
                sometimes!("replication.stranger_refused");
                if let Some(unlogged) = self.refused.pass() {
                    info!(%reason, unlogged, "request without valid authorization on the cluster port");
                }
                Err(Status::unauthenticated("unauthenticated"))
            }
        }
    }

    /// Authenticates, then applies the header rules.
    async fn admit(&self, metadata: &MetadataMap, visitor: &Visitor) -> Result<ServerId, Status> {
        let peer = self.authenticated(metadata, visitor).await?;
        let Some(event) = message::request_event(metadata, peer) else {
            info!(%peer, "request without role, epoch or server id on the cluster port");
            return Err(Status::unauthenticated("unauthenticated"));
        };
        let judged = self.core.controller.on_request(event).await;
        judged.map_err(|refusal| {
            let standing = self.core.controller.standing();
            debug!(%peer, %refusal, role = %standing.role, epoch = standing.epoch.get(), "request refused");
            message::refusal_status(&refusal, &standing)
        })?;
        Ok(peer)
    }

    async fn authenticate(&self, metadata: &MetadataMap) -> Result<ServerId, TokenError> {
        let mut values = metadata.get_all("authorization").iter();
        match (values.next(), values.next()) {
            (Some(value), None) => {
                let value = value.to_str().map_err(|_| TokenError::Malformed)?;
                self.core.keys.authenticate(value).await
            }
            _ => Err(TokenError::Missing),
        }
    }
}

/// The connection that a request came over.
pub fn visitor_of<T>(request: &tonic::Request<T>) -> Result<Arc<Visitor>, Status> {
    let visitor = request.extensions().get::<Arc<Visitor>>().cloned();
    visitor.ok_or_else(|| Status::internal("a request without its connection"))
}

/// Serves until the cluster closes.
pub async fn serve(core: Arc<Core>, listener: TcpListener) {
    let port = Port {
        document: Bytes::from(core.signer.document()),
        closing: core.closing.clone(),
        tasks: core.tasks.clone(),
    };
    let service = Arc::new(Service {
        core,
        answering: Arc::new(Semaphore::new(giver::REQUESTS_MAX)),
        refused: Throttle::for_strangers(),
    });
    let replication = ReplicationServer::from_arc(service.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let repair = RepairServer::from_arc(service)
        .max_decoding_message_size(giver::REQUEST_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let routes = Routes::new(replication).add_service(repair).prepare();
    listen(port, routes, listener).await;
}

/// Takes connections until the port closes.
pub async fn listen(port: Port, routes: Routes, listener: TcpListener) {
    let visitors = Visitors::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = port.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accepting a connection on the cluster port failed");
                // Out of file descriptors, most likely: without a pause this would spin.
                runtime::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = serve_connection(port.clone(), routes.clone(), visitors.arrive(), stream);
        runtime::spawn("cluster connection", port.tasks.track_future(connection)).detach();
    }
}

async fn serve_connection(port: Port, routes: Routes, visitor: Arc<Visitor>, stream: TcpStream) {
    let handler = {
        let (document, visitor) = (port.document, visitor.clone());
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(visitor.clone());
            answer(document.clone(), routes.clone(), request)
        })
    };
    let mut builder = hyper_util::server::conn::auto::Builder::new(HyperExecutor);
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), handler);
    tokio::select! {
        biased;
        () = port.closing.cancelled() => {}
        ended = connection => {
            if let Err(error) = ended {
                debug!(%error, "connection on the cluster port ended");
            }
        }
        () = visitor.overstayed() => debug!("connection on the cluster port closed"),
    }
}

async fn answer(document: Bytes, routes: Routes, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return routes.oneshot(request).await.map(|response| response.map(Body::new));
    }
    // HTTP/2 has no such header; there the limit of a stranger's stay ends the connection.
    let closes = request.version() <= Version::HTTP_11;
    let plain = |status: StatusCode, kind: &'static str, text: Bytes| {
        let mut response = Response::new(Body::new(Full::new(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    };
    if request.uri().path() == KEY_DOCUMENT_PATH {
        if request.method() == Method::GET {
            return Ok(plain(StatusCode::OK, "application/json", document));
        }
        let mut response = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            Bytes::from_static(b"only GET is answered here\n"),
        );
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Ok(response);
    }
    let text = b"this port serves the members of a replication cluster\n";
    Ok(plain(StatusCode::BAD_REQUEST, "text/plain", Bytes::from_static(text)))
}
