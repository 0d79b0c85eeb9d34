//! A middlebox before a server: what a client sends it forwards on two connections, as a proxy that tries again does.
//! Only what the first one answers goes back.
//!
//! It takes the server's name and has a node of its own, so that cuts between others do not concern it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use understudy::runtime;
use understudy::runtime::net::{TcpListener, TcpStream};

use super::Stage;
use super::servers::{CLUSTER_PORT, SQL_PORT};

/// A second connection that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(1);
const PIECE: usize = 4096;

fn name_of(server: &str) -> String {
    format!("middlebox-{server}")
}

/// From now on the server's name leads to its middlebox.
pub fn put_before(stage: &Stage, server: &str) {
    let name = name_of(server);
    if !stage.world.node_names().contains(&name) {
        let (stage, server) = (stage.clone(), server.to_owned());
        let world = stage.world.clone();
        world.create_node(&name.clone(), move |_| {
            let (stage, server, name) = (stage.clone(), server.clone(), name.clone());
            async move {
                stage.names.enter(&name);
                let ports = [SQL_PORT, CLUSTER_PORT].map(|port| {
                    let (stage, server) = (stage.clone(), server.clone());
                    runtime::spawn("middlebox", async move { forward(&stage, &server, port).await })
                });
                for port in ports {
                    let _ = port.await;
                }
            }
        });
    } else if !stage.world.is_running(&name) {
        stage.world.restart(&name);
    }
    stage.world.alias(server, &name_of(server));
}

/// The name leads to the server again, and what went through the middlebox breaks.
pub fn remove(stage: &Stage, server: &str) {
    stage.world.alias(server, server);
    stage.world.kill(&name_of(server));
}

async fn forward(stage: &Stage, server: &str, port: u16) {
    let Ok(listener) = TcpListener::bind(&format!("0.0.0.0:{port}")).await else {
        return;
    };
    while let Ok((client, _)) = listener.accept().await {
        let address = format!("{}:{port}", stage.world.address(server));
        drop(runtime::spawn("middlebox connection", async move {
            twice(client, &address).await
        }));
    }
}

async fn twice(client: TcpStream, address: &str) {
    let Ok(first) = TcpStream::connect(address).await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_first, to_first) = tokio::io::split(first);
    let second = TcpStream::connect(address).await.ok().map(tokio::io::split);
    let to_second = second.map(|(mut from_second, to_second)| {
        // Read, so that the server is never in its way, and heard by nobody.
        drop(runtime::spawn("middlebox echo", async move {
            let mut piece = vec![0; PIECE];
            while matches!(from_second.read(&mut piece).await, Ok(read) if read > 0) {}
        }));
        to_second
    });
    let there = send(from_client, to_first, to_second);
    let back = send(from_first, to_client, None);
    tokio::join!(there, back);
}

async fn send(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, mut also: Option<WriteHalf<TcpStream>>) {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece).await {
            Ok(read) if read > 0 => read,
            _ => break,
        };
        if let Some(second) = &mut also {
            let taken = runtime::timeout(PATIENCE, second.write_all(&piece[..read])).await;
            if !matches!(taken, Ok(Ok(()))) {
                also = None;
            }
        }
        if to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    // How a stream ends that nobody reads any more changes nothing.
    let _ = to.shutdown().await;
}
