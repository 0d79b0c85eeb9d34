//! Appends to lists, in explicit transactions: one row per key, every value unique.
//!
//! A transaction reads some lists and appends to others; two that append to one list must not both commit, which is
//! what makes lost updates, aborted reads and lost acknowledgements visible in the lists themselves.

use async_trait::async_trait;
use rand::Rng;

use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::{GARBLED, Read, Write};

pub const KIND: Kind = Kind {
    name: "append",
    about: "explicit transactions that read lists and append unique values to others",
    params: &[
        Param {
            name: "keys",
            about: "how many lists",
            default: (8, 8),
            max: 10_000,
        },
        Param {
            name: "txn",
            about: "how many lists one transaction touches",
            default: (1, 3),
            max: 64,
        },
        Param {
            name: "reads",
            about: "how many transactions of a hundred only read",
            default: (20, 20),
            max: 100,
        },
    ],
    looks_at: None,
    make: |spec| Box::new(Append::new(spec)),
};

struct Append {
    table: String,
    keys: u64,
}

impl Append {
    fn new(spec: &WorkloadSpec) -> Append {
        Append {
            table: table_name(&spec.name),
            keys: spec.shape("keys").max(1),
        }
    }
}

/// The action of a transaction that writes.
pub const APPEND: &str = "append";
/// That of one that only reads.
pub const READ: &str = "read";

/// Workload names may hold a dash, tables had better not.
pub fn table_name(workload: &str) -> String {
    workload.replace('-', "_")
}

/// `1,2,3` as it stands in a row.
pub fn parse_list(text: &str) -> Vec<i64> {
    let values = text.split(',').filter(|value| !value.is_empty());
    values.map(|value| value.parse().unwrap_or(GARBLED)).collect()
}

#[async_trait]
impl Workload for Append {
    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, '')")).collect();
        vec![
            format!("CREATE TABLE {} (k bigint PRIMARY KEY, list text NOT NULL)", self.table),
            format!("INSERT INTO {} VALUES {}", self.table, rows.join(", ")),
        ]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let size = client.param("txn").clamp(1, self.keys);
        let mut keys: Vec<i64> = Vec::new();
        while u64::try_from(keys.len()).expect("a length fits") < size {
            let key = i64::try_from(client.rng.random_range(0..self.keys)).expect("keys are few");
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        // Who writes appends to the first key, and reads or appends to each further one.
        let mut writes = Vec::new();
        let only_reads = client.rng.random_range(0..100) < client.param("reads");
        for (index, key) in keys.iter().enumerate() {
            if !only_reads && (index == 0 || client.rng.random_bool(0.5)) {
                writes.push(Write {
                    table: self.table.clone(),
                    key: *key,
                    value: client.fresh_value(),
                });
            }
        }
        match only_reads {
            true => client.invoke_reading(READ, Vec::new()),
            false => client.invoke(APPEND, writes.clone()),
        }
        if let Some(line) = client.session().line() {
            let appended = line.append(self.table.clone(), keys, writes);
            return match client.session().over(appended).await {
                Ok(reads) => {
                    client.ok(reads);
                    Ok(())
                }
                Err(failure) => Err(client.fail(failure, true)),
            };
        }
        let reads = match self.body(client, &keys, &writes).await {
            Ok(reads) => reads,
            Err(failure) => {
                let failure = client.fail(failure, false);
                client.rollback(&failure).await?;
                return Err(failure);
            }
        };
        match client.session().simple("COMMIT").await {
            Ok(_) => client.ok(reads),
            Err(failure) => return Err(client.fail(failure, true)),
        }
        Ok(())
    }

    fn contents(&self) -> Vec<(String, String)> {
        vec![(self.table.clone(), format!("SELECT k, list FROM {}", self.table))]
    }

    fn lists(&self) -> Option<(String, u64)> {
        Some((self.table.clone(), self.keys))
    }
}

impl Append {
    async fn body(&self, client: &Client, keys: &[i64], writes: &[Write]) -> Result<Vec<Read>, Failure> {
        let session = client.session();
        session.simple("BEGIN").await?;
        let mut reads = Vec::new();
        for key in keys {
            let rows = session
                .simple(&format!("SELECT list FROM {} WHERE k = {key}", self.table))
                .await?;
            let list = rows
                .first()
                .and_then(|row| row.first())
                .and_then(Option::as_deref)
                .unwrap_or("");
            let values = parse_list(list);
            let Some(write) = writes.iter().find(|write| write.key == *key) else {
                reads.push(Read {
                    table: self.table.clone(),
                    key: *key,
                    values,
                });
                continue;
            };
            let longer = if list.is_empty() {
                write.value.to_string()
            } else {
                format!("{list},{}", write.value)
            };
            session
                .simple(&format!("UPDATE {} SET list = '{longer}' WHERE k = {key}", self.table))
                .await?;
            reads.push(Read {
                table: self.table.clone(),
                key: *key,
                values,
            });
        }
        Ok(reads)
    }
}
