//! The SQL port: accepts connections, bounds their number, and ends them when the server stops.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngCore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::client::{ClientLimits, SHUTDOWN};
use super::connection::{self, Shared};
use crate::engine::Engine;
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::{self, AbortOnDrop, queue};
use crate::sql::ServerSettings;

/// How the SQL port behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sessions; more are refused with 53300.
    pub max_connections: u32,
    /// A client silent for longer is closed.
    pub read_timeout: Option<Duration>,
    /// A client that takes nothing for longer is closed.
    pub write_timeout: Option<Duration>,
    /// From the first byte to a session.
    pub startup_timeout: Duration,
    /// Longest message a client may send.
    pub message_bytes_max: usize,
    /// Logged SQL is cut to this; 0 does not cut.
    pub query_log_bytes_max: usize,
    /// Settings every session starts with; what the client asks for comes after.
    pub session_defaults: Vec<(String, String)>,
}

impl Default for Options {
    /// PostgreSQL's limits of one message and of the time to log in; otherwise none but the number of connections.
    fn default() -> Options {
        Options {
            max_connections: 100,
            read_timeout: None,
            write_timeout: None,
            startup_timeout: Duration::from_secs(60),
            message_bytes_max: 0x3fff_ffff,
            query_log_bytes_max: 0,
            session_defaults: Vec::new(),
        }
    }
}

/// Connections that have not proved who they are. When there are more, the oldest has to go: it has had the most time,
/// and whoever fills the places with silence keeps nobody out.
const STRANGERS_MAX: usize = 64;

/// How long a failed accept (no file descriptors, say) is waited out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Places for sessions. A session keeps its place until it ends or is overdue: its end is asked for and not waited for any
/// longer.
pub(super) struct Slots(Arc<Semaphore>);

pub(super) type Slot = OwnedSemaphorePermit;

impl Slots {
    pub fn new(count: u32) -> Slots {
        Slots(Arc::new(Semaphore::new(count as usize)))
    }

    pub fn take(&self) -> Option<Slot> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// The connections that have not proved who they are, in the order of their coming.
#[derive(Clone, Default)]
struct Strangers(Arc<Mutex<BTreeMap<u64, CancellationToken>>>);

/// A place among the strangers, given up when dropped.
pub(super) struct Stranger {
    all: Strangers,
    number: u64,
    sent_away: CancellationToken,
}

impl Strangers {
    /// A place for one more, the oldest one's if need be. `number` counts connections.
    fn enter(&self, number: u64) -> Stranger {
        let sent_away = CancellationToken::new();
        let mut places = self.0.lock();
        if places.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = places.pop_first()
        {
            oldest.cancel();
        }
        places.insert(number, sent_away.clone());
        queue!("pg.strangers", places.len(), STRANGERS_MAX);
        drop(places);
        Stranger {
            all: self.clone(),
            number,
            sent_away,
        }
    }
}

impl Stranger {
    /// Completes when the place was needed for somebody else.
    pub async fn sent_away(&self) {
        self.sent_away.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.number);
    }
}

/// A bound SQL port that nobody is served on yet.
#[derive(Debug)]
pub struct SqlListener {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
}

impl SqlListener {
    /// Listens at `host` and `port`; for `localhost` on both loopback addresses where there are two.
    pub async fn bind(host: &str, port: u16) -> io::Result<SqlListener> {
        let first = if host == "localhost" { "127.0.0.1" } else { host };
        let socket = TcpListener::bind(&join(first, port)).await?;
        let address = socket.local_addr()?;
        let mut sockets = vec![socket];
        if host == "localhost" {
            // psql tries ::1 first: were it left open, another program could answer there.
            match TcpListener::bind(&join("::1", address.port())).await {
                Ok(socket) => sockets.push(socket),
                Err(error) => debug!(%error, port = address.port(), "not listening on ::1"),
            }
        }
        Ok(SqlListener { sockets, address })
    }

    /// Where it listens, with the port that was picked.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to serve.
    pub fn serve(self, engine: Engine, settings: ServerSettings, options: Options) -> SqlServer {
        let mut mock_secret = [0; 32];
        runtime::rng("scram mock secret").fill_bytes(&mut mock_secret);
        let shared = Arc::new(Shared {
            engine,
            settings,
            limits: ClientLimits {
                message_bytes_max: options.message_bytes_max,
                read_timeout: options.read_timeout,
                write_timeout: options.write_timeout,
            },
            startup_timeout: options.startup_timeout,
            query_log_bytes_max: options.query_log_bytes_max,
            session_defaults: options.session_defaults,
            slots: Slots::new(options.max_connections),
            mock_secret,
            stop: CancellationToken::new(),
        });
        let strangers = Strangers::default();
        let count = Arc::new(AtomicU64::new(0));
        let live = watch::Sender::new(0);
        let accepting = self
            .sockets
            .into_iter()
            .map(|socket| {
                let accept = accept(socket, shared.clone(), strangers.clone(), count.clone(), live.clone());
                runtime::spawn("sql listener", accept).abort_on_drop()
            })
            .collect();
        SqlServer {
            shared,
            accepting,
            live: live.subscribe(),
            address: self.address,
        }
    }
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Connections that are open; dropping one counts down even when its task panics.
struct Live(watch::Sender<usize>);

impl Live {
    fn new(count: &watch::Sender<usize>) -> Live {
        count.send_modify(|count| *count += 1);
        Live(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn accept(
    socket: TcpListener,
    shared: Arc<Shared>,
    strangers: Strangers,
    count: Arc<AtomicU64>,
    live: watch::Sender<usize>,
) {
    loop {
        let (stream, peer): (TcpStream, SocketAddr) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                runtime::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let stranger = strangers.enter(count.fetch_add(1, Ordering::Relaxed));
        let (shared, live) = (shared.clone(), Live::new(&live));
        // Whoever is refused, or had to leave, is there for a moment more.
        queue!(
            "pg.connections",
            *live.0.borrow(),
            shared.settings.max_connections as usize + 2 * STRANGERS_MAX
        );
        runtime::spawn("sql connection", async move {
            connection::serve(shared, stream, Some(peer.ip().to_string()), stranger).await;
            drop(live);
        })
        .detach();
    }
}

/// A SQL port in service.
pub struct SqlServer {
    shared: Arc<Shared>,
    accepting: Vec<AbortOnDrop<()>>,
    live: watch::Receiver<usize>,
    address: SocketAddr,
}

impl SqlServer {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves a stream that came from elsewhere than the port.
    #[cfg(all(test, not(madsim)))]
    pub(super) fn serve_stream<S>(&self, stream: S) -> runtime::Task<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let stranger = Strangers::default().enter(0);
        let serve = connection::serve(self.shared.clone(), stream, None, stranger);
        runtime::spawn("sql connection", serve)
    }

    /// Stops accepting and ends idle sessions; running statements have `grace` to finish, then they are cancelled.
    pub async fn stop(mut self, grace: Duration) {
        self.accepting.clear();
        self.shared.stop.cancel();
        let finished = runtime::timeout(grace, self.live.wait_for(|count| *count == 0))
            .await
            .is_ok();
        if finished {
            return;
        }
        // What ignores its cancellation for this long is not waited for: the store is durable without it.
        let killed = runtime::timeout(
            Duration::from_secs(5),
            self.shared.engine.sessions().kill_all(None, SHUTDOWN),
        );
        match killed.await {
            Ok(sessions) => warn!(sessions, "statements were cancelled at the end of the grace period"),
            Err(_) => warn!("statements did not end when cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_018_slots_come_back() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some());
        assert!(slots.take().is_none());
        drop(first);
        assert!(slots.take().is_some());
    }
}
