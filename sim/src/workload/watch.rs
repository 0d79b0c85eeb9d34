//! Watchers: readers, as a rule of standbys, of the lists of the workload `append`. What they see must be a state that the
//! primary was in.

use async_trait::async_trait;

use super::append::{self, parse_list, table_name};
use super::client::Client;
use super::session::Failure;
use super::{Kind, Workload};
use crate::history::Read;

pub const KIND: Kind = Kind {
    name: "watch",
    about: "readers of all lists of the workload called append, in one statement",
    params: &[],
    looks_at: Some(append::KIND.name),
    make: |_| Box::new(Watch),
};

/// What it does.
pub const WATCH: &str = "watch";

struct Watch;

#[async_trait]
impl Workload for Watch {
    fn setup(&self) -> Vec<String> {
        Vec::new()
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let table = table_name(append::KIND.name);
        client.invoke_reading(WATCH, Vec::new());
        match client.session().simple(&format!("SELECT k, list FROM {table}")).await {
            Ok(rows) => {
                let reads = rows.iter().filter_map(|row| match &row[..] {
                    [Some(key), list] => Some(Read {
                        table: table.clone(),
                        key: key.parse().ok()?,
                        values: parse_list(list.as_deref().unwrap_or_default()),
                    }),
                    _ => None,
                });
                client.ok(reads.collect());
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, false)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
