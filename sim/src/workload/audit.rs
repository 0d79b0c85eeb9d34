//! Auditors: readers, as a rule of standbys, that look at what the bank holds.

use async_trait::async_trait;

use super::append::table_name;
use super::bank::{self, read_total};
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload};

pub const KIND: Kind = Kind {
    name: "audit",
    about: "readers that sum up the accounts of the workload called bank, in one statement",
    params: &[] as &[Param],
    looks_at: Some(bank::KIND.name),
    make: |_| Box::new(Audit),
};

struct Audit;

#[async_trait]
impl Workload for Audit {
    fn setup(&self) -> Vec<String> {
        Vec::new()
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        client.invoke_reading("audit", Vec::new());
        match read_total(client, &table_name(bank::KIND.name)).await {
            Ok(read) => client.ok(vec![read]),
            Err(failure) => return Err(client.fail(failure, false)),
        }
        Ok(())
    }

    fn contents(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
