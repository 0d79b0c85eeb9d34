//! The system database: what is not versioned by users, in ordinary tables of a hidden database.
//!
//! Because it is a database, it has the same log and the same commit path, and it replicates like one.

use super::database::Shared;
use super::gate::WriteGate;
use super::{Database, DatabaseId, EngineError, SYSTEM_DATABASE, ScramVerifier, Transaction};
use crate::chunk::ChunkStore;
use crate::version::{Column, ColumnType, Row, TableName, TableSchema, Value, encode_key_values};

/// The schema its tables lie in.
pub(super) const SCHEMA: &str = "understudy";

/// How often a change of the system database is run again when another one came first.
const ATTEMPTS: usize = 10;

/// A role as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRecord {
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    /// `None`: no password opens this role.
    pub verifier: Option<ScramVerifier>,
}

/// The content of the system database.
#[derive(Debug, Clone)]
pub struct System {
    database: Database,
}

impl System {
    pub(super) fn new(database: Database) -> System {
        System { database }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The databases that a system store lists which is only looked at.
    pub(super) fn listed_in(store: ChunkStore) -> Result<Vec<(String, DatabaseId)>, EngineError> {
        if store.published().root.is_none() {
            return Err(unexpected("databases"));
        }
        let shared = Shared::new(WriteGate::new(None));
        let database = Database::open(SYSTEM_DATABASE, DatabaseId::SYSTEM, store, shared)?;
        System::new(database).databases()
    }

    /// The databases of this cluster, sorted by name.
    pub fn databases(&self) -> Result<Vec<(String, DatabaseId)>, EngineError> {
        let transaction = self.database.begin();
        let rows = transaction.scan(&databases_table(), everything())?;
        rows.map(|entry| {
            let (_, row) = entry?;
            match row.as_slice() {
                [Value::Text(name), Value::Uuid(id)] => Ok((name.clone(), DatabaseId::from_bytes(*id))),
                _ => Err(unexpected("databases")),
            }
        })
        .collect()
    }

    /// # Errors
    /// `DuplicateDatabase`, `ReadOnly`.
    pub(super) async fn add_database(&self, name: &str, id: DatabaseId) -> Result<(), EngineError> {
        self.change(|transaction| {
            let row = vec![Value::Text(name.to_owned()), Value::Uuid(*id.as_bytes())];
            transaction
                .insert(&databases_table(), row)
                .map_err(|error| match error {
                    EngineError::DuplicateKey { .. } => EngineError::DuplicateDatabase { name: name.to_owned() },
                    other => other,
                })
        })
        .await
    }

    /// # Errors
    /// `NoSuchDatabase`, `ReadOnly`.
    pub(super) async fn remove_database(&self, name: &str) -> Result<(), EngineError> {
        self.change(
            |transaction| match transaction.delete(&databases_table(), &name_key(name))? {
                true => Ok(()),
                false => Err(EngineError::NoSuchDatabase { name: name.to_owned() }),
            },
        )
        .await
    }

    pub fn role(&self, name: &str) -> Result<Option<RoleRecord>, EngineError> {
        self.database
            .begin()
            .get(&roles_table(), &name_key(name))?
            .map(decode_role)
            .transpose()
    }

    /// All roles, sorted by name.
    pub fn roles(&self) -> Result<Vec<RoleRecord>, EngineError> {
        let rows = self.database.begin().scan(&roles_table(), everything())?;
        rows.map(|entry| decode_role(entry?.1)).collect()
    }

    /// # Errors
    /// `DuplicateRole`, `ReadOnly`.
    pub async fn create_role(&self, role: RoleRecord) -> Result<(), EngineError> {
        self.change(|transaction| {
            transaction
                .insert(&roles_table(), encode_role(&role))
                .map_err(|error| match error {
                    EngineError::DuplicateKey { .. } => EngineError::DuplicateRole {
                        name: role.name.clone(),
                    },
                    other => other,
                })
        })
        .await
    }

    /// Changes what is kept of a role. The change is made again when another one came first.
    ///
    /// # Errors
    /// `NoSuchRole`, `ReadOnly`.
    pub async fn alter_role(
        &self,
        name: &str,
        change: impl Fn(&mut RoleRecord) + Send + Sync,
    ) -> Result<(), EngineError> {
        self.change(|transaction| match transaction.get(&roles_table(), &name_key(name))? {
            Some(row) => {
                let mut role = decode_role(row)?;
                change(&mut role);
                transaction.upsert(&roles_table(), encode_role(&role))
            }
            None => Err(EngineError::NoSuchRole { name: name.to_owned() }),
        })
        .await
    }

    /// # Errors
    /// `NoSuchRole`, `ReadOnly`.
    pub async fn drop_role(&self, name: &str) -> Result<(), EngineError> {
        self.change(
            |transaction| match transaction.delete(&roles_table(), &name_key(name))? {
                true => Ok(()),
                false => Err(EngineError::NoSuchRole { name: name.to_owned() }),
            },
        )
        .await
    }

    /// A setting that was made to last.
    pub fn setting(&self, name: &str) -> Result<Option<String>, EngineError> {
        match self
            .database
            .begin()
            .get(&settings_table(), &name_key(name))?
            .as_deref()
        {
            Some([_, Value::Text(value)]) => Ok(Some(value.clone())),
            Some(_) => Err(unexpected("settings")),
            None => Ok(None),
        }
    }

    /// Makes a setting last, or forgets it.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), EngineError> {
        self.change(|transaction| match value {
            Some(value) => {
                let row = vec![Value::Text(name.to_owned()), Value::Text(value.to_owned())];
                transaction.upsert(&settings_table(), row)
            }
            None => transaction.delete(&settings_table(), &name_key(name)).map(|_| ()),
        })
        .await
    }

    /// Runs a change in a transaction of its own, again when another one came first.
    async fn change(
        &self,
        change: impl Fn(&mut Transaction) -> Result<(), EngineError> + Send,
    ) -> Result<(), EngineError> {
        let mut attempts = 0;
        loop {
            let mut transaction = self.database.begin();
            change(&mut transaction)?;
            attempts += 1;
            match self.database.commit(transaction).await {
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                other => return other.map(|_| ()),
            }
        }
    }
}

/// Makes the tables of a new system database, with one role to begin with.
pub(super) fn bootstrap(transaction: &mut Transaction, superuser: &RoleRecord) -> Result<(), EngineError> {
    let text = |name: &str| column(name, ColumnType::Text, true);
    transaction.create_table(
        &databases_table(),
        keyed(vec![text("name"), column("id", ColumnType::Uuid, true)]),
    )?;
    transaction.create_table(
        &roles_table(),
        keyed(vec![
            text("name"),
            column("superuser", ColumnType::Bool, true),
            column("login", ColumnType::Bool, true),
            column("salt", ColumnType::Bytea, false),
            column("iterations", ColumnType::Int8, false),
            column("stored_key", ColumnType::Bytea, false),
            column("server_key", ColumnType::Bytea, false),
        ]),
    )?;
    transaction.create_table(&settings_table(), keyed(vec![text("name"), text("value")]))?;
    transaction.insert(&roles_table(), encode_role(superuser))
}

fn databases_table() -> TableName {
    TableName::new(SCHEMA, "databases")
}

fn roles_table() -> TableName {
    TableName::new(SCHEMA, "roles")
}

fn settings_table() -> TableName {
    TableName::new(SCHEMA, "settings")
}

fn column(name: &str, column_type: ColumnType, not_null: bool) -> Column {
    Column {
        name: name.to_owned(),
        column_type,
        not_null,
        default: None,
    }
}

/// The first column is the key.
fn keyed(columns: Vec<Column>) -> TableSchema {
    TableSchema {
        columns,
        primary_key: vec![0],
    }
}

fn name_key(name: &str) -> Vec<u8> {
    encode_key_values(&[ColumnType::Text], &[Value::Text(name.to_owned())])
}

fn everything() -> (std::ops::Bound<Vec<u8>>, std::ops::Bound<Vec<u8>>) {
    (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)
}

fn encode_role(role: &RoleRecord) -> Row {
    let mut row = vec![
        Value::Text(role.name.clone()),
        Value::Bool(role.superuser),
        Value::Bool(role.login),
    ];
    match &role.verifier {
        Some(verifier) => row.extend([
            Value::Bytea(verifier.salt.clone()),
            Value::Int8(i64::from(verifier.iterations)),
            Value::Bytea(verifier.stored_key.to_vec()),
            Value::Bytea(verifier.server_key.to_vec()),
        ]),
        None => row.extend([Value::Null, Value::Null, Value::Null, Value::Null]),
    }
    row
}

fn decode_role(row: Row) -> Result<RoleRecord, EngineError> {
    let decode = || {
        let [Value::Text(name), Value::Bool(superuser), Value::Bool(login), rest @ ..] = row.as_slice() else {
            return None;
        };
        let verifier = match rest {
            [Value::Null, Value::Null, Value::Null, Value::Null] => None,
            [
                Value::Bytea(salt),
                Value::Int8(iterations),
                Value::Bytea(stored_key),
                Value::Bytea(server_key),
            ] => Some(ScramVerifier {
                salt: salt.clone(),
                iterations: u32::try_from(*iterations).ok()?,
                stored_key: stored_key.as_slice().try_into().ok()?,
                server_key: server_key.as_slice().try_into().ok()?,
            }),
            _ => return None,
        };
        Some(RoleRecord {
            name: name.clone(),
            superuser: *superuser,
            login: *login,
            verifier,
        })
    };
    decode().ok_or_else(|| unexpected("roles"))
}

fn unexpected(table: &str) -> EngineError {
    EngineError::Object(crate::version::VersionError::Malformed {
        what: "system database",
        detail: format!("a row of table \"{table}\" is not what this server writes; was it written by a newer one?"),
    })
}
