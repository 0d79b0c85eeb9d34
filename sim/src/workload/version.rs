//! Version commits: rows that are committed to the history of their database, under messages that are their numbers.

use async_trait::async_trait;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::Write;

pub const KIND: Kind = Kind {
    name: "version",
    about: "rows that are inserted and committed to the history of the database",
    params: &[] as &[Param],
    looks_at: None,
    make: |spec| Box::new(Version::new(spec)),
};

struct Version {
    table: String,
}

impl Version {
    fn new(spec: &WorkloadSpec) -> Version {
        Version {
            table: table_name(&spec.name),
        }
    }
}

#[async_trait]
impl Workload for Version {
    fn setup(&self) -> Vec<String> {
        vec![format!(
            "CREATE TABLE {} (k bigint PRIMARY KEY, v bigint NOT NULL)",
            self.table
        )]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let number = client.fresh_value();
        let row = Write {
            table: self.table.clone(),
            key: number,
            value: number,
        };
        let table = self.table.clone();
        client.invoke("record", vec![row]);
        let insert = format!("INSERT INTO {table} VALUES ({number}, {number})");
        match client.session().simple(&insert).await {
            Ok(_) => client.ok(Vec::new()),
            Err(failure) => return Err(client.fail(failure, true)),
        }
        let entry = Write {
            table: format!("{table}_log"),
            key: number,
            value: 1,
        };
        client.invoke("version", vec![entry]);
        let commit = format!("SELECT dolt_commit('-Am', '{number}')");
        match client.session().simple(&commit).await {
            Ok(_) => {
                client.ok(Vec::new());
                Ok(())
            }
            // Somebody else's commit took the row along, and there was nothing left; or it is refused otherwise.
            Err(failure) => Err(client.fail(failure, true)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        vec![
            (self.table.clone(), format!("SELECT k, v FROM {}", self.table)),
            (
                format!("{}_log", self.table),
                "SELECT message, '1' FROM dolt.log".to_owned(),
            ),
        ]
    }
}
