//! Strangers: they connect to both ports of a server, and are none of those that it serves.
//!
//! Some say nothing and hold on, some send what is no protocol, some ask for replication with a token that is none, some
//! log in with a wrong password. Each leaves in its time; none of it may keep a member or a client out.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use understudy::runtime;
use understudy::runtime::net::TcpStream;

use super::client::Client;
use super::session::{Failure, Login, Session};
use super::{CLUSTER_PORT, Kind, Param, Workload};

/// What a stranger does: nobody owes it an answer.
pub const INTRUDE: &str = "intrude";

pub const KIND: Kind = Kind {
    name: "strangers",
    about: "connections to both ports that say nothing, say nonsense, or show a token or a password that is none",
    params: &[Param {
        name: "stay",
        about: "seconds that one holds on at most",
        default: (0, 5),
        max: 600,
    }],
    looks_at: None,
    make: |_| Box::new(Strangers),
};

/// What is asked by somebody who has no key.
const ASKS: &str = "POST /understudy.replication.Replication/Replicate HTTP/1.1\r\nhost: x\r\n\
                    content-type: application/grpc\r\nte: trailers\r\nauthorization: Bearer abc.def.ghi\r\n\
                    x-dolt-cluster-role: primary\r\nx-dolt-cluster-role-epoch: 99\r\ncontent-length: 0\r\n\r\n";

struct Strangers;

#[async_trait]
impl Workload for Strangers {
    fn setup(&self) -> Vec<String> {
        Vec::new()
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        client.invoke_reading(INTRUDE, Vec::new());
        let stay = client.param("stay");
        let (sql, cluster) = client.ports(CLUSTER_PORT);
        let noise: [u8; 64] = client.rng.random();
        match client.rng.random_range(0..5) {
            0 => visit(&sql, &noise, stay).await,
            1 => visit(&cluster, &noise, stay).await,
            2 => visit(&cluster, b"", stay).await,
            3 => visit(&cluster, ASKS.as_bytes(), stay).await,
            _ => {
                let login = Login {
                    user: "postgres".to_owned(),
                    password: "guessed".to_owned(),
                    database: "postgres".to_owned(),
                };
                if Session::open(&sql, &login, "stranger").await.is_ok() {
                    // The check of logs fails on it.
                    panic!("{} logged in with a wrong password", client.name);
                }
            }
        }
        client.ok(Vec::new());
        Ok(())
    }

    fn contents(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Connects, says its words, and listens until it is hung up on or its time is over.
async fn visit(address: &str, words: &[u8], stay: u64) {
    let visit = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(words).await.ok()?;
        let mut answer = [0; 256];
        while stream.read(&mut answer).await.ok()? > 0 {}
        Some(())
    };
    // How it ended is of no interest: only what becomes of the others is.
    let _ = runtime::timeout(Duration::from_secs(stay), visit).await;
}
