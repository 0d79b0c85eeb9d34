//! The engine as its callers see it, over a simulated disk.

mod backup;
mod check;
mod collection;
mod conflicts;
mod crashes;
mod databases;
mod large;
mod replication;
mod transactions;
mod versions;

use std::ops::Bound;

use super::*;
use crate::chunk::StoreOptions;
use crate::runtime::WallTime;
use crate::runtime::disk::simulated::SimDisk;
use crate::version::{Column, ColumnType, Person, Row, TableName, TableSchema, Value, encode_key};

fn options() -> EngineOptions {
    EngineOptions {
        superuser: Superuser {
            name: "postgres".to_owned(),
            password: "password".to_owned(),
        },
        read_only: None,
        store: StoreOptions::default(),
        auto_collect: None,
    }
}

async fn open(disk: &SimDisk) -> Engine {
    Engine::open(disk.disk(), options()).await.unwrap()
}

/// An engine with one database, `shop`, that has one table of accounts with these balances.
async fn shop(balances: &[(i32, i32)]) -> (SimDisk, Engine, Database) {
    let disk = SimDisk::new(1);
    let engine = open(&disk).await;
    let shop = engine.create_database("shop").await.unwrap();
    let mut transaction = shop.begin();
    transaction.create_table(&accounts(), accounts_schema()).unwrap();
    for (id, balance) in balances {
        transaction.insert(&accounts(), account(*id, *balance)).unwrap();
    }
    shop.commit(transaction).await.unwrap();
    (disk, engine, shop)
}

fn accounts() -> TableName {
    TableName::public("accounts")
}

fn column(name: &str, column_type: ColumnType, not_null: bool) -> Column {
    Column {
        name: name.to_owned(),
        column_type,
        not_null,
        default: None,
    }
}

fn accounts_schema() -> TableSchema {
    let columns = vec![
        column("id", ColumnType::Int4, true),
        column("balance", ColumnType::Int4, true),
        column("note", ColumnType::Text, false),
    ];
    TableSchema {
        columns,
        primary_key: vec![0],
    }
}

fn account(id: i32, balance: i32) -> Row {
    vec![Value::Int4(id), Value::Int4(balance), Value::Null]
}

fn key(id: i32) -> Vec<u8> {
    encode_key(&accounts_schema(), &account(id, 0))
}

fn all() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Unbounded, Bound::Unbounded)
}

/// What a transaction sees of the accounts.
fn balances(transaction: &Transaction) -> Vec<(i32, i32)> {
    let rows = transaction.scan(&accounts(), all()).unwrap();
    rows.map(|row| match row.unwrap().1.as_slice() {
        [Value::Int4(id), Value::Int4(balance), _] => (*id, *balance),
        other => panic!("not an account: {other:?}"),
    })
    .collect()
}

fn set_balance(transaction: &mut Transaction, id: i32, balance: i32) {
    assert!(transaction.update(&accounts(), &key(id), account(id, balance)).unwrap());
}

async fn write(database: &Database, id: i32, balance: i32) -> Result<(), EngineError> {
    let mut transaction = database.begin();
    transaction.upsert(&accounts(), account(id, balance))?;
    database.commit(transaction).await.map(|_| ())
}

fn person(name: &str) -> Person {
    Person {
        name: name.to_owned(),
        email: format!("{name}@127.0.0.1"),
        time: WallTime::from_micros(1_700_000_000_000_000),
    }
}

fn commit_spec(message: &str) -> CommitSpec {
    CommitSpec {
        message: message.to_owned(),
        author: person("postgres"),
        committer: person("postgres"),
        allow_empty: false,
    }
}
