//! Two streams of one primary for one database: an old half-dead connection and its successor.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use super::harness::{Server, free_ports, peer_of, server, until};
use crate::chunk::{Hash, ReadChunks};
use crate::config::BootstrapRole::{Primary, Standby};
use crate::engine::{Database, DatabaseId};
use crate::replication::cluster::message::{self, hash, hash_bytes, hash_or_none};
use crate::replication::cluster::role::Standing;
use crate::replication::cluster::wire::replication_client::ReplicationClient;
use crate::replication::cluster::wire::to_primary::Body as Answer;
use crate::replication::cluster::wire::to_standby::Body;
use crate::replication::cluster::wire::{self, ToPrimary, ToStandby};
use crate::runtime;

const LIMIT: Duration = Duration::from_secs(30);
/// Long enough for whatever does not wait for a sync to be done before it.
const SLOW_SYNC: Duration = Duration::from_secs(2);

/// B takes A for a member; A itself ships to nobody, so that the streams of a test are the only ones.
async fn a_and_b() -> (Server, Server) {
    let [pa, pb, nobody] = free_ports().await;
    let mut a = server(1, pa, &[nobody], Primary, 1);
    let mut b = server(2, pb, &[pa], Standby, 1);
    a.start().await;
    b.start().await;
    a.create_database("app").await;
    (a, b)
}

fn system(server: &Server) -> Database {
    server.engine().system().database().clone()
}

/// The primary's side of a stream, by hand.
struct Stream {
    standing: Standing,
    /// What the standby calls it.
    number: u64,
    to: mpsc::Sender<ToStandby>,
    from: Streaming<ToPrimary>,
}

impl Stream {
    /// In the name of `primary`, over a connection of its own.
    async fn open(primary: &Server, standby: &Server) -> Stream {
        let core = primary.cluster().core();
        let standing = core.controller.standing();
        let (to, receiver) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(receiver));
        message::put_headers(request.metadata_mut(), &standing);
        let authorization = core.signer.authorization(runtime::wall_clock()).parse().unwrap();
        request.metadata_mut().insert("authorization", authorization);
        let (_, channel) = peer_of(standby).channel().await.unwrap();
        let answer = ReplicationClient::new(channel).replicate(request).await.unwrap();
        Stream {
            standing,
            number: 0,
            to,
            from: answer.into_inner(),
        }
    }

    async fn send(&self, body: Body) {
        let stamp = Some(message::stamp(&self.standing));
        let body = Some(body);
        // A stream that has ended takes nothing; the next answer says how it ended.
        let _ = self.to.send(ToStandby { stamp, body }).await;
    }

    /// The next answer that says something, or how the stream ended.
    async fn next(&mut self) -> Result<Answer, Status> {
        let next = async {
            loop {
                match self.from.message().await?.expect("ends with a status").body {
                    Some(Answer::Busy(_)) => {}
                    body => return Ok(body.expect("a body")),
                }
            }
        };
        runtime::timeout(LIMIT, next).await.expect("an answer, or the end")
    }

    /// Says which database it is about; gives the standby's root.
    async fn hello(&mut self, id: DatabaseId) -> Result<Hash, Status> {
        let database_id = id.as_bytes().to_vec().into();
        self.send(Body::Hello(wire::Hello { database_id })).await;
        match self.next().await? {
            Answer::Standing(standing) => {
                self.number = standing.stream;
                hash_or_none(&standing.root)
            }
            other => panic!("Hello is answered with {other:?}"),
        }
    }

    /// Offers the primary's newest root.
    async fn offer(&self, database: &Database) {
        let record = database.store().published();
        let root = Some(message::root_message(&record, record.previous));
        let (forward, stream) = (false, self.number);
        self.send(Body::Adopt(wire::Adopt { root, forward, stream })).await;
    }

    async fn supply(&self, database: &Database, want: &wire::Want) {
        let chunk = |bytes| {
            let hash = hash(bytes).unwrap();
            wire::Chunk {
                hash: hash_bytes(hash),
                content: database.store().get(&hash).unwrap(),
            }
        };
        let chunks = want.hashes.iter().map(|bytes| chunk(bytes)).collect();
        self.send(Body::Chunks(wire::Chunks { chunks })).await;
    }

    /// Gives what the standby asks for until it has the root.
    async fn until_acknowledged(&mut self, database: &Database) -> Hash {
        loop {
            match self.next().await.unwrap() {
                Answer::Want(want) => self.supply(database, &want).await,
                Answer::Acknowledged(root) => return hash(&root.root).unwrap(),
                other => panic!("a walk goes on with {other:?}"),
            }
        }
    }
}

fn is_displaced(status: &Status) -> bool {
    status.code() == Code::Aborted && status.message().contains("a newer stream")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_stream_of_a_primary_ends_the_older_one_and_replicates() {
    let (a, b) = a_and_b().await;
    let before = system(&b).store().pending();
    let mut old = Stream::open(&a, &b).await;
    old.hello(DatabaseId::SYSTEM).await.unwrap();
    old.offer(&system(&a)).await;
    let Answer::Want(want) = old.next().await.unwrap() else {
        panic!("B cannot have A's root")
    };
    let mut new = Stream::open(&a, &b).await;
    let root = new.hello(DatabaseId::SYSTEM).await.unwrap();
    assert_eq!(root, before.root, "nothing was applied");
    // What the old one would have gone on with is not taken any more.
    old.supply(&system(&a), &want).await;
    let status = old.next().await.unwrap_err();
    assert!(is_displaced(&status), "{status:?}");
    assert_eq!(system(&b).store().pending(), before);
    new.offer(&system(&a)).await;
    let acknowledged = new.until_acknowledged(&system(&a)).await;
    assert_eq!(acknowledged, system(&a).store().published().root);
    assert_eq!(acknowledged, system(&b).store().published().root);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_was_made_to_another_stream_is_refused() {
    // What a proxy sends again would lead a standby back that has gone on meanwhile.
    let (a, b) = a_and_b().await;
    let mut first = Stream::open(&a, &b).await;
    first.hello(DatabaseId::SYSTEM).await.unwrap();
    let number = first.number;
    let before = system(&b).store().pending();
    let mut again = Stream::open(&a, &b).await;
    again.hello(DatabaseId::SYSTEM).await.unwrap();
    assert_ne!(again.number, number);
    again.number = number;
    again.offer(&system(&a)).await;
    let status = again.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("another stream"), "{status:?}");
    assert_eq!(system(&b).store().pending(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_admitted_first_and_begins_last_displaces_nobody() {
    let (a, b) = a_and_b().await;
    let mut old = Stream::open(&a, &b).await;
    let mut new = Stream::open(&a, &b).await;
    new.hello(DatabaseId::SYSTEM).await.unwrap();
    let status = old.hello(DatabaseId::SYSTEM).await.unwrap_err();
    assert!(is_displaced(&status), "{status:?}");
    new.send(Body::Heartbeat(wire::Heartbeat { number: 1 })).await;
    let answer = new.next().await.unwrap();
    assert!(matches!(&answer, Answer::Beat(beat) if beat.number == 1), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_different_databases_leave_each_other_alone() {
    let (a, b) = a_and_b().await;
    let mut system_stream = Stream::open(&a, &b).await;
    system_stream.hello(DatabaseId::SYSTEM).await.unwrap();
    system_stream.offer(&system(&a)).await;
    system_stream.until_acknowledged(&system(&a)).await;
    let app = a.engine().database("app").unwrap();
    let mut stream = Stream::open(&a, &b).await;
    assert!(stream.hello(app.id()).await.unwrap().is_none());
    stream.offer(&app).await;
    stream.until_acknowledged(&app).await;
    b.has("app", []).await;
    system_stream.send(Body::Heartbeat(wire::Heartbeat { number: 1 })).await;
    let answer = system_stream.next().await.unwrap();
    assert!(matches!(answer, Answer::Beat(_)), "{answer:?}");
}

/// The root of the system database is written and not synced when its stream ends: the successor finds the root there
/// and is sent none, and yet the databases it lists must come into being.
#[tokio::test(flavor = "multi_thread")]
async fn databases_are_made_though_the_stream_that_listed_them_ended_too_early() {
    let (a, b) = a_and_b().await;
    let mut old = Stream::open(&a, &b).await;
    old.hello(DatabaseId::SYSTEM).await.unwrap();
    b.disk.set_sync_latency(SLOW_SYNC..=SLOW_SYNC);
    old.offer(&system(&a)).await;
    let wanted = system(&a).store().published().root;
    while system(&b).store().pending().root != wanted {
        tokio::select! {
            answer = old.next() => match answer.unwrap() {
                Answer::Want(want) => old.supply(&system(&a), &want).await,
                other => panic!("not synced, and yet {other:?}"),
            },
            () = until("a root", || system(&b).store().pending().root == wanted, String::new) => {}
        }
    }
    let mut new = Stream::open(&a, &b).await;
    b.disk.set_sync_latency(Duration::ZERO..=Duration::ZERO);
    assert_eq!(new.hello(DatabaseId::SYSTEM).await.unwrap(), wanted);
    let status = old.next().await.unwrap_err();
    assert!(is_displaced(&status), "{status:?}");
    let app = a.engine().database("app").unwrap().id();
    let mut stream = Stream::open(&a, &b).await;
    assert!(stream.hello(app).await.unwrap().is_none(), "known, and without a root");
}
