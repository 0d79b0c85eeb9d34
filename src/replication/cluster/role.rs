//! Role and epoch of this server, and how they may change.
//!
//! A pure state machine: [`RoleMachine::step`] takes one event and returns the machine afterwards together with the
//! effects to carry out, in order. Where the effects hold a [`Effect::Store`], the machine afterwards becomes the
//! machine only when that succeeded.
//!
//! Invariants
//! - `epoch` never decreases, and neither does the epoch of the accepted primary, which is at most `epoch`.
//! - Within one epoch the role changes only to detected_broken_config; every other change raises the epoch.
//! - No path leads to primary except an operator's request.
//! - What may be seen was stored: the machine afterwards is seen once [`Effect::Store`] succeeded. Writers of a server
//!   that gives up its role are out before it, and writers of a new primary come in after it.
//!
//! Must not know: sockets, SQL, disks, the clock. Time arrives as an event.
//!
//! Source: spec/cluster.md section 2; the rows are named where they are decided.

use std::cmp::Ordering;

use super::identity::{AcceptedPrimary, Epoch, Role, ServerId};

mod effect;
mod event;

pub use effect::{AssumeError, Effect, Note, OnStoreFailure, Refusal, Spare};
pub use event::{Event, Response};

/// All that this server remembers of its cluster across a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub server: ServerId,
    pub role: Role,
    pub epoch: Epoch,
    /// The primary of the highest epoch that this server ever accepted. A server that is primary accepts itself.
    pub accepted: Option<AcceptedPrimary>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMachine {
    standing: Standing,
    /// An operator asked for the role of standby, and the answer is being worked out.
    demotion: Option<Demotion>,
    /// A demotion whose record could not be written. Writers stay out until it can.
    unstored: Option<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Demotion {
    epoch: Epoch,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody has been disturbed yet: are the standbys there at all?
    Preflight,
    /// Writers are out; the standbys receive what is left.
    Draining,
}

/// A step's outcome: the machine afterwards, and what to do.
pub type Step = (RoleMachine, Vec<Effect>);

impl RoleMachine {
    pub fn new(standing: Standing) -> RoleMachine {
        RoleMachine {
            standing,
            demotion: None,
            unstored: None,
        }
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    #[cfg(test)]
    fn role(&self) -> Role {
        self.standing.role
    }

    fn epoch(&self) -> Epoch {
        self.standing.epoch
    }

    /// A demotion was decided and could not be stored.
    pub fn is_stuck(&self) -> bool {
        self.unstored.is_some()
    }

    #[must_use]
    pub fn step(&self, event: &Event) -> Step {
        match event {
            Event::Assume { role, epoch } => self.on_assume(role, *epoch),
            Event::PreflightEnded { confirmed } => self.on_preflight(*confirmed),
            Event::DrainEnded { caught_up } => self.on_drained(*caught_up),
            Event::Request { peer, role, epoch } => self.on_request(*peer, *role, *epoch),
            Event::Response(response) => self.on_response(response),
            Event::StoreFailed { wanted } => {
                // What was under way has failed with it: nothing that still reports may let writers in again.
                let stuck = RoleMachine {
                    demotion: None,
                    unstored: Some(*wanted),
                    ..self.clone()
                };
                (stuck, vec![])
            }
            Event::RetryStore => self.on_retry(),
        }
    }

    /// 2.4, checks in its order.
    fn on_assume(&self, word: &str, epoch: i64) -> Step {
        let (mine, role) = (self.standing.epoch, word.to_owned());
        if word == Role::DetectedBrokenConfig.as_str() {
            return self.fail(AssumeError::BrokenNotAssignable);
        }
        let wanted = Role::parse(word);
        let order = epoch.cmp(&mine.as_i64());
        if wanted == Some(self.standing.role) && order == Ordering::Equal {
            return self.unchanged(vec![Effect::Succeed]);
        }
        let Some(wanted) = wanted else {
            return self.fail(AssumeError::UnknownRole { role });
        };
        match order {
            Ordering::Less => {
                return self.fail(AssumeError::StaleEpoch {
                    role,
                    epoch,
                    current: mine,
                });
            }
            Ordering::Equal => {
                return self.fail(AssumeError::OtherRoleAtEpoch {
                    role,
                    epoch,
                    current: self.standing.role,
                });
            }
            Ordering::Greater => {}
        }
        let Some(to) = u64::try_from(epoch).ok().and_then(Epoch::new) else {
            return self.fail(AssumeError::EpochTooHigh { role, epoch });
        };
        if self.is_stuck() {
            return self.fail(AssumeError::NotStored);
        }
        if self.demotion.is_some() {
            return self.fail(AssumeError::AnotherInProgress);
        }
        match (self.standing.role, wanted) {
            (Role::Primary, Role::Primary) | (Role::Standby, Role::Standby) => self.bump(to),
            (Role::Primary, Role::Standby) => {
                let demotion = Some(Demotion {
                    epoch: to,
                    phase: Phase::Preflight,
                });
                (
                    RoleMachine {
                        demotion,
                        ..self.clone()
                    },
                    vec![Effect::Preflight],
                )
            }
            (Role::Standby | Role::DetectedBrokenConfig, Role::Primary) => self.promote(to),
            (Role::DetectedBrokenConfig, Role::Standby) => self.leave_broken(to),
            (_, Role::DetectedBrokenConfig) => self.fail(AssumeError::BrokenNotAssignable),
        }
    }

    fn bump(&self, to: Epoch) -> Step {
        let accepted = match self.standing.role {
            Role::Primary => Some(AcceptedPrimary {
                epoch: to,
                server: self.standing.server,
            }),
            _ => self.standing.accepted,
        };
        let (machine, store) = self.stored(
            Standing {
                epoch: to,
                accepted,
                ..self.standing
            },
            OnStoreFailure::Abandon,
        );
        let enter = machine.enter();
        (machine, vec![store, enter, Effect::Succeed])
    }

    /// Writers come in last: what they write belongs to an epoch that is already stored.
    fn promote(&self, to: Epoch) -> Step {
        let accepted = Some(AcceptedPrimary {
            epoch: to,
            server: self.standing.server,
        });
        let standing = Standing {
            role: Role::Primary,
            epoch: to,
            accepted,
            ..self.standing
        };
        let (machine, store) = self.stored(standing, OnStoreFailure::Abandon);
        let enter = machine.enter();
        let effects = vec![
            Effect::KillSessions { spare: Spare::Caller },
            Effect::AwaitWriters,
            store,
            enter,
            Effect::ResetLinks,
            Effect::OpenWriters,
            Effect::TaintCaller,
            Effect::Succeed,
        ];
        (machine, effects)
    }

    /// A broken server's writers are out already, and there is nothing to wait for.
    fn leave_broken(&self, to: Epoch) -> Step {
        let standing = Standing {
            role: Role::Standby,
            epoch: to,
            ..self.standing
        };
        let (machine, store) = self.stored(standing, OnStoreFailure::Abandon);
        let enter = machine.enter();
        let effects = vec![
            Effect::KillSessions { spare: Spare::Caller },
            store,
            enter,
            Effect::ResetLinks,
            Effect::TaintCaller,
            Effect::Succeed,
        ];
        (machine, effects)
    }

    /// 3.3: without the standbys' confirmation the call fails before anybody was disturbed.
    fn on_preflight(&self, confirmed: bool) -> Step {
        let Some(Demotion {
            epoch,
            phase: Phase::Preflight,
        }) = self.demotion
        else {
            return self.superseded();
        };
        if !confirmed {
            return self.without_demotion(vec![Effect::Fail(AssumeError::NotCaughtUp {
                current: self.standing.epoch,
            })]);
        }
        let machine = RoleMachine {
            demotion: Some(Demotion {
                epoch,
                phase: Phase::Draining,
            }),
            ..self.clone()
        };
        let effects = vec![
            Effect::CloseWriters,
            Effect::KillSessions { spare: Spare::Caller },
            Effect::AwaitWriters,
            Effect::Drain,
        ];
        (machine, effects)
    }

    fn on_drained(&self, caught_up: bool) -> Step {
        let Some(Demotion {
            epoch,
            phase: Phase::Draining,
        }) = self.demotion
        else {
            return self.superseded();
        };
        if !caught_up {
            return self.without_demotion(vec![
                Effect::OpenWriters,
                Effect::KillSessions { spare: Spare::Caller },
                Effect::Fail(AssumeError::NotCaughtUp {
                    current: self.standing.epoch,
                }),
            ]);
        }
        let standing = Standing {
            role: Role::Standby,
            epoch,
            ..self.standing
        };
        let (machine, store) = self.stored(standing, OnStoreFailure::StayClosed);
        let enter = machine.enter();
        (
            machine,
            vec![store, enter, Effect::ResetLinks, Effect::TaintCaller, Effect::Succeed],
        )
    }

    /// 2.5.
    fn on_request(&self, peer: ServerId, role: Option<Role>, epoch: Option<Epoch>) -> Step {
        let mine = self.standing.epoch;
        let Some(theirs) = epoch else {
            return self.refuse(Refusal::BadEpoch);
        };
        if peer == self.standing.server {
            return self.refuse(Refusal::OwnId { server: peer });
        }
        if role != Some(Role::Primary) {
            return match self.standing.role {
                Role::Primary => self.refuse(Refusal::IsPrimary { epoch: mine }), // I10 to I12
                Role::Standby => self.refuse(Refusal::PeerNotPrimary { epoch: mine }), // I13 to I15
                Role::DetectedBrokenConfig => self.refuse(Refusal::IsBroken { epoch: mine }), // I16 to I18
            };
        }
        let from_peer = AcceptedPrimary {
            epoch: theirs,
            server: peer,
        };
        match (self.standing.role, theirs.cmp(&mine)) {
            (Role::Primary, Ordering::Less) => self.refuse(Refusal::IsPrimary { epoch: mine }), // I1
            (Role::Primary, Ordering::Equal) => self.break_at(
                mine,
                Note::TwoPrimaries { peer, epoch: mine },
                Some(Effect::Refuse(Refusal::IsBroken { epoch: mine })),
            ), // I2
            (Role::Primary, Ordering::Greater) => self.follow(from_peer, peer, Some(Effect::Serve)), // I3
            (Role::Standby, Ordering::Less) => self.refuse(Refusal::StalePrimary { mine, theirs }), // I4
            (Role::Standby, Ordering::Equal) => self.accept_at_own_epoch(from_peer),            // I5
            (Role::Standby, Ordering::Greater) => self.accept(from_peer),                       // I6: nobody is killed
            (Role::DetectedBrokenConfig, Ordering::Less | Ordering::Equal) => {
                self.refuse(Refusal::IsBroken { epoch: mine }) // I7, I8
            }
            (Role::DetectedBrokenConfig, Ordering::Greater) => self.follow(from_peer, peer, Some(Effect::Serve)), // I9
        }
    }

    fn accept_at_own_epoch(&self, primary: AcceptedPrimary) -> Step {
        match self.standing.accepted {
            Some(known) if known == primary => self.unchanged(vec![Effect::Serve]),
            Some(known) if known.epoch == primary.epoch => {
                let note = Note::SecondPrimary {
                    accepted: known.server,
                    peer: primary.server,
                    epoch: primary.epoch,
                };
                let refusal = Refusal::IsBroken {
                    epoch: self.standing.epoch,
                };
                self.break_at(self.standing.epoch, note, Some(Effect::Refuse(refusal)))
            }
            _ => self.accept(primary),
        }
    }

    /// A standby takes a primary at its own or a higher epoch. Stored before it is served, so that a second primary of
    /// that epoch is noticed after a restart too.
    fn accept(&self, primary: AcceptedPrimary) -> Step {
        let standing = Standing {
            epoch: primary.epoch,
            accepted: Some(primary),
            ..self.standing
        };
        let (machine, store) = self.stored(standing, OnStoreFailure::Abandon);
        let mut effects = vec![store];
        if machine.epoch() != self.epoch() {
            effects.push(machine.enter());
        }
        effects.push(Effect::Serve);
        (machine, effects)
    }

    /// 2.6. Only a primary learns anything from answers.
    fn on_response(&self, response: &Response) -> Step {
        if self.standing.role != Role::Primary {
            return self.unchanged(vec![]);
        }
        let (peer, role, theirs, accepted) = match response {
            Response::WithoutRole => return self.unchanged(vec![Effect::Log(Note::ResponseWithoutRole)]), // R10
            Response::BadEpoch => return self.unchanged(vec![Effect::Log(Note::ResponseBadEpoch)]),       // R11
            Response::Member { peer, .. } if *peer == self.standing.server => return self.unchanged(vec![]),
            Response::Member {
                peer,
                role,
                epoch,
                accepted,
            } => (*peer, *role, *epoch, *accepted),
        };
        let mine = self.standing.epoch;
        match (role, theirs.cmp(&mine)) {
            (Role::Primary, Ordering::Equal) => {
                return self.break_at(mine, Note::TwoPrimaries { peer, epoch: mine }, None); // R2
            }
            (Role::Primary, Ordering::Greater) => {
                return self.follow(
                    AcceptedPrimary {
                        epoch: theirs,
                        server: peer,
                    },
                    peer,
                    None,
                ); // R3
            }
            (Role::DetectedBrokenConfig, Ordering::Equal | Ordering::Greater) => {
                return self.break_at(theirs, Note::PeerBroken { peer, epoch: theirs }, None); // R8, R9
            }
            (Role::Primary | Role::DetectedBrokenConfig, Ordering::Less) => {} // R1, R7
            (Role::Standby, _) => {}                                           // R4 to R6
        }
        match accepted {
            Some(evidence) if evidence.epoch > mine && evidence.server != self.standing.server => {
                self.follow(evidence, peer, None) // R6, evidence rule
            }
            _ => self.unchanged(vec![]),
        }
    }

    /// Immediate: this server was primary or broken, and there is a primary at a higher epoch.
    fn follow(&self, primary: AcceptedPrimary, peer: ServerId, last: Option<Effect>) -> Step {
        assert!(
            primary.epoch > self.standing.epoch,
            "a server follows only a higher epoch"
        );
        let standing = Standing {
            role: Role::Standby,
            epoch: primary.epoch,
            accepted: Some(primary),
            ..self.standing
        };
        let note = Note::ForcedToStandby {
            from: self.standing.epoch,
            to: primary.epoch,
            peer,
        };
        self.immediate(standing, note, last)
    }

    fn break_at(&self, epoch: Epoch, note: Note, last: Option<Effect>) -> Step {
        assert!(epoch >= self.standing.epoch, "epochs never decrease");
        self.immediate(
            Standing {
                role: Role::DetectedBrokenConfig,
                epoch,
                ..self.standing
            },
            note,
            last,
        )
    }

    /// Writers out, every session killed, stored, and only then may anybody see it. Nothing is replicated first.
    fn immediate(&self, standing: Standing, note: Note, last: Option<Effect>) -> Step {
        let (machine, store) = self.stored(standing, OnStoreFailure::StayClosed);
        let enter = machine.enter();
        let mut effects = vec![
            Effect::Log(note),
            Effect::CloseWriters,
            Effect::KillSessions { spare: Spare::Nobody },
            Effect::AwaitWriters,
            store,
            enter,
            Effect::ResetLinks,
        ];
        effects.extend(last);
        (machine, effects)
    }

    fn on_retry(&self) -> Step {
        let Some(standing) = self.unstored else {
            return self.unchanged(vec![]);
        };
        let (machine, store) = self.stored(standing, OnStoreFailure::StayClosed);
        let enter = machine.enter();
        (machine, vec![store, enter, Effect::ResetLinks])
    }

    /// The machine with another standing, which ends whatever was under way.
    fn stored(&self, standing: Standing, on_failure: OnStoreFailure) -> (RoleMachine, Effect) {
        assert!(standing.epoch >= self.standing.epoch, "epochs never decrease");
        (RoleMachine::new(standing), Effect::Store { standing, on_failure })
    }

    fn enter(&self) -> Effect {
        Effect::Enter {
            role: self.standing.role,
            epoch: self.standing.epoch,
        }
    }

    fn unchanged(&self, effects: Vec<Effect>) -> Step {
        (self.clone(), effects)
    }

    fn without_demotion(&self, effects: Vec<Effect>) -> Step {
        (
            RoleMachine {
                demotion: None,
                ..self.clone()
            },
            effects,
        )
    }

    fn fail(&self, error: AssumeError) -> Step {
        self.unchanged(vec![Effect::Fail(error)])
    }

    fn superseded(&self) -> Step {
        self.fail(AssumeError::Superseded {
            epoch: self.standing.epoch,
        })
    }

    fn refuse(&self, refusal: Refusal) -> Step {
        self.unchanged(vec![Effect::Refuse(refusal)])
    }
}

#[cfg(test)]
mod tests;
