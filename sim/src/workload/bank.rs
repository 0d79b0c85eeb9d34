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
        max: ACCOUNTS_MAX,
    }],
    looks_at: None,
    make: |spec| Box::new(Bank::new(spec)),
};

/// What every account starts with.
pub const OPENING_BALANCE: i64 = 100;
/// One operation in this many reads the total instead of moving money.
const TOTAL_EVERY: u32 = 5;
/// The table name, after the workload's, under which totals are recorded.
pub const TOTAL: &str = "total";
/// Those of what it keeps.
pub const ACCOUNTS: &str = "accounts";
pub const LEDGER: &str = "ledger";

/// No bank has more accounts.
const ACCOUNTS_MAX: u64 = 10_000;
/// The numbers of accounts, and the amounts, are below these.
const PLACES: i64 = 10_000;
const AMOUNTS: i64 = 100;
const _: () = assert!(ACCOUNTS_MAX == PLACES.unsigned_abs());

/// A line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub source: i64,
    pub target: i64,
    pub amount: i64,
}

impl Transfer {
    /// All of it as one number: the value of a write, and of what is found at the end.
    pub fn number(self) -> i64 {
        (self.source * PLACES + self.target) * AMOUNTS + self.amount
    }

    /// None: no transfer has this number.
    pub fn of(number: i64) -> Option<Transfer> {
        (number >= 0).then_some(Transfer {
            source: number / AMOUNTS / PLACES,
            target: number / AMOUNTS % PLACES,
            amount: number % AMOUNTS,
        })
    }
}

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
        let source = client.rng.random_range(0..self.accounts);
        let target = (source + client.rng.random_range(1..self.accounts)) % self.accounts;
        let amount = client.rng.random_range(1..=10);
        let transfer = Transfer { source, target, amount };
        let id = client.fresh_value();
        client.invoke(
            "transfer",
            vec![Write {
                table: format!("{}_{LEDGER}", self.name),
                key: id,
                value: transfer.number(),
            }],
        );
        if let Err(failure) = self.move_money(client, id, transfer).await {
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

    async fn move_money(&self, client: &Client, id: i64, transfer: Transfer) -> Result<(), Failure> {
        let session = client.session();
        let name = &self.name;
        let Transfer { source, target, amount } = transfer;
        session.simple("BEGIN").await?;
        let update = format!("UPDATE {name}_{ACCOUNTS} SET balance = balance + $1 WHERE id = $2");
        session.execute(&update, &[&-amount, &source]).await?;
        session.execute(&update, &[&amount, &target]).await?;
        let insert = format!("INSERT INTO {name}_{LEDGER} VALUES ($1, $2, $3, $4)");
        session.execute(&insert, &[&id, &source, &target, &amount]).await?;
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
        .simple(&format!("SELECT count(*), sum(balance) FROM {name}_{ACCOUNTS}"))
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
        let name = &self.name;
        vec![
            format!("CREATE TABLE {name}_{ACCOUNTS} (id bigint PRIMARY KEY, balance bigint NOT NULL)"),
            format!(
                "CREATE TABLE {name}_{LEDGER} (id bigint PRIMARY KEY, source bigint NOT NULL, target bigint NOT NULL, amount bigint NOT NULL)"
            ),
            format!("INSERT INTO {name}_{ACCOUNTS} VALUES {}", rows.join(", ")),
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
                format!("{name}_{ACCOUNTS}"),
                format!("SELECT id, balance FROM {name}_{ACCOUNTS}"),
            ),
            (
                format!("{name}_{LEDGER}"),
                format!("SELECT id, (source * {PLACES} + target) * {AMOUNTS} + amount FROM {name}_{LEDGER}"),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, the ledger that is found at the end is not the one that was written.
    #[test]
    fn a_line_of_the_ledger_is_its_number_and_back() {
        for (source, target, amount) in [(0, 1, 1), (9_999, 0, 10), (3, 9_999, 99), (0, 0, 0)] {
            let transfer = Transfer { source, target, amount };
            assert_eq!(Transfer::of(transfer.number()), Some(transfer));
        }
        assert_eq!(Transfer::of(crate::history::GARBLED), None);
    }
}
