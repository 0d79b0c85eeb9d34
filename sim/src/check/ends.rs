//! What must be so when everything is over: disks that are whole, and nothing that has grown without end.

use super::{ArgKind, Check, Finding, Judge, Section};
use crate::history::History;

pub const FSCK: Check = Check {
    name: "fsck",
    about: "After everything has stopped, every byte of every disk is right and all that is referred to is there.",
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| {
        let damage = history.end.fsck.iter().find(|(_, found)| !found.is_empty())?;
        Some((None, format!("the disk of {}: {}", damage.0, damage.1.join("; "))))
    }),
};

/// With all clients gone, a server's own connections are a few for each peer.
pub const CONNECTIONS_MAX: usize = 40;
/// All servers and clients of a run together.
pub const MEMORY_MAX: u64 = 512 << 20;

pub const BOUNDED: Check = Check {
    name: "bounded",
    about: "When all clients are gone no server holds more than 40 connections, and the run took at most 512 MiB of memory.",
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| bounded(history)),
};

fn bounded(history: &History) -> Finding {
    let end = &history.end;
    let many = end.connections.iter().find(|(_, count)| **count > CONNECTIONS_MAX);
    if let Some((server, count)) = many {
        return Some((
            None,
            format!("{server} holds {count} connections when all clients are gone"),
        ));
    }
    let memory = end.memory_peak.filter(|bytes| *bytes > MEMORY_MAX)?;
    Some((None, format!("the run took {} MiB of memory", memory >> 20)))
}
