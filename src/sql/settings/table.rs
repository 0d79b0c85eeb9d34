//! The settings, one line each.

use super::accepted::ACCEPTED;
use super::{SERVER_VERSION, SERVER_VERSION_NUM};

/// Where a setting's value comes from and what it may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool(&'static str),
    /// Default, least, greatest.
    Integer(i64, i64, i64),
    /// Default, least, greatest.
    Real(f64, f64, f64),
    /// An amount of memory, given with or without a unit: default as it is shown, how many kB one is without a unit, and the
    /// least and greatest number of those.
    Memory(&'static str, i64, i64, i64),
    /// Milliseconds, given with or without a unit: default.
    Milliseconds(&'static str),
    /// Default, allowed words.
    Word(&'static str, &'static [&'static str]),
    Text(&'static str),
    Encoding,
    DateStyle,
    TimeZone,
    Isolation,
    /// Fixed while the server runs.
    Fixed(&'static str),
    /// Read from the server each time; SET is refused.
    Live(Live),
    /// As `Live`, but in a cluster only; unknown (42704) elsewhere.
    Cluster(Live),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Live {
    Role,
    Epoch,
    InHotStandby,
    ReadOnly,
    IsSuperuser,
    SessionAuthorization,
    Port,
    ListenAddresses,
    DataDirectory,
    MaxConnections,
}

pub(super) struct Definition {
    /// In lower case.
    pub key: &'static str,
    /// As SHOW ALL and ParameterStatus spell it.
    pub name: &'static str,
    pub kind: Kind,
    /// Sent to the client as ParameterStatus when it changes.
    pub reported: bool,
    pub description: &'static str,
}

pub(super) const fn setting(name: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition {
        key: name,
        name,
        kind,
        reported: false,
        description,
    }
}

const fn reported(name: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition {
        reported: true,
        ..setting(name, kind, description)
    }
}

/// A setting whose name has capitals.
const fn spelled(name: &'static str, definition: Definition) -> Definition {
    Definition { name, ..definition }
}

pub(super) const ISOLATION_LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MESSAGE_LEVELS: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error", "fatal",
];

/// The table, sorted by lower-case name (a test holds it to that: look-ups are binary searches).
pub(super) static DEFINITIONS: &[Definition] = &[
    reported(
        "application_name",
        Kind::Text(""),
        "Name of the application, as it says itself.",
    ),
    setting(
        "bytea_output",
        Kind::Word("hex", &["hex", "escape"]),
        "How bytea is shown.",
    ),
    setting(
        "check_function_bodies",
        Kind::Bool("on"),
        "Accepted for clients that set it.",
    ),
    reported(
        "client_encoding",
        Kind::Encoding,
        "Encoding of the client's text: always UTF8.",
    ),
    setting(
        "client_min_messages",
        Kind::Word("notice", MESSAGE_LEVELS),
        "Least severe message sent to the client.",
    ),
    setting(
        "data_directory",
        Kind::Live(Live::DataDirectory),
        "Folder that holds the databases.",
    ),
    spelled(
        "DateStyle",
        reported("datestyle", Kind::DateStyle, "How dates are shown (ISO) and read."),
    ),
    setting(
        "default_transaction_deferrable",
        Kind::Bool("off"),
        "Accepted; snapshots never wait.",
    ),
    setting(
        "default_transaction_isolation",
        Kind::Isolation,
        "Isolation of new transactions: always a snapshot.",
    ),
    reported(
        "default_transaction_read_only",
        Kind::Bool("off"),
        "Whether new transactions refuse writes.",
    ),
    setting(
        "dolt_author_date",
        Kind::Text(""),
        "Author's date of version commits; empty: the clock.",
    ),
    setting(
        "dolt_author_email",
        Kind::Text(""),
        "Author's address of version commits; empty: user@host.",
    ),
    setting(
        "dolt_author_name",
        Kind::Text(""),
        "Author of version commits; empty: the user.",
    ),
    setting(
        "dolt_cluster_role",
        Kind::Cluster(Live::Role),
        "This server's role in its cluster.",
    ),
    setting(
        "dolt_cluster_role_epoch",
        Kind::Cluster(Live::Epoch),
        "The epoch this server holds its role at.",
    ),
    setting(
        "dolt_committer_date",
        Kind::Text(""),
        "Committer's date of version commits; empty: the clock.",
    ),
    setting(
        "dolt_committer_email",
        Kind::Text(""),
        "Committer's address of version commits; empty: user@host.",
    ),
    setting(
        "dolt_committer_name",
        Kind::Text(""),
        "Committer of version commits; empty: the user.",
    ),
    setting(
        "escape_string_warning",
        Kind::Bool("on"),
        "Accepted for clients that set it.",
    ),
    setting(
        "extra_float_digits",
        Kind::Integer(1, -15, 3),
        "Floats are always shown with as many digits as they need.",
    ),
    setting(
        "idle_in_transaction_session_timeout",
        Kind::Milliseconds("0"),
        "Accepted; not enforced.",
    ),
    reported(
        "in_hot_standby",
        Kind::Live(Live::InHotStandby),
        "Whether this server is a standby now.",
    ),
    reported(
        "integer_datetimes",
        Kind::Fixed("on"),
        "Times are integers of microseconds.",
    ),
    spelled(
        "IntervalStyle",
        reported(
            "intervalstyle",
            Kind::Word(
                "postgres",
                &["postgres", "postgres_verbose", "sql_standard", "iso_8601"],
            ),
            "How intervals are shown.",
        ),
    ),
    reported(
        "is_superuser",
        Kind::Live(Live::IsSuperuser),
        "Whether the current user is a superuser.",
    ),
    setting("lc_collate", Kind::Fixed("C"), "Text is ordered by its bytes."),
    setting("lc_ctype", Kind::Fixed("C.UTF-8"), "Characters are Unicode's."),
    setting("lc_messages", Kind::Text("C"), "Language of messages: English."),
    setting("lc_monetary", Kind::Text("C"), "Accepted for clients that set it."),
    setting("lc_numeric", Kind::Text("C"), "Accepted for clients that set it."),
    setting("lc_time", Kind::Text("C"), "Accepted for clients that set it."),
    setting(
        "listen_addresses",
        Kind::Live(Live::ListenAddresses),
        "Host this server listens on.",
    ),
    setting(
        "lock_timeout",
        Kind::Milliseconds("0"),
        "Accepted; writers never wait for row locks.",
    ),
    setting(
        "max_connections",
        Kind::Live(Live::MaxConnections),
        "Most client connections at a time.",
    ),
    setting("max_identifier_length", Kind::Fixed("63"), "Longest name."),
    setting("port", Kind::Live(Live::Port), "TCP port this server listens on."),
    setting(
        "read_only",
        Kind::Live(Live::ReadOnly),
        "1 while this server takes no writes.",
    ),
    setting("row_security", Kind::Bool("on"), "Accepted for clients that set it."),
    setting(
        "search_path",
        Kind::Text("\"$user\", public"),
        "Schemas looked through for unqualified names.",
    ),
    reported("server_encoding", Kind::Fixed("UTF8"), "Encoding of stored text."),
    reported(
        "server_version",
        Kind::Fixed(SERVER_VERSION),
        "The version of PostgreSQL whose behaviour is followed.",
    ),
    setting(
        "server_version_num",
        Kind::Fixed(SERVER_VERSION_NUM),
        "The same as a number.",
    ),
    reported(
        "session_authorization",
        Kind::Live(Live::SessionAuthorization),
        "The user who logged in.",
    ),
    reported(
        "standard_conforming_strings",
        Kind::Word("on", &["on"]),
        "Backslashes in '...' are ordinary characters.",
    ),
    setting(
        "statement_timeout",
        Kind::Milliseconds("0"),
        "Longest a statement may run; 0: as long as it takes.",
    ),
    setting(
        "synchronous_commit",
        Kind::Word("on", &["on", "remote_apply", "remote_write", "local", "off"]),
        "Accepted; commits are always synced.",
    ),
    spelled(
        "TimeZone",
        reported(
            "timezone",
            Kind::TimeZone,
            "Zone in which timestamptz is shown and read.",
        ),
    ),
    setting(
        "transaction_deferrable",
        Kind::Bool("off"),
        "Accepted; snapshots never wait.",
    ),
    setting(
        "transaction_isolation",
        Kind::Isolation,
        "Isolation of this transaction: always a snapshot.",
    ),
    setting(
        "transaction_read_only",
        Kind::Bool("off"),
        "Whether this transaction refuses writes.",
    ),
    setting(
        "xmloption",
        Kind::Word("content", &["content", "document"]),
        "Accepted for clients that set it.",
    ),
];

/// Every statement asks for several. By the name in lower case.
pub(super) fn definition(key: &str) -> Option<&'static Definition> {
    [DEFINITIONS, ACCEPTED].into_iter().find_map(|table| {
        let found = table.binary_search_by_key(&key, |definition| definition.key);
        found.ok().map(|index| &table[index])
    })
}

/// Every setting there is, by no order.
pub(super) fn definitions() -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().chain(ACCEPTED)
}
