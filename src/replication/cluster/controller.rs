//! Carries out what the role machine decides: one change at a time, stored before it is seen.
//!
//! Invariants
//! - Whoever changes the machine holds the turn; whoever only asks does not wait for it.
//! - A change that has begun is finished or undone even if the request that caused it is gone: it runs in a task of
//!   its own.
//! - Nothing is applied from a primary that was not accepted: [`Controller::may_apply`] is asked under the commit turn,
//!   and answers no from before a change of role until after it.
//!
//! Must not know: how roots travel.
//!
//! Source: spec/cluster.md 2.3 to 2.7, 3.2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::identity::{Role, ServerId};
use super::role::{AssumeError, Effect, Event, Note, OnStoreFailure, Refusal, RoleMachine, Spare, Standing};
use super::role_store::RoleStore;
use crate::engine::{Engine, ReadOnlyReason, SessionId};
use crate::runtime::sites::pause;
use crate::runtime::{self, buggify, sometimes};

/// What every killed client is told, with 57P01 (spec/cluster.md 3.5).
const WHY_KILLED: &str = "terminating connection because the server's cluster role changes";
const RETRY_STORE_AFTER: Duration = Duration::from_secs(1);

/// What may be seen of this server from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub standing: Standing,
    /// Counts the resets of links: streams of an older one end.
    pub generation: u64,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Failed(AssumeError),
    Served,
    Refused(Refusal),
    /// The caller confirms all links and reports.
    Preflight,
    /// The caller drains all links and reports.
    Drain,
}

pub struct Controller {
    engine: Engine,
    store: RoleStore,
    machine: Mutex<RoleMachine>,
    turn: tokio::sync::Mutex<()>,
    published: watch::Sender<Published>,
    /// A change of role is under way: nothing is applied.
    revoked: AtomicBool,
    /// Bumped when a change begins that no operator asked for. It will kill whoever waits for the turn on an
    /// operator's behalf, and must not be waited for by them.
    automatic: watch::Sender<u64>,
    /// `behavior.read_only`: then the gate stays closed on a primary too.
    configured_read_only: bool,
    /// Why a demotion is not stored yet.
    store_failure: Mutex<Option<String>>,
    closing: CancellationToken,
}

impl Controller {
    /// Closes the gate at once unless the stored role is primary.
    pub fn new(engine: Engine, store: RoleStore, standing: Standing, closing: CancellationToken) -> Arc<Controller> {
        let configured_read_only = engine.gate().reason() == Some(ReadOnlyReason::Configured);
        let controller = Controller {
            engine,
            store,
            machine: Mutex::new(RoleMachine::new(standing)),
            turn: tokio::sync::Mutex::new(()),
            published: watch::Sender::new(Published {
                standing,
                generation: 0,
            }),
            revoked: AtomicBool::new(false),
            automatic: watch::Sender::new(0),
            configured_read_only,
            store_failure: Mutex::new(None),
            closing,
        };
        controller.set_gate(standing.role);
        Arc::new(controller)
    }

    pub fn standing(&self) -> Standing {
        self.published.borrow().standing
    }

    pub fn published(&self) -> Published {
        *self.published.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Changes when a change of role begins that no operator asked for.
    pub fn watch_automatic(&self) -> watch::Receiver<u64> {
        self.automatic.subscribe()
    }

    /// Why a demotion is not stored yet; for `current_error`.
    pub fn store_failure(&self) -> Option<String> {
        self.store_failure.lock().clone()
    }

    /// Whether roots of this primary may be applied now.
    pub fn may_apply(&self, primary: ServerId) -> Result<(), String> {
        let standing = self.standing();
        if self.revoked.load(Ordering::SeqCst) {
            return Err("the role of this server is changing".to_owned());
        }
        let accepted = standing
            .accepted
            .is_some_and(|accepted| accepted.server == primary && accepted.epoch == standing.epoch);
        if standing.role != Role::Standby || !accepted {
            return Err(format!("this server is {} at epoch {}", standing.role, standing.epoch));
        }
        Ok(())
    }

    /// Decides on a request of an authenticated peer, or a message of its stream.
    pub async fn on_request(self: &Arc<Self>, event: Event) -> Result<(), Refusal> {
        match self.on_peer(event).await {
            Ended::Refused(refusal) => Err(refusal),
            Ended::Served => Ok(()),
            other => unreachable!("a request is served or refused, not {other:?}"),
        }
    }

    /// Draws the consequences of what a peer answered.
    pub async fn on_response(self: &Arc<Self>, event: Event) {
        self.on_peer(event).await;
    }

    async fn on_peer(self: &Arc<Self>, event: Event) -> Ended {
        if let Some(ended) = self.without_change(&event) {
            return ended;
        }
        // A task of its own: whoever asked may hang up in the middle.
        let controller = self.clone();
        let change = runtime::spawn("role change", async move { controller.carry_out(&event, None).await });
        change.await.unwrap_or(Ended::Refused(Refusal::NotStored))
    }

    /// The everyday case: an answer that changes nothing waits for nobody.
    fn without_change(&self, event: &Event) -> Option<Ended> {
        let machine = self.machine.lock();
        let (after, effects) = machine.step(event);
        tell_rare(event, &effects);
        match &effects[..] {
            _ if after != *machine => None,
            [] => Some(Ended::Done),
            [Effect::Serve] => Some(Ended::Served),
            [Effect::Refuse(refusal)] => Some(Ended::Refused(*refusal)),
            _ => None,
        }
    }

    /// Takes the turn and does what the machine says, in its order.
    ///
    /// Not to be dropped once it holds the turn; until then it may.
    pub async fn carry_out(self: &Arc<Self>, event: &Event, caller: Option<SessionId>) -> Ended {
        let _turn = self.turn.lock().await;
        let (after, effects) = self.machine.lock().step(event);
        tell_rare(event, &effects);
        let changes_role = effects.contains(&Effect::ResetLinks);
        if changes_role {
            self.revoked.store(true, Ordering::SeqCst);
            if caller.is_none() {
                self.automatic.send_modify(|number| *number += 1);
            }
        }
        if !effects.iter().any(|effect| matches!(effect, Effect::Store { .. })) {
            self.install(after.clone());
        }
        let mut ended = Ended::Done;
        for effect in effects {
            match effect {
                Effect::Store { standing, on_failure } => {
                    pause(buggify!("replication.role_stored_late", 1..=1_000)).await;
                    if let Err(failure) = self.store.store(&standing).await {
                        self.on_store_failure(standing, on_failure, &failure).await;
                        ended = not_stored(event);
                        break;
                    }
                    *self.store_failure.lock() = None;
                    self.install(after.clone());
                }
                effect => ended = self.carry_out_one(effect, caller).await.unwrap_or(ended),
            }
        }
        if changes_role {
            self.revoked.store(false, Ordering::SeqCst);
        }
        ended
    }

    async fn carry_out_one(&self, effect: Effect, caller: Option<SessionId>) -> Option<Ended> {
        match effect {
            Effect::Preflight => return Some(Ended::Preflight),
            Effect::Drain => return Some(Ended::Drain),
            Effect::CloseWriters => self.engine.gate().close(ReadOnlyReason::Demoting),
            Effect::OpenWriters => self.set_gate(Role::Primary),
            Effect::KillSessions { spare } => {
                let spared = if spare == Spare::Caller { caller } else { None };
                let killed = self.engine.sessions().kill_all(spared, WHY_KILLED).await;
                info!(killed, "sessions ended for a change of role");
            }
            Effect::AwaitWriters => self.engine.gate().drain().await,
            Effect::Store { .. } => unreachable!("carried out by the caller"),
            Effect::Enter { role, epoch } => {
                if role != Role::Primary {
                    self.set_gate(role);
                }
                info!(role = %role, epoch = epoch.get(), "role assumed");
            }
            Effect::ResetLinks => self.published.send_modify(|published| published.generation += 1),
            Effect::TaintCaller => {
                if let Some(caller) = caller {
                    self.engine.sessions().taint(caller);
                }
            }
            Effect::Log(note) => self.log(note),
            Effect::Succeed => return Some(Ended::Done),
            Effect::Fail(error) => return Some(Ended::Failed(error)),
            Effect::Serve => return Some(Ended::Served),
            Effect::Refuse(refusal) => return Some(Ended::Refused(refusal)),
        }
        None
    }

    /// From here on the machine is this one, and everybody may see what it says.
    fn install(&self, machine: RoleMachine) {
        let standing = *machine.standing();
        *self.machine.lock() = machine;
        self.published.send_if_modified(|published| {
            let changed = published.standing != standing;
            published.standing = standing;
            changed
        });
    }

    fn set_gate(&self, role: Role) {
        match role {
            Role::Primary if self.configured_read_only => self.engine.gate().close(ReadOnlyReason::Configured),
            Role::Primary => self.engine.gate().open(),
            Role::Standby => self.engine.gate().close(ReadOnlyReason::Standby),
            Role::DetectedBrokenConfig => self.engine.gate().close(ReadOnlyReason::BrokenConfig),
        }
    }

    async fn on_store_failure(
        self: &Arc<Self>,
        mut wanted: Standing,
        policy: OnStoreFailure,
        failure: &std::io::Error,
    ) {
        let file = self.store.describe();
        error!(role = %wanted.role, epoch = wanted.epoch.get(), file, error = %failure, "storing role and epoch failed");
        if policy == OnStoreFailure::Abandon {
            // The file may say already what is given up (only the sync of its folder failed, say), and the next start
            // would believe it.
            wanted = *self.machine.lock().standing();
            if self.store.store(&wanted).await.is_ok() {
                return;
            }
        }
        *self.store_failure.lock() = Some(format!("cannot store the role of {} in {file}: {failure}", wanted.role));
        let stuck_before = self.machine.lock().is_stuck();
        let (stuck, _) = self.machine.lock().step(&Event::StoreFailed { wanted });
        self.install(stuck);
        if !stuck_before {
            runtime::spawn("retry storing the role", self.clone().retry_store()).detach();
        }
    }

    /// Boxed: carrying out may start a retry, which carries out.
    fn retry_store(self: Arc<Self>) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(self.retry_store_until_it_works())
    }

    async fn retry_store_until_it_works(self: Arc<Self>) {
        while self.machine.lock().is_stuck() {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = runtime::sleep(RETRY_STORE_AFTER) => {}
            }
            self.carry_out(&Event::RetryStore, None).await;
        }
    }

    fn log(&self, note: Note) {
        let Standing { role, epoch, .. } = self.standing();
        let (role, epoch) = (role.as_str(), epoch.get());
        match note {
            Note::TwoPrimaries {
                peer,
                epoch: peer_epoch,
            } => error!(
                role, epoch, %peer, peer_epoch = peer_epoch.get(),
                "more than one server was configured as primary in the same epoch: no writes until an operator assumes the role of primary at a higher epoch"
            ),
            Note::SecondPrimary {
                accepted,
                peer,
                epoch: peer_epoch,
            } => error!(
                role, epoch, %accepted, %peer, peer_epoch = peer_epoch.get(),
                "a second server replicates as primary in the same epoch: replication stops until an operator assumes the role of primary at a higher epoch"
            ),
            Note::PeerBroken {
                peer,
                epoch: peer_epoch,
            } => {
                error!(role, epoch, %peer, peer_epoch = peer_epoch.get(), "a peer reports detected_broken_config");
            }
            Note::ForcedToStandby { from, to, peer } => warn!(
                role, epoch = from.get(), peer_epoch = to.get(), %peer,
                "this server was fenced by a primary of a higher epoch and becomes a standby"
            ),
            Note::ResponseWithoutRole => warn!(role, epoch, "a peer answered without role and epoch"),
            Note::ResponseBadEpoch => error!(role, epoch, "a peer answered with an epoch that is not one"),
        }
    }
}

/// What few runs come to.
fn tell_rare(event: &Event, effects: &[Effect]) {
    for effect in effects {
        match (event, effect) {
            (Event::Request { .. }, Effect::Log(Note::ForcedToStandby { .. })) => {
                sometimes!("replication.fenced_by_request");
            }
            (Event::Response(_), Effect::Log(Note::ForcedToStandby { .. })) => {
                sometimes!("replication.fenced_by_response");
            }
            (Event::Request { .. }, Effect::Log(Note::TwoPrimaries { .. } | Note::SecondPrimary { .. })) => {
                sometimes!("replication.broken_by_request");
            }
            (Event::Response(_), Effect::Log(Note::TwoPrimaries { .. } | Note::PeerBroken { .. })) => {
                sometimes!("replication.broken_by_response");
            }
            (Event::Request { .. }, Effect::Refuse(Refusal::StalePrimary { .. })) => {
                sometimes!("replication.stale_primary_refused");
            }
            (Event::Request { .. }, Effect::Enter { .. }) if !effects.contains(&Effect::ResetLinks) => {
                sometimes!("replication.newer_primary_accepted");
            }
            (Event::DrainEnded { caught_up: false }, Effect::OpenWriters) => {
                sometimes!("replication.demotion_given_up");
            }
            _ => {}
        }
    }
}

fn not_stored(event: &Event) -> Ended {
    match event {
        Event::Request { .. } => Ended::Refused(Refusal::NotStored),
        Event::Assume { .. } | Event::PreflightEnded { .. } | Event::DrainEnded { .. } => {
            Ended::Failed(AssumeError::NotStored)
        }
        Event::Response(_) | Event::StoreFailed { .. } | Event::RetryStore => Ended::Done,
    }
}
