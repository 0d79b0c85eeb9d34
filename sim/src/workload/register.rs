//! Registers: rows that are read, set and swapped by single statements, each of which must take effect at one moment
//! between its call and its answer.

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::{Read, Write};

pub const KIND: Kind = Kind {
    name: "register",
    about: "single statements that read, set, and compare and swap the values of a few rows",
    params: &[Param {
        name: "keys",
        about: "how many registers",
        default: (4, 4),
        max: KEYS_MAX,
    }],
    looks_at: None,
    make: |spec| Box::new(Register::new(spec)),
};

/// On more of them hardly two operations meet on one, and there is nothing to judge.
const KEYS_MAX: u64 = 8;

/// The actions, as the check of linearizability knows them.
pub const GET: &str = "get";
pub const SET: &str = "set";
/// Asks for two values: what is expected, and what shall be there instead. Reads 1 or 0: whether it was.
pub const SWAP: &str = "swap";

struct Register {
    table: String,
    keys: u64,
    /// What this client saw last, for swaps that have a chance.
    last: i64,
}

impl Register {
    fn new(spec: &WorkloadSpec) -> Register {
        Register {
            table: table_name(&spec.name),
            keys: spec.shape("keys").max(1),
            last: 0,
        }
    }

    fn write(&self, key: i64, value: i64) -> Write {
        Write {
            table: self.table.clone(),
            key,
            value,
        }
    }

    fn read(&self, key: i64, values: Vec<i64>) -> Vec<Read> {
        vec![Read {
            table: self.table.clone(),
            key,
            values,
        }]
    }

    async fn get(&mut self, client: &mut Client, key: i64) -> Result<(), Failure> {
        client.invoke_reading(GET, vec![self.write(key, 0)]);
        let sql = format!("SELECT v FROM {} WHERE k = {key}", self.table);
        let rows = match client.session().simple(&sql).await {
            Ok(rows) => rows,
            Err(failure) => return Err(client.fail(failure, false)),
        };
        let cell = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        self.last = cell.unwrap_or(-1);
        client.ok(self.read(key, vec![self.last]));
        Ok(())
    }
}

#[async_trait]
impl Workload for Register {
    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, 0)")).collect();
        vec![
            format!("CREATE TABLE {} (k bigint PRIMARY KEY, v bigint NOT NULL)", self.table),
            format!("INSERT INTO {} VALUES {}", self.table, rows.join(", ")),
        ]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let key = i64::try_from(client.rng.random_range(0..self.keys)).expect("keys are few");
        let choice = client.rng.random_range(0..4);
        if choice < 2 {
            return self.get(client, key).await;
        }
        let new = client.fresh_value();
        let asked = self.write(key, new);
        if choice == 2 {
            client.invoke_asking(SET, Vec::new(), vec![asked]);
            let sql = format!("UPDATE {} SET v = $1 WHERE k = $2", self.table);
            return match client.session().execute(&sql, &[&new, &key]).await {
                Ok(_) => {
                    client.ok(Vec::new());
                    Ok(())
                }
                Err(failure) => Err(client.fail(failure, true)),
            };
        }
        let expected = self.last;
        client.invoke_asking(SWAP, Vec::new(), vec![self.write(key, expected), asked]);
        let sql = format!("UPDATE {} SET v = $1 WHERE k = $2 AND v = $3", self.table);
        match client.session().execute(&sql, &[&new, &key, &expected]).await {
            Ok(count) => {
                client.ok(self.read(key, vec![i64::from(count > 0)]));
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, true)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        vec![(self.table.clone(), format!("SELECT k, v FROM {}", self.table))]
    }
}
