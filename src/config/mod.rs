//! What an operator may set, and how it is checked.
//!
//! Pure: text, environment and flags go in; a [`Config`] or *all* problems at once come out, each with its file, line,
//! key, value and what is allowed. Nothing is opened, created or asked. The simulator and the fuzzers call the same
//! function as `main`.
//!
//! Invariants
//! - Every value of a [`Config`] is in range: later layers do not check again.
//! - A key that would need a feature this version lacks is an error naming the key, never silence.
//! - No message and no `Debug` output contains a password.
//!
//! Must not know: files, sockets, the process's environment.

mod cluster;
mod help;
mod interpolate;
mod keys;
mod problem;
mod reader;
mod values;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use help::sample;
pub use problem::{ConfigErrors, Problem, ProblemKind};
pub use values::{
    AutoGc, Behavior, BootstrapRole, ClusterConfig, ClusterListener, Config, Endpoint, FirstUser, Listener, LogLevel,
    Secret, StandbyRemote, join_host_port,
};

use crate::engine::{CLUSTER_DATABASE, NAME_BYTES_MAX, database_name_problem};
use reader::Found;

/// Where data live when nothing says otherwise.
pub const DEFAULT_DATA_DIR: &str = "understudy-data";

/// Everything a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Source<'a> {
    /// The file's name, for messages, and its text.
    pub file: Option<(&'a str, &'a str)>,
    pub environment: BTreeMap<String, String>,
    pub flags: Flags,
}

/// Command-line flags that are also keys; they win over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub data_dir: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
}

/// An effective value and where it came from, for `--check-config`. Secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// The configuration made of `source`: flag over file over environment over default.
pub fn load(source: &Source<'_>) -> Result<Config, ConfigErrors> {
    load_with_origins(source).map(|(config, _)| config)
}

/// As [`load`], with every effective value and its origin.
pub fn load_with_origins(source: &Source<'_>) -> Result<(Config, Vec<Setting>), ConfigErrors> {
    let mut problems = Vec::new();
    let file = source.file.map_or("", |(name, _)| name);
    let found = read_file(source, &mut problems);
    let mut choice = Choice {
        source,
        file,
        found: &found,
        problems: &mut problems,
        settings: Vec::new(),
    };
    let mut config = choose(&mut choice);
    key_and_certificate(&found, "listener", file, choice.problems);
    config.cluster = cluster::read(&found, file, config.listener.port, choice.problems);
    if let Some(cluster) = &config.cluster {
        cluster::note(&mut choice, cluster);
    }
    let settings = choice.settings;
    config.warnings = found.warnings;
    match ConfigErrors::of(problems) {
        Some(errors) => Err(errors),
        None => Ok((config, settings)),
    }
}

fn read_file(source: &Source<'_>, problems: &mut Vec<Problem>) -> Found {
    let Some((file, text)) = source.file else {
        return Found::default();
    };
    let mut shape = |line, column, message: String| {
        let message = format!("column {column}: {message}");
        problems.push(Problem::new(ProblemKind::Shape, file, Some(line), "", message));
    };
    let text = match interpolate::interpolate(text, &source.environment) {
        Ok(text) => text,
        Err(errors) => {
            errors
                .into_iter()
                .for_each(|error| shape(error.line, error.column, error.message));
            return Found::default();
        }
    };
    match yaml::parse(&text) {
        Ok(Some(root)) => reader::read(&root, file, problems),
        Ok(None) => Found::default(),
        Err(error) => {
            shape(error.line, error.column, error.message);
            Found::default()
        }
    }
}

/// Takes each value from the winning source and notes which it was.
struct Choice<'a> {
    source: &'a Source<'a>,
    file: &'a str,
    found: &'a Found,
    problems: &'a mut Vec<Problem>,
    settings: Vec<Setting>,
}

impl Choice<'_> {
    fn note(&mut self, key: &str, value: &str, origin: String) {
        let secret = keys::find(key).is_some_and(|key| key.kind == keys::Kind::Secret);
        let value = if secret { "********" } else { value };
        self.settings.push(Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin,
        });
    }

    fn default_of(key: &str) -> &'static str {
        keys::find(key).map_or("", |key| key.default)
    }

    fn in_file(&self, key: &str) -> String {
        match self.found.line(key) {
            Some(line) => format!("{}:{line}", self.file),
            None => "default".to_owned(),
        }
    }

    /// A text: flag, file, the first of these environment variables that is set and not empty, default.
    fn text(&mut self, key: &str, flag: Option<&String>, variables: &[&str], default: &str) -> String {
        let environment = variables.iter().find_map(|name| {
            Some((
                *name,
                self.source.environment.get(*name).filter(|value| !value.is_empty())?,
            ))
        });
        let (value, origin) = if let Some(value) = flag {
            (
                value.clone(),
                format!("--{}", key.rsplit('.').next().unwrap_or(key).replace('_', "-")),
            )
        } else if let Some(value) = self.found.text(key) {
            (value.to_owned(), self.in_file(key))
        } else if let Some((name, value)) = environment {
            (value.clone(), format!("environment {name}"))
        } else {
            (default.to_owned(), "default".to_owned())
        };
        self.note(key, &value, origin);
        value
    }

    fn int(&mut self, key: &str) -> u64 {
        let default = Self::default_of(key)
            .parse()
            .expect("numeric keys read here have numeric defaults");
        let value = self.found.int(key).unwrap_or(default);
        self.note(key, &value.to_string(), self.in_file(key));
        u64::try_from(value).expect("the table of keys admits no negative value here")
    }

    fn bool(&mut self, key: &str) -> bool {
        let value = self.found.bool(key).unwrap_or(Self::default_of(key) == "true");
        self.note(key, &value.to_string(), self.in_file(key));
        value
    }

    /// Where the value taken for this key came from.
    fn origin(&self, key: &str) -> &str {
        let setting = self.settings.iter().rfind(|setting| setting.key == key);
        setting.map_or("", |setting| &setting.origin)
    }

    fn refuse(&mut self, key: &str, value: &str, allowed: &str) {
        if self.found.was_refused(key, self.problems) {
            return;
        }
        let origin = self
            .settings
            .iter()
            .rfind(|setting| setting.key == key)
            .map(|setting| setting.origin.clone());
        let line = self
            .found
            .line(key)
            .filter(|line| origin == Some(format!("{}:{line}", self.file)));
        let origin = if line.is_some() {
            self.file.to_owned()
        } else {
            origin.unwrap_or_default()
        };
        let message = format!("`{}` is not allowed; allowed: {allowed}", value.escape_debug());
        self.problems
            .push(Problem::new(ProblemKind::Value, origin, line, key, message));
    }

    fn port(&mut self) -> u16 {
        let Some(flag) = &self.source.flags.port else {
            return u16::try_from(self.int("listener.port")).expect("the table of keys admits only ports");
        };
        self.note("listener.port", flag, "--port".to_owned());
        flag.parse().unwrap_or_else(|_| {
            self.refuse("listener.port", flag, "an integer from 0 to 65535");
            0
        })
    }

    fn host(&mut self) -> String {
        let flag = self.source.flags.host.as_ref();
        let host = self.text("listener.host", flag, &[], Self::default_of("listener.host"));
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&host);
        if literal != "localhost" && literal.parse::<IpAddr>().is_err() {
            self.refuse("listener.host", &host, "localhost or an IP address, 0.0.0.0 for all");
        }
        literal.to_owned()
    }

    fn not_empty(&mut self, key: &str, value: String, what: &str) -> String {
        if value.trim().is_empty() || value.contains('\0') {
            self.refuse(key, &value, what);
        }
        value
    }
}

fn choose(choice: &mut Choice<'_>) -> Config {
    let data_dir_flag = choice.source.flags.data_dir.as_ref();
    let variables = ["UNDERSTUDY_DATA_DIR", "DOLTGRES_DATA_DIR", "PGDATA"];
    let data_dir = choice.text("data_dir", data_dir_flag, &variables, &format!("./{DEFAULT_DATA_DIR}"));
    let data_dir = choice.not_empty("data_dir", data_dir, "the path of a folder");
    let log_level = match choice
        .text("log_level", None, &[], Choice::default_of("log_level"))
        .as_str()
    {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "warn" | "warning" => LogLevel::Warn,
        "error" | "fatal" | "panic" => LogLevel::Error,
        _ => LogLevel::Info,
    };
    let listener = Listener {
        host: choice.host(),
        port: choice.port(),
        max_connections: u32::try_from(choice.int("listener.max_connections")).expect("bounded by the table of keys"),
        read_timeout_millis: choice.int("listener.read_timeout_millis"),
        write_timeout_millis: choice.int("listener.write_timeout_millis"),
    };
    let auto_gc = AutoGc {
        log_bytes_min: choice.int("behavior.auto_gc_behavior.log_bytes_min"),
        growth_percent: choice.int("behavior.auto_gc_behavior.growth_percent"),
    };
    let behavior = Behavior {
        read_only: choice.bool("behavior.read_only"),
        auto_gc: choice.bool("behavior.auto_gc_behavior.enable").then_some(auto_gc),
    };
    let cache_bytes = Some(choice.int("performance.cache_bytes")).filter(|bytes| *bytes > 0);
    let names = ["UNDERSTUDY_USER", "DOLTGRES_USER", "POSTGRES_USER"];
    let name = choice.text("user.name", None, &names, Choice::default_of("user.name"));
    let name = choice.not_empty("user.name", name, "the name of a role");
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) || name.starts_with("pg_") {
        choice.refuse(
            "user.name",
            &name,
            &format!("up to {NAME_BYTES_MAX} bytes without control characters that do not begin with pg_"),
        );
    }
    let passwords = ["UNDERSTUDY_PASSWORD", "DOLTGRES_PASSWORD", "POSTGRES_PASSWORD"];
    let password = choice.text("user.password", None, &passwords, Choice::default_of("user.password"));
    if password.is_empty() {
        choice.refuse("user.password", "", "a password of at least one character");
    }
    let databases = ["UNDERSTUDY_DB", "DOLTGRES_DB", "POSTGRES_DB"];
    let first_database = choice.text("first database", None, &databases, &name);
    let query_memory_bytes = choice.int("performance.query_memory_bytes");
    let is_wrong = database_name_problem(&first_database).is_some();
    if is_wrong && choice.origin("first database") == "default" {
        let allowed = "as the name of the first database too a name without / and @ that does not begin with \
                       dolt_cluster, or another database in UNDERSTUDY_DB";
        choice.refuse("user.name", &name, allowed);
    } else if is_wrong {
        let allowed = format!(
            "up to {NAME_BYTES_MAX} bytes without / and @ and control characters that do not begin with {CLUSTER_DATABASE}"
        );
        choice.refuse("first database", &first_database, &allowed);
    }
    metrics_are_off(choice);
    let max_query_len_in_logs = choice.int("max_query_len_in_logs");
    let system_variables = choice.found.scalars("system_variables");
    for (name, value) in &system_variables {
        choice.note(
            &format!("system_variables.{name}"),
            value,
            choice.in_file("system_variables"),
        );
    }
    Config {
        log_level,
        max_query_len_in_logs,
        data_dir: data_dir.into(),
        behavior,
        cache_bytes,
        listener,
        user: FirstUser {
            name,
            password: Secret::new(password),
        },
        first_database,
        query_memory_bytes,
        system_variables,
        cluster: None,
        warnings: Vec::new(),
    }
}

/// Host and port are harmless alone; together they switch on what this version does not have.
fn metrics_are_off(choice: &mut Choice<'_>) {
    let host = choice.found.text("metrics.host").unwrap_or_default();
    let port = choice.found.int("metrics.port").unwrap_or(-1);
    if !host.is_empty() && port > 0 {
        let line = choice.found.line("metrics.port");
        let message =
            format!("{port} with host `{host}` is refused: this version does not support metrics; remove the section");
        let kind = ProblemKind::Unsupported;
        choice
            .problems
            .push(Problem::new(kind, choice.file, line, "metrics.port", message));
    }
}

/// A TLS listener needs both files or none.
fn key_and_certificate(found: &Found, section: &str, file: &str, problems: &mut Vec<Problem>) {
    let path = |name: &str| format!("{section}.{name}");
    let given = |name: &str| found.text(&path(name)).is_some_and(|text| !text.is_empty());
    for (missing, present) in [("tls_key", "tls_cert"), ("tls_cert", "tls_key")] {
        if given(present) && !given(missing) {
            let message = format!("missing, but `{present}` is set; give both or neither");
            let line = found.line(&path(present));
            problems.push(Problem::new(ProblemKind::Value, file, line, path(missing), message));
        }
    }
}
