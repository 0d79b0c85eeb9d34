//! What servers say about themselves, and what no run may come to whatever its scenario lists.

use super::{Arg, ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{Event, Level, What};

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

pub const NO_OVERFLOW: Check = Check {
    name: "no_overflow",
    about: "No queue of a server becomes longer than the server says it may.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(NoOverflow)),
};

struct NoOverflow;

impl Watch for NoOverflow {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Overflow { queue } => Some(format!("{}: {queue}", event.node)),
            _ => None,
        }
    }
}
