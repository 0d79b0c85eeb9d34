//! What a check needs to have anything to judge: a scenario that asks for one that cannot fail is refused.
//!
//! Must not know: how a check judges.

use crate::plan::Plan;
use crate::workload::{append, bank, ddl, large, unique, version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Servers,
    /// A storage engine on its own.
    Storage,
    /// A workload of one of these kinds.
    Workload(&'static [&'static str]),
}

/// Those that say of each write what must be found at the end.
pub const WRITERS: Needs = Needs::Workload(&[
    append::KIND.name,
    bank::KIND.name,
    unique::KIND.name,
    large::KIND.name,
    version::KIND.name,
    ddl::KIND.name,
]);

/// What there is to judge.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// A storage engine on its own, and no servers.
    pub storage: bool,
    /// The kinds of the workloads.
    pub kinds: Vec<&'a str>,
}

impl Subject<'_> {
    pub fn of(plan: &Plan) -> Subject<'_> {
        Subject {
            storage: plan.storage.is_some(),
            kinds: plan.workload.iter().map(|workload| workload.spec.kind).collect(),
        }
    }

    /// What is not there, in words.
    pub fn lacks(&self, needs: Needs) -> Option<String> {
        let (met, what) = match needs {
            Needs::Nothing => (true, String::new()),
            Needs::Servers => (!self.storage, "servers".to_owned()),
            Needs::Storage => (self.storage, "`storage:`, an engine on its own".to_owned()),
            Needs::Workload(kinds) => (
                self.kinds.iter().any(|kind| kinds.contains(kind)),
                match kinds {
                    [kind] => format!("the workload {kind}"),
                    _ => format!("a workload of {}", kinds.join(", ")),
                },
            ),
        };
        (!met).then_some(what)
    }
}
