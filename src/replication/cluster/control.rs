//! What SQL may ask of the cluster: role, epoch, status rows, and to assume a role.
//!
//! Source: spec/cluster.md 2.4, 3.2, 3.3, 7.2.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tokio::sync::watch;

use super::controller::{Ended, Published};
use super::core::Core;
use super::identity::Role;
use super::role::{AssumeError, Event};
use crate::engine::{ClusterControl, ClusterError, ClusterErrorKind, ClusterStatusRow, Database, SessionId};
use crate::runtime;

const BROKEN: &str = "more than one server was configured as primary in the same epoch; choose the server whose data is \
                      to win and run SELECT dolt_assume_cluster_role('primary', <epoch>) there with a higher epoch";

/// What the engine holds of its cluster: nothing that holds the engine, or neither would ever be dropped.
pub struct ClusterHandle {
    published: watch::Receiver<Published>,
    core: Weak<Core>,
}

impl ClusterHandle {
    pub fn new(core: &Arc<Core>) -> ClusterHandle {
        ClusterHandle {
            published: core.controller.watch(),
            core: Arc::downgrade(core),
        }
    }
}

#[async_trait]
impl ClusterControl for ClusterHandle {
    fn role(&self) -> Role {
        self.published.borrow().standing.role
    }

    fn epoch(&self) -> u64 {
        self.published.borrow().standing.epoch.get()
    }

    fn status(&self) -> Vec<ClusterStatusRow> {
        self.core.upgrade().map(|core| core.status()).unwrap_or_default()
    }

    async fn assume_role(&self, role: &str, epoch: i64, caller: SessionId) -> Result<(), ClusterError> {
        let stopping = || {
            ClusterError::new(
                ClusterErrorKind::Internal,
                "error assuming role: the server is stopping",
            )
        };
        let core = self.core.upgrade().ok_or_else(stopping)?;
        let (tasks, role) = (core.tasks.clone(), role.to_owned());
        // A task of its own: a cancelled statement must not leave the server between two roles.
        let assume = tasks.track_future(async move { core.assume(role, epoch, caller).await });
        runtime::spawn("assume role", assume)
            .await
            .unwrap_or_else(|_| Err(stopping()))
    }
}

impl Core {
    fn status(&self) -> Vec<ClusterStatusRow> {
        let databases = self.engine.databases();
        let peers = self.links.peers();
        let mut rows: Vec<_> = databases
            .iter()
            .flat_map(|database| (0..peers.len()).map(move |peer| (database, peer)))
            .map(|(database, peer)| self.status_row(database, peer))
            .collect();
        rows.sort_by(|a, b| (&a.database, &a.standby_remote).cmp(&(&b.database, &b.standby_remote)));
        rows
    }

    fn status_row(&self, database: &Database, peer: usize) -> ClusterStatusRow {
        let standing = self.controller.standing();
        let mut row = ClusterStatusRow {
            database: database.name().to_owned(),
            standby_remote: self.links.peers()[peer].name.clone(),
            role: standing.role,
            epoch: standing.epoch.get(),
            replication_lag_millis: None,
            last_update: None,
            current_error: self.controller.store_failure(),
        };
        match standing.role {
            Role::Standby => row.last_update = self.links.last_contact(database.id()),
            Role::DetectedBrokenConfig => row.current_error = Some(BROKEN.to_owned()),
            Role::Primary => {
                let Some(link) = self.links.get((database.id(), peer)) else {
                    return row;
                };
                let state = link.state();
                row.current_error = row.current_error.or(state.error);
                let Some(acknowledged) = state.acknowledged else {
                    return row;
                };
                row.last_update = Some(acknowledged.time);
                row.replication_lag_millis = Some(match link.is_caught_up() {
                    true => 0,
                    false => (runtime::wall_clock().micros_since(acknowledged.time) / 1_000).max(0),
                });
            }
        }
        row
    }

    async fn assume(&self, role: String, epoch: i64, caller: SessionId) -> Result<(), ClusterError> {
        let controller = &self.controller;
        let mut automatic = controller.watch_automatic();
        let mut event = Event::Assume { role, epoch };
        let mut behind = None;
        loop {
            // An automatic change kills the caller's session and waits until it is gone: it must not be waited for.
            let ended = unless_superseded(&mut automatic, epoch, controller.carry_out(&event, Some(caller))).await?;
            event = match ended {
                Ended::Preflight => {
                    let all = self.links.confirm_all(self.drain_limit);
                    let confirmed = unless_superseded(&mut automatic, epoch, all).await?;
                    behind = confirmed.err();
                    Event::PreflightEnded {
                        confirmed: behind.is_none(),
                    }
                }
                Ended::Drain => {
                    let all = self.links.drain_all(self.drain_limit);
                    let drained = unless_superseded(&mut automatic, epoch, all).await?;
                    behind = drained.err();
                    Event::DrainEnded {
                        caught_up: behind.is_none(),
                    }
                }
                Ended::Failed(error) => return Err(cluster_error(&error, behind)),
                Ended::Done | Ended::Served | Ended::Refused(_) => return Ok(()),
            };
        }
    }
}

async fn unless_superseded<T>(
    automatic: &mut watch::Receiver<u64>,
    epoch: i64,
    work: impl Future<Output = T>,
) -> Result<T, ClusterError> {
    tokio::select! {
        biased;
        _ = automatic.changed() => Err(superseded(epoch)),
        done = work => Ok(done),
    }
}

fn superseded(epoch: i64) -> ClusterError {
    let text =
        format!("error assuming role at epoch {epoch}: role or epoch changed meanwhile; look at them and try again");
    ClusterError::new(ClusterErrorKind::WrongState, text)
}

fn cluster_error(error: &AssumeError, behind: Option<Vec<String>>) -> ClusterError {
    let kind = match error {
        AssumeError::UnknownRole { .. } | AssumeError::BrokenNotAssignable | AssumeError::EpochTooHigh { .. } => {
            ClusterErrorKind::InvalidArgument
        }
        AssumeError::StaleEpoch { .. }
        | AssumeError::OtherRoleAtEpoch { .. }
        | AssumeError::NotCaughtUp { .. }
        | AssumeError::AnotherInProgress
        | AssumeError::Superseded { .. } => ClusterErrorKind::WrongState,
        AssumeError::NotStored => ClusterErrorKind::NotStored,
    };
    let cluster_error = ClusterError::new(kind, error.to_string());
    match behind {
        Some(behind) if !behind.is_empty() => cluster_error.with_detail(behind.join("\n")),
        _ => cluster_error,
    }
}
