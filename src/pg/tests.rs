//! The protocol against a real engine on a simulated disk, spoken by tokio-postgres and, where a driver is too polite,
//! message by message.

mod fixture;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, TryStreamExt};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use self::fixture::{bind, code, execute, field, fixture, parse};
use super::Options;
use crate::engine::{RoleRecord, ScramVerifier};
use crate::runtime;
use crate::runtime::net::TcpStream;

/// No step of these tests waits longer than this when something is broken.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn s_021_scram_accepts_the_password_and_refuses_alike() {
    let fixture = fixture(Options::default()).await;
    fixture
        .connect()
        .await
        .simple_query("SHOW server_version")
        .await
        .unwrap();
    let verifier = Some(ScramVerifier::of_password("p"));
    let barred = RoleRecord {
        name: "barred".into(),
        superuser: false,
        login: false,
        verifier,
    };
    fixture.engine.system().create_role(barred).await.unwrap();
    let unset = RoleRecord {
        name: "unset".into(),
        superuser: false,
        login: true,
        verifier: None,
    };
    fixture.engine.system().create_role(unset).await.unwrap();
    for (user, password, expected) in [
        ("postgres", "wrong", "28P01"),
        ("nobody", "password", "28P01"),
        ("unset", "", "28P01"),
        ("unset", "p", "28P01"),
        ("barred", "wrong", "28P01"),
        ("barred", "p", "28000"),
    ] {
        let error = fixture
            .try_connect(user, password, "postgres")
            .await
            .expect_err("refused");
        assert_eq!(code(&error), expected, "{user} {password}");
        if expected == "28P01" {
            let message = error.as_db_error().unwrap().message().to_owned();
            assert_eq!(message, format!("password authentication failed for user \"{user}\""));
        }
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_3d000() {
    let fixture = fixture(Options::default()).await;
    let error = fixture
        .try_connect("postgres", "password", "nowhere")
        .await
        .err()
        .unwrap();
    assert_eq!(code(&error), "3D000");
    fixture.sessions(0).await;
}

#[tokio::test]
async fn simple_queries_give_rows_tags_and_errors() {
    let fixture = fixture(Options::default()).await;
    let client = fixture.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, word text)")
        .await
        .unwrap();
    client
        .batch_execute("INSERT INTO t VALUES (1, 'one'), (2, NULL)")
        .await
        .unwrap();
    let messages = client
        .simple_query("SELECT id, word FROM t WHERE id = 2; SELECT word FROM t WHERE id = 1")
        .await;
    let rows: Vec<Option<String>> = messages
        .unwrap()
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get("word").map(str::to_owned)),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [None, Some("one".to_owned())]);
    assert_eq!(code(&client.simple_query("SELEC 1").await.unwrap_err()), "42601");
    assert_eq!(
        code(
            &client
                .simple_query("SELECT id FROM missing WHERE id = 1")
                .await
                .unwrap_err()
        ),
        "42P01"
    );
    client.simple_query("").await.unwrap();
}

#[tokio::test]
async fn the_extended_protocol_carries_binary_values_both_ways() {
    let fixture = fixture(Options::default()).await;
    let client = fixture.connect().await;
    client
        .batch_execute("CREATE TABLE t (id bigint PRIMARY KEY, word text, flag boolean)")
        .await
        .unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3)").await.unwrap();
    for (id, word, flag) in [(1_i64, Some("one"), true), (-7, None, false)] {
        assert_eq!(client.execute(&insert, &[&id, &word, &flag]).await.unwrap(), 1);
    }
    let row = client
        .query_one("SELECT word, flag, id FROM t WHERE id = $1", &[&-7_i64])
        .await
        .unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), None);
    assert!(!row.get::<_, bool>(1));
    assert_eq!(row.get::<_, i64>(2), -7);
    let row = client
        .query_one("SELECT word FROM t WHERE id = $1", &[&1_i64])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "one");
    // Named for the client, so told as the text it is.
    let row = client
        .query_one("SELECT 't'::regclass, 23::regtype, 1::oid, current_schema()", &[])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, u32>(2)),
        ("t", "integer", 1)
    );
    assert_eq!(
        code(&client.prepare("SELECT nothing FROM t WHERE id = 1").await.unwrap_err()),
        "42703"
    );
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_portions() {
    let fixture = fixture(Options::default()).await;
    let mut client = fixture.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    client
        .batch_execute("INSERT INTO t VALUES (1), (2), (3), (4), (5)")
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t WHERE id > 0", &[]).await.unwrap();
    let mut portions = Vec::new();
    for _ in 0..4 {
        portions.push(transaction.query_portal(&portal, 2).await.unwrap().len());
    }
    assert_eq!(portions, [2, 2, 1, 0]);
}

/// Some drivers ask for the answer with Flush, and send Sync only when they have it.
#[tokio::test]
async fn a_failure_is_told_before_the_client_sends_sync() {
    let fixture = fixture(Options::default()).await;
    let mut client = fixture.raw().await;
    client.log_in().await;
    client.send(&[(b'P', &parse("", "SELECT nothing")), (b'H', b"")]).await;
    let (kind, body) = client.receive().await.unwrap();
    assert_eq!((kind, field(&body, b'C').as_str()), (b'E', "42703"));
    client.send(&[(b'S', b"")]).await;
    assert_eq!(client.until_ready().await, "Z:I");
}

/// Drivers copy by prepared statements: the Sync they send along is no end of the data, and after a failure everything
/// up to the Sync behind the data is skipped.
#[tokio::test]
async fn copy_goes_both_ways_in_the_extended_protocol() {
    let fixture = fixture(Options::default()).await;
    let client = fixture.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, note text)")
        .await
        .unwrap();
    let copy_in = async |data: &'static [&'static str]| {
        let sink = client.copy_in("COPY t FROM STDIN").await?;
        let mut sink = pin!(sink);
        for part in data {
            sink.send(Bytes::from_static(part.as_bytes())).await?;
        }
        sink.finish().await
    };
    assert_eq!(copy_in(&["1\tone\n2\tt", "wo\n3\t\\N\n"]).await.unwrap(), 3);
    assert_eq!(code(&copy_in(&["4\tfour\n", "x\ty\n"]).await.unwrap_err()), "22P02");
    assert_eq!(code(&copy_in(&["1\tagain\n"]).await.unwrap_err()), "23505");
    let rows = client
        .copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT")
        .await
        .unwrap();
    let parts: Vec<Bytes> = rows.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"1\tone\n2\ttwo\n3\t\\N\n");
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(copy_in(&["9\tnever\n"]).await.unwrap(), 1);
    client.batch_execute("ROLLBACK").await.unwrap();
    let row = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
    let missing = client.copy_in::<_, Bytes>("COPY nothing FROM STDIN").await;
    assert_eq!(code(&missing.err().unwrap()), "42P01");
}

#[tokio::test]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let fixture = fixture(Options::default()).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    let (good, bad) = (parse("", "SHOW server_version"), parse("", "SELEC"));
    raw.send(&[
        (b'P', &bad),
        (b'B', &bind("", "")),
        (b'E', &execute("", 0)),
        (b'd', b"copy data of nobody"),
        (b'S', b""),
        (b'P', &good),
        (b'B', &bind("", "")),
        (b'D', b"P\0"),
        (b'E', &execute("", 0)),
        (b'S', b""),
    ])
    .await;
    assert_eq!(raw.until_ready().await, "E:42601 Z:I");
    assert_eq!(raw.until_ready().await, "1 2 T D C Z:I");
}

#[tokio::test]
async fn names_of_statements_and_portals_are_held_to() {
    let fixture = fixture(Options::default()).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    let show = parse("s", "SHOW server_version");
    let cases: &[(&[(u8, &[u8])], &str)] = &[
        (&[(b'P', &show)], "1 Z:I"),
        (&[(b'P', &show)], "E:42P05 Z:I"),
        (&[(b'B', &bind("", "absent"))], "E:26000 Z:I"),
        (&[(b'E', &execute("absent", 0))], "E:34000 Z:I"),
        (&[(b'B', &bind("p", "s")), (b'B', &bind("p", "s"))], "2 E:42P03 Z:I"),
        (
            &[(b'B', &bind("p", "s")), (b'C', b"Pp\0"), (b'B', &bind("p", "s"))],
            "2 3 2 Z:I",
        ),
        // The portal has ended with its transaction.
        (&[(b'E', &execute("p", 0))], "E:34000 Z:I"),
        (&[(b'B', b"\0s\0\0\0\0\x01\xff\xff\xff\xff\0\0")], "E:08P01 Z:I"),
        (&[(b'B', b"\0s\0\0\0\0\0\0\x01\0\x09")], "E:22023 Z:I"),
        (
            &[(b'D', b"Ss\0"), (b'C', b"Ss\0"), (b'C', b"Ss\0"), (b'D', b"Ss\0")],
            "t T 3 3 E:26000 Z:I",
        ),
        (
            &[
                (b'P', &parse("", "")),
                (b'B', &bind("", "")),
                (b'D', b"P\0"),
                (b'E', &execute("", 0)),
            ],
            "1 2 n I Z:I",
        ),
        (&[(b'P', &parse("", "SHOW port; SHOW port"))], "E:42601 Z:I"),
        (&[(b'P', b"\0SELECT $1\0\0\x01\xff\xff\xff\xff")], "E:42704 Z:I"),
        (&[(b'P', b"\0SHOW port")], "E:08P01 Z:I"),
        (&[(b'P', b"\0\xff\0\0\0")], "E:22021 Z:I"),
    ];
    for (messages, expected) in cases {
        raw.send(messages).await;
        raw.send(&[(b'S', b"")]).await;
        assert_eq!(raw.until_ready().await, *expected, "{messages:?}");
    }
    raw.send(&[(b'F', b"\0\0\0\0")]).await;
    assert_eq!(raw.until_ready().await, "E:0A000 Z:I");
    raw.send(&[(b'Q', b"\xff\0")]).await;
    assert_eq!(raw.until_ready().await, "E:22021 Z:I");
}

#[tokio::test]
async fn s_018_more_connections_than_allowed_are_refused_until_one_leaves() {
    let fixture = fixture(Options {
        max_connections: 2,
        ..Options::default()
    })
    .await;
    let (first, _second) = (fixture.connect().await, fixture.connect().await);
    let error = fixture
        .try_connect("postgres", "password", "postgres")
        .await
        .err()
        .unwrap();
    assert_eq!(code(&error), "53300");
    drop(first);
    fixture.sessions(1).await;
    let again = async {
        while fixture.try_connect("postgres", "password", "postgres").await.is_err() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    };
    runtime::timeout(LIMIT, again).await.expect("the slot comes back");
}

/// A stream whose every use blocks its thread while it is frozen: its connection neither serves nor ends.
struct Freezing<S> {
    stream: S,
    ice: Arc<Ice>,
}

#[derive(Default)]
struct Ice {
    frozen: parking_lot::Mutex<bool>,
    thawed: parking_lot::Condvar,
}

impl Ice {
    fn wait(&self) {
        let mut frozen = self.frozen.lock();
        self.thawed.wait_while(&mut frozen, |frozen| *frozen);
    }
}

/// Thaws when dropped: a failed test must not leave a blocked thread behind.
struct Frozen(Arc<Ice>);

impl Frozen {
    fn freeze(ice: &Arc<Ice>) -> Frozen {
        *ice.frozen.lock() = true;
        Frozen(ice.clone())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        *self.0.frozen.lock() = false;
        self.0.thawed.notify_all();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Freezing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.ice.wait();
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Freezing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ice.wait();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ice.wait();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ice.wait();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_session_gives_its_slot_back_once() {
    let fixture = fixture(Options {
        max_connections: 1,
        ..Options::default()
    })
    .await;
    let ice = Arc::<Ice>::default();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let stream = Freezing {
        stream: theirs,
        ice: ice.clone(),
    };
    fixture.server.serve_stream(stream).detach();
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").password("password").dbname("postgres");
    let (client, connection) = config.connect_raw(ours, NoTls).await.unwrap();
    runtime::spawn("test client", async move { drop(connection.await) }).detach();
    let frozen = Frozen::freeze(&ice);
    let sessions = fixture.engine.sessions();
    let killed = sessions.kill_within(Duration::from_millis(50), None, "the role changes");
    assert_eq!(killed.await, 1);
    assert_eq!(sessions.count(), 1, "it did not end");
    let refused = async || {
        let refused = fixture.try_connect("postgres", "password", "postgres").await;
        assert_eq!(code(&refused.err().unwrap()), "53300");
    };
    let successor = fixture.connect().await;
    refused().await;
    drop(frozen);
    fixture.sessions(1).await;
    refused().await;
    assert!(client.simple_query("SELECT 1").await.is_err());
    drop(successor);
    fixture.sessions(0).await;
    let again = async {
        while fixture.try_connect("postgres", "password", "postgres").await.is_err() {
            runtime::sleep(Duration::from_millis(5)).await;
        }
    };
    runtime::timeout(LIMIT, again).await.expect("the slot comes back");
}

#[tokio::test]
async fn killed_sessions_hear_57p01_and_kill_waits_for_them() {
    let fixture = fixture(Options::default()).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    assert_eq!(
        fixture
            .engine
            .sessions()
            .kill_all(None, "the server became a standby")
            .await,
        1
    );
    assert_eq!(fixture.engine.sessions().count(), 0);
    let (kind, body) = raw.receive().await.unwrap();
    assert_eq!(kind, b'E');
    assert_eq!(
        (field(&body, b'S'), field(&body, b'C')),
        ("FATAL".into(), "57P01".into())
    );
    assert_eq!(field(&body, b'M'), "the server became a standby");
    assert_eq!(raw.receive().await, None);
}

#[tokio::test]
async fn s_027_a_stop_ends_idle_sessions_and_refuses_new_ones() {
    let fixture = fixture(Options::default()).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    fixture.server.stop(LIMIT).await;
    let (_, body) = raw.receive().await.unwrap();
    assert_eq!(
        field(&body, b'M'),
        "terminating connection due to administrator command"
    );
    assert!(
        TcpStream::connect(&format!("127.0.0.1:{}", fixture.port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn encryption_is_declined_and_versions_are_negotiated() {
    let fixture = fixture(Options::default()).await;
    let mut raw = fixture.raw().await;
    raw.startup(b"\x04\xd2\x16\x2f").await;
    assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    raw.startup(b"\x04\xd2\x16\x30").await;
    assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    raw.startup(b"\0\x03\x27\x0fuser\0postgres\0_pq_.x\0one\0\0").await;
    let (kind, body) = raw.receive().await.unwrap();
    assert_eq!((kind, &body[..]), (b'v', &b"\0\x03\0\x02\0\0\0\x01_pq_.x\0"[..]));
    assert_eq!(raw.receive().await.unwrap().0, b'R');
}

#[tokio::test]
async fn garbage_is_answered_with_an_error_and_the_end() {
    let fixture = fixture(Options::default()).await;
    let client = fixture.connect().await;
    let cases: [(&[u8], &str); 7] = [
        (b"GET / HTTP/1.1\r\n\r\n", "08P01"),
        (&[0xff; 64], "08P01"),
        (&[0, 0, 0, 0, 0, 0, 0, 0], "08P01"),
        (&[0, 0, 0, 8, 0, 9, 0, 0], "0A000"),
        (&[0, 0, 0, 9, 0, 3, 0, 0, 0], "28000"),
        (&[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'], "08P01"),
        (b"\0\0\0\x18\0\x03\0\0user\0postgres\0\0\0Z\0\0\0\x04", "08P01"),
    ];
    for (bytes, expected) in cases {
        let mut raw = fixture.raw().await;
        raw.stream.write_all(bytes).await.unwrap();
        let (kind, body) = raw.receive().await.unwrap();
        // The last one gets as far as the request for a password.
        let (kind, body) = if kind == b'R' {
            raw.receive().await.unwrap()
        } else {
            (kind, body)
        };
        assert_eq!((kind, field(&body, b'C').as_str()), (b'E', expected), "{bytes:?}");
        assert_eq!(raw.receive().await, None);
    }
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    raw.send(&[(b'?', b"what")]).await;
    assert_eq!(field(&raw.receive().await.unwrap().1, b'C'), "08P01");
    client.simple_query("SHOW port").await.unwrap();
}

#[tokio::test]
async fn who_does_not_say_who_they_are_is_sent_away() {
    let options = Options {
        startup_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let fixture = fixture(options).await;
    let mut raw = fixture.raw().await;
    assert_eq!(
        field(&raw.receive().await.unwrap().1, b'M'),
        "canceling authentication due to timeout"
    );
    assert_eq!(raw.receive().await, None);
}

#[tokio::test]
async fn silent_strangers_keep_nobody_out() {
    let fixture = fixture(Options {
        max_connections: 2,
        ..Options::default()
    })
    .await;
    let mut strangers = Vec::new();
    for number in 0..200 {
        let mut stranger = fixture.raw().await;
        if number % 2 == 0 {
            // Further than silence, but no proof of anything.
            stranger.startup(b"\0\x03\0\0user\0postgres\0\0").await;
        }
        strangers.push(stranger);
    }
    let client = runtime::timeout(LIMIT, fixture.connect())
        .await
        .expect("there is a place");
    client.simple_query("SELECT 1").await.unwrap();
    let told = strangers[1].receive().await.expect("who is sent away is told why").1;
    assert_eq!(field(&told, b'C'), "53300");
    let cancel = client.cancel_token();
    runtime::timeout(LIMIT, cancel.cancel_query(NoTls))
        .await
        .expect("cancel requests get through")
        .unwrap();
}

#[tokio::test]
async fn a_silent_client_is_closed_after_the_read_timeout() {
    let options = Options {
        read_timeout: Some(Duration::from_millis(50)),
        ..Options::default()
    };
    let fixture = fixture(options).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    assert_eq!(field(&raw.receive().await.unwrap().1, b'C'), "57P05");
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_connection() {
    let options = Options {
        message_bytes_max: 1000,
        ..Options::default()
    };
    let fixture = fixture(options).await;
    let mut raw = fixture.raw().await;
    raw.log_in().await;
    raw.send(&[(b'Q', &[b' '; 2000])]).await;
    let (_, body) = raw.receive().await.unwrap();
    assert_eq!(
        (field(&body, b'S'), field(&body, b'C')),
        ("FATAL".into(), "08P01".into())
    );
}

#[tokio::test]
async fn the_client_is_told_the_settings_it_relies_on() {
    let fixture = fixture(Options {
        session_defaults: vec![("statement_timeout".into(), "5s".into())],
        ..Options::default()
    })
    .await;
    let mut raw = fixture.raw().await;
    raw.startup(b"\0\x03\0\0user\0postgres\0options\0-c statement_timeout=7s\0TimeZone\0europe/berlin\0\0")
        .await;
    let mut seen = Vec::new();
    let mut scram = ScramSha256::new(b"password", ChannelBinding::unsupported());
    loop {
        let (kind, body) = raw.receive().await.unwrap();
        match (kind, body.get(3)) {
            (b'R', Some(10)) => {
                let mut first = BytesMut::from(&b"SCRAM-SHA-256\0"[..]);
                first.put_u32(scram.message().len() as u32);
                first.put_slice(scram.message());
                raw.send(&[(b'p', &first)]).await;
            }
            (b'R', Some(11)) => {
                scram.update(&body[4..]).unwrap();
                raw.send(&[(b'p', scram.message())]).await;
            }
            (b'S', _) => {
                let told = String::from_utf8(body).unwrap();
                seen.push(told.strip_suffix('\0').unwrap().replace('\0', "="));
            }
            (b'Z', _) => break,
            _ => {}
        }
    }
    assert!(seen.contains(&"TimeZone=Europe/Berlin".to_owned()), "{seen:?}");
    for name in [
        "server_version",
        "client_encoding",
        "DateStyle",
        "TimeZone",
        "integer_datetimes",
        "standard_conforming_strings",
        "in_hot_standby",
        "is_superuser",
        "application_name",
    ] {
        let begin = format!("{name}=");
        assert!(
            seen.iter().any(|told| told.starts_with(&begin)),
            "{name} is not among {seen:?}"
        );
    }
    let client = fixture.connect().await;
    let row = client.query_one("SHOW statement_timeout", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "5s");
}
