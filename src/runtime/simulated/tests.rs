//! The simulated world, tried within itself.

mod accidents;
mod cuts;
mod nodes;
mod sites;
mod stream;
mod system;
mod world;

use std::future::pending;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;

use super::{LinkSettings, World};
use crate::runtime::net::{TcpListener, TcpStream};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn steady(latency: Duration) -> LinkSettings {
    LinkSettings {
        latency: latency..=latency,
        ..LinkSettings::default()
    }
}

/// A node that does nothing by itself.
fn idle(world: &World, name: &str) {
    world.create_node(name, |_| pending());
}

/// Runs a scenario between two idle nodes, 10 ms apart.
fn between<F: Future>(seed: u64, scenario: impl FnOnce(World) -> F) -> F::Output {
    World::run(seed, |world| {
        world.set_links(steady(millis(10)));
        idle(&world, "a");
        idle(&world, "b");
        scenario(world)
    })
}

/// Connects a to b.
async fn pair(world: &World) -> (TcpStream, TcpStream) {
    let (ready, is_ready) = oneshot::channel();
    let accepted = world.spawn_on("b", async move {
        let listener = TcpListener::bind("0.0.0.0:5432").await.unwrap();
        ready.send(()).unwrap();
        listener.accept().await.unwrap().0
    });
    is_ready.await.unwrap();
    let connected = world.spawn_on("a", async { TcpStream::connect("b:5432").await.unwrap() });
    (connected.await.unwrap(), accepted.await.unwrap())
}

async fn read(stream: &mut TcpStream, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.map(|_| bytes)
}
