//! The `cluster:` mapping: what its keys must fulfil together. Source: spec/cluster.md 1.2.

use std::collections::BTreeMap;

use super::Choice;
use super::keys::allowed;
use super::problem::{Problem, ProblemKind};
use super::reader::Found;
use super::values::{BootstrapRole, ClusterConfig, ClusterListener, Endpoint, StandbyRemote};

/// `None` without a `cluster:` key, and when `problems` grew. `sql_port` is the port for clients, wherever it comes from.
pub(super) fn read(found: &Found, file: &str, sql_port: u16, problems: &mut Vec<Problem>) -> Option<ClusterConfig> {
    if !found.has_section("cluster") {
        return None;
    }
    let before = problems.len();
    let mut check = Check { found, file, problems };
    let remotes = check.standby_remotes();
    let remotesapi = check.listener();
    check.tls(&remotes);
    check.other_keys(&remotesapi, sql_port);
    let bootstrap_role = match found.text("cluster.bootstrap_role") {
        Some("standby") => BootstrapRole::Standby,
        _ => BootstrapRole::Primary,
    };
    let epoch = found.int("cluster.bootstrap_epoch").unwrap_or(0);
    (problems.len() == before).then_some(ClusterConfig {
        standby_remotes: remotes,
        bootstrap_role,
        bootstrap_epoch: u64::try_from(epoch).expect("the table of keys admits no negative epoch"),
        remotesapi,
    })
}

/// Notes what is in force, each value with its origin.
pub(super) fn note(choice: &mut Choice<'_>, cluster: &ClusterConfig) {
    let mut note = |key: String, value: &str| {
        let origin = choice.in_file(&key);
        choice.note(&key, value, origin);
    };
    for (index, remote) in cluster.standby_remotes.iter().enumerate() {
        let entry = format!("cluster.standby_remotes[{index}]");
        note(format!("{entry}.name"), &remote.name);
        note(format!("{entry}.remote_url_template"), &remote.remote_url_template);
    }
    let role = match cluster.bootstrap_role {
        BootstrapRole::Primary => "primary",
        BootstrapRole::Standby => "standby",
    };
    note("cluster.bootstrap_role".to_owned(), role);
    note(
        "cluster.bootstrap_epoch".to_owned(),
        &cluster.bootstrap_epoch.to_string(),
    );
    note("cluster.remotesapi.address".to_owned(), &cluster.remotesapi.address);
    note(
        "cluster.remotesapi.port".to_owned(),
        &cluster.remotesapi.port.to_string(),
    );
}

struct Check<'a> {
    found: &'a Found,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Records a problem with the line of `key`, or of its nearest enclosing section when the key is absent; not a
    /// second one for a key whose value could not be read at all.
    fn refuse(&mut self, key: &str, message: String) {
        if self.found.was_refused(key, self.problems) {
            return;
        }
        let mut line = self.found.line(key);
        let mut section = key;
        while let (None, Some((parent, _))) = (line, section.rsplit_once('.')) {
            line = self.found.line(parent);
            section = parent;
        }
        self.problems
            .push(Problem::new(ProblemKind::Value, self.file, line, key, message));
    }

    fn standby_remotes(&mut self) -> Vec<StandbyRemote> {
        let mut remotes = Vec::new();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut endpoints: BTreeMap<Endpoint, usize> = BTreeMap::new();
        if self.found.list_len("cluster.standby_remotes") == 0 {
            self.refuse(
                "cluster.standby_remotes",
                "at least one entry is needed, with name and remote_url_template".into(),
            );
        }
        for index in 0..self.found.list_len("cluster.standby_remotes") {
            let name_key = format!("cluster.standby_remotes[{index}].name");
            let name = self.found.text(&name_key).unwrap_or_default().to_owned();
            if name.is_empty() {
                self.refuse(&name_key, "must not be empty".into());
            } else if let Some(first) = names.get(&name) {
                let message = format!("`{name}` is a duplicate of standby_remotes[{first}]; each name must be unique");
                self.refuse(&name_key, message);
            } else {
                names.insert(name.clone(), index);
            }

            let template_key = format!("cluster.standby_remotes[{index}].remote_url_template");
            let template = self.found.text(&template_key).unwrap_or_default().to_owned();
            let endpoint = match endpoint(&template) {
                Ok(endpoint) => endpoint,
                Err(why) => {
                    let message = format!("`{template}`: {why}; allowed: `http://HOST:PORT/{{database}}`");
                    self.refuse(&template_key, message);
                    continue;
                }
            };
            if let Some(first) = endpoints.get(&endpoint) {
                let message = format!(
                    "`{template}` leads to the same server as standby_remotes[{first}]; each standby is listed once"
                );
                self.refuse(&template_key, message);
            }
            endpoints.insert(endpoint.clone(), index);
            remotes.push(StandbyRemote {
                name,
                remote_url_template: template,
                endpoint,
            });
        }
        remotes
    }

    fn listener(&mut self) -> ClusterListener {
        let key = "cluster.remotesapi.port";
        if self.found.int(key).is_none() {
            // Peers cannot know a port the system chooses, so 0 and absence are errors too.
            self.refuse(
                key,
                format!(
                    "a port is needed; allowed: {}",
                    allowed(super::keys::Kind::Int { min: 1, max: 65535 })
                ),
            );
        }
        let address = self.found.text("cluster.remotesapi.address").unwrap_or_default();
        let address = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address)
            .to_owned();
        if address.chars().any(|c| c.is_whitespace() || c == '/') {
            self.refuse(
                "cluster.remotesapi.address",
                format!("`{address}` is not allowed; allowed: a host name or an IP address"),
            );
        }
        let port = self
            .found
            .int(key)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or_default();
        ClusterListener { address, port }
    }

    fn tls(&mut self, remotes: &[StandbyRemote]) {
        super::key_and_certificate(self.found, "cluster.remotesapi", self.file, self.problems);
        let authority = self
            .found
            .text("cluster.remotesapi.tls_ca")
            .filter(|file| !file.is_empty());
        for list in [
            "cluster.remotesapi.server_name_urls",
            "cluster.remotesapi.server_name_dns",
        ] {
            if authority.is_none() && !self.found.texts(list).is_empty() {
                let names = self.found.texts(list).join(", ");
                // The key is also refused as unsupported; this tells what would be needed.
                self.force(
                    list,
                    format!("`{names}` is checked only against certificates; it needs `tls_ca`"),
                );
            }
        }
        if authority.is_some()
            && remotes
                .iter()
                .any(|remote| remote.remote_url_template.starts_with("http:"))
        {
            self.force(
                "cluster.remotesapi.tls_ca",
                "set together with an `http` remote_url_template; use `https`".into(),
            );
        }
    }

    /// As [`Check::refuse`], even where the key has a problem of another kind.
    fn force(&mut self, key: &str, message: String) {
        let line = self.found.line(key);
        self.problems
            .push(Problem::new(ProblemKind::Value, self.file, line, key, message));
    }

    fn other_keys(&mut self, listener: &ClusterListener, sql_port: u16) {
        if listener.port != 0 && listener.port == sql_port {
            let message = format!("{sql_port} is also `listener.port`; the two must differ");
            self.refuse("cluster.remotesapi.port", message);
        }
        let variables = self.found.scalars("system_variables");
        if variables
            .get("dolt_read_replica_remote")
            .is_some_and(|remote| !remote.is_empty())
        {
            let message = "contradicts `system_variables: dolt_read_replica_remote`: a server follows a primary or pulls \
                           from a remote, not both; remove one";
            self.refuse("cluster", message.to_owned());
        }
    }
}

/// Where a template leads.
fn endpoint(template: &str) -> Result<Endpoint, String> {
    const DATABASE: &str = "{database}";
    if !template.contains(DATABASE) {
        return Err("`{database}` is missing".into());
    }
    let rest = match template.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err("this version does not support TLS between servers, so the scheme cannot be `https`".into());
        }
        Some((scheme, _)) => return Err(format!("the scheme is `{scheme}`, not `http`")),
        None => return Err("the scheme is missing".into()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path != DATABASE {
        // Peers' keys are served at the root, so that a prefix would name a document nobody serves.
        return Err("`{database}` must be the whole path".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => {
            let (host, port) = literal
                .split_once(']')
                .ok_or("the IPv6 address has no closing bracket")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| format!("`{host}` is not an IPv6 address"))?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !authority.starts_with('[') && !host.chars().all(plain) {
        return Err(format!(
            "`{host}` is not a host name or IP address (IPv6 addresses go in brackets)"
        ));
    }
    let port = port.ok_or("the port is missing")?;
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok(Endpoint {
            host: host.to_owned(),
            port: number,
        }),
        _ => Err(format!("`{port}` is not a port from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::PAIR;
    use crate::config::{Flags, Source, load, load_with_origins};

    #[test]
    fn the_cluster_is_listed_with_its_origins() {
        let source = Source {
            file: Some(("f", PAIR)),
            ..Source::default()
        };
        let (_, settings) = load_with_origins(&source).unwrap();
        let listed: Vec<(&str, &str)> = settings
            .iter()
            .filter(|setting| setting.key.starts_with("cluster."))
            .map(|setting| (setting.key.as_str(), setting.value.as_str()))
            .collect();
        assert_eq!(
            listed,
            [
                ("cluster.standby_remotes[0].name", "standby"),
                (
                    "cluster.standby_remotes[0].remote_url_template",
                    "http://dolt-2.db:50051/{database}"
                ),
                ("cluster.bootstrap_role", "primary"),
                ("cluster.bootstrap_epoch", "1"),
                ("cluster.remotesapi.address", ""),
                ("cluster.remotesapi.port", "50051"),
            ]
        );
        let origin = |key: &str| &settings.iter().find(|setting| setting.key == key).unwrap().origin;
        assert!(origin("cluster.remotesapi.port").starts_with("f:"));
        assert_eq!(origin("cluster.remotesapi.address"), "default");
    }

    #[test]
    fn the_two_ports_differ_wherever_the_port_for_clients_comes_from() {
        let with_flag = |text: &str, port: &str| {
            load(&Source {
                file: Some(("f", text)),
                flags: Flags {
                    port: Some(port.to_owned()),
                    ..Flags::default()
                },
                ..Source::default()
            })
        };
        let refused = with_flag(PAIR, "50051").unwrap_err().to_string();
        assert!(
            refused.contains("remotesapi: port: 50051 is also `listener.port`"),
            "{refused}"
        );
        let moved = PAIR.replace("50051", "5432");
        assert!(with_flag(&moved, "5432").is_err());
        assert!(with_flag(&moved, "6000").is_ok());
    }
}
