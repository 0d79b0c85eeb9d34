//! A primary and a standby in a temporary folder, to see a failover within minutes.
//!
//! Two servers in this process: they share nothing but it, as in the simulator.

#![expect(
    clippy::disallowed_methods,
    reason = "the temporary folder is this program's own, not a server's"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use understudy::config::{self, Flags, Source};
use understudy::runtime;
use understudy::runtime::disk::Disk;
use understudy::runtime::net::TcpListener;
use understudy::server::Server;

use crate::say;

/// Removes the folder however the playground ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

pub async fn run() -> anyhow::Result<()> {
    let folder = Folder(std::env::temp_dir().join(format!("understudy-playground-{}", std::process::id())));
    // From here on a signal ends in the removal of the folder.
    let stop = runtime::shutdown_signal();
    std::fs::create_dir_all(&folder.0).with_context(|| format!("cannot create {}", folder.0.display()))?;
    let ports = free_ports().await.context("no free local ports")?;
    let first = start(&folder.0, "a", "primary", ports[0], ports[1]).await?;
    let second = start(&folder.0, "b", "standby", ports[1], ports[0]).await?;
    say(&guide(&folder.0, first.sql_addr().port(), second.sql_addr().port()));
    stop.await;
    say("stopping\n");
    tokio::join!(first.stop(), second.stop());
    Ok(())
}

/// Ports for the cluster listeners. Each server must know the other's before either starts, so they are found by
/// binding and letting go.
async fn free_ports() -> std::io::Result<[u16; 2]> {
    let (first, second) = (
        TcpListener::bind("127.0.0.1:0").await?,
        TcpListener::bind("127.0.0.1:0").await?,
    );
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

async fn start(folder: &Path, name: &str, role: &str, own: u16, peer: u16) -> anyhow::Result<Server> {
    let text = format!(
        "log_level: warn\n\
         listener:\n  host: 127.0.0.1\n  port: 0\n\
         cluster:\n  standby_remotes:\n    - name: peer\n      \
         remote_url_template: http://127.0.0.1:{peer}/{{database}}\n  \
         bootstrap_role: {role}\n  bootstrap_epoch: 1\n  \
         remotesapi:\n    address: 127.0.0.1\n    port: {own}\n"
    );
    let data = folder.join(name);
    let flags = Flags {
        data_dir: Some(data.display().to_string()),
        ..Flags::default()
    };
    let source = Source {
        file: Some(("playground", &text)),
        environment: BTreeMap::new(),
        flags,
    };
    let config = config::load(&source)?;
    let disk = Disk::production(&data).with_context(|| format!("cannot use {} as a data folder", data.display()))?;
    Server::start(config, disk)
        .await
        .map_err(|error| anyhow::anyhow!("server {name} did not start: {error}"))
}

fn guide(folder: &Path, first: u16, second: u16) -> String {
    let line = |port| format!("psql \"host=127.0.0.1 port={port} user=postgres password=password\"");
    let (a, b) = (
        SocketAddr::from((Ipv4Addr::LOCALHOST, first)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, second)),
    );
    format!(
        "Two servers in {folder}, removed at the end:\n\
         \n  A, the primary  {a}   {psql_a}\
         \n  B, its standby  {b}   {psql_b}\n\
         \nWrite on A, read the same on B:\n\
         \n  A=> CREATE TABLE t (id int PRIMARY KEY, word text);\
         \n  A=> INSERT INTO t VALUES (1, 'hello');\
         \n  B=> SELECT * FROM t;\
         \n  B=> SHOW dolt_cluster_role;\
         \n  B=> INSERT INTO t VALUES (2, 'refused: B is a standby');\n\
         \nFail over, first on A, then on B, at an epoch above the present 1:\n\
         \n  A=> SELECT dolt_assume_cluster_role('standby', 2);\
         \n  B=> SELECT dolt_assume_cluster_role('primary', 2);\n\
         \nReconnect: B takes writes and A follows it. Ctrl-C stops both.\n",
        folder = folder.display(),
        psql_a = line(first),
        psql_b = line(second),
    )
}
