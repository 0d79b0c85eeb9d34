//! Every key of the configuration file, once: shape, default, help, and whether this version supports it.
//!
//! Reading, suggestions for misspelt keys, `--config-help` and the tests all walk this table, so a key cannot exist in
//! one of them only. Source: spec/config.md 3 and spec/cluster.md 1.2.

/// One key. `[]` in the path stands for each entry of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub path: &'static str,
    pub kind: Kind,
    /// As it would be written; empty for keys without a default.
    pub default: &'static str,
    pub help: &'static str,
    pub support: Support,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that no message and no listing shows.
    Secret,
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// One of these words; an empty text is the default.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A mapping from names to scalars.
    Scalars,
    /// Not looked into: a part of the file that belongs to a feature this version lacks.
    Anything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    Full,
    /// Accepted without effect, for this reason; a warning when set.
    Ignored(&'static str),
    /// Setting it to anything but its default needs this feature; an error.
    Missing(&'static str),
}

use Kind::{Anything, Bool, Scalars, Secret, Text, Texts, Word};
use Support::{Full, Ignored, Missing};

const fn key(path: &'static str, kind: Kind, default: &'static str, support: Support, help: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        help,
        support,
    }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

pub(super) const LOG_LEVELS: &[&str] = &["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];
pub(super) const BOOTSTRAP_ROLES: &[&str] = &["primary", "standby"];

const PORT_MAX: i64 = u16::MAX as i64;
const MILLIS_MAX: i64 = i64::MAX / 1_000_000;
/// Each connection costs a task and two buffers; beyond this the machine, not the key, is the limit.
const CONNECTIONS_MAX: i64 = 100_000;
const ROLES_ELSEWHERE: &str = "a file of its own for roles and grants (they live in the data folder's system database)";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("log_level", Word(LOG_LEVELS), "info", Full, "What is logged to standard error; RUST_LOG, when set, wins"),
    key("max_query_len_in_logs", int(0, i64::MAX), "0", Full, "Logged SQL is cut to this many bytes; 0 does not cut"),
    key("encode_logged_query", Bool, "false", Missing("encoding of logged queries"), "Log SQL in base64"),
    key("data_dir", Text, "", Full, "Where databases live; relative to the working directory"),
    key("cfg_dir", Text, "", Missing("a control folder elsewhere (it is <data_dir>/.understudy)"), "Control folder"),
    key("auth_file", Text, "", Missing(ROLES_ELSEWHERE), "Roles and grants"),
    key("privilege_file", Text, "", Ignored("privileges live in the data folder's system database"), "Elder privilege store"),
    key("branch_control_file", Text, "", Missing("branch permissions"), "Branch permissions"),
    key("system_variables", Scalars, "", Full, "Settings applied before databases load, name: value"),
    key("user_session_vars", Anything, "", Missing("session defaults per user"), "Session defaults per user"),
    key("jwks", Anything, "", Missing("login by token"), "Token login"),
    key("golden_mysql_conn", Text, "", Ignored("it is internal to another product"), "Internal"),

    key("behavior.read_only", Bool, "false", Full, "Refuse every write with 25006"),
    key("behavior.disable_client_multi_statements", Bool, "false", Missing("refusing several statements in one query"), "One statement per simple query"),
    key("behavior.dolt_transaction_commit", Bool, "false", Missing("a version commit for each transaction"), "Every COMMIT is also a version commit"),
    key("behavior.auto_gc_behavior.enable", Bool, "true", Full, "Collect garbage automatically"),
    key("behavior.auto_gc_behavior.log_bytes_min", int(1, i64::MAX), "134217728", Full, "A log shorter than this is left alone"),
    key("behavior.auto_gc_behavior.growth_percent", int(1, 10_000), "50", Full, "Due when the log has this share of what was alive"),
    key("behavior.auto_gc_behavior.archive_level", int(0, 1), "1", Ignored("chunks are compressed as they are written"), "Compression of archives"),
    key("behavior.auto_gc_behavior.incremental_file_size", int(0, i64::MAX), "0", Ignored("every collection copies only what it must"), "Bytes of one incremental file"),

    key("listener.host", Text, "localhost", Full, "localhost or an IP address; 0.0.0.0 for all"),
    key("listener.port", int(0, PORT_MAX), "5432", Full, "SQL port; 0 takes a free one, told in the ready line"),
    key("listener.max_connections", int(1, CONNECTIONS_MAX), "100", Full, "More are refused with 53300"),
    key("listener.read_timeout_millis", int(0, MILLIS_MAX), "28800000", Full, "A connection silent this long is closed; 0 never"),
    key("listener.write_timeout_millis", int(0, MILLIS_MAX), "28800000", Full, "A client that takes nothing this long is closed; 0 never"),
    key("listener.tls_key", Text, "", Missing("TLS on the SQL port"), "PEM private key; with tls_cert"),
    key("listener.tls_cert", Text, "", Missing("TLS on the SQL port"), "PEM certificate chain; with tls_key"),
    key("listener.require_secure_transport", Bool, "false", Missing("TLS on the SQL port"), "Refuse clear connections"),
    key("listener.allow_cleartext_passwords", Bool, "false", Missing("clear-text passwords (SCRAM-SHA-256 is always used)"), "Allow clear-text passwords"),
    key("listener.socket", Text, "", Missing("Unix sockets"), "Unix socket"),

    key("user.name", Text, "postgres", Full, "First superuser, made when the data folder is new"),
    key("user.password", Secret, "password", Full, "Its password"),
    key("performance.cache_bytes", int(0, i64::MAX), "0", Full, "Chunks kept in memory; 0 takes a quarter of it, at most 4 GiB"),
    key("performance.query_memory_bytes", int(1 << 20, i64::MAX), "536870912", Full, "What sorts, groups and joins of all queries may hold together; more is refused with 53200"),
    key("performance.query_parallelism", int(0, i64::MAX), "", Ignored("parallelism follows the machine"), "Accepted for compatibility"),

    key("metrics.host", Text, "", Full, "Empty is off"),
    key("metrics.port", int(-1, PORT_MAX), "-1", Full, "0 or less is off"),
    key("metrics.labels", Scalars, "", Ignored("this version publishes no metrics"), "Added to every series"),
    key("metrics.tls_cert", Text, "", Missing("metrics"), "PEM certificate chain"),
    key("metrics.tls_key", Text, "", Missing("metrics"), "PEM private key"),
    key("metrics.tls_ca", Text, "", Missing("metrics"), "PEM CA certificates"),
    key("metrics.disabled", Bool, "false", Ignored("there is no usage telemetry to disable"), "Elder telemetry switch"),

    key("remotesapi.port", int(0, PORT_MAX), "", Missing("serving databases as remotes"), "Serve databases as remotes"),
    key("remotesapi.read_only", Bool, "false", Missing("serving databases as remotes"), "No pushes"),
    key("postgres_replication", Anything, "", Missing("replication from PostgreSQL"), "Follow a PostgreSQL primary"),

    key("cluster.standby_remotes[].name", Text, "", Full, "Name of this standby; unique"),
    key("cluster.standby_remotes[].remote_url_template", Text, "", Full, "http://HOST:PORT/{database}"),
    key("cluster.bootstrap_role", Word(BOOTSTRAP_ROLES), "primary", Full, "Role of a server that has none stored"),
    key("cluster.bootstrap_epoch", int(0, i64::MAX), "0", Full, "Epoch of a server that has none stored"),
    key("cluster.remotesapi.address", Text, "", Full, "Address to listen on; empty for all of IPv4"),
    key("cluster.remotesapi.port", int(1, PORT_MAX), "", Full, "Port peers replicate to; must match their templates"),
    key("cluster.remotesapi.tls_key", Text, "", Missing("TLS on the cluster port"), "PEM private key; with tls_cert"),
    key("cluster.remotesapi.tls_cert", Text, "", Missing("TLS on the cluster port"), "PEM certificate chain; with tls_key"),
    key("cluster.remotesapi.tls_ca", Text, "", Missing("TLS on the cluster port"), "PEM CA certificates for outbound connections"),
    key("cluster.remotesapi.server_name_urls", Texts, "", Missing("TLS on the cluster port"), "Accepted URI names of peers; with tls_ca"),
    key("cluster.remotesapi.server_name_dns", Texts, "", Missing("TLS on the cluster port"), "Accepted DNS names of peers; with tls_ca"),
];

/// The key at this schema path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether `path` is a mapping (or, with `[]`, a list of mappings) that contains keys.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter()
        .any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The names that may stand directly in section `path` (empty for the top).
fn names_in(path: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let rest = if path.is_empty() {
            key.path
        } else {
            key.path.strip_prefix(path)?.strip_prefix('.')?
        };
        rest.split(['.', '[']).next()
    })
}

/// The valid key nearest to the misspelt `name` found in section `path`: first among its neighbours, then a key of
/// exactly that name elsewhere.
pub(super) fn suggestion(path: &str, name: &str) -> Option<String> {
    let name = name.to_lowercase();
    // Half of the letters wrong is another word, not a misspelling.
    let distance_max = (name.chars().count() / 3).max(1);
    let neighbour = names_in(path)
        .map(|candidate| (strsim::damerau_levenshtein(candidate, &name), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min();
    if let Some((_, candidate)) = neighbour {
        return Some(if path.is_empty() {
            candidate.to_owned()
        } else {
            format!("{path}.{candidate}")
        });
    }
    let suffix = format!(".{name}");
    KEYS.iter()
        .find(|key| key.path.ends_with(&suffix))
        .map(|key| key.path.to_owned())
}

/// What may be written for a key, for messages.
pub(super) fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret => "text".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Int {
            min,
            max: i64::MAX | MILLIS_MAX,
        } => format!("an integer, {min} or more"),
        Kind::Int { min, max } => format!("an integer from {min} to {max}"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::Scalars => "a mapping of names to single values".to_owned(),
        Kind::Anything => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn paths_are_unique_and_no_key_is_also_a_section() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert!(!is_section(key.path), "{}", key.path);
        }
    }

    #[test]
    fn suggestions_prefer_neighbours() {
        let cases = [
            ("cluster", "boostrap_role", Some("cluster.bootstrap_role")),
            ("cluster", "boostrap_epoch", Some("cluster.bootstrap_epoch")),
            ("", "listner", Some("listener")),
            ("", "cluser", Some("cluster")),
            ("listener", "prot", Some("listener.port")),
            ("", "max_connections", Some("listener.max_connections")),
            ("", "bootstrap_role", Some("cluster.bootstrap_role")),
            ("cluster.standby_remotes[]", "url_template", None),
            ("", "completely_else", None),
        ];
        for (section, name, expected) in cases {
            assert_eq!(suggestion(section, name).as_deref(), expected, "{section} {name}");
        }
    }
}
