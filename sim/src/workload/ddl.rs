//! Tables and databases that come and go: a journal says in the same transaction which tables there are.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::{Failure, Session};
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::{Read, Write};

pub const KIND: Kind = Kind {
    name: "ddl",
    about: "tables created and dropped together with their line in a journal, and databases that come and go",
    params: &[Param {
        name: "databases",
        about: "share of operations on databases, in percent",
        default: (20, 20),
        max: 100,
    }],
    looks_at: None,
    make: |spec| Box::new(Ddl::new(spec)),
};

/// The table names, after the workload's, of what the catalog has and of databases.
pub const CATALOG: &str = "catalog";
pub const DATABASES: &str = "databases";
/// The action that takes a table away, as the check of durability knows it: what it asks for is the line that goes.
pub const DROP: &str = "drop";
/// The actions that make databases and take them away; what they ask for is the database.
pub const CREATE_DATABASE: &str = "create_database";
pub const DROP_DATABASE: &str = "drop_database";
/// The name of the database that a write of [`DATABASES`] stands for.
pub fn database_name(entry: &Write) -> String {
    let workload = entry.table.strip_suffix(DATABASES).unwrap_or(&entry.table);
    format!("{workload}d{}", entry.key)
}

/// What a client keeps at a time.
const TABLES_MAX: usize = 4;

struct Ddl {
    name: String,
    tables: BTreeSet<i64>,
    databases: BTreeSet<i64>,
}

impl Ddl {
    fn new(spec: &WorkloadSpec) -> Ddl {
        Ddl {
            name: table_name(&spec.name),
            tables: BTreeSet::new(),
            databases: BTreeSet::new(),
        }
    }

    fn journal(&self) -> String {
        format!("SELECT k, v FROM {}", self.name)
    }

    /// The number in each name, as the catalog has it.
    fn catalog(&self) -> String {
        let prefix = format!("{}_t", self.name);
        // An underscore in a pattern stands for any letter, which suits.
        format!(
            "SELECT substr(relname, {}), '1' FROM pg_class WHERE relkind = 'r' AND relname LIKE '{prefix}%'",
            prefix.len() + 1
        )
    }

    async fn look(&self, client: &mut Client) -> Result<(), Failure> {
        client.invoke_reading("look", Vec::new());
        match both(client.session(), &self.journal(), &self.catalog()).await {
            Ok((journal, catalog)) => {
                let read = |suffix: &str, values| Read {
                    table: format!("{}{suffix}", self.name),
                    key: 0,
                    values,
                };
                // Both under one name each: what the check compares.
                let reads = vec![read("_seen", journal), read(&format!("_seen_{CATALOG}"), catalog)];
                client.ok(reads);
                Ok(())
            }
            Err(failure) => {
                let failure = client.fail(failure, false);
                client.rollback(&failure).await?;
                Err(failure)
            }
        }
    }

    /// Creates or drops a table with its line of the journal.
    async fn table(&mut self, client: &mut Client) -> Result<(), Failure> {
        let old = (self.tables.len() >= TABLES_MAX || client.rng.random_bool(0.4))
            .then(|| self.tables.first().copied())
            .flatten();
        let number = match old {
            Some(number) => number,
            None => client.fresh_value(),
        };
        let name = &self.name;
        let (action, statements) = match old {
            Some(_) => (
                DROP,
                [
                    format!("DROP TABLE {name}_t{number}"),
                    format!("DELETE FROM {name} WHERE k = {number}"),
                ],
            ),
            None => (
                "create",
                [
                    format!("CREATE TABLE {name}_t{number} (k bigint PRIMARY KEY)"),
                    format!("INSERT INTO {name} VALUES ({number}, 1)"),
                ],
            ),
        };
        // The line of the journal stands for the table.
        let line = vec![Write {
            table: self.name.clone(),
            key: number,
            value: 1,
        }];
        match old {
            Some(_) => client.invoke_asking(action, Vec::new(), line),
            None => client.invoke(action, line),
        }
        if let Err(failure) = in_transaction(client.session(), &statements).await {
            let failure = client.fail(failure, false);
            client.rollback(&failure).await?;
            return Err(failure);
        }
        // Whatever comes of it, this table is not touched again if it may be gone.
        match old {
            Some(number) => drop(self.tables.remove(&number)),
            None => drop(self.tables.insert(number)),
        }
        match client.session().simple("COMMIT").await {
            Ok(_) => {
                client.ok(Vec::new());
                Ok(())
            }
            Err(failure) => {
                self.tables.remove(&number);
                Err(client.fail(failure, true))
            }
        }
    }

    /// Creates a database, or drops one that this client has made.
    async fn database(&mut self, client: &mut Client) -> Result<(), Failure> {
        let old = client
            .rng
            .random_bool(0.5)
            .then(|| self.databases.pop_first())
            .flatten();
        let number = match old {
            Some(number) => number,
            None => client.fresh_value(),
        };
        let entry = Write {
            table: format!("{}_{DATABASES}", self.name),
            key: number,
            value: 1,
        };
        let verb = if old.is_some() { "DROP" } else { "CREATE" };
        let action = if old.is_some() { DROP_DATABASE } else { CREATE_DATABASE };
        client.invoke_asking(action, Vec::new(), vec![entry.clone()]);
        let sql = format!("{verb} DATABASE {}", database_name(&entry));
        match client.session().simple(&sql).await {
            Ok(_) => {
                client.ok(Vec::new());
                if old.is_none() {
                    self.databases.insert(number);
                }
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, true)),
        }
    }
}

async fn in_transaction(session: &Session, statements: &[String]) -> Result<(), Failure> {
    session.simple("BEGIN").await?;
    for statement in statements {
        session.simple(statement).await?;
    }
    Ok(())
}

/// The keys that two queries of one transaction find.
async fn both(session: &Session, first: &str, second: &str) -> Result<(Vec<i64>, Vec<i64>), Failure> {
    session.simple("BEGIN").await?;
    let keys = |rows: Vec<Vec<Option<String>>>| {
        let keys: BTreeSet<i64> = rows
            .into_iter()
            .filter_map(|row| row.into_iter().next()??.parse().ok())
            .collect();
        keys.into_iter().collect()
    };
    let found = (keys(session.simple(first).await?), keys(session.simple(second).await?));
    session.simple("COMMIT").await?;
    Ok(found)
}

#[async_trait]
impl Workload for Ddl {
    fn setup(&self) -> Vec<String> {
        vec![format!(
            "CREATE TABLE {} (k bigint PRIMARY KEY, v bigint NOT NULL)",
            self.name
        )]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        if client.rng.random_range(0..100) < client.param("databases") {
            return self.database(client).await;
        }
        if client.rng.random_bool(0.3) {
            return self.look(client).await;
        }
        self.table(client).await
    }

    fn contents(&self) -> Vec<(String, String)> {
        let prefix = format!("{}_d", self.name);
        vec![
            (self.name.clone(), self.journal()),
            (format!("{}_{CATALOG}", self.name), self.catalog()),
            (
                format!("{}_{DATABASES}", self.name),
                format!(
                    "SELECT substr(datname, {}), '1' FROM pg_database WHERE datname LIKE '{prefix}%'",
                    prefix.len() + 1
                ),
            ),
        ]
    }
}
