//! The primary's side of a link: keeps one standby's copy of one database equal to ours.
//!
//! A stream begins with the root the standby has. If our log knows it, the log's suffix follows; otherwise the standby
//! is offered our root and asks for what it lacks. Then each published root is sent as it comes, and a heartbeat about
//! every second compares roots. Whatever fails, the stream ends, and the next one starts from what the standby has.
//!
//! Invariants
//! - An acknowledgement counts only for the root that was sent at its place.
//! - At most one message of data waits to be sent: who is slow is not buffered for.
//! - Nothing is sent unless this server is primary at that moment.
//!
//! Must not know: what chunks mean.
//!
//! Source: docs/architecture.md, spec/cluster.md 4.1 to 4.3, 5.2.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use super::core::{Core, MESSAGE_BYTES_MAX};
use super::identity::Role;
use super::link::Link;
use super::message::{self, hash, hash_or_none, root_record};
use super::outgoing::{Next, Outgoing, Wanted};
use super::peer::innermost;
use super::wire::replication_client::ReplicationClient;
use super::wire::to_primary::Body as Answer;
use super::wire::to_standby::Body;
use super::wire::{self, ToPrimary, ToStandby};
use crate::chunk::{Hash, LogReader, RootRecord};
use crate::engine::{DatabaseId, RootHold};
use crate::runtime::{self, Instant, buggify, sometimes};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// A standby answers heartbeats, and says that it is busy about every second.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A standby that has nothing walks rather than replay a log with more roots than this.
const REPLAY_ROOTS_MAX: u64 = 100;
/// Messages between us and hyper; flow control ends here.
const QUEUE_MESSAGES: usize = 4;
/// A standby asks for at most `receiver::WANT_MAX`; more is refused.
const WANT_MAX: usize = 4096;

/// Ships for as long as the link lives: aborted when the role changes or the database is dropped.
pub async fn ship(core: Arc<Core>, link: Arc<Link>) {
    let mut kicks = link.watch_kicks();
    let mut retry = RETRY_MIN;
    loop {
        wait_for_system_database(&core, &link).await;
        let progress = link.state().progress;
        let failure = attempt(&core, &link).await;
        if core.controller.standing().role != Role::Primary {
            // The supervisor is about to end this link; what the streams say now is of no interest to anybody.
            runtime::sleep(RETRY_MAX).await;
            continue;
        }
        link.failed(failure.0);
        if link.state().progress > progress {
            retry = RETRY_MIN;
        }
        let jitter = runtime::rng("replication retry").random_range(0.5..1.0);
        tokio::select! {
            biased;
            changed = kicks.changed() => if changed.is_err() { return },
            () = runtime::sleep(retry.mul_f64(jitter)) => {}
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Why a stream ended, in the words of `current_error` (spec/cluster.md 7.2).
struct Failure(String);

impl Failure {
    fn fetching(cause: impl std::fmt::Display) -> Failure {
        Failure(format!("error fetching destDB: {cause}"))
    }

    fn committing(cause: impl std::fmt::Display) -> Failure {
        Failure(format!("failed to commit chunks on destDB: {cause}"))
    }

    fn status(status: &Status) -> Failure {
        let cause = std::error::Error::source(status).map(innermost);
        // tonic calls a lost connection Unknown.
        let code = if cause.is_some() {
            Code::Unavailable
        } else {
            status.code()
        };
        let cause = cause.filter(|cause| !status.message().contains(cause.as_str()));
        let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        Failure::committing(format!("status: {code:?}, {}{cause}", status.message()))
    }
}

/// The standby learns of databases through the system database, so that one comes first.
async fn wait_for_system_database(core: &Core, link: &Link) {
    if link.database.id() == DatabaseId::SYSTEM {
        return;
    }
    let mut changes = core.links.watch();
    loop {
        changes.borrow_and_update();
        let Some(system) = core.links.get((DatabaseId::SYSTEM, link.key.1)) else {
            return;
        };
        let state = system.state();
        if state
            .acknowledged
            .is_some_and(|record| record.sequence >= link.listed_at)
        {
            return;
        }
        link.waiting(state.error);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn attempt(core: &Arc<Core>, link: &Arc<Link>) -> Failure {
    let standing = core.controller.standing();
    if standing.role != Role::Primary {
        // spec/cluster.md 5.2: fails here, before it reaches the network.
        return Failure::fetching(format!("status: FailedPrecondition, this server is {}", standing.role));
    }
    let (number, channel) = match link.peer.channel().await {
        Ok(channel) => channel,
        Err(error) => return Failure::fetching(error),
    };
    let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES);
    let mut request = Request::new(ReceiverStream::new(receiver));
    message::put_headers(request.metadata_mut(), &standing);
    let authorization = core.signer.authorization(runtime::wall_clock());
    let authorization = authorization.parse().expect("a token is base64url and dots");
    request.metadata_mut().insert("authorization", authorization);
    let mut client = ReplicationClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let status = match runtime::timeout(OPEN_LIMIT, client.replicate(request)).await {
        Ok(Ok(answer)) => {
            core.controller
                .on_response(message::response_event(answer.metadata()))
                .await;
            let stream = Stream::new(core, link, answer.into_inner());
            match stream.run(sender).await {
                Ok(never) => match never {},
                Err(Ended::Local(failure)) => return failure,
                Err(Ended::Status(status)) => status,
            }
        }
        Ok(Err(status)) => status,
        Err(_) => Status::deadline_exceeded(format!("no answer within {} s", OPEN_LIMIT.as_secs())),
    };
    if let Some(event) = message::error_event(&status) {
        core.controller.on_response(event).await;
    }
    // Refusals come over a connection that works; anything else may be its fault.
    if !matches!(
        status.code(),
        Code::FailedPrecondition | Code::NotFound | Code::Aborted | Code::Unauthenticated
    ) {
        link.peer.discard(number).await;
    }
    Failure::status(&status)
}

enum Ended {
    /// The standby's, or the transport's.
    Status(Status),
    /// Ours.
    Local(Failure),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Ended {
        Ended::Status(status)
    }
}

enum Never {}

/// What heartbeat `number` will show, if all is well.
struct Beat {
    number: u64,
    asked: Instant,
    /// None while the standby walks: its root is the former one until it is done.
    expected: Option<Hash>,
}

struct Stream<'a> {
    core: &'a Arc<Core>,
    link: &'a Link,
    answers: Streaming<ToPrimary>,
    published: watch::Receiver<RootRecord>,
    kicks: watch::Receiver<u64>,
    /// The stream before this one was cut off in the middle of a root.
    after_cut: bool,
    /// The root that the standby has once it has done what was sent. None until it said what it has.
    sent: Option<Hash>,
    /// What the standby calls this stream.
    number: u64,
    /// Sent and not acknowledged, with the moment of sending.
    in_flight: VecDeque<(RootRecord, Instant)>,
    outgoing: Option<Outgoing<LogReader>>,
    /// The standby walks from our root and asks.
    walking: bool,
    /// Keeps the root on offer readable in full while the standby walks.
    offered: Option<RootHold>,
    /// What it asked for and was not sent yet.
    wanted: Wanted,
    queue: VecDeque<Body>,
    beats: VecDeque<Beat>,
    beat_number: u64,
    next_beat: Instant,
    began: Instant,
    heard: Instant,
}

impl<'a> Stream<'a> {
    fn new(core: &'a Arc<Core>, link: &'a Link, answers: Streaming<ToPrimary>) -> Stream<'a> {
        let hello = wire::Hello {
            database_id: link.database.id().as_bytes().to_vec().into(),
        };
        Stream {
            core,
            link,
            answers,
            published: link.database.store().watch_published(),
            kicks: link.watch_kicks(),
            after_cut: link.state().unfinished,
            sent: None,
            number: 0,
            in_flight: VecDeque::new(),
            outgoing: None,
            walking: false,
            offered: None,
            wanted: Wanted::default(),
            queue: VecDeque::from([Body::Hello(hello)]),
            beats: VecDeque::new(),
            beat_number: 0,
            next_beat: runtime::now() + HEARTBEAT_EVERY,
            began: runtime::now(),
            heard: runtime::now(),
        }
    }

    async fn run(mut self, sender: mpsc::Sender<ToStandby>) -> Result<Never, Ended> {
        loop {
            self.prepare()?;
            let idle = self.sent.is_some() && !self.walking && self.queue.is_empty();
            tokio::select! {
                biased;
                answer = self.answers.message() => match answer? {
                    Some(answer) => {
                        self.heard = runtime::now();
                        self.on_answer(answer).await?;
                    }
                    None => return Err(Status::unavailable("the standby ended the stream").into()),
                },
                permit = sender.reserve(), if !self.queue.is_empty() => {
                    let permit = permit.map_err(|_| Status::unavailable("the connection ended"))?;
                    let standing = self.core.controller.standing();
                    if standing.role != Role::Primary {
                        return Err(Ended::Local(Failure::committing("this server is no longer primary")));
                    }
                    if matches!(self.queue.front(), Some(Body::Chunks(_) | Body::Root(_))) && buggify!("replication.reconnect") {
                        return Err(Status::unavailable("the connection ended").into());
                    }
                    if matches!(self.queue.front(), Some(Body::Chunks(_))) {
                        self.link.began();
                    }
                    permit.send(ToStandby { stamp: Some(message::stamp(&standing)), body: self.queue.pop_front() });
                }
                changed = self.published.changed(), if idle => if changed.is_err() {
                    return Err(Ended::Local(Failure::committing("the store was closed")));
                },
                changed = self.kicks.changed(), if self.sent.is_some() => {
                    if changed.is_err() {
                        return Err(Ended::Local(Failure::committing("the link was ended")));
                    }
                    self.beat();
                }
                () = runtime::sleep_until(self.next_beat), if self.sent.is_some() => self.beat(),
                () = runtime::sleep_until(self.heard + SILENCE_MAX) => {
                    let silence = format!("the standby has said nothing for {} s", SILENCE_MAX.as_secs());
                    return Err(Status::deadline_exceeded(silence).into());
                }
            }
        }
    }

    /// Puts the next piece of data into an empty queue, if there is any.
    fn prepare(&mut self) -> Result<(), Ended> {
        if self.queue.is_empty() {
            let store = self.link.database.store();
            let message = self.wanted.next_message(store);
            self.queue
                .extend(message.map_err(|error| Ended::Local(Failure::committing(error)))?);
        }
        while let Some(sent) = self.sent
            && self.queue.is_empty()
            && !self.walking
        {
            let Some(outgoing) = &mut self.outgoing else {
                let newest = *self.published.borrow_and_update();
                if sent == newest.root {
                    self.on_same_root(newest);
                    return Ok(());
                }
                self.start_after(sent)?;
                continue;
            };
            match outgoing
                .next_message()
                .map_err(|error| Ended::Local(Failure::committing(error)))?
            {
                Next::Message(body) => self.queue.push_back(body),
                Next::Root(body, record) => {
                    self.sent = Some(record.root);
                    self.in_flight.push_back((record, runtime::now()));
                    self.queue.push_back(body);
                }
                Next::TooLarge => self.offer(true)?,
                Next::End => self.outgoing = None,
            }
        }
        Ok(())
    }

    /// Content that came back brings no root to send. The standby has the newer record of it once it has acknowledged
    /// all that was sent.
    fn on_same_root(&self, newest: RootRecord) {
        let acknowledged = self.link.state().acknowledged;
        if self.in_flight.is_empty() && acknowledged.is_none_or(|record| record.sequence < newest.sequence) {
            self.link.acknowledged(newest, None);
        }
    }

    /// The standby has this root: the log's suffix if the log knows it, a walk if not.
    fn start_after(&mut self, root: Hash) -> Result<(), Ended> {
        let store = self.link.database.store();
        let log = store
            .read_log_after(root)
            .map_err(|error| Ended::Local(Failure::committing(error)))?;
        // Looking a long log through takes a while, in which nobody listened.
        self.heard = runtime::now();
        let Some(log) = log else {
            return self.offer(false);
        };
        // A standby with nothing could replay the whole log; once that is long, most of it is no longer alive.
        let is_long = root.is_none() && store.published().sequence > REPLAY_ROOTS_MAX;
        // What the last stream had sent of the log is lost; what it would have sent by a walk is not.
        let after_cut = std::mem::take(&mut self.after_cut);
        if is_long || after_cut || buggify!("replication.walk") {
            sometimes!(after_cut, "replication.walks_after_cut");
            return self.offer(true);
        }
        sometimes!("replication.caught_up_by_log");
        self.outgoing = Some(Outgoing::new(log, root));
        Ok(())
    }

    /// Whatever the standby has, it is to take our root and ask for what it lacks. `forward` if our root comes after
    /// the one it has.
    fn offer(&mut self, forward: bool) -> Result<(), Ended> {
        // It is about to be taken off the list: it was awaited when this server became primary.
        let Some((record, hold)) = self.link.database.hold_published() else {
            return Err(Ended::Local(Failure::committing("the database has no content here")));
        };
        self.offered = Some(hold);
        self.outgoing = None;
        self.wanted = Wanted::default();
        self.queue.retain(|body| matches!(body, Body::Heartbeat(_)));
        self.in_flight = VecDeque::from([(record, runtime::now())]);
        self.beats.iter_mut().for_each(|beat| beat.expected = None);
        self.walking = true;
        self.sent = Some(record.root);
        self.queue.push_back(Body::Adopt(wire::Adopt {
            root: Some(message::root_message(&record, record.previous)),
            forward,
            stream: self.number,
        }));
        Ok(())
    }

    fn beat(&mut self) {
        self.next_beat = runtime::now() + HEARTBEAT_EVERY;
        if self.queue.iter().any(|body| matches!(body, Body::Heartbeat(_))) {
            return;
        }
        self.beat_number += 1;
        let expected = if self.walking { None } else { self.sent };
        self.beats.push_back(Beat {
            number: self.beat_number,
            asked: runtime::now(),
            expected,
        });
        self.queue.push_back(Body::Heartbeat(wire::Heartbeat {
            number: self.beat_number,
        }));
    }

    async fn on_answer(&mut self, answer: ToPrimary) -> Result<(), Ended> {
        self.core
            .controller
            .on_response(message::answer_event(answer.stamp.as_ref()))
            .await;
        match answer.body {
            Some(Answer::Standing(standing)) if self.sent.is_none() => {
                self.number = standing.stream;
                self.on_standing(hash_or_none(&standing.root)?)
            }
            Some(Answer::Acknowledged(root)) => self.on_acknowledged(root_record(&root)?),
            Some(Answer::Want(want)) if self.walking => self.on_want(&want),
            Some(Answer::Beat(beat)) => self.on_beat(beat.number, hash_or_none(&beat.root)?),
            Some(Answer::Busy(_)) => Ok(()),
            // What was sent came out of our log, after the root that the standby has.
            Some(Answer::Incomplete(_)) => self.offer(true),
            Some(Answer::Standing(_) | Answer::Want(_)) | None => {
                Err(Status::internal("the standby sent a message that has no place here").into())
            }
        }
    }

    fn on_standing(&mut self, root: Hash) -> Result<(), Ended> {
        let newest = self.link.database.store().published();
        self.sent = Some(root);
        if root == newest.root {
            self.link.acknowledged(newest, Some(self.began));
            self.beat();
            return Ok(());
        }
        self.link.stands_at(root);
        self.start_after(root)
    }

    /// The standby sends back the record it was sent, so that two roots of the same content are told apart.
    fn on_acknowledged(&mut self, acknowledged: RootRecord) -> Result<(), Ended> {
        let root = acknowledged.root;
        match self.in_flight.front().copied() {
            Some((record, sent)) if record.root == root && record.sequence == acknowledged.sequence => {
                self.in_flight.pop_front();
                self.walking = false;
                self.offered = None;
                self.link.acknowledged(record, Some(sent));
                Ok(())
            }
            // A root that was on its way when we offered another.
            _ if self.walking => Ok(()),
            _ => Err(Status::internal(format!("the standby acknowledged {root}, which was not sent")).into()),
        }
    }

    fn on_want(&mut self, want: &wire::Want) -> Result<(), Ended> {
        if want.hashes.len() > WANT_MAX {
            return Err(Status::resource_exhausted("the standby asks for too much at once").into());
        }
        if !self.wanted.is_empty() {
            return Err(Status::internal("the standby asks for more before it has what it asked for").into());
        }
        sometimes!("replication.caught_up_by_walk");
        let hashes = want.hashes.iter().map(|bytes| hash(bytes));
        let hashes = hashes.collect::<Result<Vec<Hash>, Status>>()?;
        if let Some(first) = hashes.first() {
            self.link.wanted(*first);
        }
        self.wanted = Wanted::new(hashes);
        Ok(())
    }

    fn on_beat(&mut self, number: u64, root: Hash) -> Result<(), Ended> {
        let Some(beat) = self.beats.pop_front().filter(|beat| beat.number == number) else {
            return Err(Status::internal("the standby answered a heartbeat that was not sent").into());
        };
        match beat.expected {
            None => {}
            Some(expected) if expected == root => self.link.confirmed(beat.asked),
            Some(expected) => {
                self.link.stands_at(root);
                let divergence = format!("destination database root hash moved: it is {root}, not {expected}");
                return Err(Status::aborted(divergence).into());
            }
        }
        Ok(())
    }
}
