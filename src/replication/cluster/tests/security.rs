//! What strangers and peers of other clusters can do on the cluster port: nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::harness::{Server, pair, peer_of, stopped_pair, until};
use crate::replication::cluster::identity::{Epoch, Role, ServerId};
use crate::replication::cluster::message;
use crate::replication::cluster::role::Standing;
use crate::replication::cluster::token::{TokenSigner, parse_document};
use crate::replication::cluster::visitors::{STRANGER_LIMIT, STRANGERS_MAX};
use crate::replication::cluster::wire::replication_client::ReplicationClient;
use crate::runtime;
use crate::runtime::net::TcpStream;

/// Opens a stream as a primary far ahead, with these authorizations.
async fn intrude(server: &Server, authorizations: &[String]) -> Status {
    let (_, channel) = peer_of(server).channel().await.unwrap();
    let (_sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receiver));
    let standing = Standing {
        server: ServerId([9; 16]),
        role: Role::Primary,
        epoch: Epoch::new(101).unwrap(),
        accepted: None,
    };
    message::put_headers(request.metadata_mut(), &standing);
    for authorization in authorizations {
        request
            .metadata_mut()
            .append("authorization", authorization.parse().unwrap());
    }
    ReplicationClient::new(channel)
        .replicate(request)
        .await
        .map(|_| ())
        .unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn c_105_and_c_182_strangers_change_nothing() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    let stranger = TokenSigner::generate(ServerId([9; 16])).authorization(runtime::wall_clock());
    for server in [&a, &b] {
        let (role, client) = (server.role(), server.connect());
        for authorizations in [
            vec![],
            vec![stranger.clone()],
            vec![stranger.clone(), stranger.clone()],
            vec!["bearer x".to_owned()],
            vec!["Bearer x".to_owned()],
        ] {
            let status = intrude(server, &authorizations).await;
            assert_eq!(status.code(), Code::Unauthenticated);
            assert!(
                status.metadata().get("x-dolt-cluster-role").is_none(),
                "a stranger learns nothing"
            );
        }
        assert_eq!(server.role(), role);
        assert!(!client.is_finished());
    }
}

async fn http(server: &Server, method: &str, path: &str) -> (u16, Bytes) {
    let stream = TcpStream::connect(&server.cluster().local_addr().to_string())
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let _driver = runtime::spawn("test connection", connection).abort_on_drop();
    let request = http::Request::builder().method(method).uri(path).header("host", "x");
    let response = sender
        .send_request(request.body(Full::new(Bytes::from("{}"))).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn c_180_the_port_gives_its_key_to_everybody_and_400_to_the_rest() {
    let (mut a, _b) = stopped_pair().await;
    a.start().await;
    let (status, body) = http(&a, "GET", "/.well-known/jwks.json").await;
    assert_eq!(status, 200);
    assert_eq!(parse_document(&body).unwrap().len(), 1);
    for (method, path) in [
        ("POST", "/"),
        ("GET", "/app"),
        ("GET", "/.well-known/jwks.json/"),
        ("PUT", "/x"),
    ] {
        assert_eq!(http(&a, method, path).await.0, 400, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    use tokio::io::AsyncWriteExt;
    let (a, b) = pair().await;
    for garbage in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage",
        &[0xff; 4096],
    ] {
        let mut stream = TcpStream::connect(&b.cluster().local_addr().to_string()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    a.create_database("app").await;
    a.insert("app", [1]).await.unwrap();
    b.has("app", [1]).await;
}

/// Says this and waits for the server to close; gives what it answered.
async fn until_closed(server: &Server, request: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = server.cluster().local_addr().to_string();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_member_is_answered_once_and_hung_up_on() {
    let (mut a, _b) = stopped_pair().await;
    a.start().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400"),
        ("GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200"),
        (
            "POST /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n",
            "HTTP/1.1 405",
        ),
    ] {
        let begun = runtime::now();
        let answer = until_closed(&a, request.as_bytes()).await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(begun.elapsed() < STRANGER_LIMIT, "not only when its time was over");
    }
    let begun = runtime::now();
    assert_eq!(until_closed(&a, b"").await, "");
    assert!(begun.elapsed() >= STRANGER_LIMIT);
}

/// Hundreds of strangers hold on to their connections; the primary starts after them and gets through at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_strangers_keeps_no_member_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut a, mut b) = stopped_pair().await;
    b.start().await;
    let address = b.cluster().local_addr().to_string();
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // An HTTP/2 connection, which is not over with its first answer.
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        crowd.push(stream);
    }
    let begun = runtime::now();
    a.start().await;
    a.create_database("app").await;
    a.insert("app", [1]).await.unwrap();
    b.has("app", [1]).await;
    assert!(begun.elapsed() < STRANGER_LIMIT, "the strangers' time is not over yet");
    for mut displaced in crowd.drain(..300 - STRANGERS_MAX) {
        let mut rest = Vec::new();
        // Closed in one way or the other.
        let _ = displaced.read_to_end(&mut rest).await;
    }
}

/// B is restarted and has another key; A is demoted and must believe B's new key when B replicates to it.
#[tokio::test(flavor = "multi_thread")]
async fn c_184_a_restarted_peer_is_believed_again() {
    let (a, mut b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    b.stop().await;
    b.start().await;
    a.insert("app", [1]).await.unwrap();
    b.has("app", [1]).await;
    a.assume("standby", 2).await.unwrap();
    b.assume("primary", 2).await.unwrap();
    b.insert("app", [2]).await.unwrap();
    a.has("app", [1, 2]).await;
}

/// A lists B, B does not list A.
#[tokio::test(flavor = "multi_thread")]
async fn c_185_a_peer_that_is_not_listed_back_is_refused() {
    use crate::config::BootstrapRole::{Primary, Standby};
    let [pa, pb, other] = super::harness::free_ports().await;
    let mut a = super::harness::server(1, pa, &[pb], Primary, 1);
    let mut b = super::harness::server(2, pb, &[other], Standby, 1);
    b.start().await;
    a.start().await;
    a.create_database("app").await;
    let row = || a.status("app");
    let refused = |error: String| error.contains("Unauthenticated");
    until(
        "a refusal",
        || row().current_error.is_some_and(refused),
        || format!("{:?}", row()),
    )
    .await;
    assert_eq!(b.role(), "standby@1");
    assert!(b.names().is_empty());
}
