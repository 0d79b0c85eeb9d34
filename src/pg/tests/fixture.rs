//! A server on a simulated disk, and clients for it: a driver, and one that sends what it is told to.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::{Client, Error, NoTls};

use super::LIMIT;
use crate::chunk::StoreOptions;
use crate::engine::{Engine, EngineOptions, Superuser};
use crate::pg::{Options, SqlListener, SqlServer};
use crate::runtime;
use crate::runtime::disk::simulated::SimDisk;
use crate::runtime::net::TcpStream;
use crate::sql::ServerSettings;
use crate::sql::plan::QueryMemory;

pub struct Fixture {
    pub engine: Engine,
    pub server: SqlServer,
    pub port: u16,
    _disk: SimDisk,
}

pub async fn fixture(options: Options) -> Fixture {
    let disk = SimDisk::new(1);
    let superuser = Superuser {
        name: "postgres".into(),
        password: "password".into(),
    };
    let engine_options = EngineOptions {
        superuser,
        read_only: None,
        store: StoreOptions::default(),
        auto_collect: None,
    };
    let engine = Engine::open(disk.disk(), engine_options).await.unwrap();
    engine.create_database("postgres").await.unwrap();
    let listener = SqlListener::bind("127.0.0.1", 0).await.unwrap();
    let port = listener.local_addr().port();
    let settings = ServerSettings {
        host: "127.0.0.1".into(),
        port,
        data_directory: "data".into(),
        max_connections: 100,
        query_memory: QueryMemory::new(64 << 20),
    };
    let server = listener.serve(engine.clone(), settings, options);
    Fixture {
        engine,
        server,
        port,
        _disk: disk,
    }
}

impl Fixture {
    pub async fn try_connect(&self, user: &str, password: &str, database: &str) -> Result<Client, Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(user)
            .password(password)
            .dbname(database)
            .connect_timeout(LIMIT);
        let (client, connection) = config.connect(NoTls).await?;
        runtime::spawn("test client", async move { drop(connection.await) }).detach();
        Ok(client)
    }

    pub async fn connect(&self) -> Client {
        self.try_connect("postgres", "password", "postgres").await.unwrap()
    }

    pub async fn raw(&self) -> Raw {
        Raw {
            stream: TcpStream::connect(&format!("127.0.0.1:{}", self.port)).await.unwrap(),
        }
    }

    /// Waits until this many sessions are registered.
    pub async fn sessions(&self, count: usize) {
        let wait = async {
            while self.engine.sessions().count() != count {
                runtime::sleep(Duration::from_millis(5)).await;
            }
        };
        runtime::timeout(LIMIT, wait).await.expect("sessions come and go");
    }
}

pub fn code(error: &Error) -> &str {
    error
        .code()
        .unwrap_or_else(|| panic!("the server gave no code: {error:?}"))
        .code()
}

/// A client that sends what it is told to.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub async fn send(&mut self, messages: &[(u8, &[u8])]) {
        let mut bytes = BytesMut::new();
        for (kind, body) in messages {
            bytes.put_u8(*kind);
            bytes.put_u32(body.len() as u32 + 4);
            bytes.put_slice(body);
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub async fn startup(&mut self, body: &[u8]) {
        self.stream.write_u32(body.len() as u32 + 4).await.unwrap();
        self.stream.write_all(body).await.unwrap();
    }

    /// The next message; `None` at the end.
    pub async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let kind = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; length as usize - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((kind, body))
        };
        runtime::timeout(LIMIT, read).await.expect("the server answers")
    }

    /// Kinds of the messages up to ReadyForQuery, each error with its code: `1 2 T D C Z:I`.
    pub async fn until_ready(&mut self) -> String {
        let mut kinds = Vec::new();
        loop {
            let (kind, body) = self.receive().await.expect("the connection is open");
            match kind {
                b'E' => kinds.push(format!("E:{}", field(&body, b'C'))),
                b'Z' => {
                    kinds.push(format!("Z:{}", char::from(body[0])));
                    return kinds.join(" ");
                }
                kind => kinds.push(char::from(kind).to_string()),
            }
        }
    }

    pub async fn log_in(&mut self) {
        self.startup(b"\0\x03\0\0user\0postgres\0\0").await;
        self.receive().await.unwrap();
        let mut scram = ScramSha256::new(b"password", ChannelBinding::unsupported());
        let mut first = BytesMut::from(&b"SCRAM-SHA-256\0"[..]);
        first.put_u32(scram.message().len() as u32);
        first.put_slice(scram.message());
        self.send(&[(b'p', &first)]).await;
        let (_, body) = self.receive().await.unwrap();
        scram.update(&body[4..]).unwrap();
        self.send(&[(b'p', scram.message())]).await;
        let (_, body) = self.receive().await.unwrap();
        scram.finish(&body[4..]).unwrap();
        self.until_ready().await;
    }
}

/// A field of an ErrorResponse.
pub fn field(body: &[u8], letter: u8) -> String {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&letter))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        .unwrap_or_default()
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat()
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat()
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    [portal.as_bytes(), b"\0", &rows_max.to_be_bytes()].concat()
}
