//! Starts servers, waits for conditions, and shows the log when a wait fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long anything may take on a busy two-core machine with debug builds.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A free port of the loopback interface that stays free until a server takes it: it lies below the ports the system
/// hands out by itself (32768 and up on Linux), so no client and no `port: 0` of a test beside this one gets it.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let first = std::process::id().wrapping_mul(331);
    for _ in PORTS {
        let step = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + step % (PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port in {PORTS:?} is free");
}

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    for (name, _) in std::env::vars() {
        if ["UNDERSTUDY_", "DOLTGRES_", "POSTGRES_", "PG", "RUST_LOG"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
}

/// A server in a folder of its own, which outlives restarts.
pub struct Server {
    folder: Arc<TempDir>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
    /// The SQL port, from the ready line.
    pub port: u16,
    pub user: String,
    pub password: String,
}

impl Server {
    /// Starts a server on a free port with the embedded default configuration.
    pub fn start() -> Server {
        let mut server = Server::prepare(None);
        server.boot();
        server
    }

    /// A server that is not started yet. Its folder holds `config.yaml` when a configuration is given.
    pub fn prepare(config: Option<&str>) -> Server {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut args = vec!["--data-dir".to_owned(), "data".to_owned()];
        match config {
            Some(config) => {
                std::fs::write(folder.path().join("server.yaml"), config).unwrap();
                args.extend(["--config".to_owned(), "server.yaml".to_owned()]);
            }
            None => args.extend(["--port".to_owned(), "0".to_owned()]),
        }
        Server {
            folder,
            args,
            environment: Vec::new(),
            child: None,
            log: Arc::default(),
            port: 0,
            user: "postgres".into(),
            password: "password".into(),
        }
    }

    /// Other arguments than the usual ones.
    pub fn with_args(mut self, args: &[&str]) -> Server {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// Environment variables for the next starts.
    pub fn set_environment(&mut self, variables: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = variables.iter().map(owned).collect();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the process and waits for its ready line.
    pub fn boot(&mut self) {
        assert!(self.child.is_none(), "the server is already running");
        let mut child = binary()
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let log = self.log.clone();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                // Whoever waits for the ready line finds it in the log.
                append(&log, &line);
                if let Some(address) = line.strip_prefix("ready ") {
                    let port = address
                        .split_once("port=")
                        .and_then(|(_, port)| port.trim().parse::<u16>().ok());
                    let _ = ready.send(port);
                }
            }
        });
        let log = self.log.clone();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                append(&log, &line);
            }
        });
        self.child = Some(child);
        match is_ready.recv_timeout(LIMIT) {
            Ok(Some(port)) => self.port = port,
            Ok(None) => panic!("the ready line names no port\n{}", self.log()),
            Err(_) => panic!("the server did not get ready\n{}", self.log()),
        }
    }

    /// What the server printed since it was first started.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server is running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and the exit status it led to.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server is running");
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        wait_for_exit(&mut child, &self.log())
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(&self.user)
            .password(&self.password)
            .dbname(database)
            .connect_timeout(LIMIT);
        config
    }

    pub async fn try_connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub async fn connect(&self, database: &str) -> Client {
        match self.try_connect(database).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {database}: {error:?}\n{}", self.log()),
        }
    }

    /// Runs statements with psql, unaligned and without headers; the output must be clean.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_output(database, &["-At", "-v", "ON_ERROR_STOP=1"], sql);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "psql failed on {sql}: {errors}\n{}",
            self.log()
        );
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs psql with these options, the statements on its standard input.
    pub fn psql_output(&self, database: &str, options: &[&str], sql: &str) -> Output {
        let mut child = self.psql_process(database, options);
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// A psql that waits for statements on its standard input.
    pub fn psql_process(&self, database: &str, options: &[&str]) -> Child {
        self.psql_process_with(database, options, &[])
    }

    /// The same with more in its environment.
    pub fn psql_process_with(&self, database: &str, options: &[&str], environment: &[(&str, &str)]) -> Child {
        Command::new("psql")
            .args([
                "-X",
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                &self.user,
                "-d",
                database,
            ])
            .args(options)
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "60")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql is installed by scripts/test.sh")
    }
}

fn append(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap();
    log.push_str(line);
    log.push('\n');
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of the server in {}:\n{}", self.folder.path().display(), self.log());
        }
    }
}

/// Runs a Python program with the connection strings of these servers as arguments; it prints how its story ended.
pub fn psycopg(program: &str, servers: &[&Server]) {
    let python = std::env::var("UNDERSTUDY_TEST_PYTHON")
        .expect("UNDERSTUDY_TEST_PYTHON names a Python with psycopg 3; scripts/test.sh makes one and sets it");
    let connection = |server: &&Server| {
        let Server {
            port, user, password, ..
        } = server;
        format!("host=127.0.0.1 port={port} user={user} password={password} dbname=postgres")
    };
    let output = Command::new(python)
        .args(["-c", program])
        .args(servers.iter().map(connection))
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{errors}");
    assert_eq!(said.trim(), "the story ended well");
}

/// Runs the program until it exits by itself, within the limit.
pub fn run(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut child = binary()
        .args(args)
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let out = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).unwrap();
        text
    });
    let err = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        text
    });
    let status = wait_for_exit(&mut child, &format!("{args:?}"));
    Output {
        status,
        stdout: out.join().unwrap(),
        stderr: err.join().unwrap(),
    }
}

fn wait_for_exit(child: &mut Child, context: &str) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("the program did not exit within {LIMIT:?}: {context}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the condition gives a value, asking every 50 ms.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All rows of a simple query, each cell as text, NULL as `None`.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            );
        }
    }
    Ok(rows)
}

/// The one cell of a query that has one row and one column.
pub async fn cell(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert_eq!(rows.len(), 1, "{sql} gave {rows:?}");
    rows[0][0].clone().unwrap_or_else(|| panic!("{sql} gave NULL"))
}

/// The SQLSTATE and message with which a statement fails.
pub async fn failure(client: &Client, sql: &str) -> (String, String) {
    let error = match client.simple_query(sql).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => error,
    };
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: the connection broke: {error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}
