//! The checks of spec/config.md and spec/cluster.md that concern a configuration alone.

use super::keys::{KEYS, Kind, Support};
use super::problem::shown_key;
use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    load(&Source {
        file: Some(("server.yaml", text)),
        ..Source::default()
    })
}

fn errors(text: &str) -> String {
    match load_text(text) {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(errors) => errors.to_string(),
    }
}

pub(super) const PAIR: &str = "\
cluster:
  standby_remotes:
    - name: standby
      remote_url_template: http://dolt-2.db:50051/{database}
  bootstrap_role: primary
  bootstrap_epoch: 1
  remotesapi:
    port: 50051
";

#[test]
fn s_001_no_file_gives_the_defaults() {
    let config = load(&Source::default()).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("./understudy-data"));
    assert_eq!(
        (config.listener.host.as_str(), config.listener.port),
        ("localhost", 5432)
    );
    assert_eq!(config.listener.max_connections, 100);
    assert_eq!(
        (config.user.name.as_str(), config.user.password.reveal()),
        ("postgres", "password")
    );
    assert_eq!(config.first_database, "postgres");
    assert_eq!(config.cluster, None);
    for text in ["", "# nothing\n", "---\n", "listener:\n", "listener: {}\n"] {
        assert_eq!(load_text(text), Ok(config.clone()), "{text:?}");
    }
}

#[test]
fn s_004_data_dir_flag_over_file_over_environment_over_default() {
    let all = [
        ("UNDERSTUDY_DATA_DIR", "ours"),
        ("DOLTGRES_DATA_DIR", "theirs"),
        ("PGDATA", "pg"),
    ];
    let cases: [(Option<&str>, &str, &[(&str, &str)], &str); 6] = [
        (Some("flag"), "data_dir: file", &all, "flag"),
        (None, "data_dir: file", &all, "file"),
        (None, "", &all, "ours"),
        (None, "", &all[1..], "theirs"),
        (None, "", &all[2..], "pg"),
        (None, "", &[("UNDERSTUDY_DATA_DIR", "")], "./understudy-data"),
    ];
    for (flag, text, variables, expected) in cases {
        let flags = Flags {
            data_dir: flag.map(str::to_owned),
            ..Flags::default()
        };
        let source = Source {
            file: Some(("f", text)),
            environment: environment(variables),
            flags,
        };
        assert_eq!(
            load(&source).unwrap().data_dir.to_str(),
            Some(expected),
            "{flag:?} {text} {variables:?}"
        );
    }
}

#[test]
fn s_006_unknown_keys_have_path_line_and_suggestion() {
    let cases = [
        (
            "listner:\n  port: 1\n",
            "server.yaml:1: listner: unknown key; did you mean `listener`?",
        ),
        (
            "listener:\n  host: localhost\n  prot: 1\n",
            "server.yaml:3: listener.prot: unknown key; did you mean `listener.port`?",
        ),
        ("max_connections: 5\n", "did you mean `listener.max_connections`?"),
        ("zzz: 5\n", "zzz: unknown key; `--config-help` lists all keys"),
        ("<<: {a: 1}\n", "<<: unknown key"),
        (
            "cluster:\n  standby_remotes:\n    - nam: x\n",
            "server.yaml:3: cluster: standby_remotes[0]: nam: unknown key; did you mean `cluster.standby_remotes.name`?",
        ),
    ];
    for (text, expected) in cases {
        let message = errors(text);
        assert!(message.contains(expected), "{text}\n{message}");
        assert!(message.contains("error unmarshalling config data"), "{message}");
    }
}

#[test]
fn duplicate_keys_are_told_with_both_lines() {
    let message = errors("log_level: info\nlistener:\n  port: 1\n  port: 2\nlog_level: debug\n");
    assert!(
        message.contains("server.yaml:4: listener.port: duplicate key, first given in line 3"),
        "{message}"
    );
    assert!(
        message.contains("server.yaml:5: log_level: duplicate key, first given in line 1"),
        "{message}"
    );
}

/// `path` set to `value`, nested as YAML wants it.
fn yaml_with(path: &str, value: &str) -> String {
    let mut text = String::new();
    let mut indent = 0;
    let parts: Vec<&str> = path.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let (name, list) = part.strip_suffix("[]").map_or((*part, false), |name| (name, true));
        let value = if index + 1 == parts.len() {
            format!(" {value}")
        } else {
            String::new()
        };
        text.push_str(&format!("{}{name}:{value}\n", " ".repeat(indent)));
        if list {
            text.push_str(&format!("{}-\n", " ".repeat(indent + 2)));
            indent += 2;
        }
        indent += 2;
    }
    text
}

#[test]
fn s_007_a_wrong_type_is_refused_for_every_key() {
    for key in KEYS {
        let wrong: &[&str] = match key.kind {
            Kind::Text | Kind::Secret => &["[1, 2]", "{a: b}", "true"],
            Kind::Bool => &["yes", "1", "'true'", "[]", "{}"],
            Kind::Int { .. } => &["abc", "'1'", "1.5", "0x10", "true", "[1]", "{}", "--1", "+"],
            Kind::Word(_) => &["[info]", "{}"],
            Kind::Texts => &["abc", "{a: b}", "[[a]]"],
            Kind::Scalars => &["abc", "[a]", "{a: [b]}", "{a: 1, A: 2}"],
            Kind::Anything => &[],
        };
        for value in wrong {
            let text = yaml_with(key.path, value);
            let message = errors(&text);
            let path = shown_key(&key.path.replace("[]", "[0]"));
            let line = message
                .lines()
                .find(|line| line.contains(&format!("{path}: ")))
                .unwrap_or_else(|| panic!("{text}\n{message}"));
            assert!(line.contains("wrong type; allowed: "), "{text}\n{line}");
        }
    }
    for section in [
        "listener",
        "cluster",
        "behavior.auto_gc_behavior",
        "cluster.standby_remotes",
        "cluster.remotesapi",
    ] {
        assert!(errors(&yaml_with(section, "5")).contains("wrong type"), "{section}");
    }
}

#[test]
fn s_007_all_problems_are_listed_in_one_run_in_the_order_of_the_file() {
    let message = errors("log_level: loud\nlistener:\n  port: abc\n  hots: x\ncluster:\n  bootstrap_epoch: -1\n");
    let lines: Vec<&str> = message.lines().collect();
    let expected = [
        "log_level: `loud`",
        "listener.port: `abc`",
        "listener.hots: unknown",
        "standby_remotes",
        "remotesapi: port",
        "bootstrap_epoch: `-1`",
    ];
    assert_eq!(lines.len(), expected.len(), "{message}");
    for part in expected {
        assert_eq!(
            lines.iter().filter(|line| line.contains(part)).count(),
            1,
            "{part}\n{message}"
        );
    }
    let numbers: Vec<usize> = load_text("log_level: loud\nlistener:\n  port: abc\n")
        .unwrap_err()
        .problems()
        .iter()
        .filter_map(|p| p.line)
        .collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn s_008_each_range_ends_where_it_says() {
    for key in KEYS {
        let Kind::Int { min, max } = key.kind else { continue };
        for (value, good) in [
            (i128::from(min), true),
            (i128::from(max), true),
            (i128::from(min) - 1, false),
            (i128::from(max) + 1, false),
        ] {
            let path = shown_key(key.path);
            let refused = match load_text(&yaml_with(key.path, &value.to_string())) {
                Ok(_) => false,
                Err(errors) => errors
                    .to_string()
                    .lines()
                    .any(|line| line.contains(&format!("{path}: `{value}` is not allowed"))),
            };
            assert_eq!(refused, !good, "{} {value}", key.path);
        }
    }
}

#[test]
fn s_008_each_word_of_an_enumeration_is_accepted_and_no_other() {
    for key in KEYS {
        let Kind::Word(words) = key.kind else { continue };
        for word in words {
            let text = if key.path.starts_with("cluster") {
                PAIR.replace("bootstrap_role: primary", &format!("bootstrap_role: {word}"))
            } else {
                yaml_with(key.path, word)
            };
            assert!(load_text(&text).is_ok(), "{text}");
        }
        for word in ["nonsense", "INFO", "detected_broken_config", "secondary"] {
            let message = errors(&yaml_with(key.path, word));
            assert!(
                message.contains(&format!(
                    "`{word}` is not allowed; allowed: one of {}",
                    words.join(", ")
                )),
                "{message}"
            );
        }
    }
}

#[test]
fn s_009_interpolation_reaches_values_and_its_problems_have_lines() {
    let environment = environment(&[("PORT", "5433"), ("PASS", "pa$$ \"word\""), ("EMPTY", "")]);
    let text = "listener:\n  port: ${PORT}\nuser:\n  name: a$$b\n  password: '${PASS}'\n";
    let config = load(&Source {
        file: Some(("f", text)),
        environment: environment.clone(),
        flags: Flags::default(),
    })
    .unwrap();
    assert_eq!(config.listener.port, 5433);
    assert_eq!(
        (config.user.name.as_str(), config.user.password.reveal()),
        ("a$b", "pa$$ \"word\"")
    );
    let text = "a: ${EMPTY}\nb: ${NOPE}\n";
    let message = load(&Source {
        file: Some(("f", text)),
        environment,
        flags: Flags::default(),
    })
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("f:1: column 4: environment variable EMPTY is empty"),
        "{message}"
    );
    assert!(
        message.contains("f:2: column 4: environment variable NOPE is not set"),
        "{message}"
    );
}

#[test]
fn s_010_an_unknown_log_level_is_refused() {
    assert!(errors("log_level: verbose\n").contains("log_level: `verbose` is not allowed; allowed: one of trace"));
}

#[test]
fn s_016_one_of_the_tls_pair_names_the_other() {
    assert!(errors("listener:\n  tls_cert: c.pem\n").contains("listener.tls_key: missing, but `tls_cert` is set"));
    assert!(errors("listener:\n  tls_key: k.pem\n").contains("listener.tls_cert: missing, but `tls_key` is set"));
}

#[test]
fn names_that_could_not_be_made_are_refused_with_key_and_variable() {
    let refused = |variables: &[(&str, &str)]| {
        let environment = environment(variables);
        load(&Source {
            environment,
            ..Source::default()
        })
        .unwrap_err()
        .to_string()
    };
    for name in ["a/b", "a@b", "dolt_cluster_of_mine", "tab\there", &"x".repeat(64)] {
        let error = refused(&[("UNDERSTUDY_DB", name)]);
        assert!(
            error.contains("UNDERSTUDY_DB") && error.contains("first database"),
            "{error}"
        );
    }
    for name in ["pg_ann", "tab\there", &"x".repeat(64), "a/b"] {
        let error = refused(&[("POSTGRES_USER", name)]);
        assert!(
            error.contains("POSTGRES_USER") && error.contains("user.name"),
            "{error}"
        );
    }
    assert!(errors("user:\n  name: a/b\n").contains("user.name"));
    let apart = environment(&[("UNDERSTUDY_USER", "a/b"), ("UNDERSTUDY_DB", "shop")]);
    assert!(
        load(&Source {
            environment: apart,
            ..Source::default()
        })
        .is_ok()
    );
}

#[test]
fn s_020_the_first_user_comes_from_the_file_then_the_environment() {
    let variables = environment(&[
        ("DOLTGRES_USER", "d"),
        ("UNDERSTUDY_PASSWORD", "up"),
        ("DOLTGRES_PASSWORD", "dp"),
        ("POSTGRES_DB", "first"),
    ]);
    let config = load(&Source {
        environment: variables.clone(),
        ..Source::default()
    })
    .unwrap();
    assert_eq!((config.user.name.as_str(), config.user.password.reveal()), ("d", "up"));
    assert_eq!(config.first_database, "first");
    let file = Some(("f", "user:\n  name: filed\n"));
    let config = load(&Source {
        file,
        environment: variables,
        flags: Flags::default(),
    })
    .unwrap();
    assert_eq!(
        (config.user.name.as_str(), config.user.password.reveal()),
        ("filed", "up")
    );
}

#[test]
fn s_030_the_seeds_two_servers_are_accepted() {
    let config = load_text(PAIR).unwrap();
    let cluster = config.cluster.unwrap();
    assert_eq!(
        cluster.standby_remotes[0].endpoint,
        Endpoint {
            host: "dolt-2.db".into(),
            port: 50051
        }
    );
    assert_eq!(
        (cluster.bootstrap_role, cluster.bootstrap_epoch),
        (BootstrapRole::Primary, 1)
    );
    assert_eq!(cluster.remotesapi.bind_address(), "0.0.0.0:50051");
}

#[test]
fn s_031_secrets_are_in_no_listing_and_no_message() {
    let source = Source {
        file: Some(("f", "user:\n  password: hunter2\n")),
        ..Source::default()
    };
    let (config, settings) = load_with_origins(&source).unwrap();
    assert!(!format!("{config:?}{settings:?}").contains("hunter2"));
    assert!(
        settings
            .iter()
            .any(|setting| setting.key == "user.password" && setting.origin == "f:2")
    );
    let message = errors("user:\n  password: [hunter2]\n");
    assert!(
        !message.contains("hunter2") && message.contains("user.password: "),
        "{message}"
    );
}

#[test]
fn c_002_a_cluster_without_standby_remotes_is_refused() {
    for text in [
        "cluster:\n",
        "cluster:\n  standby_remotes: []\n",
        "cluster:\n  standby_remotes:\n  remotesapi:\n    port: 5\n",
    ] {
        let message = errors(text);
        assert!(
            message.contains("standby_remotes: at least one entry is needed"),
            "{message}"
        );
    }
}

/// PAIR with one piece replaced gives exactly one problem, of this line and with these words.
fn refused(before: &str, after: &str, line: usize, words: &[&str]) {
    assert!(PAIR.contains(before), "{before}");
    let text = PAIR.replace(before, after);
    let message = errors(&text);
    assert!(
        message.contains(&format!("server.yaml:{line}: cluster: ")),
        "{text}\n{message}"
    );
    for word in words {
        assert!(message.contains(word), "{word}\n{text}\n{message}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn c_003_a_remote_without_a_name_is_refused() {
    refused(
        "name: standby",
        "name: ''",
        3,
        &["standby_remotes[0]: name: must not be empty"],
    );
    refused(
        "- name: standby\n      remote",
        "- remote",
        3,
        &["standby_remotes[0]: name: must not be empty"],
    );
}

#[test]
fn c_004_a_template_without_database_is_refused_with_its_value() {
    refused(
        "http://dolt-2.db:50051/{database}",
        "http://h:1/{database",
        4,
        &["standby_remotes[0]: remote_url_template", "http://h:1/{database`"],
    );
    refused(
        "      remote_url_template: http://dolt-2.db:50051/{database}\n",
        "",
        3,
        &["standby_remotes[0]: remote_url_template"],
    );
}

#[test]
fn c_005_an_unknown_bootstrap_role_is_refused() {
    refused(
        "bootstrap_role: primary",
        "bootstrap_role: backup",
        5,
        &["bootstrap_role: `backup`", "primary, standby"],
    );
}

#[test]
fn c_006_a_negative_bootstrap_epoch_is_refused() {
    refused(
        "bootstrap_epoch: 1",
        "bootstrap_epoch: -1",
        6,
        &["bootstrap_epoch: `-1`", "0 or more"],
    );
}

#[test]
fn c_007_a_port_out_of_range_is_refused() {
    refused("    port: 50051", "    port: -5", 8, &["remotesapi: port: `-5`"]);
    refused("    port: 50051", "    port: 65536", 8, &["remotesapi: port: `65536`"]);
}

#[test]
fn c_008_tls_key_and_tls_cert_come_together() {
    let only_cert = PAIR.replace("    port: 50051", "    port: 50051\n    tls_cert: c.pem");
    assert!(errors(&only_cert).contains("cluster: remotesapi: tls_key: missing"));
    let only_key = PAIR.replace("    port: 50051", "    port: 50051\n    tls_key: k.pem");
    assert!(errors(&only_key).contains("cluster: remotesapi: tls_cert: missing"));
}

#[test]
fn c_009_tls_ca_is_refused_naming_the_file() {
    let text = PAIR.replace("    port: 50051", "    port: 50051\n    tls_ca: missing.pem");
    let message = errors(&text);
    assert!(
        message.contains("tls_ca: `missing.pem` is refused: this version does not support TLS"),
        "{message}"
    );
    assert!(message.contains("tls_ca: set together with an `http`"), "{message}");
}

#[test]
fn c_010_the_seeds_misspelling_has_a_suggestion() {
    for name in ["role", "epoch"] {
        let message = errors(&PAIR.replace(&format!("bootstrap_{name}"), &format!("boostrap_{name}")));
        assert!(
            message.contains(&format!(
                "boostrap_{name}: unknown key; did you mean `cluster.bootstrap_{name}`?"
            )),
            "{message}"
        );
    }
}

#[test]
fn c_011_role_and_epoch_may_be_left_out() {
    let text = PAIR.replace("  bootstrap_role: primary\n  bootstrap_epoch: 1\n", "");
    let cluster = load_text(&text).unwrap().cluster.unwrap();
    assert_eq!(
        (cluster.bootstrap_role, cluster.bootstrap_epoch),
        (BootstrapRole::Primary, 0)
    );
    let cluster = load_text(&PAIR.replace("primary", "''")).unwrap().cluster.unwrap();
    assert_eq!(cluster.bootstrap_role, BootstrapRole::Primary);
}

#[test]
fn c_012_duplicate_remotes_are_refused() {
    let second = |name: &str, host: &str| {
        format!("50051/{{database}}\n    - name: {name}\n      remote_url_template: http://{host}:50051/{{database}}")
    };
    refused(
        "50051/{database}",
        &second("standby", "dolt-3.db"),
        5,
        &["standby_remotes[1]: name: `standby` is a duplicate of standby_remotes[0]"],
    );
    refused(
        "50051/{database}",
        &second("other", "dolt-2.db"),
        6,
        &[
            "standby_remotes[1]: remote_url_template",
            "same server as standby_remotes[0]",
        ],
    );
}

#[test]
fn c_013_templates_that_lead_nowhere_are_refused() {
    let cases = [
        ("http://h/{database}", "port is missing"),
        ("ftp://h:1/{database}", "scheme is `ftp`"),
        ("h:1/{database}", "scheme is missing"),
        ("http://h:1/{database}/x", "whole path"),
        ("http://h:1/x/{database}", "whole path"),
        ("http://h:1/x{database}", "whole path"),
        ("http://h:1/{database}?a=b", "whole path"),
        ("http://{database}.h:1/", "whole path"),
        ("http://:1/{database}", "host is missing"),
        ("http://h:0/{database}", "`0` is not a port"),
        ("http://h:+1/{database}", "`+1` is not a port"),
        ("http://h:99999/{database}", "`99999` is not a port"),
        ("http://::1:1/{database}", "IPv6 addresses go in brackets"),
        ("http://[::1:1/{database}", "no closing bracket"),
        ("http://[zz]:1/{database}", "`zz` is not an IPv6 address"),
        ("http://u@h:1/{database}", "`u@h` is not a host name"),
        ("https://h:1/{database}", "does not support TLS"),
    ];
    for (template, why) in cases {
        refused(
            "http://dolt-2.db:50051/{database}",
            &format!("'{template}'"),
            4,
            &["remote_url_template", template, why],
        );
    }
}

#[test]
fn c_014_port_zero_or_none_is_refused() {
    refused(
        "    port: 50051",
        "    port: 0",
        8,
        &["remotesapi: port: `0`", "from 1 to 65535"],
    );
    refused(
        "    port: 50051",
        "    address: ''",
        7,
        &["remotesapi: port: a port is needed"],
    );
}

#[test]
fn c_015_ipv6_literals_need_no_brackets_to_listen_and_have_them_in_templates() {
    let text = PAIR
        .replace("dolt-2.db", "[::1]")
        .replace("    port", "    address: '::1'\n    port");
    let cluster = load_text(&text).unwrap().cluster.unwrap();
    assert_eq!(cluster.remotesapi.bind_address(), "[::1]:50051");
    assert_eq!(cluster.standby_remotes[0].endpoint.authority(), "[::1]:50051");
}

#[test]
fn c_016_server_names_without_an_authority_are_refused() {
    for list in ["server_name_dns", "server_name_urls"] {
        let text = PAIR.replace("    port", &format!("    {list}: [a]\n    port"));
        let message = errors(&text);
        assert!(
            message.contains(&format!(
                "cluster: remotesapi: {list}: `a` is checked only against certificates; it needs `tls_ca`"
            )),
            "{message}"
        );
    }
}

#[test]
fn a_cluster_that_also_pulls_from_a_remote_is_refused() {
    let text = format!("{PAIR}system_variables:\n  dolt_read_replica_remote: origin\n");
    assert!(errors(&text).contains("contradicts `system_variables: dolt_read_replica_remote`"));
}

#[test]
fn the_two_ports_must_differ() {
    refused(
        "    port: 50051",
        "    port: 5432",
        8,
        &["remotesapi: port: 5432 is also `listener.port`"],
    );
}

#[test]
fn what_this_version_lacks_is_refused_by_name() {
    for key in KEYS.iter().filter(|key| matches!(key.support, Support::Missing(_))) {
        let value = match key.kind {
            Kind::Bool => {
                if key.default == "true" {
                    "false"
                } else {
                    "true"
                }
            }
            Kind::Int { .. } => "1",
            Kind::Texts => "[a]",
            Kind::Anything => "{a: 1}",
            _ => "x",
        };
        let message = errors(&yaml_with(key.path, value));
        let path = shown_key(key.path);
        assert!(
            message
                .lines()
                .any(|line| line.contains(&path) && line.contains("this version does not support")),
            "{message}"
        );
        if !key.default.is_empty() {
            assert!(
                load_text(&yaml_with(key.path, key.default)).is_ok(),
                "the default of {} needs nothing",
                key.path
            );
        }
    }
    assert!(errors("metrics:\n  host: localhost\n  port: 9091\n").contains("does not support metrics"));
    assert!(load_text("metrics:\n  host: localhost\n  port: -1\n").is_ok());
}

#[test]
fn ignored_keys_warn() {
    let config = load_text("privilege_file: p.db\nperformance:\n  query_parallelism: 4\n").unwrap();
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("server.yaml:1: privilege_file has no effect"));
}

#[test]
fn flags_win_and_their_problems_name_them() {
    let flags = Flags {
        host: Some("0.0.0.0".into()),
        port: Some("0".into()),
        data_dir: None,
    };
    let file = Some(("f", "listener:\n  host: localhost\n  port: 1\n"));
    let config = load(&Source {
        file,
        environment: BTreeMap::new(),
        flags,
    })
    .unwrap();
    assert_eq!((config.listener.host.as_str(), config.listener.port), ("0.0.0.0", 0));
    let flags = Flags {
        host: Some("example.org".into()),
        port: Some("70000".into()),
        data_dir: Some(String::new()),
    };
    let message = load(&Source {
        flags,
        ..Source::default()
    })
    .unwrap_err()
    .to_string();
    for part in [
        "--host: listener.host: `example.org`",
        "--port: listener.port: `70000`",
        "--data-dir: data_dir: ``",
    ] {
        assert!(message.contains(part), "{part}\n{message}");
    }
}

#[test]
fn yaml_that_cannot_be_read_has_line_and_column() {
    let message = errors("listener:\n  port: [1\n  host: x\n");
    assert!(
        message.starts_with("error unmarshalling config data: server.yaml:"),
        "{message}"
    );
    assert!(message.contains("column"), "{message}");
    assert!(errors("- a\n- b\n").contains("a mapping of keys to values"));
}

#[test]
fn the_sample_loads_with_its_comment_marks_removed_and_says_every_key() {
    let sample = sample();
    let body: String = sample
        .lines()
        .skip(3)
        .take_while(|line| *line != "# cluster:")
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    let loaded = load_text(&body).unwrap_or_else(|errors| panic!("{body}\n{errors}"));
    assert_eq!(
        Config {
            warnings: Vec::new(),
            ..loaded
        },
        load(&Source::default()).unwrap()
    );
    for key in KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(sample.contains(&format!("{name}:")), "{}", key.path);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "(cluster|listener|port|name|[a-z:\\-{}\\[\\]$'# \\n0-9]){0,40}") {
        let _ = load_text(&text);
    }
}
