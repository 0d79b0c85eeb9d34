//! Counters, one single-statement increment at a time: statements that conflict are executed again by the server, so
//! every acknowledged increment counts exactly once.

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};

pub const KIND: Kind = Kind {
    name: "counter",
    about: "single-statement increments of a few counters",
    params: &[Param {
        name: "keys",
        about: "how many counters",
        default: (4, 4),
        max: 10_000,
    }],
    looks_at: None,
    make: |spec| Box::new(Counter::new(spec)),
};

struct Counter {
    table: String,
    keys: u64,
}

impl Counter {
    fn new(spec: &WorkloadSpec) -> Counter {
        Counter {
            table: table_name(&spec.name),
            keys: spec.shape("keys").max(1),
        }
    }
}

#[async_trait]
impl Workload for Counter {
    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, 0)")).collect();
        vec![
            format!("CREATE TABLE {} (k bigint PRIMARY KEY, n bigint NOT NULL)", self.table),
            format!("INSERT INTO {} VALUES {}", self.table, rows.join(", ")),
        ]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let key = client.rng.random_range(0..self.keys);
        client.invoke("increment", Vec::new());
        match client
            .session()
            .simple(&format!("UPDATE {} SET n = n + 1 WHERE k = {key}", self.table))
            .await
        {
            Ok(_) => client.ok(Vec::new()),
            Err(failure) => return Err(client.fail(failure, true)),
        }
        Ok(())
    }

    fn contents(&self) -> Vec<(String, String)> {
        vec![(self.table.clone(), format!("SELECT k, n FROM {}", self.table))]
    }
}
