//! Unique keys: several clients insert rows under the same primary keys, of which one must win.

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::Write;

pub const KIND: Kind = Kind {
    name: "unique",
    about: "inserts under primary keys that others want, too; one of them wins, the others get 23505",
    params: &[Param {
        name: "ahead",
        about: "how many keys are wanted at a time",
        default: (4, 4),
        max: 1_000,
    }],
    looks_at: None,
    make: |spec| Box::new(Unique::new(spec)),
};

/// The action, as its check knows it.
pub const INSERT: &str = "insert";

struct Unique {
    table: String,
    ahead: i64,
    /// The lowest key that may be free.
    next: i64,
}

impl Unique {
    fn new(spec: &WorkloadSpec) -> Unique {
        Unique {
            table: table_name(&spec.name),
            ahead: i64::try_from(spec.shape("ahead").max(1)).expect("they are few"),
            next: 0,
        }
    }
}

#[async_trait]
impl Workload for Unique {
    fn setup(&self) -> Vec<String> {
        vec![format!(
            "CREATE TABLE {} (k bigint PRIMARY KEY, v bigint NOT NULL)",
            self.table
        )]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let key = self.next + client.rng.random_range(0..self.ahead);
        let value = client.fresh_value();
        let write = Write {
            table: self.table.clone(),
            key,
            value,
        };
        client.invoke(INSERT, vec![write]);
        // Whoever is refused finds the key taken; both move on.
        self.next += i64::from(client.rng.random_bool(0.5));
        let sql = format!("INSERT INTO {} VALUES ($1, $2)", self.table);
        match client.session().execute(&sql, &[&key, &value]).await {
            Ok(_) => {
                client.ok(Vec::new());
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, true)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        vec![(self.table.clone(), format!("SELECT k, v FROM {}", self.table))]
    }
}
