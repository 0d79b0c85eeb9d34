//! The standby's side of a stream: takes in what the primary sends for one database.
//!
//! Invariants
//! - Every message is judged by the role machine before anything of it is used, and the right to apply is checked once
//!   more under the commit turn.
//! - Of the streams of one primary for one database, the one admitted last applies. An older one is over before it begins.
//! - A root is acknowledged when it is durable and visible here, never before.
//! - What is held in memory is bounded: one run of chunks up to its root, or while walking one message and the chunks
//!   that wait for what they refer to.
//!
//! Must not know: connections, tokens; whoever sends was authenticated.
//!
//! Source: docs/architecture.md, spec/cluster.md 4.2 to 4.4, 5.3.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngCore as _;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use tracing::{debug, error, info, warn};

use super::controller::Published;
use super::core::{Core, MESSAGE_BYTES_MAX};
use super::identity::ServerId;
use super::link::shown_name;
use super::message::{self, hash, hash_bytes, hash_or_none, root_message, root_record};
use super::outgoing::{RUN_BYTES_MAX, held_bytes};
use super::role::Event;
use super::streams::{Admission, Claim, Displaced};
use super::wire::to_primary::Body as Answer;
use super::wire::to_standby::Body;
use super::wire::{self, ToPrimary, ToStandby};
use crate::chunk::{Hash, RootRecord};
use crate::engine::{Backfill, Database, DatabaseId, DatabaseState, EngineError, ReplicatedBatch};
use crate::runtime::sites::pause;
use crate::runtime::{self, buggify, queue, sometimes};

/// A primary sends a heartbeat every second; one that is silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long the primary may take to hear why its stream ends. A connection that is half dead takes nothing at all.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
const BUSY_EVERY: Duration = Duration::from_secs(1);
/// Chunks asked for at once: some 2 MB on their way keep a connection full.
const WANT_MAX: usize = 512;
/// What a run may hold beyond the primary's bound, which is checked between chunks.
const RUN_SLACK_BYTES: usize = 16 << 20;

pub struct Receiver {
    core: Arc<Core>,
    peer: ServerId,
    messages: Streaming<ToStandby>,
    answers: mpsc::Sender<Result<ToPrimary, Status>>,
    role: watch::Receiver<Published>,
    generation: u64,
    admission: Admission,
    /// Drawn for this stream: an offer must name it.
    number: u64,
}

impl Receiver {
    /// For a stream of `peer`, which was admitted just now; `generation` is that of the decision to serve it.
    pub fn new(
        core: Arc<Core>,
        peer: ServerId,
        generation: u64,
        messages: Streaming<ToStandby>,
        answers: mpsc::Sender<Result<ToPrimary, Status>>,
    ) -> Receiver {
        let role = core.controller.watch();
        let admission = core.streams.admit();
        Receiver {
            core,
            peer,
            messages,
            answers,
            role,
            generation,
            admission,
            number: runtime::rng("replication stream").next_u64(),
        }
    }

    /// Serves the stream to its end.
    pub async fn run(mut self) {
        let Err(mut status) = self.serve().await else { return };
        debug!(peer = %self.peer, code = ?status.code(), reason = status.message(), "replication stream ended");
        message::put_headers(status.metadata_mut(), &self.core.controller.standing());
        // Nobody listens any more when the connection failed.
        let _ = runtime::timeout(FAREWELL_LIMIT, self.answers.send(Err(status))).await;
    }

    async fn serve(&mut self) -> Result<(), Status> {
        let Some(Body::Hello(hello)) = self.next().await? else {
            return Err(Status::invalid_argument("a stream begins with Hello"));
        };
        let id: [u8; 16] = hello.database_id[..]
            .try_into()
            .map_err(|_| Status::invalid_argument("the id of a database has 16 bytes"))?;
        let id = DatabaseId::from_bytes(id);
        let Some(database) = self.core.engine.store_of(id) else {
            let listing = self.core.engine.listing().into_iter().find(|listed| listed.id == id);
            return Err(Status::not_found(
                match listing.map(|listed| (listed.name, listed.state)) {
                    Some((name, DatabaseState::Unavailable { reason })) => {
                        format!("database {name:?} is unavailable here: {reason}")
                    }
                    _ => format!("database {id} is not known here yet"),
                },
            ));
        };
        let claim = self.core.streams.claim((self.peer, id), self.admission);
        let claim = Arc::new(claim.map_err(displaced_status)?);
        tokio::select! {
            biased;
            // Wherever the older stream waits, for a connection that takes nothing or for the disk: it is over.
            () = claim.displaced() => Err(displaced_status(Displaced)),
            served = self.take_in(database, claim.clone()) => served,
        }
    }

    async fn take_in(&mut self, database: Database, claim: Arc<Claim>) -> Result<(), Status> {
        let _turn = self.busily(claim.turn()).await?;
        let root = hash_bytes(self.settled(&database).await?);
        if database.id() == DatabaseId::SYSTEM {
            // The stream that brought this root may have ended before it came to that, and the root will not come again.
            self.reconcile().await?;
        }
        let stream = self.number;
        self.answer(Answer::Standing(wire::Standing { root, stream })).await?;
        Follower {
            database,
            claim,
            run: Vec::new(),
            run_bytes: 0,
            ignoring: false,
        }
        .follow(self)
        .await
    }

    /// The next message, judged. Ends with the change of role, the end of the server, or the silence of the primary.
    async fn next(&mut self) -> Result<Option<Body>, Status> {
        let generation = self.generation;
        let message = tokio::select! {
            biased;
            () = self.core.closing.cancelled() => return Err(Status::unavailable("this server is shutting down")),
            _ = self.role.wait_for(|published| published.generation != generation) => {
                return Err(Status::failed_precondition("the role of this server changed"));
            }
            message = self.messages.message() => message?,
            () = runtime::sleep(SILENCE_MAX) => {
                return Err(Status::deadline_exceeded(format!("no message for {} s", SILENCE_MAX.as_secs())));
            }
        };
        // The primary ended the stream in good order.
        let Some(message) = message else { return Ok(None) };
        let event = message::message_event(message.stamp.as_ref(), self.peer)?;
        self.judge(event).await?;
        Ok(message.body)
    }

    async fn judge(&self, event: Event) -> Result<(), Status> {
        let judged = self.core.controller.on_request(event).await;
        judged.map_err(|refusal| message::refusal_status(&refusal, &self.core.controller.standing()))
    }

    async fn answer(&self, body: Answer) -> Result<(), Status> {
        let answer = ToPrimary {
            stamp: Some(message::stamp(&self.core.controller.standing())),
            body: Some(body),
        };
        let sent = self.answers.send(Ok(answer)).await;
        sent.map_err(|_| Status::cancelled("the primary ended the stream"))
    }

    /// The newest root, once it is durable. A stream that broke may have left it behind unsynced, or its sync failed:
    /// the primary counts what it is told as saved, so it is not told before.
    async fn settled(&self, database: &Database) -> Result<Hash, Status> {
        let newest = database.store().pending();
        sometimes!(
            database.store().published().sequence < newest.sequence,
            "replication.settled_first"
        );
        let published = self.busily(database.store().wait_published(newest.sequence)).await?;
        published.map_err(|error| Status::internal(error.to_string()))?;
        Ok(newest.root)
    }

    /// Makes the databases here those that the primary lists. In a task of its own, so that it is not left half done when
    /// the stream ends meanwhile.
    async fn reconcile(&self) -> Result<(), Status> {
        let engine = self.core.engine.clone();
        let reconcile = async move { engine.reconcile_databases().await };
        let reconcile = runtime::spawn("reconcile databases", self.core.tasks.track_future(reconcile));
        let reconciled = self.busily(reconcile).await?;
        reconciled
            .map_err(|lost| Status::internal(lost.to_string()))?
            .map_err(|failure| {
                error!(error = %failure, "the databases here could not be made those the primary lists");
                engine_status(&failure)
            })
    }

    /// Does something that may take long, and lets the primary know that we are alive.
    async fn busily<F: Future>(&self, work: F) -> Result<F::Output, Status> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = runtime::sleep(BUSY_EVERY) => self.answer(Answer::Busy(wire::Busy {})).await?,
            }
        }
    }
}

/// The database of a stream and what has arrived of its next root.
struct Follower {
    database: Database,
    claim: Arc<Claim>,
    run: Vec<(Hash, Bytes)>,
    run_bytes: usize,
    /// We asked to walk: what was sent before the primary knew is of no use.
    ignoring: bool,
}

impl Follower {
    async fn follow(mut self, stream: &mut Receiver) -> Result<(), Status> {
        while let Some(body) = stream.next().await? {
            match body {
                Body::Chunks(_) | Body::Root(_) if self.ignoring => {}
                Body::Chunks(chunks) => self.take(chunks)?,
                Body::Root(root) => {
                    let (record, previous) = (root_record(&root)?, hash_or_none(&root.previous)?);
                    self.run_bytes = 0;
                    let chunks = std::mem::take(&mut self.run);
                    if buggify!("replication.ask_to_walk") {
                        self.ignoring = true;
                        stream.answer(Answer::Incomplete(wire::Incomplete {})).await?;
                        continue;
                    }
                    self.apply(
                        stream,
                        ReplicatedBatch {
                            chunks,
                            root: record,
                            expect_previous: previous,
                        },
                    )
                    .await?;
                }
                Body::Adopt(offer) if offer.stream != stream.number => {
                    sometimes!("replication.offer_of_another_stream");
                    return Err(Status::aborted("this offer was made to another stream"));
                }
                Body::Adopt(offer) => {
                    self.ignoring = false;
                    self.run = Vec::new();
                    self.run_bytes = 0;
                    let root = offer
                        .root
                        .ok_or_else(|| Status::invalid_argument("an offer has no root"))?;
                    self.adopt(stream, root_record(&root)?, offer.forward).await?;
                }
                Body::Heartbeat(heartbeat) => self.beat(stream, heartbeat.number).await?,
                Body::Hello(_) => return Err(Status::invalid_argument("Hello comes once")),
            }
        }
        Ok(())
    }

    fn take(&mut self, chunks: wire::Chunks) -> Result<(), Status> {
        for chunk in chunks.chunks {
            self.run_bytes += held_bytes(&chunk.content);
            self.run.push((hash(&chunk.hash)?, chunk.content));
        }
        queue!(
            "replication.run",
            self.run_bytes,
            RUN_BYTES_MAX + RUN_SLACK_BYTES + MESSAGE_BYTES_MAX
        );
        match self.run_bytes > RUN_BYTES_MAX + RUN_SLACK_BYTES {
            true => Err(Status::resource_exhausted("more chunks than are held before a root")),
            false => Ok(()),
        }
    }

    async fn beat(&self, stream: &Receiver, number: u64) -> Result<(), Status> {
        stream.core.links.contacted(self.database.id());
        let root = hash_bytes(self.database.store().published().root);
        stream.answer(Answer::Beat(wire::Beat { number, root })).await
    }

    async fn apply(&mut self, stream: &Receiver, batch: ReplicatedBatch) -> Result<(), Status> {
        let record = batch.root;
        let (core, peer, claim) = (stream.core.clone(), stream.peer, self.claim.clone());
        let permit = move || {
            core.controller.may_apply(peer)?;
            claim.check().map_err(|displaced| displaced.to_string())
        };
        self.room(stream).await?;
        stream
            .busily(pause(buggify!("replication.apply_late", 1..=2_000)))
            .await?;
        match stream.busily(self.database.apply_replicated(batch, permit)).await? {
            Ok(_) => {}
            Err(EngineError::Incomplete { missing, .. }) => {
                sometimes!("replication.incomplete");
                debug!(database = %shown_name(&self.database), missing = missing.len(), "asking to walk");
                self.ignoring = true;
                return stream.answer(Answer::Incomplete(wire::Incomplete {})).await;
            }
            Err(error) => {
                sometimes!(
                    matches!(error, EngineError::ReplicationRefused { .. }),
                    "replication.stopped_at_change"
                );
                return Err(engine_status(&error));
            }
        }
        self.applied(stream).await?;
        stream
            .busily(pause(buggify!("replication.acknowledge_late", 1..=2_000)))
            .await?;
        stream
            .answer(Answer::Acknowledged(root_message(&record, record.previous)))
            .await
    }

    /// A slow disk slows the primary down instead of filling our memory.
    async fn room(&self, stream: &Receiver) -> Result<(), Status> {
        let room = stream.busily(self.database.store().room()).await?;
        room.map_err(|error| Status::internal(error.to_string()))
    }

    /// What a new root brings with it on this server.
    async fn applied(&self, stream: &Receiver) -> Result<(), Status> {
        stream.core.links.contacted(self.database.id());
        match self.database.id() == DatabaseId::SYSTEM {
            true => stream.reconcile().await,
            false => Ok(()),
        }
    }

    /// Walks from the primary's root, asks for what is missing, and takes that root over whatever there was.
    ///
    /// `forward` if the primary knows ours, and its own follows it.
    async fn adopt(&mut self, stream: &mut Receiver, record: RootRecord, forward: bool) -> Result<(), Status> {
        let ours = stream.settled(&self.database).await?;
        let database = shown_name(&self.database);
        if ours == record.root {
            self.applied(stream).await?;
            return stream
                .answer(Answer::Acknowledged(root_message(&record, record.previous)))
                .await;
        }
        let mut fetched = 0;
        let mut walk = Walk::new(&self.database, record.root).map_err(|error| engine_status(&error))?;
        loop {
            let most = buggify!("replication.want_few", 1..=8).unwrap_or(WANT_MAX as u64);
            let wanted = walk.backfill().wanted(most as usize);
            if wanted.is_empty() {
                break;
            }
            fetched += wanted.len();
            self.fetch(stream, &wanted, walk.backfill()).await?;
        }
        if ours.is_none() || forward || self.database.id() == DatabaseId::SYSTEM {
            info!(database, root = %record.root, chunks = fetched, "taking over the primary's database");
        } else {
            sometimes!("replication.root_replaced");
            // What this server alone had is no longer in any branch from here on.
            warn!(database, %ours, root = %record.root, chunks = fetched, "replacing a root the primary does not know");
        }
        self.apply(
            stream,
            ReplicatedBatch {
                chunks: walk.finish(),
                root: record,
                expect_previous: ours,
            },
        )
        .await
    }

    /// Message by message, so that what is asked for at once need not fit into memory.
    async fn stage(&self, stream: &Receiver, chunks: Vec<(Hash, Bytes)>) -> Result<(), Status> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.room(stream).await?;
        let staged = self.database.stage_chunks(chunks).await;
        staged.map_err(|error| engine_status(&error))
    }

    async fn fetch(&self, stream: &mut Receiver, wanted: &[Hash], backfill: &mut Backfill) -> Result<(), Status> {
        let hashes = wanted.iter().map(|hash| hash_bytes(*hash)).collect();
        stream.answer(Answer::Want(wire::Want { hashes })).await?;
        let mut awaited: BTreeSet<Hash> = wanted.iter().copied().collect();
        while !awaited.is_empty() {
            match stream.next().await? {
                Some(Body::Chunks(chunks)) => {
                    for chunk in chunks.chunks {
                        let hash = hash(&chunk.hash)?;
                        awaited.remove(&hash);
                        let received = backfill.receive(hash, chunk.content, self.database.store());
                        received.map_err(|error| engine_status(&error))?;
                    }
                    self.stage(stream, backfill.take_closed()).await?;
                }
                Some(Body::Heartbeat(heartbeat)) => self.beat(stream, heartbeat.number).await?,
                None => return Err(Status::cancelled("the primary ended the stream")),
                Some(Body::Hello(_) | Body::Root(_) | Body::Adopt(_)) => {
                    return Err(Status::invalid_argument("only chunks answer what was asked for"));
                }
            }
        }
        Ok(())
    }
}

/// A search for what a root lacks. When it is cut off, the next one goes on with what this one received.
struct Walk<'a> {
    database: &'a Database,
    backfill: Option<Backfill>,
}

impl Walk<'_> {
    fn new(database: &Database, root: Hash) -> Result<Walk<'_>, EngineError> {
        Ok(Walk {
            database,
            backfill: Some(database.begin_backfill(root)?),
        })
    }

    fn backfill(&mut self) -> &mut Backfill {
        self.backfill.as_mut().expect("it is taken when the walk ends")
    }

    fn finish(mut self) -> Vec<(Hash, Bytes)> {
        self.backfill.take().expect("a walk ends once").finish()
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(backfill) = self.backfill.take() {
            self.database.keep_backfill(backfill);
        }
    }
}

fn displaced_status(displaced: Displaced) -> Status {
    Status::aborted(displaced.to_string())
}

/// How the engine's refusals look on the wire (spec/cluster.md 5.4).
fn engine_status(error: &EngineError) -> Status {
    let text = error.to_string();
    match error {
        EngineError::ReplicationRefused { .. } => Status::failed_precondition(text),
        EngineError::NotNextRoot { .. } => Status::aborted(format!("destination database root hash moved: {text}")),
        EngineError::WrongHash { .. } | EngineError::Object(_) => Status::invalid_argument(text),
        EngineError::NoSuchDatabase { .. } => Status::not_found(text),
        _ => Status::internal(text),
    }
}
