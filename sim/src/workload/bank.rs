//! Transfers between accounts, with a ledger: money is neither made nor lost, and every acknowledged transfer is there.
//!
//! Speaks the extended protocol with parameters, so that both protocols are under test.

use async_trait::async_trait;
use rand::Rng;

use super::append::table_name;
use super::client::Client;
use super::session::Failure;
use super::{Kind, Param, Workload, WorkloadSpec};
use crate::history::{Read, Write};

pub const KIND: Kind = Kind {
    name: "bank",
    about: "transfers between accounts in explicit transactions, each with a line in a ledger",
    params: &[Param {
        name: "accounts",
        about: "how many accounts",
        default: (10, 10),
        max: 10_000,
    }],
    make: |spec| Box::new(Bank::new(spec)),
};

/// What every account starts with.
pub const OPENING_BALANCE: i64 = 100;
/// One operation in this many reads the total instead of moving money.
const TOTAL_EVERY: u32 = 5;
/// The table name, after the workload's, under which totals are recorded.
pub const TOTAL: &str = "total";

struct Bank {
    name: String,
    accounts: i64,
}

impl Bank {
    fn new(spec: &WorkloadSpec) -> Bank {
        Bank {
            name: table_name(&spec.name),
            accounts: i64::try_from(spec.shape("accounts").max(2)).expect("accounts are few"),
        }
    }

    async fn transfer(&self, client: &mut Client) -> Result<(), Failure> {
        let from = client.rng.random_range(0..self.accounts);
        let to = (from + client.rng.random_range(1..self.accounts)) % self.accounts;
        let amount = client.rng.random_range(1..=10);
        let id = client.fresh_value();
        client.invoke(
            "transfer",
            vec![Write {
                table: format!("{}_ledger", self.name),
                key: id,
                value: amount,
            }],
        );
        if let Err(failure) = self.move_money(client, id, from, to, amount).await {
            let failure = client.fail(failure, false);
            client.rollback(&failure).await?;
            return Err(failure);
        }
        match client.session().simple("COMMIT").await {
            Ok(_) => client.ok(Vec::new()),
            Err(failure) => return Err(client.fail(failure, true)),
        }
        Ok(())
    }

    async fn move_money(&self, client: &Client, id: i64, from: i64, to: i64, amount: i64) -> Result<(), Failure> {
        let session = client.session();
        let name = &self.name;
        session.simple("BEGIN").await?;
        let update = format!("UPDATE {name}_accounts SET balance = balance + $1 WHERE id = $2");
        session.execute(&update, &[&-amount, &from]).await?;
        session.execute(&update, &[&amount, &to]).await?;
        session
            .execute(&format!("INSERT INTO {name}_ledger VALUES ($1, $2)"), &[&id, &amount])
            .await?;
        Ok(())
    }

    async fn total(&self, client: &mut Client) -> Result<(), Failure> {
        client.invoke_reading("total", Vec::new());
        match read_total(client, &self.name).await {
            Ok(read) => client.ok(vec![read]),
            Err(failure) => return Err(client.fail(failure, false)),
        }
        Ok(())
    }
}

/// The number of accounts and the sum of all balances, as one read.
pub async fn read_total(client: &Client, name: &str) -> Result<Read, Failure> {
    let rows = client
        .session()
        .simple(&format!("SELECT count(*), sum(balance) FROM {name}_accounts"))
        .await?;
    let cell = |index: usize| {
        rows.first()
            .and_then(|row| row.get(index)?.as_deref()?.parse().ok())
            .unwrap_or(0)
    };
    Ok(Read {
        table: format!("{name}_{TOTAL}"),
        key: 0,
        values: vec![cell(0), cell(1)],
    })
}

#[async_trait]
impl Workload for Bank {
    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = (0..self.accounts)
            .map(|id| format!("({id}, {OPENING_BALANCE})"))
            .collect();
        vec![
            format!(
                "CREATE TABLE {}_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)",
                self.name
            ),
            format!(
                "CREATE TABLE {}_ledger (id bigint PRIMARY KEY, amount bigint NOT NULL)",
                self.name
            ),
            format!("INSERT INTO {}_accounts VALUES {}", self.name, rows.join(", ")),
        ]
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        if client.rng.random_range(0..TOTAL_EVERY) == 0 {
            self.total(client).await
        } else {
            self.transfer(client).await
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        let name = &self.name;
        vec![
            (
                format!("{name}_accounts"),
                format!("SELECT id, balance FROM {name}_accounts"),
            ),
            (
                format!("{name}_ledger"),
                format!("SELECT id, amount FROM {name}_ledger"),
            ),
        ]
    }
}
