//! The checked configuration: plain data, every value already in range.

use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;

/// Everything an operator decided, from all sources, after validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub log_level: LogLevel,
    /// Longest SQL text written to the log, in bytes; 0 is unlimited.
    pub max_query_len_in_logs: u64,
    pub data_dir: PathBuf,
    pub behavior: Behavior,
    /// How much memory chunks may take that were read; `None` leaves it to the server.
    pub cache_bytes: Option<u64>,
    pub listener: Listener,
    pub user: FirstUser,
    /// The database created in an empty data folder.
    pub first_database: String,
    /// What the queries of all sessions may hold together.
    pub query_memory_bytes: u64,
    /// Applied before databases load. Names are lower-case; the values are as written.
    pub system_variables: IndexMap<String, String>,
    pub cluster: Option<ClusterConfig>,
    /// What was accepted but has no effect, to be logged once at start.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Refuses every write with 25006, in every role.
    pub read_only: bool,
    /// When garbage is collected without being asked; `None` never.
    pub auto_gc: Option<AutoGc>,
}

/// A collection is due when the log has at least `log_bytes_min`, and at least this share of what was alive before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoGc {
    pub log_bytes_min: u64,
    pub growth_percent: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub host: String,
    /// 0 takes a free port, told in the ready line.
    pub port: u16,
    /// More connections than this are refused with 53300.
    pub max_connections: u32,
    /// A connection silent for this long is closed; 0 never.
    pub read_timeout_millis: u64,
    /// A client that takes nothing for this long is closed; 0 never.
    pub write_timeout_millis: u64,
}

/// The superuser made in an empty data folder; ignored when the folder has roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstUser {
    pub name: String,
    pub password: Secret,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Source: spec/cluster.md 1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Never empty; names and endpoints are unique.
    pub standby_remotes: Vec<StandbyRemote>,
    pub bootstrap_role: BootstrapRole,
    pub bootstrap_epoch: u64,
    pub remotesapi: ClusterListener,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyRemote {
    pub name: String,
    /// As written, `{database}` included.
    pub remote_url_template: String,
    /// The parts of the template that a connection needs.
    pub endpoint: Endpoint,
}

/// Where a standby remote listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Without the brackets of an IPv6 literal.
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// `host:port` as a socket address wants it, an IPv6 literal in brackets.
    pub fn authority(&self) -> String {
        join_host_port(&self.host, self.port)
    }
}

/// `host:port`, with brackets where the host is an IPv6 literal.
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// What a server that has no stored role starts as; `detected_broken_config` is never configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapRole {
    Primary,
    Standby,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterListener {
    /// Empty is every IPv4 interface; `::` is every interface of both families. An IPv6 literal has no brackets.
    pub address: String,
    pub port: u16,
}

impl ClusterListener {
    /// The address to bind, `host:port`.
    pub fn bind_address(&self) -> String {
        let host = if self.address.is_empty() {
            "0.0.0.0"
        } else {
            &self.address
        };
        join_host_port(host, self.port)
    }
}
