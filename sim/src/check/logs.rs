//! What servers say about themselves.

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
            What::Panic { message } => Some(format!("{} panicked: {message}", event.node)),
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
