//! The command line. Source: spec/config.md 1.

use clap::{Parser, Subcommand};

/// PostgreSQL on the wire, Git in its storage, and a hot standby that can take over.
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "understudy", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// Configuration file in YAML; without it `config.yaml` in the working directory, when there is one
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<String>,

    /// Where databases live; made when missing [default: ./understudy-data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,

    /// `localhost` or an IP address to listen on; wins over the file
    #[arg(long)]
    pub host: Option<String>,

    /// SQL port, 0 for a free one; wins over the file
    #[arg(long)]
    pub port: Option<String>,

    /// Print every key of the configuration file with its default, and exit
    #[arg(long)]
    pub config_help: bool,

    /// Check the configuration, print the effective settings and where they come from, and exit
    #[arg(long)]
    pub check_config: bool,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Start a primary and a standby in a temporary folder, to try a failover
    Playground,

    /// Check every byte of a data folder, a backup or a single store; exit status 1 when something is damaged
    Fsck {
        /// The folder; no server may be running in it
        folder: String,

        /// Make damaged stores again with what this place has: `file:///folder` of another server's data or a backup, or
        /// `http://host:port` with the cluster port of a peer that runs (then `--config` names the damaged server's file)
        #[arg(long, value_name = "URL")]
        repair_from: Option<String>,
    },

    /// Copy a data folder to a backup, or bring the backup up to date; the server may be running
    Backup {
        /// The data folder
        folder: String,
        /// Where the backup is kept, made when missing
        backup: String,
    },

    /// Make a data folder from a backup
    Restore {
        /// The backup
        backup: String,
        /// The data folder, which must not hold databases yet
        folder: String,
    },
}

impl Arguments {
    /// Reads the program's arguments, its name first.
    ///
    /// # Errors
    /// Usage for an unknown flag (exit status 2); help and version are "errors" of status 0.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(accepted_forms(arguments))
    }
}

/// `-data-dir x` is taken as `--data-dir x`, and the word `sql-server` after the program's name is passed over: the
/// original's documentation uses both.
fn accepted_forms(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut forms: Vec<String> = arguments
        .into_iter()
        .map(|argument| match argument.strip_prefix('-') {
            Some(rest) if rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("-{argument}")
            }
            _ => argument,
        })
        .collect();
    if forms.get(1).is_some_and(|word| word == "sql-server") {
        forms.remove(1);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn both_dashes_and_both_separators_are_accepted() {
        let expected = read("understudy --config a.yaml --data-dir .").unwrap();
        assert_eq!(expected.config.as_deref(), Some("a.yaml"));
        assert_eq!(expected.data_dir.as_deref(), Some("."));
        for line in [
            "understudy -config a.yaml -data-dir .",
            "understudy --config=a.yaml --data-dir=.",
            "understudy -config=a.yaml -data-dir=.",
        ] {
            assert_eq!(read(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn s_033_the_word_sql_server_is_passed_over() {
        assert_eq!(
            read("understudy sql-server --port 0").unwrap(),
            read("understudy --port 0").unwrap()
        );
        assert!(read("understudy --port 0 sql-server").is_err());
    }

    #[test]
    fn a_repair_takes_the_configuration_before_and_behind_its_name() {
        let expected = read("understudy --config a.yaml fsck data --repair-from http://b:1").unwrap();
        assert_eq!(expected.config.as_deref(), Some("a.yaml"));
        assert_eq!(
            read("understudy fsck data --repair-from http://b:1 --config a.yaml").unwrap(),
            expected
        );
    }

    #[test]
    fn unknown_flags_are_usage_errors() {
        for line in [
            "understudy --nope",
            "understudy -nope",
            "understudy nope",
            "understudy --port",
            "understudy -x",
        ] {
            let error = read(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        for line in [
            "understudy --help",
            "understudy -h",
            "understudy --version",
            "understudy -version",
        ] {
            assert_eq!(read(line).expect_err(line).exit_code(), 0, "{line}");
        }
    }
}
