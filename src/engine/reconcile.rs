//! Making the local databases follow the list, on a standby.

use super::database::Database;
use super::instance::Entry;
use super::{DatabaseId, Engine, EngineError, folder};
use crate::chunk::ChunkStore;
use crate::runtime::sometimes;

/// What clients of a database are told that is given up.
const GIVEN_UP: &str = "terminating connection because the primary does not have this database any more";

impl Engine {
    /// Opens, makes and gives up local databases so that they are those the system database lists.
    ///
    /// For a standby: when it starts, and after each root of the system database. A database that is made here is empty
    /// and hidden until replication brings its first root. One that is given up disappears at once, and the sessions in
    /// it end; what it held is moved to the `dropped` part of the control folder. Idempotent; continue by calling again.
    pub async fn reconcile_databases(&self) -> Result<(), EngineError> {
        let _definitions = self.inner.definitions.lock().await;
        let listed = self.inner.system.databases()?;
        let known: Vec<(String, Entry)> = self
            .inner
            .databases
            .lock()
            .iter()
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        for (name, entry) in known {
            if !listed.contains(&(name.clone(), entry.id)) {
                self.give_up(&name, &entry).await?;
            }
        }
        for (name, id) in listed {
            // What is open stays; what is damaged stays as it is, for a person to look at; what is missing is made anew.
            let path = folder::database_folder(&name, id);
            let known = self.inner.databases.lock().contains_key(&name);
            if !known || !folder::exists(&self.inner.disk, &path)? {
                let database = self.make_or_open(&name, id, &path).await?;
                self.inner.databases.lock().insert(
                    name.clone(),
                    Entry {
                        id,
                        opened: Ok(database),
                    },
                );
                self.inner.shared.databases_changed();
                tracing::info!(database = name, id = %id, "database awaited from the primary");
            }
        }
        Ok(())
    }

    /// Takes databases off the list whose first root never came: for a server that becomes primary, to which nobody will
    /// send it any more. Their creation is lost like everything else that had not been replicated; on a server that has
    /// their content, it is kept as that of any database that is given up.
    ///
    /// # Errors
    /// `ReadOnly`, and what a commit answers; what was not taken off stays listed and hidden.
    pub async fn forget_awaited(&self) -> Result<(), EngineError> {
        let _definitions = self.inner.definitions.lock().await;
        let awaited: Vec<(String, Entry)> = {
            let databases = self.inner.databases.lock();
            let is_awaited = |entry: &Entry| entry.opened.as_ref().is_ok_and(|database| !database.has_root());
            let awaited = databases.iter().filter(|(_, entry)| is_awaited(entry));
            awaited.map(|(name, entry)| (name.clone(), entry.clone())).collect()
        };
        for (name, entry) in awaited {
            sometimes!("engine.awaited_forgotten");
            self.inner.system.remove_database(&name).await?;
            tracing::warn!(
                database = name,
                id = %entry.id,
                "database given up: its creation was replicated, and its content never came"
            );
            self.give_up(&name, &entry).await?;
        }
        Ok(())
    }

    async fn make_or_open(&self, name: &str, id: DatabaseId, path: &str) -> Result<Database, EngineError> {
        let inner = &self.inner;
        if !folder::exists(&inner.disk, path)? {
            return self.make_store(name, id).await;
        }
        // Left by a reconciliation that was interrupted.
        match ChunkStore::open(&inner.disk, path, &inner.options.store).await {
            Ok((store, _)) => Database::open(name, id, store, inner.shared.clone()),
            Err(error) => {
                let kept = folder::keep_dropped(&inner.disk, path).await?;
                tracing::warn!(
                    database = name,
                    kept = inner.disk.describe(&kept),
                    %error,
                    "a folder that cannot be opened was moved aside; the database is fetched from the primary"
                );
                self.make_store(name, id).await
            }
        }
    }

    async fn give_up(&self, name: &str, entry: &Entry) -> Result<(), EngineError> {
        let disk = &self.inner.disk;
        self.inner.databases.lock().remove(name);
        self.inner.shared.databases_changed();
        // Who comes from now on finds another database of this name, or none.
        self.sessions().end_in(name, GIVEN_UP);
        let holds_something = match &entry.opened {
            Ok(database) => {
                database.retire().await;
                database.has_root()
            }
            Err(_) => true,
        };
        let path = folder::database_folder(name, entry.id);
        if !folder::exists(disk, &path)? {
            return Ok(());
        }
        if holds_something {
            let kept = folder::keep_dropped(disk, &path).await?;
            tracing::warn!(
                database = name,
                id = %entry.id,
                kept = disk.describe(&kept),
                "database given up: the primary does not list it; its folder is kept"
            );
        } else {
            folder::remove(disk, &path)?;
            folder::sync_folder(disk, folder::DATABASES).await?;
            tracing::info!(database = name, id = %entry.id, "empty database given up");
        }
        Ok(())
    }
}
