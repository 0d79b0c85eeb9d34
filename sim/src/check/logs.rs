//! What servers say about themselves, and what no run may come to whatever its scenario lists.

use super::{Arg, ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{Event, Level, Outcome, What};

pub const CLEAN_LOGS: Check = Check {
    name: "clean_logs",
    about: "No panic, and no log line of level error except those whose message contains one of the named texts.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::Texts,
    arg_optional: true,
    judge: Judge::Running(|arg| {
        let allowed = match arg {
            Arg::Texts(texts) => texts.clone(),
            _ => Vec::new(),
        };
        Box::new(CleanLogs { allowed })
    }),
};

struct CleanLogs {
    allowed: Vec<String>,
}

impl Watch for CleanLogs {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Panic { .. } => panicked(event),
            What::Log {
                level: Level::Error,
                message,
                fields,
            } => {
                let allowed = self.allowed.iter().any(|text| message.contains(text));
                (!allowed).then(|| format!("{} logged an error: {message} {fields}", event.node))
            }
            _ => None,
        }
    }
}

fn panicked(event: &Event) -> Option<String> {
    match &event.what {
        What::Panic { message } => Some(format!("{} panicked: {message}", event.node)),
        _ => None,
    }
}

pub const NO_PANIC: Check = Check {
    name: "no_panic",
    about: "Nothing panics.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(NoPanic)),
};

struct NoPanic;

impl Watch for NoPanic {
    fn observe(&mut self, event: &Event) -> Option<String> {
        panicked(event)
    }
}

pub const NO_INTERNAL_ERROR: Check = Check {
    name: "no_internal_error",
    about: "No client is told of an internal error, XX000.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(NoInternalError)),
};

const INTERNAL: &str = "XX000";

struct NoInternalError;

impl Watch for NoInternalError {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Return {
                op,
                outcome: Outcome::Failed { sqlstate },
            } if sqlstate == INTERNAL => Some(format!("#{op} of {} failed with {INTERNAL}", event.node)),
            What::Return {
                op,
                outcome: Outcome::Unknown { why },
            } if why.starts_with(INTERNAL) => Some(format!("#{op} of {} ended with {INTERNAL}", event.node)),
            _ => None,
        }
    }
}
