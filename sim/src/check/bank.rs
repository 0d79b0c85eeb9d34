//! The bank: money is neither made nor lost, and each account is what its transfers make it.

use std::collections::BTreeMap;

use super::{ArgKind, Check, Finding, Judge, Needs, Section};
use crate::history::{Content, History, Outcome};
use crate::workload::bank::{ACCOUNTS, KIND, LEDGER, OPENING_BALANCE, TOTAL, Transfer};

pub const BANK_TOTAL: Check = Check {
    name: "bank_total",
    about: "Every reader finds all accounts and the opening total, and at the end the accounts of every server add up, and each is what the opening balance and the ledger make it.",
    needs: Needs::Workload(&[KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| bank_total(history)),
};

fn bank_total(history: &History) -> Finding {
    let suffix = format!("_{ACCOUNTS}");
    let mut accounts_of: BTreeMap<String, i64> = BTreeMap::new();
    for (server, content) in &history.end.content {
        for (table, keys) in content {
            let Some(bank) = table.strip_suffix(&suffix) else {
                continue;
            };
            let count = i64::try_from(keys.len()).expect("accounts are few");
            let sum: i64 = keys.values().flatten().sum();
            if sum != count * OPENING_BALANCE {
                return Some((
                    None,
                    format!(
                        "{table} on {server} holds {sum} at the end, {} is due",
                        count * OPENING_BALANCE
                    ),
                ));
            }
            if let Some(what) = books(content, bank) {
                return Some((None, format!("{bank} on {server}: {what}")));
            }
            let known = accounts_of.entry(bank.to_owned()).or_insert(count);
            if *known != count {
                return Some((
                    None,
                    format!("{table} on {server} has {count} accounts, elsewhere {known}"),
                ));
            }
        }
    }
    for op in history.operations() {
        let Some((at, Outcome::Ok { reads })) = op.returned else {
            continue;
        };
        for read in reads {
            let Some(bank) = read.table.strip_suffix(&format!("_{TOTAL}")) else {
                continue;
            };
            let Some(accounts) = accounts_of.get(bank) else {
                continue;
            };
            // Who promotes a server that had no accounts yet gives up the making of them, and what readers saw elsewhere
            // was right there.
            let count = match accounts {
                0 if history.has_orders() => read.values.first().copied().unwrap_or(0),
                _ => *accounts,
            };
            let expected = [count, count * OPENING_BALANCE];
            if read.values != expected {
                let what = format!(
                    "{} saw {:?} (accounts, total) in {bank} on {}, {expected:?} is due",
                    op.client, read.values, op.invoke.server
                );
                return Some((Some(at), what));
            }
        }
    }
    None
}

/// Whether each balance is the opening one and what the lines of the ledger moved. A transfer of which a part is missing
/// may well leave the total as it was.
fn books(content: &Content, bank: &str) -> Option<String> {
    let rows = |table: &str| content.get(&format!("{bank}_{table}")).into_iter().flatten();
    let mut due: BTreeMap<i64, i64> = rows(ACCOUNTS).map(|(account, _)| (*account, OPENING_BALANCE)).collect();
    for (id, values) in rows(LEDGER) {
        let transfer = match &values[..] {
            [number] => Transfer::of(*number),
            _ => None,
        };
        let Some(Transfer { source, target, amount }) = transfer else {
            return Some(format!("line {id} of the ledger is no transfer: {values:?}"));
        };
        for (account, change) in [(source, -amount), (target, amount)] {
            let Some(balance) = due.get_mut(&account) else {
                return Some(format!(
                    "line {id} of the ledger is about account {account}, which is not there"
                ));
            };
            *balance += change;
        }
    }
    rows(ACCOUNTS).find_map(|(account, balances)| {
        let due = due.get(account).copied().unwrap_or_default();
        (*balances != [due]).then(|| {
            format!(
                "account {account} holds {balances:?} at the end, and with the ledger's {:+} it should be {due}",
                due - OPENING_BALANCE
            )
        })
    })
}
