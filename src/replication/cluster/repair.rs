//! Asks a running peer for the chunks that the stores of a stopped server lack.
//!
//! Whoever repairs stands in for the server whose folder it is: it listens on that server's cluster port, serves a key
//! document there and nothing else, and signs what it asks with that key. The peer believes it for the reason for which
//! it believes the server: a configured endpoint served the key. So nothing has to be set up for a repair, and no key is
//! kept on a disk for it.
//!
//! Invariants
//! - Only a peer of the configuration is asked: a token shown to anybody else could be used against the peers.
//! - What is answered is not believed here; whoever writes it checks the hashes.
//!
//! Must not know: what chunks are needed for.
//!
//! Source: spec/cluster.md 6.1 to 6.4.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use super::core::MESSAGE_BYTES_MAX;
use super::message::hash;
use super::peer::Peer;
use super::role_store::{RoleStore, RoleStoreError};
use super::service::{self, Port};
use super::token::TokenSigner;
use super::wire::repair_client::RepairClient;
use super::wire::replication_server::{Replication, ReplicationServer};
use super::wire::{Asked, Given, ToPrimary, ToStandby};
use crate::chunk::Hash;
use crate::config::ClusterConfig;
use crate::engine::{Answer, AskForChunks};
use crate::runtime::disk::Disk;
use crate::runtime::net::TcpListener;
use crate::runtime::{self, AbortOnDrop};

/// The peer may wait five seconds for our key.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A peer asks for unknown keys once a second at most, and may have done so before ours was served.
const ATTEMPTS_MAX: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("{url} is none of the peers of this server; cluster.standby_remotes has {listed}")]
    NotListed { url: String, listed: String },
    #[error(
        "cannot listen at {address} (cluster.remotesapi), from where {url} fetches the key of whoever asks it: {source}"
    )]
    Bind {
        url: String,
        address: String,
        source: io::Error,
    },
    #[error(transparent)]
    RoleStore(#[from] RoleStoreError),
}

/// A peer that is asked in the name of a stopped server. Until it is dropped, that server's cluster port is taken.
pub struct RepairPeer {
    url: String,
    /// Where the peer finds our key.
    address: String,
    peer: Peer,
    signer: TokenSigner,
    _closing: DropGuard,
    _listener: AbortOnDrop<()>,
}

impl RepairPeer {
    /// `config` is that of the server whose data folder `disk` is; `url` is `http://host:port` of one of its standby
    /// remotes. The peer is not asked anything yet.
    pub async fn open(config: &ClusterConfig, disk: &Disk, url: &str) -> Result<RepairPeer, RepairError> {
        let url = url.trim_end_matches('/');
        let authority = url.strip_prefix("http://").unwrap_or_default();
        let remotes = &config.standby_remotes;
        let remote = remotes.iter().find(|remote| remote.endpoint.authority() == authority);
        let remote = remote.ok_or_else(|| {
            let listed = remotes
                .iter()
                .map(|remote| format!("http://{}", remote.endpoint.authority()));
            RepairError::NotListed {
                url: url.to_owned(),
                listed: listed.collect::<Vec<_>>().join(", "),
            }
        })?;
        let signer = TokenSigner::generate(RoleStore::server_of(disk)?);
        let address = config.remotesapi.bind_address();
        let listener = TcpListener::bind(&address).await;
        let listener = listener.map_err(|source| RepairError::Bind {
            url: url.to_owned(),
            address: address.clone(),
            source,
        })?;
        let closing = CancellationToken::new();
        let port = Port {
            document: Bytes::from(signer.document()),
            closing: closing.clone(),
            tasks: TaskTracker::new(),
        };
        let routes = Routes::new(ReplicationServer::new(Closed)).prepare();
        let listen = runtime::spawn("key listener", service::listen(port, routes, listener));
        Ok(RepairPeer {
            url: url.to_owned(),
            address,
            peer: Peer::new(remote),
            signer,
            _closing: closing.drop_guard(),
            _listener: listen.abort_on_drop(),
        })
    }

    pub(super) fn authorization(&self) -> MetadataValue<Ascii> {
        let authorization = self.signer.authorization(runtime::wall_clock());
        authorization.parse().expect("a token is base64url and dots")
    }

    /// One request and all of its answer.
    pub(super) async fn exchange(&self, asked: Asked) -> Result<Vec<Given>, Status> {
        let connected = self.peer.channel().await;
        let (number, channel) = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(tokio_stream::once(asked));
        request.metadata_mut().insert("authorization", self.authorization());
        let mut client = RepairClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answered = async {
            let silent = |limit: Duration| Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()));
            let opened = runtime::timeout(OPEN_LIMIT, client.fetch(request)).await;
            let mut messages = opened.map_err(|_| silent(OPEN_LIMIT))??.into_inner();
            let mut given = Vec::new();
            loop {
                let message = runtime::timeout(SILENCE_MAX, messages.message()).await;
                match message.map_err(|_| silent(SILENCE_MAX))?? {
                    Some(message) => given.push(message),
                    None => return Ok(given),
                }
            }
        };
        let answered: Result<Vec<Given>, Status> = answered.await;
        if answered.as_ref().is_err_and(|status| is_passing(status.code())) {
            self.peer.discard(number).await;
        }
        answered
    }

    fn explain(&self, status: &Status) -> String {
        let (url, address) = (&self.url, &self.address);
        match status.code() {
            Code::Unauthenticated => format!(
                "{url} refuses who it does not know: it must list this server in its cluster.standby_remotes, with a \
                 remote_url_template that leads to {address} on this machine"
            ),
            code => format!("{url}: {code:?}, {}", status.message()),
        }
    }
}

impl AskForChunks for RepairPeer {
    async fn ask(&mut self, hashes: &[Hash]) -> Result<Answer, String> {
        let bytes = |hash: &Hash| Bytes::copy_from_slice(hash.as_bytes());
        let asked = Asked {
            hashes: hashes.iter().map(bytes).collect(),
        };
        let mut attempts = 1;
        let messages = loop {
            match self.exchange(asked.clone()).await {
                Ok(messages) => break messages,
                Err(status) if attempts < ATTEMPTS_MAX && is_passing(status.code()) => {
                    attempts += 1;
                    runtime::sleep(RETRY_AFTER).await;
                }
                Err(status) => return Err(self.explain(&status)),
            }
        };
        answer(messages).map_err(|status| self.explain(&status))
    }
}

/// Whether it may be another answer a little later.
fn is_passing(code: Code) -> bool {
    // tonic calls a lost connection Unknown.
    matches!(
        code,
        Code::Unauthenticated | Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unknown
    )
}

fn answer(messages: Vec<Given>) -> Result<Answer, Status> {
    let mut answer = Answer::default();
    for message in messages {
        for chunk in message.chunks {
            answer.given.push((hash(&chunk.hash)?, chunk.content));
        }
        for absent in &message.absent {
            answer.absent.push(hash(absent)?);
        }
    }
    Ok(answer)
}

/// Tells a primary, which goes on trying to reach the stopped server, why it does not.
struct Closed;

#[tonic::async_trait]
impl Replication for Closed {
    type ReplicateStream = ReceiverStream<Result<ToPrimary, Status>>;

    async fn replicate(&self, _: Request<Streaming<ToStandby>>) -> Result<Response<Self::ReplicateStream>, Status> {
        Err(Status::unavailable(
            "this server is stopped while its data are repaired",
        ))
    }
}
