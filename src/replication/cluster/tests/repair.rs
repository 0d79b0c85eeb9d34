//! What a repair gets from a running peer, and what everybody else gets: nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::harness::{Server, free_ports, pair, peer_of, server, until};
use crate::chunk::{Hash, ReadChunks};
use crate::config::BootstrapRole::Standby;
use crate::engine::AskForChunks;
use crate::replication::cluster::giver::{HASHES_MAX, REQUEST_BYTES_MAX, REQUESTS_MAX};
use crate::replication::cluster::identity::ServerId;
use crate::replication::cluster::outgoing::BATCH_BYTES;
use crate::replication::cluster::token::TokenSigner;
use crate::replication::cluster::wire::repair_client::RepairClient;
use crate::replication::cluster::wire::{Asked, Given};
use crate::replication::cluster::{RepairError, RepairPeer};
use crate::runtime;
use crate::version::references;

fn asked(hashes: impl IntoIterator<Item = Hash>) -> Asked {
    let bytes = |hash: Hash| Bytes::copy_from_slice(hash.as_bytes());
    Asked {
        hashes: hashes.into_iter().map(bytes).collect(),
    }
}

/// A pair that replicated `rows` rows.
async fn filled(rows: i64) -> (Server, Server) {
    let (a, b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..rows).await.unwrap();
    b.has("app", 0..rows).await;
    (a, b)
}

/// `stopped` asks `running` for a chunk that it has and for one that nobody has.
async fn asks(stopped: &Server, running: &Server) {
    let role = running.role();
    let (root, nobodys) = (running.root("app").unwrap(), Hash::of(b"nobody has this"));
    let mut peer = stopped.repair_peer(running).await;
    let answer = peer.ask(&[nobodys, root]).await.unwrap();
    assert_eq!(answer.given.len(), 1);
    assert_eq!((answer.given[0].0, Hash::of(&answer.given[0].1)), (root, root));
    assert_eq!(answer.absent, [nobodys]);
    assert_eq!(running.role(), role);
    assert_eq!(running.root("app"), Some(root));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_chunks_by_hash_in_every_role() {
    let (a, mut b) = filled(3).await;
    b.stop().await;
    asks(&b, &a).await;
    let (mut a, b) = filled(3).await;
    a.stop().await;
    asks(&a, &b).await;
}

/// The primary goes on trying to reach its standby, whose port answers for another purpose.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_told_that_its_standby_is_being_repaired() {
    let (a, mut b) = filled(3).await;
    b.stop().await;
    let _peer = b.repair_peer(&a).await;
    let row = || a.status("app");
    let told = |error: String| error.contains("repaired");
    until(
        "the reason",
        || row().current_error.is_some_and(told),
        || format!("{:?}", row()),
    )
    .await;
    assert_eq!(a.role(), "primary@1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_sent_in_pieces() {
    let (a, mut b) = filled(20_000).await;
    b.stop().await;
    let store = a.engine().database("app").unwrap().store().clone();
    let (mut open, mut found) = (vec![a.root("app").unwrap()], BTreeSet::new());
    while let Some(hash) = open.pop() {
        if found.len() < HASHES_MAX && found.insert(hash) {
            open.extend(references(&store.get(&hash).unwrap()).unwrap());
        }
    }
    let peer = b.repair_peer(&a).await;
    let messages = peer.exchange(asked(found.iter().copied())).await.unwrap();
    let bytes = |message: &Given| -> usize { message.chunks.iter().map(|chunk| chunk.content.len()).sum() };
    assert!(
        messages.len() > 1,
        "{} bytes",
        messages.iter().map(bytes).sum::<usize>()
    );
    assert!(messages.iter().all(|message| bytes(message) < BATCH_BYTES + (64 << 10)));
    let given: BTreeSet<Hash> = messages
        .iter()
        .flat_map(|message| &message.chunks)
        .map(|chunk| Hash::of(&chunk.content))
        .collect();
    assert_eq!(given, found);
}

/// Asks with these authorizations.
async fn intrude(server: &Server, authorizations: &[String]) -> Status {
    let (_, channel) = peer_of(server).channel().await.unwrap();
    let mut request = Request::new(tokio_stream::once(asked([server.root("app").unwrap()])));
    for authorization in authorizations {
        request
            .metadata_mut()
            .append("authorization", authorization.parse().unwrap());
    }
    RepairClient::new(channel).fetch(request).await.map(|_| ()).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn c_182_strangers_get_no_chunks() {
    let (a, b) = filled(3).await;
    let stranger = TokenSigner::generate(ServerId([9; 16])).authorization(runtime::wall_clock());
    for server in [&a, &b] {
        let role = server.role();
        for authorizations in [
            vec![],
            vec![stranger.clone()],
            vec![stranger.clone(), stranger.clone()],
            vec!["Bearer x".to_owned()],
        ] {
            let status = intrude(server, &authorizations).await;
            assert_eq!(status.code(), Code::Unauthenticated);
            let learned = status.metadata().get("x-dolt-cluster-role");
            assert!(learned.is_none(), "a stranger learns nothing");
        }
        assert_eq!(server.role(), role);
    }
    // It lists A, serves its key as a member does, and is not listed by A.
    let [port] = free_ports().await;
    let other = server(3, port, &[a.cluster().local_addr().port()], Standby, 1);
    let peer = other.repair_peer(&a).await;
    let refused = peer.exchange(asked([a.root("app").unwrap()])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_in_number_and_bytes() {
    let (a, mut b) = filled(3).await;
    b.stop().await;
    let mut peer = b.repair_peer(&a).await;
    let root = a.root("app").unwrap();
    // The key is known from here on.
    peer.ask(&[root]).await.unwrap();
    let many = peer.exchange(asked(vec![root; HASHES_MAX])).await.unwrap();
    assert_eq!(
        many.iter().map(|message| message.chunks.len()).sum::<usize>(),
        HASHES_MAX
    );
    for (request, code) in [
        (asked(vec![root; HASHES_MAX + 1]), Code::InvalidArgument),
        (asked(vec![root; REQUEST_BYTES_MAX / 20]), Code::OutOfRange),
        (
            Asked {
                hashes: vec![Bytes::from_static(&[1; 19])],
            },
            Code::InvalidArgument,
        ),
    ] {
        let refused = peer.exchange(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }

    let (_, channel) = peer_of(&a).channel().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Asked>(1);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("authorization", peer.authorization());
        let answer = RepairClient::new(channel.clone()).fetch(request).await.unwrap();
        waiting.push((sender, answer));
    }
    let refused = peer.exchange(asked([root])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(waiting);
    let asked_again = runtime::timeout(Duration::from_secs(10), peer.ask(&[root])).await;
    assert_eq!(asked_again.unwrap().unwrap().given.len(), 1);
    assert_eq!(a.role(), "primary@1");
}

#[tokio::test]
async fn only_peers_of_the_configuration_are_asked() {
    let [own, listed, other] = free_ports().await;
    let stopped = server(1, own, &[listed], Standby, 1);
    for url in [
        format!("http://127.0.0.1:{other}"),
        format!("https://127.0.0.1:{listed}"),
        "x".to_owned(),
    ] {
        let refused = RepairPeer::open(stopped.config(), &stopped.disk.disk(), &url).await;
        let Err(RepairError::NotListed { listed: told, .. }) = refused else {
            panic!("{url} was accepted");
        };
        assert_eq!(told, format!("http://127.0.0.1:{listed}"));
    }
    assert!(
        stopped.disk.disk().list("").unwrap().is_empty(),
        "asking leaves nothing in the folder"
    );
}
