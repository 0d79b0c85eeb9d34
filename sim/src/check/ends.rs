//! What must be so when everything is over: disks that are whole, and nothing that has grown without end.

use super::answers::{DAMAGED, Damaged};
use super::{ArgKind, Check, Finding, Judge, Needs, Section};
use crate::history::History;

pub const FSCK: Check = Check {
    name: "fsck",
    about: "After everything has stopped, every byte of every disk is right and all that is referred to is there.",
    needs: Needs::Servers,
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| {
        let damage = history.end.fsck.iter().find(|(_, found)| !found.is_empty())?;
        Some((None, format!("the disk of {}: {}", damage.0, damage.1.join("; "))))
    }),
};

pub const DAMAGE_IS_NAMED: Check = Check {
    name: "damage_is_named",
    about: "Who cannot be read at the end, or does not start, has a damaged disk and says so: the file, and the offset where it is damage of what the file holds.",
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    needs: Needs::Servers,
    judge: Judge::Whole(|history, _| damage_is_named(history)),
};

fn damage_is_named(history: &History) -> Finding {
    let mut damaged = Damaged::default();
    for event in &history.events {
        damaged.observe(event);
    }
    let last = history.events.last().map_or(0, |event| event.at);
    let end = &history.end;
    for (servers, what) in [
        (&end.unreadable, "cannot be read at the end"),
        (&end.not_started, "does not start"),
    ] {
        for (server, error) in servers {
            // A start has no code to give.
            let is_told = std::ptr::eq(servers, &end.not_started) || error.contains(DAMAGED);
            let why = if !damaged.explains(server, last) {
                "its disk is right"
            } else if !is_told {
                "its disk is damaged"
            } else if !names_a_place(error, server) {
                "the place of the damage is not named"
            } else {
                continue;
            };
            return Some((None, format!("{server} {what}, and {why}: {error}")));
        }
    }
    None
}

/// Whether an error says which file of the server's disk is meant, and where in it the damage is, unless all of the file
/// is: it is missing, too short, or of another format.
fn names_a_place(error: &str, server: &str) -> bool {
    let Some((_, rest)) = error.split_once(&format!("{server}:/")) else {
        return false;
    };
    let is_damage_within = rest.contains("is damaged") || rest.contains("damage:");
    rest.starts_with(|first: char| !first.is_whitespace()) && (!is_damage_within || rest.contains("offset "))
}

/// With all clients gone, a server's own connections are a few for each peer.
pub const CONNECTIONS_MAX: usize = 40;
/// All servers and clients of a run together.
pub const MEMORY_MAX: u64 = 512 << 20;

pub const BOUNDED: Check = Check {
    name: "bounded",
    about: "When all clients are gone no server holds more than 40 connections, twenty minutes later none has a session, and the run took at most 512 MiB of memory.",
    needs: Needs::Servers,
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
    if let Some((server, count)) = end.sessions.iter().find(|(_, count)| **count > 0) {
        return Some((None, format!("{server} has {count} sessions of clients that are gone")));
    }
    let memory = end.memory_peak.filter(|bytes| *bytes > MEMORY_MAX)?;
    Some((None, format!("the run took {} MiB of memory", memory >> 20)))
}
