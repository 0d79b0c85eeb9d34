//! `dolt_gc` and `dolt_backup`: upkeep of the store, from SQL.

use super::options::Syntax;
use super::required;
use crate::engine::{Database, EngineError};
use crate::runtime;
use crate::runtime::disk::Disk;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::session::{Running, Session};
use crate::version::Value;

const GC: Syntax = Syntax {
    function: "dolt_gc",
    flags: &[("shallow", None), ("full", None)],
    values: &[("archive-level", None), ("incremental-file-size", None)],
};

const BACKUP: Syntax = Syntax {
    function: "dolt_backup",
    flags: &[("force", None)],
    values: &[("prune-with-grace-period", None)],
};

/// Does long work in a task of its own: a statement that is stopped waits for it no longer, and leaves nothing half done.
async fn in_a_task(
    running: &Running,
    work: impl Future<Output = Result<(), EngineError>> + Send + 'static,
) -> Result<(), SqlError> {
    let task = runtime::spawn("upkeep", work);
    let done = async {
        match task.await {
            Ok(done) => done.map_err(SqlError::from),
            Err(_) => Err(SqlError::internal(
                "the work ended before its time: see the server's log",
            )),
        }
    };
    running.interruptible(done).await
}

impl Session {
    /// Gives up what nobody can reach; 0 when it is done. Works in every role, on a read-only server, and beside all
    /// other sessions, this one's open transaction included.
    ///
    /// Source: spec/version-control.md 6.5 and 15, spec/cluster.md Q13.
    pub(super) async fn collect_garbage(
        &mut self,
        arguments: &[Option<String>],
        running: &Running,
    ) -> Result<Value, SqlError> {
        let given = GC.read(arguments)?;
        self.require_superuser("to collect garbage")?;
        if let Some(extra) = given.positionals.first() {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("dolt_gc: unexpected argument `{extra}`"),
            ));
        }
        for missing in ["archive-level", "incremental-file-size"] {
            if given.value(missing).is_some() {
                return Err(SqlError::unsupported(format_args!("dolt_gc('--{missing}')")));
            }
        }
        if given.has("shallow") && given.has("full") {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                "dolt_gc: --shallow and --full exclude each other",
            ));
        }
        let database = self.stored()?;
        let work = async move { database.collect_garbage().await.map(drop) };
        in_a_task(running, work).await?;
        Ok(Value::Int8(0))
    }

    /// `('sync-url', url)` copies this database, as it is now, to the folder of a `file://` URL, or brings the backup
    /// there up to date; `('restore', url, name)` makes a database from one. 0 when it is done and safe.
    ///
    /// Source: spec/remotes.md 3.6.
    pub(super) async fn backup(&mut self, arguments: &[Option<String>], running: &Running) -> Result<Value, SqlError> {
        let given = BACKUP.read(arguments)?;
        self.require_superuser("to back up a database")?;
        if given.value("prune-with-grace-period").is_some() {
            return Err(SqlError::unsupported("dolt_backup('--prune-with-grace-period')"));
        }
        let invalid = |message: String| SqlError::new(SqlErrorKind::InvalidParameter, message);
        let positionals: Vec<&str> = given.positionals.iter().map(String::as_str).collect();
        match positionals.as_slice() {
            ["sync-url", url] => {
                let (database, target) = (self.stored()?, self.folder_of_url(url)?);
                in_a_task(running, async move { database.back_up(&target).await.map(drop) }).await?;
            }
            ["restore", url, name] => {
                if given.has("force") {
                    return Err(SqlError::unsupported("dolt_backup('restore', ..., '--force')"));
                }
                self.refuse_in_block("dolt_backup")?;
                let (engine, source, name) = (self.engine.clone(), self.folder_of_url(url)?, name.to_string());
                let work = async move { engine.restore_database(&source, &name).await.map(drop) };
                in_a_task(running, work).await?;
            }
            ["add" | "rm" | "remove" | "sync", ..] => {
                return Err(SqlError::unsupported(format_args!("dolt_backup('{}')", positionals[0]))
                    .hint("Name the place in the call: dolt_backup('sync-url', 'file:///folder')."));
            }
            ["sync-url" | "restore", ..] => {
                return Err(invalid(format!("dolt_backup('{}') takes a URL", positionals[0])).hint(
                    "dolt_backup('sync-url', 'file:///folder'), dolt_backup('restore', 'file:///folder', 'name')",
                ));
            }
            [other, ..] => return Err(invalid(format!("unrecognized dolt_backup parameter '{other}'"))),
            [] => {
                required("dolt_backup", &None)?;
            }
        }
        Ok(Value::Int8(0))
    }

    /// This session's database, unless it is the virtual one.
    fn stored(&self) -> Result<Database, SqlError> {
        self.database.clone().ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::NotInState,
                format!(
                    "database \"{}\" is not stored: connect to another one",
                    self.database_name
                ),
            )
        })
    }

    /// The folder on this server's machine that a `file://` URL names.
    fn folder_of_url(&self, url: &str) -> Result<Disk, SqlError> {
        let Some(path) = url.strip_prefix("file://").filter(|path| path.starts_with('/')) else {
            return Err(SqlError::unsupported(format_args!("a backup at {url}"))
                .hint("Use the URL of a folder on the server's machine: file:///path."));
        };
        let io = |error| SqlError::new(SqlErrorKind::Io, format!("cannot use the folder {path}: {error}"));
        self.engine.disk().elsewhere(path).map_err(io)
    }
}
