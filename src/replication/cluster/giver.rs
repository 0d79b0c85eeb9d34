//! Gives chunks to a member whose own are damaged: the side of a repair that is asked.
//!
//! Invariants
//! - Nothing of a request is read before its sender is authenticated, and nothing here is changed by it: neither role nor
//!   epoch nor any store. So it is answered in every role.
//! - What may be asked for at once, what is held to answer it, and how many are answered at a time is bounded.
//!
//! Must not know: whose store is damaged, and where.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, error};

use super::core::Core;
use super::link::shown_name;
use super::message;
use super::outgoing::{BATCH_BYTES, chunk_message};
use super::service::{Service, visitor_of};
use super::wire::repair_server::Repair;
use super::wire::{Asked, Given};
use crate::chunk::{Hash, ReadChunks};
use crate::engine::Database;
use crate::runtime;

/// Chunks that may be asked for at once.
pub const HASHES_MAX: usize = 512;
/// So many hashes have 11 KiB.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The rest is asked for again: who asks holds a whole answer in memory.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Requests that are answered at a time. One repair makes one after the other.
pub const REQUESTS_MAX: usize = 8;
/// Messages that are read ahead of the connection.
const MESSAGES_MAX: usize = 2;
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Whoever takes no message for this long has gone.
const TAKE_LIMIT: Duration = Duration::from_secs(30);

#[tonic::async_trait]
impl Repair for Service {
    type FetchStream = ReceiverStream<Result<Given, Status>>;

    async fn fetch(&self, request: Request<Streaming<Asked>>) -> Result<Response<Self::FetchStream>, Status> {
        let visitor = visitor_of(&request)?;
        let peer = self.authenticated(request.metadata(), &visitor).await?;
        let place = self.answering.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!("{REQUESTS_MAX} requests for chunks are being answered"))
        })?;
        let open = visitor.stream();
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let giver = Giver {
            core: self.core.clone(),
            answers: sender,
        };
        let give = async move {
            if let Err(status) = giver.run(request.into_inner()).await {
                debug!(%peer, code = ?status.code(), reason = status.message(), "a request for chunks ended");
                // An answer that is cut short is asked for again, so nobody has to wait for room.
                let _ = giver.answers.try_send(Err(status));
            }
            drop((open, place));
        };
        runtime::spawn("chunk giver", self.core.tasks.track_future(give)).detach();
        let mut response = Response::new(ReceiverStream::new(receiver));
        message::put_headers(response.metadata_mut(), &self.core.controller.standing());
        Ok(response)
    }
}

struct Giver {
    core: Arc<Core>,
    answers: mpsc::Sender<Result<Given, Status>>,
}

impl Giver {
    async fn run(&self, requests: Streaming<Asked>) -> Result<(), Status> {
        tokio::select! {
            biased;
            () = self.core.closing.cancelled() => Err(Status::unavailable("this server is shutting down")),
            given = self.give(requests) => given,
        }
    }

    async fn give(&self, mut requests: Streaming<Asked>) -> Result<(), Status> {
        let asked = runtime::timeout(REQUEST_LIMIT, requests.message()).await;
        let asked = asked.map_err(|_| Status::deadline_exceeded("no request came"))??;
        let asked = asked.ok_or_else(|| Status::invalid_argument("nothing was asked for"))?;
        if asked.hashes.len() > HASHES_MAX {
            let text = format!("{} chunks asked for; {HASHES_MAX} are the most", asked.hashes.len());
            return Err(Status::invalid_argument(text));
        }
        let hashes: Vec<Hash> = asked
            .hashes
            .iter()
            .map(|bytes| message::hash(bytes))
            .collect::<Result<_, _>>()?;
        let stores = self.core.engine.all_stores();
        let (mut message, mut bytes, mut total) = (Given::default(), 0, 0);
        for hash in hashes {
            match find(&stores, &hash) {
                Some(chunk) => {
                    bytes += chunk.len();
                    message.chunks.push(chunk_message(hash, chunk));
                }
                None => message.absent.push(Bytes::copy_from_slice(hash.as_bytes())),
            }
            if bytes >= BATCH_BYTES {
                self.send(std::mem::take(&mut message)).await?;
                total += std::mem::take(&mut bytes);
            }
            if total >= ANSWER_BYTES_MAX {
                return Ok(());
            }
        }
        self.send(message).await
    }

    async fn send(&self, message: Given) -> Result<(), Status> {
        let sent = runtime::timeout(TAKE_LIMIT, self.answers.send(Ok(message))).await;
        let sent = sent.map_err(|_| Status::deadline_exceeded("the answer was not taken"))?;
        sent.map_err(|_| Status::cancelled("the asking side has gone"))
    }
}

/// From whichever database has it: a hash names the same bytes everywhere.
fn find(stores: &[Database], hash: &Hash) -> Option<Bytes> {
    for database in stores.iter().filter(|database| database.store().contains(hash)) {
        match database.store().get(hash) {
            Ok(chunk) => return Some(chunk),
            Err(error) => {
                error!(database = %shown_name(database), %error, "a chunk that a member asks for cannot be read");
            }
        }
    }
    None
}
