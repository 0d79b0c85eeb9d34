//! The server's program: arguments, environment, logging, exit codes.
//!
//! Exit status: 0 after a clean stop, 1 when the configuration or the start fails, 2 for a wrong command line.

#[path = "main/arguments.rs"]
mod arguments;
#[path = "main/maintenance.rs"]
mod maintenance;
#[cfg(not(madsim))]
#[path = "main/playground.rs"]
mod playground;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use arguments::{Arguments, Command};
use tracing_subscriber::EnvFilter;
use understudy::config::{self, Config, Flags, LogLevel, Setting, Source};
use understudy::runtime;
use understudy::runtime::disk::Disk;
use understudy::server::Server;

/// Read when `--config` is not given and it exists in the working directory.
const DEFAULT_CONFIG_FILE: &str = "config.yaml";

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output, usage to standard error; a closed pipe is nobody's problem.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                eprintln!("error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    runtime::raise_file_limit();
    if arguments.config_help {
        say(&config::sample());
        return Ok(());
    }
    match arguments.command {
        None => {}
        Some(Command::Playground) => {
            // Each server starts before the other: what they say about that would only worry a first-time user.
            start_logging(LogLevel::Error);
            return block_on(playground());
        }
        Some(Command::Fsck { folder, repair_from }) => {
            start_logging(LogLevel::Error);
            let config = move || Ok(load(arguments.config.as_deref(), Flags::default())?.0);
            return block_on(maintenance::fsck(folder, repair_from, config));
        }
        Some(Command::Backup { folder, backup }) => {
            start_logging(LogLevel::Warn);
            return block_on(maintenance::back_up(folder, backup));
        }
        Some(Command::Restore { backup, folder }) => {
            start_logging(LogLevel::Warn);
            return block_on(maintenance::restore(backup, folder));
        }
    }
    let flags = Flags {
        data_dir: arguments.data_dir,
        host: arguments.host,
        port: arguments.port,
    };
    let (config, settings) = load(arguments.config.as_deref(), flags)?;
    if arguments.check_config {
        // Its message tells its causes itself.
        Server::check_config(&config).map_err(|error| anyhow::anyhow!("{error}"))?;
        say(&effective(&settings));
        return Ok(());
    }
    start_logging(config.log_level);
    block_on(serve(config, settings))
}

/// The configuration in the file of this name, or in the usual one.
fn load(named: Option<&str>, flags: Flags) -> anyhow::Result<(Config, Vec<Setting>)> {
    let file = read_config_file(named)?;
    let source = Source {
        file: file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())),
        environment: environment(),
        flags,
    };
    Ok(config::load_with_origins(&source)?)
}

async fn serve(config: Config, settings: Vec<Setting>) -> anyhow::Result<()> {
    let data_dir = config.data_dir.clone();
    let folder = data_dir.clone();
    let open = move || Disk::production(folder);
    let listener = config.listener.clone();
    let user = config.user.clone();
    // These messages tell their causes themselves; printed as a chain each would come twice.
    let server = Server::start_in(config, open)
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let port = server.sql_addr().port();
    let mut lines = format!("Data in {}.\n", data_dir.display());
    if let Some(address) = server.cluster_addr() {
        lines.push_str(&format!("Cluster port {address}.\n"));
    }
    let password_is_default = settings
        .iter()
        .any(|set| set.key == "user.password" && set.origin == "default");
    let password = match server.is_first_start() && password_is_default {
        true => format!(" password={}", user.password.reveal()),
        false => String::new(),
    };
    let host = if listener.host == "0.0.0.0" || listener.host == "::" {
        "localhost"
    } else {
        &listener.host
    };
    lines.push_str(&format!(
        "Connect with: psql \"host={host} port={port} user={}{password}\"\n",
        user.name
    ));
    lines.push_str(&format!("ready host={} port={port}\n", listener.host));
    // Who reads the ready line may ask for a stop at once.
    let stop = runtime::shutdown_signal();
    say(&lines);
    server.run_until(stop).await;
    Ok(())
}

#[cfg(not(madsim))]
async fn playground() -> anyhow::Result<()> {
    playground::run().await
}

#[cfg(madsim)]
async fn playground() -> anyhow::Result<()> {
    anyhow::bail!("the playground needs a real network; `cargo sim` runs scenarios")
}

/// Prints, and sends it on at once: scripts wait for the ready line. Nobody listening is no error.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

fn effective(settings: &[Setting]) -> String {
    let width = settings
        .iter()
        .map(|setting| setting.key.len())
        .max()
        .unwrap_or_default();
    settings
        .iter()
        .map(|setting| format!("{:width$}  {:?}  ({})\n", setting.key, setting.value, setting.origin))
        .collect()
}

/// Name and text of the configuration file, if there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "the configuration is read before there is a data folder"
)]
fn read_config_file(named: Option<&str>) -> anyhow::Result<Option<(String, String)>> {
    let name = named.unwrap_or(DEFAULT_CONFIG_FILE);
    match std::fs::read(name) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((name.to_owned(), text))),
            Err(error) => {
                let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                    .split(|byte| *byte == b'\n')
                    .count();
                anyhow::bail!("error unmarshalling config data: {name}:{line}: the file is not UTF-8 text")
            }
        },
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!("config file not found at {name} (--config)")
        }
        Err(error) => anyhow::bail!("cannot read config file {name} (--config): {error}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    // Names and values that are not Unicode can be no key's, and no file can refer to them.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// To standard error: what RUST_LOG says, or this server at `level` and its libraries at warnings.
fn start_logging(level: LogLevel) {
    let asked = environment()
        .remove(EnvFilter::DEFAULT_ENV)
        .filter(|text| !text.is_empty());
    let default = match level {
        LogLevel::Error => "error".to_owned(),
        level => format!("warn,understudy={}", level.as_str()),
    };
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(&default)).unwrap_or_else(|error| {
        eprintln!("warning: RUST_LOG is not a filter and is passed over: {error}");
        EnvFilter::new(&default)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(not(madsim))]
fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

#[cfg(madsim)]
fn block_on(_: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    anyhow::bail!("this program was built for the simulator; `cargo sim` runs scenarios")
}
